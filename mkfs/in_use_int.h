/* SPDX-License-Identifier: MIT */
/* Is there a reason not to overwrite an image? */
#ifndef KNOT_MKFS_IN_USE_INT_H
#define KNOT_MKFS_IN_USE_INT_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

/* True if the file or device is mounted, or attached to a loop device; `why` says where, as the end of a sentence. */
bool knot_in_use_find(const struct stat *target, char *why, size_t why_bytes);

/*
 * What libblkid finds there: 1 and a few words in `what` ("an ext4 file system"), or 0 nothing. Errors: what open(2)
 * says, -EIO.
 */
int knot_in_use_probe(const char *path, char *what, size_t what_bytes);

/* Take away all marks that libblkid finds, wherever they are. Errors: as above. */
int knot_in_use_wipe(const char *path);

#endif
