/* SPDX-License-Identifier: MIT */
/* One page of the tree, without cache or log. */
#include "fs/disk/page.h"
#include "fs/tree/tree_page_int.h"
#include "fs/util/endian.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PAGE_NO 4711u

static struct knot_key key_of(uint64_t object, uint64_t offset)
{
	struct knot_key key;

	knot_key_make(&key, object, KNOT_KIND_ENTRY, 0, offset);
	return key;
}

static struct knot_tree_item item_of(uint64_t object, uint64_t offset, const void *payload, size_t payload_bytes)
{
	return (struct knot_tree_item){ key_of(object, offset), payload, payload_bytes };
}

static void assert_shape(const void *page)
{
	assert_int_equal(knot_page_verify_shape(page, KNOT_PAGE_TREE), KNOT_PAGE_OK);
}

static void assert_item(const void *page, unsigned slot, const struct knot_tree_item *expected)
{
	struct knot_tree_item item;

	knot_tree_page_item(page, slot, &item);
	assert_memory_equal(&item.key, &expected->key, sizeof(item.key));
	assert_int_equal(item.payload_bytes, expected->payload_bytes);
	if (item.payload_bytes > 0)
		assert_memory_equal(item.payload, expected->payload, item.payload_bytes);
}

static void keys_order_by_object_kind_offset(void **state)
{
	struct knot_key a, b;

	(void)state;
	knot_key_make(&a, 0x0102030405060708ULL, 9, 0x1112131415161718ULL, 0x2122232425262728ULL);
	assert_int_equal(knot_key_object(&a), 0x0102030405060708ULL);
	assert_int_equal(knot_key_kind(&a), 9);
	assert_int_equal(knot_key_offset_high(&a), 0x1112131415161718ULL);
	assert_int_equal(knot_key_offset_low(&a), 0x2122232425262728ULL);

	knot_key_make(&b, 0x0102030405060709ULL, 1, 0, 0);
	assert_true(memcmp(&a, &b, sizeof(a)) < 0);
	knot_key_make(&b, 0x0102030405060708ULL, 9, 0x1112131415161719ULL, 0);
	assert_true(memcmp(&a, &b, sizeof(a)) < 0);
	knot_key_make(&b, 0x0102030405060708ULL, 8, UINT64_MAX, UINT64_MAX);
	assert_true(memcmp(&a, &b, sizeof(a)) > 0);
}

static void a_separator_is_above_the_left_key_and_not_above_the_right(void **state)
{
	struct knot_key left = key_of(100, 5);
	struct knot_key right = key_of(200, 3);
	struct knot_key separator;
	struct knot_key expected = { { 0 } };

	(void)state;
	knot_tree_separator(&left, &right, false, &separator);
	expected.bytes[7] = 101;
	assert_memory_equal(&separator, &expected, sizeof(expected));
	knot_tree_separator(&left, &right, true, &separator);
	expected.bytes[7] = 200;
	assert_memory_equal(&separator, &expected, sizeof(expected));

	left = key_of(7, UINT64_MAX);
	right = key_of(8, 0);
	knot_tree_separator(&left, &right, false, &separator);
	assert_true(memcmp(&left, &separator, sizeof(left)) < 0);
	assert_true(memcmp(&separator, &right, sizeof(left)) <= 0);

	right = left;
	right.bytes[KNOT_KEY_BYTES - 1]++;
	knot_tree_separator(&left, &right, false, &separator);
	assert_memory_equal(&separator, &right, sizeof(right));
}

static void a_root_as_formatted_has_a_good_shape(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	bool found;
	struct knot_key key = key_of(1, 1);

	(void)state;
	memset(page, 0xaa, sizeof(page));
	knot_tree_format_root(page, PAGE_NO, 99);
	assert_shape(page);
	assert_int_equal(knot_tree_page_count(page), 0);
	assert_int_equal(knot_tree_page_level(page), 0);
	assert_int_equal(knot_tree_page_find(page, &key, &found), 0);
	assert_false(found);
}

