/* SPDX-License-Identifier: MIT */
/*
 * Leader and followers.
 *
 *   parked --woken--> reading --request--> serving --done--> reading        nothing waited: no lock, no wake-up
 *      ^                                      | about_to_block: wakes a parked thread or starts one
 *      +------------- done ----------- serving without role --done, role free--> reading
 *
 * Invariants (`mutex` guards all of them)
 *  (1) At most one thread has the role: `reader`. Nobody takes it from a thread; it is handed over or kept.
 *  (2) `reader` is NULL only when each of `threads_max` threads serves a request (or starting one more failed). The
 *      first that is done takes it. So requests are read again as soon as one of those under way ends, and they end
 *      without any that was not read yet: the library's own threads do what they wait for.
 *  (3) Handing over never waits for anything but `mutex`, which is held for a few instructions: callers hold locks of
 *      the library.
 *  (4) `serving` counts requests whose threads gave the role away; the reader's own is not among them.
 */
#include "fs/fuse/pool.h"

#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#define PAGE_BYTES        4096u
#define SLOT_MEMORY_BYTES (PAGE_BYTES + KNOT_SLOT_DATA_BYTES)

struct knot_pool {
	struct knot_pool_options options;
	pthread_key_t key; /* the calling thread's slot */
	int ended_fd;
	_Atomic bool stopping;

	pthread_mutex_t mutex;
	pthread_cond_t quiet; /* `serving` went down */
	struct knot_slot *reader;
	struct knot_slot *parked; /* last in, first out: the warmest thread goes on */
	unsigned serving;
	unsigned alive;
	unsigned slot_count; /* slots[0] to slots[slot_count - 1] exist */
	int error;           /* why reading ended, 0 when the kernel said goodbye */
	struct knot_slot *slots[KNOT_POOL_THREADS_MAX];
};

static void hand_over(struct knot_request *request);

