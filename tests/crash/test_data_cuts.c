/* SPDX-License-Identifier: MIT */
/*
 * Power cuts by name, of file data: who writes when, what appears together, what replaces what.
 */
#include "tests/lib/cut_bed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define LOG_BYTES  (1u << 20)
#define BULK_PAGES 30u /* more than an fsync takes through the log */

struct between {
	struct bed *bed;
	uint64_t small;
	struct marks marks; /* first: the small file, second: the large one */
	bool acted;
};

static void sync_a_small_file(void *arg, bool is_write, uint64_t at_bytes, size_t len_bytes)
{
	struct between *between = arg;

	if (!is_write || between->acted || !bed_is_home(between->bed, at_bytes) || len_bytes < 4 * PAGE_BYTES)
		return;
	between->acted = true;
	bed_write(between->bed, between->small, 0, 3000, 5);
	bed_fsync(between->bed, between->small); /* does not wait for the large file, or it would never return */
	between->marks.first = bed_events(between->bed);
}

static bool small_and_large(struct knot_volume *volume, size_t event, void *arg)
{
	const struct between *between = arg;
	struct knot_attr attr;
	uint64_t inode = left_find(volume, "large", &attr);

	if (event >= between->marks.first && !left_is_whole(volume, "small", 3000, 5))
		return false;
	if (event >= between->marks.second && !left_is_whole(volume, "large", 2 * BULK_PAGES * PAGE_BYTES, 1))
		return false;
	return attr.size % (WRITE_PAGES * PAGE_BYTES) == 0 && inode &&
	       (!attr.size || left_is(volume, inode, 0, (size_t)attr.size, 1));
}

static void a_small_fsync_between_two_bulk_flushes_waits_for_neither(void **state)
{
	(void)state;
	for (int strict = 0; strict < 1; strict++) {
		struct bed bed;
		struct between between = { .bed = &bed };
		uint64_t large;
		size_t from;

		bed_open(&bed, LOG_BYTES, strict);
		between.small = bed_create(&bed, "small");
		large = bed_create(&bed, "large");
		bed_sync(&bed);
		from = bed_events(&bed);
		bed_write_pages(&bed, large, 0, BULK_PAGES, 1);
		knot_sim_set_hook(bed.sim, sync_a_small_file, &between);
		bed_fsync(&bed, large);
		knot_sim_set_hook(bed.sim, NULL, NULL);
		assert_true(between.acted);
		bed_write_pages(&bed, large, BULK_PAGES, BULK_PAGES, 1);
		bed_fsync(&bed, large);
		between.marks.second = bed_events(&bed);
		bed_cut_all(&bed, from, 2, small_and_large, &between);
		bed_close(&bed);
	}
}

static bool attributes_or_data(struct knot_volume *volume, size_t event, void *arg)
{
	const struct marks *marks = arg;
	struct knot_attr attr;

	if (!left_find(volume, "file", &attr))
		return false;
	if (event >= marks->first && ((attr.mode & 07777) != 0600 || attr.mtime.sec != 123456))
		return false;
	if (event >= marks->second && attr.size != 3 * PAGE_BYTES)
		return false;
	return attr.size == 0 || left_is_whole(volume, "file", 3 * PAGE_BYTES, 4);
}

static void chmod_and_utimens_on_a_file_with_pending_data_are_durable_without_it(void **state)
{
	const struct knot_attr wanted = { .mtime = { .sec = 123456 } };
	struct knot_attr attr;
	struct marks marks;
	struct bed bed;
	uint64_t inode, other;
	size_t from;

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	inode = bed_create(&bed, "file");
	other = bed_create(&bed, "other");
	bed_sync(&bed);
	from = bed_events(&bed);
	bed_write(&bed, inode, 0, 3 * PAGE_BYTES, 4);
	bed_chmod(&bed, inode, 0600);
	assert_int_equal(knot_vfs_setattr(bed.volume, NULL, inode, KNOT_SET_MTIME, &wanted, &attr), 0);
	bed_chmod(&bed, other, 0);
	bed_fsync(&bed, other);
	marks.first = bed_events(&bed);
	bed_fsync(&bed, inode);
	marks.second = bed_events(&bed);
	bed_cut_all(&bed, from, 4, attributes_or_data, &marks);
	bed_close(&bed);
}

