/* SPDX-License-Identifier: MIT */
/*
 * One of several processes on the same tree: tool_hammer DIR NUMBER SECONDS. Files of its own are written, truncated,
 * renamed and compared with what it knows; names in shared folders are fought for, where any of the plausible errors
 * will do. Prints the number of operations. With 0 SECONDS its own files are only compared with what it knew last,
 * which is in a file beside them.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define OWN       6
#define OWN_BYTES 200000
#define SHARED    12

struct hammer {
	unsigned number;
	uint64_t random, operations;
	uint8_t *own[OWN]; /* what each file must hold */
	size_t sizes[OWN];
	uint8_t buffer[OWN_BYTES + 1];
};

static uint64_t pick(struct hammer *hammer, uint64_t below)
{
	uint64_t z = (hammer->random += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return (z ^ (z >> 31)) % below;
}

static void die(const struct hammer *hammer, const char *what, unsigned index)
{
	fprintf(stderr, "process %u, operation %llu: %s (file %u): %s\n", hammer->number,
		(unsigned long long)hammer->operations, what, index, strerror(errno));
	exit(1);
}

static void own_name(const struct hammer *hammer, char name[64], unsigned index)
{
	snprintf(name, 64, "own%u/file%u", hammer->number, index);
}

static int open_own(const struct hammer *hammer, unsigned index)
{
	char name[64];
	int fd;

	own_name(hammer, name, index);
	fd = open(name, O_RDWR | O_CREAT, 0644);
	if (fd < 0)
		die(hammer, "open", index);
	return fd;
}

static void write_own(struct hammer *hammer, unsigned index)
{
	size_t at = pick(hammer, OWN_BYTES), len = pick(hammer, pick(hammer, 4) ? 3000 : 100000);
	int fd = open_own(hammer, index);

	len = at + len > OWN_BYTES ? OWN_BYTES - at : len;
	for (size_t i = 0; i < len; i++)
		hammer->own[index][at + i] = (uint8_t)(hammer->operations + i * 3);
	if (pwrite(fd, hammer->own[index] + at, len, (off_t)at) != (ssize_t)len)
		die(hammer, "write", index);
	if (len && at + len > hammer->sizes[index])
		hammer->sizes[index] = at + len;
	if (pick(hammer, 8) == 0 && fsync(fd))
		die(hammer, "fsync", index);
	close(fd);
}

static void cut_own(struct hammer *hammer, unsigned index)
{
	size_t size = pick(hammer, 3) ? pick(hammer, OWN_BYTES) : 0;
	int fd = open_own(hammer, index);

	if (ftruncate(fd, (off_t)size))
		die(hammer, "ftruncate", index);
	if (size < hammer->sizes[index])
		memset(hammer->own[index] + size, 0, hammer->sizes[index] - size);
	hammer->sizes[index] = size;
	close(fd);
}

/* A copy takes the file's place. */
static void replace_own(struct hammer *hammer, unsigned index)
{
	char name[64], copy[64];
	int fd;

	own_name(hammer, name, index);
	snprintf(copy, sizeof(copy), "shared%u/copy%u", (unsigned)pick(hammer, 2), hammer->number);
	fd = open(copy, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	if (fd < 0 || write(fd, hammer->own[index], hammer->sizes[index]) != (ssize_t)hammer->sizes[index])
		die(hammer, "copy", index);
	close(fd);
	if (rename(copy, name))
		die(hammer, "rename", index);
}

static void verify_own(struct hammer *hammer, unsigned index)
{
	int fd = open_own(hammer, index);
	ssize_t got = pread(fd, hammer->buffer, sizeof(hammer->buffer), 0);

	close(fd);
	if (got != (ssize_t)hammer->sizes[index])
		die(hammer, "wrong size", index);
	for (ssize_t i = 0; i < got; i++) {
		if (hammer->buffer[i] != hammer->own[index][i]) {
			fprintf(stderr, "byte %zd of %zd: ", i, got);
			die(hammer, "wrong contents", index);
		}
	}
}

static void fight(struct hammer *hammer)
{
	char a[64], b[64];
	int result = 0, fd;

	snprintf(a, sizeof(a), "shared%u/%u", (unsigned)pick(hammer, 2), (unsigned)pick(hammer, SHARED));
	snprintf(b, sizeof(b), "shared%u/%u", (unsigned)pick(hammer, 2), (unsigned)pick(hammer, SHARED));
	switch (pick(hammer, 9)) {
	case 0:
		result = mkdir(a, 0755);
		break;
	case 1:
		result = rmdir(a);
		break;
	case 2:
		result = unlink(a);
		break;
	case 3:
		result = link(a, b);
		break;
	case 4:
		result = symlink(b, a);
		break;
	case 5:
		result = renameat2(AT_FDCWD, a, AT_FDCWD, b, (unsigned)pick(hammer, 3));
		break;
	case 6:
		strcat(a, "/x");
		result = rename(b, a);
		break;
	default:
		fd = open(a, O_RDWR | O_CREAT | O_NONBLOCK | O_NOFOLLOW, 0644);
		if (fd >= 0) {
			(void)!pwrite(fd, hammer->own[0], 5000, (off_t)pick(hammer, 20000));
			if (pick(hammer, 6) == 0)
				fsync(fd);
			close(fd);
		}
		result = fd;
	}
	if (result < 0 && errno != ENOENT && errno != EEXIST && errno != ENOTEMPTY && errno != ENOTDIR &&
	    errno != EISDIR && errno != EPERM && errno != EINVAL && errno != ELOOP && errno != EXDEV)
		die(hammer, a, 0);
}

static void load_known(struct hammer *hammer)
{
	char name[64];
	FILE *file;

	snprintf(name, sizeof(name), "own%u/known", hammer->number);
	file = fopen(name, "r");
	for (unsigned i = 0; i < OWN; i++) {
		if (!file || fread(&hammer->sizes[i], sizeof(hammer->sizes[i]), 1, file) != 1 ||
		    fread(hammer->own[i], 1, OWN_BYTES, file) != OWN_BYTES)
			die(hammer, name, i);
	}
	fclose(file);
}

static void save_known(struct hammer *hammer)
{
	char name[64];
	FILE *file;

	snprintf(name, sizeof(name), "own%u/known", hammer->number);
	file = fopen(name, "w");
	for (unsigned i = 0; i < OWN; i++) {
		if (!file || fwrite(&hammer->sizes[i], sizeof(hammer->sizes[i]), 1, file) != 1 ||
		    fwrite(hammer->own[i], 1, OWN_BYTES, file) != OWN_BYTES)
			die(hammer, name, i);
	}
	if (fclose(file))
		die(hammer, name, 0);
}

static void step(struct hammer *hammer)
{
	unsigned index = (unsigned)pick(hammer, OWN);

	hammer->operations++;
	switch (pick(hammer, 8)) {
	case 0:
	case 1:
		write_own(hammer, index);
		break;
	case 2:
		cut_own(hammer, index);
		break;
	case 3:
		replace_own(hammer, index);
		break;
	case 4:
		verify_own(hammer, index);
		break;
	default:
		fight(hammer);
	}
}

int main(int argc, char **argv)
{
	struct hammer *hammer = calloc(1, sizeof(*hammer));
	const char *seed = getenv("KNOT_SEED");
	char name[64];
	time_t end;

	if (argc != 4 || !hammer || chdir(argv[1]))
		return 2;
	hammer->number = (unsigned)strtoul(argv[2], NULL, 10);
	hammer->random = (seed ? strtoull(seed, NULL, 0) : 1) * 1000 + hammer->number;
	for (unsigned i = 0; i < OWN; i++) {
		hammer->own[i] = calloc(1, OWN_BYTES);
		if (!hammer->own[i])
			return 2;
	}
	if (!strcmp(argv[3], "0")) {
		load_known(hammer);
		for (unsigned i = 0; i < OWN; i++)
			verify_own(hammer, i);
		return 0;
	}
	snprintf(name, sizeof(name), "own%u", hammer->number);
	if ((mkdir("shared0", 0755) && errno != EEXIST) || (mkdir("shared1", 0755) && errno != EEXIST) ||
	    mkdir(name, 0755))
		die(hammer, "mkdir", 0);
	end = time(NULL) + (time_t)strtoul(argv[3], NULL, 10);
	while (time(NULL) < end)
		step(hammer);
	for (unsigned i = 0; i < OWN; i++)
		verify_own(hammer, i);
	save_known(hammer);
	printf("%llu\n", (unsigned long long)hammer->operations);
	return 0;
}
