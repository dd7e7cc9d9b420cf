/* SPDX-License-Identifier: MIT */
#include "tests/lib/driver.h"

#include "tests/lib/sim_device.h"

#include <assert.h>
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define DIRS_MAX 10

static uint64_t pick(struct driver *driver, uint64_t below)
{
	return knot_test_random(&driver->random) % below;
}

__attribute__((format(printf, 2, 3))) static void say(struct driver *driver, const char *format, ...)
{
	va_list args;

	va_start(args, format);
	vsnprintf(driver->what, sizeof(driver->what), format, args);
	va_end(args);
}

struct knot_time driver_now(void *arg)
{
	uint64_t nsec = atomic_load(&((struct driver *)arg)->clock_nsec);

	return (struct knot_time){ .sec = (int64_t)(nsec / 1000000000), .nsec = (uint32_t)(nsec % 1000000000) };
}

void driver_init(struct driver *driver, uint64_t seed)
{
	memset(driver, 0, sizeof(*driver));
	driver->random = seed;
	driver->big_bytes = 200000;
	driver->request.uid = 500;
	driver->request.gid = 600;
	model_init(&driver->model, S_IFDIR | 0755, (struct knot_time){ .sec = 1000000000 });
	driver->inode_no[1] = 1;
	atomic_store(&driver->clock_nsec, 1000000000ULL * 1000000000ULL);
}

void driver_open(struct driver *driver, struct knot_volume *volume)
{
	driver->volume = volume;
	driver->write_max_bytes = knot_vfs_write_max(volume);
}

void driver_release(struct driver *driver)
{
	while (driver->held_count > 0)
		knot_vfs_forget(driver->volume, NULL, driver->held[--driver->held_count], 1);
}

void driver_destroy(struct driver *driver)
{
	model_destroy(&driver->model);
}

/* A random live inode with this type; 0 if there is none. */
static unsigned any(struct driver *driver, uint32_t type)
{
	unsigned start = (unsigned)pick(driver, driver->model.next);

	for (unsigned i = 0; i < driver->model.next; i++) {
		unsigned at = (start + i) % driver->model.next;

		if (driver->model.inodes[at].used && (driver->model.inodes[at].mode & S_IFMT) == type)
			return at;
	}
	return 0;
}

static unsigned any_dir(struct driver *driver)
{
	return any(driver, S_IFDIR);
}

static const char *any_name(struct driver *driver)
{
	static const char *const names[] = {
		"a", "b", "c", "d", "e", "file", "other", "x1", "x2", "a-rather-long-name"
	};

	return names[pick(driver, sizeof(names) / sizeof(names[0]))];
}

/* Whether the volume found no room: then the model does nothing either. */
static bool is_full(const struct driver *driver, int have)
{
	return driver->fills && have == -ENOSPC;
}

static unsigned count_dirs(const struct model *model)
{
	unsigned count = 0;

	for (unsigned i = 1; i < model->next; i++)
		count += model->inodes[i].used && S_ISDIR(model->inodes[i].mode);
	return count;
}

static int agree(struct driver *driver, int have, int want)
{
	if (have == want)
		return 0;
	if (driver->faults && (have == -EIO || have == -EROFS || have == -EUCLEAN)) {
		driver->fault = have;
		return have;
	}
	fprintf(stderr, "operation %zu, %s: the volume says %d (%s), the model %d (%s)\n", driver->model.op,
		driver->what, have, strerror(-have), want, strerror(-want));
	return -EPROTO;
}

