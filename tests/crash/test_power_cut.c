/* SPDX-License-Identifier: MIT */
/*
 * Power cuts. Random operations run on a simulated device that remembers writes and flushes, from the first mount of a
 * fresh volume on; at the end the daemon is killed and the volume mounted again. Then, for every event of all that and
 * for every kind of cut (sim_device.h), the state is recovered, checked by fsck and compared with the model; recovery
 * itself is cut, too. Several geometries: each brings other rules of the log to the test.
 *
 * A failure prints one line with everything that replays it. Environment: KNOT_SEED (one run with this seed),
 * KNOT_CRASH_STATES (how many states each test is to try), KNOT_CRASH_EVENT and KNOT_CRASH_KIND (this cut only).
 */
#include "fs/disk/super.h"
#include "fs/txn/txn.h"
#include "fsck/fsck.h"
#include "mkfs/format.h"
#include "tests/lib/driver.h"
#include "tests/lib/sim_device.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

struct geometry {
	const char *name;
	uint64_t volume_bytes, log_bytes;
	size_t cache_bytes, log_buffer_bytes, big_bytes;
	size_t operations;
	unsigned laps_min; /* of the ring, in each run */
	bool fills;        /* so little space that pages are used again at once */
};

static const struct geometry geometries[] = {
	{ "common", 16u << 20, 1u << 20, 2u << 20, 1u << 20, 200000, 260, 0, false },
	{ "a ring that wraps", 24u << 20, 860u << 10, 2u << 20, 1u << 20, 30000, 2000, 2, false },
	{ "hardly any space", 16u << 20, 1u << 20, 2u << 20, 1u << 20, 100000, 400, 0, true },
	{ "large files", 64u << 20, 4u << 20, 16u << 20, 4u << 20, 700000, 160, 0, false },
};
#define FREE_PAGES 250u /* when it fills */
#define GEOMETRIES (sizeof(geometries) / sizeof(geometries[0]))

struct moment { /* after an operation */
	size_t events;
	size_t durable_op;
	struct dump dump;
	size_t *durable; /* by model inode */
};

struct run {
	const struct geometry *geometry;
	bool strict;
	uint64_t seed;
	struct knot_device *base;
	struct knot_sim *sim;
	struct driver driver;
	struct moment *moments;
	size_t states, states_max;
	uint64_t chance; /* of 2^16: that a cut is tried */
	uint64_t random;
	size_t only_event;
	int only_kind;
};

static struct knot_volume *open_volume(struct run *run, struct knot_device *device, int *err)
{
	struct knot_volume_options options = {
		.device = device,
		.cache_bytes = run->geometry->cache_bytes,
		.log_buffer_bytes = run->geometry->log_buffer_bytes,
		.commit_policy = 1,
		.strict = run->strict,
		.now = driver_now,
		.now_arg = &run->driver,
	};
	struct knot_volume *volume = NULL;

	*err = knot_volume_open(&options, &volume);
	return volume;
}

static void take_moment(struct run *run, size_t op)
{
	struct moment *moment = &run->moments[op];

	moment->events = knot_sim_events(run->sim);
	moment->durable_op = run->driver.durable_op;
	dump_model(&run->driver.model, &moment->dump);
	moment->durable = calloc(MODEL_INODES_MAX, sizeof(size_t));
	assert_non_null(moment->durable);
	for (unsigned i = 1; i < run->driver.model.next; i++)
		moment->durable[i] = run->driver.model.inodes[i].durable_version;
}

static int report(struct run *run, size_t event, enum knot_cut kind, const char *what)
{
	fprintf(stderr, "power cut: %s\n  replay: KNOT_SEED=%llu KNOT_CRASH_EVENT=%zu KNOT_CRASH_KIND=%d (%s, %s)\n",
		what, (unsigned long long)run->seed, event, (int)kind, run->geometry->name,
		run->strict ? "data=strict" : "data=ordered");
	return -1;
}

static int fsck_is_clean(struct knot_device *device)
{
	struct knot_fsck_options options = { 0 };
	struct knot_fsck_report report = { 0 };
	int err = knot_fsck_run(device, &options, &report);

	return err == 0 && report.problems == 0;
}

