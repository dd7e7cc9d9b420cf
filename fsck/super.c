/* SPDX-License-Identifier: MIT */
/* Superblock, its spare, and the state page. */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <string.h>

static int say_super_error(struct knot_fsck *fsck, int err)
{
	const struct knot_fsck_at at = { .page = KNOT_SUPER_PAGE };
	struct knot_super super;
	bool read_only;

	(void)knot_super_read(fsck->device, fsck->options->messages, &super, &read_only); /* again, for its message */
	if (err == -EUCLEAN)
		knot_fsck_problem(fsck, KNOT_FSCK_SUPER_LOST, &at);
	return err;
}

int knot_fsck_super(struct knot_fsck *fsck)
{
	bool read_only;
	int err = knot_super_read(fsck->device, NULL, &fsck->super, &read_only);

	if (err)
		return say_super_error(fsck, err);
	memcpy(fsck->report->label, fsck->super.label, sizeof(fsck->report->label));
	fsck->report->pages = fsck->super.pages;
	return 0;
}

/* NULL if the copy is good. */
static const char *copy_fault(struct knot_fsck *fsck, uint64_t page_no, void *page)
{
	if (knot_device_read(fsck->device, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES))
		return "can't be read";
	enum knot_page_fault fault = knot_page_verify(&fsck->super.seal, page, page_no, KNOT_PAGE_SUPER);

	return fault == KNOT_PAGE_OK ? NULL : knot_page_fault_name(fault);
}

void knot_fsck_super_copies(struct knot_fsck *fsck)
{
	_Alignas(KNOT_PAGE_BYTES) uint8_t primary[KNOT_PAGE_BYTES];
	_Alignas(KNOT_PAGE_BYTES) uint8_t spare[KNOT_PAGE_BYTES];
	struct knot_fsck_at at = { .page = KNOT_SUPER_PAGE };
	size_t from = sizeof(struct knot_disk_page_header);

	at.why = copy_fault(fsck, KNOT_SUPER_PAGE, primary);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_SUPER_PRIMARY, &at);
		return;
	}
	at.page = KNOT_SUPER_SPARE_PAGE;
	at.why = copy_fault(fsck, KNOT_SUPER_SPARE_PAGE, spare);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_SUPER_SPARE, &at);
		return;
	}
	while (from < KNOT_PAGE_BYTES && primary[from] == spare[from])
		from++;
	at.a = from;
	if (from < KNOT_PAGE_BYTES)
		knot_fsck_problem(fsck, KNOT_FSCK_SUPER_DIFFERS, &at);
}

/* Groups up to the last with a fixed page of its own. */
static uint64_t groups_fixed(const struct knot_super *super)
{
	uint64_t last = KNOT_SUPER_SPARE_PAGE;

	for (uint32_t i = 0; i < super->segment_count; i++) {
		uint64_t end = super->segments[i].page_no + super->segments[i].pages - 1;

		last = end > last ? end : last;
	}
	last = super->state_page > last ? super->state_page : last;
	last = super->root_page > last ? super->root_page : last;
	uint64_t table_end = super->group_table_page + super->group_table_pages - 1;
	last = table_end > last ? table_end : last;
	return last / KNOT_GROUP_PAGES + 1;
}

void knot_fsck_state(struct knot_fsck *fsck)
{
	_Alignas(KNOT_PAGE_BYTES) struct knot_disk_state state;
	struct knot_fsck_at at = { .page = fsck->super.state_page };

	fsck->groups = fsck->super.groups;
	fsck->has_state = knot_fsck_load(fsck, at.page, KNOT_PAGE_STATE, KNOT_FSCK_STATE_PAGE, &state);
	if (!fsck->has_state)
		return;
	fsck->state = state;
	at.a = knot_get64(state.groups_initialised);
	at.b = fsck->super.groups;
	if (at.a > at.b || at.a < groups_fixed(&fsck->super)) {
		knot_fsck_problem(fsck, KNOT_FSCK_STATE_GROUPS, &at);
		return;
	}
	fsck->groups = at.a;
}

void knot_fsck_state_counts(struct knot_fsck *fsck)
{
	const struct {
		enum knot_fsck_problem problem;
		uint64_t said, found;
	} counts[] = {
		{ KNOT_FSCK_STATE_INODES, knot_get64(fsck->state.inodes), fsck->report->inodes },
		{ KNOT_FSCK_STATE_ORPHANS, knot_get64(fsck->state.orphans), fsck->orphans.count },
		{ KNOT_FSCK_STATE_SECOND_NAMES, knot_get64(fsck->state.second_names), fsck->second_names },
	};

	for (unsigned i = 0; fsck->has_state && i < sizeof(counts) / sizeof(counts[0]); i++) {
		const struct knot_fsck_at at = { .page = fsck->super.state_page,
						 .a = counts[i].said,
						 .b = counts[i].found };

		if (counts[i].said != counts[i].found)
			knot_fsck_problem(fsck, counts[i].problem, &at);
	}
}
