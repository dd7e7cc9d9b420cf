/* SPDX-License-Identifier: MIT */
/* Who flushes when: fsync, the clock, memory, space; and the flusher thread. The rounds themselves are in flush.c. */
#include "fs/node/data_int.h"

#include "fs/util/message.h"

#include <stdlib.h>

static int one_round(struct knot_nodes *nodes, struct knot_request *request, struct knot_inode *only,
		     int64_t before_sec, bool orphans_too, size_t *did)
{
	bool was = nodes->data->in_round;
	int err;

	if (!knot_txn_is_threaded(nodes->txn))
		nodes->data->in_round = true;
	err = knot_flush_round(nodes, request, only, before_sec, orphans_too, did);
	if (!knot_txn_is_threaded(nodes->txn))
		nodes->data->in_round = was;
	return err;
}

int knot_data_flush_inode(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, knot_lsn_t *lsn)
{
	knot_lsn_t need = 0;
	int err = 0;

	for (;;) {
		struct knot_inode *inode;
		bool flushing = false, pending = false;
		uint64_t ticket;
		size_t did;

		knot_txn_lock(nodes->txn, request);
		ticket = knot_data_wait_ticket(nodes);
		inode = knot_inode_peek(nodes, inode_no);
		if (inode) {
			need = atomic_load(&inode->sync_lsn);
			flushing = inode->data && inode->data->flushing;
			pending = knot_data_has_pending(inode->data);
			knot_inode_pin(nodes, inode);
		}
		knot_txn_unlock(nodes->txn);
		if (flushing)
			knot_data_wait(nodes, request, ticket);
		else if (pending)
			err = one_round(nodes, request, inode, 0, true, &did);
		if (inode) {
			knot_txn_lock(nodes->txn, request);
			knot_inode_unpin(nodes, inode);
			knot_txn_unlock(nodes->txn);
		}
		if (err || (!flushing && !pending))
			break;
	}
	if (!err)
		*lsn = need;
	return err;
}

/* The error of an earlier flush, once. */
static int take_error(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, bool data_only,
		      knot_lsn_t *lsn)
{
	struct knot_inode *inode;
	int err = 0;

	knot_txn_lock(nodes->txn, request);
	inode = knot_inode_peek(nodes, inode_no);
	if (inode) {
		*lsn = data_only ? atomic_load(&inode->datasync_lsn) : atomic_load(&inode->sync_lsn);
		if (inode->data && inode->data->error) {
			inode->data->error = 0;
			err = -EIO;
		}
	}
	knot_txn_unlock(nodes->txn);
	return err;
}

int knot_data_fsync(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, bool data_only)
{
	knot_lsn_t lsn = 0;
	int err, earlier;

	if (knot_txn_is_read_only(nodes->txn))
		return 0;
	err = knot_data_flush_inode(nodes, request, inode_no, &lsn);
	if (!err && knot_txn_is_strict(nodes->txn)) {
		/* the batch takes all files along: give what is pending an LSN to wait for */
		(void)knot_data_flush_all(nodes, request, 0);
	}
	earlier = take_error(nodes, request, inode_no, data_only, &lsn);
	if (knot_txn_is_strict(nodes->txn))
		lsn = knot_txn_lsn(nodes->txn);
	if (!err)
		err = earlier;
	return err ? err : knot_txn_commit_to(nodes->txn, lsn, false, request);
}

/* True if somebody else is flushing something. */
static bool others_flush(struct knot_nodes *nodes, struct knot_request *request, uint64_t *ticket)
{
	bool busy = false;

	knot_txn_lock(nodes->txn, request);
	*ticket = knot_data_wait_ticket(nodes);
	for (struct knot_list *node = nodes->data->dirty.next; node != &nodes->data->dirty && !busy; node = node->next)
		busy = knot_container_of(node, struct knot_data, dirty)->flushing;
	knot_txn_unlock(nodes->txn);
	return busy;
}

int knot_data_flush_all(struct knot_nodes *nodes, struct knot_request *request, unsigned older_than_seconds)
{
	int64_t before = older_than_seconds ? knot_nodes_now(nodes).sec - (int64_t)older_than_seconds : 0;
	int first_err = 0;

	for (;;) {
		uint64_t ticket;
		size_t did;
		int err = one_round(nodes, request, NULL, before, false, &did);

		if (err && !first_err)
			first_err = err;
		if (did && !knot_txn_is_stopped(nodes->txn))
			continue;
		if (older_than_seconds || knot_txn_is_stopped(nodes->txn) || !others_flush(nodes, request, &ticket))
			break;
		knot_data_wait(nodes, request, ticket);
	}
	return first_err;
}

