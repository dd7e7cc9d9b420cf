/* SPDX-License-Identifier: MIT */
/* The command line of mkfs.knotfs. */
#ifndef KNOT_MKFS_ARGUMENTS_INT_H
#define KNOT_MKFS_ARGUMENTS_INT_H

#include <stdbool.h>
#include <stdint.h>

/* Strings point into argv. */
struct knot_mkfs_arguments {
	const char *image;
	const char *label; /* NULL: none */
	bool has_uuid;
	uint8_t uuid[16];
	uint64_t size_bytes;   /* 0: not given */
	uint64_t log_bytes;    /* 0: not given */
	uint32_t log_segments; /* 0: not given */
	bool force, quiet, dry_run;
	bool help, version; /* then nothing else counts */
};

/* Errors: -EINVAL, said on standard error. */
int knot_mkfs_parse(int argc, char **argv, struct knot_mkfs_arguments *arguments);

void knot_mkfs_print_help(void);

/* "64M" and the like: a number and K, M, G, T or P for powers of 1024. Errors: -EINVAL, -ERANGE. */
int knot_mkfs_parse_size(const char *text, uint64_t *bytes);

/* 32 hexadecimal digits, 8-4-4-4-12. Errors: -EINVAL. */
int knot_mkfs_parse_uuid(const char *text, uint8_t uuid[16]);

#endif
