/* SPDX-License-Identifier: MIT */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <errno.h>

#include "fs/disk/super.h"
#include "fs/util/endian.h"

#define VOLUME_PAGES (KNOT_GROUP_PAGES + 300u)

/* A device with a volume's superblocks, and the last message. */
struct fixture {
	struct knot_device *device;
	struct knot_super super;
	struct knot_messages messages;
	char line[256];
	enum knot_severity severity;
};

static void keep_line(void *arg, enum knot_severity severity, const char *line)
{
	struct fixture *f = arg;

	snprintf(f->line, sizeof(f->line), "%s", line);
	f->severity = severity;
}

static void open_fixture(struct fixture *f)
{
	*f = (struct fixture){ .super = {
				       .uuid = "uuid",
				       .salt = "salt",
				       .hash_seed = "seed",
				       .label = "a label",
				       .pages = VOLUME_PAGES,
				       .check_entry_bytes = KNOT_CHECK_BYTES_CRC32C,
				       .log_write_unit_bytes = KNOT_PAGE_BYTES,
				       .state_page = 19,
				       .root_page = 64,
				       .group_table_page = 20,
				       .group_table_pages = 1,
				       .segments_version = 1,
				       .segment_count = 2,
				       .segments = { { 128, 256 }, { KNOT_GROUP_PAGES + 19, 100 } },
				       .created_sec = 1700000000,
				       .created_nsec = 5,
			       } };
	f->messages = (struct knot_messages){ .emit = keep_line, .arg = f, .volume = "image" };
	knot_super_derive(&f->super);
	assert_int_equal(knot_device_open_memory((uint64_t)VOLUME_PAGES * KNOT_PAGE_BYTES, &f->device), 0);
	assert_int_equal(knot_super_write(f->device, &f->super), 0);
}

static int read_super(struct fixture *f, struct knot_super *super)
{
	bool read_only = true;

	f->line[0] = 0;
	int err = knot_super_read(f->device, &f->messages, super, &read_only);
	if (!err)
		assert_false(read_only);
	return err;
}

static void fill_page(struct fixture *f, uint64_t page_no, int fill)
{
	uint8_t page[KNOT_PAGE_BYTES];

	memset(page, fill, sizeof(page));
	assert_int_equal(knot_device_write(f->device, page, sizeof(page), page_no * KNOT_PAGE_BYTES), 0);
}

static void flip_byte(struct fixture *f, uint64_t page_no, unsigned at)
{
	uint8_t page[KNOT_PAGE_BYTES];

	assert_int_equal(knot_device_read(f->device, page, sizeof(page), page_no * KNOT_PAGE_BYTES), 0);
	page[at] ^= 0xff;
	assert_int_equal(knot_device_write(f->device, page, sizeof(page), page_no * KNOT_PAGE_BYTES), 0);
}

/* Both copies, changed by `change` and sealed again. */
static void rewrite(struct fixture *f, void (*change)(struct knot_disk_superblock *disk))
{
	static const uint64_t places[] = { KNOT_SUPER_PAGE, KNOT_SUPER_SPARE_PAGE };

	for (unsigned i = 0; i < 2; i++) {
		struct knot_disk_superblock disk;

		knot_super_encode(&f->super, places[i], &disk);
		change(&disk);
		knot_page_seal(&f->super.seal, &disk);
		assert_int_equal(knot_device_write(f->device, &disk, sizeof(disk), places[i] * KNOT_PAGE_BYTES), 0);
	}
}

static void what_was_written_is_read_back(void **state)
{
	struct knot_super super;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	assert_int_equal(read_super(&f, &super), 0);
	assert_string_equal(f.line, "");
	assert_memory_equal(super.uuid, f.super.uuid, 16);
	assert_memory_equal(super.salt, f.super.salt, 16);
	assert_memory_equal(super.hash_seed, f.super.hash_seed, 16);
	assert_string_equal(super.label, "a label");
	assert_int_equal(super.pages, VOLUME_PAGES);
	assert_int_equal(super.groups, 2);
	assert_int_equal(super.group_check_pages, 17);
	assert_int_equal(super.checks_per_page, 1008);
	assert_int_equal(super.seal.crc_seed, f.super.seal.crc_seed);
	assert_int_equal(super.segment_count, 2);
	assert_int_equal(super.segments[1].page_no, KNOT_GROUP_PAGES + 19);
	assert_int_equal(super.segments[1].pages, 100);
	assert_int_equal(super.created_sec, 1700000000);
	knot_device_close(f.device);
}

static void groups_below_the_minimum_do_not_exist(void **state)
{
	struct knot_super super = { .check_entry_bytes = 4, .pages = KNOT_GROUP_PAGES + KNOT_GROUP_PAGES_MIN - 1 };

	(void)state;
	knot_super_derive(&super);
	assert_int_equal(super.groups, 1);
	super.pages++;
	knot_super_derive(&super);
	assert_int_equal(super.groups, 2);
	assert_int_equal(knot_super_group_pages(&super, 0), KNOT_GROUP_PAGES);
	assert_int_equal(knot_super_group_pages(&super, 1), KNOT_GROUP_PAGES_MIN);
}

