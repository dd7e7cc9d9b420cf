/* SPDX-License-Identifier: MIT */
/* What is the same for all back ends. */
#include "fs/disk/device_int.h"

#include <errno.h>

int knot_device_check_range(const struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes)
{
	if ((at_bytes | len_bytes) % KNOT_SECTOR_BYTES)
		return -EINVAL;
	if (at_bytes > device->size_bytes || len_bytes > device->size_bytes - at_bytes)
		return -EINVAL;
	return 0;
}

int knot_device_check_write(const struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes,
			    uint64_t *len_bytes)
{
	uint64_t total = 0;

	if (device->read_only)
		return -EROFS;
	for (int i = 0; i < iov_count; i++)
		total += iov[i].iov_len;

	int err = knot_device_check_range(device, at_bytes, total);
	if (!err)
		*len_bytes = total;
	return err;
}

int knot_device_write(struct knot_device *device, const void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)buffer, .iov_len = len_bytes };

	return knot_device_writev(device, &iov, 1, at_bytes);
}

int knot_device_discard(struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes)
{
	if (!device->ops->discard)
		return -EOPNOTSUPP;
	return device->ops->discard(device, at_bytes, len_bytes);
}

void knot_device_close(struct knot_device *device)
{
	if (device)
		device->ops->close(device);
}
