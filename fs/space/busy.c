/* SPDX-License-Identifier: MIT */
/*
 * Busy pages: those that may not be allocated although their bits are clear.
 *
 *   usable --place--> placed --settle--> in use --release--> freed (mtr open) --commit--> freed --reap--> usable
 *                       `---unplace---> usable                   `---give up---> in use
 *
 * A bit map for each group that has any, so that placing, settling and unplacing in any pieces costs no memory and
 * can't fail; and a list of the freed ranges in the order of their LSNs.
 *
 * Invariants
 *  (1) A page is busy exactly while it is in one of the states `placed` and `freed`. Its bit is then clear.
 *  (2) placed + waiting = the busy bits of all groups.
 *  (3) The freed list is ordered by lsn. A range leaves it only when its lsn is committed, when no reader that began
 *      before the commit of its release is left, and when the cache has no copy of it and no write of it is under
 *      way.
 *  (4) A reader's ticket is the epoch at its start. A release stamps its range with an epoch such that every reader
 *      that is active then has a ticket of at most the stamp. Readers that begin later have a higher ticket, unless
 *      the window of epochs is full: then they are waited for as well.
 *
 * If power fails: all of this is forgotten. Placed pages are free on the medium, and nothing maps them. Freed pages
 * are free if the release is in the log, else in use and unchanged, because of (3).
 */
#include "fs/space/space_int.h"

#include <stdlib.h>

int knot_busy_prepare(struct knot_space *space, uint64_t group)
{
	struct knot_space_group *g = &space->groups[group];

	if (!g->busy)
		g->busy = calloc(KNOT_GROUP_WORDS, sizeof(*g->busy));
	return g->busy ? 0 : -ENOMEM;
}

void knot_busy_mark(struct knot_space *space, uint64_t page_no, uint32_t count)
{
	struct knot_space_group *g = &space->groups[knot_group_of(page_no)];
	uint32_t at = knot_group_bit(page_no);

	assert(g->busy && knot_map_is(g->busy, at, count, false));
	knot_map_set(g->busy, at, count);
	g->busy_pages = (uint16_t)(g->busy_pages + count);
}

void knot_busy_clear(struct knot_space *space, uint64_t page_no, uint32_t count)
{
	struct knot_space_group *g = &space->groups[knot_group_of(page_no)];
	uint32_t at = knot_group_bit(page_no);

	assert(g->busy && knot_map_is(g->busy, at, count, true));
	knot_map_clear(g->busy, at, count);
	g->busy_pages = (uint16_t)(g->busy_pages - count);
}

void knot_busy_trim(struct knot_space *space, uint64_t group)
{
	struct knot_space_group *g = &space->groups[group];

	if (g->busy_pages || space->change.active)
		return;
	free(g->busy);
	g->busy = NULL;
}

void knot_space_unplace(struct knot_space *space, uint64_t page_no, uint32_t count)
{
	while (count) {
		uint32_t part = knot_group_part(page_no, count);
		uint64_t group = knot_group_of(page_no);

		knot_busy_clear(space, page_no, part);
		space->placed -= part;
		space->groups[group].run_max = KNOT_GROUP_PAGES;
		knot_busy_trim(space, group);
		page_no += part;
		count -= part;
	}
}

/* ---- readers ---- */

uint64_t knot_space_read_begin(struct knot_space *space)
{
	struct knot_space_readers *readers = &space->readers;

	readers->active[readers->epoch % KNOT_READ_EPOCHS]++;
	return readers->epoch;
}

void knot_space_read_end(struct knot_space *space, uint64_t ticket)
{
	struct knot_space_readers *readers = &space->readers;

	assert(ticket <= readers->epoch && ticket >= readers->oldest && readers->active[ticket % KNOT_READ_EPOCHS]);
	readers->active[ticket % KNOT_READ_EPOCHS]--;
	while (readers->oldest < readers->epoch && !readers->active[readers->oldest % KNOT_READ_EPOCHS])
		readers->oldest++;
}

/* (4) */
static uint64_t stamp_readers(struct knot_space_readers *readers)
{
	uint64_t stamp = readers->epoch;

	if (!readers->active[readers->epoch % KNOT_READ_EPOCHS])
		return stamp - 1u;
	if (readers->epoch - readers->oldest < KNOT_READ_EPOCHS - 1u)
		readers->epoch++;
	return stamp;
}

static bool is_being_read(const struct knot_space_readers *readers, uint64_t stamp)
{
	return readers->active[readers->oldest % KNOT_READ_EPOCHS] && readers->oldest <= stamp;
}

/* ---- freed ranges ---- */

void knot_busy_commit(struct knot_space *space, struct knot_space_freed *freed, knot_lsn_t lsn)
{
	freed->lsn = lsn;
	freed->stamp = stamp_readers(&space->readers);
	knot_list_add_tail(&space->freed, &freed->link);
}

void knot_space_reap(struct knot_space *space)
{
	struct knot_list *node = space->freed.next;
	knot_lsn_t committed;

	if (node == &space->freed)
		return;
	committed = knot_txn_committed_lsn(space->txn);
	while (node != &space->freed) {
		struct knot_space_freed *freed = knot_container_of(node, struct knot_space_freed, link);
		uint64_t group = knot_group_of(freed->page_no);

		node = node->next;
		if (freed->lsn > committed || is_being_read(&space->readers, freed->stamp))
			break;
		if (!knot_txn_pages_idle(space->txn, freed->page_no, freed->count))
			continue;
		knot_busy_clear(space, freed->page_no, freed->count);
		space->waiting -= freed->count;
		space->groups[group].run_max = KNOT_GROUP_PAGES;
		knot_busy_trim(space, group);
		knot_list_remove(&freed->link);
		free(freed);
	}
}

void knot_busy_init(struct knot_space *space)
{
	knot_list_init(&space->freed);
	space->readers.epoch = 1;
	space->readers.oldest = 1;
}

void knot_busy_destroy(struct knot_space *space)
{
	struct knot_list *node = space->freed.next;

	while (node != &space->freed) {
		struct knot_space_freed *freed = knot_container_of(node, struct knot_space_freed, link);

		node = node->next;
		free(freed);
	}
	for (uint64_t group = 0; space->groups && group < space->super->groups; group++)
		free(space->groups[group].busy);
}
