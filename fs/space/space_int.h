/* SPDX-License-Identifier: MIT */
/*
 * What the files of fs/space share. Everything here is guarded by the transaction lock.
 *
 * Terms. *free*: the bit is clear (as the current mini-transaction sees it). *busy*: may not be allocated although
 * its bit is clear. *usable*: free and not busy. *implicit* group: number groups_initialised or above; its pages are
 * unwritten, all but the header and check pages are free.
 */
#ifndef KNOT_SPACE_SPACE_INT_H
#define KNOT_SPACE_SPACE_INT_H

#include "fs/space/space.h"
#include "fs/util/list.h"

#include <knotfs/format.h>

#include <stdatomic.h>

#define KNOT_GROUP_WORDS (KNOT_GROUP_PAGES / 64u) /* of the bitmap; one word is one cluster */
static_assert(KNOT_CLUSTER_PAGES == 64u, "a word of the bitmap is a cluster");

struct knot_space_group {
	uint64_t *busy;      /* bitmap of KNOT_GROUP_WORDS; NULL: nothing is busy (or the map was trimmed) */
	uint16_t busy_pages; /* bits of it */
	uint16_t free_pages; /* as header and table say (with the current mtr's changes); unused while implicit */
	uint16_t free_clusters;
	uint16_t run_max; /* no run of usable pages outside tree clusters is longer; KNOT_GROUP_PAGES: not known */
	bool checked;     /* the header was compared with counts and fixed pages since the volume was opened */
	bool bad;         /* given up: nothing is allocated here until the volume was repaired */
};

/* A freed range that waits. */
struct knot_space_freed {
	struct knot_list link; /* space->freed, by lsn; in no list while its mtr is open */
	uint64_t page_no;
	uint32_t count;
	knot_lsn_t lsn;
	uint64_t stamp; /* readers with tickets up to this one may look at it */
};

/* Readers of the device, counted by epoch. busy.c */
#define KNOT_READ_EPOCHS 64u
struct knot_space_readers {
	uint64_t epoch;  /* tickets given out now */
	uint64_t oldest; /* no reader holds a lower ticket; epoch - oldest < KNOT_READ_EPOCHS */
	uint32_t active[KNOT_READ_EPOCHS];
};

enum knot_space_op_kind { KNOT_OP_ALLOC, KNOT_OP_ALLOC_TREE, KNOT_OP_SETTLE, KNOT_OP_RELEASE, KNOT_OP_INIT };

/* One change of one group in the open mini-transaction: what to undo, or to publish. change.c */
struct knot_space_op {
	enum knot_space_op_kind kind;
	uint32_t count;
	uint64_t page_no;
	int clusters_delta;             /* of the group's free clusters */
	struct knot_space_freed *freed; /* of KNOT_OP_RELEASE; owned */
};

/* The open mini-transaction's changes. There is only one that writes: it holds the transaction lock. */
struct knot_space_change {
	struct knot_mtr_hook hook;
	bool active;               /* hooked into an open mtr */
	struct knot_space_op *ops; /* kept for the next mtr */
	size_t count;
	size_t capacity;
	uint64_t data_cursor, tree_cursor; /* as they were before */
};

struct knot_space {
	struct knot_txn *txn;
	const struct knot_super *super;
	const struct knot_messages *messages;
	struct knot_space_group *groups; /* super->groups of them; zero pages of memory beyond groups_initialised */
	uint64_t groups_initialised;
	uint64_t total; /* pages that may ever hold data or tree */
	uint64_t pool;
	uint64_t free;    /* sum of all groups that are not bad; implicit ones included */
	uint64_t placed;  /* busy: placed */
	uint64_t waiting; /* busy: freed */
	uint64_t reserved;
	uint64_t data_cursor;  /* where the next new file's pages go */
	uint64_t tree_cursor;  /* the last tree page handed out */
	_Atomic bool given_up; /* a group is bad */
	uint64_t groups_ahead; /* implicit groups in use at once: one mtr can initialise so many */
	struct knot_list freed;
	struct knot_space_readers readers;
	struct knot_space_change change;
};

static inline uint64_t knot_group_of(uint64_t page_no)
{
	return page_no / KNOT_GROUP_PAGES;
}

static inline uint32_t knot_group_bit(uint64_t page_no)
{
	return (uint32_t)(page_no % KNOT_GROUP_PAGES);
}

/* Pages of `count` from `page_no` on that lie in its group. */
static inline uint32_t knot_group_part(uint64_t page_no, uint32_t count)
{
	uint32_t room = KNOT_GROUP_PAGES - knot_group_bit(page_no);

	return count < room ? count : room;
}

/* ---- map.c: bit maps of one group, in words of the host ---- */