/* The recovered volume must be explained by some moment between what was durable and what was begun. */
static int compare(struct run *run, struct knot_volume *volume, size_t event, enum knot_cut kind)
{
	const size_t operations = run->geometry->operations;
	const char *why = "no moment in range";
	size_t done = 0, first, last;
	struct dump have;
	bool found = false;

	while (done < operations && run->moments[done + 1].events <= event)
		done++;
	first = run->moments[done].durable_op;
	last = done < operations ? done + 1 : done;
	if (dump_volume(volume, &have)) {
		dump_free(&have);
		return report(run, event, kind, "the recovered volume can't be walked");
	}
	for (size_t op = last + 1; op-- > first && !found;) {
		if (run->strict)
			found = have.full_digest == run->moments[op].dump.full_digest;
		else
			found = dump_explains_ordered(&have, &run->moments[op].dump, &run->driver.model,
						      run->moments[done].durable, &why);
	}
	if (!found) {
		fprintf(stderr, "operations %zu to %zu do not explain what is there (%s); against operation %zu:\n",
			first, last, why, done);
		dump_print_difference(&have, &run->moments[done].dump);
	}
	dump_free(&have);
	return found ? 0
		     : report(run, event, kind, "the volume is not what it was after some prefix of the operations");
}

/*
 * Recover what the cut left; sometimes cut the recovery as well. If it was no power cut but a killed daemon, what it
 * wrote is still unflushed when the next one recovers.
 */
static int recover_and_check(struct run *run, struct knot_device *cut, size_t event, enum knot_cut kind, bool killed,
			     unsigned depth)
{
	struct knot_sim *sim = knot_sim_open(cut);
	struct knot_volume *volume;
	int err, result = 0;

	run->states++;
	assert_non_null(sim);
	if (killed)
		knot_sim_replay_unflushed(run->sim, event, knot_sim_device(sim));
	volume = open_volume(run, knot_sim_device(sim), &err);
	if (!volume) {
		knot_sim_close(sim);
		return report(run, event, kind, "the volume does not open");
	}
	if (depth > 0 && knot_sim_events(sim) > 0) {
		size_t at = knot_test_random(&run->random) % (knot_sim_events(sim) + 1);
		enum knot_cut inner = (enum knot_cut)(knot_test_random(&run->random) % KNOT_CUT_KINDS);
		struct knot_device *again = knot_sim_cut(sim, at, inner, knot_test_random(&run->random));

		result = recover_and_check(run, again, event, kind, false, depth - 1);
		knot_device_close(again);
	}
	if (!result)
		result = compare(run, volume, event, kind);
	if (!result && knot_volume_close(volume))
		result = report(run, event, kind, "the recovered volume does not close");
	else if (result)
		knot_volume_abandon(volume);
	if (!result && !fsck_is_clean(knot_sim_device(sim)))
		result = report(run, event, kind, "fsck finds something");
	knot_sim_close(sim);
	return result;
}

/* Cuts that differ from others. */
static bool is_distinct(const struct run *run, size_t event, int kind)
{
	size_t unflushed = knot_sim_unflushed(run->sim, event);

	return unflushed == 0 ? kind == KNOT_CUT_DROP : unflushed > 1 || kind != KNOT_CUT_REORDER;
}

static bool is_wanted(struct run *run, size_t event, int kind)
{
	if (run->only_kind >= 0)
		return kind == run->only_kind && event == run->only_event;
	return is_distinct(run, event, kind) && (knot_test_random(&run->random) & 0xffff) < run->chance;
}

/* If there are more cuts than may be tried, a random choice from the whole run. */
static void set_chance(struct run *run)
{
	size_t count = 0;

	for (size_t event = run->moments[0].events; event <= knot_sim_events(run->sim); event++)
		for (int kind = 0; kind < KNOT_CUT_KINDS; kind++)
			count += is_distinct(run, event, kind);
	count += count / 4; /* recoveries that are cut, too, count twice */
	run->chance = count > run->states_max ? (run->states_max << 16) / count : 1u << 16;
}

