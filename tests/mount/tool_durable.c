/* SPDX-License-Identifier: MIT */
/*
 * A client that knows what must survive.
 *
 *   tool_durable run DIR STATE NUMBER KILLED nosync|sync    work in DIR until the daemon is gone
 *   tool_durable verify DIR STATE NUMBER                    after the next mount: compare; what is there is the truth
 *
 * STATE lies outside the mount. For each object it has what was tried last (noted before) and what a returned fsync
 * covers (noted after). What is found must be whole, and lie between the two. An error while KILLED does not exist is
 * one too many. `nosync`: fsync promises nothing (flush_log_at_commit=0).
 */
#include "tests/mount/durable.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

/* A short write is one that was killed halfway. */
static void write_all(struct client *client, int fd, const uint8_t *bytes, size_t len_bytes, off_t at)
{
	while (len_bytes > 0) {
		ssize_t done = at < 0 ? write(fd, bytes, len_bytes) : pwrite(fd, bytes, len_bytes, at);

		must(client, (int)(done < 0 ? -1 : 0), "write");
		bytes += done;
		len_bytes -= (size_t)done;
		at = at < 0 ? at : at + done;
	}
}

/* True if the fsync counts. */
static bool sync_file(struct client *client, int fd)
{
	must(client, pick(client, 3) ? fsync(fd) : fdatasync(fd), "fsync");
	client->state->syncs++;
	return !client->nosync;
}

static bool sync_dir(struct client *client, int fd)
{
	must(client, fsync(fd), "fsync of a directory");
	client->state->syncs++;
	return !client->nosync;
}

/* ---- operations ---- */

static void step_append(struct client *client)
{
	unsigned index = (unsigned)pick(client, APPENDS), record = 0;
	struct item *item = &client->state->appended[index];
	bool durable = pick(client, 4) == 0;
	char name[32];
	uint64_t key, size = 0;
	struct stat st;
	int fd;

	snprintf(name, sizeof(name), "append%u", index);
	fd = must(client,
		  openat(client->dir_fd, name,
			 O_CREAT | O_WRONLY | O_APPEND | (durable ? O_DSYNC : 0) | (is_direct(index) ? O_DIRECT : 0),
			 0644),
		  "open");
	must(client, fstat(fd, &st), "fstat");
	if (st.st_size >= APPEND_BYTES || item->tried == 0) {
		item->tried++;
		must(client, ftruncate(fd, 0), "ftruncate");
		st.st_size = 0;
	}
	key = key_of(client, APPENDED, index, item->tried);
	for (; size < (uint64_t)st.st_size; size += record_bytes(key, record++))
		;
	for (uint64_t count = pick(client, 12); count-- > 0; record++) {
		size_t bytes = record_bytes(key, record);

		fill(client->buffer, key, item->tried, size, bytes);
		write_all(client, fd, client->buffer, bytes, -1);
		size += bytes;
		if (durable && !client->nosync) {
			client->state->syncs++;
			item->durable = item->tried;
			item->durable_bytes = size;
		}
	}
	if (pick(client, 2) && sync_file(client, fd)) {
		item->durable = item->tried;
		item->durable_bytes = size;
	}
	close(fd);
}

static int new_file(struct client *client, const char *name, enum family family, unsigned index, uint64_t generation)
{
	uint64_t key = key_of(client, family, index, generation);
	size_t bytes = whole_bytes(key), step = pick(client, 2) ? bytes : 65536;
	int fd = must(client, openat(client->dir_fd, name, O_CREAT | O_TRUNC | O_WRONLY, 0644), "create");

	if (family == TRUNCATE || family == CREATE)
		step = bytes = bytes % 100000 + 8;
	fill(client->buffer, key, generation, 0, bytes);
	for (size_t done = 0; done < bytes; done += step)
		write_all(client, fd, client->buffer + done, bytes - done < step ? bytes - done : step, (off_t)done);
	return fd;
}

