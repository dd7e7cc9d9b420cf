/* SPDX-License-Identifier: MIT */
/*
 * A small populated volume in memory, and ways to damage a view of it: pages are patched and sealed again, items put
 * and removed behind the file system's back. For the tests of fsck.
 */
#ifndef KNOT_TESTS_FSCK_FIXTURE_H
#define KNOT_TESTS_FSCK_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/tree/tree_page_int.h"
#include "fs/util/endian.h"
#include "fsck/fsck.h"
#include "mkfs/format.h"

#include <knotfs/knotfs.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FIXTURE_BYTES  (16u << 20)
#define FIXTURE_MANY   200u
#define PROBLEMS_MAX   64u
#define PROBLEM_NUMBER 1000u

struct fixture {
	struct knot_device *base;
	struct knot_super super;
	uint64_t dir, subdir, small, big, symlink, orphan, gone; /* inode numbers; gone: used once */
	bool provoked[PROBLEM_NUMBER];

	/* one check */
	struct knot_device *view; /* of base; writes are forgotten */
	struct knot_fsck_report report;
	enum knot_fsck_problem found[PROBLEMS_MAX];
	unsigned found_count;
	char lines[4096];
};

static inline struct knot_time fixture_now(void *arg)
{
	(void)arg;
	return (struct knot_time){ .sec = 1000000000 };
}

static inline struct knot_volume *fixture_open(struct knot_device *device)
{
	const struct knot_volume_options options = {
		.device = device,
		.cache_bytes = 4u << 20,
		.log_buffer_bytes = 1u << 20,
		.commit_policy = 1,
		.now = fixture_now,
	};
	struct knot_volume *volume;

	assert_int_equal(knot_volume_open(&options, &volume), 0);
	return volume;
}

static inline uint64_t fixture_make(struct knot_volume *volume, uint64_t parent, const char *name, uint32_t mode)
{
	struct knot_attr attr;

	if (S_ISDIR(mode))
		assert_int_equal(knot_vfs_mkdir(volume, NULL, parent, name, strlen(name), mode, &attr), 0);
	else
		assert_int_equal(knot_vfs_mknod(volume, NULL, parent, name, strlen(name), mode, 0, &attr), 0);
	return attr.inode;
}

static inline void fixture_write(struct knot_volume *volume, uint64_t inode, uint64_t at, size_t len_bytes)
{
	uint8_t bytes[KNOT_PAGE_BYTES];

	for (size_t i = 0; i < sizeof(bytes); i++)
		bytes[i] = (uint8_t)(i * 31 + inode);
	for (size_t done = 0, step; done < len_bytes; done += step) {
		step = len_bytes - done < sizeof(bytes) ? len_bytes - done : sizeof(bytes);
		assert_int_equal(knot_vfs_write(volume, NULL, inode, at + done, step, bytes, false), 0);
	}
}

/*
 *  d/          small -- d/small2 (one inode)   big: pages 0 to 7, hole, 16 to 19   link -> small
 *  d/e/        many/0 .. many/199              an orphan; one inode number that was used and is not any more
 */
static inline void fixture_populate(struct fixture *f, struct knot_volume *volume)
{
	struct knot_attr attr;
	uint64_t many;
	char name[16];

	f->dir = fixture_make(volume, 1, "d", S_IFDIR | 0755);
	f->subdir = fixture_make(volume, f->dir, "e", S_IFDIR | 0755);
	f->small = fixture_make(volume, 1, "small", S_IFREG | 0644);
	fixture_write(volume, f->small, 0, 100);
	assert_int_equal(knot_vfs_link(volume, NULL, f->small, f->dir, "small2", 6, &attr), 0);
	f->big = fixture_make(volume, 1, "big", S_IFREG | 0644);
	fixture_write(volume, f->big, 0, 8 * KNOT_PAGE_BYTES);
	fixture_write(volume, f->big, 16 * KNOT_PAGE_BYTES, 4 * KNOT_PAGE_BYTES);
	assert_int_equal(knot_vfs_symlink(volume, NULL, 1, "link", 4, "small", 5, &attr), 0);
	f->symlink = attr.inode;
	f->gone = fixture_make(volume, 1, "gone", S_IFREG | 0644);
	assert_int_equal(knot_vfs_unlink(volume, NULL, 1, "gone", 4), 0);
	knot_vfs_forget(volume, NULL, f->gone, 1);
	many = fixture_make(volume, 1, "many", S_IFDIR | 0755);
	for (unsigned i = 0; i < FIXTURE_MANY; i++) {
		snprintf(name, sizeof(name), "%u", i);
		fixture_write(volume, fixture_make(volume, many, name, S_IFREG | 0600), 0, i + 1);
	}
	f->orphan = fixture_make(volume, 1, "orphan", S_IFREG | 0644);
	fixture_write(volume, f->orphan, 0, 3 * KNOT_PAGE_BYTES);
	assert_int_equal(knot_vfs_syncfs(volume, NULL), 0);
	assert_int_equal(knot_vfs_unlink(volume, NULL, 1, "orphan", 6), 0);
	assert_int_equal(knot_vfs_syncfs(volume, NULL), 0);
}

