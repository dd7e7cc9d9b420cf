/* SPDX-License-Identifier: MIT */
/*
 * Misses: reading pages from home into the cache, tree pages by the cluster.
 *
 *	placeholders are entered (cache mutex) -> device read, no lock -> verified -> each page whose placeholder is
 *	still there with our token becomes clean. The others were allocated, freed or taken meanwhile: what was read is
 *	forgotten.
 *
 * Invariants
 *  (1) A page enters the cache only if knot_page_verify() passes it; neighbours only as tree pages.
 *  (2) While a page has our placeholder nobody changed it: what was read is what home had and has.
 *  (3) Bytes go into frames under the cache mutex only, so that a placeholder that was taken is never written to.
 */
#include "fs/txn/txn_int.h"

#include "fs/util/endian.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define CLUSTER_FRAMES_MIN 1024u /* smaller caches read single pages */
#define JUDGE_EVERY        128u  /* neighbours, before the size is looked at again */
#define PROBE_EVERY        256u  /* single reads, before a few pages are read along to see whether it pays again */
#define PROBE_PAGES        8u
#define NO_PAGE            UINT64_MAX /* nobody waits for any: all are read ahead */

struct load {
	struct knot_txn *txn;
	uint64_t page_no; /* the one that is wanted */
	uint32_t type;
	uint64_t generation;
	uint64_t token;
	uint64_t first; /* the run that is read */
	uint32_t count;
	uint8_t *buffer;
	bool shared_buffer;
	uint64_t among; /* bit i: page first + i is to be read along */
};

static bool is_ours(const struct load *load, const struct knot_page *page)
{
	return page && page->state == KNOT_CACHED_READING && page->token == load->token;
}

static bool put_placeholder_locked(struct knot_cache *cache, struct load *load, uint64_t page_no)
{
	struct knot_page *page = knot_cache_take_frame_locked(cache);

	if (!page)
		return false;
	knot_cache_add_locked(cache, page, page_no, KNOT_CACHED_READING);
	page->token = load->token;
	return true;
}

void knot_cache_judge_neighbour_locked(struct knot_cache *cache, struct knot_page *page, bool used)
{
	uint32_t outcomes;

	page->prefetched = false;
	cache->neighbours_used += used;
	cache->neighbours_wasted += !used;
	outcomes = cache->neighbours_used + cache->neighbours_wasted;
	if (outcomes < JUDGE_EVERY)
		return;
	if (cache->neighbours_used * 4 < outcomes)
		cache->cluster_pages = cache->cluster_pages > 4 ? cache->cluster_pages / 4 : 1;
	else if (cache->neighbours_used * 2 > outcomes && cache->cluster_pages < KNOT_CLUSTER_PAGES)
		cache->cluster_pages = cache->cluster_pages > 1 ? cache->cluster_pages * 4 : PROBE_PAGES;
	if (cache->cluster_pages > KNOT_CLUSTER_PAGES)
		cache->cluster_pages = KNOT_CLUSTER_PAGES;
	cache->neighbours_used = 0;
	cache->neighbours_wasted = 0;
}

/* How many aligned pages to read around a tree page; 1: it alone. */
static uint32_t run_pages_locked(struct knot_cache *cache, const struct load *load)
{
	uint32_t pages = cache->cluster_pages;

	if (pages == 1 && ++cache->single_reads >= PROBE_EVERY) {
		cache->single_reads = 0;
		pages = PROBE_PAGES;
	}
	if (load->type != KNOT_PAGE_TREE || cache->frames - cache->withheld_target < CLUSTER_FRAMES_MIN ||
	    cache->cluster_busy || cache->free_count + cache->evictable < cache->reserved + CLUSTER_FRAMES_MIN / 4 ||
	    load->page_no / pages * pages + pages > load->txn->options.super->pages)
		return 1;
	return pages;
}

/* A large read costs little more than one page: whether enough of the run is missing. */
static bool is_worth_it_locked(struct knot_cache *cache, const struct load *load, uint32_t pages)
{
	uint64_t first = load->page_no / pages * pages;
	unsigned missing = 0;

	for (unsigned i = 0; i < pages; i++)
		missing += !knot_cache_find_locked(cache, first + i);
	return missing > pages / 8;
}