static void step_replace(struct client *client)
{
	unsigned index = (unsigned)pick(client, REPLACED);
	struct item *item = &client->state->replaced[index];
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "replaced%u", index);
	item->tried++;
	fd = new_file(client, "new", REPLACE, index, item->tried);
	must(client, fsync(fd), "fsync");
	close(fd);
	must(client, renameat(client->dir_fd, "new", client->dir_fd, name), "rename");
	if (pick(client, 4) && sync_dir(client, client->dir_fd))
		item->durable = item->tried;
}

/* Renamed over the old one without a sync: old or new, whole. The first needs its fsync. */
static void step_rename(struct client *client)
{
	unsigned index = (unsigned)pick(client, RENAMED);
	struct item *item = &client->state->renamed[index];
	bool first = item->tried == 0;
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "renamed%u", index);
	item->tried++;
	fd = new_file(client, "newer", RENAME, index, item->tried);
	if (first)
		must(client, fsync(fd), "fsync");
	close(fd);
	must(client, renameat(client->dir_fd, "newer", client->dir_fd, name), "rename");
	if (pick(client, 4) == 0 && sync_dir(client, client->dir_fd))
		item->durable = item->tried;
}

static void step_truncate(struct client *client)
{
	unsigned index = (unsigned)pick(client, TRUNCATED);
	struct item *item = &client->state->truncated[index];
	char name[32];
	int fd;

	snprintf(name, sizeof(name), "truncated%u", index);
	item->tried++;
	fd = new_file(client, name, TRUNCATE, index, item->tried);
	if (pick(client, 3) == 0 && sync_file(client, fd))
		item->durable = item->tried;
	close(fd);
}

static void step_create(struct client *client)
{
	unsigned index = (unsigned)pick(client, CREATED);
	struct item *item = &client->state->created[index];
	char name[32];

	snprintf(name, sizeof(name), "created%u", index);
	item->tried++;
	if (item->tried % 2) {
		int fd = new_file(client, name, CREATE, index, item->tried);

		if (pick(client, 2) && sync_file(client, fd))
			item->durable = item->tried;
		close(fd);
	} else {
		must(client, unlinkat(client->dir_fd, name, 0), "unlink");
		if (pick(client, 3) == 0 && sync_dir(client, client->dir_fd))
			item->durable = item->tried;
	}
}

static int open_slots(struct client *client, unsigned file, int flags)
{
	char name[32];

	snprintf(name, sizeof(name), "slots%u", file);
	return must(client, openat(client->dir_fd, name, flags, 0644), name);
}

static void put_slot(struct client *client, int fd, unsigned file, unsigned slot)
{
	struct item *item = &client->state->slots[file][slot];

	item->tried++;
	fill(client->wanted, key_of(client, SLOT, file * SLOTS + slot, item->tried), item->tried, 0, slot_bytes[file]);
	write_all(client, fd, client->wanted, slot_bytes[file], (off_t)(slot * slot_bytes[file]));
}

static void slots_are_durable(struct client *client, unsigned file)
{
	for (unsigned slot = 0; slot < SLOTS; slot++)
		client->state->slots[file][slot].durable = client->state->slots[file][slot].tried;
}

static void step_slots(struct client *client)
{
	unsigned file = (unsigned)pick(client, SLOT_FILES);
	int fd = open_slots(client, file, O_RDWR | (is_direct(file) ? O_DIRECT : 0));

	for (uint64_t count = pick(client, 10); count-- > 0;)
		put_slot(client, fd, file, (unsigned)pick(client, SLOTS));
	if (pick(client, 2) && sync_file(client, fd))
		slots_are_durable(client, file);
	close(fd);
}

static void make_slots(struct client *client)
{
	for (unsigned file = 0; file < SLOT_FILES; file++) {
		int fd = open_slots(client, file, O_RDWR | O_CREAT);

		for (unsigned slot = 0; slot < SLOTS; slot++)
			put_slot(client, fd, file, slot);
		must(client, fsync(fd), "fsync");
		close(fd);
		slots_are_durable(client, file);
	}
	client->state->ready = 1;
}

