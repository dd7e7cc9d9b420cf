/* SPDX-License-Identifier: MIT */
#include "tests/lib/tree_volume.h"

#include "fs/disk/page.h"
#include "fs/util/endian.h"
#include "mkfs/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

/* ---- a volume ---- */

static void count_message(void *arg, enum knot_severity severity, const char *line)
{
	(void)severity;
	(void)line;
	((struct tree_volume *)arg)->said++;
}

static int set_up(void **state, size_t cache_bytes)
{
	struct tree_volume *v = calloc(1, sizeof(*v));
	struct knot_mkfs_options mkfs = { .log_bytes = 16u << 20, .time_sec = 1 };
	struct knot_txn_options options = { .cache_bytes = cache_bytes,
					    .log_buffer_bytes = 4u << 20,
					    .commit_policy = 1 };

	assert_non_null(v);
	v->messages = (struct knot_messages){ .emit = count_message, .arg = v };
	assert_int_equal(knot_device_open_memory(TREE_VOLUME_BYTES, &v->device), 0);
	assert_int_equal(knot_mkfs(v->device, &mkfs, &v->super), 0);
	options.device = v->device;
	options.super = &v->super;
	options.messages = &v->messages;
	assert_int_equal(knot_txn_open(&options, &v->txn), 0);
	assert_int_equal(knot_space_open(v->txn, &v->space), 0);
	assert_int_equal(knot_tree_open(v->txn, v->space, &v->tree), 0);
	*state = v;
	return 0;
}

int tree_set_up(void **state)
{
	return set_up(state, 64u << 20);
}

int tree_set_up_small_cache(void **state)
{
	return set_up(state, 384u << 10);
}

int tree_tear_down(void **state)
{
	struct tree_volume *v = *state;

	knot_tree_close(v->tree);
	knot_space_close(v->space);
	knot_txn_abandon(v->txn);
	knot_device_close(v->device);
	free(v);
	return 0;
}

void tree_clean(struct tree_volume *v)
{
	assert_int_equal(knot_txn_checkpoint(v->txn, NULL), 0);
	knot_txn_lock(v->txn, NULL);
	knot_space_reap(v->space);
	knot_txn_unlock(v->txn);
}

uint64_t tree_free_pages(struct tree_volume *v)
{
	uint64_t pages;

	tree_clean(v);
	knot_txn_lock(v->txn, NULL);
	pages = knot_space_free(v->space);
	knot_txn_unlock(v->txn);
	return pages;
}

/* ---- changes, one mini-transaction each ---- */

int tree_change_locked(struct tree_volume *v, struct knot_mtr *mtr, enum tree_change change, const struct knot_key *key,
		       const void *value, size_t len_bytes)
{
	switch (change) {
	case TREE_INSERT:
		return knot_tree_insert(v->tree, mtr, key, value, len_bytes);
	case TREE_UPDATE:
		return knot_tree_update(v->tree, mtr, key, value, len_bytes);
	case TREE_REMOVE:
		return knot_tree_remove(v->tree, mtr, key);
	}
	return -EINVAL;
}

int tree_change(struct tree_volume *v, enum tree_change change, const struct knot_key *key, const void *value,
		size_t len_bytes)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, v->txn, NULL);
	do {
		err = knot_mtr_begin(&mtr, knot_tree_insert_pages(v->tree), 0);
		if (!err)
			err = tree_change_locked(v, &mtr, change, key, value, len_bytes);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

/* ---- reading ---- */

int tree_get(struct tree_volume *v, const struct knot_key *key, void *value, size_t *len_bytes)
{
	struct knot_mtr mtr;
	const void *at = NULL;
	int err;

	knot_mtr_init(&mtr, v->txn, NULL);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err)
			err = knot_tree_get(v->tree, &mtr, key, &at, len_bytes);
		if (!err)
			memcpy(value, at, *len_bytes);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

int tree_neighbour(struct tree_volume *v, bool forward, const struct knot_key *key, struct knot_key *found, void *value,
		   size_t *len_bytes)
{
	struct knot_mtr mtr;
	const void *at = NULL;
	int err;

	knot_mtr_init(&mtr, v->txn, NULL);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err)
			err = forward ? knot_tree_next(v->tree, &mtr, key, found, &at, len_bytes)
				      : knot_tree_prev(v->tree, &mtr, key, found, &at, len_bytes);
		if (!err)
			memcpy(value, at, *len_bytes);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

int tree_scan(struct tree_volume *v, const struct knot_key *from, const struct knot_key *to,
	      int (*visit)(void *arg, const struct knot_key *key, const void *value, size_t len_bytes), void *arg,
	      unsigned *counter)
{
	struct knot_mtr mtr;
	int stopped, err;

	knot_mtr_init(&mtr, v->txn, NULL);
	do {
		*counter = 0;
		stopped = 0;
		err = knot_mtr_begin_read(&mtr);
		if (!err)
			err = knot_tree_scan(v->tree, &mtr, from, to, visit, arg);
		if (err > 0) {
			stopped = err;
			err = 0;
		}
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err ? err : stopped;
}

/* ---- the shape of the whole tree, read page by page with the pure readers ---- */

struct range {
	struct knot_key low;
	struct knot_key high; /* not part of it */
	bool bounded;
};

void tree_read_page(struct tree_volume *v, uint64_t page_no, uint64_t generation, uint8_t *copy)
{
	struct knot_page *page;
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, v->txn, NULL);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err && generation == 0)
			err = knot_space_root_generation(v->space, &mtr, &generation);
		if (!err)
			err = knot_mtr_page(&mtr, page_no, KNOT_PAGE_TREE, generation, &page);
		if (!err)
			memcpy(copy, knot_page_data(page), KNOT_PAGE_BYTES);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	assert_int_equal(err, 0);
}

