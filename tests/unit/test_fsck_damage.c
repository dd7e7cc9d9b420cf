/* SPDX-License-Identifier: MIT */
/* Each kind of damage is found, and nothing else is said about it. Each problem that fsck knows is provoked once. */
#include "tests/unit/fsck_damages.h"

#include <dirent.h>
#include <errno.h>

struct damage {
	const char *name;
	void (*make)(struct fixture *f);
	bool scrub;
	enum knot_fsck_problem expected[6];
};

/* ---- names ---- */

static void entry_type_unknown(struct fixture *f)
{
	fixture_put_entry(f, 1, fixture_cookie(f, "big"), "big", f->big, 99);
}

/* Give "big" another name at a cookie, on both sides. */
static void rename_big(struct fixture *f, const char *name, uint64_t cookie)
{
	uint64_t old = fixture_cookie(f, "big");

	fixture_remove_entry(f, 1, old);
	fixture_remove_reference(f, f->big, 1, old);
	fixture_put_entry(f, 1, cookie, name, f->big, DT_REG);
	fixture_put_reference(f, f->big, 1, cookie, name);
}

static void name_with_slash(struct fixture *f)
{
	rename_big(f, "b/g", fixture_cookie(f, "b/g"));
}

static void name_dot_dot(struct fixture *f)
{
	rename_big(f, "..", fixture_cookie(f, ".."));
}

static void wrong_hash(struct fixture *f)
{
	rename_big(f, "big", fixture_cookie(f, "gib"));
}

static void name_twice(struct fixture *f)
{
	uint64_t cookie = fixture_cookie(f, "big") + 1;

	fixture_put_entry(f, 1, cookie, "big", f->small, DT_REG);
	fixture_put_reference(f, f->small, 1, cookie, "big");
	fixture_add(f, f->small, 1, 0, 0);
	fixture_add(f, 1, 0, 1, 0);
}

static void entry_without_inode(struct fixture *f)
{
	fixture_put_entry(f, 1, fixture_cookie(f, "gone"), "gone", f->gone, DT_REG);
	fixture_add(f, 1, 0, 1, 0);
}

static void wrong_type(struct fixture *f)
{
	fixture_put_entry(f, 1, fixture_cookie(f, "big"), "big", f->big, DT_FIFO);
}

static void entry_without_reference(struct fixture *f)
{
	fixture_remove_reference(f, f->small, 1, fixture_cookie(f, "small"));
	fixture_add(f, f->small, -1, 0, 0);
}

static void reference_without_entry(struct fixture *f)
{
	fixture_remove_entry(f, 1, fixture_cookie(f, "small"));
	fixture_add(f, 1, 0, -1, 0);
}

static void reference_with_another_name(struct fixture *f)
{
	fixture_put_reference(f, f->small, 1, fixture_cookie(f, "small"), "smell");
}

static void wrong_links(struct fixture *f)
{
	fixture_add(f, f->small, 1, 0, 0);
}

static void wrong_size(struct fixture *f)
{
	fixture_add(f, f->dir, 0, 1, 0);
}

static void wrong_subdirectories(struct fixture *f)
{
	fixture_add(f, f->dir, 0, 0, 1);
}

static void file_with_subdirectories(struct fixture *f)
{
	fixture_add(f, f->small, 0, 0, 1);
}

static void orphan_of_nothing(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_ORPHANS, KNOT_KIND_ORPHAN, 0, f->gone);
	fixture_put(f, &key, "", 0);
	fixture_add_state(f, 0, 1, 0);
}

static void orphan_with_names(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_ORPHANS, KNOT_KIND_ORPHAN, 0, f->small);
	fixture_put(f, &key, "", 0);
	fixture_add_state(f, 0, 1, 0);
}

static void orphan_not_listed(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_ORPHANS, KNOT_KIND_ORPHAN, 0, f->orphan);
	fixture_remove(f, &key);
	fixture_add_state(f, 0, -1, 0);
}

/* d moves from the root into itself. */
static void cycle(struct fixture *f)
{
	uint64_t cookie = fixture_cookie(f, "d");

	fixture_remove_entry(f, 1, cookie);
	fixture_remove_reference(f, f->dir, 1, cookie);
	fixture_add(f, 1, 0, -1, -1);
	fixture_put_entry(f, f->dir, cookie, "d", f->dir, DT_DIR);
	fixture_put_reference(f, f->dir, f->dir, cookie, "d");
	fixture_add(f, f->dir, 0, 1, 1);
}