/*
 * Names of step n, k = n / 5: create a.k; link it as b.k; move b.k into the other directory as c.k; unlink a.k; unlink
 * c.(k - 3)
 */
static void step_names(struct client *client)
{
	uint64_t n = client->state->names.tried++, k = n / 5;
	char a[32], b[32], c[32];
	int fd, dir = client->common_fd;

	snprintf(a, sizeof(a), "a%u.%llu", client->number, (unsigned long long)k);
	snprintf(b, sizeof(b), "b%u.%llu", client->number, (unsigned long long)k);
	snprintf(c, sizeof(c), "c%u.%llu", client->number, (unsigned long long)k);
	switch (n % 5) {
	case 0:
		fd = must(client, openat(client->common_fd, a, O_CREAT | O_EXCL | O_WRONLY, 0600), "create");
		close(fd);
		break;
	case 1:
		must(client, linkat(client->common_fd, a, client->common_fd, b, 0), "link");
		break;
	case 2:
		must(client, renameat(client->common_fd, b, client->dir_fd, c), "rename");
		break;
	case 3:
		must(client, unlinkat(client->common_fd, a, 0), "unlink");
		break;
	default:
		if (k < 3)
			break;
		snprintf(c, sizeof(c), "c%u.%llu", client->number, (unsigned long long)(k - 3));
		must(client, unlinkat(client->dir_fd, c, 0), "unlink");
		dir = client->dir_fd;
	}
	if (pick(client, 8) == 0 && (n % 5 < 4 || k >= 3) && sync_dir(client, dir))
		client->state->names.durable = n + 1;
}

static void run(struct client *client)
{
	if (!client->state->ready)
		make_slots(client);
	for (;;) {
		client->state->operations++;
		switch (pick(client, 10)) {
		case 0:
			step_replace(client);
			break;
		case 1:
			step_rename(client);
			break;
		case 2:
			step_truncate(client);
			break;
		case 3:
		case 4:
			step_create(client);
			break;
		case 5:
			step_append(client);
			break;
		case 6:
			step_slots(client);
			break;
		default:
			step_names(client);
		}
	}
}

/* ---- verifying ---- */

/* The file's bytes in client->buffer; -1 if there is none. */
static ssize_t load(struct client *client, const char *name)
{
	int fd = openat(client->dir_fd, name, O_RDONLY);
	ssize_t got;

	if (fd < 0) {
		if (errno != ENOENT)
			wrong(client, "%s: %s", name, strerror(errno));
		return -1;
	}
	got = read(fd, client->buffer, BUFFER_BYTES);
	if (got < 0)
		wrong(client, "%s: read: %s", name, strerror(errno));
	close(fd);
	return got;
}

static uint64_t generation_in(const uint8_t *bytes)
{
	uint64_t generation;

	memcpy(&generation, bytes, sizeof(generation));
	return generation;
}

static bool in_range(struct client *client, const char *name, const struct item *item, uint64_t generation)
{
	if (generation >= item->durable && generation <= item->tried)
		return true;
	wrong(client, "%s: generation %llu (0x%llx), but %llu was synced and %llu tried", name,
	      (unsigned long long)generation, (unsigned long long)generation, (unsigned long long)item->durable,
	      (unsigned long long)item->tried);
	return false;
}

static void same_bytes(struct client *client, const char *name, uint64_t generation, size_t bytes)
{
	for (size_t i = 0; i < bytes; i++) {
		if (client->buffer[i] != client->wanted[i]) {
			wrong(client, "%s: generation %llu, wrong from byte %zu of %zu on: %02x instead of %02x", name,
			      (unsigned long long)generation, i, bytes, client->buffer[i], client->wanted[i]);
			return;
		}
	}
}

/* A file that is replaced as a whole. `may_be_empty`: if something newer than what is durable was tried. */
static void verify_whole(struct client *client, const char *kind, enum family family, unsigned index,
			 struct item *item, bool may_be_empty)
{
	char name[32];
	ssize_t got;
	uint64_t generation = 0, key;
	size_t bytes;

