/* SPDX-License-Identifier: MIT */
/* What knotctl asks: see knotfs/ioctl.h. */
#include "fs/fuse/fuse_int.h"
#include "fs/txn/txn.h"

#include <knotfs/ioctl.h>

#include <errno.h>
#include <string.h>
#include <unistd.h>

_Static_assert(KNOT_IOCTL_OPCODES == KNOT_SLOT_OPCODES, "counted and reported alike");

static uint32_t mount_flags(const struct knot_call *call, const struct knot_txn_stats *stats)
{
	uint32_t flags = 0;

	if (knot_volume_is_read_only(call->volume))
		flags |= KNOT_MOUNT_READ_ONLY;
	if (stats->stopped)
		flags |= KNOT_MOUNT_STOPPED;
	if (stats->strict)
		flags |= KNOT_MOUNT_STRICT;
	if (call->fuse->writeback)
		flags |= KNOT_MOUNT_WRITEBACK;
	return flags;
}

static void reply_info(const struct knot_call *call, fuse_req_t req)
{
	struct knot_ioctl_info info = { .version = KNOT_IOCTL_VERSION, .pid = getpid(), .owner = call->fuse->owner };
	struct knot_txn_stats stats;

	knot_volume_stats(call->volume, &stats);
	info.flags = mount_flags(call, &stats);
	fuse_reply_ioctl(req, 0, &info, sizeof(info));
}

static void add_slot(void *arg, const struct knot_slot *slot)
{
	struct knot_ioctl_stats *out = arg;

	out->threads++;
	out->handed_over += atomic_load_explicit(&slot->handed_over, memory_order_relaxed);
	out->read_bytes += atomic_load_explicit(&slot->read_bytes, memory_order_relaxed);
	out->write_bytes += atomic_load_explicit(&slot->write_bytes, memory_order_relaxed);
	for (size_t i = 0; i < KNOT_SLOT_OPCODES; i++)
		out->requests[i] += atomic_load_explicit(&slot->requests[i], memory_order_relaxed);
}

static void copy_stats(struct knot_ioctl_stats *out, const struct knot_txn_stats *in)
{
	out->lsn = in->lsn;
	out->written_lsn = in->written_lsn;
	out->flushed_lsn = in->flushed_lsn;
	out->checkpoint_lsn = in->checkpoint_lsn;
	out->committed_lsn = in->committed_lsn;
	out->ring_bytes = in->ring_bytes;
	out->ring_used_bytes = in->ring_used_bytes;
	out->log_buffer_bytes = in->log_buffer_bytes;
	out->log_buffer_used_bytes = in->log_buffer_used_bytes;
	out->epoch = in->epoch;
	out->log_writes = in->log_writes;
	out->log_written_bytes = in->log_written_bytes;
	out->log_flushes = in->log_flushes;
	out->commits = in->commits;
	out->commit_waits = in->commit_waits;
	out->group_commit_max = in->group_commit_max;
	out->mtrs = in->mtrs;
	out->mtr_retries = in->mtr_retries;
	out->mtr_waits = in->mtr_waits;
	out->frames = in->frames;
	out->frames_cached = in->frames_cached;
	out->frames_dirty = in->frames_dirty;
	out->frames_pending = in->frames_pending;
	out->cache_hits = in->cache_hits;
	out->cache_misses = in->cache_misses;
	out->cache_evictions = in->cache_evictions;
	out->pages_read = in->pages_read;
	out->pages_cleaned = in->pages_cleaned;
	out->clean_batches = in->clean_batches;
	out->checkpoints = in->checkpoints;
	out->checkpoint_age_bytes = in->checkpoint_age_bytes;
	out->device_flushes = in->device_flushes;
}

static void reply_stats(const struct knot_call *call, fuse_req_t req)
{
	struct knot_ioctl_stats out = { .version = KNOT_IOCTL_VERSION };
	struct knot_txn_stats stats;

	knot_volume_stats(call->volume, &stats);
	out.flags = mount_flags(call, &stats);
	copy_stats(&out, &stats);
	knot_pool_each(call->fuse->pool, add_slot, &out);
	fuse_reply_ioctl(req, 0, &out, sizeof(out));
}

/* These write; whoever can open a directory for reading must not be able to keep the device busy. */
static void reply_change(const struct knot_call *call, fuse_req_t req, unsigned command)
{
	uid_t uid = fuse_req_ctx(req)->uid;
	int err = -EPERM;

	if (uid == 0 || uid == call->fuse->owner)
		err = command == KNOT_IOC_SYNC ? knot_vfs_syncfs(call->volume, call->request)
					       : knot_vfs_checkpoint(call->volume, call->request);
	if (err)
		knot_reply_error(req, err);
	else
		fuse_reply_ioctl(req, 0, NULL, 0);
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *arg, struct fuse_file_info *fi,
		     unsigned flags, const void *in, size_t in_bytes, size_t out_bytes)
{
	struct knot_call call;

	(void)ino;
	(void)arg;
	(void)fi;
	(void)in;
	(void)in_bytes;
	(void)out_bytes;
	knot_call_begin(&call, req);
	if (!(flags & FUSE_IOCTL_DIR)) {
		knot_reply_error(req, -ENOTTY);
		return;
	}
	switch (command) {
	case KNOT_IOC_INFO:
		reply_info(&call, req);
		break;
	case KNOT_IOC_STATS:
		reply_stats(&call, req);
		break;
	case KNOT_IOC_SYNC:
	case KNOT_IOC_CHECKPOINT:
		reply_change(&call, req, command);
		break;
	default:
		knot_reply_error(req, -ENOTTY);
		break;
	}
}

void knot_ops_ioctl(struct fuse_lowlevel_ops *ops)
{
	ops->ioctl = op_ioctl;
}
