/* SPDX-License-Identifier: MIT */
/* Cleaner and checkpoint: what goes home and when, freed pages, power cuts at any write, many threads on a tiny ring.
 * */
#include "tests/unit/txn_volume.h"

static void a_checkpoint_leaves_nothing_to_replay(void **state)
{
	struct bed bed;
	knot_lsn_t lsn;

	(void)state;
	bed_start(&bed);
	for (unsigned i = 0; i < 20; i++)
		lsn = bed_make(&bed, FIRST_PAGE + i, i);
	assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), 0);
	assert_true(bed_stats(&bed).checkpoint_lsn >= lsn);
	assert_int_equal(bed_stats(&bed).frames_dirty, 0);
	for (unsigned i = 0; i < 20; i++)
		assert_int_equal(home_value(&bed, FIRST_PAGE + i), i);
	knot_txn_abandon(bed.txn);
	assert_int_equal(volume_recover(&bed.volume, 1 << 20, 0), 0);
	assert_int_equal(bed.volume.recovered.mtrs, 0);
	bed.txn = NULL;
	bed_stop(&bed);
}

static void a_clean_close_is_seen_as_clean(void **state)
{
	struct bed bed;

	(void)state;
	bed_prepare(&bed, NULL);
	for (unsigned strict = 0; strict < 2; strict++) {
		bed.options.strict = strict;
		bed_open(&bed);
		bed_make(&bed, FIRST_PAGE + strict, 5);
		assert_int_equal(knot_txn_close(bed.txn), 0);
		assert_int_equal(volume_recover(&bed.volume, 1 << 20, 0), 0);
		assert_true(bed.volume.recovered.was_clean);
	}
	bed.txn = NULL;
	bed_stop(&bed);
}

static void a_freed_page_is_not_written_and_not_idle_before_the_free_is_committed(void **state)
{
	struct bed bed;
	knot_lsn_t lsn;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 0x1234);
	bed_make(&bed, FIRST_PAGE + 1, 0x1234);
	assert_int_equal(knot_txn_commit_to(bed.txn, knot_txn_lsn(bed.txn), true, NULL), 0);
	assert_false(bed_idle(&bed, FIRST_PAGE, 1));
	lsn = bed_free(&bed, FIRST_PAGE, 2);
	assert_false(bed_idle(&bed, FIRST_PAGE, 2));
	assert_int_equal(bed_stats(&bed).frames_dirty, 2);
	assert_int_equal(knot_txn_commit_to(bed.txn, lsn, true, NULL), 0);
	assert_true(bed_idle(&bed, FIRST_PAGE, 1));
	assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), 0);
	assert_int_equal(bed_stats(&bed).frames_dirty, 0);
	assert_int_equal(home_value(&bed, FIRST_PAGE), 0);
	assert_int_equal(home_value(&bed, FIRST_PAGE + 1), 0);
	bed_make(&bed, FIRST_PAGE, 0x77);
	bed_stop(&bed);
}

static void a_checkpoint_commits_a_free_that_it_meets(void **state)
{
	struct bed bed;

	(void)state;
	for (unsigned strict = 0; strict < 2; strict++) {
		bed_prepare(&bed, NULL);
		bed.options.strict = strict;
		bed_open(&bed);
		bed_make(&bed, FIRST_PAGE, 0x1234);
		bed_free(&bed, FIRST_PAGE, 1);
		assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), 0);
		assert_int_equal(bed_stats(&bed).frames_dirty, 0);
		assert_true(bed_idle(&bed, FIRST_PAGE, 1));
		assert_int_equal(home_value(&bed, FIRST_PAGE), 0);
		bed_stop(&bed);
	}
}

static int change_and_free(struct knot_mtr *mtr)
{
	int err = add_to_page(mtr, FIRST_PAGE, 0, 1);

	if (!err)
		err = make_page(mtr, FIRST_PAGE + 1, 9);
	if (!err)
		err = knot_mtr_free_pages(mtr, FIRST_PAGE, 2);
	return err;
}

static void a_page_changed_or_made_and_freed_in_one_mtr_logs_only_the_free(void **state)
{
	struct knot_mtr mtr;
	knot_lsn_t before;
	struct bed bed;
	int err;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 5);
	assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), 0);
	before = knot_log_lsn(bed.txn->log);
	RUN(&bed, mtr, 3, 0, err, change_and_free(&mtr));
	assert_int_equal(err, 0);
	assert_true(mtr.end_lsn - before < 100);
	assert_int_equal(bed_stats(&bed).frames_cached, 0);
	bed_stop(&bed);
}

