/* SPDX-License-Identifier: MIT */
/*
 * The n-th read, write or flush of the device fails, for every n, once or from then on. Nothing crashes or hangs, the
 * only errors are EIO, EROFS and EUCLEAN, and on the good medium there is afterwards what some prefix of the operations
 * left, with all that was durable.
 *
 * A failed flush, log write or home write stops the volume: nothing is written any more. A failed write of data that is
 * not mapped yet (data=ordered) costs the fsync of its files an EIO, and nothing else.
 *
 * A failure prints one line with what replays it. Environment: KNOT_SEED, KNOT_FAULT ("kind n sticky").
 */
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

#define VOLUME_BYTES (16u << 20)
#define LOG_BYTES    (1u << 20)
#define OPERATIONS   200
#define SEEDS        12u

enum kind { FAIL_READ, FAIL_WRITE, FAIL_FLUSH, KINDS };
static const char *const kind_names[KINDS] = { "read", "write", "flush" };

struct moment { /* after an operation */
	size_t durable_op;
	struct dump dump;
	size_t *durable; /* by model inode */
};

struct counts {
	size_t faults, stopped, files_with_eio, opens_refused;
};

struct run {
	bool strict, sticky;
	enum kind kind;
	size_t n;
	uint64_t seed;
	struct knot_sim *sim;
	struct driver driver;
	struct moment moments[OPERATIONS + 1];
	size_t op;                   /* the last one that was tried */
	size_t first;                /* what is there is what operations first to op left */
	size_t *at_least;            /* by model inode: the version that must be there */
	bool lost[MODEL_INODES_MAX]; /* its fsync said EIO */
	struct counts *counts;
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

static bool is_io_error(int err)
{
	return err == -EIO || err == -EROFS || err == -EUCLEAN;
}

static int report(const struct run *run, const char *what)
{
	fprintf(stderr, "after operation %zu, %s: %s\n", run->op, run->driver.what, what);
	fprintf(stderr, "  replay: KNOT_SEED=%llu KNOT_FAULT=\"%d %zu %d\" (%s, %s %zu%s)\n",
		(unsigned long long)run->seed, (int)run->kind, run->n, run->sticky,
		run->strict ? "data=strict" : "data=ordered", kind_names[run->kind], run->n,
		run->sticky ? " and all after it" : "");
	return -1;
}

static void take_moment(struct run *run)
{
	struct moment *moment = &run->moments[run->op];

	moment->durable_op = run->driver.durable_op;
	dump_model(&run->driver.model, &moment->dump);
	moment->durable = calloc(MODEL_INODES_MAX, sizeof(size_t));
	assert_non_null(moment->durable);
	for (unsigned i = 1; i < run->driver.model.next; i++)
		moment->durable[i] = run->driver.model.inodes[i].durable_version;
}

static void arm(struct run *run, struct knot_sim *sim)
{
	if (run->kind == FAIL_READ)
		knot_sim_fail_read(sim, run->n, run->sticky);
	else if (run->kind == FAIL_WRITE)
		knot_sim_fail_write(sim, run->n, run->sticky);
	else
		knot_sim_fail_flush(sim, run->n, run->sticky);
}

/* A stopped volume refuses changes and writes nothing. */
static int probe_stopped(struct run *run)
{
	size_t events = knot_sim_events(run->sim);
	struct knot_attr attr;
	size_t got;
	uint8_t byte;
	int err;

	run->counts->stopped++;
	err = knot_vfs_mknod(run->driver.volume, NULL, 1, "probe", 5, S_IFREG | 0600, 0, &attr);
	if (!is_io_error(err))
		return report(run, "a stopped volume creates files");
	for (unsigned i = 1; i < run->driver.model.next; i++) {
		const struct model_inode *inode = &run->driver.model.inodes[i];

		if (!inode->used || !S_ISREG(inode->mode) || !run->driver.inode_no[i])
			continue;
		err = knot_vfs_write(run->driver.volume, NULL, run->driver.inode_no[i], 0, 5, "probe", false);
		if (!is_io_error(err) && err != -ENOENT)
			return report(run, "a stopped volume takes writes");
		err = knot_vfs_read(run->driver.volume, NULL, run->driver.inode_no[i], 0, 1, &byte, &got);
		if (err && !is_io_error(err) && err != -ENOENT)
			return report(run, "reading a stopped volume");
		err = knot_vfs_fsync(run->driver.volume, NULL, run->driver.inode_no[i], false);
		if (err && !is_io_error(err) && err != -ENOENT)
			return report(run, "fsync of a stopped volume");
	}
	err = knot_vfs_syncfs(run->driver.volume, NULL);
	if (!is_io_error(err))
		return report(run, "syncfs of a stopped volume does not give EIO");
	(void)knot_volume_tick(run->driver.volume, true);
	return knot_sim_events(run->sim) == events ? 0 : report(run, "a stopped volume writes");
}

/* A volume that goes on: every file whose fsync succeeds is durable as it is. */
static int probe_going_on(struct run *run)
{
	int err;

	for (unsigned i = 1; i < run->driver.model.next; i++) {
		const struct model_inode *inode = &run->driver.model.inodes[i];
		size_t version = inode->version_count;

		if (!inode->used || !S_ISREG(inode->mode) || !run->driver.inode_no[i])
			continue;
		err = knot_vfs_fsync(run->driver.volume, NULL, run->driver.inode_no[i], false);
		if (err == -ENOENT) /* the operation that failed was to create it */
			continue;
		if (err && !is_io_error(err))
			return report(run, "fsync gives another error");
		if (err) {
			run->counts->files_with_eio += !run->lost[i];
			run->lost[i] = true;
			continue;
		}
		if (version > 1 && run->driver.fault && inode->versions[version - 1].op == run->op)
			version--; /* the write that failed is there or not */
		if (version)
			run->at_least[i] = version - 1;
	}
	err = knot_vfs_syncfs(run->driver.volume, NULL);
	if (err && !is_io_error(err))
		return report(run, "syncfs gives another error");
	if (!err)
		run->first = run->driver.fault ? run->op - 1 : run->op;
	return 0;
}

static bool files_are_explained(const struct run *run, const struct dump *have, const struct dump *at,
				const char **why)
{
	for (size_t i = 0; i < at->count; i++) {
		const struct dump_record *record = &have->records[i], *want = &at->records[i];
		const struct model_inode *inode = &run->driver.model.inodes[want->identity];
		size_t v = want->version_min > run->at_least[want->identity] ? want->version_min
									      : run->at_least[want->identity];

		if (!S_ISREG(want->mode) || run->lost[want->identity])
			continue;
		while (v < inode->version_count &&
		       (inode->versions[v].size != record->size || inode->versions[v].hash != record->hash))
			v++;
		if (v >= inode->version_count) {
			*why = want->path;
			return false;
		}
	}
	return true;
}

static int compare(struct run *run, struct knot_volume *volume)
{
	const char *why = "names or attributes";
	bool found = false;
	struct dump have;

	if (dump_volume(volume, &have)) {
		dump_free(&have);
		return report(run, "the volume can't be walked on the good medium");
	}
	for (size_t op = run->op + 1; op-- > run->first && !found;) {
		const struct dump *at = &run->moments[op].dump;

		if (run->strict)
			found = have.full_digest == at->full_digest;
		else
			found = have.names_digest == at->names_digest && have.count == at->count &&
				files_are_explained(run, &have, at, &why);
	}
	if (!found) {
		fprintf(stderr, "operations %zu to %zu do not explain what is there (%s):\n", run->first, run->op,
			why);
		dump_print_difference(&have, &run->moments[run->op].dump);
	}
	dump_free(&have);
	return found ? 0 : report(run, "what is there is not what some prefix left");
}

static int fsck_is_clean(struct knot_device *device)
{
	struct knot_fsck_options options = { 0 };
	struct knot_fsck_report found = { 0 };
	int err = knot_fsck_run(device, &options, &found);

	return err == 0 && found.problems == 0;
}

static int check_medium(struct run *run, enum knot_cut cut)
{
	struct knot_device *device = knot_sim_cut(run->sim, knot_sim_events(run->sim), cut, 1);
	struct knot_volume *volume;
	int err, result;

	assert_non_null(device);
	if (!fsck_is_clean(device)) {
		knot_device_close(device);
		return report(run, "fsck finds something before the next mount");
	}
	volume = open_volume(run, device, &err);
	if (!volume) {
		knot_device_close(device);
		return report(run, "the volume does not open on the good medium");
	}
	result = compare(run, volume);
	err = knot_volume_close(volume);
	if (!result && err)
		result = report(run, "the volume does not close on the good medium");
	if (!result && !fsck_is_clean(device))
		result = report(run, "fsck finds something");
	knot_device_close(device);
	return result;
}

static int after_the_fault(struct run *run)
{
	struct knot_volume *volume = run->driver.volume;
	bool stopped = knot_volume_is_read_only(volume);
	size_t events;
	int err, result;

	run->counts->faults++;
	if (run->driver.fault && run->driver.synced) {
		run->lost[run->driver.synced] = true;
		run->counts->files_with_eio++;
	}
	run->first = run->moments[run->op - 1].durable_op;
	run->at_least = run->moments[run->op - 1].durable;
	if (!stopped && (run->kind == FAIL_FLUSH || (run->kind == FAIL_WRITE && run->strict)))
		return report(run, "the volume has not stopped");
	result = stopped ? probe_stopped(run) : probe_going_on(run);
	if (result)
		return result;
	stopped = knot_volume_is_read_only(volume);
	events = knot_sim_events(run->sim);
	if (run->n % 2) {
		driver_release(&run->driver);
		err = knot_volume_close(volume);
		if (err && !is_io_error(err))
			result = report(run, "close gives another error");
		else if (!err && stopped)
			result = report(run, "a stopped volume closes as if nothing had been");
	} else {
		knot_volume_abandon(volume);
	}
	run->driver.volume = NULL;
	if (!result && stopped && knot_sim_events(run->sim) != events)
		result = report(run, "a stopped volume writes when it is closed");
	if (!result)
		result = check_medium(run, KNOT_CUT_DROP);
	return result ? result : check_medium(run, KNOT_CUT_KEEP);
}

static void start(struct run *run, struct knot_device *base)
{
	int err;

	run->sim = knot_sim_open(base);
	assert_non_null(run->sim);
	driver_init(&run->driver, run->seed);
	run->driver.strict = run->strict;
	run->driver.faults = true;
	run->driver.big_bytes = 60000;
	driver_open(&run->driver, open_volume(run, knot_sim_device(run->sim), &err));
	assert_non_null(run->driver.volume);
	take_moment(run);
}

static void end(struct run *run)
{
	if (run->driver.volume)
		knot_volume_abandon(run->driver.volume);
	for (size_t i = 0; i <= run->op; i++) {
		dump_free(&run->moments[i].dump);
		free(run->moments[i].durable);
	}
	driver_destroy(&run->driver);
	knot_sim_close(run->sim);
}

/* Unmount and mount: everything is durable, and nothing in the cache. */
static void mount_again(struct run *run)
{
	struct moment *moment = &run->moments[run->op];
	int err;

	driver_release(&run->driver);
	assert_int_equal(knot_volume_close(run->driver.volume), 0);
	driver_open(&run->driver, open_volume(run, knot_sim_device(run->sim), &err));
	assert_non_null(run->driver.volume);
	for (unsigned i = 1; i < run->driver.model.next; i++) {
		model_flushed(&run->driver.model, i);
		run->driver.model.inodes[i].durable_version = run->driver.model.inodes[i].version_min;
	}
	run->driver.durable_op = run->op;
	dump_free(&moment->dump);
	free(moment->durable);
	take_moment(run);
}

/* One run with one fault. `*hit`: it happened before the operations were over. */
static int one_fault(struct run *run, struct knot_device *base, bool *hit)
{
	int err = 0;

	start(run, base);
	while (run->op < OPERATIONS && !err && !knot_sim_has_failed(run->sim)) {
		run->op++;
		err = driver_step(&run->driver);
		take_moment(run);
		if (run->op == OPERATIONS / 2) {
			mount_again(run);
			arm(run, run->sim);
		}
	}
	*hit = knot_sim_has_failed(run->sim);
	if (err && !(*hit && is_io_error(err)))
		err = report(run, "volume and model disagree");
	else if (*hit)
		err = after_the_fault(run);
	end(run);
	return err;
}

static struct knot_device *fresh_base(void)
{
	struct knot_mkfs_options options = { .log_bytes = LOG_BYTES, .time_sec = 1000000000 };
	static const uint8_t fixed[16] = { 1, 2, 3 };
	struct knot_device *base;

