/* SPDX-License-Identifier: MIT */
/* The log's state, shared by log.c and log_flush.c. Invariants: log.c. */
#ifndef KNOT_TXN_LOG_STATE_INT_H
#define KNOT_TXN_LOG_STATE_INT_H

#include "fs/txn/log_int.h"
#include "fs/txn/lsn_int.h"

#include <pthread.h>
#include <stdatomic.h>

#define KNOT_LSN_NONE UINT64_MAX
#define KNOT_LOG_MARGIN_UNITS 2u     /* of the ring, never used */

struct knot_log {
	/* fixed once open */
	struct knot_device *device;
	const struct knot_super *super;
	struct knot_ring ring;
	uint8_t *buffer;             /* byte of LSN n: (n - KNOT_LSN_FIRST) % buffer_bytes; aligned to 4096 */
	size_t buffer_bytes;         /* whole write units */
	uint32_t unit_bytes;
	uint32_t epoch;
	bool strict;
	uint64_t start_lsn;
	uint64_t start_at;
	void (*failed)(void *arg, int err, const char *what);
	void *arg;

	pthread_mutex_t mutex;       /* guards all below; taken after slot_mutex */
	pthread_cond_t changed;      /* a leader is done, a hold is released, or the log has stopped */

	/* written under the mutex, read without */
	_Atomic uint64_t lsn;        /* where the next record goes */
	_Atomic uint64_t written_lsn;
	_Atomic uint64_t flushed_lsn;
	_Atomic uint64_t batch_lsn;
	_Atomic bool stopped;

	uint64_t reserved_bytes;
	uint64_t open_block_lsn;     /* block whose header was begun last */
	bool flush_begins;           /* the next unit is the first of a flush: it begins with DURABLE */
	bool leading;                /* a leader is at the device */
	uint64_t hold_lsn;           /* no write goes past it; KNOT_LSN_NONE: no hold */
	uint64_t batch_ends[2];      /* appended, not yet flushed, oldest first; KNOT_LSN_NONE: none */
	uint64_t last_batch_end;

	pthread_mutex_t slot_mutex;  /* one slot write at a time; held over the device */
	void *slot_page;             /* guarded by slot_mutex */
	uint64_t slot_sequence;      /* of the last slot whose write has returned */
	uint64_t slot_durable;       /* sequence of the last durable one */
	uint64_t slot_lsn;           /* checkpoint LSN of slot_sequence */
	uint64_t durable_checkpoint; /* checkpoint LSN of slot_durable: ring space below it is free */

	uint32_t waiters;            /* callers in knot_log_flush() */
	uint32_t group_max;
	uint64_t writes, written_bytes, flushes, slots;
};

static inline uint64_t knot_log_load(const _Atomic uint64_t *value)
{
	return atomic_load_explicit(value, memory_order_acquire);
}

static inline void knot_log_store(_Atomic uint64_t *to, uint64_t value)
{
	atomic_store_explicit(to, value, memory_order_release);
}

/* The block at `block_lsn` in the buffer. */
static inline struct knot_disk_block *knot_log_block(const struct knot_log *log, uint64_t block_lsn)
{
	return (struct knot_disk_block *)(void *)(log->buffer + (block_lsn - KNOT_LSN_FIRST) % log->buffer_bytes);
}

/* The ring byte of an LSN. */
static inline uint64_t knot_log_ring_at(const struct knot_log *log, uint64_t lsn)
{
	return (log->start_at + (lsn - log->start_lsn)) % log->ring.bytes;
}

/* Pad to the next write unit: what was appended so far becomes immutable and may be written. */
void knot_log_close_unit_locked(struct knot_log *log);

#endif
