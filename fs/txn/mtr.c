/* SPDX-License-Identifier: MIT */
/*
 * Mini-transactions: begin, finish, retries.
 *
 *	idle --begin: room reserved, lock taken--> begun --finish(0)--> logged and published --> idle
 *	  ^                                          |  \--next--> logged and published --> begun
 *	  |                                          +--finish(error)--> undone --+
 *	  +---- KNOT_RETRY: page read, larger reservation, or room made ----------+--> idle with the error
 *
 * Invariants
 *  (1) Between begin and finish nothing waits and nothing fails but for what mtr.h lists: ring bytes, buffer and
 *      frames were reserved before the lock was taken, all memory at open.
 *  (2) Who holds the transaction lock never waits for room. Who waits for room holds no lock and no reservation.
 *  (3) A failed read is reported only if the next try, under the lock, asks for the same page with the same
 *      generation again: else the page was freed or moved while the lock was dropped, and what was read proves
 *      nothing. Generations are unique and the placeholder was ours from before the read until after it, so the
 *      second asking makes it certain.
 *
 * If power fails: mtr_log.c.
 */
#include "fs/txn/txn_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

/* ---- the arrays that every mini-transaction uses, one after another ---- */

uint64_t knot_mtr_worst_bytes(const struct knot_txn *txn, unsigned pages)
{
	return knot_log_worst_bytes(txn->log, pages * KNOT_RECORD_BYTES_MAX + KNOT_MTR_SPARE_BYTES);
}

static unsigned find_pages_limit(const struct knot_txn *txn)
{
	uint64_t most = txn->ring_bytes / 8;
	size_t frames = txn->cache.frames / 8;
	unsigned limit = 0;

	if (most > txn->options.log_buffer_bytes / 4)
		most = txn->options.log_buffer_bytes / 4;
	while (limit < frames && knot_mtr_worst_bytes(txn, limit + 1) <= most)
		limit++;
	return limit ? limit : 1;
}

static size_t add_array(size_t *total, size_t bytes)
{
	size_t at = *total;

	*total += (bytes + KNOT_PAGE_BYTES - 1) / KNOT_PAGE_BYTES * KNOT_PAGE_BYTES;
	return at;
}

