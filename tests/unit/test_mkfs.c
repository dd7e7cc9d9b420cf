/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>
#include <sys/stat.h>

#include "fs/util/endian.h"
#include "mkfs/format.h"

#define MIB         (1ULL << 20)
#define GROUP_BYTES ((uint64_t)KNOT_GROUP_PAGES * KNOT_PAGE_BYTES)

static const uint8_t salt[16] = "salt of a test";

/* ---- a device of any size that holds zeros, and remembers what is written in an overlay ---- */

static int read_zeros(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	(void)device;
	(void)at_bytes;
	memset(buffer, 0, len_bytes);
	return 0;
}

static const struct knot_device_ops zero_ops = { .read = read_zeros };

struct big_device {
	struct knot_device zeros;
	struct knot_device *device;
};

static void open_big(struct big_device *big, uint64_t size_bytes, uint32_t write_unit_bytes)
{
	big->zeros = (struct knot_device){ .ops = &zero_ops,
					   .size_bytes = size_bytes,
					   .write_unit_bytes = write_unit_bytes };
	assert_int_equal(knot_device_open_overlay(&big->zeros, &big->device), 0);
}

/* ---- checks of a whole volume ---- */

static void read_page(struct knot_device *device, uint64_t page_no, void *page)
{
	assert_int_equal(knot_device_read(device, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES), 0);
}

static void read_good_page(struct knot_device *device, const struct knot_super *super, uint64_t page_no,
			   enum knot_page_type type, void *page)
{
	const struct knot_disk_page_header *header = page;

	read_page(device, page_no, page);
	assert_string_equal(knot_page_fault_name(knot_page_verify(&super->seal, page, page_no, type)), "good");
	assert_int_equal(knot_get64(header->lsn), KNOT_LSN_FIRST);
	assert_int_equal(knot_get64(header->generation), KNOT_LSN_FIRST);
}

static bool page_should_be_used(const struct knot_super *super, uint64_t page_no)
{
	return page_no == super->root_page || knot_super_page_is_fixed(super, page_no);
}

static uint32_t count_free_clusters(const struct knot_super *super, uint64_t group)
{
	uint64_t first = group * KNOT_GROUP_PAGES, end = first + knot_super_group_pages(super, group);
	uint32_t count = 0;

	for (uint64_t cluster = first; cluster + KNOT_CLUSTER_PAGES <= end; cluster += KNOT_CLUSTER_PAGES) {
		bool is_free = true;

		for (uint64_t page = cluster; page < cluster + KNOT_CLUSTER_PAGES && is_free; page++)
			is_free = !page_should_be_used(super, page);
		count += is_free;
	}
	return count;
}

static void check_group(struct knot_device *device, const struct knot_super *super, uint64_t group,
			const struct knot_disk_group_entry *entry)
{
	static const uint8_t zeros[sizeof(((struct knot_disk_checks *)0)->entries)];
	uint64_t first = group * KNOT_GROUP_PAGES;
	uint32_t pages = knot_super_group_pages(super, group), free_pages = 0;
	struct knot_disk_checks checks;
	struct knot_disk_group header;

	read_good_page(device, super, first + KNOT_GROUP_HEADER_AT, KNOT_PAGE_GROUP, &header);
	assert_int_equal(knot_get32(header.pages), pages);
	for (uint32_t i = 0; i < pages; i++) {
		bool is_set = header.bitmap[i / 8] >> (i % 8) & 1;

		assert_int_equal(is_set, page_should_be_used(super, first + i));
		free_pages += !is_set;
	}
	assert_int_equal(knot_get32(header.free_pages), free_pages);
	assert_int_equal(knot_get16(entry->free_pages), free_pages);
	assert_int_equal(knot_get16(entry->free_clusters), count_free_clusters(super, group));
	for (uint32_t i = 0; i < KNOT_GROUP_CLUSTERS; i++) {
		bool is_root = super->root_page / KNOT_CLUSTER_PAGES == first / KNOT_CLUSTER_PAGES + i;

		assert_int_equal(header.tree_clusters[i / 8] >> (i % 8) & 1, is_root);
	}
	for (uint32_t i = 0; i < super->group_check_pages; i++) {
		read_good_page(device, super, first + KNOT_GROUP_CHECKS_AT + i, KNOT_PAGE_CHECKS, &checks);
		assert_memory_equal(checks.entries, zeros, sizeof(zeros));
	}
}

