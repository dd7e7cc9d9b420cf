/* SPDX-License-Identifier: MIT */
/*
 * What knotctl asks of the daemon: ioctl(2) on a descriptor of any directory of the mount. Fixed structs, native
 * endian.
 *
 * A struct that grows becomes a new version with a new size, and with it a new request number; what the daemon does not
 * know is answered with ENOTTY. So is everything by file systems that are not knotfs.
 */
#ifndef KNOTFS_IOCTL_H
#define KNOTFS_IOCTL_H

#include <assert.h>
#include <linux/ioctl.h>
#include <linux/types.h>

#define KNOT_IOCTL_VERSION 1u
#define KNOT_IOCTL_OPCODES 64

#define KNOT_MOUNT_READ_ONLY 0x1u /* mounted so, or a failed write has stopped all changes */
#define KNOT_MOUNT_STOPPED   0x2u /* the latter */
#define KNOT_MOUNT_STRICT    0x4u /* data=strict */
#define KNOT_MOUNT_WRITEBACK 0x8u

/* Who serves the mount. Anyone may ask. */
struct knot_ioctl_info {
	__u32 version;
	__s32 pid;   /* the daemon's, in its own process namespace */
	__u32 owner; /* uid of the daemon: beside root the one who may KNOT_IOC_SYNC and KNOT_IOC_CHECKPOINT */
	__u32 flags; /* KNOT_MOUNT_* */
	__u64 reserved[6];
};
static_assert(sizeof(struct knot_ioctl_info) == 64, "part of the interface");

/* Counters since the mount, and the state now. Anyone may ask. LSNs are bytes of log since mkfs. */
struct knot_ioctl_stats {
	__u32 version;
	__u32 flags; /* KNOT_MOUNT_* */

	__u64 lsn, written_lsn, flushed_lsn, checkpoint_lsn, committed_lsn;
	__u64 ring_bytes, ring_used_bytes;
	__u64 log_buffer_bytes, log_buffer_used_bytes;
	__u64 epoch; /* mounts since mkfs */
	__u64 log_writes, log_written_bytes, log_flushes;
	__u64 commits, commit_waits, group_commit_max; /* commit_waits / log_flushes: how many shared a flush */
	__u64 mtrs, mtr_retries, mtr_waits;
	__u64 frames, frames_cached, frames_dirty, frames_pending; /* of 4096 bytes */
	__u64 cache_hits, cache_misses, cache_evictions;
	__u64 pages_read, pages_cleaned, clean_batches;
	__u64 checkpoints, checkpoint_age_bytes;
	__u64 device_flushes;

	__u64 threads;     /* that serve requests */
	__u64 handed_over; /* requests that waited for something */
	__u64 read_bytes, write_bytes;
	__u64 requests[KNOT_IOCTL_OPCODES]; /* by FUSE opcode; the last one counts all above */
	__u64 reserved[16];
};
static_assert(sizeof(struct knot_ioctl_stats) == 936, "part of the interface");

#define KNOT_IOC_INFO  _IOR('k', 0xa0, struct knot_ioctl_info)
#define KNOT_IOC_STATS _IOR('k', 0xa1, struct knot_ioctl_stats)
#define KNOT_IOC_SYNC \
	_IO('k', 0xa2) /* what was done before is durable when it returns, also where syncfs(2) does nothing */
#define KNOT_IOC_CHECKPOINT _IO('k', 0xa3) /* and every page is at home: the log is empty */

#endif
