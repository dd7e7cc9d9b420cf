/* SPDX-License-Identifier: MIT */
/*
 * The ordered map: one B+tree over pages for all metadata. Keys are fixed 29-byte strings in memcmp order, values up to
 * 960 bytes.
 *
 * All calls are made inside a mini-transaction with the transaction lock held. Those that change the tree may have
 * changed pages when they fail; the caller then gives the mini-transaction up (knot_mtr_finish with the error), which
 * undoes all.
 *
 * Generations: when a page is changed for the first time since it was clean, its generation becomes
 * knot_mtr_generation() and its parent's child reference follows (so the parent is changed too, up to the root, whose
 * generation is in the state page). A page that is reached with another generation than its parent says is stale:
 * -EUCLEAN.
 */
#ifndef KNOT_TREE_TREE_H
#define KNOT_TREE_TREE_H

#include "fs/space/space.h"
#include "fs/txn/mtr.h"

#include <knotfs/format.h>

struct knot_tree;

struct knot_key {
	uint8_t bytes[KNOT_KEY_BYTES];
};

/* snapshot is 0; offset = offset_high << 64 | offset_low. */
void knot_key_make(struct knot_key *key, uint64_t object, uint8_t kind, uint64_t offset_high, uint64_t offset_low);
uint64_t knot_key_object(const struct knot_key *key);
uint8_t knot_key_kind(const struct knot_key *key);
uint64_t knot_key_offset_high(const struct knot_key *key);
uint64_t knot_key_offset_low(const struct knot_key *key);

int knot_tree_open(struct knot_txn *txn, struct knot_space *space, struct knot_tree **tree);
void knot_tree_close(struct knot_tree *tree);

/*
 * Look a key up. `*value` points into the page and is good until the next change in, or the end of, this
 * mini-transaction. Errors: -ENOENT, -KNOT_EMISS, -EUCLEAN.
 */
int knot_tree_get(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, const void **value,
		  size_t *len_bytes);

/* The leaf that has `key`, or would have it; the leaf itself is not read. Errors: -KNOT_EMISS, -EUCLEAN. */
int knot_tree_leaf_of(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, uint64_t *page_no);

/* The first item at or after `key` (next) or the last at or before it (prev). `*found` and value as above. Errors:
 * -ENOENT none. */
int knot_tree_next(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, struct knot_key *found,
		   const void **value, size_t *len_bytes);
int knot_tree_prev(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, struct knot_key *found,
		   const void **value, size_t *len_bytes);

/*
 * Call `visit` for the items from `from` to `to` (both included) in order, until it returns other than 0; that is then
 * returned. A positive number stops without error; it is not for knot_mtr_finish(), where KNOT_RETRY is one.
 *
 * `visit` must not change the tree. One page's items are visited without descending anew. All pages stay pinned until
 * the mini-transaction ends, and after -KNOT_EMISS the caller starts over, with items visited twice: so bound each
 * mini-transaction's scan (by `to`, or by stopping and going on from the last key) to a few dozen pages.
 */
int knot_tree_scan(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *from, const struct knot_key *to,
		   int (*visit)(void *arg, const struct knot_key *key, const void *value, size_t len_bytes), void *arg);

/* Errors of all that change: -KNOT_EMISS, -KNOT_EGROW, -KNOT_EFULL, -ENOSPC, -EUCLEAN. `value` must not point into a
 * page of the cache. */

/* -EEXIST if the key is there. */
int knot_tree_insert(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, const void *value,
		     size_t len_bytes);
/* Replace the value of a key that is there (-ENOENT else); the length may change. */
int knot_tree_update(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, const void *value,
		     size_t len_bytes);
/* -ENOENT if it is not there. Pages that get nearly empty are merged with a neighbour, empty ones freed. */
int knot_tree_remove(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key);

/* Pages that one insert may change and allocate at worst, now: for knot_mtr_begin() and reservations. Cheap. */
unsigned knot_tree_insert_pages(struct knot_tree *tree);

/* mkfs: format the root page (an empty leaf) in a 4096-byte buffer; not sealed. */
void knot_tree_format_root(void *page, uint64_t page_no, uint64_t generation);

/* ---- pure readers of one page, for fsck too. `page` was verified by knot_page_verify(). ---- */
unsigned knot_tree_page_count(const void *page);
unsigned knot_tree_page_level(const void *page);
void knot_tree_page_key(const void *page, unsigned slot, struct knot_key *key);
void knot_tree_page_value(const void *page, unsigned slot, const void **value, size_t *len_bytes);   /* leaf */
void knot_tree_page_child(const void *page, unsigned slot, uint64_t *page_no, uint64_t *generation); /* inner */

#endif
