/* SPDX-License-Identifier: MIT */
/*
 * The clients of bench/run: small loops of system calls, so that the file system and not the client is measured.
 * Every command prints one line, "SECONDS COUNT": the time of the measured part, and how many things it did.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define IO_BYTES ((size_t)1 << 20)

extern char **environ;

struct result {
	double seconds;
	uint64_t count;
};

struct command {
	const char *name;
	const char *arguments;
	int count_min;
	int (*run)(char **arguments, struct result *result);
};

static double now_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static int fail(const char *what, const char *path)
{
	int err = errno ? errno : EIO;
	fprintf(stderr, "%s %s: %s\n", what, path, strerror(err));
	return -err;
}

static int refuse(const char *what, const char *path)
{
	fprintf(stderr, "%s: %s\n", path, what);
	return -EIO;
}

/* Pseudo-random bytes: neither zeros, which a device may elide, nor compressible. */
static void fill(unsigned char *buffer, size_t len_bytes)
{
	uint64_t state = 0x9e3779b97f4a7c15u;
	for (size_t i = 0; i < len_bytes; i++) {
		state ^= state << 13;
		state ^= state >> 7;
		state ^= state << 17;
		buffer[i] = (unsigned char)(state >> 32);
	}
}

static int write_all(int fd, const unsigned char *buffer, size_t len_bytes, const char *path)
{
	while (len_bytes > 0) {
		ssize_t done = write(fd, buffer, len_bytes);
		if (done < 0 && errno == EINTR)
			continue;
		if (done <= 0)
			return fail("write", path);
		buffer += done;
		len_bytes -= (size_t)done;
	}
	return 0;
}

/* One new file in `dir_fd`, with `len_bytes` of content made durable; 0: an empty one, not synced. */
static int make_file(int dir_fd, const char *name, const unsigned char *content, size_t len_bytes)
{
	int fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return fail("create", name);
	int err = len_bytes > 0 ? write_all(fd, content, len_bytes, name) : 0;
	if (!err && len_bytes > 0 && fsync(fd) < 0)
		err = fail("fsync", name);
	if (close(fd) < 0 && !err)
		err = fail("close", name);
	return err;
}

/* create DIR COUNT LENGTH */
static int run_create(char **arguments, struct result *result)
{
	uint64_t count = strtoull(arguments[1], NULL, 10);
	size_t len_bytes = strtoull(arguments[2], NULL, 10);
	unsigned char *content = malloc(len_bytes + 1);
	if (!content)
		return fail("memory for", arguments[0]);
	fill(content, len_bytes);

	int err = 0;
	int dir_fd = open(arguments[0], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0) {
		err = fail("open", arguments[0]);
		goto out;
	}
	double start = now_seconds();
	for (uint64_t i = 0; i < count && !err; i++) {
		char name[32];
		snprintf(name, sizeof(name), "file-%08llu", (unsigned long long)i);
		err = make_file(dir_fd, name, content, len_bytes);
	}
	result->seconds = now_seconds() - start;
	result->count = count;
	close(dir_fd);
out:
	free(content);
	return err;
}

/* append FILE COUNT LENGTH */
static int run_append(char **arguments, struct result *result)
{
	const char *path = arguments[0];
	uint64_t count = strtoull(arguments[1], NULL, 10);
	size_t len_bytes = strtoull(arguments[2], NULL, 10);
	unsigned char *content = malloc(len_bytes + 1);
	if (!content)
		return fail("memory for", path);
	fill(content, len_bytes);

	int err = 0;
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0) {
		err = fail("create", path);
		goto out;
	}
	double start = now_seconds();
	for (uint64_t i = 0; i < count && !err; i++) {
		err = write_all(fd, content, len_bytes, path);
		if (!err && fsync(fd) < 0)
			err = fail("fsync", path);
	}
	result->seconds = now_seconds() - start;
	result->count = count;

	struct stat st;
	if (!err && (fstat(fd, &st) < 0 || (uint64_t)st.st_size != count * len_bytes))
		err = refuse("wrong size after the appends", path);
	close(fd);