	snprintf(name, sizeof(name), "%s%u", kind, index);
	got = load(client, name);
	if (got <= 0) {
		if (item->durable && (got < 0 || !may_be_empty || item->tried == item->durable))
			wrong(client, "%s is %s, but generation %llu was synced", name, got < 0 ? "gone" : "empty",
			      (unsigned long long)item->durable);
		if (!got && !may_be_empty)
			wrong(client, "%s is empty", name);
		item->durable = 0;
		return;
	}
	generation = got >= 8 ? generation_in(client->buffer) : 0;
	if (!in_range(client, name, item, generation))
		return;
	key = key_of(client, family, index, generation);
	bytes = whole_bytes(key);
	if (family == TRUNCATE || family == CREATE)
		bytes = bytes % 100000 + 8;
	if (bytes != (size_t)got)
		wrong(client, "%s: %zd bytes instead of %zu of generation %llu", name, got, bytes,
		      (unsigned long long)generation);
	fill(client->wanted, key, generation, 0, bytes);
	same_bytes(client, name, generation, bytes < (size_t)got ? bytes : (size_t)got);
	item->durable = generation;
}

static void verify_created(struct client *client, unsigned index)
{
	struct item *item = &client->state->created[index];
	char name[32];
	struct stat st;

	snprintf(name, sizeof(name), "created%u", index);
	if (fstatat(client->dir_fd, name, &st, 0)) {
		if (item->durable % 2 && item->tried == item->durable)
			wrong(client, "%s is gone, but generation %llu was synced", name,
			      (unsigned long long)item->durable);
	} else if (item->durable % 2 == 0 && item->tried == item->durable) {
		wrong(client, "%s is there, but its removal %llu was synced", name, (unsigned long long)item->durable);
	} else if (st.st_size > 0 || (item->durable % 2 && item->tried < item->durable + 2)) {
		verify_whole(client, "created", CREATE, index, item, false);
	}
	/* Begin anew, from a state that is certain. */
	if (unlinkat(client->dir_fd, name, 0) && errno != ENOENT)
		wrong(client, "%s: unlink: %s", name, strerror(errno));
	item->tried += item->tried % 2;
	item->durable = item->tried;
}

static void cut_append(struct client *client, const char *name, uint64_t size)
{
	int fd = must(client, openat(client->dir_fd, name, O_WRONLY), name);

	must(client, ftruncate(fd, (off_t)size), "ftruncate");
	must(client, fsync(fd), "fsync");
	close(fd);
}

static void verify_append(struct client *client, unsigned index)
{
	struct item *item = &client->state->appended[index];
	unsigned record = 0;
	char name[32];
	uint64_t generation, key, size = 0;
	ssize_t got;

	snprintf(name, sizeof(name), "append%u", index);
	got = load(client, name);
	if (got <= 0) {
		if (item->durable_bytes && (got < 0 || item->tried == item->durable))
			wrong(client, "%s is %s, but %llu bytes were synced", name, got < 0 ? "gone" : "empty",
			      (unsigned long long)item->durable_bytes);
		item->durable_bytes = 0;
		item->tried++;
		item->durable = item->tried;
		/* step_append() goes on with this generation only in an empty file */
		return;
	}
	generation = got >= 8 ? generation_in(client->buffer) : 0;
	if (!in_range(client, name, item, generation)) {
		for (size = 0; size < (uint64_t)got && !client->buffer[size]; size++)
			;
		wrong(client, "%s: %zd bytes, %llu zeros at the beginning; %llu bytes were synced", name, got,
		      (unsigned long long)size, (unsigned long long)item->durable_bytes);
		return;
	}
	if (generation == item->durable && (uint64_t)got < item->durable_bytes)
		wrong(client, "%s: %zd bytes, but %llu were synced", name, got,
		      (unsigned long long)item->durable_bytes);
	key = key_of(client, APPENDED, index, generation);
	while (size < (uint64_t)got)
		size += record_bytes(key, record++);
	if (size != (uint64_t)got && (is_direct(index) || got % 4096))
		wrong(client, "%s: %zd bytes: it ends within record %u", name, got, record - 1);
	fill(client->wanted, key, generation, 0, (size_t)got);
	same_bytes(client, name, generation, (size_t)got);
	item->durable = item->tried = generation;
	item->durable_bytes = (uint64_t)got;
	if (size != (uint64_t)got) { /* step_append() goes on after whole records only */
		item->durable_bytes = size - record_bytes(key, record - 1);
		cut_append(client, name, item->durable_bytes);
	}
}

