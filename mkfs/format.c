/* SPDX-License-Identifier: MIT */
/*
 * Writing a new volume.
 *
 * Invariants
 *  (1) Both superblocks are zero, durably, before anything else is written, and come back only when all else is
 *      durable.
 *  (2) What is written does not depend on the volume's size but for the group table.
 *
 * If power fails before the last flush of (1)'s second half: no volume, or (once a superblock made it) the whole new
 * one.
 */
#include "mkfs/format.h"
#include "mkfs/layout_int.h"
#include "fs/txn/recovery.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>

#define ZERO_BYTES           (1u << 20)
#define ZERO_IOVS            16
#define ROOT_PERMISSIONS     0755u
#define PERMISSION_BITS      07777u
#define WRITE_UNIT_MAX_BYTES 65536u
#define NSEC_PER_SEC         1000000000u

static int choose_bytes(uint8_t bytes[16], const uint8_t *given)
{
	if (given)
		memcpy(bytes, given, 16);
	else if (getrandom(bytes, 16, 0) != 16)
		return -EIO;
	return 0;
}

static int choose_identity(struct knot_super *super, const struct knot_mkfs_options *options)
{
	if (options->label && strlen(options->label) >= sizeof(super->label)) {
		knot_message(options->messages, KNOT_ERROR, "the label is too long; at most %zu bytes",
			     sizeof(super->label) - 1);
		return -EINVAL;
	}
	if (options->label)
		memcpy(super->label, options->label, strlen(options->label));

	int err = choose_bytes(super->uuid, options->uuid);
	if (!err)
		err = choose_bytes(super->salt, options->salt);
	if (!err)
		err = choose_bytes(super->hash_seed, options->hash_seed);
	if (!err && !options->uuid) {
		super->uuid[6] =
			(uint8_t)((super->uuid[6] & 0x0f) | 0x40); /* RFC 9562: version 4, made of random bits */
		super->uuid[8] = (uint8_t)((super->uuid[8] & 0x3f) | 0x80);
	}
	return err;
}

int knot_mkfs_plan(uint64_t size_bytes, uint32_t write_unit_bytes, const struct knot_mkfs_options *options,
		   struct knot_super *super)
{
	struct knot_super plan = {
		.pages = size_bytes / KNOT_PAGE_BYTES,
		.check_entry_bytes = KNOT_CHECK_BYTES_CRC32C,
		.log_write_unit_bytes = KNOT_PAGE_BYTES,
		.segments_version = 1,
		.created_sec = (uint64_t)options->time_sec,
		.created_nsec = options->time_nsec,
	};

