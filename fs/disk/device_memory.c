/* SPDX-License-Identifier: MIT */
/* A device in memory, for tests and dry runs. The kernel gives zeroed pages when they are first touched. */
#include "fs/disk/device_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define KNOT_MEMORY_WRITE_UNIT_BYTES 4096u

struct knot_device_memory {
	struct knot_device device;
	unsigned char *bytes;
};

static struct knot_device_memory *memory_of(struct knot_device *device)
{
	return (struct knot_device_memory *)device;
}

static int memory_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	int err = knot_device_check_range(device, at_bytes, len_bytes);

	if (!err)
		memcpy(buffer, memory_of(device)->bytes + at_bytes, len_bytes);
	return err;
}

static int memory_writev(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	unsigned char *to = memory_of(device)->bytes + at_bytes;
	uint64_t total;

	int err = knot_device_check_write(device, iov, iov_count, at_bytes, &total);
	if (err)
		return err;
	for (int i = 0; i < iov_count; i++) {
		memcpy(to, iov[i].iov_base, iov[i].iov_len);
		to += iov[i].iov_len;
	}
	return 0;
}

static int memory_flush(struct knot_device *device)
{
	(void)device;
	return 0;
}

static int memory_discard(struct knot_device *device, uint64_t at_bytes, uint64_t len_bytes)
{
	int err = knot_device_check_range(device, at_bytes, len_bytes);

	if (!err)
		memset(memory_of(device)->bytes + at_bytes, 0, len_bytes);
	return err;
}

static void memory_close(struct knot_device *device)
{
	struct knot_device_memory *memory = memory_of(device);

	munmap(memory->bytes, device->size_bytes);
	free(memory);
}

static const struct knot_device_ops memory_ops = {
	.read = memory_read,
	.writev = memory_writev,
	.flush = memory_flush,
	.discard = memory_discard,
	.close = memory_close,
};

int knot_device_open_memory(uint64_t size_bytes, struct knot_device **device)
{
	if (size_bytes == 0 || size_bytes % KNOT_SECTOR_BYTES || size_bytes > SIZE_MAX)
		return -EINVAL;
	struct knot_device_memory *memory = calloc(1, sizeof(*memory));
	if (!memory)
		return -ENOMEM;

	void *bytes = mmap(NULL, (size_t)size_bytes, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (bytes == MAP_FAILED) {
		free(memory);
		return -ENOMEM;
	}
	memory->bytes = bytes;
	memory->device.ops = &memory_ops;
	memory->device.size_bytes = size_bytes;
	memory->device.write_unit_bytes = KNOT_MEMORY_WRITE_UNIT_BYTES;
	memory->device.name = "memory";
	*device = &memory->device;
	return 0;
}