/* The same, but its first name stays: that is what directory links are. */
static void second_name(struct fixture *f)
{
	uint64_t cookie = fixture_cookie(f, "d");

	fixture_put_entry(f, f->subdir, cookie, "d", f->dir, DT_DIR);
	fixture_put_reference(f, f->dir, f->subdir, cookie, "d");
	fixture_add(f, f->dir, 1, 0, 0);
	fixture_add(f, f->subdir, 0, 1, 1);
	fixture_add_state(f, 0, 0, 1);
}

static void no_root(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, 1, KNOT_KIND_INODE, 0, 0);
	fixture_remove(f, &key);
	fixture_add_state(f, -1, 0, 0);
}

/* ---- allocation ---- */

static void flip_header(struct fixture *f)
{
	fixture_flip(f, KNOT_GROUP_HEADER_AT, 3000);
}

static void wrong_group_size(struct fixture *f)
{
	struct knot_disk_group header;

	fixture_read(f, KNOT_GROUP_HEADER_AT, &header);
	header.pages = knot_put32(KNOT_GROUP_PAGES / 2);
	fixture_write_sealed(f, KNOT_GROUP_HEADER_AT, &header);
}

static void flip_checks(struct fixture *f)
{
	fixture_flip(f, KNOT_GROUP_CHECKS_AT + 2, 3000);
}

static void flip_table(struct fixture *f)
{
	fixture_flip(f, f->super.group_table_page, 70);
}

static void marked_free(struct fixture *f)
{
	fixture_mark(f, first_extent(f) + 1, false);
	fixture_mark(f, first_extent(f) + 2, false);
}

static void marked_used(struct fixture *f)
{
	fixture_mark(f, fixture_find_page(f, f->super.pages - 300, false), true);
}

static void change_table(struct fixture *f, int free_pages, int free_clusters)
{
	struct knot_disk_group_table table;
	struct knot_disk_group_entry *entry = &table.entries[0];

	fixture_read(f, f->super.group_table_page, &table);
	entry->free_pages = knot_put16((uint16_t)(knot_get16(entry->free_pages) + free_pages));
	entry->free_clusters = knot_put16((uint16_t)(knot_get16(entry->free_clusters) + free_clusters));
	fixture_write_sealed(f, f->super.group_table_page, &table);
}

static void wrong_free_pages(struct fixture *f)
{
	change_table(f, 1, 0);
}

static void wrong_free_clusters(struct fixture *f)
{
	change_table(f, 0, -1);
}

static void change_tree_cluster(struct fixture *f, uint64_t page_no)
{
	uint64_t cluster = page_no / KNOT_CLUSTER_PAGES;
	struct knot_disk_group header;

	fixture_read(f, KNOT_GROUP_HEADER_AT, &header);
	header.tree_clusters[cluster / 8] ^= (uint8_t)(1u << cluster % 8);
	fixture_write_sealed(f, KNOT_GROUP_HEADER_AT, &header);
}

static void cluster_not_tree(struct fixture *f)
{
	change_tree_cluster(f, f->super.root_page);
}

static void cluster_free(struct fixture *f)
{
	change_tree_cluster(f, f->super.pages - 1);
}

/* ---- contents ---- */

static void flip_data(struct fixture *f)
{
	fixture_flip(f, first_extent(f) + 3, 17);
}

