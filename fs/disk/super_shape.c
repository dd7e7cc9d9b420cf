/* SPDX-License-Identifier: MIT */
/*
 * The rules that a superblock's contents keep. Everything that the rest of the program derives from it (ranges, counts,
 * alignments) is checked here once, so that later code may rely on it.
 */
#include "fs/disk/page_int.h"
#include "fs/util/endian.h"

#include <string.h>

#define WRITE_UNIT_MIN_BYTES KNOT_PAGE_BYTES
#define WRITE_UNIT_MAX_BYTES 65536u
#define FIXED_RANGES         5u

struct page_range {
	uint64_t page_no;
	uint64_t pages;
};

bool knot_super_is_foreign(const struct knot_disk_superblock *disk)
{
	return knot_get32(disk->version_major) != KNOT_VERSION_MAJOR ||
	       (knot_get64(disk->incompat) & ~KNOT_INCOMPAT_KNOWN) != 0 ||
	       (knot_get64(disk->log_incompat) & ~KNOT_LOG_INCOMPAT_KNOWN) != 0 ||
	       knot_get16(disk->checksum_type) != KNOT_CHECKSUM_CRC32C ||
	       knot_get16(disk->encryption_type) != KNOT_ENCRYPTION_NONE;
}

/* The end of the last group that exists. */
static uint64_t groups_end(uint64_t pages)
{
	uint64_t rest = pages % KNOT_GROUP_PAGES;

	return rest < KNOT_GROUP_PAGES_MIN ? pages - rest : pages;
}

static bool range_is_inside(const struct page_range *range, uint64_t end)
{
	return range->pages > 0 && range->page_no < end && range->pages <= end - range->page_no;
}

static bool ranges_overlap(const struct page_range *a, const struct page_range *b)
{
	return a->page_no < b->page_no + b->pages && b->page_no < a->page_no + a->pages;
}

/* True if the range holds a header or check page of some group. */
static bool range_hits_group_pages(const struct page_range *range)
{
	uint64_t last = range->page_no + range->pages - 1;
	uint64_t first_at = range->page_no % KNOT_GROUP_PAGES;
	uint64_t fixed_last = KNOT_GROUP_HEADER_AT + KNOT_GROUP_CHECK_PAGES(KNOT_CHECK_BYTES_CRC32C);

	if (first_at >= KNOT_GROUP_HEADER_AT && first_at <= fixed_last)
		return true;
	uint64_t next_header = range->page_no - first_at + KNOT_GROUP_HEADER_AT;
	if (first_at > fixed_last)
		next_header += KNOT_GROUP_PAGES;
	return last >= next_header;
}

static const char *geometry_problem(const struct knot_disk_superblock *disk)
{
	uint64_t pages = knot_get64(disk->pages), groups = groups_end(pages) / KNOT_GROUP_PAGES;
	uint32_t unit_bytes = knot_get32(disk->log_write_unit_bytes);

	groups += groups_end(pages) % KNOT_GROUP_PAGES ? 1 : 0;
	if (knot_get32(disk->page_bytes) != KNOT_PAGE_BYTES || knot_get32(disk->group_pages) != KNOT_GROUP_PAGES)
		return "page or group size";
	if (pages < KNOT_VOLUME_PAGES_MIN || pages > KNOT_PAGE_NO_MASK)
		return "volume size";
	if (knot_get16(disk->check_entry_bytes) != KNOT_CHECK_BYTES_CRC32C)
		return "size of page checks";
	if (unit_bytes < WRITE_UNIT_MIN_BYTES || unit_bytes > WRITE_UNIT_MAX_BYTES || (unit_bytes & (unit_bytes - 1)))
		return "log write unit";
	if (knot_get64(disk->group_table_pages) !=
	    (groups + KNOT_GROUPS_PER_TABLE_PAGE - 1) / KNOT_GROUPS_PER_TABLE_PAGE)
		return "size of the group table";
	return NULL;
}

static const char *log_problem(const struct knot_disk_superblock *disk, const struct page_range *segments,
			       uint32_t count)
{
	uint64_t unit_pages = knot_get32(disk->log_write_unit_bytes) / KNOT_PAGE_BYTES;
	uint64_t pages = 0;

	for (uint32_t i = 0; i < count; i++)
		pages += segments[i].pages; /* no overflow: 32 times 2^56 at most */
	if (pages < KNOT_LOG_PAGES_MIN || (pages - KNOT_LOG_SLOTS) % unit_pages)
		return "log size";
	return NULL;
}

const char *knot_super_problem(const struct knot_disk_superblock *disk)
{
	uint64_t end = groups_end(knot_get64(disk->pages));
	uint32_t segment_count = knot_get32(disk->segment_count);
	struct page_range ranges[FIXED_RANGES + KNOT_LOG_SEGMENTS_MAX] = {
		{ KNOT_SUPER_PAGE, 1 },
		{ KNOT_SUPER_SPARE_PAGE, 1 },
		{ knot_get64(disk->state_page), 1 },
		{ knot_get64(disk->root_page), 1 },
		{ knot_get64(disk->group_table_page), knot_get64(disk->group_table_pages) },
	};

	const char *problem = geometry_problem(disk);
	if (problem)
		return problem;
	if (memchr(disk->label, 0, sizeof(disk->label)) == NULL)
		return "label";
	if (segment_count < 1 || segment_count > KNOT_LOG_SEGMENTS_MAX)
		return "number of log segments";
	for (uint32_t i = 0; i < segment_count; i++) {
		ranges[FIXED_RANGES + i].page_no = knot_get64(disk->segments[i].page_no);
		ranges[FIXED_RANGES + i].pages = knot_get64(disk->segments[i].pages);
	}

	for (uint32_t i = 0; i < FIXED_RANGES + segment_count; i++) {
		if (!range_is_inside(&ranges[i], end) || range_hits_group_pages(&ranges[i]))
			return i < FIXED_RANGES ? "place of a fixed page" : "place of a log segment";
		for (uint32_t k = 0; k < i; k++) {
			if (ranges_overlap(&ranges[i], &ranges[k]))
				return "overlapping places";
		}
	}
	return log_problem(disk, ranges + FIXED_RANGES, segment_count);
}
