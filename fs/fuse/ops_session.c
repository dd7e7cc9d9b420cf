/* SPDX-License-Identifier: MIT */
/* The beginning and the end of a mount, and what the two sides agree on. */
#include "fs/fuse/fuse_int.h"

#include <errno.h>

/*
 * Requests that the kernel keeps under way for readahead and asynchronous direct I/O; its default of 12 starves both.
 */
#define BACKGROUND_REQUESTS 64u

static void set_flag(struct fuse_conn_info *conn, unsigned flag, bool wanted)
{
	if (wanted && (conn->capable & flag))
		conn->want |= flag;
	else
		conn->want &= ~flag;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct knot_fuse *fuse = userdata;

	/*
	 * The daemon is the only writer: the kernel may keep what it caches, whatever times and sizes it sees. Opens
	 * are never seen here, so O_TRUNC must come as a SETATTR. Locks are the kernel's own.
	 */
	set_flag(conn, FUSE_CAP_ATOMIC_O_TRUNC, false);
	set_flag(conn, FUSE_CAP_AUTO_INVAL_DATA, false);
	set_flag(conn, FUSE_CAP_EXPLICIT_INVAL_DATA, true);
	set_flag(conn, FUSE_CAP_POSIX_LOCKS, false);
	set_flag(conn, FUSE_CAP_FLOCK_LOCKS, false);
	set_flag(conn, FUSE_CAP_DONT_MASK, true);
	set_flag(conn, FUSE_CAP_WRITEBACK_CACHE, fuse->writeback);
	set_flag(conn, FUSE_CAP_CACHE_SYMLINKS, true);
	set_flag(conn, FUSE_CAP_ASYNC_READ, true);
	set_flag(conn, FUSE_CAP_ASYNC_DIO, true);
	set_flag(conn, FUSE_CAP_PARALLEL_DIROPS, true);
	set_flag(conn, FUSE_CAP_IOCTL_DIR, true);
	set_flag(conn, FUSE_CAP_NO_OPEN_SUPPORT, true);
	set_flag(conn, FUSE_CAP_NO_OPENDIR_SUPPORT, true);
	/* Always, not when the kernel guesses that attributes will be wanted: after a plain ls it guesses wrong. */
	set_flag(conn, FUSE_CAP_READDIRPLUS, true);
	set_flag(conn, FUSE_CAP_READDIRPLUS_AUTO, false);
	/* A file handle of an inode that the kernel forgot is looked up as ".". */
	set_flag(conn, FUSE_CAP_EXPORT_SUPPORT, true);
	set_flag(conn, FUSE_CAP_SPLICE_READ, false);
	set_flag(conn, FUSE_CAP_SPLICE_WRITE, false);
	set_flag(conn, FUSE_CAP_SPLICE_MOVE, false);

	conn->max_write = (unsigned)fuse->write_max_bytes;
	conn->max_background = BACKGROUND_REQUESTS;
	conn->congestion_threshold = BACKGROUND_REQUESTS / 4 * 3;
	conn->time_gran = 1;
}

int knot_fuse_close_volume(struct knot_fuse *fuse)
{
	int err;

	if (fuse->pool)
		knot_pool_wait_alone(fuse->pool);
	pthread_mutex_lock(&fuse->close_mutex);
	if (fuse->volume) {
		fuse->close_error = knot_volume_close(fuse->volume);
		fuse->volume = NULL;
	}
	err = fuse->close_error;
	pthread_mutex_unlock(&fuse->close_mutex);
	return err;
}

/* Of a fuseblk mount: umount(8) waits for the reply, so that what it unmounted is durable when it returns. */
static void op_destroy(void *userdata)
{
	(void)knot_fuse_close_volume(userdata); /* what goes wrong is the daemon's exit status in the end */
}

/* "Don't ask again": a file or directory needs no handle, and closing one has nothing to write. */
static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

void knot_ops_session(struct fuse_lowlevel_ops *ops)
{
	ops->init = op_init;
	ops->destroy = op_destroy;
	ops->open = op_open;
	ops->opendir = op_open;
}
