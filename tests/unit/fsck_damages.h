/* SPDX-License-Identifier: MIT */
/* Kinds of damage to superblock, tree and data. Those to names and allocation are in test_fsck_damage.c. */
#ifndef KNOT_TESTS_FSCK_DAMAGES_H
#define KNOT_TESTS_FSCK_DAMAGES_H

#include "tests/unit/fsck_fixture.h"

/* ---- superblock and state ---- */

static inline void flip_primary(struct fixture *f)
{
	fixture_flip(f, KNOT_SUPER_PAGE, 180);
}

static inline void flip_spare(struct fixture *f)
{
	fixture_flip(f, KNOT_SUPER_SPARE_PAGE, 180);
}

static inline void change_spare(struct fixture *f)
{
	struct knot_disk_superblock disk;

	fixture_read(f, KNOT_SUPER_SPARE_PAGE, &disk);
	disk.label[0] = 'x';
	fixture_write_sealed(f, KNOT_SUPER_SPARE_PAGE, &disk);
}

static inline void flip_state(struct fixture *f)
{
	fixture_flip(f, f->super.state_page, 80);
}

static inline void too_many_groups(struct fixture *f)
{
	struct knot_disk_state state;

	fixture_read(f, f->super.state_page, &state);
	state.groups_initialised = knot_put64(f->super.groups + 1);
	fixture_write_sealed(f, f->super.state_page, &state);
}

static inline void wrong_inode_count(struct fixture *f)
{
	fixture_add_state(f, 1, 0, 0);
}

static inline void wrong_orphan_count(struct fixture *f)
{
	fixture_add_state(f, 0, 1, 0);
}

static inline void wrong_second_names(struct fixture *f)
{
	fixture_add_state(f, 0, 0, 1);
}

/* ---- the tree ---- */

static inline uint64_t root_child(struct fixture *f, unsigned slot)
{
	uint8_t root[KNOT_PAGE_BYTES];
	uint64_t page_no, generation;

	fixture_read(f, f->super.root_page, root);
	assert_true(knot_tree_page_level(root) == 1 && knot_tree_page_count(root) > 3);
	knot_tree_page_child(root, slot, &page_no, &generation);
	return page_no;
}

/* Point the root's slot elsewhere; generation 0: as it is. */
static inline void set_root_child(struct fixture *f, unsigned slot, uint64_t page_no, uint64_t generation)
{
	uint8_t root[KNOT_PAGE_BYTES];
	uint64_t old_page_no, old_generation;

	fixture_read(f, f->super.root_page, root);
	knot_tree_page_child(root, slot, &old_page_no, &old_generation);
	knot_tree_page_set_child(root, slot, page_no, generation ? generation : old_generation);
	fixture_write_sealed(f, f->super.root_page, root);
}

static inline void flip_leaf(struct fixture *f)
{
	fixture_flip(f, root_child(f, 1), 4000);
}

static inline void flip_root(struct fixture *f)
{
	fixture_flip(f, f->super.root_page, 4000);
}

static inline void zero_leaf(struct fixture *f)
{
	const uint8_t zeros[KNOT_PAGE_BYTES] = { 0 };

	fixture_write_raw(f, root_child(f, 2), zeros);
}

static inline void child_outside(struct fixture *f)
{
	set_root_child(f, 1, f->super.pages + 7, 0);
}

static inline void child_fixed(struct fixture *f)
{
	set_root_child(f, 1, f->super.segments[0].page_no + 3, 0);
}

static inline void child_twice(struct fixture *f)
{
	set_root_child(f, 2, root_child(f, 1), 0);
}

static inline void child_is_root(struct fixture *f)
{
	set_root_child(f, 2, f->super.root_page, 0);
}

static inline void wrong_level(struct fixture *f)
{
	const struct knot_disk_child child = { .page_no = knot_put64(77), .generation = knot_put64(1) };
	struct knot_tree_item item = { .payload = &child, .payload_bytes = sizeof(child) };
	uint8_t page[KNOT_PAGE_BYTES];
	uint64_t page_no = root_child(f, 1);

	fixture_read(f, page_no, page);
	knot_tree_page_key(page, 0, &item.key);
	knot_tree_page_reset(page, 1, 0, &item.key);
	knot_tree_page_insert(page, 0, &item);
	fixture_write_sealed(f, page_no, page);
}

static inline void stale_leaf(struct fixture *f)
{
	set_root_child(f, 1, root_child(f, 1), 12345);
}

