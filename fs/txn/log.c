/* SPDX-License-Identifier: MIT */
/*
 * The redo log in memory: reservations, the buffer, appending. log_flush.c writes it, slot.c and ring.c know its
 * places.
 *
 * LSN glossary (positions, lsn_int.h), each of which only grows:
 *   durable_checkpoint   of the newest slot known to be durable: recovery starts there or later
 *   slot_lsn             of the newest slot written
 *   flushed_lsn          the log is on the medium below it; a unit's start
 *   written_lsn          the device has it below this; a unit's start
 *   lsn                  where the next record goes
 *   batch_lsn            end of the newest flushed END_BATCH (data=strict)
 *   hold_lsn             start of the unit of an END_BATCH that must not be written yet
 *
 * A unit:    open --knot_log_close_unit_locked--> closed --leader--> written --device flush--> durable
 *              ^ append                             immutable          its buffer bytes are used again
 *
 * Invariants
 *  (1) durable_checkpoint <= slot_lsn <= flushed_lsn <= written_lsn <= hold_lsn, lsn; batch_lsn <= flushed_lsn.
 *  (2) Only closed units are written, each exactly once. Closing pads to the unit's end and happens only between
 *      mini-transactions; written_lsn and flushed_lsn are always places where a unit was closed.
 *  (3) The first record of the unit after a closed one is DURABLE: so every write begins with one. Its block's
 *      first_group is then 14, which no other block whose body begins with that byte can have: recovery can't
 *      mistake data for it.
 *  (4) Buffer: unit_ceil(lsn) - written_lsn + reserved_bytes <= buffer_bytes.
 *  (5) Ring: unit_ceil(lsn) + reserved_bytes <= unit_floor(durable_checkpoint) + ring bytes - margin. So no unit
 *      that recovery may need, from either slot, is overwritten.
 *  (6) (4) and (5) survive any append: knot_log_worst_bytes(r) is what r bytes of records take from unit_ceil(lsn)
 *      on, the DURABLE record, END_MTR and the padding to a unit included; begun in an open unit they end no later.
 *      A flush moves lsn to unit_ceil(lsn) at most, which changes neither. The one unit more in it pays for a
 *      second append under the same reservation; who appends more often reserves knot_log_worst_bytes() for each.
 *  (7) While hold_lsn is set, nothing at or past it is written: END_BATCH reaches the device after
 *      knot_log_release() only.
 *
 * If power fails: what is below flushed_lsn is there, of what is between it and written_lsn any part in any order,
 * torn at 512 bytes; by (2) and (5) none of that hurts what is below flushed_lsn. Recovery takes the blocks up to
 * the first that is missing, drops the mini-transaction (strict: batch) that this cuts, and nobody was told that it
 * is durable.
 */
#include "fs/txn/log_state_int.h"

#include "fs/util/endian.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void log_init_state(struct knot_log *log, const struct knot_log_options *options)
{
	uint64_t lsn = options->start.lsn;

	log->device = options->device;
	log->super = options->super;
	log->unit_bytes = options->super->log_write_unit_bytes;
	log->epoch = options->start.epoch;
	log->strict = options->start.strict;
	log->start_lsn = lsn;
	log->start_at = options->start.at_bytes;
	log->failed = options->failed;
	log->arg = options->arg;
	atomic_init(&log->lsn, lsn);
	atomic_init(&log->written_lsn, lsn);
	atomic_init(&log->flushed_lsn, lsn);
	atomic_init(&log->batch_lsn, lsn);
	atomic_init(&log->stopped, false);
	log->open_block_lsn = KNOT_LSN_NONE;
	log->flush_begins = true;
	log->hold_lsn = KNOT_LSN_NONE;
	log->batch_ends[0] = KNOT_LSN_NONE;
	log->batch_ends[1] = KNOT_LSN_NONE;
	log->last_batch_end = lsn;
	log->slot_sequence = options->start.slot_sequence;
	log->slot_durable = options->start.slot_sequence;
	log->slot_lsn = lsn;
	log->durable_checkpoint = lsn;
	pthread_mutex_init(&log->mutex, NULL);
	pthread_mutex_init(&log->slot_mutex, NULL);
	pthread_cond_init(&log->changed, NULL);
}

