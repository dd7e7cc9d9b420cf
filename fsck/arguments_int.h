/* SPDX-License-Identifier: MIT */
/* The command line of fsck.knotfs. */
#ifndef KNOT_FSCK_ARGUMENTS_INT_H
#define KNOT_FSCK_ARGUMENTS_INT_H

#include <stdbool.h>

/* Strings point into argv. */
struct knot_fsck_arguments {
	const char *image;
	bool read_only; /* -n */
	bool force, scrub, quiet, verbose;
	bool help, version; /* then nothing else counts */
};

/* Errors: -EINVAL, said on standard error. */
int knot_fsck_parse(int argc, char **argv, struct knot_fsck_arguments *arguments);

void knot_fsck_print_help(void);

#endif
