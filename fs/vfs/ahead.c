/* SPDX-License-Identifier: MIT */
/*
 * Listing with attributes, when their pages are not in the cache. Entries come in the order of their names' hashes, so
 * one by one each inode is a read of its own, somewhere. Here the leaves that hold the inodes of the next many entries,
 * the window, are read together, in the order of the device, and nothing else is: they stay long enough to be listed.
 *
 * Nothing is kept but pages in the cache: what the listing says is what it finds there afterwards. Windows begin small
 * and grow as a listing goes on, up to what the cache can hold.
 *
 * Invariants (the transaction lock guards volume->windows)
 *  (1) Inside a window nothing is read ahead again before a sixteenth of its entries has missed.
 *  (2) A failure here is none of the listing: that finds it again, or does not need it.
 */
#include "fs/vfs/volume_int.h"

#include "fs/util/endian.h"

#include <stdlib.h>

#define ENTRIES_MIN      256u
#define ENTRIES_MAX      65536u
#define GROWTH           4u
#define ENTRIES_PER_LOCK 512u
#define INODES_PER_LOCK  64u
#define MISSES_SPARE     16u
#define MISS_SHARE       16u /* of a window's entries may miss before another window is worth it */

struct ahead {
	struct knot_volume *volume;
	struct knot_request *request;
	struct knot_listing_window window;
	uint64_t *inodes;
	size_t count;
	size_t at;         /* the next to be looked up */
	size_t leaf_count; /* of them, at the beginning of `inodes`; never more than `at` */
	unsigned in_this_lock;
	bool end;
};

/* Whether to look ahead from `offset` on, and how far. */
static bool choose_locked(struct ahead *ahead, uint64_t dir, uint64_t offset)
{
	struct knot_volume *volume = ahead->volume;
	uint64_t frames = volume->options.cache_bytes / KNOT_PAGE_BYTES;
	uint64_t entries_max = frames / 4 * 3 < ENTRIES_MAX ? frames / 4 * 3 : ENTRIES_MAX;
	uint64_t entries = ENTRIES_MIN;

	for (unsigned i = 0; i < KNOT_LISTING_WINDOWS; i++) {
		struct knot_listing_window *known = &volume->windows[i];

		if (known->dir != dir || offset < known->from)
			continue;
		if (offset < known->to && known->misses_left > 0) {
			known->misses_left--;
			return false;
		}
		if ((uint64_t)known->entries * GROWTH > entries)
			entries = (uint64_t)known->entries * GROWTH;
		known->dir = 0;
	}
	if (entries > entries_max)
		entries = entries_max;
	ahead->window = (struct knot_listing_window){ .dir = dir, .from = offset, .to = offset,
						      .entries = (uint32_t)entries };
	return entries > 1;
}

static int collect_visit(void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	const struct knot_disk_entry *entry = value;
	struct ahead *ahead = arg;

	if (len_bytes < sizeof(*entry))
		return -EUCLEAN;
	ahead->inodes[ahead->count++] = knot_get64(entry->inode);
	ahead->window.to = knot_key_offset_low(key);
	ahead->in_this_lock++;
	return ahead->count == ahead->window.entries || ahead->in_this_lock == ENTRIES_PER_LOCK;
}

static int collect_locked(struct knot_mtr *mtr, void *arg)
{
	struct ahead *ahead = arg;
	struct knot_key from, to;
	int err;

	ahead->in_this_lock = 0;
	if (ahead->count == ahead->window.entries) /* the last page was missing after it was full */
		return 0;
	knot_key_make(&from, ahead->window.dir, KNOT_KIND_ENTRY, 0, ahead->window.to + 1);
	knot_key_make(&to, ahead->window.dir, KNOT_KIND_ENTRY, 0, INT64_MAX);
	err = knot_tree_scan(ahead->volume->tree, mtr, &from, &to, collect_visit, ahead);
	if (!err)
		ahead->end = true;
	return err > 0 ? 0 : err;
}

static int collect(struct ahead *ahead)
{
	int err = 0;

	while (!err && !ahead->end && ahead->count < ahead->window.entries && ahead->window.to < INT64_MAX)
		err = knot_op_read(ahead->volume, ahead->request, collect_locked, ahead);
	return err;
}

/* Inode numbers become numbers of the leaves that they are in; what is in memory needs none. */
static int find_leaves_locked(struct knot_mtr *mtr, void *arg)
{
	struct ahead *ahead = arg;

	for (unsigned i = 0; i < INODES_PER_LOCK && ahead->at < ahead->count; i++, ahead->at++) {
		uint64_t inode_no = ahead->inodes[ahead->at];
		struct knot_key key;
		uint64_t leaf;
		int err;

		if (knot_inode_peek(ahead->volume->nodes, inode_no))
			continue;
		knot_key_make(&key, inode_no, KNOT_KIND_INODE, 0, 0);
		err = knot_tree_leaf_of(ahead->volume->tree, mtr, &key, &leaf);
		if (err)
			return err;
		if (ahead->leaf_count == 0 || ahead->inodes[ahead->leaf_count - 1] != leaf)
			ahead->inodes[ahead->leaf_count++] = leaf; /* at most `at`: that one was read already */
	}
	return 0;
}

static int compare(const void *left, const void *right)
{
	uint64_t a = *(const uint64_t *)left, b = *(const uint64_t *)right;

	return (a > b) - (a < b);
}

static int find_leaves(struct ahead *ahead)
{
	int err = 0;

	qsort(ahead->inodes, ahead->count, sizeof(ahead->inodes[0]), compare);
	while (!err && ahead->at < ahead->count)
		err = knot_op_read(ahead->volume, ahead->request, find_leaves_locked, ahead);
	return err;
}

static void read_leaves(struct ahead *ahead)
{
	qsort(ahead->inodes, ahead->leaf_count, sizeof(ahead->inodes[0]), compare);
	knot_txn_read_ahead(ahead->volume->txn, ahead->inodes, ahead->leaf_count, ahead->request);
}

static void remember_locked(struct ahead *ahead)
{
	struct knot_volume *volume = ahead->volume;
	struct knot_listing_window *place = &volume->windows[volume->next_window++ % KNOT_LISTING_WINDOWS];

	*place = ahead->window;
	if (ahead->end)
		place->to = INT64_MAX;
	place->misses_left = (uint32_t)(MISSES_SPARE + ahead->count / MISS_SHARE);
}

void knot_ahead_of_listing(struct knot_volume *volume, struct knot_request *request, uint64_t dir, uint64_t offset)
{
	struct ahead ahead = { .volume = volume, .request = request };
	bool go;

	knot_txn_lock(volume->txn, request);
	go = choose_locked(&ahead, dir, offset);
	knot_txn_unlock(volume->txn);
	if (!go)
		return;
	ahead.inodes = malloc(ahead.window.entries * sizeof(ahead.inodes[0]));
	if (!ahead.inodes)
		return;
	if (!collect(&ahead) && !find_leaves(&ahead))
		read_leaves(&ahead);
	free(ahead.inodes);
	knot_txn_lock(volume->txn, request);
	remember_locked(&ahead);
	knot_txn_unlock(volume->txn);
}