static void fixed_pages_are_known(void **state)
{
	static const uint64_t fixed[] = { 0, 1, 18, 19, 20, 128, 383, 2048, 16385, 16402, 16403, 16502 };
	static const uint64_t others[] = { 21, 63, 64, 127, 384, 2047, 2049, 16384, 16503 };
	struct fixture f;

	(void)state;
	open_fixture(&f);
	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++)
		assert_true(knot_super_page_is_fixed(&f.super, fixed[i]));
	for (unsigned i = 0; i < sizeof(others) / sizeof(others[0]); i++)
		assert_false(knot_super_page_is_fixed(&f.super, others[i]));
	knot_device_close(f.device);
}

static void spare_stands_in_for_a_damaged_primary(void **state)
{
	struct knot_super super;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	flip_byte(&f, KNOT_SUPER_PAGE, 300);
	assert_int_equal(read_super(&f, &super), 0);
	assert_int_equal(f.severity, KNOT_WARNING);
	assert_non_null(strstr(f.line, "image: the superblock is damaged; its spare"));

	fill_page(&f, KNOT_SUPER_PAGE, 0);
	assert_int_equal(read_super(&f, &super), 0);
	assert_int_equal(super.pages, VOLUME_PAGES);

	flip_byte(&f, KNOT_SUPER_SPARE_PAGE, 300);
	assert_int_equal(read_super(&f, &super), -EUCLEAN);
	assert_int_equal(f.severity, KNOT_ERROR);
	knot_device_close(f.device);
}

static void other_contents_are_not_a_volume(void **state)
{
	struct knot_super super;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	fill_page(&f, KNOT_SUPER_PAGE, 0xe5);
	assert_int_equal(read_super(&f, &super), -EMEDIUMTYPE);
	assert_string_equal(f.line, "image: not a knotfs volume");
	fill_page(&f, KNOT_SUPER_PAGE, 0);
	fill_page(&f, KNOT_SUPER_SPARE_PAGE, 0);
	assert_int_equal(read_super(&f, &super), -EMEDIUMTYPE);
	knot_device_close(f.device);

	assert_int_equal(knot_device_open_memory(512, &f.device), 0);
	assert_int_equal(read_super(&f, &super), -EMEDIUMTYPE);
	knot_device_close(f.device);
}

static void truncated_image_is_told(void **state)
{
	uint8_t page[KNOT_PAGE_BYTES];
	struct knot_device *whole;
	struct knot_super super;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	whole = f.device;
	assert_int_equal(knot_device_read(whole, page, sizeof(page), 0), 0);
	assert_int_equal(knot_device_open_memory((uint64_t)(VOLUME_PAGES - 1) * KNOT_PAGE_BYTES, &f.device), 0);
	assert_int_equal(knot_device_write(f.device, page, sizeof(page), 0), 0);
	assert_int_equal(read_super(&f, &super), -ENOSPC);
	assert_non_null(strstr(f.line, "truncated"));
	knot_device_close(f.device);
	knot_device_close(whole);
}

static void set_newer(struct knot_disk_superblock *disk)
{
	disk->version_major = knot_put32(2);
	disk->pages = knot_put64(1);
}

static void set_snapshots(struct knot_disk_superblock *disk)
{
	disk->incompat = knot_put64(KNOT_INCOMPAT_SNAPSHOTS);
}

static void set_unknown_log(struct knot_disk_superblock *disk)
{
	disk->log_incompat = knot_put64(1ULL << 40);
}

static void set_encryption(struct knot_disk_superblock *disk)
{
	disk->encryption_type = knot_put16(KNOT_ENCRYPTION_AES256GCM);
}

static void unknown_features_are_refused_by_name(void **state)
{
	struct knot_super super;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	rewrite(&f, set_newer);
	assert_int_equal(read_super(&f, &super), -EPROTONOSUPPORT);
	assert_non_null(strstr(f.line, "version 2.0"));
	rewrite(&f, set_snapshots);
	assert_int_equal(read_super(&f, &super), -EPROTONOSUPPORT);
	assert_non_null(strstr(f.line, "snapshots"));
	rewrite(&f, set_unknown_log);
	assert_int_equal(read_super(&f, &super), -EPROTONOSUPPORT);
	assert_non_null(strstr(f.line, "feature bit 40 of the log"));
	rewrite(&f, set_encryption);
	assert_int_equal(read_super(&f, &super), -EPROTONOSUPPORT);
	knot_device_close(f.device);
}

static void set_ro_feature(struct knot_disk_superblock *disk)
{
	disk->ro_compat = knot_put64(4);
	disk->compat = knot_put64(8);
}