	if (options->time_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	while (plan.log_write_unit_bytes < write_unit_bytes && plan.log_write_unit_bytes < WRITE_UNIT_MAX_BYTES)
		plan.log_write_unit_bytes *= 2;
	int err = choose_identity(&plan, options);
	if (!err)
		err = knot_layout_place(&plan, options);
	if (err)
		return err;
	knot_super_derive(&plan);
	*super = plan;
	return 0;
}

static int write_pages(struct knot_device *device, const void *pages, uint64_t count, uint64_t page_no)
{
	return knot_device_write(device, pages, count * KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES);
}

static int write_zeros(struct knot_device *device, void *zeros, uint64_t page_no, uint64_t pages)
{
	uint64_t at_bytes = page_no * KNOT_PAGE_BYTES, left_bytes = pages * KNOT_PAGE_BYTES;

	while (left_bytes > 0) {
		struct iovec iov[ZERO_IOVS];
		uint64_t step_bytes = 0;
		int count = 0;

		while (count < ZERO_IOVS && step_bytes < left_bytes) {
			uint64_t room = left_bytes - step_bytes;

			iov[count].iov_base = zeros;
			iov[count].iov_len = room < ZERO_BYTES ? (size_t)room : ZERO_BYTES;
			step_bytes += iov[count++].iov_len;
		}
		int err = knot_device_writev(device, iov, count, at_bytes);
		if (err)
			return err;
		at_bytes += step_bytes;
		left_bytes -= step_bytes;
	}
	return 0;
}

/* (1), the first half: an older volume on the device ends here. */
static int wipe_supers(struct knot_device *device, void *zeros)
{
	int err = write_zeros(device, zeros, KNOT_SUPER_PAGE, 1);

	if (!err)
		err = write_zeros(device, zeros, KNOT_SUPER_SPARE_PAGE, 1);
	return err ? err : knot_device_flush(device);
}

static int zero_log(struct knot_device *device, const struct knot_super *super, void *zeros)
{
	for (uint32_t i = 0; i < super->segment_count; i++) {
		int err = write_zeros(device, zeros, super->segments[i].page_no, super->segments[i].pages);

		if (err)
			return err;
	}
	return 0;
}

static void format_page(void *page, enum knot_page_type type, uint64_t page_no)
{
	struct knot_disk_page_header *header = page;

	memset(page, 0, KNOT_PAGE_BYTES);
	knot_page_format(page, type, page_no, KNOT_LSN_FIRST);
	header->lsn = knot_put64(KNOT_LSN_FIRST);
}

/* Header and check pages of the groups that are used. `buffer` holds 1 + group_check_pages pages. */
static int write_groups(struct knot_device *device, const struct knot_super *super, uint8_t *buffer)
{
	uint64_t groups = knot_layout_groups_used(super);

	for (uint64_t group = 0; group < groups; group++) {
		uint64_t page_no = group * KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT;

		memset(buffer, 0, KNOT_PAGE_BYTES);
		knot_layout_group(super, group, (struct knot_disk_group *)buffer);
		knot_page_seal(&super->seal, buffer);
		for (uint32_t i = 1; i <= super->group_check_pages; i++) {
			format_page(buffer + i * KNOT_PAGE_BYTES, KNOT_PAGE_CHECKS, page_no + i);
			knot_page_seal(&super->seal, buffer + i * KNOT_PAGE_BYTES);
		}
		int err = write_pages(device, buffer, 1 + super->group_check_pages, page_no);
		if (err)
			return err;
	}
	return 0;
}

static struct knot_disk_group_entry group_entry(const struct knot_super *super, uint64_t group,
						struct knot_disk_group *scratch)
{
	memset(scratch, 0, sizeof(*scratch));
	uint32_t free_clusters = knot_layout_group(super, group, scratch);
	struct knot_disk_group_entry entry = {
		.free_pages = knot_put16((uint16_t)knot_get32(scratch->free_pages)),
		.free_clusters = knot_put16((uint16_t)free_clusters),
	};

