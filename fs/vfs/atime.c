/* SPDX-License-Identifier: MIT */
/*
 * Access times: relatime, in memory first. They reach the log with the next change of the inode, in batches now and
 * then, and at unmount; a cut may take them back.
 */
#include "fs/vfs/volume_int.h"

#define DAY_SECONDS (24 * 60 * 60)
#define FLUSH_BATCH 32u

static bool is_before(struct knot_time a, struct knot_time b)
{
	return a.sec < b.sec || (a.sec == b.sec && a.nsec < b.nsec);
}

static bool is_due(const struct knot_attr *attr, struct knot_time now)
{
	return !is_before(attr->mtime, attr->atime) || !is_before(attr->ctime, attr->atime) ||
	       now.sec - attr->atime.sec >= DAY_SECONDS;
}

void knot_atime_note_locked(struct knot_volume *volume, struct knot_inode *inode)
{
	struct knot_time now;

	if (volume->read_only || volume->options.atime == KNOT_ATIME_NONE || inode->dead)
		return;
	now = knot_nodes_now(volume->nodes);
	if (!is_due(&inode->attr, now))
		return;
	inode->attr.atime = now;
	if (inode->atime_pending || volume->atime_count == KNOT_ATIMES_MAX)
		return;
	inode->atime_pending = true;
	volume->atimes[volume->atime_count++] = inode->attr.inode;
}

void knot_atime_note(struct knot_volume *volume, struct knot_request *request, uint64_t inode_no)
{
	struct knot_inode *inode;
	bool full;

	if (volume->read_only || volume->options.atime == KNOT_ATIME_NONE)
		return;
	knot_txn_lock(volume->txn, request);
	inode = knot_inode_peek(volume->nodes, inode_no);
	if (inode)
		knot_atime_note_locked(volume, inode);
	full = volume->atime_count == KNOT_ATIMES_MAX;
	knot_txn_unlock(volume->txn);
	if (full)
		(void)knot_atime_flush(volume, request); /* access times may be older */
}

struct flush {
	struct knot_op op;
	uint64_t numbers[FLUSH_BATCH];
	unsigned count;
};

/* Out of the list first: if logging fails the times are older, which they may be. */
static void take(struct knot_volume *volume, struct knot_request *request, struct flush *flush)
{
	knot_txn_lock(volume->txn, request);
	while (volume->atime_count && flush->count < FLUSH_BATCH) {
		struct knot_inode *inode = knot_inode_peek(volume->nodes, volume->atimes[--volume->atime_count]);

		if (!inode || inode->dead || !inode->atime_pending)
			continue;
		inode->atime_pending = false;
		flush->numbers[flush->count++] = inode->attr.inode;
	}
	knot_txn_unlock(volume->txn);
}

static int flush_body(struct knot_op *op)
{
	struct flush *flush = knot_container_of(op, struct flush, op);

	for (unsigned i = 0; i < flush->count; i++) {
		struct knot_inode *inode = knot_inode_peek(op->nodes, flush->numbers[i]);
		int err;

		if (!inode || inode->dead)
			continue;
		err = knot_inode_log(op->nodes, op->mtr, flush->numbers[i], &inode->attr, KNOT_FIELD_ATIME);
		if (err)
			return err;
	}
	return 0;
}

int knot_atime_flush(struct knot_volume *volume, struct knot_request *request)
{
	int err = 0;

	while (!err) {
		struct flush flush = { .op = { .body = flush_body } };

		take(volume, request, &flush);
		if (!flush.count)
			break;
		err = knot_op_run(&flush.op, volume, request);
	}
	return err;
}
