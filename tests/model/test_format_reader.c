/* SPDX-License-Identifier: MIT */
/*
 * docs/FORMAT.md against the library: volumes made here, closed or abandoned, are read by tests/tools/read_volume.py,
 * which was written from that document alone. Both list names, attributes and SHA-256 of contents; the lists must be equal.
 */
#include "fs/disk/device.h"
#include "mkfs/format.h"

#include <knotfs/knotfs.h>

#include <errno.h>
#include <setjmp.h>
#include <sodium/crypto_hash_sha256.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <cmocka.h>

#define ROOT       1u
#define READ_BYTES (1u << 20)
#define SKIPPED    77
#define MAKE_FIFO  (S_IFIFO | 0600)

struct scene {
	uint64_t volume_bytes;
	uint32_t write_unit_bytes;
	uint64_t log_bytes;
	uint32_t log_segments;
	bool strict;
};

struct bench {
	const struct scene *scene;
	char folder[64], image[80];
	struct knot_device *device;
	struct knot_volume *volume;
	int64_t clock_sec;
};

/* ---- lists of lines ---------------------------------------------------------------------------------------------- */

struct list {
	char **lines;
	size_t count, room;
};

static void add_line(struct list *list, char *line)
{
	if (list->count == list->room) {
		list->room = list->room ? list->room * 2 : 256;
		list->lines = reallocarray(list->lines, list->room, sizeof(list->lines[0]));
		assert_non_null(list->lines);
	}
	list->lines[list->count++] = line;
}