/* ---- changes while pages go home ---- */

struct meddling {
	struct bed bed;
	bool active;
	unsigned writes;
	size_t ops_before; /* operations of the recorder before that write */
};

static void change_it_again(void *arg, uint64_t at_bytes, const uint8_t *data, size_t len_bytes)
{
	struct meddling *m = arg;

	(void)data;
	(void)len_bytes;
	if (!m->active || at_bytes / KNOT_PAGE_BYTES < FIRST_PAGE)
		return;
	m->active = false;
	m->writes++;
	m->ops_before = m->bed.volume.recorder->count;
	bed_add(&m->bed, FIRST_PAGE, 100);
	assert_int_equal(knot_txn_commit_to(m->bed.txn, knot_txn_lsn(m->bed.txn), true, NULL), 0);
	assert_false(bed_idle(&m->bed, FIRST_PAGE, 1));
}

static void a_page_changed_while_it_goes_home_survives_a_torn_write(void **state)
{
	uint8_t *image = malloc(VOLUME_BYTES);
	uint64_t random = random_seed();
	struct meddling m = { .active = true };
	struct bed after;

	(void)state;
	assert_non_null(image);
	bed_start(&m.bed);
	bed_make(&m.bed, FIRST_PAGE, 1);
	m.bed.volume.recorder->on_write = change_it_again;
	m.bed.volume.recorder->arg = &m;
	assert_int_equal(knot_txn_checkpoint(m.bed.txn, NULL), 0);
	assert_int_equal(m.writes, 1);
	assert_int_equal(bed_value(&m.bed, FIRST_PAGE), 101);
	assert_int_equal(bed_stats(&m.bed).frames_dirty, 1);
	assert_int_equal(home_value(&m.bed, FIRST_PAGE), 1);
	/* the addition is committed by the flush after ops_before; from then on no cut may lose it */
	for (size_t ops = m.ops_before + 2; ops <= m.bed.volume.recorder->count; ops++) {
		for (unsigned round = 0; round < 8; round++) {
			recorder_cut(m.bed.volume.recorder, ops, (enum cut)(round % CUT_MODES), &random, image);
			bed_prepare(&after, image);
			bed_open(&after);
			assert_int_equal(bed_value(&after, FIRST_PAGE), 101);
			bed_stop(&after);
		}
	}
	bed_stop(&m.bed);
	free(image);
}

static void a_page_freed_while_it_goes_home_is_idle_afterwards(void **state)
{
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 1);
	pthread_mutex_lock(&bed.txn->cache.mutex);
	knot_cache_set_writing_locked(&bed.txn->cache, knot_cache_find_locked(&bed.txn->cache, FIRST_PAGE));
	pthread_mutex_unlock(&bed.txn->cache.mutex);
	assert_int_equal(knot_txn_commit_to(bed.txn, bed_free(&bed, FIRST_PAGE, 1), true, NULL), 0);
	assert_false(bed_idle(&bed, FIRST_PAGE, 1));
	pthread_mutex_lock(&bed.txn->cache.mutex);
	knot_cache_set_written_locked(&bed.txn->cache, knot_cache_find_locked(&bed.txn->cache, FIRST_PAGE));
	pthread_mutex_unlock(&bed.txn->cache.mutex);
	assert_true(bed_idle(&bed, FIRST_PAGE, 1));
	assert_int_equal(bed_stats(&bed).frames_cached, 0);
	bed_stop(&bed);
}

static void a_failed_home_write_stops_the_volume_and_loses_nothing(void **state)
{
	struct bed bed;

	(void)state;
	bed_start(&bed);
	bed_make(&bed, FIRST_PAGE, 1);
	bed_add(&bed, FIRST_PAGE, 1);
	assert_int_equal(knot_txn_commit_to(bed.txn, knot_txn_lsn(bed.txn), true, NULL), 0);
	bed.volume.recorder->fail_from = bed.volume.recorder->count + 1;
	assert_int_equal(knot_txn_checkpoint(bed.txn, NULL), -EIO);
	assert_true(knot_txn_is_stopped(bed.txn));
	assert_int_equal(bed.said, 1);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 2);
	bed.volume.recorder->fail_from = 0;
	bed_cut(&bed);
	assert_int_equal(bed_value(&bed, FIRST_PAGE), 2);
	bed_stop(&bed);
}

