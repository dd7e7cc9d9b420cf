/* SPDX-License-Identifier: MIT */
/*
 * Flushing: one round takes pending pages of many inodes, writes them home in device order, flushes the device once,
 * then maps each inode.
 *
 *   pick (lock) -> place (lock) -> write, flush the device (no lock) -> map (lock, one mini-transaction or more an
 * inode) -> done (lock)
 *
 * Small things skip the middle: an inode whose pending pages fit in the log goes there at `pick`, with no device write
 * of its own.
 *
 * If power fails between `place` and `map`: the placed pages are free, since their bits were never set.
 */
#include "fs/node/data_int.h"

#include "fs/disk/page.h"
#include "fs/util/message.h"

#include <stdlib.h>
#include <string.h>

#define WRITE_PAGES_MAX         1024u /* of one device write: 4 MiB */
#define LOG_OVERWRITE_PAGES_MAX 16u   /* background flushes of so few pages that have a place go through the log */

struct flush_set {
	struct knot_inode *inodes[KNOT_FLUSH_SET_MAX];
	unsigned count;
	size_t pages;
	struct knot_pending **order; /* by place */
};

/* What one inode's turn at `pick` came to. */
enum pick { PICK_BULK, PICK_LOGGED, PICK_BUSY, PICK_CLEAN };

/* Move groups from pending to flight: at least one, at most about `pages_max` pages; a truncation to 0 takes all. */
static void take_flight(struct knot_data *data, size_t pages_max)
{
	struct knot_group *group, *next_group;
	size_t taken = 0;

	RB_FOREACH_SAFE(group, knot_group_tree, &data->groups, next_group) {
		size_t group_pages = (size_t)(group->last - group->first + 1);
		struct knot_pending *page;

		if (taken && taken + group_pages > pages_max && !data->cut)
			break;
		RB_REMOVE(knot_group_tree, &data->groups, group);
		RB_INSERT(knot_group_tree, &data->flight_groups, group);
		page = knot_pending_find(&data->pages, group->first);
		while (page && page->file_page <= group->last) {
			struct knot_pending *next = RB_NEXT(knot_pending_tree, &data->pages, page);

			RB_REMOVE(knot_pending_tree, &data->pages, page);
			RB_INSERT(knot_pending_tree, &data->flight, page);
			page = next;
		}
		data->page_count -= group_pages;
		data->flight_count += group_pages;
		taken += group_pages;
	}
	data->flight_size = 0;
	if (data->page_count == 0) {
		data->flight_size = data->inode->attr.size;
		data->touched = false;
	}
	data->cut_flight = data->cut;
	data->cut = false;
	data->flight_seq = data->oldest_seq;
}

/* True when few enough pages are pending, and they gain from the log: an fsync, or overwrites in place. */
static int wants_log(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_inode *inode, bool for_fsync,
		     bool *log)
{
	struct knot_data *data = inode->data;
	struct knot_pending *page;

	*log = true;
	if (data->page_count == 0 || data->through_log)
		return 0;
	if (data->page_count == 1 && inode->attr.size <= KNOT_INLINE_BYTES_MAX &&
	    (data->logged_pages == 0 || data->cut))
		return 0;
	if (for_fsync && data->page_count <= nodes->data->log_pages_max)
		return 0;
	*log = false;
	if (data->page_count > LOG_OVERWRITE_PAGES_MAX || data->cut || data->page_count > nodes->data->log_pages_max)
		return 0;
	RB_FOREACH(page, knot_pending_tree, &data->pages) {
		struct knot_extent extent;
		int err = knot_extent_find(nodes, mtr, inode->attr.data_object, page->file_page, 1, &extent);

		if (err || extent.hole)
			return err;
	}
	*log = true;
	return 0;
}

/* One inode's turn in a round. */
struct turn {
	struct knot_inode *inode;
	bool for_fsync;
	bool no_log; /* it proved too much for one mini-transaction */
	size_t pages_max;
	enum pick pick;
	struct knot_data_note note;
};

static int pick_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct turn *turn)
{
	struct knot_inode *inode = turn->inode;
	struct knot_data *data = inode->data;
	bool log;
	int err;

	turn->pick = PICK_CLEAN;
	if (!data || !knot_data_has_pending(data))
		return 0;
	turn->pick = PICK_BUSY;
	if (data->flushing)
		return 0;
	err = wants_log(nodes, mtr, inode, turn->for_fsync, &log);
	if (err)
		return err;
	if (log && !(turn->no_log && data->page_count && !data->through_log)) {
		err = knot_map_log_locked(nodes, mtr, inode);
		turn->pick = PICK_LOGGED;
		if (!err)
			knot_data_note_at_commit(mtr, inode, &turn->note);
		return err;
	}
	turn->pick = PICK_BULK;
	data->flushing = true;
	take_flight(data, turn->pages_max);
	return 0;
}

