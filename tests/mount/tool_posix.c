/* SPDX-License-Identifier: MIT */
/*
 * POSIX behaviour of a mounted file system, case by case: tool_posix DIR [CASE]. DIR is empty; run as root (without,
 * the cases about owners are left out). Prints each case that passed; the exit code is 1 if one did not.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB (1024 * 1024)

/* Like assert: what holds is said by the condition. */
#define CHECK(condition)                                                                                            \
	((condition) ? (void)0                                                                                      \
		     : (void)(fprintf(stderr, "%s:%d: %s: not so (%s)\n", __func__, __LINE__, #condition,            \
				      strerror(errno)),                                                              \
			      exit(1)))
#define FAILS_WITH(code, call) CHECK(((errno = 0), (call)) < 0 && errno == (code))

static int make(const char *name, const char *contents)
{
	int fd = open(name, O_RDWR | O_CREAT | O_TRUNC, 0644);

	CHECK(fd >= 0);
	CHECK(write(fd, contents, strlen(contents)) == (ssize_t)strlen(contents));
	return fd;
}

static void make_closed(const char *name, const char *contents)
{
	close(make(name, contents));
}

static bool holds(const char *name, const char *contents)
{
	char bytes[256];
	int fd = open(name, O_RDONLY);
	ssize_t got = fd < 0 ? -1 : read(fd, bytes, sizeof(bytes));

	close(fd);
	return got == (ssize_t)strlen(contents) && memcmp(bytes, contents, (size_t)got) == 0;
}

static struct stat stat_of(const char *name)
{
	struct stat st;

	CHECK(lstat(name, &st) == 0);
	return st;
}

static bool exists(const char *name)
{
	struct stat st;

	return lstat(name, &st) == 0;
}

static void any_name_of_255_bytes(void)
{
	char name[300];
	bool seen[256] = { 0 };
	struct dirent *entry;
	DIR *dir;

	memset(name, 'n', 255);
	name[255] = 0;
	make_closed(name, "long");
	CHECK(holds(name, "long"));
	CHECK(mkdir("d255", 0755) == 0);
	CHECK(rename(name, "d255/x") == 0 && rename("d255/x", name) == 0);
	name[255] = 'n';
	name[256] = 0;
	FAILS_WITH(ENAMETOOLONG, open(name, O_CREAT | O_WRONLY, 0644));
	FAILS_WITH(ENAMETOOLONG, mkdir(name, 0755));
	FAILS_WITH(ENAMETOOLONG, symlink("x", name));
	FAILS_WITH(ENAMETOOLONG, rename("d255", name));
	FAILS_WITH(ENAMETOOLONG, link("d255", name));
	FAILS_WITH(ENAMETOOLONG, unlink(name));
	FAILS_WITH(ENAMETOOLONG, access(name, F_OK));
	CHECK(chdir("d255") == 0);
	for (int c = 1; c < 256; c++) {
		char one[3] = { (char)c, '_', 0 };

		if (c != '/')
			make_closed(one, one);
	}
	dir = opendir(".");
	CHECK(dir);
	while ((entry = readdir(dir))) {
		if (entry->d_name[1] == '_') {
			CHECK(!seen[(uint8_t)entry->d_name[0]]);
			CHECK(holds(entry->d_name, entry->d_name));
			seen[(uint8_t)entry->d_name[0]] = true;
		}
	}
	closedir(dir);
	for (int c = 1; c < 256; c++)
		CHECK(seen[c] || c == '/');
	CHECK(chdir("..") == 0);
}

static uint64_t free_pages(void)
{
	struct statvfs vfs;
	int fd = open(".", O_RDONLY);

	CHECK(fd >= 0 && syncfs(fd) == 0);
	close(fd);
	CHECK(statvfs(".", &vfs) == 0);
	CHECK(vfs.f_bsize == 4096 && vfs.f_namemax == 255);
	CHECK(vfs.f_bavail <= vfs.f_bfree && vfs.f_bfree <= vfs.f_blocks);
	return vfs.f_bfree;
}

static bool free_pages_become(uint64_t wanted)
{
	for (unsigned tries = 0; tries < 100; tries++) {
		if (free_pages() >= wanted)
			return true;
		usleep(50000);
	}
	fprintf(stderr, "%llu free, %llu wanted\n", (unsigned long long)free_pages(), (unsigned long long)wanted);
	return false;
}

