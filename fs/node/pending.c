/* SPDX-License-Identifier: MIT */
/* Pending pages and their groups; the invariants are in data_int.h. Nothing here survives a power cut. */
#include "fs/node/data_int.h"

#include <assert.h>
#include <stdlib.h>

int knot_pending_compare(const struct knot_pending *a, const struct knot_pending *b)
{
	return (a->file_page > b->file_page) - (a->file_page < b->file_page);
}

int knot_group_compare(const struct knot_group *a, const struct knot_group *b)
{
	return (a->first > b->first) - (a->first < b->first);
}

RB_GENERATE(knot_pending_tree, knot_pending, link, knot_pending_compare)
RB_GENERATE(knot_group_tree, knot_group, link, knot_group_compare)

struct knot_data *knot_data_state(struct knot_nodes *nodes, struct knot_inode *inode)
{
	struct knot_data *data = inode->data;

	if (data)
		return data;
	data = calloc(1, sizeof(*data));
	if (!data)
		return NULL;
	knot_list_init(&data->dirty);
	data->inode = inode;
	RB_INIT(&data->pages);
	RB_INIT(&data->groups);
	RB_INIT(&data->flight);
	RB_INIT(&data->flight_groups);
	data->logged_pages = inode->attr.pages;
	inode->data = data;
	knot_txn_charge(nodes->txn, (ssize_t)sizeof(*data));
	return data;
}

struct knot_pending *knot_pending_find(struct knot_pending_tree *tree, uint64_t file_page)
{
	struct knot_pending key = { .file_page = file_page };

	return RB_FIND(knot_pending_tree, tree, &key);
}

struct knot_pending *knot_pending_newest(struct knot_data *data, uint64_t file_page)
{
	struct knot_pending *page;

	if (!data)
		return NULL;
	page = knot_pending_find(&data->pages, file_page);
	return page ? page : knot_pending_find(&data->flight, file_page);
}

void knot_pending_free(struct knot_nodes *nodes, struct knot_pending_tree *tree, struct knot_pending *page)
{
	RB_REMOVE(knot_pending_tree, tree, page);
	knot_txn_frame_put(nodes->txn, &page->frame);
	nodes->data->page_total--;
	free(page);
}

void knot_pending_drop_all(struct knot_nodes *nodes, struct knot_data *data)
{
	struct knot_pending *page, *next_page;
	struct knot_group *group, *next_group;

	RB_FOREACH_SAFE(page, knot_pending_tree, &data->pages, next_page)
		knot_pending_free(nodes, &data->pages, page);
	data->page_count = 0;
	RB_FOREACH_SAFE(group, knot_group_tree, &data->groups, next_group) {
		RB_REMOVE(knot_group_tree, &data->groups, group);
		free(group);
	}
}

void knot_pending_drop_from(struct knot_nodes *nodes, struct knot_data *data, uint64_t from_page)
{
	struct knot_pending key = { .file_page = from_page };
	struct knot_pending *page = RB_NFIND(knot_pending_tree, &data->pages, &key);
	struct knot_group *group, *next_group;

	while (page) {
		struct knot_pending *next = RB_NEXT(knot_pending_tree, &data->pages, page);

		knot_pending_free(nodes, &data->pages, page);
		data->page_count--;
		page = next;
	}
	RB_FOREACH_SAFE(group, knot_group_tree, &data->groups, next_group) {
		if (group->last < from_page)
			continue;
		if (group->first >= from_page) {
			RB_REMOVE(knot_group_tree, &data->groups, group);
			free(group);
			continue;
		}
		group->last = from_page - 1;
		if (group->end_bytes > from_page * KNOT_PAGE_BYTES)
			group->end_bytes = from_page * KNOT_PAGE_BYTES;
	}
}

/* The first group that ends at or after `first`. */
static struct knot_group *first_overlap(struct knot_data *data, uint64_t first)
{
	struct knot_group key = { .first = first };
	struct knot_group *group = RB_NFIND(knot_group_tree, &data->groups, &key);
	struct knot_group *before = group ? RB_PREV(knot_group_tree, &data->groups, group)
					  : RB_MAX(knot_group_tree, &data->groups);

	return before && before->last >= first ? before : group;
}

uint64_t knot_group_size_with(struct knot_data *data, uint64_t first, uint64_t last)
{
	for (struct knot_group *group = first_overlap(data, first); group && group->first <= last;
	     group = RB_NEXT(knot_group_tree, &data->groups, group)) {
		if (group->first < first)
			first = group->first;
		if (group->last > last)
			last = group->last;
	}
	return last - first + 1;
}

