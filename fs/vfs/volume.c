/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing a volume: the layers, from the lowest up and down again.
 *
 * The upper layers' memory (frames, charges) belongs to txn, so they go before it; txn's threads call into them, so
 * they are detached first: `upper_lock`.
 */
#include "fs/vfs/volume_int.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define CACHE_BYTES_DEFAULT      (256UL << 20)
#define LOG_BUFFER_BYTES_DEFAULT (16UL << 20)
#define LOG_BUFFER_BYTES_MIN     (1UL << 20) /* a quarter of it holds any single operation on a small volume */
#define COMMIT_SECONDS_DEFAULT   5u

/* ---- what txn calls ---- */

static bool upper_enter(struct knot_volume *volume)
{
	pthread_rwlock_rdlock(&volume->upper_lock);
	if (!volume->is_detached)
		return true;
	pthread_rwlock_unlock(&volume->upper_lock);
	return false;
}

static int upper_close_batch(void *arg, struct knot_request *request)
{
	struct knot_volume *volume = arg;
	int err;

	if (!upper_enter(volume))
		return 0;
	err = knot_data_close_batch(volume->nodes, request);
	pthread_rwlock_unlock(&volume->upper_lock);
	return err;
}

static void upper_need_frames(void *arg)
{
	struct knot_volume *volume = arg;

	if (!upper_enter(volume))
		return;
	knot_data_need_frames(volume->nodes);
	pthread_rwlock_unlock(&volume->upper_lock);
}

static void upper_committed(void *arg, knot_lsn_t committed_lsn)
{
	struct knot_volume *volume = arg;

	(void)committed_lsn;
	if (!upper_enter(volume))
		return;
	knot_txn_lock(volume->txn, NULL);
	if (knot_space_waiting(volume->space))
		knot_space_reap(volume->space);
	knot_txn_unlock(volume->txn);
	pthread_rwlock_unlock(&volume->upper_lock);
}

static void detach(struct knot_volume *volume)
{
	pthread_rwlock_wrlock(&volume->upper_lock);
	volume->is_detached = true;
	pthread_rwlock_unlock(&volume->upper_lock);
}

/* ---- messages: pass on, and know whether the failure of open has been explained ---- */

static void pass_on(void *arg, enum knot_severity severity, const char *line)
{
	struct knot_volume *volume = arg;

	if (severity == KNOT_ERROR)
		atomic_store(&volume->error_was_said, true);
	if (volume->options.messages && volume->options.messages->emit)
		volume->options.messages->emit(volume->options.messages->arg, severity, line);
}

/* ---- open ---- */

static int open_txn(struct knot_volume *volume)
{
	const struct knot_volume_options *options = &volume->options;
	struct knot_txn_options txn_options = {
		.device = options->device,
		.super = &volume->super,
		.messages = &volume->messages,
		.cache_bytes = options->cache_bytes,
		.log_buffer_bytes = options->log_buffer_bytes,
		.commit_policy = options->commit_policy,
		.strict = options->strict,
		.read_only = volume->read_only,
		.threads = volume->threads,
	};
	int err;

	if (volume->read_only) {
		err = knot_device_open_overlay(options->device, &volume->overlay);
		if (err)
			return err;
		txn_options.device = volume->overlay;
	}
	return knot_txn_open(&txn_options, &volume->txn);
}

static int open_layers(struct knot_volume *volume)
{
	int err = knot_space_open(volume->txn, &volume->space);

	if (!err)
		err = knot_tree_open(volume->txn, volume->space, &volume->tree);
	if (!err)
		err = knot_nodes_open(volume->txn, volume->space, volume->tree, &volume->options, &volume->nodes);
	if (!err)
		err = knot_data_open(volume->nodes, &volume->options);
	if (!err)
		err = knot_lookups_open(volume->txn, &volume->lookups);
	return err;
}

static int check_root(struct knot_volume *volume)
{
	struct knot_attr attr;
	int err = knot_vfs_getattr(volume, NULL, KNOT_OBJECT_ROOT, &attr);

	if (!err && S_ISDIR(attr.mode) && attr.links)
		return 0;
	if (!err || err == -ESTALE) {
		knot_message(&volume->messages, KNOT_ERROR, "inode %u is not a root directory; run fsck.knotfs",
			     KNOT_OBJECT_ROOT);
		err = -EUCLEAN;
	}
	return err;
}

static int start(struct knot_volume *volume)
{
	struct knot_txn_upper upper = {
		.close_batch = upper_close_batch,
		.need_frames = upper_need_frames,
		.committed = upper_committed,
		.arg = volume,
	};
	int err;

	knot_txn_set_upper(volume->txn, &upper);
	volume->pages_limit = knot_mtr_pages_limit(volume->txn);
	atomic_init(&volume->op_pages, 4 + 2 * knot_tree_insert_pages(volume->tree));
	volume->orphans_unlisted = !volume->read_only;
	err = check_root(volume);
	if (!err)
		err = knot_data_start(volume->nodes);
	if (!err && volume->threads)
		err = knot_background_start(volume);
	return err;
}

