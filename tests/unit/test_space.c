/* SPDX-License-Identifier: MIT */
/* The page allocator: where pages go, groups, reservations, checks, counters, damage. */
#include "space_fixture.h"

#define ONE_GROUP    8192u
#define SHORT_GROUP  300u
#define THREE_GROUPS (2u * KNOT_GROUP_PAGES + SHORT_GROUP)

/* ---- where pages go ---- */

static void a_file_grows_in_place(void **state)
{
	struct fixture f;
	uint64_t page;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	page = fixture_place(&f, 4096, 7, &got);
	for (uint32_t at = 7; at < 700; at += 7)
		assert_int_equal(fixture_place(&f, page + at, 7, &got), page + at);
	fixture_close(&f);
}

static void new_files_lie_side_by_side(void **state)
{
	struct fixture f;
	uint64_t page;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	page = fixture_place(&f, 0, 3, &got);
	for (uint32_t i = 1; i < 12; i++)
		assert_int_equal(fixture_place(&f, 0, 3, &got), page + i * 3);
	fixture_close(&f);
}

static void a_file_that_cannot_grow_in_place_stays_in_its_group(void **state)
{
	struct fixture f;
	uint64_t first, second;
	uint32_t got;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	first = fixture_place(&f, 0, 10, &got);
	fixture_place(&f, first + 10, 10, &got);
	second = fixture_place(&f, first + 10, 200, &got);
	assert_int_equal(got, 200);
	assert_int_equal(knot_group_of(second), knot_group_of(first));
	assert_true(second >= first + 20);
	fixture_close(&f);
}

static void the_longest_run_is_taken_when_none_is_long_enough(void **state)
{
	struct fixture f;
	uint64_t page, longest = 0;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	/* take all, give back every eighth page and one run of three */
	do {
		page = fixture_alloc_data(&f, 0, 1024, &got);
		if (got == 1024)
			longest = page;
	} while (got == 1024);
	assert_true(longest);
	for (uint32_t i = 0; i < 512; i += 8)
		assert_int_equal(fixture_release(&f, longest + i, 1), 0);
	assert_int_equal(fixture_release(&f, longest + 701, 3), 0);
	while (knot_space_free(f.space) > knot_space_waiting(f.space)) {
		struct fixture_call call = { .want = 1024 };

		assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), 0);
	}
	fixture_commit(&f);
	fixture_reap(&f);
	assert_int_equal(fixture_place(&f, 0, 100, &got), longest + 701);
	assert_int_equal(got, 3);
	fixture_close(&f);
}

static void tree_pages_keep_to_their_clusters(void **state)
{
	struct fixture f;
	uint64_t first, data;
	uint32_t got;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	/* the cluster of the root page first */
	for (uint32_t i = 1; i < KNOT_CLUSTER_PAGES; i++)
		assert_int_equal(fixture_alloc_tree(&f, f.super.root_page), f.super.root_page + i);
	first = fixture_alloc_tree(&f, f.super.root_page);
	assert_int_equal(first % KNOT_CLUSTER_PAGES, 0);
	assert_true(fixture_look(&f, first).tree);
	data = fixture_place(&f, first, 8, &got);
	assert_int_not_equal(data / KNOT_CLUSTER_PAGES, first / KNOT_CLUSTER_PAGES);
	for (uint32_t i = 1; i < KNOT_CLUSTER_PAGES; i++)
		assert_int_equal(fixture_alloc_tree(&f, 0), first + i);
	fixture_close(&f);
}

static void a_cluster_is_not_the_trees_any_more_when_its_last_page_goes(void **state)
{
	struct fixture f;
	uint64_t first;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	do
		first = fixture_alloc_tree(&f, 0);
	while (first < f.super.root_page + KNOT_CLUSTER_PAGES);
	assert_int_equal(fixture_alloc_tree(&f, first), first + 1);
	assert_int_equal(fixture_release(&f, first, 1), 0);
	assert_true(fixture_look(&f, first).tree);
	assert_int_equal(fixture_release(&f, first + 1, 1), 0);
	assert_false(fixture_look(&f, first).tree);
	fixture_close(&f);
}

