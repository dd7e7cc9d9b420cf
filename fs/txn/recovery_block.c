/* SPDX-License-Identifier: MIT */
/* Blocks of the ring, read through a window that moves forward. */
#include "fs/txn/recovery_int.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define WINDOW_BYTES (256u * 1024u)

int knot_log_window_init(struct knot_log_window *window, struct knot_device *device, const struct knot_ring *ring)
{
	void *buffer = NULL;

	if (posix_memalign(&buffer, KNOT_PAGE_BYTES, WINDOW_BYTES))
		return -ENOMEM;
	window->device = device;
	window->ring = ring;
	window->buffer = buffer;
	window->at = 0;
	window->bytes = 0;
	window->bytes_read = 0;
	return 0;
}

void knot_log_window_destroy(struct knot_log_window *window)
{
	free(window->buffer);
	window->buffer = NULL;
}

int knot_log_window_block(struct knot_log_window *window, uint64_t ring_at, const struct knot_disk_block **block)
{
	assert(ring_at % KNOT_LOG_BLOCK_BYTES == 0);
	if (ring_at < window->at || ring_at - window->at >= window->bytes) {
		uint64_t at = ring_at - ring_at % KNOT_PAGE_BYTES;
		uint64_t len, device_at;
		int err;

		device_at = knot_ring_device_at(window->ring, at, &len);
		if (len > WINDOW_BYTES)
			len = WINDOW_BYTES;
		window->bytes = 0;
		err = knot_device_read(window->device, window->buffer, len, device_at);
		if (err)
			return err;
		window->at = at;
		window->bytes = len;
		window->bytes_read += len;
	}
	*block = (const struct knot_disk_block *)(const void *)(window->buffer + (ring_at - window->at));
	return 0;
}
