/* SPDX-License-Identifier: MIT */
/* The page cache: eviction, frames lent out, cluster reads, and reads that race with allocation and freeing. */
#include "tests/unit/txn_volume.h"

/* A device whose reads first call the test. */
struct hooked {
	struct knot_device_ops ops;
	const struct knot_device_ops *below;
	void (*on_read)(struct bed *bed, uint64_t page_no);
	struct bed *bed;
	unsigned reads;
	bool fail_all;
	bool fail_long; /* reads of more than one page */
};

struct reading {
	struct bed bed;
	struct hooked hooked;
};

static int hooked_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct hooked *hooked = (struct hooked *)(uintptr_t)device->ops;
	void (*on_read)(struct bed * bed, uint64_t page_no) = hooked->on_read;
	int err = hooked->below->read(device, buffer, len_bytes, at_bytes);

	if (at_bytes / KNOT_PAGE_BYTES < 128)
		return err;
	hooked->reads++;
	if (hooked->fail_all || (hooked->fail_long && len_bytes > KNOT_PAGE_BYTES))
		return -EIO;
	hooked->on_read = NULL;
	if (on_read)
		on_read(hooked->bed, at_bytes / KNOT_PAGE_BYTES);
	return err;
}

static void hook_reads(struct reading *r, void (*on_read)(struct bed *bed, uint64_t page_no))
{
	struct knot_device *device = &r->bed.volume.recorder->device;

	r->hooked.ops = *device->ops;
	r->hooked.below = device->ops;
	r->hooked.ops.read = hooked_read;
	r->hooked.on_read = on_read;
	r->hooked.bed = &r->bed;
	device->ops = &r->hooked.ops;
}

/* Pages made, home, and forgotten by the cache. */
static void start_with_pages(struct reading *r, unsigned count)
{
	memset(r, 0, sizeof(*r));
	bed_start(&r->bed);
	for (unsigned i = 0; i < count; i++)
		bed_make(&r->bed, FIRST_PAGE + i, 1000 + i);
	assert_int_equal(knot_txn_close(r->bed.txn), 0);
	bed_open(&r->bed);
}

static void pages_not_used_for_longest_are_evicted_and_read_again(void **state)
{
	struct knot_txn_stats stats;
	struct bed bed;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 0; i < 200; i++) {
		bed_make(&bed, FIRST_PAGE + i, 1000 + i);
		assert_int_equal(bed_value(&bed, FIRST_PAGE), 1000); /* used all the time */
	}
	stats = bed_stats(&bed);
	assert_true(stats.frames_cached <= 64);
	assert_true(stats.cache_evictions > 100);
	assert_int_equal(stats.cache_misses, 0);
	for (unsigned i = 0; i < 200; i++)
		assert_int_equal(bed_value(&bed, FIRST_PAGE + i), 1000 + i);
	assert_true(bed_stats(&bed).cache_misses > 100);
	bed_stop(&bed);
}

static void pending_data_gets_at_most_half_of_the_frames(void **state)
{
	struct knot_frame frames[64];
	struct knot_frame one;
	struct bed bed;
	unsigned got = 0;

	(void)state;
	bed_start(&bed);
	assert_int_equal(knot_txn_frames_pending_max(bed.txn), 32);
	while (!knot_txn_frame_get(bed.txn, &frames[got])) {
		memset(frames[got].data, 0xaa, KNOT_PAGE_BYTES);
		assert_int_equal((uintptr_t)frames[got].data % KNOT_PAGE_BYTES, 0);
		got++;
	}
	assert_int_equal(got, 32);
	assert_int_equal(knot_txn_frames_free(bed.txn), 0);
	for (unsigned i = 0; i < 100; i++)
		bed_make(&bed, FIRST_PAGE + i, i);
	for (unsigned i = 0; i < 100; i++)
		assert_int_equal(bed_value(&bed, FIRST_PAGE + i), i);
	assert_int_equal(knot_txn_frame_get(bed.txn, &one), -KNOT_EFULL);
	while (got)
		knot_txn_frame_put(bed.txn, &frames[--got]);
	assert_int_equal(bed_stats(&bed).frames_pending, 0);
	bed_stop(&bed);
}

