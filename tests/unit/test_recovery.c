/* SPDX-License-Identifier: MIT */
/* Log replay: what counts, what is damage, what is dropped. Random histories with power cuts: test_recovery_cuts.c. */
#include "tests/unit/log_volume.h"

#include "fs/txn/recovery_int.h"

#define UNIT 4096u
#define BUFFER (128u * 1024u)
#define SMALL_BATCH 1u               /* recovery takes its least: 16 pages */

static const uint8_t *page_now(const struct volume *volume, uint64_t page_no)
{
	return volume->recorder->now + page_no * KNOT_PAGE_BYTES;
}

static uint8_t *ring_now(const struct volume *volume, uint64_t lsn)
{
	uint64_t at = (volume->recovered.next_at + (lsn - volume->recovered.next_lsn)) % (64 * 4096);

	return volume->recorder->now + ring_device_at(&volume->super, at - at % 4096) + at % 4096;
}

static uint8_t *slot_now(const struct volume *volume, unsigned slot)
{
	return volume->recorder->now + (10 + slot) * KNOT_PAGE_BYTES;
}

static bool page_is_filled(const struct volume *volume, uint64_t page_no, uint8_t fill, size_t len)
{
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };

	memset(page + 64, fill, len);
	return !memcmp(page, page_now(volume, page_no), sizeof(page));
}

static void flush(struct volume *volume)
{
	assert_int_equal(knot_log_flush(volume->log, knot_log_lsn(volume->log), true, NULL), 0);
}

/* The power goes; what was written is there. */
static void crash(struct volume *volume)
{
	knot_log_close(volume->log);
	volume->log = NULL;
}

static void recover(struct volume *volume)
{
	assert_int_equal(volume_recover(volume, 1 << 20, 0), 0);
}

/* ---- what counts ----------------------------------------------------------------------------------------------------------- */

static void a_new_volume_has_nothing_to_replay(void **state)
{
	struct volume volume;
	unsigned i;

	(void)state;
	volume_init(&volume, NULL, UNIT);
	for (i = 1; i < 4; i++) {
		recover(&volume);
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
	flush(&volume);
	crash(&volume);
	recover(&volume);
	assert_false(volume.recovered.was_clean);
	assert_false(volume.recovered.dropped_tail);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_int_equal(volume.recovered.mtrs, 3);
	assert_int_equal(volume.recovered.records, 3);
	assert_int_equal(volume.recovered.pages_written, 2);
	assert_int_equal(volume.recovered.epoch, 2);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 2, 2000));
	assert_true(page_is_filled(&volume, FIRST_PAGE + 7, 3, 4032));
	recover(&volume);
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
	flush(&volume);
	crash(&volume);
	recover(&volume);

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
	flush(&volume);
	crash(&volume);
	recover(&volume);
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
	crash(&volume);
	recover(&volume);
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
		crash(&volume);
		recover(&volume);
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
	flush(&volume);
	memset(ring_now(&volume, KNOT_LSN_FIRST + 2 * UNIT), 0, UNIT); /* the unit with END_MTR never arrived */
	crash(&volume);
	recover(&volume);
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
	flush(&volume);
	crash(&volume);
	assert_int_equal(volume_recover(&volume, 1 << 20, KNOT_SLOT_STRICT), 0);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_true(volume.recovered.dropped_tail);
	assert_int_equal(volume.recovered.mtrs, 1);
	assert_int_equal(volume.recovered.pages_written, 1);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));

	/* the rule is the epoch's own: a later mount without it counts every mini-transaction */
	recover(&volume);
	volume_open_log(&volume, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 3, 100);
	flush(&volume);
	crash(&volume);
	recover(&volume);
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
	flush(&volume);
	crash(&volume);
	ops = volume.recorder->count;
	assert_int_equal(knot_recovery_run(&volume.recorder->device, &volume.super, &volume.messages, &options, &result), 0);
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
	flush(&volume);
	crash(&volume);
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

