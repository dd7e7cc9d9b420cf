/* SPDX-License-Identifier: MIT */
#include "ctl/ctl.h"

#include <knotfs/ioctl.h>

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

int knot_ctl_fail(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	fprintf(stderr, "knotctl: %s\n", line);
	return KNOT_CTL_FAILED;
}

static void say_error(const char *dir, int error)
{
	switch (error) {
	case ENOTTY:
	case EINVAL:
	case ENOSYS:
	case EOPNOTSUPP:
		knot_ctl_fail("%s: not on a knotfs mount, or served by another version", dir);
		break;
	case ENOTCONN:
	case ECONNABORTED:
		knot_ctl_fail("%s: its daemon is gone; mounting the image there again repairs that", dir);
		break;
	case EPERM:
		knot_ctl_fail("%s: only root and whoever mounted it may do that", dir);
		break;
	default:
		knot_ctl_fail("%s: %s", dir, strerror(error));
		break;
	}
}

int knot_ctl_open(const char *dir)
{
	int fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		say_error(dir, errno);
	return fd;
}

bool knot_ctl_ask(int fd, const char *dir, unsigned long request, void *arg)
{
	if (ioctl(fd, request, arg) == 0)
		return true;
	say_error(dir, errno);
	return false;
}

int knot_ctl_checkpoint(const char *dir)
{
	int fd = knot_ctl_open(dir);
	bool done;

	if (fd < 0)
		return KNOT_CTL_FAILED;
	done = knot_ctl_ask(fd, dir, KNOT_IOC_CHECKPOINT, NULL);
	close(fd);
	return done ? KNOT_CTL_OK : KNOT_CTL_FAILED;
}
