/* SPDX-License-Identifier: MIT */
/*
 * The tree, from the root down, in key order, with a stack of one page a level.
 *
 * Invariants
 *  (1) A child is entered only if it is one level below its parent: so the stack never overflows.
 *  (2) The first walk takes every page that it enters and enters none that is taken: so it ends. Children that it did
 *      not enter are remembered, and later walks do not enter them either.
 *  (3) The keys of a page that is entered lie in the range that its parent gives it: so items come in ascending order.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct range {
	struct knot_key low, high; /* high is not in it */
	bool has_high;
};

struct step {
	uint64_t page_no;
	unsigned slot; /* the next one */
	struct range range;
};

struct walk {
	struct knot_fsck *fsck;
	bool is_first;
	size_t refused_seen;
	unsigned depth; /* pages on the stack */
	struct step steps[KNOT_TREE_LEVELS_MAX];
	uint8_t *pages; /* one for each step, aligned */
};

/* A page that the parent at `slot` (root: page 0) names, and what it is expected to be. */
struct child {
	uint64_t parent, page_no, generation; /* 0: any */
	unsigned slot, level;
	bool is_root;
	struct range range;
};

static uint8_t *page_at(const struct walk *walk, unsigned depth)
{
	return walk->pages + (size_t)depth * KNOT_PAGE_BYTES;
}

static int refuse(struct walk *walk, const struct child *child)
{
	struct knot_fsck *fsck = walk->fsck;
	int err = knot_fsck_array_grow(&fsck->refused, sizeof(struct knot_fsck_refused));

	if (err)
		return err;
	fsck->report->is_incomplete = true;
	fsck->has_gap = true;
	((struct knot_fsck_refused *)fsck->refused.items)[fsck->refused.count++] =
		(struct knot_fsck_refused){ .parent = child->parent, .slot = child->slot };
	return 0;
}

/* (2): they come in the same order again. */
static bool was_refused(struct walk *walk, const struct child *child)
{
	const struct knot_fsck_refused *refused = walk->fsck->refused.items;

	if (walk->refused_seen == walk->fsck->refused.count)
		return false;
	refused += walk->refused_seen;
	if (refused->parent != child->parent || refused->slot != child->slot)
		return false;
	walk->refused_seen++;
	return true;
}

/* Every key of the range begins with the prefix. */
static bool prefix_fits(const struct knot_disk_tree_page *tree, const struct range *range)
{
	size_t bytes = knot_get16(tree->prefix_bytes);
	struct knot_key next = { { 0 } };

	if (bytes == 0)
		return true;
	if (!range->has_high || memcmp(range->low.bytes, tree->prefix, bytes) != 0)
		return false;
	if (memcmp(range->high.bytes, tree->prefix, bytes) == 0)
		return true;
	memcpy(next.bytes, tree->prefix, bytes);
	while (bytes > 0 && ++next.bytes[bytes - 1] == 0)
		bytes--;
	return bytes > 0 && memcmp(range->high.bytes, next.bytes, KNOT_KEY_BYTES) <= 0;
}

/* (3) */
static bool keys_fit(const void *page, const struct range *range)
{
	unsigned count = knot_tree_page_count(page);
	struct knot_key first, last;
	int order;

	if (count == 0)
		return true;
	knot_tree_page_key(page, 0, &first);
	knot_tree_page_key(page, count - 1, &last);
	order = memcmp(first.bytes, range->low.bytes, KNOT_KEY_BYTES);
	if (order < 0 || (order > 0 && knot_tree_page_level(page) > 0))
		return false;
	return !range->has_high || memcmp(last.bytes, range->high.bytes, KNOT_KEY_BYTES) < 0;
}

/* What the page says about itself against what its parent says. False if it must not be entered. */
static bool check_page(struct walk *walk, const struct child *child, const void *page)
{
	struct knot_fsck *fsck = walk->fsck;
	const struct knot_disk_page_header *header = page;
	unsigned level = knot_tree_page_level(page), count = knot_tree_page_count(page);
	struct knot_fsck_at at = { .page = child->page_no };

	if (!child->is_root && level != child->level) {
		at.a = level;
		at.b = child->level;
		knot_fsck_problem(fsck, KNOT_FSCK_TREE_LEVEL, &at);
		return false;
	}
	at.a = knot_get64(header->generation);
	at.b = child->generation;
	if (at.a != at.b && !(child->is_root && !fsck->has_state)) {
		knot_fsck_problem(fsck, KNOT_FSCK_TREE_STALE, &at);
		return false;
	}
	if (!keys_fit(page, &child->range)) {
		knot_fsck_problem(fsck, KNOT_FSCK_TREE_RANGE, &at);
		return false;
	}
	if (!prefix_fits(page, &child->range))
		knot_fsck_problem(fsck, KNOT_FSCK_TREE_PREFIX, &at);
	at.a = count;
	if (level > 0 ? count < 2 : count == 0 && !child->is_root)
		knot_fsck_problem(fsck, KNOT_FSCK_TREE_FEW, &at);
	return true;
}

