/* SPDX-License-Identifier: MIT */
/*
 * Positions in the log. An LSN counts physical bytes: 512 a block, of which the body holds 496.
 *
 * A *position* names one body byte: where a record begins, or would begin. Body byte 0 of the block at B is written
 * B; body byte b, 1 to 495, is B + 12 + b. So every body byte has exactly one LSN, and one past the last byte of a
 * body is the next block's first, B + 512. All LSNs that leave fs/txn/log.c are positions; so are checkpoint LSNs.
 *
 * Write units begin at KNOT_LSN_FIRST + k * unit: a unit's start is a block's start and therefore a position.
 */
#ifndef KNOT_TXN_LSN_INT_H
#define KNOT_TXN_LSN_INT_H

#include <knotfs/format.h>

#include <stdbool.h>
#include <stdint.h>

/* Where the block begins that this position lies in. */
static inline uint64_t knot_lsn_block(uint64_t lsn)
{
	return lsn - (lsn - KNOT_LSN_FIRST) % KNOT_LOG_BLOCK_BYTES;
}

/* Body offset of a position, 0 to 495. */
static inline uint32_t knot_lsn_offset(uint64_t lsn)
{
	uint32_t rest = (uint32_t)((lsn - KNOT_LSN_FIRST) % KNOT_LOG_BLOCK_BYTES);

	return rest ? rest - KNOT_LOG_HEADER_BYTES : 0;
}

/* The position of body byte `offset`, 0 to 496, of the block at `block_lsn`. */
static inline uint64_t knot_lsn_position(uint64_t block_lsn, uint32_t offset)
{
	if (!offset)
		return block_lsn;
	if (offset >= KNOT_LOG_BODY_BYTES)
		return block_lsn + KNOT_LOG_BLOCK_BYTES;
	return block_lsn + KNOT_LOG_HEADER_BYTES + offset;
}

static inline bool knot_lsn_is_position(uint64_t lsn)
{
	uint64_t rest = (lsn - KNOT_LSN_FIRST) % KNOT_LOG_BLOCK_BYTES;

	return lsn >= KNOT_LSN_FIRST &&
	       (!rest || (rest > KNOT_LOG_HEADER_BYTES && rest < KNOT_LOG_HEADER_BYTES + KNOT_LOG_BODY_BYTES));
}

/* The position `stream_bytes` body bytes after `lsn`. */
static inline uint64_t knot_lsn_advance(uint64_t lsn, uint64_t stream_bytes)
{
	uint64_t offset = knot_lsn_offset(lsn) + stream_bytes;

	return knot_lsn_position(knot_lsn_block(lsn) + offset / KNOT_LOG_BODY_BYTES * KNOT_LOG_BLOCK_BYTES,
				 (uint32_t)(offset % KNOT_LOG_BODY_BYTES));
}

/* A block's number as its header has it. */
static inline uint32_t knot_lsn_number(uint64_t block_lsn)
{
	return (uint32_t)((block_lsn - KNOT_LSN_FIRST) / KNOT_LOG_BLOCK_BYTES);
}

static inline uint64_t knot_lsn_unit_floor(uint64_t lsn, uint32_t unit_bytes)
{
	return lsn - (lsn - KNOT_LSN_FIRST) % unit_bytes;
}

static inline uint64_t knot_lsn_unit_ceil(uint64_t lsn, uint32_t unit_bytes)
{
	return knot_lsn_unit_floor(lsn + unit_bytes - 1, unit_bytes);
}

#endif
