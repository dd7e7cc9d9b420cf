/* SPDX-License-Identifier: MIT */
/*
 * The cleaner: writes dirty pages home, oldest first, and moves the checkpoint.
 *
 *	take copies (transaction lock) -> their log is committed -> written home, sorted -> written (clean)
 *	     -> device flush -> checkpoint slot -> ring space free
 *
 *   data=strict: if the oldest page belongs to the open batch, the batch is closed first, and the copies are taken in
 *   that very moment (knot_cleaner_at_batch_end_locked): afterwards hot pages would be in the next batch again.
 *
 * Invariants
 *  (1) One pass at a time (`pass_busy`) has the copies; who has it waits for the device and the log only, never for
 *      room, another mini-transaction, or the end of a batch that is not appended yet.
 *  (2) A copy is written only when everything that it holds is committed: knot_txn_committed_lsn() >= its LSN. (WAL
 *      rule)
 *  (3) A page is clean from the moment its copy is taken; the next change logs it whole, with a new oldest LSN.
 *  (4) The checkpoint is the oldest LSN of the dirty list, or the log's end if nothing is dirty, read while the
 *      transaction lock is held (no mini-transaction is between append and list) and no copy is on its way; then the
 *      device is flushed, then the slot says it. So everything below it is home.
 *  (5) A freed page is never written. It leaves the dirty list when its free is committed, for until then its records
 *      count.
 *
 * If power fails while pages are written: some are home, some not, some torn. The slot still names an LSN from which
 * the log has all of them, beginning with a whole image each. After the device flush, before the slot: the same,
 * nothing is torn.
 */
#include "fs/txn/txn_int.h"

#include "fs/util/endian.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BATCH_PAGES_MAX 256u
#define BATCH_PAGES_MIN 8u
#define CHUNK_PAGES     32u   /* copied in one hold of the transaction lock */
#define SCAN_PAGES      4096u /* of the dirty list looked at in one hold */

int knot_cleaner_init(struct knot_txn *txn, knot_lsn_t checkpoint_lsn)
{
	struct knot_cleaner *cleaner = &txn->cleaner;
	size_t max = txn->cache.frames / 8;

	if (max < BATCH_PAGES_MIN)
		max = BATCH_PAGES_MIN;
	if (max > BATCH_PAGES_MAX)
		max = BATCH_PAGES_MAX;
	cleaner->max = (unsigned)max;
	atomic_init(&cleaner->checkpoint_lsn, checkpoint_lsn);
	cleaner->entries = calloc(max, sizeof(cleaner->entries[0]));
	cleaner->iov = calloc(max, sizeof(cleaner->iov[0]));
	if (!cleaner->entries || !cleaner->iov ||
	    posix_memalign((void **)&cleaner->copies, KNOT_PAGE_BYTES, max * KNOT_PAGE_BYTES))
		return -ENOMEM;
	return 0;
}

void knot_cleaner_destroy(struct knot_txn *txn)
{
	free(txn->cleaner.copies);
	free(txn->cleaner.iov);
	free(txn->cleaner.entries);
}

/* ---- reasons ---- */

uint64_t knot_cleaner_age_bytes(struct knot_txn *txn)
{
	uint64_t checkpoint_lsn = atomic_load(&txn->cleaner.checkpoint_lsn);
	uint64_t lsn = knot_log_lsn(txn->log);

	return lsn > checkpoint_lsn ? lsn - checkpoint_lsn : 0;
}

bool knot_cleaner_has_reason(struct knot_txn *txn, bool running)
{
	struct knot_cache *cache = &txn->cache;
	uint64_t age = knot_cleaner_age_bytes(txn);
	size_t dirty, usable;

	/* data=strict: whoever closes a batch needs half of the ring for what the others left pending */
	if (age > (running ? txn->ring_bytes / 8 * 3 : txn->ring_bytes / 2) / (txn->options.strict ? 2 : 1))
		return true;
	if (atomic_load(&txn->cleaner.target_lsn) > atomic_load(&txn->cleaner.checkpoint_lsn))
		return true;
	if (age && !running && atomic_load(&txn->room.want_ring))
		return true;
	pthread_mutex_lock(&cache->mutex);
	dirty = cache->dirty_count;
	usable = cache->frames - cache->withheld_target;
	pthread_mutex_unlock(&cache->mutex);
	if (dirty && !running && atomic_load(&txn->room.want_frames))
		return true;
	return dirty > (running ? usable / 8 * 3 : usable / 2);
}

/* ---- the pass: whose the batch is ---- */