static void items_are_found_where_they_were_put(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	char value[20];
	bool found;

	(void)state;
	knot_tree_format_root(page, PAGE_NO, 99);
	for (unsigned i = 0; i < 50; i++) {
		unsigned number = (i * 37 % 50) * 2 + 2;
		struct knot_tree_item item =
			item_of(5, number, value, (size_t)snprintf(value, sizeof(value), "value %u", number));

		knot_tree_page_insert(page, knot_tree_page_find(page, &item.key, &found), &item);
		assert_false(found);
		assert_shape(page);
	}
	for (unsigned number = 2; number <= 100; number += 2) {
		struct knot_tree_item item =
			item_of(5, number, value, (size_t)snprintf(value, sizeof(value), "value %u", number));
		struct knot_key between = key_of(5, number - 1);
		unsigned slot = knot_tree_page_find(page, &item.key, &found);

		assert_true(found);
		assert_int_equal(slot, number / 2 - 1);
		assert_item(page, slot, &item);
		assert_int_equal(knot_tree_page_find(page, &between, &found), slot);
		assert_false(found);
	}
}

static void a_prefix_saves_its_bytes_in_every_item(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	struct knot_tree_range range = { .low = key_of(5, 0), .high = key_of(5, 1u << 16), .bounded = true };
	unsigned prefix_bytes = knot_tree_range_prefix(&range);
	struct knot_key other = key_of(6, 0);
	unsigned count = 0;

	(void)state;
	assert_int_equal(prefix_bytes, 22);
	knot_tree_format_root(page, PAGE_NO, 99);
	knot_tree_page_reset(page, 0, prefix_bytes, &range.low);
	assert_true(knot_tree_page_covers(page, &range.low));
	assert_false(knot_tree_page_covers(page, &other));
	while (knot_tree_page_fits(page, 4)) {
		struct knot_tree_item item = item_of(5, count * 3, &count, 4);

		knot_tree_page_insert(page, count, &item);
		count++;
	}
	assert_shape(page);
	assert_int_equal(count, KNOT_TREE_AREA_BYTES / (29 - 22 + 2 + 4 + 2));
	for (unsigned i = 0; i < count; i++) {
		struct knot_tree_item item = item_of(5, i * 3, &i, 4);

		assert_item(page, i, &item);
	}
	assert_int_equal(knot_tree_page_used(page, prefix_bytes) + 10 * count,
			 knot_tree_page_used(page, prefix_bytes - 10));
}

static void holes_are_used_again_after_compaction(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	struct knot_tree_item item;

	(void)state;
	memset(value, 7, sizeof(value));
	knot_tree_format_root(page, PAGE_NO, 99);
	for (unsigned i = 0; i < 8; i++) {
		item = item_of(5, i, value, 460);
		assert_true(knot_tree_page_fits(page, item.payload_bytes));
		knot_tree_page_insert(page, i, &item);
	}
	knot_tree_page_remove(page, 1);
	assert_false(knot_tree_page_fits(page, KNOT_VALUE_BYTES_MAX));
	knot_tree_page_remove(page, 3);
	assert_shape(page);
	assert_true(knot_tree_page_fits(page, KNOT_VALUE_BYTES_MAX));
	item = item_of(6, 0, value, KNOT_VALUE_BYTES_MAX);
	knot_tree_page_insert(page, 6, &item);
	assert_shape(page);
	assert_item(page, 6, &item);
	item = item_of(5, 2, value, 460);
	assert_item(page, 1, &item);
	item = item_of(5, 7, value, 460);
	assert_item(page, 5, &item);
}

