/* SPDX-License-Identifier: MIT */
/* One mounted volume, and what the files of this folder share about it. */
#ifndef KNOT_FUSE_FUSE_INT_H
#define KNOT_FUSE_FUSE_INT_H

#define FUSE_USE_VERSION 314

#include "fs/fuse/pool.h"
#include "fs/util/message.h"

#include <fuse3/fuse_lowlevel.h>
#include <knotfs/knotfs.h>

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct knot_fuse {
	struct knot_volume *volume;
	struct knot_pool *pool;
	struct fuse_session *session;
	const struct knot_messages *messages;
	int fd; /* /dev/fuse; the session's */
	size_t write_max_bytes;
	bool writeback;
	bool read_only;
	uid_t owner; /* who mounted it */

	uint64_t init_unique; /* init_shim.c: the INIT request, and what the kernel offered in it */
	uint32_t init_offered;
	_Atomic bool init_done;

	pthread_mutex_t close_mutex; /* the volume is closed once, by DESTROY or in the end, and NULL then */
	int close_error;
};

/* The operations that libfuse calls; ops_*.c fill their part in. */
void knot_ops_session(struct fuse_lowlevel_ops *ops);
void knot_ops_attr(struct fuse_lowlevel_ops *ops);
void knot_ops_name(struct fuse_lowlevel_ops *ops);
void knot_ops_dir(struct fuse_lowlevel_ops *ops);
void knot_ops_data(struct fuse_lowlevel_ops *ops);
void knot_ops_ioctl(struct fuse_lowlevel_ops *ops);

/* An operation's beginning: whose volume, which slot, who asks. */
struct knot_call {
	struct knot_fuse *fuse;
	struct knot_volume *volume;
	struct knot_slot *slot;
	struct knot_request *request;
};
void knot_call_begin(struct knot_call *call, fuse_req_t req);

/*
 * Seconds that the kernel may believe attributes and entries, names that are not there among them: nobody else changes
 * the volume.
 */
#define KNOT_TIMEOUT 1e9

/* Replies. `err` is 0 or a negative errno, as the library gives it. */
void knot_reply_error(fuse_req_t req, int err);
void knot_reply_attr(fuse_req_t req, const struct knot_attr *attr);
/* A looked-up inode; the lookup is taken back when the kernel does not want the reply any more. */
void knot_reply_entry(const struct knot_call *call, fuse_req_t req, const struct knot_attr *attr);
void knot_fill_stat(struct stat *st, const struct knot_attr *attr);
void knot_fill_entry(struct fuse_entry_param *entry, const struct knot_attr *attr);

/*
 * Wait for the other requests and close the volume, if that is still to be done. Returns what closing said. In a
 * request or outside.
 */
int knot_fuse_close_volume(struct knot_fuse *fuse);

#endif
