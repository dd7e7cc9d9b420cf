/* SPDX-License-Identifier: MIT */
/*
 * One page: search, insert, remove.
 *
 *	0        64       112                                                            4096
 *	| header | fields | slots, 2 bytes each -> |   gap   | <- heap: items and holes   |
 *
 * Invariants
 *  (1) Slots are in ascending key order; each holds the offset of its item.
 *  (2) Bytes of all items + garbage_bytes == 4096 - heap_at; an empty page has no garbage. So what is free, in the
 *      gap and in holes, is known without looking at the items. Items do not overlap.
 *  (3) The prefix follows from the page's range (tree_change.c), not from its items: whatever may come into the page
 *      has it.
 *
 * (1) and (2) are shape rules: every page that the device gave was checked for them. (3) is not: callers ask
 * knot_tree_page_covers().
 */
#include "fs/tree/tree_page_int.h"

#include "fs/disk/page.h"
#include "fs/util/endian.h"

#include <assert.h>
#include <string.h>

#define BODY_AT      sizeof(struct knot_disk_page_header)
#define LENGTH_BYTES 2u /* of a value, in front of it */

/* ---- pure readers ---- */

unsigned knot_tree_page_count(const void *page)
{
	return knot_get16(((const struct knot_disk_tree_page *)page)->count);
}

unsigned knot_tree_page_level(const void *page)
{
	return knot_get16(((const struct knot_disk_tree_page *)page)->level);
}

unsigned knot_tree_page_prefix(const void *page)
{
	return knot_get16(((const struct knot_disk_tree_page *)page)->prefix_bytes);
}

static unsigned item_at(const void *page, unsigned slot)
{
	return knot_get16(((const struct knot_disk_tree_page *)page)->slots[slot]);
}

void knot_tree_page_key(const void *page, unsigned slot, struct knot_key *key)
{
	const struct knot_disk_tree_page *tree = page;
	unsigned prefix_bytes = knot_tree_page_prefix(page);

	memcpy(key->bytes, tree->prefix, prefix_bytes);
	memcpy(key->bytes + prefix_bytes, (const uint8_t *)page + item_at(page, slot), KNOT_KEY_BYTES - prefix_bytes);
}

void knot_tree_page_value(const void *page, unsigned slot, const void **value, size_t *len_bytes)
{
	const uint8_t *at = (const uint8_t *)page + item_at(page, slot) + KNOT_KEY_BYTES - knot_tree_page_prefix(page);
	knot_le16 length;

	memcpy(&length, at, sizeof(length));
	*value = at + LENGTH_BYTES;
	*len_bytes = knot_get16(length);
}

void knot_tree_page_child(const void *page, unsigned slot, uint64_t *page_no, uint64_t *generation)
{
	struct knot_disk_child child;

	memcpy(&child, (const uint8_t *)page + item_at(page, slot) + KNOT_KEY_BYTES - knot_tree_page_prefix(page),
	       sizeof(child));
	*page_no = knot_get64(child.page_no);
	*generation = knot_get64(child.generation);
}

void knot_tree_page_item(const void *page, unsigned slot, struct knot_tree_item *item)
{
	knot_tree_page_key(page, slot, &item->key);
	if (knot_tree_page_level(page) == 0) {
		knot_tree_page_value(page, slot, &item->payload, &item->payload_bytes);
		return;
	}
	item->payload = (const uint8_t *)page + item_at(page, slot) + KNOT_KEY_BYTES - knot_tree_page_prefix(page);
	item->payload_bytes = sizeof(struct knot_disk_child);
}

bool knot_tree_page_covers(const void *page, const struct knot_key *key)
{
	return memcmp(((const struct knot_disk_tree_page *)page)->prefix, key->bytes, knot_tree_page_prefix(page)) == 0;
}

