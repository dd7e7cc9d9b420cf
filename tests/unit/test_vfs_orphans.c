/* SPDX-License-Identifier: MIT */
#include "vfs_fixture.h"

#include <pthread.h>

#define CHUNK 65536u

static void put_bytes(struct fixture *fixture, uint64_t inode, size_t bytes)
{
	static char buffer[CHUNK];

	memset(buffer, 0x5a, sizeof(buffer));
	for (size_t at = 0; at < bytes; at += CHUNK)
		assert_int_equal(knot_vfs_write(fixture->volume, NULL, inode, at, CHUNK, buffer, false), 0);
}

static void sync_all(struct fixture *fixture)
{
	assert_int_equal(knot_vfs_syncfs(fixture->volume, NULL), 0);
}

/* After a commit everything freed counts as free. */
static uint64_t free_pages(struct fixture *fixture)
{
	sync_all(fixture);
	assert_int_equal(knot_volume_tick(fixture->volume, true), 0);
	sync_all(fixture);
	return statfs_of(fixture).pages_free;
}

static void an_unlinked_open_file_lives_until_it_is_forgotten(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t before = free_pages(fixture);

	assert_int_equal(make_file(fixture, ROOT, "f", NULL), 0);
	assert_int_equal(hold(fixture, ROOT, "f", &attr), 0);
	put_bytes(fixture, attr.inode, 1 << 20);
	sync_all(fixture);
	assert_int_equal(unlink_name(fixture, ROOT, "f"), 0);
	assert_int_equal(attr_of(fixture, attr.inode).links, 0);
	assert_int_equal(attr_of(fixture, attr.inode).size, 1 << 20);
	assert_int_equal(knot_vfs_link(fixture->volume, NULL, attr.inode, ROOT, "g", 1, &attr), -ENOENT);
	put_text(fixture, attr.inode, "more");
	sync_all(fixture);
	assert_int_equal(attr_of(fixture, attr.inode).size, 1 << 20);
	let_go(fixture, attr.inode);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, attr.inode, &attr), -ESTALE);
	assert_int_equal(statfs_of(fixture).inodes, 1);
	assert_true(free_pages(fixture) + 2 >= before);
}

static void an_orphan_is_finished_after_a_cut(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t before = free_pages(fixture);

	assert_int_equal(make_file(fixture, ROOT, "f", NULL), 0);
	assert_int_equal(hold(fixture, ROOT, "f", &attr), 0);
	put_bytes(fixture, attr.inode, 2 << 20);
	sync_all(fixture);
	assert_int_equal(unlink_name(fixture, ROOT, "f"), 0);
	sync_all(fixture);
	fixture_cut(fixture);
	assert_int_equal(attr_of(fixture, attr.inode).links, 0);
	assert_true(statfs_of(fixture).pages_free + 400 < before);
	assert_true(free_pages(fixture) + 2 >= before);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, attr.inode, &attr), -ESTALE);
	assert_int_equal(statfs_of(fixture).inodes, 1);
}

static void closing_counts_all_lookups_as_zero(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr file, dir, attr;

	assert_int_equal(make_file(fixture, ROOT, "f", NULL), 0);
	assert_int_equal(make_dir(fixture, ROOT, "d", NULL), 0);
	assert_int_equal(hold(fixture, ROOT, "f", &file), 0);
	assert_int_equal(hold(fixture, ROOT, "d", &dir), 0);
	put_text(fixture, file.inode, "pending");
	assert_int_equal(unlink_name(fixture, ROOT, "f"), 0);
	assert_int_equal(rmdir_name(fixture, ROOT, "d"), 0);
	assert_int_equal(statfs_of(fixture).inodes, 3);
	fixture_reopen(fixture);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, file.inode, &attr), -ESTALE);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, dir.inode, &attr), -ESTALE);
	assert_int_equal(statfs_of(fixture).inodes, 1);
}

