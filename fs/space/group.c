/* SPDX-License-Identifier: MIT */
/*
 * Groups: loading, initialising, changing bits.
 *
 * Invariants
 *  (1) Bits and free_pages of the header and the group's entry in the group table change in one mini-transaction,
 *      and memory with them (change.c). A group whose header, entry and memory disagree is damaged: it is given up,
 *      nothing is allocated there.
 *  (2) When a header is first used after opening, free_pages is the number of its clear bits, the entry's
 *      free_clusters that of its zero words, and all fixed pages are in use. So counts can't leave their range;
 *      knot_group_plan() looks again all the same.
 *  (3) Groups are initialised in ascending order: header, all check pages, entry and groups_initialised in one mtr.
 *      Nothing fixed but header and check pages lies in a group that is not initialised.
 *  (4) A cluster's tree bit is clear when the cluster is wholly free.
 *
 * If power fails: every change here is part of a mini-transaction; recovery has all of it or nothing.
 */
#include "fs/space/space_int.h"
#include "fs/util/endian.h"

#include <inttypes.h>
#include <string.h>

_Static_assert(sizeof(((struct knot_disk_group *)0)->bitmap) == KNOT_GROUP_WORDS * 8u,
	       "the bitmap has a word for each cluster");

static uint32_t overhead_pages(const struct knot_space *space)
{
	return 1u + space->super->group_check_pages;
}

uint32_t knot_group_implicit_free(const struct knot_space *space, uint64_t group)
{
	return knot_super_group_pages(space->super, group) - overhead_pages(space);
}

uint32_t knot_group_implicit_clusters(const struct knot_space *space, uint64_t group)
{
	uint32_t taken = (KNOT_GROUP_HEADER_AT + overhead_pages(space) + KNOT_CLUSTER_PAGES - 1u) / KNOT_CLUSTER_PAGES;
	uint32_t whole = knot_super_group_pages(space->super, group) / KNOT_CLUSTER_PAGES;

	return whole > taken ? whole - taken : 0;
}

uint64_t knot_group_reach(const struct knot_space *space)
{
	uint64_t reach = space->groups_initialised + space->groups_ahead;

	return reach < space->super->groups ? reach : space->super->groups;
}

uint32_t knot_group_usable(const struct knot_space *space, uint64_t group)
{
	const struct knot_space_group *g = &space->groups[group];
	uint32_t free_pages = group < space->groups_initialised ? g->free_pages
								: knot_group_implicit_free(space, group);

	return g->bad || free_pages < g->busy_pages ? 0 : free_pages - g->busy_pages;
}

uint32_t knot_group_free_clusters(const struct knot_space *space, uint64_t group)
{
	const struct knot_space_group *g = &space->groups[group];

	if (g->bad)
		return 0;
	return group < space->groups_initialised ? g->free_clusters : knot_group_implicit_clusters(space, group);
}

static void add_range(uint64_t group, uint64_t *words, uint64_t page_no, uint64_t pages)
{
	uint64_t begin = group * KNOT_GROUP_PAGES;
	uint64_t end = begin + KNOT_GROUP_PAGES;
	uint64_t from = page_no > begin ? page_no : begin;
	uint64_t to = page_no + pages < end ? page_no + pages : end;

	if (from < to)
		knot_map_set(words, (uint32_t)(from - begin), (uint32_t)(to - from));
}

void knot_group_add_fixed(const struct knot_space *space, uint64_t group, uint64_t *words)
{
	const struct knot_super *super = space->super;
	uint32_t pages = knot_super_group_pages(super, group);

	knot_map_set(words, pages, KNOT_GROUP_PAGES - pages);
	knot_map_set(words, KNOT_GROUP_HEADER_AT, overhead_pages(space));
	add_range(group, words, KNOT_SUPER_PAGE, 1);
	add_range(group, words, KNOT_SUPER_SPARE_PAGE, 1);
	add_range(group, words, super->state_page, 1);
	add_range(group, words, super->root_page, 1);
	add_range(group, words, super->group_table_page, super->group_table_pages);
	for (uint32_t i = 0; i < super->segment_count; i++)
		add_range(group, words, super->segments[i].page_no, super->segments[i].pages);
}

/* ---- words of the header page ---- */