out:
	free(content);
	return err;
}

/* write FILE MEBIBYTES: each mebibyte starts with its number, which `read` checks. */
static int run_write(char **arguments, struct result *result)
{
	const char *path = arguments[0];
	uint64_t count = strtoull(arguments[1], NULL, 10);
	unsigned char *buffer = aligned_alloc(4096, IO_BYTES);
	if (!buffer)
		return fail("memory for", path);
	fill(buffer, IO_BYTES);

	int err = 0;
	double start = now_seconds();
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0) {
		err = fail("create", path);
		goto out;
	}
	for (uint64_t i = 0; i < count && !err; i++) {
		memcpy(buffer, &i, sizeof(i));
		err = write_all(fd, buffer, IO_BYTES, path);
	}
	if (!err && fsync(fd) < 0)
		err = fail("fsync", path);
	if (close(fd) < 0 && !err)
		err = fail("close", path);
	result->seconds = now_seconds() - start;
	result->count = count;
out:
	free(buffer);
	return err;
}

static int read_mebibyte(int fd, unsigned char *buffer, const char *path)
{
	size_t have_bytes = 0;
	while (have_bytes < IO_BYTES) {
		ssize_t done = read(fd, buffer + have_bytes, IO_BYTES - have_bytes);
		if (done < 0 && errno == EINTR)
			continue;
		if (done < 0)
			return fail("read", path);
		if (done == 0)
			return refuse("shorter than what was written", path);
		have_bytes += (size_t)done;
	}
	return 0;
}

/* read FILE MEBIBYTES */
static int run_read(char **arguments, struct result *result)
{
	const char *path = arguments[0];
	uint64_t count = strtoull(arguments[1], NULL, 10);
	unsigned char *buffer = aligned_alloc(4096, IO_BYTES);
	unsigned char *expected = malloc(IO_BYTES);
	int err = 0;
	int fd = -1;
	if (!buffer || !expected) {
		err = fail("memory for", path);
		goto out;
	}
	fill(expected, IO_BYTES);

	double start = now_seconds();
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		err = fail("open", path);
		goto out;
	}
	for (uint64_t i = 0; i < count && !err; i++) {
		err = read_mebibyte(fd, buffer, path);
		memcpy(expected, &i, sizeof(i));
		/* Both ends of the mebibyte, so that checking costs nothing to speak of. */
		if (!err && (memcmp(buffer, expected, 64) ||
			     memcmp(buffer + IO_BYTES - 64, expected + IO_BYTES - 64, 64)))
			err = refuse("other bytes than what was written", path);
	}
	result->seconds = now_seconds() - start;
	result->count = count;
out:
	if (fd >= 0)
		close(fd);
	free(expected);
	free(buffer);
	return err;
}

static int walk_directory(int parent_fd, const char *name, uint64_t *count)
{
	int fd = openat(parent_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		int err = fail("open", name);
		if (fd >= 0)
			close(fd);
		return err;
	}
	int err = 0;
	while (!err) {
		errno = 0;
		struct dirent *entry = readdir(dir);
		if (!entry) {
			err = errno ? fail("list", name) : 0;
			break;
		}
		if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
			continue;
		struct stat st;
		if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
			err = fail("lstat", entry->d_name);
			break;
		}
		++*count;
		if (S_ISDIR(st.st_mode))
			err = walk_directory(fd, entry->d_name, count);
	}
	closedir(dir);
	return err;
}

/* walk DIR PASSES: lstat of everything below; the time of one pass. */
static int run_walk(char **arguments, struct result *result)
{
	unsigned passes = (unsigned)strtoul(arguments[1], NULL, 10);
	uint64_t count = 0;
	int err = 0;
	double start = now_seconds();
	for (unsigned i = 0; i < passes && !err; i++)
		err = walk_directory(AT_FDCWD, arguments[0], &count);
	result->seconds = (now_seconds() - start) / passes;
	result->count = count / passes;
	return err;
}

