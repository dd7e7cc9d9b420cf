/* SPDX-License-Identifier: MIT */
/*
 * Room for a mini-transaction: ring, log buffer, page frames. Waiting for it, and slowing writers down before they
 * must wait.
 *
 *	try -> reserved
 *	  \--> short of buffer: flush the log oneself
 *	   \-> short of ring or frames: the cleaner (its thread, or oneself where there is none), then try again
 *
 * Invariants
 *  (1) Who waits here holds no lock, no reservation and not the cleaner's batch.
 *  (2) A wait ends: `progress` is read before the try that fails, and whatever makes room after that try changes it:
 *      the cleaner, the end of another mini-transaction, a frame put back, a stop.
 *  (3) data=strict: reservations of those not privileged and the open batch are at most a quarter of the ring
 *      together; a batch beyond an eighth is closed first. While a batch is closed, who closes it never waits for the
 *      cleaner's thread, which may be waiting for him: he cleans what is committed himself.
 */
#include "fs/txn/txn_int.h"

#include <errno.h>
#include <time.h>

#define DELAY_MAX_NS   20000000u /* at the point where waiting begins */
#define VAIN_TRIES_MAX 16u

enum shortage { SHORT_OF_NOTHING, SHORT_OF_FRAMES, SHORT_OF_RING, SHORT_OF_BUFFER, SHORT_OF_BATCH };

struct want {
	unsigned pages;
	uint64_t bytes;
	bool privileged;
};

int knot_room_init(struct knot_room *room)
{
	pthread_condattr_t attr;

	pthread_condattr_init(&attr);
	pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
	pthread_mutex_init(&room->mutex, NULL);
	pthread_cond_init(&room->changed, &attr);
	pthread_cond_init(&room->clean_work, &attr);
	pthread_cond_init(&room->log_work, &attr);
	pthread_condattr_destroy(&attr);
	return 0;
}

void knot_room_destroy(struct knot_room *room)
{
	pthread_cond_destroy(&room->log_work);
	pthread_cond_destroy(&room->clean_work);
	pthread_cond_destroy(&room->changed);
	pthread_mutex_destroy(&room->mutex);
}

void knot_room_changed(struct knot_room *room)
{
	pthread_mutex_lock(&room->mutex);
	room->progress++;
	pthread_cond_broadcast(&room->changed);
	pthread_mutex_unlock(&room->mutex);
}

void knot_room_signal(struct knot_room *room)
{
	if (atomic_load(&room->waiters))
		knot_room_changed(room);
}

static uint64_t progress_of(struct knot_room *room)
{
	uint64_t progress;

	pthread_mutex_lock(&room->mutex);
	progress = room->progress;
	pthread_mutex_unlock(&room->mutex);
	return progress;
}

static void wait_for_progress(struct knot_txn *txn, uint64_t seen, struct knot_request *request)
{
	struct knot_room *room = &txn->room;

	knot_request_will_block(request);
	pthread_mutex_lock(&room->mutex);
	while (room->progress == seen && !knot_txn_is_stopped(txn))
		pthread_cond_wait(&room->changed, &room->mutex);
	pthread_mutex_unlock(&room->mutex);
}

/* ---- trying ---- */

/* (3) */
static bool batch_is_full(struct knot_txn *txn, const struct want *want)
{
	uint64_t open, taken;

	if (!txn->options.strict || want->privileged)
		return false;
	open = knot_log_open_batch_bytes(txn->log);
	taken = open + atomic_load(&txn->outstanding_bytes) + want->bytes;
	return open > txn->ring_bytes / 8 || taken > txn->ring_bytes / 4;
}

static int try_reserve(struct knot_txn *txn, const struct want *want, enum shortage *shortage)
{
	bool ring_full = false;
	int err;

	*shortage = SHORT_OF_BATCH;
	if (batch_is_full(txn, want))
		return -EAGAIN;
	*shortage = SHORT_OF_FRAMES;
	if (!knot_cache_reserve(&txn->cache, want->pages, want->privileged))
		return -EAGAIN;
	err = knot_log_try_reserve(txn->log, want->bytes, want->privileged, &ring_full);
	if (err) {
		*shortage = ring_full ? SHORT_OF_RING : SHORT_OF_BUFFER;
		knot_cache_unreserve(&txn->cache, want->pages);
		return err;
	}
	atomic_fetch_add(&txn->outstanding_bytes, want->bytes);
	*shortage = SHORT_OF_NOTHING;
	return 0;
}

