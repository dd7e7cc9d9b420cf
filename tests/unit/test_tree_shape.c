/* SPDX-License-Identifier: MIT */
/* What becomes of the tree's pages: how full, how many, freed; and pages that do not belong where they are. */
#include "fs/tree/tree.h"
#include "fs/util/endian.h"
#include "tests/lib/tree_volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define AREA_BYTES (KNOT_PAGE_BYTES - KNOT_TREE_SLOTS_AT)

/* ---- tests of single properties ---- */

/* Insert `count` items of one object in the order that `stride` gives, all numbers below count once. */
static void insert_numbers(struct tree_volume *v, uint64_t object, unsigned count, unsigned stride, uint16_t len_bytes)
{
	uint8_t value[KNOT_VALUE_BYTES_MAX] = { 1, 2, 3 };
	struct knot_key key;

	for (unsigned i = 0; i < count; i++) {
		knot_key_make(&key, object, KNOT_KIND_EXTENT, 0, (uint64_t)i * stride % count);
		assert_int_equal(tree_change(v, TREE_INSERT, &key, value, len_bytes), 0);
	}
}

static void remove_numbers(struct tree_volume *v, uint64_t object, unsigned count, unsigned stride)
{
	struct knot_key key;

	for (unsigned i = 0; i < count; i++) {
		knot_key_make(&key, object, KNOT_KIND_EXTENT, 0, (uint64_t)i * stride % count);
		assert_int_equal(tree_change(v, TREE_REMOVE, &key, NULL, 0), 0);
	}
}

static void a_fresh_tree_holds_only_what_mkfs_wrote(void **state)
{
	struct tree_volume *v = *state;
	struct tree_shape shape;
	struct knot_key key, found;
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	size_t len_bytes;

	tree_check(v, &shape);
	assert_int_equal(shape.levels, 1);
	knot_key_make(&key, 500, KNOT_KIND_INODE, 0, 0);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), -ENOENT);
	assert_int_equal(tree_neighbour(v, true, &key, &found, value, &len_bytes), -ENOENT);
	assert_int_equal(tree_change(v, TREE_UPDATE, &key, value, 1), -ENOENT);
	assert_int_equal(tree_change(v, TREE_REMOVE, &key, NULL, 0), -ENOENT);
	assert_int_equal(tree_change(v, TREE_INSERT, &key, value, KNOT_VALUE_BYTES_MAX + 1), -EINVAL);
	assert_int_equal(v->said, 0);
}

static void assert_filled(struct tree_volume *v, const char *what, unsigned percent)
{
	struct tree_shape shape;

	tree_check(v, &shape);
	print_message("%s: %u leaves, %.1f%% full\n", what, shape.leaves,
		      (double)shape.leaf_bytes * 100 / ((double)shape.leaves * AREA_BYTES));
	assert_true(shape.leaf_bytes * 100 >= (uint64_t)shape.leaves * AREA_BYTES * percent);
}

static void insert_one(struct tree_volume *v, uint64_t object, uint16_t len_bytes)
{
	uint8_t value[KNOT_VALUE_BYTES_MAX] = { 0 };
	struct knot_key key;

	knot_key_make(&key, object, KNOT_KIND_INODE, 0, 0);
	assert_int_equal(tree_change(v, TREE_INSERT, &key, value, len_bytes), 0);
}

/* A page that is cut gets a longer prefix and so room that the series does not come back for. */
static void ascending_inserts_fill_their_pages(void **state)
{
	struct tree_volume *v = *state;

	for (unsigned i = 0; i < 10000; i++)
		insert_one(v, 100 + i, sizeof(struct knot_disk_inode));
	assert_filled(v, "inodes at the end", 90);
	for (unsigned i = 0; i < 10000; i++)
		insert_one(v, ((uint64_t)i << 32) + (1u << 31), 300);
	assert_filled(v, "larger ones behind", 80);
	insert_numbers(v, 50, 10000, 1, 128);
	assert_filled(v, "one object in front", 80);
}

static void ascending_extents_between_others_fill_their_pages(void **state)
{
	struct tree_volume *v = *state;

	insert_one(v, 1000000, 128);
	insert_numbers(v, 50, 20000, 1, sizeof(struct knot_disk_extent));
	assert_filled(v, "extents", 90);
}

static void descending_inserts_fill_their_pages(void **state)
{
	struct tree_volume *v = *state;

	insert_one(v, 10, 128);
	insert_numbers(v, 50, 9999, 9998, 128);
	assert_filled(v, "one object from its end", 85);
}

static void random_inserts_fill_two_thirds(void **state)
{
	struct tree_volume *v = *state;

	insert_numbers(v, 50, 20011, 7919, 60);
	assert_filled(v, "stride", 55);
}

