/* SPDX-License-Identifier: MIT */
/*
 * The transaction layer of one volume: page cache, redo log, cleaner, checkpoint. fs/txn/README.md has the rules.
 *
 * One lock, the *transaction lock*, guards all logged state: contents of cached pages, the tree, the allocator and what
 * the layers above keep in memory beside them. A mini-transaction holds it from begin to finish; nothing reads or
 * writes the device while it is held.
 */
#ifndef KNOT_TXN_TXN_H
#define KNOT_TXN_TXN_H

#include "fs/disk/device.h"
#include "fs/disk/super.h"
#include "fs/util/message.h"
#include "fs/util/request.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

typedef uint64_t knot_lsn_t;

struct knot_txn;

/*
 * What the layers above do for this one. All are called without any lock held; never NULL once knot_txn_set_upper() was
 * called.
 */
struct knot_txn_upper {
	/*
	 * data=strict: close the batch: flush and map all pending data, then knot_txn_close_batch(). Called by whoever
	 * needs durability or room. Returns 0 or the error that stopped the volume.
	 */
	int (*close_batch)(void *arg, struct knot_request *request);
	/* Page frames are short: write out pending file data so that knot_txn_frame_put() is called soon. May do
	 * nothing. */
	void (*need_frames)(void *arg);
	/* committed_lsn has grown (freed pages may have become usable again). Cheap; may be called often. */
	void (*committed)(void *arg, knot_lsn_t committed_lsn);
	void *arg;
};

struct knot_txn_options {
	struct knot_device *device;           /* not owned */
	const struct knot_super *super;       /* not owned */
	const struct knot_messages *messages; /* not owned; may be NULL */
	size_t cache_bytes;                   /* page frames, cached and pending; at least 64 pages */
	size_t log_buffer_bytes;              /* at least 64 KiB; rounded to write units */
	unsigned commit_policy;               /* 0, 1, 2: flush_log_at_commit= */
	bool strict;                          /* data=strict */
	bool read_only;                       /* no log is written, knot_mtr_begin() answers -EROFS */
	bool threads; /* run log flusher and cleaner in threads; else callers do the work inline, and tests call
			 knot_txn_tick() */
};

/*
 * Recover the volume's log (knot_recovery_run()), start a new epoch and open. On a read-only open the device is
 * expected to be an overlay or a clean volume: recovery writes through it all the same, unless device->read_only, then
 * it must be clean (-EROFS). Errors: -EUCLEAN the log is damaged (said through messages), -EIO, -ENOMEM.
 */
int knot_txn_open(const struct knot_txn_options *options, struct knot_txn **txn);
void knot_txn_set_upper(struct knot_txn *txn, const struct knot_txn_upper *upper);

/* Stop the threads, make everything durable, clean all pages, write a clean slot (unless read-only or stopped); free.
 * Returns the first error. */
int knot_txn_close(struct knot_txn *txn);

/* Free without writing anything: what a power cut leaves behind. Tests and FS_IOC_SHUTDOWN. */
void knot_txn_abandon(struct knot_txn *txn);

struct knot_device *knot_txn_device(struct knot_txn *txn);
const struct knot_super *knot_txn_super(struct knot_txn *txn);
const struct knot_messages *knot_txn_messages(struct knot_txn *txn);
bool knot_txn_is_strict(const struct knot_txn *txn);
bool knot_txn_is_threaded(const struct knot_txn *txn);
bool knot_txn_is_read_only(const struct knot_txn *txn);

/* The transaction lock, for reading in-memory state without a mini-transaction. */
void knot_txn_lock(struct knot_txn *txn, struct knot_request *request);
void knot_txn_unlock(struct knot_txn *txn);
void knot_txn_assert_locked(const struct knot_txn *txn); /* asserts (debug builds) that the caller holds it */

/* ---- durability -------------------------------------------------------------------------------------------------- */

/* LSN after the last committed mini-transaction. Any thread, no lock needed. */
knot_lsn_t knot_txn_lsn(struct knot_txn *txn);

/* What no power cut can undo: the flushed LSN, or with data=strict the end of the last durable batch. Any thread, no
 * lock. */
knot_lsn_t knot_txn_committed_lsn(struct knot_txn *txn);

