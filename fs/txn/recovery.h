/* SPDX-License-Identifier: MIT */
/* Log replay: the same function for mount, fsck and tests. Source of the scheme: architecture, section 4. */
#ifndef KNOT_TXN_RECOVERY_H
#define KNOT_TXN_RECOVERY_H

#include "fs/disk/device.h"
#include "fs/disk/super.h"
#include "fs/util/message.h"

#include <stdbool.h>
#include <stdint.h>

struct knot_recovery_options {
	size_t batch_bytes;  /* memory for collected pages and records; at least 1 MiB. Recovery takes as many passes as
				it needs */
	bool dry_run;        /* find out only: nothing is written, not even to an overlay */
	uint32_t slot_flags; /* KNOT_SLOT_STRICT if the next epoch runs with data=strict */
};

struct knot_recovery_result {
	bool was_clean; /* nothing to replay */
	uint64_t checkpoint_lsn, end_lsn, durable_lsn;
	uint64_t records, mtrs, pages_written, bytes_scanned;
	bool dropped_tail; /* an incomplete mtr or batch was dropped */
	uint64_t next_lsn; /* where the new epoch starts: a write unit */
	uint64_t next_at;  /* its byte in the ring */
	uint32_t epoch;    /* the new epoch, durable in the slot unless dry_run */
	uint64_t slot_sequence;
};

/*
 * Replay, flush, new slot with the next epoch, flush. Cut anywhere and run again it gives the same volume.
 * Errors: -EUCLEAN both slots unreadable, or a block below a known durable LSN can't be read (said through messages
 * with its LSN and place); -EIO; -ENOMEM.
 */
int knot_recovery_run(struct knot_device *device, const struct knot_super *super, const struct knot_messages *messages,
		      const struct knot_recovery_options *options, struct knot_recovery_result *result);

/* mkfs: write the first slot of a new volume (epoch 0, LSN KNOT_LSN_FIRST, clean); the ring itself was zeroed. Errors:
 * -EIO. */
int knot_recovery_format(struct knot_device *device, const struct knot_super *super);

#endif
