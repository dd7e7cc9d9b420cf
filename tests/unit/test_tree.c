/* SPDX-License-Identifier: MIT */
/* The tree on a volume in memory, compared with a sorted array. */
#include "fs/tree/tree.h"
#include "tests/lib/tree_volume.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MODEL_ITEMS_MAX 60000u
#define SCAN_ITEMS      50u /* in one mini-transaction, which pins all their pages */

/* ---- the model: items in key order; a value follows from its key, length and version ---- */

struct model_item {
	struct knot_key key;
	uint16_t len_bytes;
	uint16_t version;
};

struct model {
	struct model_item *items;
	unsigned count;
	unsigned base;    /* where the scan under way began */
	unsigned visited; /* by it */
};

static void make_value(const struct model_item *item, uint8_t *value)
{
	for (unsigned i = 0; i < item->len_bytes; i++)
		value[i] = (uint8_t)(item->key.bytes[i % KNOT_KEY_BYTES] + item->version + i * 7u);
}

static unsigned model_find(const struct model *model, const struct knot_key *key, bool *found)
{
	unsigned low = 0;
	unsigned high = model->count;

	while (low < high) {
		unsigned middle = (low + high) / 2;

		if (memcmp(&model->items[middle].key, key, sizeof(*key)) < 0)
			low = middle + 1;
		else
			high = middle;
	}
	*found = low < model->count && memcmp(&model->items[low].key, key, sizeof(*key)) == 0;
	return low;
}

static void model_put(struct model *model, const struct model_item *item)
{
	bool found;
	unsigned at = model_find(model, &item->key, &found);

	if (!found) {
		assert_true(model->count < MODEL_ITEMS_MAX);
		memmove(&model->items[at + 1], &model->items[at], (model->count - at) * sizeof(*item));
		model->count++;
	}
	model->items[at] = *item;
}

static void model_remove(struct model *model, const struct knot_key *key)
{
	bool found;
	unsigned at = model_find(model, key, &found);

	assert_true(found);
	model->count--;
	memmove(&model->items[at], &model->items[at + 1], (model->count - at) * sizeof(model->items[0]));
}

static void model_init(struct model *model)
{
	memset(model, 0, sizeof(*model));
	model->items = calloc(MODEL_ITEMS_MAX, sizeof(model->items[0]));
	assert_non_null(model->items);
}

static int compare_visited(void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	struct model *model = arg;
	const struct model_item *item = &model->items[model->base + model->visited];
	uint8_t expected[KNOT_VALUE_BYTES_MAX];

	if (knot_key_object(key) == KNOT_OBJECT_ROOT)
		return 0;
	assert_true(model->base + model->visited < model->count);
	assert_memory_equal(key, &item->key, sizeof(*key));
	assert_int_equal(len_bytes, item->len_bytes);
	make_value(item, expected);
	if (len_bytes > 0)
		assert_memory_equal(value, expected, len_bytes);
	return ++model->visited == SCAN_ITEMS;
}

/* The tree holds what the model does, beside what mkfs wrote for the root directory. */
static void compare(struct tree_volume *v, struct model *model)
{
	struct knot_key from, highest;
	struct tree_shape shape;
	int more;

	memset(&from, 0, sizeof(from));
	memset(&highest, 0xff, sizeof(highest));
	model->base = 0;
	do {
		more = tree_scan(v, &from, &highest, compare_visited, model, &model->visited);
		assert_in_range(more, 0, 1);
		model->base += model->visited - (unsigned)more;
		if (more)
			from = model->items[model->base].key; /* visited again: the first of the next */
	} while (more);
	assert_int_equal(model->base, model->count);
	tree_check(v, &shape);
	print_message("%u items, %u levels, %u pages\n", model->count, shape.levels, shape.pages);
}

/* Keys of very different density: so prefixes differ from page to page. */
static void random_key(uint64_t *random, struct knot_key *key)
{
	uint64_t object = 16 + tree_random_below(random, 12);

	switch (tree_random_below(random, 4)) {
	case 0:
		knot_key_make(key, object << 40, KNOT_KIND_INODE, 0, tree_random_below(random, 50));
		break;
	case 1:
		knot_key_make(key, 20, KNOT_KIND_EXTENT, 0, tree_random_below(random, 20000));
		break;
	case 2:
		knot_key_make(key, object, KNOT_KIND_ENTRY, 0, tree_random(random) & KNOT_COOKIE_MASK);
		break;
	default:
		knot_key_make(key, 100 + tree_random_below(random, 3000), KNOT_KIND_INODE, 0, 0);
		break;
	}
}

static uint16_t random_len(uint64_t *random)
{
	switch (tree_random_below(random, 8)) {
	case 0:
		return (uint16_t)tree_random_below(random, KNOT_VALUE_BYTES_MAX + 1);
	case 1:
		return KNOT_VALUE_BYTES_MAX;
	case 2:
	case 3:
		return 0;
	default:
		return (uint16_t)tree_random_below(random, 130);
	}
}

/* ---- one random step: what the tree answers is what the model expects ---- */

