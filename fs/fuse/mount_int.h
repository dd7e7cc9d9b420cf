/* SPDX-License-Identifier: MIT */
#ifndef KNOT_FUSE_MOUNT_INT_H
#define KNOT_FUSE_MOUNT_INT_H

#include "fs/fuse/mount.h"

#include <limits.h>
#include <stdbool.h>

struct knot_loop {
	int fd; /* while it is open the device stays; the mount keeps it after that */
	char path[64];
};

/*
 * A loop device on `image` that goes by itself with its last user. Errors: what open(2) or ioctl(2) says; -ENOENT there
 * are none here.
 */
int knot_loop_attach(const char *image, bool read_only, struct knot_loop *loop);

/*
 * Through fusermount3, for those who may not mount(2). Says what goes wrong. Errors: -EPERM it refused; -ENOENT there
 * is none.
 */
int knot_fusermount_attach(const struct knot_mount_options *options, const char *dir, int *fd);
/* Errors: -EBUSY it refused, most often for that. */
int knot_fusermount_detach(const char *dir, bool lazily);

#endif
