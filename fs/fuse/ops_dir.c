/* SPDX-License-Identifier: MIT */
/* Listings. */
#include "fs/fuse/fuse_int.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

/* A reply that grows by entries. */
struct listing {
	fuse_req_t req;
	char *buffer;
	size_t room_bytes;
	size_t used_bytes;
};

/* The name with a NUL behind it, as libfuse wants it. False: no directory entry has such a name. */
static bool copy_name(char copy[static 256], const char *name, size_t name_bytes)
{
	if (name_bytes > 255)
		return false;
	memcpy(copy, name, name_bytes);
	copy[name_bytes] = '\0';
	return true;
}

/* Returns non-zero when the entry that took `took_bytes` does not fit any more. */
static int account(struct listing *listing, size_t took_bytes)
{
	if (took_bytes > listing->room_bytes - listing->used_bytes)
		return 1;
	listing->used_bytes += took_bytes;
	return 0;
}

static mode_t mode_of(uint8_t type)
{
	return (mode_t)type << 12; /* DT_REG << 12 is S_IFREG, and so on */
}

static int fill_plain(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type,
		      uint64_t next_offset, const struct knot_attr *attr)
{
	struct listing *listing = arg;
	struct stat st = { .st_ino = inode, .st_mode = mode_of(type) };
	char copy[256];

	(void)attr;
	if (!copy_name(copy, name, name_bytes))
		return 1;
	return account(listing,
		       fuse_add_direntry(listing->req, listing->buffer + listing->used_bytes,
					 listing->room_bytes - listing->used_bytes, copy, &st, (off_t)next_offset));
}

static int fill_plus(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type, uint64_t next_offset,
		     const struct knot_attr *attr)
{
	struct listing *listing = arg;
	struct fuse_entry_param entry = { .attr = { .st_ino = inode, .st_mode = mode_of(type) } };
	char copy[256];

	if (attr)
		knot_fill_entry(&entry, attr);
	if (!copy_name(copy, name, name_bytes))
		return 1;
	return account(listing, fuse_add_direntry_plus(listing->req, listing->buffer + listing->used_bytes,
						       listing->room_bytes - listing->used_bytes, copy, &entry,
						       (off_t)next_offset));
}

static void list(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, bool plus)
{
	struct knot_call call;
	struct listing listing = { .req = req };
	int err;

	knot_call_begin(&call, req);
	listing.buffer = (char *)call.slot->data;
	listing.room_bytes = size < KNOT_SLOT_DATA_BYTES ? size : KNOT_SLOT_DATA_BYTES;
	err = knot_vfs_readdir(call.volume, call.request, ino, (uint64_t)offset, plus, plus ? fill_plus : fill_plain,
			       &listing);
	/*
	 * Entries taken before an error count as looked up: they must be told, the error comes again with the next
	 * call.
	 */
	if (err && listing.used_bytes == 0)
		knot_reply_error(req, err);
	else
		fuse_reply_buf(req, listing.buffer, listing.used_bytes);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, false);
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *fi)
{
	(void)fi;
	list(req, ino, size, offset, true);
}

static void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *fi)
{
	struct knot_call call;

	(void)data_only;
	(void)fi;
	knot_call_begin(&call, req);
	knot_reply_error(req, knot_vfs_fsyncdir(call.volume, call.request, ino));
}

void knot_ops_dir(struct fuse_lowlevel_ops *ops)
{
	ops->readdir = op_readdir;
	ops->readdirplus = op_readdirplus;
	ops->fsyncdir = op_fsyncdir;
}