static int begin_locked(struct knot_cache *cache, struct load *load)
{
	uint32_t pages = run_pages_locked(cache, load);

	load->token = ++cache->next_token;
	load->first = load->page_no;
	load->count = 1;
	load->among = UINT64_MAX;
	if (pages > 1 && is_worth_it_locked(cache, load, pages)) {
		load->first = load->page_no / pages * pages;
		load->count = pages;
		load->buffer = cache->cluster_buffer;
		load->shared_buffer = true;
		cache->cluster_busy = true;
	}
	if (!put_placeholder_locked(cache, load, load->page_no))
		return -KNOT_EFULL;
	for (uint32_t i = 0; i < load->count; i++)
		if (!knot_cache_find_locked(cache, load->first + i))
			put_placeholder_locked(cache, load, load->first + i);
	return 0;
}

static int read_pages(struct load *load, uint64_t first, uint32_t count, uint8_t *to)
{
	struct knot_txn *txn = load->txn;
	int err = knot_device_read(txn->options.device, to, (size_t)count * KNOT_PAGE_BYTES, first * KNOT_PAGE_BYTES);

	if (!err) {
		pthread_mutex_lock(&txn->cache.mutex);
		txn->cache.pages_read += count;
		pthread_mutex_unlock(&txn->cache.mutex);
	}
	return err ? -EIO : 0;
}

/* A cluster that can't be read whole must not take the page that is wanted along. */
static int read_run(struct load *load)
{
	uint64_t at = load->page_no - load->first;
	int err = read_pages(load, load->first, load->count, load->buffer);

	if (!err || load->count == 1)
		return err;
	memset(load->buffer, 0, (size_t)load->count * KNOT_PAGE_BYTES);
	return read_pages(load, load->page_no, 1, load->buffer + at * KNOT_PAGE_BYTES);
}

static int check_wanted(const struct load *load, unsigned *fault)
{
	const struct knot_disk_page_header *header;
	const uint8_t *bytes = load->buffer + (load->page_no - load->first) * KNOT_PAGE_BYTES;

	*fault = knot_page_verify(&load->txn->options.super->seal, bytes, load->page_no,
				  (enum knot_page_type)load->type);
	if (*fault)
		return -EUCLEAN;
	header = (const struct knot_disk_page_header *)(const void *)bytes;
	if (load->generation && knot_get64(header->generation) != load->generation) {
		*fault = KNOT_MISS_STALE;
		return -EUCLEAN;
	}
	return 0;
}

/* The bytes of a page whose placeholder is ours become its contents. (3) */
static void fill_locked(struct knot_cache *cache, struct knot_page *page, const uint8_t *bytes)
{
	struct knot_disk_page_header *header = page->data;

	memcpy(page->data, bytes, KNOT_PAGE_BYTES);
	page->lsn = knot_get64(header->lsn);
	memset(header->check, 0, sizeof(header->check)); /* so that it is not in the log's images */
	knot_cache_set_clean_locked(cache, page);
}

static void finish_neighbours(struct load *load, bool read_ok)
{
	struct knot_cache *cache = &load->txn->cache;
	const struct knot_seal *seal = &load->txn->options.super->seal;

	for (uint32_t i = 0; i < load->count; i++) {
		const uint8_t *bytes = load->buffer + (size_t)i * KNOT_PAGE_BYTES;
		uint64_t page_no = load->first + i;
		struct knot_page *page;
		bool good;

		if (page_no == load->page_no || !(load->among >> i & 1))
			continue;
		good = read_ok && knot_page_verify(seal, bytes, page_no, KNOT_PAGE_TREE) == KNOT_PAGE_OK;
		pthread_mutex_lock(&cache->mutex);
		page = knot_cache_find_locked(cache, page_no);
		if (is_ours(load, page) && good) {
			fill_locked(cache, page, bytes);
			page->prefetched = load->page_no != NO_PAGE;
		} else if (is_ours(load, page)) {
			knot_cache_drop_locked(cache, page);
		}
		pthread_mutex_unlock(&cache->mutex);
	}
}

/* Returns the error that is true for the page: none if the placeholder is gone, for then what was read means nothing.
 * */
static int finish_wanted(struct load *load, int err, struct knot_page **kept)
{
	struct knot_cache *cache = &load->txn->cache;
	struct knot_page *page;

	*kept = NULL;
	pthread_mutex_lock(&cache->mutex);
	page = knot_cache_find_locked(cache, load->page_no);
	if (!is_ours(load, page)) {
		err = 0;
	} else if (err) {
		knot_cache_drop_locked(cache, page);
	} else {
		fill_locked(cache, page, load->buffer + (load->page_no - load->first) * KNOT_PAGE_BYTES);
		knot_cache_keep_locked(cache, page);
		*kept = page;
	}
	if (load->shared_buffer)
		cache->cluster_busy = false;
	pthread_mutex_unlock(&cache->mutex);
	return err;
}