static void free_list(struct list *list)
{
	for (size_t i = 0; i < list->count; i++)
		free(list->lines[i]);
	free(list->lines);
	*list = (struct list){ 0 };
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void sort(struct list *list)
{
	qsort(list->lines, list->count, sizeof(list->lines[0]), by_text);
}

static bool has_line(const struct list *list, const char *line)
{
	return bsearch(&line, list->lines, list->count, sizeof(list->lines[0]), by_text) != NULL;
}

/* Both sorted. */
static void assert_same(const struct list *library, const struct list *reader)
{
	for (size_t i = 0; i < library->count; i++)
		if (!has_line(reader, library->lines[i]))
			print_message("only the library: %.300s\n", library->lines[i]);
	for (size_t i = 0; i < reader->count; i++)
		if (!has_line(library, reader->lines[i]))
			print_message("only the reader:  %.300s\n", reader->lines[i]);
	assert_int_equal(library->count, reader->count);
	for (size_t i = 0; i < library->count; i++)
		assert_string_equal(library->lines[i], reader->lines[i]);
}

/* ---- the library's list ------------------------------------------------------------------------------------------ */

struct names {
	struct name {
		char bytes[256];
		uint64_t inode;
	} *items;
	size_t count, room;
	uint64_t offset;
	bool any;
};

static int take_name(void *arg, const char *name, size_t name_bytes, uint64_t inode, uint8_t type, uint64_t next_offset,
		     const struct knot_attr *attr)
{
	struct names *names = arg;

	(void)type, (void)attr;
	names->offset = next_offset;
	names->any = true;
	if (next_offset <= 2) /* . and .. */
		return 0;
	if (names->count == names->room) {
		names->room = names->room ? names->room * 2 : 64;
		names->items = reallocarray(names->items, names->room, sizeof(names->items[0]));
		assert_non_null(names->items);
	}
	memcpy(names->items[names->count].bytes, name, name_bytes);
	names->items[names->count].bytes[name_bytes] = 0;
	names->items[names->count++].inode = inode;
	return 0;
}

static void hex_digest(struct bench *bench, const struct knot_attr *attr, char out[static 65])
{
	uint8_t digest[crypto_hash_sha256_BYTES];
	crypto_hash_sha256_state state;
	uint8_t *buffer = malloc(READ_BYTES);
	uint64_t at = 0;

	assert_non_null(buffer);
	crypto_hash_sha256_init(&state);
	while (at < attr->size) {
		size_t got = READ_BYTES;

		if (S_ISLNK(attr->mode))
			assert_int_equal(knot_vfs_readlink(bench->volume, NULL, attr->inode, (char *)buffer, &got), 0);
		else
			assert_int_equal(
				knot_vfs_read(bench->volume, NULL, attr->inode, at, READ_BYTES, buffer, &got), 0);
		assert_true(got > 0);
		crypto_hash_sha256_update(&state, buffer, got);
		at += got;
	}
	crypto_hash_sha256_final(&state, digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(out + 2 * i, "%02x", digest[i]);
	free(buffer);
}

/* `path` is escaped already. */
static void list_one(struct bench *bench, uint64_t inode, const char *path, struct list *list)
{
	struct names names = { 0 };
	struct knot_attr attr;
	char digest[65] = "-", *line;

	assert_int_equal(knot_vfs_getattr(bench->volume, NULL, inode, &attr), 0);
	if (S_ISREG(attr.mode) || S_ISLNK(attr.mode))
		hex_digest(bench, &attr, digest);
	assert_true(asprintf(&line, "%llu %o %u %u %u %llu %llu %lld.%09u %s %s", (unsigned long long)inode, attr.mode,
			     knot_attr_nlink(&attr), attr.uid, attr.gid, (unsigned long long)attr.size,
			     (unsigned long long)attr.rdev, (long long)attr.mtime.sec, attr.mtime.nsec, digest,
			     *path ? path : "/") > 0);
	add_line(list, line);
	if (!S_ISDIR(attr.mode))
		return;
	do {
		names.any = false;
		assert_int_equal(knot_vfs_readdir(bench->volume, NULL, inode, names.offset, false, take_name, &names), 0);
	} while (names.any);
	for (size_t i = 0; i < names.count; i++) {
		size_t room = strlen(path) + 3 * sizeof(names.items[i].bytes) + 2;
		char *child = malloc(room), *to;

		assert_non_null(child);
		to = child + sprintf(child, "%s/", path);
		for (const char *c = names.items[i].bytes; *c; c++)
			to += sprintf(to, *c > 0x20 && *c < 0x7f && *c != '%' ? "%c" : "%%%02X", (unsigned char)*c);
		list_one(bench, names.items[i].inode, child, list);
		free(child);
	}
	free(names.items);
}

static void list_library(struct bench *bench, struct list *list)
{
	*list = (struct list){ 0 };
	list_one(bench, ROOT, "", list);
	sort(list);
}

/* ---- the reader's list ------------------------------------------------------------------------------------------- */

/* `*replayed`: mini-transactions that it took from the log. */
static void list_reader(struct bench *bench, struct list *list, unsigned long *replayed)
{
	const char *source = getenv("KNOT_SOURCE_DIR");
	char *command, *line = NULL;
	size_t room = 0;
	ssize_t length;
	FILE *reader;

	assert_true(asprintf(&command, "python3 '%s/tests/tools/read_volume.py' --check '%s'", source, bench->image) > 0);
	reader = popen(command, "r");
	assert_non_null(reader);
	*list = (struct list){ 0 };
	*replayed = ~0ul;
	while ((length = getline(&line, &room, reader)) > 0) {
		line[length - 1] = 0;
		if (line[0] == '#') {
			print_message("%s\n", line);
			(void)sscanf(line, "# replayed %lu", replayed);
			continue;
		}
		add_line(list, strdup(line));
	}
	free(line);
	assert_int_equal(pclose(reader), 0);
	free(command);
	sort(list);
}

/* ---- volumes ----------------------------------------------------------------------------------------------------- */

static struct knot_time tick_tock(void *arg)
{
	struct bench *bench = arg;

	return (struct knot_time){ .sec = ++bench->clock_sec, .nsec = 123456789 };
}

static void open_volume(struct bench *bench, bool read_only)
{
	struct knot_volume_options options = {
		.cache_bytes = 4u << 20,
		.log_buffer_bytes = 1u << 20,
		.commit_policy = 1,
		.strict = bench->scene->strict,
		.read_only = read_only,
		.now = tick_tock,
		.now_arg = bench,
	};

	if (!bench->device)
		assert_int_equal(knot_device_open_file(bench->image, read_only ? KNOT_DEVICE_READ_ONLY : 0, &bench->device), 0);
	options.device = bench->device;
	assert_int_equal(knot_volume_open(&options, &bench->volume), 0);
}

static void close_volume(struct bench *bench)
{
	assert_int_equal(knot_volume_close(bench->volume), 0);
	knot_device_close(bench->device);
	bench->device = NULL;
}

static void abandon_volume(struct bench *bench)
{
	knot_volume_abandon(bench->volume);
	knot_device_close(bench->device);
	bench->device = NULL;
}

static void make_volume(struct bench *bench, const struct scene *scene)
{
	struct knot_mkfs_options mkfs = {
		.log_bytes = scene->log_bytes,
		.log_segments = scene->log_segments,
		.label = "format",
		.time_sec = -5,
		.time_nsec = 7,
	};
	const char *temporary = getenv("TMPDIR");

	memset(bench, 0, sizeof(*bench));
	bench->scene = scene;
	bench->clock_sec = 1700000000;
	assert_true(snprintf(bench->folder, sizeof(bench->folder), "%s/knot-format-XXXXXX", temporary ? temporary : "/tmp") <
		    (int)sizeof(bench->folder));
	assert_non_null(mkdtemp(bench->folder));
	snprintf(bench->image, sizeof(bench->image), "%s/image", bench->folder);
	assert_int_equal(knot_device_create_file(bench->image, scene->volume_bytes, &bench->device), 0);
	bench->device->write_unit_bytes = scene->write_unit_bytes;
	assert_int_equal(knot_mkfs(bench->device, &mkfs, NULL), 0);
	open_volume(bench, false);
}

static void remove_volume(struct bench *bench)
{
	unlink(bench->image);
	rmdir(bench->folder);
}

/* ---- what is in them --------------------------------------------------------------------------------------------- */

static uint64_t make_dir(struct bench *bench, uint64_t dir, const char *name)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mkdir(bench->volume, NULL, dir, name, strlen(name), 0751, &attr), 0);
	knot_vfs_forget(bench->volume, NULL, attr.inode, 1);
	return attr.inode;
}

