/* SPDX-License-Identifier: MIT */
/* Directory entries, back-references and orphan items: typed items of the tree. All in an mtr with the transaction lock
 * held. */
#ifndef KNOT_NODE_DIR_H
#define KNOT_NODE_DIR_H

#include "fs/node/node.h"

struct knot_dir_found {
	uint64_t cookie;
	uint64_t inode_no;
	uint8_t type;
};

/* The tie-break 0 cookie of a name: SipHash-2-4 with the volume's seed. */
uint64_t knot_dir_hash(const struct knot_nodes *nodes, const char *name, size_t name_bytes);

/* Errors: -ENOENT, -ENAMETOOLONG, -KNOT_EMISS, -EUCLEAN. */
int knot_dir_find(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, const char *name, size_t name_bytes,
		  struct knot_dir_found *found);

/* Add entry and back-reference. -EEXIST; -ENOSPC when all 256 ties of the hash are taken. Link counts, sizes and times
 * are the caller's. */
int knot_dir_add(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, const char *name, size_t name_bytes,
		 uint64_t child, uint8_t type, uint64_t *cookie);
/* Remove entry and back-reference. */
int knot_dir_remove(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, uint64_t cookie, uint64_t child);
/* Point the entry at another child; both children's back-references follow. */
int knot_dir_replace(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, uint64_t cookie, uint64_t old_child,
		     uint64_t child, uint8_t type);

/* The first parent by back-reference order; the root's is itself. */
int knot_dir_parent(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, uint64_t *parent);

int knot_orphan_add(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no);
int knot_orphan_remove(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no);
/* The first orphan with a number of at least `from`. -ENOENT none; -EUCLEAN, said, no inode has such a number. */
int knot_orphan_next(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t from, uint64_t *inode_no);

#endif
