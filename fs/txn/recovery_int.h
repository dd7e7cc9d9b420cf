/* SPDX-License-Identifier: MIT */
/* The parts of recovery: reading blocks and records, freed ranges, the two scans. Rules: recovery.c. */
#ifndef KNOT_TXN_RECOVERY_INT_H
#define KNOT_TXN_RECOVERY_INT_H

#include "fs/txn/log_int.h"
#include "fs/txn/recovery.h"
#include "fs/txn/slot_int.h"

/* ---- recovery_block.c: blocks of the ring through a window ----------------------------------------------------- */

struct knot_log_window {
	struct knot_device *device;
	const struct knot_ring *ring;
	uint8_t *buffer;
	uint64_t at;             /* ring byte of buffer[0] */
	uint64_t bytes;          /* valid bytes */
	uint64_t bytes_read;     /* in all */
};

/* Errors: -ENOMEM. */
int knot_log_window_init(struct knot_log_window *window, struct knot_device *device, const struct knot_ring *ring);
void knot_log_window_destroy(struct knot_log_window *window);

/* The block at ring byte `ring_at` (a multiple of 512); valid until the next call. Errors: what the device says. */
int knot_log_window_block(struct knot_log_window *window, uint64_t ring_at, const struct knot_disk_block **block);

bool knot_log_block_crc_is_good(const struct knot_ring *ring, const struct knot_disk_block *block);

/* ---- recovery_record.c: the stream of records ------------------------------------------------------------------ */

struct knot_log_record {
	enum knot_record_type type;
	uint8_t space;
	uint32_t offset;
	uint32_t len;            /* of a FREE: the number of pages */
	uint64_t page_no;        /* of a DURABLE: the LSN */
	uint64_t lsn;            /* where it begins, or padding in front of it */
	uint64_t end_lsn;
	uint8_t bytes[KNOT_PAGE_BYTES];
};

struct knot_log_reader {
	struct knot_log_window *window;
	const struct knot_messages *messages;
	struct knot_slot start;
	uint64_t lsn;            /* position of the next record */
	bool block_is_loaded;    /* the block at `lsn` was checked */
	bool cut;                /* the end came in the middle of a record */
};

void knot_log_reader_init(struct knot_log_reader *reader, struct knot_log_window *window,
			  const struct knot_messages *messages, const struct knot_slot *start);

/*
 * The next record, checked: known type, inside its page, a page that may be logged.
 * Returns 1, or 0 at the first block that doesn't belong here; it begins at knot_lsn_block(reader->lsn).
 * Errors: -EUCLEAN (said) nonsense in a block whose checksum is right; what the device says.
 */
int knot_log_reader_next(struct knot_log_reader *reader, struct knot_log_record *record);

uint64_t knot_log_reader_ring_at(const struct knot_log_reader *reader, uint64_t lsn);

/* ---- recovery_frees.c: which pages were freed last, and when --------------------------------------------------- */

struct knot_free_range {
	uint64_t page_no;
	uint64_t end;            /* page after the last */
	uint64_t lsn;            /* end of the freeing mini-transaction */
};

struct knot_free_map {
	struct knot_free_range *ranges;
	size_t count;
	size_t capacity;
};

void knot_free_map_destroy(struct knot_free_map *map);

/* Errors: -ENOMEM. */
int knot_free_map_add(struct knot_free_map *map, uint64_t page_no, uint64_t count, uint64_t lsn);

/* Sort, and let the newest win where ranges overlap: lookups work from here on. Errors: -ENOMEM. */
int knot_free_map_finish(struct knot_free_map *map);

/* LSN of the page's last FREE, 0 if there is none. */
uint64_t knot_free_map_find(const struct knot_free_map *map, uint64_t page_no);

/* ---- the scans ------------------------------------------------------------------------------------------------- */

struct knot_recovery {
	struct knot_device *device;
	const struct knot_super *super;
	const struct knot_messages *messages;
	const struct knot_recovery_options *options;
	struct knot_ring ring;
	struct knot_slot slot;   /* the newest whole one */
	bool slots_are_whole;    /* the other one is whole too, or was never written */
	struct knot_log_window window;
	struct knot_free_map frees;
	uint64_t valid_end;      /* end of the last mini-transaction (strict: batch) that counts */
	uint64_t scan_end;       /* the first block that doesn't belong */
	struct knot_recovery_result result;
};

/*
 * recovery_scan.c: find the end, the FREEs, and whether the end is one. Errors: -EUCLEAN (said), -ENOMEM, the
 * device's.
 */
int knot_recovery_scan(struct knot_recovery *recovery);

/* recovery_apply.c: build the pages and write them home, no flush. Errors: as above. */
int knot_recovery_apply(struct knot_recovery *recovery);

#endif
