/* SPDX-License-Identifier: MIT */
/*
 * Power cuts by name: situations that once broke a log like this one, each built on purpose. The random histories of
 * test_power_cut.c meet them too, but seldom.
 */
#include "tests/lib/cut_bed.h"

#include "fs/txn/txn_int.h"
#include "fs/vfs/volume_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LOG_BYTES  (1u << 20)
#define BULK_PAGES 30u /* more than an fsync takes through the log */
/* The allocator keeps up to 64 pages back and yet may take them for data: what is freed must be more than that. */
#define OLD_PAGES  180u
#define NEW_PAGES  150u

/* ---- freed pages ---- */

static bool bulk_is_whole(struct knot_volume *volume, size_t event, void *arg)
{
	const struct marks *marks = arg;

	return event < marks->first || left_is_whole(volume, "bulk", NEW_PAGES * PAGE_BYTES, 2);
}

static void a_logged_page_freed_and_reused_for_bulk_data_keeps_the_bulk_data(void **state)
{
	struct marks marks;
	struct bed bed;
	uint64_t inode;
	size_t from;
	char name[8];

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	bed_fill(&bed, "filler", OLD_PAGES + 60);
	bed_checkpoint(&bed);
	for (unsigned i = 0; i < OLD_PAGES; i++) { /* each page goes through the log */
		snprintf(name, sizeof(name), "%u", i);
		inode = bed_create(&bed, name);
		bed_write(&bed, inode, 0, PAGE_BYTES, 1);
		bed_fsync(&bed, inode);
	}
	bed_fill(&bed, "more", 10);
	for (unsigned i = 0; i < OLD_PAGES; i++) {
		snprintf(name, sizeof(name), "%u", i);
		bed_unlink(&bed, name);
	}
	bed_sync(&bed);
	from = bed_events(&bed);
	inode = bed_create(&bed, "bulk"); /* there is room only where the small files were */
	bed_write_pages(&bed, inode, 0, NEW_PAGES, 2);
	bed_fsync(&bed, inode);
	marks.first = bed_events(&bed);
	bed_create(&bed, "later");
	bed_sync(&bed);
	bed_cut_all(&bed, from, 2, bulk_is_whole, &marks);
	bed_close(&bed);
}

static bool old_is_whole_or_gone(struct knot_volume *volume, size_t event, void *arg)
{
	const struct marks *marks = arg;

	if (left_exists(volume, "old") && !left_is_whole(volume, "old", OLD_PAGES * PAGE_BYTES, 1))
		return false;
	return event < marks->first || left_is_whole(volume, "new", NEW_PAGES * PAGE_BYTES, 2);
}

static void pages_are_not_used_again_before_their_free_is_durable(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct marks marks;
		struct bed bed;
		uint64_t inode;
		size_t from;

		bed_open(&bed, LOG_BYTES, strict);
		inode = bed_create(&bed, "old");
		bed_write_pages(&bed, inode, 0, OLD_PAGES, 1);
		bed_fsync(&bed, inode);
		bed_fill(&bed, "filler", 12);
		bed_checkpoint(&bed);
		from = bed_events(&bed);
		bed_unlink(&bed, "old");
		inode = bed_create(&bed, "new");
		bed_write_pages(&bed, inode, 0, NEW_PAGES, 2);
		bed_fsync(&bed, inode);
		marks.first = bed_events(&bed);
		bed_cut_all(&bed, from, 2, old_is_whole_or_gone, &marks);
		bed_close(&bed);
	}
}

struct unlinker {
	struct bed *bed;
	bool acted;
};

static void unlink_while_the_log_is_written(void *arg, bool is_write, uint64_t at_bytes, size_t len_bytes)
{
	struct unlinker *unlinker = arg;

	(void)len_bytes;
	if (!is_write || unlinker->acted || bed_is_home(unlinker->bed, at_bytes))
		return;
	unlinker->acted = true;
	bed_unlink(unlinker->bed, "old");
}

static void a_flush_frees_only_what_it_takes_along(void **state)
{
	struct marks marks;
	struct bed bed;
	struct unlinker unlinker = { .bed = &bed };
	uint64_t inode, other;
	size_t from;

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	other = bed_create(&bed, "other");
	inode = bed_create(&bed, "old");
	bed_write_pages(&bed, inode, 0, OLD_PAGES, 1);
	bed_fsync(&bed, inode);
	bed_fill(&bed, "filler", 12);
	bed_checkpoint(&bed);
	from = bed_events(&bed);
	bed_chmod(&bed, other, 0);
	knot_sim_set_hook(bed.sim, unlink_while_the_log_is_written, &unlinker);
	bed_fsync(&bed, other);
	knot_sim_set_hook(bed.sim, NULL, NULL);
	assert_true(unlinker.acted);
	inode = bed_create(&bed, "new");
	bed_write_pages(&bed, inode, 0, NEW_PAGES, 2);
	bed_fsync(&bed, inode);
	marks.first = bed_events(&bed);
	bed_cut_all(&bed, from, 2, old_is_whole_or_gone, &marks);
	bed_close(&bed);
}

