/* SPDX-License-Identifier: MIT */
/* Busy pages: placed and freed ones, readers, reaping; and the bit maps they are kept in. */
#include "space_fixture.h"

#define ONE_GROUP 8192u

static void a_run_is_found_where_it_begins_even_over_words(void **state)
{
	uint64_t words[KNOT_GROUP_WORDS];
	uint32_t at, length;

	(void)state;
	memset(words, 0xff, sizeof(words));
	knot_map_clear(words, 3, 1);
	knot_map_clear(words, 60, 70);
	knot_map_clear(words, 16380, 4);
	knot_map_find_run(words, 0, KNOT_GROUP_PAGES, 5, &at, &length);
	assert_int_equal(at, 60);
	assert_int_equal(length, 5);
	knot_map_find_run(words, 0, KNOT_GROUP_PAGES, 100, &at, &length);
	assert_int_equal(at, 60);
	assert_int_equal(length, 70);
	knot_map_find_run(words, 130, KNOT_GROUP_PAGES, 100, &at, &length);
	assert_int_equal(at, 16380);
	assert_int_equal(length, 4);
	knot_map_find_run(words, 4, 60, 1, &at, &length);
	assert_int_equal(length, 0);
	knot_map_find_run(words, 0, 61, 70, &at, &length);
	assert_int_equal(length, 70);
}

static void map_ranges_are_exact_at_every_edge(void **state)
{
	(void)state;
	for (uint32_t at = 0; at < 130; at++) {
		for (uint32_t count = 1; count < 200; count++) {
			uint64_t words[KNOT_GROUP_WORDS] = { 0 };

			knot_map_set(words, at, count);
			assert_int_equal(knot_map_zeros(words), KNOT_GROUP_PAGES - count);
			assert_true(knot_map_is(words, at, count, true));
			assert_int_equal(knot_map_next(words, 0, KNOT_GROUP_PAGES, true), at);
			assert_int_equal(knot_map_next(words, at, KNOT_GROUP_PAGES, false), at + count);
			knot_map_clear(words, at, count);
			assert_int_equal(knot_map_zero_words(words), KNOT_GROUP_WORDS);
		}
	}
}

static void placed_pages_are_given_to_nobody_else(void **state)
{
	struct fixture f;
	uint32_t got;
	uint64_t first, second;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	first = fixture_place(&f, 0, 100, &got);
	assert_int_equal(got, 100);
	second = fixture_place(&f, first, 10, &got);
	assert_true(second >= first + 100 || second + got <= first);
	assert_false(fixture_in_use(&f, first));
	knot_space_unplace(f.space, second, got);
	knot_space_unplace(f.space, first, 100);
	fixture_close(&f);
}

static void placed_pages_settle_and_unplace_in_any_pieces(void **state)
{
	struct fixture f;
	uint64_t available, page;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	available = knot_space_available(f.space);
	page = fixture_place(&f, 0, 100, &got);
	assert_int_equal(got, 100);
	assert_int_equal(knot_space_available(f.space), available - 100);
	assert_int_equal(fixture_settle(&f, page + 40, 20), 0);
	knot_space_unplace(f.space, page + 10, 5);
	assert_int_equal(fixture_settle(&f, page, 10), 0);
	knot_space_unplace(f.space, page + 60, 40);
	knot_space_unplace(f.space, page + 15, 25);
	assert_int_equal(knot_space_available(f.space), available - 30);
	assert_true(fixture_in_use(&f, page + 9) && fixture_in_use(&f, page + 40) && fixture_in_use(&f, page + 59));
	assert_false(fixture_in_use(&f, page + 10) || fixture_in_use(&f, page + 39) || fixture_in_use(&f, page + 60));
	fixture_close(&f);
}

static void an_mtr_given_up_leaves_placed_pages_placed(void **state)
{
	struct fixture_call call = { .count = 30, .give_up = true };
	struct fixture f;
	uint64_t available;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	call.page_no = fixture_place(&f, 0, 30, &got);
	available = knot_space_available(f.space);
	assert_int_equal(fixture_run(&f, true, op_settle, &call, NULL), GIVE_UP);
	assert_int_equal(knot_space_available(f.space), available);
	assert_false(fixture_in_use(&f, call.page_no));
	assert_int_equal(fixture_settle(&f, call.page_no, 30), 0);
	assert_int_equal(knot_space_available(f.space), available);
	fixture_close(&f);
}

