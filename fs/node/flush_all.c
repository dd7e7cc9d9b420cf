/* SPDX-License-Identifier: MIT */
/* Who flushes when: fsync, the clock, memory, space; and the flusher thread. The rounds themselves are in flush.c. */
#include "fs/node/data_int.h"

#include "fs/util/message.h"

#include <stdlib.h>

static const struct knot_flush_scope everything = { .seq_max = UINT64_MAX, .orphans_too = true };

static int one_round(struct knot_nodes *nodes, struct knot_request *request, const struct knot_flush_scope *scope,
		     size_t *did)
{
	bool was = nodes->data->in_round;
	int err;

	if (!scope->closing && !was)
		knot_batch_make_room(nodes, request);
	if (!knot_txn_is_threaded(nodes->txn))
		nodes->data->in_round = true;
	err = knot_flush_round(nodes, request, scope, did);
	if (!knot_txn_is_threaded(nodes->txn))
		nodes->data->in_round = was;
	return err;
}

enum need { NEED_NOTHING, NEED_WAIT, NEED_ROUND };

/* What has to be done until all changes up to `seq_max` are mapped. Later ones may keep coming. */
static enum need find_need_locked(const struct knot_data *data, uint64_t seq_max)
{
	bool in_flight;

	if (!data)
		return NEED_NOTHING;
	in_flight = data->flushing && !data->chain;
	if (knot_data_has_pending(data) && data->oldest_seq <= seq_max)
		return in_flight ? NEED_WAIT : NEED_ROUND;
	return in_flight && data->flight_seq <= seq_max ? NEED_WAIT : NEED_NOTHING;
}

int knot_data_flush_inode(struct knot_nodes *nodes, struct knot_request *request, uint64_t inode_no, knot_lsn_t *lsn)
{
	uint64_t seq_max = 0;
	knot_lsn_t lsn_needed = 0;
	int err = 0;

	for (;;) {
		enum need need = NEED_NOTHING;
		struct knot_inode *inode;
		uint64_t ticket;
		size_t did;

		knot_txn_lock(nodes->txn, request);
		ticket = knot_data_wait_ticket(nodes);
		inode = knot_inode_peek(nodes, inode_no);
		if (!seq_max)
			seq_max = nodes->data->change_seq;
		if (inode) {
			lsn_needed = atomic_load(&inode->sync_lsn);
			need = find_need_locked(inode->data, seq_max);
			knot_inode_pin(nodes, inode);
		}
		knot_txn_unlock(nodes->txn);
		if (need == NEED_WAIT)
			knot_data_wait(nodes, request, ticket);
		else if (need == NEED_ROUND)
			err = one_round(nodes, request,
					&(struct knot_flush_scope){ .only = inode, .seq_max = UINT64_MAX }, &did);
		if (inode) {
			knot_txn_lock(nodes->txn, request);
			knot_inode_unpin(nodes, inode);
			knot_txn_unlock(nodes->txn);
		}
		if (err || need == NEED_NOTHING)
			break;
	}
	if (!err)
		*lsn = lsn_needed;
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
	if (err == -ENOSPC) /* the space was reserved; what had it can't be read */
		err = -EIO;
	if (!err)
		err = knot_txn_commit_to(nodes->txn, lsn, false, request);
	/* with data=strict it covers what other files have lost, too */
	return !err && knot_txn_is_strict(nodes->txn) && knot_txn_is_stopped(nodes->txn) ? -EIO : err;
}

/* True if somebody else is flushing changes up to `seq_max`. */
static bool others_flush(struct knot_nodes *nodes, struct knot_request *request, uint64_t seq_max, uint64_t *ticket)
{
	bool busy = false;

	knot_txn_lock(nodes->txn, request);
	*ticket = knot_data_wait_ticket(nodes);
	for (struct knot_list *node = nodes->data->dirty.next; node != &nodes->data->dirty && !busy;
	     node = node->next) {
		const struct knot_data *data = knot_container_of(node, struct knot_data, dirty);

		busy = data->flushing && !data->chain && data->flight_seq <= seq_max;
	}
	knot_txn_unlock(nodes->txn);
	return busy;
}

static int flush_all(struct knot_nodes *nodes, struct knot_request *request, unsigned older_than_seconds, bool closing)
{
	struct knot_flush_scope scope = {
		.closing = closing,
		.dirty_before_sec = older_than_seconds ? knot_nodes_now(nodes).sec - (int64_t)older_than_seconds : 0,
	};
	int first_err = 0;

	knot_txn_lock(nodes->txn, request);
	scope.seq_max = nodes->data->change_seq;
	knot_txn_unlock(nodes->txn);
	for (;;) {
		uint64_t ticket;
		size_t did;
		int err = one_round(nodes, request, &scope, &did);

		if (err && !first_err)
			first_err = err;
		if (did && !knot_txn_is_stopped(nodes->txn))
			continue;
		if (older_than_seconds || knot_txn_is_stopped(nodes->txn) ||
		    !others_flush(nodes, request, scope.seq_max, &ticket))
			break;
		knot_data_wait(nodes, request, ticket);
	}
	return first_err;
}

int knot_data_flush_all(struct knot_nodes *nodes, struct knot_request *request, unsigned older_than_seconds)
{
	return flush_all(nodes, request, older_than_seconds, false);
}

int knot_data_flush_closing(struct knot_nodes *nodes, struct knot_request *request)
{
	return flush_all(nodes, request, 0, true);
}

int knot_flush_pressure(struct knot_nodes *nodes, struct knot_request *request)
{
	uint64_t ticket;
	size_t did;
	int err;

	if (knot_txn_is_stopped(nodes->txn))
		return -EROFS;
	if (others_flush(nodes, request, UINT64_MAX, &ticket)) {
		knot_data_wait(nodes, request, ticket);
		return 0;
	}
	err = one_round(nodes, request, &everything, &did);
	if (!did)
		err = knot_txn_checkpoint(nodes->txn, request);
	return knot_txn_is_stopped(nodes->txn) ? (err ? err : -EROFS) : 0;
}

int knot_flush_for_space(struct knot_nodes *nodes, struct knot_request *request, bool *hope)
{
	int err;

	knot_txn_lock(nodes->txn, request);
	*hope = nodes->data->inode_total > 0 || nodes->data->loose_chains || knot_space_waiting(nodes->space) > 0;
	knot_txn_unlock(nodes->txn);
	if (!*hope)
		return 0;
	(void)knot_data_flush_all(nodes, request, 0); /* the files' own fsync reports their errors */
	(void)knot_data_run_loose_chains(nodes, request);
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
		(void)one_round(nodes, NULL, &everything, &did);
}

int knot_data_free_leftovers(struct knot_nodes *nodes, struct knot_request *request)
{
	return knot_data_run_loose_chains(nodes, request);
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
			(void)one_round(nodes, NULL, &everything, &did);
		} while (did && much_is_pending(nodes) && !knot_txn_is_stopped(nodes->txn));
		(void)knot_data_run_loose_chains(nodes, NULL); /* what fails is for the next mount */
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
