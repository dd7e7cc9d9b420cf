/* SPDX-License-Identifier: MIT */
/*
 * What the open mini-transaction has changed in memory, beside the pages: undone when it is given up.
 *
 * Invariants
 *  (1) Counts in memory always equal those of the logged pages as the open mtr sees them. So giving up, which
 *      restores the pages, undoes the ops, the latest first.
 *  (2) Nothing is freed for good before the commit: a released range is busy from the moment of its release on, and
 *      joins the list of those that wait for a durable LSN when the mtr commits.
 *  (3) Only one mtr that writes is open at a time (transaction lock), so one struct serves all.
 */
#include "fs/space/space_int.h"

#include <stdlib.h>

#define OPS_KEPT_MAX 1024u

static void undo(struct knot_space *space, const struct knot_space_op *op)
{
	struct knot_space_group *g = &space->groups[knot_group_of(op->page_no)];

	if (op->kind == KNOT_OP_INIT) {
		space->groups_initialised--;
		g->checked = false;
		return;
	}
	g->free_clusters = (uint16_t)((int)g->free_clusters - op->clusters_delta);
	g->run_max = KNOT_GROUP_PAGES;
	if (op->kind == KNOT_OP_RELEASE) {
		g->free_pages = (uint16_t)(g->free_pages - op->count);
		space->free -= op->count;
		space->waiting -= op->count;
		knot_busy_clear(space, op->page_no, op->count);
		free(op->freed);
		return;
	}
	g->free_pages = (uint16_t)(g->free_pages + op->count);
	space->free += op->count;
	if (op->kind == KNOT_OP_SETTLE) {
		space->placed += op->count;
		knot_busy_mark(space, op->page_no, op->count);
	}
}

static void publish(struct knot_space *space, const struct knot_space_op *op, knot_lsn_t lsn)
{
	if (op->kind != KNOT_OP_RELEASE)
		return;
	/* a tree cluster that became free may be data's now */
	space->groups[knot_group_of(op->page_no)].run_max = KNOT_GROUP_PAGES;
	knot_busy_commit(space, op->freed, lsn);
}

static void finish(struct knot_mtr_hook *hook, knot_lsn_t lsn)
{
	struct knot_space_change *change = knot_container_of(hook, struct knot_space_change, hook);
	struct knot_space *space = knot_container_of(change, struct knot_space, change);

	for (size_t i = 0; lsn && i < change->count; i++)
		publish(space, &change->ops[i], lsn);
	for (size_t i = change->count; !lsn && i; i--)
		undo(space, &change->ops[i - 1u]);
	if (!lsn) { /* the next try is to find the same pages */
		space->data_cursor = change->data_cursor;
		space->tree_cursor = change->tree_cursor;
	}

	change->active = false;
	for (size_t i = 0; i < change->count; i++)
		knot_busy_trim(space, knot_group_of(change->ops[i].page_no));
	change->count = 0;
	if (change->capacity > OPS_KEPT_MAX) {
		free(change->ops);
		change->ops = NULL;
		change->capacity = 0;
	}
}

int knot_change_reserve(struct knot_space *space, struct knot_mtr *mtr, size_t count)
{
	struct knot_space_change *change = &space->change;

	if (change->count + count > change->capacity) {
		size_t capacity = change->capacity ? change->capacity * 2u : 16u;
		struct knot_space_op *ops;

		if (capacity < change->count + count)
			capacity = change->count + count;
		ops = reallocarray(change->ops, capacity, sizeof(*ops));
		if (!ops)
			return -ENOMEM;
		change->ops = ops;
		change->capacity = capacity;
	}
	if (!change->active) {
		change->active = true;
		change->data_cursor = space->data_cursor;
		change->tree_cursor = space->tree_cursor;
		change->hook.finish = finish;
		knot_mtr_add_hook(mtr, &change->hook);
	}
	return 0;
}

void knot_change_add(struct knot_space *space, const struct knot_space_op *op)
{
	struct knot_space_change *change = &space->change;

	assert(change->active && change->count < change->capacity);
	change->ops[change->count++] = *op;
}