/* An entry of a group that nobody has used: only header and check pages are taken. */
static void check_unused_group(struct knot_device *device, const struct knot_super *super, uint64_t group,
			       const struct knot_disk_group_entry *entry)
{
	uint32_t pages = knot_super_group_pages(super, group);
	uint8_t page[KNOT_PAGE_BYTES];

	assert_int_equal(knot_get16(entry->free_pages), pages - 1 - super->group_check_pages);
	assert_int_equal(knot_get16(entry->free_clusters), pages / KNOT_CLUSTER_PAGES - 1);
	read_page(device, group * KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT, page);
	assert_int_equal(knot_page_verify(&super->seal, page, 1, KNOT_PAGE_GROUP), KNOT_PAGE_ALL_ZERO);
}

static void check_groups(struct knot_device *device, const struct knot_super *super, uint64_t initialised)
{
	struct knot_disk_group_table table;

	for (uint64_t group = 0; group < super->group_table_pages * KNOT_GROUPS_PER_TABLE_PAGE; group++) {
		uint64_t at = group % KNOT_GROUPS_PER_TABLE_PAGE;

		if (at == 0)
			read_good_page(device, super, super->group_table_page + group / KNOT_GROUPS_PER_TABLE_PAGE,
				       KNOT_PAGE_GROUP_TABLE, &table);
		if (group < initialised)
			check_group(device, super, group, &table.entries[at]);
		else if (group < super->groups)
			check_unused_group(device, super, group, &table.entries[at]);
		else
			assert_int_equal(knot_get16(table.entries[at].free_pages), 0);
	}
}

static void check_log(struct knot_device *device, const struct knot_super *super, uint64_t initialised)
{
	static const uint8_t zeros[KNOT_PAGE_BYTES];
	const struct knot_disk_slot *slot;
	uint8_t page[KNOT_PAGE_BYTES];
	uint64_t unit = super->log_write_unit_bytes / KNOT_PAGE_BYTES, at = 0;

	for (uint32_t i = 0; i < super->segment_count; i++) {
		const struct knot_segment *segment = &super->segments[i];

		assert_true(segment->page_no / KNOT_GROUP_PAGES < initialised);
		assert_int_equal(segment->page_no / KNOT_GROUP_PAGES,
				 (segment->page_no + segment->pages - 1) / KNOT_GROUP_PAGES);
		assert_int_equal((segment->page_no + (i ? 0 : KNOT_LOG_SLOTS)) % unit, 0);
		for (uint64_t k = 0; k < segment->pages; k++, at++) {
			read_page(device, segment->page_no + k, page);
			if (at >= KNOT_LOG_SLOTS)
				assert_memory_equal(page, zeros, sizeof(zeros));
		}
	}
	assert_int_equal((at - KNOT_LOG_SLOTS) % unit, 0);

	read_page(device, super->segments[0].page_no, page);
	slot = (const struct knot_disk_slot *)page;
	assert_int_equal(knot_get32(slot->magic), KNOT_SLOT_MAGIC);
	assert_int_equal(knot_get64(slot->checkpoint_lsn), KNOT_LSN_FIRST);
	assert_int_equal(knot_get32(slot->flags) & KNOT_SLOT_CLEAN, KNOT_SLOT_CLEAN);
}

static void check_tree(struct knot_device *device, const struct knot_super *super)
{
	static const uint8_t key[KNOT_KEY_BYTES] = { [7] = KNOT_OBJECT_ROOT, [8] = KNOT_KIND_INODE };
	uint8_t page[KNOT_PAGE_BYTES];
	const struct knot_disk_tree_page *tree = (const struct knot_disk_tree_page *)page;
	const struct knot_disk_inode *inode;

	read_good_page(device, super, super->root_page, KNOT_PAGE_TREE, page);
	assert_int_equal(super->root_page % KNOT_CLUSTER_PAGES, 0);
	assert_int_equal(knot_get16(tree->level), 0);
	assert_int_equal(knot_get16(tree->count), 1);
	assert_memory_equal(page + knot_get16(tree->heap_at), key, sizeof(key));
	inode = (const struct knot_disk_inode *)(page + knot_get16(tree->heap_at) + sizeof(key) + 2);
	assert_int_equal(knot_get32(inode->mode) & S_IFMT, S_IFDIR);
	assert_int_equal(knot_get32(inode->links), 1);
	assert_int_equal(knot_get64(inode->data_object), KNOT_OBJECT_ROOT);
	assert_int_equal(knot_get64(inode->size), 0);
}

