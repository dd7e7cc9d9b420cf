/* SPDX-License-Identifier: MIT */
/*
 * The log as a stream of records. Nothing that is read is believed: a block must carry the number, the epoch and
 * the checksum that belong at its LSN; a record must be of a known type, inside its page and of a page that may be
 * logged. A block that fails is the end of the log (recovery_scan.c decides whether it may be); a record that fails
 * in good blocks is damage.
 */
#include "fs/txn/recovery_int.h"

#include "fs/txn/lsn_int.h"
#include "fs/util/endian.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <string.h>

bool knot_log_block_crc_is_good(const struct knot_ring *ring, const struct knot_disk_block *block)
{
	uint32_t crc = ~knot_crc32c(ring->super->seal.crc_seed, block, offsetof(struct knot_disk_block, crc));

	return knot_get32(block->crc) == crc;
}

void knot_log_reader_init(struct knot_log_reader *reader, struct knot_log_window *window,
			  const struct knot_messages *messages, const struct knot_slot *start)
{
	reader->window = window;
	reader->messages = messages;
	reader->start = *start;
	reader->lsn = start->checkpoint_lsn;
	reader->block_is_loaded = false;
	reader->cut = false;
}

uint64_t knot_log_reader_ring_at(const struct knot_log_reader *reader, uint64_t lsn)
{
	uint64_t bytes = reader->window->ring->bytes;

	if (lsn >= reader->start.checkpoint_lsn)
		return (reader->start.checkpoint_at + (lsn - reader->start.checkpoint_lsn)) % bytes;
	return (reader->start.checkpoint_at + bytes - (reader->start.checkpoint_lsn - lsn)) % bytes;
}

static int damaged(const struct knot_log_reader *reader, uint64_t lsn, const char *what)
{
	knot_message(reader->messages, KNOT_ERROR,
		     "log: record at LSN %" PRIu64 " (ring byte %" PRIu64
		     "): %s; the block's checksum is right, so it was "
		     "written like this",
		     lsn, knot_log_reader_ring_at(reader, lsn), what);
	return -EUCLEAN;
}

/* The block that `reader->lsn` is in. Returns 1, 0 if it doesn't belong here, an error. */
static int load_block(struct knot_log_reader *reader, const struct knot_disk_block **block)
{
	uint64_t block_lsn = knot_lsn_block(reader->lsn);
	const struct knot_disk_block *found;
	int err;

	err = knot_log_window_block(reader->window, knot_log_reader_ring_at(reader, block_lsn), &found);
	if (err)
		return err;
	if (!reader->block_is_loaded) {
		if (knot_get32(found->header.number) != knot_lsn_number(block_lsn) ||
		    knot_get32(found->header.epoch) != reader->start.epoch ||
		    !knot_log_block_crc_is_good(reader->window->ring, found))
			return 0;
		if (knot_get16(found->header.used_bytes) > KNOT_LOG_BODY_BYTES)
			return damaged(reader, block_lsn, "its block uses more than there is");
		if (knot_lsn_offset(reader->lsn) > knot_get16(found->header.used_bytes))
			return damaged(reader, reader->lsn, "the checkpoint lies behind the used part of its block");
		reader->block_is_loaded = true;
	}
	*block = found;
	return 1;
}

/* Take `len_bytes` from the stream. Returns 1, 0 when the log ends before, an error. */
static int take(struct knot_log_reader *reader, void *to, size_t len_bytes)
{
	uint8_t *bytes = to;

	while (len_bytes > 0) {
		uint64_t block_lsn = knot_lsn_block(reader->lsn);
		uint32_t offset = knot_lsn_offset(reader->lsn);
		const struct knot_disk_block *block = NULL;
		size_t step;
		int got;

		got = load_block(reader, &block);
		if (got <= 0)
			return got;
		assert(block);
		step = knot_get16(block->header.used_bytes) - offset;
		if (!step) { /* the rest is padding */
			reader->lsn = block_lsn + KNOT_LOG_BLOCK_BYTES;
			reader->block_is_loaded = false;
			continue;
		}
		if (step > len_bytes)
			step = len_bytes;
		memcpy(bytes, block->body + offset, step);
		reader->cut = true;
		reader->lsn = knot_lsn_position(block_lsn, offset + (uint32_t)step);
		if (knot_lsn_block(reader->lsn) != block_lsn)
			reader->block_is_loaded = false;
		bytes += step;
		len_bytes -= step;
	}
	return 1;
}

static bool ranges_meet(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
	return a < b + b_count && b < a + a_count;
}

/* Pages that are changed through the log: in the volume, neither superblock nor log. */
static bool pages_may_be_logged(const struct knot_super *super, uint64_t page_no, uint64_t count)
{
	uint32_t i;

	if (!count || page_no >= super->pages || count > super->pages - page_no)
		return false;
	if (ranges_meet(page_no, count, KNOT_SUPER_PAGE, 1) || ranges_meet(page_no, count, KNOT_SUPER_SPARE_PAGE, 1))
		return false;
	for (i = 0; i < super->segment_count; i++) {
		if (ranges_meet(page_no, count, super->segments[i].page_no, super->segments[i].pages))
			return false;
	}
	return true;
}

/* Check a record's head; `*bytes` is how many follow it. Returns what is wrong, or NULL. */
static const char *check_head(const struct knot_log_reader *reader, struct knot_log_record *record, size_t *bytes)
{
	const struct knot_super *super = reader->window->ring->super;
	bool in_page = record->offset + record->len <= KNOT_PAGE_BYTES;
	bool space_is_known = record->space == KNOT_SPACE_META || record->space == KNOT_SPACE_DATA;

	*bytes = 0;
	switch (record->type) {
	case KNOT_RECORD_BYTES:
	case KNOT_RECORD_PAGE:
		if (!space_is_known)
			return "unknown space";
		if (!in_page)
			return "reaches over its page's end";
		if (!pages_may_be_logged(super, record->page_no, 1))
			return "page that is never logged";
		*bytes = record->type == KNOT_RECORD_BYTES ? record->len : KNOT_PAGE_BYTES - record->len;
		return NULL;
	case KNOT_RECORD_FREE:
		record->len |= record->offset << 16;
		record->offset = 0;
		if (!pages_may_be_logged(super, record->page_no, record->len))
			return "frees pages that are never logged";
		return NULL;
	case KNOT_RECORD_END_MTR:
	case KNOT_RECORD_END_BATCH:
		return NULL;
	case KNOT_RECORD_DURABLE:
		if (record->page_no > reader->lsn)
			return "says that more is durable than there is";
		return NULL;
	}
	return "unknown type";
}

int knot_log_reader_next(struct knot_log_reader *reader, struct knot_log_record *record)
{
	struct knot_disk_record head;
	const char *wrong;
	size_t bytes;
	int got;

	reader->cut = false;
	record->lsn = reader->lsn;
	got = take(reader, &head, sizeof(head));
	if (got <= 0)
		return got;

	record->type = (enum knot_record_type)head.type;
	record->space = head.space;
	record->offset = knot_get16(head.offset);
	record->len = knot_get16(head.len);
	record->page_no = knot_get64(head.page_no);
	wrong = check_head(reader, record, &bytes);
	if (wrong)
		return damaged(reader, record->lsn, wrong);
	got = take(reader, record->bytes, bytes);
	if (got <= 0)
		return got;
	record->end_lsn = reader->lsn;
	return 1;
}
