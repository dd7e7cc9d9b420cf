/* SPDX-License-Identifier: MIT */
/* The redo log: reservations, laps, group commit, batches, slots. What a power cut leaves is test_recovery.c's. */
#include "tests/unit/log_volume.h"

#include "fs/txn/slot_int.h"

#define UNIT 4096u
#define BUFFER (64u * 1024u)

static void check_order(struct knot_log *log)
{
	struct knot_txn_stats stats = { 0 };

	knot_log_add_stats(log, &stats);
	assert_true(stats.checkpoint_lsn <= stats.flushed_lsn);
	assert_true(stats.flushed_lsn <= stats.written_lsn);
	assert_true(stats.written_lsn <= stats.lsn);
	assert_true(stats.ring_used_bytes <= stats.ring_bytes);
	assert_true(stats.log_buffer_used_bytes <= stats.log_buffer_bytes);
	assert_true(knot_lsn_is_position(stats.lsn));
	assert_int_equal(stats.written_lsn, knot_lsn_unit_floor(stats.written_lsn, UNIT));
}

static void every_body_byte_has_one_position(void **state)
{
	uint64_t lsn = KNOT_LSN_FIRST;
	uint64_t i;

	(void)state;
	for (i = 0; i < 3u * KNOT_LOG_BODY_BYTES; i++) {
		uint64_t next = knot_lsn_advance(lsn, 1);

		assert_true(knot_lsn_is_position(lsn));
		assert_int_equal(knot_lsn_advance(KNOT_LSN_FIRST, i), lsn);
		assert_int_equal(knot_lsn_offset(lsn), i % KNOT_LOG_BODY_BYTES);
		assert_int_equal(knot_lsn_position(knot_lsn_block(lsn), knot_lsn_offset(lsn)), lsn);
		assert_true(next > lsn);
		lsn = next;
	}
	assert_int_equal(lsn, KNOT_LSN_FIRST + 3u * KNOT_LOG_BLOCK_BYTES);
	assert_false(knot_lsn_is_position(KNOT_LSN_FIRST + 12));
	assert_false(knot_lsn_is_position(KNOT_LSN_FIRST + 508));
	assert_false(knot_lsn_is_position(KNOT_LSN_FIRST - 512));
	assert_int_equal(knot_lsn_unit_ceil(KNOT_LSN_FIRST, UNIT), KNOT_LSN_FIRST);
	assert_int_equal(knot_lsn_unit_ceil(KNOT_LSN_FIRST + 1, UNIT), KNOT_LSN_FIRST + UNIT);
}

static void what_was_flushed_needs_no_second_flush(void **state)
{
	struct volume volume;
	knot_lsn_t end;
	uint64_t flushes;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	assert_true(knot_log_flushed_lsn(volume.log) < end);
	assert_int_equal(knot_log_flush(volume.log, end, true, NULL), 0);
	assert_true(knot_log_flushed_lsn(volume.log) >= end);
	flushes = volume.recorder->flushes;
	assert_int_equal(knot_log_flush(volume.log, end, true, NULL), 0);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log) + 12345, true, NULL), 0);
	assert_int_equal(volume.recorder->flushes, flushes);
	volume_stop(&volume);
}

static void writing_without_flush_makes_nothing_durable(void **state)
{
	struct volume volume;
	struct knot_txn_stats stats = { 0 };
	uint64_t flushes;
	knot_lsn_t end;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	flushes = volume.recorder->flushes;
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 100);
	assert_int_equal(knot_log_flush(volume.log, end, false, NULL), 0);
	assert_int_equal(volume.recorder->flushes, flushes);
	assert_true(knot_log_flushed_lsn(volume.log) < end);
	knot_log_add_stats(volume.log, &stats);
	assert_true(stats.written_lsn >= end);
	assert_int_equal(stats.log_writes, 1);
	assert_int_equal(stats.log_written_bytes, UNIT);
	assert_int_equal(knot_log_flush(volume.log, end, true, NULL), 0);
	assert_int_equal(volume.recorder->flushes, flushes + 1);
	check_order(volume.log);
	volume_stop(&volume);
}