static void the_tree_gets_the_last_page_of_a_full_volume_and_data_those_of_the_tree(void **state)
{
	struct fixture_call call = { .want = KNOT_GROUP_PAGES };
	struct fixture f;
	uint64_t tree;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	tree = fixture_alloc_tree(&f, 0);
	while (knot_space_free(f.space) > 1) {
		call.want = (uint32_t)knot_space_free(f.space) - 1u;
		assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), 0);
	}
	assert_int_equal(call.page_no / KNOT_CLUSTER_PAGES, tree / KNOT_CLUSTER_PAGES);
	assert_int_equal(fixture_run(&f, true, op_alloc_tree, &call, NULL), 0);
	assert_int_equal(knot_space_free(f.space), 0);
	assert_int_equal(fixture_run(&f, true, op_alloc_tree, &call, NULL), -ENOSPC);
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), -ENOSPC);
	assert_int_equal(fixture_run(&f, false, op_place, &call, NULL), -ENOSPC);
	fixture_close(&f);
}

/* ---- groups ---- */

static void a_group_is_initialised_by_the_mtr_that_first_uses_it(void **state)
{
	struct fixture f;
	uint64_t free_pages, page;
	uint32_t got;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	assert_int_equal(f.space->groups_initialised, 1);
	free_pages = knot_space_free(f.space);
	do
		page = fixture_alloc_data(&f, 0, KNOT_GROUP_PAGES, &got), free_pages -= got;
	while (knot_group_of(page) == 0);
	assert_int_equal(f.space->groups_initialised, 2);
	assert_int_equal(knot_space_free(f.space), free_pages);
	fixture_unload(&f);
	fixture_load(&f);
	assert_int_equal(f.space->groups_initialised, 2);
	assert_int_equal(knot_space_free(f.space), free_pages);
	assert_true(fixture_in_use(&f, page));
	fixture_close(&f);
}

static void an_initialisation_given_up_leaves_the_group_unused(void **state)
{
	struct fixture_call call = { .want = KNOT_GROUP_PAGES, .give_up = true };
	struct fixture f;
	uint64_t free_pages;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	free_pages = knot_space_free(f.space);
	call.near = KNOT_GROUP_PAGES + 100;
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), GIVE_UP);
	assert_int_equal(knot_group_of(call.page_no), 1);
	assert_int_equal(f.space->groups_initialised, 1);
	assert_int_equal(knot_space_free(f.space), free_pages);
	call.give_up = false;
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), 0);
	assert_int_equal(f.space->groups_initialised, 2);
	assert_int_equal(knot_space_free(f.space), free_pages - call.got);
	fixture_close(&f);
}

static void a_second_try_finds_the_same_pages(void **state)
{
	struct fixture_call call = { .want = 100, .give_up = true };
	struct fixture f;
	uint64_t page;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), GIVE_UP);
	page = call.page_no;
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), GIVE_UP);
	assert_int_equal(call.page_no, page);
	assert_int_equal(fixture_run(&f, true, op_alloc_tree, &call, NULL), GIVE_UP);
	page = call.page_no;
	assert_int_equal(fixture_run(&f, true, op_alloc_tree, &call, NULL), GIVE_UP);
	assert_int_equal(call.page_no, page);
	fixture_close(&f);
}

static void what_was_placed_in_an_unused_group_settles_there(void **state)
{
	struct fixture f;
	uint64_t page;
	uint32_t got;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	page = fixture_place(&f, KNOT_GROUP_PAGES + 1000, 64, &got);
	assert_int_equal(page, KNOT_GROUP_PAGES + 1000);
	assert_int_equal(f.space->groups_initialised, 1);
	assert_int_equal(fixture_settle(&f, page, 64), 0);
	assert_int_equal(f.space->groups_initialised, 2);
	assert_true(fixture_in_use(&f, page) && fixture_in_use(&f, page + 63) && !fixture_in_use(&f, page + 64));
	fixture_close(&f);
}

static void all_pages_but_the_fixed_ones_can_be_had_once(void **state)
{
	struct fixture_call call = { .want = 1000 };
	uint8_t *seen = calloc(THREE_GROUPS, 1);
	struct fixture f;
	uint64_t count = 0;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	while (fixture_run(&f, true, op_alloc_data, &call, NULL) == 0) {
		for (uint64_t page = call.page_no; page < call.page_no + call.got; page++) {
			assert_false(seen[page] || knot_super_page_is_fixed(&f.super, page));
			seen[page] = 1;
			count++;
		}
	}
	assert_int_equal(count + 1, knot_space_total(f.space)); /* the root page */
	assert_int_equal(knot_space_free(f.space), 0);
	free(seen);
	fixture_close(&f);
}