/* The lookup is kept. */
static uint64_t make_node(struct bench *bench, uint64_t dir, const char *name, uint32_t mode, uint64_t rdev)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mknod(bench->volume, NULL, dir, name, strlen(name), mode, rdev, &attr), 0);
	return attr.inode;
}

static uint64_t make_file(struct bench *bench, uint64_t dir, const char *name)
{
	return make_node(bench, dir, name, S_IFREG | 0644, 0);
}

static void let_go(struct bench *bench, uint64_t inode)
{
	knot_vfs_forget(bench->volume, NULL, inode, 1);
}

/* Bytes that depend on place and seed; never 0. */
static void put(struct bench *bench, uint64_t inode, uint64_t at, size_t len_bytes, unsigned seed)
{
	size_t step_max = knot_vfs_write_max(bench->volume);
	uint8_t *buffer = malloc(len_bytes);

	assert_non_null(buffer);
	for (size_t i = 0; i < len_bytes; i++)
		buffer[i] = (uint8_t)(1u + ((at + i) * 7u + (at + i) / 4096u * 31u + seed) % 255u);
	for (size_t done = 0; done < len_bytes;) {
		size_t step = len_bytes - done < step_max ? len_bytes - done : step_max;

		assert_int_equal(knot_vfs_write(bench->volume, NULL, inode, at + done, step, buffer + done, false), 0);
		done += step;
	}
	free(buffer);
}

static void resize(struct bench *bench, uint64_t inode, uint64_t size)
{
	struct knot_attr wanted = { .size = size }, attr;

	assert_int_equal(knot_vfs_setattr(bench->volume, NULL, inode, KNOT_SET_SIZE, &wanted, &attr), 0);
}

static void sync_file(struct bench *bench, uint64_t inode)
{
	assert_int_equal(knot_vfs_fsync(bench->volume, NULL, inode, false), 0);
}

static void remove_name(struct bench *bench, uint64_t dir, const char *name)
{
	assert_int_equal(knot_vfs_unlink(bench->volume, NULL, dir, name, strlen(name)), 0);
}

