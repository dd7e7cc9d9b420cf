/* SPDX-License-Identifier: MIT */
/* Mounting and unmounting without libfuse, which can neither take a loop device nor give the descriptor to us. */
#ifndef KNOT_FUSE_MOUNT_H
#define KNOT_FUSE_MOUNT_H

#include "fs/util/message.h"

#include <limits.h>
#include <stdbool.h>
#include <sys/types.h>

struct knot_mount_options {
	const char *image;    /* a path that still leads there */
	const char *fsname;   /* shown as the source where there is no block device */
	const char *security; /* for the kernel, beginning with a comma; NULL none */
	unsigned long flags;  /* MS_* */
	bool allow_other;
	const struct knot_messages *messages;
};

struct knot_mount {
	int fd;             /* /dev/fuse: the connection; the caller's */
	bool by_helper;     /* fusermount3 mounted it and must unmount it */
	bool block;         /* fuseblk: syncfs and DESTROY come */
	bool is_known;      /* `device` is set */
	dev_t device;       /* of the files in it: somebody else may have mounted something over it */
	char dir[PATH_MAX]; /* absolute */
};

/*
 * Find DIR, detach what a killed daemon of ours left there, make sure that it is a directory.
 * Errors, each said through `messages`: what stat(2) says; -ENOTDIR.
 */
int knot_mount_prepare(const char *dir, const struct knot_messages *messages, struct knot_mount *mount);

/*
 * Mount at mount->dir, in the best way there is. Requests wait from now on. Errors, each said through `messages`: what
 * mount(2) says.
 */
int knot_mount_attach(const struct knot_mount_options *options, struct knot_mount *mount);

/*
 * Unmount; `lazily`: also when it is in use. Of a fuseblk mount returns after the reply to DESTROY: another thread
 * must serve.
 * Errors: -EBUSY; -EINVAL nothing is mounted there any more; -ESTALE what is to be seen there is not our mount.
 */
int knot_mount_detach(const struct knot_mount *mount, bool lazily);

/*
 * Note what tells our mount from others. Let the kernel read ahead 1 MiB of each file; only root can, and others go on
 * without. The mount must be served.
 */
void knot_mount_tune(struct knot_mount *mount);

#endif
