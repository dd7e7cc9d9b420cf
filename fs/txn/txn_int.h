/* SPDX-License-Identifier: MIT */
/*
 * What the files of fs/txn share: the transaction layer's own state, the mini-transaction under way, waiting for
 * room, cleaner.
 *
 * Lock order: transaction lock, cache mutex, log (its own), room mutex. No device I/O under any of them.
 */
#ifndef KNOT_TXN_TXN_INT_H
#define KNOT_TXN_TXN_INT_H

#include "fs/txn/cache_int.h"
#include "fs/txn/log_int.h"
#include "fs/txn/mtr.h"
#include "fs/txn/txn.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/uio.h>

#define KNOT_RECORD_BYTES_MAX ((uint64_t)KNOT_PAGE_BYTES + sizeof(struct knot_disk_record)) /* of one changed page */
#define KNOT_MTR_SPARE_BYTES  512u /* of every reservation, for FREE records */

/* ---- the mini-transaction under way: one at a time, guarded by the transaction lock ---- */

struct knot_change {
	struct knot_page *page;
	uint8_t *before; /* pre-image; NULL of a new page */
	bool was_clean;  /* or new: logged as a whole image */
	bool freed;      /* by this same mtr: only the FREE is logged */
	bool logged;
};

struct knot_free_range {
	uint64_t page_no;
	uint32_t count;
};

struct knot_mtr_state {
	bool writes;
	unsigned pages_max;         /* changes that the rest of the reservation takes */
	uint64_t records_max_bytes; /* so many bytes of records too */
	unsigned change_count;
	uint64_t ring_bytes;      /* reserved in the log */
	uint64_t ring_left_bytes; /* of those, not yet used by knot_mtr_next() */
	size_t frames_reserved;
	uint64_t generation; /* 0: not asked for yet */
	struct knot_page *pinned;
	struct knot_mtr_hook *hooks;
	struct knot_mtr_hook **hooks_end;
	struct knot_change *changes; /* pages_limit of them */
	struct knot_free_range *frees;
	unsigned free_count;
	unsigned frees_max;
	uint8_t *before;  /* pages_limit pre-images */
	uint8_t *scratch; /* records being gathered */
	struct iovec *iov;
};

/* ---- waiting: for ring space, frames, a batch's end, the cleaner ---- */

struct knot_room {
	pthread_mutex_t mutex;  /* a leaf */
	pthread_cond_t changed; /* room was made, a batch closed, a pass ended, the volume stopped */
	pthread_cond_t clean_work;
	pthread_cond_t log_work;
	uint64_t progress; /* grows with each `changed` */
	uint64_t cleaned;  /* grows with each batch of the cleaner */
	atomic_uint waiters;
	atomic_uint want_ring; /* of them, those short of ring space or of frames */
	atomic_uint want_frames;
	bool closing;        /* somebody is in upper->close_batch() */
	bool pass_busy;      /* somebody has the cleaner's batch */
	bool *want_copies;   /* strict: who asks the next end of batch to take the cleaner's copies; told there */
	bool needing_frames; /* upper->need_frames() is running */
	bool clean_kicked;
	bool log_kicked;
	bool quit;
	atomic_bool running; /* the threads are there */
	pthread_t clean_thread;
	pthread_t log_thread;
};

struct knot_clean_entry {
	struct knot_page *page;
	uint64_t page_no;
	uint8_t *copy;
	uint8_t space;
};

struct knot_cleaner {
	struct knot_clean_entry *entries;
	struct iovec *iov;
	uint8_t *copies;
	bool unflushed; /* something was written home since the last device flush here */
	unsigned count;
	unsigned max;
	unsigned dropped;                    /* freed pages that this pass let go of */
	knot_lsn_t lsn_max;                  /* of the copies: what must be committed before they are written */
	knot_lsn_t free_lsn_max;             /* of freed pages that it met whose free was not committed; 0 none */
	atomic_uint_fast64_t checkpoint_lsn; /* of the last slot */
	atomic_uint_fast64_t target_lsn;     /* a checkpoint is asked for up to here */
	atomic_uint_fast64_t pages_cleaned;
	atomic_uint_fast64_t batches;
};

