/* SPDX-License-Identifier: MIT */
/*
 * rename(2), all of it one mini-transaction.
 *
 * A file that replaces another has its pending data mapped first, outside: so the name shows the old file or the new
 * one, whole, after any cut.
 */
#include "fs/vfs/volume_int.h"

#include <dirent.h>
#include <sys/stat.h>

#define DIR_FIELDS (KNOT_FIELD_SIZE | KNOT_FIELD_MTIME | KNOT_FIELD_CTIME | KNOT_FIELD_LINKS)

struct side {
	uint64_t dir_no;
	struct knot_name name;
	struct knot_inode *dir;
	struct knot_inode *child; /* NULL: there is no such name */
	struct knot_dir_found found;
};

struct renaming {
	struct knot_op op;
	struct side from, to;
	unsigned flags;
	bool flushed;         /* the source's data was mapped once; what came later may stay pending */
	uint64_t flush_inode; /* the body wants it flushed first (-EAGAIN) */
};

static bool is_dir(const struct knot_inode *inode)
{
	return inode && S_ISDIR(inode->attr.mode);
}

/* A name that is not there is no error: `child` is NULL then. */
static int find_side(struct knot_op *op, struct side *side)
{
	int err;

	side->dir = NULL;
	side->child = NULL;
	err = knot_dir_get(op, side->dir_no, &side->dir);
	if (!err)
		err = knot_dir_find(op->nodes, op->mtr, side->dir_no, side->name.bytes, side->name.len_bytes,
				    &side->found);
	if (!err)
		err = knot_child_get(op->nodes, op->mtr, side->dir_no, &side->found, &side->child);
	else if (err == -ENOENT && side->dir)
		err = 0;
	return err;
}

/*
 * Would `dir` lie below `child`? Walks up by first parents; a walk that goes in a circle can't reach the root either.
 * Errors: -EINVAL it would.
 */
static int check_not_below(struct knot_op *op, uint64_t dir, const struct knot_inode *child)
{
	uint64_t at = dir, mark = 0;

	if (!is_dir(child))
		return 0;
	for (uint64_t steps = 1;; steps++) {
		int err;

		if (at == child->attr.inode || at == mark)
			return -EINVAL;
		if (at == KNOT_OBJECT_ROOT)
			return 0;
		if (!(steps & (steps - 1)))
			mark = at; /* Brent's cycle detection */
		err = knot_dir_parent(op->nodes, op->mtr, at, &at);
		if (err)
			return err == -ENOENT ? 0 : err;
	}
}

/* What POSIX and renameat2(2) refuse. `*nothing`: both names are the same inode, and there is nothing to do. */
static int check(struct renaming *renaming, bool *nothing)
{
	const struct side *from = &renaming->from, *to = &renaming->to;
	bool is_exchange = renaming->flags & KNOT_RENAME_EXCHANGE;
	int err;

	if (!to->child && is_exchange)
		return -ENOENT;
	if (to->child && (renaming->flags & KNOT_RENAME_NOREPLACE))
		return -EEXIST;
	*nothing = from->child == to->child;
	if (*nothing)
		return 0;
	err = check_not_below(&renaming->op, to->dir_no, from->child);
	if (!err && is_exchange)
		err = check_not_below(&renaming->op, from->dir_no, to->child);
	if (err || is_exchange || !to->child)
		return err;
	if (is_dir(from->child) && !is_dir(to->child))
		return -ENOTDIR;
	if (!is_dir(from->child) && is_dir(to->child))
		return -EISDIR;
	return is_dir(to->child) && to->child->attr.size ? -ENOTEMPTY : 0;
}

static bool wants_flush(const struct renaming *renaming)
{
	const struct knot_inode *source = renaming->from.child;

	if (knot_txn_is_strict(renaming->op.volume->txn)) /* the batch is all or nothing anyway */
		return false;
	return !renaming->flushed && renaming->to.child && S_ISREG(source->attr.mode) &&
	       knot_data_is_pending_locked(source);
}

/* ---- the change ---- */

static int leave_whiteout(struct renaming *renaming)
{
	struct knot_op *op = &renaming->op;
	struct side *from = &renaming->from;
	struct knot_attr attr;
	uint64_t inode_no;
	int err = knot_space_new_inode_no(op->volume->space, op->mtr, &inode_no);

	if (err)
		return err;
	knot_op_new_attr(op, from->dir, inode_no, S_IFCHR, &attr);
	err = knot_inode_create(op->nodes, op->mtr, &attr);
	if (!err)
		err = knot_dir_replace(op->nodes, op->mtr, from->dir_no, from->found.cookie, from->found.inode_no,
				       inode_no, DT_CHR);
	return err;
}

static int exchange_entries(struct renaming *renaming)
{
	struct knot_op *op = &renaming->op;
	struct side *from = &renaming->from, *to = &renaming->to;
	int err = knot_dir_replace(op->nodes, op->mtr, to->dir_no, to->found.cookie, to->found.inode_no,
				   from->found.inode_no, knot_mode_to_type(from->child->attr.mode));

	if (err)
		return err;
	return knot_dir_replace(op->nodes, op->mtr, from->dir_no, from->found.cookie, from->found.inode_no,
				to->found.inode_no, knot_mode_to_type(to->child->attr.mode));
}

