/* SPDX-License-Identifier: MIT */
/*
 * Reclaiming inodes that have neither names nor lookups.
 *
 *   named --last name goes--> orphan (item in the tree) --last forget--> queued --> freeing --> gone
 *      \--nobody knows it, small: one mini-transaction---------------------------------------->/
 *
 * Invariants
 *  (1) An inode without names has an orphan item from the mini-transaction that took the last name to the one that
 *      deletes it.
 *  (2) An orphan without lookups is in `reclaim` or `deferred`, or `orphans_unlisted` is set. Entries too many do no
 *      harm: what is queued is looked at again before it is touched.
 *  (3) Once its extents begin to go the inode is dead and pinned by the reclaimer: no operation finds it. While others
 *      pin it nothing goes.
 *
 * If power fails while freeing: the orphan item is still there, the extents that went are gone; the next mount goes on.
 */
#include "fs/vfs/volume_int.h"

#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

#define BATCH_MAX       KNOT_OP_TOUCHED_MAX
#define AT_ONCE_EXTENTS 8u
#define STEP_EXTENTS    64u
#define STEP_ATTRIBUTES 32u
#define STEP_PAGES      64u /* of the ring, to begin with */
#define ROOM_PAGES      24u /* what the deletion of one more small file may touch */
#define SCAN_STEP       64u

void knot_reclaim_queue_locked(struct knot_volume *volume, uint64_t inode_no)
{
	atomic_store_explicit(&volume->reclaim_hint, true, memory_order_relaxed);
	if (knot_numbers_push(&volume->reclaim, inode_no) == 0)
		return;
	volume->orphans_unlisted = true; /* (2) */
	volume->orphan_scan_from = 0;
}

void knot_reclaim_note_orphan_locked(struct knot_volume *volume, struct knot_inode *inode)
{
	inode->orphan = true;
	if (!knot_lookups_mark_orphan(volume->lookups, inode->attr.inode))
		knot_reclaim_queue_locked(volume, inode->attr.inode);
}

/* ---- the steps of deleting one inode, in a body ---- */

static int remove_attributes(struct knot_op *op, uint64_t inode_no, bool *more)
{
	struct knot_key first, found;
	const void *value;
	size_t len_bytes;

	knot_key_make(&first, inode_no, KNOT_KIND_ATTRIBUTE, 0, 0);
	for (unsigned i = 0; i < STEP_ATTRIBUTES; i++) {
		int err = knot_tree_next(op->volume->tree, op->mtr, &first, &found, &value, &len_bytes);

		if (err == -ENOENT ||
		    (!err && (knot_key_object(&found) != inode_no || knot_key_kind(&found) != KNOT_KIND_ATTRIBUTE)))
			return 0;
		if (!err)
			err = knot_tree_remove(op->volume->tree, op->mtr, &found);
		if (err)
			return err;
	}
	*more = true;
	return 0;
}

static int free_data(struct knot_op *op, struct knot_touched *touched, unsigned extents_max, bool *more)
{
	uint64_t inode_no = touched->attr.inode;
	uint64_t object = touched->attr.data_object;
	uint64_t freed = 0, freed_now = 0;
	int err;

	if (!S_ISREG(touched->attr.mode) && !S_ISLNK(touched->attr.mode))
		return 0;
	err = knot_data_free_extents_locked(op->nodes, op->mtr, object, 0, extents_max, more, &freed);
	if (!err && !*more && object != inode_no)
		err = knot_data_free_extents_locked(op->nodes, op->mtr, inode_no, 0, extents_max, more, &freed_now);
	if (err)
		return err;
	touched->attr.pages -= freed < touched->attr.pages ? freed : touched->attr.pages;
	touched->fields |= KNOT_FIELD_PAGES;
	return 0;
}

/* Free a bounded part of what the inode has; when nothing is left delete its item. `touched->gone` tells. */
static int delete_step(struct knot_op *op, struct knot_touched *touched, unsigned extents_max)
{
	bool more = false;
	int err = free_data(op, touched, extents_max, &more);

	if (!err && !more)
		err = remove_attributes(op, touched->attr.inode, &more);
	if (err || more)
		return err;
	err = knot_inode_delete_item(op->nodes, op->mtr, touched->attr.inode);
	if (!err)
		touched->gone = true;
	return err;
}

int knot_reclaim_at_once(struct knot_op *op, struct knot_touched *touched)
{
	struct knot_inode *inode = touched->inode;

	if (inode->pins || knot_data_is_pending_locked(inode) ||
	    knot_lookups_count(op->volume->lookups, inode->attr.inode))
		return 0;
	return delete_step(op, touched, AT_ONCE_EXTENTS);
}

