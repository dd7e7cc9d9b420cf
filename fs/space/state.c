/* SPDX-License-Identifier: MIT */
/*
 * Counters of the state page. Each is read and written there, in the mini-transaction of the operation that
 * changes it.
 */
#include "fs/space/space_int.h"
#include "fs/util/endian.h"

#include <inttypes.h>

/* From here on numbers are the daemon's, for directory views. */
#define INODE_NO_END (UINT64_C(1) << 63)

int knot_space_touch(struct knot_mtr *mtr, struct knot_page *page)
{
	struct knot_disk_page_header *header = knot_page_data(page);
	bool was_clean = false;
	int err = knot_mtr_change(mtr, page, &was_clean);

	if (!err && was_clean)
		header->generation = knot_put64(knot_mtr_generation(mtr));
	return err;
}

static int damaged(struct knot_space *space, const char *what)
{
	knot_message(space->messages, KNOT_ERROR, "page %" PRIu64 " (state): %s is out of range. Run fsck.knotfs",
		     space->super->state_page, what);
	return -EUCLEAN;
}

int knot_space_state_page(struct knot_space *space, struct knot_mtr *mtr, struct knot_page **page)
{
	struct knot_page *found;
	const struct knot_disk_state *state;
	int err = knot_mtr_page(mtr, space->super->state_page, KNOT_PAGE_STATE, 0, &found);

	if (err)
		return err;
	state = knot_page_data(found);
	if (knot_get64(state->groups_initialised) != space->groups_initialised)
		return damaged(space, "the number of initialised groups");
	*page = found;
	return 0;
}

/* Errors: -EUCLEAN it would leave its range. */
static int add_to(struct knot_space *space, struct knot_mtr *mtr, struct knot_page *page, knot_le64 *counter, int delta,
		  const char *what)
{
	uint64_t value = knot_get64(*counter);
	int err;

	if (delta < 0 ? value < (uint64_t) - (int64_t)delta : value > INT64_MAX - (uint64_t)delta)
		return damaged(space, what);
	err = knot_space_touch(mtr, page);
	if (err)
		return err;
	*counter = knot_put64(value + (uint64_t)(int64_t)delta);
	return 0;
}

int knot_space_new_inode_no(struct knot_space *space, struct knot_mtr *mtr, uint64_t *inode_no)
{
	struct knot_disk_state *state;
	struct knot_page *page;
	uint64_t next;
	int err = knot_space_state_page(space, mtr, &page);

	if (err)
		return err;
	state = knot_page_data(page);
	next = knot_get64(state->next_inode);
	if (next < KNOT_OBJECT_FIRST_FREE || next >= INODE_NO_END)
		return damaged(space, "the next inode number");
	err = knot_space_touch(mtr, page);
	if (err)
		return err;
	state->next_inode = knot_put64(next + 1u);
	*inode_no = next;
	return 0;
}

int knot_space_count_inodes(struct knot_space *space, struct knot_mtr *mtr, int delta)
{
	struct knot_disk_state *state;
	struct knot_page *page;
	int err = knot_space_state_page(space, mtr, &page);

	if (err)
		return err;
	state = knot_page_data(page);
	return add_to(space, mtr, page, &state->inodes, delta, "the number of inodes");
}

int knot_space_count_orphans(struct knot_space *space, struct knot_mtr *mtr, int delta)
{
	struct knot_disk_state *state;
	struct knot_page *page;
	int err = knot_space_state_page(space, mtr, &page);

	if (err)
		return err;
	state = knot_page_data(page);
	return add_to(space, mtr, page, &state->orphans, delta, "the number of orphans");
}

int knot_space_inodes(struct knot_space *space, struct knot_mtr *mtr, uint64_t *inodes)
{
	const struct knot_disk_state *state;
	struct knot_page *page;
	int err = knot_space_state_page(space, mtr, &page);

	if (err)
		return err;
	state = knot_page_data(page);
	*inodes = knot_get64(state->inodes);
	return 0;
}

int knot_space_root_generation(struct knot_space *space, struct knot_mtr *mtr, uint64_t *generation)
{
	const struct knot_disk_state *state;
	struct knot_page *page;
	int err = knot_space_state_page(space, mtr, &page);

	if (err)
		return err;
	state = knot_page_data(page);
	*generation = knot_get64(state->root_generation);
	return 0;
}

int knot_space_set_root_generation(struct knot_space *space, struct knot_mtr *mtr, uint64_t generation)
{
	struct knot_disk_state *state;
	struct knot_page *page;
	int err = knot_space_state_page(space, mtr, &page);

	if (!err)
		err = knot_space_touch(mtr, page);
	if (err)
		return err;
	state = knot_page_data(page);
	state->root_generation = knot_put64(generation);
	return 0;
}
