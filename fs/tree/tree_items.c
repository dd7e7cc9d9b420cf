/* SPDX-License-Identifier: MIT */
/*
 * Dealing the items of one or two pages out to pages: what splits, merges and redistributions have in common.
 *
 * A page's prefix is what the two ends of its range share. Cutting a range makes both parts' prefixes as long or longer, so a cut
 * always fits what fitted before; joining ranges may make the prefix shorter and so the items longer.
 */
#include "fs/tree/tree_page_int.h"

#include <assert.h>
#include <string.h>

/* Bytes of imbalance that one byte less in common is worth at a cut: the longer prefixes save more, in many pages. */
#define SHARED_BYTE_COST 16u

unsigned knot_tree_shared_bytes(const struct knot_key *a, const struct knot_key *b)
{
	unsigned shared = 0;

	while (shared < KNOT_KEY_BYTES && a->bytes[shared] == b->bytes[shared])
		shared++;
	return shared;
}

unsigned knot_tree_range_prefix(const struct knot_tree_range *range)
{
	unsigned shared;

	if (!range->bounded)
		return 0;
	shared = knot_tree_shared_bytes(&range->low, &range->high);
	return shared < KNOT_KEY_BYTES ? shared : KNOT_KEY_BYTES - 1;
}

void knot_tree_separator(const struct knot_key *left, const struct knot_key *right, struct knot_key *separator)
{
	unsigned shared = knot_tree_shared_bytes(left, right);

	assert(shared < KNOT_KEY_BYTES && left->bytes[shared] < right->bytes[shared]);
	memset(separator, 0, sizeof(*separator));
	memcpy(separator->bytes, left->bytes, shared + 1);
	separator->bytes[shared]++;
}

unsigned knot_tree_items_count(const struct knot_tree_items *items)
{
	unsigned count = knot_tree_page_count(items->first);

	if (items->second)
		count += knot_tree_page_count(items->second);
	return items->extra ? count + 1 : count;
}

void knot_tree_items_get(const struct knot_tree_items *items, unsigned number, struct knot_tree_item *item)
{
	unsigned first_count = knot_tree_page_count(items->first);

	if (items->extra) {
		if (number == items->extra_at) {
			*item = *items->extra;
			return;
		}
		if (number > items->extra_at)
			number--;
	}
	if (number < first_count)
		knot_tree_page_item(items->first, number, item);
	else
		knot_tree_page_item(items->second, number - first_count, item);
}

/* ---- cutting ---- */

/* The cut in front of item `at`, judged. */
struct cut {
	struct knot_key separator;
	size_t left_bytes;
	size_t right_bytes;
	unsigned shared;
};

/* What the whole sequence is like. */
struct sums {
	unsigned count;
	size_t payload_bytes;
	size_t fixed_bytes;      /* of each item, with slot and full key */
	bool leaf;
};

static void sum_up(const struct knot_tree_items *items, struct sums *sums)
{
	struct knot_tree_item item;

	sums->count = knot_tree_items_count(items);
	sums->leaf = knot_tree_page_level(items->first) == 0;
	sums->fixed_bytes = KNOT_KEY_BYTES + KNOT_TREE_SLOT_BYTES + (sums->leaf ? 2u : 0u);
	sums->payload_bytes = 0;
	for (unsigned i = 0; i < sums->count; i++) {
		knot_tree_items_get(items, i, &item);
		sums->payload_bytes += item.payload_bytes;
	}
}

/* False if the two neighbours are out of order, or a part does not fit. */
static bool judge(const struct sums *sums, const struct knot_tree_range *range, unsigned at, size_t left_payload_bytes,
		  const struct knot_key *left, const struct knot_key *right, struct cut *cut)
{
	struct knot_tree_range part = *range;

	if (memcmp(left, right, sizeof(*left)) >= 0)
		return false;
	cut->shared = knot_tree_shared_bytes(left, right);
	/* A child's range begins with its key: the separator of inner pages is the key as it is. */
	if (sums->leaf)
		knot_tree_separator(left, right, &cut->separator);
	else
		cut->separator = *right;

	part.high = cut->separator;
	part.bounded = true;
	cut->left_bytes = at * (sums->fixed_bytes - knot_tree_range_prefix(&part)) + left_payload_bytes;
	part = *range;
	part.low = cut->separator;
	cut->right_bytes = (sums->count - at) * (sums->fixed_bytes - knot_tree_range_prefix(&part)) + sums->payload_bytes -
			   left_payload_bytes;
	return cut->left_bytes <= KNOT_TREE_AREA_BYTES && cut->right_bytes <= KNOT_TREE_AREA_BYTES;
}

static size_t cost_of(const struct cut *cut, bool append)
{
	size_t larger = cut->left_bytes > cut->right_bytes ? cut->left_bytes : cut->right_bytes;

	return append ? cut->right_bytes : larger + (size_t)cut->shared * SHARED_BYTE_COST;
}

int knot_tree_items_cut(const struct knot_tree_items *items, const struct knot_tree_range *range, bool append, unsigned *at,
			struct knot_key *separator)
{
	struct knot_tree_item left, right;
	struct sums sums;
	struct cut cut;
	size_t left_payload_bytes = 0;
	size_t best_cost = SIZE_MAX;
	unsigned least;

	sum_up(items, &sums);
	least = sums.leaf ? 1 : 2;
	if (sums.count < 2 * least)
		return -EUCLEAN;
	knot_tree_items_get(items, 0, &left);
	for (unsigned i = 1; i <= sums.count - least; i++) {
		knot_tree_items_get(items, i, &right);
		left_payload_bytes += left.payload_bytes;
		if (i >= least && judge(&sums, range, i, left_payload_bytes, &left.key, &right.key, &cut) &&
		    cost_of(&cut, append) < best_cost) {
			best_cost = cost_of(&cut, append);
			*at = i;
			*separator = cut.separator;
		}
		left = right;
	}
	return best_cost == SIZE_MAX ? -EUCLEAN : 0;
}

/* ---- filling ---- */

int knot_tree_items_fill(const struct knot_tree_items *items, unsigned from, unsigned to, const struct knot_tree_range *range,
			 void *page)
{
	struct knot_tree_item item;
	struct knot_key before;

	knot_tree_page_reset(page, knot_tree_page_level(items->first), knot_tree_range_prefix(range), &range->low);
	for (unsigned i = from; i < to; i++) {
		knot_tree_items_get(items, i, &item);
		if (!knot_tree_page_covers(page, &item.key) || !knot_tree_page_fits(page, item.payload_bytes) ||
		    (i > from && memcmp(&before, &item.key, sizeof(before)) >= 0))
			return -EUCLEAN;
		knot_tree_page_insert(page, i - from, &item);
		before = item.key;
	}
	return 0;
}
