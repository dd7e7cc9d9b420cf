/* SPDX-License-Identifier: MIT */
/*
 * How often the kernel knows each inode: a compact table, 20 to 30 bytes for each inode known when there are many.
 *
 * It is guarded by the transaction lock; no call waits. Adding can't fail once there is room: knot_lookups_reserve().
 */
#ifndef KNOT_VFS_LOOKUPS_H
#define KNOT_VFS_LOOKUPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct knot_lookups;
struct knot_txn;

/* `txn` is charged for the memory; it may be NULL. Errors: -ENOMEM. */
int knot_lookups_open(struct knot_txn *txn, struct knot_lookups **lookups);
void knot_lookups_close(struct knot_lookups *lookups);

/* Room for this inode, until the table is changed in another way. Errors: -ENOMEM. */
int knot_lookups_reserve(struct knot_lookups *lookups, uint64_t inode_no);
/* One more. `orphan`: it has no names. */
void knot_lookups_add(struct knot_lookups *lookups, uint64_t inode_no, bool orphan);
uint64_t knot_lookups_count(const struct knot_lookups *lookups, uint64_t inode_no);

/* Its last name has gone. True if it is known to the kernel: then knot_lookups_forget() will tell. */
bool knot_lookups_mark_orphan(struct knot_lookups *lookups, uint64_t inode_no);

/* Take `count` back (more than there are: all). True if they were an orphan's last: it is to be reclaimed. */
bool knot_lookups_forget(struct knot_lookups *lookups, uint64_t inode_no, uint64_t count);

/* All count as zero (unmount). */
void knot_lookups_clear(struct knot_lookups *lookups);

size_t knot_lookups_entries(const struct knot_lookups *lookups);
size_t knot_lookups_bytes(const struct knot_lookups *lookups);

#endif
