/* SPDX-License-Identifier: MIT */
/*
 * The volume's own thread: takes forgets in, deletes orphans, flushes old data, logs access times.
 *
 * FORGET comes from the one thread that reads requests, so it costs that thread a short lock and, at most once in
 * GATHER_MS, a wake-up.
 */
#include "fs/vfs/volume_int.h"

#include <stdlib.h>
#include <time.h>

#define GATHER_MS      10
#define FORGETS_URGENT 4096u /* so many are worth a round at once */
#define FORGET_BATCH   256u  /* taken in under one lock */
#define ATIME_SECONDS  60u

static void deadline_in(struct timespec *deadline, unsigned ms)
{
	clock_gettime(CLOCK_MONOTONIC, deadline);
	deadline->tv_sec += ms / 1000;
	deadline->tv_nsec += (long)(ms % 1000) * 1000000;
	if (deadline->tv_nsec >= 1000000000) {
		deadline->tv_nsec -= 1000000000;
		deadline->tv_sec++;
	}
}

static uint64_t now_ms(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

/* ---- forgets ---- */

bool knot_background_forget(struct knot_volume *volume, uint64_t inode_no, uint64_t lookups)
{
	struct knot_background *background = &volume->background;
	bool wake, fits;

	pthread_mutex_lock(&background->mutex);
	fits = background->forget_count < background->forget_room;
	if (!fits) {
		size_t room = background->forget_room ? background->forget_room * 2 : FORGET_BATCH;
		void *items = reallocarray(background->forgets, room, sizeof(background->forgets[0]));

		if (items) {
			background->forgets = items;
			background->forget_room = room;
			fits = true;
		}
	}
	if (fits)
		background->forgets[background->forget_count++] = (struct knot_forget_item){ inode_no, lookups };
	wake = background->forget_count == FORGETS_URGENT || !background->wanted;
	background->wanted = true;
	pthread_mutex_unlock(&background->mutex);
	if (wake)
		pthread_cond_signal(&background->cond);
	return fits;
}

static void apply(struct knot_volume *volume, struct knot_request *request, const struct knot_forget_item *items,
		  size_t count)
{
	while (count) {
		size_t batch = count < FORGET_BATCH ? count : FORGET_BATCH;

		knot_txn_lock(volume->txn, request);
		for (size_t i = 0; i < batch; i++)
			if (knot_lookups_forget(volume->lookups, items[i].inode_no, items[i].lookups))
				knot_reclaim_queue_locked(volume, items[i].inode_no);
		knot_txn_unlock(volume->txn);
		items += batch;
		count -= batch;
	}
}

void knot_background_apply_forgets(struct knot_volume *volume, struct knot_request *request)
{
	struct knot_background *background = &volume->background;
	struct knot_forget_item *items;
	size_t count;

	pthread_mutex_lock(&background->mutex);
	items = background->forgets;
	count = background->forget_count;
	background->forgets = NULL;
	background->forget_count = 0;
	background->forget_room = 0;
	pthread_mutex_unlock(&background->mutex);
	apply(volume, request, items, count);
	free(items);
}

/* ---- the thread ---- */

/* Sleep until `until_ms`, or something is wanted; then a little longer, so that more comes along. False: stop. */
static bool wait_for_work(struct knot_background *background, uint64_t until_ms)
{
	struct timespec deadline;
	uint64_t now = now_ms();
	bool go_on;

	pthread_mutex_lock(&background->mutex);
	deadline_in(&deadline, until_ms > now ? (unsigned)(until_ms - now) : 0);
	while (!background->stop && !background->wanted)
		if (pthread_cond_timedwait(&background->cond, &background->mutex, &deadline))
			break;
	deadline_in(&deadline, GATHER_MS);
	while (!background->stop && background->wanted && background->forget_count < FORGETS_URGENT)
		if (pthread_cond_timedwait(&background->cond, &background->mutex, &deadline))
			break;
	background->wanted = false;
	go_on = !background->stop;
	pthread_mutex_unlock(&background->mutex);
	return go_on;
}

static void *background_main(void *arg)
{
	struct knot_volume *volume = arg;
	uint64_t next_ms = now_ms() + 1000;
	unsigned seconds = 0;

	do {
		bool second = now_ms() >= next_ms;

		knot_background_apply_forgets(volume, NULL);
		if (knot_volume_is_read_only(volume))
			next_ms = now_ms() + 1000;
		else
			(void)knot_reclaim_run(volume, NULL); /* an error stops the volume or was reported */
		if (second && !knot_volume_is_read_only(volume)) {
			/* with data=strict txn closes a batch every second, but only if anything was logged */
			(void)knot_data_flush_all(volume->nodes, NULL,
						  volume->options.commit_seconds); /* fsync tells */
			if (++seconds % ATIME_SECONDS == 0)
				(void)knot_atime_flush(volume, NULL);
			next_ms = now_ms() + 1000;
		}
	} while (wait_for_work(&volume->background, next_ms));
	return NULL;
}

int knot_background_start(struct knot_volume *volume)
{
	int err = -pthread_create(&volume->background.thread, NULL, background_main, volume);

	volume->background.runs = !err;
	return err;
}

void knot_background_stop(struct knot_volume *volume)
{
	struct knot_background *background = &volume->background;

	if (!background->runs)
		return;
	pthread_mutex_lock(&background->mutex);
	background->stop = true;
	pthread_mutex_unlock(&background->mutex);
	pthread_cond_signal(&background->cond);
	pthread_join(background->thread, NULL);
	background->runs = false;
}

void knot_background_wake(struct knot_volume *volume)
{
	struct knot_background *background = &volume->background;
	bool wake;

	pthread_mutex_lock(&background->mutex);
	wake = !background->wanted;
	background->wanted = true;
	pthread_mutex_unlock(&background->mutex);
	if (wake)
		pthread_cond_signal(&background->cond);
}
