/* SPDX-License-Identifier: MIT */
/*
 * Commit: differences to the pre-images become records, the pages dirty. Or undo: the pre-images become the pages
 * again.
 *
 * Invariants
 *  (1) A page that was clean, or is new, is logged as a whole image: what a torn home write leaves of it is never
 *      needed.
 *  (2) FREE records come first; a page that this mini-transaction frees has no other record in it.
 *  (3) Appending, LSNs and dirty list change under one hold of the transaction lock: whoever has it sees either none
 *      or all.
 *
 * If power fails after the append: recovery finds END_MTR or it does not, and takes all of the records or none.
 */
#include "fs/txn/txn_int.h"

#include "fs/util/endian.h"

#include <assert.h>
#include <string.h>

#define RANGE_GAP_BYTES  16u                   /* nearer ranges are one: a header costs 14 */
#define RANGES_BYTES_MAX (KNOT_PAGE_BYTES / 2) /* beyond it the whole page is logged */
#define CHUNK_BYTES      64u
#define WORD_BYTES       8u

/* Records being gathered: small ones are copied to the scratch buffer, images are referred to. */
struct gather {
	struct knot_mtr_state *state;
	size_t used_bytes; /* of scratch */
	size_t run_at;     /* where the part of it begins that is in no iovec yet */
	int iov_count;
};

static void put_bytes(struct gather *gather, const void *bytes, size_t len_bytes)
{
	memcpy(gather->state->scratch + gather->used_bytes, bytes, len_bytes);
	gather->used_bytes += len_bytes;
}

static void put_header(struct gather *gather, enum knot_record_type type, uint8_t space, uint32_t offset, uint32_t len,
		       uint64_t page_no)
{
	struct knot_disk_record record = {
		.type = (uint8_t)type,
		.space = space,
		.offset = knot_put16((uint16_t)offset),
		.len = knot_put16((uint16_t)len),
		.page_no = knot_put64(page_no),
	};

	put_bytes(gather, &record, sizeof(record));
}

static void end_run(struct gather *gather)
{
	if (gather->run_at == gather->used_bytes)
		return;
	gather->state->iov[gather->iov_count++] = (struct iovec){
		.iov_base = gather->state->scratch + gather->run_at,
		.iov_len = gather->used_bytes - gather->run_at,
	};
	gather->run_at = gather->used_bytes;
}

static void put_reference(struct gather *gather, void *bytes, size_t len_bytes)
{
	if (!len_bytes)
		return;
	end_run(gather);
	gather->state->iov[gather->iov_count++] = (struct iovec){ .iov_base = bytes, .iov_len = len_bytes };
}

/* ---- one page ---- */

static uint64_t word_at(const uint8_t *bytes, size_t at)
{
	uint64_t word;

	memcpy(&word, bytes + at, sizeof(word));
	return word;
}

static void find_zeros(const uint8_t *page, size_t *hole_at, size_t *hole_bytes)
{
	size_t at = 0;

	*hole_at = 0;
	*hole_bytes = 0;
	while (at < KNOT_PAGE_BYTES) {
		size_t from = at;

		while (at < KNOT_PAGE_BYTES && !word_at(page, at))
			at += WORD_BYTES;
		if (at - from > *hole_bytes) {
			*hole_at = from;
			*hole_bytes = at - from;
		}
		while (at < KNOT_PAGE_BYTES && word_at(page, at))
			at += WORD_BYTES;
	}
}

static void put_image(struct gather *gather, struct knot_page *page)
{
	uint8_t *bytes = page->data;
	size_t hole_at, hole_bytes;

	find_zeros(bytes, &hole_at, &hole_bytes);
	put_header(gather, KNOT_RECORD_PAGE, page->space, (uint32_t)hole_at, (uint32_t)hole_bytes, page->node.key);
	put_reference(gather, bytes, hole_at);
	put_reference(gather, bytes + hole_at + hole_bytes, KNOT_PAGE_BYTES - hole_at - hole_bytes);
}

static bool chunk_differs(const uint8_t *now, const uint8_t *before)
{
	uint64_t different = 0;

	for (size_t at = 0; at < CHUNK_BYTES; at += WORD_BYTES)
		different |= word_at(now, at) ^ word_at(before, at);
	return different != 0;
}

/* Bytes that are not in the log: the check area and the LSN of a page with a header. */
static bool is_unlogged(uint8_t space, size_t at)
{
	return space == KNOT_SPACE_META &&
	       (at < offsetof(struct knot_disk_page_header, type) || at == offsetof(struct knot_disk_page_header, lsn));
}

static bool has_lsn_between(uint8_t space, size_t from, size_t to)
{
	const size_t at = offsetof(struct knot_disk_page_header, lsn);

	return space == KNOT_SPACE_META && from <= at && to >= at + sizeof(knot_le64);
}

struct range {
	size_t from;
	size_t to; /* 0: none yet */
};

static void put_range(struct gather *gather, const struct knot_page *page, const struct range *range)
{
	const uint8_t *bytes = page->data;

	if (!range->to)
		return;
	put_header(gather, KNOT_RECORD_BYTES, page->space, (uint32_t)range->from, (uint32_t)(range->to - range->from),
		   page->node.key);
	put_bytes(gather, bytes + range->from, range->to - range->from);
}

/* A word that differs: it joins the range, or a new one begins with it. */
static void add_word(struct gather *gather, const struct knot_page *page, const uint8_t *before, size_t at,
		     struct range *range)
{
	const uint8_t *now = page->data;
	size_t from = at, to = at + WORD_BYTES;

