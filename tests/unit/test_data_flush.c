/* SPDX-License-Identifier: MIT */
/* Flushing file data: who flushes what, what is never forgotten, what never waits for ever. */
#include "tests/unit/vfs_fixture.h"

#include "tests/lib/sim_device.h"

#include <pthread.h>
#include <stdatomic.h>

#define SMALL_LOG   (1u << 20)
#define WRITE_BYTES 10000u

static void make(struct fixture *fixture, uint64_t volume_bytes, bool strict, bool threads)
{
	struct knot_mkfs_options mkfs = { .time_sec = 1000, .log_bytes = SMALL_LOG };

	memset(fixture, 0, sizeof(*fixture));
	fixture->clock_sec = 2000;
	fixture->messages = (struct knot_messages){ .emit = fixture_emit, .arg = fixture };
	assert_int_equal(knot_device_open_memory(volume_bytes, &fixture->device), 0);
	assert_int_equal(knot_mkfs(fixture->device, &mkfs, NULL), 0);
	fixture->options = (struct knot_volume_options){
		.device = fixture->device,
		.messages = &fixture->messages,
		.cache_bytes = 4u << 20,
		.log_buffer_bytes = 1u << 20,
		.commit_policy = 1,
		.strict = strict,
		.threads = threads,
		.now = threads ? NULL : fixture_now,
		.now_arg = fixture,
	};
	fixture_open(fixture);
}

static uint64_t create(struct fixture *fixture, const char *name)
{
	struct knot_attr attr;

	assert_int_equal(knot_vfs_mknod(fixture->volume, NULL, ROOT, name, strlen(name), S_IFREG | 0644, 0, &attr), 0);
	return attr.inode;
}

static void write_at(struct fixture *fixture, uint64_t inode, uint64_t at, size_t len, uint8_t byte)
{
	uint8_t *bytes = malloc(len);

	assert_non_null(bytes);
	memset(bytes, byte, len);
	assert_int_equal(knot_vfs_write(fixture->volume, NULL, inode, at, len, bytes, false), 0);
	free(bytes);
}

/* Every second page, so that each page becomes an extent of its own. */
static void write_fragmented(struct fixture *fixture, uint64_t inode, unsigned extents)
{
	for (uint64_t i = 0; i < extents; i++)
		write_at(fixture, inode, i * 8192, 4096, (uint8_t)i);
	assert_int_equal(knot_vfs_fsync(fixture->volume, NULL, inode, false), 0);
}

static void truncate_to(struct fixture *fixture, uint64_t inode, uint64_t size)
{
	struct knot_attr wanted = { .size = size }, attr;

	assert_int_equal(knot_vfs_setattr(fixture->volume, NULL, inode, KNOT_SET_SIZE, &wanted, &attr), 0);
}

static uint8_t byte_at(struct fixture *fixture, uint64_t inode, uint64_t at)
{
	uint8_t byte = 0;
	size_t got = 0;

	assert_int_equal(knot_vfs_read(fixture->volume, NULL, inode, at, 1, &byte, &got), 0);
	assert_int_equal(got, 1);
	return byte;
}

static void end(struct fixture *fixture)
{
	assert_int_equal(knot_volume_close(fixture->volume), 0);
	knot_device_close(fixture->device);
}

static void unmounting_keeps_writes_that_nothing_was_logged_with(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct fixture fixture;
		uint64_t inode;

		make(&fixture, 32u << 20, strict, false);
		inode = create(&fixture, "file");
		write_at(&fixture, inode, 0, WRITE_BYTES, 'x');
		assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
		write_at(&fixture, inode, 0, WRITE_BYTES, 'y');
		assert_int_equal(knot_volume_close(fixture.volume), 0);
		fixture_open(&fixture);
		assert_int_equal(byte_at(&fixture, inode, 0), 'y');
		end(&fixture);
	}
}

