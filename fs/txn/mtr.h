/* SPDX-License-Identifier: MIT */
/*
 * Mini-transactions: one atomic change of possibly many pages, replayed whole or not at all.
 *
 * Every operation has this form (writing; a reader calls knot_mtr_begin_read()):
 *
 *	knot_mtr_init(&mtr, txn, request);
 *	do {
 *		err = knot_mtr_begin(&mtr, pages_max, 0);
 *		if (!err)
 *			err = the_operation_locked(&mtr, ...);     // knot_mtr_page, knot_mtr_change, ...; passes errors
 *on err = knot_mtr_finish(&mtr, err); } while (err == KNOT_RETRY);
 *
 * begin reserves ring bytes (a whole image for each of `pages_max` pages) and cache frames, waiting where it must, then
 *takes the transaction lock. finish with 0 commits, with anything else gives up: every page is as it was, hooks are
 *told. On -KNOT_EMISS it reads the missing page with the lock dropped and asks for a retry; on -KNOT_EGROW it asks for
 *a retry with twice the reservation; on -KNOT_EFULL it calls upper->need_frames and asks for a retry. So an operation
 *changes in-memory state only when nothing can fail any more, or undoes it in a hook.
 */
#ifndef KNOT_TXN_MTR_H
#define KNOT_TXN_MTR_H

#include "fs/txn/txn.h"
#include "fs/util/errors.h"

#include <knotfs/format.h>

#include <stdbool.h>
#include <stdint.h>

struct knot_page; /* a page in the cache; opaque */
struct knot_mtr_state;

/* Lives on the caller's stack. Fields are private to fs/txn, but for `end_lsn`. */
struct knot_mtr {
	struct knot_txn *txn;
	struct knot_request *request;
	struct knot_mtr_state *state; /* while begun */
	knot_lsn_t end_lsn; /* after a successful finish or next: the LSN to commit to; 0 if nothing was changed */
	uint64_t miss_page_no;
	uint64_t miss_generation;
	uint32_t miss_type;
	int miss_err; /* reading it failed: final if the next try asks for the same page again */
	unsigned miss_fault;
	unsigned pages_grown; /* reservation asked for by -KNOT_EGROW */
	unsigned retries;
	struct knot_page *kept[8]; /* pages read for a miss stay pinned over the retry */
	unsigned kept_count;
};

#define KNOT_MTR_PRIVILEGED                                                                                     \
	0x1u /* may use the last quarter of the ring: what makes room for others (strict batches, flushes under \
		pressure) */
#define KNOT_MTR_NO_WAIT 0x2u /* -EAGAIN instead of waiting */

/* Undo and publish: called once, in the order added, with the transaction lock held. `lsn` is the mtr's end LSN, 0 when
 * given up. */
struct knot_mtr_hook {
	void (*finish)(struct knot_mtr_hook *hook, knot_lsn_t lsn);
	struct knot_mtr_hook *next;
};

void knot_mtr_init(struct knot_mtr *mtr, struct knot_txn *txn, struct knot_request *request);

/* Errors: -EROFS read-only or stopped (-EIO stopped by an I/O error), -EFBIG more than the ring can ever take, -EAGAIN.
 * On error nothing is held. */
int knot_mtr_begin(struct knot_mtr *mtr, unsigned pages_max, unsigned flags);
int knot_mtr_begin_read(struct knot_mtr *mtr);

/*
 * End: see the top. Call it also when begin failed (it passes the error on). Returns 0, KNOT_RETRY, or a negative errno
 * (-EUCLEAN: the page read for a miss is damaged, said through messages; -EIO).
 */
int knot_mtr_finish(struct knot_mtr *mtr, int err);

/*
 * Commit what was changed so far as one mini-transaction and go on with the lock held and the rest of the reservation:
 * chains that nobody else may get in between (strict batches). Hooks run. `mtr->end_lsn` is updated.
 */
void knot_mtr_next(struct knot_mtr *mtr);

/* The largest `pages_max` that knot_mtr_begin() accepts on this volume: an eighth of the ring or of the frames, a
 * quarter of the log buffer. */
unsigned knot_mtr_pages_limit(struct knot_txn *txn);

/* Whole pages that may still be changed under this reservation. */
unsigned knot_mtr_pages_left(const struct knot_mtr *mtr);

/*
 * A metadata page, pinned until the mtr ends. With `generation` not 0 the page must carry it (a stale page is -EUCLEAN,
 * said). Errors: -KNOT_EMISS, -EUCLEAN.
 */
int knot_mtr_page(struct knot_mtr *mtr, uint64_t page_no, enum knot_page_type type, uint64_t generation,
		  struct knot_page **page);

/*
 * Announce a change: keeps a pre-image. After it the page's bytes may be written; again is fine.
 * `*was_clean`, if not NULL, tells whether this is the page's first change since it was clean: its generation must then
 * become knot_mtr_generation() here and with its parent (tree pages; others just set it). Errors: -KNOT_EGROW.
 */
int knot_mtr_change(struct knot_mtr *mtr, struct knot_page *page, bool *was_clean);

/*
 * A page that was just allocated: zeroed, formatted with `type` and knot_mtr_generation(), already announced; logged as
 * a whole image. Errors: -KNOT_EGROW, -KNOT_EFULL.
 */
int knot_mtr_new_page(struct knot_mtr *mtr, uint64_t page_no, enum knot_page_type type, struct knot_page **page);

/*
 * The new contents (4096 bytes, copied) of a page of file data that goes through the log. If the cache holds its last
 * logged version, only the difference is logged. Its check value is the caller's business. Errors: -KNOT_EGROW,
 * -KNOT_EFULL.
 */
int knot_mtr_put_data(struct knot_mtr *mtr, uint64_t page_no, const void *contents);

/* Copy the last logged version of a data page if the cache has it: it is newer than the device's. Transaction lock
 * held. */
bool knot_txn_peek_data(struct knot_txn *txn, uint64_t page_no, void *contents);

/*
 * The pages were given back (their bits are cleared in this same mtr): log FREE. When committed, cached copies are
 * dropped and never go home. They must not be allocated again before knot_txn_committed_lsn() has passed the mtr's end
 * LSN and knot_txn_pages_idle() is true. Errors: -KNOT_EGROW, -ENOMEM.
 */
int knot_mtr_free_pages(struct knot_mtr *mtr, uint64_t page_no, uint32_t count);

/* True when no write of these pages is under way and no cached copy of them is left (drops clean or freed ones).
 * Transaction lock held. */
bool knot_txn_pages_idle(struct knot_txn *txn, uint64_t page_no, uint32_t count);

/* Unique and growing: what a page's generation becomes with its first change in this mtr. Never 0. */
uint64_t knot_mtr_generation(const struct knot_mtr *mtr);

void knot_mtr_add_hook(struct knot_mtr *mtr, struct knot_mtr_hook *hook);

/* The page's 4096 bytes. Write only after knot_mtr_change() or knot_mtr_new_page(). */
void *knot_page_data(struct knot_page *page);
uint64_t knot_page_no(const struct knot_page *page);
uint64_t knot_page_generation(const struct knot_page *page);
/* True if a change in this mtr was announced already (then its parent knows the generation). */
bool knot_page_is_changing(const struct knot_page *page);

#endif
