/* SPDX-License-Identifier: MIT */
/* Lookup, and the operations that make or take one name. */
#include "fs/vfs/volume_int.h"

#include <dirent.h>
#include <string.h>
#include <sys/stat.h>

#define FILE_LINKS_MAX   65000u
#define SUBDIRECTORIES_MAX (UINT32_MAX - 2)
#define TARGET_BYTES_MAX 4095u

/* ---- lookup ---- */

struct lookup {
	struct knot_volume *volume;
	uint64_t parent;
	struct knot_name name;
	struct knot_attr attr;
};

/* "." and "..": how NFS finds an inode again. */
static int lookup_dots(struct lookup *lookup, struct knot_mtr *mtr, struct knot_inode *dir, struct knot_inode **child)
{
	uint64_t parent;
	int err;

	if (lookup->name.len_bytes == 1) {
		*child = dir;
		return 0;
	}
	if (!S_ISDIR(dir->attr.mode))
		return -ENOTDIR;
	err = knot_dir_parent(lookup->volume->nodes, mtr, lookup->parent, &parent);
	return err ? err : knot_inode_get(lookup->volume->nodes, mtr, parent, child);
}

static int lookup_body(struct knot_mtr *mtr, void *arg)
{
	struct lookup *lookup = arg;
	struct knot_nodes *nodes = lookup->volume->nodes;
	struct knot_inode *dir, *child;
	struct knot_dir_found found;
	int err = knot_inode_get(nodes, mtr, lookup->parent, &dir);

	if (err)
		return err;
	err = knot_name_check(&lookup->name);
	if (err == -EINVAL && lookup->name.bytes[0] == '.' && lookup->name.len_bytes <= 2) {
		err = lookup_dots(lookup, mtr, dir, &child);
	} else if (!err) {
		if (!S_ISDIR(dir->attr.mode))
			return -ENOTDIR;
		err = knot_dir_find(nodes, mtr, lookup->parent, lookup->name.bytes, lookup->name.len_bytes, &found);
		if (!err)
			err = knot_child_get(nodes, mtr, lookup->parent, &found, &child);
	}
	if (!err)
		err = knot_lookups_reserve(lookup->volume->lookups, child->attr.inode);
	if (err)
		return err;
	knot_lookups_add(lookup->volume->lookups, child->attr.inode, child->orphan);
	lookup->attr = child->attr;
	return 0;
}

int knot_vfs_lookup(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		    size_t name_bytes, struct knot_attr *attr)
{
	struct lookup lookup = { .volume = volume, .parent = parent, .name = { name, name_bytes } };
	int err = knot_op_read(volume, request, lookup_body, &lookup);

	if (!err)
		*attr = lookup.attr;
	return err;
}

void knot_vfs_forget(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t lookups)
{
	if (volume->threads && knot_background_forget(volume, inode, lookups))
		return;
	knot_txn_lock(volume->txn, request);
	if (knot_lookups_forget(volume->lookups, inode, lookups))
		knot_reclaim_queue_locked(volume, inode);
	knot_txn_unlock(volume->txn);
	knot_reclaim_after_op(volume, request);
}

/* ---- making an inode with a name ---- */

struct make {
	struct knot_op op;
	uint64_t parent;
	struct knot_name name;
	uint32_t mode;
	uint64_t rdev;
	struct knot_name target;
	struct knot_attr attr;
};

static void make_publish(struct knot_op *op)
{
	knot_lookups_add(op->volume->lookups, knot_container_of(op, struct make, op)->attr.inode, false);
}

/* One more name in the directory. Errors: -EMLINK. */
static int count_entry(struct knot_op *op, struct knot_inode *dir, bool is_dir)
{
	struct knot_touched *touched =
		knot_op_touch(op, dir, KNOT_FIELD_SIZE | KNOT_FIELD_MTIME | KNOT_FIELD_CTIME | KNOT_FIELD_LINKS);

	if (is_dir && touched->attr.subdirectories >= SUBDIRECTORIES_MAX)
		return -EMLINK;
	touched->attr.size++;
	touched->attr.subdirectories += is_dir;
	touched->attr.mtime = op->now;
	touched->attr.ctime = op->now;
	return 0;
}