static void a_file_in_many_pieces_goes_in_steps(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr one, two, attr;
	char page[4096];
	uint64_t before;

	memset(page, 1, sizeof(page));
	assert_int_equal(make_file(fixture, ROOT, "one", NULL), 0);
	assert_int_equal(make_file(fixture, ROOT, "two", NULL), 0);
	assert_int_equal(hold(fixture, ROOT, "one", &one), 0);
	assert_int_equal(hold(fixture, ROOT, "two", &two), 0);
	before = free_pages(fixture);
	for (unsigned i = 0; i < 1000; i++) /* every second page: 1000 extents each */
		for (unsigned j = 0; j < 2; j++)
			assert_int_equal(knot_vfs_write(fixture->volume, NULL, j ? one.inode : two.inode, i * 8192UL,
							sizeof(page), page, false),
					 0);
	sync_all(fixture);
	assert_int_equal(attr_of(fixture, one.inode).pages, 1000);
	assert_int_equal(unlink_name(fixture, ROOT, "one"), 0);
	assert_int_equal(unlink_name(fixture, ROOT, "two"), 0);
	let_go(fixture, one.inode);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, one.inode, &attr), -ESTALE);
	let_go(fixture, two.inode);
	assert_true(free_pages(fixture) + 40 >= before);
	assert_int_equal(statfs_of(fixture).inodes, 1);
}

static void what_was_never_flushed_leaves_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	uint64_t before = free_pages(fixture);
	uint64_t inode;

	assert_int_equal(make_file(fixture, ROOT, "f", &inode), 0);
	put_bytes(fixture, inode, 1 << 20);
	assert_int_equal(unlink_name(fixture, ROOT, "f"), 0);
	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, inode, &attr), -ESTALE);
	assert_true(free_pages(fixture) + 2 >= before);
}

static void symlinks_and_special_files_are_reclaimed_too(void **state)
{
	struct fixture *fixture = *state;
	struct knot_attr attr;
	char target[3000];

	memset(target, 't', sizeof(target));
	assert_int_equal(knot_vfs_symlink(fixture->volume, NULL, ROOT, "s", 1, target, 10, &attr), 0);
	assert_int_equal(knot_vfs_symlink(fixture->volume, NULL, ROOT, "l", 1, target, sizeof(target), &attr), 0);
	assert_int_equal(knot_vfs_mknod(fixture->volume, NULL, ROOT, "p", 1, S_IFIFO | 0600, 0, &attr), 0);
	assert_int_equal(unlink_name(fixture, ROOT, "s"), 0);
	assert_int_equal(unlink_name(fixture, ROOT, "l"), 0);
	assert_int_equal(unlink_name(fixture, ROOT, "p"), 0);
	assert_int_equal(statfs_of(fixture).inodes, 4);
	fixture_cut(fixture);
	fixture_reopen(fixture);
	assert_int_equal(statfs_of(fixture).inodes, 1);
}

static void thousands_of_orphans_go_in_batches(void **state)
{
	struct fixture *fixture = *state;
	static uint64_t held[3000];
	struct knot_attr attr;
	char name[16];

	for (unsigned i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		assert_int_equal(make_file(fixture, ROOT, name, NULL), 0);
		assert_int_equal(hold(fixture, ROOT, name, &attr), 0);
		held[i] = attr.inode;
		if (i % 3 == 0)
			put_text(fixture, attr.inode, "some data");
		assert_int_equal(unlink_name(fixture, ROOT, name), 0);
	}
	sync_all(fixture);
	assert_int_equal(statfs_of(fixture).inodes, 3001);
	for (unsigned i = 0; i < 1000; i++)
		let_go(fixture, held[i]);
	assert_int_equal(statfs_of(fixture).inodes, 2001);
	sync_all(fixture);
	fixture_cut(fixture);
	assert_int_equal(knot_volume_tick(fixture->volume, true), 0);
	assert_int_equal(statfs_of(fixture).inodes, 1);
}

