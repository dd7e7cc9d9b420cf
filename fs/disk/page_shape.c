/* SPDX-License-Identifier: MIT */
/*
 * The shape rules of each page type: what may be relied upon by code that reads a verified page.
 *
 * Invariant: these functions read only the page's 4096 bytes, whatever those hold, and end after a number of steps
 * that 4096 bounds.
 */
#include "fs/disk/page_int.h"
#include "fs/util/endian.h"

#include <string.h>

/*
 * Bits of a group's first pages that are never free: the header, and as many check pages as the smallest entries
 * need.
 */
#define GROUP_FIXED_LAST (KNOT_GROUP_CHECKS_AT + KNOT_GROUP_CHECK_PAGES(KNOT_CHECK_BYTES_CRC32C) - 1u)

static bool bit_is_set(const uint8_t *bits, uint32_t bit)
{
	return bits[bit / 8] >> (bit % 8) & 1;
}

static bool super_is_well_formed(const struct knot_disk_superblock *disk)
{
	if (memcmp(disk->magic, KNOT_MAGIC, sizeof(disk->magic)) != 0)
		return false;
	return knot_super_is_foreign(disk) || !knot_super_problem(disk);
}

static bool state_is_well_formed(const struct knot_disk_state *state)
{
	uint64_t groups = knot_get64(state->groups_initialised);

	return knot_get64(state->next_inode) >= KNOT_OBJECT_FIRST_FREE && knot_get64(state->inodes) >= 1 &&
	       groups >= 1 && groups <= (KNOT_PAGE_NO_MASK + 1) / KNOT_GROUP_PAGES &&
	       knot_get64(state->root_generation) != 0;
}

static uint32_t count_set_bits(const uint8_t *bits, size_t len_bytes)
{
	uint32_t count = 0;

	for (size_t at = 0; at < len_bytes; at += sizeof(uint64_t)) {
		uint64_t word;

		memcpy(&word, bits + at, sizeof(word));
		count += (uint32_t)__builtin_popcountll(word);
	}
	return count;
}

static bool group_is_well_formed(const struct knot_disk_group *group)
{
	uint64_t page_no = knot_get64(group->header.page_no);
	uint32_t pages = knot_get32(group->pages);

	if (page_no % KNOT_GROUP_PAGES != KNOT_GROUP_HEADER_AT ||
	    knot_get64(group->group_no) != page_no / KNOT_GROUP_PAGES)
		return false;
	if (pages < KNOT_GROUP_PAGES_MIN || pages > KNOT_GROUP_PAGES)
		return false;

	for (uint32_t bit = KNOT_GROUP_HEADER_AT; bit <= GROUP_FIXED_LAST; bit++) {
		if (!bit_is_set(group->bitmap, bit))
			return false;
	}
	for (uint32_t bit = pages; bit < KNOT_GROUP_PAGES; bit++) {
		if (!bit_is_set(group->bitmap, bit))
			return false;
	}
	for (uint32_t cluster = 0; cluster < KNOT_GROUP_CLUSTERS; cluster++) {
		if (bit_is_set(group->tree_clusters, cluster) && cluster * KNOT_CLUSTER_PAGES >= pages)
			return false;
	}
	return knot_get32(group->free_pages) == KNOT_GROUP_PAGES - count_set_bits(group->bitmap, sizeof(group->bitmap));
}

static bool group_table_is_well_formed(const struct knot_disk_group_table *table)
{
	for (uint32_t i = 0; i < KNOT_GROUPS_PER_TABLE_PAGE; i++) {
		uint32_t free_pages = knot_get16(table->entries[i].free_pages);
		uint32_t free_clusters = knot_get16(table->entries[i].free_clusters);

		if (free_pages > KNOT_GROUP_PAGES || free_clusters * KNOT_CLUSTER_PAGES > free_pages)
			return false;
	}
	return true;
}

static bool checks_are_well_formed(const struct knot_disk_checks *checks)
{
	uint64_t at = knot_get64(checks->header.page_no) % KNOT_GROUP_PAGES;

	return at >= KNOT_GROUP_CHECKS_AT && at < KNOT_GROUP_CHECKS_AT + KNOT_GROUP_CHECK_PAGES(KNOT_CHECK_BYTES_AEAD);
}