	options.uuid = options.salt = options.hash_seed = fixed;
	assert_int_equal(knot_device_open_memory(VOLUME_BYTES, &base), 0);
	assert_int_equal(knot_mkfs(base, &options, NULL), 0);
	return base;
}

static int try_fault(bool strict, uint64_t seed, enum kind kind, size_t n, bool sticky, struct knot_device *base,
		     struct counts *counts, bool *hit)
{
	struct run *run = calloc(1, sizeof(*run));
	int err;

	assert_non_null(run);
	run->strict = strict;
	run->seed = seed;
	run->kind = kind;
	run->n = n;
	run->sticky = sticky;
	run->counts = counts;
	err = one_fault(run, base, hit);
	free(run);
	return err;
}

static void every_fault(bool strict, uint64_t first_seed)
{
	uint64_t seed = driver_seed(strict ? "I/O errors, data=strict" : "I/O errors, data=ordered", first_seed);
	struct knot_device *base = fresh_base();
	size_t stride = 100 / driver_scaled(100);
	const char *only = getenv("KNOT_FAULT");
	struct counts counts = { 0 };
	int kind = 0, sticky = 0;
	size_t n = 0;
	bool hit;

	if (only && sscanf(only, "%d %zu %d", &kind, &n, &sticky) == 3) {
		assert_int_equal(try_fault(strict, seed, (enum kind)kind, n, sticky, base, &counts, &hit), 0);
		knot_device_close(base);
		return;
	}
	for (unsigned i = 0; i < SEEDS; i++, seed++) {
		for (kind = 0; kind < KINDS; kind++) {
			for (n = 1 + seed % stride, hit = true; hit; n += stride) {
				for (sticky = 0; sticky < 2; sticky++)
					assert_int_equal(try_fault(strict, seed, (enum kind)kind, n, sticky, base,
								   &counts, &hit),
							 0);
			}
		}
	}
	printf("%zu faults: the volume stopped at %zu; %zu times an fsync said EIO while it went on\n", counts.faults,
	       counts.stopped, counts.files_with_eio);
	knot_device_close(base);
}

static void whatever_fails_the_rest_is_a_prefix(void **state)
{
	(void)state;
	every_fault(false, 1);
}

static void whatever_fails_the_rest_is_a_prefix_with_data_strict(void **state)
{
	(void)state;
	every_fault(true, 1000);
}

/* The device fails while the volume is recovered: refused or served, and complete on the good medium. */
static int recover_on_failing_device(struct run *run, bool *hit)
{
	struct knot_device *cut = knot_sim_cut(run->sim, knot_sim_events(run->sim), KNOT_CUT_KEEP, 1);
	struct knot_sim *sim = knot_sim_open(cut), *outer = run->sim;
	struct knot_volume *volume;
	int err, result = 0;

	assert_non_null(sim);
	arm(run, sim);
	volume = open_volume(run, knot_sim_device(sim), &err);
	*hit = knot_sim_has_failed(sim);
	if (volume)
		knot_volume_abandon(volume);
	else if (!is_io_error(err))
		result = report(run, "opening gives another error");
	run->counts->opens_refused += volume == NULL;
	run->counts->faults += *hit;
	run->sim = sim;
	if (!result)
		result = check_medium(run, KNOT_CUT_DROP);
	if (!result)
		result = check_medium(run, KNOT_CUT_KEEP);
	run->sim = outer;
	knot_sim_close(sim);
	knot_device_close(cut);
	return result;
}

static void recovery_on_a_failing_device_loses_nothing(void **state)
{
	struct knot_device *base = fresh_base();
	struct counts counts = { 0 };
	struct run *run = calloc(1, sizeof(*run));
	bool hit;

	(void)state;
	assert_non_null(run);
	run->seed = driver_seed("recovery with I/O errors", 5);
	run->counts = &counts;
	start(run, base);
	while (run->op < OPERATIONS) {
		run->op++;
		assert_int_equal(driver_step(&run->driver), 0);
		take_moment(run);
	}
	run->first = run->moments[run->op].durable_op;
	run->at_least = run->moments[run->op].durable;
	knot_volume_abandon(run->driver.volume);
	run->driver.volume = NULL;
	for (run->kind = FAIL_READ; run->kind < KINDS; run->kind++) {
		for (run->n = 1, hit = true; hit; run->n++) {
			run->sticky = run->n % 2;
			assert_int_equal(recover_on_failing_device(run, &hit), 0);
		}
	}
	printf("%zu faults in recovery, %zu times the volume was refused\n", counts.faults, counts.opens_refused);
	end(run);
	free(run);
	knot_device_close(base);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whatever_fails_the_rest_is_a_prefix),
		cmocka_unit_test(whatever_fails_the_rest_is_a_prefix_with_data_strict),
		cmocka_unit_test(recovery_on_a_failing_device_loses_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
