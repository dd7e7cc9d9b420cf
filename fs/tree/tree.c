/* SPDX-License-Identifier: MIT */
/*
 * Finding things in the tree: descent, lookup, neighbours, scans.
 *
 * Invariants of the tree (tree_change.c keeps them, this file trusts none of them with its own safety)
 *  (1) An inner page's item is (lowest key of the child's range, child). A page is responsible for [its key in the
 *      parent, the next key there); the last child inherits the upper end, the rightmost pages have none. So an inner
 *      page's first key is the low end of its own range: all zeros on the left edge.
 *  (2) A page's prefix is shared by every key of its range. Pages on the right edge have none.
 *  (3) A child is exactly one level below its parent. Leaves are not empty, unless the leaf is the root; inner pages
 *      have two children or more.
 *  (4) A child reference carries the child's generation: a stale page is noticed on the way down.
 *
 * What a hostile image can do: level and generation checks end every descent; neighbours that do not ascend are
 * refused, so no walk from key to key goes in a circle.
 */
#include "fs/tree/tree_int.h"

#include "fs/util/endian.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

void knot_tree_complain(struct knot_tree *tree, const struct knot_page *page, const char *what)
{
	knot_message(knot_txn_messages(tree->txn), KNOT_ERROR, "page %" PRIu64 " (directory tree): %s",
		     knot_page_no(page), what);
}

/* ---- pages ---- */

static int root(struct knot_tree *tree, struct knot_mtr *mtr, struct knot_page **page)
{
	uint64_t generation;
	unsigned level;
	int err = knot_mtr_page(mtr, tree->root_page_no, KNOT_PAGE_TREE, 0, page);

	if (err)
		return err;
	if (knot_page_generation(*page) != tree->root_generation) {
		err = knot_space_root_generation(tree->space, mtr, &generation);
		if (!err)
			err = knot_mtr_page(mtr, tree->root_page_no, KNOT_PAGE_TREE, generation, page);
		if (err)
			return err;
		tree->root_generation = generation;
	}
	level = knot_tree_page_level(knot_page_data(*page));
	if (level >= KNOT_TREE_LEVELS_MAX)
		return knot_tree_damaged(tree, *page, "too many levels");
	tree->levels = level + 1;
	return 0;
}

int knot_tree_child(struct knot_tree *tree, struct knot_mtr *mtr, struct knot_page *parent, unsigned slot,
		    struct knot_page **child)
{
	const void *data = knot_page_data(parent);
	uint64_t page_no, generation;
	int err;

	knot_tree_page_child(data, slot, &page_no, &generation);
	if (generation == 0)
		return knot_tree_damaged(tree, parent, "a child without a generation");
	err = knot_mtr_page(mtr, page_no, KNOT_PAGE_TREE, generation, child);
	if (err)
		return err;
	if (knot_tree_page_level(knot_page_data(*child)) + 1 != knot_tree_page_level(data))
		return knot_tree_damaged(tree, *child, "its level does not fit its parent's");
	if (knot_tree_page_count(knot_page_data(*child)) == 0)
		return knot_tree_damaged(tree, *child, "it is empty");
	return 0;
}

/* ---- the way down, and sideways ---- */

int knot_tree_descend(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key,
		      struct knot_tree_path *path)
{
	int err = root(tree, mtr, &path->at[0].page);

	for (unsigned depth = 0; !err; depth++) {
		struct knot_tree_step *step = &path->at[depth];
		const void *data = knot_page_data(step->page);

		if (!knot_tree_page_covers(data, key))
			return knot_tree_damaged(tree, step->page, "its prefix does not fit its parent's keys");
		step->slot = knot_tree_page_find(data, key, &path->found);
		if (knot_tree_page_level(data) == 0) {
			path->leaf = depth;
			return 0;
		}
		if (!path->found) {
			if (step->slot == 0)
				return knot_tree_damaged(tree, step->page, "its first key is above its parent's");
			step->slot--;
		}
		err = knot_tree_child(tree, mtr, step->page, step->slot, &path->at[depth + 1].page);
	}
	return err;
}

