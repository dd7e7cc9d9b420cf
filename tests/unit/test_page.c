/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "fs/disk/page.h"
#include "fs/util/endian.h"

#define PAGE_NO                      4711u
#define LEAF_ITEM_BYTES(value_bytes) (KNOT_KEY_BYTES + 2u + (value_bytes))

static const uint8_t salt[16] = "0123456789abcde";

static struct knot_seal make_seal(void)
{
	struct knot_seal seal;

	knot_seal_init(&seal, salt);
	return seal;
}

static uint64_t seed_of_run(void)
{
	const char *given = getenv("KNOT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 20240607;

	printf("KNOT_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

static uint64_t next_random(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ULL + 1442695040888963407ULL;
	return *seed >> 24;
}

/* ---- checks ---- */

static void crc_is_castagnoli(void **state)
{
	(void)state;
	assert_int_equal(~knot_crc32c(~0u, "123456789", 9), 0xe3069283u);
	assert_int_equal(~knot_crc32c(knot_crc32c(~0u, "1234", 4), "56789", 5), 0xe3069283u);
	assert_int_equal(knot_crc32c(77, "", 0), 77);
}

static void sealed_page_verifies_until_any_byte_changes(void **state)
{
	struct knot_seal seal = make_seal();
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };

	(void)state;
	knot_page_format(page, KNOT_PAGE_CHECKS, KNOT_GROUP_CHECKS_AT, KNOT_LSN_FIRST);
	memset(page + 64, 0x5a, 1000);
	knot_page_seal(&seal, page);
	assert_int_equal(knot_page_verify(&seal, page, KNOT_GROUP_CHECKS_AT, KNOT_PAGE_CHECKS), KNOT_PAGE_OK);

	for (unsigned at = 0; at < sizeof(page); at += at < 64 ? 1 : 61) {
		page[at] ^= 0x10;
		assert_int_equal(knot_page_verify(&seal, page, KNOT_GROUP_CHECKS_AT, KNOT_PAGE_CHECKS),
				 KNOT_PAGE_BAD_CHECK);
		page[at] ^= 0x10;
	}
}

static void page_of_another_volume_or_place_or_type_is_refused(void **state)
{
	struct knot_seal seal = make_seal(), other;
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };

	(void)state;
	knot_seal_init(&other, (const uint8_t *)"another salt....");
	assert_int_equal(knot_page_verify(&seal, page, 2, KNOT_PAGE_CHECKS), KNOT_PAGE_ALL_ZERO);
	knot_page_format(page, KNOT_PAGE_CHECKS, 2, KNOT_LSN_FIRST);
	knot_page_seal(&seal, page);
	assert_int_equal(knot_page_verify(&other, page, 2, KNOT_PAGE_CHECKS), KNOT_PAGE_BAD_CHECK);
	assert_int_equal(knot_page_verify(&seal, page, 3, KNOT_PAGE_CHECKS), KNOT_PAGE_BAD_NUMBER);
	assert_int_equal(knot_page_verify(&seal, page, 2, KNOT_PAGE_GROUP), KNOT_PAGE_BAD_TYPE);
}

static void data_check_depends_on_place_and_bytes(void **state)
{
	struct knot_seal seal = make_seal();
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };
	uint32_t check = knot_data_check(&seal, page, 9);

	(void)state;
	assert_int_not_equal(check, knot_data_check(&seal, page, 10));
	page[4095] = 1;
	assert_int_not_equal(check, knot_data_check(&seal, page, 9));
}

/* ---- tree pages ---- */

static struct knot_disk_tree_page *tree_of(uint8_t *page)
{
	return (struct knot_disk_tree_page *)page;
}

static uint16_t slot_of(const uint8_t *page, unsigned i)
{
	knot_le16 slot;

	memcpy(&slot, page + KNOT_TREE_SLOTS_AT + i * sizeof(slot), sizeof(slot));
	return knot_get16(slot);
}

static void set_slot(uint8_t *page, unsigned i, unsigned at)
{
	knot_le16 slot = knot_put16((uint16_t)at);

	memcpy(page + KNOT_TREE_SLOTS_AT + i * sizeof(slot), &slot, sizeof(slot));
}

