/* SPDX-License-Identifier: MIT */
/*
 * The places of a new volume's fixed pages.
 *
 * Group 0: superblock, header, checks, state page; the tree's root begins the first whole cluster after these, which
 * becomes a cluster of tree pages; the group table goes to the first gap that holds it. Then the log.
 *
 * Invariants
 *  (1) No two ranges overlap, and none holds a superblock, header or check page.
 *  (2) A log segment lies inside one group. Write units begin at aligned pages and none spans two segments: a first
 *      segment has two pages for the slots and then whole units, the others whole units only.
 */
#include "mkfs/layout_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#define LOG_DEFAULT_SHARE     16u
#define LOG_DEFAULT_MIN_PAGES 512u
#define LOG_DEFAULT_MAX_PAGES (64u << 20 >> KNOT_PAGE_SHIFT)

/* Groups that are looked at for a place of the log: bounds those that are written. */
#define LOG_GROUPS (KNOT_LOG_SEGMENTS_MAX + 2u)

struct gap {
	uint64_t page_no;
	uint64_t pages;
};

/* Walks over all ranges in use; `*i` begins at 0. False at the end. */
static bool next_used(const struct knot_super *super, uint64_t group, uint32_t *i, struct gap *used)
{
	uint64_t first = group * KNOT_GROUP_PAGES;
	const struct gap fixed[] = {
		{ first + KNOT_GROUP_HEADER_AT, 1 + super->group_check_pages },
		{ KNOT_SUPER_PAGE, 1 },
		{ KNOT_SUPER_SPARE_PAGE, 1 },
		{ super->state_page, 1 },
		{ super->root_page / KNOT_CLUSTER_PAGES * KNOT_CLUSTER_PAGES, KNOT_CLUSTER_PAGES },
		{ super->group_table_page, super->group_table_pages },
	};
	uint32_t fixed_count = sizeof(fixed) / sizeof(fixed[0]), at = (*i)++;

	if (at < fixed_count)
		*used = fixed[at];
	else if (at - fixed_count < super->segment_count)
		*used = (struct gap){ super->segments[at - fixed_count].page_no,
				      super->segments[at - fixed_count].pages };
	else
		return false;
	return true;
}

/* The first gap of the group at or after `from`. False when there is none. */
static bool next_gap(const struct knot_super *super, uint64_t group, uint64_t from, struct gap *gap)
{
	uint64_t end = group * KNOT_GROUP_PAGES + knot_super_group_pages(super, group), stop = end;
	struct gap used;
	bool moved = true;

	while (moved) {
		moved = false;
		stop = end;
		for (uint32_t i = 0; next_used(super, group, &i, &used);) {
			if (used.page_no + used.pages <= from || !used.pages)
				continue;
			if (used.page_no <= from) {
				from = used.page_no + used.pages;
				moved = true;
			} else if (used.page_no < stop) {
				stop = used.page_no;
			}
		}
	}
	if (from >= end)
		return false;
	*gap = (struct gap){ from, stop - from };
	return true;
}

/* Cut a gap down to what a segment can use of it, by (2). False when that is nothing. */
static bool trim_gap(const struct knot_super *super, struct gap *gap)
{
	uint64_t unit = super->log_write_unit_bytes / KNOT_PAGE_BYTES;
	uint64_t slots = super->segment_count == 0 ? KNOT_LOG_SLOTS : 0;
	uint64_t first = (gap->page_no + slots + unit - 1) / unit * unit - slots;
	uint64_t end = gap->page_no + gap->pages;

	if (first + slots + unit > end)
		return false;
	gap->pages = slots + (end - first - slots) / unit * unit;
	gap->page_no = first;
	return true;
}

/*
 * The first gap in group `group` that a segment of `want` pages fits in; else `*largest` grows to the largest one
 * seen.
 */
static bool find_in_group(const struct knot_super *super, uint64_t group, uint64_t want, struct gap *found,
			  struct gap *largest)
{
	struct gap gap;

	for (uint64_t from = group * KNOT_GROUP_PAGES; next_gap(super, group, from, &gap);) {
		from = gap.page_no + gap.pages;
		if (!trim_gap(super, &gap))
			continue;
		if (gap.pages >= want) {
			*found = gap;
			return true;
		}
		if (gap.pages > largest->pages)
			*largest = gap;
	}
	return false;
}

