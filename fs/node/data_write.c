/* SPDX-License-Identifier: MIT */
/*
 * Writing file data: a request becomes pending in memory, all of it or nothing.
 *
 * Everything that may fail (reservation, frames, bases of partly written pages, memory) comes first; then the bytes are
 * copied. The tree is only looked at for the first and the last page, if they are written in part.
 */
#include "fs/node/data_int.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum write_next {
	WRITE_DONE,
	WRITE_READ_BASE,
	WRITE_NEED_FRAMES,
	WRITE_NEED_SPACE,
	WRITE_FLUSH_GROUP,
	WRITE_WAIT_GATE,
	WRITE_CLOSE_BATCH
};

/* The logged bytes of a page that the request writes in part, read from the device without the lock. */
struct base {
	uint8_t *page; /* 4096 bytes; NULL until needed */
	uint64_t file_page;
	uint64_t page_no;
	uint32_t check;
	uint64_t map_seq; /* valid while nothing was mapped since */
	bool filled;
};

struct write_plan {
	uint64_t inode_no, at, end;
	size_t len_bytes;
	const uint8_t *buffer;
	struct base bases[2]; /* first and last page */
	unsigned missing;     /* which base must be read */
	bool closed;             /* a batch was closed for it: once is enough, others may stay (orphans) */
	bool no_space;        /* the allocator gave nothing: only overwriting in place is left */
	uint64_t ticket, wait;
	bool much; /* so much is pending that the flusher should begin */
};

static bool covers(const struct write_plan *plan, uint64_t file_page)
{
	return plan->at <= file_page * KNOT_PAGE_BYTES && plan->end >= (file_page + 1) * KNOT_PAGE_BYTES;
}

/* Have the base of a partly written page in hand. 1: it must be read first. */
static int find_base(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode, struct write_plan *plan,
		     unsigned which)
{
	struct base *base = &plan->bases[which];
	struct knot_pending *newest = knot_pending_newest(inode->data, base->file_page);
	int err;

	if (newest) {
		memcpy(base->page, newest->frame.data, KNOT_PAGE_BYTES);
		return 0;
	}
	if (base->filled && base->map_seq == nodes->data->map_seq)
		return 0;
	base->filled = false;
	err = knot_data_base_locked(nodes, mtr, inode, base->file_page, base->page, &base->page_no, &base->check);
	if (err || !base->page_no)
		return err;
	base->map_seq = nodes->data->map_seq;
	plan->missing = which;
	plan->ticket = knot_space_read_begin(nodes->space);
	return 1;
}

static void copy_in(struct knot_nodes *nodes, struct knot_data *data, const struct write_plan *plan,
		    struct knot_pending **fresh)
{
	uint64_t first = plan->at / KNOT_PAGE_BYTES, last = (plan->end - 1) / KNOT_PAGE_BYTES;

	for (uint64_t i = first; i <= last; i++) {
		struct knot_pending *page = knot_pending_find(&data->pages, i);
		uint64_t page_at = i * KNOT_PAGE_BYTES;
		uint64_t from = plan->at > page_at ? plan->at : page_at;
		uint64_t to = plan->end < page_at + KNOT_PAGE_BYTES ? plan->end : page_at + KNOT_PAGE_BYTES;

		if (!page) {
			page = *fresh++;
			assert(page && (covers(plan, i) || plan->bases[i == first ? 0 : 1].page));
			page->file_page = i;
			if (!covers(plan, i))
				memcpy(page->frame.data, plan->bases[i == first ? 0 : 1].page, KNOT_PAGE_BYTES);
			RB_INSERT(knot_pending_tree, &data->pages, page);
			data->page_count++;
			nodes->data->page_total++;
			data->inode->attr.pages++;
		}
		memcpy((uint8_t *)page->frame.data + (from - page_at), plan->buffer + (from - plan->at),
		       (size_t)(to - from));
	}
}

static void touch(struct knot_nodes *nodes, struct knot_inode *inode, const struct write_plan *plan)
{
	struct knot_time now = knot_nodes_now(nodes);

	if (plan->end > inode->attr.size)
		inode->attr.size = plan->end;
	inode->attr.mtime = now;
	inode->attr.ctime = now;
	inode->attr.change++;
}

static size_t count_fresh(struct knot_data *data, uint64_t first, uint64_t last)
{
	size_t fresh = 0;

	for (uint64_t i = first; i <= last; i++)
		fresh += knot_pending_find(&data->pages, i) == NULL;
	return fresh;
}

/* Memory for `count` new pages, or none. */
static int get_pages(struct knot_nodes *nodes, size_t count, struct knot_pending **pages)
{
	int err = 0;
	size_t i;

	for (i = 0; i < count; i++) {
		pages[i] = calloc(1, sizeof(*pages[i]));
		err = pages[i] ? knot_txn_frame_get(nodes->txn, &pages[i]->frame) : -ENOMEM;
		if (err)
			break;
	}
	if (!err)
		return 0;
	if (pages[i])
		free(pages[i]);
	while (i > 0) {
		knot_txn_frame_put(nodes->txn, &pages[--i]->frame);
		free(pages[i]);
	}
	return err;
}

