/* SPDX-License-Identifier: MIT */
/*
 * File data: extents, inline data, pending pages, late allocation. Architecture, section 5.
 * "_locked": transaction lock held, in an mtr. The others: no lock held; they may wait.
 */
#ifndef KNOT_NODE_DATA_H
#define KNOT_NODE_DATA_H

#include "fs/node/node.h"

int knot_data_open(struct knot_nodes *nodes, const struct knot_volume_options *options);
void knot_data_close(struct knot_nodes *nodes); /* frees; writes nothing */

/* After the upper callbacks are set, before anybody writes: finish truncations that a power cut interrupted; start the
 * flusher thread. */
int knot_data_start(struct knot_nodes *nodes);
void knot_data_stop(struct knot_nodes *nodes); /* the thread; before closing the txn */

int knot_data_read(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, uint64_t at,
		   size_t len_bytes, void *buffer, size_t *got);
int knot_data_write(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, uint64_t at,
		    size_t len_bytes, const void *buffer, bool kill_suid);
size_t knot_data_write_max(const struct knot_nodes *nodes);

/* Set the size; mtime and ctime become now. `attr_out` is what stat says afterwards. */
int knot_data_truncate(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, uint64_t size,
		       struct knot_attr *attr_out);

/* Place, write and map all data pending at the call; commits nothing yet. `*lsn`: what makes it durable. */
int knot_data_flush_inode(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, knot_lsn_t *lsn);
/* The same and commit, the way fsync does it (little data through the log). */
int knot_data_fsync(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, bool data_only);
/* Flush pending data of all inodes; those older than `older_than` seconds only, if that is not 0. */
int knot_data_flush_all(struct knot_nodes *nodes, struct knot_request *request, unsigned older_than_seconds);
/* Free what files that were cut to 0 have left behind, if that was much. Its own thread does it, too. */
int knot_data_free_leftovers(struct knot_nodes *nodes, struct knot_request *request);

/* txn's upper callbacks (arg: the nodes). */
int knot_data_close_batch(void *arg, struct knot_request *request);
void knot_data_need_frames(void *arg);

/* Forget pending data of an inode whose last name and lookup are gone. */
void knot_data_discard_locked(struct knot_nodes *nodes, struct knot_inode *inode);
bool knot_data_is_pending_locked(const struct knot_inode *inode);
/* Pending, or with an error that its fsync has not told yet: must not leave memory. */
bool knot_data_keeps_inode_locked(const struct knot_inode *inode);
void knot_data_free_state_locked(struct knot_nodes *nodes, struct knot_inode *inode); /* before the inode is freed */

/*
 * Free the extents (and inline data, if `from_page` is 0) of a data object from `from_page` on, at most `extents_max`
 * of them, the last ones first.
 * `*more`: some are left. `*freed_pages`: to take from attr.pages.
 */
int knot_data_free_extents_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t from_page,
				  unsigned extents_max, bool *more, uint64_t *freed_pages);

/* The contents of a new symlink (1 to 4095 bytes): inline, or one data page through the log. `*pages`: 0 or 1. */
int knot_data_put_target_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, const char *target,
				size_t len_bytes, uint64_t *pages);

struct knot_data_stats {
	uint64_t pending_pages, pending_inodes, logged_data_pages, written_pages, data_flushes;
};
void knot_data_get_stats(struct knot_nodes *nodes, struct knot_data_stats *stats);

#endif
