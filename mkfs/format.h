/* SPDX-License-Identifier: MIT */
/* Formatting a device. Used by mkfs.knotfs and by everything that needs a fresh volume. */
#ifndef KNOT_MKFS_FORMAT_H
#define KNOT_MKFS_FORMAT_H

#include "fs/disk/device.h"
#include "fs/disk/super.h"
#include "fs/util/message.h"

#include <stdint.h>

/* All zero is a good choice, but for the times. Pointers are only looked at during the call. */
struct knot_mkfs_options {
	const struct knot_messages *messages; /* gets one line for each failure; may be NULL */
	const char *label;                    /* at most 63 bytes; NULL: none */
	const uint8_t *uuid;                  /* 16 bytes each; NULL: random */
	const uint8_t *salt;
	const uint8_t *hash_seed;
	uint64_t log_bytes;          /* 0: 1/16 of the volume, 2 to 64 MiB */
	uint32_t log_segments;       /* 0: as few as possible; else exactly so many, as equal as possible */
	uint32_t root_uid, root_gid; /* of the root directory */
	uint32_t root_permissions;   /* 0: 0755 */
	int64_t time_sec;            /* the volume's, and all of the root directory's times */
	uint32_t time_nsec;
};

/*
 * Decide everything, write nothing: `*super` is what knot_mkfs() would write to a device of this size.
 * Errors: -EINVAL options that make no sense or do not fit the volume; -ENOSPC too small a device; -EFBIG too large a
 * one; what getrandom(2) says.
 */
int knot_mkfs_plan(uint64_t size_bytes, uint32_t write_unit_bytes, const struct knot_mkfs_options *options,
		   struct knot_super *super);

/*
 * Format the whole device; what it held is lost. `*super` (may be NULL) is what was written. If it fails or is cut
 * after its first flush, the device holds no volume.
 * Errors: as knot_mkfs_plan(); -EIO; -ENOMEM; what the device says.
 */
int knot_mkfs(struct knot_device *device, const struct knot_mkfs_options *options, struct knot_super *super);

#endif
