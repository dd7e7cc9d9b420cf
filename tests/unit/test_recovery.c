/* SPDX-License-Identifier: MIT */
/*
 * Log replay: what counts, what is dropped. Damage and power cuts: test_recovery_damage.c and test_recovery_cuts.c.
 */
#include "tests/unit/log_volume.h"

#include "fs/txn/recovery_int.h"

#define UNIT 4096u
#define BUFFER (128u * 1024u)
#define SMALL_BATCH 1u               /* recovery takes its least: 16 pages */

/* ---- what counts ----------------------------------------------------------------------------------------------- */

static void a_new_volume_has_nothing_to_replay(void **state)
{
	struct volume volume;
	unsigned i;

	(void)state;
	volume_init(&volume, NULL, UNIT);
	for (i = 1; i < 4; i++) {
		volume_replay(&volume);
		assert_true(volume.recovered.was_clean);
		assert_int_equal(volume.recovered.next_lsn, KNOT_LSN_FIRST);
		assert_int_equal(volume.recovered.next_at, 0);
		assert_int_equal(volume.recovered.epoch, i);
		assert_int_equal(volume.recovered.slot_sequence, i);
		assert_int_equal(volume.recovered.pages_written, 0);
	}
	volume_stop(&volume);
}

static void what_was_flushed_is_replayed(void **state)
{
	struct volume volume;
	knot_lsn_t end;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 3000);
	volume_append_fill(&volume, FIRST_PAGE, 2, 2000);
	end = volume_append_fill(&volume, FIRST_PAGE + 7, 3, 4032);
	volume_flush(&volume);
	volume_crash(&volume);
	volume_replay(&volume);
	assert_false(volume.recovered.was_clean);
	assert_false(volume.recovered.dropped_tail);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_int_equal(volume.recovered.mtrs, 3);
	assert_int_equal(volume.recovered.records, 3);
	assert_int_equal(volume.recovered.pages_written, 2);
	assert_int_equal(volume.recovered.epoch, 2);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 2, 2000));
	assert_true(page_is_filled(&volume, FIRST_PAGE + 7, 3, 4032));
	volume_replay(&volume);
	assert_true(volume.recovered.was_clean);
	volume_stop(&volume);
}

static void metadata_gets_its_lsn_and_its_seal(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };
	struct knot_disk_page_header *header;
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };
	knot_lsn_t end;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	knot_page_format(page, KNOT_PAGE_STATE, FIRST_PAGE, 99);
	memset(page, 0xee, 32); /* neither check nor LSN mean anything in the log */
	memset(page + 48, 0xee, 8);
	page[4095] = 1;
	records_add_page(&records, KNOT_SPACE_META, FIRST_PAGE, page);
	volume_append(&volume, &records, NULL);
	records.len_bytes = 0;
	page[100] = 77;
	records_add_bytes(&records, KNOT_SPACE_META, FIRST_PAGE, page, 90, 20);
	end = volume_append(&volume, &records, NULL);
	volume_append_fill(&volume, FIRST_PAGE + 1, 1, 1);
	volume_flush(&volume);
	volume_crash(&volume);
	volume_replay(&volume);

	header = (struct knot_disk_page_header *)(void *)page;
	header->lsn = knot_put64(end);
	knot_page_seal(&volume.super.seal, page);
	assert_memory_equal(page, page_now(&volume, FIRST_PAGE), sizeof(page));
	volume_stop(&volume);
}

static void changes_before_the_first_image_are_home_already(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };
	uint8_t page[KNOT_PAGE_BYTES];

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	memset(page, 5, sizeof(page));
	records_add_bytes(&records, KNOT_SPACE_DATA, FIRST_PAGE, page, 0, 4000);
	volume_append(&volume, &records, NULL);
	volume_flush(&volume);
	volume_crash(&volume);
	volume_replay(&volume);
	assert_int_equal(volume.recovered.mtrs, 1);
	assert_int_equal(volume.recovered.pages_written, 0);
	volume_stop(&volume);
}

