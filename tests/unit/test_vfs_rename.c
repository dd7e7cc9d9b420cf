/* SPDX-License-Identifier: MIT */
#include "vfs_fixture.h"

static void a_name_moves_within_and_between_directories(void **state)
{
	struct knot_attr attr;
	uint64_t dir, file;

	assert_int_equal(make_dir(*state, ROOT, "d", &dir), 0);
	assert_int_equal(make_file(*state, ROOT, "a", &file), 0);
	assert_int_equal(rename_name(*state, ROOT, "a", ROOT, "b", 0), 0);
	assert_int_equal(number_of(*state, ROOT, "a"), 0);
	assert_int_equal(number_of(*state, ROOT, "b"), file);
	assert_int_equal(attr_of(*state, ROOT).size, 2);
	attr = attr_of(*state, file);
	assert_int_equal(rename_name(*state, ROOT, "b", dir, "c", 0), 0);
	fixture_reopen(*state);
	assert_int_equal(number_of(*state, ROOT, "b"), 0);
	assert_int_equal(number_of(*state, dir, "c"), file);
	assert_int_equal(attr_of(*state, ROOT).size, 1);
	assert_int_equal(attr_of(*state, dir).size, 1);
	assert_true(attr_of(*state, file).ctime.sec > attr.ctime.sec);
	assert_true(attr_of(*state, file).mtime.sec == attr.mtime.sec);
	assert_true(attr_of(*state, dir).mtime.sec == attr_of(*state, ROOT).mtime.sec);
	assert_int_equal(rename_name(*state, dir, "x", ROOT, "y", 0), -ENOENT);
}

static void a_replaced_file_is_gone_unless_held(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr, held;
	uint64_t file, old;

	assert_int_equal(make_file(fixture, ROOT, "new", &file), 0);
	assert_int_equal(make_file(fixture, ROOT, "old", &old), 0);
	assert_int_equal(rename_name(fixture, ROOT, "new", ROOT, "old", KNOT_RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(rename_name(fixture, ROOT, "new", ROOT, "old", 0), 0);
	assert_int_equal(number_of(fixture, ROOT, "old"), file);
	assert_int_equal(attr_of(fixture, ROOT).size, 1);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, old, &attr), -ESTALE);

	assert_int_equal(hold(fixture, ROOT, "old", &held), 0);
	put_text(fixture, held.inode, "held");
	assert_int_equal(make_file(fixture, ROOT, "newer", NULL), 0);
	assert_int_equal(rename_name(fixture, ROOT, "newer", ROOT, "old", 0), 0);
	assert_text(fixture, held.inode, "held");
	assert_int_equal(attr_of(fixture, held.inode).links, 0);
	let_go(fixture, held.inode);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, held.inode, &attr), -ESTALE);
}

static void a_replacing_file_is_old_or_new_but_whole_after_a_cut(void **state)
{
	struct fixture *fixture = *state;
	uint64_t old, file, marker;

	assert_int_equal(make_file(fixture, ROOT, "conf", &old), 0);
	put_text(fixture, old, "old contents");
	assert_int_equal(knot_vfs_syncfs(fixture->volume, NULL), 0);
	assert_int_equal(make_file(fixture, ROOT, "conf.tmp", &file), 0);
	put_text(fixture, file, "new contents");
	assert_int_equal(rename_name(fixture, ROOT, "conf.tmp", ROOT, "conf", 0), 0);
	assert_int_equal(make_file(fixture, ROOT, "marker", &marker), 0);
	/* makes the log durable; nobody ever asked for the file's data */
	assert_int_equal(knot_vfs_fsync(fixture->volume, NULL, marker, false), 0);
	fixture_cut(fixture);
	assert_int_equal(number_of(fixture, ROOT, "conf"), file);
	assert_text(fixture, file, "new contents");
}