/* ---- the view and its check ---- */

static inline void fixture_begin(struct fixture *f)
{
	f->found_count = 0;
	f->lines[0] = '\0';
	assert_int_equal(knot_device_open_overlay(f->base, &f->view), 0);
}

static inline void fixture_end(struct fixture *f)
{
	knot_device_close(f->view);
	f->view = NULL;
}

static inline void fixture_found(void *arg, enum knot_fsck_problem problem, const char *line)
{
	struct fixture *f = arg;
	size_t used = strlen(f->lines);

	assert_true(f->found_count < PROBLEMS_MAX && problem < PROBLEM_NUMBER);
	f->found[f->found_count++] = problem;
	f->provoked[problem] = true;
	snprintf(f->lines + used, sizeof(f->lines) - used, "  %d %s\n", (int)problem, line);
}

static inline int fixture_check_device(struct fixture *f, struct knot_device *device, bool scrub)
{
	const struct knot_fsck_options options = { .found = fixture_found, .found_arg = f, .scrub = scrub };

	return knot_fsck_run(device, &options, &f->report);
}

/* The check finds exactly these, in any order. `expected` ends with 0. */
static inline void fixture_expect(struct fixture *f, bool scrub, const enum knot_fsck_problem *expected)
{
	unsigned missing = 0, count = 0;

	f->found_count = 0;
	f->lines[0] = '\0';
	assert_int_equal(fixture_check_device(f, f->view, scrub), 0);
	for (; expected[count]; count++) {
		unsigned wanted = 0, found = 0;

		for (unsigned i = 0; expected[i]; i++)
			wanted += expected[i] == expected[count];
		for (unsigned i = 0; i < f->found_count; i++)
			found += f->found[i] == expected[count];
		missing += wanted != found;
	}
	if (missing || count != f->found_count)
		fail_msg("expected %u problems, the first %d; found\n%s", count, (int)expected[0], f->lines);
	assert_int_equal(f->report.problems, count);
}

/* ---- pages ---- */

static inline void fixture_read(struct fixture *f, uint64_t page_no, void *page)
{
	assert_int_equal(knot_device_read(f->view, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES), 0);
}

static inline void fixture_write_raw(struct fixture *f, uint64_t page_no, const void *page)
{
	assert_int_equal(knot_device_write(f->view, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES), 0);
}

static inline void fixture_write_sealed(struct fixture *f, uint64_t page_no, void *page)
{
	knot_page_seal(&f->super.seal, page);
	fixture_write_raw(f, page_no, page);
}

static inline void fixture_flip(struct fixture *f, uint64_t page_no, size_t at)
{
	uint8_t page[KNOT_PAGE_BYTES];

	fixture_read(f, page_no, page);
	page[at] ^= 0x10;
	fixture_write_raw(f, page_no, page);
}

/* ---- the tree ---- */

/* The leaf that is responsible for the key; its number. */
static inline uint64_t fixture_leaf(struct fixture *f, const struct knot_key *key, uint8_t *page)
{
	uint64_t page_no = f->super.root_page, generation;
	bool found;

	fixture_read(f, page_no, page);
	while (knot_tree_page_level(page) > 0) {
		unsigned slot = knot_tree_page_find(page, key, &found);

		knot_tree_page_child(page, found ? slot : slot - 1, &page_no, &generation);
		fixture_read(f, page_no, page);
	}
	return page_no;
}

