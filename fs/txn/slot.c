/* SPDX-License-Identifier: MIT */
/*
 * Checkpoint slots.
 *
 * Invariants
 *  (1) Slot n goes to place n % 2, and is written only when slot n - 1 is durable (log_flush.c, recovery.c): it
 *      overwrites n - 2, so at any instant the newest durable slot stays whole.
 *  (2) A slot's page is written as a whole, 4096 bytes, so that no device has to read the rest of it back.
 *
 * If power fails while slot n is written: its place holds n, n - 2 or a torn page whose checksum fails; recovery
 * takes the newest whole one, n or n - 1. Ring space that n frees is not used before n is durable (log.c (5)), so n
 * - 1 will do.
 */
#include "fs/txn/slot_int.h"

#include "fs/txn/lsn_int.h"
#include "fs/util/endian.h"

#include <string.h>

/* CRC32C of the salt and the slot, its crc field zero. */
static uint32_t slot_crc(const struct knot_super *super, const struct knot_disk_slot *disk)
{
	const knot_le32 zero = { { 0 } };
	const uint8_t *bytes = (const uint8_t *)disk;
	size_t after = offsetof(struct knot_disk_slot, crc) + sizeof(zero);
	uint32_t crc;

	crc = knot_crc32c(super->seal.crc_seed, bytes, offsetof(struct knot_disk_slot, crc));
	crc = knot_crc32c(crc, &zero, sizeof(zero));
	return ~knot_crc32c(crc, bytes + after, sizeof(*disk) - after);
}

void knot_slot_encode(const struct knot_super *super, const struct knot_slot *slot, void *page)
{
	struct knot_disk_slot *disk = page;

	memset(page, 0, KNOT_PAGE_BYTES);
	disk->magic = knot_put32(KNOT_SLOT_MAGIC);
	disk->sequence = knot_put64(slot->sequence);
	disk->epoch = knot_put32(slot->epoch);
	disk->flags = knot_put32(slot->flags);
	disk->checkpoint_lsn = knot_put64(slot->checkpoint_lsn);
	disk->checkpoint_at = knot_put64(slot->checkpoint_at);
	disk->durable_lsn = knot_put64(slot->durable_lsn);
	disk->segments_version = knot_put32(super->segments_version);
	disk->crc = knot_put32(slot_crc(super, disk));
}

static bool slot_is_plausible(const struct knot_ring *ring, const struct knot_slot *slot)
{
	uint64_t into_unit;

	if (!knot_lsn_is_position(slot->checkpoint_lsn) || slot->checkpoint_at >= ring->bytes)
		return false;
	into_unit = (slot->checkpoint_lsn - KNOT_LSN_FIRST) % ring->super->log_write_unit_bytes;
	if (slot->checkpoint_at % ring->super->log_write_unit_bytes != into_unit)
		return false;
	return slot->durable_lsn >= slot->checkpoint_lsn && slot->durable_lsn - slot->checkpoint_lsn <= ring->bytes &&
	       slot->durable_lsn <= UINT64_MAX / 2;
}

enum knot_slot_state knot_slot_decode(const struct knot_ring *ring, const void *page, unsigned place,
				      struct knot_slot *slot)
{
	const struct knot_disk_slot *disk = page;
	struct knot_slot found;
	const uint8_t *bytes = page;

	if (!bytes[0] && !memcmp(bytes, bytes + 1, sizeof(*disk) - 1))
		return KNOT_SLOT_EMPTY;
	if (knot_get32(disk->magic) != KNOT_SLOT_MAGIC || knot_get32(disk->crc) != slot_crc(ring->super, disk))
		return KNOT_SLOT_BAD;

	found.sequence = knot_get64(disk->sequence);
	found.epoch = knot_get32(disk->epoch);
	found.flags = knot_get32(disk->flags);
	found.checkpoint_lsn = knot_get64(disk->checkpoint_lsn);
	found.checkpoint_at = knot_get64(disk->checkpoint_at);
	found.durable_lsn = knot_get64(disk->durable_lsn);
	if (found.sequence % KNOT_LOG_SLOTS != place ||
	    knot_get32(disk->segments_version) != ring->super->segments_version || !slot_is_plausible(ring, &found))
		return KNOT_SLOT_BAD;
	*slot = found;
	return KNOT_SLOT_GOOD;
}

int knot_slot_write(struct knot_device *device, const struct knot_ring *ring, const struct knot_slot *slot, void *page)
{
	knot_slot_encode(ring->super, slot, page);
	return knot_device_write(device, page, KNOT_PAGE_BYTES,
				 knot_ring_slot_at(ring, (unsigned)(slot->sequence % KNOT_LOG_SLOTS)));
}
