/* SPDX-License-Identifier: MIT */
/* Mini-transactions: atomic, undone when given up, retried on a miss; after a cut exactly the committed ones are
 * there. */
#include "tests/unit/txn_volume.h"

struct noting_hook {
	struct knot_mtr_hook hook;
	unsigned calls;
	knot_lsn_t lsn;
	unsigned *order;
	unsigned place;
};

static void note(struct knot_mtr_hook *hook, knot_lsn_t lsn)
{
	struct noting_hook *noting = (struct noting_hook *)hook;

	noting->calls++;
	noting->lsn = lsn;
	if (noting->order)
		noting->place = ++*noting->order;
}

static void a_change_is_seen_by_the_next_mtr(void **state)
{
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 7);
	bed_add(&bed, FIRST_PAGE, 5);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 12);
	bed_stop(&bed);
}

static int change_and_fail(struct knot_mtr *mtr)
{
	int err = add_to_page(mtr, FIRST_PAGE, 0, 100);

	if (!err)
		err = make_page(mtr, FIRST_PAGE + 1, 1);
	if (!err)
		err = knot_mtr_free_pages(mtr, FIRST_PAGE + 2, 1);
	return err ? err : -ECANCELED;
}

static void giving_up_leaves_every_page_as_it_was(void **state)
{
	struct knot_mtr mtr;
	knot_lsn_t lsn;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 7);
	bed_make(&bed, FIRST_PAGE + 2, 9);
	lsn = knot_txn_lsn(bed.txn);
	RUN(&bed, mtr, 4, 0, err, change_and_fail(&mtr));
	assert_int_equal(err, -ECANCELED);
	assert_int_equal(mtr.end_lsn, 0);
	assert_int_equal(knot_txn_lsn(bed.txn), lsn);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 7);
	assert_int_equal(bed_value(&bed, FIRST_PAGE + 2), 9);
	assert_true(bed_idle(&bed, FIRST_PAGE + 1, 1));
	bed_stop(&bed);
}

static int add_two_hooks(struct knot_mtr *mtr, struct noting_hook *hooks, int err)
{
	knot_mtr_add_hook(mtr, &hooks[0].hook);
	knot_mtr_add_hook(mtr, &hooks[1].hook);
	return err ? err : make_page(mtr, FIRST_PAGE, 1);
}

static void hooks_run_once_in_order_with_the_end_lsn_or_0(void **state)
{
	unsigned order = 0;
	struct noting_hook hooks[2] = { { .hook.finish = note, .order = &order },
					{ .hook.finish = note, .order = &order } };
	struct knot_mtr mtr;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	RUN(&bed, mtr, 1, 0, err, add_two_hooks(&mtr, hooks, -ECANCELED));
	assert_int_equal(hooks[0].calls, 1);
	assert_int_equal(hooks[0].lsn, 0);
	RUN(&bed, mtr, 1, 0, err, add_two_hooks(&mtr, hooks, 0));
	assert_int_equal(err, 0);
	assert_int_equal(hooks[1].calls, 2);
	assert_int_equal(hooks[1].lsn, mtr.end_lsn);
	assert_int_equal(hooks[0].place, 3);
	assert_int_equal(hooks[1].place, 4);
	bed_stop(&bed);
}

static void an_mtr_that_changes_nothing_logs_nothing(void **state)
{
	struct knot_mtr mtr;
	knot_lsn_t lsn;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 7);
	lsn = knot_txn_lsn(bed.txn);
	RUN(&bed, mtr, 1, 0, err, add_to_page(&mtr, FIRST_PAGE, 0, 0));
	assert_int_equal(err, 0);
	assert_int_equal(mtr.end_lsn, 0);
	assert_int_equal(knot_txn_lsn(bed.txn), lsn);
	bed_stop(&bed);
}

static int add_to_many(struct knot_mtr *mtr, unsigned count)
{
	int err = 0;

	for (unsigned i = 0; i < count && !err; i++)
		err = add_to_page(mtr, FIRST_PAGE + i, 0, 1);
	return err;
}

static void too_small_a_reservation_is_doubled_until_it_does(void **state)
{
	struct knot_mtr mtr;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 0; i < 16; i++)
		bed_make(&bed, FIRST_PAGE + i, 0);
	assert_true(knot_mtr_pages_limit(bed.txn) >= 4);
	RUN(&bed, mtr, 1, 0, err, add_to_many(&mtr, 4));
	assert_int_equal(err, 0);
	assert_int_equal(mtr.retries, 2);
	RUN(&bed, mtr, 1, 0, err, add_to_many(&mtr, knot_mtr_pages_limit(bed.txn) + 1));
	assert_int_equal(err, -EFBIG);
	assert_int_equal(knot_mtr_begin(&mtr, knot_mtr_pages_limit(bed.txn) + 1, 0), -EFBIG);
	for (unsigned i = 0; i < 4; i++)
		assert_int_equal(bed_value(&bed, FIRST_PAGE + i), 1);
	bed_stop(&bed);
}