static void set_options(struct knot_volume *volume, const struct knot_volume_options *options)
{
	volume->options = *options;
	if (!volume->options.cache_bytes)
		volume->options.cache_bytes = CACHE_BYTES_DEFAULT;
	if (!volume->options.log_buffer_bytes)
		volume->options.log_buffer_bytes = LOG_BUFFER_BYTES_DEFAULT;
	if (volume->options.log_buffer_bytes < LOG_BUFFER_BYTES_MIN)
		volume->options.log_buffer_bytes = LOG_BUFFER_BYTES_MIN;
	if (!volume->options.commit_seconds)
		volume->options.commit_seconds = COMMIT_SECONDS_DEFAULT;
	volume->messages = (struct knot_messages){
		.emit = pass_on,
		.arg = volume,
		.volume = options->messages ? options->messages->volume : NULL,
	};
}

static void init_locks(struct knot_volume *volume)
{
	pthread_condattr_t attributes;

	pthread_rwlock_init(&volume->upper_lock, NULL);
	pthread_mutex_init(&volume->reclaim_mutex, NULL);
	pthread_mutex_init(&volume->background.mutex, NULL);
	pthread_condattr_init(&attributes);
	pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
	pthread_cond_init(&volume->background.cond, &attributes);
	pthread_condattr_destroy(&attributes);
}

/* Everything but the txn, which is closed in the one way or the other, and what it still needs. */
static void close_layers(struct knot_volume *volume)
{
	knot_background_stop(volume);
	if (volume->nodes && volume->nodes->data)
		knot_data_stop(volume->nodes);
	detach(volume);
	if (volume->nodes) {
		knot_data_close(volume->nodes);
		knot_nodes_close(volume->nodes);
	}
	knot_lookups_close(volume->lookups);
	if (volume->tree)
		knot_tree_close(volume->tree);
	if (volume->space)
		knot_space_close(volume->space);
}

static void free_volume(struct knot_volume *volume)
{
	knot_device_close(volume->overlay);
	pthread_cond_destroy(&volume->background.cond);
	pthread_mutex_destroy(&volume->background.mutex);
	pthread_mutex_destroy(&volume->reclaim_mutex);
	pthread_rwlock_destroy(&volume->upper_lock);
	free(volume->background.forgets);
	knot_numbers_free(&volume->reclaim);
	knot_numbers_free(&volume->deferred);
	free(volume);
}

int knot_volume_open(const struct knot_volume_options *options, struct knot_volume **volume)
{
	struct knot_volume *opened = calloc(1, sizeof(*opened));
	bool read_only = false;
	int err;

	if (!opened) {
		knot_message(options->messages, KNOT_ERROR, "out of memory");
		return -ENOMEM;
	}
	set_options(opened, options);
	init_locks(opened);
	err = knot_super_read(options->device, &opened->messages, &opened->super, &read_only);
	opened->read_only = options->read_only || read_only || options->device->read_only;
	opened->threads = options->threads && !opened->read_only;
	if (!err)
		err = open_txn(opened);
	if (!err)
		err = open_layers(opened);
	if (!err)
		err = start(opened);
	if (!err) {
		*volume = opened;
		return 0;
	}
	if (!atomic_load(&opened->error_was_said))
		knot_message(options->messages, KNOT_ERROR, "can't open the volume: %s", strerror(-err));
	close_layers(opened);
	if (opened->txn)
		knot_txn_abandon(opened->txn);
	free_volume(opened);
	return err;
}

/* ---- close ---- */

/* Map what is pending: all, or what is older than the commit interval. */
static int flush_data(struct knot_volume *volume, bool all)
{
	return knot_data_flush_all(volume->nodes, NULL, all ? 0 : volume->options.commit_seconds);
}

static int first_of(int first, int second)
{
	return first ? first : second;
}

static int put_all_down(struct knot_volume *volume)
{
	int err;

	knot_txn_lock(volume->txn, NULL);
	knot_lookups_clear(volume->lookups);
	volume->orphans_unlisted = true;
	volume->orphan_scan_from = 0;
	knot_txn_unlock(volume->txn);
	if (knot_volume_is_read_only(volume))
		return volume->read_only ? 0 : -EIO;
	err = knot_reclaim_run(volume, NULL);
	err = first_of(err, flush_data(volume, true));
	err = first_of(err, knot_atime_flush(volume, NULL));
	return first_of(err, knot_txn_commit_to(volume->txn, knot_txn_lsn(volume->txn), true, NULL));
}

int knot_volume_close(struct knot_volume *volume)
{
	int err;

	knot_background_stop(volume);
	err = put_all_down(volume);
	close_layers(volume);
	err = first_of(err, knot_txn_close(volume->txn));
	free_volume(volume);
	return err;
}

void knot_volume_abandon(struct knot_volume *volume)
{
	close_layers(volume);
	knot_txn_abandon(volume->txn);
	free_volume(volume);
}

int knot_volume_tick(struct knot_volume *volume, bool all)
{
	int err;

	if (knot_volume_is_read_only(volume))
		return 0;
	knot_background_apply_forgets(volume, NULL);
	err = knot_reclaim_run(volume, NULL);
	err = first_of(err, flush_data(volume, all));
	err = first_of(err, knot_data_free_leftovers(volume->nodes, NULL));
	if (all)
		err = first_of(err, knot_atime_flush(volume, NULL));
	return first_of(err, knot_txn_tick(volume->txn));
}

/* ---- what it says of itself ---- */

void knot_volume_stats(struct knot_volume *volume, struct knot_txn_stats *stats)
{
	knot_txn_get_stats(volume->txn, stats);
}

bool knot_volume_is_read_only(const struct knot_volume *volume)
{
	return volume->read_only || knot_txn_is_stopped(volume->txn);
}
