/* SPDX-License-Identifier: MIT */
/* Log replay on damaged media and against failing devices: found, named, never harmful. */
#include "tests/unit/log_volume.h"

#define UNIT 4096u
#define BUFFER (128u * 1024u)
#define SMALL_BATCH 1u               /* recovery takes its least: 16 pages */

static void a_block_missing_below_a_later_durable_lsn_is_damage(void **state)
{
	struct volume volume;
	struct knot_recovery_result before;
	char lsn[32];

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_flush(&volume);
	volume_append_fill(&volume, FIRST_PAGE, 2, 100);
	volume_flush(&volume);
	volume_append_fill(&volume, FIRST_PAGE, 3, 100);
	volume_flush(&volume);
	*(ring_now(&volume, KNOT_LSN_FIRST + UNIT + 30)) ^= 1;
	volume_crash(&volume);
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
	volume_crash(&volume);
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
	volume_flush(&volume);
	volume_append_fill(&volume, FIRST_PAGE, 2, 4000);
	volume_append_fill(&volume, FIRST_PAGE, 3, 4000);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
	volume_append_fill(&volume, FIRST_PAGE, 4, 100);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
	memset(ring_now(&volume, KNOT_LSN_FIRST + UNIT), 0, UNIT);
	volume_crash(&volume);
	volume_replay(&volume);
	assert_int_equal(volume.recovered.end_lsn, end);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	volume_stop(&volume);
}

static void data_that_looks_like_a_durable_record_is_not_taken_for_one(void **state)
{
	struct volume volume;
	struct records records = { .len_bytes = 0 };
	struct knot_disk_record forged = { .type = KNOT_RECORD_DURABLE,
					   .page_no = knot_put64(KNOT_LSN_FIRST + 2 * UNIT) };
	uint8_t page[KNOT_PAGE_BYTES];
	unsigned i;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_flush(&volume);
	for (i = 0; i < 8; i++) { /* such a record at every body's start, as far as file data can put it there */
		unsigned at;

		for (at = 0; at < sizeof(page); at++)
			page[at] = ((const uint8_t *)&forged)[(at + i) % sizeof(forged)];
		records_add_page(&records, KNOT_SPACE_DATA, FIRST_PAGE, page);
	}
	volume_append(&volume, &records, NULL);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
	memset(ring_now(&volume, KNOT_LSN_FIRST + UNIT), 0, UNIT);
	volume_crash(&volume);
	volume_replay(&volume);
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
	volume_crash(&volume);
	volume_replay(&volume);
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
		volume_flush(&volume);
	}
	newest = (unsigned)(knot_log_slot_sequence(volume.log) % 2);
	memset(slot_now(&volume, newest), 0xff, 100);
	volume_crash(&volume);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	volume_stop(&volume);
}

static void blocks_of_a_newer_epoch_than_the_slots_are_damage(void **state)
{
	struct volume volume;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false); /* sequence 1, epoch 1; the other slot is mkfs's */
	volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	volume_flush(&volume);
	memset(slot_now(&volume, 1), 0xff, 100);
	volume_crash(&volume);
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
	volume_flush(&volume);
	volume_crash(&volume);
	memcpy(volume.super.salt, "another salt....", 16);
	knot_seal_init(&volume.super.seal, volume.super.salt);
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), -EUCLEAN);
	assert_int_equal(knot_recovery_format(&volume.recorder->device, &volume.super), 0);
	volume_replay(&volume);
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
		volume_flush(&volume);
		volume_crash(&volume);
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
		volume_flush(&volume);
		volume_crash(&volume);
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
	volume_flush(&volume);
	volume_crash(&volume);
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
	volume_replay(&volume);
	assert_true(page_is_filled(&volume, FIRST_PAGE, 1, 100));
	assert_true(page_is_filled(&volume, FIRST_PAGE + 9, 2, 100));
	volume_stop(&volume);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
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