static void charged_memory_takes_frames_and_gives_them_back(void **state)
{
	struct bed bed;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 0; i < 60; i++)
		bed_make(&bed, FIRST_PAGE + i, i);
	knot_txn_charge(bed.txn, 10 * KNOT_PAGE_BYTES + 7);
	for (unsigned i = 0; i < 60; i++)
		assert_int_equal(bed_value(&bed, FIRST_PAGE + i), i);
	assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), 0);
	knot_txn_charge(bed.txn, KNOT_PAGE_BYTES);
	assert_int_equal(bed_stats(&bed).frames, 64 - 11);
	knot_txn_charge(bed.txn, 1000 * KNOT_PAGE_BYTES);
	assert_int_equal(bed_stats(&bed).frames, 64 - 21);
	for (unsigned i = 0; i < 60; i++)
		bed_add(&bed, FIRST_PAGE + i, 1);
	knot_txn_charge(bed.txn, -1011 * (ssize_t)KNOT_PAGE_BYTES - 7);
	assert_int_equal(bed_stats(&bed).frames, 64);
	bed_stop(&bed);
}

static int make_tree_page(struct knot_mtr *mtr, uint64_t page_no)
{
	struct knot_disk_tree_page *disk;
	struct knot_page *page;
	int err = knot_mtr_new_page(mtr, page_no, KNOT_PAGE_TREE, &page);

	if (err)
		return err;
	disk = knot_page_data(page);
	disk->heap_at = knot_put16(KNOT_PAGE_BYTES);
	return 0;
}

static int look_at_tree_page(struct knot_mtr *mtr, uint64_t page_no)
{
	struct knot_page *page;

	return knot_mtr_page(mtr, page_no, KNOT_PAGE_TREE, 0, &page);
}

static void start_with_tree(struct reading *r, unsigned count)
{
	struct knot_mtr mtr;
	int err;

	memset(r, 0, sizeof(*r));
	bed_prepare(&r->bed, NULL);
	r->bed.options.cache_bytes = 2048 * KNOT_PAGE_BYTES;
	bed_open(&r->bed);
	for (unsigned i = 0; i < count; i++) {
		RUN(&r->bed, mtr, 1, 0, err, make_tree_page(&mtr, FIRST_PAGE + i));
		assert_int_equal(err, 0);
	}
	assert_int_equal(knot_txn_close(r->bed.txn), 0);
	bed_open(&r->bed);
}

static void tree_pages_are_read_by_the_cluster(void **state)
{
	struct knot_mtr mtr;
	struct reading r;
	int err;

	(void)state;
	start_with_tree(&r, 20);
	hook_reads(&r, NULL);
	for (unsigned i = 20; i > 0; i--) {
		RUN(&r.bed, mtr, 0, 0, err, look_at_tree_page(&mtr, FIRST_PAGE + i - 1));
		assert_int_equal(err, 0);
	}
	assert_int_equal(r.hooked.reads, 1);
	assert_int_equal(bed_stats(&r.bed).frames_cached, 20);
	RUN(&r.bed, mtr, 0, 0, err, look_at_tree_page(&mtr, FIRST_PAGE + 20));
	assert_int_equal(err, -EUCLEAN);
	bed_stop(&r.bed);
}

static void a_cluster_that_cannot_be_read_does_not_take_its_good_pages_along(void **state)
{
	struct knot_mtr mtr;
	struct reading r;
	int err;

	(void)state;
	start_with_tree(&r, 5);
	hook_reads(&r, NULL);
	r.hooked.fail_long = true;
	RUN(&r.bed, mtr, 0, 0, err, look_at_tree_page(&mtr, FIRST_PAGE + 3));
	assert_int_equal(err, 0);
	assert_int_equal(bed_stats(&r.bed).frames_cached, 1);
	bed_stop(&r.bed);
}

static void allocate_it(struct bed *bed, uint64_t page_no)
{
	bed_make(bed, page_no, 77);
}

