/* SPDX-License-Identifier: MIT */
/*
 * Truncation.
 *
 *   to 0      pending: what follows before the next flush is one mini-transaction with it
 *   larger    pending: only the size
 *   smaller   pending data is flushed first; then one mini-transaction sets size, zeroes the rest of the last page
 * through the log, and frees extents. What is too much for it is freed by a chain, announced by a truncation item.
 *
 * Invariants
 *  (1) From the mini-transaction that sets the size until its truncation item is gone, `flushing` keeps everybody else
 *      from mapping anything in the range that the chain still frees.
 *  (2) A truncation item is removed by the mini-transaction that frees the last extent.
 *
 * If power fails in the chain: the item is found at mount, and the chain ends before anybody writes.
 */
#include "fs/node/data_int.h"

#include "fs/disk/page.h"
#include "fs/util/endian.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CHAIN_EXTENTS_MAX 48u
#define CHANGE_PAGES      24u

enum truncate_next { TRUNCATE_DONE, TRUNCATE_WAIT, TRUNCATE_FLUSH, TRUNCATE_READ_TAIL, TRUNCATE_CHAIN };

struct truncate_plan {
	uint64_t inode_no, size;
	uint64_t wait;
	uint8_t *tail; /* the last page's logged bytes */
	bool tail_filled;
	uint64_t tail_page_no, map_seq, ticket;
	uint32_t tail_check;
	uint64_t object;
	struct knot_inode *inode; /* pinned, with TRUNCATE_CHAIN */
	struct knot_data_note note;
	struct knot_attr attr;
};

static unsigned change_pages(const struct knot_nodes *nodes)
{
	unsigned limit = knot_mtr_pages_limit(nodes->txn);

	return limit < CHANGE_PAGES ? limit : CHANGE_PAGES;
}

static void truncation_key(struct knot_key *key, uint64_t object)
{
	knot_key_make(key, KNOT_OBJECT_TRUNCATIONS, KNOT_KIND_TRUNCATION, 0, object);
}

static void touch_now(struct knot_nodes *nodes, struct knot_attr *attr)
{
	attr->mtime = knot_nodes_now(nodes);
	attr->ctime = attr->mtime;
	attr->change++;
}

/* Larger or 0: nothing but memory changes. */
static int truncate_pending(struct knot_nodes *nodes, struct knot_inode *inode, struct truncate_plan *plan,
			    enum truncate_next *next)
{
	struct knot_data *data = knot_data_state(nodes, inode);

	if (!data)
		return -ENOMEM;
	if (data->chain || (plan->size == 0 && data->flushing)) {
		*next = TRUNCATE_WAIT;
		return 0;
	}
	knot_data_note_change(nodes, data);
	if (plan->size == 0 && inode->attr.size > 0) {
		knot_pending_drop_all(nodes, data);
		data->through_log = false;
		data->near = 0;
		data->cut = data->logged_pages > 0 || inode->logged_size > 0;
		inode->attr.pages = 0;
	}
	inode->attr.size = plan->size;
	touch_now(nodes, &inode->attr);
	data->touched = true;
	(void)knot_data_reserve(nodes, data,
				0); /* a few pages for the mini-transaction: the pool has them if need be */
	knot_data_update_dirty(nodes, data);
	*next = TRUNCATE_DONE;
	return 0;
}

/* Zero what follows the new end in its page, through the log. */
static int cut_tail(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
		    struct truncate_plan *plan, enum truncate_next *next)
{
	uint64_t file_page = plan->size / KNOT_PAGE_BYTES;
	size_t keep = (size_t)(plan->size % KNOT_PAGE_BYTES);
	struct knot_extent extent;
	uint32_t check;
	int err;