/* The bytes [from, to) of a slot are those of one generation from item->durable on; which, is told. 0: of none. */
static uint64_t part_generation(struct client *client, const struct item *item, unsigned number, const uint8_t *slot,
				size_t from, size_t to)
{
	for (uint64_t generation = item->tried; generation >= item->durable; generation--) {
		fill(client->wanted, key_of(client, SLOT, number, generation), generation, from, to - from);
		if (!memcmp(client->wanted, slot + from, to - from))
			return generation;
	}
	return 0;
}

static void verify_slots(struct client *client, unsigned file)
{
	char name[32];
	size_t bytes = slot_bytes[file];
	ssize_t got;
	int fd;

	snprintf(name, sizeof(name), "slots%u", file);
	got = load(client, name);
	if (got != (ssize_t)(bytes * SLOTS)) {
		wrong(client, "%s: %zd bytes", name, got);
		return;
	}
	fd = open_slots(client, file, O_RDWR);
	for (unsigned slot = 0; slot < SLOTS; slot++) {
		struct item *item = &client->state->slots[file][slot];
		size_t end, start = slot * bytes;
		uint64_t generation = 0, first = 0;
		bool torn = false;

		for (size_t from = 0; from < bytes; from = end) {
			end = is_direct(file) ? bytes : (start + from) / 4096 * 4096 + 4096 - start;
			end = end < bytes ? end : bytes;
			generation = part_generation(client, item, file * SLOTS + slot, client->buffer + start, from,
						     end);
			if (!generation)
				wrong(client, "%s, slot %u, bytes %zu to %zu: of no generation from %llu to %llu", name,
				      slot, from, end, (unsigned long long)item->durable,
				      (unsigned long long)item->tried);
			first = from ? first : generation;
			torn |= generation != first;
		}
		if (torn)
			put_slot(client, fd, file, slot);
		else if (generation)
			item->tried = generation;
	}
	/* From here on it is certain. */
	if (fsync(fd))
		wrong(client, "%s: fsync: %s", name, strerror(errno));
	slots_are_durable(client, file);
	close(fd);
}

static bool name_is_after(uint64_t n, char kind, uint64_t k)
{
	switch (kind) {
	case 'a':
		return n > 5 * k && n <= 5 * k + 3;
	case 'b':
		return n > 5 * k + 1 && n <= 5 * k + 2;
	default:
		return n > 5 * k + 2 && n <= 5 * (k + 3) + 4;
	}
}

/* The names are those after exactly one number of steps, between what was synced and what was tried. */
static void verify_names(struct client *client)
{
	struct item *item = &client->state->names;
	uint64_t first = item->durable, last = item->tried, low, found = UINT64_MAX;
	const int dirs[] = { client->common_fd, client->common_fd, client->dir_fd };
	bool *there;

	low = first / 5 > 8 ? first / 5 - 8 : 0;
	there = calloc((last / 5 + 2 - low) * 3, sizeof(*there));
	for (uint64_t k = low; there && k <= last / 5; k++) {
		for (unsigned kind = 0; kind < 3; kind++) {
			char name[32];

			snprintf(name, sizeof(name), "%c%u.%llu", "abc"[kind], client->number, (unsigned long long)k);
			there[(k - low) * 3 + kind] = faccessat(dirs[kind], name, F_OK, 0) == 0;
		}
	}
	for (uint64_t n = last + 1; there && n-- > first && found == UINT64_MAX;) {
		bool same = true;

		for (uint64_t k = low; k <= last / 5 && same; k++) {
			for (unsigned kind = 0; kind < 3 && same; kind++)
				same = there[(k - low) * 3 + kind] == name_is_after(n, "abc"[kind], k);
		}
		if (same)
			found = n;
	}
	if (found == UINT64_MAX) {
		wrong(client, "the names are not those after any number of steps from %llu to %llu",
		      (unsigned long long)first, (unsigned long long)last);
		for (uint64_t k = low; there && k <= last / 5; k++) {
			for (unsigned kind = 0; kind < 3; kind++) {
				if (there[(k - low) * 3 + kind])
					fprintf(stderr, "  %c.%llu", "abc"[kind], (unsigned long long)k);
			}
		}
		fputc('\n', stderr);
		free(there);
		return;
	}
	free(there);
	item->durable = item->tried = found;
}

