/* SPDX-License-Identifier: MIT */
/*
 * Random histories of mini-transactions, flushes, cleaning, freeing and reuse on a tiny ring; the power cut after
 * every write and flush, with what was not durable kept, dropped, reordered and torn; recovery compared with a
 * model; recovery itself cut everywhere and run again; and the history goes on from there in the next epoch.
 */
#include "tests/unit/log_volume.h"

#define UNIT 4096u
#define BUFFER (96u * 1024u)
#define PAGES 24u

enum kind { GONE, META, DATA, FREED };

struct model_page {
	uint8_t bytes[KNOT_PAGE_BYTES];
	enum kind kind;
	bool is_clean;               /* the next change logs the whole page */
	bool is_dirty;               /* logged, not home */
	uint64_t lsn;                /* end of the last mini-transaction that changed it */
	uint64_t oldest_lsn;         /* while dirty; holds the checkpoint */
	size_t home_op;              /* bulk data: operations after which it is durable; 0 logged */
};

struct snapshot {
	uint64_t end_lsn;
	bool is_batch_end;
	struct model_page pages[PAGES];
};

struct promise {
	size_t ops;                  /* after so many operations */
	uint64_t lsn;                /* this was told to be committed */
};

struct model {
	struct volume volume;
	struct model_page pages[PAGES];
	struct snapshot *snapshots;
	size_t snapshot_count;
	struct promise *promises;
	size_t promise_count;
	bool strict;
	uint64_t random;
	uint64_t generation;
};

#define STEPS 160u
#define SNAPSHOTS 400u
#define PROMISES 400u

static void take_snapshot(struct model *model, uint64_t end_lsn)
{
	struct snapshot *snapshot = &model->snapshots[model->snapshot_count++];

	assert_true(model->snapshot_count <= SNAPSHOTS);
	snapshot->end_lsn = end_lsn;
	snapshot->is_batch_end = false;
	memcpy(snapshot->pages, model->pages, sizeof(model->pages));
}

static void promise(struct model *model, uint64_t lsn)
{
	assert_true(model->promise_count < PROMISES);
	model->promises[model->promise_count].ops = model->volume.recorder->count;
	model->promises[model->promise_count++].lsn = lsn;
}

static uint64_t committed(struct model *model)
{
	return model->strict ? knot_log_batch_lsn(model->volume.log) : knot_log_flushed_lsn(model->volume.log);
}

/* ---- what a history is made of --------------------------------------------------------------------------------- */

static void commit(struct model *model, bool flush)
{
	struct knot_log *log = model->volume.log;
	uint64_t lsn = model->snapshots[model->snapshot_count - 1].end_lsn;

	if (model->strict && flush) {
		uint64_t worst = knot_log_worst_bytes(log, 0);
		bool ring_full;

		if (knot_log_try_reserve(log, worst, true, &ring_full)) {
			assert_false(ring_full);
			assert_int_equal(knot_log_flush(log, knot_log_lsn(log), false, NULL), 0);
			assert_int_equal(knot_log_try_reserve(log, worst, true, &ring_full), 0);
		}
		lsn = knot_log_append_batch_end(log);
		knot_log_unreserve(log, worst);
		take_snapshot(model, lsn);
		model->snapshots[model->snapshot_count - 1].is_batch_end = true;
		knot_log_release(log);
	}
	assert_int_equal(knot_log_flush(log, lsn, flush, NULL), 0);
	if (flush)
		promise(model, lsn);
}

/* Write dirty pages home, some or all, and the slot. */
static void clean(struct model *model, bool all)
{
	struct volume *volume = &model->volume;
	struct knot_device *device = &volume->recorder->device;
	void *copy = NULL;
	uint64_t oldest = UINT64_MAX;
	uint64_t sequence;
	unsigned i;

	assert_int_equal(posix_memalign(&copy, 4096, 4096), 0);
	commit(model, true);
	for (i = 0; i < PAGES; i++) {
		struct model_page *page = &model->pages[i];

		if (!page->is_dirty)
			continue;
		if (!all && random_below(&model->random, 2)) {
			oldest = page->oldest_lsn < oldest ? page->oldest_lsn : oldest;
			continue;
		}
		page->is_dirty = false;
		if (page->kind == FREED)
			continue; /* its FREE is committed: it needs no home */
		memcpy(copy, page->bytes, sizeof(page->bytes));
		if (page->kind == META) {
			((struct knot_disk_page_header *)copy)->lsn = knot_put64(page->lsn);
			knot_page_seal(&volume->super.seal, copy);
		}
		assert_int_equal(knot_device_write(device, copy, 4096, (FIRST_PAGE + i) * 4096ULL), 0);
		page->is_clean = true;
	}
	sequence = knot_log_slot_sequence(volume->log);
	assert_int_equal(knot_device_flush(device), 0);
	knot_log_note_device_flush(volume->log, sequence);
	if (oldest == UINT64_MAX)
		oldest = model->strict ? knot_log_batch_lsn(volume->log) : knot_log_lsn(volume->log);
	assert_int_equal(knot_log_write_slot(volume->log, oldest, 0, all || random_below(&model->random, 2)), 0);
	free(copy);
}

