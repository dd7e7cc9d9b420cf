/* SPDX-License-Identifier: MIT */
/*
 * The page cache, inside fs/txn: frames, pages by number, clean and dirty lists. cache.c has the rules and the state
 * diagram.
 *
 * `mutex` guards everything here but the bytes of the pages, which the transaction lock guards. Functions ending in
 * `_locked` need it; those that make a page dirty, new or freed need the transaction lock besides.
 */
#ifndef KNOT_TXN_CACHE_INT_H
#define KNOT_TXN_CACHE_INT_H

#include "fs/txn/mtr.h"
#include "fs/util/hash.h"
#include "fs/util/list.h"

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

enum knot_cached {
	KNOT_CACHED_FREE,     /* a frame of no page */
	KNOT_CACHED_WITHHELD, /* given up for memory that others use */
	KNOT_CACHED_PENDING,  /* lent out for pending file data */
	KNOT_CACHED_READING,  /* placeholder: its contents are on the way */
	KNOT_CACHED_CLEAN,    /* as at home, or as the cleaner's copy on the way there (`writing`) */
	KNOT_CACHED_NEW,      /* allocated by the mini-transaction under way */
	KNOT_CACHED_DIRTY,    /* newer than home; on the dirty list */
	KNOT_CACHED_DROPPED,  /* not in the cache any more, but somebody still has it pinned */
};

/* One for each frame of the arena. */
struct knot_page {
	struct knot_hash_node node; /* its key is the page number */
	struct knot_list link;      /* clean list or dirty list */
	void *data;                 /* the frame: 4096 bytes */
	knot_lsn_t oldest_lsn;      /* dirty: start of the first mtr that changed it since it was clean */
	knot_lsn_t lsn;             /* end of the last mtr that changed it */
	knot_lsn_t freed_lsn;       /* end of the mtr that freed it; 0 if in use */
	uint64_t token;             /* reading: whose placeholder it is */
	struct knot_page *pin_next; /* pages pinned by the mtr under way */
	uint32_t change;            /* its place in that mtr's changes, from 1; 0 not changed */
	uint32_t pins;              /* kept by mtrs between two tries */
	uint8_t state;              /* enum knot_cached */
	uint8_t space;              /* KNOT_SPACE_META or KNOT_SPACE_DATA */
	bool in_mtr;                /* pinned by the mtr under way */
	bool writing;               /* the cleaner's copy is not home yet */
	bool referenced;            /* used since the clean list's hand passed */
	bool prefetched;            /* read along with a neighbour, not used so far */
};

#define KNOT_DAMAGE_SAID 64u

struct knot_cache {
	pthread_mutex_t mutex;
	pthread_cond_t loaded; /* a placeholder is gone */
	uint8_t *arena;
	size_t frames;
	struct knot_page *pages;
	struct knot_hash hash;
	uint32_t *free_stack;
	size_t free_count;
	uint32_t *withheld_stack;
	size_t withheld_count;
	size_t withheld_target;
	ssize_t charged_bytes;
	struct knot_list clean; /* clean and not being written; next to be evicted at the end */
	size_t clean_count;
	size_t evictable;       /* of those, not pinned */
	struct knot_list dirty; /* by oldest_lsn */
	size_t dirty_count;
	size_t pending_count;
	size_t spare_frames; /* left to privileged mtrs: with data=strict, those that end a batch */
	size_t reserved;     /* frames promised to mini-transactions */
	uint64_t next_token;
	uint8_t *cluster_buffer; /* for one cluster read at a time */
	bool cluster_busy;
	uint32_t cluster_pages;  /* how much to read along: by what the last neighbours were good for */
	uint32_t neighbours_used, neighbours_wasted, single_reads;
	uint64_t said[KNOT_DAMAGE_SAID]; /* damaged pages that were reported, page number + 1 */
	uint64_t hits, misses, evictions, pages_read;
};

/* Errors: -ENOMEM. */
int knot_cache_init(struct knot_cache *cache, size_t frames);
void knot_cache_destroy(struct knot_cache *cache);

struct knot_page *knot_cache_find_locked(struct knot_cache *cache, uint64_t page_no);

/* A neighbour that was read along was used, or evicted unused: what the next misses read along follows. */
void knot_cache_judge_neighbour_locked(struct knot_cache *cache, struct knot_page *page, bool used);

/* A frame of no page: a free one, or that of the clean page not used for longest. NULL if there is none. */
struct knot_page *knot_cache_take_frame_locked(struct knot_cache *cache);
void knot_cache_give_frame_locked(struct knot_cache *cache, struct knot_page *page);

/* Enter a frame that was taken as page `page_no`, in state NEW or READING. */
void knot_cache_add_locked(struct knot_cache *cache, struct knot_page *page, uint64_t page_no, enum knot_cached state);

/* The copy is gone; its frame is free once nobody has it pinned. Not for pages that are being written. */
void knot_cache_drop_locked(struct knot_cache *cache, struct knot_page *page);

/* State changes; cache.c shows which are possible. */
void knot_cache_set_clean_locked(struct knot_cache *cache, struct knot_page *page);
void knot_cache_set_dirty_locked(struct knot_cache *cache, struct knot_page *page, knot_lsn_t oldest_lsn);
void knot_cache_set_new_locked(struct knot_cache *cache, struct knot_page *page);
void knot_cache_set_writing_locked(struct knot_cache *cache, struct knot_page *page);
void knot_cache_set_written_locked(struct knot_cache *cache, struct knot_page *page);

/* Pins: for the mtr under way (all let go at once), and counted ones over a retry. */
void knot_cache_pin_mtr_locked(struct knot_cache *cache, struct knot_page *page, struct knot_page **pinned);
void knot_cache_unpin_mtr_locked(struct knot_cache *cache, struct knot_page **pinned);
void knot_cache_keep_locked(struct knot_cache *cache, struct knot_page *page);
void knot_cache_unkeep_locked(struct knot_cache *cache, struct knot_page *page);

/* Promise `count` frames to an mtr. False if there aren't that many; those not privileged leave a few. */
bool knot_cache_reserve(struct knot_cache *cache, size_t count, bool privileged);
void knot_cache_unreserve(struct knot_cache *cache, size_t count);

/* Whether there is a frame to be had, if only when pins are let go. */
bool knot_cache_has_clean(struct knot_cache *cache);

/* True once for each damaged page: whether to say it. */
bool knot_cache_note_damage(struct knot_cache *cache, uint64_t page_no);

/* Why a page could not be had; what the message says. */
enum knot_miss_fault {
	KNOT_MISS_READ = 100, /* beyond enum knot_page_fault */
	KNOT_MISS_STALE,
};

/*
 * Read a page, and its cluster if it is a tree page, into the cache. With 0 it is pinned (knot_cache_keep_locked) in
 * `*page`, or `*page` is NULL when it was taken over or freed meanwhile: look again.
 * Locks: none. Errors: -KNOT_EFULL no frame, -EIO, -EUCLEAN (`*fault` says why; nothing is said here), -ENOMEM.
 */
int knot_cache_load(struct knot_txn *txn, uint64_t page_no, enum knot_page_type type, uint64_t generation,
		    struct knot_request *request, struct knot_page **page, unsigned *fault);

#endif