void knot_room_unreserve(struct knot_txn *txn, size_t frames, uint64_t bytes)
{
	knot_cache_unreserve(&txn->cache, frames);
	knot_log_unreserve(txn->log, bytes);
	atomic_fetch_sub(&txn->outstanding_bytes, bytes);
}

/* ---- making room ---- */

/* Not while it is running: who flushes data to make frames may come here himself. */
static void call_need_frames(struct knot_txn *txn, struct knot_request *request)
{
	struct knot_room *room = &txn->room;
	bool mine;

	pthread_mutex_lock(&room->mutex);
	mine = !room->needing_frames;
	room->needing_frames = true;
	pthread_mutex_unlock(&room->mutex);
	if (!mine)
		return;
	knot_request_will_block(request);
	txn->upper.need_frames(txn->upper.arg);
	pthread_mutex_lock(&room->mutex);
	room->needing_frames = false;
	pthread_mutex_unlock(&room->mutex);
}

/*
 * Whether the caller cleans instead of leaving it to the thread: there is none, or it may be waiting for the end of
 * the batch, and with it for the caller. (3)
 */
static bool cleans_himself(struct knot_txn *txn, bool privileged, bool *committed_only)
{
	struct knot_room *room = &txn->room;
	bool closing;

	pthread_mutex_lock(&room->mutex);
	closing = room->closing;
	pthread_mutex_unlock(&room->mutex);
	*committed_only = closing && privileged;
	return closing ? privileged : !atomic_load(&room->running);
}

static int clean_or_wait(struct knot_txn *txn, bool privileged, uint64_t seen, unsigned *vain,
			 struct knot_request *request)
{
	bool committed_only, progress = false;
	int err;

	if (!cleans_himself(txn, privileged, &committed_only)) {
		knot_threads_kick_cleaner(txn);
		wait_for_progress(txn, seen, request);
		return 0;
	}
	knot_request_will_block(request);
	err = committed_only ? knot_cleaner_run_committed(txn, &progress) : knot_cleaner_run(txn, &progress);
	if (err || progress)
		return err;
	if (atomic_load(&txn->outstanding_bytes)) {
		wait_for_progress(txn, seen, request);
		return 0;
	}
	return ++*vain > VAIN_TRIES_MAX ? -EFBIG : 0;
}

static int make_room(struct knot_txn *txn, const struct want *want, enum shortage shortage, uint64_t seen,
		     unsigned *vain, struct knot_request *request)
{
	struct knot_room *room = &txn->room;
	atomic_uint *short_of = shortage == SHORT_OF_FRAMES ? &room->want_frames : &room->want_ring;
	int err;

	if (shortage == SHORT_OF_BUFFER) {
		uint64_t lsn = knot_txn_lsn(txn);

		if (lsn > knot_log_flushed_lsn(txn->log))
			return knot_commit_flush_log(txn, lsn, true, request);
		wait_for_progress(txn, seen, request); /* others have reserved it all */
		return 0;
	}
	if (shortage == SHORT_OF_BATCH) {
		if (knot_log_open_batch_bytes(txn->log))
			return knot_commit_now(txn, knot_txn_lsn(txn), request);
		wait_for_progress(txn, seen, request);
		return 0;
	}
	if (shortage == SHORT_OF_FRAMES)
		call_need_frames(txn, request);
	atomic_fetch_add(short_of, 1);
	err = clean_or_wait(txn, want->privileged, seen, vain, request);
	atomic_fetch_sub(short_of, 1);
	return err;
}

