/* SPDX-License-Identifier: MIT */
/* Data and durability: thin over fs/node. */
#include "fs/vfs/volume_int.h"

#include <sys/stat.h>

int knot_vfs_read(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t at,
		  size_t len_bytes, void *buffer, size_t *got)
{
	int err = knot_data_read(volume->nodes, request, inode, at, len_bytes, buffer, got);

	if (!err && len_bytes)
		knot_atime_note(volume, request, inode);
	return err;
}

int knot_vfs_write(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t at,
		   size_t len_bytes, const void *buffer, bool kill_suid)
{
	int err;

	if (volume->read_only)
		return -EROFS;
	err = knot_data_write(volume->nodes, request, inode, at, len_bytes, buffer, kill_suid);
	if (err == -ENOSPC && knot_volume_make_room(volume, request))
		err = knot_data_write(volume->nodes, request, inode, at, len_bytes, buffer, kill_suid);
	return knot_space_error(volume->space, err);
}

size_t knot_vfs_write_max(const struct knot_volume *volume)
{
	return knot_data_write_max(volume->nodes);
}

struct pin {
	struct knot_volume *volume;
	uint64_t inode_no;
	struct knot_inode *inode;
};

static int pin_body(struct knot_mtr *mtr, void *arg)
{
	struct pin *pin = arg;
	int err = knot_inode_get(pin->volume->nodes, mtr, pin->inode_no, &pin->inode);

	if (!err)
		knot_inode_pin(pin->volume->nodes, pin->inode);
	return err;
}

/* Pinned, so that what it has to wait for is in memory: inode.c (3). */
int knot_vfs_fsync(struct knot_volume *volume, struct knot_request *request, uint64_t inode, bool data_only)
{
	struct pin pin = { .volume = volume, .inode_no = inode };
	int err = knot_op_read(volume, request, pin_body, &pin);

	if (err)
		return err;
	err = knot_data_fsync(volume->nodes, request, inode, data_only);
	knot_txn_lock(volume->txn, request);
	knot_inode_unpin(volume->nodes, pin.inode);
	knot_txn_unlock(volume->txn);
	return err;
}

int knot_vfs_fsyncdir(struct knot_volume *volume, struct knot_request *request, uint64_t inode)
{
	return knot_vfs_fsync(volume, request, inode, false);
}

int knot_vfs_syncfs(struct knot_volume *volume, struct knot_request *request)
{
	int err, commit_err;

	if (volume->read_only)
		return 0;
	err = knot_data_flush_all(volume->nodes, request, 0);
	commit_err = knot_txn_commit_to(volume->txn, knot_txn_lsn(volume->txn), true, request);
	if (!err)
		err = commit_err;
	/* what can't be flushed any more is not pending any more either */
	return !err && knot_txn_is_stopped(volume->txn) ? -EIO : err;
}

int knot_vfs_checkpoint(struct knot_volume *volume, struct knot_request *request)
{
	int err;

	if (volume->read_only)
		return 0;
	err = knot_vfs_syncfs(volume, request);
	return err ? err : knot_txn_checkpoint(volume->txn, request);
}

struct readlink {
	struct knot_volume *volume;
	uint64_t inode_no;
};

static int readlink_body(struct knot_mtr *mtr, void *arg)
{
	struct readlink *readlink = arg;
	struct knot_inode *inode;
	int err = knot_inode_get(readlink->volume->nodes, mtr, readlink->inode_no, &inode);

	return err ? err : S_ISLNK(inode->attr.mode) ? 0 : -EINVAL;
}

int knot_vfs_readlink(struct knot_volume *volume, struct knot_request *request, uint64_t inode, char *target,
		      size_t *len_bytes)
{
	struct readlink readlink = { .volume = volume, .inode_no = inode };
	size_t got;
	int err = knot_op_read(volume, request, readlink_body, &readlink);

	if (!err)
		err = knot_data_read(volume->nodes, request, inode, 0, *len_bytes, target, &got);
	if (err)
		return err;
	*len_bytes = got;
	knot_atime_note(volume, request, inode);
	return 0;
}