static void unlinked_files_live_until_closed(void)
{
	uint64_t before;
	char *bytes = malloc(8 * MIB), *again = malloc(8 * MIB);
	struct stat st;
	int fd, gone;

	CHECK(bytes && again);
	make_closed("first", "x"); /* the directory's own pages */
	before = free_pages();
	memset(bytes, 'u', 8 * MIB);
	fd = make("unlinked", "");
	CHECK(write(fd, bytes, 8 * MIB) == 8 * MIB && fsync(fd) == 0);
	CHECK(free_pages() <= before - 2048);
	CHECK(unlink("unlinked") == 0);
	CHECK(fstat(fd, &st) == 0 && st.st_nlink == 0 && st.st_size == 8 * MIB);
	CHECK(pread(fd, again, 8 * MIB, 0) == 8 * MIB && memcmp(bytes, again, 8 * MIB) == 0);
	CHECK(pwrite(fd, "still", 5, 100) == 5 && fsync(fd) == 0 && ftruncate(fd, 9 * MIB) == 0);
	CHECK(pread(fd, again, 5, 100) == 5 && memcmp(again, "still", 5) == 0);
	CHECK(free_pages() <= before - 2048);
	make_closed("replacing", "new");
	gone = make("replaced", "old");
	CHECK(rename("replacing", "replaced") == 0);
	CHECK(pread(gone, again, 10, 0) == 3 && memcmp(again, "old", 3) == 0);
	close(gone);
	close(fd);
	CHECK(unlink("replaced") == 0);
	CHECK(free_pages_become(before - 4)); /* the tree may have grown by a page */
	free(bytes);
	free(again);
}

static void rename_has_all_its_flags(void)
{
	struct stat a, b;

	make_closed("a", "A");
	make_closed("b", "B");
	FAILS_WITH(EEXIST, renameat2(AT_FDCWD, "a", AT_FDCWD, "b", RENAME_NOREPLACE));
	CHECK(renameat2(AT_FDCWD, "a", AT_FDCWD, "c", RENAME_NOREPLACE) == 0 && !exists("a") && holds("c", "A"));
	CHECK(renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE) == 0 && holds("b", "A") && holds("c", "B"));
	FAILS_WITH(ENOENT, renameat2(AT_FDCWD, "b", AT_FDCWD, "none", RENAME_EXCHANGE));
	FAILS_WITH(EINVAL, renameat2(AT_FDCWD, "b", AT_FDCWD, "c", RENAME_EXCHANGE | RENAME_NOREPLACE));
	CHECK(mkdir("p", 0755) == 0 && mkdir("q", 0755) == 0 && mkdir("p/sub", 0755) == 0);
	CHECK(renameat2(AT_FDCWD, "p/sub", AT_FDCWD, "b", RENAME_EXCHANGE) == 0);
	CHECK(S_ISDIR(stat_of("b").st_mode) && holds("p/sub", "A"));
	CHECK(stat_of("p").st_nlink == 2);
	CHECK(rename("b", "q/b") == 0 && stat_of("q").st_nlink == 3);
	FAILS_WITH(EINVAL, rename("q", "q/b/q"));
	FAILS_WITH(ENOTEMPTY, rename("p", "q"));
	FAILS_WITH(ENOTDIR, rename("p", "c"));
	FAILS_WITH(EISDIR, rename("c", "p"));
	CHECK(mkdir("empty", 0755) == 0 && rename("p", "empty") == 0 && holds("empty/sub", "A"));
	CHECK(rename("c", "empty/sub") == 0 && holds("empty/sub", "B") && !exists("c"));
	make_closed("l1", "L");
	CHECK(link("l1", "l2") == 0 && rename("l1", "l2") == 0 && exists("l1") && exists("l2"));
	a = stat_of("l1");
	b = stat_of("l2");
	CHECK(a.st_ino == b.st_ino && a.st_nlink == 2);
	CHECK(rename("l2", "l2") == 0 && exists("l2"));
	if (geteuid() == 0) {
		CHECK(renameat2(AT_FDCWD, "l1", AT_FDCWD, "l3", RENAME_WHITEOUT) == 0);
		a = stat_of("l1");
		CHECK(S_ISCHR(a.st_mode) && a.st_rdev == 0 && holds("l3", "L"));
	}
}