struct knot_txn {
	struct knot_txn_options options;
	struct knot_txn_upper upper;
	pthread_mutex_t mutex;  /* the transaction lock */
	atomic_uintptr_t owner; /* pthread_self() of its holder, 0 none */
	atomic_bool stopped;
	atomic_uint_fast64_t lsn; /* end of the last mini-transaction */
	atomic_uint_fast64_t batch_end_lsn;
	atomic_uint_fast64_t announced_lsn;     /* the committed LSN that the layers above know of */
	atomic_uint_fast64_t outstanding_bytes; /* ring bytes reserved by mtrs */
	struct knot_log *log;                   /* NULL: read-only */
	uint64_t ring_bytes;
	unsigned pages_limit;
	uint32_t epoch;
	struct knot_cache cache;
	struct knot_mtr_state state;
	size_t state_map_bytes;
	struct knot_room room;
	struct knot_cleaner cleaner;
	atomic_uint_fast64_t commits, commit_waits, mtrs, mtr_retries, mtr_waits, device_flushes;
};

/* ---- mtr_state.c, mtr_log.c ---- */
int knot_mtr_state_init(struct knot_txn *txn); /* Errors: -ENOMEM. */
void knot_mtr_state_destroy(struct knot_txn *txn);
/* Log all changes and publish them, or undo them. Returns the end LSN, 0 if there was nothing to log. */
knot_lsn_t knot_mtr_commit_locked(struct knot_txn *txn, struct knot_mtr_state *state);
void knot_mtr_undo_locked(struct knot_txn *txn, struct knot_mtr_state *state);
/* Ring bytes that a mini-transaction of so many pages may take. */
uint64_t knot_mtr_worst_bytes(const struct knot_txn *txn, unsigned pages);
/* Say which page is damaged and why, once for each. */
void knot_mtr_say_damage(struct knot_txn *txn, uint64_t page_no, uint32_t type, unsigned fault);

/* ---- room.c ---- */
int knot_room_init(struct knot_room *room); /* Errors: -ENOMEM. */
void knot_room_destroy(struct knot_room *room);
void knot_room_changed(struct knot_room *room); /* always wakes */
void knot_room_signal(struct knot_room *room);  /* wakes if somebody waits */

/* Reserve ring and frames, waiting as `flags` allow. Locks: none. Errors: -EAGAIN, -EIO, -EFBIG no way to make room. */
int knot_room_reserve(struct knot_txn *txn, unsigned pages, uint64_t bytes, unsigned flags,
		      struct knot_request *request);
void knot_room_unreserve(struct knot_txn *txn, size_t frames, uint64_t bytes);
/* There was no frame: have some made. Locks: none. Errors: -EIO the volume has stopped with its cache full. */
int knot_room_make_frames(struct knot_txn *txn, struct knot_request *request);

/* ---- commit.c ---- */
void knot_commit_announce(struct knot_txn *txn); /* upper->committed(), if it has grown */
/* Everything below `lsn` becomes committed; tells the layers above. Locks: none. Errors: -EIO. */
int knot_commit_now(struct knot_txn *txn, knot_lsn_t lsn, struct knot_request *request);
int knot_commit_flush_log(struct knot_txn *txn, knot_lsn_t lsn, bool flush, struct knot_request *request);
int knot_commit_close_plain(void *arg, struct knot_request *request); /* upper->close_batch where nothing is pending */

/* ---- cleaner.c ---- */
int knot_cleaner_init(struct knot_txn *txn, knot_lsn_t checkpoint_lsn); /* Errors: -ENOMEM. */
void knot_cleaner_destroy(struct knot_txn *txn);
/* Clean while there is reason to. `*progress`: something was cleaned or a slot written. Locks: none. Errors: -EIO. */
int knot_cleaner_run(struct knot_txn *txn, bool *progress);
/* One batch of what is committed already: never waits for the end of a batch. */
int knot_cleaner_run_committed(struct knot_txn *txn, bool *progress);
/* To begin; or, less easily satisfied, to go on when one batch is done. */
bool knot_cleaner_has_reason(struct knot_txn *txn, bool running);
uint64_t knot_cleaner_age_bytes(struct knot_txn *txn); /* lsn - checkpoint_lsn */
/* The end of a batch was appended: take copies now, if the cleaner asked for it. Transaction lock held. */
void knot_cleaner_at_batch_end_locked(struct knot_txn *txn, knot_lsn_t lsn);

/* ---- threads.c ---- */
void knot_threads_start(struct knot_txn *txn);
void knot_threads_stop(struct knot_txn *txn);
void knot_threads_kick_cleaner(struct knot_txn *txn);
void knot_threads_kick_log(struct knot_txn *txn);

#endif