static uint64_t load_word(const struct knot_disk_group *header, uint32_t word)
{
	knot_le64 raw;

	memcpy(&raw, header->bitmap + word * sizeof(raw), sizeof(raw));
	return knot_get64(raw);
}

static void store_word(struct knot_disk_group *header, uint32_t word, uint64_t value)
{
	knot_le64 raw = knot_put64(value);

	memcpy(header->bitmap + word * sizeof(raw), &raw, sizeof(raw));
}

static void set_tree_cluster(struct knot_disk_group *header, uint32_t cluster, bool value)
{
	uint8_t bit = (uint8_t)(1u << (cluster % 8u));
	uint8_t *byte = &header->tree_clusters[cluster / 8u];

	*byte = value ? (uint8_t)(*byte | bit) : (uint8_t)(*byte & ~bit);
}

/* ---- verified headers ---- */

/* What is free there can't be had: it is no longer counted. */
static void give_up(struct knot_space *space, uint64_t group, const char *why)
{
	struct knot_space_group *g = &space->groups[group];

	if (g->bad)
		return;
	g->bad = true;
	atomic_store(&space->given_up, true);
	space->free -= g->free_pages;
	g->free_pages = 0;
	g->free_clusters = 0;
	knot_message(space->messages, KNOT_ERROR,
		     "page %" PRIu64 " (group header): %s; nothing is allocated or freed in group %" PRIu64
		     " any more. Run fsck.knotfs",
		     group * KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT, why, group);
}

/* (2) */
static const char *first_look(struct knot_space *space, uint64_t group, const struct knot_disk_group *header)
{
	const struct knot_space_group *g = &space->groups[group];
	uint64_t words[KNOT_GROUP_WORDS];
	uint64_t fixed[KNOT_GROUP_WORDS] = { 0 };

	knot_group_add_fixed(space, group, fixed);
	for (uint32_t w = 0; w < KNOT_GROUP_WORDS; w++) {
		words[w] = load_word(header, w);
		if (fixed[w] & ~words[w])
			return "a page that is never free is marked free";
		if (!words[w] && knot_group_is_tree_cluster(header->tree_clusters, w))
			return "a free cluster is marked as the tree's";
	}
	if (knot_map_zeros(words) != knot_get32(header->free_pages))
		return "its count of free pages is not what its bits say";
	if (knot_map_zero_words(words) != g->free_clusters)
		return "the group table's count of free clusters is not what its bits say";
	return NULL;
}

int knot_group_open(struct knot_space *space, struct knot_mtr *mtr, uint64_t group, struct knot_page **page)
{
	struct knot_space_group *g = &space->groups[group];
	uint64_t page_no = group * KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT;
	const struct knot_disk_group *header;
	struct knot_page *found;
	const char *why = NULL;
	int err;

	assert(group < space->groups_initialised);
	if (g->bad)
		return -EUCLEAN;
	err = knot_mtr_page(mtr, page_no, KNOT_PAGE_GROUP, 0, &found);
	if (err == -EUCLEAN || err == -EIO)
		give_up(space, group, "can't be used");
	if (err)
		return err;
	header = knot_page_data(found);
	if (knot_get64(header->group_no) != group ||
	    knot_get32(header->pages) != knot_super_group_pages(space->super, group))
		why = "belongs to another group";
	else if (knot_get32(header->free_pages) != g->free_pages)
		why = "its count of free pages is not the group table's";
	else if (!g->checked)
		why = first_look(space, group, header);
	if (why) {
		give_up(space, group, why);
		return -EUCLEAN;
	}
	g->checked = true;
	*page = found;
	return 0;
}

int knot_group_map(struct knot_space *space, struct knot_mtr *mtr, uint64_t group, uint64_t *words,
		   uint8_t *tree_clusters)
{
	const uint64_t *busy = space->groups[group].busy;

	if (group >= space->groups_initialised) {
		memset(words, 0, KNOT_GROUP_WORDS * sizeof(*words));
		memset(tree_clusters, 0, KNOT_GROUP_CLUSTERS / 8u);
		knot_group_add_fixed(space, group, words);
	} else {
		const struct knot_disk_group *header;
		struct knot_page *page;
		int err = knot_group_open(space, mtr, group, &page);

		if (err)
			return err;
		header = knot_page_data(page);
		memcpy(tree_clusters, header->tree_clusters, sizeof(header->tree_clusters));
		for (uint32_t w = 0; w < KNOT_GROUP_WORDS; w++)
			words[w] = load_word(header, w);
	}
	for (uint32_t w = 0; busy && w < KNOT_GROUP_WORDS; w++)
		words[w] |= busy[w];
	return 0;
}

