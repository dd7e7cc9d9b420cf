/* SPDX-License-Identifier: MIT */
/* fsck.knotfs: replay the log and check the volume. */
#include "fs/disk/device.h"
#include "fsck/arguments_int.h"
#include "fsck/fsck.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

/* As in fsck(8). 1, "errors corrected", comes with repair: replaying the log corrects nothing. */
#define EXIT_CLEAN     0
#define EXIT_PROBLEMS  4
#define EXIT_FAILED    8
#define EXIT_USAGE     16
#define EXIT_CANCELLED 32

static void print_message(void *arg, enum knot_severity severity, const char *line)
{
	const struct knot_fsck_arguments *arguments = arg;

	if (severity == KNOT_NOTE && arguments->quiet)
		return;
	fprintf(severity == KNOT_NOTE ? stdout : stderr, "%s%s\n", severity == KNOT_NOTE ? "" : "fsck.knotfs: ", line);
}

/* Both signals are blocked: they wait until they are asked for. */
static bool signal_came(void *arg)
{
	const sigset_t *wanted = arg;
	sigset_t pending;

	return sigpending(&pending) == 0 && ((sigismember(wanted, SIGINT) && sigismember(&pending, SIGINT) == 1) ||
					     (sigismember(wanted, SIGTERM) && sigismember(&pending, SIGTERM) == 1));
}

static int open_image(const struct knot_fsck_arguments *arguments, const struct knot_messages *messages,
		      struct knot_device **device)
{
	int err = knot_device_open_file(arguments->image, arguments->read_only ? KNOT_DEVICE_READ_ONLY : 0, device);

	if (err == -EBUSY)
		knot_message(messages, KNOT_ERROR, "is mounted, or in use by another program; unmount it first");
	else if (err == -ENOTBLK)
		knot_message(messages, KNOT_ERROR, "is neither a file nor a block device");
	else if (err == -EROFS || err == -EACCES || err == -EPERM)
		knot_message(messages, KNOT_ERROR, "can't be opened%s: %s",
			     arguments->read_only ? "" : " for writing (-n needs only to read)", strerror(-err));
	else if (err)
		knot_message(messages, KNOT_ERROR, "can't be opened: %s", strerror(-err));
	return err;
}

static void print_summary(const struct knot_fsck_arguments *arguments, const struct knot_fsck_report *report)
{
	if (report->was_skipped) {
		printf("%s: clean; -f checks it all the same\n", arguments->image);
		return;
	}
	printf("%s: ", arguments->image);
	if (report->problems)
		printf("%" PRIu64 " problem%s found, none repaired: this version only checks; ", report->problems,
		       report->problems == 1 ? "" : "s");
	else
		printf("no problems; ");
	printf("%" PRIu64 " inodes, %" PRIu64 "/%" PRIu64 " pages\n", report->inodes, report->used_pages,
	       report->pages);
	if (!arguments->verbose)
		return;
	printf("  %" PRIu64 " transactions replayed\n", report->replayed);
	printf("  %" PRIu64 " directories, %" PRIu64 " names\n", report->directories, report->names);
	printf("  %" PRIu64 " pages of data, %" PRIu64 " of the directory tree\n", report->data_pages,
	       report->tree_pages);
	if (arguments->scrub)
		printf("  %" PRIu64 " pages of data read\n", report->scrubbed_pages);
}

static int check_image(const struct knot_fsck_arguments *arguments)
{
	struct knot_fsck_arguments copy = *arguments;
	struct knot_messages messages = { .emit = print_message, .arg = &copy, .volume = arguments->image };
	struct knot_fsck_report report = { 0 };
	struct knot_device *device;
	sigset_t wanted;

	sigemptyset(&wanted);
	sigaddset(&wanted, SIGINT);
	sigaddset(&wanted, SIGTERM);
	sigprocmask(SIG_BLOCK, &wanted, NULL);
	const struct knot_fsck_options options = {
		.messages = &messages,
		.is_cancelled = signal_came,
		.is_cancelled_arg = &wanted,
		.scrub = arguments->scrub,
		.replay_in_place = !arguments->read_only,
		.skip_if_clean = !arguments->force && !arguments->scrub,
	};

	if (open_image(arguments, &messages, &device))
		return EXIT_FAILED;
	int err = knot_fsck_run(device, &options, &report);
	knot_device_close(device);
	if (err == -ECANCELED)
		return EXIT_CANCELLED;
	if (err)
		return report.problems ? EXIT_PROBLEMS : EXIT_FAILED;
	if (!arguments->quiet)
		print_summary(arguments, &report);
	return report.problems ? EXIT_PROBLEMS : EXIT_CLEAN;
}

int main(int argc, char **argv)
{
	struct knot_fsck_arguments arguments;
	int code = EXIT_CLEAN;

	if (knot_fsck_parse(argc, argv, &arguments))
		return EXIT_USAGE;
	if (arguments.help)
		knot_fsck_print_help();
	else if (arguments.version)
		printf("fsck.knotfs %s\n", KNOT_VERSION);
	else
		code = check_image(&arguments);
	if (fflush(stdout) || ferror(stdout)) {
		fprintf(stderr, "fsck.knotfs: standard output: %s\n", strerror(errno));
		return EXIT_FAILED;
	}
	return code;
}
