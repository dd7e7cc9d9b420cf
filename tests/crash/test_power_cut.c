/* SPDX-License-Identifier: MIT */
/*
 * Power cuts. Random operations run on a simulated device that remembers writes and flushes. Then, for every event and
 * for every kind of cut (sim_device.h), the state is recovered, checked by fsck and compared with the model; recovery
 * itself is cut, too.
 *
 * A failure prints one line with everything that replays it. Environment: KNOT_SEED (one run with this seed),
 * KNOT_CRASH_STATES (how many states each test is to try), KNOT_CRASH_EVENT and KNOT_CRASH_KIND (this cut only).
 */
#include "fsck/fsck.h"
#include "mkfs/format.h"
#include "tests/lib/driver.h"
#include "tests/lib/sim_device.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define VOLUME_BYTES (16u << 20)
#define LOG_BYTES    (1u << 20)
#define OPERATIONS   260

struct moment { /* after an operation */
	size_t events;
	size_t durable_op;
	struct dump dump;
	size_t *durable; /* by model inode */
};

struct run {
	bool strict;
	uint64_t seed;
	struct knot_device *base;
	struct knot_sim *sim;
	struct driver driver;
	struct moment *moments;
	size_t states, states_max;
	uint64_t random;
	size_t only_event;
	int only_kind;
};

static struct knot_volume *open_volume(struct run *run, struct knot_device *device, int *err)
{
	struct knot_volume_options options = {
		.device = device,
		.cache_bytes = 2u << 20,
		.log_buffer_bytes = 1u << 20,
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
	fprintf(stderr, "power cut: %s\n  replay: KNOT_SEED=%llu KNOT_CRASH_EVENT=%zu KNOT_CRASH_KIND=%d (%s)\n", what,
		(unsigned long long)run->seed, event, (int)kind, run->strict ? "data=strict" : "data=ordered");
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
	const char *why = "no moment in range";
	size_t done = 0, first, last;
	struct dump have;
	bool found = false;