static int move_entry(struct renaming *renaming)
{
	struct knot_op *op = &renaming->op;
	struct side *from = &renaming->from, *to = &renaming->to;
	uint8_t type = knot_mode_to_type(from->child->attr.mode);
	uint64_t cookie;
	int err;

	if (to->child)
		err = knot_dir_replace(op->nodes, op->mtr, to->dir_no, to->found.cookie, to->found.inode_no,
				       from->found.inode_no, type);
	else
		err = knot_dir_add(op->nodes, op->mtr, to->dir_no, to->name.bytes, to->name.len_bytes,
				   from->found.inode_no, type, &cookie);
	if (err)
		return err;
	if (renaming->flags & KNOT_RENAME_WHITEOUT)
		return leave_whiteout(renaming);
	return knot_dir_remove(op->nodes, op->mtr, from->dir_no, from->found.cookie, from->found.inode_no);
}

/* Entries that the directory gains or loses, and those of them that are directories. */
static int adjust_dir(struct knot_op *op, struct knot_inode *dir, int entries, int subdirectories)
{
	struct knot_touched *touched = knot_op_touch(op, dir, DIR_FIELDS);
	int64_t size = (int64_t)touched->attr.size + entries;
	int64_t children = (int64_t)touched->attr.subdirectories + subdirectories;

	if (size < 0 || children < 0 || children > UINT32_MAX)
		return -EUCLEAN;
	touched->attr.size = (uint64_t)size;
	touched->attr.subdirectories = (uint32_t)children;
	touched->attr.mtime = op->now;
	touched->attr.ctime = op->now;
	return 0;
}

static int adjust_dirs(struct renaming *renaming)
{
	const struct side *from = &renaming->from, *to = &renaming->to;
	bool is_exchange = renaming->flags & KNOT_RENAME_EXCHANGE;
	bool stays = is_exchange || (renaming->flags & KNOT_RENAME_WHITEOUT);
	int to_gain = is_dir(from->child) - is_dir(to->child);
	int from_gain = (is_exchange && is_dir(to->child)) - is_dir(from->child);
	int err;

	if (from->dir == to->dir) /* both at once: in between a count could fall below 0 */
		return adjust_dir(&renaming->op, to->dir, (to->child ? 0 : 1) - (stays ? 0 : 1), from_gain + to_gain);
	err = adjust_dir(&renaming->op, from->dir, stays ? 0 : -1, from_gain);
	return err ? err : adjust_dir(&renaming->op, to->dir, to->child ? 0 : 1, to_gain);
}

static int rename_body(struct knot_op *op)
{
	struct renaming *renaming = knot_container_of(op, struct renaming, op);
	struct side *from = &renaming->from, *to = &renaming->to;
	bool is_exchange = renaming->flags & KNOT_RENAME_EXCHANGE;
	bool nothing = false;
	int err = find_side(op, from);

	if (!err)
		err = find_side(op, to);
	if (!err && !from->child)
		err = -ENOENT;
	if (!err)
		err = check(renaming, &nothing);
	if (err || nothing)
		return err;
	if (wants_flush(renaming)) {
		renaming->flush_inode = from->found.inode_no;
		return -EAGAIN;
	}
	err = knot_op_reserve(op, 5, 0, to->child ? KNOT_SPACE_POOL : 0);
	if (!err)
		err = is_exchange ? exchange_entries(renaming) : move_entry(renaming);
	if (!err)
		err = adjust_dirs(renaming);
	if (err)
		return err;
	knot_op_touch(op, from->child, KNOT_FIELD_CTIME)->attr.ctime = op->now;
	if (!to->child)
		return 0;
	if (!is_exchange)
		return knot_op_drop_name(op, to->child);
	knot_op_touch(op, to->child, KNOT_FIELD_CTIME)->attr.ctime = op->now;
	return 0;
}

int knot_vfs_rename(struct knot_volume *volume, struct knot_request *request, uint64_t parent, const char *name,
		    size_t name_bytes, uint64_t new_parent, const char *new_name, size_t new_name_bytes, unsigned flags)
{
	struct renaming renaming = {
		.op = { .body = rename_body },
		.from = { .dir_no = parent, .name = { name, name_bytes } },
		.to = { .dir_no = new_parent, .name = { new_name, new_name_bytes } },
		.flags = flags,
	};
	knot_lsn_t lsn;
	int err;

	if (flags & ~(KNOT_RENAME_NOREPLACE | KNOT_RENAME_EXCHANGE | KNOT_RENAME_WHITEOUT) ||
	    (flags & KNOT_RENAME_EXCHANGE && flags != KNOT_RENAME_EXCHANGE))
		return -EINVAL;
	err = knot_name_check(&renaming.from.name);
	if (!err)
		err = knot_name_check(&renaming.to.name);
	if (err)
		return err;
	err = knot_op_run(&renaming.op, volume, request);
	if (err == -EAGAIN && renaming.flush_inode) {
		err = knot_data_flush_inode(volume->nodes, request, renaming.flush_inode, &lsn);
		if (err && err != -ESTALE)
			return err;
		renaming.flushed = true;
		err = knot_op_run(&renaming.op, volume, request);
	}
	if (!err)
		knot_reclaim_after_op(volume, request);
	return err;
}