static inline void stale_root(struct fixture *f)
{
	struct knot_disk_state state;

	fixture_read(f, f->super.state_page, &state);
	state.root_generation = knot_put64(knot_get64(state.root_generation) + 1);
	fixture_write_sealed(f, f->super.state_page, &state);
}

static inline void swap_leaves(struct fixture *f)
{
	uint8_t root[KNOT_PAGE_BYTES];
	uint64_t pages[2], generations[2];

	fixture_read(f, f->super.root_page, root);
	for (unsigned i = 0; i < 2; i++)
		knot_tree_page_child(root, i + 1, &pages[i], &generations[i]);
	for (unsigned i = 0; i < 2; i++)
		knot_tree_page_set_child(root, i + 1, pages[1 - i], generations[1 - i]);
	fixture_write_sealed(f, f->super.root_page, root);
}

/* The rightmost leaf's range has no end, so its keys share nothing. */
static inline void prefix_too_long(struct fixture *f)
{
	uint8_t root[KNOT_PAGE_BYTES], page[KNOT_PAGE_BYTES], old[KNOT_PAGE_BYTES];
	struct knot_tree_item item;
	uint64_t page_no;

	fixture_read(f, f->super.root_page, root);
	page_no = root_child(f, knot_tree_page_count(root) - 1);
	fixture_read(f, page_no, page);
	memcpy(old, page, sizeof(old));
	assert_int_equal(knot_tree_page_prefix(old), 0);
	knot_tree_page_item(old, 0, &item);
	knot_tree_page_reset(page, 0, 5, &item.key);
	for (unsigned i = 0; i < knot_tree_page_count(old); i++) {
		knot_tree_page_item(old, i, &item);
		knot_tree_page_insert(page, i, &item);
	}
	fixture_write_sealed(f, page_no, page);
}

/* A level more, with a single page on it. */
static inline void root_with_one_child(struct fixture *f)
{
	const struct knot_key lowest = { { 0 } };
	uint64_t page_no = fixture_find_page(f, f->super.root_page, false);
	uint8_t root[KNOT_PAGE_BYTES];
	struct knot_disk_page_header *header = (struct knot_disk_page_header *)root;

	fixture_read(f, f->super.root_page, root);
	const struct knot_disk_child child = { .page_no = knot_put64(page_no), .generation = header->generation };
	const struct knot_tree_item item = { .key = lowest, .payload = &child, .payload_bytes = sizeof(child) };
	header->page_no = knot_put64(page_no);
	fixture_write_sealed(f, page_no, root);
	fixture_mark(f, page_no, true);
	header->page_no = knot_put64(f->super.root_page);
	knot_tree_page_reset(root, 2, 0, &lowest);
	knot_tree_page_insert(root, 0, &item);
	fixture_write_sealed(f, f->super.root_page, root);
}

static inline void page_from_the_future(struct fixture *f)
{
	struct knot_disk_page_header *header;
	uint8_t page[KNOT_PAGE_BYTES];

	fixture_read(f, KNOT_GROUP_HEADER_AT, page);
	header = (struct knot_disk_page_header *)page;
	header->lsn = knot_put64(1ULL << 50);
	fixture_write_sealed(f, KNOT_GROUP_HEADER_AT, page);
}

static inline void unknown_kind(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, f->small, 200, 0, 0);
	fixture_put(f, &key, "x", 1);
}

static inline void unknown_object(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_FIRST_FREE - 1, KNOT_KIND_ENTRY, 0, 5000);
	fixture_put(f, &key, "x", 1);
}

static inline void inline_with_offset(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, f->small, KNOT_KIND_INLINE, 0, 1);
	fixture_put(f, &key, "x", 1);
}

static inline void orphan_with_value(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_ORPHANS, KNOT_KIND_ORPHAN, 0, f->gone);
	fixture_put(f, &key, "x", 1);
}

/* ---- inodes and data ---- */

static inline void bad_nanoseconds(struct fixture *f)
{
	struct knot_disk_inode disk;

	fixture_get_inode(f, f->small, &disk);
	disk.mtime.nsec = knot_put32(1000000000);
	fixture_put_inode(f, f->small, &disk);
}

static inline void bad_mode(struct fixture *f)
{
	struct knot_disk_inode disk;

	fixture_get_inode(f, f->small, &disk);
	disk.mode = knot_put32(0644);
	fixture_put_inode(f, f->small, &disk);
}