/* True if every page of the request that is not pending has a place that it can be logged into. */
static int is_overwrite(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode,
			const struct write_plan *plan, bool *overwrite)
{
	uint64_t last = (plan->end - 1) / KNOT_PAGE_BYTES;

	*overwrite = false;
	if (plan->end > inode->attr.size || inode->data->cut || inode->data->cut_flight)
		return 0;
	for (uint64_t i = plan->at / KNOT_PAGE_BYTES; i <= last; i++) {
		struct knot_extent extent;
		int err = knot_extent_find(nodes, mtr, inode->attr.data_object, i, 1, &extent);

		if (err)
			return err;
		if ((extent.hole || extent.flags) &&
		    !(inode->data->logged_pages == 0 && inode->attr.size <= KNOT_INLINE_BYTES_MAX))
			return 0;
	}
	*overwrite = true;
	return 0;
}

/* Room for `fresh` more pages: reserved, or in place when the volume is full. */
static int find_room(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode, struct write_plan *plan,
		     size_t fresh, enum write_next *next)
{
	struct knot_data *data = inode->data;
	bool overwrite;
	int err;

	if (data->through_log || (plan->no_space && !data->page_count && !data->flushing)) {
		err = is_overwrite(nodes, mtr, inode, plan, &overwrite);
		if (err)
			return err;
		if (!overwrite && data->through_log) {
			*next = WRITE_FLUSH_GROUP;
			return 0;
		}
		if (overwrite && data->page_count + fresh > nodes->data->group_pages_max) {
			*next = WRITE_FLUSH_GROUP;
			return 0;
		}
		if (overwrite)
			data->through_log = true;
	}
	err = knot_data_reserve(nodes, data, fresh);
	if (err == -ENOSPC) {
		*next = WRITE_NEED_SPACE;
		err = 0;
	}
	return err;
}

static int write_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct write_plan *plan, enum write_next *next)
{
	uint64_t first = plan->at / KNOT_PAGE_BYTES, last = (plan->end - 1) / KNOT_PAGE_BYTES;
	struct knot_pending **pages = NULL;
	struct knot_group *group = NULL;
	struct knot_inode *inode;
	struct knot_data *data;
	size_t fresh;
	int err = knot_inode_get(nodes, mtr, plan->inode_no, &inode);

	if (err)
		return err;
	if (!S_ISREG(inode->attr.mode))
		return S_ISDIR(inode->attr.mode) ? -EISDIR : -EINVAL;
	plan->wait = knot_data_wait_ticket(nodes);
	data = knot_data_state(nodes, inode);
	if (!data)
		return -ENOMEM;
	if (nodes->data->gate_closed || data->chain) {
		*next = WRITE_WAIT_GATE;
		return 0;
	}
	if (knot_group_size_with(data, first, last) > nodes->data->group_pages_max) {
		*next = WRITE_FLUSH_GROUP;
		return 0;
	}
	for (unsigned i = 0; i < 2; i++) {
		if (!plan->bases[i].page || knot_pending_find(&data->pages, plan->bases[i].file_page))
			continue;
		err = find_base(nodes, mtr, inode, plan, i);
		if (err < 0)
			return err;
		if (err) {
			*next = WRITE_READ_BASE;
			return 0;
		}
	}
	fresh = count_fresh(data, first, last);
	*next = WRITE_DONE;
	err = find_room(nodes, mtr, inode, plan, fresh, next);
	if (err || *next != WRITE_DONE)
		return err;
	pages = calloc(fresh + 1, sizeof(struct knot_pending *));
	group = calloc(1, sizeof(*group));
	err = pages && group ? get_pages(nodes, fresh, pages) : -ENOMEM;
	if (err) {
		if (!data->page_count)
			data->through_log = false;
		(void)knot_data_reserve(nodes, data, 0); /* gives back */
		free(pages);
		free(group);
		if (err == -KNOT_EFULL)
			*next = WRITE_NEED_FRAMES;
		return err == -KNOT_EFULL ? 0 : err;
	}
	knot_data_note_change(nodes, data);
	copy_in(nodes, data, plan, pages);
	knot_group_add(data, first, last, plan->end, group);
	touch(nodes, inode, plan);
	data->touched = true;
	knot_data_update_dirty(nodes, data);
	free(pages);
	plan->much = nodes->data->page_total > nodes->data->flush_at_pages;
	return 0;
}

