/* SPDX-License-Identifier: MIT */
/*
 * Every problem that fsck knows. The numbers are stable: they are printed behind each line, and scripts and tests go by
 * them. The hundreds are the passes. The texts are in problems.c.
 */
#ifndef KNOT_FSCK_PROBLEMS_H
#define KNOT_FSCK_PROBLEMS_H

#include "fs/util/message.h"

enum knot_fsck_problem {
	/* superblock, log, state page */
	KNOT_FSCK_SUPER_PRIMARY = 101,
	KNOT_FSCK_SUPER_SPARE = 102,
	KNOT_FSCK_SUPER_DIFFERS = 103,
	KNOT_FSCK_SUPER_LOST = 104,
	KNOT_FSCK_LOG = 105,
	KNOT_FSCK_STATE_PAGE = 110,
	KNOT_FSCK_STATE_GROUPS = 111,
	KNOT_FSCK_STATE_INODES = 112,
	KNOT_FSCK_STATE_ORPHANS = 113,
	KNOT_FSCK_STATE_SECOND_NAMES = 114,

	/* the tree */
	KNOT_FSCK_TREE_PAGE = 201,
	KNOT_FSCK_TREE_OUTSIDE = 202,
	KNOT_FSCK_TREE_TWICE = 203,
	KNOT_FSCK_TREE_LEVEL = 204,
	KNOT_FSCK_TREE_STALE = 205,
	KNOT_FSCK_TREE_RANGE = 206,
	KNOT_FSCK_TREE_PREFIX = 207,
	KNOT_FSCK_TREE_FEW = 208,
	KNOT_FSCK_PAGE_FUTURE = 209,
	KNOT_FSCK_ITEM_UNKNOWN = 210,
	KNOT_FSCK_ITEM_MALFORMED = 211,

	/* inodes and data */
	KNOT_FSCK_INODE_VALUE = 301,
	KNOT_FSCK_INODE_MISSING = 302,
	KNOT_FSCK_INODE_NUMBER = 303,
	KNOT_FSCK_INODE_PAGES = 304,
	KNOT_FSCK_INODE_NO_DATA = 305,
	KNOT_FSCK_INLINE_EXTENTS = 306,
	KNOT_FSCK_INLINE_LONG = 307,
	KNOT_FSCK_EXTENT_VALUE = 308,
	KNOT_FSCK_EXTENT_OUTSIDE = 309,
	KNOT_FSCK_EXTENT_OVERLAP = 310,
	KNOT_FSCK_EXTENT_TWICE = 311,
	KNOT_FSCK_EXTENT_PAST_END = 312,
	KNOT_FSCK_DATA_OBJECT = 313,
	KNOT_FSCK_DATA_LOST = 314,
	KNOT_FSCK_TRUNCATION = 315,
	KNOT_FSCK_SYMLINK = 316,

	/* names */
	KNOT_FSCK_ENTRY_VALUE = 401,
	KNOT_FSCK_ENTRY_NAME = 402,
	KNOT_FSCK_ENTRY_HASH = 403,
	KNOT_FSCK_ENTRY_TWICE = 404,
	KNOT_FSCK_ENTRY_NO_INODE = 405,
	KNOT_FSCK_ENTRY_TYPE = 406,
	KNOT_FSCK_ENTRY_NO_REFERENCE = 407,
	KNOT_FSCK_REFERENCE_NO_ENTRY = 408,
	KNOT_FSCK_REFERENCE_NAME = 409,
	KNOT_FSCK_LINKS = 410,
	KNOT_FSCK_DIR_SIZE = 411,
	KNOT_FSCK_DIR_SUBDIRECTORIES = 412,
	KNOT_FSCK_NOT_A_DIR = 413,
	KNOT_FSCK_ORPHAN_NO_INODE = 414,
	KNOT_FSCK_ORPHAN_LINKED = 415,
	KNOT_FSCK_ORPHAN_MISSING = 416,
	KNOT_FSCK_UNREACHABLE = 417,
	KNOT_FSCK_ROOT = 418,

	/* allocation */
	KNOT_FSCK_GROUP_PAGE = 501,
	KNOT_FSCK_GROUP_PAGES = 502,
	KNOT_FSCK_CHECKS_PAGE = 503,
	KNOT_FSCK_TABLE_PAGE = 504,
	KNOT_FSCK_MARKED_FREE = 505,
	KNOT_FSCK_MARKED_USED = 506,
	KNOT_FSCK_TABLE_FREE = 507,
	KNOT_FSCK_TABLE_CLUSTERS = 508,
	KNOT_FSCK_CLUSTER_NOT_TREE = 509,
	KNOT_FSCK_CLUSTER_FREE = 510,
	KNOT_FSCK_TABLE_UNUSED = 511,

	/* file contents */
	KNOT_FSCK_DATA_CHECK = 601,
	KNOT_FSCK_DATA_UNREADABLE = 602,
};

struct knot_fsck_problem_info {
	enum knot_fsck_problem problem;
	enum knot_severity severity; /* KNOT_WARNING: nothing is lost by it */
	const char *text;            /* with the placeholders of problems_int.h */
};

/* NULL if there is no such problem. Static. */
const struct knot_fsck_problem_info *knot_fsck_problem_info(enum knot_fsck_problem problem);

/* The list itself, for documentation and tests. Static. */
const struct knot_fsck_problem_info *knot_fsck_problem_list(unsigned *count);

#endif