static void acquire_pass(struct knot_txn *txn)
{
	struct knot_room *room = &txn->room;

	pthread_mutex_lock(&room->mutex);
	while (room->pass_busy)
		pthread_cond_wait(&room->changed, &room->mutex);
	room->pass_busy = true;
	pthread_mutex_unlock(&room->mutex);
}

static void release_pass(struct knot_txn *txn)
{
	struct knot_room *room = &txn->room;

	pthread_mutex_lock(&room->mutex);
	room->pass_busy = false;
	room->progress++;
	room->cleaned++;
	pthread_cond_broadcast(&room->changed);
	pthread_mutex_unlock(&room->mutex);
}

/* ---- taking copies ---- */

static knot_lsn_t lsn_of(const struct knot_page *page)
{
	return page->freed_lsn > page->lsn ? page->freed_lsn : page->lsn;
}

static void take_page_locked(struct knot_cleaner *cleaner, struct knot_cache *cache, struct knot_page *page)
{
	struct knot_clean_entry *entry = &cleaner->entries[cleaner->count];

	entry->page = page;
	entry->page_no = page->node.key;
	entry->space = page->space;
	entry->copy = cleaner->copies + (size_t)cleaner->count * KNOT_PAGE_BYTES;
	memcpy(entry->copy, page->data, KNOT_PAGE_BYTES);
	if (page->lsn > cleaner->lsn_max)
		cleaner->lsn_max = page->lsn;
	knot_cache_set_writing_locked(cache, page); /* (3) */
	cleaner->count++;
}

/* (5) */
static void take_freed_locked(struct knot_cleaner *cleaner, struct knot_cache *cache, struct knot_page *page,
			      knot_lsn_t committed_lsn)
{
	if (page->freed_lsn > committed_lsn) {
		if (page->freed_lsn > cleaner->free_lsn_max)
			cleaner->free_lsn_max = page->freed_lsn;
		return;
	}
	knot_cache_drop_locked(cache, page);
	cleaner->dropped++;
}

/* Both the transaction lock and the cache mutex are held. False: there is nothing more to take. */
static bool take_chunk_locked(struct knot_txn *txn, knot_lsn_t limit, knot_lsn_t committed_lsn, unsigned chunk)
{
	struct knot_cleaner *cleaner = &txn->cleaner;
	struct knot_cache *cache = &txn->cache;
	struct knot_list *at = cache->dirty.next;
	unsigned scanned = 0;

	while (at != &cache->dirty && chunk > 0 && scanned++ < SCAN_PAGES) {
		struct knot_page *page = knot_container_of(at, struct knot_page, link);

		at = at->next;
		if (page->writing) /* changed again between two chunks: the next batch's */
			continue;
		if (page->freed_lsn) {
			take_freed_locked(cleaner, cache, page, committed_lsn);
			continue;
		}
		if (page->lsn > limit)
			continue;
		if (cleaner->count == cleaner->max)
			return false;
		take_page_locked(cleaner, cache, page);
		chunk--;
	}
	return chunk == 0;
}

static void begin_batch(struct knot_cleaner *cleaner)
{
	cleaner->count = 0;
	cleaner->lsn_max = 0;
	cleaner->free_lsn_max = 0;
	cleaner->dropped = 0;
}

static void take_batch(struct knot_txn *txn)
{
	knot_lsn_t committed_lsn = knot_txn_committed_lsn(txn);
	knot_lsn_t limit = txn->options.strict ? committed_lsn : UINT64_MAX; /* (2) */
	bool more = true;

	begin_batch(&txn->cleaner);
	while (more) {
		knot_txn_lock(txn, NULL);
		pthread_mutex_lock(&txn->cache.mutex);
		more = take_chunk_locked(txn, limit, committed_lsn, CHUNK_PAGES);
		pthread_mutex_unlock(&txn->cache.mutex);
		knot_txn_unlock(txn);
	}
}

static void drop_committed_frees(struct knot_txn *txn)
{
	knot_txn_lock(txn, NULL);
	pthread_mutex_lock(&txn->cache.mutex);
	take_chunk_locked(txn, 0, knot_txn_committed_lsn(txn), 1);
	pthread_mutex_unlock(&txn->cache.mutex);
	knot_txn_unlock(txn);
}

void knot_cleaner_at_batch_end_locked(struct knot_txn *txn, knot_lsn_t lsn)
{
	struct knot_room *room = &txn->room;
	bool take;

	pthread_mutex_lock(&room->mutex);
	take = room->want_copies && !room->pass_busy;
	if (take) {
		*room->want_copies = true;
		room->want_copies = NULL;
		room->pass_busy = true;
	}
	pthread_mutex_unlock(&room->mutex);
	if (!take)
		return;
	begin_batch(&txn->cleaner);
	pthread_mutex_lock(&txn->cache.mutex);
	take_chunk_locked(txn, lsn, knot_txn_committed_lsn(txn), txn->cleaner.max);
	pthread_mutex_unlock(&txn->cache.mutex);
}