static void make_link(struct bench *bench, uint64_t inode, uint64_t dir, const char *name)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_link(bench->volume, NULL, inode, dir, name, strlen(name), &attr), 0);
	let_go(bench, inode);
}

/* Names of all lengths, enough of them for a tree of several levels; hard links. */
static void fill_names(struct bench *bench, uint64_t dir)
{
	uint64_t many = make_dir(bench, dir, "many names"), deep = many;

	for (unsigned i = 1; i <= 255; i++) {
		char name[256];
		uint64_t inode;

		memset(name, "abc%\n \xc3~"[i % 8], i);
		snprintf(name + i - (i < 3 ? i : 3), 4, "%0*u", i < 3 ? (int)i : 3, i);
		name[i] = 0;
		inode = make_file(bench, many, name);
		if (i % 5 == 0)
			make_link(bench, inode, dir, name);
		if (i % 3 == 0)
			put(bench, inode, 0, i, i);
		let_go(bench, inode);
	}
	for (unsigned i = 0; i < 40; i++)
		deep = make_dir(bench, deep, "deeper");
	remove_name(bench, many, "1");
	assert_int_equal(knot_vfs_rename(bench->volume, NULL, many, "02", 2, deep, "moved", 5, 0), 0);
}

static void fill_symlinks(struct bench *bench, uint64_t dir)
{
	static const size_t lengths[] = { 1, 5, 960, 961, 4095 };
	char target[4096];

	memset(target, 't', sizeof(target));
	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		struct knot_attr attr;
		char name[32];
		int name_bytes = snprintf(name, sizeof(name), "symlink %zu", lengths[i]);

		assert_int_equal(knot_vfs_symlink(bench->volume, NULL, dir, name, (size_t)name_bytes, target, lengths[i],
						  &attr),
				 0);
		let_go(bench, attr.inode);
	}
}

static void fill_nodes(struct bench *bench, uint64_t dir)
{
	struct knot_attr wanted = { .uid = 1000, .gid = 1001, .mode = 06711, .mtime = { -3, 999999999 } }, attr;
	uint64_t inode = make_node(bench, dir, "device", S_IFCHR | 0600, makedev(8, 513));

	let_go(bench, inode);
	let_go(bench, make_node(bench, dir, "block", S_IFBLK | 0660, makedev(259, 1)));
	let_go(bench, make_node(bench, dir, "pipe", MAKE_FIFO, 0));
	let_go(bench, make_node(bench, dir, "socket", S_IFSOCK | 0777, 0));
	assert_int_equal(knot_vfs_setattr(bench->volume, NULL, inode,
					  KNOT_SET_UID | KNOT_SET_GID | KNOT_SET_MODE | KNOT_SET_MTIME, &wanted, &attr),
			 0);
}

static void fill_sizes(struct bench *bench, uint64_t dir)
{
	static const size_t sizes[] = { 0, 1, 767, 768, 769, 4095, 4096, 4097, 8192, 70000, 300000 };

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char name[32];
		uint64_t inode;

		snprintf(name, sizeof(name), "size %zu", sizes[i]);
		inode = make_file(bench, dir, name);
		put(bench, inode, 0, sizes[i], (unsigned)i);
		if (i % 2)
			sync_file(bench, inode);
		let_go(bench, inode);
	}
}

static void fill_holes(struct bench *bench, uint64_t dir)
{
	uint64_t sparse = make_file(bench, dir, "sparse"), grown = make_file(bench, dir, "inline, then grown");
	uint64_t shrunk = make_file(bench, dir, "shrunk"), hole = make_file(bench, dir, "hole");

	put(bench, sparse, 5000, 100, 1);
	put(bench, sparse, 3u << 20, 9000, 2);
	sync_file(bench, sparse);
	put(bench, sparse, 20u << 20, 1, 3);
	put(bench, grown, 0, 50, 4);
	sync_file(bench, grown);
	resize(bench, grown, 1000000);
	put(bench, shrunk, 0, 100000, 5);
	sync_file(bench, shrunk);
	resize(bench, shrunk, 33333);
	sync_file(bench, shrunk);
	resize(bench, shrunk, 66666);
	resize(bench, hole, 12345678);
	let_go(bench, sparse);
	let_go(bench, grown);
	let_go(bench, shrunk);
	let_go(bench, hole);
}