static int step_create(struct driver *driver)
{
	unsigned dir = any_dir(driver), inode = 0;
	const char *name = any_name(driver);
	uint64_t kind = pick(driver, 10);
	uint32_t permissions = (uint32_t)pick(driver, 0777);
	struct knot_attr attr;
	char target[1200];
	int have, want;

	if (kind < 2 && count_dirs(&driver->model) < DIRS_MAX) {
		say(driver, "mkdir %u/%s", dir, name);
		have = knot_vfs_mkdir(driver->volume, &driver->request, driver->inode_no[dir], name, strlen(name),
				      S_IFDIR | permissions, &attr);
		want = is_full(driver, have) ? have
					     : model_create(&driver->model, dir, name, S_IFDIR | permissions, 500,
							    600, NULL, &inode);
	} else if (kind == 3) {
		memset(target, 'x', sizeof(target));
		target[1 + pick(driver, pick(driver, 4) ? 40 : sizeof(target) - 2)] = 0;
		say(driver, "symlink %u/%s, %zu bytes", dir, name, strlen(target));
		have = knot_vfs_symlink(driver->volume, &driver->request, driver->inode_no[dir], name, strlen(name),
					target, strlen(target), &attr);
		want = is_full(driver, have) ? have
					     : model_create(&driver->model, dir, name, S_IFLNK | 0777, 500, 600,
							    target, &inode);
	} else {
		say(driver, "create %u/%s", dir, name);
		have = knot_vfs_mknod(driver->volume, &driver->request, driver->inode_no[dir], name, strlen(name),
				      S_IFREG | permissions, 0, &attr);
		want = is_full(driver, have) ? have
					     : model_create(&driver->model, dir, name, S_IFREG | permissions, 500,
							    600, NULL, &inode);
	}
	if (!have && !want) {
		driver->inode_no[inode] = attr.inode;
		knot_vfs_forget(driver->volume, &driver->request, attr.inode, 1);
	}
	return agree(driver, have, want);
}

/* Before a name goes: sometimes keep the file open over it. */
static void maybe_hold(struct driver *driver, unsigned inode)
{
	struct knot_attr attr;

	if (!inode || !S_ISREG(driver->model.inodes[inode].mode) || driver->held_count == 8 || pick(driver, 4))
		return;
	for (unsigned dir = 1; dir < driver->model.next; dir++) {
		const struct model_inode *parent = &driver->model.inodes[dir];

		for (unsigned i = 0; parent->used && S_ISDIR(parent->mode) && i < MODEL_ENTRIES_MAX; i++) {
			if (parent->entries[i].inode != inode)
				continue;
			if (!knot_vfs_lookup(driver->volume, &driver->request, driver->inode_no[dir],
					     parent->entries[i].name, strlen(parent->entries[i].name), &attr))
				driver->held[driver->held_count++] = attr.inode;
			return;
		}
	}
}

static int step_unlink(struct driver *driver)
{
	unsigned dir = any_dir(driver);
	const char *name = any_name(driver);
	bool directory = pick(driver, 4) == 0;
	int have, want;

	say(driver, "%s %u/%s", directory ? "rmdir" : "unlink", dir, name);
	maybe_hold(driver, model_find(&driver->model, dir, name));
	have = directory ? knot_vfs_rmdir(driver->volume, &driver->request, driver->inode_no[dir], name, strlen(name))
			 : knot_vfs_unlink(driver->volume, &driver->request, driver->inode_no[dir], name, strlen(name));
	want = model_unlink(&driver->model, dir, name, directory);
	return agree(driver, have, want);
}

static int step_link(struct driver *driver)
{
	unsigned inode = any(driver, S_IFREG), dir = any_dir(driver);
	const char *name = any_name(driver);
	struct knot_attr attr;
	int have, want;

	if (!inode)
		return 0;
	say(driver, "link %u as %u/%s", inode, dir, name);
	have = knot_vfs_link(driver->volume, &driver->request, driver->inode_no[inode], driver->inode_no[dir], name,
			     strlen(name), &attr);
	want = is_full(driver, have) ? have : model_link(&driver->model, inode, dir, name);
	if (!have)
		knot_vfs_forget(driver->volume, &driver->request, attr.inode, 1);
	return agree(driver, have, want);
}

