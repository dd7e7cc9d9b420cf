/* SPDX-License-Identifier: MIT */
/* Random operations on a volume and on the model at once; every return code is compared. */
#ifndef KNOT_TESTS_DRIVER_H
#define KNOT_TESTS_DRIVER_H

#include "fs/util/request.h"
#include "tests/lib/dump.h"
#include "tests/lib/model.h"

#include <stdatomic.h>

struct driver {
	struct knot_volume *volume;
	struct model model;
	uint64_t inode_no[MODEL_INODES_MAX]; /* the volume's number of a model inode */
	uint64_t random;
	struct knot_request request;
	size_t write_max_bytes;
	size_t durable_op; /* a sync that covers operations up to here has returned */
	uint64_t held[8];  /* unlinked files that are kept open by a lookup */
	unsigned held_count;
	size_t big_bytes; /* the largest write */
	bool strict;      /* data=strict */
	bool fills;       /* the volume may be full: ENOSPC is right wherever space is taken */
	bool faults;      /* the device may fail: `fault` is the first EIO, EROFS or EUCLEAN; the model is as if not */
	int fault;
	unsigned synced; /* the last operation was an fsync of this model inode; 0: it was not */
	_Atomic uint64_t clock_nsec; /* model.now, for the threads of the volume */
	char what[160];   /* the last operation, for messages */
};

/* `volume` is open, empty and has driver_now() as its clock with the driver as its argument. */
void driver_init(struct driver *driver, uint64_t seed);
void driver_open(struct driver *driver, struct knot_volume *volume);
void driver_destroy(struct driver *driver);
struct knot_time driver_now(void *arg);

/* One operation; model.op is its number. Prints and returns -EPROTO if volume and model disagree about the result. */
int driver_step(struct driver *driver);

/* The volume shows exactly what the model has. 0, or -EPROTO after printing the difference. */
int driver_compare(struct driver *driver);

/* Forget what is held open (before closing the volume). */
void driver_release(struct driver *driver);

/* KNOT_SEED from the environment, or `fallback`; printed. */
uint64_t driver_seed(const char *test, uint64_t fallback);
/* `count` scaled by KNOT_TEST_PERCENT. */
size_t driver_scaled(size_t count);

#endif