static void a_power_cut_forgets_what_was_placed_or_not_committed(void **state)
{
	struct fixture f;
	uint64_t committed, released, lost, placed, free_pages;
	uint32_t got;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	committed = fixture_alloc_data(&f, KNOT_GROUP_PAGES + 500, 100, &got);
	released = fixture_alloc_data(&f, 3000, 10, &got);
	fixture_commit(&f);
	free_pages = knot_space_free(f.space);
	lost = fixture_alloc_data(&f, 5000, 50, &got);
	placed = fixture_place(&f, 6000, 50, &got);
	assert_int_equal(fixture_release(&f, released, 10), 0);
	knot_space_close(f.space);
	knot_txn_abandon(f.txn);
	fixture_load(&f);
	assert_int_equal(f.space->groups_initialised, 2);
	assert_int_equal(knot_space_free(f.space), free_pages);
	assert_true(fixture_in_use(&f, committed) && fixture_in_use(&f, committed + 99) &&
		    fixture_in_use(&f, released));
	assert_false(fixture_in_use(&f, lost) || fixture_in_use(&f, placed));
	fixture_close(&f);
}

/* ---- reservations ---- */

static void the_pool_is_for_those_who_may_use_it(void **state)
{
	struct fixture f;
	uint64_t available;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	available = knot_space_available(f.space);
	assert_true(available + 64 == knot_space_free(f.space));
	assert_int_equal(fixture_reserve(&f, available + 1, 0), -ENOSPC);
	assert_int_equal(fixture_reserve(&f, available, 0), 0);
	assert_int_equal(knot_space_available(f.space), 0);
	assert_int_equal(fixture_reserve(&f, 1, 0), -ENOSPC);
	assert_int_equal(fixture_reserve(&f, 65, KNOT_SPACE_POOL), -ENOSPC);
	assert_int_equal(fixture_reserve(&f, 64, KNOT_SPACE_POOL), 0);
	assert_int_equal(knot_space_free(f.space), 0);
	knot_space_unreserve(f.space, available + 64);
	assert_int_equal(knot_space_available(f.space), available);
	fixture_close(&f);
}

static void a_reservation_takes_committed_frees_back(void **state)
{
	struct fixture f;
	uint64_t page;
	uint32_t got;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	page = fixture_alloc_data(&f, 0, 500, &got);
	assert_int_equal(fixture_release(&f, page, got), 0);
	assert_int_equal(fixture_reserve(&f, knot_space_available(f.space) + got, 0), -ENOSPC);
	fixture_commit(&f);
	assert_int_equal(fixture_reserve(&f, knot_space_available(f.space) + got, 0), 0);
	fixture_close(&f);
}

/* ---- checks and counters ---- */

struct checks_call {
	uint64_t page_no;
	uint32_t count;
	uint32_t *checks;
};

static int op_set_checks(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct checks_call *call = arg;

	return knot_space_set_checks(f->space, mtr, call->page_no, call->count, call->checks);
}

static int op_get_checks(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct checks_call *call = arg;

	return knot_space_get_checks(f->space, mtr, call->page_no, call->count, call->checks);
}

static void checks_are_kept_over_check_pages_and_a_remount(void **state)
{
	const uint32_t count = 3000;
	uint32_t *set = calloc(count, sizeof(*set));
	uint32_t *get = calloc(count, sizeof(*get));
	struct checks_call setting = { 500, count, set };
	struct checks_call getting = { 500, count, get };
	struct fixture f;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	for (uint32_t i = 0; i < count; i++)
		set[i] = i * 2654435761u + 1u;
	assert_int_equal(fixture_run(&f, true, op_set_checks, &setting, NULL), 0);
	fixture_unload(&f);
	fixture_load(&f);
	assert_int_equal(fixture_run(&f, false, op_get_checks, &getting, NULL), 0);
	assert_memory_equal(set, get, count * sizeof(*set));
	getting = (struct checks_call){ 1008 - 1, 2, get };
	assert_int_equal(fixture_run(&f, false, op_get_checks, &getting, NULL), 0);
	assert_int_equal(get[0], set[1007 - 500]);
	assert_int_equal(get[1], set[1008 - 500]);
	free(set);
	free(get);
	fixture_close(&f);
}

