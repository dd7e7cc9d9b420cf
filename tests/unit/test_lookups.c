/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/util/hash.h"
#include "fs/vfs/lookups.h"

#include <stdlib.h>
#include <string.h>

static int setup(void **state)
{
	struct knot_lookups *lookups;

	assert_int_equal(knot_lookups_open(NULL, &lookups), 0);
	*state = lookups;
	return 0;
}

static int teardown(void **state)
{
	knot_lookups_close(*state);
	return 0;
}

static void add(struct knot_lookups *lookups, uint64_t inode)
{
	assert_int_equal(knot_lookups_reserve(lookups, inode), 0);
	knot_lookups_add(lookups, inode, false);
}

static void counts_what_was_added_and_forgotten(void **state)
{
	add(*state, 7);
	add(*state, 7);
	add(*state, 8);
	assert_int_equal(knot_lookups_count(*state, 7), 2);
	assert_false(knot_lookups_forget(*state, 7, 1));
	assert_int_equal(knot_lookups_count(*state, 7), 1);
	assert_false(knot_lookups_forget(*state, 7, 1));
	assert_int_equal(knot_lookups_count(*state, 7), 0);
	assert_int_equal(knot_lookups_entries(*state), 1);
}

static void forgetting_too_much_forgets_all(void **state)
{
	add(*state, 7);
	assert_false(knot_lookups_forget(*state, 7, UINT64_MAX));
	assert_false(knot_lookups_forget(*state, 7, 1));
	assert_false(knot_lookups_forget(*state, 0, 1));
	assert_int_equal(knot_lookups_entries(*state), 0);
}

static void tells_when_the_last_lookup_of_an_orphan_goes(void **state)
{
	assert_false(knot_lookups_mark_orphan(*state, 7));
	add(*state, 7);
	add(*state, 7);
	assert_true(knot_lookups_mark_orphan(*state, 7));
	assert_int_equal(knot_lookups_count(*state, 7), 2);
	assert_false(knot_lookups_forget(*state, 7, 1));
	assert_true(knot_lookups_forget(*state, 7, 1));
}

static void a_million_entries_cost_at_most_32_mb(void **state)
{
	for (uint64_t i = 1; i <= 1000000; i++) {
		add(*state, i * 3);
		assert_true(i < 100000 || knot_lookups_bytes(*state) <= i * 32);
	}
	assert_int_equal(knot_lookups_entries(*state), 1000000);
	assert_true(knot_lookups_bytes(*state) <= 32000000);
	for (uint64_t i = 1; i <= 1000000; i++)
		(void)knot_lookups_forget(*state, i * 3, 1);
	assert_int_equal(knot_lookups_entries(*state), 0);
	assert_true(knot_lookups_bytes(*state) <= 65536);
}

static void random_use_agrees_with_plain_counters(void **state)
{
	const char *given = getenv("KNOT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 20240607;
	static uint32_t expected[3000];

	print_message("KNOT_SEED=%llu\n", (unsigned long long)seed);
	memset(expected, 0, sizeof(expected));
	for (unsigned i = 0; i < 300000; i++) {
		uint64_t random = knot_hash_mix(seed + i);
		uint64_t inode = 1 + random % 2999;
		uint64_t count = (random >> 32) % 3;

		/* mostly growing, then mostly shrinking, so that shards are resized both ways */
		if ((random >> 40) % 8 < (i / 50000 % 2 ? 2 : 5)) {
			add(*state, inode);
			expected[inode]++;
		} else {
			(void)knot_lookups_forget(*state, inode, count);
			expected[inode] = expected[inode] > count ? expected[inode] - (uint32_t)count : 0;
		}
		assert_int_equal(knot_lookups_count(*state, inode), expected[inode]);
	}
	for (uint64_t inode = 1; inode < 3000; inode++)
		assert_int_equal(knot_lookups_count(*state, inode), expected[inode]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(counts_what_was_added_and_forgotten, setup, teardown),
		cmocka_unit_test_setup_teardown(forgetting_too_much_forgets_all, setup, teardown),
		cmocka_unit_test_setup_teardown(tells_when_the_last_lookup_of_an_orphan_goes, setup, teardown),
		cmocka_unit_test_setup_teardown(a_million_entries_cost_at_most_32_mb, setup, teardown),
		cmocka_unit_test_setup_teardown(random_use_agrees_with_plain_counters, setup, teardown),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