static bool head_is_open(struct knot_txn *txn)
{
	struct knot_cache *cache = &txn->cache;
	bool open = false;

	pthread_mutex_lock(&cache->mutex);
	if (!knot_list_empty(&cache->dirty))
		open = lsn_of(knot_container_of(cache->dirty.next, struct knot_page, link)) >
		       knot_txn_committed_lsn(txn);
	pthread_mutex_unlock(&cache->mutex);
	return open;
}

/* Close the batch; `*taken`: the pass is ours, with copies. */
static int close_with_copies(struct knot_txn *txn, bool *taken)
{
	struct knot_room *room = &txn->room;
	int err;

	pthread_mutex_lock(&room->mutex);
	if (!room->want_copies)
		room->want_copies = taken;
	pthread_mutex_unlock(&room->mutex);
	err = knot_commit_now(txn, knot_txn_lsn(txn), NULL);
	pthread_mutex_lock(&room->mutex);
	if (room->want_copies == taken)
		room->want_copies = NULL;
	pthread_mutex_unlock(&room->mutex);
	if (*taken &&
	    !err) /* it may have been the end of a later batch than the one waited for, appended but not committed */
		err = knot_commit_now(txn, txn->cleaner.lsn_max, NULL);
	if (*taken && err) {
		knot_txn_stop(txn, err, "the end of a batch failed");
		release_pass(txn);
		*taken = false;
	}
	return err;
}

/* ---- writing home ---- */

static int by_page_no(const void *left, const void *right)
{
	uint64_t a = ((const struct knot_clean_entry *)left)->page_no;
	uint64_t b = ((const struct knot_clean_entry *)right)->page_no;

	return a < b ? -1 : a > b;
}

static int write_copies(struct knot_txn *txn)
{
	struct knot_cleaner *cleaner = &txn->cleaner;
	unsigned from = 0;

	for (unsigned i = 0; i < cleaner->count; i++) {
		struct knot_clean_entry *entry = &cleaner->entries[i];

		if (entry->space == KNOT_SPACE_META)
			knot_page_seal(&txn->options.super->seal, entry->copy);
	}
	qsort(cleaner->entries, cleaner->count, sizeof(cleaner->entries[0]), by_page_no);
	while (from < cleaner->count) {
		uint64_t first = cleaner->entries[from].page_no;
		unsigned n = 0;
		int err;

		while (from + n < cleaner->count && cleaner->entries[from + n].page_no == first + n) {
			cleaner->iov[n].iov_base = cleaner->entries[from + n].copy;
			cleaner->iov[n].iov_len = KNOT_PAGE_BYTES;
			n++;
		}
		cleaner->unflushed = true;
		err = knot_device_writev(txn->options.device, cleaner->iov, (int)n, first * KNOT_PAGE_BYTES);
		if (err) {
			knot_txn_stop(txn, err, "writing %u pages from page %llu on failed", n,
				      (unsigned long long)first);
			return -EIO;
		}
		from += n;
	}
	return 0;
}

/* The batch goes home. The pass is held. */
static int write_batch(struct knot_txn *txn, bool *progress)
{
	struct knot_cleaner *cleaner = &txn->cleaner;
	knot_lsn_t lsn = cleaner->lsn_max > cleaner->free_lsn_max ? cleaner->lsn_max : cleaner->free_lsn_max;
	int err;

	if (!txn->options.strict && lsn > knot_txn_committed_lsn(txn)) { /* (2) */
		err = knot_commit_flush_log(txn, lsn, true, NULL);
		if (err)
			return err;
	}
	if (cleaner->free_lsn_max)
		drop_committed_frees(txn);
	if (cleaner->dropped)
		*progress = true;
	assert(knot_txn_committed_lsn(txn) >= cleaner->lsn_max);
	if (knot_txn_is_stopped(txn))
		return -EIO;
	if (!cleaner->count)
		return 0;
	err = write_copies(txn);
	if (err)
		return err;
	pthread_mutex_lock(&txn->cache.mutex);
	for (unsigned i = 0; i < cleaner->count; i++)
		knot_cache_set_written_locked(&txn->cache, cleaner->entries[i].page);
	pthread_mutex_unlock(&txn->cache.mutex);
	atomic_fetch_add(&cleaner->pages_cleaned, cleaner->count);
	atomic_fetch_add(&cleaner->batches, 1);
	*progress = true;
	return 0;
}