static void check_volume(struct knot_device *device, const struct knot_super *written)
{
	struct knot_disk_state state;
	struct knot_super super;
	uint64_t initialised;
	bool read_only;

	assert_int_equal(knot_super_read(device, NULL, &super, &read_only), 0);
	assert_memory_equal(super.segments, written->segments, sizeof(super.segments));
	assert_int_equal(super.pages, written->pages);
	assert_int_equal(super.seal.crc_seed, written->seal.crc_seed);

	read_good_page(device, &super, super.state_page, KNOT_PAGE_STATE, &state);
	assert_int_equal(knot_get64(state.next_inode), KNOT_OBJECT_FIRST_FREE);
	assert_int_equal(knot_get64(state.inodes), 1);
	assert_int_equal(knot_get64(state.root_generation), KNOT_LSN_FIRST);
	initialised = knot_get64(state.groups_initialised);
	check_groups(device, &super, initialised);
	check_log(device, &super, initialised);
	check_tree(device, &super);
}

static void format_and_check(uint64_t size_bytes, uint32_t write_unit_bytes, const struct knot_mkfs_options *options,
			     struct knot_super *super)
{
	struct big_device big;

	open_big(&big, size_bytes, write_unit_bytes);
	assert_int_equal(knot_mkfs(big.device, options, super), 0);
	check_volume(big.device, super);
	knot_device_close(big.device);
}

static uint64_t log_pages(const struct knot_super *super)
{
	uint64_t pages = 0;

	for (uint32_t i = 0; i < super->segment_count; i++)
		pages += super->segments[i].pages;
	return pages;
}

/* ---- tests ---- */

static void volumes_of_all_sizes_are_consistent(void **state)
{
	static const uint64_t sizes[] = {
		16 * MIB,
		16 * MIB + 4096,
		17 * MIB + 12345 / 512 * 512,
		GROUP_BYTES - 4096,
		GROUP_BYTES,
		GROUP_BYTES + 4096,
		GROUP_BYTES + (uint64_t)(KNOT_GROUP_PAGES_MIN - 1) * KNOT_PAGE_BYTES,
		GROUP_BYTES + (uint64_t)KNOT_GROUP_PAGES_MIN * KNOT_PAGE_BYTES,
		5 * GROUP_BYTES + 300 * 4096,
		1009 * GROUP_BYTES,
	};
	struct knot_mkfs_options options = { .salt = salt };
	struct knot_super super;

	(void)state;
	for (unsigned i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		format_and_check(sizes[i], 4096, &options, &super);
		assert_int_equal(super.pages, sizes[i] / KNOT_PAGE_BYTES);
	}
}

static void largest_volumes_are_written_sparsely(void **state)
{
	struct knot_mkfs_options options = { .salt = salt };
	struct knot_super super;

	(void)state;
	format_and_check(16ULL << 40, 4096, &options, &super);
	assert_int_equal(super.groups, 262144);
	assert_int_equal(super.group_table_pages, 261);
	assert_int_equal(log_pages(&super), 64 * MIB / KNOT_PAGE_BYTES);
}

static void too_small_and_too_large_devices_are_refused(void **state)
{
	struct knot_mkfs_options options = { .salt = salt };
	struct knot_super super;

	(void)state;
	assert_int_equal(knot_mkfs_plan(16 * MIB - 512, 4096, &options, &super), -ENOSPC);
	assert_int_equal(knot_mkfs_plan(0, 4096, &options, &super), -ENOSPC);
	assert_int_equal(knot_mkfs_plan(512ULL << 40, 4096, &options, &super), 0);
	assert_int_equal(knot_mkfs_plan(1ULL << 50, 4096, &options, &super), -EFBIG);
	assert_int_equal(knot_mkfs_plan(UINT64_MAX, 4096, &options, &super), -EFBIG);
}

static void default_log_follows_the_volume(void **state)
{
	struct knot_mkfs_options options = { .salt = salt };
	struct knot_super super;

	(void)state;
	assert_int_equal(knot_mkfs_plan(16 * MIB, 4096, &options, &super), 0);
	assert_int_equal(log_pages(&super), 512);
	assert_int_equal(super.segment_count, 1);
	assert_int_equal(knot_mkfs_plan(256 * MIB, 4096, &options, &super), 0);
	assert_int_equal(log_pages(&super), 4096);
	assert_int_equal(super.segment_count, 1);
	assert_int_equal(knot_mkfs_plan(100ULL << 30, 4096, &options, &super), 0);
	assert_int_equal(log_pages(&super), 16384);
	assert_int_equal(super.segment_count, 2);
}