static void a_reservation_says_what_is_full(void **state)
{
	struct volume volume;
	bool ring_full = false;
	uint64_t ring_bytes;

	(void)state;
	volume_start(&volume, UNIT, 1 << 20, false);
	ring_bytes = knot_log_ring_bytes(volume.log);
	assert_int_equal(ring_bytes, 64 * 4096);

	/* three quarters for everybody, the rest but for the margin for the privileged */
	assert_int_equal(knot_log_try_reserve(volume.log, ring_bytes / 4 * 3 + 1, false, &ring_full), -EAGAIN);
	assert_true(ring_full);
	assert_int_equal(knot_log_try_reserve(volume.log, ring_bytes / 4 * 3, false, &ring_full), 0);
	assert_int_equal(knot_log_try_reserve(volume.log, 1, false, &ring_full), -EAGAIN);
	assert_int_equal(knot_log_try_reserve(volume.log, ring_bytes / 4 - 2 * UNIT, true, &ring_full), 0);
	assert_int_equal(knot_log_try_reserve(volume.log, 1, true, &ring_full), -EAGAIN);
	assert_true(ring_full);
	knot_log_unreserve(volume.log, ring_bytes - 2 * UNIT);
	assert_int_equal(knot_log_try_reserve(volume.log, 1, false, &ring_full), 0);
	volume_stop(&volume);

	volume_start(&volume, UNIT, BUFFER, false);
	assert_int_equal(knot_log_try_reserve(volume.log, BUFFER, false, &ring_full), 0);
	assert_int_equal(knot_log_try_reserve(volume.log, 1, true, &ring_full), -EAGAIN);
	assert_false(ring_full);
	volume_stop(&volume);
}

static void half_a_buffer_asks_for_a_flush(void **state)
{
	struct volume volume;
	unsigned i;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	for (i = 0; i < 8; i++) {
		assert_false(knot_log_wants_flush(volume.log));
		volume_append_fill(&volume, FIRST_PAGE + i, 1, 4000);
	}
	assert_true(knot_log_wants_flush(volume.log));
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), true, NULL), 0);
	assert_false(knot_log_wants_flush(volume.log));
	volume_stop(&volume);
}

/* ---- laps ------------------------------------------------------------------------------------------------------ */

struct lap_check {
	const struct knot_super *super;
	uint32_t next_number[64 * 8]; /* least number that the block at this place may get */
	uint64_t log_writes;
};

static void check_log_write(void *arg, uint64_t at_bytes, const uint8_t *data, size_t len_bytes)
{
	struct lap_check *check = arg;
	uint64_t ring_at;
	size_t at;

	for (ring_at = 0; ring_at < 64 * 4096; ring_at += 4096) {
		if (ring_device_at(check->super, ring_at) == at_bytes)
			break;
	}
	if (ring_at == 64 * 4096)
		return;
	check->log_writes++;
	for (at = 0; at < len_bytes; at += 512) {
		const struct knot_disk_block *block = (const struct knot_disk_block *)(const void *)(data + at);
		uint32_t *next = &check->next_number[(ring_at + at) / 512];

		assert_true(knot_get32(block->header.number) >= *next);
		assert_true(knot_get16(block->header.used_bytes) <= KNOT_LOG_BODY_BYTES);
		*next = knot_get32(block->header.number) + 1;
	}
}

static void a_unit_is_written_once_a_lap(uint32_t unit_bytes)
{
	struct volume volume;
	struct lap_check check = { 0 };
	uint64_t random = random_seed();
	knot_lsn_t first;

	volume_start(&volume, unit_bytes, 100000, false);
	check.super = &volume.super;
	volume.recorder->on_write = check_log_write;
	volume.recorder->arg = &check;
	first = knot_log_lsn(volume.log);
	while (knot_log_lsn(volume.log) < first + 20 * knot_log_ring_bytes(volume.log)) {
		uint64_t bytes = knot_log_worst_bytes(volume.log, 4200);
		bool ring_full;

		if (knot_log_try_reserve(volume.log, bytes, false, &ring_full)) {
			if (ring_full)
				assert_int_equal(knot_log_write_slot(volume.log, knot_log_lsn(volume.log), 0, true), 0);
			else
				assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), false, NULL), 0);
			continue;
		}
		knot_log_unreserve(volume.log, bytes);
		volume_append_fill(&volume, FIRST_PAGE, 1, (uint32_t)random_below(&random, 4000));
		if (!random_below(&random, 5))
			assert_int_equal(
				knot_log_flush(volume.log, knot_log_lsn(volume.log), random_below(&random, 2), NULL),
				0);
		if (unit_bytes == UNIT)
			check_order(volume.log);
	}
	assert_true(check.log_writes > 20);
	volume_stop(&volume);
}