/* ---- power cuts ---- */

#define COUNTERS  24u
#define MARKS_MAX 400u

struct mark {
	size_t ops; /* the device had done so much when this was committed */
	uint64_t value;
};

struct workload {
	struct bed bed;
	size_t formatted; /* operations of the device until then */
	uint64_t done;    /* transfers so far */
	struct mark marks[MARKS_MAX];
	unsigned mark_count;
};

static int transfer(struct knot_mtr *mtr, uint64_t from, uint64_t to, uint64_t number)
{
	struct knot_page *page;
	int err = add_to_page(mtr, FIRST_PAGE + from, 0, (uint64_t)-1);

	if (!err)
		err = add_to_page(mtr, FIRST_PAGE + to, 0, 1);
	if (!err)
		err = knot_mtr_page(mtr, FIRST_PAGE + COUNTERS, KNOT_PAGE_STATE, 0, &page);
	if (!err)
		err = knot_mtr_change(mtr, page, NULL);
	if (!err)
		*counter_of(page, 0) = number;
	return err;
}

static void check_wal(void *arg, uint64_t at_bytes, const uint8_t *data, size_t len_bytes)
{
	struct workload *w = arg;

	if (at_bytes / KNOT_PAGE_BYTES < FIRST_PAGE || !w->bed.txn)
		return;
	for (size_t at = 0; at < len_bytes; at += KNOT_PAGE_BYTES) {
		const struct knot_disk_page_header *header = (const void *)(data + at);

		assert_true(knot_get64(header->lsn) <= knot_txn_committed_lsn(w->bed.txn));
	}
}

static void run_workload(struct workload *w, unsigned transfers, uint64_t random, bool strict)
{
	struct knot_mtr mtr;
	int err;

	memset(w, 0, sizeof(*w));
	bed_prepare(&w->bed, NULL);
	w->bed.options.strict = strict;
	bed_open(&w->bed);
	w->formatted = w->bed.volume.recorder->count;
	w->bed.volume.recorder->on_write = check_wal;
	w->bed.volume.recorder->arg = w;
	for (unsigned i = 0; i <= COUNTERS; i++)
		bed_make(&w->bed, FIRST_PAGE + i, i < COUNTERS ? 1000 : 0);
	while (w->done < transfers) {
		uint64_t from = random_below(&random, COUNTERS), to = random_below(&random, COUNTERS);

		RUN(&w->bed, mtr, 3, 0, err, transfer(&mtr, from, to, w->done + 1));
		assert_int_equal(err, 0);
		w->done++;
		if (random_below(&random, 8) == 0) {
			assert_int_equal(knot_txn_commit_to(w->bed.txn, mtr.end_lsn, true, NULL), 0);
			assert_true(w->mark_count < MARKS_MAX);
			w->marks[w->mark_count++] = (struct mark){ w->bed.volume.recorder->count, w->done };
		}
		if (random_below(&random, 40) == 0)
			assert_int_equal(knot_txn_tick(w->bed.txn), 0);
	}
}

/* The counters after exactly the first `transfers` transfers. */
static void replay_in_memory(uint64_t random, uint64_t transfers, uint64_t *counters)
{
	for (unsigned i = 0; i < COUNTERS; i++)
		counters[i] = 1000;
	for (uint64_t done = 0; done < transfers; done++) {
		counters[random_below(&random, COUNTERS)]--;
		counters[random_below(&random, COUNTERS)]++;
		random_below(&random, 8);
		random_below(&random, 40);
	}
}

static void check_image(const struct workload *w, const uint8_t *image, size_t ops, uint64_t seed, bool strict)
{
	uint64_t counters[COUNTERS], done, least = 0;
	struct bed bed;

	bed_prepare(&bed, image);
	bed.options.strict = strict;
	bed_open(&bed);
	for (unsigned i = 0; i < w->mark_count && w->marks[i].ops <= ops; i++)
		least = w->marks[i].value;
	if (least) {
		done = bed_value(&bed, FIRST_PAGE + COUNTERS);
		assert_true(done >= least && done <= w->done);
		replay_in_memory(seed, done, counters);
		for (unsigned i = 0; i < COUNTERS; i++)
			assert_int_equal(bed_value(&bed, FIRST_PAGE + i), counters[i]);
		bed_add(&bed, FIRST_PAGE, 1);
	}
	bed_stop(&bed);
}