static void smallest_log_is_accepted(void **state)
{
	struct knot_mkfs_options options = { .salt = salt, .log_bytes = KNOT_LOG_PAGES_MIN * KNOT_PAGE_BYTES };
	struct knot_super super;

	(void)state;
	format_and_check(16 * MIB, 4096, &options, &super);
	assert_int_equal(log_pages(&super), KNOT_LOG_PAGES_MIN);
	options.log_bytes -= KNOT_PAGE_BYTES;
	assert_int_equal(knot_mkfs_plan(16 * MIB, 4096, &options, &super), -EINVAL);
	options.log_bytes = 9 * MIB;
	assert_int_equal(knot_mkfs_plan(16 * MIB, 4096, &options, &super), -EINVAL);
}

static void segments_are_even_and_spread_over_groups(void **state)
{
	struct knot_mkfs_options options = { .salt = salt, .log_bytes = 1 * MIB, .log_segments = 3 };
	struct knot_super super;

	(void)state;
	format_and_check(16 * MIB, 4096, &options, &super);
	assert_int_equal(super.segment_count, 3);
	assert_int_equal(log_pages(&super), 256);
	for (uint32_t i = 0; i < 3; i++)
		assert_in_range(super.segments[i].pages, 84, 87);

	format_and_check(8 * GROUP_BYTES, 4096, &options, &super);
	for (uint32_t i = 0; i < 3; i++)
		assert_int_equal(super.segments[i].page_no / KNOT_GROUP_PAGES, i);

	options.log_segments = KNOT_LOG_SEGMENTS_MAX;
	format_and_check(8 * GROUP_BYTES, 4096, &options, &super);
	assert_int_equal(super.segment_count, KNOT_LOG_SEGMENTS_MAX);
	options.log_segments++;
	assert_int_equal(knot_mkfs_plan(8 * GROUP_BYTES, 4096, &options, &super), -EINVAL);
}

static void huge_log_takes_as_many_segments_as_it_needs(void **state)
{
	struct knot_mkfs_options options = { .salt = salt, .log_bytes = 200 * MIB };
	struct knot_super super;

	(void)state;
	format_and_check(100 * GROUP_BYTES, 4096, &options, &super);
	assert_int_equal(log_pages(&super), 200 * MIB / KNOT_PAGE_BYTES);
	assert_int_equal(super.segment_count, 4);
	options.log_segments = 2;
	assert_int_equal(knot_mkfs_plan(100 * GROUP_BYTES, 4096, &options, &super), -EINVAL);
	options.log_segments = 0;
	options.log_bytes = 8ULL << 30;
	assert_int_equal(knot_mkfs_plan(1ULL << 40, 4096, &options, &super), -EINVAL);
}

static void write_units_of_the_device_shape_the_log(void **state)
{
	static const uint32_t units[] = { 512, 4096, 8192, 16384, 65536, 1u << 20 };
	struct knot_mkfs_options options = { .salt = salt, .log_bytes = 1 * MIB };
	struct knot_super super;

	(void)state;
	for (unsigned i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		uint32_t expected = units[i] < 4096 ? 4096 : units[i] > 65536 ? 65536 : units[i];

		options.log_segments = 0;
		format_and_check(200 * MIB, units[i], &options, &super);
		assert_int_equal(super.log_write_unit_bytes, expected);
		options.log_segments = 3;
		format_and_check(200 * MIB, units[i], &options, &super);
	}
}

static void options_reach_the_volume(void **state)
{
	static const uint8_t uuid[16] = "uuid of a test";
	struct knot_mkfs_options options = {
		.salt = salt,
		.uuid = uuid,
		.hash_seed = salt,
		.label = "a volume",
		.root_uid = 1000,
		.root_gid = 100,
		.root_permissions = 01777,
		.time_sec = -5,
		.time_nsec = 999999999,
	};
	uint8_t page[KNOT_PAGE_BYTES];
	const struct knot_disk_inode *inode = (const struct knot_disk_inode *)(page + KNOT_PAGE_BYTES - sizeof(*inode));
	struct knot_device *device;
	struct knot_super super;

	(void)state;
	assert_int_equal(knot_device_open_memory(16 * MIB, &device), 0);
	assert_int_equal(knot_mkfs(device, &options, &super), 0);
	assert_memory_equal(super.uuid, uuid, 16);
	assert_memory_equal(super.salt, salt, 16);
	assert_memory_equal(super.hash_seed, salt, 16);
	assert_string_equal(super.label, "a volume");
	read_page(device, super.root_page, page);
	assert_int_equal(knot_get32(inode->mode), S_IFDIR | 01777);
	assert_int_equal(knot_get32(inode->uid), 1000);
	assert_int_equal(knot_get32(inode->gid), 100);
	assert_int_equal((int64_t)knot_get64(inode->btime.sec), -5);
	assert_int_equal(knot_get32(inode->mtime.nsec), 999999999);
	knot_device_close(device);

	options.label = "0123456789012345678901234567890123456789012345678901234567890123";
	assert_int_equal(knot_mkfs_plan(16 * MIB, 4096, &options, &super), -EINVAL);
}