void knot_tree_child_range(const struct knot_tree_path *path, unsigned depth, unsigned slot,
			   struct knot_tree_range *range)
{
	knot_tree_page_key(knot_page_data(path->at[depth].page), slot, &range->low);
	range->bounded = false;
	for (;; slot = path->at[depth].slot) {
		const void *data = knot_page_data(path->at[depth].page);

		if (slot + 1 < knot_tree_page_count(data)) {
			knot_tree_page_key(data, slot + 1, &range->high);
			range->bounded = true;
			return;
		}
		if (depth == 0)
			return;
		depth--;
	}
}

/*
 * Move to the first item of the next leaf, or the last of the one before. Errors: -ENOENT there is none, -KNOT_EMISS,
 * -EUCLEAN.
 */
static int step_aside(struct knot_tree *tree, struct knot_mtr *mtr, struct knot_tree_path *path, bool forward)
{
	unsigned depth = path->leaf;
	struct knot_key parting, key;

	for (;;) {
		if (depth == 0)
			return -ENOENT;
		depth--;
		if (forward && path->at[depth].slot + 1 < knot_tree_page_count(knot_page_data(path->at[depth].page))) {
			path->at[depth].slot++;
			break;
		}
		if (!forward && path->at[depth].slot > 0) {
			path->at[depth].slot--;
			break;
		}
	}
	knot_tree_page_key(knot_page_data(path->at[depth].page), path->at[depth].slot + (forward ? 0 : 1), &parting);
	for (; depth < path->leaf; depth++) {
		struct knot_tree_step *below = &path->at[depth + 1];
		int err = knot_tree_child(tree, mtr, path->at[depth].page, path->at[depth].slot, &below->page);

		if (err)
			return err;
		below->slot = forward ? 0 : knot_tree_page_count(knot_page_data(below->page)) - 1;
	}
	/* else what a descent did not find on one side could be found on the other */
	knot_tree_page_key(knot_page_data(path->at[path->leaf].page), path->at[path->leaf].slot, &key);
	if ((memcmp(&key, &parting, sizeof(key)) < 0) == forward)
		return knot_tree_damaged(tree, path->at[path->leaf].page, "its keys are not its parent's");
	return 0;
}

/* ---- reading ---- */

int knot_tree_get(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, const void **value,
		  size_t *len_bytes)
{
	struct knot_tree_path path;
	int err = knot_tree_descend(tree, mtr, key, &path);

	if (err)
		return err;
	if (!path.found)
		return -ENOENT;
	knot_tree_page_value(knot_page_data(path.at[path.leaf].page), path.at[path.leaf].slot, value, len_bytes);
	return 0;
}

int knot_tree_leaf_of(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, uint64_t *page_no)
{
	struct knot_page *page;
	int err = root(tree, mtr, &page);

	while (!err) {
		const void *data = knot_page_data(page);
		unsigned level = knot_tree_page_level(data), slot;
		uint64_t child, generation;
		bool found;

		if (level == 0) {
			*page_no = knot_page_no(page);
			return 0;
		}
		if (!knot_tree_page_covers(data, key))
			return knot_tree_damaged(tree, page, "its prefix does not fit its parent's keys");
		slot = knot_tree_page_find(data, key, &found);
		if (!found && slot == 0)
			return knot_tree_damaged(tree, page, "its first key is above its parent's");
		slot -= !found;
		if (level == 1) {
			knot_tree_page_child(data, slot, &child, &generation);
			*page_no = child;
			return 0;
		}
		err = knot_tree_child(tree, mtr, page, slot, &page);
	}
	return err;
}