/* A leaf with `count` items of `value_bytes` each, and keys without a common prefix. */
static void make_leaf(uint8_t *page, unsigned count, unsigned value_bytes)
{
	unsigned at = KNOT_PAGE_BYTES;

	memset(page, 0, KNOT_PAGE_BYTES);
	knot_page_format(page, KNOT_PAGE_TREE, PAGE_NO, KNOT_LSN_FIRST);
	for (unsigned i = 0; i < count; i++) {
		knot_le16 length = knot_put16((uint16_t)value_bytes);

		at -= LEAF_ITEM_BYTES(value_bytes);
		knot_put_be64(page + at, i + 1);
		memcpy(page + at + KNOT_KEY_BYTES, &length, sizeof(length));
		set_slot(page, i, at);
	}
	tree_of(page)->count = knot_put16((uint16_t)count);
	tree_of(page)->heap_at = knot_put16((uint16_t)at);
}

static void make_inner(uint8_t *page, unsigned count)
{
	unsigned at = KNOT_PAGE_BYTES;

	memset(page, 0, KNOT_PAGE_BYTES);
	knot_page_format(page, KNOT_PAGE_TREE, PAGE_NO, KNOT_LSN_FIRST);
	for (unsigned i = 0; i < count; i++) {
		struct knot_disk_child child = { knot_put64(100 + i), knot_put64(KNOT_LSN_FIRST) };

		at -= KNOT_KEY_BYTES + (unsigned)sizeof(child);
		knot_put_be64(page + at, i);
		memcpy(page + at + KNOT_KEY_BYTES, &child, sizeof(child));
		set_slot(page, i, at);
	}
	tree_of(page)->level = knot_put16(1);
	tree_of(page)->count = knot_put16((uint16_t)count);
	tree_of(page)->heap_at = knot_put16((uint16_t)at);
}

static bool tree_is_good(const uint8_t *page)
{
	return knot_page_verify_shape(page, KNOT_PAGE_TREE) == KNOT_PAGE_OK;
}

static void full_and_empty_tree_pages_are_good(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_leaf(page, 0, 0);
	assert_true(tree_is_good(page));
	make_leaf(page, 4, KNOT_VALUE_BYTES_MAX);
	assert_true(tree_is_good(page));
	make_leaf(page, (KNOT_PAGE_BYTES - KNOT_TREE_SLOTS_AT) / (LEAF_ITEM_BYTES(0) + 2), 0);
	assert_true(tree_is_good(page));
	make_inner(page, 80);
	assert_true(tree_is_good(page));
}

static void prefix_shortens_items(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_leaf(page, 2, 0);
	tree_of(page)->prefix_bytes = knot_put16(28);
	memset(page + 4096 - 6, 0, 6);
	page[4096 - 3] = 1;
	page[4096 - 6] = 2;
	set_slot(page, 0, 4096 - 3);
	set_slot(page, 1, 4096 - 6);
	tree_of(page)->heap_at = knot_put16(4096 - 6);
	assert_true(tree_is_good(page));
	tree_of(page)->prefix_bytes = knot_put16(29);
	assert_false(tree_is_good(page));
}

static void tree_head_out_of_range_is_refused(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_leaf(page, 3, 8);
	tree_of(page)->level = knot_put16(KNOT_TREE_LEVELS_MAX);
	assert_false(tree_is_good(page));
	make_leaf(page, 3, 8);
	tree_of(page)->count = knot_put16(0xffff);
	assert_false(tree_is_good(page));
	make_leaf(page, 3, 8);
	tree_of(page)->heap_at = knot_put16(4097);
	assert_false(tree_is_good(page));
	make_leaf(page, 3, 8);
	tree_of(page)->heap_at = knot_put16(KNOT_TREE_SLOTS_AT + 5);
	assert_false(tree_is_good(page));
	make_leaf(page, 3, 8);
	tree_of(page)->garbage_bytes = knot_put16(1);
	assert_false(tree_is_good(page));
	make_inner(page, 0);
	assert_false(tree_is_good(page));
}

static void garbage_makes_up_the_rest_of_the_heap(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	unsigned heap_at;

	(void)state;
	make_leaf(page, 3, 8);
	heap_at = knot_get16(tree_of(page)->heap_at) - 10u;
	tree_of(page)->heap_at = knot_put16((uint16_t)heap_at);
	assert_false(tree_is_good(page));
	tree_of(page)->garbage_bytes = knot_put16(10);
	assert_true(tree_is_good(page));
}

