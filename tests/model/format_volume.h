/* SPDX-License-Identifier: MIT */
/* Volumes in image files, with everything in them that docs/FORMAT.md has rules for. */
#ifndef KNOT_TESTS_FORMAT_VOLUME_H
#define KNOT_TESTS_FORMAT_VOLUME_H

#include "fs/disk/device.h"
#include "fs/util/message.h"
#include "mkfs/format.h"

#include <knotfs/knotfs.h>

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT      1u
#define MAKE_FIFO (S_IFIFO | 0600)

struct scene {
	uint64_t volume_bytes;
	uint32_t write_unit_bytes;
	uint64_t log_bytes;
	uint32_t log_segments;
	bool strict;
};

struct bench {
	const struct scene *scene;
	struct knot_messages messages;
	char folder[200], image[220];
	struct knot_device *device;
	struct knot_volume *volume;
	int64_t clock_sec;
};

/* ---- volumes ----------------------------------------------------------------------------------------------------- */

static inline struct knot_time tick_tock(void *arg)
{
	struct bench *bench = arg;

	return (struct knot_time){ .sec = ++bench->clock_sec, .nsec = 123456789 };
}

static inline void say(void *arg, enum knot_severity severity, const char *line)
{
	(void)arg;
	if (severity == KNOT_ERROR)
		print_message("%s\n", line);
}

static inline void open_volume(struct bench *bench, bool read_only)
{
	struct knot_volume_options options = {
		.messages = &bench->messages,
		.cache_bytes = 4u << 20,
		.log_buffer_bytes = 1u << 20,
		.commit_policy = 1,
		.strict = bench->scene->strict,
		.read_only = read_only,
		.now = tick_tock,
		.now_arg = bench,
	};

	if (!bench->device)
		assert_int_equal(
			knot_device_open_file(bench->image, read_only ? KNOT_DEVICE_READ_ONLY : 0, &bench->device), 0);
	options.device = bench->device;
	assert_int_equal(knot_volume_open(&options, &bench->volume), 0);
}

static inline void close_volume(struct bench *bench)
{
	assert_int_equal(knot_volume_close(bench->volume), 0);
	knot_device_close(bench->device);
	bench->device = NULL;
}

static inline void abandon_volume(struct bench *bench)
{
	knot_volume_abandon(bench->volume);
	knot_device_close(bench->device);
	bench->device = NULL;
}

static inline void make_volume(struct bench *bench, const struct scene *scene)
{
	struct knot_mkfs_options mkfs = {
		.log_bytes = scene->log_bytes,
		.log_segments = scene->log_segments,
		.label = "format",
		.time_sec = -5,
		.time_nsec = 7,
	};
	const char *temporary = getenv("TMPDIR");

	memset(bench, 0, sizeof(*bench));
	bench->scene = scene;
	bench->messages.emit = say;
	bench->clock_sec = 1700000000;
	assert_true(snprintf(bench->folder, sizeof(bench->folder), "%s/knot-format-XXXXXX",
			     temporary ? temporary : "/tmp") < (int)sizeof(bench->folder));
	assert_non_null(mkdtemp(bench->folder));
	snprintf(bench->image, sizeof(bench->image), "%s/image", bench->folder);
	assert_int_equal(knot_device_create_file(bench->image, scene->volume_bytes, &bench->device), 0);
	bench->device->write_unit_bytes = scene->write_unit_bytes;
	assert_int_equal(knot_mkfs(bench->device, &mkfs, NULL), 0);
	open_volume(bench, false);
}

static inline void remove_volume(struct bench *bench)
{
	unlink(bench->image);
	rmdir(bench->folder);
}

/* ---- what is in them --------------------------------------------------------------------------------------------- */

static inline uint64_t make_dir(struct bench *bench, uint64_t dir, const char *name)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mkdir(bench->volume, NULL, dir, name, strlen(name), 0751, &attr), 0);
	knot_vfs_forget(bench->volume, NULL, attr.inode, 1);
	return attr.inode;
}

/* The lookup is kept. */
static inline uint64_t make_node(struct bench *bench, uint64_t dir, const char *name, uint32_t mode, uint64_t rdev)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mknod(bench->volume, NULL, dir, name, strlen(name), mode, rdev, &attr), 0);
	return attr.inode;
}