/* ---- freed pages ---------------------------------------------------------------------------------------------------------- */

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
	flush(&volume);
	memset(volume.recorder->now + FIRST_PAGE * KNOT_PAGE_BYTES, 0xbb, KNOT_PAGE_BYTES); /* used again, without */
	crash(&volume);
	recover(&volume);
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
	flush(&volume);
	crash(&volume);
	recover(&volume);
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

/* ---- damage ----------------------------------------------------------------------------------------------------------------- */

static void a_block_missing_below_a_later_durable_lsn_is_damage(void **state)
{
	struct volume volume;
	struct knot_recovery_result before;
	char lsn[32];

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	flush(&volume);
	volume_append_fill(&volume, FIRST_PAGE, 2, 100);
	flush(&volume);
	volume_append_fill(&volume, FIRST_PAGE, 3, 100);
	flush(&volume);
	*(ring_now(&volume, KNOT_LSN_FIRST + UNIT + 30)) ^= 1;
	crash(&volume);
	before = volume.recovered;
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	assert_memory_equal(&before, &volume.recovered, sizeof(before));
	snprintf(lsn, sizeof(lsn), "LSN %u ", KNOT_LSN_FIRST + UNIT);
	assert_non_null(strstr(volume.said, lsn));
	assert_non_null(strstr(volume.said, "page 13)"));
	volume_stop(&volume);
}

static void a_block_missing_below_the_slots_durable_lsn_is_damage(void **state)
{
	struct volume volume;
	knot_lsn_t first;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	first = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_append_fill(&volume, FIRST_PAGE, 2, 100);
	assert_int_equal(knot_log_write_slot(volume.log, first, 0, true), 0);
	memset(ring_now(&volume, KNOT_LSN_FIRST + 512), 0, 512);
	crash(&volume);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	assert_non_null(strstr(volume.said, "checkpoint slot"));
	volume_stop(&volume);
}

static void a_unit_missing_before_units_never_flushed_is_the_end(void **state)
{
	struct volume volume;
	knot_lsn_t end;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	flush(&volume);
	volume_append_fill(&volume, FIRST_PAGE, 2, 4000);
	volume_append_fill(&volume, FIRST_PAGE, 3, 4000);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
	volume_append_fill(&volume, FIRST_PAGE, 4, 100);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
	memset(ring_now(&volume, KNOT_LSN_FIRST + UNIT), 0, UNIT);
	crash(&volume);
	recover(&volume);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	volume_stop(&volume);
}

static void data_that_looks_like_a_durable_record_is_not_taken_for_one(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };
	struct knot_disk_record forged = { .type = KNOT_RECORD_DURABLE, .page_no = knot_put64(KNOT_LSN_FIRST + 2 * UNIT) };
	uint8_t page[KNOT_PAGE_BYTES];
	unsigned i;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	flush(&volume);
	for (i = 0; i < 8; i++) { /* such a record at every body's start, as far as file data can put it there */
		unsigned at;

		for (at = 0; at < sizeof(page); at++)
			page[at] = ((const uint8_t *)&forged)[(at + i) % sizeof(forged)];
		records_add_page(&records, KNOT_SPACE_DATA, FIRST_PAGE, page);
	}
	volume_append(&volume, &records, NULL);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
	memset(ring_now(&volume, KNOT_LSN_FIRST + UNIT), 0, UNIT);
	crash(&volume);
	recover(&volume);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	volume_stop(&volume);
}

static void the_older_slot_serves_when_the_newest_is_torn(void **state)
{
	struct volume volume;
	knot_lsn_t first, second;
	unsigned newest;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	first = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	second = volume_append_fill(&volume, FIRST_PAGE + 1, 2, 100);
	assert_int_equal(knot_log_write_slot(volume.log, first, 0, true), 0);
	assert_int_equal(knot_log_write_slot(volume.log, second, 0, true), 0);
	newest = (unsigned)(knot_log_slot_sequence(volume.log) % 2);
	memset(slot_now(&volume, newest), 0, 20);
	crash(&volume);
	recover(&volume);
	assert_int_equal(volume.recovered.checkpoint_lsn, first);
	assert_int_equal(volume.recovered.mtrs, 1);
	assert_true(page_is_filled(&volume, FIRST_PAGE + 1, 2, 100));

	memset(slot_now(&volume, 0), 0, 20);
	memset(slot_now(&volume, 1), 0, 20);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	assert_non_null(strstr(volume.said, "neither checkpoint slot"));
	volume_stop(&volume);
}

