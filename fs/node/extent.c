/* SPDX-License-Identifier: MIT */
/*
 * Extents and inline data: which device pages hold which pages of a file.
 *
 * Invariants
 *  (1) The extents of a data object never overlap, never cross a group of the volume, and their device pages are in
 *      use.
 *  (2) An inode has an inline item only while its data object has no extents.
 *
 * If power fails: all changes here are in the caller's mini-transaction.
 */
#include "fs/node/data_int.h"

#include "fs/util/endian.h"
#include "fs/util/message.h"

#include <string.h>

static int bad_extent(struct knot_nodes *nodes, uint64_t object, uint64_t file_page)
{
	knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR,
		     "object %llu, file page %llu: its extent is impossible. Run: fsck.knotfs -n",
		     (unsigned long long)object, (unsigned long long)file_page);
	return -EUCLEAN;
}

static void make_key(struct knot_key *key, uint64_t object, uint64_t file_page)
{
	knot_key_make(key, object, KNOT_KIND_EXTENT, 0, file_page);
}

static int decode(struct knot_nodes *nodes, const struct knot_key *key, const void *value, size_t len_bytes,
		  struct knot_extent *extent)
{
	struct knot_disk_extent disk;
	const struct knot_super *super = knot_txn_super(nodes->txn);
	struct knot_extent out = { .file_page = knot_key_offset_low(key) };
	struct knot_key plain;

	/* a key with more in it than the file page would be behind extents of higher pages */
	make_key(&plain, knot_key_object(key), out.file_page);
	if (len_bytes != sizeof(disk) || memcmp(&plain, key, sizeof(plain)) != 0)
		return bad_extent(nodes, knot_key_object(key), out.file_page);
	memcpy(&disk, value, sizeof(disk));
	out.page_no = knot_get64(disk.page_no);
	out.pages = knot_get32(disk.pages);
	out.flags = knot_get32(disk.flags);
	if (out.pages == 0 || out.pages > KNOT_GROUP_PAGES || out.page_no == 0 || out.page_no >= super->pages ||
	    out.pages > super->pages - out.page_no || out.file_page > UINT64_MAX / 2 ||
	    out.page_no / KNOT_GROUP_PAGES != (out.page_no + out.pages - 1) / KNOT_GROUP_PAGES ||
	    knot_super_range_has_fixed(super, out.page_no, out.pages))
		return bad_extent(nodes, knot_key_object(key), out.file_page);
	*extent = out;
	return 0;
}

static bool key_is_of(const struct knot_key *key, uint64_t object)
{
	return knot_key_object(key) == object && knot_key_kind(key) == KNOT_KIND_EXTENT;
}

typedef int (*seek_fn)(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, struct knot_key *found,
		       const void **value, size_t *len_bytes);

/* The object's extent that `seek` comes to from `file_page`. -ENOENT none. */
static int seek_extent(struct knot_nodes *nodes, struct knot_mtr *mtr, seek_fn seek, uint64_t object,
		       uint64_t file_page, struct knot_extent *extent)
{
	struct knot_key key, found;
	const void *value;
	size_t len_bytes;
	int err;

	make_key(&key, object, file_page);
	err = seek(nodes->tree, mtr, &key, &found, &value, &len_bytes);
	if (err)
		return err;
	if (!key_is_of(&found, object))
		return -ENOENT;
	return decode(nodes, &found, value, len_bytes, extent);
}

/* The extent that begins at or before `file_page`, or at or after it. -ENOENT none. */
static int extent_before(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page,
			 struct knot_extent *extent)
{
	return seek_extent(nodes, mtr, knot_tree_prev, object, file_page, extent);
}

static int extent_after(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page,
			struct knot_extent *extent)
{
	return seek_extent(nodes, mtr, knot_tree_next, object, file_page, extent);
}

int knot_extent_find(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page,
		     uint64_t limit, struct knot_extent *extent)
{
	struct knot_extent found;
	int err = extent_before(nodes, mtr, object, file_page, &found);

	if (err && err != -ENOENT)
		return err;
	if (!err && file_page < found.file_page + found.pages) {
		uint64_t skip = file_page - found.file_page;

		found.file_page = file_page;
		found.page_no += skip;
		found.pages -= skip;
		if (found.pages > limit)
			found.pages = limit;
		*extent = found;
		return 0;
	}
	err = extent_after(nodes, mtr, object, file_page, &found);
	if (err && err != -ENOENT)
		return err;
	*extent = (struct knot_extent){ .file_page = file_page, .pages = limit, .hole = true };
	if (!err && found.file_page - file_page < limit)
		extent->pages = found.file_page - file_page;
	return 0;
}

static int insert(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, const struct knot_extent *extent)
{
	struct knot_disk_extent disk = {
		.page_no = knot_put64(extent->page_no),
		.pages = knot_put32((uint32_t)extent->pages),
		.flags = knot_put32(extent->flags),
	};
	struct knot_key key;

	make_key(&key, object, extent->file_page);
	return knot_tree_insert(nodes->tree, mtr, &key, &disk, sizeof(disk));
}

static int resize(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, const struct knot_extent *extent)
{
	struct knot_disk_extent disk = {
		.page_no = knot_put64(extent->page_no),
		.pages = knot_put32((uint32_t)extent->pages),
		.flags = knot_put32(extent->flags),
	};
	struct knot_key key;

	make_key(&key, object, extent->file_page);
	return knot_tree_update(nodes->tree, mtr, &key, &disk, sizeof(disk));
}