static void directories_replace_only_empty_directories(void **state)
{
	struct knot_attr attr;
	uint64_t one, two, three;

	assert_int_equal(make_dir(*state, ROOT, "one", &one), 0);
	assert_int_equal(make_dir(*state, ROOT, "two", &two), 0);
	assert_int_equal(make_dir(*state, two, "three", &three), 0);
	assert_int_equal(make_file(*state, ROOT, "file", NULL), 0);
	assert_int_equal(rename_name(*state, ROOT, "one", ROOT, "two", 0), -ENOTEMPTY);
	assert_int_equal(rename_name(*state, ROOT, "one", ROOT, "file", 0), -ENOTDIR);
	assert_int_equal(rename_name(*state, ROOT, "file", ROOT, "one", 0), -EISDIR);
	assert_int_equal(rename_name(*state, ROOT, "one", two, "three", 0), 0);
	assert_int_equal(number_of(*state, two, "three"), one);
	attr = attr_of(*state, ROOT);
	assert_int_equal(knot_attr_nlink(&attr), 3);
	attr = attr_of(*state, two);
	assert_int_equal(knot_attr_nlink(&attr), 3);
	assert_int_equal(attr.size, 1);
	fixture_reopen(*state);
	assert_int_equal(find(*state, two, "three", &attr), 0);
	assert_int_equal(attr.inode, one);
	assert_int_equal(find(*state, one, "..", &attr), 0);
	assert_int_equal(attr.inode, two);
}

static void a_directory_does_not_move_below_itself(void **state)
{
	uint64_t a, b, c, other;

	assert_int_equal(make_dir(*state, ROOT, "a", &a), 0);
	assert_int_equal(make_dir(*state, a, "b", &b), 0);
	assert_int_equal(make_dir(*state, b, "c", &c), 0);
	assert_int_equal(make_dir(*state, ROOT, "other", &other), 0);
	assert_int_equal(rename_name(*state, ROOT, "a", c, "x", 0), -EINVAL);
	assert_int_equal(rename_name(*state, ROOT, "a", a, "x", 0), -EINVAL);
	assert_int_equal(rename_name(*state, b, "c", ROOT, "a", KNOT_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(rename_name(*state, ROOT, "a", b, "c", KNOT_RENAME_EXCHANGE), -EINVAL);
	assert_int_equal(rename_name(*state, ROOT, "a", other, "x", 0), 0);
	assert_int_equal(number_of(*state, other, "x"), a);
	assert_int_equal(rename_name(*state, ROOT, "other", c, "x", 0), -EINVAL);
}

static void two_names_of_one_file_stay_as_they_are(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t file;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, file, ROOT, "b", 1, &attr), 0);
	let_go(fixture, file);
	assert_int_equal(rename_name(fixture, ROOT, "a", ROOT, "b", 0), 0);
	assert_int_equal(rename_name(fixture, ROOT, "a", ROOT, "b", KNOT_RENAME_EXCHANGE), 0);
	assert_int_equal(rename_name(fixture, ROOT, "a", ROOT, "a", 0), 0);
	assert_int_equal(rename_name(fixture, ROOT, "a", ROOT, "b", KNOT_RENAME_NOREPLACE), -EEXIST);
	assert_int_equal(number_of(fixture, ROOT, "a"), file);
	assert_int_equal(number_of(fixture, ROOT, "b"), file);
	assert_int_equal(attr_of(fixture, file).links, 2);
}

static void replacing_one_of_two_names_keeps_the_file(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t file, other;

	assert_int_equal(make_file(fixture, ROOT, "a", &file), 0);
	assert_int_equal(make_file(fixture, ROOT, "o", &other), 0);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, file, ROOT, "b", 1, &attr), 0);
	let_go(fixture, file);
	assert_int_equal(rename_name(fixture, ROOT, "o", ROOT, "b", 0), 0);
	assert_int_equal(attr_of(fixture, file).links, 1);
	assert_int_equal(number_of(fixture, ROOT, "b"), other);
	assert_int_equal(attr_of(fixture, ROOT).size, 2);
}

