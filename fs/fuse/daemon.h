/* SPDX-License-Identifier: MIT */
/* The life of one mount: recover, mount, serve, close. */
#ifndef KNOT_FUSE_DAEMON_H
#define KNOT_FUSE_DAEMON_H

#include "fs/fuse/options.h"

/* As in mount(8). */
#define KNOT_EXIT_USAGE  1
#define KNOT_EXIT_SYSTEM 2
#define KNOT_EXIT_MOUNT  32

/*
 * Serve `options` until it is unmounted. `mounted` is called once everything works, on the calling thread, before
 * which all messages go to stderr; it tells whoever waits, and leaves the terminal unless in the foreground.
 * Returns the exit status.
 */
int knot_daemon_run(const struct knot_options *options, void (*mounted)(void *arg), void *arg);

#endif
