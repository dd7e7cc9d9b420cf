/* SPDX-License-Identifier: MIT */
/* Volumes whose pages verify but lie: an error for what they hit, and nothing worse. */
#include "vfs_fixture.h"

#include "fs/disk/page.h"
#include "fs/disk/super.h"
#include "fs/tree/tree.h"
#include "fs/util/endian.h"

#define OFFSET_HIGH_AT 9u /* in a key, big-endian */

/* Everything home, as a power cut leaves it. */
static void put_down(struct fixture *fixture)
{
	assert_int_equal(knot_vfs_checkpoint(fixture->volume, NULL), 0);
	knot_volume_abandon(fixture->volume);
	fixture->volume = NULL;
}

/* The last item of (object, kind), on the page it is on, to be changed by the caller and put back. */
struct found_item {
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];
	struct knot_super super;
	uint64_t page_no;
	uint8_t *key; /* its suffix */
	size_t prefix_bytes;
};

static uint8_t *item_at(uint8_t *page, unsigned slot)
{
	return page + knot_get16(((const struct knot_disk_tree_page *)(const void *)page)->slots[slot]);
}

static void find_last_item(struct fixture *fixture, uint64_t object, uint8_t kind, struct found_item *found)
{
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];
	bool read_only;

	found->page_no = 0;
	assert_int_equal(knot_super_read(fixture->device, &fixture->messages, &found->super, &read_only), 0);
	for (uint64_t no = 0; no < found->super.pages; no++) {
		knot_device_read(fixture->device, page, sizeof(page), no * KNOT_PAGE_BYTES);
		if (knot_page_verify(&found->super.seal, page, no, KNOT_PAGE_TREE) != KNOT_PAGE_OK ||
		    knot_tree_page_level(page) != 0)
			continue;
		for (unsigned slot = 0; slot < knot_tree_page_count(page); slot++) {
			struct knot_key key;

			knot_tree_page_key(page, slot, &key);
			if (knot_key_object(&key) != object || knot_key_kind(&key) != kind)
				continue;
			found->page_no = no;
			memcpy(found->page, page, sizeof(page));
			found->key = item_at(found->page, slot);
		}
	}
	assert_true(found->page_no);
	found->prefix_bytes = knot_get16(((const struct knot_disk_tree_page *)(const void *)found->page)->prefix_bytes);
}

static void put_back(struct fixture *fixture, struct found_item *found)
{
	knot_page_seal(&found->super.seal, found->page);
	assert_int_equal(
		knot_device_write(fixture->device, found->page, sizeof(found->page), found->page_no * KNOT_PAGE_BYTES),
		0);
}

/* Make the offset of the last item of (object, kind) larger than any that is ever given. */
static void lengthen_last_key(struct fixture *fixture, uint64_t object, uint8_t kind)
{
	struct found_item found;

	find_last_item(fixture, object, kind, &found);
	assert_true(found.prefix_bytes <= OFFSET_HIGH_AT);
	found.key[OFFSET_HIGH_AT - found.prefix_bytes] = 1;
	put_back(fixture, &found);
}

static void extent_under_a_key_that_is_too_long_is_damage(void **state)
{
	struct fixture *fixture = *state;
	uint64_t inode;
	const struct knot_attr empty = { .size = 0 };
	struct knot_attr attr;
	char buffer[64];
	size_t got;

	assert_int_equal(make_file(fixture, ROOT, "file", &inode), 0);
	for (uint64_t page = 2; page < 20; page += 4)
		assert_int_equal(knot_vfs_write(fixture->volume, NULL, inode, page * KNOT_PAGE_BYTES, 4, "data", false),
				 0);
	put_down(fixture);
	lengthen_last_key(fixture, inode, KNOT_KIND_EXTENT);
	fixture_open(fixture);
	assert_int_equal(knot_vfs_read(fixture->volume, NULL, inode, 2 * KNOT_PAGE_BYTES, 4, buffer, &got), 0);
	assert_int_equal(knot_vfs_read(fixture->volume, NULL, inode, 18 * KNOT_PAGE_BYTES, 4, buffer, &got), -EUCLEAN);
	(void)knot_vfs_setattr(fixture->volume, NULL, inode, KNOT_SET_SIZE, &empty, &attr); /* may be noticed later */
	(void)unlink_name(fixture, ROOT, "file");
	(void)knot_volume_close(fixture->volume);
	fixture->volume = NULL;
}

static void impossible_orphan_does_not_keep_the_reclaimer_busy(void **state)
{
	struct fixture *fixture = *state;

	for (int i = 0; i < 2; i++) {
		struct knot_attr attr;

		assert_int_equal(make_file(fixture, ROOT, "file", NULL), 0);
		assert_int_equal(hold(fixture, ROOT, "file", &attr), 0);
		assert_int_equal(unlink_name(fixture, ROOT, "file"), 0);
	}
	put_down(fixture);
	lengthen_last_key(fixture, KNOT_OBJECT_ORPHANS, KNOT_KIND_ORPHAN);
	fixture_open(fixture);
	assert_int_equal(fixture->errors_said, 0);
	assert_int_equal(knot_volume_tick(fixture->volume, true), 0);
	assert_int_equal(fixture->errors_said, 1);
	assert_int_equal(knot_volume_tick(fixture->volume, true), 0);
	assert_int_equal(fixture->errors_said, 1);
}

static int ignore_entry(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type,
			uint64_t next_offset, const struct knot_attr *attr)
{
	(void)name;
	(void)inode;
	(void)type;
	(void)attr;
	assert_in_range(name_bytes, 1, KNOT_NAME_BYTES_MAX);
	*(uint64_t *)arg = next_offset;
	return 0;
}

static void names_that_no_file_can_have_are_not_listed(void **state)
{
	static const char *const names[] = { "a/c", "..", "." };
	struct fixture *fixture = *state;

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct found_item found;
		uint64_t dir, offset = 0;

		assert_int_equal(make_dir(fixture, ROOT, "dir", &dir), 0);
		assert_int_equal(make_file(fixture, dir, i == 0 ? "abc" : i == 1 ? "ab" : "a", NULL), 0);
		put_down(fixture);
		find_last_item(fixture, dir, KNOT_KIND_ENTRY, &found);
		memcpy(found.key + KNOT_KEY_BYTES - found.prefix_bytes + sizeof(knot_le16) +
			       sizeof(struct knot_disk_entry),
		       names[i], strlen(names[i]));
		put_back(fixture, &found);
		fixture_open(fixture);
		assert_int_equal(knot_vfs_readdir(fixture->volume, NULL, dir, 0, true, ignore_entry, &offset), 0);
		assert_int_equal(offset, 2); /* the dots were fine */
		assert_int_equal(knot_vfs_readdir(fixture->volume, NULL, dir, offset, true, ignore_entry, &offset),
				 -EUCLEAN);
		assert_int_equal(rename_name(fixture, ROOT, "dir", ROOT, i == 0 ? "x" : i == 1 ? "y" : "z", 0), 0);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(names_that_no_file_can_have_are_not_listed, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(extent_under_a_key_that_is_too_long_is_damage, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(impossible_orphan_does_not_keep_the_reclaimer_busy, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
