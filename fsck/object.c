/* SPDX-License-Identifier: MIT */
/*
 * Items, in key order: all of one object's come together, its inode first. What concerns the object alone is checked
 * when its last item has come.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <dirent.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#define NSEC_PER_SEC     1000000000u
#define MODE_BITS        ((uint32_t)S_IFMT | 07777u)
#define SNAPSHOT_AT      25u
#define SYMLINK_SIZE_MAX 4095u

static uint32_t snapshot_of(const struct knot_key *key)
{
	return knot_get_be32(key->bytes + SNAPSHOT_AT);
}

static void say_malformed(struct knot_fsck *fsck, const struct knot_key *key, const char *why)
{
	const struct knot_fsck_at at = { .object = knot_key_object(key), .a = knot_key_kind(key), .why = why };

	knot_fsck_problem(fsck, KNOT_FSCK_ITEM_MALFORMED, &at);
}

static void say_unknown(struct knot_fsck *fsck, const struct knot_key *key)
{
	const struct knot_fsck_at at = { .object = knot_key_object(key), .a = knot_key_kind(key) };

	knot_fsck_problem(fsck, KNOT_FSCK_ITEM_UNKNOWN, &at);
}

/* ---- inode items ---- */

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
		return true;
	default:
		return false;
	}
}

static bool time_is_possible(struct knot_disk_time time)
{
	return knot_get32(time.nsec) < NSEC_PER_SEC;
}

/* NULL if the values are possible. */
static const char *inode_fault(const struct knot_disk_inode *disk)
{
	uint32_t mode = knot_get32(disk->mode);

	if (!type_is_known(mode) || (mode & ~MODE_BITS))
		return "mode";
	if (knot_get64(disk->size) > INT64_MAX)
		return "size";
	if (!time_is_possible(disk->atime) || !time_is_possible(disk->mtime) || !time_is_possible(disk->ctime) ||
	    !time_is_possible(disk->btime))
		return "time";
	if (knot_get64(disk->generation) == 0)
		return "generation";
	return NULL;
}

static int inode_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number };
	struct knot_disk_inode disk;

	if (knot_key_offset_high(key) || knot_key_offset_low(key)) {
		say_malformed(fsck, key, "offset");
		return 0;
	}
	int err = knot_fsck_node(fsck, object->number, &object->node);
	if (err)
		return err;
	object->has_node = true;
	object->has_inode = true;
	object->is_torn = false;
	knot_fsck_node_at(fsck, object->node)->flags |= KNOT_NODE_HAS_INODE;
	fsck->report->inodes++;
	if (len_bytes != sizeof(disk)) {
		say_malformed(fsck, key, "size");
		return 0;
	}
	memcpy(&disk, value, sizeof(disk));
	at.why = inode_fault(&disk);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_INODE_VALUE, &at);
		return 0;
	}

	object->is_good = true;
	object->mode = knot_get32(disk.mode);
	object->links = knot_get32(disk.links);
	object->subdirectories = knot_get32(disk.subdirectories);
	object->size = knot_get64(disk.size);
	object->pages = knot_get64(disk.pages);
	object->data_object = knot_get64(disk.data_object);
	knot_fsck_node_at(fsck, object->node)->type = (uint8_t)IFTODT(object->mode);
	if (!object->links)
		knot_fsck_node_at(fsck, object->node)->flags |= KNOT_NODE_NO_NAMES;
	if (S_ISDIR(object->mode))
		fsck->report->directories++;
	return 0;
}

/* ---- the end of an object ---- */

static void check_inline(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number, .a = object->inline_bytes, .b = object->size };

	if (S_ISLNK(object->mode) && !object->links)
		return; /* its data goes first */
	if (S_ISLNK(object->mode)) {
		at.a = object->size;
		at.b = object->inline_bytes;
		if (!object->size || object->size > SYMLINK_SIZE_MAX ||
		    (object->has_inline ? object->inline_bytes != object->size : object->pages == 0))
			knot_fsck_problem(fsck, KNOT_FSCK_SYMLINK, &at);
		return;
	}
	if (object->has_inline && object->inline_bytes > object->size)
		knot_fsck_problem(fsck, KNOT_FSCK_INLINE_LONG, &at);
}

