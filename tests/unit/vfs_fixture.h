/* SPDX-License-Identifier: MIT */
/* A small volume on a memory device without threads, for the tests of fs/vfs. */
#ifndef KNOT_TESTS_VFS_FIXTURE_H
#define KNOT_TESTS_VFS_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/disk/device.h"
#include "fs/txn/txn.h"
#include "fs/util/request.h"
#include "mkfs/format.h"

#include <knotfs/knotfs.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define ROOT 1u

struct fixture {
	struct knot_device *device;
	struct knot_volume_options options;
	struct knot_volume *volume;
	int64_t clock_sec;
	unsigned errors_said;
	struct knot_messages messages;
};

/* Every call is a second later than the one before. */
static inline struct knot_time fixture_now(void *arg)
{
	struct fixture *fixture = arg;

	return (struct knot_time){ .sec = ++fixture->clock_sec, .nsec = 5 };
}

static inline void fixture_emit(void *arg, enum knot_severity severity, const char *line)
{
	struct fixture *fixture = arg;

	if (severity == KNOT_ERROR) {
		fixture->errors_said++;
		print_message("%s\n", line);
	}
}

static inline void fixture_open(struct fixture *fixture)
{
	assert_int_equal(knot_volume_open(&fixture->options, &fixture->volume), 0);
}

static inline void fixture_make(struct fixture *fixture, uint64_t volume_bytes)
{
	struct knot_mkfs_options mkfs = { .time_sec = 1000 };

	memset(fixture, 0, sizeof(*fixture));
	fixture->clock_sec = 2000;
	fixture->messages = (struct knot_messages){ .emit = fixture_emit, .arg = fixture };
	assert_int_equal(knot_device_open_memory(volume_bytes, &fixture->device), 0);
	mkfs.messages = &fixture->messages;
	assert_int_equal(knot_mkfs(fixture->device, &mkfs, NULL), 0);
	fixture->options = (struct knot_volume_options){
		.device = fixture->device,
		.messages = &fixture->messages,
		.cache_bytes = 16 << 20,
		.log_buffer_bytes = 4 << 20,
		.commit_policy = 1,
		.now = fixture_now,
		.now_arg = fixture,
	};
	fixture_open(fixture);
}

static inline void fixture_close(struct fixture *fixture)
{
	assert_int_equal(knot_volume_close(fixture->volume), 0);
	fixture->volume = NULL;
}

static inline void fixture_reopen(struct fixture *fixture)
{
	fixture_close(fixture);
	fixture_open(fixture);
}

/* What a power cut leaves: everything that is not durable is lost. */
static inline void fixture_cut(struct fixture *fixture)
{
	knot_volume_abandon(fixture->volume);
	fixture_open(fixture);
}

static inline void fixture_free(struct fixture *fixture)
{
	if (fixture->volume)
		fixture_close(fixture);
	knot_device_close(fixture->device);
}

static inline int fixture_setup(void **state)
{
	struct fixture *fixture = malloc(sizeof(*fixture));

	fixture_make(fixture, 64 << 20);
	*state = fixture;
	return 0;
}

static inline int fixture_setup_strict(void **state)
{
	struct fixture *fixture;

	fixture_setup(state);
	fixture = *state;
	fixture_close(fixture);
	fixture->options.strict = true;
	fixture_open(fixture);
	return 0;
}

static inline int fixture_teardown(void **state)
{
	struct fixture *fixture = *state;

	fixture_free(fixture);
	free(fixture);
	return 0;
}

/* ---- shorthands; names are strings; lookups that they take are given back, but for `hold` ---- */

static inline int hold(struct fixture *fixture, uint64_t dir, const char *name, struct knot_attr *attr)
{
	return knot_vfs_lookup(fixture->volume, NULL, dir, name, strlen(name), attr);
}

static inline void let_go(struct fixture *fixture, uint64_t inode)
{
	knot_vfs_forget(fixture->volume, NULL, inode, 1);
}

static inline int find(struct fixture *fixture, uint64_t dir, const char *name, struct knot_attr *attr)
{
	int err = hold(fixture, dir, name, attr);

	if (!err)
		let_go(fixture, attr->inode);
	return err;
}

static inline uint64_t number_of(struct fixture *fixture, uint64_t dir, const char *name)
{
	struct knot_attr attr;

	return find(fixture, dir, name, &attr) ? 0 : attr.inode;
}

static inline int make_file(struct fixture *fixture, uint64_t dir, const char *name, uint64_t *inode)
{
	struct knot_attr attr;
	int err = knot_vfs_mknod(fixture->volume, NULL, dir, name, strlen(name), S_IFREG | 0644, 0, &attr);

	if (inode)
		*inode = err ? 0 : attr.inode;
	if (!err)
		let_go(fixture, attr.inode);
	return err;
}

static inline int make_dir(struct fixture *fixture, uint64_t dir, const char *name, uint64_t *inode)
{
	struct knot_attr attr;
	int err = knot_vfs_mkdir(fixture->volume, NULL, dir, name, strlen(name), 0755, &attr);

	if (inode)
		*inode = err ? 0 : attr.inode;
	if (!err)
		let_go(fixture, attr.inode);
	return err;
}

static inline int unlink_name(struct fixture *fixture, uint64_t dir, const char *name)
{
	return knot_vfs_unlink(fixture->volume, NULL, dir, name, strlen(name));
}

static inline int rmdir_name(struct fixture *fixture, uint64_t dir, const char *name)
{
	return knot_vfs_rmdir(fixture->volume, NULL, dir, name, strlen(name));
}

static inline int rename_name(struct fixture *fixture, uint64_t dir, const char *name, uint64_t new_dir,
			      const char *new_name, unsigned flags)
{
	return knot_vfs_rename(fixture->volume, NULL, dir, name, strlen(name), new_dir, new_name, strlen(new_name),
			       flags);
}

static inline struct knot_attr attr_of(struct fixture *fixture, uint64_t inode)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_getattr(fixture->volume, NULL, inode, &attr), 0);
	return attr;
}

static inline void put_text(struct fixture *fixture, uint64_t inode, const char *text)
{
	assert_int_equal(knot_vfs_write(fixture->volume, NULL, inode, 0, strlen(text), text, false), 0);
}

static inline void assert_text(struct fixture *fixture, uint64_t inode, const char *text)
{
	char buffer[256];
	size_t got;

	assert_int_equal(knot_vfs_read(fixture->volume, NULL, inode, 0, sizeof(buffer), buffer, &got), 0);
	assert_int_equal(got, strlen(text));
	assert_memory_equal(buffer, text, got);
}

static inline struct knot_statfs statfs_of(struct fixture *fixture)
{
	struct knot_statfs out;

	assert_int_equal(knot_vfs_statfs(fixture->volume, NULL, &out), 0);
	return out;
}

#endif