static void hard_links_are_equal_names(void)
{
	make_closed("one", "1");
	CHECK(link("one", "two") == 0 && mkdir("dir", 0755) == 0 && link("two", "dir/three") == 0);
	CHECK(stat_of("dir/three").st_nlink == 3 && stat_of("one").st_ino == stat_of("dir/three").st_ino);
	make_closed("two", "changed");
	CHECK(holds("dir/three", "changed"));
	CHECK(unlink("one") == 0 && stat_of("two").st_nlink == 2);
	FAILS_WITH(EPERM, link("dir", "hard"));
	FAILS_WITH(EEXIST, link("two", "dir/three"));
	FAILS_WITH(ENOENT, link("one", "x"));
	CHECK(symlink("two", "sym") == 0 && linkat(AT_FDCWD, "sym", AT_FDCWD, "sym2", 0) == 0);
	CHECK(S_ISLNK(stat_of("sym2").st_mode) && holds("sym2", "changed"));
	CHECK(unlink("two") == 0 && stat_of("dir/three").st_nlink == 1 && !holds("sym", "changed"));
}

/* The child's steps as another user: 0 or the number of the step that went wrong. */
static int as_nobody(int (*steps)(void))
{
	int status;
	pid_t child = fork();

	CHECK(child >= 0);
	if (child == 0)
		_exit(setgid(65534) || setuid(65534) ? 99 : steps());
	CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int in_a_sticky_directory(void)
{
	int fd = open("sticky/mine", O_CREAT | O_WRONLY, 0644);

	if (fd < 0)
		return 1;
	close(fd);
	if (unlink("sticky/others") == 0 || errno != EPERM)
		return 2;
	if (rename("sticky/others", "sticky/x") == 0 || errno != EPERM)
		return 3;
	if (rename("sticky/mine", "sticky/others") == 0 || errno != EPERM)
		return 4;
	if (chmod("sticky/others", 0777) == 0 || errno != EPERM)
		return 5;
	if (chown("sticky/mine", 0, 65534) == 0 || errno != EPERM)
		return 6;
	if (open("secret", O_RDONLY) >= 0 || errno != EACCES)
		return 7;
	if (utimensat(AT_FDCWD, "sticky/others", NULL, 0) == 0 || errno != EACCES)
		return 8;
	if (mkdir("closed/x", 0755) == 0 || errno != EACCES)
		return 9;
	return unlink("sticky/mine") == 0 ? 0 : 10;
}

static void owners_sticky_and_setgid_are_obeyed(void)
{
	struct stat st;

	umask(0);
	CHECK(mkdir("group", 0777) == 0 && chown("group", 0, 4711) == 0 && chmod("group", 02775) == 0);
	make_closed("group/file", "");
	CHECK(mkdir("group/dir", 0700) == 0);
	st = stat_of("group/file");
	CHECK(st.st_gid == 4711);
	st = stat_of("group/dir");
	CHECK(st.st_gid == 4711 && (st.st_mode & 07777) == 02700);
	CHECK(mkdir("sticky", 0777) == 0 && chmod("sticky", 01777) == 0 && mkdir("closed", 0755) == 0);
	make_closed("sticky/others", "");
	make_closed("secret", "");
	CHECK(chmod("secret", 0600) == 0 && chmod("sticky/others", 0644) == 0);
	CHECK(chmod(".", 0755) == 0);
	CHECK(as_nobody(in_a_sticky_directory) == 0);
}

static void umask_chmod_chown_and_times(void)
{
	struct timespec times[2] = { { .tv_sec = -5, .tv_nsec = 999999999 }, { .tv_sec = 1LL << 33, .tv_nsec = 1 } };
	struct stat st, later;

	umask(027);
	CHECK(mkdir("masked", 0777) == 0 && (stat_of("masked").st_mode & 07777) == 0750);
	close(open("f", O_CREAT | O_WRONLY, 0666));
	CHECK((stat_of("f").st_mode & 07777) == 0640);
	umask(022);
	CHECK(symlink("f", "sym") == 0 && (stat_of("sym").st_mode & 07777) == 0777 && stat_of("sym").st_size == 1);
	CHECK(chmod("f", 07777) == 0 && (stat_of("f").st_mode & 07777) == 07777);
	if (geteuid() == 0) {
		CHECK(chown("f", 12345, (gid_t)-2) == 0);
		st = stat_of("f");
		CHECK(st.st_uid == 12345 && st.st_gid == (gid_t)-2 && (st.st_mode & 07777) == 01777);
		CHECK(lchown("sym", 77, 88) == 0 && stat_of("sym").st_uid == 77 && stat_of("f").st_uid == 12345);
	}
	CHECK(utimensat(AT_FDCWD, "f", times, 0) == 0);
	st = stat_of("f");
	CHECK(st.st_atim.tv_sec == -5 && st.st_atim.tv_nsec == 999999999);
	CHECK(st.st_mtim.tv_sec == 1LL << 33 && st.st_mtim.tv_nsec == 1);
	times[0].tv_nsec = UTIME_OMIT;
	times[1].tv_nsec = UTIME_NOW;
	usleep(20000);
	CHECK(utimensat(AT_FDCWD, "f", times, 0) == 0);
	later = stat_of("f");
	CHECK(later.st_atim.tv_sec == -5 && later.st_mtim.tv_sec < 1LL << 33);
	CHECK(later.st_ctim.tv_sec > st.st_ctim.tv_sec ||
	      (later.st_ctim.tv_sec == st.st_ctim.tv_sec && later.st_ctim.tv_nsec > st.st_ctim.tv_nsec));
	st = stat_of("masked");
	usleep(20000);
	make_closed("masked/new", "");
	later = stat_of("masked");
	CHECK(memcmp(&later.st_mtim, &st.st_mtim, sizeof(st.st_mtim)) != 0);
}

static void appends_of_several_processes_interleave(void)
{
	enum { PROCESSES = 4, RECORDS = 300 };
	unsigned next[PROCESSES] = { 0 };
	char line[64];
	FILE *file;

	for (int p = 0; p < PROCESSES; p++) {
		if (fork() == 0) {
			int fd = open("appended", O_CREAT | O_WRONLY | O_APPEND, 0644);

			for (int i = 0; i < RECORDS; i++) {
				int n = snprintf(line, sizeof(line), "%d %d %.*s\n", p, i, i % 40,
						 "........................................");

				if (write(fd, line, (size_t)n) != n)
					_exit(1);
			}
			_exit(0);
		}
	}
	for (int p = 0; p < PROCESSES; p++) {
		int status;

		CHECK(wait(&status) > 0 && status == 0);
	}
	file = fopen("appended", "r");
	CHECK(file);
	while (fgets(line, sizeof(line), file)) {
		unsigned p, i;

		CHECK(sscanf(line, "%u %u ", &p, &i) == 2 && p < PROCESSES && i == next[p]++);
	}
	fclose(file);
	for (int p = 0; p < PROCESSES; p++)
		CHECK(next[p] == RECORDS);
}

static bool is_all(int fd, off_t from, off_t to, char c)
{
	static char bytes[65536];

	while (from < to) {
		size_t want = to - from < (off_t)sizeof(bytes) ? (size_t)(to - from) : sizeof(bytes);
		ssize_t got = pread(fd, bytes, want, from);

		if (got != (ssize_t)want)
			return false;
		for (ssize_t i = 0; i < got; i++) {
			if (bytes[i] != c)
				return false;
		}
		from += got;
	}
	return true;
}

static void truncation_and_holes_read_as_zeros(void)
{
	static char bytes[300000];
	static const off_t cuts[] = { 299999, 200000, 4097, 4096, 4095, 700, 1, 0 };
	off_t huge = (off_t)1 << 42;
	int fd = make("cut", "");

	memset(bytes, 'x', sizeof(bytes));
	for (unsigned synced = 0; synced < 2; synced++) {
		for (unsigned i = 0; i < sizeof(cuts) / sizeof(cuts[0]); i++) {
			CHECK(pwrite(fd, bytes, sizeof(bytes), 0) == sizeof(bytes));
			CHECK(!synced || fsync(fd) == 0);
			CHECK(ftruncate(fd, cuts[i]) == 0 && ftruncate(fd, 400000) == 0);
			CHECK(is_all(fd, 0, cuts[i], 'x') && is_all(fd, cuts[i], 400000, 0));
			CHECK(pwrite(fd, "end", 3, 500000) == 3);
			CHECK(is_all(fd, cuts[i], 500000, 0));
			CHECK(!synced || fsync(fd) == 0);
			CHECK(is_all(fd, 0, cuts[i], 'x') && is_all(fd, cuts[i], 500000, 0));
		}
	}
	close(fd);
	fd = open("cut", O_RDWR | O_TRUNC);
	CHECK(fd >= 0 && stat_of("cut").st_size == 0 && pwrite(fd, "new", 3, 0) == 3);
	close(fd);
	CHECK(holds("cut", "new"));
	fd = make("sparse", "");
	CHECK(pwrite(fd, "far", 3, huge) == 3 && fsync(fd) == 0 && stat_of("sparse").st_size == huge + 3);
	CHECK(stat_of("sparse").st_blocks < 100);
	CHECK(is_all(fd, huge - 100000, huge, 0) && is_all(fd, 0, 100000, 0));
	CHECK(pwrite(fd, "mid", 3, 12345678) == 3 && is_all(fd, 12345681, 12400000, 0));
	CHECK(ftruncate(fd, 12345679) == 0 && is_all(fd, 12345678, 12345679, 'm'));
	close(fd);
	FAILS_WITH(EINVAL, truncate("sparse", -1));
	CHECK(mkdir("dir", 0755) == 0);
	FAILS_WITH(EISDIR, truncate("dir", 0));
}

static void mapped_memory_and_files_agree(void)
{
	size_t size = 3 * MIB + 77;
	char bytes[16];
	int fd = make("mapped", ""), other;
	char *map;

	CHECK(ftruncate(fd, (off_t)size) == 0);
	map = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED);
	for (size_t at = 0; at + 8 < size; at += 5003)
		memcpy(map + at, &at, sizeof(at));
	other = open("mapped", O_RDWR);
	for (size_t at = 0; at + 8 < size; at += 5003)
		CHECK(pread(other, bytes, 8, (off_t)at) == 8 && memcmp(bytes, &at, 8) == 0);
	CHECK(pwrite(other, "through write", 13, 1000000) == 13 && memcmp(map + 1000000, "through write", 13) == 0);
	CHECK(msync(map, size, MS_SYNC) == 0 && fsync(other) == 0);
	CHECK(munmap(map, size) == 0);
	close(fd);
	close(other);
	fd = open("mapped", O_RDONLY);
	map = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	CHECK(map != MAP_FAILED && memcmp(map + 1000000, "through write", 13) == 0);
	munmap(map, size);
	close(fd);
}