static const struct damage damages[] = {
	{ "primary superblock", flip_primary, false, { KNOT_FSCK_SUPER_PRIMARY } },
	{ "spare superblock", flip_spare, false, { KNOT_FSCK_SUPER_SPARE } },
	{ "superblocks differ", change_spare, false, { KNOT_FSCK_SUPER_DIFFERS } },
	{ "state page", flip_state, false, { KNOT_FSCK_STATE_PAGE } },
	{ "too many groups", too_many_groups, false, { KNOT_FSCK_STATE_GROUPS } },
	{ "inode count", wrong_inode_count, false, { KNOT_FSCK_STATE_INODES } },
	{ "orphan count", wrong_orphan_count, false, { KNOT_FSCK_STATE_ORPHANS } },
	{ "second names", wrong_second_names, false, { KNOT_FSCK_STATE_SECOND_NAMES } },
	{ "leaf", flip_leaf, false, { KNOT_FSCK_TREE_PAGE } },
	{ "root page", flip_root, false, { KNOT_FSCK_TREE_PAGE } },
	{ "zero leaf", zero_leaf, false, { KNOT_FSCK_TREE_PAGE } },
	{ "child outside", child_outside, false, { KNOT_FSCK_TREE_OUTSIDE } },
	{ "child is fixed", child_fixed, false, { KNOT_FSCK_TREE_OUTSIDE } },
	{ "child twice", child_twice, false, { KNOT_FSCK_TREE_TWICE } },
	{ "child is the root", child_is_root, false, { KNOT_FSCK_TREE_TWICE } },
	{ "level", wrong_level, false, { KNOT_FSCK_TREE_LEVEL } },
	{ "stale leaf", stale_leaf, false, { KNOT_FSCK_TREE_STALE } },
	{ "stale root", stale_root, false, { KNOT_FSCK_TREE_STALE } },
	{ "swapped leaves", swap_leaves, false, { KNOT_FSCK_TREE_RANGE, KNOT_FSCK_TREE_RANGE } },
	{ "prefix", prefix_too_long, false, { KNOT_FSCK_TREE_PREFIX } },
	{ "one child", root_with_one_child, false, { KNOT_FSCK_TREE_FEW } },
	{ "future", page_from_the_future, false, { KNOT_FSCK_PAGE_FUTURE } },
	{ "unknown kind", unknown_kind, false, { KNOT_FSCK_ITEM_UNKNOWN } },
	{ "unknown object", unknown_object, false, { KNOT_FSCK_ITEM_UNKNOWN } },
	{ "inline offset", inline_with_offset, false, { KNOT_FSCK_ITEM_MALFORMED } },
	{ "orphan value", orphan_with_value, false, { KNOT_FSCK_ITEM_MALFORMED } },
	{ "nanoseconds", bad_nanoseconds, false, { KNOT_FSCK_INODE_VALUE } },
	{ "mode", bad_mode, false, { KNOT_FSCK_INODE_VALUE } },
	{ "no inode", inline_without_inode, false, { KNOT_FSCK_INODE_MISSING } },
	{ "inode number", number_not_given_out, false, { KNOT_FSCK_INODE_NUMBER } },
	{ "pages", wrong_pages, false, { KNOT_FSCK_INODE_PAGES } },
	{ "directory with data", directory_with_data, false, { KNOT_FSCK_INODE_NO_DATA } },
	{ "inline and extents", inline_and_extents, false, { KNOT_FSCK_INLINE_EXTENTS } },
	{ "inline too long", inline_too_long, false, { KNOT_FSCK_INLINE_LONG } },
	{ "extent value", extent_flags, false, { KNOT_FSCK_EXTENT_VALUE } },
	{ "extent outside", extent_outside, false, { KNOT_FSCK_EXTENT_OUTSIDE, KNOT_FSCK_MARKED_USED } },
	{ "extent in the log", extent_fixed, true, { KNOT_FSCK_EXTENT_OUTSIDE, KNOT_FSCK_MARKED_USED } },
	{ "extents overlap", extent_overlap, false, { KNOT_FSCK_EXTENT_OVERLAP } },
	{ "page twice", extent_twice, true, { KNOT_FSCK_EXTENT_TWICE, KNOT_FSCK_MARKED_USED } },
	{ "past the end", extent_past_end, false, { KNOT_FSCK_EXTENT_PAST_END } },
	{ "another's data", data_of_another_inode, false, { KNOT_FSCK_DATA_OBJECT, KNOT_FSCK_DATA_LOST } },
	{ "nobody's data", data_of_nobody, false, { KNOT_FSCK_DATA_LOST } },
	{ "data being freed", data_being_freed, false, { KNOT_FSCK_DATA_OBJECT } },
	{ "truncation", bad_truncation, false, { KNOT_FSCK_TRUNCATION } },
	{ "symlink", bad_symlink, false, { KNOT_FSCK_SYMLINK } },
	{ "entry value", entry_type_unknown, false, { KNOT_FSCK_ENTRY_VALUE } },
	{ "slash", name_with_slash, false, { KNOT_FSCK_ENTRY_NAME } },
	{ "dot dot", name_dot_dot, false, { KNOT_FSCK_ENTRY_NAME } },
	{ "hash", wrong_hash, false, { KNOT_FSCK_ENTRY_HASH } },
	{ "name twice", name_twice, false, { KNOT_FSCK_ENTRY_TWICE } },
	{ "entry without inode", entry_without_inode, false, { KNOT_FSCK_ENTRY_NO_INODE } },
	{ "type", wrong_type, false, { KNOT_FSCK_ENTRY_TYPE } },
	{ "no reference", entry_without_reference, false, { KNOT_FSCK_ENTRY_NO_REFERENCE } },
	{ "no entry", reference_without_entry, false, { KNOT_FSCK_REFERENCE_NO_ENTRY } },
	{ "names differ", reference_with_another_name, false, { KNOT_FSCK_REFERENCE_NAME } },
	{ "links", wrong_links, false, { KNOT_FSCK_LINKS } },
	{ "directory size", wrong_size, false, { KNOT_FSCK_DIR_SIZE } },
	{ "subdirectories", wrong_subdirectories, false, { KNOT_FSCK_DIR_SUBDIRECTORIES } },
	{ "file as directory", file_with_subdirectories, false, { KNOT_FSCK_NOT_A_DIR } },
	{ "orphan of nothing", orphan_of_nothing, false, { KNOT_FSCK_ORPHAN_NO_INODE } },
	{ "orphan with names", orphan_with_names, false, { KNOT_FSCK_ORPHAN_LINKED } },
	{ "orphan not listed", orphan_not_listed, false, { KNOT_FSCK_ORPHAN_MISSING } },
	{ "cycle", cycle, false, { KNOT_FSCK_UNREACHABLE } },
	{ "second name of a directory", second_name, false, { 0 } },
	{ "no root", no_root, false, { KNOT_FSCK_INODE_MISSING, KNOT_FSCK_ROOT } },
	{ "group header", flip_header, false, { KNOT_FSCK_GROUP_PAGE } },
	{ "group size", wrong_group_size, false, { KNOT_FSCK_GROUP_PAGES } },
	{ "check page", flip_checks, false, { KNOT_FSCK_CHECKS_PAGE } },
	{ "group table", flip_table, false, { KNOT_FSCK_TABLE_PAGE } },
	{ "marked free", marked_free, false, { KNOT_FSCK_MARKED_FREE } },
	{ "marked used", marked_used, false, { KNOT_FSCK_MARKED_USED } },
	{ "free pages", wrong_free_pages, false, { KNOT_FSCK_TABLE_FREE } },
	{ "free clusters", wrong_free_clusters, false, { KNOT_FSCK_TABLE_CLUSTERS } },
	{ "tree cluster not marked", cluster_not_tree, false, { KNOT_FSCK_CLUSTER_NOT_TREE } },
	{ "free cluster marked", cluster_free, false, { KNOT_FSCK_CLUSTER_FREE } },
	{ "contents", flip_data, true, { KNOT_FSCK_DATA_CHECK } },
	{ "contents, not scrubbed", flip_data, false, { 0 } },
};

