/* SPDX-License-Identifier: MIT */
/*
 * File data: extents against each other, the volume, and the inode that they belong to.
 *
 * An inode's extents are nearly always filed under its own number: then both are compared at the end of that object.
 * The others (inodes with another data object, extents without their inode) are remembered and matched after the
 * walk. Truncations come before all of them in the tree.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <stdlib.h>
#include <string.h>

#define FILE_PAGE_MAX (INT64_MAX / (int64_t)KNOT_PAGE_BYTES)

/* ---- truncations ---- */

int knot_fsck_truncation_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	struct knot_fsck_at at = { .object = knot_key_offset_low(key) };
	struct knot_disk_truncation disk;
	struct knot_fsck_truncation truncation = { .object = at.object };

	if (len_bytes == sizeof(disk)) {
		memcpy(&disk, value, sizeof(disk));
		truncation.from_page = knot_get64(disk.from_page);
		truncation.inode = knot_get64(disk.inode);
	} else {
		at.why = "size";
	}
	if (knot_key_offset_high(key) || at.object < KNOT_OBJECT_FIRST_FREE)
		at.why = "object";
	else if (truncation.from_page > (uint64_t)FILE_PAGE_MAX + 1)
		at.why = "file page";
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_TRUNCATION, &at);
		return 0;
	}
	int err = knot_fsck_array_grow(&fsck->truncations, sizeof(truncation));
	if (!err)
		((struct knot_fsck_truncation *)fsck->truncations.items)[fsck->truncations.count++] = truncation;
	return err;
}

static int compare_truncation(const void *key, const void *item)
{
	uint64_t object = *(const uint64_t *)key, other = ((const struct knot_fsck_truncation *)item)->object;

	return object < other ? -1 : object > other;
}

static const struct knot_fsck_truncation *find_truncation(const struct knot_fsck *fsck, uint64_t object)
{
	if (!fsck->truncations.count)
		return NULL;
	return bsearch(&object, fsck->truncations.items, fsck->truncations.count, sizeof(struct knot_fsck_truncation),
		       compare_truncation);
}

/* ---- extents ---- */

static const char *extent_fault(const struct knot_key *key, const struct knot_disk_extent *disk, size_t len_bytes)
{
	if (len_bytes != sizeof(*disk))
		return "size";
	if (knot_get32(disk->pages) == 0 || knot_get32(disk->pages) > KNOT_GROUP_PAGES)
		return "length";
	if (knot_get32(disk->flags) & ~KNOT_EXTENT_UNWRITTEN)
		return "flag";
	if (knot_key_offset_high(key) || knot_key_offset_low(key) > (uint64_t)FILE_PAGE_MAX)
		return "place in the file";
	return NULL;
}

/* Scrub goes by device page: remember which have a check value. Errors: -ENOMEM. */
static int note_written(struct knot_fsck *fsck, uint64_t page_no, uint32_t pages)
{
	struct knot_fsck_group *group;
	int err = knot_fsck_used_group(fsck, page_no / KNOT_GROUP_PAGES, &group);

	if (err)
		return err;
	if (!group->written)
		group->written = calloc(KNOT_FSCK_GROUP_WORDS, sizeof(uint64_t));
	if (!group->written)
		return -ENOMEM;
	for (uint32_t at = (uint32_t)(page_no % KNOT_GROUP_PAGES), i = 0; i < pages; i++, at++)
		group->written[at / 64] |= 1ULL << at % 64;
	return 0;
}

static int take_extent(struct knot_fsck *fsck, struct knot_fsck_at *at, uint32_t pages, uint32_t flags)
{
	uint64_t twice;

	at->a = pages;
	at->why = knot_fsck_why_outside(fsck, at->page, pages);
	if (at->why) {
		knot_fsck_problem(fsck, KNOT_FSCK_EXTENT_OUTSIDE, at);
		return 0;
	}
	int err = knot_fsck_take(fsck, at->page, pages, &twice);
	if (err)
		return err;
	if (twice && knot_super_page_is_fixed(&fsck->super, twice)) {
		at->why = "is in pages with a fixed use";
		knot_fsck_problem(fsck, KNOT_FSCK_EXTENT_OUTSIDE, at);
		return 0;
	}
	if (fsck->options->scrub && !(flags & KNOT_EXTENT_UNWRITTEN))
		err = note_written(fsck, at->page, pages);
	at->page = twice;
	if (twice)
		knot_fsck_problem(fsck, KNOT_FSCK_EXTENT_TWICE, at);
	return err;
}

int knot_fsck_extent_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number, .file_page = knot_key_offset_low(key) };
	struct knot_disk_extent disk = { .flags = knot_put32(0) };

	if (len_bytes == sizeof(disk))
		memcpy(&disk, value, sizeof(disk));
	at.why = extent_fault(key, &disk, len_bytes);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_EXTENT_VALUE, &at);
		return 0;
	}
	uint32_t pages = knot_get32(disk.pages);
	if (object->extents && at.file_page < object->extent_end)
		knot_fsck_problem(fsck, KNOT_FSCK_EXTENT_OVERLAP, &at);
	object->extents++;
	object->extent_pages += pages;
	if (at.file_page + pages > object->extent_end)
		object->extent_end = at.file_page + pages;
	fsck->report->data_pages += pages;
	at.page = knot_get64(disk.page_no);
	return take_extent(fsck, &at, pages, knot_get32(disk.flags));
}

/* ---- inode and extents ---- */

struct data {
	uint64_t inode, size, pages; /* what the inode says */
	uint64_t extent_pages, extent_end;
	bool has_inline;
	const struct knot_fsck_truncation *truncation;
};

