/* SPDX-License-Identifier: MIT */
/* The page cache, inside fs/txn: shared by cache.c, mtr.c, cleaner.c. Its writers may change this file as they see fit. */
#ifndef KNOT_TXN_CACHE_INT_H
#define KNOT_TXN_CACHE_INT_H

#include "fs/txn/mtr.h"
#include "fs/util/hash.h"
#include "fs/util/list.h"

#endif
