/* SPDX-License-Identifier: MIT */
/*
 * Allocation: group headers and the group table against what the walk found in use.
 *
 * When the walk was not complete, "marked in use, but nothing uses it" can't be told.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct pass {
	struct knot_fsck *fsck;
	struct knot_disk_group_table *table; /* of `table_no` */
	bool has_table;
	uint64_t table_no;
	struct knot_disk_group *header;
	uint8_t *checks;
};

static uint64_t word_at(const uint8_t *bitmap, uint32_t word)
{
	knot_le64 raw;

	memcpy(&raw, bitmap + word * sizeof(raw), sizeof(raw));
	return knot_get64(raw);
}

static bool bit_is_set(const uint64_t *words, uint32_t bit)
{
	return words[bit / 64] >> bit % 64 & 1;
}

/* Say runs of bits that are set in `words`. */
static void say_runs(struct knot_fsck *fsck, uint64_t group, const uint64_t *words, enum knot_fsck_problem problem)
{
	for (uint32_t bit = 0; bit < KNOT_GROUP_PAGES; bit++) {
		struct knot_fsck_at at = { .page = group * KNOT_GROUP_PAGES + bit };

		if (!words[bit / 64]) {
			bit |= 63;
			continue;
		}
		if (!bit_is_set(words, bit))
			continue;
		while (bit + 1 < KNOT_GROUP_PAGES && bit_is_set(words, bit + 1))
			bit++;
		at.a = group * KNOT_GROUP_PAGES + bit;
		knot_fsck_problem(fsck, problem, &at);
	}
}

static void compare_bits(struct knot_fsck *fsck, uint64_t group, const struct knot_fsck_group *used,
			 const struct knot_disk_group *header)
{
	uint64_t marked_free[KNOT_FSCK_GROUP_WORDS], marked_used[KNOT_FSCK_GROUP_WORDS];
	bool any_free = false, any_used = false;

	for (uint32_t word = 0; word < KNOT_FSCK_GROUP_WORDS; word++) {
		uint64_t said = word_at(header->bitmap, word);

		marked_free[word] = used->words[word] & ~said;
		marked_used[word] = said & ~used->words[word];
		any_free |= marked_free[word] != 0;
		any_used |= marked_used[word] != 0;
	}
	if (any_free)
		say_runs(fsck, group, marked_free, KNOT_FSCK_MARKED_FREE);
	if (any_used && !fsck->report->is_incomplete)
		say_runs(fsck, group, marked_used, KNOT_FSCK_MARKED_USED);
}

static void compare_clusters(struct knot_fsck *fsck, uint64_t group, const struct knot_fsck_group *used,
			     const struct knot_disk_group *header)
{
	for (uint32_t cluster = 0; cluster < KNOT_GROUP_CLUSTERS; cluster++) {
		bool is_marked = header->tree_clusters[cluster / 8] >> cluster % 8 & 1;
		const struct knot_fsck_at at = {
			.page = group * KNOT_GROUP_PAGES + KNOT_GROUP_HEADER_AT,
			.a = group * KNOT_GROUP_PAGES + cluster * KNOT_CLUSTER_PAGES,
		};

		if (bit_is_set(used->tree_clusters, cluster) && !is_marked)
			knot_fsck_problem(fsck, KNOT_FSCK_CLUSTER_NOT_TREE, &at);
		if (is_marked && !word_at(header->bitmap, cluster))
			knot_fsck_problem(fsck, KNOT_FSCK_CLUSTER_FREE, &at);
	}
}

static uint32_t count_clusters(const struct knot_disk_group *header)
{
	uint32_t count = 0;

	for (uint32_t word = 0; word < KNOT_FSCK_GROUP_WORDS; word++)
		count += word_at(header->bitmap, word) == 0;
	return count;
}

static void compare_entry(struct pass *pass, uint64_t group)
{
	const struct knot_disk_group_entry *entry = &pass->table->entries[group % KNOT_GROUPS_PER_TABLE_PAGE];
	struct knot_fsck_at at = {
		.page = pass->fsck->super.group_table_page + pass->table_no,
		.object = group,
		.a = knot_get32(pass->header->free_pages),
		.b = knot_get16(entry->free_pages),
	};

	if (at.a != at.b)
		knot_fsck_problem(pass->fsck, KNOT_FSCK_TABLE_FREE, &at);
	at.a = count_clusters(pass->header);
	at.b = knot_get16(entry->free_clusters);
	if (at.a != at.b)
		knot_fsck_problem(pass->fsck, KNOT_FSCK_TABLE_CLUSTERS, &at);
}