/* The inode's item before its name: in the order of their keys, so that new inodes fill the tree's pages. */
static int make_body(struct knot_op *op)
{
	struct make *make = knot_container_of(op, struct make, op);
	uint64_t inode_no, cookie;
	struct knot_inode *dir;
	int err = knot_dir_get(op, make->parent, &dir);

	if (!err)
		err = knot_op_reserve(op, 4, 1, 0);
	if (!err)
		err = knot_space_new_inode_no(op->volume->space, op->mtr, &inode_no);
	if (err)
		return err;
	knot_op_new_attr(op, dir, inode_no, make->mode, &make->attr);
	make->attr.rdev = make->rdev;
	if (S_ISLNK(make->mode)) {
		make->attr.size = make->target.len_bytes;
		err = knot_data_put_target_locked(op->nodes, op->mtr, inode_no, make->target.bytes,
						  make->target.len_bytes, &make->attr.pages);
	}
	if (!err)
		err = knot_inode_create(op->nodes, op->mtr, &make->attr);
	if (!err)
		err = knot_dir_add(op->nodes, op->mtr, make->parent, make->name.bytes, make->name.len_bytes, inode_no,
				   knot_mode_to_type(make->mode), &cookie);
	if (!err)
		err = knot_lookups_reserve(op->volume->lookups, inode_no);
	if (!err)
		err = count_entry(op, dir, S_ISDIR(make->mode));
	return err;
}

static int make(struct knot_volume *volume, struct knot_request *request, struct make *make, struct knot_attr *attr)
{
	int err = knot_name_check(&make->name);

	if (err)
		return err;
	make->op.body = make_body;
	make->op.publish = make_publish;
	err = knot_op_run(&make->op, volume, request);
	if (!err)
		*attr = make->attr;
	return err;
}

int knot_vfs_mknod(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		   size_t name_bytes, uint32_t mode, uint64_t rdev, struct knot_attr *attr)
{
	struct make request_made = { .parent = parent, .name = { name, name_bytes } };

	switch (mode & S_IFMT) {
	case 0:
	case S_IFREG:
		request_made.mode = S_IFREG | (mode & 07777);
		break;
	case S_IFCHR:
	case S_IFBLK:
		request_made.rdev = rdev;
		request_made.mode = mode & (S_IFMT | 07777);
		break;
	case S_IFIFO:
	case S_IFSOCK:
		request_made.mode = mode & (S_IFMT | 07777);
		break;
	case S_IFDIR:
		return -EPERM;
	default:
		return -EINVAL;
	}
	return make(volume, request, &request_made, attr);
}

int knot_vfs_mkdir(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		   size_t name_bytes, uint32_t mode, struct knot_attr *attr)
{
	struct make directory = { .parent = parent, .name = { name, name_bytes }, .mode = S_IFDIR | (mode & 07777) };

	return make(volume, request, &directory, attr);
}

int knot_vfs_symlink(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		     size_t name_bytes, const char *target, size_t target_bytes, struct knot_attr *attr)
{
	struct make symlink = {
		.parent = parent,
		.name = { name, name_bytes },
		.mode = S_IFLNK | 0777,
		.target = { target, target_bytes },
	};

	if (!target_bytes)
		return -ENOENT;
	if (target_bytes > TARGET_BYTES_MAX)
		return -ENAMETOOLONG;
	if (memchr(target, '\0', target_bytes))
		return -EINVAL;
	return make(volume, request, &symlink, attr);
}

/* ---- link ---- */

struct link {
	struct knot_op op;
	uint64_t inode, parent;
	struct knot_name name;
	struct knot_attr attr;
};

static void link_publish(struct knot_op *op)
{
	knot_lookups_add(op->volume->lookups, knot_container_of(op, struct link, op)->inode, false);
}

