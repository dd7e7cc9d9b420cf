/* SPDX-License-Identifier: MIT */
#include "tests/lib/dump.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

static struct dump_record *add(struct dump *dump)
{
	if (dump->count == dump->room) {
		dump->room = dump->room ? dump->room * 2 : 32;
		dump->records = realloc(dump->records, dump->room * sizeof(*dump->records));
		assert(dump->records);
	}
	memset(&dump->records[dump->count], 0, sizeof(dump->records[0]));
	return &dump->records[dump->count++];
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct dump_record *)a)->path, ((const struct dump_record *)b)->path);
}

static uint64_t mix_time(uint64_t digest, struct knot_time time)
{
	digest = model_hash(&time.sec, sizeof(time.sec), digest);
	return model_hash(&time.nsec, sizeof(time.nsec), digest);
}

/* Hard links: the first path that shows the inode stands for it. */
static const char *first_path(const struct dump *dump, const struct dump_record *record)
{
	for (size_t i = 0; i < dump->count; i++) {
		if (dump->records[i].identity == record->identity)
			return dump->records[i].path;
	}
	return record->path;
}

static void digest(struct dump *dump)
{
	uint64_t names = 0, full = 0;

	if (dump->count)
		qsort(dump->records, dump->count, sizeof(dump->records[0]), by_path);
	for (size_t i = 0; i < dump->count; i++) {
		const struct dump_record *record = &dump->records[i];
		const char *first = first_path(dump, record);
		uint32_t words[4] = { record->mode, record->uid, record->gid, record->nlink };
		uint64_t data;

		names = model_hash(record->path, strlen(record->path) + 1, names);
		names = model_hash(first, strlen(first) + 1, names);
		names = model_hash(words, sizeof(words), names);
		data = model_hash(&record->size, sizeof(record->size), record->hash);
		data = mix_time(mix_time(data, record->mtime), record->ctime);
		if (!S_ISREG(record->mode))
			names = model_hash(&data, sizeof(data), names);
		full = model_hash(&names, sizeof(names), full);
		full = model_hash(&data, sizeof(data), full);
	}
	dump->names_digest = names;
	dump->full_digest = full;
}

struct walk {
	struct knot_volume *volume;
	struct dump *dump;
	const char *path;
	int err;
};

static int contents(struct knot_volume *volume, struct dump_record *record)
{
	size_t got = 0;
	uint8_t *bytes;
	int err = 0;

	if (record->size > (64u << 20))
		return -EFBIG;
	bytes = calloc(1, (size_t)record->size + 1);
	assert(bytes);
	if (S_ISLNK(record->mode)) {
		got = (size_t)record->size;
		err = knot_vfs_readlink(volume, NULL, record->identity, (char *)bytes, &got);
	} else if (record->size) {
		err = knot_vfs_read(volume, NULL, record->identity, 0, (size_t)record->size, bytes, &got);
	}
	if (!err && got != record->size)
		err = -EIO;
	record->hash = model_hash(bytes, got, 1);
	free(bytes);
	return err;
}

struct name {
	char text[MODEL_NAME_MAX * 8];
};

struct names {
	struct name *list;
	size_t count, room;
};

static int take_name(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type, uint64_t next_offset,
		     const struct knot_attr *attr)
{
	struct names *names = arg;

	(void)inode, (void)type, (void)next_offset, (void)attr;
	if ((name_bytes == 1 && name[0] == '.') || (name_bytes == 2 && name[0] == '.' && name[1] == '.'))
		return 0;
	if (names->count == names->room) {
		names->room = names->room ? names->room * 2 : 64;
		names->list = realloc(names->list, names->room * sizeof(*names->list));
		assert(names->list);
	}
	assert(name_bytes < sizeof(names->list[0].text));
	memcpy(names->list[names->count].text, name, name_bytes);
	names->list[names->count++].text[name_bytes] = 0;
	return 0;
}

struct offset_fill {
	struct names *names;
	uint64_t offset;
	size_t taken;
};

static int fill(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type, uint64_t next_offset,
		const struct knot_attr *attr)
{
	struct offset_fill *state = arg;

	if (state->taken >= 7) /* small buffers: continuing is tested by every walk */
		return 1;
	state->taken++;
	state->offset = next_offset;
	return take_name(state->names, name, name_bytes, inode, type, next_offset, attr);
}

static int list(struct knot_volume *volume, uint64_t dir, struct names *names)
{
	struct offset_fill state = { .names = names };
	int err;

	do {
		state.taken = 0;
		err = knot_vfs_readdir(volume, NULL, dir, state.offset, false, fill, &state);
	} while (!err && state.taken);
	return err;
}

