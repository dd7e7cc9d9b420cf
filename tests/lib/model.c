/* SPDX-License-Identifier: MIT */
#include "tests/lib/model.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

uint64_t model_hash(const void *bytes, size_t len_bytes, uint64_t seed)
{
	const uint8_t *at = bytes;
	uint64_t hash = seed ^ 0xcbf29ce484222325ULL;

	for (; len_bytes >= 8; len_bytes -= 8, at += 8) {
		uint64_t word;

		memcpy(&word, at, 8);
		hash = (hash ^ word) * 0x9e3779b97f4a7c15ULL;
		hash ^= hash >> 29;
	}
	for (; len_bytes > 0; len_bytes--, at++)
		hash = (hash ^ *at) * 0x100000001b3ULL;
	return hash ^ (hash >> 32);
}

static void add_version(struct model *model, struct model_inode *inode)
{
	if (inode->version_count == inode->version_room) {
		inode->version_room = inode->version_room ? inode->version_room * 2 : 8;
		inode->versions = realloc(inode->versions, inode->version_room * sizeof(*inode->versions));
		assert(inode->versions);
	}
	inode->versions[inode->version_count++] = (struct model_version){
		.op = model->op,
		.size = inode->size,
		.hash = model_hash(inode->bytes, (size_t)inode->size, 1),
		.mtime = inode->mtime,
	};
}

static unsigned new_inode(struct model *model, uint32_t mode)
{
	unsigned number = model->next++;
	struct model_inode *inode = &model->inodes[number];

	assert(number < MODEL_INODES_MAX);
	memset(inode, 0, sizeof(*inode));
	inode->used = true;
	inode->mode = mode;
	inode->links = 1;
	inode->last_op = model->op;
	inode->mtime = inode->ctime = model->now;
	if (S_ISDIR(mode)) {
		inode->entries = calloc(MODEL_ENTRIES_MAX, sizeof(*inode->entries));
		assert(inode->entries);
	}
	return number;
}

void model_init(struct model *model, uint32_t root_mode, struct knot_time now)
{
	memset(model, 0, sizeof(*model));
	model->next = 1;
	model->now = now;
	new_inode(model, root_mode);
	model->inodes[1].parent = 1;
}

void model_destroy(struct model *model)
{
	for (unsigned i = 0; i < model->next; i++) {
		free(model->inodes[i].bytes);
		free(model->inodes[i].versions);
		free(model->inodes[i].entries);
	}
}

static struct model_entry *find_entry(const struct model *model, unsigned dir, const char *name)
{
	for (unsigned i = 0; i < MODEL_ENTRIES_MAX; i++) {
		struct model_entry *entry = &model->inodes[dir].entries[i];

		if (entry->inode && strcmp(entry->name, name) == 0)
			return entry;
	}
	return NULL;
}

unsigned model_find(const struct model *model, unsigned dir, const char *name)
{
	const struct model_entry *entry = find_entry(model, dir, name);

	return entry ? entry->inode : 0;
}

static void touch_dir(struct model *model, unsigned dir)
{
	model->inodes[dir].mtime = model->inodes[dir].ctime = model->now;
	model->inodes[dir].last_op = model->op;
}

static void add_entry(struct model *model, unsigned dir, const char *name, unsigned inode)
{
	for (unsigned i = 0; i < MODEL_ENTRIES_MAX; i++) {
		struct model_entry *entry = &model->inodes[dir].entries[i];

		if (entry->inode)
			continue;
		strcpy(entry->name, name);
		entry->inode = inode;
		model->inodes[dir].size++;
		if (S_ISDIR(model->inodes[inode].mode)) {
			model->inodes[dir].subdirectories++;
			model->inodes[inode].parent = dir;
		}
		touch_dir(model, dir);
		return;
	}
	assert(0 && "the model has no room in this directory");
}

static void remove_entry(struct model *model, unsigned dir, struct model_entry *entry)
{
	model->inodes[dir].size--;
	if (S_ISDIR(model->inodes[entry->inode].mode))
		model->inodes[dir].subdirectories--;
	entry->inode = 0;
	touch_dir(model, dir);
}

static void drop_link(struct model *model, unsigned number)
{
	struct model_inode *inode = &model->inodes[number];

	inode->links--;
	inode->ctime = model->now;
	inode->ctime_by_data = false;
	inode->last_op = model->op;
	if (inode->links == 0)
		inode->used = false;
}

int model_create(struct model *model, unsigned dir, const char *name, uint32_t mode, uint32_t uid, uint32_t gid,
		 const char *target, unsigned *inode)
{
	if (model_find(model, dir, name))
		return -EEXIST;
	if (model->inodes[dir].mode & S_ISGID) {
		gid = model->inodes[dir].gid;
		if (S_ISDIR(mode))
			mode |= S_ISGID;
	}
	*inode = new_inode(model, mode);
	model->inodes[*inode].uid = uid;
	model->inodes[*inode].gid = gid;
	if (target) {
		model->inodes[*inode].size = strlen(target);
		model->inodes[*inode].bytes = (uint8_t *)strdup(target);
	}
	if (S_ISREG(mode))
		add_version(model, &model->inodes[*inode]);
	add_entry(model, dir, name, *inode);
	return 0;
}

int model_link(struct model *model, unsigned inode, unsigned dir, const char *name)
{
	if (S_ISDIR(model->inodes[inode].mode))
		return -EPERM;
	if (model_find(model, dir, name))
		return -EEXIST;
	model->inodes[inode].links++;
	model->inodes[inode].ctime = model->now;
	model->inodes[inode].ctime_by_data = false;
	model->inodes[inode].last_op = model->op;
	add_entry(model, dir, name, inode);
	return 0;
}