static void each_damage_is_found_and_nothing_else_is_said(void **state)
{
	struct fixture *f = *state;

	for (unsigned i = 0; i < sizeof(damages) / sizeof(damages[0]); i++) {
		print_message("%s\n", damages[i].name);
		fixture_begin(f);
		damages[i].make(f);
		fixture_expect(f, damages[i].scrub, damages[i].expected);
		fixture_end(f);
	}
}

static void both_superblocks_lost_end_the_check(void **state)
{
	struct fixture *f = *state;

	fixture_begin(f);
	flip_primary(f);
	flip_spare(f);
	assert_int_equal(fixture_check_device(f, f->view, false), -EUCLEAN);
	assert_int_equal(f->found_count, 1);
	assert_int_equal(f->found[0], KNOT_FSCK_SUPER_LOST);
	fixture_end(f);
}

static void both_slots_lost_end_the_check(void **state)
{
	struct fixture *f = *state;

	fixture_begin(f);
	fixture_flip(f, f->super.segments[0].page_no, 20);
	fixture_flip(f, f->super.segments[0].page_no + 1, 20);
	assert_int_equal(fixture_check_device(f, f->view, false), -EUCLEAN);
	assert_int_equal(f->found_count, 1);
	assert_int_equal(f->found[0], KNOT_FSCK_LOG);
	fixture_end(f);
}

static void a_group_that_was_never_used_has_a_fresh_entry(void **state)
{
	static const enum knot_fsck_problem expected[] = { KNOT_FSCK_TABLE_UNUSED, 0 };
	const struct knot_mkfs_options mkfs = { .log_bytes = 1u << 20 };
	struct fixture *f = *state;
	struct knot_super super = f->super;
	struct knot_disk_group_table table;

	assert_int_equal(knot_device_open_memory(200u << 20, &f->view), 0);
	assert_int_equal(knot_mkfs(f->view, &mkfs, &f->super), 0);
	fixture_read(f, f->super.group_table_page, &table);
	table.entries[2].free_pages = knot_put16((uint16_t)(knot_get16(table.entries[2].free_pages) - 1));
	fixture_write_sealed(f, f->super.group_table_page, &table);
	fixture_expect(f, false, expected);
	fixture_end(f);
	f->super = super;
}