/* File data written straight home to a page that is free for good. */
static void write_bulk(struct model *model, unsigned i)
{
	struct model_page *page = &model->pages[i];
	struct knot_device *device = &model->volume.recorder->device;
	void *copy = NULL;

	assert_int_equal(posix_memalign(&copy, 4096, 4096), 0);
	memset(page, 0, sizeof(*page));
	memset(page->bytes, 0x80 | (int)random_below(&model->random, 128), sizeof(page->bytes));
	memcpy(copy, page->bytes, sizeof(page->bytes));
	assert_int_equal(knot_device_write(device, copy, 4096, (FIRST_PAGE + i) * 4096ULL), 0);
	assert_int_equal(knot_device_flush(device), 0);
	page->kind = DATA;
	page->is_clean = true;
	page->home_op = model->volume.recorder->count;
	model->snapshots[model->snapshot_count - 1].pages[i] = *page;
	free(copy);
}

static void change_page(struct model *model, struct records *records, unsigned i, unsigned *touched)
{
	struct model_page *page = &model->pages[i];
	uint8_t space;
	uint32_t at = 0;
	uint32_t len = KNOT_PAGE_BYTES;
	uint32_t j;

	if (page->kind == GONE || page->kind == FREED) {
		memset(page->bytes, 0, sizeof(page->bytes));
		page->kind = random_below(&model->random, 2) ? META : DATA;
		page->is_clean = true;
		page->is_dirty = false;
		page->home_op = 0;
		if (page->kind == META)
			knot_page_format(page->bytes, KNOT_PAGE_STATE, FIRST_PAGE + i, ++model->generation);
	}
	space = (uint8_t)(page->kind == META ? KNOT_SPACE_META : KNOT_SPACE_DATA);
	at = 64 + (uint32_t)random_below(&model->random, 3500);
	len = 1 + (uint32_t)random_below(&model->random, 500);
	for (j = 0; j < len; j++)
		page->bytes[at + j] = (uint8_t)(random_next(&model->random) | 1);
	if (page->is_clean)
		records_add_page(records, space, FIRST_PAGE + i, page->bytes);
	else
		records_add_bytes(records, space, FIRST_PAGE + i, page->bytes, at, len);
	page->home_op = 0;
	*touched |= 1u << i;
}

static void free_pages(struct model *model, struct records *records, unsigned first, unsigned *touched)
{
	unsigned count = 0;

	while (first + count < PAGES && count < 3 && !(*touched & 1u << (first + count)) &&
	       (model->pages[first + count].kind == META || model->pages[first + count].kind == DATA)) {
		model->pages[first + count].kind = FREED;
		*touched |= 1u << (first + count);
		count++;
	}
	if (count)
		records_add_free(records, FIRST_PAGE + first, count);
}

static bool may_be_allocated(struct model *model, unsigned i)
{
	const struct model_page *page = &model->pages[i];

	return page->kind == GONE || (page->kind == FREED && page->lsn <= committed(model));
}