static void exchange_swaps_a_file_and_a_directory(void **state)
{
	struct knot_attr attr;
	uint64_t dir, inner, file;

	assert_int_equal(make_dir(*state, ROOT, "d", &dir), 0);
	assert_int_equal(make_dir(*state, dir, "inner", &inner), 0);
	assert_int_equal(make_file(*state, inner, "below", NULL), 0);
	assert_int_equal(make_file(*state, ROOT, "f", &file), 0);
	assert_int_equal(rename_name(*state, ROOT, "f", dir, "nothing", KNOT_RENAME_EXCHANGE), -ENOENT);
	assert_int_equal(rename_name(*state, ROOT, "f", dir, "inner", KNOT_RENAME_EXCHANGE), 0);
	fixture_reopen(*state);
	assert_int_equal(number_of(*state, ROOT, "f"), inner);
	assert_int_equal(number_of(*state, dir, "inner"), file);
	attr = attr_of(*state, ROOT);
	assert_int_equal(knot_attr_nlink(&attr), 4);
	assert_int_equal(attr.size, 2);
	attr = attr_of(*state, dir);
	assert_int_equal(knot_attr_nlink(&attr), 2);
	assert_int_equal(attr.size, 1);
	assert_int_equal(rename_name(*state, ROOT, "f", ROOT, "d", KNOT_RENAME_EXCHANGE), 0);
	assert_int_equal(number_of(*state, ROOT, "d"), inner);
}

static void whiteout_leaves_a_character_device(void **state)
{
	struct knot_attr attr;
	uint64_t file, dir;

	assert_int_equal(make_file(*state, ROOT, "f", &file), 0);
	assert_int_equal(make_dir(*state, ROOT, "d", &dir), 0);
	assert_int_equal(rename_name(*state, ROOT, "f", dir, "g", KNOT_RENAME_WHITEOUT | KNOT_RENAME_NOREPLACE), 0);
	assert_int_equal(rename_name(*state, ROOT, "d", ROOT, "e", KNOT_RENAME_WHITEOUT), 0);
	fixture_reopen(*state);
	assert_int_equal(number_of(*state, dir, "g"), file);
	assert_int_equal(find(*state, ROOT, "f", &attr), 0);
	assert_int_equal(attr.mode, S_IFCHR);
	assert_int_equal(attr.rdev, 0);
	attr = attr_of(*state, ROOT);
	assert_int_equal(attr.size, 3);
	assert_int_equal(knot_attr_nlink(&attr), 3);
}

static void impossible_flags_are_refused(void **state)
{
	assert_int_equal(make_file(*state, ROOT, "f", NULL), 0);
	assert_int_equal(rename_name(*state, ROOT, "f", ROOT, "g", 8), -EINVAL);
	assert_int_equal(rename_name(*state, ROOT, "f", ROOT, "f", KNOT_RENAME_EXCHANGE | KNOT_RENAME_NOREPLACE),
			 -EINVAL);
	assert_int_equal(rename_name(*state, ROOT, "f", ROOT, "", 0), -ENOENT);
	assert_int_equal(rename_name(*state, ROOT, "..", ROOT, "g", 0), -EINVAL);
	assert_int_equal(rename_name(*state, ROOT, "f", number_of(*state, ROOT, "f"), "g", 0), -ENOTDIR);
}

/* ---- random renames against a table ---- */

#define DIRS  4u
#define NAMES 6u

struct table {
	uint64_t dirs[DIRS];
	uint64_t inodes[DIRS][NAMES];
};

static unsigned next_random(uint64_t *random)
{
	*random ^= *random << 13;
	*random ^= *random >> 7;
	*random ^= *random << 17;
	return (unsigned)(*random >> 32);
}

