/* SPDX-License-Identifier: MIT */
#include "mkfs/arguments_int.h"

#include <ctype.h>
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OPTION_SIZE = 256, OPTION_LOG_SIZE, OPTION_LOG_SEGMENTS, OPTION_HELP, OPTION_VERSION };

int knot_mkfs_parse_size(const char *text, uint64_t *bytes)
{
	static const char units[] = "KMGTP";
	unsigned shift = 0;
	char *end;

	if (!isdigit((unsigned char)text[0]))
		return -EINVAL;
	errno = 0;
	unsigned long long number = strtoull(text, &end, 10);
	if (errno)
		return -ERANGE;

	if (*end) {
		const char *unit = strchr(units, toupper((unsigned char)*end));

		if (!unit)
			return -EINVAL;
		shift = 10 * (unsigned)(unit - units + 1);
		end++;
		if (strcasecmp(end, "iB") == 0)
			end += 2;
		if (*end)
			return -EINVAL;
	}
	if (number > UINT64_MAX >> shift)
		return -ERANGE;
	*bytes = (uint64_t)number << shift;
	return 0;
}

static int digit_of(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)tolower((unsigned char)c);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int knot_mkfs_parse_uuid(const char *text, uint8_t uuid[16])
{
	uint8_t found[16] = { 0 };
	unsigned digits = 0;

	if (strlen(text) != 36)
		return -EINVAL;
	for (unsigned i = 0; i < 36; i++) {
		bool is_dash = i == 8 || i == 13 || i == 18 || i == 23;
		int digit = digit_of(text[i]);

		if (is_dash ? text[i] != '-' : digit < 0)
			return -EINVAL;
		if (!is_dash) {
			found[digits / 2] = (uint8_t)(found[digits / 2] << 4 | digit);
			digits++;
		}
	}
	memcpy(uuid, found, sizeof(found));
	return 0;
}

void knot_mkfs_print_help(void)
{
	printf("usage: mkfs.knotfs [OPTION]... IMAGE\n"
	       "Make a knotfs volume on an image file or a block device.\n"
	       "\n"
	       "  -f, --force            overwrite what IMAGE holds\n"
	       "  -q, --quiet            print nothing when all is well\n"
	       "  -n, --dry-run          check and print, but write nothing\n"
	       "  -L, --label LABEL      the volume's name, at most 63 bytes\n"
	       "  -U, --uuid UUID        the volume's UUID, else a random one\n"
	       "      --size SIZE        create IMAGE of this size, or grow it\n"
	       "      --log-size SIZE    size of the redo log, at least 1M (4M beyond 64M)\n"
	       "      --log-segments N   split the log evenly into N pieces, at most 32\n"
	       "      --help             print this\n"
	       "      --version          print the version\n"
	       "\n"
	       "SIZE is in bytes, or has K, M, G, T or P behind it. Exit code: 0, or 1 if there is no new volume.\n");
}

static int complain(const char *what, const char *value)
{
	fprintf(stderr, "mkfs.knotfs: %s%s%s%s\n", what, value ? " '" : "", value ? value : "", value ? "'" : "");
	return -EINVAL;
}

static int set_size(uint64_t *bytes, const char *what, const char *text)
{
	if (knot_mkfs_parse_size(text, bytes) || *bytes == 0)
		return complain(what, text);
	return 0;
}

static int set_segments(uint32_t *segments, const char *text)
{
	char *end;
	unsigned long number = strtoul(text, &end, 10);

	if (!isdigit((unsigned char)text[0]) || *end || number == 0 || number > 0xffff)
		return complain("bad number of log segments", text);
	*segments = (uint32_t)number;
	return 0;
}

static int set_option(struct knot_mkfs_arguments *arguments, int option, const char *value)
{
	switch (option) {
	case 'f':
		arguments->force = true;
		return 0;
	case 'q':
		arguments->quiet = true;
		return 0;
	case 'n':
		arguments->dry_run = true;
		return 0;
	case 'L':
		arguments->label = value;
		return 0;
	case 'U':
		arguments->has_uuid = true;
		return knot_mkfs_parse_uuid(value, arguments->uuid) ? complain("bad UUID", value) : 0;
	case OPTION_SIZE:
		return set_size(&arguments->size_bytes, "bad size", value);
	case OPTION_LOG_SIZE:
		return set_size(&arguments->log_bytes, "bad log size", value);
	case OPTION_LOG_SEGMENTS:
		return set_segments(&arguments->log_segments, value);
	case OPTION_HELP:
		arguments->help = true;
		return 0;
	case OPTION_VERSION:
		arguments->version = true;
		return 0;
	default:
		return complain("try 'mkfs.knotfs --help'", NULL);
	}
}

int knot_mkfs_parse(int argc, char **argv, struct knot_mkfs_arguments *arguments)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "quiet", no_argument, NULL, 'q' },
		{ "dry-run", no_argument, NULL, 'n' },
		{ "label", required_argument, NULL, 'L' },
		{ "uuid", required_argument, NULL, 'U' },
		{ "size", required_argument, NULL, OPTION_SIZE },
		{ "log-size", required_argument, NULL, OPTION_LOG_SIZE },
		{ "log-segments", required_argument, NULL, OPTION_LOG_SEGMENTS },
		{ "help", no_argument, NULL, OPTION_HELP },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	struct knot_mkfs_arguments found = { 0 };
	int option;

	while ((option = getopt_long(argc, argv, "fqnL:U:", options, NULL)) != -1) {
		int err = set_option(&found, option, optarg);

		if (err)
			return err;
	}
	if (!found.help && !found.version) {
		if (optind == argc)
			return complain("no image given; try 'mkfs.knotfs --help'", NULL);
		if (optind + 1 < argc)
			return complain("one image only; what is", argv[optind + 1]);
		found.image = argv[optind];
	}
	*arguments = found;
	return 0;
}
