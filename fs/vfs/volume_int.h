/* SPDX-License-Identifier: MIT */
/*
 * Inside fs/vfs: the open volume, and the frame that every changing operation runs in.
 *
 * Locks, outermost first: volume->reclaim_mutex, volume->upper_lock (shared), the transaction lock, background.mutex.
 */
#ifndef KNOT_VFS_VOLUME_INT_H
#define KNOT_VFS_VOLUME_INT_H

#include "fs/node/data.h"
#include "fs/node/dir.h"
#include "fs/vfs/lookups.h"

#include <pthread.h>

/* Inode numbers, a stack. */
struct knot_numbers {
	uint64_t *items;
	size_t count, room;
};

struct knot_forget_item {
	uint64_t inode_no, lookups;
};

struct knot_background {
	pthread_t thread;
	bool runs;
	pthread_mutex_t mutex;           /* guards the rest; nothing else is locked under it */
	pthread_cond_t cond;
	bool stop, wanted;
	struct knot_forget_item *forgets;
	size_t forget_count, forget_room;
};

#define KNOT_ATIMES_MAX 1024u

/* ahead.c: entries of a directory whose inodes were looked up together, by cookie. */
struct knot_listing_window {
	uint64_t dir;          /* 0: none */
	uint64_t from, to;
	uint32_t entries;      /* how many were wanted */
	uint32_t misses_left;
};

#define KNOT_LISTING_WINDOWS 4u

struct knot_volume {
	struct knot_volume_options options;
	struct knot_messages messages;   /* ours: passes on to the options' */
	_Atomic bool error_was_said;
	struct knot_device *overlay;     /* of a read-only volume; owned */
	struct knot_super super;
	bool read_only;
	bool threads;
	struct knot_txn *txn;
	struct knot_space *space;
	struct knot_tree *tree;
	struct knot_nodes *nodes;
	_Atomic unsigned op_pages;       /* what most operations need: the first reservation */
	unsigned pages_limit;

	pthread_rwlock_t upper_lock;     /* held shared by txn's callbacks; guards `is_detached` */
	bool is_detached;                /* the nodes are going away */

	/* guarded by the transaction lock */
	struct knot_lookups *lookups;
	struct knot_numbers reclaim;     /* orphans without lookups */
	struct knot_numbers deferred;    /* of these, those that are pinned just now */
	bool orphans_unlisted;           /* some may be in the tree only: from the last mount, or memory was short */
	uint64_t orphan_scan_from;
	uint64_t atimes[KNOT_ATIMES_MAX];/* inodes whose access time is not logged yet */
	size_t atime_count;
	struct knot_listing_window windows[KNOT_LISTING_WINDOWS];
	unsigned next_window;

	_Atomic bool reclaim_hint;       /* something was queued since somebody looked */
	pthread_mutex_t reclaim_mutex;   /* one reclaims at a time */
	struct knot_background background;
};

int knot_numbers_push(struct knot_numbers *numbers, uint64_t number); /* -ENOMEM */
uint64_t knot_numbers_pop(struct knot_numbers *numbers);
void knot_numbers_free(struct knot_numbers *numbers);

/* ---- operation.c: one changing operation ---- */

#define KNOT_OP_TOUCHED_MAX 8u

struct knot_touched {
	struct knot_inode *inode;
	struct knot_attr attr;           /* what the body wants it to be */
	unsigned fields;                 /* KNOT_FIELD_* changed */
	bool datasync;                   /* fdatasync has to wait for it too */
	bool gone;                       /* its item was deleted */
};

/*
 * The body changes the tree and copies of attributes; only when the mini-transaction commits do inodes in memory follow
 * and is `publish` called. So a body may fail, or run again, at any point. It starts each time with nothing touched.
 */
struct knot_op {
	struct knot_mtr_hook hook;
	struct knot_volume *volume;
	struct knot_request *request;
	struct knot_nodes *nodes;        /* volume's */
	struct knot_mtr *mtr;            /* &current */
	struct knot_mtr current;
	int (*body)(struct knot_op *op);
	void (*publish)(struct knot_op *op); /* may be NULL; transaction lock held, can't fail */
	struct knot_time now;
	uint64_t reserved_pages;
	unsigned pages_max;              /* 0: as most operations */
	unsigned touched_count;
	bool no_second_try;              /* -ENOSPC is final: reclaiming is what makes room */
	knot_lsn_t lsn;                  /* of the commit */
	struct knot_touched touched[KNOT_OP_TOUCHED_MAX];
};