static void verify(struct client *client)
{
	struct state *state = client->state;

	for (unsigned i = 0; i < APPENDS; i++)
		verify_append(client, i);
	for (unsigned i = 0; i < REPLACED; i++)
		verify_whole(client, "replaced", REPLACE, i, &state->replaced[i], false);
	for (unsigned i = 0; i < RENAMED; i++)
		verify_whole(client, "renamed", RENAME, i, &state->renamed[i], false);
	for (unsigned i = 0; i < TRUNCATED; i++)
		verify_whole(client, "truncated", TRUNCATE, i, &state->truncated[i], true);
	for (unsigned i = 0; i < CREATED; i++)
		verify_created(client, i);
	for (unsigned i = 0; i < SLOT_FILES && state->ready; i++)
		verify_slots(client, i);
	verify_names(client);
	/* What begins anew above is certain only now. */
	if (fsync(client->dir_fd))
		wrong(client, "fsync: %s", strerror(errno));
}

static struct state *map_state(const char *path, unsigned number)
{
	int fd = open(path, O_RDWR | O_CREAT, 0600);
	struct state *state;

	if (fd < 0 || ftruncate(fd, sizeof(*state)))
		return NULL;
	state = mmap(NULL, sizeof(*state), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	if (state == MAP_FAILED)
		return NULL;
	if (!state->random) {
		const char *seed = getenv("KNOT_SEED");

		state->random = mix((seed ? strtoull(seed, NULL, 0) : 1) * 100 + number);
	}
	return state;
}

static int open_dir(struct client *client, const char *name)
{
	char path[4096];

	snprintf(path, sizeof(path), "%s/%s", client->dir, name);
	if (mkdir(path, 0755) && errno != EEXIST)
		gone(client, path);
	return must(client, open(path, O_RDONLY | O_DIRECTORY), path);
}

int main(int argc, char **argv)
{
	struct client client = { 0 };
	bool is_run = argc == 7 && !strcmp(argv[1], "run");
	char name[32];

	if (!is_run && !(argc == 5 && !strcmp(argv[1], "verify"))) {
		fprintf(stderr, "usage: tool_durable run DIR STATE NUMBER KILLED sync|nosync\n"
				"       tool_durable verify DIR STATE NUMBER\n");
		return 2;
	}
	client.dir = argv[2];
	client.number = (unsigned)strtoul(argv[4], NULL, 10);
	client.killed = is_run ? argv[5] : "/nonexistent";
	client.nosync = is_run && !strcmp(argv[6], "nosync");
	client.state = map_state(argv[3], client.number);
	client.buffer = malloc(BUFFER_BYTES);
	client.wanted = malloc(BUFFER_BYTES);
	if (!client.state || !client.buffer || !client.wanted) {
		perror(argv[3]);
		return 2;
	}
	snprintf(name, sizeof(name), "client%u", client.number);
	client.dir_fd = open_dir(&client, name);
	client.common_fd = open_dir(&client, "common");
	if (is_run)
		run(&client);
	verify(&client);
	if (client.failures)
		fprintf(stderr, "client %u: %u wrong after %llu operations\n", client.number, client.failures,
			(unsigned long long)client.state->operations);
	else
		printf("%llu %llu\n", (unsigned long long)client.state->operations,
		       (unsigned long long)client.state->syncs);
	return client.failures ? 1 : 0;
}