static int walk(struct knot_volume *volume, struct dump *dump, uint64_t inode, const char *path)
{
	struct names names = { 0 };
	struct knot_attr attr;
	struct dump_record *record;
	int err = knot_vfs_getattr(volume, NULL, inode, &attr);

	if (err)
		return err;
	record = add(dump);
	snprintf(record->path, sizeof(record->path), "%s", path);
	record->identity = inode;
	record->mode = attr.mode;
	record->uid = attr.uid;
	record->gid = attr.gid;
	record->nlink = knot_attr_nlink(&attr);
	record->size = attr.size;
	record->mtime = attr.mtime;
	record->ctime = attr.ctime;
	if (!S_ISDIR(attr.mode))
		return S_ISREG(attr.mode) || S_ISLNK(attr.mode) ? contents(volume, record) : 0;
	err = list(volume, inode, &names);
	for (size_t i = 0; !err && i < names.count; i++) {
		char child[DUMP_PATH_MAX];
		struct knot_attr found;

		snprintf(child, sizeof(child), "%.100s/%.50s", path, names.list[i].text);
		err = knot_vfs_lookup(volume, NULL, inode, names.list[i].text, strlen(names.list[i].text), &found);
		if (err)
			break;
		err = walk(volume, dump, found.inode, child);
		knot_vfs_forget(volume, NULL, found.inode, 1);
	}
	free(names.list);
	return err;
}

int dump_volume(struct knot_volume *volume, struct dump *dump)
{
	int err;

	memset(dump, 0, sizeof(*dump));
	err = walk(volume, dump, 1, "");
	if (!err)
		digest(dump);
	return err;
}

static void walk_model(const struct model *model, struct dump *dump, unsigned number, const char *path)
{
	const struct model_inode *inode = &model->inodes[number];
	struct dump_record *record = add(dump);

	snprintf(record->path, sizeof(record->path), "%s", path);
	record->identity = number;
	record->mode = inode->mode;
	record->uid = inode->uid;
	record->gid = inode->gid;
	record->nlink = S_ISDIR(inode->mode) ? 1 + inode->links + inode->subdirectories : inode->links;
	record->size = inode->size;
	record->mtime = inode->mtime;
	record->ctime = inode->ctime;
	if (S_ISREG(inode->mode)) {
		record->hash = inode->versions[inode->version_count - 1].hash;
		record->version = inode->version_count - 1;
		record->version_min = inode->version_min;
	} else if (!S_ISDIR(inode->mode)) {
		record->hash = model_hash(inode->bytes, (size_t)inode->size, 1);
	}
	for (unsigned i = 0; S_ISDIR(inode->mode) && i < MODEL_ENTRIES_MAX; i++) {
		char child[DUMP_PATH_MAX];

		if (!inode->entries[i].inode)
			continue;
		snprintf(child, sizeof(child), "%.100s/%.50s", path, inode->entries[i].name);
		walk_model(model, dump, inode->entries[i].inode, child);
	}
}

void dump_model(const struct model *model, struct dump *dump)
{
	memset(dump, 0, sizeof(*dump));
	walk_model(model, dump, 1, "");
	digest(dump);
	dump->op = model->op;
}

void dump_free(struct dump *dump)
{
	free(dump->records);
	memset(dump, 0, sizeof(*dump));
}

static void print_record(const char *side, const struct dump_record *record)
{
	fprintf(stderr,
		"  %s %s mode %o uid %u gid %u nlink %u size %llu hash %016llx mtime %lld.%09u ctime %lld.%09u\n", side,
		record->path[0] ? record->path : "/", record->mode, record->uid, record->gid, record->nlink,
		(unsigned long long)record->size, (unsigned long long)record->hash, (long long)record->mtime.sec,
		record->mtime.nsec, (long long)record->ctime.sec, record->ctime.nsec);
}

void dump_print_difference(const struct dump *volume, const struct dump *model)
{
	size_t i = 0, j = 0, printed = 0;

	while ((i < volume->count || j < model->count) && printed < 8) {
		const struct dump_record *have = i < volume->count ? &volume->records[i] : NULL;
		const struct dump_record *want = j < model->count ? &model->records[j] : NULL;
		int order = !have ? 1 : !want ? -1 : strcmp(have->path, want->path);

		if (order < 0) {
			print_record("only on the volume:", have);
			printed++;
		} else if (order > 0) {
			print_record("only in the model: ", want);
			printed++;
		} else if (have->mode != want->mode || have->uid != want->uid || have->gid != want->gid ||
			   have->nlink != want->nlink || have->size != want->size ||
			   (!S_ISDIR(have->mode) && have->hash != want->hash) ||
			   memcmp(&have->mtime.sec, &want->mtime.sec, 8) || have->mtime.nsec != want->mtime.nsec ||
			   have->ctime.sec != want->ctime.sec || have->ctime.nsec != want->ctime.nsec) {
			print_record("volume:", have);
			print_record("model: ", want);
			printed++;
		}
		i += order <= 0;
		j += order >= 0;
	}
}

bool dump_explains_ordered(const struct dump *volume, const struct dump *at, const struct model *live,
			   const size_t *durable, const char **why)
{
	*why = "names or attributes";
	if (volume->names_digest != at->names_digest || volume->count != at->count)
		return false;
	for (size_t i = 0; i < at->count; i++) {
		const struct dump_record *have = &volume->records[i], *want = &at->records[i];
		const struct model_inode *inode = &live->inodes[want->identity];
		size_t first = want->version_min > durable[want->identity] ? want->version_min
									   : durable[want->identity];
		bool found = false;

		if (!S_ISREG(want->mode))
			continue;
		for (size_t v = first; v < inode->version_count && !found; v++)
			found = inode->versions[v].size == have->size && inode->versions[v].hash == have->hash;
		if (!found) {
			*why = have->path;
			return false;
		}
	}
	return true;
}