static void freed_pages_wait_for_the_commit_of_their_release(void **state)
{
	struct fixture f;
	uint64_t available, page;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	available = knot_space_available(f.space);
	page = fixture_alloc_data(&f, 0, 50, &got);
	fixture_commit(&f);
	assert_int_equal(fixture_release(&f, page, 50), 0);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 50);
	assert_int_equal(knot_space_available(f.space), available - 50);
	assert_int_not_equal(fixture_place(&f, page, 1, &got), page);
	fixture_commit(&f);
	assert_int_equal(knot_space_waiting(f.space), 50);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 0);
	assert_int_equal(fixture_place(&f, page, 50, &got), page);
	assert_int_equal(got, 50);
	assert_int_equal(knot_space_available(f.space), available - 51);
	fixture_close(&f);
}

static void a_reader_that_began_before_the_release_keeps_pages_from_reuse(void **state)
{
	struct fixture f;
	uint64_t page, before, after;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	page = fixture_alloc_data(&f, 0, 50, &got);
	before = knot_space_read_begin(f.space);
	assert_int_equal(fixture_release(&f, page, 50), 0);
	after = knot_space_read_begin(f.space);
	fixture_commit(&f);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 50);
	knot_space_read_end(f.space, before);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 0);
	knot_space_read_end(f.space, after);
	fixture_close(&f);
}

static void a_reader_that_never_ends_holds_back_only_what_it_may_see(void **state)
{
	struct fixture f;
	uint64_t page, held, ticket;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	page = fixture_alloc_data(&f, 0, 400, &got);
	assert_int_equal(got, 400);
	held = knot_space_read_begin(f.space);
	/* more releases among readers than there are epochs */
	for (uint32_t i = 0; i < 200; i++) {
		ticket = knot_space_read_begin(f.space);
		assert_int_equal(fixture_release(&f, page + i, 1), 0);
		knot_space_read_end(f.space, ticket);
	}
	fixture_commit(&f);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 200);
	knot_space_read_end(f.space, held);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 0);

	ticket = knot_space_read_begin(f.space);
	assert_int_equal(fixture_release(&f, page + 200, 1), 0);
	knot_space_read_end(f.space, ticket);
	fixture_commit(&f);
	fixture_reap(&f);
	assert_int_equal(knot_space_waiting(f.space), 0);
	fixture_close(&f);
}

static int op_release_then_alloc(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;
	int err = knot_space_release(f->space, mtr, call->near, 10);

	if (!err)
		err = knot_space_alloc_data(f->space, mtr, call->near, 10, &call->page_no, &call->got);
	return fixture_end(call, err);
}

static void pages_freed_by_an_mtr_are_not_allocated_by_the_same(void **state)
{
	struct fixture_call call = { .give_up = true };
	struct fixture f;
	uint64_t available;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	call.near = fixture_alloc_data(&f, 0, 10, &got);
	available = knot_space_available(f.space);
	assert_int_equal(fixture_run(&f, true, op_release_then_alloc, &call, NULL), GIVE_UP);
	assert_int_equal(knot_space_available(f.space), available);
	assert_int_equal(knot_space_waiting(f.space), 0);
	call.give_up = false;
	assert_int_equal(fixture_run(&f, true, op_release_then_alloc, &call, NULL), 0);
	assert_true(call.page_no >= call.near + 10 || call.page_no + call.got <= call.near);
	assert_int_equal(knot_space_waiting(f.space), 10);
	fixture_close(&f);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_run_is_found_where_it_begins_even_over_words),
		cmocka_unit_test(map_ranges_are_exact_at_every_edge),
		cmocka_unit_test(placed_pages_are_given_to_nobody_else),
		cmocka_unit_test(placed_pages_settle_and_unplace_in_any_pieces),
		cmocka_unit_test(an_mtr_given_up_leaves_placed_pages_placed),
		cmocka_unit_test(freed_pages_wait_for_the_commit_of_their_release),
		cmocka_unit_test(a_reader_that_began_before_the_release_keeps_pages_from_reuse),
		cmocka_unit_test(a_reader_that_never_ends_holds_back_only_what_it_may_see),
		cmocka_unit_test(pages_freed_by_an_mtr_are_not_allocated_by_the_same),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