static void a_log_flush_without_an_end_of_batch_frees_nothing(void **state)
{
	struct marks marks;
	struct bed bed;
	uint64_t inode;
	size_t from;

	(void)state;
	bed_open(&bed, LOG_BYTES, true);
	inode = bed_create(&bed, "old");
	bed_write_pages(&bed, inode, 0, OLD_PAGES, 1);
	bed_fsync(&bed, inode);
	bed_fill(&bed, "filler", 12);
	bed_checkpoint(&bed);
	from = bed_events(&bed);
	bed_unlink(&bed, "old");
	/* as the cleaner does, or who finds the log's buffer full */
	assert_int_equal(knot_commit_flush_log(bed.volume->txn, knot_txn_lsn(bed.volume->txn), true, NULL), 0);
	inode = bed_create(&bed, "new");
	bed_write_pages(&bed, inode, 0, NEW_PAGES, 2);
	bed_fsync(&bed, inode);
	marks.first = bed_events(&bed);
	bed_cut_all(&bed, from, 2, old_is_whole_or_gone, &marks);
	bed_close(&bed);
}

static bool old_or_overwritten(struct knot_volume *volume, size_t event, void *arg)
{
	const struct marks *marks = arg;

	/* each request of five pages is there or not */
	for (uint64_t page = 0; page < BULK_PAGES; page += WRITE_PAGES) {
		struct knot_attr attr;
		uint64_t inode = left_find(volume, "file", &attr);
		bool new_there = left_is(volume, inode, page * PAGE_BYTES, WRITE_PAGES * PAGE_BYTES, 2);

		if (!new_there &&
		    (event >= marks->first || !left_is(volume, inode, page * PAGE_BYTES, WRITE_PAGES * PAGE_BYTES, 1)))
			return false;
	}
	return true;
}

static void bulk_overwrites_on_a_full_volume_are_old_or_new(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct marks marks;
		struct bed bed;
		uint64_t inode;
		size_t from;

		bed_open(&bed, LOG_BYTES, strict);
		inode = bed_create(&bed, "file");
		bed_write_pages(&bed, inode, 0, BULK_PAGES, 1);
		bed_fsync(&bed, inode);
		bed_fill(&bed, "filler", 60);
		bed_checkpoint(&bed);
		from = bed_events(&bed);
		bed_write_pages(&bed, inode, 0, BULK_PAGES, 2);
		bed_fsync(&bed, inode);
		marks.first = bed_events(&bed);
		bed_write_pages(&bed, inode, 0, BULK_PAGES, 2); /* may take what the first round gave back */
		bed_fsync(&bed, inode);
		bed_cut_all(&bed, from, 2, old_or_overwritten, &marks);
		bed_close(&bed);
	}
}

/* ---- hot pages, pages on the way home ---- */

struct hot {
	size_t done[64];    /* events when the n-th change was durable */
	size_t started[64]; /* and when it was begun */
	unsigned count;
};

static bool mode_is_in_range(struct knot_volume *volume, size_t event, void *arg)
{
	const struct hot *hot = arg;
	struct knot_attr attr;
	unsigned mode, least = 0, most = 0;

	if (!left_find(volume, "hot", &attr))
		return event < hot->done[0];
	mode = attr.mode & 07777;
	for (unsigned i = 0; i < hot->count; i++) {
		least = event >= hot->done[i] ? i : least;
		most = event >= hot->started[i] ? i : most;
	}
	return mode >= least && mode <= most;
}

static void a_hot_page_logged_and_changed_again_is_never_older_than_its_fsync(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct hot hot = { 0 };
		struct bed bed;
		uint64_t inode;

		bed_open(&bed, LOG_BYTES, strict);
		inode = bed_create(&bed, "hot");
		bed_chmod(&bed, inode, 0);
		bed_sync(&bed);
		hot.done[hot.count++] = bed_events(&bed);
		for (unsigned mode = 1; mode < 40; mode++) {
			hot.started[mode] = bed_events(&bed);
			bed_chmod(&bed, inode, mode);
			bed_fsync(&bed, inode);
			hot.done[hot.count++] = bed_events(&bed);
			if (mode % 4 == 3)
				bed_checkpoint(&bed);
		}
		bed_cut_all(&bed, hot.done[0], 2, mode_is_in_range, &hot);
		bed_close(&bed);
	}
}

struct meddler {
	struct bed *bed;
	struct hot hot;
	uint64_t inode;
	unsigned skip; /* home writes before it acts */
	bool acted;
};