static void unknown_ro_feature_allows_reading(void **state)
{
	struct knot_super super;
	bool read_only = false;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	rewrite(&f, set_ro_feature);
	assert_int_equal(knot_super_read(f.device, &f.messages, &super, &read_only), 0);
	assert_true(read_only);
	assert_int_equal(super.ro_compat, 4);
	knot_device_close(f.device);
}

/* ---- one broken rule each ---- */

static void break_page_bytes(struct knot_disk_superblock *disk)
{
	disk->page_bytes = knot_put32(8192);
}

static void break_pages(struct knot_disk_superblock *disk)
{
	disk->pages = knot_put64(KNOT_VOLUME_PAGES_MIN - 1);
}

static void break_label(struct knot_disk_superblock *disk)
{
	memset(disk->label, 'x', sizeof(disk->label));
}

static void break_unit(struct knot_disk_superblock *disk)
{
	disk->log_write_unit_bytes = knot_put32(12288);
}

static void break_table(struct knot_disk_superblock *disk)
{
	disk->group_table_pages = knot_put64(2);
}

static void break_segment_count(struct knot_disk_superblock *disk)
{
	disk->segment_count = knot_put32(KNOT_LOG_SEGMENTS_MAX + 1);
}

static void break_segment_end(struct knot_disk_superblock *disk)
{
	disk->segments[1].pages = knot_put64(UINT64_MAX);
}

static void break_segment_over_header(struct knot_disk_superblock *disk)
{
	disk->segments[0].page_no = knot_put64(KNOT_GROUP_PAGES - 100);
}

static void break_segment_over_root(struct knot_disk_superblock *disk)
{
	disk->segments[0].page_no = knot_put64(50);
}

static void break_segment_empty(struct knot_disk_superblock *disk)
{
	disk->segments[1].pages = knot_put64(0);
}

static void break_log_size(struct knot_disk_superblock *disk)
{
	disk->segments[0].pages = knot_put64(1);
	disk->segment_count = knot_put32(1);
}

static void break_state_place(struct knot_disk_superblock *disk)
{
	disk->state_page = knot_put64(18);
}

static void break_root_place(struct knot_disk_superblock *disk)
{
	disk->root_page = knot_put64(VOLUME_PAGES);
}

static void malformed_superblocks_are_refused(void **state)
{
	static void (*const breaks[])(struct knot_disk_superblock * disk) = {
		break_page_bytes,
		break_pages,
		break_label,
		break_unit,
		break_table,
		break_segment_count,
		break_segment_end,
		break_segment_over_header,
		break_segment_over_root,
		break_segment_empty,
		break_log_size,
		break_state_place,
		break_root_place,
	};
	struct knot_super super;
	struct fixture f;

	(void)state;
	open_fixture(&f);
	for (unsigned i = 0; i < sizeof(breaks) / sizeof(breaks[0]); i++) {
		rewrite(&f, breaks[i]);
		assert_int_equal(read_super(&f, &super), -EUCLEAN);
		assert_non_null(strstr(f.line, "malformed"));
	}
	knot_device_close(f.device);
}

static void a_range_is_fixed_exactly_if_one_of_its_pages_is(void **state)
{
	struct knot_super super = {
		.pages = 3 * KNOT_GROUP_PAGES,
		.check_entry_bytes = KNOT_CHECK_BYTES_CRC32C,
		.state_page = 19,
		.root_page = 64,
		.group_table_page = 20,
		.group_table_pages = 1,
		.segment_count = 2,
		.segments = { { 2049, 300 }, { KNOT_GROUP_PAGES + 30, 500 } },
	};
	uint64_t random = 7;

	(void)state;
	knot_super_derive(&super);
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t page_no, pages, limit;
		bool fixed = false;

		random = random * 6364136223846793005ULL + 1442695040888963407ULL;
		page_no = (random >> 33) % (i % 2 ? super.pages : 2600);
		limit = KNOT_GROUP_PAGES - page_no % KNOT_GROUP_PAGES;
		pages = 1 + (random >> 20) % 40;
		if (pages > limit)
			pages = limit;
		for (uint64_t page = page_no; page < page_no + pages; page++)
			fixed |= knot_super_page_is_fixed(&super, page) || page == super.root_page;
		assert_int_equal(knot_super_range_has_fixed(&super, page_no, pages), fixed);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_was_written_is_read_back),
		cmocka_unit_test(groups_below_the_minimum_do_not_exist),
		cmocka_unit_test(fixed_pages_are_known),
		cmocka_unit_test(spare_stands_in_for_a_damaged_primary),
		cmocka_unit_test(other_contents_are_not_a_volume),
		cmocka_unit_test(truncated_image_is_told),
		cmocka_unit_test(unknown_features_are_refused_by_name),
		cmocka_unit_test(unknown_ro_feature_allows_reading),
		cmocka_unit_test(malformed_superblocks_are_refused),
		cmocka_unit_test(a_range_is_fixed_exactly_if_one_of_its_pages_is),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
