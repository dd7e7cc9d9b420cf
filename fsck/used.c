/* SPDX-License-Identifier: MIT */
/*
 * Which pages are in use, as the walk finds it: a bit for each page of the groups in which something was found.
 *
 * Invariant: a group's bits hold its fixed pages from the beginning, so nothing else can take them.
 */
#include "fsck/fsck_int.h"

#include <errno.h>
#include <stdlib.h>

int knot_fsck_used_init(struct knot_fsck *fsck)
{
	fsck->used = calloc(fsck->groups ? (size_t)fsck->groups : 1, sizeof(*fsck->used));
	return fsck->used ? 0 : -ENOMEM;
}

void knot_fsck_used_free(struct knot_fsck *fsck)
{
	for (uint64_t group = 0; fsck->used && group < fsck->groups; group++) {
		if (fsck->used[group])
			free(fsck->used[group]->written);
		free(fsck->used[group]);
	}
	free(fsck->used);
}

static uint64_t mask_of(uint32_t word, uint32_t from, uint32_t to)
{
	uint32_t begin = word * 64 > from ? 0 : from - word * 64;
	uint32_t end = (word + 1) * 64 < to ? 64 : to - word * 64;

	return (~0ULL >> (64 - (end - begin))) << begin;
}

/* Set bits [from, to). The first that was set already, or -1. */
static int32_t set_bits(uint64_t *words, uint32_t from, uint32_t to)
{
	int32_t twice = -1;

	for (uint32_t word = from / 64; from < to && word <= (to - 1) / 64; word++) {
		uint64_t mask = mask_of(word, from, to), both = words[word] & mask;

		if (both && twice < 0)
			twice = (int32_t)(word * 64 + (uint32_t)__builtin_ctzll(both));
		words[word] |= mask;
	}
	return twice;
}

static void add_fixed(uint64_t *words, uint64_t group, uint64_t page_no, uint64_t pages)
{
	uint64_t begin = group * KNOT_GROUP_PAGES, end = begin + KNOT_GROUP_PAGES;
	uint64_t from = page_no > begin ? page_no : begin;
	uint64_t to = page_no + pages < end ? page_no + pages : end;

	if (from < to)
		set_bits(words, (uint32_t)(from - begin), (uint32_t)(to - begin));
}

int knot_fsck_used_group(struct knot_fsck *fsck, uint64_t group, struct knot_fsck_group **found)
{
	const struct knot_super *super = &fsck->super;
	uint64_t first = group * KNOT_GROUP_PAGES;
	uint32_t pages = knot_super_group_pages(super, group);
	struct knot_fsck_group *made;

	if (!fsck->used[group]) {
		made = calloc(1, sizeof(*made));
		if (!made)
			return -ENOMEM;
		add_fixed(made->words, group, KNOT_SUPER_PAGE, 1);
		add_fixed(made->words, group, KNOT_SUPER_SPARE_PAGE, 1);
		add_fixed(made->words, group, super->state_page, 1);
		add_fixed(made->words, group, super->group_table_page, super->group_table_pages);
		add_fixed(made->words, group, first + KNOT_GROUP_HEADER_AT, 1 + super->group_check_pages);
		for (uint32_t i = 0; i < super->segment_count; i++)
			add_fixed(made->words, group, super->segments[i].page_no, super->segments[i].pages);
		add_fixed(made->words, group, first + pages, KNOT_GROUP_PAGES - pages);
		fsck->used[group] = made;
	}
	*found = fsck->used[group];
	return 0;
}

const char *knot_fsck_why_outside(const struct knot_fsck *fsck, uint64_t page_no, uint64_t pages)
{
	const struct knot_super *super = &fsck->super;
	uint64_t group = page_no / KNOT_GROUP_PAGES;

	if (page_no >= super->pages || pages > super->pages - page_no || group >= super->groups)
		return "is outside of the volume";
	if (group != (page_no + pages - 1) / KNOT_GROUP_PAGES)
		return "crosses a group's end";
	if (group >= fsck->groups)
		return "is in a group that was never used";
	return NULL;
}

int knot_fsck_take(struct knot_fsck *fsck, uint64_t page_no, uint32_t pages, uint64_t *twice)
{
	uint32_t at = (uint32_t)(page_no % KNOT_GROUP_PAGES);
	struct knot_fsck_group *group;
	int err = knot_fsck_used_group(fsck, page_no / KNOT_GROUP_PAGES, &group);

	if (err)
		return err;
	int32_t bit = set_bits(group->words, at, at + pages);
	*twice = bit < 0 ? 0 : page_no - at + (uint64_t)bit;
	return 0;
}

int knot_fsck_take_tree(struct knot_fsck *fsck, uint64_t page_no, bool *twice)
{
	uint32_t cluster = (uint32_t)(page_no % KNOT_GROUP_PAGES) / KNOT_CLUSTER_PAGES;
	struct knot_fsck_group *group;
	uint64_t found;
	int err = knot_fsck_used_group(fsck, page_no / KNOT_GROUP_PAGES, &group);

	if (!err)
		err = knot_fsck_take(fsck, page_no, 1, &found);
	if (err)
		return err;
	*twice = found != 0;
	if (!found)
		group->tree_clusters[cluster / 64] |= 1ULL << cluster % 64;
	return 0;
}
