/* SPDX-License-Identifier: MIT */
/* Check values of pages. The shape rules of each type are in page_shape.c. */
#include "fs/disk/page.h"
#include "fs/util/endian.h"

#include <isa-l.h>
#include <limits.h>
#include <string.h>

#define CHECK_BYTES sizeof(((struct knot_disk_page_header *)0)->check)

uint32_t knot_crc32c(uint32_t crc, const void *data, size_t len_bytes)
{
	const uint8_t *bytes = data;

	while (len_bytes > 0) {
		int step = len_bytes < INT_MAX ? (int)len_bytes : INT_MAX;

		crc = crc32_iscsi((unsigned char *)(uintptr_t)bytes, step, crc);
		bytes += step;
		len_bytes -= (size_t)step;
	}
	return crc;
}

void knot_seal_init(struct knot_seal *seal, const uint8_t salt[16])
{
	seal->crc_seed = knot_crc32c(~0u, salt, 16);
}

const char *knot_page_fault_name(enum knot_page_fault fault)
{
	switch (fault) {
	case KNOT_PAGE_OK:
		return "good";
	case KNOT_PAGE_ALL_ZERO:
		return "all zero";
	case KNOT_PAGE_BAD_CHECK:
		return "wrong checksum";
	case KNOT_PAGE_BAD_TYPE:
		return "wrong type";
	case KNOT_PAGE_BAD_NUMBER:
		return "wrong page number";
	case KNOT_PAGE_BAD_SHAPE:
		return "malformed contents";
	}
	return "unknown fault";
}

const char *knot_page_type_name(uint32_t type)
{
	switch (type) {
	case KNOT_PAGE_SUPER:
		return "superblock";
	case KNOT_PAGE_GROUP:
		return "group header";
	case KNOT_PAGE_GROUP_TABLE:
		return "group table";
	case KNOT_PAGE_CHECKS:
		return "page checks";
	case KNOT_PAGE_STATE:
		return "state";
	case KNOT_PAGE_TREE:
		return "directory tree";
	default:
		return "unknown";
	}
}

void knot_page_format(void *page, enum knot_page_type type, uint64_t page_no, uint64_t generation)
{
	struct knot_disk_page_header *header = page;

	header->type = knot_put32(type);
	header->page_no = knot_put64(page_no);
	header->generation = knot_put64(generation);
}

/* CRC32C of salt, 32 zero bytes, and the page from byte 32 on. */
static uint32_t page_check(const struct knot_seal *seal, const void *page)
{
	static const uint8_t zeros[CHECK_BYTES];
	uint32_t crc = knot_crc32c(seal->crc_seed, zeros, sizeof(zeros));

	return ~knot_crc32c(crc, (const uint8_t *)page + CHECK_BYTES, KNOT_PAGE_BYTES - CHECK_BYTES);
}

void knot_page_seal(const struct knot_seal *seal, void *page)
{
	struct knot_disk_page_header *header = page;
	knot_le32 check = knot_put32(page_check(seal, page));

	memset(header->check, 0, sizeof(header->check));
	memcpy(header->check, check.raw, sizeof(check.raw));
}

static bool is_all_zero(const void *page)
{
	const uint8_t *bytes = page;

	return bytes[0] == 0 && memcmp(bytes, bytes + 1, KNOT_PAGE_BYTES - 1) == 0;
}

enum knot_page_fault knot_page_verify(const struct knot_seal *seal, const void *page, uint64_t page_no,
				      enum knot_page_type type)
{
	const struct knot_disk_page_header *header = page;
	uint8_t check[CHECK_BYTES] = { 0 };
	knot_le32 crc = knot_put32(page_check(seal, page));

	if (knot_get32(header->type) == 0 && is_all_zero(page))
		return KNOT_PAGE_ALL_ZERO;
	memcpy(check, crc.raw, sizeof(crc.raw));
	if (memcmp(header->check, check, sizeof(check)) != 0)
		return KNOT_PAGE_BAD_CHECK;
	if (knot_get32(header->type) != (uint32_t)type)
		return KNOT_PAGE_BAD_TYPE;
	if (knot_get64(header->page_no) != page_no)
		return KNOT_PAGE_BAD_NUMBER;
	return knot_page_verify_shape(page, type);
}

uint32_t knot_data_check(const struct knot_seal *seal, const void *page, uint64_t page_no)
{
	knot_le64 number = knot_put64(page_no);
	uint32_t crc = knot_crc32c(seal->crc_seed, number.raw, sizeof(number.raw));

	return ~knot_crc32c(crc, page, KNOT_PAGE_BYTES);
}