/* ---- many small ones in one mini-transaction ---- */

struct batch {
	struct knot_op op;
	uint64_t numbers[BATCH_MAX];
	unsigned count;
	unsigned done; /* of numbers; the body stops early when its pages run short */
	uint64_t pinned[BATCH_MAX];
	unsigned pinned_count;
	struct knot_inode *large[BATCH_MAX]; /* (3) begun; the pins are ours */
	unsigned large_count;
};

static struct batch *batch_of(struct knot_op *op)
{
	return knot_container_of(op, struct batch, op);
}

/* The queue says that nobody has this orphan; look again. `*inode` is NULL if it is to be left alone. */
static int look_again(struct knot_op *op, uint64_t inode_no, struct knot_inode **inode)
{
	struct knot_inode *found;
	int err = knot_inode_get(op->nodes, op->mtr, inode_no, &found);

	*inode = NULL;
	if (err == -ESTALE) { /* a leftover item, or it went before */
		err = knot_inode_peek(op->nodes, inode_no) ? 0 : knot_orphan_remove(op->nodes, op->mtr, inode_no);
		return err == -ENOENT ? 0 : err;
	}
	if (err)
		return err;
	if (!found->attr.links && !knot_lookups_count(op->volume->lookups, inode_no) &&
	    !(S_ISDIR(found->attr.mode) && found->attr.size))
		*inode = found;
	return 0;
}

static int delete_orphan_step(struct knot_op *op, struct knot_inode *inode, unsigned extents_max)
{
	struct knot_touched *touched = knot_op_touch(op, inode, 0);
	uint64_t inode_no = inode->attr.inode;
	int err = delete_step(op, touched, extents_max);

	if (!err && touched->gone)
		err = knot_orphan_remove(op->nodes, op->mtr, inode_no);
	return err == -ENOENT || err == -ESTALE ? -EUCLEAN : err;
}

static int batch_body(struct knot_op *op)
{
	struct batch *batch = batch_of(op);
	unsigned i;
	int err = knot_op_reserve(op, 1, 0, KNOT_SPACE_POOL);

	batch->pinned_count = 0;
	for (i = 0; i < batch->count && !err; i++) {
		struct knot_inode *inode;

		if (i && knot_mtr_pages_left(op->mtr) < ROOM_PAGES)
			break;
		err = look_again(op, batch->numbers[i], &inode);
		if (err || !inode)
			continue;
		knot_data_discard_locked(op->nodes,
					 inode); /* nobody can read it any more, even if this attempt fails */
		if (inode->pins)
			batch->pinned[batch->pinned_count++] = batch->numbers[i];
		else
			err = delete_orphan_step(op, inode, AT_ONCE_EXTENTS);
	}
	batch->done = i;
	return err;
}

static void batch_publish(struct knot_op *op)
{
	struct knot_volume *volume = op->volume;
	struct batch *batch = batch_of(op);

	batch->large_count = 0;
	for (unsigned i = 0; i < op->touched_count; i++) {
		struct knot_inode *inode = op->touched[i].inode;

		if (op->touched[i].gone)
			continue;
		knot_inode_pin(op->nodes, inode);
		inode->dead = true;
		batch->large[batch->large_count++] = inode;
	}
	for (unsigned i = 0; i < batch->pinned_count; i++)
		if (knot_numbers_push(&volume->deferred, batch->pinned[i])) {
			volume->orphans_unlisted = true;
			volume->orphan_scan_from = 0;
		}
}

/* ---- a large one, in steps ---- */

struct large {
	struct knot_op op;
	struct knot_inode *inode;
	bool gone;
};

static int large_body(struct knot_op *op)
{
	struct large *large = knot_container_of(op, struct large, op);
	int err = knot_op_reserve(op, 1, 0, KNOT_SPACE_POOL);

	if (!err)
		err = delete_orphan_step(op, large->inode, STEP_EXTENTS);
	large->gone = !err && op->touched[0].gone;
	return err;
}

static int delete_large(struct knot_volume *volume, struct knot_request *request, struct knot_inode *inode)
{
	struct large large = { .op = { .body = large_body, .pages_max = STEP_PAGES, .no_second_try = true },
			       .inode = inode };
	int err = 0;

	while (!err && !large.gone)
		err = knot_op_run(&large.op, volume, request);
	knot_txn_lock(volume->txn, request);
	knot_inode_unpin(volume->nodes, inode);
	knot_txn_unlock(volume->txn);
	return err;
}

/* ---- the queue ---- */

static bool stops_all(int err)
{
	return err == -EROFS || err == -EIO || err == -ENOMEM;
}

