/* SPDX-License-Identifier: MIT */
/*
 * What the fuzz targets have in common: a small populated volume in memory, made once, and damage to a copy of it.
 *
 * The damage is sealed, so that it passes the checks and the code behind them has to cope with it.
 */
#ifndef KNOT_TESTS_FUZZ_VOLUME_H
#define KNOT_TESTS_FUZZ_VOLUME_H

#include "fs/disk/device.h"
#include "fs/disk/page.h"
#include "fs/tree/tree.h"
#include "fs/util/endian.h"
#include "fsck/fsck.h"
#include "mkfs/format.h"

#include <knotfs/knotfs.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define FUZZ_ROOT         1u
#define FUZZ_VOLUME_BYTES (16u << 20)
#define FUZZ_PAGES_MAX    512u

/* The bytes that the fuzzer gave, taken from the front; zeros when there are no more. */
struct fuzz_input {
	const uint8_t *at;
	size_t left;
};

static inline uint64_t fuzz_take(struct fuzz_input *input, unsigned bytes)
{
	uint64_t value = 0;

	for (unsigned i = 0; i < bytes && input->left; i++, input->left--)
		value |= (uint64_t)*input->at++ << (8 * i);
	return value;
}

struct fuzz_page {
	uint64_t page_no;
	uint32_t type;
};

struct fuzz_volume {
	struct knot_device *base;
	struct knot_super super;
	struct fuzz_page pages[FUZZ_PAGES_MAX]; /* with a header, in use */
	unsigned page_count;
};

static inline void fuzz_must(int err, const char *what)
{
	if (!err)
		return;
	fprintf(stderr, "fuzz: %s: %s\n", what, strerror(-err));
	abort();
}

static inline struct knot_time fuzz_now(void *arg)
{
	uint64_t *clock = arg;

	return (struct knot_time){ .sec = (int64_t)++ * clock };
}

/* KNOT_FUZZ_VERBOSE=1 shows what the volume says. */
static inline void fuzz_emit(void *arg, enum knot_severity severity, const char *line)
{
	(void)severity;
	if (*(bool *)arg)
		fprintf(stderr, "  %s\n", line);
}

static inline int fuzz_open(struct knot_device *device, const struct knot_messages *messages, uint64_t *clock,
			    bool read_only, struct knot_volume **volume)
{
	const struct knot_volume_options options = {
		.device = device,
		.messages = messages,
		.cache_bytes = 2 << 20,
		.log_buffer_bytes = 512 << 10,
		.commit_policy = 1,
		.read_only = read_only,
		.now = fuzz_now,
		.now_arg = clock,
	};

	return knot_volume_open(&options, volume);
}

static inline uint64_t fuzz_make_file(struct knot_volume *volume, uint64_t parent, const char *name, size_t bytes)
{
	static uint8_t buffer[8 << 10];
	struct knot_attr attr;

	memset(buffer, name[0], sizeof(buffer));
	fuzz_must(knot_vfs_mknod(volume, NULL, parent, name, strlen(name), S_IFREG | 0644, 0, &attr), "mknod");
	for (size_t at = 0; at < bytes; at += sizeof(buffer)) {
		size_t step = bytes - at < sizeof(buffer) ? bytes - at : sizeof(buffer);

		fuzz_must(knot_vfs_write(volume, NULL, attr.inode, at, step, buffer, false), "write");
	}
	return attr.inode;
}

/* Every second page of a file, in reverse: many extents. */
static inline void fuzz_make_fragmented(struct knot_volume *volume, const char *name)
{
	uint64_t inode = fuzz_make_file(volume, FUZZ_ROOT, name, 0);

	for (unsigned i = 24; i > 0; i--) {
		fuzz_must(knot_vfs_write(volume, NULL, inode, (uint64_t)i * 2 * KNOT_PAGE_BYTES, 5, "knots", false),
			  "write");
		fuzz_must(knot_vfs_fsync(volume, NULL, inode, false), "fsync");
	}
	knot_vfs_forget(volume, NULL, inode, 1);
}

