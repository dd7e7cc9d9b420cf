/* SPDX-License-Identifier: MIT */
/*
 * Inside fs/node: pending file data and how it becomes logged.
 *
 *   absent --write--> pending --take_flight--> in flight --map--> mapped (home, in the tree)
 *                        |                         |
 *                        |                         +-- write failed --> dropped, the file's fsync gets EIO
 *                        +--log route, inline route--> logged (in the cache by device page; goes home later)
 *
 * Invariants (the transaction lock guards all of it)
 *  (1) A page of a file is in `pages`, in `flight`, both (a newer version pending while the older one is written),
 *      or neither. Readers look there in this order, then in the tree.
 *  (2) `flushing` means: one flush or truncation owns the inode's mapping. Nobody else changes it, or moves pages
 *      to flight. With `chain` too it is a truncation, nothing is pending, and nothing becomes so: who waits for
 *      data to be mapped need not wait for it.
 *  (3) While anything is pending or flushing the inode is pinned by its data (one pin) and in data_volume.dirty.
 *  (4) Requests that share pages are in one group; a group is mapped by one mini-transaction.
 *  (5) Bytes past the end of file in the last page (or inline item) are zero, pending or logged.
 *  (6) `reserved` pages are reserved with the allocator: what is pending can always be placed and mapped. With
 *      `through_log` nothing is: every pending page has a mapped page to go into, and all of them fit in one
 *      mini-transaction.
 *  (7) attr.size is the size with all pending requests; inode->logged_size is the tree's. Without pending data they
 *      are equal.
 */
#ifndef KNOT_NODE_DATA_INT_H
#define KNOT_NODE_DATA_INT_H

#include "fs/node/data.h"

#include <bsd/sys/tree.h>
#include <pthread.h>

#define KNOT_INLINE_BYTES_MAX 768u
#define KNOT_FLIGHT_PAGES_MAX 4096u /* one round of bulk writing: 16 MiB */
#define KNOT_FLUSH_SET_MAX    256u  /* inodes of one round */

struct knot_pending {
	RB_ENTRY(knot_pending) link;
	uint64_t file_page;
	uint64_t place; /* device page, once placed */
	struct knot_frame frame;
	uint32_t check;
	bool failed; /* its write home failed */
};
RB_HEAD(knot_pending_tree, knot_pending);

struct knot_group {
	RB_ENTRY(knot_group) link;
	uint64_t first, last; /* file pages */
	uint64_t end_bytes;   /* of the furthest request in it */
};
RB_HEAD(knot_group_tree, knot_group);

/* Owned by its inode; guarded by the transaction lock. */
struct knot_data {
	struct knot_list dirty; /* (3) */
	struct knot_inode *inode;
	struct knot_pending_tree pages;
	struct knot_group_tree groups;
	size_t page_count;
	struct knot_pending_tree flight; /* frames are not changed while they are here */
	struct knot_group_tree flight_groups;
	size_t flight_count, flight_placed;
	bool cut;             /* what the tree has of the data is to go with the next mapping of what is pending */
	bool cut_flight;      /* the same, taken to flight */
	uint64_t flight_size; /* size to log with the last group in flight; 0: what the groups say */
	bool touched;         /* size or times are pending even if no page is */
	bool flushing;        /* (2) */
	bool chain;           /* (2) */
	bool picked;          /* a flusher is about to look at it */
	bool through_log; /* the volume is full: what is pending overwrites mapped pages, and goes through the log into
			     them */
	int error;        /* for the next fsync */
	uint64_t logged_pages; /* pages of the tree's extents */
	uint64_t reserved;     /* (6) */
	uint64_t near;         /* device page after the last one placed */
	int64_t dirty_since_sec;
	uint64_t oldest_seq, flight_seq; /* change_seq of the oldest change pending, in flight */
};

struct knot_data_volume {
	struct knot_list dirty; /* knot_data by age */
	size_t page_total;      /* pending and in flight, of all inodes */
	size_t inode_total;
	uint64_t map_seq;     /* grows with every change of a mapping or of a logged data page */
	uint64_t change_seq;  /* grows with every request that becomes pending */
	bool loose_chains;    /* there may be truncation items that no file waits for */
	bool chains_run;      /* somebody is at them */
	size_t log_pages_max; /* an fsync of so many pages goes through the log */
	size_t group_pages_max;
	size_t write_max_bytes;
	uint64_t batch_bytes_max; /* log bytes that what is pending may come to, data=strict */
	size_t flush_at_pages; /* pending pages at which the flusher begins */
	struct knot_data_stats stats;