static int cut_everywhere(struct run *run)
{
	size_t events = knot_sim_events(run->sim);

	set_chance(run);
	for (size_t event = run->moments[0].events; event <= events; event++) {
		for (int kind = 0; kind < KNOT_CUT_KINDS; kind++) {
			bool killed = kind == KNOT_CUT_KEEP;
			struct knot_device *cut;
			int err;

			run->random = run->seed ^ (event * 64 + (size_t)kind);
			if (!is_wanted(run, event, kind))
				continue;
			cut = knot_sim_cut(run->sim, event, killed ? KNOT_CUT_DROP : (enum knot_cut)kind,
					   knot_test_random(&run->random));
			assert_non_null(cut);
			err = recover_and_check(run, cut, event, (enum knot_cut)kind, killed,
						killed || knot_test_random(&run->random) % 4 == 0);
			knot_device_close(cut);
			if (err)
				return err;
		}
	}
	return 0;
}

/* A file without a name takes nearly all pages: it is in no dump, and a mount after a cut frees it. */
static void fill(struct run *run)
{
	const struct knot_attr wanted = { .mtime = run->driver.model.now, .ctime = run->driver.model.now };
	struct knot_volume *volume = run->driver.volume;
	struct knot_statfs space;
	struct knot_attr attr;
	uint64_t inode, at = 0;
	char bytes[16384];

	memset(bytes, 'f', sizeof(bytes));
	assert_int_equal(knot_vfs_mknod(volume, NULL, 1, "filler", 6, S_IFREG | 0600, 0, &attr), 0);
	inode = attr.inode;
	assert_int_equal(knot_vfs_unlink(volume, NULL, 1, "filler", 6), 0);
	do {
		assert_int_equal(knot_vfs_write(volume, NULL, inode, at, sizeof(bytes), bytes, false), 0);
		assert_int_equal(knot_vfs_statfs(volume, NULL, &space), 0);
		at += sizeof(bytes);
	} while (space.pages_available > FREE_PAGES);
	assert_int_equal(knot_vfs_setattr(volume, NULL, 1, KNOT_SET_MTIME | KNOT_SET_CTIME, &wanted, &attr), 0);
	assert_int_equal(knot_vfs_fsync(volume, NULL, inode, false), 0);
	assert_int_equal(knot_vfs_syncfs(volume, NULL), 0);
}

static void start_run(struct run *run)
{
	struct knot_mkfs_options options = { .log_bytes = run->geometry->log_bytes, .time_sec = 1000000000 };
	static const uint8_t fixed[16] = { 1, 2, 3 };
	int err;

	options.uuid = options.salt = options.hash_seed = fixed;
	assert_int_equal(knot_device_open_memory(run->geometry->volume_bytes, &run->base), 0);
	assert_int_equal(knot_mkfs(run->base, &options, NULL), 0);
	run->sim = knot_sim_open(run->base);
	assert_non_null(run->sim);
	driver_init(&run->driver, run->seed);
	run->driver.strict = run->strict;
	run->driver.fills = run->geometry->fills;
	run->driver.big_bytes = run->geometry->big_bytes;
	driver_open(&run->driver, open_volume(run, knot_sim_device(run->sim), &err));
	assert_non_null(run->driver.volume);
	run->moments = calloc(run->geometry->operations + 2, sizeof(*run->moments));
	assert_non_null(run->moments);
	if (run->geometry->fills)
		fill(run);
	take_moment(run, 0);
	if (!run->geometry->fills)
		run->moments[0].events = 0;
}

static void end_run(struct run *run)
{
	for (size_t i = 0; i <= run->geometry->operations; i++) {
		dump_free(&run->moments[i].dump);
		free(run->moments[i].durable);
	}
	free(run->moments);
	driver_destroy(&run->driver);
	knot_sim_close(run->sim);
	knot_device_close(run->base);
}

