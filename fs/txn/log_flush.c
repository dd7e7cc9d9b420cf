/* SPDX-License-Identifier: MIT */
/*
 * Getting the log to the device: group commit, and the checkpoint slots.
 *
 *   idle --knot_log_flush()--> sealing, writing --written--> flushing --flushed--> idle
 *                                   |                           |
 *                                   +------- device error ------+--> stopped (never left)
 *
 * The first that finds nobody leading is the leader. It closes the open unit, so that all that was appended goes
 * along, and works on closed units without the mutex, while others append behind it. Who comes meanwhile waits;
 * when the leader is done one flush has served all that it took along, and the first of the rest leads the next.
 *
 * Invariants, beside those of log.c
 *  (1) One leader at a time. Only it touches bytes of closed units: their checksums, and the LSN in the first
 *      DURABLE record.
 *  (2) flushed_lsn grows to `end` only by a device flush that began after the write of all below `end` had
 *      returned. The same holds for a slot: one counts as durable by a flush that began after its write had
 *      returned.
 *  (3) DURABLE never holds more than flushed_lsn at the time of the write: what it says is true wherever it is read.
 *  (4) Slot n + 1 is written only when slot n is durable; its checkpoint_lsn and durable_lsn are at most flushed_lsn.
 *  (5) After the first failure nothing is written any more, and whoever waits or comes gets -EIO: what a failed
 *      flush has dropped can't be known, so trying again would prove nothing.
 *
 * If power fails while sealing or writing: log.c. While flushing: the same, nobody has been told yet. Between the
 * flush and the answer: it is durable, and recovery finds it though nobody was told. While a slot is written:
 * slot.c.
 */
#include "fs/txn/log_state_int.h"
#include "fs/txn/slot_int.h"

#include "fs/util/endian.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

static bool is_stopped(struct knot_log *log)
{
	return atomic_load_explicit(&log->stopped, memory_order_acquire);
}

/* (5). Called without the mutex. */
static void fail(struct knot_log *log, int err, const char *what)
{
	bool first = !atomic_exchange(&log->stopped, true);

	knot_log_stop(log);
	if (first && log->failed)
		log->failed(log->arg, err, what);
}

/* ---- closed units to the device -------------------------------------------------------------------------------- */

static void seal_blocks(struct knot_log *log, uint64_t begin, uint64_t end, uint64_t durable_lsn)
{
	struct knot_disk_record record = { .type = KNOT_RECORD_DURABLE, .page_no = knot_put64(durable_lsn) };
	struct knot_disk_block *block = knot_log_block(log, begin);
	uint64_t lsn;

	assert(block->body[0] == KNOT_RECORD_DURABLE); /* log.c (3) */
	memcpy(block->body, &record, sizeof(record));
	for (lsn = begin; lsn < end; lsn += KNOT_LOG_BLOCK_BYTES) {
		block = knot_log_block(log, lsn);
		block->crc = knot_put32(
			~knot_crc32c(log->super->seal.crc_seed, block, offsetof(struct knot_disk_block, crc)));
	}
}

/* Write [begin, end): in pieces where the ring's segments or the ring end, gathered where the buffer does. */
static int write_units(struct knot_log *log, uint64_t begin, uint64_t end, uint64_t *writes)
{
	while (begin < end) {
		uint64_t contiguous, device_at;
		uint64_t buffer_at = (begin - KNOT_LSN_FIRST) % log->buffer_bytes;
		uint64_t len = end - begin;
		struct iovec iov[2];
		int err;

		device_at = knot_ring_device_at(&log->ring, knot_log_ring_at(log, begin), &contiguous);
		if (len > contiguous)
			len = contiguous;
		iov[0].iov_base = log->buffer + buffer_at;
		iov[0].iov_len = len < log->buffer_bytes - buffer_at ? len : log->buffer_bytes - buffer_at;
		iov[1].iov_base = log->buffer;
		iov[1].iov_len = len - iov[0].iov_len;
		err = knot_device_writev(log->device, iov, iov[1].iov_len ? 2 : 1, device_at);
		if (err)
			return err;
		begin += len;
		++*writes;
	}
	return 0;
}

/* Slots up to `sequence` are durable. */
static void slots_durable_locked(struct knot_log *log, uint64_t sequence)
{
	if (sequence < log->slot_sequence || log->slot_durable == log->slot_sequence)
		return;
	log->slot_durable = log->slot_sequence;
	log->durable_checkpoint = log->slot_lsn;
}

static void flushed_to_locked(struct knot_log *log, uint64_t end)
{
	knot_log_store(&log->flushed_lsn, end);
	while (log->batch_ends[0] <= end) {
		knot_log_store(&log->batch_lsn, log->batch_ends[0]);
		log->batch_ends[0] = log->batch_ends[1];
		log->batch_ends[1] = KNOT_LSN_NONE;
	}
}

/* A device flush outside of the log's own leading. Nothing held but slot_mutex. */
static int flush_for_slots(struct knot_log *log)
{
	uint64_t sequence = knot_log_slot_sequence(log);
	int err = knot_device_flush(log->device);

	if (err) {
		fail(log, err, "flush of the checkpoint slot");
		return -EIO;
	}
	pthread_mutex_lock(&log->mutex);
	log->flushes++;
	slots_durable_locked(log, sequence);
	pthread_mutex_unlock(&log->mutex);
	return 0;
}

/* ---- group commit ---------------------------------------------------------------------------------------------- */

