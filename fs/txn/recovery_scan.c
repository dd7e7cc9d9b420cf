/* SPDX-License-Identifier: MIT */
/*
 * The first scan: where the log ends, what of it counts, what was freed. Then the look-ahead: is that end one?
 *
 *   between --BYTES, PAGE, FREE--> in a mini-transaction --END_MTR--> between        (strict: counts with END_BATCH)
 *      |                                  |
 *      +------ block that doesn't fit ----+--> end --look-ahead--> accepted, or damage
 *
 * Invariants
 *  (1) Blocks are taken in order, from the checkpoint, each with exactly its number, the slot's epoch and a good
 *      checksum. A block of an earlier lap has a smaller number, one of an earlier run a smaller epoch.
 *  (2) valid_end, the count of FREEs and the counters move only with END_MTR (strict: END_BATCH).
 *  (3) The end is damage, not the end, if anything says that the log was durable beyond it: the slot, or the
 *      DURABLE record of a later block of this epoch (a later lap's too: then the slot is an older one whose log is
 *      gone).
 *  (4) It is damage also if any block carries a newer epoch: an epoch's slot is durable before its first block is
 *      written, so the newest slot was lost, and its log with it.
 */
#include "fs/txn/recovery_int.h"

#include "fs/txn/lsn_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <inttypes.h>

struct scan {
	struct knot_recovery *recovery;
	struct knot_log_reader reader;
	struct knot_log_record record;
	bool in_mtr;
	size_t mtr_frees;        /* FREEs before the open mini-transaction */
	size_t counted_frees;
	uint64_t mtrs, records;  /* since what counts */
	uint64_t mtr_records;
};

static int out_of_place(const struct scan *scan)
{
	knot_message(scan->recovery->messages, KNOT_ERROR,
		     "log: record at LSN %" PRIu64 " (type %d) stands inside a mini-transaction", scan->record.lsn,
		     (int)scan->record.type);
	return -EUCLEAN;
}

/* (2) */
static void count_it(struct scan *scan)
{
	struct knot_recovery *recovery = scan->recovery;

	recovery->valid_end = scan->record.end_lsn;
	recovery->result.mtrs += scan->mtrs;
	recovery->result.records += scan->records;
	scan->counted_frees = recovery->frees.count;
	scan->mtrs = 0;
	scan->records = 0;
}

static void end_mtr(struct scan *scan)
{
	struct knot_free_map *frees = &scan->recovery->frees;
	size_t i;

	for (i = scan->mtr_frees; i < frees->count; i++)
		frees->ranges[i].lsn = scan->record.end_lsn;
	scan->mtr_frees = frees->count;
	scan->mtrs++;
	scan->records += scan->mtr_records;
	scan->mtr_records = 0;
	scan->in_mtr = false;
	if (!(scan->recovery->slot.flags & KNOT_SLOT_STRICT))
		count_it(scan);
}

static int take_record(struct scan *scan)
{
	struct knot_recovery *recovery = scan->recovery;
	const struct knot_log_record *record = &scan->record;

	switch (record->type) {
	case KNOT_RECORD_FREE:
		scan->in_mtr = true;
		scan->mtr_records++;
		return knot_free_map_add(&recovery->frees, record->page_no, record->len, 0);
	case KNOT_RECORD_BYTES:
	case KNOT_RECORD_PAGE:
		scan->in_mtr = true;
		scan->mtr_records++;
		return 0;
	case KNOT_RECORD_END_MTR:
		end_mtr(scan);
		return 0;
	case KNOT_RECORD_END_BATCH:
		if (scan->in_mtr)
			return out_of_place(scan);
		count_it(scan);
		return 0;
	case KNOT_RECORD_DURABLE:
		if (scan->in_mtr)
			return out_of_place(scan);
		if (recovery->result.durable_lsn < record->page_no)
			recovery->result.durable_lsn = record->page_no;
		return 0;
	}
	return 0;
}

/* ---- is the end one? ------------------------------------------------------------------------------------------- */

