/* SPDX-License-Identifier: MIT */
/* A whole name space as a sorted list, of a volume or of a model; and whether one explains the other. */
#ifndef KNOT_TESTS_DUMP_H
#define KNOT_TESTS_DUMP_H

#include "tests/lib/model.h"

#define DUMP_PATH_MAX 160

struct dump_record {
	char path[DUMP_PATH_MAX];
	uint64_t identity; /* inode number: of the volume or of the model */
	uint32_t mode, uid, gid, nlink;
	uint64_t size, hash; /* of regular files and symlinks: contents */
	struct knot_time mtime, ctime;
	size_t version, version_min; /* of the model's regular files */
};

struct dump {
	struct dump_record *records;
	size_t count, room;
	uint64_t names_digest; /* everything but contents, sizes and times of regular files */
	uint64_t full_digest;  /* everything */
	size_t op;             /* of a model's dump */
};

/* Errors: what the volume answers. The caller frees the dump. */
int dump_volume(struct knot_volume *volume, struct dump *dump);
void dump_model(const struct model *model, struct dump *dump);
void dump_free(struct dump *dump);

/* Print where two dumps differ, a few lines. */
void dump_print_difference(const struct dump *volume, const struct dump *model);

/*
 * data=ordered: true if `volume` shows the names of `model` (digests are equal), and each regular file in a version
 * that is not older than the model's minimum, nor than `durable` (by model inode) says; `live` has all versions.
 */
bool dump_explains_ordered(const struct dump *volume, const struct dump *at, const struct model *live,
			   const size_t *durable, const char **why);

#endif
