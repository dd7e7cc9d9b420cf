/* SPDX-License-Identifier: MIT */
/*
 * The lookup table: 64 shards of open addressing with linear probing, so that growing moves a 64th of it at a time.
 *
 * Invariants
 *  (1) A slot with key 0 is free; from an entry's home slot to the entry itself no slot is free.
 *  (2) A shard is at most 4/5 full, and has at least one free slot, so every probe ends.
 */
#include "fs/vfs/lookups.h"
#include "fs/txn/txn.h"
#include "fs/util/hash.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>

#define SHARD_BITS 6
#define SHARDS     (1u << SHARD_BITS)
#define SLOTS_MIN  8
#define ORPHAN_BIT (1ULL << 63)

struct slot {
	uint64_t key;
	uint64_t count; /* and ORPHAN_BIT */
};

struct shard {
	struct slot *slots;
	uint32_t slot_count, used;
};

struct knot_lookups {
	struct knot_txn *txn;
	size_t entries, bytes;
	struct shard shards[SHARDS];
};

static struct shard *shard_of(const struct knot_lookups *lookups, uint64_t key)
{
	return (struct shard *)&lookups->shards[knot_hash_mix(key) >> (64 - SHARD_BITS)];
}

static uint32_t home_of(const struct shard *shard, uint64_t key)
{
	uint64_t fraction = (knot_hash_mix(key) << SHARD_BITS) >> 32;

	return (uint32_t)((fraction * shard->slot_count) >> 32);
}

/* The slot that holds `key`, or the free one where it belongs. The shard has slots. */
static struct slot *probe(const struct shard *shard, uint64_t key)
{
	uint32_t at = home_of(shard, key);

	while (shard->slots[at].key && shard->slots[at].key != key)
		at = at + 1 == shard->slot_count ? 0 : at + 1;
	return &shard->slots[at];
}

static struct slot *find(const struct knot_lookups *lookups, uint64_t key)
{
	const struct shard *shard = shard_of(lookups, key);
	struct slot *slot;

	if (!shard->slots || !key)
		return NULL;
	slot = probe(shard, key);
	return slot->key ? slot : NULL;
}

static void charge(struct knot_lookups *lookups, ssize_t bytes)
{
	lookups->bytes = (size_t)((ssize_t)lookups->bytes + bytes);
	if (lookups->txn)
		knot_txn_charge(lookups->txn, bytes);
}

static int resize(struct knot_lookups *lookups, struct shard *shard, uint32_t slot_count)
{
	struct shard larger = { .slot_count = slot_count, .used = shard->used };

	larger.slots = calloc(slot_count, sizeof(larger.slots[0]));
	if (!larger.slots)
		return -ENOMEM;
	for (uint32_t i = 0; i < shard->slot_count; i++)
		if (shard->slots[i].key)
			*probe(&larger, shard->slots[i].key) = shard->slots[i];
	charge(lookups, ((ssize_t)slot_count - (ssize_t)shard->slot_count) * (ssize_t)sizeof(larger.slots[0]));
	free(shard->slots);
	*shard = larger;
	return 0;
}

int knot_lookups_open(struct knot_txn *txn, struct knot_lookups **lookups)
{
	struct knot_lookups *out = calloc(1, sizeof(*out));

	if (!out)
		return -ENOMEM;
	out->txn = txn;
	*lookups = out;
	return 0;
}

void knot_lookups_close(struct knot_lookups *lookups)
{
	if (!lookups)
		return;
	knot_lookups_clear(lookups);
	free(lookups);
}

int knot_lookups_reserve(struct knot_lookups *lookups, uint64_t inode_no)
{
	struct shard *shard = shard_of(lookups, inode_no);

	if (shard->slots && probe(shard, inode_no)->key)
		return 0;
	if ((uint64_t)(shard->used + 1) * 5 <= (uint64_t)shard->slot_count * 4)
		return 0;
	if (shard->slot_count > UINT32_MAX / 2)
		return -ENOMEM;
	return resize(lookups, shard, shard->slot_count + shard->slot_count / 2 + SLOTS_MIN);
}

void knot_lookups_add(struct knot_lookups *lookups, uint64_t inode_no, bool orphan)
{
	struct shard *shard = shard_of(lookups, inode_no);
	struct slot *slot;

	assert(inode_no && shard->slots);
	slot = probe(shard, inode_no);
	if (!slot->key) {
		assert(shard->used + 1 < shard->slot_count); /* (2) */
		slot->key = inode_no;
		slot->count = 0;
		shard->used++;
		lookups->entries++;
	}
	slot->count++;
	if (orphan)
		slot->count |= ORPHAN_BIT;
}

uint64_t knot_lookups_count(const struct knot_lookups *lookups, uint64_t inode_no)
{
	const struct slot *slot = find(lookups, inode_no);

	return slot ? slot->count & ~ORPHAN_BIT : 0;
}

bool knot_lookups_mark_orphan(struct knot_lookups *lookups, uint64_t inode_no)
{
	struct slot *slot = find(lookups, inode_no);

	if (!slot)
		return false;
	slot->count |= ORPHAN_BIT;
	return true;
}

/* Free the slot and move up what can't be reached over it any more: (1). */
static void remove_slot(struct shard *shard, struct slot *slot)
{
	uint32_t hole = (uint32_t)(slot - shard->slots);
	uint32_t at = hole;

	for (;;) {
		uint32_t home, distance, room;

		at = at + 1 == shard->slot_count ? 0 : at + 1;
		if (!shard->slots[at].key)
			break;
		home = home_of(shard, shard->slots[at].key);
		distance = at >= home ? at - home : at + shard->slot_count - home;
		room = at >= hole ? at - hole : at + shard->slot_count - hole;
		if (distance < room)
			continue;
		shard->slots[hole] = shard->slots[at];
		hole = at;
	}
	shard->slots[hole] = (struct slot){ 0 };
}

bool knot_lookups_forget(struct knot_lookups *lookups, uint64_t inode_no, uint64_t count)
{
	struct shard *shard = shard_of(lookups, inode_no);
	struct slot *slot = find(lookups, inode_no);
	bool orphan;

	if (!slot)
		return false;
	if ((slot->count & ~ORPHAN_BIT) > count) {
		slot->count -= count;
		return false;
	}
	orphan = slot->count & ORPHAN_BIT;
	remove_slot(shard, slot);
	shard->used--;
	lookups->entries--;
	if (shard->slot_count > 4 * SLOTS_MIN && (uint64_t)shard->used * 5 < shard->slot_count)
		(void)resize(lookups, shard, shard->used * 2 + SLOTS_MIN); /* no memory: it stays large */
	return orphan;
}

void knot_lookups_clear(struct knot_lookups *lookups)
{
	for (unsigned i = 0; i < SHARDS; i++) {
		free(lookups->shards[i].slots);
		lookups->shards[i] = (struct shard){ 0 };
	}
	charge(lookups, -(ssize_t)lookups->bytes);
	lookups->entries = 0;
}

size_t knot_lookups_entries(const struct knot_lookups *lookups)
{
	return lookups->entries;
}

size_t knot_lookups_bytes(const struct knot_lookups *lookups)
{
	return lookups->bytes;
}
