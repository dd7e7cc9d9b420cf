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

/* Make the offsets of the last item of (object, kind) larger than any that are ever given. */
static void lengthen_last_key(struct fixture *fixture, uint64_t object, uint8_t kind)
{
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];
	const struct knot_disk_tree_page *tree = (const void *)page;
	struct knot_super super;
	uint64_t found_page = 0;
	unsigned found_slot = 0;
	bool read_only;

	assert_int_equal(knot_super_read(fixture->device, &fixture->messages, &super, &read_only), 0);
	for (uint64_t no = 0; no < super.pages; no++) {
		knot_device_read(fixture->device, page, sizeof(page), no * KNOT_PAGE_BYTES);
		if (knot_page_verify(&super.seal, page, no, KNOT_PAGE_TREE) != KNOT_PAGE_OK ||
		    knot_tree_page_level(page) != 0)
			continue;
		for (unsigned slot = 0; slot < knot_tree_page_count(page); slot++) {
			struct knot_key key;

			knot_tree_page_key(page, slot, &key);
			if (knot_key_object(&key) != object || knot_key_kind(&key) != kind)
				continue;
			found_page = no;
			found_slot = slot;
		}
	}
	assert_true(found_page);
	knot_device_read(fixture->device, page, sizeof(page), found_page * KNOT_PAGE_BYTES);
	assert_true(knot_get16(tree->prefix_bytes) <= OFFSET_HIGH_AT);
	page[knot_get16(tree->slots[found_slot]) + OFFSET_HIGH_AT - knot_get16(tree->prefix_bytes)] = 1;
	knot_page_seal(&super.seal, page);
	assert_int_equal(knot_device_write(fixture->device, page, sizeof(page), found_page * KNOT_PAGE_BYTES), 0);
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
		assert_int_equal(knot_vfs_write(fixture->volume, NULL, inode, page * KNOT_PAGE_BYTES, 4, "data", false), 0);
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

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(extent_under_a_key_that_is_too_long_is_damage, fixture_setup,
						fixture_teardown),
		cmocka_unit_test_setup_teardown(impossible_orphan_does_not_keep_the_reclaimer_busy, fixture_setup,
						fixture_teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
