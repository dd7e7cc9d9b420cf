/* SPDX-License-Identifier: MIT */
/* Power cuts by name, of single pages: what needs a log without a file system on it. */
#include "tests/unit/txn_volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

#define OLD_VALUE  0x1234u

/* Clean what is committed and let the checkpoint move as far as it may, as under pressure for ring space. */
static void press_for_ring_space(struct bed *bed)
{
	bool progress = false;

	atomic_fetch_add(&bed->txn->room.want_ring, 1);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(knot_cleaner_run_committed(bed->txn, &progress), 0);
	atomic_fetch_sub(&bed->txn->room.want_ring, 1);
}

static void cut_all(struct bed *bed, size_t from, uint64_t page_no, uint64_t wanted)
{
	uint8_t *image = malloc(VOLUME_BYTES);
	uint64_t random = random_seed();
	struct bed after;

	assert_non_null(image);
	for (size_t ops = from; ops <= bed->volume.recorder->count; ops++) {
		for (unsigned round = 0; round < 8; round++) {
			recorder_cut(bed->volume.recorder, ops, (enum cut)(round % CUT_MODES), &random, image);
			bed_prepare(&after, image);
			after.options.strict = bed->options.strict;
			bed_open(&after);
			assert_int_equal(bed_value(&after, page_no), wanted);
			bed_stop(&after);
		}
	}
	free(image);
}

static void a_page_whose_freeing_is_lost_is_there_though_the_checkpoint_moved(void **state)
{
	struct bed bed;
	knot_lsn_t lsn;
	size_t from;

	(void)state;
	bed_prepare(&bed, NULL);
	bed.options.strict = true;
	bed_open(&bed);
	lsn = bed_make(&bed, FIRST_PAGE, OLD_VALUE);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), 0);
	from = bed.volume.recorder->count;
	bed_free(&bed, FIRST_PAGE, 1); /* its batch never ends */
	press_for_ring_space(&bed);
	cut_all(&bed, from, FIRST_PAGE, OLD_VALUE);
	assert_false(bed_idle(&bed, FIRST_PAGE, 1));
	knot_txn_abandon(bed.txn);
	bed.txn = NULL;
	bed_stop(&bed);
}

static void a_page_whose_change_is_lost_is_the_old_one_though_the_checkpoint_moved(void **state)
{
	struct bed bed;
	knot_lsn_t lsn;
	size_t from;

	(void)state;
	bed_prepare(&bed, NULL);
	bed.options.strict = true;
	bed_open(&bed);
	lsn = bed_make(&bed, FIRST_PAGE, OLD_VALUE);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), 0);
	from = bed.volume.recorder->count;
	bed_add(&bed, FIRST_PAGE, 1); /* its batch never ends */
	press_for_ring_space(&bed);
	cut_all(&bed, from, FIRST_PAGE, OLD_VALUE);
	knot_txn_abandon(bed.txn);
	bed.txn = NULL;
	bed_stop(&bed);
}

static void a_page_on_its_way_home_when_it_is_freed_is_not_idle(void **state)
{
	struct bed bed;
	struct knot_page *page;
	knot_lsn_t lsn;

	(void)state;
	bed_start(&bed);
	lsn = bed_make(&bed, FIRST_PAGE, OLD_VALUE);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), 0);
	pthread_mutex_lock(&bed.txn->cache.mutex);
	page = knot_cache_find_locked(&bed.txn->cache, FIRST_PAGE);
	knot_cache_set_writing_locked(&bed.txn->cache, page);
	pthread_mutex_unlock(&bed.txn->cache.mutex);
	lsn = bed_free(&bed, FIRST_PAGE, 1);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), 0);
	assert_false(bed_idle(&bed, FIRST_PAGE, 1)); /* the write may reach the device after its next owner's */
	pthread_mutex_lock(&bed.txn->cache.mutex);
	knot_cache_set_written_locked(&bed.txn->cache, page);
	pthread_mutex_unlock(&bed.txn->cache.mutex);
	assert_true(bed_idle(&bed, FIRST_PAGE, 1));
	bed_stop(&bed);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_page_whose_freeing_is_lost_is_there_though_the_checkpoint_moved),
		cmocka_unit_test(a_page_whose_change_is_lost_is_the_old_one_though_the_checkpoint_moved),
		cmocka_unit_test(a_page_on_its_way_home_when_it_is_freed_is_not_idle),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