/*
 * Return once everything below `lsn` is committed, whatever the commit policy (`force`), or as the policy says for
 * fsync (policy 2: written only; 0: at once). Those that wait together share one flush. With data=strict this closes
 * the batch. Locks: none may be held. Errors: -EIO the volume has stopped.
 */
int knot_txn_commit_to(struct knot_txn *txn, knot_lsn_t lsn, bool force, struct knot_request *request);

/*
 * data=strict, in an mtr that holds the transaction lock, everything pending being mapped: append the end of batch and
 * hold back the log before it. The caller then makes the data durable (knot_device_flush) without locks and calls
 * knot_txn_release_batch(); on a data error it calls knot_txn_stop() first. One at a time.
 */
struct knot_mtr;
knot_lsn_t knot_txn_close_batch(struct knot_mtr *mtr);
int knot_txn_release_batch(struct knot_txn *txn, struct knot_request *request); /* also flushes the log to it */

/* Clean every dirty page and write the slot: checkpoint_lsn becomes the LSN at the call or later. Locks: none. Errors:
 * -EIO. */
int knot_txn_checkpoint(struct knot_txn *txn, struct knot_request *request);

/* The work of the background threads, once: log flush; cleaner while it has reason to. For volumes without threads. */
int knot_txn_tick(struct knot_txn *txn);

/* ---- stopping ---------------------------------------------------------------------------------------------------- */

/*
 * A flush, log write or home write has failed: no further change, ever (until mounted anew). Says so once. Any locks
 * may be held.
 */
__attribute__((format(printf, 3, 4))) void knot_txn_stop(struct knot_txn *txn, int err, const char *format, ...);
bool knot_txn_is_stopped(const struct knot_txn *txn);

/* ---- frames: aligned page buffers, all from one arena of cache_bytes --------------------------------------------- */

struct knot_frame {
	void *data; /* 4096 bytes, aligned to 4096 */
};

/*
 * A frame for pending file data. Pending data may hold at most half of all frames.
 * Locks: any (takes the cache's own). Errors: -KNOT_EFULL none free just now: drop the locks, flush data, try again.
 */
int knot_txn_frame_get(struct knot_txn *txn, struct knot_frame *frame);
void knot_txn_frame_put(struct knot_txn *txn, struct knot_frame *frame);

/* Frames that pending data may still take, and the most that it may hold. */
size_t knot_txn_frames_free(struct knot_txn *txn);
size_t knot_txn_frames_pending_max(struct knot_txn *txn);

/* Account other memory (inodes, lookup tables) against cache_bytes: the cache gives up frames for it. Negative gives
 * back. */
void knot_txn_charge(struct knot_txn *txn, ssize_t bytes);

/*
 * A hint: these tree pages, in ascending order, will be needed soon. Those that are not in the cache are read,
 * neighbours together; those that are there stay longer. What can't be read or is damaged is left to who needs it.
 * Locks: none.
 */
void knot_txn_read_ahead(struct knot_txn *txn, const uint64_t *pages, size_t count, struct knot_request *request);

/* ---- statistics -----------------------------------------------------------------------------------------------------
 */

struct knot_txn_stats {
	knot_lsn_t lsn, written_lsn, flushed_lsn, checkpoint_lsn, committed_lsn;
	uint64_t ring_bytes, ring_used_bytes;
	uint64_t log_buffer_bytes, log_buffer_used_bytes;
	uint64_t epoch;
	uint64_t log_writes, log_written_bytes, log_flushes;
	uint64_t commits, commit_waits; /* calls of knot_txn_commit_to(), and those that had to wait: waits / flushes is
					   the group size */
	uint64_t group_commit_max;
	uint64_t mtrs, mtr_retries, mtr_waits; /* waits: for ring, buffer or cache */
	uint64_t frames, frames_cached, frames_dirty, frames_pending;
	uint64_t cache_hits, cache_misses, cache_evictions;
	uint64_t pages_read, pages_cleaned, clean_batches;
	uint64_t checkpoints, checkpoint_age_bytes; /* lsn - checkpoint_lsn */
	uint64_t device_flushes;
	bool stopped, strict;
};

void knot_txn_get_stats(struct knot_txn *txn, struct knot_txn_stats *stats);

/* A device flush counted in the statistics; a failure stops the volume. For writers of file data. Locks: none. */
int knot_txn_device_flush(struct knot_txn *txn);

#endif