/* ---- the group table ---- */

static struct knot_disk_group_entry *entry_of(struct knot_page *page, uint64_t group)
{
	struct knot_disk_group_table *table = knot_page_data(page);

	return &table->entries[group % KNOT_GROUPS_PER_TABLE_PAGE];
}

static uint64_t table_page_no(const struct knot_space *space, uint64_t group)
{
	return space->super->group_table_page + group / KNOT_GROUPS_PER_TABLE_PAGE;
}

static int open_entry(struct knot_space *space, struct knot_mtr *mtr, uint64_t group, struct knot_page **page)
{
	const struct knot_space_group *g = &space->groups[group];
	const struct knot_disk_group_entry *entry;
	int err = knot_mtr_page(mtr, table_page_no(space, group), KNOT_PAGE_GROUP_TABLE, 0, page);

	if (err)
		return err;
	entry = entry_of(*page, group);
	if (knot_get16(entry->free_pages) == g->free_pages && knot_get16(entry->free_clusters) == g->free_clusters)
		return 0;
	knot_message(space->messages, KNOT_ERROR,
		     "page %" PRIu64 " (group table): the entry of group %" PRIu64
		     " is not what was read when the volume was opened. Run fsck.knotfs",
		     table_page_no(space, group), group);
	return -EUCLEAN;
}

static void store_counts(const struct knot_space_group *g, struct knot_disk_group_entry *entry)
{
	entry->free_pages = knot_put16(g->free_pages);
	entry->free_clusters = knot_put16(g->free_clusters);
}

/* ---- initialising ---- */

static void fill_header(struct knot_space *space, uint64_t group, struct knot_disk_group *header)
{
	uint64_t words[KNOT_GROUP_WORDS] = { 0 };

	knot_group_add_fixed(space, group, words);
	header->group_no = knot_put64(group);
	header->pages = knot_put32(knot_super_group_pages(space->super, group));
	header->free_pages = knot_put32(knot_map_zeros(words));
	for (uint32_t w = 0; w < KNOT_GROUP_WORDS; w++)
		store_word(header, w, words[w]);
}

/* (3) */
static int initialise(struct knot_space *space, struct knot_mtr *mtr)
{
	uint64_t group = space->groups_initialised;
	uint64_t first = group * KNOT_GROUP_PAGES;
	const struct knot_space_op op = { .kind = KNOT_OP_INIT, .page_no = first };
	struct knot_page *table, *state, *header, *checks;
	struct knot_disk_state *counters;
	int err;

	err = knot_space_state_page(space, mtr, &state);
	if (!err)
		err = knot_mtr_page(mtr, table_page_no(space, group), KNOT_PAGE_GROUP_TABLE, 0, &table);
	if (!err)
		err = knot_change_reserve(space, mtr, 1);
	if (!err)
		err = knot_space_touch(mtr, state);
	if (!err)
		err = knot_space_touch(mtr, table);
	for (uint32_t i = 0; !err && i < space->super->group_check_pages; i++)
		err = knot_mtr_new_page(mtr, first + KNOT_GROUP_CHECKS_AT + i, KNOT_PAGE_CHECKS, &checks);
	if (!err)
		err = knot_mtr_new_page(mtr, first + KNOT_GROUP_HEADER_AT, KNOT_PAGE_GROUP, &header);
	if (err)
		return err;

	fill_header(space, group, knot_page_data(header));
	space->groups[group].free_pages = (uint16_t)knot_group_implicit_free(space, group);
	space->groups[group].free_clusters = (uint16_t)knot_group_implicit_clusters(space, group);
	space->groups[group].run_max = KNOT_GROUP_PAGES;
	store_counts(&space->groups[group], entry_of(table, group));
	space->groups_initialised++;
	counters = knot_page_data(state);
	counters->groups_initialised = knot_put64(space->groups_initialised);
	knot_change_add(space, &op);
	return 0;
}

