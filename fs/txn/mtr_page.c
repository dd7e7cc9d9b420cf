/* SPDX-License-Identifier: MIT */
/*
 * Pages in a mini-transaction: found, announced for a change, new, given back.
 *
 * Invariants
 *  (1) A page's bytes change only after its pre-image was taken, or if it is new in this mini-transaction.
 *  (2) Nothing that a damaged volume says is asserted: a page that is handed out twice, or asked for under another
 *      type than it has, is damage and said so.
 */
#include "fs/txn/txn_int.h"

#include "fs/util/endian.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char *fault_text(unsigned fault)
{
	if (fault == KNOT_MISS_READ)
		return "can't be read";
	if (fault == KNOT_MISS_STALE)
		return "stale: an older version than its parent says";
	return knot_page_fault_name((enum knot_page_fault)fault);
}

void knot_mtr_say_damage(struct knot_txn *txn, uint64_t page_no, uint32_t type, unsigned fault)
{
	const struct knot_messages *messages = txn->options.messages;

	if (!knot_cache_note_damage(&txn->cache, page_no))
		return;
	knot_message(messages, KNOT_ERROR, "page %llu (%s): %s; what needs it fails with %s. Run: fsck.knotfs -n %s",
		     (unsigned long long)page_no, knot_page_type_name(type), fault_text(fault),
		     fault == KNOT_MISS_READ ? "EIO" : "EUCLEAN",
		     messages && messages->volume ? messages->volume : txn->options.device->name);
}

static int damaged(struct knot_txn *txn, uint64_t page_no, uint32_t type, unsigned fault)
{
	knot_mtr_say_damage(txn, page_no, type, fault);
	return -EUCLEAN;
}

static int check_number(struct knot_mtr *mtr, uint64_t page_no, uint32_t type)
{
	assert(mtr->state);
	if (page_no >= mtr->txn->options.super->pages)
		return damaged(mtr->txn, page_no, type, KNOT_PAGE_BAD_NUMBER);
	return 0;
}

static bool is_usable(const struct knot_page *page)
{
	return page && page->state != KNOT_CACHED_READING && page->space == KNOT_SPACE_META && !page->freed_lsn;
}

static int miss(struct knot_mtr *mtr, uint64_t page_no, enum knot_page_type type, uint64_t generation)
{
	int err = mtr->miss_err;

	if (err && mtr->miss_page_no == page_no && mtr->miss_generation == generation &&
	    mtr->miss_type == (uint32_t)type) {
		mtr->miss_err = 0;
		knot_mtr_say_damage(mtr->txn, page_no, (uint32_t)type, mtr->miss_fault); /* mtr.c (3) */
		return err;
	}
	mtr->miss_err = 0;
	mtr->miss_page_no = page_no;
	mtr->miss_generation = generation;
	mtr->miss_type = (uint32_t)type;
	return -KNOT_EMISS;
}

int knot_mtr_page(struct knot_mtr *mtr, uint64_t page_no, enum knot_page_type type, uint64_t generation,
		  struct knot_page **page)
{
	struct knot_txn *txn = mtr->txn;
	struct knot_cache *cache = &txn->cache;
	const struct knot_disk_page_header *header;
	struct knot_page *found;
	int err = check_number(mtr, page_no, (uint32_t)type);

	if (err)
		return err;
	pthread_mutex_lock(&cache->mutex);
	found = knot_cache_find_locked(cache, page_no);
	if (found && found->state == KNOT_CACHED_READING)
		found = NULL;
	if (is_usable(found)) {
		found->referenced = found->referenced || !found->in_mtr;
		knot_cache_pin_mtr_locked(cache, found, &mtr->state->pinned);
		cache->hits++;
		if (found->prefetched)
			knot_cache_judge_neighbour_locked(cache, found, true);
	}
	pthread_mutex_unlock(&cache->mutex);
	if (!found)
		return miss(mtr, page_no, type, generation);
	if (!is_usable(found))
		return damaged(txn, page_no, (uint32_t)type, KNOT_PAGE_BAD_TYPE);
	header = found->data;
	if (knot_get32(header->type) != (uint32_t)type)
		return damaged(txn, page_no, (uint32_t)type, KNOT_PAGE_BAD_TYPE);
	if (generation && knot_get64(header->generation) != generation)
		return damaged(txn, page_no, (uint32_t)type, KNOT_MISS_STALE);
	*page = found;
	return 0;
}