static void change_while_it_goes_home(void *arg, bool is_write, uint64_t at_bytes, size_t len_bytes)
{
	struct meddler *meddler = arg;
	struct bed *bed = meddler->bed;

	(void)len_bytes;
	if (!is_write || !bed_is_home(bed, at_bytes) || meddler->acted || meddler->skip-- > 0)
		return;
	meddler->acted = true;
	meddler->hot.started[1] = bed_events(bed);
	bed_chmod(bed, meddler->inode, 1);
	bed_fsync(bed, meddler->inode);
	meddler->hot.done[1] = bed_events(bed);
	meddler->hot.count = 2;
}

static void a_page_changed_while_it_goes_home_survives_a_torn_write(void **state)
{
	unsigned acted = 0;

	(void)state;
	for (unsigned skip = 0; skip < 12; skip++) {
		struct bed bed;
		struct meddler meddler = { .bed = &bed, .skip = skip, .hot.count = 1 };

		bed_open(&bed, LOG_BYTES, false);
		meddler.inode = bed_create(&bed, "hot");
		bed_chmod(&bed, meddler.inode, 0);
		bed_sync(&bed);
		meddler.hot.done[0] = bed_events(&bed);
		knot_sim_set_hook(bed.sim, change_while_it_goes_home, &meddler);
		bed_checkpoint(&bed);
		bed_checkpoint(&bed);
		knot_sim_set_hook(bed.sim, NULL, NULL);
		acted += meddler.acted;
		bed_cut_all(&bed, meddler.hot.done[0], 4, mode_is_in_range, &meddler.hot);
		bed_close(&bed);
	}
	assert_true(acted >= 2);
}

struct freer {
	struct bed *bed;
	unsigned skip;
	uint64_t new_pages;
	bool acted;
};

static void free_and_reuse_while_it_goes_home(void *arg, bool is_write, uint64_t at_bytes, size_t len_bytes)
{
	struct freer *freer = arg;
	struct bed *bed = freer->bed;
	uint8_t bytes[PAGE_BYTES];
	uint64_t inode;

	(void)len_bytes;
	if (!is_write || !bed_is_home(bed, at_bytes) || freer->acted || freer->skip-- > 0)
		return;
	freer->acted = true;
	bed_unlink(bed, "old");
	bed_sync(bed);
	inode = bed_create(bed, "new");
	for (;; freer->new_pages++) { /* as much as it gets; what is on its way home is not to be had */
		bed_pattern(bytes, freer->new_pages * PAGE_BYTES, PAGE_BYTES, 2);
		if (knot_vfs_write(bed->volume, NULL, inode, freer->new_pages * PAGE_BYTES, PAGE_BYTES, bytes, false))
			break;
	}
	bed_sync(bed);
}

static bool new_is_whole(struct knot_volume *volume, size_t event, void *arg)
{
	const struct freer *freer = arg;

	(void)event;
	return left_is_whole(volume, "new", freer->new_pages * PAGE_BYTES, 2);
}

static void a_page_freed_while_it_goes_home_is_not_used_before_it_is_there(void **state)
{
	unsigned acted = 0;

	(void)state;
	for (unsigned skip = 0; skip < 6; skip++) {
		struct bed bed;
		struct freer freer = { .bed = &bed, .skip = skip };
		uint64_t inode;

		bed_open(&bed, 4 * LOG_BYTES, false); /* the hook must not need the cleaner */
		inode = bed_create(&bed, "old");
		bed_fill(&bed, "filler", 170);
		bed_checkpoint(&bed);
		for (unsigned i = 0; i < 30; i++) {
			bed_write_pages(&bed, inode, i * WRITE_PAGES, WRITE_PAGES, 1);
			bed_fsync(&bed, inode); /* through the log */
		}
		knot_sim_set_hook(bed.sim, free_and_reuse_while_it_goes_home, &freer);
		bed_checkpoint(&bed);
		knot_sim_set_hook(bed.sim, NULL, NULL);
		if (freer.acted) {
			acted++;
			bed_sync(&bed);
			bed_cut_all(&bed, bed_events(&bed), 1, new_is_whole, &freer);
		}
		bed_close(&bed);
	}
	assert_true(acted > 0);
}

static void no_page_goes_home_before_its_log(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct hot hot = { 0 };
		struct knot_txn_stats stats;
		struct bed bed;
		uint64_t inode;
		char name[16];
		size_t from;

		/* nothing is synced: the ring fills, and the cleaner has to write home what is in the log's buffer */
		bed_open(&bed, LOG_BYTES, strict);
		bed.clock_sec = 5000;
		inode = bed_create(&bed, "hot");
		bed_chmod(&bed, inode, 0);
		bed_sync(&bed);
		hot.done[hot.count++] = from = bed_events(&bed);
		for (unsigned i = 0; i < 9000; i++) {
			snprintf(name, sizeof(name), "file-%04u", i % 50);
			if (i / 50 % 2)
				bed_unlink(&bed, name);
			else
				bed_create(&bed, name);
		}
		hot.done[0] = 0;
		hot.started[1] = SIZE_MAX;
		knot_volume_stats(bed.volume, &stats);
		assert_true(stats.pages_cleaned > 0);
		bed_cut_all(&bed, from, 1, mode_is_in_range, &hot);
		bed_close(&bed);
	}
}

