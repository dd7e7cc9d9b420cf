/* SPDX-License-Identifier: MIT */
/*
 * From pending to logged: the mini-transactions that give file data its place.
 *
 * Two routes. Through the log: the data itself is in the mini-transaction, in the page that the file already has or in
 * a fresh one (or in the inline item). By mapping: the data is home and flushed already; the mini-transaction only says
 * where.
 *
 * Invariants
 *  (1) A mapping mini-transaction is begun only after a device flush that began after the data's write had returned.
 *  (2) size, times, bits, checks and extents of a request change together.
 *  (3) A mapped page that holds other bytes than before was either changed through the log, or is another device page.
 *
 * If power fails before the mini-transaction is durable: the file is as it was; pages written home are free. After:
 * whole.
 */
#include "fs/node/data_int.h"

#include "fs/disk/page.h"
#include "fs/util/endian.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CUT_EXTENTS_MAX 64u

int knot_map_cut_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
			struct knot_attr *attr, uint64_t *logged_pages)
{
	struct knot_disk_truncation item = { .from_page = knot_put64(0), .inode = knot_put64(0) };
	struct knot_key key;
	uint64_t freed, fresh;
	bool more;
	int err;

	err = knot_data_free_extents_locked(nodes, mtr, attr->data_object, 0, CUT_EXTENTS_MAX, &more, &freed);
	if (err)
		return err;
	if (attr->data_object != inode->attr.inode && !more) {
		err = knot_inline_remove(nodes, mtr, inode->attr.inode);
		if (err)
			return err;
	}
	if (more) {
		/* too many for one mini-transaction: they stay under their old object, and a chain frees them */
		err = knot_inline_remove(nodes, mtr, inode->attr.inode);
		if (!err)
			err = knot_space_new_inode_no(nodes->space, mtr, &fresh);
		knot_key_make(&key, KNOT_OBJECT_TRUNCATIONS, KNOT_KIND_TRUNCATION, 0, attr->data_object);
		if (!err)
			err = knot_tree_insert(nodes->tree, mtr, &key, &item, sizeof(item));
		if (err)
			return err;
		attr->data_object = fresh;
		nodes->data->loose_chains = true; /* harmless if this is given up */
	}
	*logged_pages = 0;
	return 0;
}

/* The inline item's bytes get a page of their own, because extents are about to come (extent.c (2)). */
static int inline_to_page(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, uint64_t object,
			  int64_t *delta)
{
	uint8_t *page = calloc(1, KNOT_PAGE_BYTES);
	size_t len_bytes;
	uint64_t page_no;
	uint32_t got, check;
	int err = page ? knot_inline_get(nodes, mtr, inode_no, page, &len_bytes) : -ENOMEM;

	if (err) {
		free(page);
		return err == -ENOENT ? 0 : err;
	}
	err = knot_space_alloc_data(nodes->space, mtr, 0, 1, &page_no, &got);
	if (!err)
		err = knot_mtr_put_data(mtr, page_no, page);
	if (!err) {
		check = knot_data_check(&knot_txn_super(nodes->txn)->seal, page, page_no);
		err = knot_space_set_checks(nodes->space, mtr, page_no, 1, &check);
	}
	if (!err)
		err = knot_inline_remove(nodes, mtr, inode_no);
	if (!err)
		err = knot_extent_map(nodes, mtr, object, 0, 1, page_no, delta);
	free(page);
	return err;
}

/* One page through the log: into the device page that it has, or a fresh one. */
static int log_page(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object,
		    const struct knot_pending *page, uint64_t *near, int64_t *delta)
{
	struct knot_extent extent;
	uint64_t page_no;
	uint32_t got, check;
	bool fresh;
	int err = knot_extent_find(nodes, mtr, object, page->file_page, 1, &extent);

	if (err)
		return err;
	fresh = extent.hole || extent.flags != 0;
	page_no = extent.page_no;
	if (fresh) {
		err = knot_space_alloc_data(nodes->space, mtr, *near, 1, &page_no, &got);
		if (err)
			return err;
	}
	err = knot_mtr_put_data(mtr, page_no, page->frame.data);
	if (err)
		return err;
	check = knot_data_check(&knot_txn_super(nodes->txn)->seal, page->frame.data, page_no);
	err = knot_space_set_checks(nodes->space, mtr, page_no, 1, &check);
	if (!err && fresh)
		err = knot_extent_map(nodes, mtr, object, page->file_page, 1, page_no, delta);
	if (!err)
		*near = page_no + 1;
	return err;
}