int knot_log_open(const struct knot_log_options *options, struct knot_log **log)
{
	struct knot_log *opened = calloc(1, sizeof(*opened));
	uint32_t unit_bytes = options->super->log_write_unit_bytes;
	void *buffer = NULL;
	void *page = NULL;
	size_t bytes;

	bytes = (options->buffer_bytes + unit_bytes - 1) / unit_bytes * unit_bytes;
	if (bytes < 4u * (size_t)unit_bytes)
		bytes = 4u * (size_t)unit_bytes;
	if (!opened || posix_memalign(&buffer, KNOT_PAGE_BYTES, bytes) ||
	    posix_memalign(&page, KNOT_PAGE_BYTES, KNOT_PAGE_BYTES)) {
		free(buffer);
		free(opened);
		return -ENOMEM;
	}
	knot_ring_init(&opened->ring, options->super);
	assert(knot_lsn_unit_floor(options->start.lsn, unit_bytes) == options->start.lsn);
	assert(options->start.at_bytes < opened->ring.bytes);
	opened->buffer = buffer;
	opened->buffer_bytes = bytes;
	opened->slot_page = page;
	log_init_state(opened, options);
	*log = opened;
	return 0;
}

void knot_log_close(struct knot_log *log)
{
	if (!log)
		return;
	pthread_cond_destroy(&log->changed);
	pthread_mutex_destroy(&log->slot_mutex);
	pthread_mutex_destroy(&log->mutex);
	free(log->slot_page);
	free(log->buffer);
	free(log);
}

void knot_log_stop(struct knot_log *log)
{
	pthread_mutex_lock(&log->mutex);
	atomic_store_explicit(&log->stopped, true, memory_order_release);
	pthread_cond_broadcast(&log->changed);
	pthread_mutex_unlock(&log->mutex);
}

/* ---- reservations ---------------------------------------------------------------------------------------------- */

uint64_t knot_log_ring_bytes(const struct knot_log *log)
{
	return log->ring.bytes;
}

/* What `stream_bytes` take from a unit's start to the end of the unit that they end in. */
static uint64_t units_for(const struct knot_log *log, uint64_t stream_bytes)
{
	uint64_t end = knot_lsn_advance(KNOT_LSN_FIRST, stream_bytes);

	return knot_lsn_unit_ceil(end, log->unit_bytes) - KNOT_LSN_FIRST;
}

uint64_t knot_log_worst_bytes(const struct knot_log *log, uint64_t record_bytes)
{
	return units_for(log, record_bytes + 2 * sizeof(struct knot_disk_record)) + log->unit_bytes;
}

int knot_log_try_reserve(struct knot_log *log, uint64_t bytes, bool privileged, bool *ring_full)
{
	uint64_t ring_bytes = log->ring.bytes;
	uint64_t taken_to, ring_end;
	int err = 0;

	pthread_mutex_lock(&log->mutex);
	taken_to = knot_lsn_unit_ceil(knot_log_load(&log->lsn), log->unit_bytes) + log->reserved_bytes + bytes;
	ring_end = knot_lsn_unit_floor(log->durable_checkpoint, log->unit_bytes);
	if (privileged)
		ring_end += ring_bytes - (uint64_t)KNOT_LOG_MARGIN_UNITS * log->unit_bytes;
	else
		ring_end += log->strict ? ring_bytes / 2 : ring_bytes / 4 * 3;
	if (atomic_load_explicit(&log->stopped, memory_order_relaxed)) {
		err = -EIO;
	} else if (taken_to > ring_end) { /* (5) */
		*ring_full = true;
		err = -EAGAIN;
	} else if (taken_to - knot_log_load(&log->written_lsn) > log->buffer_bytes) { /* (4) */
		*ring_full = false;
		err = -EAGAIN;
	} else {
		log->reserved_bytes += bytes;
	}
	pthread_mutex_unlock(&log->mutex);
	return err;
}

void knot_log_unreserve(struct knot_log *log, uint64_t bytes)
{
	pthread_mutex_lock(&log->mutex);
	assert(bytes <= log->reserved_bytes);
	log->reserved_bytes -= bytes;
	pthread_mutex_unlock(&log->mutex);
}

/* ---- appending ------------------------------------------------------------------------------------------------- */

