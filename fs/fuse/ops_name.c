/* SPDX-License-Identifier: MIT */
/* Names: finding, making, removing, moving. */
#include "fs/fuse/fuse_int.h"

#include <errno.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

/* The kernel passes names up to 4095 bytes. Returns the length, or 0 after having replied. */
static size_t name_length(fuse_req_t req, const char *name)
{
	size_t len_bytes = strlen(name);

	if (len_bytes > 0 && len_bytes <= NAME_MAX)
		return len_bytes;
	knot_reply_error(req, len_bytes ? -ENAMETOOLONG : -EINVAL);
	return 0;
}

static void finish_entry(const struct knot_call *call, fuse_req_t req, int err, const struct knot_attr *attr)
{
	if (err)
		knot_reply_error(req, err);
	else
		knot_reply_entry(call, req, attr);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	static const struct fuse_entry_param nothing = { .entry_timeout = KNOT_TIMEOUT };
	struct knot_call call;
	struct knot_attr attr;
	size_t len_bytes = name_length(req, name);
	int err;

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	err = knot_vfs_lookup(call.volume, call.request, parent, name, len_bytes, &attr);
	if (err == -ENOENT)
		fuse_reply_entry(req, &nothing); /* remembered by the kernel, unlike ENOENT */
	else
		finish_entry(&call, req, err, &attr);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
	struct knot_call call;

	knot_call_begin(&call, req);
	knot_vfs_forget(call.volume, call.request, ino, lookups);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct knot_call call;

	knot_call_begin(&call, req);
	for (size_t i = 0; i < count; i++)
		knot_vfs_forget(call.volume, call.request, forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	struct knot_call call;
	size_t len_bytes = PATH_MAX - 1;
	char *target;
	int err;

	knot_call_begin(&call, req);
	target = (char *)call.slot->data;
	err = knot_vfs_readlink(call.volume, call.request, ino, target, &len_bytes);
	if (err) {
		knot_reply_error(req, err);
		return;
	}
	target[len_bytes] = '\0';
	fuse_reply_readlink(req, target);
}

/*
 * O_CREAT arrives here too: CREATE is left unset, so that the kernel sends MKNOD and opens without us. With CREATE it
 * would keep a handle and send a RELEASE for it.
 */
static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	struct knot_call call;
	struct knot_attr attr;
	size_t len_bytes = name_length(req, name);
	int err = -EPERM;

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	if (S_ISREG(mode))
		err = knot_vfs_mknod(call.volume, call.request, parent, name, len_bytes, mode, rdev, &attr);
	finish_entry(&call, req, err, &attr);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	struct knot_call call;
	struct knot_attr attr;
	size_t len_bytes = name_length(req, name);
	int err;

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	err = knot_vfs_mkdir(call.volume, call.request, parent, name, len_bytes, S_IFDIR | (mode & 07777), &attr);
	finish_entry(&call, req, err, &attr);
}

static void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
	struct knot_call call;
	struct knot_attr attr;
	size_t len_bytes = name_length(req, name);
	int err;

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	err = knot_vfs_symlink(call.volume, call.request, parent, name, len_bytes, target, strlen(target), &attr);
	finish_entry(&call, req, err, &attr);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t parent, const char *name)
{
	struct knot_call call;
	struct knot_attr attr;
	size_t len_bytes = name_length(req, name);
	int err;

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	err = knot_vfs_link(call.volume, call.request, ino, parent, name, len_bytes, &attr);
	finish_entry(&call, req, err, &attr);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct knot_call call;
	size_t len_bytes = name_length(req, name);

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	knot_reply_error(req, knot_vfs_unlink(call.volume, call.request, parent, name, len_bytes));
}

static void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct knot_call call;
	size_t len_bytes = name_length(req, name);

	if (!len_bytes)
		return;
	knot_call_begin(&call, req);
	knot_reply_error(req, knot_vfs_rmdir(call.volume, call.request, parent, name, len_bytes));
}

/* The kernel's flags are those of renameat2(2), and so are the library's. */
static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent, const char *new_name,
		      unsigned flags)
{
	struct knot_call call;
	size_t len_bytes = name_length(req, name);
	size_t new_len_bytes;
	int err = -EINVAL;

	if (!len_bytes)
		return;
	new_len_bytes = name_length(req, new_name);
	if (!new_len_bytes)
		return;
	knot_call_begin(&call, req);
	if (!(flags & ~(KNOT_RENAME_NOREPLACE | KNOT_RENAME_EXCHANGE | KNOT_RENAME_WHITEOUT)))
		err = knot_vfs_rename(call.volume, call.request, parent, name, len_bytes, new_parent, new_name,
				      new_len_bytes, flags);
	knot_reply_error(req, err);
}

void knot_ops_name(struct fuse_lowlevel_ops *ops)
{
	ops->lookup = op_lookup;
	ops->forget = op_forget;
	ops->forget_multi = op_forget_multi;
	ops->readlink = op_readlink;
	ops->mknod = op_mknod;
	ops->mkdir = op_mkdir;
	ops->symlink = op_symlink;
	ops->link = op_link;
	ops->unlink = op_unlink;
	ops->rmdir = op_rmdir;
	ops->rename = op_rename;
}