static inline void fuzz_populate(struct knot_volume *volume)
{
	struct knot_attr dir, attr;
	char name[256];
	char target[3000];

	for (unsigned d = 0; d < 4; d++) {
		snprintf(name, sizeof(name), "directory%u", d);
		fuzz_must(knot_vfs_mkdir(volume, NULL, d == 3 ? dir.inode : FUZZ_ROOT, name, strlen(name), 0755, &dir),
			  "mkdir");
		for (unsigned f = 0; f < 24; f++) {
			snprintf(
				name, sizeof(name), "file%u%.*s", f, f == 7 ? 200 : (int)f,
				"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				"xxxxxxxxxxxxx"
				"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"
				"xxxxxxxxxxxxx"
				"xxxxxxxxxxxxxxx");
			knot_vfs_forget(volume, NULL, fuzz_make_file(volume, dir.inode, name, f * f * 20), 1);
		}
	}
	fuzz_must(knot_vfs_symlink(volume, NULL, FUZZ_ROOT, "short", 5, "directory1", 10, &attr), "symlink");
	memset(target, 't', sizeof(target));
	fuzz_must(knot_vfs_symlink(volume, NULL, FUZZ_ROOT, "long", 4, target, sizeof(target), &attr), "symlink");
	attr.inode = fuzz_make_file(volume, FUZZ_ROOT, "linked", 5000);
	fuzz_must(knot_vfs_link(volume, NULL, attr.inode, dir.inode, "link", 4, &attr), "link");
	knot_vfs_forget(volume, NULL, fuzz_make_file(volume, FUZZ_ROOT, "large", 150 << 10), 1);
	fuzz_make_fragmented(volume, "fragmented");
	for (unsigned i = 0; i < 2; i++) { /* orphans: their lookups are kept */
		attr.inode = fuzz_make_file(volume, FUZZ_ROOT, "orphan", i ? 100 : 50000);
		fuzz_must(knot_volume_tick(volume, true), "tick");
		fuzz_must(knot_vfs_unlink(volume, NULL, FUZZ_ROOT, "orphan", 6), "unlink");
	}
}

/* All pages of the home area that verify as what their header says. */
static inline void fuzz_find_pages(struct fuzz_volume *fuzz)
{
	uint8_t page[KNOT_PAGE_BYTES];
	const struct knot_disk_page_header *header = (const void *)page;

	for (uint64_t no = 0; no < fuzz->super.pages && fuzz->page_count < FUZZ_PAGES_MAX; no++) {
		fuzz_must(knot_device_read(fuzz->base, page, sizeof(page), no * KNOT_PAGE_BYTES), "read");
		if (knot_page_verify(&fuzz->super.seal, page, no, knot_get32(header->type)) != KNOT_PAGE_OK)
			continue;
		/* check pages are many and have no structure: a few are enough */
		if (knot_get32(header->type) == KNOT_PAGE_CHECKS && no > 4)
			continue;
		fuzz->pages[fuzz->page_count++] = (struct fuzz_page){ .page_no = no, .type = knot_get32(header->type) };
	}
}

/* `at_home`: everything is home; else the log has all of it. */
static inline void fuzz_volume_make(struct fuzz_volume *fuzz, bool at_home)
{
	static const uint8_t fixed[16] = "fuzz fuzz fuzz!";
	const struct knot_mkfs_options mkfs = {
		.uuid = fixed, .salt = fixed, .hash_seed = fixed, .log_bytes = 1 << 20, .time_sec = 1000
	};
	uint64_t clock = 2000;
	struct knot_volume *volume;

	fuzz_must(knot_device_open_memory(FUZZ_VOLUME_BYTES, &fuzz->base), "memory");
	fuzz_must(knot_mkfs(fuzz->base, &mkfs, &fuzz->super), "mkfs");
	fuzz_must(fuzz_open(fuzz->base, NULL, &clock, false, &volume), "open");
	fuzz_populate(volume);
	fuzz_must(at_home ? knot_vfs_checkpoint(volume, NULL) : knot_vfs_syncfs(volume, NULL), "sync");
	knot_volume_abandon(volume);
	fuzz_find_pages(fuzz);
}