/* ---- changes ---- */

static struct knot_change *add_change(struct knot_mtr_state *state, struct knot_page *page)
{
	struct knot_change *change = &state->changes[state->change_count++];

	memset(change, 0, sizeof(*change));
	change->page = page;
	page->change = state->change_count;
	return change;
}

int knot_mtr_change(struct knot_mtr *mtr, struct knot_page *page, bool *was_clean)
{
	struct knot_mtr_state *state = mtr->state;
	struct knot_change *change;

	assert(state && state->writes && page->in_mtr);
	if (page->change) {
		if (was_clean)
			*was_clean = false;
		return 0;
	}
	if (!knot_mtr_pages_left(mtr))
		return -KNOT_EGROW;
	change = add_change(state, page);
	change->before = state->before + (size_t)(state->change_count - 1) * KNOT_PAGE_BYTES;
	memcpy(change->before, page->data, KNOT_PAGE_BYTES);
	change->was_clean = page->state == KNOT_CACHED_CLEAN;
	if (was_clean)
		*was_clean = change->was_clean;
	return 0;
}

/* Whether an allocated page may take the place of this cached copy: a placeholder, a leftover, or one whose free is
 * committed. */
static bool may_take(struct knot_txn *txn, const struct knot_page *page)
{
	if (page->state == KNOT_CACHED_READING)
		return true;
	if (page->writing || page->change)
		return false;
	if (page->state == KNOT_CACHED_CLEAN)
		return true;
	return page->freed_lsn && page->freed_lsn <= knot_txn_committed_lsn(txn);
}

/* The frame of a page that was just allocated, in state NEW, pinned and announced. */
static int take_new(struct knot_mtr *mtr, uint64_t page_no, uint32_t type, uint8_t space, struct knot_page **page)
{
	struct knot_txn *txn = mtr->txn;
	struct knot_cache *cache = &txn->cache;
	struct knot_page *taken;
	int err = 0;

	if (!knot_mtr_pages_left(mtr))
		return -KNOT_EGROW;
	pthread_mutex_lock(&cache->mutex);
	taken = knot_cache_find_locked(cache, page_no);
	if (taken && !may_take(txn, taken)) {
		err = -EUCLEAN;
	} else if (taken) {
		knot_cache_set_new_locked(cache, taken);
	} else {
		taken = knot_cache_take_frame_locked(cache);
		if (taken)
			knot_cache_add_locked(cache, taken, page_no, KNOT_CACHED_NEW);
		else
			err = -KNOT_EFULL;
	}
	if (!err) {
		taken->space = space;
		taken->oldest_lsn = 0;
		taken->lsn = 0;
		knot_cache_pin_mtr_locked(cache, taken, &mtr->state->pinned);
	}
	pthread_mutex_unlock(&cache->mutex);
	if (err)
		return err == -EUCLEAN ? damaged(txn, page_no, type, KNOT_PAGE_BAD_NUMBER) : err;
	add_change(mtr->state, taken)->was_clean = true;
	*page = taken;
	return 0;
}

int knot_mtr_new_page(struct knot_mtr *mtr, uint64_t page_no, enum knot_page_type type, struct knot_page **page)
{
	struct knot_page *taken;
	int err = check_number(mtr, page_no, (uint32_t)type);

	if (!err)
		err = take_new(mtr, page_no, (uint32_t)type, KNOT_SPACE_META, &taken);
	if (err)
		return err;
	memset(taken->data, 0, KNOT_PAGE_BYTES);
	knot_page_format(taken->data, type, page_no, knot_mtr_generation(mtr));
	*page = taken;
	return 0;
}

