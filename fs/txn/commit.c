/* SPDX-License-Identifier: MIT */
/*
 * Commit: what makes mini-transactions durable, with both data modes.
 *
 *   ordered: committed = flushed. Those that wait together share a flush (log_flush.c).
 *   strict:  committed = end of the last flushed batch. One thread at a time closes a batch; the others wait for it
 *   and look
 *            whether it covered them, else the next one closes the next.
 *
 *	open --upper->close_batch(): pending data mapped--> END_BATCH appended, held back (knot_txn_close_batch)
 *	     --data flushed--> released (knot_txn_release_batch) --log flushed--> committed
 *
 * Invariants
 *  (1) Nothing asks the log to write once the volume has stopped: END_BATCH of a batch whose data failed stays in
 *      memory.
 *  (2) `closing` is set by who calls upper->close_batch() and by nobody else, so that batches end one after another.
 *
 * If power fails before END_BATCH is flushed: recovery drops the whole batch; no page of it went home (cleaner.c (2)).
 */
#include "fs/txn/txn_int.h"

#include <errno.h>

knot_lsn_t knot_txn_lsn(struct knot_txn *txn)
{
	return atomic_load_explicit(&txn->lsn, memory_order_acquire);
}

knot_lsn_t knot_txn_committed_lsn(struct knot_txn *txn)
{
	if (!txn->log)
		return knot_txn_lsn(txn);
	return txn->options.strict ? knot_log_batch_lsn(txn->log) : knot_log_flushed_lsn(txn->log);
}

void knot_commit_announce(struct knot_txn *txn)
{
	knot_lsn_t committed_lsn = knot_txn_committed_lsn(txn);
	uint_fast64_t known = atomic_load(&txn->announced_lsn);

	while (known < committed_lsn) {
		if (atomic_compare_exchange_weak(&txn->announced_lsn, &known, committed_lsn)) {
			txn->upper.committed(txn->upper.arg, committed_lsn);
			return;
		}
	}
}

int knot_commit_flush_log(struct knot_txn *txn, knot_lsn_t lsn, bool flush, struct knot_request *request)
{
	int err;

	if (knot_txn_is_stopped(txn)) /* (1) */
		return -EIO;
	err = knot_log_flush(txn->log, lsn, flush, request);
	if (err)
		return -EIO;
	knot_commit_announce(txn);
	knot_room_signal(&txn->room);
	return 0;
}

/* Become the one who closes the batch. False: not needed any more, or stopped. */
static bool begin_closing(struct knot_txn *txn, knot_lsn_t lsn, struct knot_request *request)
{
	struct knot_room *room = &txn->room;
	bool mine = false;

	pthread_mutex_lock(&room->mutex);
	while (!mine && knot_txn_committed_lsn(txn) < lsn && !knot_txn_is_stopped(txn)) {
		mine = !room->closing;
		if (mine)
			break;
		knot_request_will_block(request);
		pthread_cond_wait(&room->changed, &room->mutex);
	}
	if (mine) {
		room->closing = true;
		room->progress++; /* room.c (3): who waits for the cleaner looks again */
		pthread_cond_broadcast(&room->changed);
	}
	pthread_mutex_unlock(&room->mutex);
	return mine;
}

static int close_batch(struct knot_txn *txn, knot_lsn_t lsn, struct knot_request *request)
{
	struct knot_room *room = &txn->room;
	int err = 0;

	if (begin_closing(txn, lsn, request)) {
		knot_request_will_block(request);
		err = txn->upper.close_batch(txn->upper.arg, request);
		if (err) /* by contract it has stopped already; if not, nobody could ever commit again */
			knot_txn_stop(txn, err, "the end of a batch failed");
		pthread_mutex_lock(&room->mutex);
		room->closing = false;
		room->progress++;
		pthread_cond_broadcast(&room->changed);
		pthread_mutex_unlock(&room->mutex);
	}
	if (knot_txn_committed_lsn(txn) >= lsn)
		return 0;
	return err ? err : -EIO;
}

int knot_commit_now(struct knot_txn *txn, knot_lsn_t lsn, struct knot_request *request)
{
	if (knot_txn_committed_lsn(txn) >= lsn)
		return 0;
	if (knot_txn_is_stopped(txn))
		return -EIO;
	if (txn->options.strict)
		return close_batch(txn, lsn, request);
	return knot_commit_flush_log(txn, lsn, true, request);
}

int knot_txn_commit_to(struct knot_txn *txn, knot_lsn_t lsn, bool force, struct knot_request *request)
{
	unsigned policy = force ? 1 : txn->options.commit_policy;

	atomic_fetch_add_explicit(&txn->commits, 1, memory_order_relaxed);
	if (lsn > knot_txn_lsn(txn))
		lsn = knot_txn_lsn(txn);
	if (knot_txn_committed_lsn(txn) >= lsn)
		return 0;
	if (knot_txn_is_stopped(txn))
		return -EIO;
	if (policy == 0)
		return 0;
	atomic_fetch_add_explicit(&txn->commit_waits, 1, memory_order_relaxed);
	if (policy == 2 && !txn->options.strict)
		return knot_commit_flush_log(txn, lsn, false, request);
	return knot_commit_now(txn, lsn, request);
}

/* ---- batches ---- */

knot_lsn_t knot_txn_close_batch(struct knot_mtr *mtr)
{
	struct knot_txn *txn = mtr->txn;
	knot_lsn_t lsn;

	knot_txn_assert_locked(txn);
	knot_mtr_next(mtr);
	lsn = knot_log_append_batch_end(txn->log);
	atomic_store_explicit(&txn->lsn, lsn, memory_order_release);
	atomic_store(&txn->batch_end_lsn, lsn);
	mtr->end_lsn = lsn;
	knot_cleaner_at_batch_end_locked(txn, lsn);
	return lsn;
}

int knot_txn_release_batch(struct knot_txn *txn, struct knot_request *request)
{
	if (knot_txn_is_stopped(txn)) /* (1) */
		return -EIO;
	knot_log_release(txn->log);
	return knot_commit_flush_log(txn, atomic_load(&txn->batch_end_lsn), true, request);
}

int knot_commit_close_plain(void *arg, struct knot_request *request)
{
	struct knot_txn *txn = arg;
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, txn, request);
	do {
		err = knot_mtr_begin(&mtr, 0, KNOT_MTR_PRIVILEGED);
		if (!err)
			knot_txn_close_batch(&mtr);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	if (!err)
		err = knot_txn_device_flush(txn);
	if (!err)
		err = knot_txn_release_batch(txn, request);
	return err;
}

int knot_txn_device_flush(struct knot_txn *txn)
{
	uint64_t sequence;
	int err;

	if (knot_txn_is_stopped(txn))
		return -EIO;
	sequence = txn->log ? knot_log_slot_sequence(txn->log) : 0;
	err = knot_device_flush(txn->options.device);
	if (err) {
		knot_txn_stop(txn, err, "a flush of the device failed");
		return -EIO;
	}
	atomic_fetch_add_explicit(&txn->device_flushes, 1, memory_order_relaxed);
	if (txn->log) {
		knot_log_note_device_flush(txn->log, sequence);
		knot_room_signal(&txn->room);
	}
	return 0;
}