static void item_outside_the_heap_is_refused(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	knot_le16 long_value = knot_put16(9);

	(void)state;
	make_leaf(page, 3, 8);
	set_slot(page, 2, KNOT_TREE_SLOTS_AT);
	assert_false(tree_is_good(page));
	set_slot(page, 2, 0xffff);
	assert_false(tree_is_good(page));
	set_slot(page, 2, 4096 - 30);
	assert_false(tree_is_good(page));

	make_leaf(page, 3, 8);
	memcpy(page + slot_of(page, 0) + KNOT_KEY_BYTES, &long_value, sizeof(long_value));
	assert_false(tree_is_good(page));
}

static void value_longer_than_the_limit_is_refused(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_leaf(page, 1, KNOT_VALUE_BYTES_MAX + 1);
	assert_false(tree_is_good(page));
}

static void overlapping_items_are_refused(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_leaf(page, 2, 100);
	memset(page + slot_of(page, 1), 0, 2u * LEAF_ITEM_BYTES(100));
	set_slot(page, 0, slot_of(page, 1) + LEAF_ITEM_BYTES(0));
	page[slot_of(page, 0)] = 0;
	page[slot_of(page, 1)] = 1;
	tree_of(page)->garbage_bytes =
		knot_put16((uint16_t)(KNOT_PAGE_BYTES - knot_get16(tree_of(page)->heap_at) - 2 * LEAF_ITEM_BYTES(0)));
	assert_true(tree_is_good(page));
	set_slot(page, 0, slot_of(page, 1) + 10);
	assert_false(tree_is_good(page));
}

static void keys_must_ascend_strictly(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_leaf(page, 3, 8);
	knot_put_be64(page + slot_of(page, 1), 1);
	assert_false(tree_is_good(page));
	knot_put_be64(page + slot_of(page, 1), 3);
	assert_false(tree_is_good(page));
	knot_put_be64(page + slot_of(page, 1), 2);
	assert_true(tree_is_good(page));
}

static void child_without_a_page_is_refused(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	make_inner(page, 3);
	memset(page + slot_of(page, 1) + KNOT_KEY_BYTES, 0, 8);
	assert_false(tree_is_good(page));
	memset(page + slot_of(page, 1) + KNOT_KEY_BYTES, 0xff, 8);
	assert_false(tree_is_good(page));
}

/* ---- other types ---- */

static void make_group(struct knot_disk_group *group, uint64_t group_no, uint32_t pages)
{
	memset(group, 0, sizeof(*group));
	knot_page_format(group, KNOT_PAGE_GROUP, group_no * KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT, KNOT_LSN_FIRST);
	group->group_no = knot_put64(group_no);
	group->pages = knot_put32(pages);
	group->free_pages = knot_put32(pages - 18);
	for (uint32_t bit = 1; bit <= 18; bit++)
		group->bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
	for (uint32_t bit = pages; bit < KNOT_GROUP_PAGES; bit++)
		group->bitmap[bit / 8] |= (uint8_t)(1u << bit % 8);
}

static bool group_is_good(const struct knot_disk_group *group)
{
	return knot_page_verify_shape(group, KNOT_PAGE_GROUP) == KNOT_PAGE_OK;
}

static void group_counts_match_its_bits(void **state)
{
	struct knot_disk_group group;

	(void)state;
	make_group(&group, 3, KNOT_GROUP_PAGES);
	assert_true(group_is_good(&group));
	make_group(&group, 3, 300);
	assert_true(group_is_good(&group));
	group.bitmap[2047] = 0;
	assert_false(group_is_good(&group));
	make_group(&group, 3, 300);
	group.free_pages = knot_put32(281);
	assert_false(group_is_good(&group));
	make_group(&group, 3, 300);
	group.bitmap[0] = 0;
	group.free_pages = knot_put32(300 - 11);
	assert_false(group_is_good(&group));
	make_group(&group, 3, KNOT_GROUP_PAGES_MIN - 1);
	assert_false(group_is_good(&group));
	make_group(&group, 3, 300);
	group.pages = knot_put32(KNOT_GROUP_PAGES + 1);
	assert_false(group_is_good(&group));
	make_group(&group, 3, 300);
	group.group_no = knot_put64(4);
	assert_false(group_is_good(&group));
	make_group(&group, 3, 320);
	group.tree_clusters[0] = 0x10;
	assert_true(group_is_good(&group));
	group.tree_clusters[0] = 0x20;
	assert_false(group_is_good(&group));
}

