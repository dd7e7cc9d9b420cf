/* SPDX-License-Identifier: MIT */
/*
 * Replay.
 *
 *   slots --> scan --> flush --> homes --> flush --> slot of the next epoch --> flush
 *              |         ^                                                      |
 *              |         +---------------- cut anywhere: again -----------------+
 *              +--> damage: -EUCLEAN
 *
 * Invariants
 *  (1) What a run decides stays decided: before the first home write the device is flushed, so that log blocks
 *      which a killed daemon had written but not flushed can't vanish after pages built from them are home. The
 *      same flush makes the slot that was read durable, so that the other place may be written (slot.c (1)).
 *  (2) The new slot is written only when all homes are durable, and knot_log_open() comes only when the slot is.
 *  (3) The next epoch begins at the first write unit that starts at or after the first block that didn't fit. No
 *      unit below it is written again (log.c (2)); units from there on may hold torn or reordered blocks of the old
 *      epoch, but their epoch never fits again, so there is no need to step over them.
 *  (4) Nothing is remembered from a run that was cut: the old slot still stands, with the old epoch, so the next
 *      run sees the same log, finds the same end and writes the same bytes. A slot torn in that moment fails its
 *      checksum, and the old one is still whole; the epoch that it would have begun has no block yet.
 *
 * If power fails before the slot is durable: (4). After it: the log is empty at the new place; nothing is replayed.
 */
#include "fs/txn/recovery_int.h"

#include "fs/txn/lsn_int.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static int say_error(const struct knot_messages *messages, int err, const char *what)
{
	knot_message(messages, KNOT_ERROR, "log: can't %s: error %d", what, -err);
	return err;
}

static int read_slots(struct knot_recovery *recovery, void *page)
{
	enum knot_slot_state states[KNOT_LOG_SLOTS];
	struct knot_slot slots[KNOT_LOG_SLOTS] = { 0 };
	unsigned newest = KNOT_LOG_SLOTS;
	unsigned i;

	for (i = 0; i < KNOT_LOG_SLOTS; i++) {
		int err = knot_device_read(recovery->device, page, KNOT_PAGE_BYTES,
					   knot_ring_slot_at(&recovery->ring, i));

		if (err)
			return say_error(recovery->messages, err, "read a checkpoint slot");
		states[i] = knot_slot_decode(&recovery->ring, page, i, &slots[i]);
		if (states[i] == KNOT_SLOT_GOOD &&
		    (newest == KNOT_LOG_SLOTS || slots[i].sequence > slots[newest].sequence))
			newest = i;
	}
	if (newest == KNOT_LOG_SLOTS) {
		knot_message(recovery->messages, KNOT_ERROR,
			     "log: neither checkpoint slot (pages %" PRIu64 " and %" PRIu64
			     ") can be used; the log can't be replayed",
			     knot_ring_slot_at(&recovery->ring, 0) >> KNOT_PAGE_SHIFT,
			     knot_ring_slot_at(&recovery->ring, 1) >> KNOT_PAGE_SHIFT);
		return -EUCLEAN;
	}
	recovery->slot = slots[newest];
	i = KNOT_LOG_SLOTS - 1 - newest;
	recovery->slots_are_whole = (states[i] == KNOT_SLOT_GOOD && slots[i].sequence + 1 == slots[newest].sequence) ||
				    (states[i] == KNOT_SLOT_EMPTY && !slots[newest].sequence);
	return 0;
}

static uint64_t ring_at(const struct knot_recovery *recovery, uint64_t lsn)
{
	return (recovery->slot.checkpoint_at + (lsn - recovery->slot.checkpoint_lsn)) % recovery->ring.bytes;
}

static void fill_result(struct knot_recovery *recovery)
{
	struct knot_recovery_result *result = &recovery->result;

	result->was_clean = !result->mtrs && !result->dropped_tail;
	result->checkpoint_lsn = recovery->slot.checkpoint_lsn;
	result->end_lsn = recovery->valid_end;
	result->next_lsn = knot_lsn_unit_ceil(recovery->scan_end, recovery->super->log_write_unit_bytes); /* (3) */
	result->next_at = ring_at(recovery, result->next_lsn);
	result->epoch = recovery->slot.epoch + 1;
	result->slot_sequence = recovery->slot.sequence + 1;
	result->bytes_scanned = recovery->window.bytes_read;
}