/* Device work of the leader for units up to `end`. Called and left with the mutex held, dropped in between. */
static void lead_units_locked(struct knot_log *log, uint64_t begin, uint64_t end, bool flush)
{
	uint64_t durable_lsn = knot_log_load(&log->flushed_lsn);
	const char *what = "log write";
	uint64_t sequence = 0;
	uint64_t writes = 0;
	int err = 0;

	pthread_mutex_unlock(&log->mutex);
	if (begin < end) {
		seal_blocks(log, begin, end, durable_lsn);
		err = write_units(log, begin, end, &writes);
	}
	pthread_mutex_lock(&log->mutex);
	if (!err) {
		log->writes += writes;
		log->written_bytes += end - begin;
		knot_log_store(&log->written_lsn, end);
		if (flush && begin < end)
			pthread_cond_broadcast(&log->changed); /* those who need no flush */
		sequence = log->slot_sequence;
	}
	pthread_mutex_unlock(&log->mutex);

	if (!err && flush) {
		what = "log flush";
		err = knot_device_flush(log->device);
	}
	if (err)
		fail(log, err, what);
	pthread_mutex_lock(&log->mutex);
	if (!err && flush) {
		log->flushes++;
		slots_durable_locked(log, sequence);
		flushed_to_locked(log, end);
	}
}

static void lead_locked(struct knot_log *log, bool flush)
{
	uint64_t begin = knot_log_load(&log->written_lsn);
	uint64_t end = log->hold_lsn;

	if (end == KNOT_LSN_NONE) {
		knot_log_close_unit_locked(log);
		end = knot_log_load(&log->lsn);
	}
	if (flush && log->group_max < log->waiters)
		log->group_max = log->waiters;
	log->leading = true;
	lead_units_locked(log, begin, end, flush);
	log->leading = false;
	pthread_cond_broadcast(&log->changed);
}

/*
 * Whether a leader could get anything further: with units held back there may be nothing to do but to wait for the
 * release.
 */
static bool can_lead_locked(struct knot_log *log, bool flush)
{
	if (log->leading)
		return false;
	return log->hold_lsn == KNOT_LSN_NONE || knot_log_load(&log->written_lsn) < log->hold_lsn ||
	       (flush && knot_log_load(&log->flushed_lsn) < log->hold_lsn);
}

static bool has_reached(struct knot_log *log, knot_lsn_t lsn, bool flush)
{
	return knot_log_load(flush ? &log->flushed_lsn : &log->written_lsn) >= lsn;
}

int knot_log_flush(struct knot_log *log, knot_lsn_t lsn, bool flush, struct knot_request *request)
{
	int err = 0;

	if (is_stopped(log))
		return -EIO;
	if (has_reached(log, lsn, flush))
		return 0;
	knot_request_will_block(request);

	pthread_mutex_lock(&log->mutex);
	if (lsn > knot_log_load(&log->lsn))
		lsn = knot_log_load(&log->lsn);
	log->waiters++;
	while (!has_reached(log, lsn, flush)) {
		if (is_stopped(log)) {
			err = -EIO;
			break;
		}
		if (can_lead_locked(log, flush))
			lead_locked(log, flush);
		else
			pthread_cond_wait(&log->changed, &log->mutex);
	}
	log->waiters--;
	pthread_mutex_unlock(&log->mutex);
	return err;
}

/* ---- checkpoint slots ------------------------------------------------------------------------------------------ */

static int write_slot_alone(struct knot_log *log, knot_lsn_t checkpoint_lsn, uint32_t flags, bool flush)
{
	struct knot_slot slot;
	bool settled;
	int err;

	pthread_mutex_lock(&log->mutex);
	settled = log->slot_durable == log->slot_sequence;
	pthread_mutex_unlock(&log->mutex);
	if (!settled) { /* (4) */
		err = flush_for_slots(log);
		if (err)
			return err;
	}

	pthread_mutex_lock(&log->mutex);
	if (is_stopped(log)) {
		pthread_mutex_unlock(&log->mutex);
		return -EIO;
	}
	if (checkpoint_lsn < log->slot_lsn)
		checkpoint_lsn = log->slot_lsn;
	slot.durable_lsn = knot_log_load(&log->flushed_lsn);
	assert(checkpoint_lsn <= slot.durable_lsn);
	slot.sequence = log->slot_sequence + 1;
	slot.epoch = log->epoch;
	slot.flags = flags | (log->strict ? KNOT_SLOT_STRICT : 0);
	slot.checkpoint_lsn = checkpoint_lsn;
	slot.checkpoint_at = knot_log_ring_at(log, checkpoint_lsn);
	pthread_mutex_unlock(&log->mutex);

	err = knot_slot_write(log->device, &log->ring, &slot, log->slot_page);
	if (err) {
		fail(log, err, "write of the checkpoint slot");
		return -EIO;
	}
	pthread_mutex_lock(&log->mutex);
	log->slots++;
	log->slot_sequence = slot.sequence;
	log->slot_lsn = checkpoint_lsn;
	pthread_mutex_unlock(&log->mutex);
	return flush ? flush_for_slots(log) : 0;
}

int knot_log_write_slot(struct knot_log *log, knot_lsn_t checkpoint_lsn, uint32_t flags, bool flush)
{
	int err = knot_log_flush(log, checkpoint_lsn, true, NULL);

	if (err)
		return err;
	pthread_mutex_lock(&log->slot_mutex);
	err = write_slot_alone(log, checkpoint_lsn, flags, flush);
	pthread_mutex_unlock(&log->slot_mutex);
	return err;
}

void knot_log_note_device_flush(struct knot_log *log, uint64_t slot_sequence_before)
{
	pthread_mutex_lock(&log->mutex);
	slots_durable_locked(log, slot_sequence_before);
	pthread_mutex_unlock(&log->mutex);
}

uint64_t knot_log_slot_sequence(struct knot_log *log)
{
	uint64_t sequence;

	pthread_mutex_lock(&log->mutex);
	sequence = log->slot_sequence;
	pthread_mutex_unlock(&log->mutex);
	return sequence;
}