static void random_step(struct fixture *fixture, struct table *table, uint64_t *random)
{
	unsigned d = next_random(random) % DIRS, e = next_random(random) % DIRS;
	unsigned n = next_random(random) % NAMES, m = next_random(random) % NAMES;
	uint64_t *from = &table->inodes[d][n], *to = &table->inodes[e][m];
	char name[8], other[8];
	unsigned flags = 0;
	uint64_t swap;
	int err;

	snprintf(name, sizeof(name), "n%u", n);
	snprintf(other, sizeof(other), "n%u", m);
	if (!*from) {
		assert_int_equal(make_file(fixture, table->dirs[d], name, from), 0);
		return;
	}
	if (next_random(random) % 8 == 0) {
		assert_int_equal(unlink_name(fixture, table->dirs[d], name), 0);
		*from = 0;
		return;
	}
	if (next_random(random) % 3 == 0)
		flags = next_random(random) % 2 ? KNOT_RENAME_EXCHANGE : KNOT_RENAME_NOREPLACE;
	err = rename_name(fixture, table->dirs[d], name, table->dirs[e], other, flags);
	if (flags == KNOT_RENAME_NOREPLACE && *to) {
		assert_int_equal(err, -EEXIST);
	} else if (flags == KNOT_RENAME_EXCHANGE && !*to) {
		assert_int_equal(err, -ENOENT);
	} else {
		assert_int_equal(err, 0);
		swap = *to;
		*to = *from;
		if (from != to)
			*from = flags == KNOT_RENAME_EXCHANGE ? swap : 0;
	}
}

static void check_table(struct fixture *fixture, const struct table *table)
{
	char name[8];

	for (unsigned d = 0; d < DIRS; d++) {
		unsigned count = 0;

		for (unsigned n = 0; n < NAMES; n++) {
			snprintf(name, sizeof(name), "n%u", n);
			assert_int_equal(number_of(fixture, table->dirs[d], name), table->inodes[d][n]);
			count += table->inodes[d][n] != 0;
		}
		assert_int_equal(attr_of(fixture, table->dirs[d]).size, count);
	}
}

static void random_renames_agree_with_a_table(void **state)
{
	const char *given = getenv("KNOT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 77;
	uint64_t random = seed * 2 + 1;
	struct fixture *fixture = *state;
	struct table table = { 0 };
	char name[8];

	print_message("KNOT_SEED=%llu\n", (unsigned long long)seed);
	for (unsigned d = 0; d < DIRS; d++) {
		snprintf(name, sizeof(name), "d%u", d);
		assert_int_equal(make_dir(fixture, ROOT, name, &table.dirs[d]), 0);
	}
	for (unsigned i = 0; i < 4000; i++) {
		random_step(fixture, &table, &random);
		if (i % 1000 == 500)
			fixture_reopen(fixture);
		if (i % 1000 == 999) {
			assert_int_equal(knot_vfs_syncfs(fixture->volume, NULL), 0);
			fixture_cut(fixture);
		}
		if (i % 100 == 99)
			check_table(fixture, &table);
	}
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
#define STRICT_TEST(function)                                                                    \
	{                                                                                        \
		"data_strict_" #function, function, fixture_setup_strict, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_name_moves_within_and_between_directories),
		TEST(a_replaced_file_is_gone_unless_held),
		TEST(a_replacing_file_is_old_or_new_but_whole_after_a_cut),
		TEST(directories_replace_only_empty_directories),
		TEST(a_directory_does_not_move_below_itself),
		TEST(two_names_of_one_file_stay_as_they_are),
		TEST(replacing_one_of_two_names_keeps_the_file),
		TEST(exchange_swaps_a_file_and_a_directory),
		TEST(whiteout_leaves_a_character_device),
		TEST(impossible_flags_are_refused),
		TEST(random_renames_agree_with_a_table),
		STRICT_TEST(a_replacing_file_is_old_or_new_but_whole_after_a_cut),
		STRICT_TEST(random_renames_agree_with_a_table),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
