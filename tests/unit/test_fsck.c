/* SPDX-License-Identifier: MIT */
/* fsck as a library: clean volumes, the log, options. What damage it finds is in test_fsck_damage.c. */
#include "tests/unit/fsck_fixture.h"

#include "tests/lib/driver.h"

#include <errno.h>

#define HISTORY_STEPS 1500
#define CHECK_EVERY   100

static void assert_clean(struct fixture *f, struct knot_device *device, bool scrub)
{
	f->found_count = 0;
	f->lines[0] = '\0';
	assert_int_equal(fixture_check_device(f, device, scrub), 0);
	if (f->report.problems)
		fail_msg("found\n%s", f->lines);
}

static void a_new_volume_is_clean(void **state)
{
	static const uint64_t sizes[] = { 16ULL << 20, 65ULL << 20, 200ULL << 20, (1ULL << 30) + (300ULL << 12) };
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		const struct knot_mkfs_options mkfs = { .log_segments = i + 1 };
		struct knot_device *device;

		assert_int_equal(knot_device_open_memory(sizes[i], &device), 0);
		assert_int_equal(knot_mkfs(device, &mkfs, NULL), 0);
		assert_clean(f, device, true);
		assert_int_equal(f->report.inodes, 1);
		assert_true(f->report.was_clean);
		knot_device_close(device);
	}
}

static void a_populated_volume_is_clean(void **state)
{
	struct fixture *f = *state;

	assert_clean(f, f->base, true);
	assert_int_equal(f->report.inodes, 1 + 2 + 2 + 1 + 1 + FIXTURE_MANY + 1);
	assert_int_equal(f->report.directories, 4);
	assert_int_equal(f->report.names, 7 + FIXTURE_MANY);
	assert_int_equal(f->report.data_pages, 12 + 3);
	assert_int_equal(f->report.scrubbed_pages, 12 + 3);
	assert_true(f->report.tree_pages > 4);
	assert_false(f->report.is_incomplete);
}

static void the_log_is_replayed_in_memory_unless_told_otherwise(void **state)
{
	const struct knot_fsck_options in_place = { .replay_in_place = true };
	struct fixture *f = *state;
	struct knot_volume *volume;

	fixture_begin(f);
	volume = fixture_open(f->view);
	fixture_make(volume, 1, "new", S_IFREG | 0644);
	assert_int_equal(knot_vfs_syncfs(volume, NULL), 0);
	knot_volume_abandon(volume);
	for (unsigned i = 0; i < 2; i++) {
		assert_clean(f, f->view, false);
		assert_false(f->report.was_clean);
		assert_true(f->report.replayed > 0);
	}
	assert_int_equal(knot_fsck_run(f->view, &in_place, &f->report), 0);
	assert_false(f->report.was_clean);
	assert_clean(f, f->view, false);
	assert_true(f->report.was_clean);
	fixture_end(f);
}

static void a_clean_volume_is_skipped_when_asked(void **state)
{
	const struct knot_fsck_options skip = { .skip_if_clean = true };
	struct fixture *f = *state;

	fixture_begin(f);
	fixture_flip(f, f->super.root_page, 2000);
	assert_int_equal(knot_fsck_run(f->view, &skip, &f->report), 0);
	assert_true(f->report.was_skipped);
	assert_int_equal(f->report.problems, 0);
	fixture_end(f);
}

static bool cancel(void *arg)
{
	(void)arg;
	return true;
}

static void a_check_can_be_cancelled(void **state)
{
	const struct knot_fsck_options options = { .is_cancelled = cancel };
	struct fixture *f = *state;

	assert_int_equal(knot_fsck_run(f->base, &options, &f->report), -ECANCELED);
}

static void what_is_no_volume_is_refused(void **state)
{
	struct fixture *f = *state;
	struct knot_device *device;

	assert_int_equal(knot_device_open_memory(FIXTURE_BYTES, &device), 0);
	assert_int_equal(fixture_check_device(f, device, false), -EMEDIUMTYPE);
	knot_device_close(device);
}