	pthread_mutex_t wait_mutex; /* guards the rest; never held while another lock is taken */
	pthread_cond_t wait_cond;
	uint64_t wait_seq; /* grows when a flush ends or the gate opens */
	bool gate_closed;  /* data=strict: new writes wait; also guarded by the transaction lock for readers */
	bool closing;      /* a batch is being closed */
	uint64_t closes_started, closes_done;
	int close_error;
	pthread_t thread;
	bool thread_runs, thread_stop, thread_wanted;
	bool in_round; /* without threads: a flush is under way, need_frames must not begin another */
	pthread_cond_t thread_cond;
};

int knot_pending_compare(const struct knot_pending *a, const struct knot_pending *b);
int knot_group_compare(const struct knot_group *a, const struct knot_group *b);
RB_PROTOTYPE(knot_pending_tree, knot_pending, link, knot_pending_compare)
RB_PROTOTYPE(knot_group_tree, knot_group, link, knot_group_compare)

/* ---- pending.c ---- */

struct knot_data *knot_data_state(struct knot_nodes *nodes, struct knot_inode *inode); /* NULL: no memory */
struct knot_pending *knot_pending_find(struct knot_pending_tree *tree, uint64_t file_page);
/* The newest version in memory, pending or in flight, or NULL. */
struct knot_pending *knot_pending_newest(struct knot_data *data, uint64_t file_page);
void knot_pending_free(struct knot_nodes *nodes, struct knot_pending_tree *tree, struct knot_pending *page);
/* Drop all pages and groups that are pending (not those in flight). */
void knot_pending_drop_all(struct knot_nodes *nodes, struct knot_data *data);
/* Drop the pending pages from `from_page` on and cut the groups. */
void knot_pending_drop_from(struct knot_nodes *nodes, struct knot_data *data, uint64_t from_page);
/* Pages of the group that a request over [first, last] would end up in. */
uint64_t knot_group_size_with(struct knot_data *data, uint64_t first, uint64_t last);
/* Merge. `spare` is used or freed. */
void knot_group_add(struct knot_data *data, uint64_t first, uint64_t last, uint64_t end_bytes,
		    struct knot_group *spare);
/* Enter the dirty list (and pin), or leave it when nothing is pending and nobody flushes. */
void knot_data_update_dirty(struct knot_nodes *nodes, struct knot_data *data);
/* Make `reserved` fit what is pending plus `more_pages`. Errors: -ENOSPC (only when it grows). */
int knot_data_reserve(struct knot_nodes *nodes, struct knot_data *data, size_t more_pages);
bool knot_data_has_pending(const struct knot_data *data);
/* A request is about to become pending. */
void knot_data_note_change(struct knot_nodes *nodes, struct knot_data *data);

/*
 * knot_inode_note_lsn() in the very moment of the commit: afterwards an fsync that finds nothing pending could come
 * first, or the inode be gone from memory. `note` lives until the mini-transaction ends.
 */
struct knot_data_note {
	struct knot_mtr_hook hook;
	struct knot_inode *inode;
};
void knot_data_note_at_commit(struct knot_mtr *mtr, struct knot_inode *inode, struct knot_data_note *note);

/* ---- waiting: see data_int.h (2) ---- */
uint64_t knot_data_wait_ticket(struct knot_nodes *nodes); /* take under the transaction lock */
void knot_data_wait(struct knot_nodes *nodes, struct knot_request *request, uint64_t ticket); /* no locks */
void knot_data_wake(struct knot_nodes *nodes);

/* ---- extent.c ---- */

struct knot_extent {
	uint64_t file_page, page_no;
	uint64_t pages; /* of a hole: up to the next extent or the asked limit */
	uint32_t flags;
	bool hole;
};
/* What is mapped at `file_page`, from there on, at most `limit` pages. */
int knot_extent_find(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page,
		     uint64_t limit, struct knot_extent *extent);
/* Map [file_page, +pages) to page_no; what was mapped there is freed. `*delta`: added to the count of mapped pages. */
int knot_extent_map(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t file_page, uint64_t pages,
		    uint64_t page_no, int64_t *delta);