static inline void fixture_remove(struct fixture *f, const struct knot_key *key)
{
	uint8_t page[KNOT_PAGE_BYTES];
	uint64_t page_no = fixture_leaf(f, key, page);
	bool found;
	unsigned slot = knot_tree_page_find(page, key, &found);

	assert_true(found);
	knot_tree_page_remove(page, slot);
	fixture_write_sealed(f, page_no, page);
}

/* Insert or replace. */
static inline void fixture_put(struct fixture *f, const struct knot_key *key, const void *value, size_t len_bytes)
{
	const struct knot_tree_item item = { .key = *key, .payload = value, .payload_bytes = len_bytes };
	uint8_t page[KNOT_PAGE_BYTES];
	uint64_t page_no = fixture_leaf(f, key, page);
	bool found;
	unsigned slot = knot_tree_page_find(page, key, &found);

	if (found)
		knot_tree_page_remove(page, slot);
	assert_true(knot_tree_page_covers(page, key) && knot_tree_page_fits(page, len_bytes));
	knot_tree_page_insert(page, slot, &item);
	fixture_write_sealed(f, page_no, page);
}

static inline size_t fixture_get(struct fixture *f, const struct knot_key *key, uint8_t *value)
{
	uint8_t page[KNOT_PAGE_BYTES];
	const void *found_value;
	size_t len_bytes;
	bool found;

	fixture_leaf(f, key, page);
	unsigned slot = knot_tree_page_find(page, key, &found);
	assert_true(found);
	knot_tree_page_value(page, slot, &found_value, &len_bytes);
	memcpy(value, found_value, len_bytes);
	return len_bytes;
}

static inline void fixture_get_inode(struct fixture *f, uint64_t inode, struct knot_disk_inode *disk)
{
	uint8_t value[KNOT_VALUE_BYTES_MAX];
	struct knot_key key;

	knot_key_make(&key, inode, KNOT_KIND_INODE, 0, 0);
	assert_int_equal(fixture_get(f, &key, value), sizeof(*disk));
	memcpy(disk, value, sizeof(*disk));
}

static inline void fixture_put_inode(struct fixture *f, uint64_t inode, const struct knot_disk_inode *disk)
{
	struct knot_key key;

	knot_key_make(&key, inode, KNOT_KIND_INODE, 0, 0);
	fixture_put(f, &key, disk, sizeof(*disk));
}

/* ---- names ---- */

static inline uint64_t fixture_cookie(const struct fixture *f, const char *name)
{
	uint8_t out[crypto_shorthash_siphash24_BYTES];
	knot_le64 value;

	crypto_shorthash_siphash24(out, (const uint8_t *)name, strlen(name), f->super.hash_seed);
	memcpy(&value, out, sizeof(value));
	return knot_get64(value) >> 9 << 8;
}

static inline void fixture_put_entry(struct fixture *f, uint64_t dir, uint64_t cookie, const char *name, uint64_t child,
				     uint8_t type)
{
	uint8_t value[sizeof(struct knot_disk_entry) + KNOT_NAME_BYTES_MAX] = { 0 };
	struct knot_disk_entry *entry = (struct knot_disk_entry *)value;
	struct knot_key key;

	entry->inode = knot_put64(child);
	entry->type = type;
	memcpy(value + sizeof(*entry), name, strlen(name));
	knot_key_make(&key, dir, KNOT_KIND_ENTRY, 0, cookie);
	fixture_put(f, &key, value, sizeof(*entry) + strlen(name));
}

static inline void fixture_put_reference(struct fixture *f, uint64_t child, uint64_t dir, uint64_t cookie,
					 const char *name)
{
	struct knot_key key;

	knot_key_make(&key, child, KNOT_KIND_PARENT_LINK, dir, cookie);
	fixture_put(f, &key, name, strlen(name));
}

static inline void fixture_remove_entry(struct fixture *f, uint64_t dir, uint64_t cookie)
{
	struct knot_key key;

	knot_key_make(&key, dir, KNOT_KIND_ENTRY, 0, cookie);
	fixture_remove(f, &key);
}

