/* SPDX-License-Identifier: MIT */
/*
 * Frames lent to others: pending file data, and memory that is charged against the cache.
 *
 * Invariants
 *  (1) Pending data has at most half of the frames that are not withheld.
 *  (2) withheld_count frames have no memory behind them. It follows withheld_target as frames become free, and takes
 *      a third of all frames at most: beyond that, charges go uncounted.
 */
#include "fs/txn/txn_int.h"

#include <assert.h>

static size_t pending_max_locked(const struct knot_cache *cache)
{
	return (cache->frames - cache->withheld_target) / 2;
}

int knot_txn_frame_get(struct knot_txn *txn, struct knot_frame *frame)
{
	struct knot_cache *cache = &txn->cache;
	struct knot_page *page = NULL;

	pthread_mutex_lock(&cache->mutex);
	if (cache->pending_count < pending_max_locked(cache) &&
	    cache->free_count + cache->evictable > cache->reserved + cache->spare_frames)
		page = knot_cache_take_frame_locked(cache);
	if (page) {
		page->state = KNOT_CACHED_PENDING;
		cache->pending_count++;
	}
	pthread_mutex_unlock(&cache->mutex);
	if (!page)
		return -KNOT_EFULL;
	frame->data = page->data;
	return 0;
}

void knot_txn_frame_put(struct knot_txn *txn, struct knot_frame *frame)
{
	struct knot_cache *cache = &txn->cache;
	size_t index = (size_t)((uint8_t *)frame->data - cache->arena) / KNOT_PAGE_BYTES;
	struct knot_page *page;

	assert(index < cache->frames);
	page = &cache->pages[index];
	pthread_mutex_lock(&cache->mutex);
	assert(page->state == KNOT_CACHED_PENDING);
	cache->pending_count--;
	knot_cache_give_frame_locked(cache, page);
	pthread_mutex_unlock(&cache->mutex);
	frame->data = NULL;
	knot_room_signal(&txn->room);
}

size_t knot_txn_frames_free(struct knot_txn *txn)
{
	struct knot_cache *cache = &txn->cache;
	size_t by_limit, by_room, taken;

	pthread_mutex_lock(&cache->mutex);
	by_limit = pending_max_locked(cache);
	by_limit = by_limit > cache->pending_count ? by_limit - cache->pending_count : 0;
	by_room = cache->free_count + cache->evictable;
	taken = cache->reserved + cache->spare_frames;
	by_room = by_room > taken ? by_room - taken : 0;
	pthread_mutex_unlock(&cache->mutex);
	return by_limit < by_room ? by_limit : by_room;
}

size_t knot_txn_frames_pending_max(struct knot_txn *txn)
{
	size_t max;

	pthread_mutex_lock(&txn->cache.mutex);
	max = pending_max_locked(&txn->cache);
	pthread_mutex_unlock(&txn->cache.mutex);
	return max;
}

/* Bring the number of withheld frames nearer to what was asked for, as far as that goes without waiting. (2) */
static void follow_target_locked(struct knot_cache *cache)
{
	while (cache->withheld_count > cache->withheld_target) {
		uint32_t index = cache->withheld_stack[--cache->withheld_count];

		cache->pages[index].state = KNOT_CACHED_FREE;
		cache->free_stack[cache->free_count++] = index;
	}
	while (cache->withheld_count < cache->withheld_target &&
	       cache->free_count + cache->evictable > cache->reserved) {
		struct knot_page *page = knot_cache_take_frame_locked(cache);

		if (!page)
			break;
		knot_cache_give_frame_locked(cache, page); /* which withholds it */
	}
}

void knot_txn_charge(struct knot_txn *txn, ssize_t bytes)
{
	struct knot_cache *cache = &txn->cache;
	bool gave_back;
	size_t target;

	pthread_mutex_lock(&cache->mutex);
	cache->charged_bytes += bytes;
	assert(cache->charged_bytes >= 0);
	target = (size_t)cache->charged_bytes / KNOT_PAGE_BYTES;
	if (target > cache->frames / 3)
		target = cache->frames / 3;
	gave_back = target < cache->withheld_target;
	if (target != cache->withheld_target) {
		cache->withheld_target = target;
		follow_target_locked(cache);
	}
	pthread_mutex_unlock(&cache->mutex);
	if (gave_back)
		knot_room_signal(&txn->room);
}