int knot_group_require(struct knot_space *space, struct knot_mtr *mtr, uint64_t group)
{
	assert(group < space->super->groups);
	while (space->groups_initialised <= group) {
		int err = initialise(space, mtr);

		if (err)
			return err;
	}
	return 0;
}

/* ---- changing bits ---- */

static int wrong_bits(struct knot_space *space, enum knot_space_op_kind kind, uint64_t page_no, uint32_t count)
{
	knot_message(space->messages, KNOT_ERROR,
		     "pages %" PRIu64 " to %" PRIu64 ": %s, but the group header says otherwise. Run fsck.knotfs",
		     page_no, page_no + count - 1u, kind == KNOT_OP_RELEASE ? "to be freed" : "to be taken into use");
	return -EUCLEAN;
}

int knot_group_plan(struct knot_space *space, struct knot_mtr *mtr, enum knot_space_op_kind kind, uint64_t page_no,
		    uint32_t count, struct knot_group_edit *edit)
{
	bool release = kind == KNOT_OP_RELEASE;
	uint64_t group = knot_group_of(page_no);
	const struct knot_space_group *g = &space->groups[group];
	uint32_t at = knot_group_bit(page_no);
	const struct knot_disk_group *header;
	struct knot_page *table;
	int clusters_delta = 0;
	int err;

	err = knot_group_open(space, mtr, group, &edit->header);
	if (!err)
		err = open_entry(space, mtr, group, &table);
	if (err)
		return err;
	header = knot_page_data(edit->header);
	for (uint32_t w = at / 64u; w <= (at + count - 1u) / 64u; w++) {
		uint64_t mask = knot_map_mask(w, at, count);
		uint64_t word = load_word(header, w);

		if ((word & mask) != (release ? mask : 0))
			return wrong_bits(space, kind, page_no, count);
		if ((word & ~mask) == 0)
			clusters_delta += release ? 1 : -1;
	}
	if (release ? g->free_pages + count > knot_group_implicit_free(space, group) : g->free_pages < count)
		return wrong_bits(space, kind, page_no, count);
	if ((int)g->free_clusters + clusters_delta < 0 ||
	    (int)g->free_clusters + clusters_delta > (int)KNOT_GROUP_CLUSTERS)
		return wrong_bits(space, kind, page_no, count);

	err = knot_change_reserve(space, mtr, 1);
	if (!err)
		err = knot_space_touch(mtr, edit->header);
	if (!err)
		err = knot_space_touch(mtr, table);
	if (err)
		return err;
	edit->entry = entry_of(table, group);
	edit->op = (struct knot_space_op){
		.kind = kind, .count = count, .page_no = page_no, .clusters_delta = clusters_delta
	};
	return 0;
}

static void flip_bits(struct knot_disk_group *header, const struct knot_space_op *op)
{
	uint32_t at = knot_group_bit(op->page_no);

	for (uint32_t w = at / 64u; w <= (at + op->count - 1u) / 64u; w++) {
		uint64_t word = load_word(header, w) ^ knot_map_mask(w, at, op->count);

		store_word(header, w, word);
		if (!word)
			set_tree_cluster(header, w, false); /* (4) */
		else if (op->kind == KNOT_OP_ALLOC_TREE)
			set_tree_cluster(header, w, true);
	}
}

void knot_group_apply(struct knot_space *space, struct knot_group_edit *edit)
{
	const struct knot_space_op *op = &edit->op;
	struct knot_space_group *g = &space->groups[knot_group_of(op->page_no)];
	struct knot_disk_group *header = knot_page_data(edit->header);

	flip_bits(header, op);
	g->free_clusters = (uint16_t)((int)g->free_clusters + op->clusters_delta);
	if (op->kind == KNOT_OP_RELEASE) {
		g->free_pages = (uint16_t)(g->free_pages + op->count);
		space->free += op->count;
		space->waiting += op->count;
		knot_busy_mark(space, op->page_no, op->count);
	} else {
		g->free_pages = (uint16_t)(g->free_pages - op->count);
		space->free -= op->count;
		if (op->kind == KNOT_OP_SETTLE) {
			space->placed -= op->count;
			knot_busy_clear(space, op->page_no, op->count);
		}
	}
	header->free_pages = knot_put32(g->free_pages);
	store_counts(g, edit->entry);
	knot_change_add(space, op);
}
