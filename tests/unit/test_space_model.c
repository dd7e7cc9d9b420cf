/* SPDX-License-Identifier: MIT */
/*
 * Random mini-transactions against a model that knows the state of every page. After each of them the counts of the
 * allocator must be the model's, and what it hands out must be free there; mtrs are given up at random, and the volume
 * is closed and opened again.
 */
#include "space_fixture.h"

#include <time.h>

#define PAGES       (2u * KNOT_GROUP_PAGES + 300u)
#define FREED_MAX   4096u
#define READERS_MAX 8u
#define POOL_PAGES  128u

enum page_state { FIXED, FREE, PLACED, USED, FREED };

struct freed {
	uint64_t page_no;
	uint32_t count;
	knot_lsn_t lsn;
	unsigned readers; /* bit i: reader i began before */
};

/* What giving up an mtr takes back. */
struct logged {
	uint8_t state[PAGES];
	struct freed freed[FREED_MAX];
	uint32_t freed_count;
};

struct model {
	struct fixture f;
	struct logged now, before;
	uint64_t seed;
	uint64_t random;
	uint64_t reserved;
	uint64_t pool;
	uint64_t tickets[READERS_MAX];
	unsigned readers; /* bit i: tickets[i] is in use */
	bool filling;
};

static uint64_t next_random(uint64_t *state)
{
	uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
	return z ^ (z >> 31);
}

static uint32_t below(struct model *m, uint32_t limit)
{
	return (uint32_t)(next_random(&m->random) % limit);
}

static uint64_t count_state(const struct model *m, enum page_state state)
{
	uint64_t count = 0;

	for (uint32_t page = 0; page < PAGES; page++)
		count += m->now.state[page] == state;
	return count;
}

static void set_state(struct model *m, uint64_t page_no, uint32_t count, enum page_state from, enum page_state to)
{
	for (uint64_t page = page_no; page < page_no + count; page++) {
		assert_in_range(page, 0, PAGES - 1);
		assert_int_equal(m->now.state[page], from);
		m->now.state[page] = (uint8_t)to;
	}
}

/* Some adjacent pages in this state, at a random place; 0 if there are none. */
static uint32_t pick(struct model *m, enum page_state state, uint32_t max, uint64_t *page_no)
{
	uint32_t start = below(m, PAGES);
	uint32_t want = 1 + below(m, max);

	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t at = (start + i) % PAGES;
		uint32_t count = 0;

		while (count < want && at + count < PAGES && m->now.state[at + count] == state)
			count++;
		if (count) {
			*page_no = at;
			return count;
		}
	}
	return 0;
}

static uint32_t random_size(struct model *m)
{
	return 1u + below(m, 1u << below(m, 12));
}

static uint64_t random_near(struct model *m)
{
	return below(m, 3) ? 0 : below(m, PAGES);
}

/* ---- changes in an mtr ---- */

static int step_alloc(struct model *m, struct knot_mtr *mtr)
{
	bool tree = below(m, 3) == 0;
	uint64_t near = random_near(m);
	uint32_t want = random_size(m);
	uint32_t got = 1;
	uint64_t page;
	int err;

	if (tree)
		err = knot_space_alloc_tree(m->f.space, mtr, near, &page);
	else
		err = knot_space_alloc_data(m->f.space, mtr, near, want, &page, &got);
	if (err == -ENOSPC) {
		assert_int_equal(count_state(m, FREE), 0);
		return 0;
	}
	if (err)
		return err;
	assert_in_range(got, 1, tree ? 1 : want);
	set_state(m, page, got, FREE, USED);
	return 0;
}

static int step_settle(struct model *m, struct knot_mtr *mtr)
{
	uint64_t page;
	uint32_t count = pick(m, PLACED, 300, &page);
	int err = count ? knot_space_settle(m->f.space, mtr, page, count) : 0;

	if (!err && count)
		set_state(m, page, count, PLACED, USED);
	return err;
}

