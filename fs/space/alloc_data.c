/* SPDX-License-Identifier: MIT */
/*
 * Pages for file data.
 *
 * Where: at `near` if that is free, so that files grow in place; else the first long enough run behind it in the
 * group. New files, and what finds no room near, go to the *data cursor*, which moves on: what is written one after
 * the other lies side by side. When the cursor's group is used up, groups that have been used before come first (the
 * image has their bytes already), and a group that was never used comes before those that are nearly full. Clusters
 * with tree pages are passed over until nothing else is left.
 *
 * Invariants
 *  (1) A page is handed out only when its bit is clear and it is not busy; it is busy or its bit is set before the
 *      call returns.
 *  (2) knot_space_place() changes nothing that is logged.
 *  (3) run_max of a group is never less than its longest usable run outside tree clusters: whatever makes pages
 *      usable there resets it.
 */
#include "fs/space/space_int.h"

#include <inttypes.h>
#include <stdlib.h>

#define GROUPS_TRIED_MAX  8u
#define GROUP_ROOMY_PAGES (KNOT_GROUP_PAGES / 8u)

struct search {
	struct knot_space *space;
	struct knot_mtr *mtr;
	uint64_t groups; /* that may be used, implicit ones included */
	uint32_t want;
	bool tree_too; /* use clusters of the tree as well */
	uint64_t best_page;
	uint32_t best; /* pages there; 0: none yet */
	uint64_t words[KNOT_GROUP_WORDS];
};

static bool is_found(const struct search *s)
{
	return s->best == s->want;
}

/* `*there` tells whether s->words is now the map of the group. */
static int load_map(struct search *s, uint64_t group, bool *there)
{
	uint8_t tree_clusters[KNOT_GROUP_CLUSTERS / 8u];
	int err = knot_group_map(s->space, s->mtr, group, s->words, tree_clusters);

	*there = !err;
	if (err)
		return s->space->groups[group].bad ? 0 : err;
	for (uint32_t c = 0; !s->tree_too && c < KNOT_GROUP_CLUSTERS; c++)
		if (knot_group_is_tree_cluster(tree_clusters, c))
			s->words[c] = ~UINT64_C(0);
	return 0;
}

/* In the group whose map is loaded, from bit `from` on, then before it. */
static void look_in_map(struct search *s, uint64_t group, uint32_t from)
{
	uint32_t at, length, longest = 0;

	for (unsigned pass = 0; pass < 2u; pass++) {
		knot_map_find_run(s->words, pass ? 0 : from, pass ? from : KNOT_GROUP_PAGES, s->want, &at, &length);
		if (length > s->best) {
			s->best = length;
			s->best_page = group * KNOT_GROUP_PAGES + at;
		}
		if (length > longest)
			longest = length;
		if (longest == s->want)
			return;
	}
	if (!s->tree_too)
		s->space->groups[group].run_max = (uint16_t)longest; /* (3) */
}

static int look_in_group(struct search *s, uint64_t group, uint32_t from)
{
	bool there;
	int err = load_map(s, group, &there);

	if (!err && there)
		look_in_map(s, group, from);
	return err;
}

static int look_near(struct search *s, uint64_t near, bool *exact)
{
	uint64_t group = knot_group_of(near);
	uint32_t at = knot_group_bit(near);
	uint32_t limit = at + s->want < KNOT_GROUP_PAGES ? at + s->want : KNOT_GROUP_PAGES;
	uint32_t length;
	bool there;
	int err;

	if (!near || group >= s->groups || !knot_group_usable(s->space, group))
		return 0;
	err = load_map(s, group, &there);
	if (err || !there)
		return err;
	length = knot_map_next(s->words, at, limit, true) - at;
	if (!length) {
		look_in_map(s, group, at);
		return 0;
	}
	s->best = length;
	s->best_page = near;
	*exact = true;
	return 0;
}

/*
 * Groups behind the cursor's, round to it, that have `usable_min` usable pages and may have the run; at most
 * `tries_max` of them.
 */
static int look_around(struct search *s, uint32_t usable_min, uint32_t run_min, uint64_t begin, uint64_t end,
		       uint64_t tries_max)
{
	uint64_t count = end - begin;
	uint64_t start = knot_group_of(s->space->data_cursor);
	int err = 0;

	start = start >= begin && start < end ? start - begin : 0;
	for (uint64_t i = 0; !err && i < count && tries_max && s->best < run_min; i++) {
		uint64_t group = begin + (start + i) % count;

		if (knot_group_usable(s->space, group) < usable_min)
			continue;
		if (!s->tree_too && group < s->space->groups_initialised && s->space->groups[group].run_max < run_min)
			continue;
		tries_max--;
		err = look_in_group(s, group, 0);
	}
	return err;
}