/* Groups that were never used are counted by their entries alone. */
static void check_unused_entry(struct pass *pass, uint64_t group)
{
	const struct knot_disk_group_entry *entry = &pass->table->entries[group % KNOT_GROUPS_PER_TABLE_PAGE];
	uint32_t pages = knot_super_group_pages(&pass->fsck->super, group);
	uint32_t fixed = 1 + pass->fsck->super.group_check_pages;
	uint32_t first_free = (KNOT_GROUP_HEADER_AT + fixed + KNOT_CLUSTER_PAGES - 1) / KNOT_CLUSTER_PAGES;
	uint32_t clusters = pages / KNOT_CLUSTER_PAGES;
	const struct knot_fsck_at at = {
		.page = pass->fsck->super.group_table_page + pass->table_no,
		.object = group,
		.a = knot_get16(entry->free_pages),
		.b = knot_get16(entry->free_clusters),
	};

	if (at.a != pages - fixed || at.b != (clusters > first_free ? clusters - first_free : 0))
		knot_fsck_problem(pass->fsck, KNOT_FSCK_TABLE_UNUSED, &at);
}

static void load_table(struct pass *pass, uint64_t group)
{
	uint64_t number = group / KNOT_GROUPS_PER_TABLE_PAGE;

	if (group > 0 && number == pass->table_no)
		return;
	pass->table_no = number;
	pass->has_table = knot_fsck_load(pass->fsck, pass->fsck->super.group_table_page + number, KNOT_PAGE_GROUP_TABLE,
					 KNOT_FSCK_TABLE_PAGE, pass->table);
}

static int check_used_group(struct pass *pass, uint64_t group)
{
	struct knot_fsck *fsck = pass->fsck;
	uint64_t first = group * KNOT_GROUP_PAGES;
	struct knot_fsck_at at = { .page = first + KNOT_GROUP_HEADER_AT };
	struct knot_fsck_group *used;
	int err = knot_fsck_used_group(fsck, group, &used);

	if (err)
		return err;
	if (knot_fsck_load(fsck, at.page, KNOT_PAGE_GROUP, KNOT_FSCK_GROUP_PAGE, pass->header)) {
		at.a = knot_get32(pass->header->pages);
		at.b = knot_super_group_pages(&fsck->super, group);
		if (at.a != at.b)
			knot_fsck_problem(fsck, KNOT_FSCK_GROUP_PAGES, &at);
		else
			compare_bits(fsck, group, used, pass->header);
		compare_clusters(fsck, group, used, pass->header);
		if (pass->has_table)
			compare_entry(pass, group);
		fsck->report->used_pages += at.b - knot_get32(pass->header->free_pages);
	}
	for (uint32_t i = 0; i < fsck->super.group_check_pages; i++)
		(void)knot_fsck_load(fsck, first + KNOT_GROUP_CHECKS_AT + i, KNOT_PAGE_CHECKS, KNOT_FSCK_CHECKS_PAGE,
				     pass->checks);
	return 0;
}

static int run(struct pass *pass)
{
	struct knot_fsck *fsck = pass->fsck;
	int err = 0;

	for (uint64_t group = 0; group < fsck->super.groups && !err; group++) {
		err = knot_fsck_go_on(fsck);
		load_table(pass, group);
		if (group < fsck->groups && !err)
			err = check_used_group(pass, group);
		else if (group >= fsck->groups && pass->has_table)
			check_unused_entry(pass, group);
	}
	return err;
}

int knot_fsck_groups(struct knot_fsck *fsck)
{
	uint8_t *pages = aligned_alloc(KNOT_PAGE_BYTES, (size_t)3 * KNOT_PAGE_BYTES);
	struct pass pass = { .fsck = fsck };
	int err;

	if (!pages)
		return -ENOMEM;
	pass.table = (struct knot_disk_group_table *)pages;
	pass.header = (struct knot_disk_group *)(pages + KNOT_PAGE_BYTES);
	pass.checks = pages + (size_t)2 * KNOT_PAGE_BYTES;
	err = run(&pass);
	free(pages);
	return err;
}