struct reuse {
	struct bed *bed;
	uint64_t inode;
	bool acted;
};

static void overwrite_and_reuse(void *arg, bool is_write, uint64_t at_bytes, size_t len_bytes)
{
	struct reuse *reuse = arg;
	uint64_t other;

	if (is_write || reuse->acted || !bed_is_home(reuse->bed, at_bytes) || len_bytes < 4 * PAGE_BYTES)
		return;
	reuse->acted = true;
	bed_write_pages(reuse->bed, reuse->inode, 0, BULK_PAGES, 2);
	bed_sync(reuse->bed);
	other = bed_create(reuse->bed, "other"); /* as much as it gets: more than what was left before */
	for (uint64_t page = 0;; page++) {
		uint8_t bytes[PAGE_BYTES] = { 1 };

		if (knot_vfs_write(reuse->bed->volume, NULL, other, page * PAGE_BYTES, PAGE_BYTES, bytes, false))
			break;
	}
	bed_sync(reuse->bed);
}

static void a_read_racing_with_free_and_reuse_gives_the_old_bytes_or_the_new(void **state)
{
	size_t len = BULK_PAGES * PAGE_BYTES, got = 0;
	struct bed bed;
	struct reuse reuse = { .bed = &bed };
	uint8_t *bytes = aligned_alloc(PAGE_BYTES, len);

	(void)state;
	assert_non_null(bytes);
	bed_open(&bed, LOG_BYTES, false);
	reuse.inode = bed_create(&bed, "file");
	bed_write_pages(&bed, reuse.inode, 0, BULK_PAGES, 1);
	bed_fsync(&bed, reuse.inode);
	bed_fill(&bed, "filler", 100);
	knot_sim_set_hook(bed.sim, overwrite_and_reuse, &reuse);
	assert_int_equal(knot_vfs_read(bed.volume, NULL, reuse.inode, 0, len, bytes, &got), 0);
	knot_sim_set_hook(bed.sim, NULL, NULL);
	assert_true(reuse.acted);
	assert_int_equal(got, len);
	for (unsigned seed = 1; seed <= 3; seed++) {
		uint8_t *want = malloc(len);
		bool same;

		assert_true(seed < 3);
		assert_non_null(want);
		bed_pattern(want, 0, len, seed);
		same = !memcmp(bytes, want, len);
		free(want);
		if (same)
			break;
	}
	assert_true(left_is(bed.volume, reuse.inode, 0, len, 2));
	free(bytes);
	bed_close(&bed);
}

/* ---- replacing a file ---- */

struct replaced {
	uint64_t old_size, new_size;
	size_t done;
};

static bool old_or_new_whole(struct knot_volume *volume, size_t event, void *arg)
{
	const struct replaced *replaced = arg;

	if (left_is_whole(volume, "file", replaced->new_size, 2))
		return true;
	return event < replaced->done && left_is_whole(volume, "file", replaced->old_size, 1);
}

static void write_bytes(struct bed *bed, uint64_t inode, uint64_t size, uint64_t seed)
{
	for (uint64_t at = 0; at < size; at += WRITE_PAGES * PAGE_BYTES) {
		uint64_t len = size - at < WRITE_PAGES * PAGE_BYTES ? size - at : WRITE_PAGES * PAGE_BYTES;

		bed_write(bed, inode, at, (size_t)len, seed);
	}
}

static const uint64_t sizes[] = { 100, 3 * PAGE_BYTES + 7, BULK_PAGES * PAGE_BYTES + 9 };

static void a_file_truncated_and_written_anew_is_the_old_or_the_new_one(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 18; i++) {
		struct replaced replaced = { .old_size = sizes[i % 3], .new_size = sizes[i / 3 % 3] };
		struct bed bed;
		uint64_t inode;
		size_t from;

		bed_open(&bed, LOG_BYTES, i >= 9);
		inode = bed_create(&bed, "file");
		write_bytes(&bed, inode, replaced.old_size, 1);
		bed_fsync(&bed, inode);
		from = bed_events(&bed);
		bed_truncate(&bed, inode, 0);
		write_bytes(&bed, inode, replaced.new_size, 2);
		bed_sync(&bed);
		replaced.done = bed_events(&bed);
		bed_checkpoint(&bed);
		bed_cut_all(&bed, from, 2, old_or_new_whole, &replaced);
		bed_close(&bed);
	}
}