/*
 * Everything in the mount durable. syncfs(2) alone would not do: on a plain FUSE mount it never reaches the daemon.
 * So also fsync a changed file, which every peer answers by flushing at least its own log or, as fuse2fs, everything.
 */
static int sync_mount(const char *dir)
{
	int err = 0;
	int fd = -1;
	int dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir_fd < 0)
		return fail("open", dir);
	if (syncfs(dir_fd) < 0) {
		err = fail("syncfs", dir);
		goto out;
	}
	fd = openat(dir_fd, ".synced", O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
	if (fd < 0) {
		err = fail("create .synced in", dir);
		goto out;
	}
	err = write_all(fd, (const unsigned char *)".", 1, dir);
	if (!err && fsync(fd) < 0)
		err = fail("fsync", dir);
out:
	if (fd >= 0)
		close(fd);
	close(dir_fd);
	return err;
}

/* sync DIR */
static int run_sync(char **arguments, struct result *result)
{
	double start = now_seconds();
	int err = sync_mount(arguments[0]);
	result->seconds = now_seconds() - start;
	result->count = 1;
	return err;
}

/*
 * memory MEBIBYTES: use that much and give it back. A virtual machine returns free memory to its host after seconds,
 * and using it again is ten times as slow: which row pays for that must not be left to chance.
 */
static int run_memory(char **arguments, struct result *result)
{
	uint64_t count = strtoull(arguments[0], NULL, 10);
	double start = now_seconds();
	unsigned char *memory = mmap(NULL, count * IO_BYTES, PROT_READ | PROT_WRITE,
				     MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
	if (memory == MAP_FAILED)
		return fail("memory", arguments[0]);
	munmap(memory, count * IO_BYTES);
	result->seconds = now_seconds() - start;
	result->count = count;
	return 0;
}

/* spawn DIR PROGRAM [ARGUMENT]...: run it to its end, then sync DIR. */
static int run_spawn(char **arguments, struct result *result)
{
	pid_t pid;
	int status = 0;
	double start = now_seconds();
	errno = posix_spawnp(&pid, arguments[1], NULL, NULL, arguments + 1, environ);
	if (errno)
		return fail("run", arguments[1]);
	if (waitpid(pid, &status, 0) != pid)
		return fail("wait for", arguments[1]);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return refuse("the program failed", arguments[1]);
	int err = sync_mount(arguments[0]);
	result->seconds = now_seconds() - start;
	result->count = 1;
	return err;
}

static const struct command commands[] = {
	{"create", "DIR COUNT LENGTH", 3, run_create},
	{"append", "FILE COUNT LENGTH", 3, run_append},
	{"write", "FILE MEBIBYTES", 2, run_write},
	{"read", "FILE MEBIBYTES", 2, run_read},
	{"walk", "DIR PASSES", 2, run_walk},
	{"sync", "DIR", 1, run_sync},
	{"memory", "MEBIBYTES", 1, run_memory},
	{"spawn", "DIR PROGRAM [ARGUMENT]...", 2, run_spawn},
};

int main(int argc, char **argv)
{
	for (size_t i = 0; argc > 1 && i < sizeof(commands) / sizeof(commands[0]); i++) {
		if (strcmp(argv[1], commands[i].name) || argc - 2 < commands[i].count_min)
			continue;
		struct result result = {0, 0};
		if (commands[i].run(argv + 2, &result))
			return 1;
		printf("%.9f %llu\n", result.seconds, (unsigned long long)result.count);
		return 0;
	}
	fprintf(stderr, "usage:\n");
	for (size_t i = 0; i < sizeof(commands) / sizeof(commands[0]); i++)
		fprintf(stderr, "  knot_bench %s %s\n", commands[i].name, commands[i].arguments);
	return 2;
}