static void a_value_may_get_shorter_in_place_but_not_longer(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	struct knot_tree_item item = item_of(5, 0, "0123456789", 10);

	(void)state;
	knot_tree_format_root(page, PAGE_NO, 99);
	knot_tree_page_insert(page, 0, &item);
	assert_false(knot_tree_page_shorten(page, 0, "0123456789a", 11));
	assert_item(page, 0, &item);
	assert_true(knot_tree_page_shorten(page, 0, "abc", 3));
	assert_shape(page);
	item = item_of(5, 0, "abc", 3);
	assert_item(page, 0, &item);
	assert_true(knot_tree_page_shorten(page, 0, NULL, 0));
	assert_shape(page);
	knot_tree_page_remove(page, 0);
	assert_shape(page);
	assert_int_equal(knot_tree_page_used(page, 0), 0);
}

static void the_shape_holds_through_random_changes_of_one_page(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	uint8_t value[KNOT_VALUE_BYTES_MAX] = { 0 };
	const char *given = getenv("KNOT_SEED");
	unsigned seed = given ? (unsigned)strtoul(given, NULL, 0) : 20260;
	bool found;

	(void)state;
	print_message("KNOT_SEED=%u\n", seed);
	knot_tree_format_root(page, PAGE_NO, 99);
	for (unsigned round = 0; round < 20000; round++) {
		struct knot_tree_item item = item_of(5, (unsigned)rand_r(&seed) % 100, value, 0);
		unsigned slot = knot_tree_page_find(page, &item.key, &found);

		item.payload_bytes = rand_r(&seed) % 8 ? (unsigned)rand_r(&seed) % 60 : (unsigned)rand_r(&seed) % 961;
		if (found && rand_r(&seed) % 3 == 0)
			knot_tree_page_shorten(page, slot, value, item.payload_bytes);
		else if (found)
			knot_tree_page_remove(page, slot);
		else if (knot_tree_page_fits(page, item.payload_bytes))
			knot_tree_page_insert(page, slot, &item);
		assert_shape(page);
	}
}

static void fill_page(uint8_t *page, uint64_t object, unsigned count, size_t payload_bytes)
{
	static const uint8_t value[KNOT_VALUE_BYTES_MAX];

	knot_tree_format_root(page, PAGE_NO, 99);
	for (unsigned i = 0; i < count; i++) {
		struct knot_tree_item item = item_of(object, i, value, payload_bytes);

		knot_tree_page_insert(page, i, &item);
	}
}

static void a_cut_makes_halves_or_nearly_leaves_all_on_the_left(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	const uint8_t value[70] = { 0 };
	struct knot_tree_item last = item_of(5, 40, value, sizeof(value));
	struct knot_tree_items items = { .first = page, .extra = &last, .extra_at = 38 };
	struct knot_tree_range range = { .low = { { 0 } } };
	struct knot_key separator, least = key_of(5, 37);
	unsigned at;

	(void)state;
	fill_page(page, 5, 38, 70);
	assert_false(knot_tree_page_fits(page, 70));
	assert_int_equal(knot_tree_items_cut(&items, &range, KNOT_SERIES_UP, &at, &separator), 0);
	assert_int_equal(at, 38);
	assert_true(memcmp(&separator, &least, sizeof(least)) > 0);
	assert_int_equal(knot_tree_items_cut(&items, &range, KNOT_SERIES_NONE, &at, &separator), 0);
	assert_in_range(at, 16, 23);
}

static void a_series_is_told_from_the_order_of_the_last_inserts(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	struct knot_tree_item item = item_of(9, 0, NULL, 0);

	(void)state;
	fill_page(page, 5, 10, 70);
	knot_tree_page_insert(page, 10, &item);
	assert_int_equal(knot_tree_page_series(page, 11), KNOT_SERIES_UP);
	assert_int_equal(knot_tree_page_series(page, 10), KNOT_SERIES_NONE);
	for (unsigned offset = 10; offset < 12; offset++) {
		item = item_of(5, offset, NULL, 0);
		knot_tree_page_insert(page, offset, &item);
	}
	assert_int_equal(knot_tree_page_series(page, 12), KNOT_SERIES_UP);
	assert_int_equal(knot_tree_page_series(page, 5), KNOT_SERIES_NONE);
	for (unsigned object = 4; object >= 3; object--) {
		item = item_of(object, 0, NULL, 0);
		knot_tree_page_insert(page, 0, &item);
	}
	assert_int_equal(knot_tree_page_series(page, 0), KNOT_SERIES_DOWN);
}