/* One mini-transaction. */
static void change(struct model *model)
{
	struct knot_log *log = model->volume.log;
	struct records *records = calloc(1, sizeof(*records));
	unsigned touched = 0;
	unsigned n = 1 + (unsigned)random_below(&model->random, 3);
	knot_lsn_t start, end;
	bool ring_full;
	unsigned i;

	assert_non_null(records);
	while (knot_log_try_reserve(log, knot_log_worst_bytes(log, 16000), false, &ring_full)) {
		if (ring_full)
			clean(model, true);
		else
			commit(model, false);
	}
	knot_log_unreserve(log, knot_log_worst_bytes(log, 16000));
	while (n--) {
		i = (unsigned)random_below(&model->random, PAGES);
		if (touched & 1u << i)
			continue;
		if (model->pages[i].kind != META && model->pages[i].kind != DATA && !may_be_allocated(model, i))
			continue;
		if (random_below(&model->random, 6))
			change_page(model, records, i, &touched);
		else
			free_pages(model, records, i, &touched);
	}
	if (touched) {
		end = volume_append(&model->volume, records, &start);
		for (i = 0; i < PAGES; i++) {
			struct model_page *page = &model->pages[i];

			if (!(touched & 1u << i))
				continue;
			if (!page->is_dirty)
				page->oldest_lsn = start;
			page->is_dirty = true;
			page->is_clean = false;
			page->lsn = end;
		}
		take_snapshot(model, end);
	}
	free(records);
}

static void run_history(struct model *model, unsigned steps)
{
	while (steps--) {
		unsigned i = (unsigned)random_below(&model->random, PAGES);

		switch (random_below(&model->random, 12)) {
		case 0:
		case 1:
			commit(model, true);
			break;
		case 2:
			commit(model, false);
			break;
		case 3:
			if (!random_below(&model->random, 3))
				clean(model, !random_below(&model->random, 4));
			break;
		case 4:
			if (may_be_allocated(model, i))
				write_bulk(model, i);
			break;
		default:
			change(model);
			break;
		}
	}
}

/* ---- what must be there after a cut ---------------------------------------------------------------------------- */

static const struct snapshot *snapshot_at(const struct model *model, uint64_t end_lsn)
{
	size_t i = model->snapshot_count;

	while (i && model->snapshots[i - 1].end_lsn > end_lsn)
		i--;
	assert_true(i > 0);
	return &model->snapshots[i - 1];
}

static void compare(const struct model *model, const struct snapshot *snapshot, const uint8_t *image, size_t ops)
{
	unsigned i;

	for (i = 0; i < PAGES; i++) {
		const struct model_page *page = &snapshot->pages[i];
		uint8_t expected[KNOT_PAGE_BYTES];

		if ((page->kind != META && page->kind != DATA) || page->home_op > ops)
			continue;
		memcpy(expected, page->bytes, sizeof(expected));
		if (page->kind == META) {
			((struct knot_disk_page_header *)(void *)expected)->lsn = knot_put64(page->lsn);
			knot_page_seal(&model->volume.super.seal, expected);
		}
		assert_memory_equal(expected, image + (FIRST_PAGE + i) * 4096ULL, sizeof(expected));
	}
}

/* Cut this recovery everywhere and run it again: the same volume, but for the slots. */
static void cut_recovery(struct model *model, const struct volume *first, size_t from_op)
{
	uint8_t *image = malloc(VOLUME_BYTES);
	size_t ops;

	assert_non_null(image);
	for (ops = from_op; ops <= first->recorder->count; ops++) {
		enum cut mode = (enum cut)random_below(&model->random, CUT_MODES);
		struct volume again;

		recorder_cut(first->recorder, ops, mode, &model->random, image);
		volume_init(&again, image, UNIT);
		assert_int_equal(volume_recover(&again, ops % 2 ? 1 : 1 << 20, 0), 0);
		assert_memory_equal(again.recorder->now + FIRST_PAGE * 4096ULL,
				    first->recorder->now + FIRST_PAGE * 4096ULL, PAGES * 4096ULL);
		assert_int_equal(again.recovered.next_lsn, first->recovered.next_lsn);
		assert_true(again.recovered.epoch - first->recovered.epoch <= 1);
		knot_device_close(&again.recorder->device);
	}
	free(image);
}

