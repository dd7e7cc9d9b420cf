/* SPDX-License-Identifier: MIT */
/*
 * Inodes: items of the tree, and what memory holds of them.
 *
 * struct knot_inode is owned by struct knot_nodes; the transaction lock guards all of it, except that `pins` keeps it
 * from being freed when the lock is dropped. A pointer got under the lock is good until the lock is dropped
 * (knot_mtr_finish), or until the pin is given back.
 */
#ifndef KNOT_NODE_NODE_H
#define KNOT_NODE_NODE_H

#include "fs/space/space.h"
#include "fs/tree/tree.h"
#include "fs/txn/mtr.h"
#include "fs/util/hash.h"
#include "fs/util/list.h"

#include <knotfs/knotfs.h>

#include <stdatomic.h>

struct knot_data; /* pending file data of one inode: data.h */

struct knot_inode {
	struct knot_hash_node hash; /* key: inode number */
	struct knot_list lru;       /* in nodes->lru while it has no pins */
	unsigned pins;
	struct knot_attr attr;         /* current: what stat answers, with pending size, times and pages */
	uint64_t logged_size;          /* the size in the tree; attr.size differs while data is pending */
	_Atomic uint64_t sync_lsn;     /* what fsync needs committed */
	_Atomic uint64_t datasync_lsn; /* what fdatasync needs committed */
	struct knot_data *data;        /* NULL until there was pending data; owned by data.c */
	bool orphan;                   /* has no names any more; its orphan item is in the tree */
	bool atime_pending;            /* attr.atime is newer than the tree's */
	bool dead;                     /* its item is gone; whoever still pins it gets ESTALE */
};

struct knot_nodes {
	struct knot_txn *txn;
	struct knot_space *space;
	struct knot_tree *tree;
	struct knot_hash inodes;
	struct knot_list lru; /* unpinned inodes, oldest first */
	size_t count, count_max;
	uint8_t hash_seed[16];
	struct knot_time (*now)(void *arg);
	void *now_arg;
	struct knot_data_volume *data; /* data.c's: dirty inodes, totals */
};

int knot_nodes_open(struct knot_txn *txn, struct knot_space *space, struct knot_tree *tree,
		    const struct knot_volume_options *options, struct knot_nodes **nodes);
void knot_nodes_close(struct knot_nodes *nodes);

struct knot_time knot_nodes_now(struct knot_nodes *nodes);

/* Free unpinned inodes beyond the cap. Call at the beginning of an operation, before any inode is got. Transaction lock
 * held. */
void knot_nodes_trim_locked(struct knot_nodes *nodes);

/*
 * The inode, from memory or the tree. Not pinned. Errors: -ESTALE there is none (or dead), -KNOT_EMISS, -EUCLEAN,
 * -ENOMEM.
 */
int knot_inode_get(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, struct knot_inode **inode);
struct knot_inode *knot_inode_peek(struct knot_nodes *nodes, uint64_t inode_no); /* in memory, or NULL */
void knot_inode_pin(struct knot_nodes *nodes, struct knot_inode *inode);
void knot_inode_unpin(struct knot_nodes *nodes, struct knot_inode *inode); /* transaction lock held */

/*
 * Insert a new inode's item and make it known in memory when the mtr commits (a hook). `attr->inode` etc. are filled in
 * by the caller.
 */
int knot_inode_create(struct knot_nodes *nodes, struct knot_mtr *mtr, const struct knot_attr *attr);

/* Fields for knot_inode_log(): only these are written into the item; the others keep their logged values. */
#define KNOT_FIELD_MODE        0x1u
#define KNOT_FIELD_OWNER       0x2u
#define KNOT_FIELD_LINKS       0x4u /* links and subdirectories */
#define KNOT_FIELD_SIZE        0x8u
#define KNOT_FIELD_PAGES       0x10u
#define KNOT_FIELD_ATIME       0x20u
#define KNOT_FIELD_MTIME       0x40u
#define KNOT_FIELD_CTIME       0x80u
#define KNOT_FIELD_FLAGS       0x100u /* flags, project */
#define KNOT_FIELD_DATA_OBJECT 0x200u
/*
 * Write fields of `attr` into the inode's item (and bump its change counter). Changes the tree only; the caller
 * publishes to inode->attr after its last fallible step. Errors: of knot_tree_update().
 */
int knot_inode_log(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, const struct knot_attr *attr,
		   unsigned fields);
int knot_inode_delete_item(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no);

/* After knot_mtr_finish(): what fsync must wait for. Any thread, no lock; keeps the largest. */
void knot_inode_note_lsn(struct knot_inode *inode, knot_lsn_t lsn, bool datasync_too);

void knot_inode_encode(const struct knot_attr *attr, struct knot_disk_inode *disk);
/* Errors: -EUCLEAN impossible values (type bits, nanoseconds, sizes). */
int knot_inode_decode(uint64_t inode_no, const void *value, size_t len_bytes, struct knot_attr *attr);

#endif
