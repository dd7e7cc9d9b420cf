/* SPDX-License-Identifier: MIT */
/*
 * Reading pages. The first ones are read singly: small volumes have no more. Then by the cluster of 256 KiB, as the
 * tree lies on the device; a few clusters are kept.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SINGLE_READS   64u
#define CANCEL_EVERY   64u
#define ARRAY_ROOM_MIN 16u

int knot_fsck_array_grow(struct knot_fsck_array *array, size_t item_bytes)
{
	size_t room = array->room ? array->room * 2 : ARRAY_ROOM_MIN;
	void *items;

	if (array->count < array->room)
		return 0;
	items = reallocarray(array->items, room, item_bytes);
	if (!items)
		return -ENOMEM;
	array->items = items;
	array->room = room;
	return 0;
}

int knot_fsck_ask(struct knot_fsck *fsck)
{
	const struct knot_fsck_options *options = fsck->options;

	return options->is_cancelled && options->is_cancelled(options->is_cancelled_arg) ? -ECANCELED : 0;
}

int knot_fsck_go_on(struct knot_fsck *fsck)
{
	return fsck->reads % CANCEL_EVERY == 0 ? knot_fsck_ask(fsck) : 0;
}

/* The cluster's copy, read now if need be; NULL if that does not work. */
static struct knot_fsck_cluster *get_cluster(struct knot_fsck *fsck, uint64_t first_page)
{
	struct knot_fsck_cluster *oldest = &fsck->clusters[0];
	size_t len_bytes = (size_t)KNOT_CLUSTER_PAGES * KNOT_PAGE_BYTES;

	for (unsigned i = 0; i < KNOT_FSCK_CLUSTERS; i++) {
		struct knot_fsck_cluster *cluster = &fsck->clusters[i];

		if (cluster->used_at && cluster->first_page == first_page)
			return cluster;
		if (cluster->used_at < oldest->used_at)
			oldest = cluster;
	}
	if (first_page + KNOT_CLUSTER_PAGES > fsck->super.pages)
		return NULL;
	if (!oldest->pages)
		oldest->pages = aligned_alloc(KNOT_PAGE_BYTES, len_bytes);
	if (!oldest->pages)
		return NULL;
	oldest->used_at = 0;
	if (knot_device_read(fsck->device, oldest->pages, len_bytes, first_page * KNOT_PAGE_BYTES))
		return NULL;
	oldest->first_page = first_page;
	return oldest;
}

int knot_fsck_read(struct knot_fsck *fsck, uint64_t page_no, void *page)
{
	uint64_t at = page_no % KNOT_CLUSTER_PAGES;

	if (fsck->reads++ >= SINGLE_READS) {
		struct knot_fsck_cluster *cluster = get_cluster(fsck, page_no - at);

		if (cluster) {
			cluster->used_at = fsck->reads;
			memcpy(page, cluster->pages + at * KNOT_PAGE_BYTES, KNOT_PAGE_BYTES);
			return 0;
		}
	}
	return knot_device_read(fsck->device, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES);
}

bool knot_fsck_load(struct knot_fsck *fsck, uint64_t page_no, enum knot_page_type type, enum knot_fsck_problem problem,
		    void *page)
{
	const struct knot_disk_page_header *header = page;
	struct knot_fsck_at at = { .page = page_no };

	if (knot_fsck_read(fsck, page_no, page)) {
		at.why = "can't be read";
		knot_fsck_problem(fsck, problem, &at);
		return false;
	}
	enum knot_page_fault fault = knot_page_verify(&fsck->super.seal, page, page_no, type);
	if (fault != KNOT_PAGE_OK) {
		at.why = knot_page_fault_name(fault);
		knot_fsck_problem(fsck, problem, &at);
		return false;
	}
	if (knot_get64(header->lsn) > fsck->log_end) {
		at.a = knot_get64(header->lsn);
		at.b = fsck->log_end;
		knot_fsck_problem(fsck, KNOT_FSCK_PAGE_FUTURE, &at);
	}
	return true;
}

void knot_fsck_reader_free(struct knot_fsck *fsck)
{
	for (unsigned i = 0; i < KNOT_FSCK_CLUSTERS; i++)
		free(fsck->clusters[i].pages);
}