static int link_body(struct knot_op *op)
{
	struct link *link = knot_container_of(op, struct link, op);
	struct knot_inode *dir, *child;
	struct knot_touched *touched;
	uint64_t cookie;
	int err = knot_dir_get(op, link->parent, &dir);

	if (!err)
		err = knot_inode_get(op->nodes, op->mtr, link->inode, &child);
	if (err)
		return err;
	if (S_ISDIR(child->attr.mode))
		return -EPERM;
	if (!child->attr.links)
		return -ENOENT;
	if (child->attr.links >= FILE_LINKS_MAX)
		return -EMLINK;
	err = knot_op_reserve(op, 2, 0, 0);
	if (!err)
		err = knot_dir_add(op->nodes, op->mtr, link->parent, link->name.bytes, link->name.len_bytes,
				   link->inode, knot_mode_to_type(child->attr.mode), &cookie);
	if (!err)
		err = knot_lookups_reserve(op->volume->lookups, link->inode);
	if (err)
		return err;
	touched = knot_op_touch(op, child, KNOT_FIELD_LINKS | KNOT_FIELD_CTIME);
	touched->attr.links++;
	touched->attr.ctime = op->now;
	link->attr = touched->attr;
	link->attr.change++;
	return count_entry(op, dir, false);
}

int knot_vfs_link(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t parent,
		  const char *name, size_t name_bytes, struct knot_attr *attr)
{
	struct link link = {
		.op = { .body = link_body, .publish = link_publish },
		.inode = inode,
		.parent = parent,
		.name = { name, name_bytes },
	};
	int err = knot_name_check(&link.name);

	if (!err)
		err = knot_op_run(&link.op, volume, request);
	if (!err)
		*attr = link.attr;
	return err;
}

/* ---- unlink, rmdir ---- */

struct removal {
	struct knot_op op;
	uint64_t parent;
	struct knot_name name;
	bool is_rmdir;
};

static int removal_check(const struct removal *removal, const struct knot_inode *child)
{
	if (!removal->is_rmdir)
		return S_ISDIR(child->attr.mode) ? -EISDIR : 0;
	if (!S_ISDIR(child->attr.mode))
		return -ENOTDIR;
	return child->attr.size ? -ENOTEMPTY : 0;
}

static int removal_body(struct knot_op *op)
{
	struct removal *removal = knot_container_of(op, struct removal, op);
	struct knot_inode *dir, *child;
	struct knot_touched *touched;
	struct knot_dir_found found = { 0 };
	int err = knot_dir_get(op, removal->parent, &dir);

	if (!err)
		err = knot_dir_find(op->nodes, op->mtr, removal->parent, removal->name.bytes, removal->name.len_bytes,
				    &found);
	if (!err)
		err = knot_child_get(op->nodes, op->mtr, removal->parent, &found, &child);
	if (!err)
		err = removal_check(removal, child);
	if (!err)
		err = knot_op_reserve(op, 1, 0, KNOT_SPACE_POOL);
	if (!err)
		err = knot_dir_remove(op->nodes, op->mtr, removal->parent, found.cookie, found.inode_no);
	if (!err)
		err = knot_op_drop_name(op, child);
	if (err)
		return err;
	touched = knot_op_touch(op, dir, KNOT_FIELD_SIZE | KNOT_FIELD_MTIME | KNOT_FIELD_CTIME | KNOT_FIELD_LINKS);
	if (!touched->attr.size || (removal->is_rmdir && !touched->attr.subdirectories))
		return -EUCLEAN;
	touched->attr.size--;
	touched->attr.subdirectories -= removal->is_rmdir;
	touched->attr.mtime = op->now;
	touched->attr.ctime = op->now;
	return 0;
}

static int run_removal(struct knot_volume *volume, struct knot_request *request, struct removal *removal)
{
	int err = knot_name_check(&removal->name);

	if (err)
		return err;
	removal->op.body = removal_body;
	err = knot_op_run(&removal->op, volume, request);
	if (!err)
		knot_reclaim_after_op(volume, request);
	return err;
}

int knot_vfs_unlink(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		    size_t name_bytes)
{
	struct removal removal = { .parent = parent, .name = { name, name_bytes } };

	return run_removal(volume, request, &removal);
}

int knot_vfs_rmdir(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		   size_t name_bytes)
{
	struct removal removal = { .parent = parent, .name = { name, name_bytes }, .is_rmdir = true };

	return run_removal(volume, request, &removal);
}
