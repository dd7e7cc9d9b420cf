/* SPDX-License-Identifier: MIT */
/*
 * The page allocator, reservations, and the page-check table.
 *
 * Logged: bitmaps and free counts in group headers, the group table, the state page. In memory: *busy* ranges that
 * may not be allocated although their bits are clear: placed but not mapped yet (file data on its way home), and
 * freed ones whose FREE is not committed or that are still being read. All calls need the transaction lock unless
 * they say otherwise. README.md has the whole.
 */
#ifndef KNOT_SPACE_SPACE_H
#define KNOT_SPACE_SPACE_H

#include "fs/txn/mtr.h"

#include <stdbool.h>
#include <stdint.h>

struct knot_space;

/*
 * Reads the group table (only the pages below groups_initialised) with reads of its own, before others use the txn.
 * Errors: -EUCLEAN, -EIO, -ENOMEM.
 */
int knot_space_open(struct knot_txn *txn, struct knot_space **space);
void knot_space_close(struct knot_space *space);

/* ---- reservations: in memory, so that what the daemon answered can't fail later ---- */

/* may use the fixed pool kept for unlink, truncate, punch, and for flushing what was answered */
#define KNOT_SPACE_POOL 0x1u

/* Take `pages` out of what others may reserve. Errors: -ENOSPC (after waiting frees were taken back). */
int knot_space_reserve(struct knot_space *space, uint64_t pages, unsigned flags);
void knot_space_unreserve(struct knot_space *space, uint64_t pages);

/* Pages that knot_space_reserve() could still give; what statfs shows as free and as available. */
uint64_t knot_space_available(const struct knot_space *space);
uint64_t knot_space_free(const struct knot_space *space);
uint64_t knot_space_total(const struct knot_space *space); /* all pages that could ever hold data or tree */
/* Freed pages that wait for a commit: committing the log makes them available. */
uint64_t knot_space_waiting(const struct knot_space *space);
/* What to answer for -ENOSPC: -EUCLEAN when groups were given up, for there may be room in them. Other errors stay. */
int knot_space_error(const struct knot_space *space, int err); /* no locks needed */

/* ---- allocation in a mini-transaction ---- */

/*
 * One page for the tree near `near` (0: anywhere), from a cluster of tree pages. Sets its bit in this mtr. Tree
 * pages need a reservation made by the operation (knot_space_reserve with the worst case) and given back at its end.
 * Errors: -ENOSPC, -KNOT_EMISS, -KNOT_EGROW, -EUCLEAN.
 */
int knot_space_alloc_tree(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint64_t *page_no);

/*
 * Up to `want` adjacent pages for file data, at `near` if free there, else the best run found (may be shorter: call
 * again). Sets bits in this mtr (file data that goes through the log).
 */
int knot_space_alloc_data(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint32_t want,
			  uint64_t *page_no, uint32_t *got);

/*
 * Clear the bits and log FREE; the pages become busy until that is committed and no reader began before. Any kind
 * of page. Errors: -EUCLEAN not in use, or fixed (said); -KNOT_EMISS, -KNOT_EGROW, -ENOMEM.
 */
int knot_space_release(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count);

/* ---- late allocation: pages that are written home first and mapped by a later mtr ---- */

/*
 * As knot_space_alloc_data, but the pages only become busy (in memory, at once, whatever becomes of the mtr); the mtr
 * is only read with. -ENOSPC (of this and the other two) also when all that is left lies in groups that were never
 * used, further on than one mtr can initialise: it goes on when what was placed before is settled.
 */
int knot_space_place(struct knot_space *space, struct knot_mtr *mtr, uint64_t near, uint32_t want, uint64_t *page_no,
		     uint32_t *got);
/* Set the bits of placed pages, in any pieces; if the mtr is given up they are placed as before. Errors: as alloc. */
int knot_space_settle(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count);
/* The data was never mapped (error, file deleted): not busy any more. */
void knot_space_unplace(struct knot_space *space, uint64_t page_no, uint32_t count);

/* ---- readers of the device: freed pages are not used again before readers that may look at them are done ---- */

uint64_t knot_space_read_begin(struct knot_space *space); /* a ticket */
void knot_space_read_end(struct knot_space *space, uint64_t ticket);

/* Let go of freed ranges that are committed and unread. Called from upper->committed and before -ENOSPC. */
void knot_space_reap(struct knot_space *space);

/* ---- page checks ---- */

/* Set the check values (CRC32C each) of `count` adjacent device pages in this mtr. */
int knot_space_set_checks(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count,
			  const uint32_t *checks);
int knot_space_get_checks(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count,
			  uint32_t *checks);

/* ---- counters of the state page ---- */

/* A number never used before; and the inode count. */
int knot_space_new_inode_no(struct knot_space *space, struct knot_mtr *mtr, uint64_t *inode_no);
int knot_space_count_inodes(struct knot_space *space, struct knot_mtr *mtr, int delta);
int knot_space_count_orphans(struct knot_space *space, struct knot_mtr *mtr, int delta);
int knot_space_inodes(struct knot_space *space, struct knot_mtr *mtr, uint64_t *inodes);
/* The tree's root generation, kept in the state page. */
int knot_space_root_generation(struct knot_space *space, struct knot_mtr *mtr, uint64_t *generation);
int knot_space_set_root_generation(struct knot_space *space, struct knot_mtr *mtr, uint64_t generation);

#endif