	while (now[from] == before[from])
		from++;
	while (now[to - 1] == before[to - 1])
		to--;
	if (range->to && from - range->to < RANGE_GAP_BYTES && !has_lsn_between(page->space, range->to, from)) {
		range->to = to;
		return;
	}
	put_range(gather, page, range);
	range->from = from;
	range->to = to;
}

/* Log the ranges that differ. False, and nothing logged, if they are too many. */
static bool put_ranges(struct gather *gather, const struct knot_page *page, const uint8_t *before)
{
	const uint8_t *now = page->data;
	size_t start = gather->used_bytes;
	struct range range = { 0 };

	for (size_t chunk = 0; chunk < KNOT_PAGE_BYTES; chunk += CHUNK_BYTES) {
		if (!chunk_differs(now + chunk, before + chunk))
			continue;
		for (size_t at = chunk; at < chunk + CHUNK_BYTES; at += WORD_BYTES)
			if (word_at(now, at) != word_at(before, at) && !is_unlogged(page->space, at))
				add_word(gather, page, before, at, &range);
		if (gather->used_bytes - start + (range.to - range.from) > RANGES_BYTES_MAX) {
			gather->used_bytes = start;
			return false;
		}
	}
	put_range(gather, page, &range);
	return true;
}

static bool is_same(const struct knot_page *page, const uint8_t *before)
{
	const uint8_t *now = page->data;

	for (size_t chunk = 0; chunk < KNOT_PAGE_BYTES; chunk += CHUNK_BYTES)
		if (chunk_differs(now + chunk, before + chunk))
			return false;
	return true;
}

static void put_change(struct gather *gather, struct knot_change *change)
{
	size_t used_bytes = gather->used_bytes;
	int iov_count = gather->iov_count;

	if (change->freed || (change->was_clean && change->before && is_same(change->page, change->before)))
		return;
	if (change->was_clean || !put_ranges(gather, change->page, change->before)) /* (1) */
		put_image(gather, change->page);
	change->logged = gather->used_bytes != used_bytes || gather->iov_count != iov_count;
}

/* ---- freed pages ---- */

static void mark_freed_changes(struct knot_mtr_state *state)
{
	for (unsigned i = 0; i < state->change_count; i++) {
		uint64_t page_no = state->changes[i].page->node.key;

		for (unsigned k = 0; k < state->free_count && !state->changes[i].freed; k++)
			state->changes[i].freed = page_no - state->frees[k].page_no < state->frees[k].count;
	}
}

static void put_frees(struct gather *gather)
{
	for (unsigned i = 0; i < gather->state->free_count; i++) {
		const struct knot_free_range *range = &gather->state->frees[i];

		put_header(gather, KNOT_RECORD_FREE, KNOT_SPACE_META, range->count >> 16, range->count & 0xffff,
			   range->page_no);
	}
}

static void free_cached_locked(struct knot_cache *cache, uint64_t page_no, knot_lsn_t lsn)
{
	struct knot_page *page = knot_cache_find_locked(cache, page_no);

	if (!page)
		return;
	if (page->state == KNOT_CACHED_DIRTY || page->writing)
		page->freed_lsn = lsn;
	else
		knot_cache_drop_locked(cache, page);
}

/* ---- commit and undo ---- */

static void publish_locked(struct knot_cache *cache, struct knot_change *change, knot_lsn_t start_lsn,
			   knot_lsn_t end_lsn)
{
	struct knot_page *page = change->page;
	struct knot_disk_page_header *header = page->data;

	page->change = 0;
	if (!change->logged)
		return;
	page->lsn = end_lsn;
	if (page->space == KNOT_SPACE_META)
		header->lsn = knot_put64(end_lsn);
	if (page->state != KNOT_CACHED_DIRTY)
		knot_cache_set_dirty_locked(cache, page, start_lsn);
}

knot_lsn_t knot_mtr_commit_locked(struct knot_txn *txn, struct knot_mtr_state *state)
{
	struct knot_cache *cache = &txn->cache;
	struct gather gather = { .state = state };
	knot_lsn_t start_lsn = 0, end_lsn = 0;

	mark_freed_changes(state);
	put_frees(&gather); /* (2) */
	for (unsigned i = 0; i < state->change_count; i++)
		put_change(&gather, &state->changes[i]);
	end_run(&gather);
	if (gather.iov_count) {
		end_lsn = knot_log_append(txn->log, state->iov, gather.iov_count, KNOT_RECORD_END_MTR, &start_lsn);
		atomic_store_explicit(&txn->lsn, end_lsn, memory_order_release);
	}

	pthread_mutex_lock(&cache->mutex);
	for (unsigned i = 0; i < state->change_count; i++)
		publish_locked(cache, &state->changes[i], start_lsn, end_lsn);
	for (unsigned i = 0; i < state->free_count; i++)
		for (uint32_t k = 0; k < state->frees[i].count; k++)
			free_cached_locked(cache, state->frees[i].page_no + k, end_lsn);
	pthread_mutex_unlock(&cache->mutex);
	state->change_count = 0;
	state->free_count = 0;
	return end_lsn;
}

void knot_mtr_undo_locked(struct knot_txn *txn, struct knot_mtr_state *state)
{
	struct knot_cache *cache = &txn->cache;

	pthread_mutex_lock(&cache->mutex);
	while (state->change_count) {
		struct knot_change *change = &state->changes[--state->change_count];

		change->page->change = 0;
		if (change->before)
			memcpy(change->page->data, change->before, KNOT_PAGE_BYTES);
		else
			knot_cache_drop_locked(cache, change->page);
	}
	pthread_mutex_unlock(&cache->mutex);
	state->free_count = 0;
}