int model_unlink(struct model *model, unsigned dir, const char *name, bool directory)
{
	struct model_entry *entry = find_entry(model, dir, name);
	unsigned number = entry ? entry->inode : 0;
	bool is_dir = number && S_ISDIR(model->inodes[number].mode);

	if (!entry)
		return -ENOENT;
	if (directory && !is_dir)
		return -ENOTDIR;
	if (!directory && is_dir)
		return -EISDIR;
	if (directory && model->inodes[number].size > 0)
		return -ENOTEMPTY;
	remove_entry(model, dir, entry);
	drop_link(model, number);
	return 0;
}

static bool is_below(const struct model *model, unsigned dir, unsigned ancestor)
{
	for (; dir != ancestor; dir = model->inodes[dir].parent) {
		if (dir == 1)
			return false;
	}
	return true;
}

static int rename_check(const struct model *model, unsigned moved, unsigned old, unsigned dir, unsigned new_dir,
			unsigned flags)
{
	bool moved_dir = S_ISDIR(model->inodes[moved].mode), old_dir = old && S_ISDIR(model->inodes[old].mode);

	(void)dir;
	if ((flags & KNOT_RENAME_NOREPLACE) && old)
		return -EEXIST;
	if ((flags & KNOT_RENAME_EXCHANGE) && !old)
		return -ENOENT;
	if (moved_dir && is_below(model, new_dir, moved))
		return -EINVAL;
	if ((flags & KNOT_RENAME_EXCHANGE) && old_dir && is_below(model, dir, old))
		return -EINVAL;
	if (!old || (flags & KNOT_RENAME_EXCHANGE))
		return 0;
	if (moved_dir && !old_dir)
		return -ENOTDIR;
	if (!moved_dir && old_dir)
		return -EISDIR;
	return old_dir && model->inodes[old].size > 0 ? -ENOTEMPTY : 0;
}

int model_rename(struct model *model, unsigned dir, const char *name, unsigned new_dir, const char *new_name,
		 unsigned flags)
{
	unsigned moved = model_find(model, dir, name), old = model_find(model, new_dir, new_name);
	int err;

	if (!moved)
		return -ENOENT;
	if (old == moved && !(flags & KNOT_RENAME_NOREPLACE))
		return 0;
	err = rename_check(model, moved, old, dir, new_dir, flags);
	if (err)
		return err;
	remove_entry(model, dir, find_entry(model, dir, name));
	if (old)
		remove_entry(model, new_dir, find_entry(model, new_dir, new_name));
	add_entry(model, new_dir, new_name, moved);
	model->inodes[moved].ctime = model->now;
	model->inodes[moved].ctime_by_data = false;
	model->inodes[moved].last_op = model->op;
	if (flags & KNOT_RENAME_EXCHANGE) {
		add_entry(model, dir, name, old);
		model->inodes[old].ctime = model->now;
		model->inodes[old].ctime_by_data = false;
		model->inodes[old].last_op = model->op;
	} else if (old) {
		drop_link(model, old);
		if (S_ISREG(model->inodes[moved].mode))
			model_flushed(model, moved);
	}
	return 0;
}

static void changed_data(struct model *model, struct model_inode *inode)
{
	inode->mtime = inode->ctime = model->now;
	inode->ctime_by_data = true;
	add_version(model, inode);
}

static void resize(struct model_inode *inode, uint64_t size)
{
	inode->bytes = realloc(inode->bytes, (size_t)size + 1);
	assert(inode->bytes);
	if (size > inode->size)
		memset(inode->bytes + inode->size, 0, (size_t)(size - inode->size));
	inode->size = size;
}

int model_write(struct model *model, unsigned number, uint64_t at, size_t len_bytes, const uint8_t *bytes)
{
	struct model_inode *inode = &model->inodes[number];

	if (at + len_bytes > inode->size)
		resize(inode, at + len_bytes);
	memcpy(inode->bytes + at, bytes, len_bytes);
	changed_data(model, inode);
	return 0;
}

int model_truncate(struct model *model, unsigned number, uint64_t size)
{
	struct model_inode *inode = &model->inodes[number];
	bool shrinks = size > 0 && size < inode->size;

	if (shrinks)
		model_flushed(model, number);
	resize(inode, size);
	changed_data(model, inode);
	if (shrinks)
		model_flushed(model, number);
	return 0;
}

int model_chmod(struct model *model, unsigned number, uint32_t mode)
{
	struct model_inode *inode = &model->inodes[number];

	inode->mode = (inode->mode & S_IFMT) | mode;
	inode->ctime = model->now;
	inode->ctime_by_data = false;
	inode->last_op = model->op;
	return 0;
}

int model_chown(struct model *model, unsigned number, uint32_t uid, uint32_t gid)
{
	struct model_inode *inode = &model->inodes[number];

	inode->uid = uid;
	inode->gid = gid;
	inode->ctime = model->now;
	inode->ctime_by_data = false;
	inode->last_op = model->op;
	return 0;
}

int model_utimes(struct model *model, unsigned number, struct knot_time mtime)
{
	struct model_inode *inode = &model->inodes[number];

	inode->mtime = mtime;
	inode->ctime = model->now;
	inode->ctime_by_data = false;
	inode->last_op = model->op;
	return 0;
}

void model_flushed(struct model *model, unsigned number)
{
	struct model_inode *inode = &model->inodes[number];

	(void)model;
	if (inode->version_count)
		inode->version_min = inode->version_count - 1;
}
