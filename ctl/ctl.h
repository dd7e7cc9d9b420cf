/* SPDX-License-Identifier: MIT */
/* knotctl's commands. Each returns an exit status and has said what went wrong. */
#ifndef KNOT_CTL_CTL_H
#define KNOT_CTL_CTL_H

#include <stdbool.h>

#define KNOT_CTL_OK     0
#define KNOT_CTL_FAILED 1
#define KNOT_CTL_USAGE  2

/* "knotctl: text" to stderr. Returns KNOT_CTL_FAILED. */
__attribute__((format(printf, 1, 2))) int knot_ctl_fail(const char *format, ...);

/* Open a directory of a mount; -1 after having said why not. */
int knot_ctl_open(const char *dir);
/* ioctl(2) on it; `what` is the object of the message. False: said. */
bool knot_ctl_ask(int fd, const char *dir, unsigned long request, void *arg);

int knot_ctl_stats(const char *dir, bool json);
int knot_ctl_checkpoint(const char *dir);
int knot_ctl_unmount(const char *dir);

#endif