static void cut_everywhere(bool strict)
{
	struct workload *w = malloc(sizeof(*w));
	uint8_t *image = malloc(VOLUME_BYTES);
	uint64_t seed = random_seed();
	uint64_t random = seed;

	assert_true(w && image);
	run_workload(w, 1500, seed, strict);
	assert_true(w->bed.txn->cleaner.batches > 3);
	for (size_t ops = w->formatted; ops <= w->bed.volume.recorder->count; ops += 1 + random_below(&random, 6)) {
		recorder_cut(w->bed.volume.recorder, ops, (enum cut)random_below(&random, CUT_MODES), &random, image);
		check_image(w, image, ops, seed, strict);
	}
	bed_stop(&w->bed);
	free(image);
	free(w);
}

static void a_cut_at_any_write_leaves_a_prefix_with_all_that_was_committed(void **state)
{
	(void)state;
	cut_everywhere(false);
}

static void a_cut_at_any_write_leaves_a_prefix_with_all_that_was_committed_strict(void **state)
{
	(void)state;
	cut_everywhere(true);
}

static void without_threads_the_same_calls_give_the_same_writes(void **state)
{
	struct workload *w = calloc(2, sizeof(*w));
	struct recorder *first, *second;

	(void)state;
	assert_non_null(w);
	for (unsigned i = 0; i < 2; i++)
		run_workload(&w[i], 400, 42, true);
	first = w[0].bed.volume.recorder;
	second = w[1].bed.volume.recorder;
	assert_int_equal(first->count, second->count);
	for (size_t i = 0; i < first->count; i++) {
		assert_int_equal(first->ops[i].at_bytes, second->ops[i].at_bytes);
		assert_int_equal(first->ops[i].len_bytes, second->ops[i].len_bytes);
		if (first->ops[i].len_bytes)
			assert_memory_equal(first->ops[i].data, second->ops[i].data, first->ops[i].len_bytes);
	}
	bed_stop(&w[0].bed);
	bed_stop(&w[1].bed);
	free(w);
}

/* Transfers until one fails or all are done; returns how many are known to be committed. */
static uint64_t transfer_until_failure(struct workload *w, unsigned transfers, uint64_t random)
{
	uint64_t committed = 0;
	struct knot_mtr mtr;
	int err = 0;

	while (!err && w->done < transfers) {
		uint64_t from = random_below(&random, COUNTERS), to = random_below(&random, COUNTERS);

		RUN(&w->bed, mtr, 3, 0, err, transfer(&mtr, from, to, w->done + 1));
		if (err)
			break;
		w->done++;
		if (random_below(&random, 8) == 0) {
			err = knot_txn_commit_to(w->bed.txn, mtr.end_lsn, true, NULL);
			committed = err ? committed : w->done;
		}
		if (!err && random_below(&random, 40) == 0)
			err = knot_txn_tick(w->bed.txn);
	}
	if (err) {
		assert_true(err == -EIO || err == -EROFS);
		assert_true(knot_txn_is_stopped(w->bed.txn));
		assert_int_equal(w->bed.said, 1);
		assert_int_equal(bed_value(&w->bed, FIRST_PAGE + COUNTERS), w->done);
	}
	return committed;
}

static void whichever_write_or_flush_fails_the_volume_stops_and_keeps_what_was_committed(void **state)
{
	struct workload *w = malloc(sizeof(*w));
	uint64_t committed, done, seed = 5;
	bool failed = true;
	int err;

	(void)state;
	assert_non_null(w);
	for (unsigned n = 1; failed; n += 1 + n / 20) {
		memset(w, 0, sizeof(*w));
		bed_prepare(&w->bed, NULL);
		w->bed.options.strict = n % 2;
		bed_open(&w->bed);
		for (unsigned i = 0; i <= COUNTERS; i++)
			bed_make(&w->bed, FIRST_PAGE + i, i < COUNTERS ? 1000 : 0);
		assert_int_equal(knot_txn_commit_to(w->bed.txn, knot_txn_lsn(w->bed.txn), true, NULL), 0);
		w->bed.volume.recorder->fail_from = w->bed.volume.recorder->count + n;
		committed = transfer_until_failure(w, 700, seed);
		err = knot_txn_close(w->bed.txn);
		assert_true(err == 0 || err == -EIO);
		failed = err;
		w->bed.volume.recorder->fail_from = 0;
		bed_open(&w->bed);
		done = bed_value(&w->bed, FIRST_PAGE + COUNTERS);
		assert_true(done >= committed && done <= w->done);
		bed_stop(&w->bed);
	}
	free(w);
}