static void direct_reads_and_writes_agree_with_cached_ones(void)
{
	char *buffer = aligned_alloc(4096, 2 * MIB), *again = aligned_alloc(4096, 2 * MIB);
	int direct, cached;

	CHECK(buffer && again);
	for (int i = 0; i < 2 * MIB; i++)
		buffer[i] = (char)(i * 7 + i / 4096);
	direct = open("direct", O_RDWR | O_CREAT | O_DIRECT, 0644);
	cached = open("direct", O_RDWR);
	CHECK(direct >= 0 && cached >= 0);
	CHECK(pwrite(direct, buffer, 2 * MIB, 0) == 2 * MIB);
	CHECK(pread(cached, again, 2 * MIB, 0) == 2 * MIB && memcmp(buffer, again, 2 * MIB) == 0);
	CHECK(pwrite(cached, "cached", 6, 5000) == 6 && pread(direct, again, 8192, 4096) == 8192);
	CHECK(memcmp(again + 904, "cached", 6) == 0);
	CHECK(pwrite(direct, buffer, 8192, 4096) == 8192);
	CHECK(pread(cached, again, 8192, 4096) == 8192 && memcmp(again, buffer, 8192) == 0);
	CHECK(pread(direct, again, 4096, 2 * MIB) == 0);
	close(direct);
	close(cached);
	free(buffer);
	free(again);
}

