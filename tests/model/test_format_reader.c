/* SPDX-License-Identifier: MIT */
/*
 * docs/FORMAT.md against the library: volumes made here, closed or abandoned, are read by tests/tools/read_volume.py,
 * which was written from that document alone. Both list names, attributes and SHA-256 of contents; the lists must be
 * equal.
 */
#include "tests/model/format_volume.h"

#include <sodium/crypto_hash_sha256.h>

#define READ_BYTES (1u << 20)
#define SKIPPED    77

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
	} * items;
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
			assert_int_equal(knot_vfs_read(bench->volume, NULL, attr->inode, at, READ_BYTES, buffer, &got),
					 0);
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
		assert_int_equal(knot_vfs_readdir(bench->volume, NULL, inode, names.offset, false, take_name, &names),
				 0);
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

	assert_true(asprintf(&command, "python3 '%s/tests/tools/read_volume.py' --check '%s'", source, bench->image) >
		    0);
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

static void closed_volume_reads_the_same(void **state)
{
	struct bench bench;
	struct list library;

	make_volume(&bench, *state);
	fill(&bench, "first");
	assert_int_equal(knot_volume_tick(bench.volume, true), 0);
	fill(&bench, "second");
	list_library(&bench, &library);
	close_volume(&bench);
	compare(&bench, &library, false);
	free_list(&library);
	remove_volume(&bench);
}

static void abandoned_volume_reads_the_same(void **state)
{
	struct list durable, library;
	struct bench bench;

	make_volume(&bench, *state);
	fill(&bench, "first");
	assert_int_equal(knot_vfs_checkpoint(bench.volume, NULL), 0);
	fill(&bench, "second");
	leave_orphans(&bench);
	for (unsigned i = 3; i < 250; i += 2) { /* frees and fresh uses of what the checkpoint had */
		char name[32];
		int name_bytes = snprintf(name, sizeof(name), "again %u", i);
		uint64_t inode = make_node(&bench, ROOT, name, MAKE_FIFO, 0);

		let_go(&bench, inode);
		assert_int_equal(
			knot_vfs_rename(bench.volume, NULL, ROOT, name, (size_t)name_bytes, ROOT, "target", 6, 0), 0);
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

static int exchange_bytes(const char *path, long at, uint8_t *bytes, size_t len_bytes)
{
	FILE *image = fopen(path, "r+b");
	uint8_t old[512];
	int err = -EIO;

	assert_true(image && len_bytes <= sizeof(old));
	if (!fseek(image, at, SEEK_SET) && fread(old, len_bytes, 1, image) == 1 && !fseek(image, at, SEEK_SET) &&
	    fwrite(bytes, len_bytes, 1, image) == 1)
		err = 0;
	memcpy(bytes, old, len_bytes);
	return fclose(image) ? -EIO : err;
}

static void damage_is_found(void **state)
{
	uint8_t bytes[512] = { 1, 2, 3 };
	struct bench bench;
	char *command;

	make_volume(&bench, *state);
	fill(&bench, "first");
	close_volume(&bench);
	assert_true(asprintf(&command, "python3 '%s/tests/tools/read_volume.py' --check '%s' >/dev/null 2>&1",
			     getenv("KNOT_SOURCE_DIR"), bench.image) > 0);
	assert_int_equal(system(command), 0);
	for (long page_no = 1; page_no <= 64; page_no += 63) { /* group header, root */
		assert_int_equal(exchange_bytes(bench.image, page_no * 4096 + 3584, bytes, sizeof(bytes)), 0);
		assert_int_not_equal(system(command), 0);
		assert_int_equal(exchange_bytes(bench.image, page_no * 4096 + 3584, bytes, sizeof(bytes)), 0);
	}
	assert_int_equal(system(command), 0);
	free(command);
	remove_volume(&bench);
}

static void examples_of_the_document_hold(void **state)
{
	char *command;

	(void)state;
	assert_true(asprintf(&command, "python3 '%s/tests/tools/read_volume.py' --examples",
			     getenv("KNOT_SOURCE_DIR")) > 0);
	assert_int_equal(system(command), 0);
	free(command);
}

#define SCENE(test, scene)                                                              \
	{                                                                               \
		#test "_" #scene, test, NULL, NULL, (void *)(uintptr_t)&scene \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(examples_of_the_document_hold),
		SCENE(new_volume_reads_the_same, ordered),
		SCENE(closed_volume_reads_the_same, ordered),
		SCENE(closed_volume_reads_the_same, strict),
		SCENE(closed_volume_reads_the_same, segmented),
		SCENE(abandoned_volume_reads_the_same, ordered),
		SCENE(abandoned_volume_reads_the_same, strict),
		SCENE(abandoned_volume_reads_the_same, segmented),
		SCENE(abandoned_volume_reads_the_same, segmented_strict),
		SCENE(damage_is_found, ordered),
	};

	if (!getenv("KNOT_SOURCE_DIR") || system("python3 -c '' >/dev/null 2>&1") != 0)
		return SKIPPED;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