static void checks_outside_of_used_groups_are_damage(void **state)
{
	uint32_t check;
	struct checks_call call = { KNOT_GROUP_PAGES + 50, 1, &check };
	struct fixture f;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	assert_int_equal(fixture_run(&f, false, op_get_checks, &call, NULL), -EUCLEAN);
	call.page_no = KNOT_PAGE_NO_MASK;
	assert_int_equal(fixture_run(&f, false, op_get_checks, &call, NULL), -EUCLEAN);
	assert_int_equal(f.said, 2);
	fixture_close(&f);
}

static int op_new_inode(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;
	int err = knot_space_new_inode_no(f->space, mtr, &call->value);

	if (!err)
		err = knot_space_count_inodes(f->space, mtr, 1);
	return fixture_end(call, err);
}

static int op_inodes(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;

	return knot_space_inodes(f->space, mtr, &call->value);
}

static int op_count_orphans(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	return knot_space_count_orphans(f->space, mtr, *(int *)arg);
}

static int op_root_generation(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;
	int err = call->want ? knot_space_set_root_generation(f->space, mtr, 4711) : 0;

	return err ? err : knot_space_root_generation(f->space, mtr, &call->value);
}

static void inode_numbers_are_never_given_twice(void **state)
{
	struct fixture_call call = { .give_up = false };
	struct fixture f;
	uint64_t first;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	assert_int_equal(fixture_run(&f, true, op_new_inode, &call, NULL), 0);
	first = call.value;
	assert_int_equal(first, KNOT_OBJECT_FIRST_FREE);
	call.give_up = true;
	assert_int_equal(fixture_run(&f, true, op_new_inode, &call, NULL), GIVE_UP);
	call.give_up = false;
	assert_int_equal(fixture_run(&f, true, op_new_inode, &call, NULL), 0);
	assert_int_equal(call.value, first + 1);
	fixture_unload(&f);
	fixture_load(&f);
	assert_int_equal(fixture_run(&f, true, op_new_inode, &call, NULL), 0);
	assert_int_equal(call.value, first + 2);
	assert_int_equal(fixture_run(&f, false, op_inodes, &call, NULL), 0);
	assert_int_equal(call.value, 4);
	fixture_close(&f);
}

static void a_counter_never_goes_below_zero(void **state)
{
	struct fixture_call call = { .want = 1 };
	struct fixture f;
	int delta = 2;

	(void)state;
	fixture_open(&f, ONE_GROUP);
	assert_int_equal(fixture_run(&f, true, op_count_orphans, &delta, NULL), 0);
	delta = -3;
	assert_int_equal(fixture_run(&f, true, op_count_orphans, &delta, NULL), -EUCLEAN);
	assert_int_equal(f.said, 1);
	delta = -2;
	assert_int_equal(fixture_run(&f, true, op_count_orphans, &delta, NULL), 0);
	assert_int_equal(fixture_run(&f, true, op_root_generation, &call, NULL), 0);
	assert_int_equal(call.value, 4711);
	fixture_close(&f);
}

/* ---- damage ---- */

static void freeing_what_is_not_in_use_or_fixed_is_damage(void **state)
{
	struct fixture f;
	uint64_t page, free_pages;
	uint32_t got;

	(void)state;
	fixture_open(&f, THREE_GROUPS);
	page = fixture_alloc_data(&f, 0, 10, &got);
	free_pages = knot_space_free(f.space);
	assert_int_equal(fixture_release(&f, page, 11), -EUCLEAN);
	assert_int_equal(fixture_release(&f, page - 1, 2), -EUCLEAN);
	assert_int_equal(fixture_release(&f, 0, 1), -EUCLEAN);
	assert_int_equal(fixture_release(&f, KNOT_GROUP_HEADER_AT, 1), -EUCLEAN);
	assert_int_equal(fixture_release(&f, f.super.state_page, 1), -EUCLEAN);
	assert_int_equal(fixture_release(&f, f.super.root_page, 1), -EUCLEAN);
	assert_int_equal(fixture_release(&f, f.super.segments[0].page_no, 5), -EUCLEAN);
	assert_int_equal(fixture_release(&f, KNOT_GROUP_PAGES + 100, 1), -EUCLEAN);
	assert_int_equal(fixture_release(&f, f.super.pages, 1), -EUCLEAN);
	assert_int_equal(fixture_release(&f, UINT64_MAX - 5, 100), -EUCLEAN);
	assert_int_equal(f.said, 10);
	assert_int_equal(knot_space_free(f.space), free_pages);
	assert_int_equal(fixture_release(&f, page, 10), 0);
	assert_int_equal(fixture_release(&f, page, 10), -EUCLEAN);
	fixture_close(&f);
}

