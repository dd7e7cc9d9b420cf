/* SPDX-License-Identifier: MIT */
/*
 * A volume's transaction layer: opening, closing, stopping, statistics.
 *
 *	open (recovered, new epoch) --> running --close--> cleaned, slot marked clean --> freed
 *	                                  |  \--abandon--> freed, nothing written
 *	                                  +--stop (first failed flush, log or home write)--> stopped --close--> freed
 *
 * Invariants
 *  (1) `stopped` is never left. Once it is set nothing is written: not the log, no page, no slot.
 *  (2) Only one message says why; what fails afterwards is a consequence.
 *
 * If power fails: at open, recovery.c; at close, cleaner.c: until the clean slot is flushed the old one counts.
 */
#include "fs/txn/txn_int.h"

#include "fs/txn/recovery.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FRAMES_MIN           64u
#define LOG_BUFFER_BYTES_MIN 65536u
#define RECOVERY_BYTES_MIN   ((size_t)1 << 20)

/* ---- stopping ---- */

bool knot_txn_is_stopped(const struct knot_txn *txn)
{
	return atomic_load_explicit(&txn->stopped, memory_order_acquire);
}

void knot_txn_stop(struct knot_txn *txn, int err, const char *format, ...)
{
	char what[256];
	va_list args;

	if (atomic_exchange(&txn->stopped, true))
		return;
	if (txn->log)
		knot_log_stop(txn->log);
	va_start(args, format);
	vsnprintf(what, sizeof(what), format, args);
	va_end(args);
	knot_message(txn->options.messages, KNOT_ERROR,
		     "%s: %s; no further change is made. Unmount and mount again: the log brings the volume up to date",
		     what, strerror(err < 0 ? -err : err));
	knot_room_changed(&txn->room);
}

static void log_failed(void *arg, int err, const char *what)
{
	knot_txn_stop(arg, err, "%s failed", what);
}

/* ---- the transaction lock ---- */

void knot_txn_lock(struct knot_txn *txn, struct knot_request *request)
{
	knot_request_lock(request, &txn->mutex);
	atomic_store_explicit(&txn->owner, (uintptr_t)pthread_self(), memory_order_relaxed);
}

void knot_txn_unlock(struct knot_txn *txn)
{
	knot_txn_assert_locked(txn);
	atomic_store_explicit(&txn->owner, 0, memory_order_relaxed);
	pthread_mutex_unlock(&txn->mutex);
}

void knot_txn_assert_locked(const struct knot_txn *txn)
{
	assert(atomic_load_explicit(&txn->owner, memory_order_relaxed) == (uintptr_t)pthread_self());
	(void)txn;
}

/* ---- what stands in for the layers above ---- */

static void need_no_frames(void *arg)
{
	(void)arg;
}

static void tell_nobody(void *arg, knot_lsn_t committed_lsn)
{
	(void)arg;
	(void)committed_lsn;
}

static void set_plain_upper(struct knot_txn *txn)
{
	txn->upper = (struct knot_txn_upper){
		.close_batch = knot_commit_close_plain,
		.need_frames = need_no_frames,
		.committed = tell_nobody,
		.arg = txn,
	};
}

void knot_txn_set_upper(struct knot_txn *txn, const struct knot_txn_upper *upper)
{
	txn->upper = *upper;
	knot_threads_start(txn);
}

/* ---- open ---- */

static int recover(const struct knot_txn_options *options, struct knot_recovery_result *result)
{
	struct knot_recovery_options recovery = {
		.batch_bytes = options->cache_bytes / 2 > RECOVERY_BYTES_MIN ? options->cache_bytes / 2
									     : RECOVERY_BYTES_MIN,
		.dry_run = options->device->read_only,
		.slot_flags = options->strict ? KNOT_SLOT_STRICT : 0,
	};
	int err = knot_recovery_run(options->device, options->super, options->messages, &recovery, result);

	if (!err && options->device->read_only && !result->was_clean) {
		knot_message(options->messages, KNOT_ERROR,
			     "was not unmounted cleanly, and %s can't be written to replay its log",
			     options->device->name);
		err = -EROFS;
	}
	return err;
}

static int open_log(struct knot_txn *txn, const struct knot_recovery_result *result)
{
	struct knot_log_options options = {
		.device = txn->options.device,
		.super = txn->options.super,
		.buffer_bytes = txn->options.log_buffer_bytes,
		.start = {
			.lsn = result->next_lsn,
			.at_bytes = result->next_at,
			.epoch = result->epoch,
			.slot_sequence = result->slot_sequence,
			.strict = txn->options.strict,
		},
		.failed = log_failed,
		.arg = txn,
	};
	int err = knot_log_open(&options, &txn->log);

	if (!err)
		txn->ring_bytes = knot_log_ring_bytes(txn->log);
	return err;
}

static void free_txn(struct knot_txn *txn)
{
	knot_log_close(txn->log);
	knot_cleaner_destroy(txn);
	knot_mtr_state_destroy(txn);
	knot_cache_destroy(&txn->cache);
	knot_room_destroy(&txn->room);
	pthread_mutex_destroy(&txn->mutex);
	free(txn);
}

