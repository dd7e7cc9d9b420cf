/* SPDX-License-Identifier: MIT */
#include "tests/lib/cut_bed.h"

#include "fs/disk/super.h"
#include "fs/txn/txn.h"
#include "fsck/fsck.h"
#include "mkfs/format.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#define VOLUME_BYTES (16u << 20)
#define STEP_BYTES   16384u

static struct knot_time now(void *arg)
{
	struct bed *bed = arg;

	return (struct knot_time){ .sec = ++bed->clock_sec };
}

void bed_open(struct bed *bed, uint64_t log_bytes, bool strict)
{
	struct knot_mkfs_options mkfs = { .log_bytes = log_bytes, .time_sec = 1000 };
	static const uint8_t fixed[16] = { 9 };
	struct knot_super super;

	memset(bed, 0, sizeof(*bed));
	bed->clock_sec = 2000;
	mkfs.uuid = mkfs.salt = mkfs.hash_seed = fixed;
	assert_int_equal(knot_device_open_memory(VOLUME_BYTES, &bed->base), 0);
	assert_int_equal(knot_mkfs(bed->base, &mkfs, &super), 0);
	assert_int_equal(super.segment_count, 1);
	bed->ring_first = super.segments[0].page_no * PAGE_BYTES;
	bed->ring_end = bed->ring_first + super.segments[0].pages * PAGE_BYTES;
	bed->sim = knot_sim_open(bed->base);
	assert_non_null(bed->sim);
	bed->options = (struct knot_volume_options){
		.device = knot_sim_device(bed->sim),
		.cache_bytes = 2u << 20,
		.log_buffer_bytes = 1u << 20,
		.commit_policy = 1,
		.strict = strict,
		.now = now,
		.now_arg = bed,
	};
	assert_int_equal(knot_volume_open(&bed->options, &bed->volume), 0);
}

void bed_close(struct bed *bed)
{
	knot_volume_abandon(bed->volume);
	knot_sim_close(bed->sim);
	knot_device_close(bed->base);
}

uint64_t bed_create(struct bed *bed, const char *name)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mknod(bed->volume, NULL, ROOT, name, strlen(name), S_IFREG | 0644, 0, &attr), 0);
	knot_vfs_forget(bed->volume, NULL, attr.inode, 1);
	return attr.inode;
}

void bed_unlink(struct bed *bed, const char *name)
{
	assert_int_equal(knot_vfs_unlink(bed->volume, NULL, ROOT, name, strlen(name)), 0);
}

void bed_pattern(uint8_t *bytes, uint64_t at, size_t len, uint64_t seed)
{
	for (size_t i = 0; i < len; i++) {
		uint64_t word = ((at + i) / 8 + 1) * 0x9e3779b97f4a7c15ULL ^ seed * 0xbf58476d1ce4e5b9ULL;

		bytes[i] = (uint8_t)(word >> ((at + i) % 8 * 8));
	}
}

void bed_write(struct bed *bed, uint64_t inode, uint64_t at, size_t len, uint64_t seed)
{
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	bed_pattern(bytes, at, len, seed);
	assert_int_equal(knot_vfs_write(bed->volume, NULL, inode, at, len, bytes, false), 0);
	free(bytes);
}

static void set(struct bed *bed, uint64_t inode, unsigned mask, const struct knot_attr *wanted)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_setattr(bed->volume, NULL, inode, mask, wanted, &attr), 0);
}

void bed_write_pages(struct bed *bed, uint64_t inode, uint64_t first, uint64_t pages, uint64_t seed)
{
	for (uint64_t done = 0; done < pages; done += WRITE_PAGES) {
		uint64_t count = pages - done < WRITE_PAGES ? pages - done : WRITE_PAGES;

		bed_write(bed, inode, (first + done) * PAGE_BYTES, (size_t)count * PAGE_BYTES, seed);
	}
}

void bed_truncate(struct bed *bed, uint64_t inode, uint64_t size)
{
	set(bed, inode, KNOT_SET_SIZE, &(struct knot_attr){ .size = size });
}

void bed_chmod(struct bed *bed, uint64_t inode, uint32_t mode)
{
	set(bed, inode, KNOT_SET_MODE, &(struct knot_attr){ .mode = mode });
}

void bed_fsync(struct bed *bed, uint64_t inode)
{
	assert_int_equal(knot_vfs_fsync(bed->volume, NULL, inode, false), 0);
}

