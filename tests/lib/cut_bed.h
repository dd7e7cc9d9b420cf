/* SPDX-License-Identifier: MIT */
/* A volume on a simulated device, and cuts of its power at every event: for tests that know what must be there. */
#ifndef KNOT_TESTS_CUT_BED_H
#define KNOT_TESTS_CUT_BED_H

#include "tests/lib/sim_device.h"

#include <knotfs/knotfs.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ROOT       1u
#define PAGE_BYTES 4096u
#define WRITE_PAGES 5u /* of one request of bed_write_pages() */

/* Events after which something is durable. */
struct marks {
	size_t first, second;
};

struct bed {
	struct knot_device *base;
	struct knot_sim *sim;
	struct knot_volume *volume;
	struct knot_volume_options options;
	uint64_t ring_first, ring_end; /* device bytes */
	int64_t clock_sec;
};

/* Format 16 MiB with `log_bytes` and open. All functions here assert that they succeed. */
void bed_open(struct bed *bed, uint64_t log_bytes, bool strict);
void bed_close(struct bed *bed);

uint64_t bed_create(struct bed *bed, const char *name);
void bed_unlink(struct bed *bed, const char *name);
/* Bytes of a file are a pattern of `seed` and their position: what is there can be told from anything else. */
void bed_pattern(uint8_t *bytes, uint64_t at, size_t len, uint64_t seed);
void bed_write(struct bed *bed, uint64_t inode, uint64_t at, size_t len, uint64_t seed);
/* In requests of five pages. */
void bed_write_pages(struct bed *bed, uint64_t inode, uint64_t first, uint64_t pages, uint64_t seed);
void bed_truncate(struct bed *bed, uint64_t inode, uint64_t size);
void bed_chmod(struct bed *bed, uint64_t inode, uint32_t mode);
void bed_fsync(struct bed *bed, uint64_t inode);
void bed_sync(struct bed *bed);
void bed_checkpoint(struct bed *bed);
/* Take all pages but about `left` of them, in a file of this name. */
void bed_fill(struct bed *bed, const char *name, uint64_t left);
/* True if a write goes to neither the superblock nor the log. */
bool bed_is_home(const struct bed *bed, uint64_t at_bytes);
size_t bed_events(const struct bed *bed);

/* ---- what a cut left ---- */

/* The inode of a name, 0 if there is none. */
uint64_t left_find(struct knot_volume *volume, const char *name, struct knot_attr *attr);
/* True if [at, at + len) of the file is the pattern of `seed`. */
bool left_is(struct knot_volume *volume, uint64_t inode, uint64_t at, size_t len, uint64_t seed);
/* The file has `size` bytes, all of them the pattern of `seed`. */
bool left_is_whole(struct knot_volume *volume, const char *name, uint64_t size, uint64_t seed);
bool left_exists(struct knot_volume *volume, const char *name);

/* True if what is there is right after a cut at `event`. */
typedef bool bed_check_fn(struct knot_volume *volume, size_t event, void *arg);

/*
 * Cut at every event from `from` on, in every way, `seeds` times where chance decides; recover, call `check`, close,
 * run fsck with a scrub. Fails the test with what replays it.
 */
void bed_cut_all(struct bed *bed, size_t from, unsigned seeds, bed_check_fn *check, void *arg);

#endif