/*
 * Free the extents from `from_page` on, the last ones first, at most `extents_max`; `*more`: some are left. Leaves the
 * inline item alone: the inode whose number the object has may have new data in it while a chain frees the old.
 */
int knot_extent_free(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t object, uint64_t from_page,
		     unsigned extents_max, bool *more, uint64_t *freed_pages);

/* The inline item: length (-ENOENT: none) and bytes, at most KNOT_VALUE_BYTES_MAX. */
int knot_inline_get(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, uint8_t *bytes,
		    size_t *len_bytes);
int knot_inline_put(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, const uint8_t *bytes,
		    size_t len_bytes);
int knot_inline_remove(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no); /* none there: 0 */

/* ---- data_read.c ---- */

/*
 * Bring the logged version of one file page into `page` (4096 bytes, aligned): cache, inline item, hole. If it must be
 * read from the device: `*page_no` and `*check` are set, else `*page_no` is 0.
 */
int knot_data_base_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode, uint64_t file_page,
			  void *page, uint64_t *page_no, uint32_t *check);
/* Read and verify pages from the device. -EUCLEAN: check differs (nothing said). */
int knot_data_read_device(struct knot_nodes *nodes, uint64_t page_no, uint64_t count, const uint32_t *checks,
			  void *buffer);
void knot_data_say_damage(struct knot_nodes *nodes, uint64_t inode_no, uint64_t file_page, uint64_t page_no);

/* ---- map.c ---- */

/* Everything pending, in this mtr, through the log (or inline). The inode is not flushing. Publishes. */
int knot_map_log_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode);
/* Map groups in flight, as many as `budget_pages` whole images let; `*done`: none is left. Publishes. */
int knot_map_flight_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
			   unsigned budget_pages, bool *done);
/* data->cut: free the old extents and inline data, or hang them on a truncation item and take a new data object. */
int knot_map_cut_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
			struct knot_attr *attr, uint64_t *logged_pages);

/* ---- truncate.c ---- */

/* Finish the chains that a power cut interrupted. */
int knot_data_recover(struct knot_nodes *nodes);
/* Free what files that were cut to 0 have left behind. No locks, nothing in flight. */
int knot_data_run_loose_chains(struct knot_nodes *nodes, struct knot_request *request);

/* ---- batch.c ---- */

/*
 * data=strict: so much is pending that closing the batch might need more of the ring than is kept for it.
 * Transaction lock held.
 */
bool knot_batch_is_costly(struct knot_nodes *nodes);
/*
 * data=strict: wait until a flush finds the half of the ring that it may use. Flushes themselves must not wait for it,
 * since who empties the ring may wait for them. Best effort: what can't be had, the flush itself will say. No locks,
 * nothing in flight.
 */
void knot_batch_make_room(struct knot_nodes *nodes, struct knot_request *request);
/* knot_data_flush_all() of everything, for who closes the batch. */
int knot_data_flush_closing(struct knot_nodes *nodes, struct knot_request *request);

/* ---- flush.c ---- */

/* Which inodes a round takes: `only`, or the oldest dirty ones that nobody flushes. */
struct knot_flush_scope {
	struct knot_inode *only;
	int64_t dirty_before_sec; /* 0: of any age */
	uint64_t seq_max;         /* those with changes up to this change_seq */
	bool orphans_too;
	bool closing;             /* for the end of a batch: nothing may wait for it */
};
/*
 * One round. `*did`: inodes handled. An inode whose data can't be mapped loses it (its fsync tells) and keeps nobody
 * else from being flushed.
 */
int knot_flush_round(struct knot_nodes *nodes, struct knot_request *request, const struct knot_flush_scope *scope,
		     size_t *did);
/* Pages are short: flush something, or wait until somebody else has. */
int knot_flush_pressure(struct knot_nodes *nodes, struct knot_request *request);
/* The allocator is short: flush everything and commit, so that freed pages come back. `*hope`: something changed. */
int knot_flush_for_space(struct knot_nodes *nodes, struct knot_request *request, bool *hope);
/* Enough is pending for the flusher to begin by itself. Any thread, no locks. */
void knot_flush_thread_wake(struct knot_nodes *nodes);
int knot_flush_thread_start(struct knot_nodes *nodes);
void knot_flush_thread_stop(struct knot_nodes *nodes);

#endif