static void a_unit_is_written_once_a_lap_of_a_tiny_ring(void **state)
{
	(void)state;
	a_unit_is_written_once_a_lap(4096);
	a_unit_is_written_once_a_lap(16384);
}

static void mtrs_of_every_length_end_where_the_next_begins(void **state)
{
	struct volume volume;
	struct records *records = calloc(1, sizeof(*records));
	knot_lsn_t end = 0;
	knot_lsn_t start;
	uint32_t len;

	(void)state;
	assert_non_null(records);
	volume_start(&volume, UNIT, BUFFER, false);
	for (len = 0; len < 1100; len++) {
		records->len_bytes = len;
		memset(records->bytes, 0, len);
		start = 0;
		if (len % 7 == 6)
			assert_int_equal(knot_log_write_slot(volume.log, end, 0, true), 0);
		if (len % 7 == 6 || !len) {
			end = volume_append(&volume, records, &start);
			assert_int_equal(knot_lsn_offset(start), 14);
		} else {
			knot_lsn_t before = end;

			end = volume_append(&volume, records, &start);
			assert_int_equal(start, before);
		}
		assert_int_equal(end, knot_lsn_advance(start, len + 14));
		assert_int_equal(end, knot_log_lsn(volume.log));
	}
	free(records);
	volume_stop(&volume);
}

/* ---- group commit ---------------------------------------------------------------------------------------------- */

#define THREADS 4
#define COMMITS 60

struct committer {
	struct volume *volume;
	uint64_t page_no;
	uint64_t longest;
};

static void *commit_many(void *arg)
{
	struct committer *committer = arg;
	struct knot_log *log = committer->volume->log;
	struct knot_disk_record head = { .type = KNOT_RECORD_PAGE, .space = KNOT_SPACE_DATA };
	struct iovec iov[2];
	uint8_t bytes[100];
	uint64_t worst = knot_log_worst_bytes(log, sizeof(head) + sizeof(bytes));
	bool ring_full;
	unsigned i;

	head.offset = knot_put16(sizeof(bytes));
	head.len = knot_put16(KNOT_PAGE_BYTES - sizeof(bytes));
	head.page_no = knot_put64(committer->page_no);
	for (i = 0; i < COMMITS; i++) {
		knot_lsn_t end;

		while (knot_log_try_reserve(log, worst, false, &ring_full)) {
			knot_lsn_t lsn = knot_log_lsn(log);

			if (ring_full ? knot_log_write_slot(log, lsn, 0, i % 2) : knot_log_flush(log, lsn, true, NULL))
				return NULL;
		}
		memset(bytes, (int)i, sizeof(bytes));
		iov[0].iov_base = &head;
		iov[0].iov_len = sizeof(head);
		iov[1].iov_base = bytes;
		iov[1].iov_len = sizeof(bytes);
		end = knot_log_append(log, iov, 2, KNOT_RECORD_END_MTR, NULL);
		knot_log_unreserve(log, worst);
		if (knot_log_flush(log, end, i % 3 != 0, NULL))
			return NULL;
		if (i % 3 != 0 && knot_log_flushed_lsn(log) < end)
			return NULL;
	}
	return committer;
}

