/* SPDX-License-Identifier: MIT */
/*
 * Reading file data.
 *
 * Invariants
 *  (1) What is pending is newer than what is logged; what the cache has logged is newer than the device.
 *  (2) Nothing is returned from the device that its check value does not confirm.
 *  (3) Device pages that a reader was told of are not used for anything else until it is done (knot_space_read_begin);
 *      they may be rewritten in place through the log. So a mismatch is damage only if no mapping changed meanwhile.
 */
#include "fs/node/data_int.h"

#include "fs/disk/page.h"
#include "fs/util/message.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define READ_RETRIES 64

/* One run of adjacent device pages to be read. */
struct read_run {
	uint64_t file_page, page_no, pages;
	uint32_t *checks;
	struct read_run *next;
};

struct read_plan {
	uint64_t inode_no, at;
	size_t len_bytes;  /* clipped to the end of file */
	size_t room_bytes; /* of the buffer */
	uint8_t *buffer;
	struct read_run *runs;
	uint64_t ticket, map_seq;
	bool has_ticket;
};

void knot_data_say_damage(struct knot_nodes *nodes, uint64_t inode_no, uint64_t file_page, uint64_t page_no)
{
	knot_message(
		knot_txn_messages(nodes->txn), KNOT_ERROR,
		"page %llu (file data): checksum differs; page %llu of inode %llu can't be read. Run: fsck.knotfs -n",
		(unsigned long long)page_no, (unsigned long long)file_page, (unsigned long long)inode_no);
}

int knot_data_read_device(struct knot_nodes *nodes, uint64_t page_no, uint64_t count, const uint32_t *checks,
			  void *buffer)
{
	const struct knot_seal *seal = &knot_txn_super(nodes->txn)->seal;
	int err = knot_device_read(knot_txn_device(nodes->txn), buffer, (size_t)count * KNOT_PAGE_BYTES,
				   page_no * KNOT_PAGE_BYTES);

	for (uint64_t i = 0; !err && i < count; i++) {
		if (knot_data_check(seal, (const uint8_t *)buffer + i * KNOT_PAGE_BYTES, page_no + i) != checks[i])
			err = -EUCLEAN;
	}
	return err;
}

int knot_data_base_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode, uint64_t file_page,
			  void *page, uint64_t *page_no, uint32_t *check)
{
	struct knot_extent extent;
	size_t len_bytes = 0;
	int err;

	*page_no = 0;
	memset(page, 0, KNOT_PAGE_BYTES);
	if (inode->data && (inode->data->cut || inode->data->cut_flight))
		return 0;
	err = knot_extent_find(nodes, mtr, inode->attr.data_object, file_page, 1, &extent);
	if (err)
		return err;
	if (extent.hole && file_page == 0) {
		err = knot_inline_get(nodes, mtr, inode->attr.inode, page, &len_bytes);
		return err == -ENOENT ? 0 : err;
	}
	if (extent.hole || (extent.flags & KNOT_EXTENT_UNWRITTEN))
		return 0;
	if (knot_txn_peek_data(nodes->txn, extent.page_no, page))
		return 0;
	err = knot_space_get_checks(nodes->space, mtr, extent.page_no, 1, check);
	if (!err)
		*page_no = extent.page_no;
	return err;
}

static void free_runs(struct read_plan *plan)
{
	while (plan->runs) {
		struct read_run *run = plan->runs;

		plan->runs = run->next;
		free(run->checks);
		free(run);
	}
}

/* Copy what of one whole page falls into the request. */
static void copy_page(struct read_plan *plan, uint64_t file_page, const uint8_t *page)
{
	uint64_t page_at = file_page * KNOT_PAGE_BYTES;
	uint64_t from = page_at > plan->at ? page_at : plan->at;
	uint64_t end = plan->at + plan->len_bytes;
	uint64_t to = page_at + KNOT_PAGE_BYTES < end ? page_at + KNOT_PAGE_BYTES : end;

	if (from >= to)
		return;
	assert(plan->buffer);
	if (page)
		memcpy(plan->buffer + (from - plan->at), page + (from - page_at), (size_t)(to - from));
	else
		memset(plan->buffer + (from - plan->at), 0, (size_t)(to - from));
}