static bool fits_inline(const struct knot_data *data, const struct knot_attr *attr, uint64_t logged_pages)
{
	if (logged_pages || attr->size > KNOT_INLINE_BYTES_MAX || data->page_count > 1)
		return false;
	return data->page_count == 1 &&
	       RB_MIN(knot_pending_tree, (struct knot_pending_tree *)&data->pages)->file_page == 0;
}

int knot_map_log_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode)
{
	struct knot_data *data = inode->data;
	struct knot_attr attr = inode->attr;
	uint64_t logged_pages = data->logged_pages, near = data->near;
	unsigned fields = KNOT_FIELD_SIZE | KNOT_FIELD_PAGES | KNOT_FIELD_MTIME | KNOT_FIELD_CTIME;
	struct knot_pending *page;
	int64_t delta = 0;
	bool through_pages;
	int err = 0;

	assert(!data->flushing && data->flight_count == 0);
	if (data->cut) {
		err = knot_map_cut_locked(nodes, mtr, inode, &attr, &logged_pages);
		fields |= KNOT_FIELD_DATA_OBJECT;
	}
	through_pages = data->page_count > 0;
	if (!err && fits_inline(data, &attr, logged_pages)) {
		page = RB_MIN(knot_pending_tree, &data->pages);
		err = knot_inline_put(nodes, mtr, attr.inode, page->frame.data, (size_t)attr.size);
		through_pages = false;
	}
	if (!err && through_pages && logged_pages == 0)
		err = knot_pending_find(&data->pages, 0)
			      ? knot_inline_remove(nodes, mtr, attr.inode)
			      : inline_to_page(nodes, mtr, attr.inode, attr.data_object, &delta);
	if (through_pages) {
		RB_FOREACH(page, knot_pending_tree, &data->pages) {
			if (!err)
				err = log_page(nodes, mtr, attr.data_object, page, &near, &delta);
		}
	}
	attr.pages = (uint64_t)((int64_t)logged_pages + delta);
	if (!err)
		err = knot_inode_log(nodes, mtr, attr.inode, &attr, fields);
	if (err)
		return err;

	data->logged_pages = attr.pages;
	data->near = near;
	nodes->data->stats.logged_data_pages += through_pages ? data->page_count : 0;
	nodes->data->map_seq++;
	knot_pending_drop_all(nodes, data);
	data->cut = false;
	data->touched = false;
	data->through_log = false;
	inode->attr.pages = attr.pages;
	inode->attr.data_object = attr.data_object;
	inode->logged_size = attr.size;
	(void)knot_data_reserve(nodes, data, 0); /* only shrinks */
	knot_data_update_dirty(nodes, data);
	return 0;
}

/* One run of placed pages, adjacent in file and on the device, from `page`. */
static struct knot_pending *run_end(struct knot_pending *page, uint64_t last_file_page, uint64_t *pages)
{
	struct knot_pending *next = page;
	uint64_t count = 0;

	while (next && next->file_page <= last_file_page && next->file_page == page->file_page + count &&
	       next->place == page->place + count && next->place / KNOT_GROUP_PAGES == page->place / KNOT_GROUP_PAGES) {
		count++;
		next = RB_NEXT(knot_pending_tree, NULL, next);
	}
	*pages = count;
	return next;
}

static int map_run(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, struct knot_pending *page,
		   uint64_t pages, int64_t *delta)
{
	uint32_t checks[256];
	uint64_t done = 0;
	struct knot_pending *next = page;
	int err = knot_space_settle(nodes->space, mtr, page->place, (uint32_t)pages);

	while (!err && done < pages) {
		uint32_t count = 0;

		while (count < 256 && done + count < pages) {
			checks[count++] = next->check;
			next = RB_NEXT(knot_pending_tree, NULL, next);
		}
		err = knot_space_set_checks(nodes->space, mtr, page->place + done, count, checks);
		done += count;
	}
	return err ? err : knot_extent_map(nodes, mtr, object, page->file_page, pages, page->place, delta);
}

static int map_group(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_data *data, uint64_t object,
		     const struct knot_group *group, int64_t *delta)
{
	struct knot_pending *page = knot_pending_find(&data->flight, group->first);
	int err = 0;

	while (!err && page && page->file_page <= group->last) {
		uint64_t pages;
		struct knot_pending *next = run_end(page, group->last, &pages);

		err = map_run(nodes, mtr, object, page, pages, delta);
		page = next;
	}
	return err;
}

