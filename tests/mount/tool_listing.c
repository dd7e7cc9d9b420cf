/* SPDX-License-Identifier: MIT */
/*
 * Listing while others create and delete.
 *
 *   tool_listing DIR STAY ROUNDS
 *
 * STAY files are made in DIR and stay. CHANGERS processes then create, rename and delete files between them, while DIR
 * is listed ROUNDS times: each listing must have every file that stayed exactly once, and no other name twice.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHANGERS     4
#define LIVE         256u /* files that a changer has at a time */
#define CHANGED_MAX  65536u

struct listing {
	unsigned char *seen; /* of those that stay */
	unsigned long stay;
	unsigned long stayed, changing, repeated;
};

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static void make(int fd, const char *name)
{
	int file = openat(fd, name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0644);

	if (file < 0)
		die(name);
	close(file);
}

/* Never ends: names come and go, so that tree pages are split and merged under the listing. */
static void change(int fd, int changer)
{
	char name[64], other[64];

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	for (unsigned long i = 0;; i++) {
		snprintf(name, sizeof(name), "change%d-%lu", changer, i);
		make(fd, name);
		if (i % 8 == 0) {
			snprintf(other, sizeof(other), "moved%d-%lu", changer, i);
			if (renameat(fd, name, fd, other) != 0)
				die("rename");
		}
		if (i < LIVE)
			continue;
		snprintf(name, sizeof(name), "%s%d-%lu", (i - LIVE) % 8 == 0 ? "moved" : "change", changer, i - LIVE);
		if (unlinkat(fd, name, 0) != 0)
			die("unlink");
	}
}

static void count(struct listing *listing, const char *name)
{
	unsigned long number;

	if (sscanf(name, "stay%lu", &number) != 1) {
		listing->changing++;
		return;
	}
	if (number >= listing->stay || listing->seen[number]) {
		fprintf(stderr, "%s is listed again\n", name);
		listing->repeated++;
		return;
	}
	listing->seen[number] = 1;
	listing->stayed++;
}

static int by_name(const void *left, const void *right)
{
	return strcmp(*(char *const *)left, *(char *const *)right);
}

/* A name that comes and goes may be there or not, but its files have names that are used once. */
static unsigned repeated(char **names, unsigned names_count)
{
	unsigned twice = 0;

	qsort(names, names_count, sizeof(names[0]), by_name);
	for (unsigned i = 0; i < names_count; i++) {
		if (i + 1 < names_count && strcmp(names[i], names[i + 1]) == 0) {
			fprintf(stderr, "%s is listed again\n", names[i]);
			twice++;
		}
	}
	for (unsigned i = 0; i < names_count; i++)
		free(names[i]);
	return twice;
}

static bool list(const char *path, unsigned long stay, unsigned char *seen)
{
	static char *names[CHANGED_MAX];
	struct listing listing = { .seen = seen, .stay = stay };
	unsigned names_count = 0;
	struct dirent *entry;
	DIR *dir = opendir(path);

	if (!dir)
		die(path);
	memset(seen, 0, stay);
	for (errno = 0; (entry = readdir(dir)); errno = 0) {
		if (entry->d_name[0] == '.')
			continue;
		count(&listing, entry->d_name);
		if (entry->d_name[0] != 's' && names_count < CHANGED_MAX)
			names[names_count++] = strdup(entry->d_name);
	}
	if (errno)
		die("readdir");
	closedir(dir);
	listing.repeated += repeated(names, names_count);
	if (listing.stayed != stay)
		fprintf(stderr, "%lu of %lu files that stayed are listed\n", listing.stayed, stay);
	printf("    %lu that stayed, %lu that come and go\n", listing.stayed, listing.changing);
	return listing.stayed == stay && !listing.repeated;
}

int main(int argc, char **argv)
{
	pid_t pids[CHANGERS];
	unsigned char *seen;
	unsigned long stay;
	bool good = true;
	char name[64];
	int fd;

	if (argc != 4)
		return 2;
	stay = strtoul(argv[2], NULL, 10);
	seen = malloc(stay + 1);
	fd = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (!seen || fd < 0)
		die(argv[1]);
	for (unsigned long i = 0; i < stay; i++) {
		snprintf(name, sizeof(name), "stay%lu", i);
		make(fd, name);
	}
	fflush(stdout);
	for (int i = 0; i < CHANGERS; i++) {
		pids[i] = fork();
		if (pids[i] < 0)
			die("fork");
		if (pids[i] == 0)
			change(fd, i);
	}
	for (long round = strtol(argv[3], NULL, 10); round > 0; round--)
		good = list(argv[1], stay, seen) && good;
	for (int i = 0; i < CHANGERS; i++) {
		int status;

		good = waitpid(pids[i], &status, WNOHANG) == 0 && good; /* it ended by itself: something failed */
		kill(pids[i], SIGKILL);
		waitpid(pids[i], &status, 0);
	}
	free(seen);
	return good ? 0 : 1;
}
