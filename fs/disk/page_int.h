/* SPDX-License-Identifier: MIT */
/* What page verification and the superblock share. */
#ifndef KNOT_DISK_PAGE_INT_H
#define KNOT_DISK_PAGE_INT_H

#include "fs/disk/page.h"

/*
 * What a superblock of our own version, without unknown features, breaks of the rules of format.h: a few words for
 * messages, or NULL. It looks at the page's own bytes only.
 */
const char *knot_super_problem(const struct knot_disk_superblock *disk);

/* The state of a superblock that decides whether its other fields mean what format.h says. */
bool knot_super_is_foreign(const struct knot_disk_superblock *disk);

#endif