int knot_mtr_state_init(struct knot_txn *txn)
{
	struct knot_mtr_state *state = &txn->state;
	size_t total = 0, changes, before, scratch, iov;
	uint8_t *map;

	txn->pages_limit = txn->log ? find_pages_limit(txn) : 1;
	changes = add_array(&total, txn->pages_limit * sizeof(struct knot_change));
	before = add_array(&total, (size_t)txn->pages_limit * KNOT_PAGE_BYTES);
	scratch = add_array(&total, txn->pages_limit * (size_t)KNOT_RECORD_BYTES_MAX + 2 * KNOT_MTR_SPARE_BYTES);
	iov = add_array(&total, (3 * (size_t)txn->pages_limit + 4) * sizeof(struct iovec));
	map = mmap(NULL, total, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (map == MAP_FAILED)
		return -ENOMEM;
	txn->state_map_bytes = total;
	state->changes = (struct knot_change *)(void *)(map + changes);
	state->before = map + before;
	state->scratch = map + scratch;
	state->iov = (struct iovec *)(void *)(map + iov);
	return 0;
}

void knot_mtr_state_destroy(struct knot_txn *txn)
{
	if (txn->state.changes)
		munmap(txn->state.changes, txn->state_map_bytes);
	free(txn->state.frees);
}

unsigned knot_mtr_pages_limit(struct knot_txn *txn)
{
	return txn->pages_limit;
}

unsigned knot_mtr_pages_left(const struct knot_mtr *mtr)
{
	const struct knot_mtr_state *state = mtr->state;
	uint64_t taken, left;

	if (!state || !state->writes || state->change_count >= state->pages_max)
		return 0;
	taken = state->change_count * KNOT_RECORD_BYTES_MAX + state->free_count * sizeof(struct knot_disk_record);
	if (taken >= state->records_max_bytes)
		return 0;
	left = (state->records_max_bytes - taken) / KNOT_RECORD_BYTES_MAX;
	return left < state->pages_max - state->change_count ? (unsigned)left : state->pages_max - state->change_count;
}

/* ---- begin ---- */

void knot_mtr_init(struct knot_mtr *mtr, struct knot_txn *txn, struct knot_request *request)
{
	memset(mtr, 0, sizeof(*mtr));
	mtr->txn = txn;
	mtr->request = request;
}

static void set_state(struct knot_mtr *mtr, bool writes, unsigned pages, uint64_t bytes)
{
	struct knot_mtr_state *state = &mtr->txn->state;

	assert(!state->pinned && !state->change_count && !state->free_count);
	state->writes = writes;
	state->pages_max = pages;
	state->ring_bytes = bytes;
	state->ring_left_bytes = writes ? knot_mtr_worst_bytes(mtr->txn, pages) : 0;
	state->records_max_bytes = pages * KNOT_RECORD_BYTES_MAX + KNOT_MTR_SPARE_BYTES;
	state->frames_reserved = pages;
	state->generation = 0;
	state->hooks = NULL;
	state->hooks_end = &state->hooks;
	mtr->state = state;
}

static int lock_for(struct knot_mtr *mtr, unsigned flags)
{
	struct knot_txn *txn = mtr->txn;

	if (flags & KNOT_MTR_NO_WAIT) {
		if (pthread_mutex_trylock(&txn->mutex))
			return -EAGAIN;
		atomic_store_explicit(&txn->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
	} else {
		knot_txn_lock(txn, mtr->request);
	}
	return 0;
}

int knot_mtr_begin(struct knot_mtr *mtr, unsigned pages_max, unsigned flags)
{
	struct knot_txn *txn = mtr->txn;
	unsigned pages = pages_max > mtr->pages_grown ? pages_max : mtr->pages_grown;
	uint64_t bytes;
	int err;

	assert(!mtr->state);
	if (!txn->log || knot_txn_is_stopped(txn))
		return -EROFS;
	if (pages > txn->pages_limit)
		return -EFBIG;
	bytes = knot_mtr_worst_bytes(txn, pages);
	if (flags & KNOT_MTR_PRIVILEGED)
		bytes += knot_log_worst_bytes(txn->log, 0); /* the end of a batch */
	err = knot_room_reserve(txn, pages, bytes, flags, mtr->request);
	if (err)
		return err;
	err = lock_for(mtr, flags);
	if (err) {
		knot_room_unreserve(txn, pages, bytes);
		return err;
	}
	set_state(mtr, true, pages, bytes);
	return 0;
}

int knot_mtr_begin_read(struct knot_mtr *mtr)
{
	assert(!mtr->state);
	knot_txn_lock(mtr->txn, mtr->request);
	set_state(mtr, false, 0, 0);
	return 0;
}

uint64_t knot_mtr_generation(const struct knot_mtr *mtr)
{
	struct knot_mtr_state *state = mtr->state;

	if (!state->generation)
		state->generation = knot_log_lsn(mtr->txn->log);
	return state->generation;
}

void knot_mtr_add_hook(struct knot_mtr *mtr, struct knot_mtr_hook *hook)
{
	hook->next = NULL;
	*mtr->state->hooks_end = hook;
	mtr->state->hooks_end = &hook->next;
}

static void run_hooks(struct knot_mtr_state *state, knot_lsn_t lsn)
{
	struct knot_mtr_hook *hook = state->hooks;

	state->hooks = NULL;
	state->hooks_end = &state->hooks;
	while (hook) {
		struct knot_mtr_hook *next = hook->next;

		hook->finish(hook, lsn);
		hook = next;
	}
}

/* ---- finish ---- */

/* Log and publish what was changed since begin or next. */
static void commit(struct knot_mtr *mtr)
{
	struct knot_txn *txn = mtr->txn;
	struct knot_mtr_state *state = mtr->state;
	knot_lsn_t lsn = 0;

	if (state->change_count || state->free_count)
		lsn = knot_mtr_commit_locked(txn, state);
	if (lsn) {
		mtr->end_lsn = lsn;
		atomic_fetch_add_explicit(&txn->mtrs, 1, memory_order_relaxed);
	}
	run_hooks(state, lsn ? lsn : knot_txn_lsn(txn));
}

void knot_mtr_next(struct knot_mtr *mtr)
{
	struct knot_txn *txn = mtr->txn;
	struct knot_mtr_state *state = mtr->state;
	uint64_t used, taken;

	assert(state && state->writes);
	used = state->change_count * KNOT_RECORD_BYTES_MAX + state->free_count * sizeof(struct knot_disk_record);
	taken = knot_log_worst_bytes(txn->log, used);
	commit(mtr);
	state->generation = 0;
	state->ring_left_bytes = taken < state->ring_left_bytes ? state->ring_left_bytes - taken : 0;
	while (state->pages_max > 0 && knot_mtr_worst_bytes(txn, state->pages_max) > state->ring_left_bytes)
		state->pages_max--;
	state->records_max_bytes = 0;
	if (knot_mtr_worst_bytes(txn, state->pages_max) <= state->ring_left_bytes)
		state->records_max_bytes = state->pages_max * KNOT_RECORD_BYTES_MAX + KNOT_MTR_SPARE_BYTES;
}

static void end(struct knot_mtr *mtr)
{
	struct knot_txn *txn = mtr->txn;
	struct knot_mtr_state *state = mtr->state;
	bool writes = state->writes;
	size_t frames = state->frames_reserved;
	uint64_t bytes = state->ring_bytes;

	pthread_mutex_lock(&txn->cache.mutex);
	knot_cache_unpin_mtr_locked(&txn->cache, &state->pinned);
	pthread_mutex_unlock(&txn->cache.mutex);
	mtr->state = NULL;
	knot_txn_unlock(txn);
	if (writes)
		knot_room_unreserve(txn, frames, bytes);
	knot_room_signal(&txn->room);
}

static void let_go_of_kept(struct knot_mtr *mtr)
{
	struct knot_cache *cache = &mtr->txn->cache;

	if (!mtr->kept_count)
		return;
	pthread_mutex_lock(&cache->mutex);
	while (mtr->kept_count)
		knot_cache_unkeep_locked(cache, mtr->kept[--mtr->kept_count]);
	pthread_mutex_unlock(&cache->mutex);
	knot_room_signal(&mtr->txn->room);
}

static void keep(struct knot_mtr *mtr, struct knot_page *page)
{
	const unsigned max = sizeof(mtr->kept) / sizeof(mtr->kept[0]);
	struct knot_cache *cache = &mtr->txn->cache;

	if (mtr->kept_count == max) {
		pthread_mutex_lock(&cache->mutex);
		knot_cache_unkeep_locked(cache, mtr->kept[0]);
		pthread_mutex_unlock(&cache->mutex);
		memmove(&mtr->kept[0], &mtr->kept[1], (max - 1) * sizeof(mtr->kept[0]));
		mtr->kept_count--;
	}
	mtr->kept[mtr->kept_count++] = page;
}

static int make_frames(struct knot_mtr *mtr)
{
	int err;

	let_go_of_kept(mtr);
	err = knot_room_make_frames(mtr->txn, mtr->request);
	return err ? err : KNOT_RETRY;
}

static int read_missing(struct knot_mtr *mtr)
{
	struct knot_page *page;
	unsigned fault = 0;
	int err = knot_cache_load(mtr->txn, mtr->miss_page_no, (enum knot_page_type)mtr->miss_type,
				  mtr->miss_generation, mtr->request, &page, &fault);

	if (err == -KNOT_EFULL)
		return make_frames(mtr);
	if (err == -ENOMEM)
		return err;
	mtr->miss_err = err; /* (3) */
	mtr->miss_fault = fault;
	if (!err && page)
		keep(mtr, page);
	return KNOT_RETRY;
}

static int grow(struct knot_mtr *mtr, unsigned pages)
{
	unsigned limit = mtr->txn->pages_limit;

	if (pages >= limit)
		return -EFBIG;
	mtr->pages_grown = pages * 2 < limit ? pages * 2 : limit;
	if (!mtr->pages_grown)
		mtr->pages_grown = 1;
	return KNOT_RETRY;
}

/* What is to be done about an error, with no lock held. */
static int after_failure(struct knot_mtr *mtr, int err, unsigned pages)
{
	if (err == -KNOT_EMISS)
		err = read_missing(mtr);
	else if (err == -KNOT_EGROW)
		err = grow(mtr, pages);
	else if (err == -KNOT_EFULL)
		err = make_frames(mtr);
	if (err == KNOT_RETRY) {
		mtr->retries++;
		atomic_fetch_add_explicit(&mtr->txn->mtr_retries, 1, memory_order_relaxed);
		return err;
	}
	let_go_of_kept(mtr);
	return err;
}

int knot_mtr_finish(struct knot_mtr *mtr, int err)
{
	struct knot_txn *txn = mtr->txn;
	struct knot_mtr_state *state = mtr->state;
	bool writes;
	unsigned pages;

	if (!state) {
		let_go_of_kept(mtr);
		return err;
	}
	writes = state->writes;
	pages = state->pages_max;
	if (!err && (state->change_count || state->free_count) && knot_txn_is_stopped(txn))
		err = -EIO;
	if (!err) {
		commit(mtr);
	} else {
		knot_mtr_undo_locked(txn, state);
		run_hooks(state, 0);
	}
	end(mtr);
	if (err)
		return after_failure(mtr, err, pages);
	let_go_of_kept(mtr);
	if (writes) {
		if (knot_cleaner_has_reason(txn, false))
			knot_threads_kick_cleaner(txn);
		if (knot_log_wants_flush(txn->log))
			knot_threads_kick_log(txn);
	}
	return 0;
}
