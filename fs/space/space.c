/* SPDX-License-Identifier: MIT */
/*
 * Opening and closing: the counts of all groups are read from the group table, no group is. README.md has the
 * whole.
 */
#include "fs/space/space_int.h"
#include "fs/util/endian.h"

#include <inttypes.h>
#include <stdlib.h>

#define TABLE_PAGES_READ_MAX 64u
#define POOL_PAGES_MIN       64u
#define POOL_PAGES_MAX       4096u
#define POOL_SHARE           256u

static int damaged(const struct knot_space *space, uint64_t page_no, enum knot_page_type type, const char *why)
{
	knot_message(space->messages, KNOT_ERROR, "page %" PRIu64 " (%s): %s. Run fsck.knotfs", page_no,
		     knot_page_type_name(type), why);
	return -EUCLEAN;
}

static int read_pages(struct knot_space *space, uint64_t page_no, uint32_t count, enum knot_page_type type,
		      uint8_t *buffer)
{
	int err = knot_device_read(knot_txn_device(space->txn), buffer, (size_t)count * KNOT_PAGE_BYTES,
				   page_no * KNOT_PAGE_BYTES);

	if (err)
		return err;
	for (uint32_t i = 0; i < count; i++) {
		enum knot_page_fault fault =
			knot_page_verify(&space->super->seal, buffer + (size_t)i * KNOT_PAGE_BYTES, page_no + i, type);

		if (fault != KNOT_PAGE_OK)
			return damaged(space, page_no + i, type, knot_page_fault_name(fault));
	}
	return 0;
}

static bool is_implicit(const struct knot_space *space, uint64_t page_no, uint64_t pages)
{
	return pages && knot_group_of(page_no + pages - 1u) >= space->groups_initialised;
}

/* group.c (3) */
static int check_initialised(struct knot_space *space)
{
	const struct knot_super *super = space->super;
	bool bad = space->groups_initialised == 0 || space->groups_initialised > super->groups;

	bad = bad || super->group_table_pages * KNOT_GROUPS_PER_TABLE_PAGE < super->groups;
	bad = bad || is_implicit(space, super->state_page, 1) || is_implicit(space, super->root_page, 1);
	bad = bad || is_implicit(space, super->group_table_page, super->group_table_pages);
	for (uint32_t i = 0; i < super->segment_count; i++)
		bad = bad || is_implicit(space, super->segments[i].page_no, super->segments[i].pages);
	return bad ? damaged(space, super->state_page, KNOT_PAGE_STATE,
			     "the number of initialised groups can't be right")
		   : 0;
}

static int read_state(struct knot_space *space, uint8_t *buffer)
{
	const struct knot_disk_state *state = (const void *)buffer;
	int err = read_pages(space, space->super->state_page, 1, KNOT_PAGE_STATE, buffer);

	if (err)
		return err;
	space->groups_initialised = knot_get64(state->groups_initialised);
	return check_initialised(space);
}

static int take_entry(struct knot_space *space, uint64_t group, const struct knot_disk_group_entry *entry)
{
	struct knot_space_group *g = &space->groups[group];

	g->free_pages = knot_get16(entry->free_pages);
	g->free_clusters = knot_get16(entry->free_clusters);
	g->run_max = KNOT_GROUP_PAGES;
	if (g->free_pages > knot_group_implicit_free(space, group) ||
	    g->free_clusters > knot_group_implicit_clusters(space, group) ||
	    g->free_clusters * KNOT_CLUSTER_PAGES > g->free_pages)
		return damaged(space, space->super->group_table_page + group / KNOT_GROUPS_PER_TABLE_PAGE,
			       KNOT_PAGE_GROUP_TABLE, "a count of free pages is out of range");
	space->free += g->free_pages;
	/* new files begin where most room is */
	if (g->free_pages > space->groups[knot_group_of(space->data_cursor)].free_pages)
		space->data_cursor = group * KNOT_GROUP_PAGES;
	return 0;
}

