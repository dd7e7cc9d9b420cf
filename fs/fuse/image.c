/* SPDX-License-Identifier: MIT */
#include "fs/fuse/image.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

/*
 * Who holds a flock on the file; 0 when /proc does not say, as from another process namespace or for a btrfs subvolume.
 */
static int lock_holder(const char *path)
{
	FILE *locks = fopen("/proc/locks", "re");
	struct stat st;
	char line[256];
	int holder = 0;

	if (!locks)
		return 0;
	while (stat(path, &st) == 0 && fgets(line, sizeof(line), locks)) {
		unsigned dev_major, dev_minor;
		unsigned long inode;
		int pid;

		/* 4: FLOCK  ADVISORY  WRITE 1743 08:01:524301 0 EOF */
		if (sscanf(line, "%*s FLOCK %*s %*s %d %x:%x:%lu", &pid, &dev_major, &dev_minor, &inode) != 4)
			continue;
		if (inode == st.st_ino && dev_major == major(st.st_dev) && dev_minor == minor(st.st_dev))
			holder = pid;
		if (holder)
			break;
	}
	fclose(locks);
	return holder;
}

static bool is_knotfs(int pid)
{
	char path[64];
	char name[32] = "";
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/comm", pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return strcmp(name, "knotfs\n") == 0 || strncmp(name, "mount.", 6) == 0;
}

static void say_busy(const char *path, const struct knot_messages *messages)
{
	int pid = lock_holder(path);
	const char *who = pid > 0 && !is_knotfs(pid) ? "another program" : "another knotfs";

	if (pid > 0)
		knot_message(messages, KNOT_ERROR, "%s is in use by %s (pid %d)", path, who, pid);
	else
		knot_message(messages, KNOT_ERROR, "%s is in use by %s", path, who);
}

int knot_image_open(const char *path, bool read_only, const struct knot_messages *messages, struct knot_device **device)
{
	/* A block device becomes the mount's source, and is the kernel's from then on. */
	unsigned flags = KNOT_DEVICE_NO_CLAIM | (read_only ? KNOT_DEVICE_READ_ONLY : 0);
	int err = knot_device_open_file(path, flags, device);

	switch (err) {
	case 0:
		break;
	case -EBUSY:
		say_busy(path, messages);
		break;
	case -ENOTBLK:
	case -EISDIR:
		knot_message(messages, KNOT_ERROR, "%s: neither a file nor a block device", path);
		break;
	case -EROFS:
		knot_message(messages, KNOT_ERROR, "%s: write-protected; to read it, mount it with -o ro", path);
		break;
	default:
		knot_message(messages, KNOT_ERROR, "%s: %s", path, strerror(-err));
		break;
	}
	return err;
}
