/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing the superblock.
 *
 * Invariants
 *  (1) The copies are written spare first, then the primary, with a flush after each: at any instant one of them is
 *      whole.
 *  (2) The spare counts only where the primary is ours and damaged, unreadable or wiped with zeros. A primary that
 *      holds something else belongs to somebody else, even if our spare is still there.
 *
 * If power fails between the two writes: the primary is whole and older; fsck brings the spare in line.
 */
#include "fs/disk/super.h"
#include "fs/disk/page_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

void knot_super_derive(struct knot_super *super)
{
	knot_seal_init(&super->seal, super->salt);
	super->checks_per_page = KNOT_CHECKS_PER_PAGE(super->check_entry_bytes);
	super->group_check_pages = KNOT_GROUP_CHECK_PAGES(super->check_entry_bytes);
	super->groups =
		super->pages / KNOT_GROUP_PAGES + (super->pages % KNOT_GROUP_PAGES >= KNOT_GROUP_PAGES_MIN ? 1 : 0);
}

uint32_t knot_super_group_pages(const struct knot_super *super, uint64_t group)
{
	uint64_t left = super->pages - group * KNOT_GROUP_PAGES;

	return left < KNOT_GROUP_PAGES ? (uint32_t)left : KNOT_GROUP_PAGES;
}

static bool is_in(uint64_t page_no, uint64_t first, uint64_t pages)
{
	return page_no >= first && page_no - first < pages;
}

bool knot_super_page_is_fixed(const struct knot_super *super, uint64_t page_no)
{
	uint64_t at = page_no % KNOT_GROUP_PAGES;

	if (page_no == KNOT_SUPER_PAGE || page_no == KNOT_SUPER_SPARE_PAGE || page_no == super->state_page)
		return true;
	if (is_in(at, KNOT_GROUP_HEADER_AT, 1 + super->group_check_pages))
		return true;
	if (is_in(page_no, super->group_table_page, super->group_table_pages))
		return true;
	for (uint32_t i = 0; i < super->segment_count; i++) {
		if (is_in(page_no, super->segments[i].page_no, super->segments[i].pages))
			return true;
	}
	return false;
}

static bool overlap(uint64_t a, uint64_t a_count, uint64_t b, uint64_t b_count)
{
	return a < b + b_count && b < a + a_count;
}

bool knot_super_range_has_fixed(const struct knot_super *super, uint64_t page_no, uint64_t pages)
{
	uint64_t at = page_no % KNOT_GROUP_PAGES;

	if (overlap(page_no, pages, KNOT_SUPER_PAGE, 1) || overlap(page_no, pages, KNOT_SUPER_SPARE_PAGE, 1) ||
	    overlap(page_no, pages, super->state_page, 1) || overlap(page_no, pages, super->root_page, 1) ||
	    overlap(at, pages, KNOT_GROUP_HEADER_AT, 1 + super->group_check_pages) ||
	    overlap(page_no, pages, super->group_table_page, super->group_table_pages))
		return true;
	for (uint32_t i = 0; i < super->segment_count; i++) {
		if (overlap(page_no, pages, super->segments[i].page_no, super->segments[i].pages))
			return true;
	}
	return false;
}

void knot_super_encode(const struct knot_super *super, uint64_t page_no, void *page)
{
	struct knot_disk_superblock *disk = page;

	memset(disk, 0, sizeof(*disk));
	knot_page_format(disk, KNOT_PAGE_SUPER, page_no, KNOT_LSN_FIRST);
	disk->header.lsn = knot_put64(KNOT_LSN_FIRST);
	memcpy(disk->magic, KNOT_MAGIC, sizeof(disk->magic));
	disk->version_major = knot_put32(KNOT_VERSION_MAJOR);
	disk->version_minor = knot_put32(KNOT_VERSION_MINOR);
	disk->compat = knot_put64(super->compat);
	disk->ro_compat = knot_put64(super->ro_compat);
	disk->incompat = knot_put64(super->incompat);
	disk->log_incompat = knot_put64(super->log_incompat);
	memcpy(disk->uuid, super->uuid, sizeof(disk->uuid));
	memcpy(disk->salt, super->salt, sizeof(disk->salt));
	memcpy(disk->hash_seed, super->hash_seed, sizeof(disk->hash_seed));
	memcpy(disk->label, super->label, strnlen(super->label, sizeof(super->label) - 1));
	disk->page_bytes = knot_put32(KNOT_PAGE_BYTES);
	disk->group_pages = knot_put32(KNOT_GROUP_PAGES);
	disk->pages = knot_put64(super->pages);
	disk->checksum_type = knot_put16(KNOT_CHECKSUM_CRC32C);
	disk->encryption_type = knot_put16(KNOT_ENCRYPTION_NONE);
	disk->check_entry_bytes = knot_put16((uint16_t)super->check_entry_bytes);
	disk->log_write_unit_bytes = knot_put32(super->log_write_unit_bytes);
	disk->segments_version = knot_put32(super->segments_version);
	disk->state_page = knot_put64(super->state_page);
	disk->root_page = knot_put64(super->root_page);
	disk->group_table_page = knot_put64(super->group_table_page);
	disk->group_table_pages = knot_put64(super->group_table_pages);
	disk->created_sec = knot_put64(super->created_sec);
	disk->created_nsec = knot_put32(super->created_nsec);
	disk->segment_count = knot_put32(super->segment_count);
	for (uint32_t i = 0; i < super->segment_count; i++) {
		disk->segments[i].page_no = knot_put64(super->segments[i].page_no);
		disk->segments[i].pages = knot_put64(super->segments[i].pages);
	}
	knot_page_seal(&super->seal, disk);
}

