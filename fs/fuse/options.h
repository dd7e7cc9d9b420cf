/* SPDX-License-Identifier: MIT */
/* The command line of knotfs, which is also a helper of mount(8). */
#ifndef KNOT_FUSE_OPTIONS_H
#define KNOT_FUSE_OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

struct knot_options {
	const char *image; /* as given; of argv */
	const char *dir;
	const char *name_space;    /* -N: a mount namespace to mount in; NULL none */
	char *fsname;              /* what to show as the source of a mount without block device; NULL: the image */
	char *security;            /* context= and the like, for the kernel; NULL none */
	unsigned long mount_flags; /* MS_* */
	bool help, version;
	bool foreground;
	bool fake; /* mount -f: check, do nothing */
	bool read_only, allow_other, writeback, strict, noatime;
	unsigned commit_policy, commit_seconds, threads;
	size_t cache_bytes, log_buffer_bytes; /* 0: the library's choice */
};

/*
 * Parse. What is wrong goes to `complain` as one line without a newline. Errors: -EINVAL, -ENOMEM.
 * knot_options_free() in both cases. As mount.knotfs or mount.fuse.knotfs, -f means fake and -s unknown options are
 * ignored.
 */
int knot_options_parse(int argc, char **argv, void (*complain)(void *arg, const char *line), void *arg,
		       struct knot_options *options);
void knot_options_free(struct knot_options *options);

#endif
