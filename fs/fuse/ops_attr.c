/* SPDX-License-Identifier: MIT */
/* Attributes of inodes and of the volume. */
#include "fs/fuse/fuse_int.h"
#include "fs/fuse/init_shim.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct knot_call call;
	struct knot_attr attr;
	int err;

	(void)fi;
	knot_call_begin(&call, req);
	err = knot_vfs_getattr(call.volume, call.request, ino, &attr);
	if (err)
		knot_reply_error(req, err);
	else
		knot_reply_attr(req, &attr);
}

static struct knot_time time_of(const struct timespec *ts)
{
	return (struct knot_time){ .sec = ts->tv_sec, .nsec = (uint32_t)ts->tv_nsec };
}

static unsigned mask_of(uint32_t valid)
{
	static const struct {
		uint32_t fuse;
		unsigned knot;
	} table[] = {
		{ FUSE_SET_ATTR_MODE, KNOT_SET_MODE },
		{ FUSE_SET_ATTR_UID, KNOT_SET_UID },
		{ FUSE_SET_ATTR_GID, KNOT_SET_GID },
		{ FUSE_SET_ATTR_SIZE, KNOT_SET_SIZE },
		{ FUSE_SET_ATTR_ATIME, KNOT_SET_ATIME },
		{ FUSE_SET_ATTR_MTIME, KNOT_SET_MTIME },
		{ FUSE_SET_ATTR_CTIME, KNOT_SET_CTIME },
		{ FUSE_SET_ATTR_ATIME_NOW, KNOT_SET_ATIME_NOW },
		{ FUSE_SET_ATTR_MTIME_NOW, KNOT_SET_MTIME_NOW },
		{ FUSE_SET_ATTR_KILL_SUID, KNOT_SET_KILL_SUID },
	};
	unsigned mask = 0;

	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (valid & table[i].fuse)
			mask |= table[i].knot;
	/* The kernel sends both: "set it, and set it to now". */
	if (mask & KNOT_SET_ATIME_NOW)
		mask &= ~KNOT_SET_ATIME;
	if (mask & KNOT_SET_MTIME_NOW)
		mask &= ~KNOT_SET_MTIME;
	return mask;
}

/*
 * By FUSE_HANDLE_KILLPRIV_V2 a chown clears setuid and setgid here, whoever asks; the flag in the request is for
 * truncate alone. chown(-1, -1) does so too, and it comes with nothing else in it.
 */
static int add_chown_rules(const struct knot_call *call, fuse_ino_t ino, unsigned *mask)
{
	struct knot_attr attr;
	int err;

	if (!(*mask & (KNOT_SET_UID | KNOT_SET_GID)) && (*mask & ~KNOT_SET_CTIME))
		return 0;
	err = knot_vfs_getattr(call->volume, call->request, ino, &attr);
	if (err)
		return err;
	if (S_ISREG(attr.mode) && (attr.mode & (S_ISUID | S_ISGID)) && !(*mask & KNOT_SET_MODE))
		*mask |= KNOT_SET_KILL_SUID;
	return 0;
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *st, int to_set, struct fuse_file_info *fi)
{
	const struct knot_attr wanted = {
		.mode = st->st_mode & 07777,
		.uid = st->st_uid,
		.gid = st->st_gid,
		.size = (uint64_t)st->st_size,
		.atime = time_of(&st->st_atim),
		.mtime = time_of(&st->st_mtim),
		.ctime = time_of(&st->st_ctim),
	};
	struct knot_call call;
	struct knot_attr attr;
	unsigned mask;
	int err;

	(void)fi;
	(void)to_set; /* lacks some flags */
	knot_call_begin(&call, req);
	mask = mask_of(knot_shim_setattr_valid(call.slot));
	err = add_chown_rules(&call, ino, &mask);
	if (!err)
		err = knot_vfs_setattr(call.volume, call.request, ino, mask, &wanted, &attr);
	if (err)
		knot_reply_error(req, err);
	else
		knot_reply_attr(req, &attr);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct knot_call call;
	struct knot_statfs in;
	struct statvfs out;
	int err;

	(void)ino;
	knot_call_begin(&call, req);
	err = knot_vfs_statfs(call.volume, call.request, &in);
	if (err) {
		knot_reply_error(req, err);
		return;
	}
	out = (struct statvfs){
		.f_bsize = in.page_bytes,
		.f_frsize = in.page_bytes,
		.f_blocks = in.pages,
		.f_bfree = in.pages_free,
		.f_bavail = in.pages_available,
		.f_files = in.inodes + in.inodes_free,
		.f_ffree = in.inodes_free,
		.f_favail = in.inodes_free,
		.f_namemax = in.name_bytes_max,
	};
	fuse_reply_statfs(req, &out);
}

void knot_ops_attr(struct fuse_lowlevel_ops *ops)
{
	ops->getattr = op_getattr;
	ops->setattr = op_setattr;
	ops->statfs = op_statfs;
}