/* ---- damage ---- */

static inline void fuzz_patch_bytes(uint8_t *page, size_t at, struct fuzz_input *input, unsigned bytes)
{
	for (unsigned i = 0; i < bytes; i++)
		page[(at + i) % KNOT_PAGE_BYTES] = (uint8_t)fuzz_take(input, 1);
}

/* Change an item's key, its value or its slot. */
static inline void fuzz_patch_item(uint8_t *page, struct fuzz_input *input)
{
	struct knot_disk_tree_page *tree = (void *)page;
	unsigned count = knot_get16(tree->count);
	unsigned what = (unsigned)fuzz_take(input, 1);
	unsigned slot = (unsigned)fuzz_take(input, 1);
	unsigned at;

	if (!count || count > 1000)
		return;
	at = knot_get16(tree->slots[slot % count]);
	switch (what % 4) {
	case 0:
		tree->slots[slot % count] = tree->slots[fuzz_take(input, 1) % count];
		break;
	case 1: { /* 8 bytes somewhere in key or value: an interesting number */
		static const uint64_t numbers[] = { 0,
						    1,
						    2,
						    3,
						    16,
						    255,
						    4095,
						    4096,
						    1ULL << 31,
						    1ULL << 32,
						    INT64_MAX,
						    UINT64_MAX,
						    UINT64_MAX - 1,
						    UINT32_MAX,
						    2048,
						    17 };
		knot_le64 value;

		at += (unsigned)fuzz_take(input, 1);
		value = knot_put64(numbers[fuzz_take(input, 1) % (sizeof(numbers) / sizeof(numbers[0]))]);
		if (at <= KNOT_PAGE_BYTES - sizeof(value))
			memcpy(page + at, value.raw, sizeof(value));
		break;
	}
	case 2: /* the value of another item */
	{
		unsigned from = knot_get16(tree->slots[fuzz_take(input, 1) % count]);
		unsigned skip = KNOT_KEY_BYTES - knot_get16(tree->prefix_bytes) % KNOT_KEY_BYTES;
		unsigned len = (unsigned)fuzz_take(input, 1) % 32;

		if (at + skip + len <= KNOT_PAGE_BYTES && from + skip + len <= KNOT_PAGE_BYTES)
			memmove(page + at + skip, page + from + skip, len);
		break;
	}
	default:
		fuzz_patch_bytes(page, at + (unsigned)fuzz_take(input, 1), input, 1 + what / 4 % 16);
		break;
	}
}

/* One patch: which page, what. The page is sealed again. */
static inline void fuzz_patch(const struct fuzz_volume *fuzz, struct knot_device *device, struct fuzz_input *input)
{
	const struct fuzz_page *target = &fuzz->pages[fuzz_take(input, 2) % fuzz->page_count];
	uint64_t at_bytes = target->page_no * KNOT_PAGE_BYTES;
	unsigned how = (unsigned)fuzz_take(input, 1);
	_Alignas(4096) uint8_t page[KNOT_PAGE_BYTES];

	fuzz_must(knot_device_read(device, page, sizeof(page), at_bytes), "read");
	if (target->type == KNOT_PAGE_TREE && how % 4 != 0)
		fuzz_patch_item(page, input);
	else
		fuzz_patch_bytes(page, sizeof(struct knot_disk_page_header) + fuzz_take(input, 2), input,
				 1 + how / 4 % 16);
	knot_page_seal(&fuzz->super.seal, page);
	fuzz_must(knot_device_write(device, page, sizeof(page), at_bytes), "write");
}

static inline void fuzz_check(struct knot_device *device, const struct knot_messages *messages)
{
	const struct knot_fsck_options options = { .messages = messages, .scrub = true };
	struct knot_fsck_report report;

	(void)knot_fsck_run(device, &options, &report); /* it may find anything; it must come back */
}

#endif