static int step_rename(struct driver *driver)
{
	static const unsigned all_flags[] = { 0, 0, 0, 0, KNOT_RENAME_NOREPLACE, KNOT_RENAME_EXCHANGE };
	unsigned dir = any_dir(driver), new_dir = any_dir(driver), flags = all_flags[pick(driver, 6)];
	const char *name = any_name(driver), *new_name = any_name(driver);
	int have, want;

	say(driver, "rename %u/%s to %u/%s, flags %u", dir, name, new_dir, new_name, flags);
	maybe_hold(driver, model_find(&driver->model, new_dir, new_name));
	have = knot_vfs_rename(driver->volume, &driver->request, driver->inode_no[dir], name, strlen(name),
			       driver->inode_no[new_dir], new_name, strlen(new_name), flags);
	want = is_full(driver, have) ? have
				     : model_rename(&driver->model, dir, name, new_dir, new_name, flags);
	return agree(driver, have, want);
}

static int step_write(struct driver *driver)
{
	unsigned number = any(driver, S_IFREG);
	struct model_inode *inode = &driver->model.inodes[number];
	size_t len = 1 + (size_t)pick(driver, pick(driver, 4) ? 6000 : driver->big_bytes);
	uint64_t at, mark = knot_test_random(&driver->random);
	uint8_t *bytes;
	int have, want;

	if (!number)
		return 0;
	if (len > driver->write_max_bytes)
		len = driver->write_max_bytes;
	at = pick(driver, 3) ? inode->size : pick(driver, inode->size + 10000);
	if (pick(driver, 3) == 0)
		at &= ~4095ULL;
	if (at + len > 1500000)
		at = 0;
	bytes = malloc(len);
	assert(bytes);
	for (size_t i = 0; i < len; i++)
		bytes[i] = (uint8_t)(mark >> (i % 8 * 8)) ^ (uint8_t)(i >> 3);
	say(driver, "write %u at %llu, %zu bytes", number, (unsigned long long)at, len);
	have = knot_vfs_write(driver->volume, &driver->request, driver->inode_no[number], at, len, bytes, false);
	want = have == -ENOSPC ? have : model_write(&driver->model, number, at, len, bytes);
	free(bytes);
	return agree(driver, have, want);
}

static int step_truncate(struct driver *driver)
{
	unsigned number = any(driver, S_IFREG);
	struct knot_attr wanted = { 0 }, attr;
	uint64_t size = pick(driver, 2) ? 0 : pick(driver, driver->model.inodes[number].size + 9000);
	int have, want;

	if (!number)
		return 0;
	say(driver, "truncate %u to %llu", number, (unsigned long long)size);
	wanted.size = size;
	have = knot_vfs_setattr(driver->volume, &driver->request, driver->inode_no[number], KNOT_SET_SIZE, &wanted,
				&attr);
	want = model_truncate(&driver->model, number, size);
	return agree(driver, have, want);
}

static int step_attributes(struct driver *driver)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFDIR, S_IFLNK };
	unsigned number = any(driver, types[pick(driver, 4)]);
	struct knot_attr wanted = { 0 }, attr;
	uint64_t kind = pick(driver, 3);
	int have, want;

	if (!number)
		return 0;
	if (kind == 0) {
		wanted.mode = (uint32_t)pick(driver, 07777);
		say(driver, "chmod %u", number);
		have = knot_vfs_setattr(driver->volume, &driver->request, driver->inode_no[number], KNOT_SET_MODE,
					&wanted, &attr);
		want = model_chmod(&driver->model, number, wanted.mode);
	} else if (kind == 1) {
		wanted.uid = (uint32_t)pick(driver, 1000);
		wanted.gid = (uint32_t)pick(driver, 1000);
		say(driver, "chown %u", number);
		have = knot_vfs_setattr(driver->volume, &driver->request, driver->inode_no[number],
					KNOT_SET_UID | KNOT_SET_GID, &wanted, &attr);
		want = model_chown(&driver->model, number, wanted.uid, wanted.gid);
	} else {
		wanted.mtime = (struct knot_time){ .sec = (int64_t)pick(driver, 1u << 31),
						   .nsec = (uint32_t)pick(driver, 1000000000) };
		say(driver, "utimens %u", number);
		have = knot_vfs_setattr(driver->volume, &driver->request, driver->inode_no[number], KNOT_SET_MTIME,
					&wanted, &attr);
		want = model_utimes(&driver->model, number, wanted.mtime);
	}
	return agree(driver, have, want);
}

