/* SPDX-License-Identifier: MIT */
/*
 * Image files and block devices.
 *
 * Two descriptors of one inode: requests made of whole sectors in aligned memory go past the host's page cache
 * (O_DIRECT), all others through it. The kernel keeps both views coherent, and one fdatasync covers both. Where
 * O_DIRECT is refused, at open or for one request, the plain descriptor does the work.
 *
 * Invariants
 *  (1) The lock (flock, on block devices O_EXCL too) is held by `plain_fd` from opening to closing.
 *  (2) A request returns 0 only when every byte was transferred.
 */
#include "fs/disk/device_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#define KNOT_FILE_WRITE_UNIT_BYTES 4096u
#define KNOT_IOV_BATCH             256

struct knot_device_file {
	struct knot_device device;
	int plain_fd;
	int direct_fd; /* -1: no O_DIRECT here */
	bool is_block;
	char *path;
};

static struct knot_device_file *file_of(struct knot_device *device)
{
	return (struct knot_device_file *)device;
}

static bool fits_direct(const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	uint64_t bits = at_bytes;

	for (int i = 0; i < iov_count; i++)
		bits |= (uintptr_t)iov[i].iov_base | iov[i].iov_len;
	return bits % KNOT_SECTOR_BYTES == 0;
}

/* One transfer, as short as the kernel likes. Returns bytes or a negative errno. */
static ssize_t transfer_once(const struct knot_device_file *file, bool write, const struct iovec *iov, int iov_count,
			     uint64_t at_bytes)
{
	int fd = file->direct_fd >= 0 && fits_direct(iov, iov_count, at_bytes) ? file->direct_fd : file->plain_fd;

	for (;;) {
		ssize_t done = write ? pwritev(fd, iov, iov_count, (off_t)at_bytes)
				     : preadv(fd, iov, iov_count, (off_t)at_bytes);
		if (done >= 0)
			return done;
		if (errno == EINVAL && fd != file->plain_fd)
			fd = file->plain_fd;
		else if (errno != EINTR)
			return -errno;
	}
}

/* `iov` is used up. */
static int transfer_batch(const struct knot_device_file *file, bool write, struct iovec *iov, int iov_count,
			  uint64_t at_bytes)
{
	while (iov_count > 0) {
		if (iov->iov_len == 0) {
			iov++;
			iov_count--;
			continue;
		}

		ssize_t done = transfer_once(file, write, iov, iov_count, at_bytes);
		if (done < 0)
			return (int)done;
		if (done == 0)
			return -EIO; /* the image ends early: somebody has cut it */

		at_bytes += (uint64_t)done;
		for (size_t left = (size_t)done; left > 0;) {
			size_t step = left < iov->iov_len ? left : iov->iov_len;

			iov->iov_base = (char *)iov->iov_base + step;
			iov->iov_len -= step;
			left -= step;
			if (iov->iov_len == 0) {
				iov++;
				iov_count--;
			}
		}
	}
	return 0;
}

static int file_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct iovec iov = { .iov_base = buffer, .iov_len = len_bytes };

	int err = knot_device_check_range(device, at_bytes, len_bytes);
	if (err)
		return err;
	return transfer_batch(file_of(device), false, &iov, 1, at_bytes);
}

static int file_writev(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	struct iovec batch[KNOT_IOV_BATCH];
	uint64_t total;

	int err = knot_device_check_write(device, iov, iov_count, at_bytes, &total);
	while (!err && iov_count > 0) {
		int count = iov_count < KNOT_IOV_BATCH ? iov_count : KNOT_IOV_BATCH;
		uint64_t len_bytes = 0;

		for (int i = 0; i < count; i++)
			len_bytes += iov[i].iov_len;
		memcpy(batch, iov, (size_t)count * sizeof(*iov));
		err = transfer_batch(file_of(device), true, batch, count, at_bytes);
		at_bytes += len_bytes;
		iov += count;
		iov_count -= count;
	}
	return err;
}