/*
 * A gap for `want` pages, looked for from group `near` on, around the groups of the log. Else the largest gap,
 * smaller than `want`. False when there is none at all.
 */
static bool find_gap(const struct knot_super *super, uint64_t near, uint64_t want, struct gap *found)
{
	uint64_t groups = super->groups < LOG_GROUPS ? super->groups : LOG_GROUPS;
	struct gap largest = { 0, 0 };

	for (uint64_t i = 0; i < groups; i++) {
		if (find_in_group(super, (near + i) % groups, want, found, &largest))
			return true;
	}
	*found = largest;
	return largest.pages > 0;
}

static void add_segment(struct knot_super *super, const struct gap *gap, uint64_t pages)
{
	struct knot_segment *segment = &super->segments[super->segment_count++];

	segment->page_no = gap->page_no;
	segment->pages = pages;
}

/* As few segments as possible: one gap that holds all that is left, else the largest. */
static int place_fewest_segments(struct knot_super *super, uint64_t pages)
{
	struct gap gap;

	while (pages > 0) {
		if (super->segment_count == KNOT_LOG_SEGMENTS_MAX || !find_gap(super, 0, pages, &gap))
			return -EINVAL;
		uint64_t step = gap.pages < pages ? gap.pages : pages;
		add_segment(super, &gap, step);
		pages -= step;
	}
	return 0;
}

/* So many segments of about the same size, in as many groups as there are. */
static int place_equal_segments(struct knot_super *super, uint64_t pages, uint32_t count)
{
	uint64_t unit = super->log_write_unit_bytes / KNOT_PAGE_BYTES;
	uint64_t units = (pages - KNOT_LOG_SLOTS) / unit;
	struct gap gap;

	if (count > units)
		return -EINVAL;
	for (uint32_t i = 0; i < count; i++) {
		uint64_t want = (units / count + (i < units % count ? 1 : 0)) * unit + (i == 0 ? KNOT_LOG_SLOTS : 0);

		if (!find_gap(super, i % super->groups, want, &gap) || gap.pages < want)
			return -EINVAL;
		add_segment(super, &gap, want);
	}
	return 0;
}

static int place_log(struct knot_super *super, const struct knot_mkfs_options *options)
{
	uint64_t unit = super->log_write_unit_bytes / KNOT_PAGE_BYTES;
	uint64_t pages = options->log_bytes / KNOT_PAGE_BYTES;

	if (options->log_bytes == 0) {
		pages = super->pages / LOG_DEFAULT_SHARE;
		if (pages < LOG_DEFAULT_MIN_PAGES)
			pages = LOG_DEFAULT_MIN_PAGES;
		if (pages > LOG_DEFAULT_MAX_PAGES)
			pages = LOG_DEFAULT_MAX_PAGES;
	}
	if (pages < KNOT_LOG_PAGES_MIN) {
		knot_message(options->messages, KNOT_ERROR, "a log of %" PRIu64 " KiB is too small; at least %u KiB",
			     options->log_bytes / 1024, KNOT_LOG_PAGES_MIN * (KNOT_PAGE_BYTES / 1024));
		return -EINVAL;
	}
	if (pages > super->pages / 2) {
		knot_message(options->messages, KNOT_ERROR, "a log of %" PRIu64 " KiB is more than half of the volume",
			     pages * (KNOT_PAGE_BYTES / 1024));
		return -EINVAL;
	}
	if (options->log_segments > KNOT_LOG_SEGMENTS_MAX) {
		knot_message(options->messages, KNOT_ERROR, "%" PRIu32 " log segments are too many; at most %u",
			     options->log_segments, KNOT_LOG_SEGMENTS_MAX);
		return -EINVAL;
	}

	pages = KNOT_LOG_SLOTS + (pages - KNOT_LOG_SLOTS) / unit * unit;
	int err = options->log_segments ? place_equal_segments(super, pages, options->log_segments)
					: place_fewest_segments(super, pages);
	if (err)
		knot_message(options->messages, KNOT_ERROR,
			     "a log of %" PRIu64 " KiB can't be placed in %s%" PRIu32 " segments",
			     pages * (KNOT_PAGE_BYTES / 1024), options->log_segments ? "" : "at most ",
			     options->log_segments ? options->log_segments : KNOT_LOG_SEGMENTS_MAX);
	return err;
}