static void a_page_allocated_while_it_is_read_keeps_its_new_contents(void **state)
{
	struct reading r;

	(void)state;
	start_with_pages(&r, 1);
	hook_reads(&r, allocate_it);
	assert_int_equal(bed_value(&r.bed, FIRST_PAGE), 77);
	assert_int_equal(r.hooked.reads, 1);
	bed_stop(&r.bed);
}

static void free_it(struct bed *bed, uint64_t page_no)
{
	bed_free(bed, page_no, 1);
	assert_true(bed_idle(bed, page_no, 1));
}

static void what_was_read_of_a_page_that_was_freed_meanwhile_is_forgotten(void **state)
{
	struct reading r;

	(void)state;
	start_with_pages(&r, 1);
	hook_reads(&r, free_it);
	assert_int_equal(bed_value(&r.bed, FIRST_PAGE), 1000);
	assert_int_equal(r.hooked.reads, 2);
	bed_stop(&r.bed);
}

/* FIRST_PAGE's counter says where to look next. */
static int follow(struct knot_mtr *mtr, uint64_t *value)
{
	uint64_t next = 0;
	int err = look_at_page(mtr, FIRST_PAGE, 0, &next);

	return err ? err : look_at_page(mtr, next, 0, value);
}

static void move_and_scribble(struct bed *bed, uint64_t page_no)
{
	bed_add(bed, FIRST_PAGE, 1); /* now it points to the page after */
	bed_free(bed, page_no, 1);
	assert_int_equal(knot_txn_commit_to(bed->txn, knot_txn_lsn(bed->txn), true, NULL), 0);
	assert_true(bed_idle(bed, page_no, 1));
	memset(bed->volume.recorder->now + page_no * KNOT_PAGE_BYTES, 0x55, KNOT_PAGE_BYTES);
}

static void a_page_that_was_reused_while_the_lock_was_dropped_is_not_called_damaged(void **state)
{
	uint64_t value = 0;
	struct knot_mtr mtr;
	struct reading r;
	int err;

	(void)state;
	start_with_pages(&r, 4);
	bed_add(&r.bed, FIRST_PAGE, (uint64_t)FIRST_PAGE + 1 - 1000);
	r.bed.volume.recorder->now[(FIRST_PAGE + 1) * KNOT_PAGE_BYTES] ^= 1; /* as if the bulk write was under way */
	hook_reads(&r, move_and_scribble);
	RUN(&r.bed, mtr, 0, 0, err, follow(&mtr, &value));
	assert_int_equal(err, 0);
	assert_int_equal(value, 1002);
	assert_int_equal(r.bed.said, 0);
	bed_stop(&r.bed);
}

static void a_read_that_fails_is_an_eio_of_that_operation_only(void **state)
{
	uint64_t value = 0;
	struct reading r;
	struct knot_mtr mtr;
	int err;

	(void)state;
	start_with_pages(&r, 3);
	hook_reads(&r, NULL);
	r.hooked.fail_all = true;
	RUN(&r.bed, mtr, 0, 0, err, look_at_page(&mtr, FIRST_PAGE, 0, &value));
	assert_int_equal(err, -EIO);
	assert_int_equal(r.bed.said, 1);
	assert_non_null(strstr(r.bed.volume.said, "page 200 (state): can't be read"));
	r.hooked.fail_all = false;
	assert_int_equal(bed_value(&r.bed, FIRST_PAGE), 1000);
	assert_false(knot_txn_is_stopped(r.bed.txn));
	bed_stop(&r.bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pages_not_used_for_longest_are_evicted_and_read_again),
		cmocka_unit_test(pending_data_gets_at_most_half_of_the_frames),
		cmocka_unit_test(charged_memory_takes_frames_and_gives_them_back),
		cmocka_unit_test(tree_pages_are_read_by_the_cluster),
		cmocka_unit_test(a_cluster_that_cannot_be_read_does_not_take_its_good_pages_along),
		cmocka_unit_test(a_page_allocated_while_it_is_read_keeps_its_new_contents),
		cmocka_unit_test(what_was_read_of_a_page_that_was_freed_meanwhile_is_forgotten),
		cmocka_unit_test(a_page_that_was_reused_while_the_lock_was_dropped_is_not_called_damaged),
		cmocka_unit_test(a_read_that_fails_is_an_eio_of_that_operation_only),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