/* An fsync has returned: the inode's data and attributes are durable; with data=strict everything before is. */
static void synced(struct driver *driver, unsigned number, bool data_only)
{
	struct model_inode *inode = &driver->model.inodes[number];
	size_t covered = driver->strict ? driver->model.op : data_only ? 0 : inode->last_op;

	model_flushed(&driver->model, number);
	inode->durable_version = inode->version_min;
	if (covered > driver->durable_op)
		driver->durable_op = covered;
}

static int step_sync(struct driver *driver)
{
	uint64_t kind = pick(driver, 8);
	unsigned number;
	int have = 0;

	if (kind < 4) {
		number = any(driver, S_IFREG);
		if (!number)
			return 0;
		say(driver, "fsync %u", number);
		driver->synced = number;
		have = knot_vfs_fsync(driver->volume, &driver->request, driver->inode_no[number], kind == 0);
		synced(driver, number, kind == 0);
	} else if (kind < 5) {
		number = any_dir(driver);
		say(driver, "fsyncdir %u", number);
		have = knot_vfs_fsyncdir(driver->volume, &driver->request, driver->inode_no[number]);
		synced(driver, number, kind == 0);
	} else if (kind < 6) {
		say(driver, "syncfs");
		have = knot_vfs_syncfs(driver->volume, &driver->request);
		for (unsigned i = 1; i < driver->model.next; i++)
			synced(driver, i, false);
		driver->durable_op = driver->model.op;
	} else if (kind < 7) {
		say(driver, "checkpoint");
		have = knot_vfs_checkpoint(driver->volume, &driver->request);
	} else {
		bool all = pick(driver, 2);

		say(driver, "tick%s", all ? " (all)" : "");
		have = knot_volume_tick(driver->volume, all);
	}
	return agree(driver, have, 0);
}

int driver_step(struct driver *driver)
{
	struct model *model = &driver->model;
	uint64_t kind = pick(driver, 100);

	model->op++;
	driver->synced = 0;
	model->now.sec += 1;
	model->now.nsec = (uint32_t)pick(driver, 1000000000);
	atomic_store(&driver->clock_nsec, (uint64_t)model->now.sec * 1000000000ULL + model->now.nsec);
	if (driver->held_count && pick(driver, 6) == 0)
		knot_vfs_forget(driver->volume, NULL, driver->held[--driver->held_count], 1);
	if (model->next + 2 >= MODEL_INODES_MAX)
		kind = 90;
	if (kind < 20)
		return step_create(driver);
	if (kind < 30)
		return step_unlink(driver);
	if (kind < 36)
		return step_link(driver);
	if (kind < 48)
		return step_rename(driver);
	if (kind < 72)
		return step_write(driver);
	if (kind < 78)
		return step_truncate(driver);
	if (kind < 86)
		return step_attributes(driver);
	return step_sync(driver);
}

int driver_compare(struct driver *driver)
{
	struct dump have, want;
	int err = dump_volume(driver->volume, &have);

	if (err) {
		fprintf(stderr, "operation %zu, %s: the volume can't be walked: %s\n", driver->model.op, driver->what,
			strerror(-err));
		dump_free(&have);
		return -EPROTO;
	}
	dump_model(&driver->model, &want);
	if (have.full_digest != want.full_digest) {
		fprintf(stderr, "after operation %zu, %s, volume and model differ:\n", driver->model.op, driver->what);
		dump_print_difference(&have, &want);
		err = -EPROTO;
	}
	dump_free(&have);
	dump_free(&want);
	return err;
}

uint64_t driver_seed(const char *test, uint64_t fallback)
{
	const char *text = getenv("KNOT_SEED");
	uint64_t seed = text ? strtoull(text, NULL, 0) : fallback;

	printf("%s: KNOT_SEED=%llu\n", test, (unsigned long long)seed);
	fflush(stdout);
	return seed;
}

size_t driver_scaled(size_t count)
{
	const char *text = getenv("KNOT_TEST_PERCENT");
	size_t percent = text ? strtoul(text, NULL, 10) : 100;

	count = count * percent / 100;
	return count ? count : 1;
}
