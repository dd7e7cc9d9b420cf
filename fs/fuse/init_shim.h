/* SPDX-License-Identifier: MIT */
/*
 * What libfuse 3.14 can't say: flags of the INIT reply, and requests that it answers with ENOSYS.
 *
 * Built with libfuse 3.14 or later, run with 3.14 or later. From 3.17 on libfuse asks for the flags by itself;
 * setting them again changes nothing.
 */
#ifndef KNOT_FUSE_INIT_SHIM_H
#define KNOT_FUSE_INIT_SHIM_H

#include "fs/fuse/fuse_int.h"

/*
 * Let the session talk to fuse->fd, which it closes when it is destroyed. Errors: -EPROTONOSUPPORT the libfuse at hand
 * is too old; -ENOMEM.
 */
int knot_shim_attach(struct knot_fuse *fuse);

/* Serve the request in `slot`: by the session, or here. `arg` is a struct knot_fuse. */
void knot_shim_serve(void *arg, struct knot_slot *slot, size_t len_bytes);

/* Of the SETATTR request in `slot`: its flags, of which libfuse hides some. */
uint32_t knot_shim_setattr_valid(const struct knot_slot *slot);

/* Of the WRITE request in `slot`: the kernel wants setuid and setgid cleared. */
bool knot_shim_write_kills_suid(const struct knot_slot *slot);

#endif