	return entry;
}

/* All unused groups look the same, but for the last one: two entries are computed once. */
static int write_table(struct knot_device *device, const struct knot_super *super, uint8_t *buffer)
{
	struct knot_disk_group_table *table = (struct knot_disk_group_table *)buffer;
	struct knot_disk_group *scratch = (struct knot_disk_group *)(buffer + KNOT_PAGE_BYTES);
	uint64_t used = knot_layout_groups_used(super), last = super->groups - 1;
	struct knot_disk_group_entry unused = { { { 0 } }, { { 0 } } };

	if (used < last)
		unused = group_entry(super, used, scratch);
	for (uint64_t i = 0; i < super->group_table_pages; i++) {
		uint64_t group = i * KNOT_GROUPS_PER_TABLE_PAGE;

		format_page(table, KNOT_PAGE_GROUP_TABLE, super->group_table_page + i);
		for (uint32_t k = 0; k < KNOT_GROUPS_PER_TABLE_PAGE && group < super->groups; k++, group++) {
			bool is_common = group >= used && group < last;

			table->entries[k] = is_common ? unused : group_entry(super, group, scratch);
		}
		knot_page_seal(&super->seal, table);
		int err = write_pages(device, table, 1, super->group_table_page + i);
		if (err)
			return err;
	}
	return 0;
}

static int write_state(struct knot_device *device, const struct knot_super *super, void *page)
{
	struct knot_disk_state *state = page;

	format_page(state, KNOT_PAGE_STATE, super->state_page);
	state->next_inode = knot_put64(KNOT_OBJECT_FIRST_FREE);
	state->inodes = knot_put64(1);
	state->groups_initialised = knot_put64(knot_layout_groups_used(super));
	state->root_generation = knot_put64(KNOT_LSN_FIRST);
	knot_page_seal(&super->seal, state);
	return write_pages(device, state, 1, super->state_page);
}

static void fill_root_inode(struct knot_disk_inode *inode, const struct knot_mkfs_options *options)
{
	uint32_t permissions = options->root_permissions ? options->root_permissions : ROOT_PERMISSIONS;
	struct knot_disk_time now = { knot_put64((uint64_t)options->time_sec), knot_put32(options->time_nsec) };

	memset(inode, 0, sizeof(*inode));
	inode->mode = knot_put32(S_IFDIR | (permissions & PERMISSION_BITS));
	inode->uid = knot_put32(options->root_uid);
	inode->gid = knot_put32(options->root_gid);
	inode->links = knot_put32(1);
	inode->generation = knot_put64(1);
	inode->data_object = knot_put64(KNOT_OBJECT_ROOT);
	inode->atime = inode->mtime = inode->ctime = inode->btime = now;
}

/* The tree: one leaf, with the root directory's inode as its only item. */
static int write_tree(struct knot_device *device, const struct knot_super *super,
		      const struct knot_mkfs_options *options, uint8_t *page)
{
	struct knot_disk_tree_page *tree = (struct knot_disk_tree_page *)page;
	struct knot_disk_inode inode;
	uint8_t key[KNOT_KEY_BYTES] = { 0 };
	knot_le16 value_bytes = knot_put16(sizeof(inode));
	uint32_t at = KNOT_PAGE_BYTES - (uint32_t)(sizeof(key) + sizeof(value_bytes) + sizeof(inode));
	knot_le16 slot = knot_put16((uint16_t)at);

	knot_put_be64(key, KNOT_OBJECT_ROOT);
	key[sizeof(uint64_t)] = KNOT_KIND_INODE;
	fill_root_inode(&inode, options);

	format_page(page, KNOT_PAGE_TREE, super->root_page);
	tree->count = knot_put16(1);
	tree->heap_at = slot;
	memcpy(page + KNOT_TREE_SLOTS_AT, &slot, sizeof(slot));
	memcpy(page + at, key, sizeof(key));
	memcpy(page + at + sizeof(key), &value_bytes, sizeof(value_bytes));
	memcpy(page + at + sizeof(key) + sizeof(value_bytes), &inode, sizeof(inode));
	knot_page_seal(&super->seal, page);
	return write_pages(device, page, 1, super->root_page);
}

static int write_volume(struct knot_device *device, const struct knot_super *super,
			const struct knot_mkfs_options *options, void *zeros, void *buffer)
{
	int err = wipe_supers(device, zeros);

	if (!err)
		err = zero_log(device, super, zeros);
	if (!err)
		err = write_groups(device, super, buffer);
	if (!err)
		err = write_table(device, super, buffer);
	if (!err)
		err = write_state(device, super, buffer);
	if (!err)
		err = write_tree(device, super, options, buffer);
	if (!err)
		err = knot_recovery_format(device, super);
	if (!err)
		err = knot_device_flush(device);
	return err ? err : knot_super_write(device, super);
}

int knot_mkfs(struct knot_device *device, const struct knot_mkfs_options *options, struct knot_super *super)
{
	void *zeros = NULL, *buffer = NULL;
	struct knot_super plan;

	int err = knot_mkfs_plan(device->size_bytes, device->write_unit_bytes, options, &plan);
	if (err)
		return err;
	zeros = aligned_alloc(KNOT_PAGE_BYTES, ZERO_BYTES);
	buffer = aligned_alloc(KNOT_PAGE_BYTES, (size_t)(1 + plan.group_check_pages) * KNOT_PAGE_BYTES);
	if (!zeros || !buffer) {
		err = -ENOMEM;
		goto out;
	}

	memset(zeros, 0, ZERO_BYTES);
	err = write_volume(device, &plan, options, zeros, buffer);
	if (err)
		knot_message(options->messages, KNOT_ERROR, "writing the volume failed: %s", strerror(-err));
	else if (super)
		*super = plan;
out:
	free(zeros);
	free(buffer);
	return err;
}
