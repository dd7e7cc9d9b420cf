/* SPDX-License-Identifier: MIT */
/* The list of problems. */
#include "fsck/problems.h"

#include <stddef.h>

/*
 * Placeholders: %o object or inode, %p page, %f file page, %a and %b numbers, %n a name, %w a few words.
 * Where a line is about the object that is being walked over, its first name is put behind.
 */
static const struct knot_fsck_problem_info problems[] = {
	{ KNOT_FSCK_SUPER_PRIMARY, KNOT_ERROR, "page %p (superblock): %w; its spare is used" },
	{ KNOT_FSCK_SUPER_SPARE, KNOT_WARNING, "page %p (spare superblock): %w" },
	{ KNOT_FSCK_SUPER_DIFFERS, KNOT_WARNING, "page %p (spare superblock): differs from the superblock at byte %a" },
	{ KNOT_FSCK_SUPER_LOST, KNOT_ERROR, "the superblock can't be used" },
	{ KNOT_FSCK_LOG, KNOT_ERROR, "the log can't be replayed; nothing more was checked" },
	{ KNOT_FSCK_STATE_PAGE, KNOT_ERROR, "page %p (state): %w; allocation was not checked" },
	{ KNOT_FSCK_STATE_GROUPS, KNOT_ERROR, "page %p (state): counts %a groups in use, impossible with %b groups" },
	{ KNOT_FSCK_STATE_INODES, KNOT_WARNING, "page %p (state): counts %a inodes, there are %b" },
	{ KNOT_FSCK_STATE_ORPHANS, KNOT_WARNING, "page %p (state): counts %a orphans, there are %b" },
	{ KNOT_FSCK_STATE_SECOND_NAMES, KNOT_WARNING,
	  "page %p (state): counts %a further names of directories, there are %b" },

	{ KNOT_FSCK_TREE_PAGE, KNOT_ERROR, "page %p (directory tree): %w" },
	{ KNOT_FSCK_TREE_OUTSIDE, KNOT_ERROR, "page %p (directory tree): names page %a as its child, which %w" },
	{ KNOT_FSCK_TREE_TWICE, KNOT_ERROR, "page %p (directory tree): its child page %a has a parent already" },
	{ KNOT_FSCK_TREE_LEVEL, KNOT_ERROR, "page %p (directory tree): is on level %a, its parent expects %b" },
	{ KNOT_FSCK_TREE_STALE, KNOT_ERROR, "page %p (directory tree): is of generation %a, its parent names %b" },
	{ KNOT_FSCK_TREE_RANGE, KNOT_ERROR, "page %p (directory tree): has keys that its parent keeps elsewhere" },
	{ KNOT_FSCK_TREE_PREFIX, KNOT_ERROR,
	  "page %p (directory tree): its prefix does not fit all keys of its range" },
	{ KNOT_FSCK_TREE_FEW, KNOT_WARNING, "page %p (directory tree): has only %a items" },
	{ KNOT_FSCK_PAGE_FUTURE, KNOT_ERROR, "page %p: was changed at LSN %a, but the log ends at %b" },
	{ KNOT_FSCK_ITEM_UNKNOWN, KNOT_ERROR, "object %o: has an item of kind %a, which can't be there" },
	{ KNOT_FSCK_ITEM_MALFORMED, KNOT_ERROR, "object %o: its item of kind %a has an impossible %w" },

	{ KNOT_FSCK_INODE_VALUE, KNOT_ERROR, "inode %o: impossible %w" },
	{ KNOT_FSCK_INODE_MISSING, KNOT_ERROR, "object %o: has items but no inode" },
	{ KNOT_FSCK_INODE_NUMBER, KNOT_ERROR, "object %o: its number was not given out yet; the next is %a" },
	{ KNOT_FSCK_INODE_PAGES, KNOT_WARNING, "inode %o: counts %a data pages, there are %b" },
	{ KNOT_FSCK_INODE_NO_DATA, KNOT_ERROR, "inode %o: has data, but is neither a file nor a symlink" },
	{ KNOT_FSCK_INLINE_EXTENTS, KNOT_ERROR, "inode %o: has both inline data and extents" },
	{ KNOT_FSCK_INLINE_LONG, KNOT_ERROR, "inode %o: has %a bytes of inline data, its size is %b" },
	{ KNOT_FSCK_EXTENT_VALUE, KNOT_ERROR, "object %o, file page %f: extent with an impossible %w" },
	{ KNOT_FSCK_EXTENT_OUTSIDE, KNOT_ERROR, "object %o, file page %f: the extent of %a pages from page %p %w" },
	{ KNOT_FSCK_EXTENT_OVERLAP, KNOT_ERROR, "object %o, file page %f: is in an earlier extent too" },
	{ KNOT_FSCK_EXTENT_TWICE, KNOT_ERROR, "object %o, file page %f: page %p is in use elsewhere" },
	{ KNOT_FSCK_EXTENT_PAST_END, KNOT_ERROR, "inode %o: has data up to file page %a, its size is %b" },
	{ KNOT_FSCK_DATA_OBJECT, KNOT_ERROR, "inode %o: its data object %a %w" },
	{ KNOT_FSCK_DATA_LOST, KNOT_WARNING, "object %o: %a data pages that belong to no inode" },
	{ KNOT_FSCK_TRUNCATION, KNOT_ERROR, "truncation of object %o: impossible %w" },
	{ KNOT_FSCK_SYMLINK, KNOT_ERROR, "inode %o: a symlink of %a bytes with %b bytes inline" },

	{ KNOT_FSCK_ENTRY_VALUE, KNOT_ERROR, "directory %o, entry %a: impossible %w" },
	{ KNOT_FSCK_ENTRY_NAME, KNOT_ERROR, "directory %o, entry %a: impossible name %n" },
	{ KNOT_FSCK_ENTRY_HASH, KNOT_ERROR, "directory %o, entry %a: is not where its name %n hashes to" },
	{ KNOT_FSCK_ENTRY_TWICE, KNOT_ERROR, "directory %o: has the name %n twice" },
	{ KNOT_FSCK_ENTRY_NO_INODE, KNOT_ERROR, "directory %o, name %n: inode %a is not there" },
	{ KNOT_FSCK_ENTRY_TYPE, KNOT_WARNING, "directory %o, name %n: is of type %a, its inode of %b" },
	{ KNOT_FSCK_ENTRY_NO_REFERENCE, KNOT_ERROR, "directory %o, name %n: inode %a does not refer back" },
	{ KNOT_FSCK_REFERENCE_NO_ENTRY, KNOT_ERROR,
	  "inode %a: refers to a name %n in directory %o, which is not there" },
	{ KNOT_FSCK_REFERENCE_NAME, KNOT_WARNING, "directory %o, name %n: inode %a refers back by another name" },
	{ KNOT_FSCK_LINKS, KNOT_ERROR, "inode %o: counts %a names, there are %b" },
	{ KNOT_FSCK_DIR_SIZE, KNOT_WARNING, "directory %o: counts %a entries, there are %b" },
	{ KNOT_FSCK_DIR_SUBDIRECTORIES, KNOT_WARNING, "directory %o: counts %a subdirectories, there are %b" },
	{ KNOT_FSCK_NOT_A_DIR, KNOT_ERROR, "inode %o: is no directory, but counts or has entries" },
	{ KNOT_FSCK_ORPHAN_NO_INODE, KNOT_WARNING, "orphan %o: has no inode" },
	{ KNOT_FSCK_ORPHAN_LINKED, KNOT_ERROR, "inode %o: is to be deleted, but has names" },
	{ KNOT_FSCK_ORPHAN_MISSING, KNOT_WARNING, "inode %o: has no names, but is not to be deleted" },
	{ KNOT_FSCK_UNREACHABLE, KNOT_ERROR, "directory %o: can't be reached from the root" },
	{ KNOT_FSCK_ROOT, KNOT_ERROR, "inode %o: the root directory %w" },

	{ KNOT_FSCK_GROUP_PAGE, KNOT_ERROR, "page %p (group header): %w" },
	{ KNOT_FSCK_GROUP_PAGES, KNOT_ERROR, "page %p (group header): says the group has %a pages, it has %b" },
	{ KNOT_FSCK_CHECKS_PAGE, KNOT_ERROR, "page %p (page checks): %w" },
	{ KNOT_FSCK_TABLE_PAGE, KNOT_ERROR, "page %p (group table): %w" },
	{ KNOT_FSCK_MARKED_FREE, KNOT_ERROR, "pages %p to %a: in use, but marked free" },
	{ KNOT_FSCK_MARKED_USED, KNOT_WARNING, "pages %p to %a: marked in use, but nothing uses them" },
	{ KNOT_FSCK_TABLE_FREE, KNOT_WARNING, "page %p (group table): group %o has %a free pages, it says %b" },
	{ KNOT_FSCK_TABLE_CLUSTERS, KNOT_WARNING, "page %p (group table): group %o has %a free clusters, it says %b" },
	{ KNOT_FSCK_CLUSTER_NOT_TREE, KNOT_WARNING,
	  "page %p (group header): the cluster of page %a holds tree pages, but is not marked so" },
	{ KNOT_FSCK_CLUSTER_FREE, KNOT_WARNING,
	  "page %p (group header): the cluster of page %a is free, but is marked as the tree's" },
	{ KNOT_FSCK_TABLE_UNUSED, KNOT_WARNING,
	  "page %p (group table): group %o was never used, but has %a free pages and %b free clusters there" },

	{ KNOT_FSCK_DATA_CHECK, KNOT_ERROR, "object %o, file page %f: page %p has not the contents that were written" },
	{ KNOT_FSCK_DATA_UNREADABLE, KNOT_ERROR, "object %o, file page %f: page %p can't be read" },
};

#define PROBLEMS (sizeof(problems) / sizeof(problems[0]))

const struct knot_fsck_problem_info *knot_fsck_problem_info(enum knot_fsck_problem problem)
{
	for (size_t i = 0; i < PROBLEMS; i++) {
		if (problems[i].problem == problem)
			return &problems[i];
	}
	return NULL;
}

const struct knot_fsck_problem_info *knot_fsck_problem_list(unsigned *count)
{
	*count = PROBLEMS;
	return problems;
}
