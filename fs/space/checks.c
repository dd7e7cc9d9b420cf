/* SPDX-License-Identifier: MIT */
/* The page-check table: entry i of a group's check page k is for its page k * checks_per_page + i. */
#include "fs/space/space_int.h"
#include "fs/util/endian.h"

#include <inttypes.h>
#include <string.h>

/* A run of entries that lies in one check page. */
struct part {
	uint64_t check_page;
	uint32_t index;
	uint32_t count;
};

static struct part first_part(const struct knot_space *space, uint64_t page_no, uint32_t count)
{
	uint32_t per_page = space->super->checks_per_page;
	uint32_t bit = knot_group_bit(page_no);
	uint32_t in_group = knot_group_part(page_no, count);
	struct part part = {
		.check_page = page_no - bit + KNOT_GROUP_CHECKS_AT + bit / per_page,
		.index = bit % per_page,
	};

	part.count = in_group < per_page - part.index ? in_group : per_page - part.index;
	return part;
}

static int open_part(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, const struct part *part,
		     struct knot_page **page)
{
	if (knot_group_of(page_no) < space->groups_initialised)
		return knot_mtr_page(mtr, part->check_page, KNOT_PAGE_CHECKS, 0, page);
	knot_message(space->messages, KNOT_ERROR,
		     "page %" PRIu64 ": has no check value, its group was never used. Run fsck.knotfs", page_no);
	return -EUCLEAN;
}

static knot_le32 *entries_of(struct knot_page *page, uint32_t index)
{
	struct knot_disk_checks *checks = knot_page_data(page);

	return (knot_le32 *)(void *)checks->entries + index;
}

int knot_space_set_checks(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count,
			  const uint32_t *checks)
{
	struct knot_page *page;

	/* announce all of the pages first: the second round finds them pinned and can't fail */
	for (unsigned round = 0; round < 2u; round++) {
		for (uint32_t done = 0; done < count;) {
			struct part part = first_part(space, page_no + done, count - done);
			int err = open_part(space, mtr, page_no + done, &part, &page);

			if (!err && round == 0)
				err = knot_space_touch(mtr, page);
			if (err)
				return err;
			for (uint32_t i = 0; round && i < part.count; i++)
				entries_of(page, part.index)[i] = knot_put32(checks[done + i]);
			done += part.count;
		}
	}
	return 0;
}

int knot_space_get_checks(struct knot_space *space, struct knot_mtr *mtr, uint64_t page_no, uint32_t count,
			  uint32_t *checks)
{
	for (uint32_t done = 0; done < count;) {
		struct part part = first_part(space, page_no + done, count - done);
		struct knot_page *page;
		int err = open_part(space, mtr, page_no + done, &part, &page);

		if (err)
			return err;
		for (uint32_t i = 0; i < part.count; i++)
			checks[done + i] = knot_get32(entries_of(page, part.index)[i]);
		done += part.count;
	}
	return 0;
}
