/* SPDX-License-Identifier: MIT */
/* Internal results beside errno values. They never leave the library: knot_mtr_finish() turns them into a retry. */
#ifndef KNOT_UTIL_ERRORS_H
#define KNOT_UTIL_ERRORS_H

#include <errno.h>

#define KNOT_EMISS 1001 /* a page is not in the cache: drop the lock, read it, start again */
#define KNOT_EGROW 1002 /* the mini-transaction needs a larger reservation: start again with one */
#define KNOT_EFULL 1003 /* no page frame to be had without waiting: flush, start again */

#define KNOT_RETRY 1 /* knot_mtr_finish(): begin again */

#endif