static void a_file_of_many_extents_truncated_and_written_anew_is_the_old_or_the_new_one(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct replaced replaced = { .old_size = 300 * PAGE_BYTES, .new_size = BULK_PAGES * PAGE_BYTES };
		struct bed bed;
		uint64_t inode, other;
		struct knot_statfs before, after;
		size_t from;

		bed_open(&bed, LOG_BYTES, strict);
		inode = bed_create(&bed, "file");
		other = bed_create(&bed, "other");
		for (uint64_t page = 0; page < 300; page++) { /* in turn with another file: an extent a page */
			bed_write(&bed, inode, page * PAGE_BYTES, PAGE_BYTES, 1);
			bed_fsync(&bed, inode);
			bed_write(&bed, other, page * PAGE_BYTES, PAGE_BYTES, 3);
			bed_fsync(&bed, other);
		}
		bed_checkpoint(&bed);
		from = bed_events(&bed);
		bed_truncate(&bed, inode, 0);
		write_bytes(&bed, inode, replaced.new_size, 2);
		bed_sync(&bed);
		replaced.done = bed_events(&bed);
		assert_int_equal(knot_vfs_statfs(bed.volume, NULL, &before), 0);
		assert_int_equal(knot_volume_tick(bed.volume, true), 0); /* frees the old extents */
		bed_sync(&bed);
		assert_int_equal(knot_vfs_statfs(bed.volume, NULL, &after), 0);
		assert_true(after.pages_free >= before.pages_free + 200);
		bed_cut_all(&bed, from, 1, old_or_new_whole, &replaced);
		bed_close(&bed);
	}
}

static void a_file_renamed_over_another_is_whole_without_any_fsync(void **state)
{
	(void)state;
	for (unsigned i = 0; i < 18; i++) {
		struct replaced replaced = { .old_size = sizes[i % 3], .new_size = sizes[i / 3 % 3] };
		struct bed bed;
		uint64_t inode;
		size_t from;

		bed_open(&bed, LOG_BYTES, i >= 9);
		inode = bed_create(&bed, "file");
		write_bytes(&bed, inode, replaced.old_size, 1);
		bed_fsync(&bed, inode);
		from = bed_events(&bed);
		inode = bed_create(&bed, "new");
		write_bytes(&bed, inode, replaced.new_size, 2);
		assert_int_equal(knot_vfs_rename(bed.volume, NULL, ROOT, "new", 3, ROOT, "file", 4, 0), 0);
		assert_int_equal(knot_vfs_fsyncdir(bed.volume, NULL, ROOT), 0);
		replaced.done = bed_events(&bed);
		bed_cut_all(&bed, from, 2, old_or_new_whole, &replaced);
		bed_close(&bed);
	}
}

/* ---- requests and sizes, what an fsync covers ---- */

#define SCATTERED 120u

static bool size_ends_with_the_last_request(struct knot_volume *volume, size_t event, void *arg)
{
	const struct marks *marks = arg;
	struct knot_attr attr;
	uint64_t inode = left_find(volume, "file", &attr), end = 0;

	for (uint64_t i = 0; i < SCATTERED; i++)
		if (attr.size > 2 * i * PAGE_BYTES && left_is(volume, inode, 2 * i * PAGE_BYTES, 100, 6))
			end = 2 * i * PAGE_BYTES + 100;
	return attr.size == end && (event < marks->first || end == 2 * (SCATTERED - 1) * PAGE_BYTES + 100);
}

static void requests_mapped_one_after_another_show_no_size_of_those_to_come(void **state)
{
	struct marks marks;
	struct bed bed;
	uint64_t inode;
	size_t from;

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	inode = bed_create(&bed, "file");
	bed_sync(&bed);
	from = bed_events(&bed);
	for (uint64_t i = 0; i < SCATTERED; i++)
		bed_write(&bed, inode, 2 * i * PAGE_BYTES, 100, 6);
	bed_fsync(&bed, inode);
	marks.first = bed_events(&bed);
	bed_cut_all(&bed, from, 8, size_ends_with_the_last_request, &marks);
	bed_close(&bed);
}