static int read_and_finish(struct load *load, struct knot_page **kept, unsigned *fault)
{
	int err = 0;

	if (!load->shared_buffer &&
	    posix_memalign((void **)&load->buffer, KNOT_PAGE_BYTES, (size_t)load->count * KNOT_PAGE_BYTES)) {
		load->buffer = NULL;
		err = -ENOMEM;
	}
	if (!err) {
		err = read_run(load);
		*fault = KNOT_MISS_READ;
	}
	if (load->count > 1)
		finish_neighbours(load, !err);
	if (!err)
		err = check_wanted(load, fault);
	err = finish_wanted(load, err, kept);
	if (!load->shared_buffer)
		free(load->buffer);
	return err;
}

int knot_cache_load(struct knot_txn *txn, uint64_t page_no, enum knot_page_type type, uint64_t generation,
		    struct knot_request *request, struct knot_page **page, unsigned *fault)
{
	struct load load = { .txn = txn, .page_no = page_no, .type = (uint32_t)type, .generation = generation };
	struct knot_cache *cache = &txn->cache;
	struct knot_page *found;
	int err;

	knot_request_will_block(request);
	pthread_mutex_lock(&cache->mutex);
	found = knot_cache_find_locked(cache, page_no);
	while (found && found->state == KNOT_CACHED_READING) {
		pthread_cond_wait(&cache->loaded, &cache->mutex);
		found = knot_cache_find_locked(cache, page_no);
	}
	if (found) {
		knot_cache_keep_locked(cache, found);
		pthread_mutex_unlock(&cache->mutex);
		*page = found;
		return 0;
	}
	cache->misses++;
	err = begin_locked(cache, &load);
	if (err && load.shared_buffer)
		cache->cluster_busy = false;
	pthread_mutex_unlock(&cache->mutex);
	if (err)
		return err;
	err = read_and_finish(&load, page, fault);
	knot_room_signal(&txn->room);
	return err;
}

/* Pages first + i, for each bit i of `wanted`, in one read. The first and the last of them are wanted. */
static void read_ahead(struct load *load, uint64_t wanted)
{
	struct knot_cache *cache = &load->txn->cache;
	bool go;

	pthread_mutex_lock(&cache->mutex);
	load->token = ++cache->next_token;
	for (uint32_t i = 0; i < load->count; i++) {
		struct knot_page *page = NULL;

		if (!(wanted >> i & 1))
			continue;
		page = knot_cache_find_locked(cache, load->first + i);
		if (page)
			page->referenced = true;
		else if (!cache->cluster_busy && cache->free_count + cache->evictable > cache->reserved &&
			 put_placeholder_locked(cache, load, load->first + i))
			load->among |= 1ULL << i;
	}
	go = load->among != 0;
	if (go)
		cache->cluster_busy = true;
	pthread_mutex_unlock(&cache->mutex);
	if (!go)
		return;
	load->buffer = cache->cluster_buffer;
	finish_neighbours(load, !read_pages(load, load->first, load->count, load->buffer));
	pthread_mutex_lock(&cache->mutex);
	cache->cluster_busy = false;
	pthread_mutex_unlock(&cache->mutex);
	knot_room_signal(&load->txn->room);
}

void knot_txn_read_ahead(struct knot_txn *txn, const uint64_t *pages, size_t count, struct knot_request *request)
{
	size_t next;

	if (count)
		knot_request_will_block(request);
	for (size_t at = 0; at < count; at = next) {
		struct load load = { .txn = txn, .page_no = NO_PAGE, .type = KNOT_PAGE_TREE, .first = pages[at] };
		uint64_t wanted = 0;

		for (next = at; next < count; next++) {
			if (pages[next] / KNOT_CLUSTER_PAGES != load.first / KNOT_CLUSTER_PAGES)
				break;
			load.count = (uint32_t)(pages[next] - load.first + 1);
			wanted |= 1ULL << (load.count - 1);
		}
		if (load.first < txn->options.super->pages && load.count <= txn->options.super->pages - load.first)
			read_ahead(&load, wanted);
	}
}