static void directories_sync_and_refuse(void)
{
	int fd;

	CHECK(mkdir("dir", 0755) == 0);
	fd = open("dir", O_RDONLY | O_DIRECTORY);
	make_closed("dir/file", "x");
	CHECK(fsync(fd) == 0 && fdatasync(fd) == 0);
	FAILS_WITH(ENOTEMPTY, rmdir("dir"));
	FAILS_WITH(ENOTDIR, rmdir("dir/file"));
	FAILS_WITH(EISDIR, unlink("dir"));
	FAILS_WITH(EEXIST, mkdir("dir", 0755));
	FAILS_WITH(EISDIR, open("dir", O_WRONLY));
	FAILS_WITH(ENOTDIR, open("dir/file/x", O_RDONLY));
	FAILS_WITH(EEXIST, open("dir/file", O_CREAT | O_EXCL | O_WRONLY, 0600));
	FAILS_WITH(EINVAL, rmdir("dir/."));
	FAILS_WITH(ENOTEMPTY, rmdir("dir/.."));
	CHECK(unlink("dir/file") == 0 && rmdir("dir") == 0);
	FAILS_WITH(ENOENT, openat(fd, "new", O_CREAT | O_WRONLY, 0600));
	close(fd);
}

/* Others create and delete all the while: names that stay are seen exactly once in each listing. */
static void listings_neither_lose_nor_repeat(void)
{
	enum { STAYING = 3000, ROUNDS = 12 };
	char name[64];
	pid_t children[2];

	CHECK(mkdir("many", 0755) == 0 && chdir("many") == 0);
	for (int i = 0; i < STAYING; i++) {
		snprintf(name, sizeof(name), "stays%d", i);
		make_closed(name, "");
	}
	for (int c = 0; c < 2; c++) {
		children[c] = fork();
		for (unsigned i = 0; children[c] == 0; i++) {
			snprintf(name, sizeof(name), "comes-and-goes%d-%u", c, i % 997);
			if (unlink(name))
				close(open(name, O_CREAT | O_WRONLY, 0600));
		}
	}
	for (int round = 0; round < ROUNDS; round++) {
		static uint8_t seen[STAYING];
		struct dirent *entry;
		DIR *dir = opendir(".");
		unsigned number;

		memset(seen, 0, sizeof(seen));
		CHECK(dir);
		while ((entry = readdir(dir))) {
			if (sscanf(entry->d_name, "stays%u", &number) == 1 && number < STAYING)
				seen[number]++;
		}
		closedir(dir);
		for (int i = 0; i < STAYING; i++)
			CHECK(seen[i] == 1);
	}
	for (int c = 0; c < 2; c++) {
		kill(children[c], SIGKILL);
		CHECK(waitpid(children[c], NULL, 0) == children[c]);
	}
	CHECK(chdir("..") == 0);
}

