/* SPDX-License-Identifier: MIT */
#include "fsck/arguments_int.h"

#include <errno.h>
#include <getopt.h>
#include <stddef.h>
#include <stdio.h>

enum { OPTION_SCRUB = 256, OPTION_HELP, OPTION_VERSION };

void knot_fsck_print_help(void)
{
	printf("usage: fsck.knotfs [OPTION]... IMAGE\n"
	       "Replay the log of a knotfs volume that is not mounted, and check the volume.\n"
	       "This version finds problems, but does not repair them.\n"
	       "\n"
	       "  -n             change nothing: the log is replayed in memory\n"
	       "  -p, -a, -y     ask nothing; the default too, as there is nothing to ask yet\n"
	       "  -f, --force    check even if the volume was cleanly unmounted\n"
	       "      --scrub    read the contents of all files too; implies -f\n"
	       "  -q, --quiet    print problems only, no summary\n"
	       "  -v, --verbose  print what was looked at\n"
	       "      --help     print this\n"
	       "      --version  print the version\n"
	       "\n"
	       "Exit code: 0 no problems, 4 problems found, 8 the check could not be made, 16 wrong usage,\n"
	       "32 cancelled.\n");
}

static int complain(const char *what, const char *value)
{
	fprintf(stderr, "fsck.knotfs: %s%s%s%s\n", what, value ? " '" : "", value ? value : "", value ? "'" : "");
	return -EINVAL;
}

static int set_option(struct knot_fsck_arguments *arguments, int option, int *modes)
{
	switch (option) {
	case 'n':
		arguments->read_only = true;
		*modes |= 1;
		return 0;
	case 'a':
	case 'p':
	case 'y':
		*modes |= 2;
		return 0;
	case 'f':
		arguments->force = true;
		return 0;
	case 'q':
		arguments->quiet = true;
		return 0;
	case 'v':
		arguments->verbose = true;
		return 0;
	case OPTION_SCRUB:
		arguments->scrub = true;
		return 0;
	case OPTION_HELP:
		arguments->help = true;
		return 0;
	case OPTION_VERSION:
		arguments->version = true;
		return 0;
	default:
		return complain("try 'fsck.knotfs --help'", NULL);
	}
}

int knot_fsck_parse(int argc, char **argv, struct knot_fsck_arguments *arguments)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, 'f' },
		{ "scrub", no_argument, NULL, OPTION_SCRUB },
		{ "quiet", no_argument, NULL, 'q' },
		{ "verbose", no_argument, NULL, 'v' },
		{ "help", no_argument, NULL, OPTION_HELP },
		{ "version", no_argument, NULL, OPTION_VERSION },
		{ NULL, 0, NULL, 0 },
	};
	struct knot_fsck_arguments found = { 0 };
	int option, modes = 0;

	while ((option = getopt_long(argc, argv, "napyfqv", options, NULL)) != -1) {
		int err = set_option(&found, option, &modes);

		if (err)
			return err;
	}
	if (modes == 3)
		return complain("-n excludes -p, -a and -y", NULL);
	if (!found.help && !found.version) {
		if (optind == argc)
			return complain("no image given; try 'fsck.knotfs --help'", NULL);
		if (optind + 1 < argc)
			return complain("one image only; what is", argv[optind + 1]);
		found.image = argv[optind];
	}
	*arguments = found;
	return 0;
}