/* Three groups, all in use to some extent. */
static void damage_prepare(struct fixture *f)
{
	struct fixture_call call = { .want = 100 };

	fixture_format(f, THREE_GROUPS);
	fixture_load(f);
	for (unsigned group = 0; group < 3; group++) {
		call.near = group * KNOT_GROUP_PAGES + 100;
		assert_int_equal(fixture_run(f, true, op_alloc_data, &call, NULL), 0);
	}
	assert_int_equal(f->space->groups_initialised, 3);
	fixture_unload(f);
}

static void a_group_that_contradicts_the_table_is_not_used(void **state)
{
	knot_le16 wrong = knot_put16(5000);
	struct fixture_call call = { .near = KNOT_GROUP_PAGES + 200, .want = 50 };
	struct fixture f;
	uint64_t free_pages;

	(void)state;
	damage_prepare(&f);
	fixture_edit(&f, f.super.group_table_page, 64 + sizeof(struct knot_disk_group_entry), &wrong, sizeof(wrong));
	wrong = knot_put16(10);
	fixture_edit(&f, f.super.group_table_page, 64 + sizeof(struct knot_disk_group_entry) + 2, &wrong,
		     sizeof(wrong));
	fixture_load(&f);
	free_pages = knot_space_free(f.space);
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), 0);
	assert_int_not_equal(knot_group_of(call.page_no), 1);
	assert_int_equal(f.said, 1);
	assert_int_equal(knot_space_free(f.space), free_pages - 5000 - call.got);
	assert_int_equal(fixture_release(&f, KNOT_GROUP_PAGES + 100, 1), -EUCLEAN);
	fixture_close(&f);
}

static void a_group_whose_clusters_are_miscounted_is_not_used(void **state)
{
	knot_le16 wrong = knot_put16(7);
	struct fixture_call call = { .near = KNOT_GROUP_PAGES + 200, .want = 50 };
	struct fixture f;

	(void)state;
	damage_prepare(&f);
	fixture_edit(&f, f.super.group_table_page, 64 + sizeof(struct knot_disk_group_entry) + 2, &wrong,
		     sizeof(wrong));
	fixture_load(&f);
	assert_int_equal(fixture_run(&f, true, op_alloc_tree, &call, NULL), 0);
	assert_int_not_equal(knot_group_of(call.page_no), 1);
	assert_int_equal(f.said, 1);
	fixture_close(&f);
}

static void a_group_whose_header_cannot_be_read_is_not_used(void **state)
{
	struct fixture_call call = { .near = KNOT_GROUP_PAGES + 200, .want = 50 };
	uint8_t *zeros = aligned_alloc(KNOT_PAGE_BYTES, KNOT_PAGE_BYTES);
	struct fixture f;

	(void)state;
	damage_prepare(&f);
	memset(zeros, 0, KNOT_PAGE_BYTES);
	assert_int_equal(knot_device_write(f.device, zeros, KNOT_PAGE_BYTES,
					   (KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT) * (uint64_t)KNOT_PAGE_BYTES),
			 0);
	free(zeros);
	fixture_load(&f);
	assert_int_equal(fixture_run(&f, true, op_alloc_data, &call, NULL), 0);
	assert_int_not_equal(knot_group_of(call.page_no), 1);
	fixture_close(&f);
}