static void a_missing_page_is_read_and_the_operation_tried_again(void **state)
{
	struct knot_mtr mtr;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 0; i < 3; i++)
		bed_make(&bed, FIRST_PAGE + i, 40);
	assert_int_equal(knot_txn_close(bed.txn), 0);
	bed_open(&bed);
	RUN(&bed, mtr, 3, 0, err, add_to_many(&mtr, 3));
	assert_int_equal(err, 0);
	assert_int_equal(mtr.retries, 3);
	assert_int_equal(bed_value(&bed, FIRST_PAGE + 2), 41);
	assert_int_equal(bed.txn->cache.evictable + bed.txn->cache.dirty_count, 3);
	bed_stop(&bed);
}

static void a_damaged_page_is_refused_and_named_once(void **state)
{
	struct knot_mtr mtr;
	uint64_t value;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 40);
	assert_int_equal(knot_txn_close(bed.txn), 0);
	bed.volume.recorder->now[FIRST_PAGE * KNOT_PAGE_BYTES + 2000] ^= 1;
	bed_open(&bed);
	for (unsigned i = 0; i < 3; i++) {
		RUN(&bed, mtr, 0, 0, err, look_at_page(&mtr, FIRST_PAGE, 0, &value));
		assert_int_equal(err, -EUCLEAN);
	}
	assert_int_equal(bed.said, 1);
	assert_non_null(strstr(bed.volume.said, "page 200 (state): wrong checksum"));
	RUN(&bed, mtr, 0, 0, err, look_at_page(&mtr, FIRST_PAGE + 1, 0, &value));
	assert_int_equal(err, -EUCLEAN);
	RUN(&bed, mtr, 0, 0, err, look_at_page(&mtr, VOLUME_PAGES + 5, 0, &value));
	assert_int_equal(err, -EUCLEAN);
	assert_int_equal(bed.txn->cache.hash.count, 0);
	bed_stop(&bed);
}

static int look_with_generation(struct knot_mtr *mtr, uint64_t generation, uint64_t *found)
{
	struct knot_page *page;
	int err = knot_mtr_page(mtr, FIRST_PAGE, KNOT_PAGE_STATE, generation, &page);

	if (!err)
		*found = knot_page_generation(page);
	return err;
}

static void a_page_of_another_generation_is_stale(void **state)
{
	uint64_t generation = 0, unused;
	struct knot_mtr mtr;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 40);
	RUN(&bed, mtr, 0, 0, err, look_with_generation(&mtr, 0, &generation));
	assert_int_equal(err, 0);
	assert_int_not_equal(generation, 0);
	RUN(&bed, mtr, 0, 0, err, look_with_generation(&mtr, generation, &unused));
	assert_int_equal(err, 0);
	RUN(&bed, mtr, 0, 0, err, look_with_generation(&mtr, generation + 1, &unused));
	assert_int_equal(err, -EUCLEAN);
	assert_int_equal(knot_txn_close(bed.txn), 0);
	bed_open(&bed);
	RUN(&bed, mtr, 0, 0, err, look_with_generation(&mtr, generation + 1, &unused));
	assert_int_equal(err, -EUCLEAN);
	RUN(&bed, mtr, 0, 0, err, look_with_generation(&mtr, generation, &unused));
	assert_int_equal(err, 0);
	bed_stop(&bed);
}

static void after_a_cut_exactly_what_was_flushed_is_there(void **state)
{
	knot_lsn_t lsn;
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 1);
	bed_make(&bed, FIRST_PAGE + 1, 1);
	bed_add(&bed, FIRST_PAGE, 1);
	lsn = bed_add(&bed, FIRST_PAGE + 1, 10);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, false, NULL), 0);
	assert_true(knot_txn_committed_lsn(bed.txn) >= lsn);
	bed_add(&bed, FIRST_PAGE, 1);
	bed_cut(&bed);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 2);
	assert_int_equal(bed_value(&bed, FIRST_PAGE + 1), 11);
	bed_stop(&bed);
}