int knot_mtr_put_data(struct knot_mtr *mtr, uint64_t page_no, const void *contents)
{
	struct knot_cache *cache = &mtr->txn->cache;
	struct knot_page *page;
	int err = check_number(mtr, page_no, 0);

	if (err)
		return err;
	pthread_mutex_lock(&cache->mutex);
	page = knot_cache_find_locked(cache, page_no);
	if (page && (page->state == KNOT_CACHED_READING || page->space != KNOT_SPACE_DATA || page->freed_lsn))
		page = NULL;
	if (page)
		knot_cache_pin_mtr_locked(cache, page, &mtr->state->pinned);
	pthread_mutex_unlock(&cache->mutex);
	if (page)
		err = knot_mtr_change(mtr, page, NULL);
	else
		err = take_new(mtr, page_no, 0, KNOT_SPACE_DATA, &page);
	if (!err)
		memcpy(page->data, contents, KNOT_PAGE_BYTES);
	return err;
}

bool knot_txn_peek_data(struct knot_txn *txn, uint64_t page_no, void *contents)
{
	struct knot_cache *cache = &txn->cache;
	struct knot_page *page;
	bool found;

	knot_txn_assert_locked(txn);
	pthread_mutex_lock(&cache->mutex);
	page = knot_cache_find_locked(cache, page_no);
	found = page && page->state != KNOT_CACHED_READING && page->space == KNOT_SPACE_DATA && !page->freed_lsn;
	if (found) {
		page->referenced = true;
		memcpy(contents, page->data, KNOT_PAGE_BYTES);
	}
	pthread_mutex_unlock(&cache->mutex);
	return found;
}

/* ---- freeing ---- */

static int add_range(struct knot_mtr_state *state, uint64_t page_no, uint32_t count)
{
	struct knot_free_range *last = state->free_count ? &state->frees[state->free_count - 1] : NULL;

	if (last && last->page_no + last->count == page_no && (uint64_t)last->count + count <= UINT32_MAX) {
		last->count += count;
		return 0;
	}
	if (state->free_count == state->frees_max) {
		unsigned max = state->frees_max ? 2 * state->frees_max : 64;
		struct knot_free_range *frees = realloc(state->frees, max * sizeof(frees[0]));

		if (!frees)
			return -ENOMEM;
		state->frees = frees;
		state->frees_max = max;
	}
	assert(state->frees);
	state->frees[state->free_count++] = (struct knot_free_range){ .page_no = page_no, .count = count };
	return 0;
}

int knot_mtr_free_pages(struct knot_mtr *mtr, uint64_t page_no, uint32_t count)
{
	struct knot_mtr_state *state = mtr->state;
	uint64_t taken;

	assert(state && state->writes);
	if (!count)
		return 0;
	taken = state->change_count * KNOT_RECORD_BYTES_MAX +
		(state->free_count + 1ULL) * sizeof(struct knot_disk_record);
	if (taken > state->records_max_bytes)
		return -KNOT_EGROW;
	return add_range(state, page_no, count);
}

/* Let go of one page if nothing stands against it. */
static bool is_idle_locked(struct knot_cache *cache, uint64_t page_no, knot_lsn_t committed_lsn)
{
	struct knot_page *page = knot_cache_find_locked(cache, page_no);

	if (!page)
		return true;
	if (page->writing || page->change)
		return false;
	if (page->state == KNOT_CACHED_DIRTY && (!page->freed_lsn || page->freed_lsn > committed_lsn))
		return false;
	knot_cache_drop_locked(cache, page);
	return true;
}

bool knot_txn_pages_idle(struct knot_txn *txn, uint64_t page_no, uint32_t count)
{
	struct knot_cache *cache = &txn->cache;
	knot_lsn_t committed_lsn = knot_txn_committed_lsn(txn);
	bool idle = true;

	knot_txn_assert_locked(txn);
	pthread_mutex_lock(&cache->mutex);
	for (uint32_t i = 0; i < count && idle; i++)
		idle = is_idle_locked(cache, page_no + i, committed_lsn);
	pthread_mutex_unlock(&cache->mutex);
	return idle;
}

/* ---- the page ---- */

void *knot_page_data(struct knot_page *page)
{
	return page->data;
}

uint64_t knot_page_no(const struct knot_page *page)
{
	return page->node.key;
}

uint64_t knot_page_generation(const struct knot_page *page)
{
	const struct knot_disk_page_header *header = page->data;

	return knot_get64(header->generation);
}

bool knot_page_is_changing(const struct knot_page *page)
{
	return page->change != 0;
}