static void an_older_slot_whose_log_is_overwritten_is_damage(void **state)
{
	struct volume volume;
	unsigned newest, i;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	for (i = 1; i < 6; i++) { /* the older slot's log reaches from unit 60 on, the newer's from 75 */
		while (knot_log_lsn(volume.log) < KNOT_LSN_FIRST + i * 15 * UNIT)
			volume_append_fill(&volume, FIRST_PAGE, 1, 3000);
		assert_int_equal(knot_log_write_slot(volume.log, knot_log_lsn(volume.log), 0, true), 0);
	}
	while (knot_log_lsn(volume.log) < KNOT_LSN_FIRST + (75 + 57) * UNIT) {
		volume_append_fill(&volume, FIRST_PAGE, 1, 3000);
		flush(&volume);
	}
	newest = (unsigned)(knot_log_slot_sequence(volume.log) % 2);
	memset(slot_now(&volume, newest), 0xff, 100);
	crash(&volume);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	volume_stop(&volume);
}

static void blocks_of_a_newer_epoch_than_the_slots_are_damage(void **state)
{
	struct volume volume;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false); /* sequence 1, epoch 1; the other slot is mkfs's */
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	flush(&volume);
	memset(slot_now(&volume, 1), 0xff, 100);
	crash(&volume);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	assert_non_null(strstr(volume.said, "a slot is damaged"));
	volume_stop(&volume);
}

static void a_log_of_another_salt_is_empty(void **state)
{
	struct volume volume;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	flush(&volume);
	crash(&volume);
	memcpy(volume.super.salt, "another salt....", 16);
	knot_seal_init(&volume.super.seal, volume.super.salt);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	assert_int_equal(knot_recovery_format(&volume.recorder->device, &volume.super), 0);
	recover(&volume);
	assert_true(volume.recovered.was_clean);
	volume_stop(&volume);
}

struct bad_record {
	enum knot_record_type type;
	uint8_t space;
	uint32_t offset, len;
	uint64_t page_no;
};

static void a_record_that_can_not_be_is_damage(void **state)
{
	static const struct bad_record bad[] = {
		{ (enum knot_record_type)0, 0, 0, 0, FIRST_PAGE },
		{ (enum knot_record_type)7, 0, 0, 0, FIRST_PAGE },
		{ (enum knot_record_type)255, 0, 0, 0, FIRST_PAGE },
		{ KNOT_RECORD_BYTES, 2, 0, 1, FIRST_PAGE },
		{ KNOT_RECORD_BYTES, 0, 4096, 1, FIRST_PAGE },
		{ KNOT_RECORD_BYTES, 0, 65535, 65535, FIRST_PAGE },
		{ KNOT_RECORD_BYTES, 0, 0, 1, 0 },
		{ KNOT_RECORD_BYTES, 0, 0, 1, 10 },
		{ KNOT_RECORD_BYTES, 0, 0, 1, 125 },
		{ KNOT_RECORD_BYTES, 0, 0, 1, VOLUME_PAGES },
		{ KNOT_RECORD_BYTES, 0, 0, 1, FIRST_PAGE | 1ULL << 56 },
		{ KNOT_RECORD_PAGE, 0, 4000, 97, FIRST_PAGE },
		{ KNOT_RECORD_PAGE, 0, 0, 4097, FIRST_PAGE },
		{ KNOT_RECORD_PAGE, 1, 0, 4096, UINT64_MAX },
		{ KNOT_RECORD_FREE, 0, 0, 0, FIRST_PAGE },
		{ KNOT_RECORD_FREE, 0, 1, 0, FIRST_PAGE },
		{ KNOT_RECORD_FREE, 0, 0, 200, FIRST_PAGE - 100 },
		{ KNOT_RECORD_FREE, 0, 65535, 65535, FIRST_PAGE },
		{ KNOT_RECORD_FREE, 0, 0, 2, UINT64_MAX },
		{ KNOT_RECORD_DURABLE, 0, 0, 0, KNOT_LSN_FIRST },
		{ KNOT_RECORD_DURABLE, 0, 0, 0, UINT64_MAX },
		{ KNOT_RECORD_END_BATCH, 0, 0, 0, 0 },
	};
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct volume volume;
		struct records records = { .len_bytes = 0 };

		volume_start(&volume, UNIT, BUFFER, false);
		records_add(&records, KNOT_RECORD_BYTES, 0, 0, 1, FIRST_PAGE, "x", 1);
		records_add(&records, bad[i].type, bad[i].space, bad[i].offset, bad[i].len, bad[i].page_no, "x", 1);
		volume_append(&volume, &records, NULL);
		flush(&volume);
		crash(&volume);
		assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
		assert_non_null(strstr(volume.said, "LSN"));
		volume_stop(&volume);
	}
}

