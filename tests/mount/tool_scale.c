/* SPDX-License-Identifier: MIT */
/*
 * A directory that grows: what an operation costs in it, next to the same operation in a small one at the same moment.
 *
 *   tool_scale fill DIR COUNT [BYTES]   COUNT files of BYTES bytes
 *   tool_scale grow BIG SMALL COUNT     fill BIG; create, miss and unlink must cost about the same when it is small,
 *                                       when it is large, and in SMALL
 *
 * Of each kind of operation SAMPLES are taken, in turns in BIG and in a directory below SMALL. The machine's load meets
 * both alike, and medians are compared, so no bound depends on how fast or busy the machine is.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define SAMPLES     1000u
#define RATIO_MAX   2.0
#define TARGET_ROOM 512

struct place {
	int fd;
	double took[SAMPLES]; /* microseconds */
};

/* What is done once: in this folder, with the file of this number. */
typedef void (*step_fn)(int fd, unsigned long number);

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static double now_us(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int open_dir(const char *path)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		die(path);
	return fd;
}

static int open_new_dir(const char *parent, const char *name)
{
	char path[TARGET_ROOM];

	snprintf(path, sizeof(path), "%s/%s", parent, name);
	if (mkdir(path, 0755) != 0)
		die(path);
	return open_dir(path);
}

static void name_of(char name[static 32], const char *prefix, unsigned long number)
{
	snprintf(name, 32, "%s%07lu", prefix, number);
}

static int create(int fd, unsigned long number)
{
	char name[32];
	int file;

	name_of(name, "file", number);
	file = openat(fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);
	if (file < 0)
		die(name);
	return file;
}

static void step_create(int fd, unsigned long number)
{
	close(create(fd, number));
}

static void step_miss(int fd, unsigned long number)
{
	char name[32];
	struct stat st;

	name_of(name, "none", number);
	if (fstatat(fd, name, &st, 0) == 0 || errno != ENOENT)
		die(name);
}

static void step_unlink(int fd, unsigned long number)
{
	char name[32];

	name_of(name, "file", number);
	if (unlinkat(fd, name, 0) != 0)
		die(name);
}

static int compare(const void *left, const void *right)
{
	double a = *(const double *)left, b = *(const double *)right;

	return (a > b) - (a < b);
}

static double median(double *values)
{
	qsort(values, SAMPLES, sizeof(values[0]), compare);
	return values[SAMPLES / 2];
}

static double timed(step_fn step, int fd, unsigned long number)
{
	double start = now_us();

	step(fd, number);
	return now_us() - start;
}

/* SAMPLES steps from `first` on, `stride` apart, in BIG; in SMALL from 0 on. Returns the ratio of their medians. */
static double measure(const char *what, step_fn step, struct place *big, struct place *small, unsigned long first,
		      unsigned long stride)
{
	double at_big, at_small;

	for (unsigned i = 0; i < SAMPLES; i++) {
		big->took[i] = timed(step, big->fd, first + i * stride);
		small->took[i] = timed(step, small->fd, i);
	}
	at_big = median(big->took);
	at_small = median(small->took);
	printf("    %-22s %6.1f us, in a small directory %6.1f us, ratio %.2f\n", what, at_big, at_small,
	       at_big / at_small);
	return at_big / at_small;
}

static int check(const char *what, double ratio)
{
	if (ratio <= RATIO_MAX)
		return 0;
	fprintf(stderr, "%s: %.2f times as much in the large directory\n", what, ratio);
	return 1;
}

static int grow(const char *big_path, const char *small_path, unsigned long count)
{
	static struct place big, small;
	int early_small = open_new_dir(small_path, "early"), late_small = open_new_dir(small_path, "late");
	double first, last, miss, removal, started;

	if (count < 2 * SAMPLES) {
		fprintf(stderr, "too few\n");
		return 2;
	}
	big.fd = open_dir(big_path);
	small.fd = early_small;
	first = measure("first creates", step_create, &big, &small, 0, 1);
	started = now_us();
	for (unsigned long i = SAMPLES; i < count - SAMPLES; i++)
		step_create(big.fd, i);
	printf("    the creates between: %.1f us each\n",
	       (now_us() - started) / (double)(count - 2 * SAMPLES));
	small.fd = late_small;
	last = measure("last creates", step_create, &big, &small, count - SAMPLES, 1);
	miss = measure("lookups that miss", step_miss, &big, &small, 0, 1);
	removal = measure("unlinks", step_unlink, &big, &small, 0, count / SAMPLES);
	return check("create", last) | check("create, compared with the first", last / first) |
	       check("lookup of a missing name", miss) | check("unlink", removal);
}

static int fill(const char *path, unsigned long count, size_t bytes)
{
	char *content = calloc(1, bytes + 1);
	int fd = open_dir(path);

	if (!content)
		die("memory");
	for (unsigned long i = 0; i < count; i++) {
		int file = create(fd, i);

		memcpy(content, &i, bytes < sizeof(i) ? bytes : sizeof(i));
		if (bytes > 0 && write(file, content, bytes) != (ssize_t)bytes)
			die("write");
		if (close(file) != 0)
			die("close");
	}
	free(content);
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 5 && strcmp(argv[1], "grow") == 0)
		return grow(argv[2], argv[3], strtoul(argv[4], NULL, 10));
	if ((argc == 4 || argc == 5) && strcmp(argv[1], "fill") == 0)
		return fill(argv[2], strtoul(argv[3], NULL, 10), argc == 5 ? strtoul(argv[4], NULL, 10) : 0);
	fprintf(stderr, "usage: tool_scale grow BIG SMALL COUNT | fill DIR COUNT [BYTES]\n");
	return 2;
}