static void step(struct tree_volume *v, struct model *model, uint64_t *random, unsigned grow_percent)
{
	struct model_item item = { .version = (uint16_t)tree_random(random) };
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	bool found, removing = tree_random_below(random, 100) >= grow_percent;
	unsigned at;
	int err;

	random_key(random, &item.key);
	at = model_find(model, &item.key, &found);
	if (!found && model->count > 0 && (removing || tree_random_below(random, 4) == 0)) {
		item.key = model->items[at < model->count ? at : model->count - 1].key;
		found = true;
	}
	item.len_bytes = random_len(random);
	make_value(&item, value);
	if (removing) {
		err = tree_change(v, TREE_REMOVE, &item.key, NULL, 0);
		assert_int_equal(err, found ? 0 : -ENOENT);
		if (!err)
			model_remove(model, &item.key);
		return;
	}
	assert_int_equal(tree_change(v, found ? TREE_INSERT : TREE_UPDATE, &item.key, value, item.len_bytes),
			 found ? -EEXIST : -ENOENT);
	assert_int_equal(tree_change(v, found ? TREE_UPDATE : TREE_INSERT, &item.key, value, item.len_bytes), 0);
	model_put(model, &item);
}

static void look_around(struct tree_volume *v, const struct model *model, uint64_t *random)
{
	struct knot_key key, found_key;
	uint8_t value[KNOT_VALUE_BYTES_MAX], expected[KNOT_VALUE_BYTES_MAX];
	size_t len_bytes = 0;
	bool found;
	unsigned at;
	int err;

	random_key(random, &key);
	at = model_find(model, &key, &found);
	assert_int_equal(tree_get(v, &key, value, &len_bytes), found ? 0 : -ENOENT);

	err = tree_neighbour(v, true, &key, &found_key, value, &len_bytes);
	assert_int_equal(err, at < model->count ? 0 : -ENOENT);
	if (!err) {
		assert_memory_equal(&found_key, &model->items[at].key, sizeof(found_key));
		assert_int_equal(len_bytes, model->items[at].len_bytes);
		make_value(&model->items[at], expected);
		if (len_bytes > 0)
			assert_memory_equal(value, expected, len_bytes);
	}
	if (!found && at == 0)
		return; /* before it is the root directory */
	at = found ? at : at - 1;
	assert_int_equal(tree_neighbour(v, false, &key, &found_key, value, &len_bytes), 0);
	assert_memory_equal(&found_key, &model->items[at].key, sizeof(found_key));
	assert_int_equal(len_bytes, model->items[at].len_bytes);
}

static void change_at_random(struct tree_volume *v, unsigned steps)
{
	/* of 100 steps so many insert or update */
	static const unsigned growth[] = { 95, 60, 45, 80, 50, 20, 70, 90, 52, 10 };
	struct model model;
	uint64_t random = tree_seed();
	unsigned rounds = tree_percent_of(steps) / 10;

	model_init(&model);
	for (unsigned phase = 0; phase < 10; phase++) {
		for (unsigned i = 0; i < rounds; i++) {
			step(v, &model, &random, growth[phase]);
			if (i % 8 == 0)
				look_around(v, &model, &random);
			if (tree_random_below(&random, 1000) == 0)
				tree_clean(v);
		}
		compare(v, &model);
	}
	free(model.items);
}

static void random_changes_match_a_sorted_array(void **state)
{
	change_at_random(*state, 100000);
}

static void random_changes_match_a_sorted_array_while_pages_are_missed(void **state)
{
	change_at_random(*state, 30000);
}

static void several_changes_given_up_leave_the_tree_as_it_was(void **state)
{
	struct tree_volume *v = *state;
	struct model model;
	uint64_t random = tree_seed();
	unsigned rounds = tree_percent_of(200);

	model_init(&model);
	for (unsigned i = 0; i < 3000; i++)
		step(v, &model, &random, 90);
	for (unsigned round = 0; round < rounds; round++) {
		unsigned changes = 1 + tree_random_below(&random, 12);
		struct knot_mtr mtr;
		int err;

		if (round % 3 == 0)
			tree_clean(v);
		knot_mtr_init(&mtr, v->txn, NULL);
		do {
			err = knot_mtr_begin(&mtr, knot_mtr_pages_limit(v->txn), 0);
			for (unsigned i = 0; !err && i < changes; i++) {
				struct knot_key key = model.items[tree_random_below(&random, model.count)].key;
				uint8_t value[KNOT_VALUE_BYTES_MAX] = { 0 };

				err = tree_change_locked(v, &mtr,
							 tree_random_below(&random, 2) ? TREE_REMOVE : TREE_UPDATE,
							 &key, value, random_len(&random));
				if (err == -ENOENT)
					err = 0; /* removed a moment ago */
				random_key(&random, &key);
				if (!err)
					err = tree_change_locked(v, &mtr, TREE_INSERT, &key, value,
								 random_len(&random));
				if (err == -EEXIST)
					err = 0;
			}
			err = knot_mtr_finish(&mtr, err ? err : -ECANCELED);
		} while (err == KNOT_RETRY);
		assert_int_equal(err, -ECANCELED);
		if (round % 20 == 0)
			compare(v, &model);
		step(v, &model, &random, 50);
	}
	compare(v, &model);
	assert_int_equal(v->said, 0);
	free(model.items);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, tree_set_up, tree_tear_down)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(random_changes_match_a_sorted_array),
		cmocka_unit_test_setup_teardown(random_changes_match_a_sorted_array_while_pages_are_missed,
						tree_set_up_small_cache, tree_tear_down),
		TEST(several_changes_given_up_leave_the_tree_as_it_was),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