static void nonsense_in_good_blocks_never_does_harm(void **state)
{
	uint64_t random = random_seed();
	unsigned round;

	(void)state;
	for (round = 0; round < 300; round++) {
		struct volume volume;
		struct records *records = calloc(1, sizeof(*records));
		size_t i;
		int err;

		assert_non_null(records);
		volume_start(&volume, UNIT, BUFFER, round % 2);
		records->len_bytes = 1 + random_below(&random, 20000);
		for (i = 0; i < records->len_bytes; i++)
			records->bytes[i] = (uint8_t)(random_below(&random, 3) ? 0 : random_below(&random, 8));
		volume_append(&volume, records, NULL);
		flush(&volume);
		crash(&volume);
		err = volume_recover(&volume, SMALL_BATCH, 0);
		assert_true(!err || err == -EUCLEAN);
		free(records);
		volume_stop(&volume);
	}
}

static void failures_while_recovering_leave_it_to_the_next(void **state)
{
	struct volume volume;
	size_t ops, nth;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_append_fill(&volume, FIRST_PAGE + 9, 2, 100);
	flush(&volume);
	crash(&volume);
	ops = volume.recorder->count;
	for (nth = 1; nth <= 6; nth++) { /* flush, two homes, flush, slot, flush */
		volume.recorder->fail_from = ops + nth;
		assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EIO);
		ops = volume.recorder->count;
		if (nth == 6)
			break;
		ops -= nth - 1;
		while (volume.recorder->count > ops)
			free(volume.recorder->ops[--volume.recorder->count].data);
	}
	volume.recorder->fail_from = 0;
	recover(&volume);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	assert_true(page_is_filled(&volume, FIRST_PAGE + 9, 2, 100));
	volume_stop(&volume);
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
		cmocka_unit_test(a_block_missing_below_a_later_durable_lsn_is_damage),
		cmocka_unit_test(a_block_missing_below_the_slots_durable_lsn_is_damage),
		cmocka_unit_test(a_unit_missing_before_units_never_flushed_is_the_end),
		cmocka_unit_test(data_that_looks_like_a_durable_record_is_not_taken_for_one),
		cmocka_unit_test(the_older_slot_serves_when_the_newest_is_torn),
		cmocka_unit_test(an_older_slot_whose_log_is_overwritten_is_damage),
		cmocka_unit_test(blocks_of_a_newer_epoch_than_the_slots_are_damage),
		cmocka_unit_test(a_log_of_another_salt_is_empty),
		cmocka_unit_test(a_record_that_can_not_be_is_damage),
		cmocka_unit_test(nonsense_in_good_blocks_never_does_harm),
		cmocka_unit_test(failures_while_recovering_leave_it_to_the_next),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