unsigned knot_tree_page_find(const void *page, const struct knot_key *key, bool *found)
{
	unsigned prefix_bytes = knot_tree_page_prefix(page);
	const uint8_t *suffix = key->bytes + prefix_bytes;
	size_t suffix_bytes = KNOT_KEY_BYTES - prefix_bytes;
	unsigned low = 0;
	unsigned high = knot_tree_page_count(page);

	*found = false;
	while (low < high) {
		unsigned middle = (low + high) / 2;
		int order = memcmp((const uint8_t *)page + item_at(page, middle), suffix, suffix_bytes);

		if (order == 0) {
			*found = true;
			return middle;
		}
		if (order < 0)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

/* ---- room ---- */

/* Without its slot. */
static size_t item_bytes(const void *page, size_t payload_bytes)
{
	size_t length_bytes = knot_tree_page_level(page) == 0 ? LENGTH_BYTES : 0;

	return KNOT_KEY_BYTES - knot_tree_page_prefix(page) + length_bytes + payload_bytes;
}

size_t knot_tree_page_used(const void *page, unsigned prefix_bytes)
{
	const struct knot_disk_tree_page *tree = page;
	size_t count = knot_get16(tree->count);
	size_t item_bytes_now = KNOT_PAGE_BYTES - (size_t)knot_get16(tree->heap_at) - knot_get16(tree->garbage_bytes);

	return item_bytes_now + count * (KNOT_TREE_SLOT_BYTES + knot_get16(tree->prefix_bytes)) - count * prefix_bytes;
}

static size_t gap_bytes(const void *page)
{
	const struct knot_disk_tree_page *tree = page;
	size_t slots_end = KNOT_TREE_SLOTS_AT + (size_t)knot_get16(tree->count) * KNOT_TREE_SLOT_BYTES;

	return knot_get16(tree->heap_at) - slots_end;
}

/* True if `newest` was put into the page last, and `older` just before it. */
static bool put_last(const void *page, unsigned newest, unsigned older)
{
	struct knot_tree_item item;

	if (item_at(page, newest) != knot_get16(((const struct knot_disk_tree_page *)page)->heap_at))
		return false;
	knot_tree_page_item(page, newest, &item);
	return item_at(page, older) == item_at(page, newest) + item_bytes(page, item.payload_bytes);
}

enum knot_tree_series knot_tree_page_series(const void *page, unsigned slot)
{
	unsigned count = knot_tree_page_count(page);

	if (slot == count || (slot >= 2 && put_last(page, slot - 1, slot - 2)))
		return KNOT_SERIES_UP;
	if (slot + 1 < count && put_last(page, slot, slot + 1))
		return KNOT_SERIES_DOWN;
	return KNOT_SERIES_NONE;
}

bool knot_tree_page_fits(const void *page, size_t payload_bytes)
{
	size_t need = item_bytes(page, payload_bytes) + KNOT_TREE_SLOT_BYTES;

	return knot_tree_page_used(page, knot_tree_page_prefix(page)) + need <= KNOT_TREE_AREA_BYTES;
}

/* ---- changes ---- */

void knot_tree_page_reset(void *page, unsigned level, unsigned prefix_bytes, const struct knot_key *low)
{
	struct knot_disk_tree_page *tree = page;

	assert(level < KNOT_TREE_LEVELS_MAX && prefix_bytes < KNOT_KEY_BYTES);
	memset((uint8_t *)page + BODY_AT, 0, KNOT_PAGE_BYTES - BODY_AT);
	tree->level = knot_put16((uint16_t)level);
	tree->prefix_bytes = knot_put16((uint16_t)prefix_bytes);
	tree->heap_at = knot_put16((uint16_t)KNOT_PAGE_BYTES);
	memcpy(tree->prefix, low->bytes, prefix_bytes);
}

void knot_tree_format_root(void *page, uint64_t page_no, uint64_t generation)
{
	const struct knot_key lowest = { { 0 } };

	memset(page, 0, KNOT_PAGE_BYTES);
	knot_page_format(page, KNOT_PAGE_TREE, page_no, generation);
	knot_tree_page_reset(page, 0, 0, &lowest);
}

/* Put the bytes of an item that has room in the gap. */
static void put_item(void *page, unsigned slot, const struct knot_tree_item *item)
{
	struct knot_disk_tree_page *tree = page;
	unsigned prefix_bytes = knot_tree_page_prefix(page);
	unsigned count = knot_tree_page_count(page);
	uint16_t heap_at = (uint16_t)(knot_get16(tree->heap_at) - item_bytes(page, item->payload_bytes));
	uint8_t *at = (uint8_t *)page + heap_at;

	memcpy(at, item->key.bytes + prefix_bytes, KNOT_KEY_BYTES - prefix_bytes);
	at += KNOT_KEY_BYTES - prefix_bytes;
	if (knot_tree_page_level(page) == 0) {
		knot_le16 length = knot_put16((uint16_t)item->payload_bytes);

		memcpy(at, &length, sizeof(length));
		at += LENGTH_BYTES;
	}
	if (item->payload_bytes > 0)
		memcpy(at, item->payload, item->payload_bytes);

	memmove(&tree->slots[slot + 1], &tree->slots[slot], (size_t)(count - slot) * KNOT_TREE_SLOT_BYTES);
	tree->slots[slot] = knot_put16(heap_at);
	tree->heap_at = knot_put16(heap_at);
	tree->count = knot_put16((uint16_t)(count + 1));
}

/* Copy the items together, so that all free bytes are in the gap. */
static void compact(void *page)
{
	uint8_t old[KNOT_PAGE_BYTES];
	struct knot_tree_item item;
	struct knot_key low = { { 0 } };
	unsigned count = knot_tree_page_count(page);

	memcpy(old, page, sizeof(old));
	memcpy(low.bytes, ((struct knot_disk_tree_page *)page)->prefix, knot_tree_page_prefix(page));
	knot_tree_page_reset(page, knot_tree_page_level(old), knot_tree_page_prefix(old), &low);
	for (unsigned i = 0; i < count; i++) {
		knot_tree_page_item(old, i, &item);
		put_item(page, i, &item);
	}
}

void knot_tree_page_insert(void *page, unsigned slot, const struct knot_tree_item *item)
{
	assert(slot <= knot_tree_page_count(page) && knot_tree_page_fits(page, item->payload_bytes));
	if (gap_bytes(page) < item_bytes(page, item->payload_bytes) + KNOT_TREE_SLOT_BYTES)
		compact(page);
	put_item(page, slot, item);
}

void knot_tree_page_remove(void *page, unsigned slot)
{
	struct knot_disk_tree_page *tree = page;
	unsigned count = knot_tree_page_count(page);
	struct knot_tree_item item;
	size_t bytes;

	assert(slot < count);
	knot_tree_page_item(page, slot, &item);
	bytes = item_bytes(page, item.payload_bytes);
	if (item_at(page, slot) == knot_get16(tree->heap_at))
		tree->heap_at = knot_put16((uint16_t)(knot_get16(tree->heap_at) + bytes));
	else
		tree->garbage_bytes = knot_put16((uint16_t)(knot_get16(tree->garbage_bytes) + bytes));

	memmove(&tree->slots[slot], &tree->slots[slot + 1], (size_t)(count - slot - 1) * KNOT_TREE_SLOT_BYTES);
	tree->slots[count - 1] = knot_put16(0);
	tree->count = knot_put16((uint16_t)(count - 1));
	if (count == 1) {
		tree->heap_at = knot_put16((uint16_t)KNOT_PAGE_BYTES);
		tree->garbage_bytes = knot_put16(0);
	}
}

bool knot_tree_page_shorten(void *page, unsigned slot, const void *value, size_t len_bytes)
{
	struct knot_disk_tree_page *tree = page;
	uint8_t *at = (uint8_t *)page + item_at(page, slot) + KNOT_KEY_BYTES - knot_tree_page_prefix(page);
	knot_le16 length;
	size_t old_bytes;

	memcpy(&length, at, sizeof(length));
	old_bytes = knot_get16(length);
	if (len_bytes > old_bytes)
		return false;
	length = knot_put16((uint16_t)len_bytes);
	memcpy(at, &length, sizeof(length));
	if (len_bytes > 0)
		memcpy(at + LENGTH_BYTES, value, len_bytes);
	tree->garbage_bytes = knot_put16((uint16_t)(knot_get16(tree->garbage_bytes) + old_bytes - len_bytes));
	return true;
}

void knot_tree_page_set_child(void *page, unsigned slot, uint64_t page_no, uint64_t generation)
{
	struct knot_disk_child child = { .page_no = knot_put64(page_no), .generation = knot_put64(generation) };

	assert(knot_tree_page_level(page) > 0);
	memcpy((uint8_t *)page + item_at(page, slot) + KNOT_KEY_BYTES - knot_tree_page_prefix(page), &child,
	       sizeof(child));
}

void knot_tree_page_set_key(void *page, unsigned slot, const struct knot_key *key)
{
	unsigned prefix_bytes = knot_tree_page_prefix(page);

	memcpy((uint8_t *)page + item_at(page, slot), key->bytes + prefix_bytes, KNOT_KEY_BYTES - prefix_bytes);
}