static bool mode_is_durable(struct knot_volume *volume, size_t event, void *arg)
{
	struct knot_attr attr;

	(void)event, (void)arg;
	return left_find(volume, "file", &attr) && (attr.mode & 07777) == 0123;
}

static void an_fsync_covers_changes_from_before_the_inode_left_memory(void **state)
{
	struct knot_attr attr;
	struct bed bed;
	uint64_t inode;
	size_t from;
	char name[16];

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	inode = bed_create(&bed, "file");
	for (unsigned i = 0; i < 1500; i++) {
		snprintf(name, sizeof(name), "%u", i);
		bed_create(&bed, name);
	}
	bed_checkpoint(&bed);
	bed_chmod(&bed, inode, 0123);
	from = bed_events(&bed);
	for (unsigned i = 0; i < 1500; i++) { /* more inodes than memory holds */
		snprintf(name, sizeof(name), "%u", i);
		assert_true(left_find(bed.volume, name, &attr));
	}
	assert_int_equal(bed_events(&bed), from);
	bed_fsync(&bed, inode);
	bed_cut_all(&bed, bed_events(&bed), 1, mode_is_durable, NULL);
	bed_close(&bed);
}

static bool truncated_or_not(struct knot_volume *volume, size_t event, void *arg)
{
	const struct marks *marks = arg;
	struct knot_attr attr;
	uint64_t inode = left_find(volume, "file", &attr), short_size = 2 * PAGE_BYTES + 77;

	if (event >= marks->second) { /* made longer again: zeros, not what was there before */
		uint8_t bytes[PAGE_BYTES], zeros[PAGE_BYTES] = { 0 };
		size_t got = 0;

		return attr.size == 5 * PAGE_BYTES && left_is(volume, inode, 0, short_size, 1) &&
		       !knot_vfs_read(volume, NULL, inode, short_size, PAGE_BYTES, bytes, &got) && got == PAGE_BYTES &&
		       !memcmp(bytes, zeros, got);
	}
	if (event >= marks->first && attr.size != short_size && attr.size != 5 * PAGE_BYTES)
		return false;
	return left_is(volume, inode, 0, (size_t)(attr.size < short_size ? attr.size : short_size), 1) &&
	       attr.size >= short_size;
}

static void what_was_cut_off_is_zero_when_the_file_grows_again(void **state)
{
	struct marks marks;
	struct bed bed;
	uint64_t inode;
	size_t from;

	(void)state;
	bed_open(&bed, LOG_BYTES, false);
	inode = bed_create(&bed, "file");
	bed_write_pages(&bed, inode, 0, BULK_PAGES, 1);
	bed_fsync(&bed, inode);
	bed_checkpoint(&bed);
	from = bed_events(&bed);
	bed_truncate(&bed, inode, 2 * PAGE_BYTES + 77);
	bed_fsync(&bed, inode);
	marks.first = bed_events(&bed);
	bed_truncate(&bed, inode, 5 * PAGE_BYTES);
	bed_fsync(&bed, inode);
	marks.second = bed_events(&bed);
	bed_checkpoint(&bed);
	bed_cut_all(&bed, from, 4, truncated_or_not, &marks);
	bed_close(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_small_fsync_between_two_bulk_flushes_waits_for_neither),
		cmocka_unit_test(chmod_and_utimens_on_a_file_with_pending_data_are_durable_without_it),
		cmocka_unit_test(a_read_racing_with_free_and_reuse_gives_the_old_bytes_or_the_new),
		cmocka_unit_test(a_file_truncated_and_written_anew_is_the_old_or_the_new_one),
		cmocka_unit_test(a_file_of_many_extents_truncated_and_written_anew_is_the_old_or_the_new_one),
		cmocka_unit_test(a_file_renamed_over_another_is_whole_without_any_fsync),
		cmocka_unit_test(requests_mapped_one_after_another_show_no_size_of_those_to_come),
		cmocka_unit_test(an_fsync_covers_changes_from_before_the_inode_left_memory),
		cmocka_unit_test(what_was_cut_off_is_zero_when_the_file_grows_again),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