/* Begin the header of the block that `lsn` is the start of, unless it is begun already. */
static void open_block_locked(struct knot_log *log, uint64_t lsn)
{
	struct knot_disk_block *block = knot_log_block(log, lsn);

	if (log->open_block_lsn == lsn)
		return;
	log->open_block_lsn = lsn;
	block->header.number = knot_put32(knot_lsn_number(lsn));
	block->header.used_bytes = knot_put16(0);
	block->header.first_group = knot_put16(UINT16_MAX);
	block->header.epoch = knot_put32(log->epoch);
}

static uint64_t put_bytes_locked(struct knot_log *log, uint64_t lsn, const void *bytes, size_t len_bytes)
{
	const uint8_t *from = bytes;

	while (len_bytes > 0) {
		uint64_t block_lsn = knot_lsn_block(lsn);
		uint32_t offset = knot_lsn_offset(lsn);
		size_t step = KNOT_LOG_BODY_BYTES - offset;
		struct knot_disk_block *block;

		if (!offset)
			open_block_locked(log, block_lsn);
		if (step > len_bytes)
			step = len_bytes;
		block = knot_log_block(log, block_lsn);
		memcpy(block->body + offset, from, step);
		offset += (uint32_t)step;
		block->header.used_bytes = knot_put16((uint16_t)offset);
		lsn = knot_lsn_position(block_lsn, offset);
		from += step;
		len_bytes -= step;
	}
	return lsn;
}

static uint64_t put_record_locked(struct knot_log *log, uint64_t lsn, enum knot_record_type type, uint64_t page_no)
{
	struct knot_disk_record record = { .type = (uint8_t)type, .page_no = knot_put64(page_no) };

	return put_bytes_locked(log, lsn, &record, sizeof(record));
}

/*
 * A group of `stream_bytes` begins: check that it was reserved, put DURABLE where it is due, note the group in its
 * block.
 */
static uint64_t begin_group_locked(struct knot_log *log, uint64_t stream_bytes)
{
	uint64_t lsn = knot_log_load(&log->lsn);
	uint64_t end = knot_lsn_advance(lsn, stream_bytes + (log->flush_begins ? sizeof(struct knot_disk_record) : 0));
	struct knot_disk_block *block;

	end = knot_lsn_unit_ceil(end, log->unit_bytes);
	assert(end - knot_log_load(&log->written_lsn) <= log->buffer_bytes); /* (4) */
	assert(end <= knot_lsn_unit_floor(log->durable_checkpoint, log->unit_bytes) + log->ring.bytes); /* (5) */

	if (log->flush_begins) {
		assert(knot_lsn_unit_floor(lsn, log->unit_bytes) == lsn);
		lsn = put_record_locked(log, lsn, KNOT_RECORD_DURABLE, knot_log_load(&log->flushed_lsn));
		log->flush_begins = false;
	}
	if (!knot_lsn_offset(lsn))
		open_block_locked(log, lsn);
	block = knot_log_block(log, knot_lsn_block(lsn));
	if (knot_get16(block->header.first_group) == UINT16_MAX)
		block->header.first_group = knot_put16((uint16_t)knot_lsn_offset(lsn));
	return lsn;
}

knot_lsn_t knot_log_append(struct knot_log *log, const struct iovec *iov, int iov_count, enum knot_record_type end_type,
			   knot_lsn_t *start_lsn)
{
	uint64_t stream_bytes = sizeof(struct knot_disk_record);
	uint64_t lsn;
	int i;

	for (i = 0; i < iov_count; i++)
		stream_bytes += iov[i].iov_len;

	pthread_mutex_lock(&log->mutex);
	lsn = begin_group_locked(log, stream_bytes);
	if (start_lsn)
		*start_lsn = lsn;
	for (i = 0; i < iov_count; i++)
		lsn = put_bytes_locked(log, lsn, iov[i].iov_base, iov[i].iov_len);
	lsn = put_record_locked(log, lsn, end_type, 0);
	knot_log_store(&log->lsn, lsn);
	pthread_mutex_unlock(&log->mutex);
	return lsn;
}