/* ---- threads ---- */

#define HAMMER_PAGES   150u
#define HAMMER_THREADS 4u
#define HAMMER_ROUNDS  1500u

#define HAMMER_OWN_PAGES  8u /* of each thread: made and freed over and over */
#define HAMMER_BATCH_PAGE (FIRST_PAGE + HAMMER_PAGES + HAMMER_THREADS * HAMMER_OWN_PAGES)

struct hammer {
	struct bed *bed;
	unsigned number;
	bool own[HAMMER_OWN_PAGES];
};

/* Make a page of the thread's own, or free it; a freed one comes back only when it is idle. */
static int make_or_free(struct hammer *hammer, unsigned which)
{
	uint64_t page_no = FIRST_PAGE + HAMMER_PAGES + hammer->number * HAMMER_OWN_PAGES + which;
	struct bed *bed = hammer->bed;
	struct knot_mtr mtr;
	uint64_t value = 0;
	int err = 0;

	if (hammer->own[which]) {
		RUN(bed, mtr, 0, 0, err, look_at_page(&mtr, page_no, 0, &value));
		if (err || value != page_no)
			return err ? err : -EUCLEAN;
		RUN(bed, mtr, 1, 0, err, knot_mtr_free_pages(&mtr, page_no, 1));
		hammer->own[which] = false;
	} else if (bed_idle(bed, page_no, 1)) {
		RUN(bed, mtr, 1, 0, err, make_page(&mtr, page_no, page_no));
		hammer->own[which] = true;
	}
	return err;
}

/* What the layers above do at the end of a batch: mini-transactions that may use the last quarter of the ring. */
static int close_busily(void *arg, struct knot_request *request)
{
	struct bed *bed = arg;
	struct knot_mtr mtr;
	int err = 0;

	for (unsigned i = 0; i < 3 && !err; i++)
		RUN(bed, mtr, 3, KNOT_MTR_PRIVILEGED, err, add_to_page(&mtr, HAMMER_BATCH_PAGE + i, 0, 1));
	return err ? err : knot_commit_close_plain(bed->txn, request);
}

static void committed_nothing_to_do(void *arg, knot_lsn_t committed_lsn)
{
	struct bed *bed = arg;

	assert_true(committed_lsn <= knot_txn_committed_lsn(bed->txn));
}

static void need_no_frames(void *arg)
{
	(void)arg;
}

static int hammer_once(struct knot_mtr *mtr, struct hammer *hammer, uint64_t a, uint64_t b)
{
	int err = add_to_page(mtr, FIRST_PAGE + a, hammer->number, 1);

	if (!err)
		err = add_to_page(mtr, FIRST_PAGE + b, hammer->number, 1);
	return err;
}

static void *run_hammer(void *arg)
{
	struct hammer *hammer = arg;
	struct bed *bed = hammer->bed;
	uint64_t random = hammer->number + 77;
	struct knot_frame frame;
	struct knot_mtr mtr;
	int err;

	for (unsigned i = 0; i < HAMMER_ROUNDS; i++) {
		uint64_t a = random_below(&random, HAMMER_PAGES), b = random_below(&random, HAMMER_PAGES);
		bool framed = random_below(&random, 8) == 0 && !knot_txn_frame_get(bed->txn, &frame);

		RUN(bed, mtr, 2, i % 5 ? 0 : KNOT_MTR_PRIVILEGED, err, hammer_once(&mtr, hammer, a, b));
		if (err || (i % 50 == 49 && knot_txn_commit_to(bed->txn, mtr.end_lsn, true, NULL)))
			return (void *)1;
		if (make_or_free(hammer, (unsigned)random_below(&random, HAMMER_OWN_PAGES)))
			return (void *)1;
		if (framed)
			knot_txn_frame_put(bed->txn, &frame);
		if (i % 400 == 399 && knot_txn_checkpoint(bed->txn, NULL))
			return (void *)1;
	}
	return NULL;
}