static void the_clock_flushes_writes_that_nothing_was_logged_with(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct fixture fixture;
		uint64_t inode;

		make(&fixture, 32u << 20, strict, false);
		inode = create(&fixture, "file");
		write_at(&fixture, inode, 0, WRITE_BYTES, 'x');
		assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
		write_at(&fixture, inode, 0, WRITE_BYTES, 'y');
		fixture.clock_sec += 100;
		assert_int_equal(knot_volume_tick(fixture.volume, false), 0);
		knot_volume_abandon(fixture.volume);
		fixture_open(&fixture);
		assert_int_equal(byte_at(&fixture, inode, 0), 'y');
		end(&fixture);
	}
}

static void a_clock_that_was_set_back_delays_no_flush(void **state)
{
	struct fixture fixture;
	uint64_t inode;

	(void)state;
	make(&fixture, 32u << 20, false, false);
	inode = create(&fixture, "file");
	fixture.clock_sec = 1000000;
	write_at(&fixture, inode, 0, WRITE_BYTES, 'y');
	fixture.clock_sec = 5000;
	assert_int_equal(knot_volume_tick(fixture.volume, false), 0);
	knot_volume_abandon(fixture.volume);
	fixture_open(&fixture);
	assert_int_equal(byte_at(&fixture, inode, 0), 'y');
	end(&fixture);
}

static void a_file_of_many_extents_that_is_cut_to_0_gives_its_pages_back(void **state)
{
	struct knot_statfs before, after;
	struct fixture fixture;
	uint64_t inode;

	(void)state;
	make(&fixture, 64u << 20, false, false);
	inode = create(&fixture, "file");
	assert_int_equal(knot_vfs_statfs(fixture.volume, NULL, &before), 0);
	write_fragmented(&fixture, inode, 1000);
	truncate_to(&fixture, inode, 0);
	write_at(&fixture, inode, 0, WRITE_BYTES, 'n');
	assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
	assert_int_equal(knot_volume_tick(fixture.volume, true), 0);
	assert_int_equal(knot_vfs_statfs(fixture.volume, NULL, &after), 0);
	assert_true(after.pages_free + 100 > before.pages_free);
	assert_int_equal(byte_at(&fixture, inode, 0), 'n');
	end(&fixture);
}

static void a_full_volume_finds_what_was_cut_to_0(void **state)
{
	struct fixture fixture;
	uint64_t inode, other, pages = 0;
	uint8_t bytes[4096] = { 1 };

	(void)state;
	make(&fixture, 16u << 20, false, false);
	inode = create(&fixture, "file");
	other = create(&fixture, "other");
	write_fragmented(&fixture, inode, 1500);
	truncate_to(&fixture, inode, 0);
	assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
	while (!knot_vfs_write(fixture.volume, NULL, other, pages * 4096, 4096, bytes, false))
		pages++;
	assert_true(pages > 2500);
	end(&fixture);
}

static void a_long_truncation_does_not_wait_for_a_batch_that_waits_for_it(void **state)
{
	struct fixture fixture;
	uint64_t inode;

	(void)state;
	make(&fixture, 64u << 20, true, false);
	inode = create(&fixture, "file");
	write_fragmented(&fixture, inode, 4000);
	truncate_to(&fixture, inode, 5000);
	write_at(&fixture, inode, 5000, 10, 'n');
	assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
	knot_volume_abandon(fixture.volume);
	fixture_open(&fixture);
	assert_int_equal(byte_at(&fixture, inode, 5009), 'n');
	end(&fixture);
}

