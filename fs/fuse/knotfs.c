/* SPDX-License-Identifier: MIT */
/*
 * knotfs: mounts a volume. The process that was started waits until the mount works or has failed, so that both show
 * in its exit status; the daemon is its child and has the terminal until then.
 */
#include "fs/fuse/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const char usage[] =
	"usage: knotfs IMAGE DIR [-o OPTION[,OPTION]...] [-f]\n"
	"       mount -t knotfs IMAGE DIR [-o OPTION[,OPTION]...]\n"
	"\n"
	"Mounts the volume in IMAGE, a file or block device, at DIR. Repairs what a power cut left by itself.\n"
	"\n"
	"  -o ro, rw                   read only; the image is not written. Or not (default)\n"
	"  -o allow_other              let others in; always when root mounts\n"
	"  -o cache=SIZE               memory for pages (default 256M)\n"
	"  -o log_buffer=SIZE          memory for the log (default 16M)\n"
	"  -o flush_log_at_commit=N    1 an fsync is durable (default), 2 it survives the\n"
	"                              daemon only, 0 it waits for commit=\n"
	"  -o commit=SECONDS           after so long write what nobody synced (default 5)\n"
	"  -o data=ordered|strict      strict: writes too become durable in the order in which they were made\n"
	"  -o writeback                let the kernel collect small writes; see knotfs(8) for what that costs\n"
	"  -o noatime, relatime        access times: never, or as in mount(8) (default)\n"
	"  -o threads=N                requests that may wait at the same time\n"
	"  -f                          stay in the foreground, with messages to stderr\n"
	"  -h, --help                  print this\n"
	"  -V, --version               print the version\n"
	"\n"
	"Options of mount(8) such as nosuid, nodev, noexec are taken too. To unmount:\n"
	"knotctl unmount DIR, or umount DIR.\n"
	"Exit status: 0 mounted, 1 wrong usage, 2 out of resources, 32 the mount failed.\n";

static void complain(void *arg, const char *line)
{
	(void)arg;
	fprintf(stderr, "knotfs: %s\nTry 'knotfs --help'.\n", line);
}

static void stay(void *arg)
{
	(void)arg;
}

/* In the child: leave the terminal and tell the parent through the pipe. */
static void leave(void *arg)
{
	const int *pipe_fd = arg;
	int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
	ssize_t ignored;

	setsid();
	if (chdir("/") != 0) {
		/* Then the folder that it started in stays busy, no more. */
	}
	for (int fd = 0; null_fd >= 0 && fd <= 2; fd++)
		dup2(null_fd, fd);
	if (null_fd > 2)
		close(null_fd);
	ignored = write(*pipe_fd, "", 1);
	(void)ignored; /* nobody may be waiting any more */
	close(*pipe_fd);
}

static int wait_for_child(int pipe_fd, pid_t child)
{
	char byte;
	ssize_t got;
	int status;

	do
		got = read(pipe_fd, &byte, 1);
	while (got < 0 && errno == EINTR);
	if (got == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return KNOT_EXIT_SYSTEM;
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "knotfs: the daemon was ended by signal %d (%s)\n", WTERMSIG(status),
			strsignal(WTERMSIG(status)));
		return KNOT_EXIT_MOUNT;
	}
	return WEXITSTATUS(status);
}

static int run_detached(const struct knot_options *options)
{
	int fds[2];
	pid_t child;

	if (pipe2(fds, O_CLOEXEC) != 0 || (child = fork()) < 0) {
		fprintf(stderr, "knotfs: %s\n", strerror(errno));
		return KNOT_EXIT_SYSTEM;
	}
	if (child == 0) {
		close(fds[0]);
		return knot_daemon_run(options, leave, &fds[1]);
	}
	close(fds[1]);
	return wait_for_child(fds[0], child);
}

int main(int argc, char **argv)
{
	struct knot_options options;
	int status = KNOT_EXIT_USAGE;

	if (knot_options_parse(argc, argv, complain, NULL, &options))
		goto out;
	status = 0;
	if (options.help)
		fputs(usage, stdout);
	else if (options.version)
		puts("knotfs " KNOT_VERSION);
	else if (options.fake)
		status = 0;
	else if (options.foreground)
		status = knot_daemon_run(&options, stay, NULL);
	else
		status = run_detached(&options);
out:
	knot_options_free(&options);
	return status;
}