static void hammer(bool strict, bool threads)
{
	struct hammer hammers[HAMMER_THREADS];
	pthread_t ids[HAMMER_THREADS];
	uint64_t sums[HAMMER_THREADS] = { 0 };
	struct bed bed;
	struct knot_txn_upper upper = {
		.close_batch = close_busily,
		.need_frames = need_no_frames,
		.committed = committed_nothing_to_do,
		.arg = &bed,
	};
	struct knot_mtr mtr;
	int err;

	bed_prepare(&bed, NULL);
	bed.options.strict = strict;
	bed.options.threads = threads;
	bed_open(&bed);
	for (unsigned i = 0; i < HAMMER_PAGES; i++)
		bed_make(&bed, FIRST_PAGE + i, 0);
	for (unsigned i = 0; i < 3; i++)
		bed_make(&bed, HAMMER_BATCH_PAGE + i, 0);
	knot_txn_set_upper(bed.txn, &upper);
	for (unsigned i = 0; i < HAMMER_THREADS; i++) {
		hammers[i] = (struct hammer){ .bed = &bed, .number = i };
		assert_int_equal(pthread_create(&ids[i], NULL, run_hammer, &hammers[i]), 0);
	}
	for (unsigned i = 0; i < HAMMER_THREADS; i++) {
		void *result;

		assert_int_equal(pthread_join(ids[i], &result), 0);
		assert_null(result);
	}
	assert_true(knot_txn_lsn(bed.txn) > 3 * bed.txn->ring_bytes);
	assert_int_equal(bed.txn->outstanding_bytes, 0);
	assert_int_equal(bed.txn->cache.reserved, 0);
	assert_int_equal(knot_txn_close(bed.txn), 0);

	bed.options.threads = false;
	bed_open(&bed);
	for (unsigned k = 0; k < HAMMER_THREADS; k++) {
		for (unsigned i = 0; i < HAMMER_PAGES; i++) {
			uint64_t value = 0;

			RUN(&bed, mtr, 0, 0, err, look_at_page(&mtr, FIRST_PAGE + i, k, &value));
			assert_int_equal(err, 0);
			sums[k] += value;
		}
		assert_int_equal(sums[k], 2 * HAMMER_ROUNDS);
	}
	bed_stop(&bed);
}

static void many_threads_on_a_tiny_ring_lose_nothing(void **state)
{
	(void)state;
	hammer(false, true);
}

static void many_threads_on_a_tiny_ring_lose_nothing_strict(void **state)
{
	(void)state;
	hammer(true, true);
}

static void many_threads_that_clean_themselves_lose_nothing(void **state)
{
	(void)state;
	hammer(false, false);
	hammer(true, false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_checkpoint_leaves_nothing_to_replay),
		cmocka_unit_test(a_clean_close_is_seen_as_clean),
		cmocka_unit_test(a_freed_page_is_not_written_and_not_idle_before_the_free_is_committed),
		cmocka_unit_test(a_checkpoint_commits_a_free_that_it_meets),
		cmocka_unit_test(a_page_changed_or_made_and_freed_in_one_mtr_logs_only_the_free),
		cmocka_unit_test(a_page_changed_while_it_goes_home_survives_a_torn_write),
		cmocka_unit_test(a_page_freed_while_it_goes_home_is_idle_afterwards),
		cmocka_unit_test(a_failed_home_write_stops_the_volume_and_loses_nothing),
		cmocka_unit_test(a_cut_at_any_write_leaves_a_prefix_with_all_that_was_committed),
		cmocka_unit_test(a_cut_at_any_write_leaves_a_prefix_with_all_that_was_committed_strict),
		cmocka_unit_test(without_threads_the_same_calls_give_the_same_writes),
		cmocka_unit_test(whichever_write_or_flush_fails_the_volume_stops_and_keeps_what_was_committed),
		cmocka_unit_test(many_threads_on_a_tiny_ring_lose_nothing),
		cmocka_unit_test(many_threads_on_a_tiny_ring_lose_nothing_strict),
		cmocka_unit_test(many_threads_that_clean_themselves_lose_nothing),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
