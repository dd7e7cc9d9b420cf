/* SPDX-License-Identifier: MIT */
#include "fs/fuse/placement.h"

#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_EVERY      32u         /* requests: a look costs about half of one */
#define SMALL_BYTES     (32u << 10) /* larger requests gain from a processor of their own */
#define PROCESSOR_FIELD 39          /* proc(5) */

int knot_placement_parse(const char *line, size_t len_bytes)
{
	const char *at = memrchr(line, ')', len_bytes); /* the name before may hold anything */
	const char *end = line + len_bytes;

	if (!at)
		return -1;
	for (int field = 2; field < PROCESSOR_FIELD; field++) {
		at = memchr(at, ' ', (size_t)(end - at));
		if (!at)
			return -1;
		at++;
	}
	return at < end && *at >= '0' && *at <= '9' ? atoi(at) : -1;
}

static int processor_of(uint32_t pid)
{
	char path[32], line[1024];
	ssize_t got;
	int fd;

	snprintf(path, sizeof(path), "/proc/%u/stat", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	got = read(fd, line, sizeof(line) - 1);
	close(fd);
	if (got <= 0)
		return -1;
	line[got] = 0;
	return knot_placement_parse(line, (size_t)got);
}

/* Narrowing the mask moves the thread at once; widening it again leaves it there. */
static void move_to(int processor)
{
	cpu_set_t all, one;

	if (sched_getaffinity(0, sizeof(all), &all) || !CPU_ISSET((size_t)processor, &all))
		return;
	CPU_ZERO(&one);
	CPU_SET((size_t)processor, &one);
	if (sched_setaffinity(0, sizeof(one), &one) == 0)
		(void)sched_setaffinity(0, sizeof(all), &all);
}

void knot_placement_follow(struct knot_placement *placement, const struct fuse_in_header *in)
{
	int processor;

	if (in->pid == 0 || in->len > SMALL_BYTES || in->opcode == FUSE_READ || in->opcode == FUSE_FORGET ||
	    in->opcode == FUSE_BATCH_FORGET)
		return;
	if (placement->until_look > 0) {
		placement->until_look--;
		return;
	}
	placement->until_look = LOOK_EVERY;
	processor = processor_of(in->pid);
	if (processor >= 0 && processor < CPU_SETSIZE && processor != sched_getcpu())
		move_to(processor);
}

void knot_placement_reset(struct knot_placement *placement)
{
	placement->until_look = 0;
}