/* Read the missing base with no lock held. */
static int read_base(struct knot_nodes *nodes, struct knot_request *request, struct write_plan *plan)
{
	struct base *base = &plan->bases[plan->missing];
	bool changed;
	int err;

	knot_request_will_block(request);
	err = knot_data_read_device(nodes, base->page_no, 1, &base->check, base->page);
	knot_txn_lock(nodes->txn, request);
	knot_space_read_end(nodes->space, plan->ticket);
	changed = nodes->data->map_seq != base->map_seq;
	knot_txn_unlock(nodes->txn);
	base->filled = !err && !changed;
	if (err == -EUCLEAN && changed)
		return 0;
	if (err == -EUCLEAN)
		knot_data_say_damage(nodes, plan->inode_no, base->file_page, base->page_no);
	return err;
}

static int prepare_bases(struct write_plan *plan)
{
	uint64_t first = plan->at / KNOT_PAGE_BYTES, last = (plan->end - 1) / KNOT_PAGE_BYTES;
	void *page;

	for (unsigned i = 0; i < 2; i++) {
		uint64_t file_page = i ? last : first;

		if (covers(plan, file_page) || (i && last == first))
			continue;
		if (posix_memalign(&page, KNOT_PAGE_BYTES, KNOT_PAGE_BYTES))
			return -ENOMEM;
		plan->bases[i].page = page;
		plan->bases[i].file_page = file_page;
	}
	return 0;
}

/* Do what kept the request from being taken. */
static int write_wait(struct knot_nodes *nodes, struct knot_request *request, struct write_plan *plan,
		      enum write_next next, unsigned *space_tries)
{
	knot_lsn_t lsn;
	bool hope = false;
	int err;

	switch (next) {
	case WRITE_READ_BASE:
		return read_base(nodes, request, plan);
	case WRITE_NEED_FRAMES:
		return knot_flush_pressure(nodes, request);
	case WRITE_FLUSH_GROUP:
		return knot_data_flush_inode(nodes, request, plan->inode_no, &lsn);
	case WRITE_WAIT_GATE:
		knot_data_wait(nodes, request, plan->wait);
		return 0;
	case WRITE_CLOSE_BATCH:
		plan->closed = true;
		(void)knot_data_flush_all(nodes, request, 0);
		return knot_txn_commit_to(nodes->txn, knot_txn_lsn(nodes->txn), true, request);
	case WRITE_NEED_SPACE:
		if (plan->no_space)
			return -ENOSPC;
		err = knot_flush_for_space(nodes, request, &hope);
		plan->no_space = !hope || ++*space_tries >= 3;
		return err;
	case WRITE_DONE:
		break;
	}
	return 0;
}

/* setuid and setgid go first, in a mini-transaction of their own: losing them early is safe. */
static int drop_suid(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no)
{
	struct knot_data_note note;
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		err = knot_mtr_begin(&mtr, 8, 0);
		if (!err) {
			struct knot_inode *inode;

			err = knot_inode_get(nodes, &mtr, inode_no, &inode);
			if (!err && inode->attr.mode & (S_ISUID | S_ISGID)) {
				struct knot_attr attr = inode->attr;

				attr.mode &= ~(uint32_t)S_ISUID;
				if (attr.mode & S_IXGRP)
					attr.mode &= ~(uint32_t)S_ISGID;
				err = knot_inode_log(nodes, &mtr, inode_no, &attr, KNOT_FIELD_MODE);
				if (!err) {
					inode->attr.mode = attr.mode;
					knot_data_note_at_commit(&mtr, inode, &note);
				}
			}
		}
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

int knot_data_write(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, uint64_t at,
		    size_t len_bytes, const void *buffer, bool kill_suid)
{
	struct write_plan plan = {
		.inode_no = inode_no, .at = at, .end = at + len_bytes, .len_bytes = len_bytes, .buffer = buffer
	};
	unsigned space_tries = 0;
	enum write_next next = WRITE_DONE;
	int err;

	if (len_bytes == 0)
		return 0;
	if (len_bytes > nodes->data->write_max_bytes)
		return -EINVAL;
	if (at > INT64_MAX - len_bytes)
		return -EFBIG;
	if (knot_txn_is_read_only(nodes->txn) || knot_txn_is_stopped(nodes->txn))
		return -EROFS;
	err = kill_suid ? drop_suid(nodes, request, inode_no) : 0;
	if (!err)
		err = prepare_bases(&plan);
	while (!err) {
		struct knot_mtr mtr;

		knot_mtr_init(&mtr, nodes->txn, request);
		do {
			err = knot_mtr_begin_read(&mtr);
			if (!err)
				err = write_locked(nodes, &mtr, &plan, &next);
			err = knot_mtr_finish(&mtr, err);
		} while (err == KNOT_RETRY);
		if (err || next == WRITE_DONE)
			break;
		err = write_wait(nodes, request, &plan, next, &space_tries);
	}
	free(plan.bases[0].page);
	free(plan.bases[1].page);
	if (!err && plan.much)
		knot_flush_thread_wake(nodes);
	return err;
}
