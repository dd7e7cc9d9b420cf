/* SPDX-License-Identifier: MIT */
#include "mkfs/in_use_int.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define WIPE_ROUNDS_MAX 64 /* more marks than any real device has: some mark does not go away */

static bool is_same_file(const struct stat *target, const char *path)
{
	struct stat st;

	if (path[0] != '/' || stat(path, &st) < 0)
		return false;
	if (S_ISBLK(target->st_mode))
		return S_ISBLK(st.st_mode) && st.st_rdev == target->st_rdev;
	return st.st_dev == target->st_dev && st.st_ino == target->st_ino;
}

/* mountinfo writes blanks and the like as a backslash and three octal digits. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && strspn(from + 1, "01234567") >= 3) {
			const char digits[] = { from[1], from[2], from[3], 0 };

			*to = (char)strtoul(digits, NULL, 8);
			from += sizeof(digits);
		} else {
			*to = *from++;
		}
	}
	*to = 0;
}

/* One line of mountinfo: "id parent major:minor root MOUNTPOINT options ... - type SOURCE options". */
static bool line_mounts(const struct stat *target, char *line, char *why, size_t why_bytes)
{
	char *tail = strstr(line, " - ");
	unsigned major_no, minor_no;
	int at = 0, source_at = 0;

	if (sscanf(line, "%*d %*d %u:%u %*s %n", &major_no, &minor_no, &at) < 2 || !at || !tail)
		return false;
	*tail = 0;
	tail += strlen(" - ");
	if (sscanf(tail, "%*s %n", &source_at) < 0 || !source_at)
		return false;

	char *mount_point = line + at, *source = tail + source_at;
	mount_point[strcspn(mount_point, " ")] = 0;
	source[strcspn(source, " \n")] = 0;
	unescape(mount_point);
	unescape(source);
	if (!(S_ISBLK(target->st_mode) && makedev(major_no, minor_no) == target->st_rdev) &&
	    !is_same_file(target, source))
		return false;
	snprintf(why, why_bytes, "mounted on %s", mount_point);
	return true;
}

static bool find_mount(const struct stat *target, char *why, size_t why_bytes)
{
	FILE *mounts = fopen("/proc/self/mountinfo", "re");
	char *line = NULL;
	size_t line_bytes = 0;
	bool found = false;

	if (!mounts)
		return false;
	while (!found && getline(&line, &line_bytes, mounts) > 0)
		found = line_mounts(target, line, why, why_bytes);
	free(line);
	fclose(mounts);
	return found;
}

static bool loop_holds(const struct stat *target, const char *backing_file)
{
	char path[4096];
	FILE *file = fopen(backing_file, "re");
	bool held = false;

	if (!file)
		return false;
	if (fgets(path, sizeof(path), file)) {
		path[strcspn(path, "\n")] = 0;
		held = is_same_file(target, path);
	}
	fclose(file);
	return held;
}

static bool find_loop(const struct stat *target, char *why, size_t why_bytes)
{
	static const char before[] = "/sys/block/", after[] = "/loop/backing_file";
	bool found = false;
	glob_t loops;

	if (glob("/sys/block/loop*/loop/backing_file", 0, NULL, &loops) != 0)
		return false;
	for (size_t i = 0; i < loops.gl_pathc && !found; i++) {
		const char *path = loops.gl_pathv[i];

		found = loop_holds(target, path);
		if (found)
			snprintf(why, why_bytes, "attached to /dev/%.*s",
				 (int)(strlen(path) - strlen(before) - strlen(after)), path + strlen(before));
	}
	globfree(&loops);
	return found;
}

bool knot_in_use_find(const struct stat *target, char *why, size_t why_bytes)
{
	return find_mount(target, why, why_bytes) || (S_ISREG(target->st_mode) && find_loop(target, why, why_bytes));
}

/* A probe of what `fd` refers to. NULL: no memory, or it can't be read. */
static blkid_probe new_probe(int fd, int flags)
{
	blkid_probe probe = blkid_new_probe();

	if (!probe)
		return NULL;
	if (blkid_probe_set_device(probe, fd, 0, 0) || blkid_probe_enable_superblocks(probe, 1) ||
	    blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE | flags) ||
	    blkid_probe_enable_partitions(probe, 1) ||
	    blkid_probe_set_partitions_flags(probe, flags ? BLKID_PARTS_MAGIC : 0)) {
		blkid_free_probe(probe);
		return NULL;
	}
	return probe;
}

static void describe(blkid_probe probe, char *what, size_t what_bytes)
{
	const char *type = NULL, *usage = NULL;

	if (blkid_probe_lookup_value(probe, "TYPE", &type, NULL) == 0) {
		bool is_system = blkid_probe_lookup_value(probe, "USAGE", &usage, NULL) == 0 &&
				 strcmp(usage, "filesystem") == 0;

		snprintf(what, what_bytes, "%s%s", type, is_system ? " file system" : " data");
	} else if (blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL) == 0) {
		snprintf(what, what_bytes, "%s partition table", type);
	} else {
		snprintf(what, what_bytes, "file system");
	}
}

int knot_in_use_probe(const char *path, char *what, size_t what_bytes)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	int found = -EIO;

	if (fd < 0)
		return -errno;
	blkid_probe probe = new_probe(fd, 0);
	if (probe) {
		int result = blkid_do_safeprobe(probe);

		if (result == 0)
			describe(probe, what, what_bytes);
		else if (result == -2)
			snprintf(what, what_bytes, "%s", "mix of several file systems' marks");
		if (result != -1)
			found = result != 1;
		blkid_free_probe(probe);
	}
	close(fd);
	return found;
}

int knot_in_use_wipe(const char *path)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	int err = 0;

	if (fd < 0)
		return -errno;
	blkid_probe probe = new_probe(fd, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_BADCSUM);
	if (probe) {
		for (int round = 0; !err && blkid_do_probe(probe) == 0; round++)
			err = round == WIPE_ROUNDS_MAX || blkid_do_wipe(probe, 0) ? -EIO : 0;
		blkid_free_probe(probe);
	} else {
		err = -EIO;
	}
	close(fd);
	return err;
}