/* Which bytes of a tree page belong to an item, to find two that overlap. */
struct tree_use {
	uint64_t words[KNOT_PAGE_BYTES / 64];
};

/* Mark [from, to) as used. False when a byte was already. */
static bool take_bytes(struct tree_use *use, uint32_t from, uint32_t to)
{
	while (from < to) {
		uint32_t bit = from % 64;
		uint32_t count = to - from < 64 - bit ? to - from : 64 - bit;
		uint64_t mask = (~0ULL >> (64 - count)) << bit;

		if (use->words[from / 64] & mask)
			return false;
		use->words[from / 64] |= mask;
		from += count;
	}
	return true;
}

/*
 * The size of the item at `at`, whose key suffix has `key_bytes`; 0 when it is malformed or does not end inside the
 * page.
 */
static uint32_t item_bytes(const uint8_t *bytes, uint32_t at, uint32_t key_bytes, bool is_leaf)
{
	uint32_t room = KNOT_PAGE_BYTES - at;
	uint32_t size;

	if (is_leaf) {
		knot_le16 value_bytes;

		size = key_bytes + (uint32_t)sizeof(value_bytes);
		if (size > room)
			return 0;
		memcpy(&value_bytes, bytes + at + key_bytes, sizeof(value_bytes));
		if (knot_get16(value_bytes) > KNOT_VALUE_BYTES_MAX)
			return 0;
		size += knot_get16(value_bytes);
	} else {
		struct knot_disk_child child;

		size = key_bytes + (uint32_t)sizeof(child);
		if (size > room)
			return 0;
		memcpy(&child, bytes + at + key_bytes, sizeof(child));
		if (knot_get64(child.page_no) == 0 || knot_get64(child.page_no) > KNOT_PAGE_NO_MASK)
			return 0;
	}
	return size <= room ? size : 0;
}

static bool tree_is_well_formed(const struct knot_disk_tree_page *tree)
{
	const uint8_t *bytes = (const uint8_t *)tree;
	uint32_t level = knot_get16(tree->level), count = knot_get16(tree->count);
	uint32_t prefix_bytes = knot_get16(tree->prefix_bytes), heap_at = knot_get16(tree->heap_at);
	uint32_t used_bytes = knot_get16(tree->garbage_bytes), key_bytes = KNOT_KEY_BYTES - prefix_bytes;
	const uint8_t *last_key = NULL;
	struct tree_use use = { { 0 } };

	if (level >= KNOT_TREE_LEVELS_MAX || (level > 0 && count == 0) || prefix_bytes >= KNOT_KEY_BYTES)
		return false;
	if (heap_at > KNOT_PAGE_BYTES || KNOT_TREE_SLOTS_AT + count * sizeof(tree->slots[0]) > heap_at)
		return false;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t at = knot_get16(tree->slots[i]);

		if (at < heap_at || at >= KNOT_PAGE_BYTES)
			return false;
		uint32_t size = item_bytes(bytes, at, key_bytes, level == 0);
		if (size == 0 || !take_bytes(&use, at, at + size))
			return false;
		if (last_key && memcmp(last_key, bytes + at, key_bytes) >= 0)
			return false;
		last_key = bytes + at;
		used_bytes += size;
	}
	return used_bytes == KNOT_PAGE_BYTES - heap_at;
}

enum knot_page_fault knot_page_verify_shape(const void *page, enum knot_page_type type)
{
	bool good = false;

	switch (type) {
	case KNOT_PAGE_SUPER:
		good = super_is_well_formed(page);
		break;
	case KNOT_PAGE_GROUP:
		good = group_is_well_formed(page);
		break;
	case KNOT_PAGE_GROUP_TABLE:
		good = group_table_is_well_formed(page);
		break;
	case KNOT_PAGE_CHECKS:
		good = checks_are_well_formed(page);
		break;
	case KNOT_PAGE_STATE:
		good = state_is_well_formed(page);
		break;
	case KNOT_PAGE_TREE:
		good = tree_is_well_formed(page);
		break;
	}
	return good ? KNOT_PAGE_OK : KNOT_PAGE_BAD_SHAPE;
}