static int beyond_the_end(const struct scan *scan, uint64_t durable_lsn, const char *witness)
{
	const struct knot_recovery *recovery = scan->recovery;
	uint64_t ring_at = knot_log_reader_ring_at(&scan->reader, recovery->scan_end);
	uint64_t unused;

	knot_message(recovery->messages, KNOT_ERROR,
		     "log: block at LSN %" PRIu64 " (ring byte %" PRIu64 ", page %" PRIu64
		     ") is damaged or missing, though %s says "
		     "that the log is durable up to LSN %" PRIu64 "; what it held is lost",
		     recovery->scan_end, ring_at,
		     knot_ring_device_at(&recovery->ring, ring_at, &unused) >> KNOT_PAGE_SHIFT, witness, durable_lsn);
	return -EUCLEAN;
}

static int newer_epoch(const struct scan *scan, uint64_t ring_at, uint32_t epoch)
{
	knot_message(scan->recovery->messages, KNOT_ERROR,
		     "log: ring byte %" PRIu64 " holds a block of epoch %" PRIu32
		     ", but the newest checkpoint slot that can be read is of "
		     "epoch %" PRIu32 ": a slot is damaged",
		     ring_at, epoch, scan->recovery->slot.epoch);
	return -EUCLEAN;
}

/* log.c (3) */
static bool begins_with_durable(const struct knot_disk_block *block, uint64_t *durable_lsn)
{
	const struct knot_disk_record *record = (const struct knot_disk_record *)(const void *)block->body;

	if (record->type != KNOT_RECORD_DURABLE || knot_get16(block->header.first_group) != sizeof(*record))
		return false;
	*durable_lsn = knot_get64(record->page_no);
	return true;
}

/* What the block found at the place of `lsn`, at or behind the end, says. Errors: (3), (4). */
static int question_block(const struct scan *scan, uint64_t lsn, uint64_t ring_at, const struct knot_disk_block *block)
{
	const struct knot_recovery *recovery = scan->recovery;
	int32_t newer = (int32_t)(knot_get32(block->header.epoch) - recovery->slot.epoch);
	uint32_t ahead = knot_get32(block->header.number) - knot_lsn_number(lsn);
	uint64_t durable_lsn;

	if (newer < 0)
		return 0;
	if (!newer && (ahead > INT32_MAX || ahead % (recovery->ring.bytes / KNOT_LOG_BLOCK_BYTES)))
		return 0;
	if (!knot_log_block_crc_is_good(&recovery->ring, block))
		return 0;
	if (newer)
		return newer_epoch(scan, ring_at, knot_get32(block->header.epoch));
	if (begins_with_durable(block, &durable_lsn) && durable_lsn > recovery->scan_end)
		return beyond_the_end(scan, durable_lsn, "a later block");
	return 0;
}

static int look_ahead(struct scan *scan)
{
	struct knot_recovery *recovery = scan->recovery;
	uint64_t end = knot_lsn_block(recovery->slot.checkpoint_lsn) + recovery->ring.bytes;
	uint64_t lsn;

	if (recovery->slot.durable_lsn > recovery->scan_end)
		return beyond_the_end(scan, recovery->slot.durable_lsn, "the checkpoint slot");
	/* After a clean unmount nothing follows; but only a whole pair of slots proves that this one is the last. */
	if ((recovery->slot.flags & KNOT_SLOT_CLEAN) && recovery->slots_are_whole)
		return 0;

	for (lsn = recovery->scan_end; lsn < end; lsn += KNOT_LOG_BLOCK_BYTES) {
		uint64_t ring_at = knot_log_reader_ring_at(&scan->reader, lsn);
		const struct knot_disk_block *block;
		int err;

		err = knot_log_window_block(&recovery->window, ring_at, &block);
		if (!err)
			err = question_block(scan, lsn, ring_at, block);
		if (err)
			return err;
	}
	return 0;
}

int knot_recovery_scan(struct knot_recovery *recovery)
{
	struct scan scan = { .recovery = recovery };
	int got;

	knot_log_reader_init(&scan.reader, &recovery->window, recovery->messages, &recovery->slot);
	recovery->valid_end = recovery->slot.checkpoint_lsn;
	recovery->result.durable_lsn = recovery->slot.durable_lsn;
	while ((got = knot_log_reader_next(&scan.reader, &scan.record)) > 0) {
		int err = take_record(&scan);

		if (err)
			return err;
	}
	if (got < 0)
		return got;

	recovery->scan_end = knot_lsn_block(scan.reader.lsn);
	recovery->frees.count = scan.counted_frees;
	recovery->result.dropped_tail = scan.reader.cut || scan.in_mtr || scan.mtrs > 0;
	return look_ahead(&scan);
}
