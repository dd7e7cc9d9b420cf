/* SPDX-License-Identifier: MIT */
/*
 * A device that remembers its writes and flushes, and can show what a power cut leaves of them.
 *
 * A cut at event k: all writes that a completed flush covers are there; of the later ones up to k any subset may be, in
 * any order, torn at 512 bytes. knot_sim_cut() builds such a state as an overlay of the durable image, so that
 * thousands of states cost little memory.
 */
#ifndef KNOT_TESTS_SIM_DEVICE_H
#define KNOT_TESTS_SIM_DEVICE_H

#include "fs/disk/device.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct knot_sim;

enum knot_cut {
	KNOT_CUT_DROP,      /* nothing unflushed is there */
	KNOT_CUT_KEEP,      /* all of it is */
	KNOT_CUT_SUBSET,    /* each write or not */
	KNOT_CUT_TORN_512,  /* each sector of each write or not */
	KNOT_CUT_TORN_4096, /* each page of each write or not */
	KNOT_CUT_REORDER,   /* the last writes are there, earlier ones are not */
	KNOT_CUT_PREFIX,    /* all of it but the end of the last write: it breaks off at some sector */
	KNOT_CUT_KINDS
};

/* A recorder on top of `base` (not owned, not changed). */
struct knot_sim *knot_sim_open(struct knot_device *base);
void knot_sim_close(struct knot_sim *sim);
struct knot_device *knot_sim_device(struct knot_sim *sim);

/* Writes and flushes so far. */
size_t knot_sim_events(const struct knot_sim *sim);
bool knot_sim_is_flush(const struct knot_sim *sim, size_t event);

/* Fail the n-th write or flush from now with -EIO (0: never); `sticky`: and all that follow. */
void knot_sim_fail_write(struct knot_sim *sim, size_t n, bool sticky);
void knot_sim_fail_flush(struct knot_sim *sim, size_t n, bool sticky);
void knot_sim_fail_read(struct knot_sim *sim, size_t n, bool sticky);
/* One of them did. */
bool knot_sim_has_failed(const struct knot_sim *sim);

/*
 * Called before each read and write that the volume asks for, without any lock of the simulator: it may call the volume
 * and so let something happen in the middle of something else. Not called again while it runs. NULL: none.
 */
typedef void knot_sim_hook_fn(void *arg, bool is_write, uint64_t at_bytes, size_t len_bytes);
void knot_sim_set_hook(struct knot_sim *sim, knot_sim_hook_fn *hook, void *arg);

/* A write's place and length; false if the event is a flush. */
bool knot_sim_write_at(const struct knot_sim *sim, size_t event, uint64_t *at_bytes, size_t *len_bytes);

/*
 * The state after a cut that let the first `events` events happen. `seed` decides what is kept. The device is an
 * overlay of the simulator's durable image: at most one kind of call order is supported, with `events` never smaller
 * than in the call before. Close it before the next call.
 */
struct knot_device *knot_sim_cut(struct knot_sim *sim, size_t events, enum knot_cut kind, uint64_t seed);

/* Write to `to` what is unflushed at `events`: as a killed daemon leaves it to the next one, who does not know. */
void knot_sim_replay_unflushed(const struct knot_sim *sim, size_t events, struct knot_device *to);

/* How many writes are unflushed at `events` (0: every kind of cut gives the same state). */
size_t knot_sim_unflushed(const struct knot_sim *sim, size_t events);

uint64_t knot_test_random(uint64_t *state); /* splitmix64 */

#endif