static void same_options_give_the_same_bytes(void **state)
{
	struct knot_mkfs_options options = { .salt = salt, .uuid = salt, .hash_seed = salt };
	struct knot_device *a, *b;
	uint8_t page_a[KNOT_PAGE_BYTES], page_b[KNOT_PAGE_BYTES];

	(void)state;
	assert_int_equal(knot_device_open_memory(16 * MIB, &a), 0);
	assert_int_equal(knot_device_open_memory(16 * MIB, &b), 0);
	assert_int_equal(knot_mkfs(a, &options, NULL), 0);
	assert_int_equal(knot_mkfs(b, &options, NULL), 0);
	for (uint64_t page = 0; page < KNOT_VOLUME_PAGES_MIN; page++) {
		read_page(a, page, page_a);
		read_page(b, page, page_b);
		assert_memory_equal(page_a, page_b, KNOT_PAGE_BYTES);
	}
	knot_device_close(a);
	knot_device_close(b);
}

/* ---- power cuts and errors: the n-th write fails, what was written before it stays ---- */

struct failing_device {
	struct knot_device device;
	struct knot_device *base;
	unsigned writes_left;
};

static int failing_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	return knot_device_read(((struct failing_device *)device)->base, buffer, len_bytes, at_bytes);
}

static int failing_writev(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	struct failing_device *failing = (struct failing_device *)device;

	if (failing->writes_left == 0)
		return -EIO;
	failing->writes_left--;
	return knot_device_writev(failing->base, iov, iov_count, at_bytes);
}

static int failing_flush(struct knot_device *device)
{
	return ((struct failing_device *)device)->writes_left ? 0 : -EIO;
}

static void volume_that_was_not_finished_is_none(void **state)
{
	static const struct knot_device_ops ops = { .read = failing_read,
						    .writev = failing_writev,
						    .flush = failing_flush };
	struct failing_device failing = { .device = { .ops = &ops, .size_bytes = 16 * MIB, .write_unit_bytes = 4096 } };
	struct knot_mkfs_options old_options = { .salt = (const uint8_t *)"an older volume.", .label = "old" };
	struct knot_mkfs_options options = { .salt = salt, .label = "new" };
	struct knot_super super;
	bool read_only;
	int err = -EIO;

	(void)state;
	for (unsigned writes = 0; err; writes++) {
		assert_true(writes < 1000);
		assert_int_equal(knot_device_open_memory(16 * MIB, &failing.base), 0);
		assert_int_equal(knot_mkfs(failing.base, &old_options, NULL), 0);
		failing.writes_left = writes;
		err = knot_mkfs(&failing.device, &options, NULL);
		assert_true(err == 0 || err == -EIO);

		int read_err = knot_super_read(failing.base, NULL, &super, &read_only);
		if (writes < 2)
			assert_string_equal(super.label, "old");
		else if (read_err)
			assert_int_equal(read_err, -EMEDIUMTYPE);
		else
			check_volume(failing.base, &super);
		if (writes >= 2 && !read_err)
			assert_string_equal(super.label, "new");
		if (!err)
			assert_int_equal(read_err, 0);
		knot_device_close(failing.base);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volumes_of_all_sizes_are_consistent),
		cmocka_unit_test(largest_volumes_are_written_sparsely),
		cmocka_unit_test(too_small_and_too_large_devices_are_refused),
		cmocka_unit_test(default_log_follows_the_volume),
		cmocka_unit_test(smallest_log_is_accepted),
		cmocka_unit_test(segments_are_even_and_spread_over_groups),
		cmocka_unit_test(huge_log_takes_as_many_segments_as_it_needs),
		cmocka_unit_test(write_units_of_the_device_shape_the_log),
		cmocka_unit_test(options_reach_the_volume),
		cmocka_unit_test(same_options_give_the_same_bytes),
		cmocka_unit_test(volume_that_was_not_finished_is_none),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