static int write_next_slot(struct knot_recovery *recovery, void *page)
{
	const struct knot_recovery_result *result = &recovery->result;
	struct knot_slot slot = {
		.sequence = result->slot_sequence,
		.epoch = result->epoch,
		.flags = recovery->options->slot_flags,
		.checkpoint_lsn = result->next_lsn,
		.checkpoint_at = result->next_at,
		.durable_lsn = result->next_lsn,
	};
	int err = knot_slot_write(recovery->device, &recovery->ring, &slot, page);

	if (!err)
		err = knot_device_flush(recovery->device);
	return err ? say_error(recovery->messages, err, "write a checkpoint slot") : 0;
}

/* All that writes. */
static int replay(struct knot_recovery *recovery, void *page)
{
	int err = knot_device_flush(recovery->device); /* (1) */

	if (err)
		return say_error(recovery->messages, err, "flush the device");
	if (recovery->result.mtrs) {
		err = knot_free_map_finish(&recovery->frees);
		if (!err)
			err = knot_recovery_apply(recovery);
		if (!err && recovery->result.pages_written)
			err = knot_device_flush(recovery->device); /* (2) */
		if (err)
			return err == -EUCLEAN ? err : say_error(recovery->messages, err, "replay the log");
	}
	recovery->result.bytes_scanned = recovery->window.bytes_read;
	return write_next_slot(recovery, page);
}

static int run(struct knot_recovery *recovery, void *page)
{
	int err = read_slots(recovery, page);

	if (err)
		return err;
	err = knot_recovery_scan(recovery);
	if (err)
		return err == -EUCLEAN ? err : say_error(recovery->messages, err, "scan the log");
	fill_result(recovery);
	if (recovery->options->dry_run)
		return 0;
	err = replay(recovery, page);
	if (!err && !recovery->result.was_clean)
		knot_message(recovery->messages, KNOT_NOTE,
			     "log replayed: %" PRIu64 " transactions, %" PRIu64 " pages%s", recovery->result.mtrs,
			     recovery->result.pages_written,
			     recovery->result.dropped_tail ? "; an incomplete one at the end was dropped" : "");
	return err;
}

int knot_recovery_run(struct knot_device *device, const struct knot_super *super, const struct knot_messages *messages,
		      const struct knot_recovery_options *options, struct knot_recovery_result *result)
{
	struct knot_recovery *recovery = calloc(1, sizeof(*recovery));
	void *page = NULL;
	int err;

	if (!recovery || posix_memalign(&page, KNOT_PAGE_BYTES, KNOT_PAGE_BYTES)) {
		err = -ENOMEM;
		goto out;
	}
	recovery->device = device;
	recovery->super = super;
	recovery->messages = messages;
	recovery->options = options;
	knot_ring_init(&recovery->ring, super);
	err = knot_log_window_init(&recovery->window, device, &recovery->ring);
	if (err)
		goto out;
	err = run(recovery, page);
	if (!err)
		*result = recovery->result;
	knot_log_window_destroy(&recovery->window);
	knot_free_map_destroy(&recovery->frees);
out:
	free(page);
	free(recovery);
	return err;
}

int knot_recovery_format(struct knot_device *device, const struct knot_super *super)
{
	struct knot_slot slot = {
		.flags = KNOT_SLOT_CLEAN,
		.checkpoint_lsn = KNOT_LSN_FIRST,
		.durable_lsn = KNOT_LSN_FIRST,
	};
	struct knot_ring ring;
	void *page = NULL;
	int err;

	if (posix_memalign(&page, KNOT_PAGE_BYTES, KNOT_PAGE_BYTES))
		return -ENOMEM;
	knot_ring_init(&ring, super);
	err = knot_slot_write(device, &ring, &slot, page);
	if (!err) {
		/* The other place: never written, as recovery is to see. */
		memset(page, 0, KNOT_PAGE_BYTES);
		err = knot_device_write(device, page, KNOT_PAGE_BYTES, knot_ring_slot_at(&ring, 1));
	}
	if (!err)
		err = knot_device_flush(device);
	free(page);
	return err;
}