static void table_entries_stay_in_range(void **state)
{
	struct knot_disk_group_table table = { 0 };

	(void)state;
	table.entries[1007] = (struct knot_disk_group_entry){ knot_put16(KNOT_GROUP_PAGES), knot_put16(256) };
	assert_int_equal(knot_page_verify_shape(&table, KNOT_PAGE_GROUP_TABLE), KNOT_PAGE_OK);
	table.entries[1007].free_pages = knot_put16(KNOT_GROUP_PAGES + 1);
	assert_int_equal(knot_page_verify_shape(&table, KNOT_PAGE_GROUP_TABLE), KNOT_PAGE_BAD_SHAPE);
	table.entries[1007] = (struct knot_disk_group_entry){ knot_put16(127), knot_put16(2) };
	assert_int_equal(knot_page_verify_shape(&table, KNOT_PAGE_GROUP_TABLE), KNOT_PAGE_BAD_SHAPE);
}

static void state_without_a_tree_or_groups_is_refused(void **state)
{
	struct knot_disk_state disk = { 0 };

	(void)state;
	disk.next_inode = knot_put64(KNOT_OBJECT_FIRST_FREE);
	disk.inodes = knot_put64(1);
	disk.groups_initialised = knot_put64(1);
	disk.root_generation = knot_put64(KNOT_LSN_FIRST);
	assert_int_equal(knot_page_verify_shape(&disk, KNOT_PAGE_STATE), KNOT_PAGE_OK);
	disk.groups_initialised = knot_put64(0);
	assert_int_equal(knot_page_verify_shape(&disk, KNOT_PAGE_STATE), KNOT_PAGE_BAD_SHAPE);
	disk.groups_initialised = knot_put64(1);
	disk.next_inode = knot_put64(KNOT_OBJECT_FIRST_FREE - 1);
	assert_int_equal(knot_page_verify_shape(&disk, KNOT_PAGE_STATE), KNOT_PAGE_BAD_SHAPE);
}

/* The sanitizers watch: whatever the bytes say, nothing outside the page may be read. */
static void hostile_pages_are_survived(void **state)
{
	static const enum knot_page_type types[] = { KNOT_PAGE_SUPER,  KNOT_PAGE_GROUP, KNOT_PAGE_GROUP_TABLE,
						     KNOT_PAGE_CHECKS, KNOT_PAGE_STATE, KNOT_PAGE_TREE };
	uint64_t seed = seed_of_run();
	uint8_t *page = malloc(KNOT_PAGE_BYTES);

	(void)state;
	assert_non_null(page);
	for (unsigned round = 0; round < 20000; round++) {
		if (next_random(&seed) % 2)
			make_leaf(page, (unsigned)(next_random(&seed) % 20), (unsigned)(next_random(&seed) % 100));
		else
			make_inner(page, (unsigned)(next_random(&seed) % 60));
		for (unsigned i = 0; i < 4; i++)
			page[64 + next_random(&seed) % (i < 2 ? 64 : 4032)] = (uint8_t)next_random(&seed);
		for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			knot_page_verify_shape(page, types[i]);
	}
	for (unsigned round = 0; round < 2000; round++) {
		for (unsigned i = 0; i < KNOT_PAGE_BYTES; i++)
			page[i] = (uint8_t)next_random(&seed);
		for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++)
			knot_page_verify_shape(page, types[i]);
	}
	free(page);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(crc_is_castagnoli),
		cmocka_unit_test(sealed_page_verifies_until_any_byte_changes),
		cmocka_unit_test(page_of_another_volume_or_place_or_type_is_refused),
		cmocka_unit_test(data_check_depends_on_place_and_bytes),
		cmocka_unit_test(full_and_empty_tree_pages_are_good),
		cmocka_unit_test(prefix_shortens_items),
		cmocka_unit_test(tree_head_out_of_range_is_refused),
		cmocka_unit_test(garbage_makes_up_the_rest_of_the_heap),
		cmocka_unit_test(item_outside_the_heap_is_refused),
		cmocka_unit_test(value_longer_than_the_limit_is_refused),
		cmocka_unit_test(overlapping_items_are_refused),
		cmocka_unit_test(keys_must_ascend_strictly),
		cmocka_unit_test(child_without_a_page_is_refused),
		cmocka_unit_test(group_counts_match_its_bits),
		cmocka_unit_test(table_entries_stay_in_range),
		cmocka_unit_test(state_without_a_tree_or_groups_is_refused),
		cmocka_unit_test(hostile_pages_are_survived),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