/* ---- runs and slots ---- */

static struct knot_device *copy_of(struct knot_device *device)
{
	struct knot_device *copy;
	void *bytes = malloc(1u << 20);

	assert_non_null(bytes);
	assert_int_equal(knot_device_open_memory(device->size_bytes, &copy), 0);
	for (uint64_t at = 0; at < device->size_bytes; at += 1u << 20) {
		assert_int_equal(knot_device_read(device, bytes, 1u << 20, at), 0);
		assert_int_equal(knot_device_write(copy, bytes, 1u << 20, at), 0);
	}
	free(bytes);
	return copy;
}

/* Each run starts from what a cut left of the one before: its lost blocks lie about in the ring. */
static void blocks_of_a_lost_run_are_never_taken_for_new(void **state)
{
	uint64_t random = 12345;
	struct bed bed;
	uint64_t inode;
	unsigned low = 1;

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	inode = bed_create(&bed, "hot");
	bed_chmod(&bed, inode, low);
	bed_sync(&bed);
	for (unsigned run = 0; run < 150; run++) {
		size_t events = bed_events(&bed), least[17], at;
		unsigned first = low, count = 1 + (unsigned)(knot_test_random(&random) % 16);
		struct knot_device *cut, *next;
		struct knot_attr attr;

		for (unsigned i = 0; i < count; i++) {
			bed_chmod(&bed, inode, first + 1 + i);
			bed_fsync(&bed, inode);
			least[i] = bed_events(&bed);
		}
		at = events + (size_t)(knot_test_random(&random) % (bed_events(&bed) - events + 1));
		for (unsigned i = 0; i < count; i++)
			low = least[i] <= at ? first + 1 + i : low;
		cut = knot_sim_cut(bed.sim, at, (enum knot_cut)(knot_test_random(&random) % KNOT_CUT_KINDS), random);
		assert_non_null(cut);
		next = copy_of(cut);
		knot_device_close(cut);
		bed_close(&bed);
		bed.base = next;
		bed.sim = knot_sim_open(next);
		assert_non_null(bed.sim);
		bed.options.device = knot_sim_device(bed.sim);
		assert_int_equal(knot_volume_open(&bed.options, &bed.volume), 0);
		assert_true(left_find(bed.volume, "hot", &attr) == inode);
		assert_in_range(attr.mode & 07777, low, first + count);
		low = attr.mode & 07777;
		if (low > 3900) { /* modes have 12 bits */
			low = 1;
			bed_chmod(&bed, inode, low);
			bed_sync(&bed);
		}
	}
	bed_close(&bed);
}

static void a_cut_never_takes_both_slots(void **state)
{
	struct hot hot = { 0 };
	struct bed bed;
	uint64_t inode;

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	inode = bed_create(&bed, "hot");
	bed_chmod(&bed, inode, 0);
	bed_sync(&bed);
	hot.done[hot.count++] = bed_events(&bed);
	for (unsigned mode = 1; mode < 10; mode++) {
		hot.started[mode] = bed_events(&bed);
		bed_chmod(&bed, inode, mode);
		bed_checkpoint(&bed);
		hot.done[hot.count++] = bed_events(&bed);
	}
	bed_cut_all(&bed, hot.done[0], 12, mode_is_in_range, &hot);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_logged_page_freed_and_reused_for_bulk_data_keeps_the_bulk_data),
		cmocka_unit_test(pages_are_not_used_again_before_their_free_is_durable),
		cmocka_unit_test(a_flush_frees_only_what_it_takes_along),
		cmocka_unit_test(a_log_flush_without_an_end_of_batch_frees_nothing),
		cmocka_unit_test(bulk_overwrites_on_a_full_volume_are_old_or_new),
		cmocka_unit_test(a_hot_page_logged_and_changed_again_is_never_older_than_its_fsync),
		cmocka_unit_test(a_page_changed_while_it_goes_home_survives_a_torn_write),
		cmocka_unit_test(a_page_freed_while_it_goes_home_is_not_used_before_it_is_there),
		cmocka_unit_test(no_page_goes_home_before_its_log),
		cmocka_unit_test(blocks_of_a_lost_run_are_never_taken_for_new),
		cmocka_unit_test(a_cut_never_takes_both_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
