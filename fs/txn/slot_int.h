/* SPDX-License-Identifier: MIT */
/* Checkpoint slots: what recovery starts from. Two places, written alternately. */
#ifndef KNOT_TXN_SLOT_INT_H
#define KNOT_TXN_SLOT_INT_H

#include "fs/txn/log_int.h"

/* A slot, decoded. */
struct knot_slot {
	uint64_t sequence;
	uint32_t epoch;
	uint32_t flags;
	uint64_t checkpoint_lsn;
	uint64_t checkpoint_at;  /* its byte in the ring */
	uint64_t durable_lsn;
};

enum knot_slot_state {
	KNOT_SLOT_GOOD,
	KNOT_SLOT_EMPTY,         /* all zero: never written */
	KNOT_SLOT_BAD,           /* torn, damaged, or of another volume or segment table */
};

/* Encode into a page of 4096 bytes; what follows the slot is zero. */
void knot_slot_encode(const struct knot_super *super, const struct knot_slot *slot, void *page);

/* Check everything about a slot's page as read from `place`. `slot` is filled when the answer is GOOD. */
enum knot_slot_state knot_slot_decode(const struct knot_ring *ring, const void *page, unsigned place,
				      struct knot_slot *slot);

/*
 * Write a slot to its place; no flush. `page` is scratch of 4096 bytes, aligned to 4096. Errors: what the device
 * says.
 */
int knot_slot_write(struct knot_device *device, const struct knot_ring *ring, const struct knot_slot *slot, void *page);

#endif
