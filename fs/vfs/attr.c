/* SPDX-License-Identifier: MIT */
/* getattr, setattr, statfs. */
#include "fs/vfs/volume_int.h"

#include <string.h>
#include <sys/stat.h>

#define NSEC_PER_SEC    1000000000u
#define INODES_PER_PAGE 8u /* an estimate: an inode, its entry and its back-reference */

struct getattr {
	struct knot_volume *volume;
	uint64_t inode;
	struct knot_attr attr;
};

static int getattr_body(struct knot_mtr *mtr, void *arg)
{
	struct getattr *getattr = arg;
	struct knot_inode *inode;
	int err = knot_inode_get(getattr->volume->nodes, mtr, getattr->inode, &inode);

	if (!err)
		getattr->attr = inode->attr;
	return err;
}

int knot_vfs_getattr(struct knot_volume *volume, struct knot_request *request, uint64_t inode, struct knot_attr *attr)
{
	struct getattr getattr = { .volume = volume, .inode = inode };
	int err = knot_op_read(volume, request, getattr_body, &getattr);

	if (!err)
		*attr = getattr.attr;
	return err;
}

struct setattr {
	struct knot_op op;
	uint64_t inode;
	unsigned mask;
	const struct knot_attr *wanted;
	struct knot_attr attr;
};

static void set_owner_and_mode(const struct setattr *setattr, struct knot_touched *touched)
{
	const struct knot_attr *wanted = setattr->wanted;
	uint32_t mode = touched->attr.mode;

	if (setattr->mask & KNOT_SET_UID)
		touched->attr.uid = wanted->uid;
	if (setattr->mask & KNOT_SET_GID)
		touched->attr.gid = wanted->gid;
	if (setattr->mask & (KNOT_SET_UID | KNOT_SET_GID))
		touched->fields |= KNOT_FIELD_OWNER;
	if (setattr->mask & KNOT_SET_KILL_SUID && !S_ISDIR(mode)) {
		mode &= ~(uint32_t)S_ISUID;
		if (mode & S_IXGRP)
			mode &= ~(uint32_t)S_ISGID;
	}
	if (setattr->mask & KNOT_SET_MODE)
		mode = (mode & S_IFMT) | (wanted->mode & 07777);
	if (mode != touched->attr.mode || setattr->mask & KNOT_SET_MODE)
		touched->fields |= KNOT_FIELD_MODE;
	touched->attr.mode = mode;
}

static void set_times(const struct setattr *setattr, struct knot_time now, struct knot_touched *touched)
{
	const struct knot_attr *wanted = setattr->wanted;

	if (setattr->mask & (KNOT_SET_ATIME | KNOT_SET_ATIME_NOW)) {
		touched->attr.atime = setattr->mask & KNOT_SET_ATIME_NOW ? now : wanted->atime;
		touched->fields |= KNOT_FIELD_ATIME;
	}
	if (setattr->mask & (KNOT_SET_MTIME | KNOT_SET_MTIME_NOW)) {
		touched->attr.mtime = setattr->mask & KNOT_SET_MTIME_NOW ? now : wanted->mtime;
		touched->fields |= KNOT_FIELD_MTIME;
	}
	touched->attr.ctime = setattr->mask & KNOT_SET_CTIME ? wanted->ctime : now;
	touched->fields |= KNOT_FIELD_CTIME;
}

static int setattr_body(struct knot_op *op)
{
	struct setattr *setattr = knot_container_of(op, struct setattr, op);
	struct knot_touched *touched;
	struct knot_inode *inode;
	int err = knot_inode_get(op->nodes, op->mtr, setattr->inode, &inode);

	if (err)
		return err;
	touched = knot_op_touch(op, inode, 0);
	touched->datasync = false;
	set_owner_and_mode(setattr, touched);
	if (setattr->mask & KNOT_SET_FLAGS)
		touched->attr.flags = setattr->wanted->flags;
	if (setattr->mask & KNOT_SET_PROJECT)
		touched->attr.project = setattr->wanted->project;
	if (setattr->mask & (KNOT_SET_FLAGS | KNOT_SET_PROJECT))
		touched->fields |= KNOT_FIELD_FLAGS;
	if (setattr->mask & ~KNOT_SET_KILL_SUID || touched->fields)
		set_times(setattr, op->now, touched);
	setattr->attr = touched->attr;
	setattr->attr.change += touched->fields != 0;
	return 0;
}

static bool time_is_possible(struct knot_time time)
{
	return time.nsec < NSEC_PER_SEC;
}

static int check_wanted(unsigned mask, const struct knot_attr *wanted)
{
	if (mask & KNOT_SET_SIZE && wanted->size > INT64_MAX)
		return -EINVAL;
	if ((mask & KNOT_SET_ATIME && !time_is_possible(wanted->atime)) ||
	    (mask & KNOT_SET_MTIME && !time_is_possible(wanted->mtime)) ||
	    (mask & KNOT_SET_CTIME && !time_is_possible(wanted->ctime)))
		return -EINVAL;
	return 0;
}

int knot_vfs_setattr(struct knot_volume *volume, struct knot_request *request, uint64_t inode, unsigned mask,
		     const struct knot_attr *wanted, struct knot_attr *attr)
{
	struct setattr setattr = {
		.op = { .body = setattr_body },
		.inode = inode,
		.mask = mask & ~KNOT_SET_SIZE,
		.wanted = wanted,
	};
	int err = check_wanted(mask, wanted);

	if (err)
		return err;
	if (volume->read_only)
		return mask ? -EROFS : knot_vfs_getattr(volume, request, inode, attr);
	if (mask & KNOT_SET_SIZE) {
		err = knot_space_error(volume->space, knot_data_truncate(volume->nodes, request, inode, wanted->size,
									 &setattr.attr));
		/* the kernel sends the time of the truncation along; it is set already */
		if (!(setattr.mask & KNOT_SET_MTIME))
			setattr.mask &= ~(KNOT_SET_MTIME_NOW);
	}
	if (!err && setattr.mask)
		err = knot_op_run(&setattr.op, volume, request);
	else if (!err && !(mask & KNOT_SET_SIZE))
		err = knot_vfs_getattr(volume, request, inode, &setattr.attr);
	if (!err)
		*attr = setattr.attr;
	return err;
}

/* ---- statfs ---- */

struct statfs_read {
	struct knot_volume *volume;
	struct knot_statfs out;
};

static int statfs_body(struct knot_mtr *mtr, void *arg)
{
	struct statfs_read *read = arg;
	struct knot_space *space = read->volume->space;

	read->out.pages = knot_space_total(space);
	read->out.pages_free = knot_space_free(space);
	read->out.pages_available = knot_space_available(space);
	read->out.inodes_free = read->out.pages_available * INODES_PER_PAGE;
	return knot_space_inodes(space, mtr, &read->out.inodes);
}

int knot_vfs_statfs(struct knot_volume *volume, struct knot_request *request, struct knot_statfs *out)
{
	struct statfs_read read = { .volume = volume };
	int err = knot_op_read(volume, request, statfs_body, &read);

	if (err)
		return err;
	read.out.page_bytes = KNOT_PAGE_BYTES;
	read.out.name_bytes_max = KNOT_NAME_BYTES_MAX;
	memcpy(read.out.uuid, volume->super.uuid, sizeof(read.out.uuid));
	*out = read.out;
	return 0;
}
