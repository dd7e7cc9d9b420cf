/* SPDX-License-Identifier: MIT */
/*
 * Random operations against the model, through the library: every return code, and every so often the whole tree, is
 * compared; the volume is closed or abandoned and opened again in between.
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

#define ROUND_STEPS   1500
#define COMPARE_EVERY 100
#define REOPEN_EVERY  300

static struct knot_volume *open_volume(struct driver *driver, struct knot_device *device, bool strict, bool threads)
{
	struct knot_volume_options options = {
		.device = device,
		.cache_bytes = 2u << 20,
		.log_buffer_bytes = 1u << 20,
		.commit_policy = 1,
		.strict = strict,
		.threads = threads,
		.now = driver_now,
		.now_arg = driver,
	};
	struct knot_volume *volume = NULL;

	assert_int_equal(knot_volume_open(&options, &volume), 0);
	return volume;
}

static void check(struct knot_device *device)
{
	struct knot_fsck_options options = { .scrub = true };
	struct knot_fsck_report report = { 0 };

	assert_int_equal(knot_fsck_run(device, &options, &report), 0);
	assert_int_equal(report.problems, 0);
}

static void one_round(uint64_t seed, bool strict, bool threads)
{
	struct knot_mkfs_options mkfs = { .log_bytes = 1u << 20, .time_sec = 1000000000 };
	static struct driver driver;
	struct knot_device *device;

	assert_int_equal(knot_device_open_memory(48u << 20, &device), 0);
	assert_int_equal(knot_mkfs(device, &mkfs, NULL), 0);
	driver_init(&driver, seed);
	driver.strict = strict;
	driver_open(&driver, open_volume(&driver, device, strict, threads));
	for (size_t step = 1; step <= ROUND_STEPS; step++) {
		if (driver_step(&driver) || (step % COMPARE_EVERY == 0 && driver_compare(&driver)))
			fail_msg("replay: KNOT_SEED=%llu (strict %d, threads %d)", (unsigned long long)seed, strict,
				 threads);
		if (step % REOPEN_EVERY)
			continue;
		assert_int_equal(knot_vfs_syncfs(driver.volume, NULL), 0);
		driver_release(&driver);
		if (step % (2 * REOPEN_EVERY))
			knot_volume_abandon(driver.volume);
		else
			assert_int_equal(knot_volume_close(driver.volume), 0);
		check(device);
		driver_open(&driver, open_volume(&driver, device, strict, threads));
		if (driver_compare(&driver))
			fail_msg("after opening again; replay: KNOT_SEED=%llu (strict %d, threads %d)",
				 (unsigned long long)seed, strict, threads);
	}
	driver_release(&driver);
	assert_int_equal(knot_volume_close(driver.volume), 0);
	check(device);
	driver_destroy(&driver);
	knot_device_close(device);
}

static void rounds(const char *name, uint64_t first_seed, bool strict, bool threads)
{
	uint64_t seed = driver_seed(name, first_seed);
	size_t count = getenv("KNOT_SEED") ? 1 : driver_scaled(10);

	for (size_t i = 0; i < count; i++)
		one_round(seed + i, strict, threads);
}

static void volume_and_model_agree(void **state)
{
	(void)state;
	rounds("model, data=ordered", 1, false, false);
}

static void volume_and_model_agree_with_data_strict(void **state)
{
	(void)state;
	rounds("model, data=strict", 100, true, false);
}

static void volume_and_model_agree_with_background_threads(void **state)
{
	(void)state;
	rounds("model, threads", 200, false, true);
	rounds("model, threads, data=strict", 300, true, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(volume_and_model_agree),
		cmocka_unit_test(volume_and_model_agree_with_data_strict),
		cmocka_unit_test(volume_and_model_agree_with_background_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