static void an_error_waits_for_its_fsync_though_the_inode_was_not_used_for_long(void **state)
{
	struct knot_sim *sim;
	struct fixture fixture;
	uint64_t inode;

	(void)state;
	make(&fixture, 64u << 20, false, false);
	assert_int_equal(knot_volume_close(fixture.volume), 0);
	sim = knot_sim_open(fixture.device);
	fixture.options.device = knot_sim_device(sim);
	fixture.options.cache_bytes = 1u << 20;
	fixture_open(&fixture);
	inode = create(&fixture, "file");
	knot_vfs_forget(fixture.volume, NULL, inode, 1);
	for (uint64_t i = 0; i < 20; i++)
		write_at(&fixture, inode, i * WRITE_BYTES, WRITE_BYTES, 'x');
	knot_sim_fail_write(sim, 1, false);
	assert_int_not_equal(knot_vfs_syncfs(fixture.volume, NULL), 0);
	for (unsigned i = 0; i < 2000; i++) {
		char name[16];

		snprintf(name, sizeof(name), "%u", i);
		knot_vfs_forget(fixture.volume, NULL, create(&fixture, name), 1);
	}
	assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), -EIO);
	assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
	assert_int_equal(knot_volume_close(fixture.volume), 0);
	knot_sim_close(sim);
	knot_device_close(fixture.device);
}

struct writer {
	struct fixture *fixture;
	uint64_t inode;
	atomic_bool stop;
};

static void *write_without_end(void *arg)
{
	struct writer *writer = arg;
	uint8_t bytes[4096] = { 7 };

	for (uint64_t i = 0; !atomic_load(&writer->stop); i++)
		assert_int_equal(knot_vfs_write(writer->fixture->volume, NULL, writer->inode, i % 1000 * 4096, 4096,
						bytes, false),
				 0);
	return NULL;
}

static void a_sync_ends_while_others_go_on_writing(void **state)
{
	(void)state;
	for (int strict = 0; strict < 2; strict++) {
		struct fixture fixture;
		struct writer writer;
		pthread_t thread;

		make(&fixture, 64u << 20, strict, true);
		writer = (struct writer){ .fixture = &fixture, .inode = create(&fixture, "file") };
		assert_int_equal(pthread_create(&thread, NULL, write_without_end, &writer), 0);
		for (int i = 0; i < 10; i++) {
			assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, writer.inode, false), 0);
			assert_int_equal(knot_vfs_syncfs(fixture.volume, NULL), 0);
		}
		atomic_store(&writer.stop, true);
		pthread_join(thread, NULL);
		end(&fixture);
	}
}

static void what_is_written_after_a_cut_to_0_outlives_the_freeing_of_the_old_extents(void **state)
{
	struct fixture fixture;
	uint64_t inode;

	(void)state;
	for (unsigned strict = 0; strict < 2; strict++) {
		make(&fixture, 64u << 20, strict, false);
		inode = create(&fixture, "file");
		write_fragmented(&fixture, inode, 300);
		truncate_to(&fixture, inode, 0);
		write_at(&fixture, inode, 0, 100, 'n'); /* so little that it becomes an inline item */
		assert_int_equal(knot_vfs_fsync(fixture.volume, NULL, inode, false), 0);
		assert_int_equal(byte_at(&fixture, inode, 0), 'n');
		assert_int_equal(knot_volume_tick(fixture.volume, true), 0);
		assert_int_equal(byte_at(&fixture, inode, 99), 'n');
		fixture_reopen(&fixture);
		assert_int_equal(byte_at(&fixture, number_of(&fixture, ROOT, "file"), 99), 'n');
		end(&fixture);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(unmounting_keeps_writes_that_nothing_was_logged_with),
		cmocka_unit_test(the_clock_flushes_writes_that_nothing_was_logged_with),
		cmocka_unit_test(a_clock_that_was_set_back_delays_no_flush),
		cmocka_unit_test(a_file_of_many_extents_that_is_cut_to_0_gives_its_pages_back),
		cmocka_unit_test(a_full_volume_finds_what_was_cut_to_0),
		cmocka_unit_test(what_is_written_after_a_cut_to_0_outlives_the_freeing_of_the_old_extents),
		cmocka_unit_test(a_long_truncation_does_not_wait_for_a_batch_that_waits_for_it),
		cmocka_unit_test(an_error_waits_for_its_fsync_though_the_inode_was_not_used_for_long),
		cmocka_unit_test(a_sync_ends_while_others_go_on_writing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
