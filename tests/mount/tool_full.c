/* SPDX-License-Identifier: MIT */
/*
 * Fills a file system and looks at what it does then. DIR is empty at first.
 *
 *   tool_full small|big|names DIR    fill with small files, one big file, or long names; then each kind of operation is
 *                                    tried until it fails, which must be with ENOSPC; then what must still work
 *   tool_full verify DIR COUNT       all that was written is there and whole; COUNT is what the first printed
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES 100000u
#define OVERWRITTEN 40u
#define TRIES_MAX   1000000u

struct filler {
	int dir;
	unsigned count; /* files, or chunks of the big one, that were written whole */
	uint8_t bytes[CHUNK_BYTES], other[CHUNK_BYTES];
};

static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15ULL;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static void fill(uint8_t *bytes, unsigned number, unsigned generation, size_t len_bytes)
{
	uint64_t key = mix(number * 16 + generation);

	for (size_t i = 0; i < len_bytes; i++)
		bytes[i] = (uint8_t)(mix(key + i / 8) >> (i % 8 * 8));
}

static size_t bytes_of(unsigned number)
{
	return 1 + (size_t)(mix(number) % (number % 16 ? 20000 : 600));
}

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

/* False: no space. Every other error is a bug. */
static bool fits(int64_t result, const char *what)
{
	if (result >= 0)
		return true;
	if (errno != ENOSPC)
		die(what);
	return false;
}

static bool write_whole(struct filler *filler, int fd, unsigned number, unsigned generation, size_t len_bytes, off_t at)
{
	size_t done = 0;

	fill(filler->bytes, number, generation, len_bytes);
	while (done < len_bytes) {
		ssize_t n = pwrite(fd, filler->bytes + done, len_bytes - done, at + (off_t)done);

		if (!fits(n, "write"))
			return false;
		done += (size_t)n;
	}
	return true;
}

static void file_name(char name[32], unsigned number)
{
	snprintf(name, 32, "file%u", number);
}