/* A run of `want`, else the longest seen. */
static int look_everywhere(struct search *s)
{
	struct knot_space *space = s->space;
	uint64_t group = knot_group_of(space->data_cursor);
	uint64_t used = space->groups_initialised;
	int err = 0;

	if (group < s->groups && knot_group_usable(space, group) &&
	    (group >= used || space->groups[group].run_max >= s->want))
		err = look_in_group(s, group, knot_group_bit(space->data_cursor));
	if (!err && !is_found(s))
		err = look_around(s, s->want > GROUP_ROOMY_PAGES ? s->want : GROUP_ROOMY_PAGES, s->want, 0, used,
				  GROUPS_TRIED_MAX);
	if (!err && !is_found(s))
		err = look_around(s, s->want, s->want, used, s->groups, s->groups - used);
	if (!err && !is_found(s))
		err = look_around(s, s->want, s->want, 0, used, GROUPS_TRIED_MAX);
	if (!err && !s->best)
		err = look_around(s, 1, 1, 0, s->groups, s->groups);
	if (!err && !s->best) {
		s->tree_too = true;
		err = look_around(s, 1, 1, 0, s->groups, s->groups);
	}
	return err;
}

/* `*cursor` is where the data cursor goes if the run is taken. */
static int find(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint32_t want, uint64_t *page_no,
		uint32_t *got, uint64_t *cursor)
{
	struct search s = { .space = space, .mtr = mtr, .groups = knot_group_reach(space), .want = want };
	bool exact = false;
	bool near_found;
	int err;

	if (s.want > knot_group_implicit_free(space, 0) - 1u)
		s.want = knot_group_implicit_free(space, 0) - 1u; /* the longest run that there can be */
	err = look_near(&s, near, &exact);
	near_found = exact || is_found(&s);
	if (!err && !near_found)
		err = look_everywhere(&s);
	if (!err && !s.best && space->waiting) {
		knot_space_reap(space);
		s.tree_too = false;
		err = look_everywhere(&s);
	}
	if (err)
		return err;
	if (!s.best)
		return -ENOSPC;
	*cursor = !near_found || s.best_page == space->data_cursor ? s.best_page + s.best : space->data_cursor;
	*page_no = s.best_page;
	*got = s.best;
	return 0;
}

int knot_space_alloc_data(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint32_t want,
			  uint64_t *page_no, uint32_t *got)
{
	struct knot_group_edit edit;
	uint64_t found, cursor;
	uint32_t count;
	int err;

	assert(want);
	err = find(space, mtr, near, want, &found, &count, &cursor);
	if (!err)
		err = knot_group_require(space, mtr, knot_group_of(found));
	if (!err)
		err = knot_group_plan(space, mtr, KNOT_OP_ALLOC, found, count, &edit);
	if (err)
		return err;

	knot_group_apply(space, &edit);
	space->data_cursor = cursor;
	*page_no = found;
	*got = count;
	return 0;
}

int knot_space_place(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint32_t want, uint64_t *page_no,
		     uint32_t *got)
{
	uint64_t found, cursor;
	uint32_t count;
	int err;

	assert(want);
	err = find(space, mtr, near, want, &found, &count, &cursor);
	if (!err)
		err = knot_busy_prepare(space, knot_group_of(found));
	if (err)
		return err;

	knot_busy_mark(space, found, count);
	space->placed += count;
	space->data_cursor = cursor;
	*page_no = found;
	*got = count;
	return 0;
}

int knot_space_settle(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count)
{
	while (count) {
		uint32_t part = knot_group_part(page_no, count);
		struct knot_group_edit edit;
		int err;

		err = knot_group_require(space, mtr, knot_group_of(page_no));
		if (!err)
			err = knot_group_plan(space, mtr, KNOT_OP_SETTLE, page_no, part, &edit);
		if (err)
			return err;
		knot_group_apply(space, &edit);
		page_no += part;
		count -= part;
	}
	return 0;
}

/* ---- giving back ---- */

static int check_release(struct knot_space *space, uint64_t page_no, uint32_t count)
{
	uint64_t fixed[KNOT_GROUP_WORDS] = { 0 };
	uint64_t group = knot_group_of(page_no);

	if (group < space->groups_initialised) {
		knot_group_add_fixed(space, group, fixed);
		if (knot_map_is(fixed, knot_group_bit(page_no), count, false))
			return 0;
	}
	knot_message(space->messages, KNOT_ERROR,
		     "pages %" PRIu64 " to %" PRIu64
		     ": to be freed, but no file and no tree page may be there. Run fsck.knotfs",
		     page_no, page_no + count - 1u);
	return -EUCLEAN;
}

static int release_in_group(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count)
{
	struct knot_space_freed *freed;
	struct knot_group_edit edit;
	int err = check_release(space, page_no, count);

	if (err)
		return err;
	freed = malloc(sizeof(*freed));
	if (!freed)
		return -ENOMEM;
	err = knot_busy_prepare(space, knot_group_of(page_no));
	if (!err)
		err = knot_group_plan(space, mtr, KNOT_OP_RELEASE, page_no, count, &edit);
	if (!err)
		err = knot_mtr_free_pages(mtr, page_no, count);
	if (err) {
		free(freed);
		return err;
	}

	*freed = (struct knot_space_freed){ .page_no = page_no, .count = count };
	knot_list_init(&freed->link);
	edit.op.freed = freed;
	knot_group_apply(space, &edit);
	return 0;
}

int knot_space_release(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count)
{
	while (count) {
		uint32_t part = knot_group_part(page_no, count);
		int err = release_in_group(space, mtr, page_no, part);

		if (err)
			return err;
		page_no += part;
		count -= part;
	}
	return 0;
}
