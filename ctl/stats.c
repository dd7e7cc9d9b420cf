/* SPDX-License-Identifier: MIT */
/* knotctl stats: what the daemon counts, for people and for programs. */
#include "ctl/ctl.h"

#include <knotfs/ioctl.h>

#include <inttypes.h>
#include <jansson.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct field {
	size_t offset;
	const char *name; /* in JSON */
	const char *text; /* for people */
};

#define FIELD(name) offsetof(struct knot_ioctl_stats, name), #name

static const struct field fields[] = {
	{ FIELD(lsn), "log: end (LSN)" },
	{ FIELD(written_lsn), "log: written up to" },
	{ FIELD(flushed_lsn), "log: flushed up to" },
	{ FIELD(committed_lsn), "log: committed up to" },
	{ FIELD(checkpoint_lsn), "log: recovery would begin at" },
	{ FIELD(checkpoint_age_bytes), "log: bytes since the checkpoint" },
	{ FIELD(ring_bytes), "log: ring, bytes" },
	{ FIELD(ring_used_bytes), "log: ring in use, bytes" },
	{ FIELD(log_buffer_bytes), "log: buffer, bytes" },
	{ FIELD(log_buffer_used_bytes), "log: buffer in use, bytes" },
	{ FIELD(epoch), "log: epoch" },
	{ FIELD(log_writes), "log: writes" },
	{ FIELD(log_written_bytes), "log: bytes written" },
	{ FIELD(log_flushes), "log: flushes" },
	{ FIELD(commits), "commits: asked for" },
	{ FIELD(commit_waits), "commits: that waited" },
	{ FIELD(group_commit_max), "commits: largest group" },
	{ FIELD(mtrs), "changes: made" },
	{ FIELD(mtr_retries), "changes: begun again" },
	{ FIELD(mtr_waits), "changes: that waited for room" },
	{ FIELD(frames), "cache: pages" },
	{ FIELD(frames_cached), "cache: pages of metadata and log" },
	{ FIELD(frames_dirty), "cache: pages to be written home" },
	{ FIELD(frames_pending), "cache: pages of data without a place" },
	{ FIELD(cache_hits), "cache: hits" },
	{ FIELD(cache_misses), "cache: misses" },
	{ FIELD(cache_evictions), "cache: evictions" },
	{ FIELD(pages_read), "device: pages read" },
	{ FIELD(pages_cleaned), "device: pages written home" },
	{ FIELD(clean_batches), "device: batches of those" },
	{ FIELD(checkpoints), "device: checkpoints" },
	{ FIELD(device_flushes), "device: flushes" },
	{ FIELD(threads), "requests: threads" },
	{ FIELD(handed_over), "requests: that waited" },
	{ FIELD(read_bytes), "requests: bytes read" },
	{ FIELD(write_bytes), "requests: bytes written" },
};

/* By FUSE opcode. */
static const char *const opcodes[KNOT_IOCTL_OPCODES] = {
	[1] = "lookup",        [2] = "forget",         [3] = "getattr",
	[4] = "setattr",       [5] = "readlink",       [6] = "symlink",
	[8] = "mknod",         [9] = "mkdir",          [10] = "unlink",
	[11] = "rmdir",        [12] = "rename",        [13] = "link",
	[14] = "open",         [15] = "read",          [16] = "write",
	[17] = "statfs",       [18] = "release",       [20] = "fsync",
	[21] = "setxattr",     [22] = "getxattr",      [23] = "listxattr",
	[24] = "removexattr",  [25] = "flush",         [26] = "init",
	[27] = "opendir",      [28] = "readdir",       [29] = "releasedir",
	[30] = "fsyncdir",     [31] = "getlk",         [32] = "setlk",
	[33] = "setlkw",       [34] = "access",        [35] = "create",
	[36] = "interrupt",    [37] = "bmap",          [38] = "destroy",
	[39] = "ioctl",        [40] = "poll",          [41] = "notify_reply",
	[42] = "batch_forget", [43] = "fallocate",     [44] = "readdirplus",
	[45] = "rename2",      [46] = "lseek",         [47] = "copy_file_range",
	[48] = "setupmapping", [49] = "removemapping", [50] = "syncfs",
	[51] = "tmpfile",      [52] = "statx",
};

static const struct {
	uint32_t flag;
	const char *name;
} flags[] = {
	{ KNOT_MOUNT_READ_ONLY, "read_only" },
	{ KNOT_MOUNT_STOPPED, "stopped" },
	{ KNOT_MOUNT_STRICT, "strict" },
	{ KNOT_MOUNT_WRITEBACK, "writeback" },
};

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static uint64_t value_of(const struct knot_ioctl_stats *stats, const struct field *field)
{
	uint64_t value;

	memcpy(&value, (const char *)stats + field->offset, sizeof(value));
	return value;
}

static const char *opcode_name(size_t opcode, char number[static 16])
{
	if (opcodes[opcode])
		return opcodes[opcode];
	snprintf(number, 16, "opcode_%zu", opcode);
	return number;
}

static void print_table(const struct knot_ioctl_stats *stats)
{
	char number[16];

	for (size_t i = 0; i < COUNT(flags); i++)
		printf("%-40s %20s\n", flags[i].name, stats->flags & flags[i].flag ? "yes" : "no");
	for (size_t i = 0; i < COUNT(fields); i++)
		printf("%-40s %20" PRIu64 "\n", fields[i].text, value_of(stats, &fields[i]));
	if (stats->log_flushes)
		printf("%-40s %20.2f\n", "commits: waited for each flush",
		       (double)stats->commit_waits / (double)stats->log_flushes);
	if (stats->cache_hits + stats->cache_misses)
		printf("%-40s %19.1f%%\n", "cache: hit rate",
		       100.0 * (double)stats->cache_hits / (double)(stats->cache_hits + stats->cache_misses));
	for (size_t i = 0; i < KNOT_IOCTL_OPCODES; i++)
		if (stats->requests[i])
			printf("requests: %-30s %20" PRIu64 "\n", opcode_name(i, number), (uint64_t)stats->requests[i]);
}

static int print_json(const struct knot_ioctl_stats *stats)
{
	json_t *root = json_object();
	json_t *requests = json_object();
	char number[16];
	char *text;

	for (size_t i = 0; i < COUNT(flags); i++)
		json_object_set_new(root, flags[i].name, json_boolean((stats->flags & flags[i].flag) != 0));
	for (size_t i = 0; i < COUNT(fields); i++)
		json_object_set_new(root, fields[i].name, json_integer((json_int_t)value_of(stats, &fields[i])));
	for (size_t i = 0; i < KNOT_IOCTL_OPCODES; i++)
		if (stats->requests[i])
			json_object_set_new(requests, opcode_name(i, number),
					    json_integer((json_int_t)stats->requests[i]));
	json_object_set_new(root, "requests", requests);
	text = json_dumps(root, JSON_INDENT(2));
	json_decref(root);
	if (!text)
		return knot_ctl_fail("out of memory");
	puts(text);
	free(text);
	return KNOT_CTL_OK;
}

int knot_ctl_stats(const char *dir, bool json)
{
	struct knot_ioctl_stats stats = { 0 };
	int fd = knot_ctl_open(dir);
	bool done;

	if (fd < 0)
		return KNOT_CTL_FAILED;
	done = knot_ctl_ask(fd, dir, KNOT_IOC_STATS, &stats);
	close(fd);
	if (!done)
		return KNOT_CTL_FAILED;
	if (json)
		return print_json(&stats);
	print_table(&stats);
	return KNOT_CTL_OK;
}