	while (done < OPERATIONS && run->moments[done + 1].events <= event)
		done++;
	first = run->moments[done].durable_op;
	last = done < OPERATIONS ? done + 1 : done;
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

/* Recover what the cut left; sometimes cut the recovery as well. */
static int recover_and_check(struct run *run, struct knot_device *cut, size_t event, enum knot_cut kind, unsigned depth)
{
	struct knot_sim *sim = knot_sim_open(cut);
	struct knot_volume *volume;
	int err, result = 0;

	run->states++;
	assert_non_null(sim);
	volume = open_volume(run, knot_sim_device(sim), &err);
	if (!volume) {
		knot_sim_close(sim);
		return report(run, event, kind, "the volume does not open");
	}
	if (depth > 0 && knot_sim_events(sim) > 0) {
		size_t at = knot_test_random(&run->random) % (knot_sim_events(sim) + 1);
		enum knot_cut inner = (enum knot_cut)(knot_test_random(&run->random) % KNOT_CUT_KINDS);
		struct knot_device *again = knot_sim_cut(sim, at, inner, knot_test_random(&run->random));

		result = recover_and_check(run, again, event, kind, depth - 1);
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

static int cut_everywhere(struct run *run)
{
	size_t events = knot_sim_events(run->sim);

	for (size_t event = run->moments[0].events; event <= events && run->states < run->states_max; event++) {
		size_t unflushed = knot_sim_unflushed(run->sim, event);

		for (int kind = 0; kind < KNOT_CUT_KINDS; kind++) {
			struct knot_device *cut;
			int err;

			if (run->only_kind >= 0 && (kind != run->only_kind || event != run->only_event))
				continue;
			if ((unflushed == 0 && kind > KNOT_CUT_DROP) || (unflushed == 1 && kind == KNOT_CUT_REORDER))
				continue;
			run->random = run->seed ^ (event * 64 + (size_t)kind);
			cut = knot_sim_cut(run->sim, event, (enum knot_cut)kind, knot_test_random(&run->random));
			assert_non_null(cut);
			err = recover_and_check(run, cut, event, (enum knot_cut)kind,
						knot_test_random(&run->random) % 4 == 0);
			knot_device_close(cut);
			if (err)
				return err;
		}
	}
	return 0;
}

static void start_run(struct run *run)
{
	struct knot_mkfs_options options = { .log_bytes = LOG_BYTES, .time_sec = 1000000000 };
	static const uint8_t fixed[16] = { 1, 2, 3 };
	int err;

	options.uuid = options.salt = options.hash_seed = fixed;
	assert_int_equal(knot_device_open_memory(VOLUME_BYTES, &run->base), 0);
	assert_int_equal(knot_mkfs(run->base, &options, NULL), 0);
	run->sim = knot_sim_open(run->base);
	assert_non_null(run->sim);
	driver_init(&run->driver, run->seed);
	run->driver.strict = run->strict;
	driver_open(&run->driver, open_volume(run, knot_sim_device(run->sim), &err));
	assert_non_null(run->driver.volume);
	run->moments = calloc(OPERATIONS + 2, sizeof(*run->moments));
	assert_non_null(run->moments);
	take_moment(run, 0);
	run->moments[0].events = 0;
}

static void end_run(struct run *run)
{
	for (size_t i = 0; i <= OPERATIONS; i++) {
		dump_free(&run->moments[i].dump);
		free(run->moments[i].durable);
	}
	free(run->moments);
	driver_destroy(&run->driver);
	knot_sim_close(run->sim);
	knot_device_close(run->base);
}

/* One seed: record, then cut everywhere. Adds to *states. */
static int one_seed(bool strict, uint64_t seed, size_t states_max, size_t *states)
{
	const char *event = getenv("KNOT_CRASH_EVENT"), *kind = getenv("KNOT_CRASH_KIND");
	struct run run = { .strict = strict, .seed = seed, .states_max = states_max, .only_kind = -1 };
	int err = 0;

	if (event && kind) {
		run.only_event = strtoul(event, NULL, 10);
		run.only_kind = atoi(kind);
	}
	start_run(&run);
	for (size_t op = 1; op <= OPERATIONS && !err; op++) {
		err = driver_step(&run.driver);
		take_moment(&run, op);
		if (event && kind)
			printf("%zu: %s (events %zu, durable %zu)\n", op, run.driver.what, run.moments[op].events,
			       run.moments[op].durable_op);
	}
	if (!err)
		err = driver_compare(&run.driver);
	if (err)
		fprintf(stderr, "  replay: KNOT_SEED=%llu\n", (unsigned long long)seed);
	knot_volume_abandon(run.driver.volume);
	if (!err)
		err = cut_everywhere(&run);
	*states += run.states;
	end_run(&run);
	return err;
}

static void power_cuts(bool strict, uint64_t first_seed)
{
	const char *text = getenv("KNOT_CRASH_STATES");
	size_t wanted = text ? strtoul(text, NULL, 10) : driver_scaled(11000), states = 0;
	uint64_t seed = driver_seed(strict ? "power cut, data=strict" : "power cut, data=ordered", first_seed);
	unsigned seeds = 0;

	do {
		assert_int_equal(one_seed(strict, seed++, wanted - states, &states), 0);
		seeds++;
	} while (states < wanted && !getenv("KNOT_SEED"));
	printf("%zu cut states of %u runs, each recovered, checked and compared\n", states, seeds);
}

static void what_a_power_cut_leaves_is_a_prefix_of_the_operations(void **state)
{
	(void)state;
	power_cuts(false, 1);
}

static void with_data_strict_it_is_a_prefix_of_all_operations_writes_included(void **state)
{
	(void)state;
	power_cuts(true, 1000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_power_cut_leaves_is_a_prefix_of_the_operations),
		cmocka_unit_test(with_data_strict_it_is_a_prefix_of_all_operations_writes_included),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
