/* SPDX-License-Identifier: MIT */
/*
 * The two background threads: one flushes the log every second and when its buffer is half full, one cleans.
 *
 * They end in knot_threads_stop(); a kick after that does nothing. Errors need no report here: what fails stops the
 * volume.
 */
#include "fs/txn/txn_int.h"

#include <errno.h>
#include <time.h>

#define LOG_PERIOD_SECONDS 1

static void *run_cleaner(void *arg)
{
	struct knot_txn *txn = arg;
	struct knot_room *room = &txn->room;

	pthread_mutex_lock(&room->mutex);
	while (!room->quit) {
		bool progress = false;

		if (!room->clean_kicked) {
			pthread_cond_wait(&room->clean_work, &room->mutex);
			continue;
		}
		room->clean_kicked = false;
		pthread_mutex_unlock(&room->mutex);
		knot_cleaner_run(txn, &progress);
		pthread_mutex_lock(&room->mutex);
	}
	pthread_mutex_unlock(&room->mutex);
	return NULL;
}

static void *run_log(void *arg)
{
	struct knot_txn *txn = arg;
	struct knot_room *room = &txn->room;
	struct timespec until;

	pthread_mutex_lock(&room->mutex);
	while (!room->quit) {
		clock_gettime(CLOCK_MONOTONIC, &until);
		until.tv_sec += LOG_PERIOD_SECONDS;
		while (!room->log_kicked && !room->quit)
			if (pthread_cond_timedwait(&room->log_work, &room->mutex, &until))
				break;
		room->log_kicked = false;
		if (room->quit)
			break;
		pthread_mutex_unlock(&room->mutex);
		knot_commit_now(txn, knot_txn_lsn(txn), NULL);
		pthread_mutex_lock(&room->mutex);
	}
	pthread_mutex_unlock(&room->mutex);
	return NULL;
}

void knot_threads_start(struct knot_txn *txn)
{
	struct knot_room *room = &txn->room;

	if (!txn->options.threads || !txn->log || atomic_load(&room->running))
		return;
	if (pthread_create(&room->log_thread, NULL, run_log, txn))
		goto failed;
	if (pthread_create(&room->clean_thread, NULL, run_cleaner, txn)) {
		pthread_mutex_lock(&room->mutex);
		room->quit = true;
		pthread_cond_broadcast(&room->log_work);
		pthread_mutex_unlock(&room->mutex);
		pthread_join(room->log_thread, NULL);
		goto failed;
	}
	atomic_store(&room->running, true);
	return;
failed:
	knot_message(txn->options.messages, KNOT_WARNING,
		     "can't start the background threads: the log is flushed and pages are cleaned on demand only");
}

void knot_threads_stop(struct knot_txn *txn)
{
	struct knot_room *room = &txn->room;

	if (!atomic_load(&room->running))
		return;
	pthread_mutex_lock(&room->mutex);
	room->quit = true;
	pthread_cond_broadcast(&room->clean_work);
	pthread_cond_broadcast(&room->log_work);
	pthread_cond_broadcast(&room->changed);
	pthread_mutex_unlock(&room->mutex);
	pthread_join(room->log_thread, NULL);
	pthread_join(room->clean_thread, NULL);
	atomic_store(&room->running, false);
}

void knot_threads_kick_cleaner(struct knot_txn *txn)
{
	struct knot_room *room = &txn->room;

	if (!atomic_load(&room->running))
		return;
	pthread_mutex_lock(&room->mutex);
	if (!room->clean_kicked) {
		room->clean_kicked = true;
		pthread_cond_signal(&room->clean_work);
	}
	pthread_mutex_unlock(&room->mutex);
}

void knot_threads_kick_log(struct knot_txn *txn)
{
	struct knot_room *room = &txn->room;

	if (!atomic_load(&room->running))
		return;
	pthread_mutex_lock(&room->mutex);
	if (!room->log_kicked) {
		room->log_kicked = true;
		pthread_cond_signal(&room->log_work);
	}
	pthread_mutex_unlock(&room->mutex);
}
