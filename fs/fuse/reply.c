/* SPDX-License-Identifier: MIT */
/* From the library's terms into FUSE's. */
#include "fs/fuse/fuse_int.h"

#include <errno.h>
#include <sys/stat.h>

/* stdio and many programs take their buffer's size from st_blksize, and each write(2) is a request. */
#define FILE_BLOCK_BYTES (64 * 1024)
#define PAGE_BYTES       4096u

void knot_call_begin(struct knot_call *call, fuse_req_t req)
{
	const struct fuse_ctx *ctx = fuse_req_ctx(req);

	call->fuse = fuse_req_userdata(req);
	call->volume = call->fuse->volume;
	call->slot = knot_pool_slot(call->fuse->pool);
	call->request = &call->slot->request;
	call->request->umask = ctx->umask;
}

void knot_reply_error(fuse_req_t req, int err)
{
	/* The kernel takes 512 and above for a broken reply and the caller would wait for ever. */
	if (err > 0 || err <= -512)
		err = -EIO;
	fuse_reply_err(req, -err);
}

static struct timespec timespec_of(struct knot_time time)
{
	return (struct timespec){ .tv_sec = time.sec, .tv_nsec = time.nsec };
}

void knot_fill_stat(struct stat *st, const struct knot_attr *attr)
{
	*st = (struct stat){
		.st_ino = attr->inode,
		.st_mode = attr->mode,
		.st_nlink = knot_attr_nlink(attr),
		.st_uid = attr->uid,
		.st_gid = attr->gid,
		.st_rdev = attr->rdev,
		.st_size = (off_t)attr->size,
		.st_blksize = S_ISREG(attr->mode) ? FILE_BLOCK_BYTES : PAGE_BYTES,
		.st_blocks = (blkcnt_t)(attr->pages * (PAGE_BYTES / 512)),
		.st_atim = timespec_of(attr->atime),
		.st_mtim = timespec_of(attr->mtime),
		.st_ctim = timespec_of(attr->ctime),
	};
}

void knot_fill_entry(struct fuse_entry_param *entry, const struct knot_attr *attr)
{
	*entry = (struct fuse_entry_param){
		.ino = attr->inode,
		.generation = attr->generation,
		.attr_timeout = KNOT_TIMEOUT,
		.entry_timeout = KNOT_TIMEOUT,
	};
	knot_fill_stat(&entry->attr, attr);
}

void knot_reply_attr(fuse_req_t req, const struct knot_attr *attr)
{
	struct stat st;

	knot_fill_stat(&st, attr);
	fuse_reply_attr(req, &st, KNOT_TIMEOUT);
}

void knot_reply_entry(const struct knot_call *call, fuse_req_t req, const struct knot_attr *attr)
{
	struct fuse_entry_param entry;

	knot_fill_entry(&entry, attr);
	if (fuse_reply_entry(req, &entry) != 0)
		knot_vfs_forget(call->volume, call->request, attr->inode, 1);
}
