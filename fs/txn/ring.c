/* SPDX-License-Identifier: MIT */
/* Where the ring and its slots lie on the device: the segments, taken in order, are one run of pages. */
#include "fs/txn/log_int.h"

#include <assert.h>

#define SLOTS_BYTES ((uint64_t)KNOT_LOG_SLOTS * KNOT_PAGE_BYTES)

void knot_ring_init(struct knot_ring *ring, const struct knot_super *super)
{
	uint64_t pages = 0;
	uint32_t i;

	for (i = 0; i < super->segment_count; i++)
		pages += super->segments[i].pages;
	assert(pages >= KNOT_LOG_PAGES_MIN);
	ring->super = super;
	ring->bytes = pages * KNOT_PAGE_BYTES - SLOTS_BYTES;
	assert(ring->bytes % super->log_write_unit_bytes == 0); /* super_shape.c sees to it */
}

/* The device byte of byte `at` of the run, and how many follow it in the same segment. */
static uint64_t run_device_at(const struct knot_super *super, uint64_t at, uint64_t *contiguous_bytes)
{
	uint64_t bytes;
	uint32_t i;

	for (i = 0; i + 1 < super->segment_count; i++) {
		bytes = super->segments[i].pages * KNOT_PAGE_BYTES;
		if (at < bytes)
			break;
		at -= bytes;
	}
	bytes = super->segments[i].pages * KNOT_PAGE_BYTES;
	assert(at < bytes);
	*contiguous_bytes = bytes - at;
	return super->segments[i].page_no * KNOT_PAGE_BYTES + at;
}

uint64_t knot_ring_slot_at(const struct knot_ring *ring, unsigned slot)
{
	uint64_t unused;

	return run_device_at(ring->super, (uint64_t)slot * KNOT_PAGE_BYTES, &unused);
}

uint64_t knot_ring_device_at(const struct knot_ring *ring, uint64_t ring_at, uint64_t *contiguous_bytes)
{
	uint64_t device_at;

	assert(ring_at < ring->bytes);
	device_at = run_device_at(ring->super, SLOTS_BYTES + ring_at, contiguous_bytes);
	if (*contiguous_bytes > ring->bytes - ring_at)
		*contiguous_bytes = ring->bytes - ring_at;
	return device_at;
}
