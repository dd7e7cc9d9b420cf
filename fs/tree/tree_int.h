/* SPDX-License-Identifier: MIT */
/* Inside fs/tree: the handle, and the way from the root to a place in a leaf. */
#ifndef KNOT_TREE_TREE_INT_H
#define KNOT_TREE_TREE_INT_H

#include "fs/tree/tree.h"
#include "fs/tree/tree_page_int.h"

#include <stdbool.h>

/* Guarded by the transaction lock. */
struct knot_tree {
	struct knot_txn *txn;
	struct knot_space *space;
	uint64_t root_page_no;
	uint64_t root_generation; /* as last read or written; a hint: on a mismatch the state page decides */
	unsigned levels;          /* as last seen */
};

struct knot_tree_step {
	struct knot_page *page;
	unsigned slot; /* inner page: the child taken; leaf: the place of the key */
};

/* at[0] is the root, at[leaf] a leaf: levels descend by one. All pages stay pinned as long as the mini-transaction. */
struct knot_tree_path {
	unsigned leaf;
	bool found;
	struct knot_tree_step at[KNOT_TREE_LEVELS_MAX];
};

void knot_tree_complain(struct knot_tree *tree, const struct knot_page *page, const char *what);

/* Say what is wrong with a page. */
static inline int knot_tree_damaged(struct knot_tree *tree, const struct knot_page *page, const char *what)
{
	knot_tree_complain(tree, page, what);
	return -EUCLEAN;
}

/* The child at `slot` of an inner page, checked to be one level below. Errors: -KNOT_EMISS, -EUCLEAN. */
int knot_tree_child(struct knot_tree *tree, struct knot_mtr *mtr, struct knot_page *parent, unsigned slot,
		    struct knot_page **child);

/*
 * The way to the first place in a leaf at or after `key`: its slot may be the leaf's count. Errors: -KNOT_EMISS,
 * -EUCLEAN.
 */
int knot_tree_descend(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key,
		      struct knot_tree_path *path);

/* The range of the child at `slot` of the inner page at[depth]. */
void knot_tree_child_range(const struct knot_tree_path *path, unsigned depth, unsigned slot,
			   struct knot_tree_range *range);

#endif