	if (keep == 0)
		return 0;
	err = knot_extent_find(nodes, mtr, inode->attr.data_object, file_page, 1, &extent);
	if (err || (extent.hole && file_page > 0) || extent.flags & KNOT_EXTENT_UNWRITTEN)
		return err;
	if (extent.hole) {
		size_t len_bytes;

		err = knot_inline_get(nodes, mtr, inode->attr.inode, plan->tail, &len_bytes);
		if (err || len_bytes <= keep)
			return err == -ENOENT ? 0 : err;
		return knot_inline_put(nodes, mtr, inode->attr.inode, plan->tail, keep);
	}
	if (!plan->tail_filled || plan->map_seq != nodes->data->map_seq) {
		plan->tail_filled = false;
		err = knot_data_base_locked(nodes, mtr, inode, file_page, plan->tail, &plan->tail_page_no,
					    &plan->tail_check);
		if (err)
			return err;
		if (plan->tail_page_no) {
			plan->map_seq = nodes->data->map_seq;
			plan->ticket = knot_space_read_begin(nodes->space);
			*next = TRUNCATE_READ_TAIL;
			return 0;
		}
	}
	memset(plan->tail + keep, 0, KNOT_PAGE_BYTES - keep);
	check = knot_data_check(&knot_txn_super(nodes->txn)->seal, plan->tail, extent.page_no);
	err = knot_mtr_put_data(mtr, extent.page_no, plan->tail);
	return err ? err : knot_space_set_checks(nodes->space, mtr, extent.page_no, 1, &check);
}

static int shrink_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
			 struct truncate_plan *plan, enum truncate_next *next)
{
	struct knot_data *data = knot_data_state(nodes, inode);
	struct knot_disk_truncation item;
	struct knot_attr attr = inode->attr;
	uint64_t from_page = (plan->size + KNOT_PAGE_BYTES - 1) / KNOT_PAGE_BYTES, freed;
	struct knot_key key;
	bool more;
	int err;

	if (!data)
		return -ENOMEM;
	*next = TRUNCATE_DONE;
	err = cut_tail(nodes, mtr, inode, plan, next);
	if (err || *next != TRUNCATE_DONE)
		return err;
	err = knot_extent_free(nodes, mtr, attr.data_object, from_page, CHAIN_EXTENTS_MAX, &more, &freed);
	if (err)
		return err;
	if (more) {
		item.from_page = knot_put64(from_page);
		item.inode = knot_put64(attr.inode);
		truncation_key(&key, attr.data_object);
		err = knot_tree_insert(nodes->tree, mtr, &key, &item, sizeof(item));
		if (err)
			return err;
	}
	attr.size = plan->size;
	attr.pages = data->logged_pages - freed;
	touch_now(nodes, &attr);
	err = knot_inode_log(nodes, mtr, attr.inode, &attr,
			     KNOT_FIELD_SIZE | KNOT_FIELD_PAGES | KNOT_FIELD_MTIME | KNOT_FIELD_CTIME);
	if (err)
		return err;
	data->logged_pages = attr.pages;
	data->near = 0;
	nodes->data->map_seq++;
	inode->attr = attr;
	inode->logged_size = attr.size;
	knot_data_note_at_commit(mtr, inode, &plan->note);
	if (more) {
		data->flushing = true;
		data->chain = true;
		knot_data_update_dirty(nodes, data);
		knot_inode_pin(nodes, inode);
		plan->inode = inode;
		plan->object = attr.data_object;
		*next = TRUNCATE_CHAIN;
	}
	return 0;
}

static int truncate_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct truncate_plan *plan,
			   enum truncate_next *next)
{
	struct knot_inode *inode;
	int err = knot_inode_get(nodes, mtr, plan->inode_no, &inode);

	if (err)
		return err;
	if (!S_ISREG(inode->attr.mode))
		return S_ISDIR(inode->attr.mode) ? -EISDIR : -EINVAL;
	plan->wait = knot_data_wait_ticket(nodes);
	if (nodes->data->gate_closed) {
		*next = TRUNCATE_WAIT;
		return 0;
	}
	if (plan->size == 0 || plan->size >= inode->attr.size) {
		err = truncate_pending(nodes, inode, plan, next);
	} else if (inode->data && inode->data->flushing) {
		*next = TRUNCATE_WAIT;
	} else if (knot_data_has_pending(inode->data)) {
		*next = TRUNCATE_FLUSH;
	} else {
		err = shrink_locked(nodes, mtr, inode, plan, next);
	}
	plan->attr = inode->attr;
	return err;
}

