/* SPDX-License-Identifier: MIT */
/*
 * The second scan: build every page that the log changed from the log alone, and write it home.
 *
 * Invariants
 *  (1) A page's frame begins with its first whole image in range that no FREE follows. Records before that image
 *      belong to a time before the page was last clean, so they are home (whole-page rule), or to a life that ended
 *      with FREE.
 *  (2) A pass takes pages of [low, high). `high` only falls: a page below its last value has had all its records
 *      from the scan's beginning. The next pass begins at `high`. So memory is bounded, and homes are written in
 *      disk order.
 *  (3) A metadata page's LSN is the end LSN of the last mini-transaction that changed it: what it was before the cut.
 *  (4) No home page is read: what is there may be torn.
 *
 * If power fails: home pages are old, new or torn; the slot still points to the old checkpoint, and the next
 * recovery builds the same pages from the same log and writes them again.
 */
#include "fs/txn/recovery_int.h"

#include "fs/util/hash.h"

#include "fs/util/endian.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define PAGES_MIN 16u
#define RUN_PAGES_MAX 256u       /* 1 MiB a write */

struct built_page {
	struct knot_hash_node node;  /* key: page number, space above it */
	uint64_t page_no;
	uint64_t lsn;
	uint8_t space;
	bool is_touched;             /* by the open mini-transaction */
	struct built_page *next_touched;
	uint8_t *frame;
};

struct build {
	struct knot_recovery *recovery;
	struct built_page *pages;    /* all of them */
	struct built_page **order;   /* order[0..used) in use, the rest free */
	uint8_t *frames;
	size_t capacity;
	size_t used;
	struct knot_hash hash;
	struct built_page *touched;
	uint64_t low, high;          /* (2) */
	struct knot_log_record record;
};

static int build_init(struct build *build, struct knot_recovery *recovery)
{
	size_t page_bytes = KNOT_PAGE_BYTES + sizeof(struct built_page) + sizeof(struct built_page *) + 16;
	uint64_t images_max = recovery->ring.bytes / sizeof(struct knot_disk_record) + 1;
	void *frames = NULL;
	size_t i;
	int err;

	build->recovery = recovery;
	build->capacity = recovery->options->batch_bytes / page_bytes;
	if (build->capacity > images_max)
		build->capacity = (size_t)images_max;
	if (build->capacity < PAGES_MIN)
		build->capacity = PAGES_MIN;
	err = knot_hash_init(&build->hash, build->capacity);
	if (err)
		return err;
	build->pages = calloc(build->capacity, sizeof(build->pages[0]));
	build->order = calloc(build->capacity, sizeof(build->order[0]));
	if (!build->pages || !build->order ||
	    posix_memalign(&frames, KNOT_PAGE_BYTES, build->capacity * KNOT_PAGE_BYTES))
		return -ENOMEM;
	build->frames = frames;
	for (i = 0; i < build->capacity; i++) {
		build->pages[i].frame = build->frames + i * KNOT_PAGE_BYTES;
		build->order[i] = &build->pages[i];
	}
	return 0;
}

static void build_destroy(struct build *build)
{
	free(build->frames);
	free(build->order);
	free(build->pages);
	knot_hash_destroy(&build->hash);
}

static uint64_t key_of(uint64_t page_no, uint8_t space)
{
	return page_no | (uint64_t)space << 56;
}

static struct built_page *find_page(const struct build *build, uint64_t page_no, uint8_t space)
{
	struct knot_hash_node *node = knot_hash_find(&build->hash, key_of(page_no, space));

	return (struct built_page *)node; /* its first member */
}

static int compare_pages(const void *a, const void *b)
{
	const struct built_page *left = *(struct built_page *const *)a;
	const struct built_page *right = *(struct built_page *const *)b;

	if (left->page_no != right->page_no)
		return left->page_no < right->page_no ? -1 : 1;
	return (left->space > right->space) - (left->space < right->space);
}

/* Full: leave the upper half of the pages to the next pass. */
static void lower_high(struct build *build)
{
	struct built_page **link = &build->touched;
	size_t keep = build->used / 2;

	qsort(build->order, build->used, sizeof(build->order[0]), compare_pages);
	build->high = build->order[keep]->page_no;
	while (keep && build->order[keep - 1]->page_no == build->high)
		keep--;
	while (*link) {
		if ((*link)->page_no >= build->high)
			*link = (*link)->next_touched;
		else
			link = &(*link)->next_touched;
	}
	while (build->used > keep)
		knot_hash_remove(&build->hash, &build->order[--build->used]->node);
}

static struct built_page *add_page(struct build *build, uint64_t page_no, uint8_t space)
{
	struct built_page *page;

