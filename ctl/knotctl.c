/* SPDX-License-Identifier: MIT */
/* knotctl: talks to the daemon of a mounted volume. */
#include "ctl/ctl.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

static const char usage[] =
	"usage: knotctl stats [--json] DIR    what the daemon of the mount that DIR is in has counted\n"
	"       knotctl checkpoint DIR        write everything to its place; the log is empty then\n"
	"       knotctl unmount DIR           unmount and return when all is durable\n"
	"       knotctl --help | --version\n"
	"\n"
	"Exit status: 0 done, 1 failed, 2 wrong usage.\n";

static int wrong(const char *what, const char *which)
{
	fprintf(stderr, "knotctl: %s%s\nTry 'knotctl --help'.\n", what, which);
	return KNOT_CTL_USAGE;
}

static int run(const char *command, const char *dir, bool json)
{
	if (strcmp(command, "stats") == 0)
		return knot_ctl_stats(dir, json);
	if (json)
		return wrong("--json is for stats", "");
	if (strcmp(command, "checkpoint") == 0)
		return knot_ctl_checkpoint(dir);
	if (strcmp(command, "unmount") == 0)
		return knot_ctl_unmount(dir);
	return wrong("unknown command: ", command);
}

int main(int argc, char **argv)
{
	static const struct option longs[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ "json", no_argument, NULL, 'j' },
		{ NULL, 0, NULL, 0 },
	};
	bool json = false;
	int letter;

	while ((letter = getopt_long(argc, argv, "hV", longs, NULL)) != -1) {
		switch (letter) {
		case 'h':
			fputs(usage, stdout);
			return KNOT_CTL_OK;
		case 'V':
			puts("knotctl " KNOT_VERSION);
			return KNOT_CTL_OK;
		case 'j':
			json = true;
			break;
		default:
			fputs("Try 'knotctl --help'.\n", stderr);
			return KNOT_CTL_USAGE;
		}
	}
	if (argc - optind < 1)
		return wrong("a command is needed", "");
	if (argc - optind != 2)
		return wrong(argc - optind < 2 ? "DIR is missing after " : "too many arguments after ", argv[optind]);
	return run(argv[optind], argv[optind + 1], json);
}