void knot_log_close_unit_locked(struct knot_log *log)
{
	uint64_t lsn = knot_log_load(&log->lsn);
	uint64_t end = knot_lsn_unit_ceil(lsn, log->unit_bytes);
	uint32_t offset = knot_lsn_offset(lsn);

	if (offset) {
		memset(knot_log_block(log, knot_lsn_block(lsn))->body + offset, 0, KNOT_LOG_BODY_BYTES - offset);
		lsn = knot_lsn_position(knot_lsn_block(lsn), KNOT_LOG_BODY_BYTES);
	}
	for (; lsn < end; lsn += KNOT_LOG_BLOCK_BYTES) {
		open_block_locked(log, lsn);
		memset(knot_log_block(log, lsn)->body, 0, KNOT_LOG_BODY_BYTES);
	}
	log->flush_begins = true;
	knot_log_store(&log->lsn, end);
}

knot_lsn_t knot_log_append_batch_end(struct knot_log *log)
{
	uint64_t hold, lsn;

	pthread_mutex_lock(&log->mutex);
	assert(log->hold_lsn == KNOT_LSN_NONE);
	knot_log_close_unit_locked(log);
	hold = knot_log_load(&log->lsn);
	lsn = begin_group_locked(log, sizeof(struct knot_disk_record));
	lsn = put_record_locked(log, lsn, KNOT_RECORD_END_BATCH, 0);
	log->hold_lsn = hold;
	log->last_batch_end = lsn;
	/* A third end while two are on their way: the middle one is forgotten, batch_lsn grows later. */
	log->batch_ends[log->batch_ends[0] == KNOT_LSN_NONE ? 0 : 1] = lsn;
	knot_log_store(&log->lsn, lsn);
	pthread_mutex_unlock(&log->mutex);
	return lsn;
}

void knot_log_release(struct knot_log *log)
{
	pthread_mutex_lock(&log->mutex);
	log->hold_lsn = KNOT_LSN_NONE;
	pthread_cond_broadcast(&log->changed);
	pthread_mutex_unlock(&log->mutex);
}

/* ---- where it stands ------------------------------------------------------------------------------------------- */

knot_lsn_t knot_log_lsn(struct knot_log *log)
{
	return knot_log_load(&log->lsn);
}

knot_lsn_t knot_log_flushed_lsn(struct knot_log *log)
{
	return knot_log_load(&log->flushed_lsn);
}

knot_lsn_t knot_log_batch_lsn(struct knot_log *log)
{
	return knot_log_load(&log->batch_lsn);
}

knot_lsn_t knot_log_open_batch_bytes(struct knot_log *log)
{
	uint64_t bytes;

	pthread_mutex_lock(&log->mutex);
	bytes = knot_log_load(&log->lsn) - log->last_batch_end;
	pthread_mutex_unlock(&log->mutex);
	return bytes;
}

bool knot_log_wants_flush(struct knot_log *log)
{
	uint64_t written = knot_log_load(&log->written_lsn);

	return knot_log_load(&log->lsn) - written >= log->buffer_bytes / 2;
}

void knot_log_add_stats(struct knot_log *log, struct knot_txn_stats *stats)
{
	pthread_mutex_lock(&log->mutex);
	stats->lsn = knot_log_load(&log->lsn);
	stats->written_lsn = knot_log_load(&log->written_lsn);
	stats->flushed_lsn = knot_log_load(&log->flushed_lsn);
	stats->checkpoint_lsn = log->durable_checkpoint;
	stats->committed_lsn = log->strict ? knot_log_load(&log->batch_lsn) : stats->flushed_lsn;
	stats->ring_bytes = log->ring.bytes;
	stats->ring_used_bytes = stats->lsn - knot_lsn_unit_floor(log->durable_checkpoint, log->unit_bytes);
	stats->log_buffer_bytes = log->buffer_bytes;
	stats->log_buffer_used_bytes = stats->lsn - stats->written_lsn;
	stats->epoch = log->epoch;
	stats->log_writes += log->writes;
	stats->log_written_bytes += log->written_bytes;
	stats->log_flushes += log->flushes;
	stats->device_flushes += log->flushes;
	if (stats->group_commit_max < log->group_max)
		stats->group_commit_max = log->group_max;
	stats->checkpoints += log->slots;
	stats->checkpoint_age_bytes = stats->lsn - log->durable_checkpoint;
	stats->strict = log->strict;
	stats->stopped = stats->stopped || atomic_load_explicit(&log->stopped, memory_order_relaxed);
	pthread_mutex_unlock(&log->mutex);
}