static inline uint64_t make_file(struct bench *bench, uint64_t dir, const char *name)
{
	return make_node(bench, dir, name, S_IFREG | 0644, 0);
}

static inline void let_go(struct bench *bench, uint64_t inode)
{
	knot_vfs_forget(bench->volume, NULL, inode, 1);
}

/* Bytes that depend on place and seed; never 0. */
static inline void put(struct bench *bench, uint64_t inode, uint64_t at, size_t len_bytes, unsigned seed)
{
	size_t step_max = knot_vfs_write_max(bench->volume);
	uint8_t *buffer = malloc(len_bytes);

	assert_non_null(buffer);
	for (size_t i = 0; i < len_bytes; i++)
		buffer[i] = (uint8_t)(1u + ((at + i) * 7u + (at + i) / 4096u * 31u + seed) % 255u);
	for (size_t done = 0; done < len_bytes;) {
		size_t step = len_bytes - done < step_max ? len_bytes - done : step_max;

		assert_int_equal(knot_vfs_write(bench->volume, NULL, inode, at + done, step, buffer + done, false), 0);
		done += step;
	}
	free(buffer);
}

static inline void resize(struct bench *bench, uint64_t inode, uint64_t size)
{
	struct knot_attr wanted = { .size = size }, attr;

	assert_int_equal(knot_vfs_setattr(bench->volume, NULL, inode, KNOT_SET_SIZE, &wanted, &attr), 0);
}

static inline void sync_file(struct bench *bench, uint64_t inode)
{
	assert_int_equal(knot_vfs_fsync(bench->volume, NULL, inode, false), 0);
}

static inline void remove_name(struct bench *bench, uint64_t dir, const char *name)
{
	assert_int_equal(knot_vfs_unlink(bench->volume, NULL, dir, name, strlen(name)), 0);
}

static inline void make_link(struct bench *bench, uint64_t inode, uint64_t dir, const char *name)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_link(bench->volume, NULL, inode, dir, name, strlen(name), &attr), 0);
	let_go(bench, inode);
}

/* Names of all lengths, enough of them for a tree of several levels; hard links. */
static inline void fill_names(struct bench *bench, uint64_t dir)
{
	uint64_t many = make_dir(bench, dir, "many names"), deep = many;

	for (unsigned i = 1; i <= 255; i++) {
		char name[256];
		uint64_t inode;

		memset(name, "abc%\n \xc3~"[i % 8], i);
		snprintf(name + i - (i < 3 ? i : 3), 4, "%0*u", i < 3 ? (int)i : 3, i);
		name[i] = 0;
		inode = make_file(bench, many, name);
		if (i % 5 == 0)
			make_link(bench, inode, dir, name);
		if (i % 3 == 0)
			put(bench, inode, 0, i, i);
		let_go(bench, inode);
	}
	for (unsigned i = 0; i < 40; i++)
		deep = make_dir(bench, deep, "deeper");
	remove_name(bench, many, "1");
	assert_int_equal(knot_vfs_rename(bench->volume, NULL, many, "02", 2, deep, "moved", 5, 0), 0);
}

static inline void fill_symlinks(struct bench *bench, uint64_t dir)
{
	static const size_t lengths[] = { 1, 5, 960, 961, 4095 };
	char target[4096];

	memset(target, 't', sizeof(target));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct knot_attr attr;
		char name[32];
		int name_bytes = snprintf(name, sizeof(name), "symlink %zu", lengths[i]);

		assert_int_equal(
			knot_vfs_symlink(bench->volume, NULL, dir, name, (size_t)name_bytes, target, lengths[i], &attr),
			0);
		let_go(bench, attr.inode);
	}
}

