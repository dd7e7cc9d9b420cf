/* SPDX-License-Identifier: MIT */
/*
 * Who asks, and what to do before the asking thread waits.
 *
 * The daemon has one thread at a time that reads requests (the dispatcher). It serves them itself; just before it would
 * wait (for a lock, the device, room in ring or cache) `about_to_block` lets another thread take over the reading. So
 * fast requests never pay a wake-up, and slow ones never hold up the fast.
 */
#ifndef KNOT_UTIL_REQUEST_H
#define KNOT_UTIL_REQUEST_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct knot_request {
	void (*about_to_block)(struct knot_request *request); /* NULL: nothing to do */
	bool blocked;                                         /* about_to_block was called */
	uint32_t uid;
	uint32_t gid;
	uint32_t umask;
};

/* Call before anything that may wait. `request` may be NULL (background threads, tests). */
static inline void knot_request_will_block(struct knot_request *request)
{
	if (request && request->about_to_block && !request->blocked) {
		request->blocked = true;
		request->about_to_block(request);
	}
}

/* Lock a mutex; if it is taken, give the reading of requests away first. */
static inline void knot_request_lock(struct knot_request *request, pthread_mutex_t *mutex)
{
	if (pthread_mutex_trylock(mutex) == 0)
		return;
	knot_request_will_block(request);
	pthread_mutex_lock(mutex);
}

#endif