/* The checks of the first walk, with the page read into `page`. Errors: -ENOMEM. */
static int examine(struct walk *walk, const struct child *child, void *page, bool *is_good)
{
	struct knot_fsck *fsck = walk->fsck;
	struct knot_fsck_at at = { .page = child->parent, .a = child->page_no };
	bool twice = false;

	*is_good = false;
	at.why = knot_fsck_why_outside(fsck, child->page_no, 1);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_TREE_OUTSIDE, &at);
		return 0;
	}
	int err = knot_fsck_take_tree(fsck, child->page_no, &twice);
	if (err)
		return err;
	if (twice) {
		at.why = "has a fixed use";
		knot_fsck_problem(fsck,
				  knot_super_page_is_fixed(&fsck->super, child->page_no) ? KNOT_FSCK_TREE_OUTSIDE
											 : KNOT_FSCK_TREE_TWICE,
				  &at);
		return 0;
	}
	fsck->report->tree_pages++;
	*is_good = knot_fsck_load(fsck, child->page_no, KNOT_PAGE_TREE, KNOT_FSCK_TREE_PAGE, page) &&
		   check_page(walk, child, page);
	return 0;
}

/* Put the child on the stack, unless it can't be used. */
static int enter(struct walk *walk, const struct child *child)
{
	struct knot_fsck *fsck = walk->fsck;
	uint8_t *page = page_at(walk, walk->depth);
	bool is_good;
	int err = knot_fsck_go_on(fsck);

	if (err)
		return err;
	if (walk->is_first) {
		err = examine(walk, child, page, &is_good);
		if (err || !is_good)
			return err ? err : refuse(walk, child);
	} else {
		if (was_refused(walk, child) || knot_fsck_read(fsck, child->page_no, page) ||
		    knot_page_verify(&fsck->super.seal, page, child->page_no, KNOT_PAGE_TREE) != KNOT_PAGE_OK ||
		    (!child->is_root && knot_tree_page_level(page) != child->level))
			return 0;
	}
	walk->steps[walk->depth++] = (struct step){ .page_no = child->page_no, .range = child->range };
	return 0;
}

static int enter_next_child(struct walk *walk, struct step *step, const void *page)
{
	unsigned slot = step->slot++, count = knot_tree_page_count(page);
	struct child child = { .parent = step->page_no, .slot = slot, .level = knot_tree_page_level(page) - 1 };

	knot_tree_page_child(page, slot, &child.page_no, &child.generation);
	knot_tree_page_key(page, slot, &child.range.low);
	child.range.has_high = slot + 1 < count || step->range.has_high;
	if (slot + 1 < count)
		knot_tree_page_key(page, slot + 1, &child.range.high);
	else
		child.range.high = step->range.high;
	return enter(walk, &child);
}

static int visit_leaf(struct walk *walk, const void *page, knot_fsck_visit_fn visit, void *arg)
{
	unsigned count = knot_tree_page_count(page);
	int err = 0;

	for (unsigned slot = 0; slot < count && !err; slot++) {
		struct knot_key key;
		const void *value;
		size_t len_bytes;

		knot_tree_page_key(page, slot, &key);
		knot_tree_page_value(page, slot, &value, &len_bytes);
		err = visit(walk->fsck, arg, &key, value, len_bytes);
	}
	return err;
}

static int run(struct walk *walk, knot_fsck_visit_fn visit, void *arg)
{
	struct knot_fsck *fsck = walk->fsck;
	const struct child root = {
		.page_no = fsck->super.root_page,
		.generation = knot_get64(fsck->state.root_generation),
		.is_root = true,
	};
	int err = enter(walk, &root);

	while (!err && walk->depth > 0) {
		struct step *step = &walk->steps[walk->depth - 1];
		const void *page = page_at(walk, walk->depth - 1);

		if (knot_tree_page_level(page) == 0) {
			err = visit_leaf(walk, page, visit, arg);
			walk->depth--;
		} else if (step->slot < knot_tree_page_count(page)) {
			err = enter_next_child(walk, step, page);
		} else {
			walk->depth--;
		}
	}
	return err;
}

static int walk_tree(struct knot_fsck *fsck, bool is_first, knot_fsck_visit_fn visit, void *arg)
{
	struct walk *walk = calloc(1, sizeof(*walk));
	int err = -ENOMEM;

	if (!walk)
		return err;
	walk->fsck = fsck;
	walk->is_first = is_first;
	walk->pages = aligned_alloc(KNOT_PAGE_BYTES, (size_t)KNOT_TREE_LEVELS_MAX * KNOT_PAGE_BYTES);
	if (walk->pages)
		err = run(walk, visit, arg);
	free(walk->pages);
	free(walk);
	return err;
}

int knot_fsck_walk_first(struct knot_fsck *fsck, knot_fsck_visit_fn visit, void *arg)
{
	return walk_tree(fsck, true, visit, arg);
}

int knot_fsck_walk_again(struct knot_fsck *fsck, knot_fsck_visit_fn visit, void *arg)
{
	return walk_tree(fsck, false, visit, arg);
}