/* A mini-transaction around pick_locked(); the log route changes pages, so it has a reservation. */
static int pick_once(struct knot_nodes *nodes, struct knot_request *request, struct turn *turn)
{
	struct knot_inode *inode = turn->inode;
	unsigned pages = 12;
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		knot_txn_lock(nodes->txn, request);
		if (inode->data && inode->data->page_count <= nodes->data->log_pages_max)
			pages = 12 + (unsigned)inode->data->page_count;
		knot_txn_unlock(nodes->txn);
		err = knot_mtr_begin(&mtr, pages, KNOT_MTR_PRIVILEGED);
		if (!err)
			err = pick_locked(nodes, &mtr, turn);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

static int pick(struct knot_nodes *nodes, struct knot_request *request, struct turn *turn)
{
	int err = pick_once(nodes, request, turn);

	if (err != -EFBIG)
		return err;
	turn->no_log = true;
	return pick_once(nodes, request, turn);
}

/* Where the page before this one lies, so that files grow in one piece. */
static int near_of(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_data *data, uint64_t file_page,
		   uint64_t *near)
{
	struct knot_extent extent;
	int err;

	*near = data->near;
	if (*near || file_page == 0 || data->cut_flight)
		return 0;
	err = knot_extent_find(nodes, mtr, data->inode->attr.data_object, file_page - 1, 1, &extent);
	if (!err && !extent.hole)
		*near = extent.page_no + 1;
	return err;
}

static int place_locked(struct knot_nodes *nodes, struct knot_mtr *mtr, struct knot_data *data)
{
	struct knot_pending *page = RB_MIN(knot_pending_tree, &data->flight);

	while (page) {
		struct knot_pending *end = page;
		uint64_t near, page_no;
		uint32_t want = 0, got;
		int err;

		if (page->place) {
			page = RB_NEXT(knot_pending_tree, &data->flight, page);
			continue;
		}
		while (end && !end->place && end->file_page == page->file_page + want && want < KNOT_GROUP_PAGES / 2) {
			want++;
			end = RB_NEXT(knot_pending_tree, &data->flight, end);
		}
		err = near_of(nodes, mtr, data, page->file_page, &near);
		if (!err)
			err = knot_space_place(nodes->space, mtr, near, want, &page_no, &got);
		if (err)
			return err;
		for (uint32_t i = 0; i < got; i++) {
			page->place = page_no + i;
			page = RB_NEXT(knot_pending_tree, &data->flight, page);
		}
		data->flight_placed += got;
		data->near = page_no + got;
	}
	(void)knot_data_reserve(nodes, data, 0); /* placed pages count themselves; only shrinks */
	return 0;
}

static int place(struct knot_nodes *nodes, struct knot_request *request, struct knot_data *data)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		err = knot_mtr_begin_read(&mtr);
		if (!err)
			err = place_locked(nodes, &mtr, data);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

static int by_place(const void *a, const void *b)
{
	const struct knot_pending *left = *(struct knot_pending *const *)a;
	const struct knot_pending *right = *(struct knot_pending *const *)b;

	return (left->place > right->place) - (left->place < right->place);
}

/* Write one run of adjacent pages. */
static int write_run(struct knot_nodes *nodes, struct knot_pending **pages, size_t count)
{
	struct iovec iov[WRITE_PAGES_MAX];

	for (size_t i = 0; i < count; i++) {
		pages[i]->check =
			knot_data_check(&knot_txn_super(nodes->txn)->seal, pages[i]->frame.data, pages[i]->place);
		iov[i].iov_base = pages[i]->frame.data;
		iov[i].iov_len = KNOT_PAGE_BYTES;
	}
	return knot_device_writev(knot_txn_device(nodes->txn), iov, (int)count, pages[0]->place * KNOT_PAGE_BYTES);
}

/* Write all pages of the set; those that fail get place 0 afterwards (their place is given back by drop_failed). */
static int write_set(struct knot_nodes *nodes, struct flush_set *set)
{
	size_t count = 0, at = 0;
	struct knot_pending *page;
	int first_err = 0;

	for (unsigned i = 0; i < set->count; i++) {
		RB_FOREACH(page, knot_pending_tree, &set->inodes[i]->data->flight) {
			if (page->place)
				set->order[count++] = page;
		}
	}
	qsort(set->order, count, sizeof(set->order[0]), by_place);
	while (at < count) {
		size_t run = 1;
		int err;

		while (at + run < count && run < WRITE_PAGES_MAX &&
		       set->order[at + run]->place == set->order[at]->place + run)
			run++;
		err = write_run(nodes, set->order + at, run);
		for (size_t i = 0; err && i < run; i++)
			set->order[at + i]->failed = true;
		if (err && !first_err)
			first_err = err;
		at += run;
	}
	return first_err;
}

/* With data=strict what follows would not be a prefix of all operations: nothing more may count. */
static void say_lost(struct knot_nodes *nodes, const struct knot_inode *inode, int err)
{
	if (knot_txn_is_strict(nodes->txn) && !inode->orphan) {
		knot_txn_stop(nodes->txn, err, "inode %llu: its data could not be written",
			      (unsigned long long)inode->attr.inode);
		return;
	}
	knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR,
		     "inode %llu: its data could not be written (%s); its fsync fails with EIO",
		     (unsigned long long)inode->attr.inode, strerror(-err));
}