int knot_txn_open(const struct knot_txn_options *options, struct knot_txn **txn)
{
	struct knot_recovery_result result = { 0 };
	size_t frames = options->cache_bytes / KNOT_PAGE_BYTES;
	struct knot_txn *opened;
	int err = recover(options, &result);

	if (err)
		return err;
	opened = calloc(1, sizeof(*opened));
	if (!opened)
		return -ENOMEM;
	err = knot_cache_init(&opened->cache, frames > FRAMES_MIN ? frames : FRAMES_MIN);
	if (err) {
		free(opened);
		return err;
	}
	/* What an open batch has made dirty can't be cleaned before the batch ends, and ending it takes frames. */
	opened->cache.spare_frames = opened->cache.frames / (options->strict ? 5 : 16);
	knot_room_init(&opened->room);
	pthread_mutex_init(&opened->mutex, NULL);
	opened->options = *options;
	if (opened->options.log_buffer_bytes < LOG_BUFFER_BYTES_MIN)
		opened->options.log_buffer_bytes = LOG_BUFFER_BYTES_MIN;
	opened->epoch = result.epoch;
	set_plain_upper(opened);
	atomic_init(&opened->lsn, result.next_lsn);
	atomic_init(&opened->announced_lsn, result.next_lsn);
	if (!options->read_only)
		err = open_log(opened, &result);
	if (!err)
		err = knot_mtr_state_init(opened);
	if (!err)
		err = knot_cleaner_init(opened, result.next_lsn);
	if (err) {
		free_txn(opened);
		return err;
	}
	*txn = opened;
	return 0;
}

/* ---- close ---- */

/* Everything home, and a slot that says so. No thread is left that could change anything. */
static int close_clean(struct knot_txn *txn)
{
	int err = knot_commit_now(txn, knot_txn_lsn(txn), NULL);

	if (!err)
		err = knot_txn_checkpoint(txn, NULL);
	if (err)
		return err;
	assert(!txn->cache.dirty_count);
	err = knot_log_write_slot(txn->log, knot_log_lsn(txn->log), KNOT_SLOT_CLEAN, true);
	return err ? -EIO : 0;
}

int knot_txn_close(struct knot_txn *txn)
{
	int err = 0;

	knot_threads_stop(txn);
	set_plain_upper(txn);
	if (txn->log)
		err = knot_txn_is_stopped(txn) ? -EIO : close_clean(txn);
	free_txn(txn);
	return err;
}

void knot_txn_abandon(struct knot_txn *txn)
{
	if (!atomic_exchange(&txn->stopped, true) && txn->log)
		knot_log_stop(txn->log);
	knot_room_changed(&txn->room);
	knot_threads_stop(txn);
	free_txn(txn);
}

int knot_txn_tick(struct knot_txn *txn)
{
	bool progress = false;
	int err;

	if (!txn->log)
		return 0;
	err = knot_commit_now(txn, knot_txn_lsn(txn), NULL);
	return err ? err : knot_cleaner_run(txn, &progress);
}

/* ---- asking ---- */

struct knot_device *knot_txn_device(struct knot_txn *txn)
{
	return txn->options.device;
}

const struct knot_super *knot_txn_super(struct knot_txn *txn)
{
	return txn->options.super;
}

const struct knot_messages *knot_txn_messages(struct knot_txn *txn)
{
	return txn->options.messages;
}

bool knot_txn_is_strict(const struct knot_txn *txn)
{
	return txn->options.strict;
}

bool knot_txn_is_threaded(const struct knot_txn *txn)
{
	return txn->options.threads;
}

bool knot_txn_is_read_only(const struct knot_txn *txn)
{
	return txn->options.read_only;
}

static void add_cache_stats(struct knot_cache *cache, struct knot_txn_stats *stats)
{
	pthread_mutex_lock(&cache->mutex);
	stats->frames = cache->frames - cache->withheld_count;
	stats->frames_cached = cache->hash.count;
	stats->frames_dirty = cache->dirty_count;
	stats->frames_pending = cache->pending_count;
	stats->cache_hits = cache->hits;
	stats->cache_misses = cache->misses;
	stats->cache_evictions = cache->evictions;
	stats->pages_read = cache->pages_read;
	pthread_mutex_unlock(&cache->mutex);
}

void knot_txn_get_stats(struct knot_txn *txn, struct knot_txn_stats *stats)
{
	memset(stats, 0, sizeof(*stats));
	if (txn->log)
		knot_log_add_stats(txn->log, stats);
	else
		stats->lsn = knot_txn_lsn(txn);
	add_cache_stats(&txn->cache, stats);
	stats->epoch = txn->epoch;
	stats->commits = atomic_load(&txn->commits);
	stats->commit_waits = atomic_load(&txn->commit_waits);
	stats->mtrs = atomic_load(&txn->mtrs);
	stats->mtr_retries = atomic_load(&txn->mtr_retries);
	stats->mtr_waits = atomic_load(&txn->mtr_waits);
	stats->pages_cleaned = atomic_load(&txn->cleaner.pages_cleaned);
	stats->clean_batches = atomic_load(&txn->cleaner.batches);
	stats->device_flushes += atomic_load(&txn->device_flushes);
	stats->stopped = stats->stopped || knot_txn_is_stopped(txn);
	stats->strict = txn->options.strict;
}
