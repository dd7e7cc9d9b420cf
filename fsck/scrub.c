/* SPDX-License-Identifier: MIT */
/*
 * File contents against the page-check table, in the order of the device. Which file a bad page belongs to is found by
 * another walk, only when there is one.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RUN_PAGES 256u /* 1 MiB */

struct bad_page {
	uint64_t page_no;
	bool is_unreadable;
};

struct scrub {
	struct knot_fsck *fsck;
	uint8_t *data;   /* RUN_PAGES */
	uint8_t *checks; /* a check page */
	uint32_t checks_no;
	bool has_checks, is_loaded;
};

static int note_bad(struct knot_fsck *fsck, uint64_t page_no, bool is_unreadable)
{
	int err = knot_fsck_array_grow(&fsck->bad_pages, sizeof(struct bad_page));

	if (!err)
		((struct bad_page *)fsck->bad_pages.items)[fsck->bad_pages.count++] =
			(struct bad_page){ .page_no = page_no, .is_unreadable = is_unreadable };
	return err;
}

/* The value that the page should have. False when its check page is damaged: that was said in an earlier pass. */
static bool wanted_check(struct scrub *scrub, uint64_t group, uint32_t at, uint32_t *check)
{
	const struct knot_super *super = &scrub->fsck->super;
	const struct knot_disk_checks *checks = (const struct knot_disk_checks *)scrub->checks;
	uint32_t number = at / super->checks_per_page;
	uint64_t page_no = group * KNOT_GROUP_PAGES + KNOT_GROUP_CHECKS_AT + number;
	knot_le32 raw;

	if (!scrub->is_loaded || scrub->checks_no != number) {
		scrub->is_loaded = true;
		scrub->checks_no = number;
		scrub->has_checks = !knot_fsck_read(scrub->fsck, page_no, scrub->checks) &&
				    knot_page_verify(&super->seal, scrub->checks, page_no, KNOT_PAGE_CHECKS) ==
					    KNOT_PAGE_OK;
	}
	if (!scrub->has_checks)
		return false;
	memcpy(&raw, checks->entries + (size_t)(at % super->checks_per_page) * super->check_entry_bytes, sizeof(raw));
	*check = knot_get32(raw);
	return true;
}

static int check_page(struct scrub *scrub, uint64_t group, uint32_t at, const uint8_t *page)
{
	struct knot_fsck *fsck = scrub->fsck;
	uint64_t page_no = group * KNOT_GROUP_PAGES + at;
	uint32_t wanted;

	fsck->report->scrubbed_pages++;
	if (!wanted_check(scrub, group, at, &wanted) || wanted == knot_data_check(&fsck->super.seal, page, page_no))
		return 0;
	return note_bad(fsck, page_no, false);
}

/* Pages [at, at + count) of the group. What can't be read together is read one by one. */
static int check_run(struct scrub *scrub, uint64_t group, uint32_t at, uint32_t count)
{
	struct knot_fsck *fsck = scrub->fsck;
	uint64_t page_no = group * KNOT_GROUP_PAGES + at;
	int err = 0;

	fsck->reads += count;
	if (knot_device_read(fsck->device, scrub->data, (size_t)count * KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES) ==
	    0) {
		for (uint32_t i = 0; i < count && !err; i++)
			err = check_page(scrub, group, at + i, scrub->data + (size_t)i * KNOT_PAGE_BYTES);
		return err;
	}
	for (uint32_t i = 0; i < count && !err; i++) {
		if (knot_device_read(fsck->device, scrub->data, KNOT_PAGE_BYTES, (page_no + i) * KNOT_PAGE_BYTES))
			err = note_bad(fsck, page_no + i, true);
		else
			err = check_page(scrub, group, at + i, scrub->data);
	}
	return err;
}

static int scrub_group(struct scrub *scrub, uint64_t group, const uint64_t *written)
{
	int err = 0;

	scrub->is_loaded = false;
	for (uint32_t at = 0; at < KNOT_GROUP_PAGES && !err;) {
		uint32_t count = 0;

		while (at + count < KNOT_GROUP_PAGES && count < RUN_PAGES &&
		       written[(at + count) / 64] >> (at + count) % 64 & 1)
			count++;
		if (count) {
			err = knot_fsck_ask(scrub->fsck);
			if (!err)
				err = check_run(scrub, group, at, count);
		}
		at += count ? count : 1;
	}
	return err;
}

/* ---- whose they are ---- */

static const struct bad_page *first_bad(const struct knot_fsck *fsck, uint64_t page_no)
{
	const struct bad_page *bad = fsck->bad_pages.items;
	size_t low = 0, high = fsck->bad_pages.count;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (bad[middle].page_no < page_no)
			low = middle + 1;
		else
			high = middle;
	}
	return bad + low;
}

static int find_owner(struct knot_fsck *fsck, void *arg, const struct knot_key *key, const void *value,
		      size_t len_bytes)
{
	const struct bad_page *end = (const struct bad_page *)fsck->bad_pages.items + fsck->bad_pages.count;
	struct knot_disk_extent disk;

	(void)arg;
	if (knot_key_kind(key) != KNOT_KIND_EXTENT || len_bytes != sizeof(disk))
		return 0;
	memcpy(&disk, value, sizeof(disk));
	uint64_t first = knot_get64(disk.page_no), pages = knot_get32(disk.pages);

	if (knot_get32(disk.flags) & KNOT_EXTENT_UNWRITTEN)
		return 0;
	for (const struct bad_page *bad = first_bad(fsck, first); bad < end && bad->page_no - first < pages; bad++) {
		const struct knot_fsck_at at = {
			.object = knot_key_object(key),
			.file_page = knot_key_offset_low(key) + (bad->page_no - first),
			.page = bad->page_no,
		};

		knot_fsck_problem(fsck, bad->is_unreadable ? KNOT_FSCK_DATA_UNREADABLE : KNOT_FSCK_DATA_CHECK, &at);
	}
	return 0;
}

int knot_fsck_scrub(struct knot_fsck *fsck)
{
	struct scrub scrub = { .fsck = fsck };
	int err = -ENOMEM;

	scrub.data = aligned_alloc(KNOT_PAGE_BYTES, (size_t)RUN_PAGES * KNOT_PAGE_BYTES);
	scrub.checks = aligned_alloc(KNOT_PAGE_BYTES, KNOT_PAGE_BYTES);
	if (!scrub.data || !scrub.checks)
		goto out;
	err = 0;
	for (uint64_t group = 0; group < fsck->groups && !err; group++) {
		if (fsck->used[group] && fsck->used[group]->written)
			err = scrub_group(&scrub, group, fsck->used[group]->written);
	}
	if (!err && fsck->bad_pages.count)
		err = knot_fsck_walk_again(fsck, find_owner, NULL);
out:
	free(scrub.data);
	free(scrub.checks);
	return err;
}