static int read_table(struct knot_space *space, uint8_t *buffer)
{
	uint64_t groups = space->groups_initialised;
	uint64_t table_pages = (groups + KNOT_GROUPS_PER_TABLE_PAGE - 1u) / KNOT_GROUPS_PER_TABLE_PAGE;
	uint64_t group = 0;

	for (uint64_t at = 0; at < table_pages; at += TABLE_PAGES_READ_MAX) {
		uint32_t count = table_pages - at < TABLE_PAGES_READ_MAX ? (uint32_t)(table_pages - at)
									 : TABLE_PAGES_READ_MAX;
		int err = read_pages(space, space->super->group_table_page + at, count, KNOT_PAGE_GROUP_TABLE, buffer);

		if (err)
			return err;
		for (uint32_t i = 0; i < count * KNOT_GROUPS_PER_TABLE_PAGE && group < groups; i++, group++) {
			const struct knot_disk_group_table *table =
				(const void *)(buffer + (size_t)(i / KNOT_GROUPS_PER_TABLE_PAGE) * KNOT_PAGE_BYTES);

			err = take_entry(space, group, &table->entries[i % KNOT_GROUPS_PER_TABLE_PAGE]);
			if (err)
				return err;
		}
	}
	return 0;
}

static void count_pages(struct knot_space *space)
{
	const struct knot_super *super = space->super;
	uint64_t last = super->groups - 1u;
	uint64_t whole = last * knot_group_implicit_free(space, 0) + knot_group_implicit_free(space, last);
	uint64_t fixed = 3u + super->group_table_pages; /* the two superblocks, the state page */
	uint64_t implicit = super->groups - space->groups_initialised;

	for (uint32_t i = 0; i < super->segment_count; i++)
		fixed += super->segments[i].pages;
	space->total = whole > fixed ? whole - fixed : 0;
	if (implicit)
		space->free +=
			(implicit - 1u) * knot_group_implicit_free(space, 0) + knot_group_implicit_free(space, last);

	space->pool = space->total / POOL_SHARE;
	if (space->pool < POOL_PAGES_MIN)
		space->pool = POOL_PAGES_MIN;
	if (space->pool > POOL_PAGES_MAX)
		space->pool = POOL_PAGES_MAX;
}

static int load(struct knot_space *space)
{
	/* header, check pages, entry, state; half of an mtr's pages are for initialising, half for what it does */
	unsigned pages_each = 3u + space->super->group_check_pages;
	uint8_t *buffer = NULL;
	int err;

	if (space->super->check_entry_bytes != KNOT_CHECK_BYTES_CRC32C)
		return -EPROTONOSUPPORT;
	space->groups = calloc(space->super->groups, sizeof(*space->groups));
	buffer = aligned_alloc(KNOT_PAGE_BYTES, TABLE_PAGES_READ_MAX * KNOT_PAGE_BYTES);
	err = space->groups && buffer ? 0 : -ENOMEM;
	if (!err)
		err = read_state(space, buffer);
	if (!err)
		err = read_table(space, buffer);
	free(buffer);
	if (err)
		return err;

	count_pages(space);
	space->groups_ahead = knot_mtr_pages_limit(space->txn) / 2u / pages_each;
	if (!space->groups_ahead)
		space->groups_ahead = 1;
	return 0;
}

int knot_space_open(struct knot_txn *txn, struct knot_space **space)
{
	struct knot_space *opened = calloc(1, sizeof(*opened));
	int err;

	if (!opened)
		return -ENOMEM;
	opened->txn = txn;
	opened->super = knot_txn_super(txn);
	opened->messages = knot_txn_messages(txn);
	knot_busy_init(opened);
	err = load(opened);
	if (err) {
		knot_space_close(opened);
		return err;
	}
	*space = opened;
	return 0;
}

void knot_space_close(struct knot_space *space)
{
	if (!space)
		return;
	assert(!space->change.active);
	knot_busy_destroy(space);
	free(space->change.ops);
	free(space->groups);
	free(space);
}