/* Fills in what is not set. Runs the body until it neither retries nor fails for space that can be had back. */
int knot_op_run(struct knot_op *op, struct knot_volume *volume, struct knot_request *request);

/* The same struct for the same inode. The pointer is good until the body ends. */
struct knot_touched *knot_op_touch(struct knot_op *op, struct knot_inode *inode, unsigned fields);

/* Pages for `inserts` insertions into the tree, and more; given back at the end of the body. Errors: -ENOSPC. */
int knot_op_reserve(struct knot_op *op, unsigned inserts, unsigned more_pages, unsigned flags);

/* Get back what can be had: orphans, frees that wait for a commit. True if it is worth another try. Locks: none. */
bool knot_volume_make_room(struct knot_volume *volume, struct knot_request *request);

/* A read of the tree: calls `body` in mini-transactions until it does not have to be repeated. */
int knot_op_read(struct knot_volume *volume, struct knot_request *request, int (*body)(struct knot_mtr *mtr, void *arg),
		 void *arg);

/* ---- names.c: what name operations have in common ---- */

struct knot_name {
	const char *bytes;
	size_t len_bytes;
};

/* May a file have this name? 0, -ENOENT (empty), -ENAMETOOLONG, -EINVAL. */
int knot_name_check(const struct knot_name *name);
/* A directory whose names may change. Errors: -ENOTDIR, -ENOENT it has no names itself, those of knot_inode_get(). */
int knot_dir_get(struct knot_op *op, uint64_t inode_no, struct knot_inode **dir);
/* The inode of an entry; one that is missing is damage. */
int knot_child_get(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, const struct knot_dir_found *found,
		   struct knot_inode **child);
uint8_t knot_mode_to_type(uint32_t mode); /* DT_* */

/* One name of `child` goes, in the body: links, orphan item. */
int knot_op_drop_name(struct knot_op *op, struct knot_inode *child);
/* What an inode born in `dir` inherits. */
void knot_op_new_attr(struct knot_op *op, const struct knot_inode *dir, uint64_t inode_no, uint32_t mode,
		      struct knot_attr *attr);

/* ---- reclaim.c ---- */

/* When its last name has gone: marks it, and queues it if it has no lookups. */
void knot_reclaim_note_orphan_locked(struct knot_volume *volume, struct knot_inode *inode);
void knot_reclaim_queue_locked(struct knot_volume *volume, uint64_t inode_no);
/* Delete all that can be deleted now. Errors: those that stop the volume. Locks: none. */
int knot_reclaim_run(struct knot_volume *volume, struct knot_request *request);
/* After an operation that may have made an orphan: here and now without threads, else wake the thread. */
void knot_reclaim_after_op(struct knot_volume *volume, struct knot_request *request);
/*
 * Delete an inode whose last name goes in this very mini-transaction, if nobody holds it and it is small.
 * `touched->gone` tells; if it is not set the caller makes it an orphan.
 */
int knot_reclaim_at_once(struct knot_op *op, struct knot_touched *touched);

/* ---- background.c ---- */

int knot_background_start(struct knot_volume *volume);
void knot_background_stop(struct knot_volume *volume); /* idempotent */
void knot_background_wake(struct knot_volume *volume);
/* Queue for the thread; false if there is no memory for it. */
bool knot_background_forget(struct knot_volume *volume, uint64_t inode_no, uint64_t lookups);
/* Take the queued forgets into the table. */
void knot_background_apply_forgets(struct knot_volume *volume, struct knot_request *request);

/* ---- ahead.c ---- */

/* The attributes of an entry behind `offset` are not in the cache: get many, if that seems to pay. Locks: none. */
void knot_ahead_of_listing(struct knot_volume *volume, struct knot_request *request, uint64_t dir, uint64_t offset);

/* ---- atime.c ---- */

/* A read happened: relatime. Locks: none. */
void knot_atime_note(struct knot_volume *volume, struct knot_request *request, uint64_t inode_no);
void knot_atime_note_locked(struct knot_volume *volume, struct knot_inode *inode);
int knot_atime_flush(struct knot_volume *volume, struct knot_request *request);

#endif
