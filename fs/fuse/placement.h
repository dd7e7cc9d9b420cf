/* SPDX-License-Identifier: MIT */
/*
 * Staying on the client's processor.
 *
 * A request costs two wake-ups: of the daemon, then of the client. Between two virtual processors each of them is an
 * interrupt to an idle one, which costs several times what the request does. So who reads requests looks now and then
 * where the client ran last, and moves there. It stays free to be moved again; docs/DESIGN.md has when it helps.
 */
#ifndef KNOT_FUSE_PLACEMENT_H
#define KNOT_FUSE_PLACEMENT_H

#include <linux/fuse.h>
#include <stddef.h>

/* One for each thread that reads requests; zeroed. Used by that thread only. */
struct knot_placement {
	unsigned until_look; /* requests */
};

/* A request was read: perhaps move to its sender's processor. Never fails, never waits. */
void knot_placement_follow(struct knot_placement *placement, const struct fuse_in_header *in);

/* The thread has just begun to read requests: look at the next one. */
void knot_placement_reset(struct knot_placement *placement);

/* The processor that a line of /proc/PID/stat names as the last one; -1 if it can't be told. */
int knot_placement_parse(const char *line, size_t len_bytes);

#endif