/* Interleaved files, overwritten parts, so many extents that a truncation to 0 leaves them behind. */
static void fill_extents(struct bench *bench, uint64_t dir)
{
	uint64_t left = make_file(bench, dir, "left"), right = make_file(bench, dir, "right");
	uint64_t comb = make_file(bench, dir, "comb");

	for (unsigned i = 0; i < 8; i++) {
		put(bench, left, i * 100000u, 100000, i);
		sync_file(bench, left);
		put(bench, right, i * 50000u, 50000, i + 100);
		sync_file(bench, right);
	}
	put(bench, left, 150000, 300000, 200);
	sync_file(bench, left);
	put(bench, left, 123, 4567, 201);
	for (unsigned i = 0; i < 150; i++) {
		put(bench, comb, i * 8192u, 4096, i);
		if (i % 10 == 0)
			sync_file(bench, comb);
	}
	sync_file(bench, comb);
	resize(bench, comb, 0);
	put(bench, comb, 4096, 10000, 77);
	sync_file(bench, comb);
	let_go(bench, left);
	let_go(bench, right);
	let_go(bench, comb);
}

static void fill(struct bench *bench, const char *name)
{
	uint64_t dir = make_dir(bench, ROOT, name);

	fill_names(bench, dir);
	fill_symlinks(bench, dir);
	fill_nodes(bench, dir);
	fill_sizes(bench, dir);
	fill_holes(bench, dir);
	fill_extents(bench, dir);
}

/* Files that have lost their name, but not their user: orphans. */
static void leave_orphans(struct bench *bench)
{
	for (unsigned i = 0; i < 3; i++) {
		uint64_t inode = make_file(bench, ROOT, "orphan");

		put(bench, inode, 0, 100 + i * 20000u, i);
		sync_file(bench, inode);
		remove_name(bench, ROOT, "orphan");
	}
}

static void sync_volume(struct bench *bench)
{
	assert_int_equal(knot_vfs_syncfs(bench->volume, NULL), 0);
}

/* ---- the tests --------------------------------------------------------------------------------------------------- */

static const struct scene ordered = { 48u << 20, 4096, 0, 0, false };
static const struct scene strict = { 48u << 20, 4096, 0, 0, true };
static const struct scene segmented = { 160u << 20, 16384, 2u << 20, 5, false };
static const struct scene segmented_strict = { 160u << 20, 8192, 4u << 20, 3, true };

static void compare(struct bench *bench, const struct list *library, bool replays)
{
	struct list reader;
	unsigned long replayed;

	list_reader(bench, &reader, &replayed);
	assert_same(library, &reader);
	assert_int_equal(replayed > 0, replays);
	free_list(&reader);
}

static void closed_volume_reads_the_same(const struct scene *scene)
{
	struct bench bench;
	struct list library;

	make_volume(&bench, scene);
	fill(&bench, "first");
	assert_int_equal(knot_volume_tick(bench.volume, true), 0);
	fill(&bench, "second");
	list_library(&bench, &library);
	close_volume(&bench);
	compare(&bench, &library, false);
	free_list(&library);
	remove_volume(&bench);
}

