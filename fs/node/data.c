/* SPDX-License-Identifier: MIT */
/* Opening and closing the file data of a volume; limits that follow from its geometry. */
#include "fs/node/data_int.h"

#include <stdlib.h>

#define LOG_FSYNC_BYTES 65536u
#define WRITE_BYTES_MAX (1u << 20)

/*
 * A group must fit in one mini-transaction when it goes through the log: its pages, and some for checks, tree and
 * allocator. A request may touch one page more than its length says.
 */
static void set_limits(struct knot_nodes *nodes, const struct knot_volume_options *options)
{
	struct knot_data_volume *volume = nodes->data;
	unsigned limit = knot_mtr_pages_limit(nodes->txn);
	size_t pending_max = knot_txn_frames_pending_max(nodes->txn);
	size_t group = limit > 24 ? limit - 20 : 4;
	size_t log_bytes = options->log_fsync_bytes ? options->log_fsync_bytes : LOG_FSYNC_BYTES;

	if (group > pending_max / 4)
		group = pending_max / 4;
	if (group < 2)
		group = 2;
	volume->group_pages_max = group;
	volume->batch_bytes_max = (uint64_t)limit * KNOT_PAGE_BYTES;
	volume->write_max_bytes = (group - 1) * KNOT_PAGE_BYTES;
	if (volume->write_max_bytes > WRITE_BYTES_MAX)
		volume->write_max_bytes = WRITE_BYTES_MAX;
	volume->log_pages_max = (log_bytes + KNOT_PAGE_BYTES - 1) / KNOT_PAGE_BYTES;
	if (volume->log_pages_max > group)
		volume->log_pages_max = group;
	volume->flush_at_pages = pending_max / 4;
}

int knot_data_open(struct knot_nodes *nodes, const struct knot_volume_options *options)
{
	struct knot_data_volume *volume = calloc(1, sizeof(*volume));

	if (!volume)
		return -ENOMEM;
	knot_list_init(&volume->dirty);
	pthread_mutex_init(&volume->wait_mutex, NULL);
	pthread_cond_init(&volume->wait_cond, NULL);
	pthread_cond_init(&volume->thread_cond, NULL);
	nodes->data = volume;
	set_limits(nodes, options);
	return 0;
}

int knot_data_start(struct knot_nodes *nodes)
{
	int err = 0;

	if (knot_txn_is_read_only(nodes->txn))
		return 0;
	err = knot_data_recover(nodes);
	if (err == -EUCLEAN || err == -EIO) {
		/* what could be lost is only free space; but a file that grows into the range would lose data later */
		knot_txn_stop(nodes->txn, err, "a truncation that was cut short can't be finished");
		err = 0;
	}
	if (!err && knot_txn_is_threaded(nodes->txn))
		err = knot_flush_thread_start(nodes);
	return err;
}

void knot_data_stop(struct knot_nodes *nodes)
{
	knot_flush_thread_stop(nodes);
}

void knot_data_close(struct knot_nodes *nodes)
{
	struct knot_data_volume *volume = nodes->data;

	if (!volume)
		return;
	knot_txn_lock(nodes->txn, NULL);
	while (!knot_list_empty(&volume->dirty)) {
		struct knot_data *data = knot_container_of(volume->dirty.next, struct knot_data, dirty);

		data->flushing = false;
		knot_data_discard_locked(nodes, data->inode);
	}
	knot_txn_unlock(nodes->txn);
	pthread_cond_destroy(&volume->thread_cond);
	pthread_cond_destroy(&volume->wait_cond);
	pthread_mutex_destroy(&volume->wait_mutex);
	free(volume);
	nodes->data = NULL;
}

size_t knot_data_write_max(const struct knot_nodes *nodes)
{
	return nodes->data->write_max_bytes;
}

void knot_data_get_stats(struct knot_nodes *nodes, struct knot_data_stats *stats)
{
	*stats = nodes->data->stats;
	stats->pending_pages = nodes->data->page_total;
	stats->pending_inodes = nodes->data->inode_total;
}
