/* SPDX-License-Identifier: MIT */
/*
 * A device: what a volume lives on. Only fs/disk touches file descriptors; tests bring back ends of their own.
 *
 * All offsets and lengths are multiples of 512 bytes; buffers are aligned to 4096 when the device says so. Calls from
 * several threads at once are fine. A write is durable after a flush that began when the write had returned; nothing
 * else is promised.
 */
#ifndef KNOT_DISK_DEVICE_H
#define KNOT_DISK_DEVICE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>
#include <sys/uio.h>

struct knot_device;

/*
 * Back end. Each returns 0 or a negative errno; short transfers are the back end's to finish. Any but close may be
 * NULL for "not supported".
 */
struct knot_device_ops {
	int (*read)(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes);
	int (*writev)(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes);
	int (*flush)(struct knot_device *device);
	int (*discard)(struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes);
	void (*close)(struct knot_device *device);
};

/* Embedded first in a back end's own struct. Immutable after opening. */
struct knot_device {
	const struct knot_device_ops *ops;
	uint64_t size_bytes;
	uint32_t write_unit_bytes; /* the device's physical write unit: 512 or more */
	bool read_only;
	const char *name; /* for messages; owned by the back end */
};

static inline int knot_device_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	return device->ops->read(device, buffer, len_bytes, at_bytes);
}

/* Write the buffers one after another. `iov_count` may be any number. */
static inline int knot_device_writev(struct knot_device *device, const struct iovec *iov, int iov_count,
				     uint64_t at_bytes)
{
	return device->ops->writev(device, iov, iov_count, at_bytes);
}

int knot_device_write(struct knot_device *device, const void *buffer, size_t len_bytes, uint64_t at_bytes);

static inline int knot_device_flush(struct knot_device *device)
{
	return device->ops->flush(device);
}

/* Errors: -EOPNOTSUPP. */
int knot_device_discard(struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes);

void knot_device_close(struct knot_device *device); /* NULL is fine */

#define KNOT_DEVICE_READ_ONLY 0x1u
#define KNOT_DEVICE_NO_LOCK   0x2u /* fsck -n of a mounted volume */
#define KNOT_DEVICE_NO_DIRECT 0x4u
#define KNOT_DEVICE_NO_CLAIM 0x8u    /* no O_EXCL on a block device: the kernel is to mount it and claims it then */

/*
 * Open an image file or block device, with O_DIRECT where that works, and lock it (flock, exclusive; shared when
 * read-only).
 *
 * Errors: -EBUSY somebody else has it locked; -ENOTBLK neither a file nor a block device; -EROFS a write-protected
 * block device; what open(2) says.
 */
int knot_device_open_file(const char *path, unsigned flags, struct knot_device **device);

/*
 * Create (if `create_bytes` is not 0: an image of that size, sparse, must not exist) — used by mkfs only.
 * Errors: as open(2), -EEXIST.
 */
int knot_device_create_file(const char *path, uint64_t create_bytes, struct knot_device **device);

/* Zeroed memory; for tests. The pages are there only once written. */
int knot_device_open_memory(uint64_t size_bytes, struct knot_device **device);

/*
 * A view of `base` whose writes stay in memory: `ro` mounts and `fsck -n` replay the log into it. Takes no ownership
 * of `base`. Flush does nothing; close forgets the writes.
 */
int knot_device_open_overlay(struct knot_device *base, struct knot_device **device);

#endif