static int add_to_run(struct read_plan *plan, uint64_t file_page, uint64_t page_no, uint64_t limit)
{
	struct read_run *run = plan->runs;

	if (!run || run->file_page + run->pages != file_page || run->page_no + run->pages != page_no) {
		run = calloc(1, sizeof(*run));
		if (!run)
			return -ENOMEM;
		run->checks = calloc((size_t)limit, sizeof(run->checks[0]));
		if (!run->checks) {
			free(run);
			return -ENOMEM;
		}
		run->file_page = file_page;
		run->page_no = page_no;
		run->next = plan->runs;
		plan->runs = run;
	}
	run->pages++;
	return 0;
}

/* Pages [first, end) have no version in memory: take holes, inline data and cached pages at once, plan the others. */
static int plan_logged(struct knot_nodes *nodes, struct knot_mtr *mtr, struct read_plan *plan, struct knot_inode *inode,
		       uint64_t first, uint64_t end, uint8_t *scratch)
{
	bool cut = inode->data && (inode->data->cut || inode->data->cut_flight);

	while (first < end) {
		struct knot_extent extent = { .file_page = first, .pages = end - first, .hole = true };
		size_t len_bytes;
		int err = cut ? 0 : knot_extent_find(nodes, mtr, inode->attr.data_object, first, end - first, &extent);

		if (!err && !cut && extent.hole && first == 0) {
			memset(scratch, 0, KNOT_PAGE_BYTES);
			err = knot_inline_get(nodes, mtr, inode->attr.inode, scratch, &len_bytes);
			if (!err)
				copy_page(plan, first++, scratch);
			else if (err == -ENOENT)
				copy_page(plan, first++, NULL);
			if (err && err != -ENOENT)
				return err;
			continue;
		}
		if (err)
			return err;
		for (uint64_t i = 0; i < extent.pages; i++, first++) {
			if (extent.hole || (extent.flags & KNOT_EXTENT_UNWRITTEN))
				copy_page(plan, first, NULL);
			else if (knot_txn_peek_data(nodes->txn, extent.page_no + i, scratch))
				copy_page(plan, first, scratch);
			else if ((err = add_to_run(plan, first, extent.page_no + i, end - first)) != 0)
				return err;
		}
	}
	return 0;
}

static int plan_checks(struct knot_nodes *nodes, struct knot_mtr *mtr, struct read_plan *plan)
{
	for (struct read_run *run = plan->runs; run; run = run->next) {
		int err = knot_space_get_checks(nodes->space, mtr, run->page_no, (uint32_t)run->pages, run->checks);

		if (err)
			return err;
	}
	return 0;
}

static int plan_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct read_plan *plan, size_t wanted_bytes,
		       uint8_t *scratch, struct knot_inode **out)
{
	struct knot_inode *inode;
	uint64_t first, end, missing;
	int err = knot_inode_get(nodes, mtr, plan->inode_no, &inode);

	if (err)
		return err;
	if (S_ISDIR(inode->attr.mode))
		return -EISDIR;
	plan->len_bytes = 0;
	if (plan->at >= inode->attr.size)
		return 0;
	plan->len_bytes = wanted_bytes < inode->attr.size - plan->at ? wanted_bytes
								     : (size_t)(inode->attr.size - plan->at);
	first = plan->at / KNOT_PAGE_BYTES;
	end = (plan->at + plan->len_bytes + KNOT_PAGE_BYTES - 1) / KNOT_PAGE_BYTES;
	missing = first;
	for (uint64_t i = first; i < end; i++) {
		struct knot_pending *page = knot_pending_newest(inode->data, i);

		if (!page)
			continue;
		copy_page(plan, i, page->frame.data);
		err = plan_logged(nodes, mtr, plan, inode, missing, i, scratch);
		if (err)
			return err;
		missing = i + 1;
	}
	err = plan_logged(nodes, mtr, plan, inode, missing, end, scratch);
	if (!err)
		err = plan_checks(nodes, mtr, plan);
	if (!err && plan->runs) {
		plan->ticket = knot_space_read_begin(nodes->space);
		plan->has_ticket = true;
		plan->map_seq = nodes->data->map_seq;
		knot_inode_pin(nodes, inode);
		*out = inode;
	}
	return err;
}