int knot_tree_next(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, struct knot_key *found,
		   const void **value, size_t *len_bytes)
{
	struct knot_tree_path path;
	struct knot_tree_step *leaf;
	struct knot_key at;
	int err = knot_tree_descend(tree, mtr, key, &path);

	if (err)
		return err;
	leaf = &path.at[path.leaf];
	if (leaf->slot == knot_tree_page_count(knot_page_data(leaf->page))) {
		err = step_aside(tree, mtr, &path, true);
		if (err)
			return err;
	}
	knot_tree_page_key(knot_page_data(leaf->page), leaf->slot, &at);
	if (memcmp(&at, key, sizeof(at)) < 0)
		return knot_tree_damaged(tree, leaf->page, "its keys are below its parent's");
	*found = at;
	knot_tree_page_value(knot_page_data(leaf->page), leaf->slot, value, len_bytes);
	return 0;
}

int knot_tree_prev(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, struct knot_key *found,
		   const void **value, size_t *len_bytes)
{
	struct knot_tree_path path;
	struct knot_tree_step *leaf;
	struct knot_key at;
	int err = knot_tree_descend(tree, mtr, key, &path);

	if (err)
		return err;
	leaf = &path.at[path.leaf];
	if (!path.found) {
		if (leaf->slot > 0)
			leaf->slot--;
		else
			err = step_aside(tree, mtr, &path, false);
		if (err)
			return err;
	}
	knot_tree_page_key(knot_page_data(leaf->page), leaf->slot, &at);
	if (memcmp(&at, key, sizeof(at)) > 0)
		return knot_tree_damaged(tree, leaf->page, "its keys are above its parent's");
	*found = at;
	knot_tree_page_value(knot_page_data(leaf->page), leaf->slot, value, len_bytes);
	return 0;
}

int knot_tree_scan(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *from, const struct knot_key *to,
		   int (*visit)(void *arg, const struct knot_key *key, const void *value, size_t len_bytes), void *arg)
{
	struct knot_tree_path path;
	struct knot_tree_range range;
	struct knot_tree_step *leaf;
	struct knot_key last = *from;
	bool visited = false;
	int err = knot_tree_descend(tree, mtr, from, &path);

	if (err)
		return err;
	leaf = &path.at[path.leaf];
	for (;;) {
		const void *data = knot_page_data(leaf->page);
		unsigned count = knot_tree_page_count(data);

		for (; leaf->slot < count; leaf->slot++) {
			struct knot_key key;
			const void *value;
			size_t len_bytes;
			int order;

			knot_tree_page_key(data, leaf->slot, &key);
			if (memcmp(&key, to, sizeof(key)) > 0)
				return 0;
			order = memcmp(&key, &last, sizeof(key));
			if (order < 0 || (order == 0 && visited))
				return knot_tree_damaged(tree, leaf->page, "its keys are below its parent's");
			last = key;
			visited = true;
			knot_tree_page_value(data, leaf->slot, &value, &len_bytes);
			err = visit(arg, &key, value, len_bytes);
			if (err)
				return err;
		}
		if (path.leaf == 0)
			return 0;
		knot_tree_child_range(&path, path.leaf - 1, path.at[path.leaf - 1].slot, &range);
		if (!range.bounded || memcmp(&range.high, to, sizeof(*to)) > 0)
			return 0;
		err = step_aside(tree, mtr, &path, true);
		if (err)
			return err == -ENOENT ? 0 : err;
	}
}

/* ---- the handle ---- */

int knot_tree_open(struct knot_txn *txn, struct knot_space *space, struct knot_tree **tree)
{
	struct knot_tree *new_tree = calloc(1, sizeof(*new_tree));
	struct knot_page *page;
	struct knot_mtr mtr;
	int err;

	if (!new_tree)
		return -ENOMEM;
	new_tree->txn = txn;
	new_tree->space = space;
	new_tree->root_page_no = knot_txn_super(txn)->root_page;

	knot_mtr_init(&mtr, txn, NULL);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err)
			err = root(new_tree, &mtr, &page);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	if (err) {
		free(new_tree);
		return err;
	}
	*tree = new_tree;
	return 0;
}

void knot_tree_close(struct knot_tree *tree)
{
	free(tree);
}

unsigned knot_tree_insert_pages(struct knot_tree *tree)
{
	/*
	 * Each level is changed and split, and the root splits into two new pages; state page, group table, two group
	 * headers.
	 */
	return 2 * tree->levels + 1 + 4;
}
