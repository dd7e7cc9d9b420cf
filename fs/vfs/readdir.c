/* SPDX-License-Identifier: MIT */
/*
 * Listing directories. An offset is the cookie of the last entry taken, so a listing goes on at the right place
 * whatever was created or removed meanwhile.
 *
 * Invariants
 *  (1) An entry that `fill` has taken is never offered again: the walk's offset is behind it before anything can fail.
 *  (2) A lookup is counted for exactly the entries that were taken with attributes.
 */
#include "fs/vfs/volume_int.h"

#include "fs/util/endian.h"

#include <dirent.h>
#include <inttypes.h>
#include <sys/stat.h>

#define OFFSET_DOT          1u
#define OFFSET_DOT_DOT      2u
#define ENTRIES_PER_LOCK    512u
#define ATTRIBUTES_PER_LOCK 64u /* each may pin a page of its own */

struct walk {
	struct knot_volume *volume;
	struct knot_mtr *mtr;
	uint64_t dir;
	uint64_t offset;
	bool with_attributes;
	knot_fill_fn fill;
	void *arg;
	unsigned in_this_lock;
	uint64_t taken;
	uint64_t asked_for;  /* inode whose attributes were read last */
	uint64_t unreadable; /* it is listed without attributes */
	bool full, end;
};

static int fill_dots(struct walk *walk, struct knot_mtr *mtr)
{
	while (walk->offset < OFFSET_DOT_DOT) {
		bool is_dot = walk->offset < OFFSET_DOT;
		uint64_t inode = walk->dir;
		int err = is_dot ? 0 : knot_dir_parent(walk->volume->nodes, mtr, walk->dir, &inode);

		if (err && err != -ENOENT) /* removed, but still open: itself */
			return err;
		if (walk->fill(walk->arg, "..", is_dot ? 1 : 2, inode, DT_DIR, walk->offset + 1, NULL)) {
			walk->full = true;
			return 0;
		}
		walk->offset++;
		walk->taken++;
	}
	return 0;
}

/* From memory, else from the item, without making an inode in memory: a huge directory must not push out all others. */
static int attributes_of(struct walk *walk, uint64_t inode_no, struct knot_attr *attr, bool *orphan)
{
	struct knot_nodes *nodes = walk->volume->nodes;
	struct knot_inode *inode = knot_inode_peek(nodes, inode_no);
	struct knot_key key;
	const void *value;
	size_t len_bytes;
	int err;

	if (inode) {
		*attr = inode->attr;
		*orphan = inode->orphan;
		return inode->dead ? -ESTALE : 0;
	}
	walk->asked_for = inode_no;
	knot_key_make(&key, inode_no, KNOT_KIND_INODE, 0, 0);
	err = knot_tree_get(nodes->tree, walk->mtr, &key, &value, &len_bytes);
	if (!err)
		err = knot_inode_decode(inode_no, value, len_bytes, attr);
	*orphan = !err && !attr->links;
	return err;
}

/* Take one entry. 1: no room or enough for now; negative: error before it was taken. */
static int take(struct walk *walk, const struct knot_disk_entry *entry, size_t name_bytes, uint64_t cookie)
{
	uint64_t inode_no = knot_get64(entry->inode);
	const struct knot_attr *shown = NULL;
	struct knot_attr attr;
	bool orphan = false;
	int err;

	if (walk->with_attributes && inode_no != walk->unreadable) {
		err = attributes_of(walk, inode_no, &attr, &orphan);
		if (err == -KNOT_EMISS || err == -ENOMEM)
			return err;
		if (!err)
			shown = &attr;
		err = shown ? knot_lookups_reserve(walk->volume->lookups, inode_no) : 0;
		if (err)
			return err;
	}
	if (walk->fill(walk->arg, (const char *)entry->name, name_bytes, inode_no, entry->type, cookie, shown)) {
		walk->full = true;
		return 1;
	}
	if (shown)
		knot_lookups_add(walk->volume->lookups, inode_no, orphan);
	walk->offset = cookie;
	walk->taken++;
	walk->in_this_lock++;
	return walk->in_this_lock >= (walk->with_attributes ? ATTRIBUTES_PER_LOCK : ENTRIES_PER_LOCK);
}

static int visit(void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	const struct knot_disk_entry *entry = value;
	const struct walk *walk = arg;
	struct knot_name name = { .len_bytes = len_bytes - sizeof(*entry) };

	if (len_bytes > sizeof(*entry))
		name.bytes = (const char *)entry->name;
	if (!name.bytes || knot_name_check(&name) || !knot_get64(entry->inode)) {
		knot_message(knot_txn_messages(walk->volume->txn), KNOT_ERROR,
			     "directory %" PRIu64 " has an impossible entry; run fsck.knotfs", walk->dir);
		return -EUCLEAN;
	}
	return take(arg, entry, name.len_bytes, knot_key_offset_low(key));
}

static int walk_locked(struct walk *walk, struct knot_mtr *mtr)
{
	struct knot_key from, to;
	struct knot_inode *dir;
	int err = knot_inode_get(walk->volume->nodes, mtr, walk->dir, &dir);

	if (err)
		return err;
	if (!S_ISDIR(dir->attr.mode))
		return -ENOTDIR;
	if (walk->offset == 0)
		knot_atime_note_locked(walk->volume, dir);
	err = fill_dots(walk, mtr);
	if (err || walk->full)
		return err;
	if (walk->offset >= INT64_MAX) {
		walk->end = true;
		return 0;
	}
	walk->mtr = mtr;
	walk->in_this_lock = 0;
	knot_key_make(&from, walk->dir, KNOT_KIND_ENTRY, 0, walk->offset + 1);
	knot_key_make(&to, walk->dir, KNOT_KIND_ENTRY, 0, INT64_MAX);
	err = knot_tree_scan(walk->volume->tree, mtr, &from, &to, visit, walk);
	if (err >= 0)
		walk->end = !err;
	return err > 0 ? 0 : err;
}

/* One stay under the lock; after a miss the next one goes on behind what was taken. */
static int walk_once(struct walk *walk, struct knot_request *request)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, walk->volume->txn, request);
	do {
		bool missed;

		walk->asked_for = 0;
		err = knot_mtr_begin_read(&mtr);
		if (!err) {
			knot_nodes_trim_locked(walk->volume->nodes);
			err = walk_locked(walk, &mtr);
		}
		missed = err == -KNOT_EMISS;
		err = knot_mtr_finish(&mtr, err);
		if (missed && err == KNOT_RETRY && walk->asked_for)
			knot_ahead_of_listing(walk->volume, request, walk->dir, walk->offset);
		if (missed && (err == -EUCLEAN || err == -EIO) && walk->asked_for) {
			walk->unreadable = walk->asked_for; /* the entry is fine: list it */
			err = 0;
		}
	} while (err == KNOT_RETRY);
	return err;
}

int knot_vfs_readdir(struct knot_volume *volume, struct knot_request *request, uint64_t inode, uint64_t offset,
		     bool with_attributes, knot_fill_fn fill, void *arg)
{
	struct walk walk = {
		.volume = volume,
		.dir = inode,
		.offset = offset,
		.with_attributes = with_attributes,
		.fill = fill,
		.arg = arg,
	};
	int err = 0;

	while (!err && !walk.full && !walk.end)
		err = walk_once(&walk, request);
	return walk.taken ? 0 : err;
}