/* The same for what is pending: the file is as it is logged. */
static void drop_pending_locked(struct knot_nodes *nodes, struct knot_inode *inode, int err)
{
	struct knot_data *data = inode->data;

	if (data->flushing || !knot_data_has_pending(data))
		return;
	inode->attr.size = inode->logged_size;
	inode->attr.pages = data->logged_pages;
	knot_data_discard_locked(nodes, inode);
	data->near = 0;
	data->error = err;
	say_lost(nodes, inode, err);
}

/* The inode's data can't become durable: forget what is in flight, tell its fsync. */
static void drop_flight_locked(struct knot_nodes *nodes, struct knot_inode *inode, int err)
{
	struct knot_data *data = inode->data;
	struct knot_pending *page, *next_page;
	struct knot_group *group, *next_group;
	uint64_t size = inode->logged_size;

	RB_FOREACH_SAFE(page, knot_pending_tree, &data->flight, next_page) {
		if (page->place)
			knot_space_unplace(nodes->space, page->place, 1);
		knot_pending_free(nodes, &data->flight, page);
	}
	data->flight_count = 0;
	data->flight_placed = 0;
	RB_FOREACH_SAFE(group, knot_group_tree, &data->flight_groups, next_group) {
		RB_REMOVE(knot_group_tree, &data->flight_groups, group);
		free(group);
	}
	RB_FOREACH(group, knot_group_tree, &data->groups) {
		if (group->end_bytes > size)
			size = group->end_bytes;
	}
	data->cut_flight = false;
	data->error = err;
	data->near = 0;
	inode->attr.size = size;
	inode->attr.pages = data->logged_pages + data->page_count;
	say_lost(nodes, inode, err);
}

static bool flight_failed(struct knot_data *data)
{
	struct knot_pending *page;

	RB_FOREACH(page, knot_pending_tree, &data->flight) {
		if (page->failed || !page->place)
			return true;
	}
	return false;
}

/* All mini-transactions that map one inode's flight. */
static int map_inode(struct knot_nodes *nodes, struct knot_request *request, struct knot_inode *inode)
{
	unsigned limit = knot_mtr_pages_limit(nodes->txn), budget = limit > 32 ? limit - 16 : limit / 2;
	bool done = false;
	int err = 0;

	while (!err && !done) {
		unsigned pages = 10 + (unsigned)(inode->data->flight_count / 512);
		struct knot_mtr mtr;

		knot_mtr_init(&mtr, nodes->txn, request);
		do {
			err = knot_mtr_begin(&mtr, pages < limit ? pages : limit, KNOT_MTR_PRIVILEGED);
			if (!err)
				err = knot_map_flight_locked(nodes, &mtr, inode, budget, &done);
			err = knot_mtr_finish(&mtr, err);
		} while (err == KNOT_RETRY);
		if (!err)
			knot_inode_note_lsn(inode, mtr.end_lsn, true);
		if (err == -EFBIG && budget > 1) {
			budget /= 2;
			err = 0;
		}
	}
	return err;
}

static void end_flush(struct knot_nodes *nodes, struct knot_request *request, struct knot_inode *inode, int err)
{
	knot_txn_lock(nodes->txn, request);
	if (err)
		drop_flight_locked(nodes, inode, err);
	inode->data->flushing = false;
	(void)knot_data_reserve(nodes, inode->data, 0); /* only shrinks */
	knot_data_update_dirty(nodes, inode->data);
	knot_inode_unpin(nodes, inode);
	knot_txn_unlock(nodes->txn);
}

