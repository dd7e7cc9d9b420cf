/* SPDX-License-Identifier: MIT */
/*
 * A block device for a mount's source: fuseblk takes nothing else, and only fuseblk waits for us in sync(2) and
 * umount(2). Nothing is read or written through it.
 */
#include "fs/fuse/mount_int.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#define TRIES 16 /* somebody else may be quicker to take the free device */

static int configure(int control, int image_fd, const char *image, bool read_only, struct knot_loop *loop)
{
	struct loop_config config = { .fd = (__u32)image_fd };
	int number = ioctl(control, LOOP_CTL_GET_FREE);
	int err;

	if (number < 0)
		return -errno;
	snprintf(loop->path, sizeof(loop->path), "/dev/loop%d", number);
	loop->fd = open(loop->path, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (loop->fd < 0)
		return -errno;
	config.info.lo_flags = LO_FLAGS_AUTOCLEAR | (read_only ? LO_FLAGS_READ_ONLY : 0);
	snprintf((char *)config.info.lo_file_name, sizeof(config.info.lo_file_name), "%s", image);
	if (ioctl(loop->fd, LOOP_CONFIGURE, &config) == 0)
		return 0;
	err = -errno;
	close(loop->fd);
	return err;
}

int knot_loop_attach(const char *image, bool read_only, struct knot_loop *loop)
{
	int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
	int image_fd;
	int err;

	if (control < 0)
		return -errno;
	image_fd = open(image, (read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC);
	if (image_fd < 0) {
		err = -errno;
		close(control);
		return err;
	}
	for (int i = 0; i < TRIES; i++) {
		err = configure(control, image_fd, image, read_only, loop);
		if (err != -EBUSY)
			break;
	}
	close(image_fd);
	close(control);
	return err;
}