static void threads_that_commit_together_share_flushes(void **state)
{
	struct volume volume;
	struct committer committers[THREADS];
	pthread_t threads[THREADS];
	struct knot_txn_stats stats = { 0 };
	void *result;
	unsigned i;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	for (i = 0; i < THREADS; i++) {
		committers[i].volume = &volume;
		committers[i].page_no = FIRST_PAGE + i;
		assert_int_equal(pthread_create(&threads[i], NULL, commit_many, &committers[i]), 0);
	}
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(pthread_join(threads[i], &result), 0);
		assert_non_null(result);
	}
	check_order(volume.log);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), true, NULL), 0);
	knot_log_add_stats(volume.log, &stats);
	assert_true(stats.group_commit_max >= 1 && stats.group_commit_max <= THREADS);

	knot_log_close(volume.log);
	volume.log = NULL;
	assert_int_equal(volume_recover(&volume, 1 << 20, 0), 0);
	assert_int_equal(volume.recovered.durable_lsn <= stats.flushed_lsn, 1);
	assert_int_equal(volume.recovered.next_lsn, stats.flushed_lsn);
	for (i = 0; i < THREADS; i++) {
		uint8_t last = volume.recorder->now[(FIRST_PAGE + i) * KNOT_PAGE_BYTES];

		assert_true(last == COMMITS - 1 || last == 0); /* 0: the checkpoint had passed it */
	}
	volume_stop(&volume);
}

/* ---- failures -------------------------------------------------------------------------------------------------- */

static void a_failed_write_or_flush_stops_the_log_for_good(void **state)
{
	unsigned nth;

	(void)state;
	for (nth = 1; nth <= 3; nth++) {
		struct volume volume;
		bool ring_full;
		knot_lsn_t end;

		volume_start(&volume, UNIT, BUFFER, false);
		if (nth == 3)
			assert_int_equal(
				knot_log_flush(volume.log, volume_append_fill(&volume, FIRST_PAGE, 1, 10), true, NULL),
				0);
		volume.recorder->fail_from = volume.recorder->count + (nth == 3 ? 1 : nth);
		if (nth == 3) {
			end = knot_log_lsn(volume.log);
			assert_int_equal(knot_log_write_slot(volume.log, end, 0, true), -EIO);
		} else {
			end = volume_append_fill(&volume, FIRST_PAGE, 1, 10);
			assert_int_equal(knot_log_flush(volume.log, end, true, NULL), -EIO);
			assert_true(knot_log_flushed_lsn(volume.log) < end);
		}
		assert_int_equal(volume.failures, 1);
		volume.recorder->fail_from = 0;
		assert_int_equal(knot_log_flush(volume.log, end, true, NULL), -EIO);
		assert_int_equal(knot_log_write_slot(volume.log, end, 0, true), -EIO);
		assert_int_equal(knot_log_try_reserve(volume.log, 1, false, &ring_full), -EIO);
		assert_int_equal(volume.failures, 1);
		volume_stop(&volume);
	}
}

/* ---- batches --------------------------------------------------------------------------------------------------- */

static knot_lsn_t append_batch_end(struct volume *volume)
{
	uint64_t worst = knot_log_worst_bytes(volume->log, 0);
	bool ring_full;
	knot_lsn_t end;

	assert_int_equal(knot_log_try_reserve(volume->log, worst, true, &ring_full), 0);
	end = knot_log_append_batch_end(volume->log);
	knot_log_unreserve(volume->log, worst);
	return end;
}

static void the_end_of_a_batch_is_written_after_its_release_only(void **state)
{
	struct volume volume;
	struct knot_txn_stats stats = { 0 };
	knot_lsn_t mtr, batch, second;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, true);
	mtr = volume_append_fill(&volume, FIRST_PAGE, 1, 5000 % 4000);
	assert_true(knot_log_open_batch_bytes(volume.log) > 0);
	batch = append_batch_end(&volume);
	assert_int_equal(knot_log_open_batch_bytes(volume.log), 0);
	second = volume_append_fill(&volume, FIRST_PAGE + 1, 2, 100);
	assert_true(second > batch);

	assert_int_equal(knot_log_flush(volume.log, mtr, true, NULL), 0);
	knot_log_add_stats(volume.log, &stats);
	assert_true(stats.written_lsn >= mtr && stats.written_lsn < batch);
	assert_true(knot_log_batch_lsn(volume.log) < batch);

	knot_log_release(volume.log);
	assert_true(knot_log_batch_lsn(volume.log) < batch);
	assert_int_equal(knot_log_flush(volume.log, batch, false, NULL), 0);
	assert_true(knot_log_batch_lsn(volume.log) < batch);
	assert_int_equal(knot_log_flush(volume.log, batch, true, NULL), 0);
	assert_int_equal(knot_log_batch_lsn(volume.log), batch);
	volume_stop(&volume);
}