static void strict_loses_what_follows_the_last_batch(void **state)
{
	struct bed bed;

	(void)state;
	bed_prepare(&bed, NULL);
	bed.options.strict = true;
	bed_open(&bed);
	bed_make(&bed, FIRST_PAGE, 1);
	assert_int_equal(knot_txn_commit_to(bed.txn, knot_txn_lsn(bed.txn), false, NULL), 0);
	bed_add(&bed, FIRST_PAGE, 1);
	assert_int_equal(knot_commit_flush_log(bed.txn, knot_txn_lsn(bed.txn), true, NULL), 0);
	assert_true(knot_txn_committed_lsn(bed.txn) < knot_txn_lsn(bed.txn));
	bed_cut(&bed);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 1);
	bed_add(&bed, FIRST_PAGE, 5);
	bed_stop(&bed);
}

static void the_policy_says_what_a_commit_waits_for(void **state)
{
	struct bed bed;
	knot_lsn_t lsn;

	(void)state;
	bed_prepare(&bed, NULL);
	bed.options.commit_policy = 2;
	bed_open(&bed);
	lsn = bed_make(&bed, FIRST_PAGE, 1);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, false, NULL), 0);
	assert_true(bed_stats(&bed).written_lsn >= lsn);
	assert_true(bed_stats(&bed).flushed_lsn < lsn);
	bed.txn->options.commit_policy = 0;
	lsn = bed_make(&bed, FIRST_PAGE + 1, 1);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, false, NULL), 0);
	assert_true(bed_stats(&bed).written_lsn < lsn);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), 0);
	assert_true(bed_stats(&bed).flushed_lsn >= lsn);
	bed_stop(&bed);
}

static int chain(struct knot_mtr *mtr, knot_lsn_t *first_lsn)
{
	int err = make_page(mtr, FIRST_PAGE, 1);

	if (err)
		return err;
	knot_mtr_next(mtr);
	*first_lsn = mtr->end_lsn;
	err = add_to_page(mtr, FIRST_PAGE, 0, 50);
	return err ? err : -ECANCELED;
}

static void next_commits_what_came_before_it(void **state)
{
	knot_lsn_t first_lsn = 0;
	struct knot_mtr mtr;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	RUN(&bed, mtr, 4, 0, err, chain(&mtr, &first_lsn));
	assert_int_equal(err, -ECANCELED);
	assert_int_not_equal(first_lsn, 0);
	assert_int_equal(mtr.end_lsn, first_lsn);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 1);
	bed_stop(&bed);
}

static int put_pattern(struct knot_mtr *mtr, const uint8_t *contents)
{
	return knot_mtr_put_data(mtr, FIRST_PAGE + 9, contents);
}

static void data_pages_are_logged_by_difference_and_recovered(void **state)
{
	uint8_t contents[KNOT_PAGE_BYTES], found[KNOT_PAGE_BYTES];
	uint64_t random = random_seed();
	struct knot_mtr mtr;
	knot_lsn_t before;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 0; i < KNOT_PAGE_BYTES; i++)
		contents[i] = (uint8_t)random_next(&random);
	RUN(&bed, mtr, 1, 0, err, put_pattern(&mtr, contents));
	assert_int_equal(err, 0);
	for (unsigned round = 0; round < 200; round++) {
		unsigned runs = (unsigned)random_below(&random, 12);

		for (unsigned i = 0; i < runs; i++) {
			unsigned at = (unsigned)random_below(&random, KNOT_PAGE_BYTES);
			unsigned len = (unsigned)random_below(&random, round % 7 == 0 ? 3000 : 40);

			for (unsigned k = at; k < at + len && k < KNOT_PAGE_BYTES; k++)
				contents[k] = round % 5 == 0 ? 0 : (uint8_t)random_next(&random);
		}
		before = knot_txn_lsn(bed.txn);
		RUN(&bed, mtr, 1, 0, err, put_pattern(&mtr, contents));
		assert_int_equal(err, 0);
		assert_true(!mtr.end_lsn || mtr.end_lsn - before < 3 * KNOT_PAGE_BYTES);
		if (round % 40 == 39)
			assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), 0);
		if (round % 16 == 15) {
			assert_int_equal(knot_txn_commit_to(bed.txn, knot_txn_lsn(bed.txn), true, NULL), 0);
			bed_cut(&bed);
			assert_memory_equal(bed.volume.recorder->now + (FIRST_PAGE + 9) * KNOT_PAGE_BYTES, contents,
					    KNOT_PAGE_BYTES);
			continue;
		}
		knot_txn_lock(bed.txn, NULL);
		if (knot_txn_peek_data(bed.txn, FIRST_PAGE + 9, found))
			assert_memory_equal(found, contents, KNOT_PAGE_BYTES);
		knot_txn_unlock(bed.txn);
	}
	bed_stop(&bed);
}

