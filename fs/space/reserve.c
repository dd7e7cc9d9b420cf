/* SPDX-License-Identifier: MIT */
/*
 * Reservations: what the daemon has answered can't fail for lack of space.
 *
 * Invariant
 *  (1) available = free - placed - waiting - reserved - pool, or 0 when that is negative. A page moves from
 *      `reserved` to placed (or to in use) when its owner gives the reservation back in the same critical section;
 *      settling and releasing change none of the sum; reaping adds to it.
 *
 * The pool is 1/256 of the volume, at least 64 pages and at most 4096.
 */
#include "fs/space/space_int.h"

static uint64_t room(const struct knot_space *space, bool pool)
{
	uint64_t taken = space->placed + space->waiting + space->reserved + (pool ? 0 : space->pool);

	return space->free > taken ? space->free - taken : 0;
}

int knot_space_reserve(struct knot_space *space, uint64_t pages, unsigned flags)
{
	bool pool = flags & KNOT_SPACE_POOL;

	if (room(space, pool) < pages)
		knot_space_reap(space);
	if (room(space, pool) < pages)
		return -ENOSPC;
	space->reserved += pages;
	return 0;
}

void knot_space_unreserve(struct knot_space *space, uint64_t pages)
{
	assert(pages <= space->reserved);
	space->reserved -= pages;
}

uint64_t knot_space_available(const struct knot_space *space)
{
	return room(space, false);
}

uint64_t knot_space_free(const struct knot_space *space)
{
	uint64_t taken = space->placed + space->reserved;

	return space->free > taken ? space->free - taken : 0;
}

uint64_t knot_space_total(const struct knot_space *space)
{
	return space->total;
}

uint64_t knot_space_waiting(const struct knot_space *space)
{
	return space->waiting;
}

int knot_space_error(const struct knot_space *space, int err)
{
	return err == -ENOSPC && atomic_load(&space->given_up) ? -EUCLEAN : err;
}