static inline void fill_nodes(struct bench *bench, uint64_t dir)
{
	struct knot_attr wanted = { .uid = 1000, .gid = 1001, .mode = 06711, .mtime = { -3, 999999999 } }, attr;
	uint64_t inode = make_node(bench, dir, "device", S_IFCHR | 0600, makedev(8, 513));

	let_go(bench, inode);
	let_go(bench, make_node(bench, dir, "block", S_IFBLK | 0660, makedev(259, 1)));
	let_go(bench, make_node(bench, dir, "pipe", MAKE_FIFO, 0));
	let_go(bench, make_node(bench, dir, "socket", S_IFSOCK | 0777, 0));
	assert_int_equal(knot_vfs_setattr(bench->volume, NULL, inode,
					  KNOT_SET_UID | KNOT_SET_GID | KNOT_SET_MODE | KNOT_SET_MTIME, &wanted, &attr),
			 0);
}

static inline void fill_sizes(struct bench *bench, uint64_t dir)
{
	static const size_t sizes[] = { 0, 1, 767, 768, 769, 4095, 4096, 4097, 8192, 70000, 300000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char name[32];
		uint64_t inode;

		snprintf(name, sizeof(name), "size %zu", sizes[i]);
		inode = make_file(bench, dir, name);
		put(bench, inode, 0, sizes[i], (unsigned)i);
		if (i % 2)
			sync_file(bench, inode);
		let_go(bench, inode);
	}
}

static inline void fill_holes(struct bench *bench, uint64_t dir)
{
	uint64_t sparse = make_file(bench, dir, "sparse"), grown = make_file(bench, dir, "inline, then grown");
	uint64_t shrunk = make_file(bench, dir, "shrunk"), hole = make_file(bench, dir, "hole");

	put(bench, sparse, 5000, 100, 1);
	put(bench, sparse, 3u << 20, 9000, 2);
	sync_file(bench, sparse);
	put(bench, sparse, 20u << 20, 1, 3);
	put(bench, grown, 0, 50, 4);
	sync_file(bench, grown);
	resize(bench, grown, 1000000);
	put(bench, shrunk, 0, 100000, 5);
	sync_file(bench, shrunk);
	resize(bench, shrunk, 33333);
	sync_file(bench, shrunk);
	resize(bench, shrunk, 66666);
	resize(bench, hole, 12345678);
	let_go(bench, sparse);
	let_go(bench, grown);
	let_go(bench, shrunk);
	let_go(bench, hole);
}

/* Interleaved files, overwritten parts, so many extents that a truncation to 0 leaves them behind. */
static inline void fill_extents(struct bench *bench, uint64_t dir)
{
	uint64_t left = make_file(bench, dir, "left"), right = make_file(bench, dir, "right");
	uint64_t comb = make_file(bench, dir, "comb");

	for (unsigned i = 0; i < 8; i++) {
		put(bench, left, i * 100000u, 100000, i);
		sync_file(bench, left);
		put(bench, right, i * 50000u, 50000, i + 100);
		sync_file(bench, right);
	}
	put(bench, left, 150000, 300000, 200);
	sync_file(bench, left);
	put(bench, left, 123, 4567, 201);
	for (unsigned i = 0; i < 150; i++) {
		put(bench, comb, i * 8192u, 4096, i);
		if (i % 10 == 0)
			sync_file(bench, comb);
	}
	sync_file(bench, comb);
	resize(bench, comb, 0);
	put(bench, comb, 4096, 10000, 77);
	sync_file(bench, comb);
	let_go(bench, left);
	let_go(bench, right);
	let_go(bench, comb);
}

static inline void fill(struct bench *bench, const char *name)
{
	uint64_t dir = make_dir(bench, ROOT, name);

	fill_names(bench, dir);
	fill_symlinks(bench, dir);
	fill_nodes(bench, dir);
	fill_sizes(bench, dir);
	fill_holes(bench, dir);
	fill_extents(bench, dir);
}

/* Files that have lost their name, but not their user: orphans. */
static inline void leave_orphans(struct bench *bench)
{
	for (unsigned i = 0; i < 3; i++) {
		uint64_t inode = make_file(bench, ROOT, "orphan");

		put(bench, inode, 0, 100 + i * 20000u, i);
		sync_file(bench, inode);
		remove_name(bench, ROOT, "orphan");
	}
}

static inline void sync_volume(struct bench *bench)
{
	assert_int_equal(knot_vfs_syncfs(bench->volume, NULL), 0);
}

#endif