/* ---- the checkpoint ---- */

/* (4). The pass is held, so no copy is on its way. */
static knot_lsn_t find_checkpoint(struct knot_txn *txn)
{
	struct knot_cache *cache = &txn->cache;
	knot_lsn_t lsn;

	knot_txn_lock(txn, NULL);
	lsn = knot_log_lsn(txn->log);
	pthread_mutex_lock(&cache->mutex);
	if (!knot_list_empty(&cache->dirty))
		lsn = knot_container_of(cache->dirty.next, struct knot_page, link)->oldest_lsn;
	pthread_mutex_unlock(&cache->mutex);
	knot_txn_unlock(txn);
	return lsn;
}

static bool is_worth_a_slot(struct knot_txn *txn, knot_lsn_t lsn)
{
	uint64_t checkpoint_lsn = atomic_load(&txn->cleaner.checkpoint_lsn);
	uint64_t target_lsn = atomic_load(&txn->cleaner.target_lsn);

	if (lsn <= checkpoint_lsn)
		return false;
	if (lsn - checkpoint_lsn >= txn->ring_bytes / 16 || atomic_load(&txn->room.want_ring))
		return true;
	return target_lsn > checkpoint_lsn && lsn >= target_lsn;
}

static int advance_checkpoint(struct knot_txn *txn, bool *progress)
{
	struct knot_cleaner *cleaner = &txn->cleaner;
	knot_lsn_t lsn = find_checkpoint(txn);
	int err;

	if (!is_worth_a_slot(txn, lsn))
		return 0;
	err = knot_commit_flush_log(txn, lsn, true, NULL);
	if (!err && cleaner->unflushed)
		err = knot_txn_device_flush(txn);
	if (err)
		return err;
	cleaner->unflushed = false;
	err = knot_log_write_slot(txn->log, lsn, 0, true);
	if (err)
		return -EIO;
	atomic_store(&cleaner->checkpoint_lsn, lsn);
	*progress = true;
	return 0;
}

static int clean_once(struct knot_txn *txn, bool committed_only, bool *progress)
{
	bool taken = false;
	int err = 0;

	if (txn->options.strict && !committed_only && head_is_open(txn)) {
		err = close_with_copies(txn, &taken);
		if (err)
			return err;
	}
	if (!taken) {
		acquire_pass(txn);
		take_batch(txn);
	}
	err = write_batch(txn, progress);
	if (!err)
		err = advance_checkpoint(txn, progress);
	release_pass(txn);
	return err;
}

int knot_cleaner_run(struct knot_txn *txn, bool *progress)
{
	bool running = false;

	while (knot_cleaner_has_reason(txn, running)) {
		bool some = false;
		int err;

		if (knot_txn_is_stopped(txn))
			return -EIO;
		err = clean_once(txn, false, &some);
		if (err)
			return err;
		if (!some)
			break;
		*progress = true;
		running = true;
	}
	return 0;
}

int knot_cleaner_run_committed(struct knot_txn *txn, bool *progress)
{
	if (knot_txn_is_stopped(txn))
		return -EIO;
	return clean_once(txn, true, progress);
}

/* ---- a checkpoint that somebody asks for ---- */

static void raise_target(struct knot_cleaner *cleaner, uint64_t lsn)
{
	uint_fast64_t target = atomic_load(&cleaner->target_lsn);

	while (target < lsn && !atomic_compare_exchange_weak(&cleaner->target_lsn, &target, lsn))
		;
}

int knot_txn_checkpoint(struct knot_txn *txn, struct knot_request *request)
{
	struct knot_cleaner *cleaner = &txn->cleaner;
	struct knot_room *room = &txn->room;
	knot_lsn_t lsn = knot_txn_lsn(txn);

	if (!txn->log)
		return 0;
	raise_target(cleaner, lsn);
	knot_request_will_block(request);
	while (atomic_load(&cleaner->checkpoint_lsn) < lsn) {
		bool progress = false;
		int err;

		if (knot_txn_is_stopped(txn))
			return -EIO;
		if (!atomic_load(&room->running)) {
			err = knot_cleaner_run(txn, &progress);
			if (err)
				return err;
			continue;
		}
		knot_threads_kick_cleaner(txn);
		pthread_mutex_lock(&room->mutex);
		while (atomic_load(&cleaner->checkpoint_lsn) < lsn && !knot_txn_is_stopped(txn) && !room->quit)
			pthread_cond_wait(&room->changed, &room->mutex);
		pthread_mutex_unlock(&room->mutex);
	}
	return 0;
}