struct waiter {
	struct volume *volume;
	knot_lsn_t lsn;
	int err;
};

static void *wait_for_flush(void *arg)
{
	struct waiter *waiter = arg;

	waiter->err = knot_log_flush(waiter->volume->log, waiter->lsn, true, NULL);
	return NULL;
}

static void a_flush_behind_a_batch_end_waits_for_release_or_stop(void **state)
{
	int stop;

	(void)state;
	for (stop = 0; stop < 2; stop++) {
		struct volume volume;
		struct waiter waiter = { .volume = &volume };
		pthread_t thread;

		volume_start(&volume, UNIT, BUFFER, true);
		volume_append_fill(&volume, FIRST_PAGE, 1, 100);
		waiter.lsn = append_batch_end(&volume);
		assert_int_equal(pthread_create(&thread, NULL, wait_for_flush, &waiter), 0);
		if (stop)
			knot_log_stop(volume.log);
		else
			knot_log_release(volume.log);
		assert_int_equal(pthread_join(thread, NULL), 0);
		assert_int_equal(waiter.err, stop ? -EIO : 0);
		assert_int_equal(knot_log_batch_lsn(volume.log) == waiter.lsn, !stop);
		assert_int_equal(volume.failures, 0);
		volume_stop(&volume);
	}
}

static void two_batch_ends_become_durable_one_after_the_other(void **state)
{
	struct volume volume;
	knot_lsn_t first, second;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, true);
	first = append_batch_end(&volume);
	knot_log_release(volume.log);
	second = append_batch_end(&volume);
	assert_int_equal(knot_log_flush(volume.log, first, true, NULL), 0);
	assert_int_equal(knot_log_batch_lsn(volume.log), first);
	knot_log_release(volume.log);
	assert_int_equal(knot_log_flush(volume.log, second, true, NULL), 0);
	assert_int_equal(knot_log_batch_lsn(volume.log), second);
	volume_stop(&volume);
}

/* ---- slots ----------------------------------------------------------------------------------------------------- */

static void ring_space_is_free_once_its_slot_is_durable(void **state)
{
	struct volume volume;
	struct knot_txn_stats stats;
	knot_lsn_t first, end;
	uint64_t sequence;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	first = knot_log_lsn(volume.log);
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 3000);
	assert_int_equal(knot_log_write_slot(volume.log, end, 0, false), 0);
	assert_true(knot_log_flushed_lsn(volume.log) >= end);
	knot_log_add_stats(volume.log, memset(&stats, 0, sizeof(stats)));
	assert_int_equal(stats.checkpoint_lsn, first);

	/* a flush that began before the slot says nothing about it; one after does */
	sequence = knot_log_slot_sequence(volume.log);
	knot_log_note_device_flush(volume.log, sequence - 1);
	knot_log_add_stats(volume.log, memset(&stats, 0, sizeof(stats)));
	assert_int_equal(stats.checkpoint_lsn, first);
	knot_log_note_device_flush(volume.log, sequence);
	knot_log_add_stats(volume.log, memset(&stats, 0, sizeof(stats)));
	assert_int_equal(stats.checkpoint_lsn, end);

	/* so does the log's own */
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 3000);
	assert_int_equal(knot_log_write_slot(volume.log, end, 0, false), 0);
	assert_int_equal(knot_log_flush(volume.log, volume_append_fill(&volume, FIRST_PAGE, 1, 10), true, NULL), 0);
	knot_log_add_stats(volume.log, memset(&stats, 0, sizeof(stats)));
	assert_int_equal(stats.checkpoint_lsn, end);
	volume_stop(&volume);
}