static void replay_begins_at_the_checkpoint(void **state)
{
	struct volume volume;
	knot_lsn_t first;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	first = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_append_fill(&volume, FIRST_PAGE + 1, 2, 100);
	assert_int_equal(knot_log_write_slot(volume.log, first, 0, false), 0);
	volume_crash(&volume);
	volume_replay(&volume);
	assert_int_equal(volume.recovered.checkpoint_lsn, first);
	assert_int_equal(volume.recovered.mtrs, 1);
	assert_false(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	assert_true(page_is_filled(&volume, FIRST_PAGE + 1, 2, 100));
	volume_stop(&volume);
}

static void a_checkpoint_anywhere_in_a_unit_is_found_again(void **state)
{
	uint32_t len;

	(void)state;
	for (len = 0; len < 1100; len += 7) {
		struct volume volume;
		knot_lsn_t first;

		volume_start(&volume, UNIT, BUFFER, false);
		first = volume_append_fill(&volume, FIRST_PAGE, 1, len);
		if (len % 2)
			volume_append_fill(&volume, FIRST_PAGE + 1, 2, 10);
		assert_int_equal(knot_log_write_slot(volume.log, first, 0, true), 0);
		volume_crash(&volume);
		volume_replay(&volume);
		assert_int_equal(volume.recovered.mtrs, len % 2);
		assert_int_equal(volume.recovered.was_clean, !(len % 2));
		assert_int_equal(volume.recovered.next_lsn, KNOT_LSN_FIRST + UNIT);
		volume_stop(&volume);
	}
}

static void a_transaction_that_is_cut_is_dropped_whole(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };
	uint8_t page[KNOT_PAGE_BYTES];
	knot_lsn_t end, start;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	memset(page, 9, sizeof(page));
	records_add_page(&records, KNOT_SPACE_DATA, FIRST_PAGE, page);
	records_add_page(&records, KNOT_SPACE_DATA, FIRST_PAGE + 1, page);
	records_add_free(&records, FIRST_PAGE, 1);
	volume_append(&volume, &records, &start);
	volume_flush(&volume);
	memset(ring_now(&volume, KNOT_LSN_FIRST + 2 * UNIT), 0, UNIT); /* the unit with END_MTR never arrived */
	volume_crash(&volume);
	volume_replay(&volume);
	assert_true(volume.recovered.dropped_tail);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_int_equal(volume.recovered.next_lsn, KNOT_LSN_FIRST + 2 * UNIT);
	assert_int_equal(volume.recovered.pages_written, 1);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	volume_stop(&volume);
}

static void strict_counts_up_to_the_last_batch_end(void **state)
{
	struct volume volume;
	knot_lsn_t end;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, true);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	end = knot_log_append_batch_end(volume.log);
	knot_log_release(volume.log);
	volume_append_fill(&volume, FIRST_PAGE, 2, 100);
	volume_append_fill(&volume, FIRST_PAGE + 1, 2, 100);
	volume_flush(&volume);
	volume_crash(&volume);
	assert_int_equal(volume_recover(&volume, 1 << 20, KNOT_SLOT_STRICT), 0);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_true(volume.recovered.dropped_tail);
	assert_int_equal(volume.recovered.mtrs, 1);
	assert_int_equal(volume.recovered.pages_written, 1);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));

	/* the rule is the epoch's own: a later mount without it counts every mini-transaction */
	volume_replay(&volume);
	volume_open_log(&volume, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 3, 100);
	volume_flush(&volume);
	volume_crash(&volume);
	volume_replay(&volume);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 3, 100));
	volume_stop(&volume);
}

static void a_dry_run_writes_nothing(void **state)
{
	struct knot_recovery_options options = { .batch_bytes = 1 << 20, .dry_run = true };
	struct knot_recovery_result result;
	struct volume volume;
	size_t ops;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_flush(&volume);
	volume_crash(&volume);
	ops = volume.recorder->count;
	assert_int_equal(
		knot_recovery_run(&volume.recorder->device, &volume.super, &volume.messages, &options, &result), 0);
	assert_int_equal(volume.recorder->count, ops);
	assert_int_equal(result.mtrs, 1);
	assert_false(result.was_clean);
	volume_stop(&volume);
}

static void more_pages_than_memory_take_more_passes(void **state)
{
	struct volume volume;
	struct records *records = calloc(1, sizeof(*records));
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };
	uint64_t random = random_seed();
	uint64_t fill[300] = { 0 };
	unsigned round, i;

	(void)state;
	assert_non_null(records);
	volume_start(&volume, UNIT, 1 << 18, false);
	for (round = 0; round < 3; round++) {
		for (i = 0; i < 300; i++) {
			unsigned at = (i * 7u + round) % 300;

			if (i % 30 == 29 || records->len_bytes > 10000) {
				volume_append(&volume, records, NULL);
				records->len_bytes = 0;
			}
			fill[at] = random_next(&random);
			memcpy(page + 64, &fill[at], sizeof(fill[at]));
			if (round)
				records_add_bytes(records, KNOT_SPACE_DATA, FIRST_PAGE + at, page, 64, 8);
			else
				records_add_page(records, KNOT_SPACE_DATA, FIRST_PAGE + at, page);
		}
	}
	volume_append(&volume, records, NULL);
	volume_flush(&volume);
	volume_crash(&volume);
	assert_int_equal(volume_recover(&volume, SMALL_BATCH, 0), 0);
	assert_int_equal(volume.recovered.pages_written, 300);
	for (i = 0; i < 300; i++) {
		memset(page, 0, sizeof(page));
		memcpy(page + 64, &fill[i], sizeof(fill[i]));
		assert_memory_equal(page, page_now(&volume, FIRST_PAGE + i), sizeof(page));
	}
	free(records);
	volume_stop(&volume);
}