void bed_sync(struct bed *bed)
{
	assert_int_equal(knot_vfs_syncfs(bed->volume, NULL), 0);
}

void bed_checkpoint(struct bed *bed)
{
	assert_int_equal(knot_vfs_checkpoint(bed->volume, NULL), 0);
}

void bed_fill(struct bed *bed, const char *name, uint64_t left)
{
	uint64_t inode = bed_create(bed, name), at = 0;
	struct knot_statfs space;

	do {
		bed_write(bed, inode, at, STEP_BYTES, 77);
		at += STEP_BYTES;
		assert_int_equal(knot_vfs_statfs(bed->volume, NULL, &space), 0);
	} while (space.pages_available > left + STEP_BYTES / PAGE_BYTES);
	bed_sync(bed);
}

bool bed_is_home(const struct bed *bed, uint64_t at_bytes)
{
	return at_bytes && (at_bytes < bed->ring_first || at_bytes >= bed->ring_end);
}

size_t bed_events(const struct bed *bed)
{
	return knot_sim_events(bed->sim);
}

/* ---- what a cut left ---- */

uint64_t left_find(struct knot_volume *volume, const char *name, struct knot_attr *attr)
{
	if (knot_vfs_lookup(volume, NULL, ROOT, name, strlen(name), attr))
		return 0;
	knot_vfs_forget(volume, NULL, attr->inode, 1);
	return attr->inode;
}

bool left_is(struct knot_volume *volume, uint64_t inode, uint64_t at, size_t len, uint64_t seed)
{
	uint8_t *have = malloc(len), *want = malloc(len);
	size_t got = 0;
	bool same;

	assert_non_null(have);
	assert_non_null(want);
	bed_pattern(want, at, len, seed);
	same = !knot_vfs_read(volume, NULL, inode, at, len, have, &got) && got == len && !memcmp(have, want, len);
	free(have);
	free(want);
	return same;
}

bool left_is_whole(struct knot_volume *volume, const char *name, uint64_t size, uint64_t seed)
{
	struct knot_attr attr;
	uint64_t inode = left_find(volume, name, &attr);

	return inode && attr.size == size && (!size || left_is(volume, inode, 0, (size_t)size, seed));
}

bool left_exists(struct knot_volume *volume, const char *name)
{
	struct knot_attr attr;

	return left_find(volume, name, &attr) != 0;
}

static void one_cut(struct bed *bed, size_t event, enum knot_cut kind, uint64_t seed, bed_check_fn *check, void *arg)
{
	struct knot_device *device = knot_sim_cut(bed->sim, event, kind, seed);
	struct knot_volume_options options = bed->options;
	struct knot_fsck_options fsck = { .scrub = true };
	struct knot_fsck_report report = { 0 };
	struct knot_volume *volume;

	assert_non_null(device);
	options.device = device;
	if (knot_volume_open(&options, &volume))
		fail_msg("event %zu, kind %d, seed %llu: can't be mounted", event, (int)kind, (unsigned long long)seed);
	if (!check(volume, event, arg))
		fail_msg("event %zu, kind %d, seed %llu: not what must be there", event, (int)kind,
			 (unsigned long long)seed);
	assert_int_equal(knot_volume_close(volume), 0);
	if (knot_fsck_run(device, &fsck, &report) || report.problems)
		fail_msg("event %zu, kind %d, seed %llu: fsck finds something", event, (int)kind,
			 (unsigned long long)seed);
	knot_device_close(device);
}

void bed_cut_all(struct bed *bed, size_t from, unsigned seeds, bed_check_fn *check, void *arg)
{
	for (size_t event = from; event <= knot_sim_events(bed->sim); event++) {
		size_t unflushed = knot_sim_unflushed(bed->sim, event);

		for (int kind = 0; kind < KNOT_CUT_KINDS; kind++) {
			bool by_chance = kind != KNOT_CUT_DROP && kind != KNOT_CUT_KEEP && kind != KNOT_CUT_REORDER;

			if (unflushed == 0 && kind != KNOT_CUT_DROP)
				continue;
			for (unsigned seed = 0; seed < (by_chance ? seeds : 1); seed++)
				one_cut(bed, event, (enum knot_cut)kind, event * 1000 + seed, check, arg);
		}
	}
}
