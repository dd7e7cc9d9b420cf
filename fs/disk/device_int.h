/* SPDX-License-Identifier: MIT */
/* What the back ends share. */
#ifndef KNOT_DISK_DEVICE_INT_H
#define KNOT_DISK_DEVICE_INT_H

#include "fs/disk/device.h"

#define KNOT_SECTOR_BYTES 512u

/* A request must be made of whole sectors inside the device. Errors: -EINVAL. */
int knot_device_check_range(const struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes);

/* The same for a write of several buffers; their sum goes to `*len_bytes`. Errors: -EROFS, -EINVAL. */
int knot_device_check_write(const struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes,
			    uint64_t *len_bytes);

#endif