static void abandoned_volume_reads_the_same(const struct scene *scene)
{
	struct list durable, library;
	struct bench bench;

	make_volume(&bench, scene);
	fill(&bench, "first");
	assert_int_equal(knot_vfs_checkpoint(bench.volume, NULL), 0);
	fill(&bench, "second");
	leave_orphans(&bench);
	for (unsigned i = 3; i < 250; i += 2) { /* frees and fresh uses of what the checkpoint had */
		char name[32];
		int name_bytes = snprintf(name, sizeof(name), "again %u", i);
		uint64_t inode = make_node(&bench, ROOT, name, MAKE_FIFO, 0);

		let_go(&bench, inode);
		assert_int_equal(knot_vfs_rename(bench.volume, NULL, ROOT, name, (size_t)name_bytes, ROOT, "target", 6, 0),
				 0);
	}
	sync_volume(&bench);
	list_library(&bench, &durable);
	make_dir(&bench, ROOT, "never synced");
	put(&bench, make_file(&bench, ROOT, "neither"), 0, 500000, 9);
	abandon_volume(&bench);

	open_volume(&bench, true);
	list_library(&bench, &library);
	close_volume(&bench);
	compare(&bench, &library, true);
	for (size_t i = 0; i < durable.count; i++) /* but for the root, which may have two entries more */
		assert_true(strstr(durable.lines[i], " - /") || has_line(&library, durable.lines[i]));

	open_volume(&bench, false);
	assert_int_equal(knot_volume_tick(bench.volume, true), 0);
	close_volume(&bench);
	compare(&bench, &library, false);
	free_list(&durable);
	free_list(&library);
	remove_volume(&bench);
}

static void closed(void **state)
{
	closed_volume_reads_the_same(*state);
}

static void abandoned(void **state)
{
	abandoned_volume_reads_the_same(*state);
}

static void new_volume_reads_the_same(void **state)
{
	struct bench bench;
	struct list library;

	make_volume(&bench, *state);
	list_library(&bench, &library);
	abandon_volume(&bench);
	compare(&bench, &library, false);
	free_list(&library);
	remove_volume(&bench);
}

static void damage_is_found(void **state)
{
	static const uint8_t bytes[512] = { 1, 2, 3 };
	unsigned long failures = 0;
	struct bench bench;

	make_volume(&bench, *state);
	fill(&bench, "first");
	close_volume(&bench);
	for (uint64_t page_no = 1; page_no <= 64; page_no += 63) { /* group header, root */
		FILE *image = fopen(bench.image, "r+b"), *reader;
		uint8_t saved[sizeof(bytes)];
		char *command;

		assert_non_null(image);
		assert_int_equal(fseek(image, (long)page_no * 4096 + 3584, SEEK_SET), 0);
		assert_int_equal(fread(saved, sizeof(saved), 1, image), 1);
		assert_int_equal(fseek(image, (long)page_no * 4096 + 3584, SEEK_SET), 0);
		assert_int_equal(fwrite(bytes, sizeof(bytes), 1, image), 1);
		assert_int_equal(fflush(image), 0);
		assert_true(asprintf(&command, "python3 '%s/tests/tools/read_volume.py' --check '%s' 2>&1 >/dev/null",
				     getenv("KNOT_SOURCE_DIR"), bench.image) > 0);
		reader = popen(command, "r");
		assert_non_null(reader);
		for (int c = getc(reader); c != EOF; c = getc(reader))
			putchar(c);
		failures += pclose(reader) != 0;
		free(command);
		assert_int_equal(fseek(image, (long)page_no * 4096 + 3584, SEEK_SET), 0);
		assert_int_equal(fwrite(saved, sizeof(saved), 1, image), 1);
		assert_int_equal(fclose(image), 0);
	}
	assert_int_equal(failures, 2);
	remove_volume(&bench);
}

static void examples_of_the_document_hold(void **state)
{
	char *command;

	(void)state;
	assert_true(asprintf(&command, "python3 '%s/tests/tools/read_volume.py' --examples", getenv("KNOT_SOURCE_DIR")) > 0);
	assert_int_equal(system(command), 0);
	free(command);
}

#define SCENE(test, scene) { "format_" #test "_" #scene, test, NULL, NULL, (void *)(uintptr_t)&scene }

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_the_document_hold),
		SCENE(new_volume_reads_the_same, ordered),
		SCENE(closed, ordered),
		SCENE(closed, strict),
		SCENE(closed, segmented),
		SCENE(abandoned, ordered),
		SCENE(abandoned, strict),
		SCENE(abandoned, segmented),
		SCENE(abandoned, segmented_strict),
		SCENE(damage_is_found, ordered),
	};

	if (!getenv("KNOT_SOURCE_DIR") || system("python3 -c '' >/dev/null 2>&1") != 0)
		return SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