static void check_cut(struct model *model, size_t ops, enum cut mode, bool nested)
{
	uint8_t *image = malloc(VOLUME_BYTES);
	const struct snapshot *snapshot;
	struct volume volume;
	uint64_t promised = 0;
	size_t i;
	int err;

	assert_non_null(image);
	recorder_cut(model->volume.recorder, ops, mode, &model->random, image);
	volume_init(&volume, image, UNIT);
	err = volume_recover(&volume, random_below(&model->random, 2) ? 1 : 1 << 20, 0);
	if (err)
		print_error("cut after %zu operations, mode %d: %s\n", ops, (int)mode, volume.said);
	assert_int_equal(err, 0);
	for (i = 0; i < model->promise_count && model->promises[i].ops <= ops; i++)
		promised = model->promises[i].lsn;
	assert_true(volume.recovered.end_lsn >= promised);
	assert_true(volume.recovered.next_lsn >= volume.recovered.end_lsn);
	snapshot = snapshot_at(model, volume.recovered.end_lsn);
	if (model->strict && volume.recovered.end_lsn != volume.recovered.checkpoint_lsn)
		assert_true(snapshot->is_batch_end && snapshot->end_lsn == volume.recovered.end_lsn);
	compare(model, snapshot, volume.recorder->now, ops);
	if (nested)
		cut_recovery(model, &volume, 0);
	knot_device_close(&volume.recorder->device);
	free(image);
}

/* The power goes at a random place; what recovery finds is the start of the next history. */
static void crash_and_go_on(struct model *model)
{
	size_t ops = model->promises[0].ops + random_below(&model->random, model->volume.recorder->count -
								       model->promises[0].ops + 1);
	uint8_t *image = malloc(VOLUME_BYTES);
	const struct snapshot *snapshot;
	unsigned i;

	assert_non_null(image);
	recorder_cut(model->volume.recorder, ops, (enum cut)random_below(&model->random, CUT_MODES), &model->random,
		     image);
	volume_stop(&model->volume);
	volume_init(&model->volume, image, UNIT);
	assert_int_equal(volume_recover(&model->volume, 1 << 20, model->strict ? KNOT_SLOT_STRICT : 0), 0);
	snapshot = snapshot_at(model, model->volume.recovered.end_lsn);
	memcpy(model->pages, snapshot->pages, sizeof(model->pages));
	for (i = 0; i < PAGES; i++) {
		if (model->pages[i].home_op > ops)
			model->pages[i].kind = FREED;
		model->pages[i].is_clean = true;
		model->pages[i].is_dirty = false;
		model->pages[i].home_op = 0;
	}
	free(image);
}

static void start_epoch(struct model *model)
{
	volume_open_log(&model->volume, BUFFER, model->strict);
	model->snapshot_count = 0;
	model->promise_count = 0;
	take_snapshot(model, model->volume.recovered.next_lsn);
	promise(model, model->volume.recovered.next_lsn);
}

static unsigned percent(void)
{
	const char *given = getenv("KNOT_TEST_PERCENT");

	return given ? (unsigned)strtoul(given, NULL, 10) : 100;
}

static void power_cuts(bool strict)
{
	struct model *model = calloc(1, sizeof(*model));
	unsigned epochs = 1 + 4 * percent() / 100;
	unsigned epoch;
	uint64_t logged = 0;

	assert_non_null(model);
	model->random = random_seed();
	model->strict = strict;
	model->snapshots = calloc(SNAPSHOTS, sizeof(model->snapshots[0]));
	model->promises = calloc(PROMISES, sizeof(model->promises[0]));
	assert_true(model->snapshots && model->promises);
	volume_init(&model->volume, NULL, UNIT);
	assert_int_equal(volume_recover(&model->volume, 1 << 20, strict ? KNOT_SLOT_STRICT : 0), 0);
	for (epoch = 0; epoch < epochs; epoch++) {
		size_t ops;

		start_epoch(model);
		run_history(model, STEPS);
		for (ops = model->promises[0].ops; ops <= model->volume.recorder->count; ops++) {
			enum cut mode = (enum cut)random_below(&model->random, CUT_MODES);

			check_cut(model, ops, mode, !random_below(&model->random, 20));
			check_cut(model, ops, CUT_SECTORS, false);
		}
		logged += knot_log_lsn(model->volume.log) - model->snapshots[0].end_lsn;
		crash_and_go_on(model);
	}
	assert_true(logged > epochs * 32ULL * 4096); /* laps, else this proves little */
	knot_device_close(&model->volume.recorder->device);
	free(model->promises);
	free(model->snapshots);
	free(model);
}

static void a_cut_anywhere_leaves_a_prefix_with_all_that_was_promised(void **state)
{
	(void)state;
	power_cuts(false);
}

static void a_cut_anywhere_leaves_whole_batches_with_strict_data(void **state)
{
	(void)state;
	power_cuts(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_cut_anywhere_leaves_a_prefix_with_all_that_was_promised),
		cmocka_unit_test(a_cut_anywhere_leaves_whole_batches_with_strict_data),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
