/* SPDX-License-Identifier: MIT */
/*
 * Sealing and verifying pages: pure functions, shared by the file system, mkfs and fsck. No I/O, no allocation.
 */
#ifndef KNOT_DISK_PAGE_H
#define KNOT_DISK_PAGE_H

#include <knotfs/format.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What seeds the checks of one volume; computed once from the salt. */
struct knot_seal {
	uint32_t crc_seed; /* CRC32C of the 16 salt bytes, initial value 0xffffffff, no final inversion */
};

void knot_seal_init(struct knot_seal *seal, const uint8_t salt[16]);

/* CRC32C (Castagnoli), raw update: no initial or final inversion. */
uint32_t knot_crc32c(uint32_t crc, const void *data, size_t len_bytes);

/* Why a page is refused. */
enum knot_page_fault {
	KNOT_PAGE_OK = 0,
	KNOT_PAGE_ALL_ZERO, /* never written, or zeroed */
	KNOT_PAGE_BAD_CHECK,
	KNOT_PAGE_BAD_TYPE,
	KNOT_PAGE_BAD_NUMBER, /* belongs elsewhere */
	KNOT_PAGE_BAD_SHAPE,  /* checks out, but its contents break the rules of its type */
};

/* A few words for messages ("checksum", ...). Static. */
const char *knot_page_fault_name(enum knot_page_fault fault);

/* "directory tree", "group header", ...; "unknown" for others. Static. */
const char *knot_page_type_name(uint32_t type);

/* Fill a zeroed page's header (type, page number, generation). */
void knot_page_format(void *page, enum knot_page_type type, uint64_t page_no, uint64_t generation);

/* Compute the check area: the last thing done to a copy before it goes home. */
void knot_page_seal(const struct knot_seal *seal, void *page);

/*
 * Verify a page as read from the device: not all zero, check, type, own number, then the shape rules of its type (for
 * tree pages: counts, slots and items inside the page, keys strictly ascending, value sizes; for groups and tables:
 * ranges).
 */
enum knot_page_fault knot_page_verify(const struct knot_seal *seal, const void *page, uint64_t page_no,
				      enum knot_page_type type);

/* The shape rules alone (fuzzing, fsck). */
enum knot_page_fault knot_page_verify_shape(const void *page, enum knot_page_type type);

/* The check value of a data page: CRC32C over the page number (le64) and its 4096 bytes. */
uint32_t knot_data_check(const struct knot_seal *seal, const void *page, uint64_t page_no);

#endif
