/* SPDX-License-Identifier: MIT */
/* Where mkfs puts things. */
#ifndef KNOT_MKFS_LAYOUT_INT_H
#define KNOT_MKFS_LAYOUT_INT_H

#include "fs/disk/super.h"
#include "mkfs/format.h"

/*
 * Place the state page, the tree's root, the group table and the log on a volume whose `pages`, `check_entry_bytes` and
 * `log_write_unit_bytes` are set, and fill the derived fields. Errors: -EINVAL, -ENOSPC, -EFBIG, each said.
 */
int knot_layout_place(struct knot_super *super, const struct knot_mkfs_options *options);

/* Groups up to the last that holds a page of the log. */
uint64_t knot_layout_groups_used(const struct knot_super *super);

/*
 * Fill a zeroed group header (not sealed). Past knot_layout_groups_used() it is that of a group that nobody has used.
 * Returns the number of clusters that are wholly free.
 */
uint32_t knot_layout_group(const struct knot_super *super, uint64_t group, struct knot_disk_group *disk);

#endif
