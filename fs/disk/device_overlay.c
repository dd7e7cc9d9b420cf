/* SPDX-License-Identifier: MIT */
/*
 * A view of another device whose writes stay in memory, in a hash of 4 KiB pages.
 *
 * Invariants
 *  (1) `base` is never written.
 *  (2) A page in the hash holds all of that page: a write of a part begins with a copy of the base's bytes.
 *  (3) `lock` guards the hash and the pages' bytes; the base is read without it.
 */
#include "fs/disk/device_int.h"
#include "fs/util/hash.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define OVERLAY_PAGE_BYTES 4096u

struct overlay_page {
	struct knot_hash_node node; /* key: page number */
	unsigned char bytes[OVERLAY_PAGE_BYTES];
};

struct knot_device_overlay {
	struct knot_device device;
	struct knot_device *base;
	pthread_mutex_t lock;
	struct knot_hash pages;
};

static struct knot_device_overlay *overlay_of(struct knot_device *device)
{
	return (struct knot_device_overlay *)device;
}

/* What of one page a request touches. */
struct overlay_piece {
	uint64_t page_no;
	size_t offset;
	size_t len_bytes;
};

static struct overlay_piece piece_at(uint64_t at_bytes, size_t left_bytes)
{
	struct overlay_piece piece = {
		.page_no = at_bytes / OVERLAY_PAGE_BYTES,
		.offset = (size_t)(at_bytes % OVERLAY_PAGE_BYTES),
	};
	size_t room = OVERLAY_PAGE_BYTES - piece.offset;

	piece.len_bytes = left_bytes < room ? left_bytes : room;
	return piece;
}

/* Bytes from `at_bytes` on, at most `len_bytes`, that no page of the hash covers. */
static size_t uncovered_locked(const struct knot_device_overlay *overlay, uint64_t at_bytes, size_t len_bytes)
{
	size_t run = 0;

	while (run < len_bytes) {
		struct overlay_piece piece = piece_at(at_bytes + run, len_bytes - run);

		if (knot_hash_find(&overlay->pages, piece.page_no))
			break;
		run += piece.len_bytes;
	}
	return run;
}

/* What is covered is not read from the base: it may be unreadable there. */
static int overlay_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct knot_device_overlay *overlay = overlay_of(device);
	unsigned char *to = buffer;

	int err = knot_device_check_range(device, at_bytes, len_bytes);
	while (!err && len_bytes > 0) {
		pthread_mutex_lock(&overlay->lock);
		size_t step = uncovered_locked(overlay, at_bytes, len_bytes);
		bool covered = step == 0;
		if (covered) {
			struct overlay_piece piece = piece_at(at_bytes, len_bytes);
			const struct overlay_page *page =
				(const struct overlay_page *)knot_hash_find(&overlay->pages, piece.page_no);

			memcpy(to, page->bytes + piece.offset, piece.len_bytes);
			step = piece.len_bytes;
		}
		pthread_mutex_unlock(&overlay->lock);

		if (!covered)
			err = knot_device_read(overlay->base, to, step, at_bytes);
		to += step;
		at_bytes += step;
		len_bytes -= step;
	}
	return err;
}

/* The page of the hash, made from the base's if it is new and not overwritten as a whole. */
static int get_page_locked(struct knot_device_overlay *overlay, const struct overlay_piece *piece,
			   struct overlay_page **result)
{
	uint64_t at_bytes = piece->page_no * OVERLAY_PAGE_BYTES;
	struct overlay_page *page = (struct overlay_page *)knot_hash_find(&overlay->pages, piece->page_no);

	if (page) {
		*result = page;
		return 0;
	}
	page = malloc(sizeof(*page));
	if (!page)
		return -ENOMEM;
	memset(page->bytes, 0, sizeof(page->bytes));
	if (piece->len_bytes < OVERLAY_PAGE_BYTES) {
		uint64_t room = overlay->device.size_bytes - at_bytes;
		int err = knot_device_read(overlay->base, page->bytes,
					   room < OVERLAY_PAGE_BYTES ? room : OVERLAY_PAGE_BYTES, at_bytes);

		if (err) {
			free(page);
			return err;
		}
	}
	knot_hash_add(&overlay->pages, &page->node, piece->page_no);
	*result = page;
	return 0;
}

static int overlay_writev(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	struct knot_device_overlay *overlay = overlay_of(device);
	uint64_t total;

	int err = knot_device_check_write(device, iov, iov_count, at_bytes, &total);
	if (err)
		return err;

	pthread_mutex_lock(&overlay->lock);
	for (int i = 0; i < iov_count && !err; i++) {
		const unsigned char *from = iov[i].iov_base;
		size_t left = iov[i].iov_len;

		while (left > 0) {
			struct overlay_piece piece = piece_at(at_bytes, left);
			struct overlay_page *page;

			err = get_page_locked(overlay, &piece, &page);
			if (err)
				break;
			memcpy(page->bytes + piece.offset, from, piece.len_bytes);
			from += piece.len_bytes;
			at_bytes += piece.len_bytes;
			left -= piece.len_bytes;
		}
	}
	pthread_mutex_unlock(&overlay->lock);
	return err;
}

static int overlay_flush(struct knot_device *device)
{
	(void)device;
	return 0;
}

static void overlay_close(struct knot_device *device)
{
	struct knot_device_overlay *overlay = overlay_of(device);
	struct knot_hash_node *node;
	size_t bucket = 0;

	while ((node = knot_hash_next(&overlay->pages, NULL, &bucket)) != NULL) {
		knot_hash_remove(&overlay->pages, node);
		free(node);
	}
	knot_hash_destroy(&overlay->pages);
	pthread_mutex_destroy(&overlay->lock);
	free(overlay);
}

static const struct knot_device_ops overlay_ops = {
	.read = overlay_read,
	.writev = overlay_writev,
	.flush = overlay_flush,
	.close = overlay_close,
};

int knot_device_open_overlay(struct knot_device *base, struct knot_device **device)
{
	struct knot_device_overlay *overlay = calloc(1, sizeof(*overlay));
	if (!overlay)
		return -ENOMEM;

	int err = knot_hash_init(&overlay->pages, 64);
	if (err) {
		free(overlay);
		return err;
	}
	pthread_mutex_init(&overlay->lock, NULL);
	overlay->base = base;
	overlay->device.ops = &overlay_ops;
	overlay->device.size_bytes = base->size_bytes;
	overlay->device.write_unit_bytes = base->write_unit_bytes;
	overlay->device.name = base->name;
	*device = &overlay->device;
	return 0;
}