static int file_flush(struct knot_device *device)
{
	if (device->read_only)
		return 0;
	while (fdatasync(file_of(device)->plain_fd) < 0) {
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

static int file_discard(struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes)
{
	const struct knot_device_file *file = file_of(device);
	uint64_t range[2] = { at_bytes, len_bytes };

	if (device->read_only)
		return -EROFS;
	int err = knot_device_check_range(device, at_bytes, len_bytes);
	if (err || !len_bytes)
		return err;

	for (;;) {
		int ret = file->is_block ? ioctl(file->plain_fd, BLKDISCARD, range)
					 : fallocate(file->plain_fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
						     (off_t)at_bytes, (off_t)len_bytes);
		if (ret == 0)
			return 0;
		if (errno != EINTR)
			return errno == ENOTTY || errno == ENOSYS ? -EOPNOTSUPP : -errno;
	}
}

static void file_close(struct knot_device *device)
{
	struct knot_device_file *file = file_of(device);

	if (file->direct_fd >= 0)
		close(file->direct_fd);
	if (file->plain_fd >= 0)
		close(file->plain_fd);
	free(file->path);
	free(file);
}

static const struct knot_device_ops file_ops = {
	.read = file_read,
	.writev = file_writev,
	.flush = file_flush,
	.discard = file_discard,
	.close = file_close,
};

/* Find out what was opened: its size and write unit. */
static int learn_geometry(struct knot_device_file *file)
{
	struct stat st;
	unsigned unit = 0;
	int protected = 0;

	if (fstat(file->plain_fd, &st) < 0)
		return -errno;
	if (S_ISREG(st.st_mode)) {
		file->device.size_bytes = (uint64_t)st.st_size / KNOT_SECTOR_BYTES * KNOT_SECTOR_BYTES;
		file->device.write_unit_bytes = KNOT_FILE_WRITE_UNIT_BYTES;
		return 0;
	}
	if (!S_ISBLK(st.st_mode))
		return -ENOTBLK;

	file->is_block = true;
	/* Opening a write-protected device for writing may succeed; the writes would not. */
	if (!file->device.read_only && ioctl(file->plain_fd, BLKROGET, &protected) == 0 && protected)
		return -EROFS;
	if (ioctl(file->plain_fd, BLKGETSIZE64, &file->device.size_bytes) < 0)
		return -errno;
	if (ioctl(file->plain_fd, BLKPBSZGET, &unit) < 0 || unit < KNOT_SECTOR_BYTES)
		unit = KNOT_SECTOR_BYTES;
	file->device.write_unit_bytes = unit;
	return 0;
}

static int lock_file(const struct knot_device_file *file)
{
	int how = (file->device.read_only ? LOCK_SH : LOCK_EX) | LOCK_NB;

	while (flock(file->plain_fd, how) < 0) {
		if (errno == EWOULDBLOCK)
			return -EBUSY;
		if (errno != EINTR)
			return -errno;
	}
	return 0;
}

/* O_EXCL keeps the kernel and others from claiming a block device; elsewhere it would mean nothing without O_CREAT. */
static int open_plain(const char *path, int mode, unsigned flags)
{
	struct stat st;
	bool claim = mode == O_RDWR && !(flags & (KNOT_DEVICE_NO_LOCK | KNOT_DEVICE_NO_CLAIM)) &&
		     stat(path, &st) == 0 && S_ISBLK(st.st_mode);

	/* O_NONBLOCK: a FIFO must be refused, not waited for; files and block devices ignore it. */
	int fd = open(path, mode | O_CLOEXEC | O_NONBLOCK | (claim ? O_EXCL : 0));
	return fd < 0 ? -errno : fd;
}

/* Takes `fd` over, also on failure. */
static int wrap_fd(int fd, const char *path, unsigned flags, struct knot_device **device)
{
	struct knot_device_file *file = calloc(1, sizeof(*file));
	int mode = flags & KNOT_DEVICE_READ_ONLY ? O_RDONLY : O_RDWR;
	int err;

	if (!file) {
		close(fd);
		return -ENOMEM;
	}
	file->plain_fd = fd;
	file->direct_fd = -1;
	file->device.ops = &file_ops;
	file->device.read_only = mode == O_RDONLY;
	file->path = strdup(path);
	err = file->path ? learn_geometry(file) : -ENOMEM;
	if (!err && !(flags & KNOT_DEVICE_NO_LOCK))
		err = lock_file(file);
	if (err) {
		file_close(&file->device);
		return err;
	}
	file->device.name = file->path;

	if (!(flags & KNOT_DEVICE_NO_DIRECT)) {
		char self[40];

		snprintf(self, sizeof(self), "/proc/self/fd/%d", fd); /* the same inode, whatever `path` names by now */
		file->direct_fd = open(self, mode | O_CLOEXEC | O_DIRECT);
	}
	*device = &file->device;
	return 0;
}

int knot_device_open_file(const char *path, unsigned flags, struct knot_device **device)
{
	int fd = open_plain(path, flags & KNOT_DEVICE_READ_ONLY ? O_RDONLY : O_RDWR, flags);

	return fd < 0 ? fd : wrap_fd(fd, path, flags, device);
}

int knot_device_create_file(const char *path, uint64_t create_bytes, struct knot_device **device)
{
	int err;

	if (create_bytes == 0 || create_bytes % KNOT_SECTOR_BYTES)
		return -EINVAL;
	if (create_bytes > INT64_MAX)
		return -EFBIG;
	int fd = open(path, O_RDWR | O_CLOEXEC | O_CREAT | O_EXCL, 0666);
	if (fd < 0)
		return -errno;

	if (ftruncate(fd, (off_t)create_bytes) < 0) {
		err = -errno;
		close(fd);
	} else {
		err = wrap_fd(fd, path, 0, device);
	}
	if (err)
		unlink(path);
	return err;
}