/* Name the lowest unknown bit of a feature mask. */
static const char *feature_name(uint64_t unknown, bool incompat, char buffer[static 24])
{
	static const char *const reserved[] = { "encryption", "an external log", "several devices", "snapshots" };
	unsigned bit = (unsigned)__builtin_ctzll(unknown);

	if (incompat && bit < sizeof(reserved) / sizeof(reserved[0]))
		return reserved[bit];
	snprintf(buffer, 24, "feature bit %u", bit);
	return buffer;
}

/* Errors: -EPROTONOSUPPORT. */
static int check_features(const struct knot_disk_superblock *disk, const struct knot_messages *messages,
			  bool *read_only)
{
	uint32_t major = knot_get32(disk->version_major);
	uint64_t incompat = knot_get64(disk->incompat) & ~KNOT_INCOMPAT_KNOWN;
	uint64_t log_incompat = knot_get64(disk->log_incompat) & ~KNOT_LOG_INCOMPAT_KNOWN;
	uint64_t ro_compat = knot_get64(disk->ro_compat) & ~KNOT_RO_COMPAT_KNOWN;
	char buffer[24];

	if (major != KNOT_VERSION_MAJOR) {
		knot_message(messages, KNOT_ERROR,
			     "format version %" PRIu32 ".%" PRIu32 "; this program knows version %u only", major,
			     knot_get32(disk->version_minor), KNOT_VERSION_MAJOR);
		return -EPROTONOSUPPORT;
	}
	if (incompat || log_incompat) {
		knot_message(messages, KNOT_ERROR, "the volume uses %s%s, which this program does not know",
			     feature_name(incompat ? incompat : log_incompat, incompat != 0, buffer),
			     incompat ? "" : " of the log");
		return -EPROTONOSUPPORT;
	}
	if (knot_get16(disk->checksum_type) != KNOT_CHECKSUM_CRC32C ||
	    knot_get16(disk->encryption_type) != KNOT_ENCRYPTION_NONE) {
		knot_message(messages, KNOT_ERROR,
			     "the volume uses checksum type %u, encryption type %u, which this program does not know",
			     knot_get16(disk->checksum_type), knot_get16(disk->encryption_type));
		return -EPROTONOSUPPORT;
	}
	if (ro_compat)
		knot_message(messages, KNOT_WARNING, "the volume uses %s, which this program can only read",
			     feature_name(ro_compat, false, buffer));
	*read_only = ro_compat != 0;
	return 0;
}

int knot_super_decode(const void *page, uint64_t page_no, const struct knot_messages *messages,
		      struct knot_super *super, bool *read_only)
{
	const struct knot_disk_superblock *disk = page;
	struct knot_super found = { 0 };
	bool found_read_only;

	int err = check_features(disk, messages, &found_read_only);
	if (err)
		return err;
	const char *problem = knot_super_problem(disk);
	if (problem) {
		knot_message(messages, KNOT_ERROR, "superblock in page %" PRIu64 " is malformed: %s", page_no, problem);
		return -EUCLEAN;
	}

	memcpy(found.uuid, disk->uuid, sizeof(found.uuid));
	memcpy(found.salt, disk->salt, sizeof(found.salt));
	memcpy(found.hash_seed, disk->hash_seed, sizeof(found.hash_seed));
	memcpy(found.label, disk->label, sizeof(found.label));
	found.compat = knot_get64(disk->compat);
	found.ro_compat = knot_get64(disk->ro_compat);
	found.incompat = knot_get64(disk->incompat);
	found.log_incompat = knot_get64(disk->log_incompat);
	found.pages = knot_get64(disk->pages);
	found.check_entry_bytes = knot_get16(disk->check_entry_bytes);
	found.log_write_unit_bytes = knot_get32(disk->log_write_unit_bytes);
	found.state_page = knot_get64(disk->state_page);
	found.root_page = knot_get64(disk->root_page);
	found.group_table_page = knot_get64(disk->group_table_page);
	found.group_table_pages = knot_get64(disk->group_table_pages);
	found.segments_version = knot_get32(disk->segments_version);
	found.segment_count = knot_get32(disk->segment_count);
	for (uint32_t i = 0; i < found.segment_count; i++) {
		found.segments[i].page_no = knot_get64(disk->segments[i].page_no);
		found.segments[i].pages = knot_get64(disk->segments[i].pages);
	}
	found.created_sec = knot_get64(disk->created_sec);
	found.created_nsec = knot_get32(disk->created_nsec);
	knot_super_derive(&found);
	*super = found;
	*read_only = found_read_only;
	return 0;
}