/* ---- a device that can't read some pages ---- */

struct bad_device {
	struct knot_device device;
	struct knot_device *base;
	uint64_t page_no;
};

static int bad_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct bad_device *bad = (struct bad_device *)device;
	uint64_t at = bad->page_no * KNOT_PAGE_BYTES;

	if (at_bytes <= at && at < at_bytes + len_bytes)
		return -EIO;
	return knot_device_read(bad->base, buffer, len_bytes, at_bytes);
}

static void pages_that_cannot_be_read_are_problems(void **state)
{
	static const struct knot_device_ops ops = { .read = bad_read };
	struct fixture *f = *state;
	struct bad_device bad = { .base = f->base };

	fixture_begin(f);
	bad.device = *f->base;
	bad.device.ops = &ops;
	const struct {
		uint64_t page_no;
		enum knot_fsck_problem expected;
	} cases[] = {
		{ first_extent(f) + 2, KNOT_FSCK_DATA_UNREADABLE },
		{ root_child(f, 1), KNOT_FSCK_TREE_PAGE },
		{ KNOT_GROUP_HEADER_AT, KNOT_FSCK_GROUP_PAGE },
		{ KNOT_SUPER_PAGE, KNOT_FSCK_SUPER_PRIMARY },
	};
	for (unsigned i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		f->found_count = 0;
		bad.page_no = cases[i].page_no;
		assert_int_equal(fixture_check_device(f, &bad.device, true), 0);
		assert_int_equal(f->found_count, 1);
		assert_int_equal(f->found[0], cases[i].expected);
	}
	fixture_end(f);
}

/* Whatever a page holds, the check ends and stays inside its memory (the sanitizers look). */
static void random_damage_ends_in_problems_not_in_crashes(void **state)
{
	struct fixture *f = *state;
	uint64_t random = 42;

	for (unsigned round = 0; round < 400; round++) {
		uint8_t page[KNOT_PAGE_BYTES];
		struct knot_disk_page_header *header = (struct knot_disk_page_header *)page;
		uint8_t root[KNOT_PAGE_BYTES];

		fixture_begin(f);
		fixture_read(f, f->super.root_page, root);
		for (unsigned i = 0; i < 4; i++) {
			random = random * 6364136223846793005ULL + 1442695040888963407ULL;
			unsigned slot = (unsigned)(random >> 33) % (knot_tree_page_count(root) + 1);
			uint64_t page_no = slot < knot_tree_page_count(root) ? root_child(f, slot) : f->super.root_page;

			fixture_read(f, page_no, page);
			for (unsigned k = 0; k < 3; k++) {
				random = random * 6364136223846793005ULL + 1442695040888963407ULL;
				page[sizeof(*header) + (random >> 33) % (KNOT_PAGE_BYTES - sizeof(*header))] =
					(uint8_t)(random >> 20);
			}
			if (page_no != f->super.root_page ||
			    knot_page_verify_shape(page, KNOT_PAGE_TREE) == KNOT_PAGE_OK)
				fixture_write_sealed(f, page_no, page);
			if (page_no == f->super.root_page)
				break;
		}
		const struct knot_fsck_options quiet = { .scrub = true };
		assert_int_equal(knot_fsck_run(f->view, &quiet, &f->report), 0);
		fixture_end(f);
	}
}

static void each_problem_was_provoked(void **state)
{
	const struct fixture *f = *state;
	unsigned count;
	const struct knot_fsck_problem_info *list = knot_fsck_problem_list(&count);

	for (unsigned i = 0; i < count; i++) {
		if (!f->provoked[list[i].problem])
			fail_msg("problem %d was not provoked", (int)list[i].problem);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(each_damage_is_found_and_nothing_else_is_said),
		cmocka_unit_test(both_superblocks_lost_end_the_check),
		cmocka_unit_test(both_slots_lost_end_the_check),
		cmocka_unit_test(a_group_that_was_never_used_has_a_fresh_entry),
		cmocka_unit_test(pages_that_cannot_be_read_are_problems),
		cmocka_unit_test(random_damage_ends_in_problems_not_in_crashes),
		cmocka_unit_test(each_problem_was_provoked),
	};

	return cmocka_run_group_tests(tests, fixture_set_up, fixture_tear_down);
}