static int slot_new(struct knot_pool *pool, struct knot_slot **out)
{
	struct knot_slot *slot = calloc(1, sizeof(*slot));
	uint8_t *memory;

	if (!slot)
		return -ENOMEM;
	memory = mmap(NULL, SLOT_MEMORY_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (memory == MAP_FAILED) {
		free(slot);
		return -ENOMEM;
	}
	slot->data = memory + PAGE_BYTES;
	slot->header = slot->data - KNOT_SLOT_HEADER_BYTES;
	slot->pool = pool;
	pthread_cond_init(&slot->wake, NULL);
	*out = slot;
	return 0;
}

static void slot_free(struct knot_slot *slot)
{
	pthread_cond_destroy(&slot->wake);
	munmap(slot->data - PAGE_BYTES, SLOT_MEMORY_BYTES);
	free(slot);
}

int knot_pool_new(const struct knot_pool_options *options, struct knot_pool **result)
{
	struct knot_pool *pool;
	int err;

	assert(options->threads_max >= 1 && options->threads_max <= KNOT_POOL_THREADS_MAX);
	pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	pool->options = *options;

	err = -pthread_key_create(&pool->key, NULL);
	if (err)
		goto out_pool;
	pool->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (pool->ended_fd < 0) {
		err = -errno;
		goto out_key;
	}
	err = slot_new(pool, &pool->slots[0]);
	if (err)
		goto out_fd;
	pool->slot_count = 1;
	pthread_mutex_init(&pool->mutex, NULL);
	pthread_cond_init(&pool->quiet, NULL);
	*result = pool;
	return 0;

out_fd:
	close(pool->ended_fd);
out_key:
	pthread_key_delete(pool->key);
out_pool:
	free(pool);
	return err;
}

struct knot_slot *knot_pool_slot(struct knot_pool *pool)
{
	return pthread_getspecific(pool->key);
}

int knot_pool_ended_fd(const struct knot_pool *pool)
{
	return pool->ended_fd;
}

/* Read and serve one request. Errors: those of read(2); -EINTR and the like mean try again. */
static int serve_one(struct knot_slot *slot)
{
	const struct knot_pool_options *options = &slot->pool->options;
	ssize_t got = read(options->fd, slot->header, KNOT_SLOT_HEADER_BYTES + KNOT_SLOT_DATA_BYTES);

	if (got < 0)
		return -errno;
	if (got == 0)
		return -ENODEV;
	if ((size_t)got >= sizeof(struct fuse_in_header))
		knot_placement_follow(&slot->placement, (const struct fuse_in_header *)(const void *)slot->header);
	slot->request = (struct knot_request){ .about_to_block = hand_over };
	options->serve(options->arg, slot, (size_t)got);
	return 0;
}

/* The kernel says ENOENT when the request that it was about to give was interrupted. */
static bool is_passing(int err)
{
	return err == -EINTR || err == -EAGAIN || err == -ENOENT;
}

int knot_pool_serve_first(struct knot_pool *pool)
{
	struct knot_slot *slot = pool->slots[0];
	int err;

	pthread_setspecific(pool->key, slot);
	pool->reader = slot;
	do
		err = serve_one(slot);
	while (is_passing(err));
	pthread_setspecific(pool->key, NULL);
	return err;
}

static void stop_locked(struct knot_pool *pool)
{
	atomic_store(&pool->stopping, true);
	for (struct knot_slot *slot = pool->parked; slot; slot = slot->next_parked)
		pthread_cond_signal(&slot->wake);
}

/* Wait for the role, or take it when it is free. False: the thread shall end. */
static bool take_role(struct knot_slot *slot)
{
	struct knot_pool *pool = slot->pool;
	bool mine;

	pthread_mutex_lock(&pool->mutex);
	if (slot->request.blocked) {
		slot->request.blocked = false;
		pool->serving--;
		pthread_cond_broadcast(&pool->quiet);
	}
	if (!pool->reader) {
		pool->reader = slot;
	} else if (pool->reader != slot && !atomic_load(&pool->stopping)) {
		slot->next_parked = pool->parked;
		pool->parked = slot;
		while (pool->reader != slot && !atomic_load(&pool->stopping))
			pthread_cond_wait(&slot->wake, &pool->mutex);
	}
	mine = !atomic_load(&pool->stopping);
	pthread_mutex_unlock(&pool->mutex);
	knot_placement_reset(&slot->placement);
	return mine;
}

static void end_thread(struct knot_pool *pool)
{
	bool last;

	pthread_mutex_lock(&pool->mutex);
	last = --pool->alive == 0;
	pthread_mutex_unlock(&pool->mutex);
	if (last)
		(void)eventfd_write(pool->ended_fd, 1);
}

static void *thread_main(void *arg)
{
	struct knot_slot *slot = arg;
	struct knot_pool *pool = slot->pool;
	sigset_t stop;

	sigemptyset(&stop);
	sigaddset(&stop, SIGUSR1);
	pthread_sigmask(SIG_UNBLOCK, &stop, NULL);
	pthread_setspecific(pool->key, slot);
	while (take_role(slot)) {
		int err = 0;

		while (!slot->request.blocked && (!err || is_passing(err)) && !atomic_load(&pool->stopping))
			err = serve_one(slot);
		if (err && !is_passing(err)) {
			pthread_mutex_lock(&pool->mutex);
			if (err != -ENODEV && err != -ECONNABORTED)
				pool->error = err;
			stop_locked(pool);
			pthread_mutex_unlock(&pool->mutex);
		}
	}
	end_thread(pool);
	return NULL;
}

/* A thread for `slot`, which has the role when it starts. */
static int thread_start_locked(struct knot_pool *pool, struct knot_slot *slot)
{
	int err;

	pool->reader = slot;
	err = -pthread_create(&slot->thread, NULL, thread_main, slot);
	if (err)
		pool->reader = NULL;
	else
		pool->alive++;
	return err;
}

int knot_pool_start(struct knot_pool *pool)
{
	int err;

	pthread_mutex_lock(&pool->mutex);
	err = thread_start_locked(pool, pool->slots[0]);
	pthread_mutex_unlock(&pool->mutex);
	return err;
}

/* pool.c (3) */
static void hand_over(struct knot_request *request)
{
	struct knot_slot *slot = (struct knot_slot *)(void *)request; /* its first member */
	struct knot_pool *pool = slot->pool;
	struct knot_slot *next = NULL;

	pthread_mutex_lock(&pool->mutex);
	assert(pool->reader == slot);
	pool->serving++;
	pool->reader = NULL;
	if (pool->parked) {
		next = pool->parked;
		pool->parked = next->next_parked;
		pool->reader = next;
	} else if (pool->alive > 0 && pool->slot_count < pool->options.threads_max && slot_new(pool, &next) == 0) {
		if (thread_start_locked(pool, next) == 0)
			pool->slots[pool->slot_count++] = next;
		else
			slot_free(next);
		next = NULL;
	}
	pthread_mutex_unlock(&pool->mutex);
	if (next)
		pthread_cond_signal(&next->wake);
	knot_slot_count(&slot->handed_over, 1);
}

void knot_pool_stop(struct knot_pool *pool)
{
	pthread_mutex_lock(&pool->mutex);
	stop_locked(pool);
	if (pool->reader && pool->alive > 0)
		pthread_kill(pool->reader->thread, SIGUSR1);
	pthread_mutex_unlock(&pool->mutex);
}

void knot_pool_wait_alone(struct knot_pool *pool)
{
	const struct knot_slot *slot = knot_pool_slot(pool);
	unsigned own = slot && slot->request.blocked ? 1 : 0;

	pthread_mutex_lock(&pool->mutex);
	while (pool->serving > own)
		pthread_cond_wait(&pool->quiet, &pool->mutex);
	pthread_mutex_unlock(&pool->mutex);
}

int knot_pool_free(struct knot_pool *pool)
{
	int err;

	/*
	 * No thread is started once the first has been joined: only requests start threads, and slots[] has all of
	 * them.
	 */
	for (unsigned i = 0; i < KNOT_POOL_THREADS_MAX; i++) {
		struct knot_slot *slot;

		pthread_mutex_lock(&pool->mutex);
		slot = i < pool->slot_count ? pool->slots[i] : NULL;
		pthread_mutex_unlock(&pool->mutex);
		if (!slot)
			break;
		if (slot->thread)
			pthread_join(slot->thread, NULL);
	}
	err = pool->error;
	for (unsigned i = 0; i < pool->slot_count; i++)
		slot_free(pool->slots[i]);
	pthread_cond_destroy(&pool->quiet);
	pthread_mutex_destroy(&pool->mutex);
	pthread_key_delete(pool->key);
	close(pool->ended_fd);
	free(pool);
	return err;
}

void knot_pool_each(struct knot_pool *pool, void (*visit)(void *arg, const struct knot_slot *slot), void *arg)
{
	unsigned count;

	pthread_mutex_lock(&pool->mutex);
	count = pool->slot_count;
	pthread_mutex_unlock(&pool->mutex);
	for (unsigned i = 0; i < count; i++)
		visit(arg, pool->slots[i]);
}