static void check_inode_object(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	const struct knot_fsck_at at = { .object = object->number };

	if (!object->is_good)
		return;
	if (S_ISREG(object->mode) || S_ISLNK(object->mode))
		check_inline(fsck);
	else if (object->has_inline || object->pages || object->data_object != object->number)
		knot_fsck_problem(fsck, KNOT_FSCK_INODE_NO_DATA, &at);
}

static int end_object(struct knot_fsck *fsck)
{
	struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number };
	int err = 0;

	if (!object->is_open)
		return 0;
	if (fsck->has_state && object->number >= knot_get64(fsck->state.next_inode) &&
	    object->number >= KNOT_OBJECT_FIRST_FREE) {
		at.a = knot_get64(fsck->state.next_inode);
		knot_fsck_problem(fsck, KNOT_FSCK_INODE_NUMBER, &at);
	}
	object->is_torn |= fsck->has_gap;
	if (!object->is_torn) {
		if (object->has_inode)
			check_inode_object(fsck);
		else if (object->other_items)
			knot_fsck_problem(fsck, KNOT_FSCK_INODE_MISSING, &at);
		err = knot_fsck_data_end_of_object(fsck);
		knot_fsck_names_end_of_object(fsck);
	}
	object->is_open = false;
	return err;
}

static void begin_object(struct knot_fsck *fsck, uint64_t number)
{
	struct knot_fsck_array run = fsck->object.run; /* its memory */

	run.count = 0;
	fsck->object =
		(struct knot_fsck_object){ .number = number, .is_open = true, .is_torn = fsck->has_gap, .run = run };
}

/* ---- items ---- */

static int inline_item(struct knot_fsck *fsck, const struct knot_key *key, size_t len_bytes)
{
	struct knot_fsck_object *object = &fsck->object;

	if (knot_key_offset_high(key) || knot_key_offset_low(key)) {
		say_malformed(fsck, key, "offset");
		return 0;
	}
	object->other_items++;
	object->has_inline = true;
	object->inline_bytes = len_bytes;
	return 0;
}

static int system_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	uint64_t object = knot_key_object(key);
	uint8_t kind = knot_key_kind(key);

	if (object == KNOT_OBJECT_ORPHANS && kind == KNOT_KIND_ORPHAN)
		return knot_fsck_orphan_item(fsck, key, len_bytes);
	if (object == KNOT_OBJECT_TRUNCATIONS && kind == KNOT_KIND_TRUNCATION)
		return knot_fsck_truncation_item(fsck, key, value, len_bytes);
	say_unknown(fsck, key);
	return 0;
}

static int object_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	switch (knot_key_kind(key)) {
	case KNOT_KIND_INODE:
		return inode_item(fsck, key, value, len_bytes);
	case KNOT_KIND_PARENT_LINK:
		fsck->object.other_items++;
		return knot_fsck_reference_item(fsck, key, value, len_bytes);
	case KNOT_KIND_ATTRIBUTE: /* the format leaves their value to a later version */
		fsck->object.other_items++;
		return 0;
	case KNOT_KIND_INLINE:
		return inline_item(fsck, key, len_bytes);
	case KNOT_KIND_EXTENT:
		return knot_fsck_extent_item(fsck, key, value, len_bytes);
	case KNOT_KIND_ENTRY:
		fsck->object.other_items++;
		return knot_fsck_entry_item(fsck, key, value, len_bytes);
	default:
		say_unknown(fsck, key);
		return 0;
	}
}

int knot_fsck_visit_item(struct knot_fsck *fsck, void *arg, const struct knot_key *key, const void *value,
			 size_t len_bytes)
{
	uint64_t object = knot_key_object(key);
	int err = 0;

	(void)arg;
	if (!fsck->object.is_open || fsck->object.number != object) {
		err = end_object(fsck);
		if (err)
			return err;
		if (object == KNOT_OBJECT_ROOT || object >= KNOT_OBJECT_FIRST_FREE)
			begin_object(fsck, object);
	}
	if (fsck->has_gap)
		fsck->object.is_torn = true;
	fsck->has_gap = false;
	if (snapshot_of(key)) {
		say_malformed(fsck, key, "snapshot");
		return 0;
	}
	if (!fsck->object.is_open)
		return system_item(fsck, key, value, len_bytes);
	return object_item(fsck, key, value, len_bytes);
}

int knot_fsck_visit_end(struct knot_fsck *fsck)
{
	return end_object(fsck);
}
