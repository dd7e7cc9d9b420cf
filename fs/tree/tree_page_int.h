/* SPDX-License-Identifier: MIT */
/*
 * One page of the tree: pure functions on 4096 bytes that passed knot_page_verify_shape(). No locks, no I/O, no
 * allocation.
 *
 * -EUCLEAN from here means that the page passed the shape rules, but its items lie outside its range: a page that this
 * code did not write. The page may then be half changed; the mini-transaction is given up.
 */
#ifndef KNOT_TREE_TREE_PAGE_INT_H
#define KNOT_TREE_TREE_PAGE_INT_H

#include "fs/tree/tree.h"

#include <stdbool.h>

#define KNOT_TREE_AREA_BYTES (KNOT_PAGE_BYTES - KNOT_TREE_SLOTS_AT) /* for slots and items */
#define KNOT_TREE_SLOT_BYTES 2u

/* An item by itself. Payload: a leaf's value, an inner page's struct knot_disk_child. */
struct knot_tree_item {
	struct knot_key key;
	const void *payload;
	size_t payload_bytes;
};

/* What a page is responsible for: low <= key < high; not `bounded`: no upper end. */
struct knot_tree_range {
	struct knot_key low;
	struct knot_key high;
	bool bounded;
};

/* Leading bytes that two keys share, 0 to 29; and what all keys of a range share, 0 to 28. */
unsigned knot_tree_shared_bytes(const struct knot_key *a, const struct knot_key *b);
unsigned knot_tree_range_prefix(const struct knot_tree_range *range);

/* Shortest key (padded with zeros) with left < separator <= right; of those the highest or the lowest. left < right. */
void knot_tree_separator(const struct knot_key *left, const struct knot_key *right, bool high,
			 struct knot_key *separator);

unsigned knot_tree_page_prefix(const void *page);

/* True if the key begins with the page's prefix. It always does for a key of the page's range. */
bool knot_tree_page_covers(const void *page, const struct knot_key *key);

/*
 * The first slot whose key is at or after `key` (which the page covers); the count if there is none. `*found`: it is
 * the key itself.
 */
unsigned knot_tree_page_find(const void *page, const struct knot_key *key, bool *found);

void knot_tree_page_item(const void *page, unsigned slot, struct knot_tree_item *item);

/* Bytes in use by slots and items, if the prefix had `prefix_bytes`. */
size_t knot_tree_page_used(const void *page, unsigned prefix_bytes);

/* Empty the page (not its header): an empty page of `level` with the first `prefix_bytes` of `low` as prefix. */
void knot_tree_page_reset(void *page, unsigned level, unsigned prefix_bytes, const struct knot_key *low);

/*
 * Whether an insert in front of `slot` looks like the next of an ascending or descending series: it is behind all
 * others, or the two items put into the page last are its neighbours on one side, which the heap's order shows.
 */
enum knot_tree_series { KNOT_SERIES_NONE, KNOT_SERIES_UP, KNOT_SERIES_DOWN };
enum knot_tree_series knot_tree_page_series(const void *page, unsigned slot);

bool knot_tree_page_fits(const void *page, size_t payload_bytes);

/* Put an item that fits in front of `slot`. The page covers its key, and there it is in order. */
void knot_tree_page_insert(void *page, unsigned slot, const struct knot_tree_item *item);
void knot_tree_page_remove(void *page, unsigned slot);

/* Leaf: replace a value by one that is not longer; false (nothing done) if it is longer. */
bool knot_tree_page_shorten(void *page, unsigned slot, const void *value, size_t len_bytes);

/* Inner. The new key must be covered by the page and in order at its slot. */
void knot_tree_page_set_child(void *page, unsigned slot, uint64_t page_no, uint64_t generation);
void knot_tree_page_set_key(void *page, unsigned slot, const struct knot_key *key);

/* ---- dealing items out to pages: splits, merges ---- */

/* The items of one or two pages in order, with one more in front of number `extra_at`. */
struct knot_tree_items {
	const void *first;
	const void *second;                 /* NULL: none */
	const struct knot_tree_item *extra; /* NULL: none */
	unsigned extra_at;
};

unsigned knot_tree_items_count(const struct knot_tree_items *items);
void knot_tree_items_get(const struct knot_tree_items *items, unsigned number, struct knot_tree_item *item);

/*
 * Where to cut the items of `range` so that both parts fit: `*at` items go left, `*separator` becomes the right part's
 * low end. In a series the extra item goes where the next ones find room while the page that it leaves stays full; else
 * halves, and rather between keys that share little. Inner pages get two children at least.
 * Errors: -EUCLEAN no such place.
 */
int knot_tree_items_cut(const struct knot_tree_items *items, const struct knot_tree_range *range,
			enum knot_tree_series series, unsigned *at, struct knot_key *separator);

/* Make `page` hold exactly items `from` to `to` - 1, for `range`. `items` must not be in `page`. Errors: -EUCLEAN. */
int knot_tree_items_fill(const struct knot_tree_items *items, unsigned from, unsigned to,
			 const struct knot_tree_range *range, void *page);

#endif
