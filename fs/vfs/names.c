/* SPDX-License-Identifier: MIT */
/* What the operations on names have in common. */
#include "fs/vfs/volume_int.h"

#include <dirent.h>
#include <linux/fs.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define INHERITED_FLAGS     (FS_SYNC_FL | FS_DIRSYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL | FS_PROJINHERIT_FL)
#define INHERITED_BY_FILES  (FS_SYNC_FL | FS_NODUMP_FL | FS_NOATIME_FL)
#define INHERITED_BY_OTHERS (FS_NODUMP_FL | FS_NOATIME_FL)

int knot_numbers_push(struct knot_numbers *numbers, uint64_t number)
{
	if (numbers->count == numbers->room) {
		size_t room = numbers->room ? numbers->room * 2 : 64;
		uint64_t *items = reallocarray(numbers->items, room, sizeof(items[0]));

		if (!items)
			return -ENOMEM;
		numbers->items = items;
		numbers->room = room;
	}
	numbers->items[numbers->count++] = number;
	return 0;
}

uint64_t knot_numbers_pop(struct knot_numbers *numbers)
{
	uint64_t number = numbers->items[--numbers->count];

	if (!numbers->count)
		knot_numbers_free(numbers);
	return number;
}

void knot_numbers_free(struct knot_numbers *numbers)
{
	free(numbers->items);
	*numbers = (struct knot_numbers){ 0 };
}

int knot_name_check(const struct knot_name *name)
{
	if (!name->len_bytes)
		return -ENOENT;
	if (name->len_bytes > KNOT_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	if (memchr(name->bytes, '/', name->len_bytes) || memchr(name->bytes, '\0', name->len_bytes))
		return -EINVAL;
	if (name->bytes[0] == '.' && (name->len_bytes == 1 || (name->len_bytes == 2 && name->bytes[1] == '.')))
		return -EINVAL;
	return 0;
}

int knot_dir_get(struct knot_op *op, uint64_t inode_no, struct knot_inode **dir)
{
	struct knot_inode *found;
	int err = knot_inode_get(op->nodes, op->mtr, inode_no, &found);

	if (err)
		return err;
	if (!S_ISDIR(found->attr.mode))
		return -ENOTDIR;
	if (!found->attr.links)
		return -ENOENT;
	*dir = found;
	return 0;
}

int knot_child_get(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, const struct knot_dir_found *found,
		   struct knot_inode **child)
{
	int err = knot_inode_get(nodes, mtr, found->inode_no, child);

	if (err != -ESTALE)
		return err;
	knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR,
		     "directory %" PRIu64 " names inode %" PRIu64 ", which is not there; run fsck.knotfs", dir,
		     found->inode_no);
	return -EUCLEAN;
}

uint8_t knot_mode_to_type(uint32_t mode)
{
	return (uint8_t)IFTODT(mode);
}

int knot_op_drop_name(struct knot_op *op, struct knot_inode *child)
{
	struct knot_touched *touched = knot_op_touch(op, child, KNOT_FIELD_LINKS | KNOT_FIELD_CTIME);
	int err;

	if (!touched->attr.links)
		return -EUCLEAN;
	touched->attr.links--;
	touched->attr.ctime = op->now;
	touched->datasync = false;
	if (touched->attr.links)
		return 0;
	err = knot_reclaim_at_once(op, touched);
	if (!err && !touched->gone)
		err = knot_orphan_add(op->nodes, op->mtr, child->attr.inode);
	return err;
}

static uint64_t inherited_flags(uint64_t flags, uint32_t mode)
{
	if (S_ISDIR(mode))
		return flags & INHERITED_FLAGS;
	return flags & (S_ISREG(mode) ? INHERITED_BY_FILES : INHERITED_BY_OTHERS);
}

void knot_op_new_attr(struct knot_op *op, const struct knot_inode *dir, uint64_t inode_no, uint32_t mode,
		      struct knot_attr *attr)
{
	const struct knot_request *request = op->request;

	*attr = (struct knot_attr){
		.inode = inode_no,
		.mode = mode,
		.uid = request ? request->uid : 0,
		.gid = request ? request->gid : 0,
		.links = 1,
		.generation = 1,
		.change = 1,
		.data_object = inode_no,
		.flags = inherited_flags(dir->attr.flags, mode),
		.project = dir->attr.flags & FS_PROJINHERIT_FL ? dir->attr.project : 0,
		.atime = op->now,
		.mtime = op->now,
		.ctime = op->now,
		.btime = op->now,
	};
	if (request && !S_ISLNK(mode))
		attr->mode &= ~(request->umask & 0777);
	if (dir->attr.mode & S_ISGID) {
		attr->gid = dir->attr.gid;
		if (S_ISDIR(mode))
			attr->mode |= S_ISGID;
	}
}