static int scribble(struct knot_mtr *mtr, uint64_t *random)
{
	struct knot_page *page;
	int err = knot_mtr_page(mtr, FIRST_PAGE, KNOT_PAGE_STATE, 0, &page);
	uint8_t *bytes;

	if (!err)
		err = knot_mtr_change(mtr, page, NULL);
	if (err)
		return err;
	bytes = knot_page_data(page);
	bytes[56] = (uint8_t)random_next(random); /* the generation, right behind the LSN */
	for (unsigned i = 0; i < 5; i++)
		bytes[128 + random_below(random, KNOT_PAGE_BYTES - 128)] = (uint8_t)random_next(random);
	return 0;
}

static void pages_with_a_header_are_recovered_byte_by_byte(void **state)
{
	uint8_t image[KNOT_PAGE_BYTES];
	uint64_t random = random_seed();
	struct knot_mtr mtr;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 1);
	for (unsigned i = 0; i < 50; i++) {
		RUN(&bed, mtr, 1, 0, err, scribble(&mtr, &random));
		assert_int_equal(err, 0);
	}
	assert_int_equal(knot_txn_commit_to(bed.txn, mtr.end_lsn, true, NULL), 0);
	memcpy(image, knot_cache_find_locked(&bed.txn->cache, FIRST_PAGE)->data, KNOT_PAGE_BYTES);
	bed_cut(&bed);
	assert_memory_equal(bed.volume.recorder->now + FIRST_PAGE * KNOT_PAGE_BYTES + 32, image + 32,
			    KNOT_PAGE_BYTES - 32);
	assert_int_equal(knot_page_verify(&bed.volume.super.seal,
					  bed.volume.recorder->now + FIRST_PAGE * KNOT_PAGE_BYTES, FIRST_PAGE,
					  KNOT_PAGE_STATE),
			 KNOT_PAGE_OK);
	bed_stop(&bed);
}

static void a_failed_log_write_stops_the_volume_and_says_so_once(void **state)
{
	struct knot_mtr mtr;
	knot_lsn_t lsn;
	struct bed bed;
	size_t count;
	int err;

	(void)state;
	bed_start(&bed);
	lsn = bed_make(&bed, FIRST_PAGE, 1);
	bed.volume.recorder->fail_from = bed.volume.recorder->count + 1;
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), -EIO);
	assert_true(knot_txn_is_stopped(bed.txn));
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), -EIO);
	assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), -EIO);
	assert_int_equal(bed.said, 1);
	RUN(&bed, mtr, 1, 0, err, add_to_page(&mtr, FIRST_PAGE, 0, 1));
	assert_int_equal(err, -EROFS);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 1);
	bed.volume.recorder->fail_from = 0;
	count = bed.volume.recorder->count;
	assert_int_equal(knot_txn_close(bed.txn), -EIO);
	assert_int_equal(bed.volume.recorder->count, count);
	bed.txn = NULL;
	bed_stop(&bed);
}

static void a_read_only_volume_answers_erofs(void **state)
{
	struct knot_mtr mtr;
	struct bed bed;
	size_t count;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 3);
	assert_int_equal(knot_txn_close(bed.txn), 0);
	bed.options.read_only = true;
	bed.volume.recorder->device.read_only = true;
	count = bed.volume.recorder->count;
	bed_open(&bed);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 3);
	RUN(&bed, mtr, 1, 0, err, add_to_page(&mtr, FIRST_PAGE, 0, 1));
	assert_int_equal(err, -EROFS);
	bed_stop(&bed);
	(void)count;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_change_is_seen_by_the_next_mtr),
		cmocka_unit_test(giving_up_leaves_every_page_as_it_was),
		cmocka_unit_test(hooks_run_once_in_order_with_the_end_lsn_or_0),
		cmocka_unit_test(an_mtr_that_changes_nothing_logs_nothing),
		cmocka_unit_test(too_small_a_reservation_is_doubled_until_it_does),
		cmocka_unit_test(a_missing_page_is_read_and_the_operation_tried_again),
		cmocka_unit_test(a_damaged_page_is_refused_and_named_once),
		cmocka_unit_test(a_page_of_another_generation_is_stale),
		cmocka_unit_test(after_a_cut_exactly_what_was_flushed_is_there),
		cmocka_unit_test(strict_loses_what_follows_the_last_batch),
		cmocka_unit_test(the_policy_says_what_a_commit_waits_for),
		cmocka_unit_test(next_commits_what_came_before_it),
		cmocka_unit_test(data_pages_are_logged_by_difference_and_recovered),
		cmocka_unit_test(pages_with_a_header_are_recovered_byte_by_byte),
		cmocka_unit_test(a_failed_log_write_stops_the_volume_and_says_so_once),
		cmocka_unit_test(a_read_only_volume_answers_erofs),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