/* What a file's data object is may change; then its extents are under another number. */
static void data_under_another_number_is_fine(void **state)
{
	static const enum knot_fsck_problem none[] = { 0 };
	struct fixture *f = *state;
	struct knot_disk_inode disk;
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	struct knot_key key;

	fixture_begin(f);
	for (uint64_t file_page = 0; file_page <= 16; file_page += 16) {
		knot_key_make(&key, f->big, KNOT_KIND_EXTENT, 0, file_page);
		size_t len_bytes = fixture_get(f, &key, value);

		fixture_remove(f, &key);
		knot_key_make(&key, f->gone, KNOT_KIND_EXTENT, 0, file_page);
		fixture_put(f, &key, value, len_bytes);
	}
	fixture_get_inode(f, f->big, &disk);
	disk.data_object = knot_put64(f->gone);
	fixture_put_inode(f, f->big, &disk);
	fixture_expect(f, true, none);
	fixture_end(f);
}

/* Extents past the end, or of nobody, that a truncation is about to free. */
static void what_a_truncation_frees_is_fine(void **state)
{
	static const enum knot_fsck_problem none[] = { 0 };
	struct fixture *f = *state;
	struct knot_disk_truncation item = { .from_page = knot_put64(1), .inode = knot_put64(f->big) };
	struct knot_disk_inode disk;
	struct knot_key key;

	fixture_begin(f);
	fixture_get_inode(f, f->big, &disk);
	disk.size = knot_put64(KNOT_PAGE_BYTES);
	fixture_put_inode(f, f->big, &disk);
	knot_key_make(&key, KNOT_OBJECT_TRUNCATIONS, KNOT_KIND_TRUNCATION, 0, f->big);
	fixture_put(f, &key, &item, sizeof(item));
	fixture_expect(f, false, none);

	disk.size = knot_put64(0);
	disk.pages = knot_put64(0);
	disk.data_object = knot_put64(f->gone);
	fixture_put_inode(f, f->big, &disk);
	item.inode = knot_put64(0);
	item.from_page = knot_put64(0);
	fixture_put(f, &key, &item, sizeof(item));
	fixture_expect(f, false, none);
	fixture_end(f);
}

static void a_random_history_stays_clean(void **state)
{
	const struct knot_mkfs_options mkfs = { .log_bytes = 1u << 20, .time_sec = 1000000000 };
	struct driver *driver = calloc(1, sizeof(*driver));
	struct fixture *f = *state;
	struct knot_device *device;

	assert_non_null(driver);
	assert_int_equal(knot_device_open_memory(48u << 20, &device), 0);
	assert_int_equal(knot_mkfs(device, &mkfs, NULL), 0);
	driver_init(driver, driver_seed("fsck", 20240611));
	driver_open(driver, fixture_open(device));
	for (size_t step = 1; step <= driver_scaled(HISTORY_STEPS); step++) {
		assert_int_equal(driver_step(driver), 0);
		if (step % CHECK_EVERY)
			continue;
		assert_int_equal(knot_vfs_syncfs(driver->volume, NULL), 0);
		assert_clean(f, device, true);
		driver_release(driver);
		assert_int_equal(knot_volume_close(driver->volume), 0);
		assert_clean(f, device, true);
		assert_true(f->report.was_clean);
		driver_open(driver, fixture_open(device));
	}
	driver_release(driver);
	knot_volume_abandon(driver->volume);
	driver_destroy(driver);
	knot_device_close(device);
	free(driver);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_volume_is_clean),
		cmocka_unit_test(a_populated_volume_is_clean),
		cmocka_unit_test(the_log_is_replayed_in_memory_unless_told_otherwise),
		cmocka_unit_test(a_clean_volume_is_skipped_when_asked),
		cmocka_unit_test(a_check_can_be_cancelled),
		cmocka_unit_test(what_is_no_volume_is_refused),
		cmocka_unit_test(data_under_another_number_is_fine),
		cmocka_unit_test(what_a_truncation_frees_is_fine),
		cmocka_unit_test(a_random_history_stays_clean),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
