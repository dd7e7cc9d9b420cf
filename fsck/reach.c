/* SPDX-License-Identifier: MIT */
/*
 * Can every directory be reached from the root, or from one that is to be deleted? The name space is a graph: a
 * directory may have several names, and cycles keep each other's counts above zero.
 */
#include "fsck/fsck_int.h"

#include <dirent.h>
#include <errno.h>
#include <stdlib.h>

struct search {
	struct knot_fsck *fsck;
	const struct knot_fsck_edge *edges; /* sorted by from */
	size_t edge_count;
	uint32_t *queue;
	size_t head, tail;
};

static int compare_edges(const void *a, const void *b)
{
	const struct knot_fsck_edge *x = a, *y = b;

	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return x->to < y->to ? -1 : x->to > y->to;
}

static size_t first_edge(const struct search *search, uint32_t from)
{
	size_t low = 0, high = search->edge_count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (search->edges[middle].from < from)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void reach(struct search *search, uint32_t index)
{
	struct knot_fsck_node *node = knot_fsck_node_at(search->fsck, index);

	if (node->flags & KNOT_NODE_REACHED)
		return;
	node->flags |= KNOT_NODE_REACHED;
	search->queue[search->tail++] = index;
}

static void run(struct search *search)
{
	while (search->head < search->tail) {
		uint32_t from = search->queue[search->head++];

		for (size_t i = first_edge(search, from); i < search->edge_count && search->edges[i].from == from; i++)
			reach(search, search->edges[i].to);
	}
}

static bool is_directory(const struct knot_fsck_node *node)
{
	return node->flags & KNOT_NODE_HAS_INODE && node->type == DT_DIR;
}

static void say_unreachable(struct search *search)
{
	struct knot_fsck *fsck = search->fsck;

	for (uint32_t i = 0; i < fsck->nodes.array.count; i++) {
		const struct knot_fsck_node *node = knot_fsck_node_at(fsck, i);
		const struct knot_fsck_at at = { .object = node->number };

		if (!is_directory(node) || node->flags & KNOT_NODE_REACHED)
			continue;
		knot_fsck_problem(fsck, KNOT_FSCK_UNREACHABLE, &at);
		reach(search, i); /* what hangs from it is not said again */
		run(search);
	}
}

static void check_root(struct knot_fsck *fsck)
{
	const struct knot_fsck_node *node = knot_fsck_node_find(fsck, KNOT_OBJECT_ROOT);
	struct knot_fsck_at at = { .object = KNOT_OBJECT_ROOT };

	if (!node || !(node->flags & KNOT_NODE_HAS_INODE))
		at.why = "is missing";
	else if (node->type && node->type != DT_DIR)
		at.why = "is none";
	if (at.why)
		knot_fsck_problem(fsck, KNOT_FSCK_ROOT, &at);
}

int knot_fsck_reach(struct knot_fsck *fsck)
{
	struct search search = { .fsck = fsck, .edges = fsck->edges.items, .edge_count = fsck->edges.count };
	size_t nodes = fsck->nodes.array.count;

	check_root(fsck);
	search.queue = malloc((nodes ? nodes : 1) * sizeof(*search.queue));
	if (!search.queue)
		return -ENOMEM;
	if (search.edge_count)
		qsort(fsck->edges.items, search.edge_count, sizeof(struct knot_fsck_edge), compare_edges);
	for (uint32_t i = 0; i < nodes; i++) {
		const struct knot_fsck_node *node = knot_fsck_node_at(fsck, i);

		if (node->number == KNOT_OBJECT_ROOT || (is_directory(node) && node->flags & KNOT_NODE_NO_NAMES))
			reach(&search, i);
	}
	run(&search);
	say_unreachable(&search);
	free(search.queue);
	return 0;
}
