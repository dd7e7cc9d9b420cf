/* SPDX-License-Identifier: MIT */
/*
 * The page cache: an arena of frames, pages by number, a list of clean and one of dirty pages.
 *
 *             load                      verified
 *   absent ---------> reading ----------------------------> clean ---- evicted, or freed ----> absent
 *    |                | |                                  |  ^  ^
 *    |                | +--> absent: load failed, or       |  |  |
 *    |                |      freed meanwhile    mtr commit |  |  | home written (set_written)
 *    | new_page,      | new_page, put_data:     (set_dirty)|  |  +--------------------------------+
 *    | put_data       | its reader finds it gone           v  |                                   |
 *    +--------------> new ---- mtr commit --------------> dirty ---- copy taken (set_writing) --> clean, writing
 *                      |       (set_dirty)                 |  ^                                   |
 *                      +--> absent: given up (undo)        |  +------------ mtr commit -----------+
 *                                                          |    dirty, writing: with a new oldest LSN
 *                                                          +--> absent: freed, and that is committed
 *
 *   freed_lsn is set by the mtr commit that frees the page. A clean one is absent at once. A dirty one stays as it
 *   is, and is dropped without being written when the free is committed (cleaner.c, knot_txn_pages_idle). One that is
 *   writing waits for that.
 *
 * Invariants
 *  (1) A page is in the hash table exactly in the states reading, clean, new, dirty; it has one frame, and a frame
 *      one page.
 *  (2) The dirty list is in the order of oldest_lsn: commits append to it while they hold the transaction lock.
 *  (3) The clean list has the pages that are clean and not writing: home has the same bytes. Only they are evicted,
 *      unpinned.
 *  (4) A page that is writing stays: until its copy is home, a read of the device would give older bytes.
 *  (5) State and oldest_lsn of a page pinned by an mtr change only under the transaction lock. A reader finds its
 *      placeholder by page number and token, never by pointer: who allocates or frees the page meanwhile simply takes
 *      it.
 *  (6) free_count + evictable >= frames still promised, but for frames that readers hold for the time of a read and
 *      pins; a taker that finds none answers -KNOT_EFULL and comes again.
 *
 * If power fails here: nothing is lost but memory. What a dirty page held is in the log from oldest_lsn on.
 */
#include "fs/txn/cache_int.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/mman.h>