/* The bits of word `word` that lie in [at, at + count). */
uint64_t knot_map_mask(uint32_t word, uint32_t at, uint32_t count);
void knot_map_set(uint64_t *words, uint32_t at, uint32_t count);
void knot_map_clear(uint64_t *words, uint32_t at, uint32_t count);
bool knot_map_is(const uint64_t *words, uint32_t at, uint32_t count, bool value);
/* First bit at or after `from` that has `value`; `end` if none is before it. */
uint32_t knot_map_next(const uint64_t *words, uint32_t from, uint32_t end, bool value);
uint32_t knot_map_zeros(const uint64_t *words);
uint32_t knot_map_zero_words(const uint64_t *words);
/*
 * The first run of at least `want` zero bits that begins in [from, end), else the longest there. `*length` is what
 * the run has, at most `want`; 0 when there is none.
 */
void knot_map_find_run(const uint64_t *words, uint32_t from, uint32_t end, uint32_t want, uint32_t *at,
		       uint32_t *length);

/* ---- group.c ---- */

/* Counts of a group that is implicit. */
uint32_t knot_group_implicit_free(const struct knot_space *space, uint64_t group);
uint32_t knot_group_implicit_clusters(const struct knot_space *space, uint64_t group);

/* The groups that may be allocated from now: the initialised ones and some that follow. */
uint64_t knot_group_reach(const struct knot_space *space);

/* What may be allocated in the group: free and not busy. 0 when it is bad. */
uint32_t knot_group_usable(const struct knot_space *space, uint64_t group);
uint32_t knot_group_free_clusters(const struct knot_space *space, uint64_t group);

/* Set the bits of the pages that are never free: fixed ones, the tree's root, what is past the end. */
void knot_group_add_fixed(const struct knot_space *space, uint64_t group, uint64_t *words);

/*
 * The header of an initialised group, verified. Errors: -KNOT_EMISS, -EUCLEAN or -EIO (said; `bad` is set when the
 * group was given up).
 */
int knot_group_open(struct knot_space *space, struct knot_mtr *mtr, uint64_t group, struct knot_page **page);

/*
 * Bits of what is not usable, and of the clusters that are the tree's (32 bytes). The group may be implicit.
 * Errors as knot_group_open.
 */
int knot_group_map(struct knot_space *space, struct knot_mtr *mtr, uint64_t group, uint64_t *words,
		   uint8_t *tree_clusters);

static inline bool knot_group_is_tree_cluster(const uint8_t *tree_clusters, uint32_t cluster)
{
	return (tree_clusters[cluster / 8u] & 1u << (cluster % 8u)) != 0;
}

/*
 * Initialise groups in this mtr until `group` is. Errors: -KNOT_EMISS, -KNOT_EGROW, -KNOT_EFULL, -EUCLEAN,
 * -ENOMEM.
 */
int knot_group_require(struct knot_space *space, struct knot_mtr *mtr, uint64_t group);

/* A change of bits that is ready to be made. */
struct knot_group_edit {
	struct knot_page *header;
	struct knot_disk_group_entry *entry;
	struct knot_space_op op;
};

/*
 * Everything that may fail about changing the bits of `count` pages, which lie in one initialised group and have the
 * other value now (else -EUCLEAN, said). Errors: as knot_group_require.
 */
int knot_group_plan(struct knot_space *space, struct knot_mtr *mtr, enum knot_space_op_kind kind, uint64_t page_no,
		    uint32_t count, struct knot_group_edit *edit);
/* Make it: bits, counts on the pages and in memory, the busy set, the op for commit or undo. */
void knot_group_apply(struct knot_space *space, struct knot_group_edit *edit);

/* Announce the change of a page whose generation no parent keeps. Errors: -KNOT_EGROW. */
int knot_space_touch(struct knot_mtr *mtr, struct knot_page *page);
int knot_space_state_page(struct knot_space *space, struct knot_mtr *mtr, struct knot_page **page);

/* ---- change.c ---- */

/* Room for `count` more ops, and the hook. Errors: -ENOMEM. */
int knot_change_reserve(struct knot_space *space, struct knot_mtr *mtr, size_t count);
void knot_change_add(struct knot_space *space, const struct knot_space_op *op);

/* ---- busy.c ---- */

/* Make sure of the group's map. Errors: -ENOMEM. */
int knot_busy_prepare(struct knot_space *space, uint64_t group);
/* In one group, which has a map; none of the pages is busy. */
void knot_busy_mark(struct knot_space *space, uint64_t page_no, uint32_t count);
/* In one group; all of the pages are busy. */
void knot_busy_clear(struct knot_space *space, uint64_t page_no, uint32_t count);
/* Free the group's map if it is empty and no mtr may want it back. */
void knot_busy_trim(struct knot_space *space, uint64_t group);
/* The mtr that freed the range has committed: takes `freed` over. */
void knot_busy_commit(struct knot_space *space, struct knot_space_freed *freed, knot_lsn_t lsn);
void knot_busy_init(struct knot_space *space);
void knot_busy_destroy(struct knot_space *space);

#endif