int knot_flush_pressure(struct knot_nodes *nodes, struct knot_request *request)
{
	uint64_t ticket;
	size_t did;
	int err;

	if (knot_txn_is_stopped(nodes->txn))
		return -EROFS;
	if (others_flush(nodes, request, &ticket)) {
		knot_data_wait(nodes, request, ticket);
		return 0;
	}
	err = one_round(nodes, request, NULL, 0, true, &did);
	if (!did)
		err = knot_txn_checkpoint(nodes->txn, request);
	return knot_txn_is_stopped(nodes->txn) ? (err ? err : -EROFS) : 0;
}

int knot_flush_for_space(struct knot_nodes *nodes, struct knot_request *request, bool *hope)
{
	int err;

	knot_txn_lock(nodes->txn, request);
	*hope = nodes->data->inode_total > 0 || knot_space_waiting(nodes->space) > 0;
	knot_txn_unlock(nodes->txn);
	if (!*hope)
		return 0;
	(void)knot_data_flush_all(nodes, request, 0); /* the files' own fsync reports their errors */
	err = knot_txn_commit_to(nodes->txn, knot_txn_lsn(nodes->txn), true, request);
	knot_txn_lock(nodes->txn, request);
	knot_space_reap(nodes->space);
	knot_txn_unlock(nodes->txn);
	return err;
}

void knot_data_need_frames(void *arg)
{
	struct knot_nodes *nodes = arg;
	size_t did;

	if (knot_txn_is_threaded(nodes->txn))
		knot_flush_thread_wake(nodes);
	else if (!nodes->data->in_round)
		(void)one_round(nodes, NULL, NULL, 0, true, &did);
}

/* ---- the flusher: begins when an eighth of the frames is pending, so that writers rarely have to wait ---- */

static bool much_is_pending(struct knot_nodes *nodes)
{
	bool much;

	knot_txn_lock(nodes->txn, NULL);
	much = nodes->data->page_total > nodes->data->flush_at_pages;
	knot_txn_unlock(nodes->txn);
	return much;
}

static void *flusher(void *arg)
{
	struct knot_nodes *nodes = arg;
	struct knot_data_volume *volume = nodes->data;

	for (;;) {
		size_t did = 0;

		pthread_mutex_lock(&volume->wait_mutex);
		while (!volume->thread_wanted && !volume->thread_stop)
			pthread_cond_wait(&volume->thread_cond, &volume->wait_mutex);
		volume->thread_wanted = false;
		if (volume->thread_stop) {
			pthread_mutex_unlock(&volume->wait_mutex);
			return NULL;
		}
		pthread_mutex_unlock(&volume->wait_mutex);
		do {
			(void)knot_flush_round(nodes, NULL, NULL, 0, true, &did);
		} while (did && much_is_pending(nodes) && !knot_txn_is_stopped(nodes->txn));
	}
}

void knot_flush_thread_wake(struct knot_nodes *nodes)
{
	pthread_mutex_lock(&nodes->data->wait_mutex);
	if (nodes->data->thread_runs && !nodes->data->thread_wanted) {
		nodes->data->thread_wanted = true;
		pthread_cond_signal(&nodes->data->thread_cond);
	}
	pthread_mutex_unlock(&nodes->data->wait_mutex);
}

int knot_flush_thread_start(struct knot_nodes *nodes)
{
	int err = -pthread_create(&nodes->data->thread, NULL, flusher, nodes);

	nodes->data->thread_runs = !err;
	return err;
}

void knot_flush_thread_stop(struct knot_nodes *nodes)
{
	if (!nodes->data->thread_runs)
		return;
	pthread_mutex_lock(&nodes->data->wait_mutex);
	nodes->data->thread_stop = true;
	pthread_cond_signal(&nodes->data->thread_cond);
	pthread_mutex_unlock(&nodes->data->wait_mutex);
	pthread_join(nodes->data->thread, NULL);
	nodes->data->thread_runs = false;
}