	if (build->used == build->capacity)
		lower_high(build);
	if (page_no >= build->high)
		return NULL;
	page = build->order[build->used++];
	page->page_no = page_no;
	page->space = space;
	page->lsn = 0;
	page->is_touched = false;
	knot_hash_add(&build->hash, &page->node, key_of(page_no, space));
	return page;
}

static void take_change(struct build *build)
{
	const struct knot_log_record *record = &build->record;
	size_t after = record->offset + record->len;
	struct built_page *page;

	if (record->page_no < build->low || record->page_no >= build->high ||
	    record->lsn < knot_free_map_find(&build->recovery->frees, record->page_no))
		return;
	page = find_page(build, record->page_no, record->space);
	if (!page && record->type == KNOT_RECORD_PAGE)
		page = add_page(build, record->page_no, record->space);
	if (!page)
		return; /* (1), (2) */

	if (record->type == KNOT_RECORD_PAGE) {
		memcpy(page->frame, record->bytes, record->offset);
		memset(page->frame + record->offset, 0, record->len);
		memcpy(page->frame + after, record->bytes + record->offset, KNOT_PAGE_BYTES - after);
	} else {
		memcpy(page->frame + record->offset, record->bytes, record->len);
	}
	if (!page->is_touched) {
		page->is_touched = true;
		page->next_touched = build->touched;
		build->touched = page;
	}
}

static void end_mtr(struct build *build)
{
	struct built_page *page;

	for (page = build->touched; page; page = page->next_touched) {
		page->lsn = build->record.end_lsn; /* (3) */
		page->is_touched = false;
	}
	build->touched = NULL;
}

static int collect(struct build *build)
{
	struct knot_recovery *recovery = build->recovery;
	struct knot_log_reader reader;

	knot_log_reader_init(&reader, &recovery->window, recovery->messages, &recovery->slot);
	while (reader.lsn < recovery->valid_end) {
		int got = knot_log_reader_next(&reader, &build->record);

		if (got < 0)
			return got;
		if (!got) {
			knot_message(recovery->messages, KNOT_ERROR,
				     "log: block at LSN %" PRIu64 " reads differently a second time", reader.lsn);
			return -EIO;
		}
		if (build->record.type == KNOT_RECORD_BYTES || build->record.type == KNOT_RECORD_PAGE)
			take_change(build);
		else if (build->record.type == KNOT_RECORD_END_MTR)
			end_mtr(build);
	}
	return 0;
}

static void finish_page(const struct build *build, struct built_page *page)
{
	struct knot_disk_page_header *header = (struct knot_disk_page_header *)(void *)page->frame;

	if (page->space != KNOT_SPACE_META)
		return;
	header->lsn = knot_put64(page->lsn);
	knot_page_seal(&build->recovery->super->seal, page->frame);
}

/* Write the pages of one pass, neighbours together. */
static int write_home(struct build *build)
{
	struct knot_recovery *recovery = build->recovery;
	struct iovec iov[RUN_PAGES_MAX];
	size_t first = 0;
	int count = 0;
	size_t i;

	qsort(build->order, build->used, sizeof(build->order[0]), compare_pages);
	for (i = 0; i < build->used; i++) {
		struct built_page *page = build->order[i];
		int err;

		if (i && build->order[i - 1]->page_no == page->page_no) {
			knot_message(recovery->messages, KNOT_ERROR,
				     "log: page %" PRIu64
				     " is changed as metadata and as file data, and not freed in between",
				     page->page_no);
			return -EUCLEAN;
		}
		finish_page(build, page);
		iov[count].iov_base = page->frame;
		iov[count].iov_len = KNOT_PAGE_BYTES;
		count++;
		if (i + 1 < build->used && build->order[i + 1]->page_no == page->page_no + 1 &&
		    count < (int)RUN_PAGES_MAX)
			continue;
		err = knot_device_writev(recovery->device, iov, count, build->order[first]->page_no * KNOT_PAGE_BYTES);
		if (err)
			return err;
		recovery->result.pages_written += (uint64_t)count;
		first = i + 1;
		count = 0;
	}
	return 0;
}

static void forget_pages(struct build *build)
{
	while (build->used)
		knot_hash_remove(&build->hash, &build->order[--build->used]->node);
}

int knot_recovery_apply(struct knot_recovery *recovery)
{
	struct build *build = calloc(1, sizeof(*build));
	int err;

	if (!build)
		return -ENOMEM;
	err = build_init(build, recovery);
	build->high = 0;
	while (!err && build->high != UINT64_MAX) {
		build->low = build->high;
		build->high = UINT64_MAX;
		err = collect(build);
		if (!err)
			err = write_home(build);
		forget_pages(build);
	}
	build_destroy(build);
	free(build);
	return err;
}
