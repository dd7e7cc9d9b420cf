/* SPDX-License-Identifier: MIT */
/*
 * Checking a volume. Used by fsck.knotfs and by tests. Reads with the pure page verifiers and a traversal of its own,
 * never with the code that changes trees.
 */
#ifndef KNOT_FSCK_FSCK_H
#define KNOT_FSCK_FSCK_H

#include "fs/disk/device.h"
#include "fs/util/message.h"
#include "fsck/problems.h"

#include <stdbool.h>
#include <stdint.h>

/* All zero is a good default: check everything but file contents, change nothing, print nothing. */
struct knot_fsck_options {
	const struct knot_messages *messages; /* one line for each problem; NULL: none. Must outlive the call */
	/* called for each problem with its line; may be NULL */
	void (*found)(void *arg, enum knot_fsck_problem problem, const char *line);
	void *found_arg;
	bool (*is_cancelled)(void *arg); /* asked now and then; NULL: never */
	void *is_cancelled_arg;
	bool scrub;           /* read all file data too and compare its check values */
	bool replay_in_place; /* replay the log onto the device; else into memory */
	bool skip_if_clean;   /* nothing in the log: look no further than superblock and log */
};

struct knot_fsck_report {
	uint64_t problems;
	bool was_clean;     /* the log held nothing to replay */
	bool was_skipped;   /* skip_if_clean, and it was */
	bool is_incomplete; /* parts of the tree can't be read: what depends on all of it was not checked */
	uint64_t replayed;  /* mini-transactions */
	char label[64];
	uint64_t inodes, directories, names;
	uint64_t pages, used_pages, data_pages, tree_pages, scrubbed_pages;
};

/*
 * Check the volume on `device`, which nobody else may change meanwhile. The device is not changed, unless
 * `replay_in_place` says so; even then only the log is replayed: problems are counted in `*report` and left alone.
 * Memory: 1 bit for each page of the groups in use, about 60 bytes for each inode, and 4 MiB.
 *
 * Returns 0 if the check could be made, whatever it found. Errors, each said through `messages`: -EMEDIUMTYPE not a
 * knotfs volume; -EPROTONOSUPPORT a newer one; -ENOSPC the device is smaller than the volume; -EUCLEAN superblock or
 * log too damaged to go on (counted as a problem too); -ECANCELED; -EIO; -ENOMEM.
 */
int knot_fsck_run(struct knot_device *device, const struct knot_fsck_options *options, struct knot_fsck_report *report);

#endif
