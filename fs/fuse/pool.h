/* SPDX-License-Identifier: MIT */
/*
 * The threads that read and serve requests: a leader and its followers.
 *
 * One thread at a time has the *reading role*: it blocks in read(2), serves what it read and reads on. Just before
 * its request waits (struct knot_request.about_to_block) it hands the role to a spare thread and goes on with the
 * request where it was.
 */
#ifndef KNOT_FUSE_POOL_H
#define KNOT_FUSE_POOL_H

#include "fs/fuse/placement.h"
#include "fs/util/request.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define KNOT_POOL_THREADS_MAX  64u
#define KNOT_SLOT_HEADER_BYTES 80u /* of a request in front of `data`; a WRITE's header is just that long */
#define KNOT_SLOT_DATA_BYTES   (1024u * 1024u)
#define KNOT_SLOT_OPCODES      64u

struct knot_pool;

/* One thread and the request that it serves. Only that thread touches it; counters may be read by anyone. */
struct knot_slot {
	struct knot_request request;
	uint8_t *header; /* the request as it was read; it may run on into `data` */
	uint8_t *data; /* KNOT_SLOT_DATA_BYTES, page aligned. Once a short request is understood, room for its reply */

	_Atomic uint64_t requests[KNOT_SLOT_OPCODES]; /* by opcode; the last one counts all above */
	_Atomic uint64_t read_bytes, write_bytes, handed_over;

	struct knot_pool *pool; /* from here on the pool's own */
	struct knot_placement placement;
	pthread_t thread;
	pthread_cond_t wake;
	struct knot_slot *next_parked;
};

struct knot_pool_options {
	int fd;               /* read for requests; not owned */
	unsigned threads_max; /* 1 to KNOT_POOL_THREADS_MAX */
	void (*serve)(void *arg, struct knot_slot *slot, size_t len_bytes);
	void *arg;
};

/* Errors: -ENOMEM, -EAGAIN (no more descriptors or keys). */
int knot_pool_new(const struct knot_pool_options *options, struct knot_pool **result);

/*
 * Read and serve one request on the calling thread, before knot_pool_start().
 * Errors: what read(2) says; -ENODEV nothing will ever come.
 */
int knot_pool_serve_first(struct knot_pool *pool);

/* Start the first thread. Errors: what pthread_create(3) says. */
int knot_pool_start(struct knot_pool *pool);

/* The slot of the calling thread, which is serving a request. */
struct knot_slot *knot_pool_slot(struct knot_pool *pool);

/*
 * A descriptor that becomes readable when the last thread has ended: after knot_pool_stop(), or when read(2) says
 * ENODEV.
 */
int knot_pool_ended_fd(const struct knot_pool *pool);

/*
 * Requests that were read are finished, no more are. Call it again every few milliseconds until the descriptor above
 * is readable: the thread that reads is interrupted by SIGUSR1, which may come just before its read. The caller
 * installs a handler that does nothing.
 */
void knot_pool_stop(struct knot_pool *pool);

/*
 * From a request: return when no other request is being served. Nothing more is read meanwhile unless this one hands
 * over.
 */
void knot_pool_wait_alone(struct knot_pool *pool);

/* Wait for all threads to end. Returns 0, or what went wrong with reading. Frees. */
int knot_pool_free(struct knot_pool *pool);

/* Each slot that was ever used, in turn; for counters. Any thread. */
void knot_pool_each(struct knot_pool *pool, void (*visit)(void *arg, const struct knot_slot *slot), void *arg);

static inline void knot_slot_count(_Atomic uint64_t *counter, uint64_t by)
{
	/* One writer: no locked instruction needed. */
	atomic_store_explicit(counter, atomic_load_explicit(counter, memory_order_relaxed) + by, memory_order_relaxed);
}

#endif