static int step_release(struct model *m, struct knot_mtr *mtr)
{
	uint64_t page;
	uint32_t count = pick(m, USED, 1u << below(m, 12), &page);
	int err;

	if (!count || m->now.freed_count + 2 > FREED_MAX)
		return 0;
	err = knot_space_release(m->f.space, mtr, page, count);
	if (err)
		return err;
	set_state(m, page, count, USED, FREED);
	while (count) { /* the allocator cuts at groups too */
		uint32_t part = knot_group_part(page, count);

		m->now.freed[m->now.freed_count++] = (struct freed){ page, part, 0, m->readers };
		page += part;
		count -= part;
	}
	return 0;
}

/* What the allocator does by itself before it says that there is no space. */
static void reap_locked(struct model *m)
{
	knot_lsn_t committed = knot_txn_committed_lsn(m->f.txn);
	uint32_t kept = 0;

	knot_space_reap(m->f.space);
	for (uint32_t i = 0; i < m->now.freed_count; i++) {
		struct freed *freed = &m->now.freed[i];

		if (freed->lsn <= committed && !freed->readers)
			set_state(m, freed->page_no, freed->count, FREED, FREE);
		else
			m->now.freed[kept++] = *freed;
	}
	m->now.freed_count = kept;
}

static void reap(struct model *m)
{
	knot_txn_lock(m->f.txn, NULL);
	reap_locked(m);
	knot_txn_unlock(m->f.txn);
}

static int op_steps(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct model *m = arg;
	uint32_t steps;
	int err = 0;

	(void)f;
	/* each try of the mtr does the same from the start */
	m->now = m->before;
	m->random = m->seed;
	reap_locked(m); /* the log may have been flushed to make room for the mtr; giving up does not undo it */
	m->before = m->now;
	steps = 1 + below(m, 5);
	for (uint32_t i = 0; !err && i < steps; i++) {
		uint32_t kind = below(m, 10);

		if (kind < 3)
			err = step_settle(m, mtr);
		else if (m->filling ? kind < 8 : kind < 4)
			err = step_alloc(m, mtr);
		else
			err = step_release(m, mtr);
	}
	return !err && below(m, 4) == 0 ? GIVE_UP : err;
}

static void run_mtr(struct model *m)
{
	knot_lsn_t lsn;
	int err;

	m->before = m->now;
	m->seed = next_random(&m->random);
	err = fixture_run(&m->f, true, op_steps, m, &lsn);
	if (err == GIVE_UP) {
		uint64_t random = m->random;

		m->now = m->before;
		m->random = random;
		return;
	}
	assert_int_equal(err, 0);
	for (uint32_t i = 0; i < m->now.freed_count; i++)
		if (!m->now.freed[i].lsn)
			m->now.freed[i].lsn = lsn;
}

/* ---- changes in memory ---- */

static void place(struct model *m)
{
	struct fixture_call call = { .near = random_near(m), .want = random_size(m) };
	int err = fixture_run(&m->f, false, op_place, &call, NULL);

	if (err == -ENOSPC) {
		assert_int_equal(count_state(m, FREE), 0);
		return;
	}
	assert_int_equal(err, 0);
	set_state(m, call.page_no, call.got, FREE, PLACED);
}

static void unplace(struct model *m)
{
	uint64_t page;
	uint32_t count = pick(m, PLACED, 300, &page);

	if (!count)
		return;
	knot_space_unplace(m->f.space, page, count);
	set_state(m, page, count, PLACED, FREE);
}

static void begin_or_end_read(struct model *m)
{
	unsigned i = below(m, READERS_MAX);

	if (m->readers & 1u << i) {
		knot_space_read_end(m->f.space, m->tickets[i]);
		m->readers &= ~(1u << i);
		for (uint32_t k = 0; k < m->now.freed_count; k++)
			m->now.freed[k].readers &= ~(1u << i);
	} else {
		m->tickets[i] = knot_space_read_begin(m->f.space);
		m->readers |= 1u << i;
	}
}

static uint64_t model_available(const struct model *m)
{
	uint64_t free_pages = count_state(m, FREE);
	uint64_t taken = m->reserved + m->pool;

	return free_pages > taken ? free_pages - taken : 0;
}

static void reserve(struct model *m)
{
	uint64_t pages = below(m, 1000);

	if (m->reserved && below(m, 2)) {
		knot_space_unreserve(m->f.space, m->reserved);
		m->reserved = 0;
		return;
	}
	reap(m);
	if (pages <= model_available(m)) {
		assert_int_equal(fixture_reserve(&m->f, pages, 0), 0);
		m->reserved += pages;
	} else {
		assert_int_equal(fixture_reserve(&m->f, pages, 0), -ENOSPC);
	}
}

