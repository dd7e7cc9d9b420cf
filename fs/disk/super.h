/* SPDX-License-Identifier: MIT */
/* The superblock, parsed. Read at open; written only by mkfs and administration, spare first, flush, then primary. */
#ifndef KNOT_DISK_SUPER_H
#define KNOT_DISK_SUPER_H

#include "fs/disk/device.h"
#include "fs/disk/page.h"
#include "fs/util/message.h"

#include <knotfs/format.h>

struct knot_segment {
	uint64_t page_no;
	uint64_t pages;
};

/* Immutable once read; owned by who opened the volume. */
struct knot_super {
	struct knot_seal seal;
	uint8_t uuid[16];
	uint8_t salt[16];
	uint8_t hash_seed[16];
	char label[KNOT_LABEL_BYTES];
	uint64_t compat, ro_compat, incompat, log_incompat;
	uint64_t pages;
	uint64_t groups; /* derived: groups that exist (a rest below KNOT_GROUP_PAGES_MIN does not) */
	uint32_t check_entry_bytes;
	uint32_t checks_per_page;   /* derived */
	uint32_t group_check_pages; /* derived */
	uint32_t log_write_unit_bytes;
	uint64_t state_page, root_page, group_table_page, group_table_pages;
	uint32_t segments_version;
	uint32_t segment_count;
	struct knot_segment segments[KNOT_LOG_SEGMENTS_MAX];
	uint64_t created_sec;
	uint32_t created_nsec;
};

/*
 * Read and check the superblock; the spare is taken, with a warning, when the primary is damaged.
 * Every failure says one clear line through `messages`.
 * Errors: -EMEDIUMTYPE not a knotfs volume; -EPROTONOSUPPORT a newer version or an unknown feature, named in the
 * message; -EUCLEAN damaged; -ENOSPC the device is smaller than the volume (truncated image); -EIO.
 * `*read_only` is set when an unknown ro-compat feature allows reading only.
 */
int knot_super_read(struct knot_device *device, const struct knot_messages *messages, struct knot_super *super,
		    bool *read_only);

/* Write both copies: spare, flush, primary, flush. Errors: -EIO. */
int knot_super_write(struct knot_device *device, const struct knot_super *super);

/*
 * Encode into a sealed 4096-byte page with page number `page_no`; decode one that was verified (errors as
 * knot_super_read).
 */
void knot_super_encode(const struct knot_super *super, uint64_t page_no, void *page);
int knot_super_decode(const void *page, uint64_t page_no, const struct knot_messages *messages,
		      struct knot_super *super, bool *read_only);

/* Fill the derived fields from the others. */
void knot_super_derive(struct knot_super *super);

/* Pages in group `group` (16384, or less in the last). */
uint32_t knot_super_group_pages(const struct knot_super *super, uint64_t group);

/*
 * True for pages that no file and no tree page may use: superblocks, headers, checks, state, root excluded, group
 * table, log.
 */
bool knot_super_page_is_fixed(const struct knot_super *super, uint64_t page_no);

/* True if any of these pages, all of one group, is such a page or the tree's root. */
bool knot_super_range_has_fixed(const struct knot_super *super, uint64_t page_no, uint64_t pages);

#endif
