/* SPDX-License-Identifier: MIT */
/* A check from beginning to end. */
#include "fsck/fsck_int.h"
#include "fs/txn/recovery.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define REPLAY_BYTES (32u << 20)

static int say_failed(const struct knot_fsck *fsck, int err)
{
	knot_message(fsck->options->messages, KNOT_ERROR, "the check failed: %s", strerror(-err));
	return err;
}

/* Replay onto the device or into `*overlay`, which then takes its place. */
static int replay(struct knot_fsck *fsck, struct knot_device **overlay)
{
	const struct knot_fsck_options *options = fsck->options;
	const struct knot_recovery_options recovery = { .batch_bytes = REPLAY_BYTES };
	struct knot_recovery_result result;

	if (!options->replay_in_place) {
		int err = knot_device_open_overlay(fsck->device, overlay);

		if (err)
			return say_failed(fsck, err);
		fsck->device = *overlay;
	}
	int err = knot_recovery_run(fsck->device, &fsck->super, options->messages, &recovery, &result);
	if (err)
		return err;
	fsck->report->replayed = result.mtrs;
	fsck->log_end = result.next_lsn;
	return 0;
}

/* A log that holds nothing costs no overlay and no write. */
static int look_at_log(struct knot_fsck *fsck, struct knot_device **overlay)
{
	const struct knot_recovery_options look = { .batch_bytes = REPLAY_BYTES, .dry_run = true };
	struct knot_recovery_result result;
	const struct knot_fsck_at at = { .page = fsck->super.segments[0].page_no };
	int err = knot_recovery_run(fsck->device, &fsck->super, fsck->options->messages, &look, &result);

	if (!err) {
		fsck->report->was_clean = result.was_clean;
		fsck->log_end = result.next_lsn;
		if (!result.was_clean)
			err = replay(fsck, overlay);
	}
	if (err == -EUCLEAN)
		knot_fsck_problem(fsck, KNOT_FSCK_LOG, &at);
	return err;
}

static int check_tree(struct knot_fsck *fsck)
{
	int err = knot_fsck_walk_first(fsck, knot_fsck_visit_item, NULL);

	if (!err)
		err = knot_fsck_visit_end(fsck);
	if (err || fsck->report->is_incomplete)
		return err;
	knot_fsck_data_end(fsck);
	knot_fsck_state_counts(fsck);
	err = knot_fsck_links(fsck);
	return err ? err : knot_fsck_reach(fsck);
}

static int passes(struct knot_fsck *fsck)
{
	int err = knot_fsck_ask(fsck);

	if (!err) {
		knot_fsck_state(fsck);
		err = knot_fsck_used_init(fsck);
	}
	if (!err)
		err = check_tree(fsck);
	if (!err && fsck->has_state)
		err = knot_fsck_groups(fsck);
	if (!err && fsck->options->scrub)
		err = knot_fsck_scrub(fsck);
	if (!err && fsck->report->is_incomplete)
		knot_message(fsck->options->messages, KNOT_NOTE,
			     "parts of the directory tree can't be read; what depends on all of it was not checked");
	return err ? say_failed(fsck, err) : 0;
}

static int run(struct knot_fsck *fsck, struct knot_device **overlay)
{
	struct knot_fsck_report *report = fsck->report;
	int err = knot_fsck_super(fsck);

	if (!err)
		err = look_at_log(fsck, overlay);
	if (err)
		return err;
	knot_fsck_super_copies(fsck);
	if (fsck->options->skip_if_clean && report->was_clean && !report->problems) {
		report->was_skipped = true;
		return 0;
	}
	return passes(fsck);
}

static void free_all(struct knot_fsck *fsck)
{
	knot_fsck_used_free(fsck);
	knot_fsck_reader_free(fsck);
	free(fsck->object.run.items);
	free(fsck->nodes.array.items);
	free(fsck->nodes.slots);
	free(fsck->edges.items);
	free(fsck->orphans.items);
	free(fsck->truncations.items);
	free(fsck->foreigns.items);
	free(fsck->loose.items);
	free(fsck->refused.items);
	free(fsck->bad_pages.items);
	free(fsck);
}

int knot_fsck_run(struct knot_device *device, const struct knot_fsck_options *options, struct knot_fsck_report *report)
{
	struct knot_fsck *fsck = calloc(1, sizeof(*fsck));
	struct knot_device *overlay = NULL;
	int err;

	if (!fsck)
		return -ENOMEM;
	memset(report, 0, sizeof(*report));
	fsck->device = device;
	fsck->options = options;
	fsck->report = report;
	err = run(fsck, &overlay);
	free_all(fsck);
	knot_device_close(overlay);
	return err;
}