static int say_failed(struct knot_volume *volume, uint64_t inode_no, int err)
{
	if (stops_all(err))
		return err;
	knot_message(&volume->messages, KNOT_WARNING,
		     "inode %" PRIu64 " has no names but can't be deleted (error %d); the next mount will try again",
		     inode_no, -err);
	return 0;
}

static int run_batch(struct knot_volume *volume, struct knot_request *request, struct batch *batch)
{
	int err = 0;

	while (batch->count && !err) {
		batch->op = (struct knot_op){
			.body = batch_body,
			.publish = batch_publish,
			.pages_max = STEP_PAGES,
			.no_second_try = true,
		};
		batch->large_count = 0;
		err = knot_op_run(&batch->op, volume, request);
		if (err)
			break;
		for (unsigned i = 0; i < batch->large_count; i++) {
			uint64_t inode_no = batch->large[i]->attr.inode;
			int large_err = delete_large(volume, request, batch->large[i]);

			if (large_err && !err)
				err = say_failed(volume, inode_no, large_err);
		}
		batch->count -= batch->done;
		memmove(batch->numbers, batch->numbers + batch->done, batch->count * sizeof(batch->numbers[0]));
	}
	return err;
}

/* A batch has failed as a whole: find the one that is to blame. */
static int run_singly(struct knot_volume *volume, struct knot_request *request, const struct batch *failed)
{
	int err = 0;

	for (unsigned i = 0; i < failed->count && !err; i++) {
		struct batch single = { .numbers = { failed->numbers[i] }, .count = 1 };

		err = run_batch(volume, request, &single);
		if (err)
			err = say_failed(volume, failed->numbers[i], err);
	}
	return err;
}

static int scan_orphans(struct knot_mtr *mtr, void *arg)
{
	struct knot_volume *volume = arg;

	for (unsigned i = 0; i < SCAN_STEP; i++) {
		uint64_t inode_no;
		int err = knot_orphan_next(volume->nodes, mtr, volume->orphan_scan_from, &inode_no);

		if (err == -ENOENT || err == -EUCLEAN) { /* damage was said; asking again would not help */
			volume->orphans_unlisted = false;
			return 0;
		}
		if (!err && !knot_lookups_mark_orphan(volume->lookups, inode_no))
			err = knot_numbers_push(&volume->reclaim, inode_no);
		if (err)
			return err;
		volume->orphan_scan_from = inode_no + 1;
	}
	return 0;
}

/* Fill the batch; `*more`: the queue or the list of orphans has more. */
static int take(struct knot_volume *volume, struct knot_request *request, struct batch *batch, bool *more)
{
	int err = 0;

	if (volume->read_only)
		return 0;
	knot_txn_lock(volume->txn, request);
	if (!volume->reclaim.count && volume->orphans_unlisted) {
		knot_txn_unlock(volume->txn);
		err = knot_op_read(volume, request, scan_orphans, volume);
		if (err)
			return err;
		knot_txn_lock(volume->txn, request);
	}
	while (volume->reclaim.count && batch->count < BATCH_MAX)
		batch->numbers[batch->count++] = knot_numbers_pop(&volume->reclaim);
	*more = batch->count || volume->orphans_unlisted;
	knot_txn_unlock(volume->txn);
	return err;
}

/* What was pinned is tried again by the next run. */
static void take_up_deferred(struct knot_volume *volume, struct knot_request *request)
{
	knot_txn_lock(volume->txn, request);
	while (volume->deferred.count)
		knot_reclaim_queue_locked(volume, knot_numbers_pop(&volume->deferred));
	knot_txn_unlock(volume->txn);
}

int knot_reclaim_run(struct knot_volume *volume, struct knot_request *request)
{
	bool more = true;
	int err = 0;

	knot_request_lock(request, &volume->reclaim_mutex);
	while (more && !err) {
		struct batch batch = { .count = 0 };

		more = false;
		err = take(volume, request, &batch, &more);
		if (err || !batch.count)
			continue;
		err = run_batch(volume, request, &batch);
		if (err && !stops_all(err))
			err = run_singly(volume, request, &batch);
	}
	take_up_deferred(volume, request);
	pthread_mutex_unlock(&volume->reclaim_mutex);
	return err;
}

void knot_reclaim_after_op(struct knot_volume *volume, struct knot_request *request)
{
	if (!atomic_exchange_explicit(&volume->reclaim_hint, false, memory_order_relaxed))
		return;
	if (volume->threads)
		knot_background_wake(volume);
	else
		(void)knot_reclaim_run(volume, request); /* what fails is an orphan still, and was reported */
}
