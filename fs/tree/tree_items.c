/* SPDX-License-Identifier: MIT */
/*
 * Dealing the items of one or two pages out to pages: what splits, merges and redistributions have in common.
 *
 * A page's prefix is what the two ends of its range share. Cutting a range makes both parts' prefixes as long or
 * longer, so a cut always fits what fitted before; joining ranges may make the prefix shorter and so the items
 * longer.
 */
#include "fs/tree/tree_page_int.h"

#include <assert.h>
#include <string.h>

/* Bytes of imbalance that one byte less in common is worth at a cut: the longer prefixes save more, in many pages. */
#define SHARED_BYTE_COST 16u

/* A series is expected to go on until the byte so far in front of the one that changes is counted up. */
#define SERIES_AHEAD_BYTES 2u

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

void knot_tree_separator(const struct knot_key *left, const struct knot_key *right, bool high,
			 struct knot_key *separator)
{
	unsigned shared = knot_tree_shared_bytes(left, right);

	assert(shared < KNOT_KEY_BYTES && left->bytes[shared] < right->bytes[shared]);
	memset(separator, 0, sizeof(*separator));
	memcpy(separator->bytes, left->bytes, shared);
	separator->bytes[shared] = high ? right->bytes[shared] : (uint8_t)(left->bytes[shared] + 1);
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

/* What is being cut, and the best cut so far. */
struct search {
	const struct knot_tree_items *items;
	const struct knot_tree_range *range;
	unsigned count;
	unsigned least; /* items on each side */
	size_t payload_bytes;
	size_t fixed_bytes; /* of each item: slot, full key, length */
	bool leaf;
	enum knot_tree_series series;

	size_t cost; /* SIZE_MAX: none yet */
	unsigned at;
	struct knot_key separator;
};

/*
 * The separator behind the newest item of an ascending series: a few hundred to some ten thousand strides ahead, so
 * that the page that the series goes on in has a narrow range, and a long prefix.
 */
static void separator_ahead(const struct knot_key *before, const struct knot_key *newest, const struct knot_key *right,
			    struct knot_key *separator)
{
	unsigned shared = knot_tree_shared_bytes(newest, right);
	unsigned changing = knot_tree_shared_bytes(before, newest);
	unsigned at = changing < SERIES_AHEAD_BYTES ? 0 : changing - SERIES_AHEAD_BYTES;

	while (at > shared && newest->bytes[at] == 0xff)
		at--;
	if (at <= shared) {
		knot_tree_separator(newest, right, true, separator);
		return;
	}
	memset(separator, 0, sizeof(*separator));
	memcpy(separator->bytes, newest->bytes, at + 1);
	separator->bytes[at]++;
}

static size_t part_bytes(const struct search *search, const struct knot_tree_range *range, unsigned count,
			 size_t payload_bytes)
{
	return count * (search->fixed_bytes - knot_tree_range_prefix(range)) + payload_bytes;
}

/* A new item has the gap on its side: what comes next to it later shall go to the same page. */
static void separate(const struct search *search, unsigned at, const struct knot_key *left,
		     const struct knot_key *right, struct knot_key *separator)
{
	bool is_new = search->items->extra && at == search->items->extra_at + 1;
	struct knot_tree_item before;

	if (is_new && search->series == KNOT_SERIES_UP && at >= 2) {
		knot_tree_items_get(search->items, at - 2, &before);
		separator_ahead(&before.key, left, right, separator);
		return;
	}
	knot_tree_separator(left, right, is_new, separator);
}

/* Judge a cut in front of item `at`, which is between `left` and `right`; keep it if it fits and is better. */
static void judge(struct search *search, unsigned at, size_t left_payload_bytes, const struct knot_key *left,
		  const struct knot_key *right)
{
	struct knot_tree_range left_range = *search->range;
	struct knot_tree_range right_range = *search->range;
	size_t left_bytes, right_bytes, cost;

	if (memcmp(left, right, sizeof(*left)) >= 0)
		return;
	if (search->leaf)
		separate(search, at, left, right, &right_range.low);
	else
		right_range.low = *right; /* a child's range begins with its key: nothing else will do */
	left_range.high = right_range.low;
	left_range.bounded = true;

	left_bytes = part_bytes(search, &left_range, at, left_payload_bytes);
	right_bytes = part_bytes(search, &right_range, search->count - at, search->payload_bytes - left_payload_bytes);
	if (left_bytes > KNOT_TREE_AREA_BYTES || right_bytes > KNOT_TREE_AREA_BYTES)
		return;
	cost = left_bytes > right_bytes ? left_bytes : right_bytes;
	cost += (size_t)knot_tree_shared_bytes(left, right) * SHARED_BYTE_COST;
	if (cost < search->cost) {
		search->cost = cost;
		search->at = at;
		search->separator = right_range.low;
	}
}

/* Judge the cuts from `from` to `to`, both included. */
static void judge_all(struct search *search, unsigned from, unsigned to)
{
	struct knot_tree_item left, right;
	size_t left_payload_bytes = 0;

	if (from < search->least)
		from = search->least;
	if (to > search->count - search->least)
		to = search->count - search->least;
	knot_tree_items_get(search->items, 0, &left);
	for (unsigned at = 1; at <= to; at++) {
		knot_tree_items_get(search->items, at, &right);
		left_payload_bytes += left.payload_bytes;
		if (at >= from)
			judge(search, at, left_payload_bytes, &left.key, &right.key);
		left = right;
	}
}

/* The cuts behind and in front of the extra item, or as near as there can be any. */
static void judge_series(struct search *search)
{
	unsigned most = search->count - search->least;

	for (unsigned turn = 0; turn < 2 && search->cost == SIZE_MAX; turn++) {
		unsigned at = search->items->extra_at + ((search->series == KNOT_SERIES_UP) != (turn == 1) ? 1 : 0);

		at = at < search->least ? search->least : at > most ? most : at;
		judge_all(search, at, at);
	}
}

int knot_tree_items_cut(const struct knot_tree_items *items, const struct knot_tree_range *range,
			enum knot_tree_series series, unsigned *at, struct knot_key *separator)
{
	struct search search = { .items = items, .range = range, .series = series, .cost = SIZE_MAX };
	struct knot_tree_item item;

	search.leaf = knot_tree_page_level(items->first) == 0;
	search.least = search.leaf ? 1 : 2;
	search.count = knot_tree_items_count(items);
	search.fixed_bytes = KNOT_KEY_BYTES + KNOT_TREE_SLOT_BYTES + (search.leaf ? sizeof(knot_le16) : 0);
	if (search.count < 2 * search.least)
		return -EUCLEAN;
	for (unsigned i = 0; i < search.count; i++) {
		knot_tree_items_get(items, i, &item);
		search.payload_bytes += item.payload_bytes;
	}

	if (items->extra && series != KNOT_SERIES_NONE)
		judge_series(&search);
	if (search.cost == SIZE_MAX)
		judge_all(&search, search.least, search.count - search.least);
	if (search.cost == SIZE_MAX)
		return -EUCLEAN;
	*at = search.at;
	*separator = search.separator;
	return 0;
}

/* ---- filling ---- */

int knot_tree_items_fill(const struct knot_tree_items *items, unsigned from, unsigned to,
			 const struct knot_tree_range *range, void *page)
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