static void entries_of_one_directory_do_not_repeat_their_object(void **state)
{
	struct tree_volume *v = *state;
	struct tree_shape shape;
	uint8_t value[sizeof(struct knot_disk_entry) + 12] = { 0 };
	uint64_t random = tree_seed();
	struct knot_key key;
	const unsigned count = 20000;

	for (unsigned i = 0; i < count; i++) {
		knot_key_make(&key, 77, KNOT_KIND_ENTRY, 0, tree_random(&random) & KNOT_COOKIE_MASK);
		assert_int_equal(tree_change(v, TREE_INSERT, &key, value, sizeof(value)), 0);
	}
	tree_check(v, &shape);
	print_message("%.1f bytes an entry, %u entries a leaf\n", (double)shape.leaf_bytes / count,
		      count / shape.leaves);
	/* object, kind and the upper half of the offset, 17 bytes of 29, are stored once a page */
	assert_true(shape.leaf_bytes <=
		    (uint64_t)count * (KNOT_KEY_BYTES - 17 + 2 + 2 + sizeof(value)) + shape.leaves * 17u);
}

/* `count` large items of objects far apart, in the order that `stride` gives: pages share no prefix. */
static void change_objects(struct tree_volume *v, enum tree_change change, unsigned count, unsigned stride)
{
	uint8_t value[900] = { 0 };
	struct knot_key key;

	for (unsigned i = 0; i < count; i++) {
		knot_key_make(&key, (uint64_t)(1 + (uint64_t)i * stride % count) << 40, KNOT_KIND_INODE, 0, 0);
		assert_int_equal(tree_change(v, change, &key, value, sizeof(value)), 0);
	}
}

static void tall_trees_split_and_merge_at_every_level(void **state)
{
	struct tree_volume *v = *state;
	struct tree_shape shape;
	const unsigned count = 20011; /* prime: every stride visits all */
	uint64_t free_pages;

	free_pages = tree_free_pages(v);
	change_objects(v, TREE_INSERT, count, 7919);
	tree_check(v, &shape);
	print_message("%u levels, %u pages\n", shape.levels, shape.pages);
	assert_true(shape.levels >= 4);
	assert_int_equal(tree_free_pages(v), free_pages - shape.pages + 1);

	change_objects(v, TREE_REMOVE, count, 104729 % count);
	tree_check(v, &shape);
	assert_int_equal(shape.levels, 1);
	assert_int_equal(tree_free_pages(v), free_pages);
	assert_int_equal(v->said, 0);
}

static void pages_shrink_with_their_contents(void **state)
{
	struct tree_volume *v = *state;
	struct tree_shape full, thin;
	const unsigned count = 6007;
	struct knot_key key;

	insert_numbers(v, 50, count, 1009, 100);
	tree_check(v, &full);
	for (unsigned i = 0; i < count; i++) {
		knot_key_make(&key, 50, KNOT_KIND_EXTENT, 0, i);
		if (i % 10 != 0)
			assert_int_equal(tree_change(v, TREE_REMOVE, &key, NULL, 0), 0);
	}
	tree_check(v, &thin);
	assert_true(thin.pages * 3 < full.pages);
}

/*
 * The emptied pages' ranges go to pages full of small items with a long prefix, which then need more room than a page
 * has.
 */
static void a_full_page_takes_over_a_range_that_shortens_its_prefix(void **state)
{
	struct tree_volume *v = *state;
	struct tree_shape shape;
	struct knot_key key;
	uint8_t value[900] = { 0 };

	insert_numbers(v, 50, 3000, 1, 0);
	for (unsigned i = 0; i < 40; i++) {
		knot_key_make(&key, (uint64_t)(60 + i) << 32, KNOT_KIND_INLINE, 0, 0);
		assert_int_equal(tree_change(v, TREE_INSERT, &key, value, sizeof(value)), 0);
	}
	insert_numbers(v, (uint64_t)200 << 32, 3000, 1, 0);
	tree_check(v, &shape);
	for (unsigned i = 0; i < 40; i++) {
		knot_key_make(&key, (uint64_t)(60 + i * 7 % 40) << 32, KNOT_KIND_INLINE, 0, 0);
		assert_int_equal(tree_change(v, TREE_REMOVE, &key, NULL, 0), 0);
		tree_check(v, &shape);
	}
	remove_numbers(v, 50, 3000, 1);
	tree_check(v, &shape);
	remove_numbers(v, (uint64_t)200 << 32, 3000, 2999);
	tree_check(v, &shape);
	assert_int_equal(shape.levels, 1);
}

static int stop_at_third(void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	unsigned *visited = arg;

	(void)value;
	(void)len_bytes;
	assert_int_equal(knot_key_offset_low(key), 100 + *visited);
	return ++*visited == 3 ? 42 : 0;
}

static int count_visits(void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	(void)key;
	(void)value;
	(void)len_bytes;
	++*(unsigned *)arg;
	return 0;
}