static void compare(struct knot_fsck *fsck, const struct data *data)
{
	uint64_t end = (data->size + KNOT_PAGE_BYTES - 1) / KNOT_PAGE_BYTES;
	struct knot_fsck_at at = { .object = data->inode, .a = data->pages, .b = data->extent_pages };

	if (data->pages != data->extent_pages)
		knot_fsck_problem(fsck, KNOT_FSCK_INODE_PAGES, &at);
	if (data->has_inline && data->extent_pages)
		knot_fsck_problem(fsck, KNOT_FSCK_INLINE_EXTENTS, &at);
	at.a = data->extent_end - 1;
	at.b = data->size;
	if (data->extent_end > end && !data->truncation)
		knot_fsck_problem(fsck, KNOT_FSCK_EXTENT_PAST_END, &at);
}

/* What a truncation frees must not be an inode's, but for the one that it names. */
static void check_not_freed(struct knot_fsck *fsck, uint64_t inode, uint64_t object,
			    const struct knot_fsck_truncation *truncation)
{
	const struct knot_fsck_at at = { .object = inode, .a = object, .why = "is being freed" };

	if (truncation && truncation->inode != inode)
		knot_fsck_problem(fsck, KNOT_FSCK_DATA_OBJECT, &at);
}

static int remember_foreign(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	int err = knot_fsck_array_grow(&fsck->foreigns, sizeof(struct knot_fsck_foreign));

	if (!err)
		((struct knot_fsck_foreign *)fsck->foreigns.items)[fsck->foreigns.count++] =
			(struct knot_fsck_foreign){ .object = object->data_object,
						    .inode = object->number,
						    .pages = object->pages,
						    .size = object->size,
						    .has_inline = object->has_inline };
	return err;
}

static int remember_loose(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	int err = knot_fsck_array_grow(&fsck->loose, sizeof(struct knot_fsck_loose));

	if (!err)
		((struct knot_fsck_loose *)fsck->loose.items)[fsck->loose.count++] = (struct knot_fsck_loose){
			.object = object->number, .pages = object->extent_pages, .end = object->extent_end
		};
	return err;
}

int knot_fsck_data_end_of_object(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	int err = 0;

	if (object->is_good && object->data_object == object->number) {
		const struct data data = {
			.inode = object->number,
			.size = object->size,
			.pages = object->pages,
			.extent_pages = object->extent_pages,
			.extent_end = object->extent_end,
			.has_inline = object->has_inline,
			.truncation = find_truncation(fsck, object->number),
		};

		compare(fsck, &data);
		check_not_freed(fsck, object->number, object->number, data.truncation);
		return 0;
	}
	if (object->is_good)
		err = remember_foreign(fsck);
	if (!err && object->extents && (object->is_good || !object->has_inode))
		err = remember_loose(fsck);
	return err;
}

/* ---- after the walk ---- */

static int compare_foreign(const void *a, const void *b)
{
	const struct knot_fsck_foreign *x = a, *y = b;

	if (x->object != y->object)
		return x->object < y->object ? -1 : 1;
	return x->inode < y->inode ? -1 : x->inode > y->inode;
}

static const char *foreign_fault(const struct knot_fsck *fsck, const struct knot_fsck_foreign *foreign,
				 const struct knot_fsck_foreign *before)
{
	const struct knot_fsck_node *node = knot_fsck_node_find(fsck, foreign->object);

	if (foreign->object < KNOT_OBJECT_FIRST_FREE ||
	    (fsck->has_state && foreign->object >= knot_get64(fsck->state.next_inode)))
		return "was never given out";
	if (node && node->flags & KNOT_NODE_HAS_INODE)
		return "is another inode";
	if (before && before->object == foreign->object)
		return "belongs to another inode too";
	return NULL;
}

static int compare_loose(const void *key, const void *item)
{
	uint64_t object = *(const uint64_t *)key, other = ((const struct knot_fsck_loose *)item)->object;

	return object < other ? -1 : object > other;
}

static void match_foreign(struct knot_fsck *fsck, const struct knot_fsck_foreign *foreign,
			  const struct knot_fsck_foreign *before)
{
	struct knot_fsck_at at = { .object = foreign->inode, .a = foreign->object };
	struct knot_fsck_loose *loose = NULL;
	struct data data = {
		.inode = foreign->inode,
		.size = foreign->size,
		.pages = foreign->pages,
		.has_inline = foreign->has_inline,
		.truncation = find_truncation(fsck, foreign->object),
	};

	at.why = foreign_fault(fsck, foreign, before);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_DATA_OBJECT, &at);
		return;
	}
	if (fsck->loose.count)
		loose = bsearch(&foreign->object, fsck->loose.items, fsck->loose.count, sizeof(*loose), compare_loose);
	if (loose) {
		loose->has_owner = true;
		data.extent_pages = loose->pages;
		data.extent_end = loose->end;
	}
	compare(fsck, &data);
	check_not_freed(fsck, foreign->inode, foreign->object, data.truncation);
}

void knot_fsck_data_end(struct knot_fsck *fsck)
{
	const struct knot_fsck_foreign *foreigns = fsck->foreigns.items;
	struct knot_fsck_loose *loose = fsck->loose.items;

	if (fsck->foreigns.count)
		qsort(fsck->foreigns.items, fsck->foreigns.count, sizeof(*foreigns), compare_foreign);
	for (size_t i = 0; i < fsck->foreigns.count; i++)
		match_foreign(fsck, &foreigns[i], i ? &foreigns[i - 1] : NULL);
	for (size_t i = 0; i < fsck->loose.count; i++) {
		const struct knot_fsck_at at = { .object = loose[i].object, .a = loose[i].pages };

		if (!loose[i].has_owner && !find_truncation(fsck, loose[i].object))
			knot_fsck_problem(fsck, KNOT_FSCK_DATA_LOST, &at);
	}
}