static void removing_works_on_a_full_volume(void **state)
{
	struct fixture fixture;
	static char buffer[CHUNK];
	struct knot_attr attr;
	uint64_t inode, at = 0;
	int err = 0;

	(void)state;
	fixture_make(&fixture, 16 << 20);
	assert_int_equal(make_file(&fixture, ROOT, "f", &inode), 0);
	assert_int_equal(make_dir(&fixture, ROOT, "d", NULL), 0);
	for (; !err; at += CHUNK / 4)
		err = knot_vfs_write(fixture.volume, NULL, inode, at, CHUNK / 4, buffer, false);
	assert_int_equal(err, -ENOSPC);
	sync_all(&fixture);
	assert_int_equal(hold(&fixture, ROOT, "f", &attr), 0);
	assert_int_equal(rmdir_name(&fixture, ROOT, "d"), 0);
	assert_int_equal(unlink_name(&fixture, ROOT, "f"), 0);
	let_go(&fixture, inode);
	assert_int_equal(make_file(&fixture, ROOT, "g", &inode), 0);
	for (err = 0, at = 0; !err && at < 4 << 20; at += CHUNK / 4)
		err = knot_vfs_write(fixture.volume, NULL, inode, at, CHUNK / 4, buffer, false);
	assert_int_equal(err, 0);
	sync_all(&fixture);
	assert_int_equal(statfs_of(&fixture).inodes, 2);
	fixture_free(&fixture);
}

/* ---- with threads ---- */

static void *churn(void *arg)
{
	struct fixture *fixture = arg;
	char name[32];

	for (unsigned i = 0; i < 1500; i++) {
		struct knot_attr attr;

		snprintf(name, sizeof(name), "t%lx-%u", (unsigned long)pthread_self(), i);
		if (knot_vfs_mknod(fixture->volume, NULL, ROOT, name, strlen(name), S_IFREG | 0600, 0, &attr))
			return fixture;
		if (i % 4 == 0 && knot_vfs_write(fixture->volume, NULL, attr.inode, 0, 5, "bytes", false))
			return fixture;
		if (i % 16 == 0 && knot_vfs_fsync(fixture->volume, NULL, attr.inode, false))
			return fixture;
		if (i % 5 && knot_vfs_unlink(fixture->volume, NULL, ROOT, name, strlen(name)))
			return fixture;
		if (i % 5 && knot_vfs_getattr(fixture->volume, NULL, attr.inode, &attr))
			return fixture; /* it is held */
		knot_vfs_forget(fixture->volume, NULL, attr.inode, 1);
	}
	return NULL;
}

static struct knot_time plain_now(void *arg)
{
	(void)arg;
	return (struct knot_time){ .sec = 3000 };
}

static void threads_create_and_unlink_side_by_side(void **state)
{
	struct fixture *fixture = *state;
	pthread_t threads[3];
	void *failed;

	fixture_close(fixture);
	fixture->options.threads = true;
	fixture->options.now = plain_now;
	fixture_open(fixture);
	for (unsigned i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, churn, fixture), 0);
	for (unsigned i = 0; i < 3; i++) {
		pthread_join(threads[i], &failed);
		assert_null(failed);
	}
	assert_int_equal(attr_of(fixture, ROOT).size, 900);
	fixture_reopen(fixture);
	assert_int_equal(attr_of(fixture, ROOT).size, 900);
	assert_int_equal(statfs_of(fixture).inodes, 901);
	fixture->options.threads = false;
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, fixture_setup, fixture_teardown)
#define STRICT_TEST(function)                                                                    \
	{                                                                                        \
		"data_strict_" #function, function, fixture_setup_strict, fixture_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(an_unlinked_open_file_lives_until_it_is_forgotten),
		TEST(an_orphan_is_finished_after_a_cut),
		TEST(closing_counts_all_lookups_as_zero),
		TEST(a_file_in_many_pieces_goes_in_steps),
		TEST(what_was_never_flushed_leaves_nothing),
		TEST(symlinks_and_special_files_are_reclaimed_too),
		TEST(thousands_of_orphans_go_in_batches),
		cmocka_unit_test(removing_works_on_a_full_volume),
		TEST(threads_create_and_unlink_side_by_side),
		STRICT_TEST(an_orphan_is_finished_after_a_cut),
		STRICT_TEST(a_file_in_many_pieces_goes_in_steps),
		STRICT_TEST(thousands_of_orphans_go_in_batches),
		STRICT_TEST(threads_create_and_unlink_side_by_side),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