/* What an extent chain took from the object counts no longer in the inode's pages. */
static int count_freed(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, uint64_t freed)
{
	struct knot_inode *inode;
	struct knot_attr attr;
	int err = knot_inode_get(nodes, mtr, inode_no, &inode);

	if (err)
		return err == -ESTALE ? 0 : err;
	attr = inode->attr;
	attr.pages = (inode->data ? inode->data->logged_pages : attr.pages) - freed;
	err = knot_inode_log(nodes, mtr, inode_no, &attr, KNOT_FIELD_PAGES);
	if (err)
		return err;
	inode->attr.pages = attr.pages + (inode->data ? inode->data->page_count : 0);
	if (inode->data)
		inode->data->logged_pages = attr.pages;
	return 0;
}

/* One step of a chain: free some extents; with the last of them the item goes. */
static int chain_step(struct knot_nodes *nodes, struct knot_request *request, uint64_t object, uint64_t from_page,
		      uint64_t inode_no, bool *more)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		err = knot_mtr_begin(&mtr, change_pages(nodes), 0);
		if (!err) {
			struct knot_key key;
			uint64_t freed = 0;

			err = knot_extent_free(nodes, &mtr, object, from_page, CHAIN_EXTENTS_MAX, more, &freed);
			truncation_key(&key, object);
			if (!err && !*more)
				err = knot_tree_remove(nodes->tree, &mtr, &key);
			if (!err && inode_no)
				err = count_freed(nodes, &mtr, inode_no, freed);
			nodes->data->map_seq++;
		}
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

static int run_chain(struct knot_nodes *nodes, struct knot_request *request, struct truncate_plan *plan)
{
	uint64_t from_page = (plan->size + KNOT_PAGE_BYTES - 1) / KNOT_PAGE_BYTES;
	bool more = true;
	int err = 0;

	while (!err && more)
		err = chain_step(nodes, request, plan->object, from_page, plan->inode_no, &more);
	if (err) /* the file must not grow into the range before the chain ends, at the next mount */
		knot_txn_stop(nodes->txn, err, "freeing what a truncation cut off failed");
	knot_txn_lock(nodes->txn, request);
	plan->inode->data->flushing = false;
	plan->inode->data->chain = false;
	knot_data_update_dirty(nodes, plan->inode->data);
	plan->attr = plan->inode->attr;
	knot_inode_unpin(nodes, plan->inode);
	knot_txn_unlock(nodes->txn);
	knot_data_wake(nodes);
	return err;
}

static int read_tail(struct knot_nodes *nodes, struct knot_request *request, struct truncate_plan *plan)
{
	bool changed;
	int err;

	knot_request_will_block(request);
	err = knot_data_read_device(nodes, plan->tail_page_no, 1, &plan->tail_check, plan->tail);
	knot_txn_lock(nodes->txn, request);
	knot_space_read_end(nodes->space, plan->ticket);
	changed = nodes->data->map_seq != plan->map_seq;
	knot_txn_unlock(nodes->txn);
	plan->tail_filled = !err && !changed;
	if (err == -EUCLEAN && changed)
		return 0;
	if (err == -EUCLEAN)
		knot_data_say_damage(nodes, plan->inode_no, plan->size / KNOT_PAGE_BYTES, plan->tail_page_no);
	return err;
}

static int truncate_wait(struct knot_nodes *nodes, struct knot_request *request, struct truncate_plan *plan,
			 enum truncate_next next)
{
	knot_lsn_t lsn;

	switch (next) {
	case TRUNCATE_WAIT:
		knot_data_wait(nodes, request, plan->wait);
		return 0;
	case TRUNCATE_FLUSH:
		return knot_data_flush_inode(nodes, request, plan->inode_no, &lsn);
	case TRUNCATE_READ_TAIL:
		return read_tail(nodes, request, plan);
	case TRUNCATE_CHAIN:
	case TRUNCATE_DONE:
		break;
	}
	return 0;
}