static const struct test {
	const char *name;
	void (*run)(void);
	bool root;
} tests[] = {
	{ "any name of 255 bytes", any_name_of_255_bytes, false },
	{ "unlinked files live until closed", unlinked_files_live_until_closed, true },
	{ "rename has all its flags", rename_has_all_its_flags, false },
	{ "hard links are equal names", hard_links_are_equal_names, false },
	{ "owners, sticky and setgid are obeyed", owners_sticky_and_setgid_are_obeyed, true },
	{ "umask, chmod, chown and times", umask_chmod_chown_and_times, false },
	{ "appends of several processes interleave", appends_of_several_processes_interleave, false },
	{ "truncation and holes read as zeros", truncation_and_holes_read_as_zeros, false },
	{ "mapped memory and files agree", mapped_memory_and_files_agree, false },
	{ "direct reads and writes agree with cached ones", direct_reads_and_writes_agree_with_cached_ones, false },
	{ "directories sync and refuse", directories_sync_and_refuse, false },
	{ "listings neither lose nor repeat", listings_neither_lose_nor_repeat, false },
};

int main(int argc, char **argv)
{
	int failures = 0;

	if (argc < 2 || chdir(argv[1]))
		return 2;
	for (unsigned i = 0; i < sizeof(tests) / sizeof(tests[0]); i++) {
		char folder[32];
		int status;
		pid_t child;

		if (tests[i].root && geteuid() != 0)
			continue;
		if (argc > 2 && !strstr(tests[i].name, argv[2]))
			continue;
		snprintf(folder, sizeof(folder), "case%u", i);
		fflush(stdout);
		child = fork();
		if (child == 0) {
			CHECK(mkdir(folder, 0755) == 0 && chdir(folder) == 0);
			tests[i].run();
			exit(0);
		}
		if (child < 0 || waitpid(child, &status, 0) != child || status != 0) {
			fprintf(stderr, "FAILED: %s\n", tests[i].name);
			failures++;
		} else {
			printf("    %s\n", tests[i].name);
		}
	}
	return failures ? 1 : 0;
}