static void a_header_that_frees_the_root_of_the_tree_is_not_believed(void **state)
{
	struct fixture_call call = { .want = 50 };
	struct knot_disk_group_entry entry;
	knot_le32 header_free;
	uint8_t bits = 0;
	struct fixture f;

	(void)state;
	damage_prepare(&f);
	fixture_load(&f);
	entry.free_pages = knot_put16((uint16_t)(f.space->groups[0].free_pages + 1u));
	entry.free_clusters = knot_put16(f.space->groups[0].free_clusters);
	header_free = knot_put32(f.space->groups[0].free_pages + 1u);
	fixture_unload(&f);
	call.near = f.super.root_page;
	assert_int_equal(f.super.root_page % 8, 0); /* no other page of its byte is in use */
	fixture_edit(&f, KNOT_GROUP_HEADER_AT, offsetof(struct knot_disk_group, free_pages), &header_free,
		     sizeof(header_free));
	fixture_edit(&f, KNOT_GROUP_HEADER_AT, offsetof(struct knot_disk_group, bitmap) + f.super.root_page / 8, &bits,
		     1);
	fixture_edit(&f, f.super.group_table_page, 64, &entry, sizeof(entry));
	fixture_load(&f);
	assert_int_equal(fixture_run(&f, true, op_alloc_tree, &call, NULL), 0);
	assert_int_not_equal(knot_group_of(call.page_no), 0);
	assert_int_equal(f.said, 1);
	fixture_close(&f);
}

static void counts_out_of_range_are_refused_when_opening(void **state)
{
	const uint16_t wrong[][2] = { { 20000, 10 }, { 16384, 10 }, { 100, 2 }, { 16000, 256 } };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		struct knot_disk_group_entry entry = { knot_put16(wrong[i][0]), knot_put16(wrong[i][1]) };
		struct fixture f;

		damage_prepare(&f);
		fixture_edit(&f, f.super.group_table_page, 64, &entry, sizeof(entry));
		assert_int_equal(fixture_try_load(&f), -EUCLEAN);
		assert_int_equal(f.said, 1);
		assert_int_equal(knot_txn_close(f.txn), 0);
		knot_device_close(f.device);
	}
}

static void a_wrong_number_of_initialised_groups_is_refused_when_opening(void **state)
{
	const uint64_t wrong[] = { 4, 1u << 20 };

	(void)state;
	for (size_t i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
		knot_le64 value = knot_put64(wrong[i]);
		struct fixture f;

		damage_prepare(&f);
		fixture_edit(&f, f.super.state_page, offsetof(struct knot_disk_state, groups_initialised), &value,
			     sizeof(value));
		assert_int_equal(fixture_try_load(&f), -EUCLEAN);
		assert_int_equal(knot_txn_close(f.txn), 0);
		knot_device_close(f.device);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_grows_in_place),
		cmocka_unit_test(new_files_lie_side_by_side),
		cmocka_unit_test(a_file_that_cannot_grow_in_place_stays_in_its_group),
		cmocka_unit_test(the_longest_run_is_taken_when_none_is_long_enough),
		cmocka_unit_test(tree_pages_keep_to_their_clusters),
		cmocka_unit_test(a_cluster_is_not_the_trees_any_more_when_its_last_page_goes),
		cmocka_unit_test(the_tree_gets_the_last_page_of_a_full_volume_and_data_those_of_the_tree),
		cmocka_unit_test(a_group_is_initialised_by_the_mtr_that_first_uses_it),
		cmocka_unit_test(an_initialisation_given_up_leaves_the_group_unused),
		cmocka_unit_test(a_second_try_finds_the_same_pages),
		cmocka_unit_test(what_was_placed_in_an_unused_group_settles_there),
		cmocka_unit_test(all_pages_but_the_fixed_ones_can_be_had_once),
		cmocka_unit_test(a_power_cut_forgets_what_was_placed_or_not_committed),
		cmocka_unit_test(the_pool_is_for_those_who_may_use_it),
		cmocka_unit_test(a_reservation_takes_committed_frees_back),
		cmocka_unit_test(checks_are_kept_over_check_pages_and_a_remount),
		cmocka_unit_test(checks_outside_of_used_groups_are_damage),
		cmocka_unit_test(inode_numbers_are_never_given_twice),
		cmocka_unit_test(a_counter_never_goes_below_zero),
		cmocka_unit_test(freeing_what_is_not_in_use_or_fixed_is_damage),
		cmocka_unit_test(a_group_that_contradicts_the_table_is_not_used),
		cmocka_unit_test(a_group_whose_clusters_are_miscounted_is_not_used),
		cmocka_unit_test(a_group_whose_header_cannot_be_read_is_not_used),
		cmocka_unit_test(a_header_that_frees_the_root_of_the_tree_is_not_believed),
		cmocka_unit_test(counts_out_of_range_are_refused_when_opening),
		cmocka_unit_test(a_wrong_number_of_initialised_groups_is_refused_when_opening),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
