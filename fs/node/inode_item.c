/* SPDX-License-Identifier: MIT */
/* Inode items: encode, decode, and the change of single fields. */
#include "fs/node/node.h"
#include "fs/util/endian.h"

#include <sys/stat.h>

#define NSEC_PER_SEC 1000000000u

static struct knot_disk_time encode_time(struct knot_time time)
{
	struct knot_disk_time disk = { .sec = knot_put64((uint64_t)time.sec), .nsec = knot_put32(time.nsec) };

	return disk;
}

static struct knot_time decode_time(struct knot_disk_time disk)
{
	return (struct knot_time){ .sec = (int64_t)knot_get64(disk.sec), .nsec = knot_get32(disk.nsec) };
}

void knot_inode_encode(const struct knot_attr *attr, struct knot_disk_inode *disk)
{
	*disk = (struct knot_disk_inode){
		.mode = knot_put32(attr->mode),
		.uid = knot_put32(attr->uid),
		.gid = knot_put32(attr->gid),
		.project = knot_put32(attr->project),
		.links = knot_put32(attr->links),
		.subdirectories = knot_put32(attr->subdirectories),
		.size = knot_put64(attr->size),
		.pages = knot_put64(attr->pages),
		.flags = knot_put64(attr->flags),
		.generation = knot_put64(attr->generation),
		.change = knot_put64(attr->change),
		.rdev = knot_put64(attr->rdev),
		.data_object = knot_put64(attr->data_object),
		.atime = encode_time(attr->atime),
		.mtime = encode_time(attr->mtime),
		.ctime = encode_time(attr->ctime),
		.btime = encode_time(attr->btime),
	};
}

static bool type_is_known(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return !(mode & ~(uint32_t)(S_IFMT | 07777));
	default:
		return false;
	}
}

static bool is_possible(const struct knot_attr *attr)
{
	return type_is_known(attr->mode) && attr->size <= INT64_MAX && attr->atime.nsec < NSEC_PER_SEC &&
	       attr->mtime.nsec < NSEC_PER_SEC && attr->ctime.nsec < NSEC_PER_SEC && attr->btime.nsec < NSEC_PER_SEC &&
	       attr->data_object && attr->data_object <= INT64_MAX;
}

int knot_inode_decode(uint64_t inode_no, const void *value, size_t len_bytes, struct knot_attr *attr)
{
	const struct knot_disk_inode *disk = value;
	struct knot_attr out;

	if (len_bytes != sizeof(*disk))
		return -EUCLEAN;
	out = (struct knot_attr){
		.inode = inode_no,
		.mode = knot_get32(disk->mode),
		.uid = knot_get32(disk->uid),
		.gid = knot_get32(disk->gid),
		.project = knot_get32(disk->project),
		.links = knot_get32(disk->links),
		.subdirectories = knot_get32(disk->subdirectories),
		.size = knot_get64(disk->size),
		.pages = knot_get64(disk->pages),
		.flags = knot_get64(disk->flags),
		.generation = knot_get64(disk->generation),
		.change = knot_get64(disk->change),
		.rdev = knot_get64(disk->rdev),
		.data_object = knot_get64(disk->data_object),
		.atime = decode_time(disk->atime),
		.mtime = decode_time(disk->mtime),
		.ctime = decode_time(disk->ctime),
		.btime = decode_time(disk->btime),
	};
	if (!is_possible(&out))
		return -EUCLEAN;
	*attr = out;
	return 0;
}

static void patch(struct knot_disk_inode *disk, const struct knot_disk_inode *from, unsigned fields)
{
	if (fields & KNOT_FIELD_MODE)
		disk->mode = from->mode;
	if (fields & KNOT_FIELD_OWNER) {
		disk->uid = from->uid;
		disk->gid = from->gid;
	}
	if (fields & KNOT_FIELD_LINKS) {
		disk->links = from->links;
		disk->subdirectories = from->subdirectories;
	}
	if (fields & KNOT_FIELD_SIZE)
		disk->size = from->size;
	if (fields & KNOT_FIELD_PAGES)
		disk->pages = from->pages;
	if (fields & KNOT_FIELD_ATIME)
		disk->atime = from->atime;
	if (fields & KNOT_FIELD_MTIME)
		disk->mtime = from->mtime;
	if (fields & KNOT_FIELD_CTIME)
		disk->ctime = from->ctime;
	if (fields & KNOT_FIELD_FLAGS) {
		disk->flags = from->flags;
		disk->project = from->project;
	}
	if (fields & KNOT_FIELD_DATA_OBJECT)
		disk->data_object = from->data_object;
}

/* The item's counter never falls behind memory's; a mere access time is no change. */
static knot_le64 next_change(const struct knot_disk_inode *disk, const struct knot_attr *attr, unsigned fields)
{
	uint64_t next = knot_get64(disk->change) + 1;

	if (!(fields & ~KNOT_FIELD_ATIME))
		return disk->change;
	return knot_put64(next > attr->change ? next : attr->change);
}

int knot_inode_log(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, const struct knot_attr *attr,
		   unsigned fields)
{
	struct knot_disk_inode disk, from;
	struct knot_key key;
	const void *value;
	size_t len_bytes;
	int err;

	knot_key_make(&key, inode_no, KNOT_KIND_INODE, 0, 0);
	err = knot_tree_get(nodes->tree, mtr, &key, &value, &len_bytes);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	if (len_bytes != sizeof(disk))
		return -EUCLEAN;
	memcpy(&disk, value, sizeof(disk));
	knot_inode_encode(attr, &from);
	patch(&disk, &from, fields);
	disk.change = next_change(&disk, attr, fields);
	return knot_tree_update(nodes->tree, mtr, &key, &disk, sizeof(disk));
}
