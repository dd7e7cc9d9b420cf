/* SPDX-License-Identifier: MIT */
/*
 * Contents of files. FLUSH is left unset: a close has nothing to write, since write(2) has reached the library
 * already, and in writeback mode the kernel writes before it would send it. Its ENOSYS is remembered.
 */
#include "fs/fuse/fuse_int.h"
#include "fs/fuse/init_shim.h"

#include <errno.h>

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t at, struct fuse_file_info *fi)
{
	struct knot_call call;
	size_t got = 0;
	int err = -EIO; /* a short reply would mean the end of the file */

	(void)fi;
	knot_call_begin(&call, req);
	if (size <= KNOT_SLOT_DATA_BYTES)
		err = knot_vfs_read(call.volume, call.request, ino, (uint64_t)at, size, call.slot->data, &got);
	if (err) {
		knot_reply_error(req, err);
		return;
	}
	knot_slot_count(&call.slot->read_bytes, got);
	fuse_reply_buf(req, (const char *)call.slot->data, got);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buffer, size_t size, off_t at,
		     struct fuse_file_info *fi)
{
	struct knot_call call;
	int err = -EIO;

	(void)fi;
	knot_call_begin(&call, req);
	if (size <= call.fuse->write_max_bytes)
		err = knot_vfs_write(call.volume, call.request, ino, (uint64_t)at, size, buffer,
				     knot_shim_write_kills_suid(call.slot));
	if (err) {
		knot_reply_error(req, err);
		return;
	}
	knot_slot_count(&call.slot->write_bytes, size);
	fuse_reply_write(req, size);
}

static void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct knot_call call;

	(void)fi;
	knot_call_begin(&call, req);
	knot_reply_error(req, knot_vfs_fsync(call.volume, call.request, ino, data_only != 0));
}

void knot_ops_data(struct fuse_lowlevel_ops *ops)
{
	ops->read = op_read;
	ops->write = op_write;
	ops->fsync = op_fsync;
}