static inline void fixture_remove_reference(struct fixture *f, uint64_t child, uint64_t dir, uint64_t cookie)
{
	struct knot_key key;

	knot_key_make(&key, child, KNOT_KIND_PARENT_LINK, dir, cookie);
	fixture_remove(f, &key);
}

/* Add to links, size and subdirectories. */
static inline void fixture_add(struct fixture *f, uint64_t inode, int links, int size, int subdirectories)
{
	struct knot_disk_inode disk;

	fixture_get_inode(f, inode, &disk);
	disk.links = knot_put32(knot_get32(disk.links) + (uint32_t)links);
	disk.size = knot_put64(knot_get64(disk.size) + (uint64_t)(int64_t)size);
	disk.subdirectories = knot_put32(knot_get32(disk.subdirectories) + (uint32_t)subdirectories);
	fixture_put_inode(f, inode, &disk);
}

/* ---- counts ---- */

static inline void fixture_add_state(struct fixture *f, int inodes, int orphans, int second_names)
{
	struct knot_disk_state state;

	fixture_read(f, f->super.state_page, &state);
	state.inodes = knot_put64(knot_get64(state.inodes) + (uint64_t)(int64_t)inodes);
	state.orphans = knot_put64(knot_get64(state.orphans) + (uint64_t)(int64_t)orphans);
	state.second_names = knot_put64(knot_get64(state.second_names) + (uint64_t)(int64_t)second_names);
	fixture_write_sealed(f, f->super.state_page, &state);
}

/* Set or clear a page's bit in group 0, with all counts. */
static inline void fixture_mark(struct fixture *f, uint64_t page_no, bool in_use)
{
	struct knot_disk_group_table table;
	struct knot_disk_group header;
	uint32_t clusters = 0, free_pages = 0;
	uint8_t bit = (uint8_t)(1u << page_no % 8);
	uint64_t word;

	fixture_read(f, KNOT_GROUP_HEADER_AT, &header);
	header.bitmap[page_no / 8] =
		(uint8_t)(in_use ? header.bitmap[page_no / 8] | bit : header.bitmap[page_no / 8] & ~bit);
	for (size_t at = 0; at < sizeof(header.bitmap); at += sizeof(word)) {
		memcpy(&word, header.bitmap + at, sizeof(word));
		clusters += word == 0;
		free_pages += 64u - (uint32_t)__builtin_popcountll(word);
	}
	header.free_pages = knot_put32(free_pages);
	fixture_write_sealed(f, KNOT_GROUP_HEADER_AT, &header);
	fixture_read(f, f->super.group_table_page, &table);
	table.entries[0].free_pages = knot_put16((uint16_t)free_pages);
	table.entries[0].free_clusters = knot_put16((uint16_t)clusters);
	fixture_write_sealed(f, f->super.group_table_page, &table);
}

/* A page of group 0 that is in use (not: free). */
static inline uint64_t fixture_find_page(struct fixture *f, uint64_t from, bool in_use)
{
	struct knot_disk_group header;
	uint64_t page_no = from;

	fixture_read(f, KNOT_GROUP_HEADER_AT, &header);
	while ((header.bitmap[page_no / 8] >> page_no % 8 & 1) != in_use)
		page_no++;
	assert_true(page_no < f->super.pages);
	return page_no;
}

/* ---- set up ---- */

static inline int fixture_set_up(void **state)
{
	const struct knot_mkfs_options mkfs = { .log_bytes = 1u << 20, .time_sec = 1000000000 };
	const struct knot_fsck_options replay = { .replay_in_place = true };
	struct fixture *f = calloc(1, sizeof(*f));
	struct knot_volume *volume;

	assert_non_null(f);
	assert_int_equal(knot_device_open_memory(FIXTURE_BYTES, &f->base), 0);
	assert_int_equal(knot_mkfs(f->base, &mkfs, &f->super), 0);
	volume = fixture_open(f->base);
	fixture_populate(f, volume);
	knot_volume_abandon(volume);
	assert_int_equal(knot_fsck_run(f->base, &replay, &f->report), 0);
	assert_int_equal(f->report.problems, 0);
	*state = f;
	return 0;
}

static inline int fixture_tear_down(void **state)
{
	struct fixture *f = *state;

	knot_device_close(f->base);
	free(f);
	return 0;
}

#endif
