/* SPDX-License-Identifier: MIT */
/*
 * Pages for the tree, from clusters of 64 that hold nothing else while there is room: the tree is read by the
 * cluster.
 *
 * Order: the cluster of `near`; the cluster that gave the last page; in their groups a cluster of the tree with a
 * quarter free, then a wholly free one; a wholly free one elsewhere; any page. Wholly free clusters are taken from
 * the group's end: data is placed from its beginning.
 *
 * Invariant
 *  (1) A cluster that a tree page is taken from gets its tree bit; it loses it when it is wholly free (group.c (4)).
 */
#include "fs/space/space_int.h"

#define CLUSTER_ROOMY_PAGES (KNOT_CLUSTER_PAGES / 4u)
#define GROUPS_TRIED_MAX    16u
#define NONE                UINT64_MAX

struct search {
	struct knot_space *space;
	struct knot_mtr *mtr;
	uint64_t found; /* NONE: nothing yet */
	uint64_t words[KNOT_GROUP_WORDS];
	uint8_t tree_clusters[KNOT_GROUP_CLUSTERS / 8u];
};

static int load_map(struct search *s, uint64_t group, bool *there)
{
	int err = knot_group_map(s->space, s->mtr, group, s->words, s->tree_clusters);

	*there = !err;
	return err && s->space->groups[group].bad ? 0 : err;
}

static void take(struct search *s, uint64_t group, uint32_t from, uint32_t end)
{
	uint32_t bit = knot_map_next(s->words, from, end, false);

	if (bit < end)
		s->found = group * KNOT_GROUP_PAGES + bit;
}

/* The page that follows `near` in its cluster, else any there, if it is a cluster of the tree. */
static int look_in_cluster(struct search *s, uint64_t near)
{
	uint64_t group = knot_group_of(near);
	uint32_t bit = knot_group_bit(near);
	uint32_t first = bit - bit % KNOT_CLUSTER_PAGES;
	bool there;
	int err;

	if (!near || group >= s->space->groups_initialised || !knot_group_usable(s->space, group))
		return 0;
	err = load_map(s, group, &there);
	if (err || !there || !knot_group_is_tree_cluster(s->tree_clusters, first / KNOT_CLUSTER_PAGES))
		return err;
	take(s, group, bit, first + KNOT_CLUSTER_PAGES);
	if (s->found == NONE)
		take(s, group, first, bit);
	return 0;
}

static void take_free_cluster(struct search *s, uint64_t group)
{
	for (uint32_t c = KNOT_GROUP_CLUSTERS; s->found == NONE && c; c--)
		if (!s->words[c - 1u])
			take(s, group, (c - 1u) * KNOT_CLUSTER_PAGES, c * KNOT_CLUSTER_PAGES);
}

static int look_in_group(struct search *s, uint64_t group)
{
	bool there;
	int err;

	if (group >= s->space->groups_initialised || !knot_group_usable(s->space, group))
		return 0;
	err = load_map(s, group, &there);
	if (err || !there)
		return err;
	for (uint32_t c = 0; s->found == NONE && c < KNOT_GROUP_CLUSTERS; c++)
		if (knot_group_is_tree_cluster(s->tree_clusters, c) &&
		    (uint32_t)__builtin_popcountll(~s->words[c]) >= CLUSTER_ROOMY_PAGES)
			take(s, group, c * KNOT_CLUSTER_PAGES, (c + 1u) * KNOT_CLUSTER_PAGES);
	take_free_cluster(s, group);
	return 0;
}

/* A wholly free cluster of any group, those that are to be initialised last. */
static int look_for_cluster(struct search *s, uint64_t start)
{
	uint64_t count = s->space->groups_initialised;
	unsigned tries = GROUPS_TRIED_MAX;
	bool there;
	int err = 0;

	for (uint64_t i = 0; !err && i < count && tries && s->found == NONE; i++) {
		uint64_t group = (start + i) % count;

		if (!knot_group_free_clusters(s->space, group))
			continue;
		tries--;
		err = load_map(s, group, &there);
		if (!err && there)
			take_free_cluster(s, group);
	}
	for (uint64_t group = count; !err && group < knot_group_reach(s->space) && s->found == NONE; group++) {
		err = load_map(s, group, &there);
		if (!err && there)
			take_free_cluster(s, group);
	}
	return err;
}

static int look_for_page(struct search *s, uint64_t start)
{
	uint64_t count = knot_group_reach(s->space);
	bool there;
	int err = 0;

	for (uint64_t i = 0; !err && i < count && s->found == NONE; i++) {
		uint64_t group = (start + i) % count;

		if (!knot_group_usable(s->space, group))
			continue;
		err = load_map(s, group, &there);
		if (!err && there)
			take(s, group, 0, KNOT_GROUP_PAGES);
	}
	return err;
}

static int find(struct search *s, uint64_t near)
{
	uint64_t cursor = s->space->tree_cursor;
	uint64_t start = knot_group_of(near ? near : cursor);
	int err;

	err = look_in_cluster(s, near);
	if (!err && s->found == NONE)
		err = look_in_cluster(s, cursor);
	if (!err && s->found == NONE)
		err = look_in_group(s, start);
	if (!err && s->found == NONE && knot_group_of(cursor) != start)
		err = look_in_group(s, knot_group_of(cursor));
	if (!err && s->found == NONE)
		err = look_for_cluster(s, start);
	if (!err && s->found == NONE)
		err = look_for_page(s, start);
	if (!err && s->found == NONE && s->space->waiting) {
		knot_space_reap(s->space);
		err = look_for_page(s, start);
	}
	return err;
}

int knot_space_alloc_tree(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint64_t *page_no)
{
	struct search s = { .space = space, .mtr = mtr, .found = NONE };
	struct knot_group_edit edit;
	int err = find(&s, near);

	if (!err && s.found == NONE)
		err = -ENOSPC;
	if (!err)
		err = knot_group_require(space, mtr, knot_group_of(s.found));
	if (!err)
		err = knot_group_plan(space, mtr, KNOT_OP_ALLOC_TREE, s.found, 1, &edit);
	if (err)
		return err;

	knot_group_apply(space, &edit);
	space->tree_cursor = s.found;
	*page_no = s.found;
	return 0;
}