/* The group table, in the first gap of group 0 that holds it. */
static int place_table(struct knot_super *super, const struct knot_mkfs_options *options)
{
	uint64_t pages = (super->groups + KNOT_GROUPS_PER_TABLE_PAGE - 1) / KNOT_GROUPS_PER_TABLE_PAGE;
	struct gap gap;

	for (uint64_t from = 0; next_gap(super, 0, from, &gap); from = gap.page_no + gap.pages) {
		if (gap.pages >= pages) {
			super->group_table_page = gap.page_no;
			super->group_table_pages = pages;
			return 0;
		}
	}
	knot_message(options->messages, KNOT_ERROR, "the device is too large");
	return -EFBIG;
}

int knot_layout_place(struct knot_super *super, const struct knot_mkfs_options *options)
{
	if (super->pages < KNOT_VOLUME_PAGES_MIN) {
		knot_message(options->messages, KNOT_ERROR,
			     "%" PRIu64 " KiB are too small for a volume; at least %u MiB",
			     super->pages * (KNOT_PAGE_BYTES / 1024), KNOT_VOLUME_PAGES_MIN >> (20 - KNOT_PAGE_SHIFT));
		return -ENOSPC;
	}
	super->group_table_pages = 0;
	super->segment_count = 0;
	knot_super_derive(super);
	super->state_page = KNOT_GROUP_CHECKS_AT + super->group_check_pages;
	super->root_page = (super->state_page / KNOT_CLUSTER_PAGES + 1) * KNOT_CLUSTER_PAGES;

	int err = place_table(super, options);
	return err ? err : place_log(super, options);
}

uint64_t knot_layout_groups_used(const struct knot_super *super)
{
	uint64_t groups = 1;

	for (uint32_t i = 0; i < super->segment_count; i++) {
		uint64_t group = super->segments[i].page_no / KNOT_GROUP_PAGES;

		if (group >= groups)
			groups = group + 1;
	}
	return groups;
}

/* Set the bits of what lies in this group of `pages` pages from `page_no` on. */
static void mark_used(struct knot_disk_group *disk, uint64_t group, uint64_t page_no, uint64_t pages)
{
	uint64_t first = group * KNOT_GROUP_PAGES;

	for (uint64_t page = page_no; page < page_no + pages; page++) {
		if (page >= first && page - first < KNOT_GROUP_PAGES)
			disk->bitmap[(page - first) / 8] |= (uint8_t)(1u << (page - first) % 8);
	}
}

uint32_t knot_layout_group(const struct knot_super *super, uint64_t group, struct knot_disk_group *disk)
{
	uint64_t first = group * KNOT_GROUP_PAGES, root_at = super->root_page - first;
	uint32_t pages = knot_super_group_pages(super, group), used_pages = 0, free_clusters = 0;

	mark_used(disk, group, KNOT_SUPER_PAGE, 1);
	mark_used(disk, group, KNOT_SUPER_SPARE_PAGE, 1);
	mark_used(disk, group, first + KNOT_GROUP_HEADER_AT, 1 + super->group_check_pages);
	mark_used(disk, group, super->state_page, 1);
	mark_used(disk, group, super->root_page, 1);
	mark_used(disk, group, super->group_table_page, super->group_table_pages);
	for (uint32_t i = 0; i < super->segment_count; i++)
		mark_used(disk, group, super->segments[i].page_no, super->segments[i].pages);
	mark_used(disk, group, first + pages, KNOT_GROUP_PAGES - pages);
	if (root_at < KNOT_GROUP_PAGES)
		disk->tree_clusters[root_at / KNOT_CLUSTER_PAGES / 8] |=
			(uint8_t)(1u << root_at / KNOT_CLUSTER_PAGES % 8);

	for (uint32_t cluster = 0; cluster < KNOT_GROUP_CLUSTERS; cluster++) {
		uint64_t bits;

		memcpy(&bits, disk->bitmap + cluster * sizeof(bits), sizeof(bits));
		used_pages += (uint32_t)__builtin_popcountll(bits);
		free_clusters += bits == 0;
	}
	knot_page_format(disk, KNOT_PAGE_GROUP, first + KNOT_GROUP_HEADER_AT, KNOT_LSN_FIRST);
	disk->header.lsn = knot_put64(KNOT_LSN_FIRST);
	disk->group_no = knot_put64(group);
	disk->pages = knot_put32(pages);
	disk->free_pages = knot_put32(KNOT_GROUP_PAGES - used_pages);
	return free_clusters;
}
