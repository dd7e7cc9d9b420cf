/* SPDX-License-Identifier: MIT */
/*
 * The frame of a changing operation: one mini-transaction, repeated as long as it has to be.
 *
 * Invariants
 *  (1) In-memory inodes change in the commit hook only, with what was logged; so a given-up mini-transaction leaves
 *      nothing behind.
 *  (2) Space reserved by a body is given back at its end, whatever happened.
 */
#include "fs/vfs/volume_int.h"

#include <assert.h>

static void finished(struct knot_mtr_hook *hook, knot_lsn_t lsn)
{
	struct knot_op *op = knot_container_of(hook, struct knot_op, hook);

	if (!lsn)
		return;
	op->lsn = lsn;
	for (unsigned i = 0; i < op->touched_count; i++) {
		struct knot_touched *touched = &op->touched[i];
		struct knot_inode *inode = touched->inode;

		if (touched->gone) {
			knot_inode_pin(op->nodes, inode);
			inode->dead = true;
			knot_inode_unpin(op->nodes, inode);
		}
		if (touched->gone || !touched->fields)
			continue;
		inode->attr = touched->attr;
		if (touched->fields & KNOT_FIELD_SIZE)
			inode->logged_size = inode->attr.size;
		if (touched->fields & KNOT_FIELD_ATIME)
			inode->atime_pending = false;
		knot_inode_note_lsn(inode, lsn, touched->datasync);
		if (!inode->attr.links && !inode->orphan)
			knot_reclaim_note_orphan_locked(op->volume, inode);
	}
	if (op->publish)
		op->publish(op);
}

static int log_touched(struct knot_op *op)
{
	int err = 0;

	for (unsigned i = 0; i < op->touched_count && !err; i++) {
		struct knot_touched *touched = &op->touched[i];

		if (touched->gone || !touched->fields)
			continue;
		if (touched->inode->atime_pending)
			touched->fields |= KNOT_FIELD_ATIME;
		touched->attr.change = touched->inode->attr.change + 1;
		err = knot_inode_log(op->nodes, op->mtr, touched->attr.inode, &touched->attr, touched->fields);
	}
	return err;
}

static int run_locked(struct knot_op *op)
{
	struct knot_volume *volume = op->volume;
	int err;

	op->touched_count = 0;
	op->reserved_pages = 0;
	op->now = knot_nodes_now(op->nodes);
	knot_nodes_trim_locked(op->nodes);
	err = op->body(op);
	if (!err)
		err = log_touched(op);
	if (op->reserved_pages)
		knot_space_unreserve(volume->space, op->reserved_pages);
	if (!err) {
		op->hook.finish = finished;
		knot_mtr_add_hook(op->mtr, &op->hook);
	}
	atomic_store_explicit(&volume->op_pages, 4 + 2 * knot_tree_insert_pages(volume->tree), memory_order_relaxed);
	return err;
}

static unsigned pages_for(const struct knot_op *op)
{
	const struct knot_volume *volume = op->volume;
	unsigned pages = op->pages_max ? op->pages_max : atomic_load_explicit(&volume->op_pages, memory_order_relaxed);

	return pages < volume->pages_limit ? pages : volume->pages_limit;
}

int knot_op_run(struct knot_op *op, struct knot_volume *volume, struct knot_request *request)
{
	int err;

	op->volume = volume;
	op->request = request;
	op->nodes = volume->nodes;
	op->mtr = &op->current;
	for (unsigned tries = 0;; tries++) {
		knot_mtr_init(op->mtr, volume->txn, request);
		do {
			err = knot_mtr_begin(op->mtr, pages_for(op), 0);
			if (!err)
				err = run_locked(op);
			err = knot_mtr_finish(op->mtr, err);
		} while (err == KNOT_RETRY);
		if (err != -ENOSPC || tries || op->no_second_try || !knot_volume_make_room(volume, request))
			break;
	}
	return knot_space_error(volume->space, err);
}

int knot_op_read(struct knot_volume *volume, struct knot_request *request, int (*body)(struct knot_mtr *mtr, void *arg),
		 void *arg)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, volume->txn, request);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err) {
			knot_nodes_trim_locked(volume->nodes);
			err = body(&mtr, arg);
		}
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

struct knot_touched *knot_op_touch(struct knot_op *op, struct knot_inode *inode, unsigned fields)
{
	struct knot_touched *touched;

	for (unsigned i = 0; i < op->touched_count; i++) {
		touched = &op->touched[i];
		if (touched->inode == inode) {
			touched->fields |= fields;
			return touched;
		}
	}
	assert(op->touched_count < KNOT_OP_TOUCHED_MAX);
	touched = &op->touched[op->touched_count++];
	*touched = (struct knot_touched){ .inode = inode, .attr = inode->attr, .fields = fields, .datasync = true };
	return touched;
}

int knot_op_reserve(struct knot_op *op, unsigned inserts, unsigned more_pages, unsigned flags)
{
	uint64_t pages = (uint64_t)inserts * knot_tree_insert_pages(op->volume->tree) + more_pages;
	int err = knot_space_reserve(op->volume->space, pages, flags);

	if (!err)
		op->reserved_pages += pages;
	return err;
}

static uint64_t available(struct knot_volume *volume, struct knot_request *request, uint64_t *waiting)
{
	uint64_t pages;

	knot_txn_lock(volume->txn, request);
	knot_space_reap(volume->space);
	pages = knot_space_available(volume->space);
	*waiting = knot_space_waiting(volume->space);
	knot_txn_unlock(volume->txn);
	return pages;
}

/* Pending data has its worst case reserved; once flushed it takes what it needs. */
bool knot_volume_make_room(struct knot_volume *volume, struct knot_request *request)
{
	uint64_t before, after, waiting;

	before = available(volume, request, &waiting);
	knot_background_apply_forgets(volume, request);
	if (knot_reclaim_run(volume, request))
		return false;
	(void)knot_data_flush_all(volume->nodes, request, 0); /* the files' own fsync reports their errors */
	after = available(volume, request, &waiting);
	if (waiting) {
		if (knot_txn_commit_to(volume->txn, knot_txn_lsn(volume->txn), true, request))
			return false;
		after = available(volume, request, &waiting);
	}
	return after > before;
}
