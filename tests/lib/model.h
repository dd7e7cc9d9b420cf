/* SPDX-License-Identifier: MIT */
/*
 * What a volume should hold: a file system in memory, simple enough to be right by reading it.
 *
 * It numbers its own inodes; the driver maps them to the volume's by path. Regular files keep every version of their
 * data, so that a recovered volume can be asked which of them it shows.
 */
#ifndef KNOT_TESTS_MODEL_H
#define KNOT_TESTS_MODEL_H

#include <knotfs/knotfs.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MODEL_INODES_MAX  4096
#define MODEL_ENTRIES_MAX 64
#define MODEL_NAME_MAX    32

struct model_version { /* of a regular file's data */
	size_t op;     /* the operation that made it; 0: empty at birth */
	uint64_t size, hash;
	struct knot_time mtime;
};

struct model_entry {
	char name[MODEL_NAME_MAX];
	unsigned inode; /* 0: the entry is free */
};

struct model_inode {
	bool used;
	uint32_t mode, uid, gid, links, subdirectories;
	uint64_t size;
	struct knot_time mtime, ctime;
	bool ctime_by_data; /* the last ctime came with a write: exempt in ordered mode */
	uint8_t *bytes;     /* regular files and symlinks */
	struct model_version *versions;
	size_t version_count, version_room;
	size_t last_op;              /* the last change of its attributes or names */
	size_t durable_version;      /* a returned fsync covers it */
	size_t version_min;          /* what is on the medium is at least this one, once the current operation is */
	struct model_entry *entries; /* directories: MODEL_ENTRIES_MAX */
	unsigned parent;
};

struct model {
	struct model_inode inodes[MODEL_INODES_MAX]; /* 1 is the root, 0 none */
	unsigned next;
	size_t op; /* current operation, from 1 */
	struct knot_time now;
};

void model_init(struct model *model, uint32_t root_mode, struct knot_time now);
void model_destroy(struct model *model);

/* Each returns what the file system should: 0 or a negative errno. Directories and files are given by model inode. */
unsigned model_find(const struct model *model, unsigned dir, const char *name);
int model_create(struct model *model, unsigned dir, const char *name, uint32_t mode, uint32_t uid, uint32_t gid,
		 const char *target, unsigned *inode);
int model_link(struct model *model, unsigned inode, unsigned dir, const char *name);
int model_unlink(struct model *model, unsigned dir, const char *name, bool directory);
int model_rename(struct model *model, unsigned dir, const char *name, unsigned new_dir, const char *new_name,
		 unsigned flags);
int model_write(struct model *model, unsigned inode, uint64_t at, size_t len_bytes, const uint8_t *bytes);
int model_truncate(struct model *model, unsigned inode, uint64_t size);
int model_chmod(struct model *model, unsigned inode, uint32_t mode);
int model_chown(struct model *model, unsigned inode, uint32_t uid, uint32_t gid);
int model_utimes(struct model *model, unsigned inode, struct knot_time mtime);
/* The file's data up to now is flushed (fsync, or an operation that flushes it before its own change). */
void model_flushed(struct model *model, unsigned inode);

uint64_t model_hash(const void *bytes, size_t len_bytes, uint64_t seed);

#endif