static void a_slot_is_written_when_the_one_before_is_durable(void **state)
{
	struct volume volume;
	uint64_t flushes;
	knot_lsn_t end;

	(void)state;
	volume_start(&volume, UNIT, BUFFER, false);
	end = volume_append_fill(&volume, FIRST_PAGE, 1, 3000);
	assert_int_equal(knot_log_flush(volume.log, knot_log_lsn(volume.log), true, NULL), 0);
	flushes = volume.recorder->flushes;
	assert_int_equal(knot_log_write_slot(volume.log, end, 0, false), 0);
	assert_int_equal(volume.recorder->flushes, flushes);
	assert_int_equal(knot_log_write_slot(volume.log, end, 0, false), 0);
	assert_int_equal(volume.recorder->flushes, flushes + 1);
	assert_int_equal(knot_log_write_slot(volume.log, end, 0, true), 0);
	assert_int_equal(volume.recorder->flushes, flushes + 3);
	volume_stop(&volume);
}

static void a_slot_that_was_changed_anywhere_is_refused(void **state)
{
	struct knot_super super;
	struct knot_ring ring;
	struct knot_slot slot = { .sequence = 7, .epoch = 3, .flags = 1, .checkpoint_lsn = KNOT_LSN_FIRST + 12 + 100 };
	struct knot_slot got;
	uint8_t page[KNOT_PAGE_BYTES];
	size_t i;

	(void)state;
	volume_super(&super, UNIT);
	knot_ring_init(&ring, &super);
	slot.checkpoint_at = UNIT + 112;
	slot.durable_lsn = KNOT_LSN_FIRST + UNIT;
	knot_slot_encode(&super, &slot, page);
	assert_int_equal(knot_slot_decode(&ring, page, 1, &got), KNOT_SLOT_GOOD);
	assert_int_equal(got.sequence, 7);
	assert_int_equal(got.checkpoint_lsn, slot.checkpoint_lsn);
	assert_int_equal(got.checkpoint_at, slot.checkpoint_at);
	assert_int_equal(got.durable_lsn, slot.durable_lsn);
	assert_int_equal(knot_slot_decode(&ring, page, 0, &got), KNOT_SLOT_BAD);
	for (i = 0; i < sizeof(struct knot_disk_slot); i++) {
		page[i] ^= 0x10;
		assert_int_equal(knot_slot_decode(&ring, page, 1, &got), KNOT_SLOT_BAD);
		page[i] ^= 0x10;
	}
	slot.checkpoint_at = UNIT + 113; /* not where such an LSN can be */
	knot_slot_encode(&super, &slot, page);
	assert_int_equal(knot_slot_decode(&ring, page, 1, &got), KNOT_SLOT_BAD);
	memset(page, 0, sizeof(page));
	assert_int_equal(knot_slot_decode(&ring, page, 1, &got), KNOT_SLOT_EMPTY);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_body_byte_has_one_position),
		cmocka_unit_test(what_was_flushed_needs_no_second_flush),
		cmocka_unit_test(writing_without_flush_makes_nothing_durable),
		cmocka_unit_test(a_reservation_says_what_is_full),
		cmocka_unit_test(half_a_buffer_asks_for_a_flush),
		cmocka_unit_test(a_unit_is_written_once_a_lap_of_a_tiny_ring),
		cmocka_unit_test(mtrs_of_every_length_end_where_the_next_begins),
		cmocka_unit_test(threads_that_commit_together_share_flushes),
		cmocka_unit_test(a_failed_write_or_flush_stops_the_log_for_good),
		cmocka_unit_test(the_end_of_a_batch_is_written_after_its_release_only),
		cmocka_unit_test(a_flush_behind_a_batch_end_waits_for_release_or_stop),
		cmocka_unit_test(two_batch_ends_become_durable_one_after_the_other),
		cmocka_unit_test(ring_space_is_free_once_its_slot_is_durable),
		cmocka_unit_test(a_slot_is_written_when_the_one_before_is_durable),
		cmocka_unit_test(a_slot_that_was_changed_anywhere_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
