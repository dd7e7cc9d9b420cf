/* SPDX-License-Identifier: MIT */
/*
 * data=strict: closing a batch.
 *
 *   open --close_batch()--> flushing (writers go on) --> gated (new writes wait) --> end appended --> gate open -->
 * durable
 *
 * Invariants
 *  (1) When the end of batch is appended nothing is pending: every write that was answered is mapped in this batch, and
 *      its data is home and flushed, or in the log.
 *  (2) Writes that wait at the gate are answered after it opens: they belong to the next batch.
 *  (3) Closers that come while one is under way share the next one: what they wait for may have missed this one.
 *
 * If power fails before the end of batch is durable, recovery drops the batch: the volume is as at the end of the one
 * before.
 */
#include "fs/node/data_int.h"

#define INODE_LOG_BYTES  (3u * KNOT_PAGE_BYTES) /* leaves and allocator pages that mapping one inode may image */
#define INODE_PAGES_LOGGED 16u                   /* flush.c: more pages of an inode than that go home first */

bool knot_batch_is_costly(struct knot_nodes *nodes)
{
	uint64_t inodes = nodes->data->inode_total, pages = nodes->data->page_total;

	if (!knot_txn_is_strict(nodes->txn))
		return false;
	if (pages > inodes * INODE_PAGES_LOGGED)
		pages = inodes * INODE_PAGES_LOGGED;
	return inodes * INODE_LOG_BYTES + pages * KNOT_PAGE_BYTES > nodes->data->batch_bytes_max;
}

void knot_batch_make_room(struct knot_nodes *nodes, struct knot_request *request)
{
	struct knot_mtr mtr;
	int err;

	if (!knot_txn_is_strict(nodes->txn))
		return;
	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		err = knot_mtr_begin(&mtr, knot_mtr_pages_limit(nodes->txn) / 2, 0);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
}

static void set_gate(struct knot_nodes *nodes, struct knot_request *request, bool closed)
{
	knot_txn_lock(nodes->txn, request);
	nodes->data->gate_closed = closed;
	knot_txn_unlock(nodes->txn);
	if (!closed)
		knot_data_wake(nodes);
}

/* Nobody could see its data after a power cut, or all of it is logged. */
static bool may_stay(const struct knot_data *data)
{
	return data->inode->orphan || (data->chain && !knot_data_has_pending(data));
}

/* Append the end of batch if nothing is pending. */
static int append_end(struct knot_nodes *nodes, struct knot_request *request, bool *clean)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, nodes->txn, request);
	do {
		err = knot_mtr_begin(&mtr, 1, KNOT_MTR_PRIVILEGED);
		if (!err) {
			*clean = true;
			for (struct knot_list *node = nodes->data->dirty.next; node != &nodes->data->dirty;
			     node = node->next)
				*clean &= may_stay(knot_container_of(node, struct knot_data, dirty));
			if (*clean)
				(void)knot_txn_close_batch(&mtr);
		}
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	return err;
}

static int close_one(struct knot_nodes *nodes, struct knot_request *request)
{
	bool clean = false;
	int err;

	(void)knot_data_flush_closing(nodes, request);
	set_gate(nodes, request, true);
	do {
		(void)knot_data_flush_closing(nodes, request);
		err = append_end(nodes, request, &clean);
	} while (!err && !clean && !knot_txn_is_stopped(nodes->txn));
	set_gate(nodes, request, false);
	if (!err && !clean)
		err = -EIO;
	return err ? err : knot_txn_release_batch(nodes->txn, request);
}

int knot_data_close_batch(void *arg, struct knot_request *request)
{
	struct knot_nodes *nodes = arg;
	struct knot_data_volume *volume = nodes->data;
	uint64_t mine;
	int err;

	knot_request_will_block(request);
	pthread_mutex_lock(&volume->wait_mutex);
	mine = volume->closes_started + 1;
	while (volume->closing && volume->closes_done < mine)
		pthread_cond_wait(&volume->wait_cond, &volume->wait_mutex);
	if (volume->closes_done >= mine) {
		err = volume->close_error;
		pthread_mutex_unlock(&volume->wait_mutex);
		return err;
	}
	volume->closing = true;
	volume->closes_started++;
	mine = volume->closes_started;
	pthread_mutex_unlock(&volume->wait_mutex);

	err = close_one(nodes, request);

	pthread_mutex_lock(&volume->wait_mutex);
	volume->closing = false;
	volume->closes_done = mine;
	volume->close_error = err;
	volume->wait_seq++;
	pthread_cond_broadcast(&volume->wait_cond);
	pthread_mutex_unlock(&volume->wait_mutex);
	return err;
}
