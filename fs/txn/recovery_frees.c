/* SPDX-License-Identifier: MIT */
/*
 * Freed ranges. While they are collected they are a plain list in LSN order: 24 bytes for a record of 14, and
 * neighbours freed together are one. Then they become disjoint ranges in page order, each with its newest LSN.
 */
#include "fs/txn/recovery_int.h"

#include <errno.h>
#include <stdlib.h>

void knot_free_map_destroy(struct knot_free_map *map)
{
	free(map->ranges);
	map->ranges = NULL;
	map->count = 0;
	map->capacity = 0;
}

int knot_free_map_add(struct knot_free_map *map, uint64_t page_no, uint64_t count, uint64_t lsn)
{
	struct knot_free_range *range;

	if (map->count) {
		range = &map->ranges[map->count - 1];
		if (range->lsn == lsn && range->end == page_no) {
			range->end += count;
			return 0;
		}
	}
	if (map->count == map->capacity) {
		size_t capacity = map->capacity ? map->capacity * 2 : 256;
		struct knot_free_range *grown = reallocarray(map->ranges, capacity, sizeof(*grown));

		if (!grown)
			return -ENOMEM;
		map->ranges = grown;
		map->capacity = capacity;
	}
	range = &map->ranges[map->count++];
	range->page_no = page_no;
	range->end = page_no + count;
	range->lsn = lsn;
	return 0;
}

static int compare_ranges(const void *a, const void *b)
{
	const struct knot_free_range *left = a;
	const struct knot_free_range *right = b;

	if (left->page_no != right->page_no)
		return left->page_no < right->page_no ? -1 : 1;
	return (left->lsn > right->lsn) - (left->lsn < right->lsn);
}

/* ---- a heap of ranges, the newest on top ----------------------------------------------------------------------- */

struct heap {
	const struct knot_free_range **items;
	size_t count;
};

static void heap_swap(struct heap *heap, size_t a, size_t b)
{
	const struct knot_free_range *item = heap->items[a];

	heap->items[a] = heap->items[b];
	heap->items[b] = item;
}

static void heap_push(struct heap *heap, const struct knot_free_range *range)
{
	size_t at = heap->count++;

	heap->items[at] = range;
	while (at && heap->items[(at - 1) / 2]->lsn < heap->items[at]->lsn) {
		heap_swap(heap, at, (at - 1) / 2);
		at = (at - 1) / 2;
	}
}

static void heap_pop(struct heap *heap)
{
	size_t at = 0;

	heap->items[0] = heap->items[--heap->count];
	for (;;) {
		size_t child = 2 * at + 1;

		if (child >= heap->count)
			return;
		if (child + 1 < heap->count && heap->items[child + 1]->lsn > heap->items[child]->lsn)
			child++;
		if (heap->items[child]->lsn <= heap->items[at]->lsn)
			return;
		heap_swap(heap, at, child);
		at = child;
	}
}

/* Sweep over the pages: at each, the newest of the ranges that cover it. */
static int sweep(const struct knot_free_map *map, struct heap *heap, struct knot_free_map *out)
{
	uint64_t page_no = 0;
	size_t next = 0;

	while (next < map->count || heap->count) {
		uint64_t until;
		int err;

		if (!heap->count)
			page_no = map->ranges[next].page_no;
		while (next < map->count && map->ranges[next].page_no <= page_no)
			heap_push(heap, &map->ranges[next++]);
		while (heap->count && heap->items[0]->end <= page_no)
			heap_pop(heap);
		if (!heap->count)
			continue;
		until = heap->items[0]->end;
		if (next < map->count && map->ranges[next].page_no < until)
			until = map->ranges[next].page_no;
		err = knot_free_map_add(out, page_no, until - page_no, heap->items[0]->lsn);
		if (err)
			return err;
		page_no = until;
	}
	return 0;
}

int knot_free_map_finish(struct knot_free_map *map)
{
	struct knot_free_map out = { 0 };
	struct heap heap = { 0 };
	int err;

	if (!map->count)
		return 0;
	heap.items = reallocarray(NULL, map->count, sizeof(heap.items[0]));
	if (!heap.items)
		return -ENOMEM;
	qsort(map->ranges, map->count, sizeof(map->ranges[0]), compare_ranges);
	err = sweep(map, &heap, &out);
	free(heap.items);
	if (err) {
		knot_free_map_destroy(&out);
		return err;
	}
	knot_free_map_destroy(map);
	*map = out;
	return 0;
}

uint64_t knot_free_map_find(const struct knot_free_map *map, uint64_t page_no)
{
	size_t low = 0;
	size_t high = map->count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (map->ranges[middle].end <= page_no)
			low = middle + 1;
		else
			high = middle;
	}
	return low < map->count && map->ranges[low].page_no <= page_no ? map->ranges[low].lsn : 0;
}
