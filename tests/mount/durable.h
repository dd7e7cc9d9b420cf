/* SPDX-License-Identifier: MIT */
/* tool_durable: what it writes and what it remembers; the contents of each object follow from its generation. */
#ifndef KNOT_TESTS_MOUNT_DURABLE_H
#define KNOT_TESTS_MOUNT_DURABLE_H

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define APPENDS      4
#define REPLACED     8 /* new file, fsync, rename, fsync of the directory */
#define RENAMED      4 /* new file, rename */
#define TRUNCATED    4 /* O_TRUNC, one write */
#define CREATED      32
#define SLOT_FILES   4
#define SLOTS        64
#define APPEND_BYTES (1u << 20)
#define BUFFER_BYTES (2u << 20)

static const size_t slot_bytes[SLOT_FILES] = { 12388, 700, 12388, 4096 };

/*
 * A write(2) through the page cache becomes several requests where it ends in the middle of a page that the kernel does
 * not have: only each request is whole. With O_DIRECT a write is one request.
 */
static inline bool is_direct(unsigned index)
{
	return index % 2 == 0;
}

/* `generation` of created files: odd is there, even is not. Sizes only for appended ones. */
struct item {
	uint64_t durable, tried;
	uint64_t durable_bytes;
};

struct state {
	uint64_t random, operations, syncs;
	uint64_t ready; /* the slot files are there */
	struct item appended[APPENDS], replaced[REPLACED], renamed[RENAMED], truncated[TRUNCATED], created[CREATED];
	struct item slots[SLOT_FILES][SLOTS];
	struct item names; /* steps of step_names() */
};

struct client {
	struct state *state;
	const char *dir, *killed;
	unsigned number;
	bool nosync;
	int dir_fd, common_fd;
	uint8_t *buffer, *wanted;
	unsigned failures;
};

enum family { APPENDED = 1, REPLACE, RENAME, TRUNCATE, CREATE, SLOT };

static inline uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15ULL;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline uint64_t pick(struct client *client, uint64_t below)
{
	return mix(client->state->random += 0x1234567) % below;
}

__attribute__((format(printf, 2, 3))) static inline void wrong(struct client *client, const char *format, ...)
{
	va_list args;

	fprintf(stderr, "client %u: ", client->number);
	va_start(args, format);
	vfprintf(stderr, format, args);
	va_end(args);
	fputc('\n', stderr);
	client->failures++;
}

/* An operation failed. Normal once the daemon was killed. */
static inline void gone(struct client *client, const char *what)
{
	int err = errno;

	if (access(client->killed, F_OK) == 0 && (err == ENOTCONN || err == ECONNABORTED || err == EIO))
		exit(0);
	fprintf(stderr, "client %u, operation %llu: %s: %s\n", client->number,
		(unsigned long long)client->state->operations, what, strerror(err));
	exit(1);
}

static inline int must(struct client *client, int result, const char *what)
{
	if (result < 0)
		gone(client, what);
	return result;
}

static inline uint64_t key_of(const struct client *client, enum family family, unsigned index, uint64_t generation)
{
	return mix(mix(((uint64_t)client->number << 32) ^ ((uint64_t)family << 24) ^ index) ^ generation);
}

/* Bytes from `from` on of an object's contents: the generation first, then noise. */
static inline void fill(uint8_t *buffer, uint64_t key, uint64_t generation, uint64_t from, size_t len_bytes)
{
	for (size_t done = 0; done < len_bytes;) {
		uint64_t at = from + done, word = at / 8 ? mix(key + at / 8) : generation;
		size_t skip = at % 8, n = 8 - skip < len_bytes - done ? 8 - skip : len_bytes - done;

		memcpy(buffer + done, (uint8_t *)&word + skip, n);
		done += n;
	}
}

static inline size_t whole_bytes(uint64_t key)
{
	switch (mix(key ^ 1) % 8) {
	case 0:
		return 8 + (size_t)(mix(key ^ 2) % (1500 << 10));
	case 1:
	case 2:
		return 8 + (size_t)(mix(key ^ 2) % 700);
	default:
		return 8 + (size_t)(mix(key ^ 2) % 60000);
	}
}

static inline size_t record_bytes(uint64_t key, unsigned record)
{
	uint64_t r = mix(key ^ (0x7777000000ULL + record));

	return 8 + (size_t)((r >> 8) % (r % 8 ? 300 : 9000));
}

#endif