int knot_cache_init(struct knot_cache *cache, size_t frames)
{
	*cache = (struct knot_cache){ .frames = frames };
	knot_list_init(&cache->clean);
	knot_list_init(&cache->dirty);
	pthread_mutex_init(&cache->mutex, NULL);
	pthread_cond_init(&cache->loaded, NULL);
	cache->pages = calloc(frames, sizeof(cache->pages[0]));
	cache->free_stack = malloc(frames * sizeof(cache->free_stack[0]));
	cache->withheld_stack = malloc(frames * sizeof(cache->withheld_stack[0]));
	cache->arena = mmap(NULL, frames * KNOT_PAGE_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	if (cache->arena == MAP_FAILED)
		cache->arena = NULL;
	if (!cache->pages || !cache->free_stack || !cache->withheld_stack || !cache->arena ||
	    knot_hash_init(&cache->hash, frames) ||
	    posix_memalign((void **)&cache->cluster_buffer, KNOT_PAGE_BYTES,
			   (size_t)KNOT_CLUSTER_PAGES * KNOT_PAGE_BYTES)) {
		knot_cache_destroy(cache);
		return -ENOMEM;
	}
	for (size_t i = 0; i < frames; i++) {
		cache->pages[i].data = cache->arena + i * KNOT_PAGE_BYTES;
		knot_list_init(&cache->pages[i].link);
		cache->free_stack[i] = (uint32_t)(frames - 1 - i);
	}
	cache->free_count = frames;
	cache->cluster_pages = KNOT_CLUSTER_PAGES;
	return 0;
}

void knot_cache_destroy(struct knot_cache *cache)
{
	if (cache->arena)
		munmap(cache->arena, cache->frames * KNOT_PAGE_BYTES);
	knot_hash_destroy(&cache->hash);
	free(cache->pages);
	free(cache->free_stack);
	free(cache->withheld_stack);
	free(cache->cluster_buffer);
	pthread_cond_destroy(&cache->loaded);
	pthread_mutex_destroy(&cache->mutex);
	cache->arena = NULL;
}

static uint32_t index_of(const struct knot_cache *cache, const struct knot_page *page)
{
	return (uint32_t)(page - cache->pages);
}

static bool is_pinned(const struct knot_page *page)
{
	return page->in_mtr || page->pins > 0;
}

static bool is_evictable(const struct knot_page *page)
{
	return page->state == KNOT_CACHED_CLEAN && !page->writing && !is_pinned(page);
}

/* Every change of a page's state or pins is between these two. */
static void change_begins(struct knot_cache *cache, struct knot_page *page)
{
	if (is_evictable(page))
		cache->evictable--;
}

static void change_ends(struct knot_cache *cache, struct knot_page *page)
{
	if (is_evictable(page))
		cache->evictable++;
}

static void leave_list(struct knot_cache *cache, struct knot_page *page)
{
	if (page->state == KNOT_CACHED_DIRTY)
		cache->dirty_count--;
	else if (page->state == KNOT_CACHED_CLEAN && !page->writing)
		cache->clean_count--;
	knot_list_remove(&page->link);
}

static void enter_clean_list(struct knot_cache *cache, struct knot_page *page)
{
	knot_list_add_head(&cache->clean, &page->link);
	cache->clean_count++;
}

struct knot_page *knot_cache_find_locked(struct knot_cache *cache, uint64_t page_no)
{
	struct knot_hash_node *node = knot_hash_find(&cache->hash, page_no);

	return node ? knot_container_of(node, struct knot_page, node) : NULL;
}

/* Second chance: a page used since the hand last passed goes to the front again. */
static struct knot_page *evict_locked(struct knot_cache *cache)
{
	if (cache->evictable == 0)
		return NULL;
	for (size_t left = 2 * cache->clean_count; left > 0; left--) {
		struct knot_page *page = knot_container_of(cache->clean.prev, struct knot_page, link);

		if (is_pinned(page) || page->referenced) {
			page->referenced = false;
			knot_list_remove(&page->link);
			knot_list_add_head(&cache->clean, &page->link);
			continue;
		}
		cache->evictable--;
		leave_list(cache, page);
		knot_hash_remove(&cache->hash, &page->node);
		page->state = KNOT_CACHED_FREE;
		cache->evictions++;
		if (page->prefetched)
			knot_cache_judge_neighbour_locked(cache, page, false);
		return page;
	}
	return NULL;
}

struct knot_page *knot_cache_take_frame_locked(struct knot_cache *cache)
{
	if (cache->free_count > 0)
		return &cache->pages[cache->free_stack[--cache->free_count]];
	return evict_locked(cache);
}

static void withhold_locked(struct knot_cache *cache, struct knot_page *page)
{
	page->state = KNOT_CACHED_WITHHELD;
	cache->withheld_stack[cache->withheld_count++] = index_of(cache, page);
	madvise(page->data, KNOT_PAGE_BYTES, MADV_DONTNEED);
}

void knot_cache_give_frame_locked(struct knot_cache *cache, struct knot_page *page)
{
	page->freed_lsn = 0;
	page->token = 0;
	page->change = 0;
	page->referenced = false;
	if (cache->withheld_count < cache->withheld_target) {
		withhold_locked(cache, page);
		return;
	}
	page->state = KNOT_CACHED_FREE;
	cache->free_stack[cache->free_count++] = index_of(cache, page);
}

void knot_cache_add_locked(struct knot_cache *cache, struct knot_page *page, uint64_t page_no, enum knot_cached state)
{
	assert(state == KNOT_CACHED_NEW || state == KNOT_CACHED_READING);
	assert(!is_pinned(page) && !page->writing);
	page->state = (uint8_t)state;
	page->space = KNOT_SPACE_META;
	page->oldest_lsn = 0;
	page->lsn = 0;
	page->freed_lsn = 0;
	page->change = 0;
	page->referenced = false;
	page->prefetched = false;
	knot_hash_add(&cache->hash, &page->node, page_no);
}

void knot_cache_drop_locked(struct knot_cache *cache, struct knot_page *page)
{
	assert(!page->writing);
	if (page->state == KNOT_CACHED_READING)
		pthread_cond_broadcast(&cache->loaded);
	change_begins(cache, page);
	leave_list(cache, page);
	knot_hash_remove(&cache->hash, &page->node);
	page->state = KNOT_CACHED_DROPPED;
	page->change = 0;
	if (!is_pinned(page))
		knot_cache_give_frame_locked(cache, page);
}

void knot_cache_set_clean_locked(struct knot_cache *cache, struct knot_page *page)
{
	assert(page->state == KNOT_CACHED_READING);
	page->state = KNOT_CACHED_CLEAN;
	page->token = 0;
	enter_clean_list(cache, page);
	change_ends(cache, page);
	pthread_cond_broadcast(&cache->loaded);
}

void knot_cache_set_dirty_locked(struct knot_cache *cache, struct knot_page *page, knot_lsn_t oldest_lsn)
{
	assert(page->state == KNOT_CACHED_NEW || page->state == KNOT_CACHED_CLEAN);
	change_begins(cache, page);
	leave_list(cache, page);
	page->state = KNOT_CACHED_DIRTY;
	page->oldest_lsn = oldest_lsn;
	knot_list_add_tail(&cache->dirty, &page->link);
	cache->dirty_count++;
}

void knot_cache_set_new_locked(struct knot_cache *cache, struct knot_page *page)
{
	assert(!page->writing);
	if (page->state == KNOT_CACHED_READING)
		pthread_cond_broadcast(&cache->loaded);
	change_begins(cache, page);
	leave_list(cache, page);
	page->state = KNOT_CACHED_NEW;
	page->token = 0;
	page->freed_lsn = 0;
}

void knot_cache_set_writing_locked(struct knot_cache *cache, struct knot_page *page)
{
	assert(page->state == KNOT_CACHED_DIRTY && !page->writing);
	leave_list(cache, page);
	page->state = KNOT_CACHED_CLEAN;
	page->writing = true;
}

void knot_cache_set_written_locked(struct knot_cache *cache, struct knot_page *page)
{
	assert(page->writing);
	page->writing = false;
	if (page->state != KNOT_CACHED_CLEAN)
		return;
	enter_clean_list(cache, page);
	change_ends(cache, page);
	if (page->freed_lsn)
		knot_cache_drop_locked(cache, page);
}

void knot_cache_pin_mtr_locked(struct knot_cache *cache, struct knot_page *page, struct knot_page **pinned)
{
	if (page->in_mtr)
		return;
	change_begins(cache, page);
	page->in_mtr = true;
	page->pin_next = *pinned;
	*pinned = page;
}

static void unpinned_locked(struct knot_cache *cache, struct knot_page *page)
{
	change_ends(cache, page);
	if (page->state == KNOT_CACHED_DROPPED && !is_pinned(page))
		knot_cache_give_frame_locked(cache, page);
}

void knot_cache_unpin_mtr_locked(struct knot_cache *cache, struct knot_page **pinned)
{
	struct knot_page *page = *pinned;

	while (page) {
		struct knot_page *next = page->pin_next;

		page->in_mtr = false;
		page->pin_next = NULL;
		unpinned_locked(cache, page);
		page = next;
	}
	*pinned = NULL;
}

void knot_cache_keep_locked(struct knot_cache *cache, struct knot_page *page)
{
	change_begins(cache, page);
	page->pins++;
}

void knot_cache_unkeep_locked(struct knot_cache *cache, struct knot_page *page)
{
	assert(page->pins > 0);
	page->pins--;
	if (!is_pinned(page))
		unpinned_locked(cache, page);
}

bool knot_cache_reserve(struct knot_cache *cache, size_t count, bool privileged)
{
	size_t spare = privileged ? 0 : cache->spare_frames;
	bool ok;

	pthread_mutex_lock(&cache->mutex);
	ok = cache->free_count + cache->evictable >= cache->reserved + count + spare;
	if (ok)
		cache->reserved += count;
	pthread_mutex_unlock(&cache->mutex);
	return ok;
}

void knot_cache_unreserve(struct knot_cache *cache, size_t count)
{
	pthread_mutex_lock(&cache->mutex);
	assert(cache->reserved >= count);
	cache->reserved -= count;
	pthread_mutex_unlock(&cache->mutex);
}

bool knot_cache_has_clean(struct knot_cache *cache)
{
	bool has;

	pthread_mutex_lock(&cache->mutex);
	has = cache->free_count + cache->clean_count > 0;
	pthread_mutex_unlock(&cache->mutex);
	return has;
}

bool knot_cache_note_damage(struct knot_cache *cache, uint64_t page_no)
{
	uint64_t *said = &cache->said[knot_hash_mix(page_no) % KNOT_DAMAGE_SAID];
	bool fresh;

	pthread_mutex_lock(&cache->mutex);
	fresh = *said != page_no + 1;
	*said = page_no + 1;
	pthread_mutex_unlock(&cache->mutex);
	return fresh;
}