static void in_a_series_the_full_side_is_left_full(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	const uint8_t value[70] = { 0 };
	struct knot_tree_item item = { key_of(5, 20), value, sizeof(value) };
	struct knot_tree_items items = { .first = page, .extra = &item, .extra_at = 20 };
	struct knot_tree_range range = { .low = { { 0 } } };
	struct knot_key separator, expected = key_of(5, 21);
	unsigned at;

	(void)state;
	fill_page(page, 5, 20, 70);
	for (unsigned i = 20; i < 38; i++) {
		struct knot_tree_item next = item_of(5, i + 1, value, sizeof(value));

		knot_tree_page_insert(page, i, &next);
	}
	/* up: room for the next ones is in front of number 21; down: behind number 19 */
	assert_int_equal(knot_tree_items_cut(&items, &range, KNOT_SERIES_UP, &at, &separator), 0);
	assert_int_equal(at, 21);
	assert_memory_equal(&separator, &expected, sizeof(separator));
	assert_int_equal(knot_tree_items_cut(&items, &range, KNOT_SERIES_DOWN, &at, &separator), 0);
	assert_int_equal(at, 20);
}

static void a_cut_is_rather_made_between_objects(void **state)
{
	uint8_t first[KNOT_PAGE_BYTES], second[KNOT_PAGE_BYTES];
	struct knot_tree_items items = { .first = first, .second = second };
	struct knot_tree_range range = { .low = { { 0 } } };
	struct knot_key separator, expected = { { 0 } };
	unsigned at;

	(void)state;
	fill_page(first, 0x500, 17, 70);
	fill_page(second, 0x90000, 21, 70);
	assert_int_equal(knot_tree_items_cut(&items, &range, KNOT_SERIES_NONE, &at, &separator), 0);
	assert_int_equal(at, 17);
	expected.bytes[5] = 1;
	assert_memory_equal(&separator, &expected, sizeof(expected));
}

static void items_outside_the_range_are_refused(void **state)
{
	uint8_t from[KNOT_PAGE_BYTES], to[KNOT_PAGE_BYTES];
	struct knot_tree_items items = { .first = from };
	struct knot_tree_range range = { .low = key_of(6, 0), .high = key_of(6, 1000), .bounded = true };

	(void)state;
	fill_page(from, 5, 10, 10);
	knot_tree_format_root(to, PAGE_NO, 99);
	assert_int_equal(knot_tree_items_fill(&items, 0, 10, &range, to), -EUCLEAN);
	range.low = key_of(5, 0);
	range.high = key_of(5, 1000);
	assert_int_equal(knot_tree_items_fill(&items, 0, 10, &range, to), 0);
	assert_shape(to);
	assert_int_equal(knot_tree_page_count(to), 10);
	assert_int_equal(knot_tree_page_prefix(to), 23);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(keys_order_by_object_kind_offset),
		cmocka_unit_test(a_separator_is_above_the_left_key_and_not_above_the_right),
		cmocka_unit_test(a_root_as_formatted_has_a_good_shape),
		cmocka_unit_test(items_are_found_where_they_were_put),
		cmocka_unit_test(a_prefix_saves_its_bytes_in_every_item),
		cmocka_unit_test(holes_are_used_again_after_compaction),
		cmocka_unit_test(a_value_may_get_shorter_in_place_but_not_longer),
		cmocka_unit_test(the_shape_holds_through_random_changes_of_one_page),
		cmocka_unit_test(a_cut_makes_halves_or_nearly_leaves_all_on_the_left),
		cmocka_unit_test(a_series_is_told_from_the_order_of_the_last_inserts),
		cmocka_unit_test(in_a_series_the_full_side_is_left_full),
		cmocka_unit_test(a_cut_is_rather_made_between_objects),
		cmocka_unit_test(items_outside_the_range_are_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
