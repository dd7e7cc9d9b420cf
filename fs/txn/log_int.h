/* SPDX-License-Identifier: MIT */
/*
 * The redo log: an append-only ring of 512-byte blocks. Used by mtr.c, cleaner.c and recovery.c only.
 */
#ifndef KNOT_TXN_LOG_INT_H
#define KNOT_TXN_LOG_INT_H

#include "fs/txn/txn.h"

#include <knotfs/format.h>

#include <sys/uio.h>

struct knot_log;

/* Where a mounted log stands when it starts: what recovery found, and wrote into the slot. */
struct knot_log_start {
	knot_lsn_t lsn;                  /* a write unit begins here; everything below is home */
	uint64_t at_bytes;               /* its byte in the ring */
	uint32_t epoch;                  /* already durable in the slot */
	uint64_t slot_sequence;          /* of the slot last written */
	bool strict;
};

struct knot_log_options {
	struct knot_device *device;
	const struct knot_super *super;
	size_t buffer_bytes;
	struct knot_log_start start;
	void (*failed)(void *arg, int err, const char *what); /* first failure of write or flush */
	void *arg;
};

int knot_log_open(const struct knot_log_options *options, struct knot_log **log);
void knot_log_close(struct knot_log *log); /* frees; writes nothing */

/*
 * Somebody else's failure stopped the volume: write nothing more, wake all waiters with -EIO. `failed` is not
 * called. Any locks.
 */
void knot_log_stop(struct knot_log *log);

/*
 * Ring bytes for records, and bytes that `record_bytes` of records may take in it at worst (block headers, padding
 * to two write units).
 */
uint64_t knot_log_ring_bytes(const struct knot_log *log);
uint64_t knot_log_worst_bytes(const struct knot_log *log, uint64_t record_bytes);

/*
 * Reserve ring and buffer space, waiting for nothing. `privileged` may use the last quarter (strict: half).
 * Errors: -EAGAIN no room (`*ring_full` says which: true ring, false buffer), -EIO stopped.
 */
int knot_log_try_reserve(struct knot_log *log, uint64_t bytes, bool privileged, bool *ring_full);
void knot_log_unreserve(struct knot_log *log, uint64_t bytes);

/*
 * Append one mini-transaction's records (gathered) and END_MTR (or `end_type`), contiguously. Space was reserved:
 * can't fail, never waits. `*start_lsn` is where it begins (what a page's oldest LSN becomes). Returns the end LSN.
 */
knot_lsn_t knot_log_append(struct knot_log *log, const struct iovec *iov, int iov_count, enum knot_record_type end_type,
			   knot_lsn_t *start_lsn);

/*
 * data=strict: append END_BATCH in a write unit of its own and let no write pass the units before it until
 * knot_log_release(). Returns its end LSN.
 */
knot_lsn_t knot_log_append_batch_end(struct knot_log *log);
void knot_log_release(struct knot_log *log);

/*
 * Write, and flush if `flush`, up to `lsn` at least; group commit: one leader, the others wait. Units held back by
 * a batch end are waited for. Locks: none. `request` is told before the wait. Errors: -EIO.
 */
int knot_log_flush(struct knot_log *log, knot_lsn_t lsn, bool flush, struct knot_request *request);

knot_lsn_t knot_log_lsn(struct knot_log *log);
knot_lsn_t knot_log_flushed_lsn(struct knot_log *log);
knot_lsn_t knot_log_batch_lsn(struct knot_log *log);      /* end of the last batch end that is flushed */
knot_lsn_t knot_log_open_batch_bytes(struct knot_log *log); /* appended since the last batch end */
bool knot_log_wants_flush(struct knot_log *log);          /* the buffer is half full */

/*
 * Write the next checkpoint slot: recovery will start at `lsn` (start of an mtr, or the log's end). Ring space in
 * front of it is free again once the slot is flushed: flushes too when `flush`, else with the next device flush
 * that knot_log_flush() does. Errors: -EIO.
 */
int knot_log_write_slot(struct knot_log *log, knot_lsn_t checkpoint_lsn, uint32_t flags, bool flush);

/* A device flush done by somebody else began after `written`: slots written before are durable now. */
void knot_log_note_device_flush(struct knot_log *log, uint64_t slot_sequence_before);
uint64_t knot_log_slot_sequence(struct knot_log *log);

void knot_log_add_stats(struct knot_log *log, struct knot_txn_stats *stats);

/* ---- the ring's geometry, also used by recovery ---- */
struct knot_ring {
	const struct knot_super *super;
	uint64_t bytes;                  /* all segments less the two slot pages */
};
void knot_ring_init(struct knot_ring *ring, const struct knot_super *super);
uint64_t knot_ring_slot_at(const struct knot_ring *ring, unsigned slot); /* device byte offset of slot 0 or 1 */
/* Device byte offset of a ring byte, and how many bytes follow it contiguously. */
uint64_t knot_ring_device_at(const struct knot_ring *ring, uint64_t ring_at, uint64_t *contiguous_bytes);

#endif