static bool fill_small(struct filler *filler)
{
	char name[32];
	bool whole;
	int fd;

	file_name(name, filler->count);
	fd = openat(filler->dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (!fits(fd, "create"))
		return false;
	whole = write_whole(filler, fd, filler->count, 1, bytes_of(filler->count), 0);
	if (close(fd))
		die("close");
	if (!whole && unlinkat(filler->dir, name, 0))
		die("unlink when full");
	filler->count += whole;
	return whole;
}

static bool fill_big(struct filler *filler)
{
	int fd = openat(filler->dir, "big", O_CREAT | O_WRONLY, 0644);
	off_t end = (off_t)filler->count * CHUNK_BYTES;
	bool whole = fits(fd, "create") && write_whole(filler, fd, filler->count, 1, CHUNK_BYTES, end);

	if (fd >= 0 && !whole && ftruncate(fd, end))
		die("ftruncate when full");
	if (fd >= 0)
		close(fd);
	filler->count += whole;
	return whole;
}

static void long_name(char name[256], char kind, unsigned number)
{
	memset(name, kind, 255);
	snprintf(name + 200, 56, "%u", number);
}

static bool fill_names(struct filler *filler)
{
	char name[256];
	int fd;

	long_name(name, 'n', filler->count);
	fd = openat(filler->dir, name, O_CREAT | O_EXCL | O_WRONLY, 0644);
	if (!fits(fd, "create"))
		return false;
	close(fd);
	filler->count++;
	return true;
}

/* Each operation that needs space, until there is none for it. Prints how often it found some. */
static void try_all(struct filler *filler)
{
	static const char *const kinds[] = { "create", "mkdir", "symlink", "link", "rename", "write" };
	char name[256], target[1025], from[32] = "extra/file";
	int fd = openat(filler->dir, from, O_WRONLY);

	memset(target, 't', 1024);
	target[1024] = 0;
	if (fd < 0)
		die(from);
	for (unsigned kind = 0; kind < 6; kind++) {
		unsigned count = 0;
		bool worked = true;

		for (; worked && count < TRIES_MAX; count += worked) {
			char path[512];
			int result;

			long_name(name, "cdslrw"[kind], count);
			snprintf(path, sizeof(path), "extra/%s", name);
			switch (kind) {
			case 0:
				result = openat(filler->dir, path, O_CREAT | O_EXCL | O_WRONLY, 0600);
				if (result >= 0)
					close(result);
				break;
			case 1:
				result = mkdirat(filler->dir, path, 0700);
				break;
			case 2:
				result = symlinkat(target, filler->dir, path);
				break;
			case 3:
				result = linkat(filler->dir, "extra/file", filler->dir, path, 0);
				break;
			case 4: /* into another directory each time would be a way around it: the name grows */
				snprintf(name, sizeof(name), "extra/r%u", count);
				result = openat(filler->dir, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
				if (result < 0)
					break;
				close(result);
				result = renameat(filler->dir, name, filler->dir, path);
				break;
			default:
				result = (int)pwrite(fd, target, 1024, (off_t)count * 65536);
			}
			worked = fits(result, kinds[kind]);
		}
		fprintf(stderr, "%s%s %u", kind ? ", " : "    before ENOSPC: ", kinds[kind], count);
		if (worked)
			die("the disk does not get full");
	}
	fputc('\n', stderr);
	close(fd);
}

/* What is there can be overwritten, and fsynced. */
static void overwrite(struct filler *filler, bool big)
{
	char name[32];

	for (unsigned i = 0; i < OVERWRITTEN && i < filler->count; i++) {
		int fd;

		file_name(name, i);
		fd = openat(filler->dir, big ? "big" : name, O_WRONLY);
		if (fd < 0)
			die(name);
		if (!write_whole(filler, fd, i, 2, big ? CHUNK_BYTES : bytes_of(i), big ? (off_t)i * CHUNK_BYTES : 0))
			die("overwriting when full");
		if (i % 8 == 0 && fsync(fd))
			die("fsync of what was overwritten when full");
		if (close(fd))
			die("close");
	}
}

static bool verify_one(struct filler *filler, int fd, unsigned number, size_t len_bytes, off_t at)
{
	unsigned generation = number < OVERWRITTEN ? 2 : 1;

	fill(filler->bytes, number, generation, len_bytes);
	if (pread(fd, filler->other, len_bytes, at) != (ssize_t)len_bytes)
		return false;
	return memcmp(filler->bytes, filler->other, len_bytes) == 0;
}

static void verify(struct filler *filler)
{
	char name[256];
	struct stat st;
	unsigned bad = 0;
	bool big = faccessat(filler->dir, "big", F_OK, 0) == 0;

	file_name(name, 0);
	bool small = faccessat(filler->dir, name, F_OK, 0) == 0;

	for (unsigned i = 0; i < filler->count; i++) {
		int fd;

		if (!big && !small) {
			long_name(name, 'n', i);
			bad += fstatat(filler->dir, name, &st, 0) != 0;
			continue;
		}
		file_name(name, i);
		fd = openat(filler->dir, big ? "big" : name, O_RDONLY);
		if (fd < 0)
			die(name);
		if (!big && (fstat(fd, &st) || st.st_size != (off_t)bytes_of(i)))
			bad++;
		else
			bad += !verify_one(filler, fd, i, big ? CHUNK_BYTES : bytes_of(i),
					   big ? (off_t)i * CHUNK_BYTES : 0);
		close(fd);
	}
	if (bad) {
		fprintf(stderr, "%u of %u are not as they were written\n", bad, filler->count);
		exit(1);
	}
}

int main(int argc, char **argv)
{
	struct filler *filler = calloc(1, sizeof(*filler));
	bool big = argc >= 2 && !strcmp(argv[1], "big"), names = argc >= 2 && !strcmp(argv[1], "names");
	int fd;

	if (argc < 3 || !filler)
		return 2;
	filler->dir = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (filler->dir < 0)
		die(argv[2]);
	if (argc == 4) {
		filler->count = (unsigned)strtoul(argv[3], NULL, 10);
		verify(filler);
		return 0;
	}
	if (mkdirat(filler->dir, "extra", 0700))
		die("extra");
	fd = openat(filler->dir, "extra/file", O_CREAT | O_WRONLY, 0600);
	if (fd < 0)
		die("extra/file");
	close(fd);
	while (big ? fill_big(filler) : names ? fill_names(filler) : fill_small(filler))
		;
	try_all(filler);
	if (!names)
		overwrite(filler, big);
	verify(filler);
	printf("%u\n", filler->count);
	return 0;
}