/* Whole images that mapping the group may cost at worst, roughly: its checks, and leaves for its runs. */
static unsigned group_cost(struct knot_data *data, const struct knot_group *group)
{
	struct knot_pending *page = knot_pending_find(&data->flight, group->first);
	uint64_t runs = 0, checks = 0, last_check = UINT64_MAX;

	while (page && page->file_page <= group->last) {
		uint64_t pages;
		uint64_t first = page->place;
		struct knot_pending *next = run_end(page, group->last, &pages);

		runs++;
		checks += (first + pages) / 1008 - first / 1008 + (first / 1008 != last_check);
		last_check = (first + pages) / 1008;
		page = next;
	}
	return (unsigned)(checks + runs / 16);
}

static void publish_group(struct knot_nodes *nodes, struct knot_data *data, struct knot_group *group)
{
	struct knot_pending *page = knot_pending_find(&data->flight, group->first);

	while (page && page->file_page <= group->last) {
		struct knot_pending *next = RB_NEXT(knot_pending_tree, &data->flight, page);

		knot_pending_free(nodes, &data->flight, page);
		data->flight_count--;
		data->flight_placed--;
		page = next;
	}
	RB_REMOVE(knot_group_tree, &data->flight_groups, group);
	free(group);
}

int knot_map_flight_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
			   unsigned budget_pages, bool *done)
{
	struct knot_data *data = inode->data;
	struct knot_attr attr = inode->attr;
	uint64_t logged_pages = data->logged_pages, size = inode->logged_size;
	unsigned fields = KNOT_FIELD_SIZE | KNOT_FIELD_PAGES | KNOT_FIELD_MTIME | KNOT_FIELD_CTIME;
	unsigned cost = 0, groups = 0;
	struct knot_group *group, *next_group;
	int64_t delta = 0;
	int err = 0;

	if (data->cut_flight) {
		err = knot_map_cut_locked(nodes, mtr, inode, &attr, &logged_pages);
		fields |= KNOT_FIELD_DATA_OBJECT;
		size = 0;
	}
	if (!err && logged_pages == 0 && !RB_EMPTY(&data->flight_groups))
		err = RB_MIN(knot_group_tree, &data->flight_groups)->first == 0
			      ? knot_inline_remove(nodes, mtr, attr.inode)
			      : inline_to_page(nodes, mtr, attr.inode, attr.data_object, &delta);
	RB_FOREACH(group, knot_group_tree, &data->flight_groups) {
		if (err || (groups && cost + group_cost(data, group) > budget_pages))
			break;
		cost += group_cost(data, group);
		err = map_group(nodes, mtr, data, attr.data_object, group, &delta);
		if (group->end_bytes > size)
			size = group->end_bytes;
		groups++;
	}
	if (!group && data->flight_size > size)
		size = data->flight_size;
	attr.pages = (uint64_t)((int64_t)logged_pages + delta);
	attr.size = size;
	if (!err)
		err = knot_inode_log(nodes, mtr, attr.inode, &attr, fields);
	if (err)
		return err;

	data->logged_pages = attr.pages;
	data->cut_flight = false;
	nodes->data->map_seq++;
	RB_FOREACH_SAFE(group, knot_group_tree, &data->flight_groups, next_group) {
		if (!groups--)
			break;
		publish_group(nodes, data, group);
	}
	inode->attr.data_object = attr.data_object;
	inode->attr.pages = attr.pages + data->page_count + data->flight_count;
	inode->logged_size = size;
	(void)knot_data_reserve(nodes, data, 0); /* only shrinks */
	*done = RB_EMPTY(&data->flight_groups);
	return 0;
}

int knot_data_put_target_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, const char *target,
				size_t len_bytes, uint64_t *pages)
{
	uint8_t *page;
	uint64_t page_no;
	uint32_t got, check;
	int64_t delta = 0;
	int err;

	if (len_bytes <= KNOT_VALUE_BYTES_MAX) {
		err = knot_inline_put(nodes, mtr, inode_no, (const uint8_t *)target, len_bytes);
		if (!err)
			*pages = 0;
		return err;
	}
	page = calloc(1, KNOT_PAGE_BYTES);
	if (!page)
		return -ENOMEM;
	memcpy(page, target, len_bytes);
	err = knot_space_alloc_data(nodes->space, mtr, 0, 1, &page_no, &got);
	if (!err)
		err = knot_mtr_put_data(mtr, page_no, page);
	if (!err) {
		check = knot_data_check(&knot_txn_super(nodes->txn)->seal, page, page_no);
		err = knot_space_set_checks(nodes->space, mtr, page_no, 1, &check);
	}
	if (!err)
		err = knot_extent_map(nodes, mtr, inode_no, 0, 1, page_no, &delta);
	if (!err)
		*pages = 1;
	free(page);
	return err;
}