static int finish_set(struct knot_nodes *nodes, struct knot_request *request, struct flush_set *set)
{
	int first_err = 0, err = 0;

	set->order = calloc(set->pages + 1, sizeof(struct knot_pending *));
	if (!set->order)
		err = -ENOMEM;
	for (unsigned i = 0; !err && i < set->count; i++) {
		/* without a place the inode's data is given up below; the others go on */
		(void)place(nodes, request, set->inodes[i]->data);
	}
	if (!err)
		(void)write_set(nodes, set);
	if (!err)
		err = knot_txn_device_flush(nodes->txn);
	for (unsigned i = 0; i < set->count; i++) {
		struct knot_inode *inode = set->inodes[i];
		int mine = err;

		if (!mine && flight_failed(inode->data))
			mine = -EIO;
		if (!mine)
			mine = map_inode(nodes, request, inode);
		end_flush(nodes, request, inode, mine);
		if (mine && !first_err)
			first_err = mine;
	}
	knot_data_wake(nodes);
	free(set->order);
	return first_err;
}

/* The next inode that wants a turn; pinned. Transaction lock held. */
static struct knot_inode *next_dirty_locked(struct knot_nodes *nodes, const struct knot_flush_scope *scope)
{
	int64_t now_sec = knot_nodes_now(nodes).sec;
	struct knot_list *node;

	for (node = nodes->data->dirty.next; node != &nodes->data->dirty; node = node->next) {
		struct knot_data *data = knot_container_of(node, struct knot_data, dirty);

		if (data->flushing || data->picked || !knot_data_has_pending(data) ||
		    data->oldest_seq > scope->seq_max || (data->inode->orphan && !scope->orphans_too))
			continue;
		if (scope->dirty_before_sec && data->dirty_since_sec > scope->dirty_before_sec &&
		    data->dirty_since_sec <= now_sec) /* else the clock was set back */
			continue;
		data->picked = true;
		knot_inode_pin(nodes, data->inode);
		return data->inode;
	}
	return NULL;
}

/* The turn of the next inode; `*more`: there may be others. */
static int take_turn(struct knot_nodes *nodes, struct knot_request *request, const struct knot_flush_scope *scope,
		     struct flush_set *set, bool *more, size_t *did)
{
	struct turn turn = {
		.inode = scope->only,
		.for_fsync = scope->only != NULL,
		.pages_max = KNOT_FLIGHT_PAGES_MAX - set->pages,
		.pick = PICK_CLEAN,
	};
	int err;

	*more = false;
	knot_txn_lock(nodes->txn, request);
	if (scope->only)
		knot_inode_pin(nodes, scope->only);
	else
		turn.inode = next_dirty_locked(nodes, scope);
	knot_txn_unlock(nodes->txn);
	if (!turn.inode)
		return 0;
	err = pick(nodes, request, &turn);
	knot_txn_lock(nodes->txn, request);
	turn.inode->data->picked = false;
	if (!err && turn.pick == PICK_BULK) {
		set->inodes[set->count++] = turn.inode; /* keeps the pin */
		set->pages += turn.inode->data->flight_count;
	} else {
		if (err && err != -ENOMEM && !knot_txn_is_stopped(nodes->txn))
			drop_pending_locked(nodes, turn.inode, err);
		knot_inode_unpin(nodes, turn.inode);
	}
	knot_txn_unlock(nodes->txn);
	*did += !err && (turn.pick == PICK_BULK || turn.pick == PICK_LOGGED);
	*more = !scope->only && err != -ENOMEM && !knot_txn_is_stopped(nodes->txn);
	return err;
}

int knot_flush_round(struct knot_nodes *nodes, struct knot_request *request, const struct knot_flush_scope *scope,
		     size_t *did)
{
	struct flush_set *set = calloc(1, sizeof(*set));
	int err, first_err = 0;
	bool more = true;

	*did = 0;
	if (!set)
		return -ENOMEM;
	while (more && set->count < KNOT_FLUSH_SET_MAX && set->pages < KNOT_FLIGHT_PAGES_MAX) {
		err = take_turn(nodes, request, scope, set, &more, did);
		if (!first_err)
			first_err = err;
	}
	if (set->count) {
		err = finish_set(nodes, request, set);
		if (!first_err)
			first_err = err;
	}
	if (nodes->data->loose_chains)
		knot_flush_thread_wake(nodes);
	free(set);
	return first_err;
}