static inline void inline_without_inode(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, f->gone, KNOT_KIND_INLINE, 0, 0);
	fixture_put(f, &key, "x", 1);
}

static inline void number_not_given_out(struct fixture *f)
{
	struct knot_disk_state state;

	fixture_read(f, f->super.state_page, &state);
	assert_int_equal(knot_get64(state.next_inode), f->orphan + 1);
	state.next_inode = knot_put64(f->orphan);
	fixture_write_sealed(f, f->super.state_page, &state);
}

static inline void wrong_pages(struct fixture *f)
{
	struct knot_disk_inode disk;

	fixture_get_inode(f, f->big, &disk);
	disk.pages = knot_put64(knot_get64(disk.pages) + 1);
	fixture_put_inode(f, f->big, &disk);
}

static inline void directory_with_data(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, f->subdir, KNOT_KIND_INLINE, 0, 0);
	fixture_put(f, &key, "x", 1);
}

static inline void inline_and_extents(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, f->big, KNOT_KIND_INLINE, 0, 0);
	fixture_put(f, &key, "x", 1);
}

static inline void inline_too_long(struct fixture *f)
{
	fixture_add(f, f->small, 0, -1, 0);
}

static inline void change_extent(struct fixture *f, uint64_t file_page, uint64_t to_file_page, uint64_t page_no,
				 uint32_t flags)
{
	struct knot_disk_extent disk;
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	struct knot_key key;

	knot_key_make(&key, f->big, KNOT_KIND_EXTENT, 0, file_page);
	assert_int_equal(fixture_get(f, &key, value), sizeof(disk));
	fixture_remove(f, &key);
	memcpy(&disk, value, sizeof(disk));
	if (page_no)
		disk.page_no = knot_put64(page_no);
	disk.flags = knot_put32(flags);
	knot_key_make(&key, f->big, KNOT_KIND_EXTENT, 0, to_file_page);
	fixture_put(f, &key, &disk, sizeof(disk));
}

static inline uint64_t first_extent(struct fixture *f)
{
	struct knot_disk_extent disk;
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	struct knot_key key;

	knot_key_make(&key, f->big, KNOT_KIND_EXTENT, 0, 0);
	assert_int_equal(fixture_get(f, &key, value), sizeof(disk));
	memcpy(&disk, value, sizeof(disk));
	return knot_get64(disk.page_no);
}

static inline void extent_flags(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, f->symlink, KNOT_KIND_EXTENT, 0, 7);
	fixture_put(f, &key, "short", 5);
}

static inline void extent_outside(struct fixture *f)
{
	change_extent(f, 16, 16, f->super.pages - 1, 0);
}

static inline void extent_fixed(struct fixture *f)
{
	change_extent(f, 16, 16, f->super.segments[0].page_no, 0);
}

static inline void extent_overlap(struct fixture *f)
{
	change_extent(f, 16, 2, 0, 0);
}

static inline void extent_twice(struct fixture *f)
{
	change_extent(f, 16, 16, first_extent(f), 0);
}

static inline void extent_past_end(struct fixture *f)
{
	fixture_add(f, f->big, 0, -16 * (int)KNOT_PAGE_BYTES, 0);
}

static inline void set_data_object(struct fixture *f, uint64_t object, bool empty)
{
	struct knot_disk_inode disk;

	fixture_get_inode(f, f->big, &disk);
	disk.data_object = knot_put64(object);
	if (empty)
		disk.pages = disk.size = knot_put64(0);
	fixture_put_inode(f, f->big, &disk);
}

static inline void data_of_another_inode(struct fixture *f)
{
	set_data_object(f, f->small, true);
}

static inline void data_of_nobody(struct fixture *f)
{
	set_data_object(f, f->gone, true);
}

static inline void data_being_freed(struct fixture *f)
{
	const struct knot_disk_truncation item = { .inode = knot_put64(0) };
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_TRUNCATIONS, KNOT_KIND_TRUNCATION, 0, f->big);
	fixture_put(f, &key, &item, sizeof(item));
}

static inline void bad_truncation(struct fixture *f)
{
	struct knot_key key;

	knot_key_make(&key, KNOT_OBJECT_TRUNCATIONS, KNOT_KIND_TRUNCATION, 0, f->big);
	fixture_put(f, &key, "short", 5);
}

static inline void bad_symlink(struct fixture *f)
{
	fixture_add(f, f->symlink, 0, 1, 0);
}

#endif
