/* SPDX-License-Identifier: MIT */
#include "fs/fuse/mount.h"
#include "fs/fuse/mount_int.h"

#include <errno.h>
#include <fcntl.h>
#include <mntent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TYPE_PLAIN     "fuse.knotfs"
#define TYPE_BLOCK     "fuseblk.knotfs"
#define READ_AHEAD_KIB "1024"

/* ---- the mount point ---- */

/* The type of what is mounted at `dir`, the topmost; false: nothing is. */
static bool mounted_type(const char *dir, char *type, size_t room_bytes)
{
	FILE *mounts = setmntent("/proc/self/mounts", "re");
	char buffer[3 * PATH_MAX];
	struct mntent entry;
	bool found = false;

	if (!mounts)
		return false;
	while (getmntent_r(mounts, &entry, buffer, sizeof(buffer))) {
		if (strcmp(entry.mnt_dir, dir) != 0)
			continue;
		snprintf(type, room_bytes, "%s", entry.mnt_type);
		found = true;
	}
	endmntent(mounts);
	return found;
}

static int unmount(const char *dir, bool by_helper, bool lazily)
{
	if (by_helper)
		return knot_fusermount_detach(dir, lazily);
	return umount2(dir, UMOUNT_NOFOLLOW | (lazily ? MNT_DETACH : 0)) == 0 ? 0 : -errno;
}

/* What the kernel has cached says nothing about the daemon: ask it. */
static int ask(const char *dir, struct statx *stx)
{
	return statx(AT_FDCWD, dir, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, stx) == 0 ? 0 : -errno;
}

/* Detach what killed daemons left at `dir`. */
static int clear_stale(const char *dir, const struct knot_messages *messages, struct statx *stx)
{
	char type[64];
	int err;

	while ((err = ask(dir, stx)) == -ENOTCONN || err == -ECONNABORTED) {
		int detach_err;

		if (!mounted_type(dir, type, sizeof(type)) ||
		    (strcmp(type, TYPE_PLAIN) != 0 && strcmp(type, TYPE_BLOCK) != 0))
			break;
		detach_err = unmount(dir, geteuid() != 0, true);
		if (detach_err) {
			knot_message(messages, KNOT_ERROR, "%s: can't detach what a killed knotfs left there: %s", dir,
				     strerror(-detach_err));
			return detach_err;
		}
		knot_message(messages, KNOT_WARNING, "%s: detached what a killed knotfs left there", dir);
	}
	if (err)
		knot_message(messages, KNOT_ERROR, "%s: %s", dir, strerror(-err));
	return err;
}

int knot_mount_prepare(const char *dir, const struct knot_messages *messages, struct knot_mount *mount)
{
	struct statx stx;
	int err;

	*mount = (struct knot_mount){ .fd = -1 };
	if (!realpath(dir, mount->dir)) {
		err = -errno;
		knot_message(messages, KNOT_ERROR, "%s: %s", dir, strerror(-err));
		return err;
	}
	err = clear_stale(mount->dir, messages, &stx);
	if (!err && !S_ISDIR(stx.stx_mode)) {
		knot_message(messages, KNOT_ERROR, "%s: not a directory", mount->dir);
		err = -ENOTDIR;
	}
	return err;
}

/* ---- mounting ---- */

static int try_mount(const struct knot_mount_options *options, const char *source, const char *type,
		     struct knot_mount *result)
{
	bool block = strcmp(type, TYPE_BLOCK) == 0;
	char data[1024];
	int length, err;
	int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	length = snprintf(data, sizeof(data), "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s%s%s",
			  fd, getuid(), getgid(), options->allow_other ? ",allow_other" : "",
			  block ? ",blksize=4096" : "", options->security ? options->security : "");
	err = -EINVAL;
	if (length > 0 && (size_t)length < sizeof(data))
		err = mount(source, result->dir, type, options->flags, data) == 0 ? 0 : -errno;
	if (err) {
		close(fd);
		return err;
	}
	result->fd = fd;
	result->block = block;
	return 0;
}

static bool is_block_device(const char *path)
{
	struct stat st;

	return stat(path, &st) == 0 && S_ISBLK(st.st_mode);
}

/* An image file's loop device is needed only until the mount holds it. */
static int try_block(const struct knot_mount_options *options, struct knot_mount *mount)
{
	struct knot_loop loop;
	int err;

	if (is_block_device(options->image))
		return try_mount(options, options->image, TYPE_BLOCK, mount);
	err = knot_loop_attach(options->image, (options->flags & MS_RDONLY) != 0, &loop);
	if (err)
		return err;
	err = try_mount(options, loop.path, TYPE_BLOCK, mount);
	close(loop.fd);
	return err;
}

static int attach_as_root(const struct knot_mount_options *options, struct knot_mount *mount)
{
	int err = try_block(options, mount);

	/* Somebody has the device mounted; as plain fuse we would not notice. */
	if (!err || (err == -EBUSY && is_block_device(options->image)))
		return err;
	if (err != -EPERM)
		knot_message(options->messages, KNOT_WARNING,
			     "no block device to mount (%s): sync(2) will not wait for the volume, fsync(2) will",
			     strerror(-err));
	return try_mount(options, options->fsname, TYPE_PLAIN, mount);
}

int knot_mount_attach(const struct knot_mount_options *options, struct knot_mount *mount)
{
	int err = -EPERM;

	if (geteuid() == 0)
		err = attach_as_root(options, mount);
	if (err == -EPERM) {
		/* An ordinary user, or root without the power to mount. */
		err = knot_fusermount_attach(options, mount->dir, &mount->fd);
		mount->by_helper = true;
		return err;
	}
	if (err == -ENOENT)
		knot_message(options->messages, KNOT_ERROR, "/dev/fuse is missing: the kernel has no FUSE here");
	else if (err)
		knot_message(options->messages, KNOT_ERROR, "can't mount at %s: %s", mount->dir, strerror(-err));
	return err;
}

/* Is something else mounted over it, or is it gone and shows what was below? */
static bool is_hidden(const struct knot_mount *mount)
{
	struct statx stx;

	return mount->is_known && statx(AT_FDCWD, mount->dir, AT_STATX_DONT_SYNC, STATX_TYPE, &stx) == 0 &&
	       makedev(stx.stx_dev_major, stx.stx_dev_minor) != mount->device;
}

int knot_mount_detach(const struct knot_mount *mount, bool lazily)
{
	if (is_hidden(mount))
		return -ESTALE;
	return unmount(mount->dir, mount->by_helper, lazily);
}

/* ---- tuning ---- */

void knot_mount_tune(struct knot_mount *mount)
{
	static const char *const suffixes[] = { "", "-fuseblk" };
	struct stat st;

	if (stat(mount->dir, &st) != 0)
		return;
	mount->device = st.st_dev;
	mount->is_known = true;
	if (geteuid() != 0)
		return;
	for (size_t i = 0; i < sizeof(suffixes) / sizeof(suffixes[0]); i++) {
		char path[128];
		int fd;

		snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u%s/read_ahead_kb", major(st.st_dev), minor(st.st_dev),
			 suffixes[i]);
		fd = open(path, O_WRONLY | O_CLOEXEC);
		if (fd < 0)
			continue;
		if (write(fd, READ_AHEAD_KIB, sizeof(READ_AHEAD_KIB) - 1) < 0) {
			/* A container's /sys: the kernel's default stays. */
		}
		close(fd);
	}
}
