/* SPDX-License-Identifier: MIT */
/*
 * knotctl unmount: what umount(8) is for a kernel's file system. Of an ordinary user's mount umount(8) returns while
 * the daemon is still writing; here it is waited for.
 */
#include "ctl/ctl.h"

#include <knotfs/ioctl.h>

#include <errno.h>
#include <poll.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

/* Make everything durable and learn who serves it. False: said. */
static bool prepare(const char *dir, struct knot_ioctl_info *info)
{
	int fd = knot_ctl_open(dir);
	bool done;

	if (fd < 0)
		return false;
	(void)syncfs(fd); /* what the kernel holds back with -o writeback */
	done = knot_ctl_ask(fd, dir, KNOT_IOC_INFO, info);
	if (done && !(info->flags & KNOT_MOUNT_READ_ONLY))
		done = knot_ctl_ask(fd, dir, KNOT_IOC_SYNC, NULL);
	close(fd);
	return done;
}

/* Its messages are better than what we could tell. */
static int by_helper(const char *dir)
{
	char program[] = "fusermount3", option[] = "-u", end[] = "--";
	char *path = strdup(dir);
	char *argv[] = { program, option, end, path, NULL };
	pid_t pid;
	int status;
	int err;

	if (!path)
		return knot_ctl_fail("out of memory");
	err = posix_spawnp(&pid, program, NULL, NULL, argv, environ);
	free(path);
	if (err)
		return knot_ctl_fail("can't run fusermount3 (package fuse3): %s", strerror(err));
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return knot_ctl_fail("fusermount3: %s", strerror(errno));
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? KNOT_CTL_OK : KNOT_CTL_FAILED;
}

static int unmount(const char *dir)
{
	if (geteuid() == 0 && umount2(dir, UMOUNT_NOFOLLOW) == 0)
		return KNOT_CTL_OK;
	if (geteuid() != 0 || errno == EPERM)
		return by_helper(dir);
	if (errno == EBUSY)
		return knot_ctl_fail("%s is in use: see fuser -vm %s", dir, dir);
	if (errno == EINVAL)
		return knot_ctl_fail("%s: not a mount point", dir);
	return knot_ctl_fail("%s: %s", dir, strerror(errno));
}

/* `process` is a pidfd: it becomes readable when the process has ended. */
static void wait_for_end(int process)
{
	struct pollfd fd = { .fd = process, .events = POLLIN };

	while (poll(&fd, 1, -1) < 0 && errno == EINTR) {
	}
}

int knot_ctl_unmount(const char *dir)
{
	struct knot_ioctl_info info = { 0 };
	char *path = realpath(dir, NULL);
	int process, process_err;
	int status;

	if (!path)
		return knot_ctl_fail("%s: %s", dir, strerror(errno));
	if (!prepare(path, &info)) {
		free(path);
		return KNOT_CTL_FAILED;
	}
	/* Before unmounting: afterwards the number may be another process's. */
	process = (int)syscall(SYS_pidfd_open, info.pid, 0);
	process_err = errno;
	status = unmount(path);
	free(path);
	if (process < 0)
		return status == KNOT_CTL_OK && info.owner != 0
			       ? knot_ctl_fail("unmounted, but the daemon (pid %d) can't be waited for: %s", info.pid,
					       strerror(process_err))
			       : status;
	if (status == KNOT_CTL_OK)
		wait_for_end(process);
	close(process);
	return status;
}