/* No slot is written while the one before it may not be durable: else a cut could leave none. */
static int check_slots(struct run *run)
{
	struct knot_super super;
	bool read_only, unflushed = false;
	uint64_t first_at;

	assert_int_equal(knot_super_read(run->base, NULL, &super, &read_only), 0);
	first_at = super.segments[0].page_no * KNOT_PAGE_BYTES;
	for (size_t event = 0; event < knot_sim_events(run->sim); event++) {
		uint64_t at;
		size_t len;

		if (!knot_sim_write_at(run->sim, event, &at, &len)) {
			unflushed = false;
		} else if (at >= first_at && at < first_at + KNOT_LOG_SLOTS * KNOT_PAGE_BYTES) {
			if (unflushed)
				return report(run, event, KNOT_CUT_DROP, "two slots are written without a flush");
			unflushed = true;
		}
	}
	return 0;
}

/* The daemon is killed: what it wrote is with the device, flushed or not. The next one recovers. */
static void kill_and_recover(struct run *run)
{
	struct knot_volume *volume;
	int err;

	knot_volume_abandon(run->driver.volume);
	volume = open_volume(run, knot_sim_device(run->sim), &err);
	assert_non_null(volume);
	knot_volume_abandon(volume);
}

static int check_laps(struct run *run)
{
	struct knot_txn_stats stats;

	knot_volume_stats(run->driver.volume, &stats);
	if (stats.lsn >= run->geometry->laps_min * stats.ring_bytes)
		return 0;
	fprintf(stderr, "the log did not lap the ring: %llu bytes of %llu\n", (unsigned long long)stats.lsn,
		(unsigned long long)stats.ring_bytes);
	return -EPROTO;
}

static int record_operations(struct run *run, bool verbose)
{
	int err = 0;

	for (size_t op = 1; op <= run->geometry->operations && !err; op++) {
		err = driver_step(&run->driver);
		take_moment(run, op);
		if (verbose)
			printf("%zu: %s (events %zu, durable %zu)\n", op, run->driver.what, run->moments[op].events,
			       run->moments[op].durable_op);
	}
	if (!err)
		err = driver_compare(&run->driver);
	return err ? err : check_laps(run);
}

/* One seed: record, then cut everywhere. Adds to *states. */
static int one_seed(const struct geometry *geometry, bool strict, uint64_t seed, size_t states_max, size_t *states)
{
	const char *event = getenv("KNOT_CRASH_EVENT"), *kind = getenv("KNOT_CRASH_KIND");
	struct run run = {
		.geometry = geometry, .strict = strict, .seed = seed, .states_max = states_max, .only_kind = -1
	};
	int err;

	if (event && kind) {
		run.only_event = strtoul(event, NULL, 10);
		run.only_kind = atoi(kind);
	}
	start_run(&run);
	err = record_operations(&run, event && kind);
	if (err)
		fprintf(stderr, "  replay: KNOT_SEED=%llu (%s)\n", (unsigned long long)seed, geometry->name);
	kill_and_recover(&run);
	if (!err)
		err = check_slots(&run);
	if (!err)
		err = cut_everywhere(&run);
	*states += run.states;
	end_run(&run);
	return err;
}

static void power_cuts(const struct geometry *geometry, bool strict, uint64_t first_seed)
{
	const char *text = getenv("KNOT_CRASH_STATES");
	size_t wanted = text ? strtoul(text, NULL, 10) : driver_scaled(3500), states = 0;
	uint64_t seed = driver_seed(geometry->name, first_seed);
	unsigned seeds = 0;

	do {
		assert_int_equal(one_seed(geometry, strict, seed++, wanted - states, &states), 0);
		seeds++;
	} while (states < wanted && !getenv("KNOT_SEED"));
	printf("%s: %zu cut states of %u runs, each recovered, checked and compared\n", geometry->name, states, seeds);
}

static void what_a_power_cut_leaves_is_a_prefix_of_the_operations(void **state)
{
	(void)state;
	for (size_t i = 0; i < GEOMETRIES; i++)
		power_cuts(&geometries[i], false, 1 + 100 * i);
}

static void with_data_strict_it_is_a_prefix_of_all_operations_writes_included(void **state)
{
	(void)state;
	for (size_t i = 0; i < GEOMETRIES; i++)
		power_cuts(&geometries[i], true, 1001 + 100 * i);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_power_cut_leaves_is_a_prefix_of_the_operations),
		cmocka_unit_test(with_data_strict_it_is_a_prefix_of_all_operations_writes_included),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