int knot_data_truncate(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, uint64_t size,
		       struct knot_attr *attr_out)
{
	struct truncate_plan plan = { .inode_no = inode_no, .size = size };
	enum truncate_next next = TRUNCATE_DONE;
	void *tail;
	int err;

	if (size > INT64_MAX)
		return -EFBIG;
	if (knot_txn_is_read_only(nodes->txn) || knot_txn_is_stopped(nodes->txn))
		return -EROFS;
	if (posix_memalign(&tail, KNOT_PAGE_BYTES, KNOT_PAGE_BYTES))
		return -ENOMEM;
	plan.tail = tail;
	do {
		struct knot_mtr mtr;

		knot_mtr_init(&mtr, nodes->txn, request);
		do {
			err = knot_mtr_begin(&mtr, change_pages(nodes), 0);
			if (!err)
				err = truncate_locked(nodes, &mtr, &plan, &next);
			err = knot_mtr_finish(&mtr, err);
		} while (err == KNOT_RETRY);
		if (!err && next != TRUNCATE_DONE)
			err = truncate_wait(nodes, request, &plan, next);
	} while (!err && next != TRUNCATE_DONE && next != TRUNCATE_CHAIN);
	if (!err && next == TRUNCATE_CHAIN)
		err = run_chain(nodes, request, &plan);
	free(tail);
	if (!err && attr_out)
		*attr_out = plan.attr;
	return err;
}

/* The first truncation item from `*object` on. -ENOENT none. */
static int next_truncation(struct knot_nodes *nodes, struct knot_request *request, uint64_t *object,
			   uint64_t *from_page, uint64_t *inode_no)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err) {
			struct knot_disk_truncation item;
			struct knot_key key, found;
			const void *value;
			size_t len_bytes;

			truncation_key(&key, *object);
			err = knot_tree_next(nodes->tree, &mtr, &key, &found, &value, &len_bytes);
			if (!err && (knot_key_object(&found) != KNOT_OBJECT_TRUNCATIONS ||
				     knot_key_kind(&found) != KNOT_KIND_TRUNCATION))
				err = -ENOENT;
			/* a number that no object has: going on from it could lead back to it */
			if (!err && (len_bytes != sizeof(item) || knot_key_offset_high(&found) ||
				     knot_key_offset_low(&found) >= INT64_MAX)) {
				knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR,
					     "the list of truncations has an impossible entry; run fsck.knotfs");
				err = -EUCLEAN;
			}
			if (!err) {
				memcpy(&item, value, sizeof(item));
				*object = knot_key_offset_low(&found);
				*from_page = knot_get64(item.from_page);
				*inode_no = knot_get64(item.inode);
			}
		}
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

int knot_data_recover(struct knot_nodes *nodes)
{
	uint64_t object = 0, from_page = 0, inode_no = 0;
	int err = 0;

	while (!err) {
		bool more = true;

		err = next_truncation(nodes, NULL, &object, &from_page, &inode_no);
		while (!err && more)
			err = chain_step(nodes, NULL, object, from_page, inode_no, &more);
	}
	return err == -ENOENT ? 0 : err;
}

int knot_data_run_loose_chains(struct knot_nodes *nodes, struct knot_request *request)
{
	struct knot_data_volume *volume = nodes->data;
	uint64_t object = 0, from_page = 0, inode_no = 0;
	bool mine;
	int err = 0;

	knot_txn_lock(nodes->txn, request);
	mine = volume->loose_chains && !volume->chains_run;
	if (mine) {
		volume->chains_run = true;
		volume->loose_chains = false;
	}
	knot_txn_unlock(nodes->txn);
	if (!mine)
		return 0;
	while (!err) {
		bool more = true;

		err = next_truncation(nodes, request, &object, &from_page, &inode_no);
		while (!err && more && !inode_no) /* the others have their truncate() at work */
			err = chain_step(nodes, request, object, from_page, inode_no, &more);
		object++;
	}
	knot_txn_lock(nodes->txn, request);
	volume->chains_run = false;
	knot_txn_unlock(nodes->txn);
	return err == -ENOENT ? 0 : err;
}