static int remove_item(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page)
{
	struct knot_key key;

	make_key(&key, object, file_page);
	return knot_tree_remove(nodes->tree, mtr, &key);
}

/* Take [first, end) out of one extent that overlaps it, freeing those device pages. */
static int punch_one(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, const struct knot_extent *old,
		     uint64_t first, uint64_t end, int64_t *delta)
{
	uint64_t old_end = old->file_page + old->pages;
	uint64_t cut_first = first > old->file_page ? first : old->file_page;
	uint64_t cut_end = end < old_end ? end : old_end;
	struct knot_extent left = *old, right = *old;
	int err;

	left.pages = cut_first - old->file_page;
	right.file_page = cut_end;
	right.page_no = old->page_no + (cut_end - old->file_page);
	right.pages = old_end - cut_end;
	err = left.pages ? resize(nodes, mtr, object, &left) : remove_item(nodes, mtr, object, old->file_page);
	if (!err && right.pages)
		err = insert(nodes, mtr, object, &right);
	if (!err)
		err = knot_space_release(nodes->space, mtr, old->page_no + (cut_first - old->file_page),
					 (uint32_t)(cut_end - cut_first));
	if (!err)
		*delta -= (int64_t)(cut_end - cut_first);
	return err;
}

/* Free what is mapped in [first, end). */
static int punch(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t first, uint64_t end,
		 int64_t *delta)
{
	struct knot_extent old;
	int err = extent_before(nodes, mtr, object, first, &old);

	if (err && err != -ENOENT)
		return err;
	if (!err && old.file_page + old.pages > first) {
		err = punch_one(nodes, mtr, object, &old, first, end, delta);
		if (err)
			return err;
	}
	for (;;) {
		err = extent_after(nodes, mtr, object, first, &old);
		if (err == -ENOENT || (!err && old.file_page >= end))
			return 0;
		if (!err)
			err = punch_one(nodes, mtr, object, &old, first, end, delta);
		if (err)
			return err;
	}
}

int knot_extent_map(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page, uint64_t pages,
		    uint64_t page_no, int64_t *delta)
{
	struct knot_extent fresh = { .file_page = file_page, .page_no = page_no, .pages = pages };
	struct knot_extent left;
	int64_t change = (int64_t)pages;
	int err = punch(nodes, mtr, object, file_page, file_page + pages, &change);

	if (err)
		return err;
	err = file_page ? extent_before(nodes, mtr, object, file_page - 1, &left) : -ENOENT;
	if (err && err != -ENOENT)
		return err;
	if (!err && left.flags == 0 && left.file_page + left.pages == file_page &&
	    left.page_no + left.pages == page_no &&
	    left.page_no / KNOT_GROUP_PAGES == (page_no + pages - 1) / KNOT_GROUP_PAGES) {
		left.pages += pages;
		err = resize(nodes, mtr, object, &left);
	} else {
		err = insert(nodes, mtr, object, &fresh);
	}
	if (!err)
		*delta += change;
	return err;
}

int knot_extent_free(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t from_page,
		     unsigned extents_max, bool *more, uint64_t *freed_pages)
{
	uint64_t freed = 0;
	bool left = true;

	for (unsigned i = 0; i < extents_max; i++) {
		struct knot_extent last;
		int64_t delta = 0;
		int err = extent_before(nodes, mtr, object, UINT64_MAX, &last);

		if (err == -ENOENT || (!err && last.file_page + last.pages <= from_page)) {
			left = false;
			break;
		}
		if (!err)
			err = punch_one(nodes, mtr, object, &last, from_page, UINT64_MAX, &delta);
		if (err)
			return err;
		freed += (uint64_t)-delta;
	}
	if (left) {
		struct knot_extent last;
		int err = extent_before(nodes, mtr, object, UINT64_MAX, &last);

		if (err && err != -ENOENT)
			return err;
		left = !err && last.file_page + last.pages > from_page;
	}
	*more = left;
	*freed_pages = freed;
	return 0;
}

int knot_data_free_extents_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t from_page,
				  unsigned extents_max, bool *more, uint64_t *freed_pages)
{
	uint64_t freed;
	bool left;
	int err = knot_extent_free(nodes, mtr, object, from_page, extents_max, &left, &freed);

	if (!err && !left && from_page == 0)
		err = knot_inline_remove(nodes, mtr, object);
	if (err)
		return err;
	*more = left;
	*freed_pages = freed;
	return 0;
}

static void inline_key(struct knot_key *key, uint64_t inode_no)
{
	knot_key_make(key, inode_no, KNOT_KIND_INLINE, 0, 0);
}

int knot_inline_get(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, uint8_t *bytes,
		    size_t *len_bytes)
{
	struct knot_key key;
	const void *value;
	size_t len;
	int err;

	inline_key(&key, inode_no);
	err = knot_tree_get(nodes->tree, mtr, &key, &value, &len);
	if (err)
		return err;
	memcpy(bytes, value, len);
	*len_bytes = len;
	return 0;
}

int knot_inline_put(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, const uint8_t *bytes,
		    size_t len_bytes)
{
	struct knot_key key;
	int err;

	inline_key(&key, inode_no);
	err = knot_tree_update(nodes->tree, mtr, &key, bytes, len_bytes);
	if (err == -ENOENT)
		err = knot_tree_insert(nodes->tree, mtr, &key, bytes, len_bytes);
	return err;
}

int knot_inline_remove(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no)
{
	struct knot_key key;
	int err;

	inline_key(&key, inode_no);
	err = knot_tree_remove(nodes->tree, mtr, &key);
	return err == -ENOENT ? 0 : err;
}