/* ---- freed pages ----------------------------------------------------------------------------------------------- */

static void freed_pages_are_not_written_home(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_append_fill(&volume, FIRST_PAGE + 1, 1, 100);
	volume_append_fill(&volume, FIRST_PAGE + 2, 1, 100);
	records_add_free(&records, FIRST_PAGE, 2);
	volume_append(&volume, &records, NULL);
	volume_append_fill(&volume, FIRST_PAGE + 1, 2, 50); /* used again, through the log */
	volume_flush(&volume);
	memset(volume.recorder->now + FIRST_PAGE * KNOT_PAGE_BYTES, 0xbb, KNOT_PAGE_BYTES); /* used again, without */
	volume_crash(&volume);
	volume_replay(&volume);
	assert_int_equal(page_now(&volume, FIRST_PAGE)[64], 0xbb);
	assert_true(page_is_filled(&volume, FIRST_PAGE + 1, 2, 50));
	assert_true(page_is_filled(&volume, FIRST_PAGE + 2, 1, 100));
	assert_int_equal(volume.recovered.pages_written, 2);
	volume_stop(&volume);
}

static void a_free_that_was_cut_off_frees_nothing(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };

	(void)state;
	volume_start(&volume, UNIT, BUFFER, true);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	knot_log_append_batch_end(volume.log);
	knot_log_release(volume.log);
	records_add_free(&records, FIRST_PAGE, 1);
	volume_append(&volume, &records, NULL);
	volume_flush(&volume);
	volume_crash(&volume);
	volume_replay(&volume);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	volume_stop(&volume);
}

static void the_newest_free_of_a_page_is_found(void **state)
{
	struct knot_free_map map = { 0 };
	uint64_t expected[400] = { 0 };
	uint64_t random = random_seed();
	uint64_t lsn = 10000;
	unsigned i, j;

	(void)state;
	assert_int_equal(knot_free_map_find(&map, 5), 0);
	for (i = 0; i < 300; i++) {
		uint64_t from = random_below(&random, 350);
		uint64_t count = 1 + random_below(&random, i % 10 ? 6 : 50);

		lsn += random_below(&random, 3) * 100;
		assert_int_equal(knot_free_map_add(&map, from, count, lsn), 0);
		for (j = 0; j < count; j++)
			expected[from + j] = lsn;
	}
	assert_int_equal(knot_free_map_add(&map, 1000000, 0xffffffff, 7), 0);
	assert_int_equal(knot_free_map_finish(&map), 0);
	for (i = 0; i < 400; i++)
		assert_int_equal(knot_free_map_find(&map, i), expected[i]);
	assert_int_equal(knot_free_map_find(&map, 999999), 0);
	assert_int_equal(knot_free_map_find(&map, 1000000 + 0xfffffffeULL), 7);
	assert_int_equal(knot_free_map_find(&map, 1000000 + 0xffffffffULL), 0);
	for (i = 1; i < map.count; i++)
		assert_true(map.ranges[i - 1].end <= map.ranges[i].page_no);
	knot_free_map_destroy(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_volume_has_nothing_to_replay),
		cmocka_unit_test(what_was_flushed_is_replayed),
		cmocka_unit_test(metadata_gets_its_lsn_and_its_seal),
		cmocka_unit_test(changes_before_the_first_image_are_home_already),
		cmocka_unit_test(replay_begins_at_the_checkpoint),
		cmocka_unit_test(a_checkpoint_anywhere_in_a_unit_is_found_again),
		cmocka_unit_test(a_transaction_that_is_cut_is_dropped_whole),
		cmocka_unit_test(strict_counts_up_to_the_last_batch_end),
		cmocka_unit_test(a_dry_run_writes_nothing),
		cmocka_unit_test(more_pages_than_memory_take_more_passes),
		cmocka_unit_test(freed_pages_are_not_written_home),
		cmocka_unit_test(a_free_that_was_cut_off_frees_nothing),
		cmocka_unit_test(the_newest_free_of_a_page_is_found),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