/* ---- comparing ---- */

static void compare_counts(struct model *m)
{
	uint64_t free_pages = count_state(m, FREE) + count_state(m, FREED);

	assert_int_equal(knot_space_available(m->f.space), model_available(m));
	assert_int_equal(knot_space_waiting(m->f.space), count_state(m, FREED));
	assert_int_equal(knot_space_free(m->f.space), free_pages > m->reserved ? free_pages - m->reserved : 0);
	if (count_state(m, FREE) == 0)
		m->filling = false;
	else if (count_state(m, USED) < 1000)
		m->filling = true;
}

static int op_compare_bits(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	const struct model *m = arg;

	for (uint64_t group = 0; group < f->space->groups_initialised; group++) {
		uint64_t words[KNOT_GROUP_WORDS];
		uint8_t tree[KNOT_GROUP_CLUSTERS / 8u];
		uint32_t at, longest;
		uint32_t end = knot_super_group_pages(&f->super, group);
		int err = knot_group_map(f->space, mtr, group, words, tree);

		if (err)
			return err;
		for (uint32_t bit = 0; bit < end; bit++)
			assert_int_equal(m->now.state[group * KNOT_GROUP_PAGES + bit] == FREE,
					 !(words[bit / 64u] >> (bit % 64u) & 1u));
		for (uint32_t c = 0; c < KNOT_GROUP_CLUSTERS; c++)
			if (knot_group_is_tree_cluster(tree, c))
				words[c] = ~UINT64_C(0);
		knot_map_find_run(words, 0, KNOT_GROUP_PAGES, KNOT_GROUP_PAGES, &at, &longest);
		assert_true(longest <= f->space->groups[group].run_max);
	}
	return 0;
}

static void reopen(struct model *m)
{
	uint64_t page;

	for (unsigned i = 0; i < READERS_MAX; i++)
		if (m->readers & 1u << i)
			knot_space_read_end(m->f.space, m->tickets[i]);
	m->readers = 0;
	fixture_unload(&m->f);
	fixture_load(&m->f);
	for (page = 0; page < PAGES; page++)
		if (m->now.state[page] == PLACED || m->now.state[page] == FREED)
			m->now.state[page] = FREE;
	m->now.freed_count = 0;
	m->reserved = 0;
}

static struct model *model_open(uint64_t seed)
{
	struct model *m = calloc(1, sizeof(*m));

	assert_non_null(m);
	fixture_open(&m->f, PAGES);
	m->random = seed;
	m->filling = true;
	for (uint32_t page = 0; page < PAGES; page++)
		m->now.state[page] = page == m->f.super.root_page || knot_super_page_is_fixed(&m->f.super, page) ? FIXED
														 : FREE;
	m->pool = count_state(m, FREE) - knot_space_available(m->f.space);
	assert_in_range(m->pool, 64, POOL_PAGES);
	return m;
}

static void counts_are_exact_whatever_happens(void **state)
{
	const char *given = getenv("KNOT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 1000003u;
	struct model *m = model_open(seed);

	(void)state;
	print_message("KNOT_SEED=%llu\n", (unsigned long long)seed);
	for (unsigned round = 0; round < 3000; round++) {
		uint32_t what = below(m, 100);

		if (what < 45)
			run_mtr(m);
		else if (what < 60 && m->filling)
			place(m);
		else if (what < 65)
			unplace(m);
		else if (what < 75)
			begin_or_end_read(m);
		else if (what < 85)
			fixture_commit(&m->f);
		else if (what < 92)
			reserve(m);
		else if (what == 99 && below(m, 10) == 0)
			reopen(m);
		/* so that the allocator finds nothing to reap by itself, and the model knows what it has */
		reap(m);
		compare_counts(m);
		if (round % 100 == 0)
			assert_int_equal(fixture_run(&m->f, false, op_compare_bits, m, NULL), 0);
	}
	assert_int_equal(m->f.said, 0);
	fixture_close(&m->f);
	free(m);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(counts_are_exact_whatever_happens),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