/* How a page looks that should hold a superblock. */
enum copy_state { COPY_GOOD, COPY_DAMAGED, COPY_UNREADABLE, COPY_ZERO, COPY_FOREIGN };

static enum copy_state read_copy(struct knot_device *device, uint64_t page_no, struct knot_disk_superblock *disk)
{
	static const uint8_t zeros[KNOT_PAGE_BYTES];
	struct knot_seal seal;

	if (device->size_bytes < (page_no + 1) * KNOT_PAGE_BYTES)
		return COPY_FOREIGN;
	if (knot_device_read(device, disk, sizeof(*disk), page_no * KNOT_PAGE_BYTES))
		return COPY_UNREADABLE;
	if (memcmp(disk, zeros, sizeof(*disk)) == 0)
		return COPY_ZERO;
	knot_seal_init(&seal, disk->salt);

	enum knot_page_fault fault = knot_page_verify(&seal, disk, page_no, KNOT_PAGE_SUPER);
	bool ours = memcmp(disk->magic, KNOT_MAGIC, sizeof(disk->magic)) == 0;
	if (fault == KNOT_PAGE_OK || (fault == KNOT_PAGE_BAD_SHAPE && ours))
		return COPY_GOOD; /* decoding tells what is wrong with its contents */
	return ours || knot_get32(disk->header.type) == KNOT_PAGE_SUPER ? COPY_DAMAGED : COPY_FOREIGN;
}

/* Choose the copy to believe, by (2). Errors: -EMEDIUMTYPE, -EUCLEAN, -EIO. */
static int read_either(struct knot_device *device, const struct knot_messages *messages,
		       struct knot_disk_superblock *disk, uint64_t *page_no)
{
	enum copy_state primary = read_copy(device, KNOT_SUPER_PAGE, disk);

	if (primary == COPY_GOOD) {
		*page_no = KNOT_SUPER_PAGE;
		return 0;
	}
	if (primary == COPY_FOREIGN) {
		knot_message(messages, KNOT_ERROR, "not a knotfs volume");
		return -EMEDIUMTYPE;
	}

	enum copy_state spare = read_copy(device, KNOT_SUPER_SPARE_PAGE, disk);
	if (spare == COPY_GOOD) {
		knot_message(messages, KNOT_WARNING, "the superblock is %s; its spare in page %u is used",
			     primary == COPY_UNREADABLE ? "unreadable" : "damaged", KNOT_SUPER_SPARE_PAGE);
		*page_no = KNOT_SUPER_SPARE_PAGE;
		return 0;
	}
	if (primary == COPY_UNREADABLE) {
		knot_message(messages, KNOT_ERROR, "the superblock can't be read, and its spare neither");
		return -EIO;
	}
	if (primary == COPY_ZERO && (spare == COPY_ZERO || spare == COPY_FOREIGN)) {
		knot_message(messages, KNOT_ERROR, "not a knotfs volume");
		return -EMEDIUMTYPE;
	}
	knot_message(messages, KNOT_ERROR, "the superblock and its spare are damaged");
	return -EUCLEAN;
}

int knot_super_read(struct knot_device *device, const struct knot_messages *messages, struct knot_super *super,
		    bool *read_only)
{
	_Alignas(KNOT_PAGE_BYTES) struct knot_disk_superblock disk;
	struct knot_super found;
	uint64_t page_no;
	bool found_read_only;

	int err = read_either(device, messages, &disk, &page_no);
	if (!err)
		err = knot_super_decode(&disk, page_no, messages, &found, &found_read_only);
	if (err)
		return err;

	if (found.pages > device->size_bytes / KNOT_PAGE_BYTES) {
		knot_message(messages, KNOT_ERROR,
			     "truncated: the volume has %" PRIu64 " bytes, the device only %" PRIu64,
			     found.pages * KNOT_PAGE_BYTES, device->size_bytes);
		return -ENOSPC;
	}
	*super = found;
	*read_only = found_read_only;
	return 0;
}

static int write_copy(struct knot_device *device, const struct knot_super *super, uint64_t page_no)
{
	_Alignas(KNOT_PAGE_BYTES) struct knot_disk_superblock disk;

	knot_super_encode(super, page_no, &disk);
	int err = knot_device_write(device, &disk, sizeof(disk), page_no * KNOT_PAGE_BYTES);
	return err ? err : knot_device_flush(device);
}

int knot_super_write(struct knot_device *device, const struct knot_super *super)
{
	int err = write_copy(device, super, KNOT_SUPER_SPARE_PAGE);

	return err ? err : write_copy(device, super, KNOT_SUPER_PAGE);
}