static void check_leaf(const uint8_t *page, struct tree_shape *shape)
{
	const struct knot_disk_tree_page *tree = (const void *)page;

	shape->leaves++;
	shape->leaf_bytes += KNOT_PAGE_BYTES - (size_t)knot_get16(tree->heap_at) - knot_get16(tree->garbage_bytes) +
			     2u * knot_get16(tree->count);
	for (unsigned i = 0; i < knot_tree_page_count(page); i++) {
		struct knot_key key;

		knot_tree_page_key(page, i, &key);
		assert_true(shape->items == 0 || memcmp(&shape->last, &key, sizeof(key)) < 0);
		shape->last = key;
		shape->items++;
	}
}

/* Every key of the range, not just of the page, has the prefix. */
static bool prefix_fits(const struct knot_disk_tree_page *page, const struct range *range)
{
	unsigned prefix_bytes = knot_get16(page->prefix_bytes);

	if (!range->bounded)
		return prefix_bytes == 0;
	return memcmp(page->prefix, range->low.bytes, prefix_bytes) == 0 &&
	       memcmp(page->prefix, range->high.bytes, prefix_bytes) == 0;
}

static void check_page(struct tree_volume *v, uint64_t page_no, uint64_t generation, unsigned level,
		       const struct range *range, struct tree_shape *shape)
{
	uint8_t page[KNOT_PAGE_BYTES];
	struct knot_key key;
	unsigned count;
	bool is_root = generation == 0;

	tree_read_page(v, page_no, generation, page);
	if (is_root) {
		level = knot_tree_page_level(page);
		shape->levels = level + 1;
	}
	count = knot_tree_page_count(page);
	assert_int_equal(knot_page_verify_shape(page, KNOT_PAGE_TREE), KNOT_PAGE_OK);
	assert_int_equal(knot_tree_page_level(page), level);
	assert_true(prefix_fits((const void *)page, range));
	assert_true((is_root && level == 0) || count >= (level > 0 ? 2u : 1u));
	shape->pages++;

	for (unsigned i = 0; i < count; i++) {
		knot_tree_page_key(page, i, &key);
		assert_true(memcmp(&range->low, &key, sizeof(key)) <= 0);
		assert_true(!range->bounded || memcmp(&key, &range->high, sizeof(key)) < 0);
	}
	if (level == 0) {
		check_leaf(page, shape);
		return;
	}
	knot_tree_page_key(page, 0, &key);
	assert_memory_equal(&key, &range->low, sizeof(key));
	for (unsigned i = 0; i < count; i++) {
		struct range child_range = *range;
		uint64_t child_no, child_generation;

		knot_tree_page_key(page, i, &child_range.low);
		if (i + 1 < count) {
			knot_tree_page_key(page, i + 1, &child_range.high);
			child_range.bounded = true;
		}
		knot_tree_page_child(page, i, &child_no, &child_generation);
		assert_true(child_generation != 0);
		check_page(v, child_no, child_generation, level - 1, &child_range, shape);
	}
}

void tree_check(struct tree_volume *v, struct tree_shape *shape)
{
	struct range all = { .low = { { 0 } } };

	memset(shape, 0, sizeof(*shape));
	check_page(v, v->super.root_page, 0, 0, &all, shape);
}

/* ---- random numbers, replayable ---- */

uint64_t tree_seed(void)
{
	const char *given = getenv("KNOT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 20261;

	print_message("KNOT_SEED=%llu\n", (unsigned long long)seed);
	return seed * 2 + 1;
}

unsigned tree_percent_of(unsigned count)
{
	const char *given = getenv("KNOT_TEST_PERCENT");

	return given ? (unsigned)((uint64_t)count * strtoul(given, NULL, 10) / 100) : count;
}

uint64_t tree_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return *random;
}

unsigned tree_random_below(uint64_t *random, unsigned limit)
{
	return (unsigned)(tree_random(random) >> 33) % limit;
}