static void a_scan_keeps_to_its_bounds_and_stops_when_told(void **state)
{
	struct tree_volume *v = *state;
	struct knot_key from, to;
	unsigned visited;

	insert_numbers(v, 50, 2000, 1, 16);
	insert_numbers(v, 51, 10, 1, 16);
	knot_key_make(&from, 50, KNOT_KIND_EXTENT, 0, 100);
	knot_key_make(&to, 50, KNOT_KIND_EXTENT, 0, 899);
	assert_int_equal(tree_scan(v, &from, &to, stop_at_third, &visited, &visited), 42);
	assert_int_equal(visited, 3);
	assert_int_equal(tree_scan(v, &from, &to, count_visits, &visited, &visited), 0);
	assert_int_equal(visited, 800);
	assert_int_equal(tree_scan(v, &to, &from, count_visits, &visited, &visited), 0);
	assert_int_equal(visited, 0);
	assert_int_equal(tree_scan(v, &to, &to, count_visits, &visited, &visited), 0);
	assert_int_equal(visited, 1);
}

/* Change a page behind the tree's back, through the log but without its parent. */
static void tamper(struct tree_volume *v, uint64_t page_no, void (*change)(void *page, uint64_t argument),
		   uint64_t argument)
{
	struct knot_page *page;
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, v->txn, NULL);
	do {
		err = knot_mtr_begin(&mtr, 4, 0);
		if (!err)
			err = knot_mtr_page(&mtr, page_no, KNOT_PAGE_TREE, 0, &page);
		if (!err)
			err = knot_mtr_change(&mtr, page, NULL);
		if (!err)
			change(knot_page_data(page), argument);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	assert_int_equal(err, 0);
}

static void add_to_generation(void *page, uint64_t argument)
{
	struct knot_disk_page_header *header = page;

	header->generation = knot_put64(knot_get64(header->generation) + argument);
}

static void set_level(void *page, uint64_t argument)
{
	((struct knot_disk_tree_page *)page)->level = knot_put16((uint16_t)argument);
}

static void aim_first_child_at_second(void *page, uint64_t argument)
{
	const struct knot_disk_tree_page *tree = page;
	struct knot_disk_child child;

	(void)argument;
	memcpy(&child, (uint8_t *)page + knot_get16(tree->slots[1]) + KNOT_KEY_BYTES - knot_get16(tree->prefix_bytes),
	       sizeof(child));
	memcpy((uint8_t *)page + knot_get16(tree->slots[0]) + KNOT_KEY_BYTES - knot_get16(tree->prefix_bytes), &child,
	       sizeof(child));
}

static uint64_t first_child_of_root(struct tree_volume *v)
{
	uint8_t page[KNOT_PAGE_BYTES];
	uint64_t page_no, generation;

	tree_read_page(v, v->super.root_page, 0, page);
	knot_tree_page_child(page, 0, &page_no, &generation);
	return page_no;
}

static void stale_and_misplaced_pages_are_refused_and_named(void **state)
{
	struct tree_volume *v = *state;
	struct knot_key key, lowest, highest;
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	size_t len_bytes;
	unsigned visited;

	memset(&lowest, 0, sizeof(lowest));
	memset(&highest, 0xff, sizeof(highest));
	insert_numbers(v, 50, 1000, 1, 16);
	knot_key_make(&key, 50, KNOT_KIND_EXTENT, 0, 0);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), 0);

	tamper(v, first_child_of_root(v), add_to_generation, 1);
	assert_int_equal(v->said, 0);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), -EUCLEAN);
	assert_int_equal(tree_change(v, TREE_REMOVE, &key, NULL, 0), -EUCLEAN);
	assert_true(v->said >= 1);
	tamper(v, first_child_of_root(v), add_to_generation, (uint64_t)-1);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), 0);

	v->said = 0;
	tamper(v, first_child_of_root(v), set_level, 1);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), -EUCLEAN);
	assert_int_equal(v->said, 1);
	tamper(v, first_child_of_root(v), set_level, 0);

	tamper(v, v->super.root_page, add_to_generation, 1);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), -EUCLEAN);
	tamper(v, v->super.root_page, add_to_generation, (uint64_t)-1);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), 0);

	/* two references to one leaf: a walk ends all the same */
	tamper(v, v->super.root_page, aim_first_child_at_second, 0);
	assert_int_equal(tree_scan(v, &lowest, &highest, count_visits, &visited, &visited), -EUCLEAN);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_set_up, tree_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_fresh_tree_holds_only_what_mkfs_wrote),
		TEST(ascending_inserts_fill_their_pages),
		TEST(ascending_extents_between_others_fill_their_pages),
		TEST(descending_inserts_fill_their_pages),
		TEST(random_inserts_fill_two_thirds),
		TEST(entries_of_one_directory_do_not_repeat_their_object),
		TEST(tall_trees_split_and_merge_at_every_level),
		TEST(pages_shrink_with_their_contents),
		TEST(a_full_page_takes_over_a_range_that_shortens_its_prefix),
		TEST(a_scan_keeps_to_its_bounds_and_stops_when_told),
		TEST(stale_and_misplaced_pages_are_refused_and_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