/* A try failed: wait until one succeeds. */
static int reserve_slowly(struct knot_txn *txn, const struct want *want, struct knot_request *request)
{
	enum shortage shortage;
	unsigned vain = 0;
	int err;

	atomic_fetch_add(&txn->mtr_waits, 1);
	atomic_fetch_add(&txn->room.waiters, 1);
	for (;;) {
		uint64_t seen = progress_of(&txn->room); /* (2) */

		err = try_reserve(txn, want, &shortage);
		if (err != -EAGAIN)
			break;
		if (knot_txn_is_stopped(txn)) {
			err = -EIO;
			break;
		}
		err = make_room(txn, want, shortage, seen, &vain, request);
		if (err)
			break;
	}
	atomic_fetch_sub(&txn->room.waiters, 1);
	return err;
}

/* Wait for the cleaner's next batch, but not for long. */
static void wait_for_cleaner(struct knot_txn *txn, uint64_t ns, struct knot_request *request)
{
	struct knot_room *room = &txn->room;
	struct timespec until;
	uint64_t seen;

	knot_request_will_block(request);
	clock_gettime(CLOCK_MONOTONIC, &until);
	ns += (uint64_t)until.tv_nsec;
	until.tv_sec += (time_t)(ns / 1000000000u);
	until.tv_nsec = (long)(ns % 1000000000u);
	pthread_mutex_lock(&room->mutex);
	seen = room->cleaned;
	while (room->cleaned == seen && !knot_txn_is_stopped(txn))
		if (pthread_cond_timedwait(&room->changed, &room->mutex, &until))
			break;
	pthread_mutex_unlock(&room->mutex);
}

/*
 * Beyond 5/8 of the ring (strict: 3/8) each writer waits a little for the cleaner, the longer the nearer 3/4 (1/2) is.
 */
static void delay(struct knot_txn *txn, struct knot_request *request)
{
	uint64_t from = txn->ring_bytes / 8 * (txn->options.strict ? 3 : 5), width = txn->ring_bytes / 8;
	uint64_t age = knot_cleaner_age_bytes(txn);

	if (age <= from || !atomic_load(&txn->room.running))
		return;
	knot_threads_kick_cleaner(txn);
	wait_for_cleaner(txn, age - from >= width ? DELAY_MAX_NS : DELAY_MAX_NS * (age - from) / width, request);
}

int knot_room_reserve(struct knot_txn *txn, unsigned pages, uint64_t bytes, unsigned flags,
		      struct knot_request *request)
{
	struct want want = { .pages = pages, .bytes = bytes, .privileged = flags & KNOT_MTR_PRIVILEGED };
	enum shortage shortage;
	int err;

	if (!(flags & (KNOT_MTR_NO_WAIT | KNOT_MTR_PRIVILEGED)))
		delay(txn, request);
	err = try_reserve(txn, &want, &shortage);
	if (err == -EAGAIN && !(flags & KNOT_MTR_NO_WAIT))
		err = reserve_slowly(txn, &want, request);
	return err;
}

int knot_room_make_frames(struct knot_txn *txn, struct knot_request *request)
{
	struct knot_room *room = &txn->room;
	uint64_t seen = progress_of(room);
	bool committed_only, progress = false;
	int err = 0;

	if (!txn->log || knot_txn_is_stopped(txn)) {
		if (!knot_cache_has_clean(&txn->cache))
			return -EIO;
		wait_for_cleaner(txn, DELAY_MAX_NS / 20, request);
		return 0;
	}
	call_need_frames(txn, request);
	atomic_fetch_add(&room->waiters, 1);
	atomic_fetch_add(&room->want_frames, 1);
	if (cleans_himself(txn, true, &committed_only)) {
		knot_request_will_block(request);
		err = committed_only ? knot_cleaner_run_committed(txn, &progress) : knot_cleaner_run(txn, &progress);
	} else if (knot_cleaner_has_reason(txn, false)) {
		knot_threads_kick_cleaner(txn);
		wait_for_progress(txn, seen, request);
	} else {
		wait_for_cleaner(txn, DELAY_MAX_NS / 20, request); /* others have them pinned, for a moment */
	}
	atomic_fetch_sub(&room->want_frames, 1);
	atomic_fetch_sub(&room->waiters, 1);
	return err;
}