void knot_group_add(struct knot_data *data, uint64_t first, uint64_t last, uint64_t end_bytes, struct knot_group *spare)
{
	struct knot_group *group = first_overlap(data, first);

	while (group && group->first <= last) {
		struct knot_group *next = RB_NEXT(knot_group_tree, &data->groups, group);

		if (group->first <= first && group->last >= last) {
			if (group->end_bytes < end_bytes)
				group->end_bytes = end_bytes;
			free(spare);
			return;
		}
		if (group->first < first)
			first = group->first;
		if (group->last > last)
			last = group->last;
		if (group->end_bytes > end_bytes)
			end_bytes = group->end_bytes;
		RB_REMOVE(knot_group_tree, &data->groups, group);
		free(group);
		group = next;
	}
	spare->first = first;
	spare->last = last;
	spare->end_bytes = end_bytes;
	RB_INSERT(knot_group_tree, &data->groups, spare);
}

bool knot_data_has_pending(const struct knot_data *data)
{
	return data && (data->page_count > 0 || data->cut || data->touched);
}

bool knot_data_is_pending_locked(const struct knot_inode *inode)
{
	return inode->data && (knot_data_has_pending(inode->data) || inode->data->flushing);
}

bool knot_data_keeps_inode_locked(const struct knot_inode *inode)
{
	return knot_data_is_pending_locked(inode) || (inode->data && inode->data->error);
}

void knot_data_update_dirty(struct knot_nodes *nodes, struct knot_data *data)
{
	bool listed = !knot_list_empty(&data->dirty);
	bool wanted = knot_data_has_pending(data) || data->flushing;

	if (wanted && !listed) {
		knot_list_add_tail(&nodes->data->dirty, &data->dirty);
		nodes->data->inode_total++;
		data->dirty_since_sec = knot_nodes_now(nodes).sec;
		knot_inode_pin(nodes, data->inode);
	} else if (!wanted && listed) {
		knot_list_remove(&data->dirty);
		nodes->data->inode_total--;
		knot_inode_unpin(nodes, data->inode);
	}
}

int knot_data_reserve(struct knot_nodes *nodes, struct knot_data *data, size_t more_pages)
{
	size_t pages = data->page_count + data->flight_count + more_pages;
	uint64_t wanted = 0;

	/* each page may become an extent of its own; a tree page holds at least 32, and a path may split */
	if (!data->through_log && (pages || data->cut || data->touched))
		wanted = pages - data->flight_placed + pages / 16 + 8;
	if (wanted > data->reserved) {
		int err = knot_space_reserve(nodes->space, wanted - data->reserved, 0);

		if (err)
			return err;
	} else {
		knot_space_unreserve(nodes->space, data->reserved - wanted);
	}
	data->reserved = wanted;
	return 0;
}

void knot_data_discard_locked(struct knot_nodes *nodes, struct knot_inode *inode)
{
	struct knot_data *data = inode->data;

	if (!data || data->flushing)
		return;
	knot_pending_drop_all(nodes, data);
	data->cut = false;
	data->touched = false;
	data->through_log = false;
	data->error = 0;
	(void)knot_data_reserve(nodes, data, 0); /* only shrinks */
	knot_data_update_dirty(nodes, data);
}

void knot_data_free_state_locked(struct knot_nodes *nodes, struct knot_inode *inode)
{
	if (!inode->data)
		return;
	assert(!knot_data_is_pending_locked(inode));
	free(inode->data);
	inode->data = NULL;
	knot_txn_charge(nodes->txn, -(ssize_t)sizeof(struct knot_data));
}

void knot_data_note_change(struct knot_nodes *nodes, struct knot_data *data)
{
	nodes->data->change_seq++;
	if (!knot_data_has_pending(data))
		data->oldest_seq = nodes->data->change_seq;
}

static void note_committed(struct knot_mtr_hook *hook, knot_lsn_t lsn)
{
	if (lsn)
		knot_inode_note_lsn(knot_container_of(hook, struct knot_data_note, hook)->inode, lsn, true);
}

void knot_data_note_at_commit(struct knot_mtr *mtr, struct knot_inode *inode, struct knot_data_note *note)
{
	note->hook.finish = note_committed;
	note->inode = inode;
	knot_mtr_add_hook(mtr, &note->hook);
}

uint64_t knot_data_wait_ticket(struct knot_nodes *nodes)
{
	uint64_t ticket;

	pthread_mutex_lock(&nodes->data->wait_mutex);
	ticket = nodes->data->wait_seq;
	pthread_mutex_unlock(&nodes->data->wait_mutex);
	return ticket;
}

void knot_data_wait(struct knot_nodes *nodes, struct knot_request *request, uint64_t ticket)
{
	knot_request_will_block(request);
	pthread_mutex_lock(&nodes->data->wait_mutex);
	while (nodes->data->wait_seq == ticket)
		pthread_cond_wait(&nodes->data->wait_cond, &nodes->data->wait_mutex);
	pthread_mutex_unlock(&nodes->data->wait_mutex);
}

void knot_data_wake(struct knot_nodes *nodes)
{
	pthread_mutex_lock(&nodes->data->wait_mutex);
	nodes->data->wait_seq++;
	pthread_cond_broadcast(&nodes->data->wait_cond);
	pthread_mutex_unlock(&nodes->data->wait_mutex);
}