/* The request's buffer itself if the run may be read straight into it. */
static uint8_t *straight(struct read_plan *plan, const struct read_run *run)
{
	uint64_t run_at = run->file_page * KNOT_PAGE_BYTES;
	uint8_t *to = plan->buffer + (run_at - plan->at);

	if (run_at < plan->at || run_at + run->pages * KNOT_PAGE_BYTES > plan->at + plan->room_bytes ||
	    (uintptr_t)to % KNOT_PAGE_BYTES != 0)
		return NULL;
	return to;
}

static int read_runs(struct knot_nodes *nodes, struct read_plan *plan, struct read_run **failed)
{
	for (struct read_run *run = plan->runs; run; run = run->next) {
		uint8_t *to = straight(plan, run);
		void *bounce = NULL;
		int err;

		if (!to && posix_memalign(&bounce, KNOT_PAGE_BYTES, (size_t)run->pages * KNOT_PAGE_BYTES))
			return -ENOMEM;
		err = knot_data_read_device(nodes, run->page_no, run->pages, run->checks, to ? to : bounce);
		for (uint64_t i = 0; !err && !to && i < run->pages; i++)
			copy_page(plan, run->file_page + i, (uint8_t *)bounce + i * KNOT_PAGE_BYTES);
		free(bounce);
		if (err) {
			*failed = run;
			return err;
		}
	}
	return 0;
}

int knot_data_read(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, uint64_t at,
		   size_t len_bytes, void *buffer, size_t *got)
{
	struct read_plan plan = { .inode_no = inode_no, .at = at, .room_bytes = len_bytes, .buffer = buffer };
	void *scratch;
	int err;

	if (at > INT64_MAX || len_bytes > INT32_MAX)
		return -EINVAL;
	if (posix_memalign(&scratch, KNOT_PAGE_BYTES, KNOT_PAGE_BYTES))
		return -ENOMEM;
	for (int tries = 0;; tries++) {
		struct knot_inode *pinned = NULL;
		struct read_run *failed = NULL;
		struct knot_mtr mtr;
		bool changed;

		knot_mtr_init(&mtr, nodes->txn, request);
		do {
			free_runs(&plan);
			err = knot_mtr_begin_read(&mtr);
			if (!err)
				err = plan_locked(nodes, &mtr, &plan, len_bytes, scratch, &pinned);
			err = knot_mtr_finish(&mtr, err);
		} while (err == KNOT_RETRY);
		if (err || !pinned)
			break;
		knot_request_will_block(request);
		err = read_runs(nodes, &plan, &failed);
		knot_txn_lock(nodes->txn, request);
		knot_space_read_end(nodes->space, plan.ticket);
		changed = nodes->data->map_seq != plan.map_seq;
		knot_inode_unpin(nodes, pinned);
		knot_txn_unlock(nodes->txn);
		if (err == -EUCLEAN && changed && tries < READ_RETRIES)
			continue;
		if (err == -EUCLEAN)
			knot_data_say_damage(nodes, inode_no, failed->file_page, failed->page_no);
		break;
	}
	free_runs(&plan);
	free(scratch);
	if (!err)
		*got = plan.len_bytes;
	return err;
}
