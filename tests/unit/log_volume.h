/* SPDX-License-Identifier: MIT */
/*
 * For the tests of log and recovery: a small volume on a device that keeps every write and flush, so that a test
 * can ask what a power cut at any of them could have left behind.
 */
#ifndef KNOT_TESTS_LOG_VOLUME_H
#define KNOT_TESTS_LOG_VOLUME_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/disk/device.h"
#include "fs/txn/log_int.h"
#include "fs/txn/lsn_int.h"
#include "fs/txn/recovery.h"
#include "fs/util/endian.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define VOLUME_PAGES 512u
#define VOLUME_BYTES (VOLUME_PAGES * KNOT_PAGE_BYTES)
#define FIRST_PAGE 200u              /* pages from here on are the tests' */

/* ---- the device ------------------------------------------------------------------------------------------------ */

struct recorded {
	uint64_t at_bytes;
	size_t len_bytes;            /* 0: a flush */
	uint8_t *data;
};

struct recorder {
	struct knot_device device;
	pthread_mutex_t mutex;
	uint8_t *base;               /* at the start */
	uint8_t *now;
	struct recorded *ops;
	size_t count;
	size_t capacity;
	size_t fail_from;            /* this operation and those after it fail; 0 none */
	bool failing_once;
	uint64_t flushes;
	void (*on_write)(void *arg, uint64_t at_bytes, const uint8_t *data, size_t len_bytes);
	void *arg;
};

static inline struct recorder *recorder_of(struct knot_device *device)
{
	return (struct recorder *)device;
}

static inline int recorder_read(struct knot_device *device, void *buffer, size_t len_bytes, uint64_t at_bytes)
{
	struct recorder *recorder = recorder_of(device);

	assert_true(at_bytes + len_bytes <= VOLUME_BYTES);
	assert_int_equal(len_bytes % 512, 0);
	pthread_mutex_lock(&recorder->mutex);
	memcpy(buffer, recorder->now + at_bytes, len_bytes);
	pthread_mutex_unlock(&recorder->mutex);
	return 0;
}

/* Room for one more; true if it is to fail. The mutex is held. */
static inline bool recorder_next(struct recorder *recorder)
{
	if (recorder->fail_from && recorder->count + 1 >= recorder->fail_from)
		return true;
	if (recorder->count == recorder->capacity) {
		recorder->capacity = recorder->capacity ? recorder->capacity * 2 : 64;
		recorder->ops = reallocarray(recorder->ops, recorder->capacity, sizeof(recorder->ops[0]));
		assert_non_null(recorder->ops);
	}
	return false;
}

static inline int recorder_writev(struct knot_device *device, const struct iovec *iov, int iov_count, uint64_t at_bytes)
{
	struct recorder *recorder = recorder_of(device);
	size_t len = 0;
	uint8_t *data;
	int i;

	for (i = 0; i < iov_count; i++) {
		assert_int_equal((uintptr_t)iov[i].iov_base % 4096, 0);
		assert_int_equal(iov[i].iov_len % 4096, 0);
		len += iov[i].iov_len;
	}
	assert_true(len > 0 && at_bytes % 4096 == 0 && at_bytes + len <= VOLUME_BYTES);
	data = malloc(len);
	assert_non_null(data);
	len = 0;
	for (i = 0; i < iov_count; i++) {
		memcpy(data + len, iov[i].iov_base, iov[i].iov_len);
		len += iov[i].iov_len;
	}
	if (recorder->on_write)
		recorder->on_write(recorder->arg, at_bytes, data, len);
	pthread_mutex_lock(&recorder->mutex);
	if (recorder_next(recorder)) {
		pthread_mutex_unlock(&recorder->mutex);
		free(data);
		return -EIO;
	}
	memcpy(recorder->now + at_bytes, data, len);
	recorder->ops[recorder->count].at_bytes = at_bytes;
	recorder->ops[recorder->count].len_bytes = len;
	recorder->ops[recorder->count++].data = data;
	pthread_mutex_unlock(&recorder->mutex);
	return 0;
}

static inline int recorder_flush(struct knot_device *device)
{
	struct recorder *recorder = recorder_of(device);
	int err = 0;

	pthread_mutex_lock(&recorder->mutex);
	if (recorder_next(recorder)) {
		err = -EIO;
	} else {
		memset(&recorder->ops[recorder->count++], 0, sizeof(recorder->ops[0]));
		recorder->flushes++;
	}
	pthread_mutex_unlock(&recorder->mutex);
	return err;
}

static inline void recorder_close(struct knot_device *device)
{
	struct recorder *recorder = recorder_of(device);
	size_t i;

	for (i = 0; i < recorder->count; i++)
		free(recorder->ops[i].data);
	free(recorder->ops);
	free(recorder->now);
	free(recorder->base);
	pthread_mutex_destroy(&recorder->mutex);
	free(recorder);
}

/* A device whose contents are `image`, copied; zeros if NULL. */
static inline struct recorder *recorder_open(const uint8_t *image)
{
	static const struct knot_device_ops ops = {
		.read = recorder_read,
		.writev = recorder_writev,
		.flush = recorder_flush,
		.close = recorder_close,
	};
	struct recorder *recorder = calloc(1, sizeof(*recorder));

	assert_non_null(recorder);
	recorder->device.ops = &ops;
	recorder->device.size_bytes = VOLUME_BYTES;
	recorder->device.write_unit_bytes = 512;
	recorder->device.name = "recorder";
	recorder->base = calloc(1, VOLUME_BYTES);
	recorder->now = calloc(1, VOLUME_BYTES);
	assert_true(recorder->base && recorder->now);
	if (image) {
		memcpy(recorder->base, image, VOLUME_BYTES);
		memcpy(recorder->now, image, VOLUME_BYTES);
	}
	pthread_mutex_init(&recorder->mutex, NULL);
	return recorder;
}

/* ---- random numbers, replayable -------------------------------------------------------------------------------- */

static inline uint64_t random_next(uint64_t *state)
{
	uint64_t z = (*state += 0x9e3779b97f4a7c15ULL);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
	return z ^ (z >> 31);
}

static inline uint64_t random_below(uint64_t *state, uint64_t limit)
{
	return random_next(state) % limit;
}

static inline uint64_t random_seed(void)
{
	const char *given = getenv("KNOT_SEED");
	uint64_t seed = given ? strtoull(given, NULL, 0) : 20240607;

	printf("KNOT_SEED=%llu\n", (unsigned long long)seed);
	return seed;
}

/* ---- power cuts ------------------------------------------------------------------------------------------------ */

enum cut { CUT_KEEP, CUT_DROP, CUT_UNITS, CUT_SECTORS, CUT_MODES };

/*
 * What may be on the medium when the power goes after `ops` operations: what was not flushed is kept, dropped, or
 * there in parts.
 */
static inline void recorder_cut(const struct recorder *recorder, size_t ops, enum cut mode, uint64_t *random,
				uint8_t *image)
{
	size_t grain = mode == CUT_UNITS ? 4096 : 512;
	size_t flushed = 0;
	size_t i, at;

	memcpy(image, recorder->base, VOLUME_BYTES);
	for (i = 0; i < ops; i++) {
		if (!recorder->ops[i].len_bytes)
			flushed = i;
	}
	for (i = 0; i < ops; i++) {
		const struct recorded *op = &recorder->ops[i];

		for (at = 0; at < op->len_bytes; at += grain) {
			bool keep = i < flushed || mode == CUT_KEEP;

			if (!keep && mode != CUT_DROP)
				keep = random_next(random) & 1;
			if (keep)
				memcpy(image + op->at_bytes + at, op->data + at, grain);
		}
	}
}

/* ---- the volume ------------------------------------------------------------------------------------------------ */

/* Two segments, 64 pages of ring: pages 10 to 49 and 100 to 125. */
static inline void volume_super(struct knot_super *super, uint32_t unit_bytes)
{
	memset(super, 0, sizeof(*super));
	memcpy(super->salt, "saltsaltsaltsalt", 16);
	knot_seal_init(&super->seal, super->salt);
	super->pages = VOLUME_PAGES;
	super->log_write_unit_bytes = unit_bytes;
	super->segments_version = 1;
	super->segment_count = 2;
	super->segments[0].page_no = 10;
	super->segments[0].pages = 40;
	super->segments[1].page_no = 100;
	super->segments[1].pages = 26;
}

static inline uint64_t ring_device_at(const struct knot_super *super, uint64_t ring_at)
{
	struct knot_ring ring;
	uint64_t unused;

	knot_ring_init(&ring, super);
	return knot_ring_device_at(&ring, ring_at, &unused);
}

struct volume {
	struct recorder *recorder;
	struct knot_super super;
	struct knot_log *log;
	struct knot_messages messages;
	struct knot_recovery_result recovered;
	char said[1024];             /* the last message */
	int failures;                /* calls of `failed` */
};

static inline void volume_say(void *arg, enum knot_severity severity, const char *line)
{
	struct volume *volume = arg;

	(void)severity;
	snprintf(volume->said, sizeof(volume->said), "%s", line);
}

static inline void volume_failed(void *arg, int err, const char *what)
{
	struct volume *volume = arg;

	assert_true(err < 0 && what);
	volume->failures++;
}

static inline int volume_recover(struct volume *volume, size_t batch_bytes, uint32_t slot_flags)
{
	struct knot_recovery_options options = { .batch_bytes = batch_bytes, .slot_flags = slot_flags };

	return knot_recovery_run(&volume->recorder->device, &volume->super, &volume->messages, &options,
				 &volume->recovered);
}

static inline void volume_open_log(struct volume *volume, size_t buffer_bytes, bool strict)
{
	struct knot_log_options options = {
		.device = &volume->recorder->device,
		.super = &volume->super,
		.buffer_bytes = buffer_bytes,
		.start = {
			.lsn = volume->recovered.next_lsn,
			.at_bytes = volume->recovered.next_at,
			.epoch = volume->recovered.epoch,
			.slot_sequence = volume->recovered.slot_sequence,
			.strict = strict,
		},
		.failed = volume_failed,
		.arg = volume,
	};

	assert_int_equal(knot_log_open(&options, &volume->log), 0);
}

/* A volume on `image`, or newly formatted if NULL; not yet recovered. */
static inline void volume_init(struct volume *volume, const uint8_t *image, uint32_t unit_bytes)
{
	memset(volume, 0, sizeof(*volume));
	volume->messages.emit = volume_say;
	volume->messages.arg = volume;
	volume_super(&volume->super, unit_bytes);
	volume->recorder = recorder_open(image);
	if (!image)
		assert_int_equal(knot_recovery_format(&volume->recorder->device, &volume->super), 0);
}

/* Formatted, recovered, its log open. */
static inline void volume_start(struct volume *volume, uint32_t unit_bytes, size_t buffer_bytes, bool strict)
{
	volume_init(volume, NULL, unit_bytes);
	assert_int_equal(volume_recover(volume, 1 << 20, strict ? KNOT_SLOT_STRICT : 0), 0);
	volume_open_log(volume, buffer_bytes, strict);
}

static inline void volume_stop(struct volume *volume)
{
	knot_log_close(volume->log);
	volume->log = NULL;
	knot_device_close(&volume->recorder->device);
}

/* ---- records --------------------------------------------------------------------------------------------------- */

struct records {
	uint8_t bytes[64 * 1024];
	size_t len_bytes;
};

static inline void records_add(struct records *records, enum knot_record_type type, uint8_t space, uint32_t offset,
			       uint32_t len, uint64_t page_no, const void *bytes, size_t bytes_len)
{
	struct knot_disk_record head = {
		.type = (uint8_t)type,
		.space = space,
		.offset = knot_put16((uint16_t)offset),
		.len = knot_put16((uint16_t)len),
		.page_no = knot_put64(page_no),
	};

	assert_true(records->len_bytes + sizeof(head) + bytes_len <= sizeof(records->bytes));
	memcpy(records->bytes + records->len_bytes, &head, sizeof(head));
	records->len_bytes += sizeof(head);
	if (bytes_len)
		memcpy(records->bytes + records->len_bytes, bytes, bytes_len);
	records->len_bytes += bytes_len;
}

static inline void records_add_bytes(struct records *records, uint8_t space, uint64_t page_no, const uint8_t *page,
				     uint32_t offset, uint32_t len)
{
	records_add(records, KNOT_RECORD_BYTES, space, offset, len, page_no, page + offset, len);
}

/* The whole page, its longest stretch of zeros at the end left out. */
static inline void records_add_page(struct records *records, uint8_t space, uint64_t page_no, const uint8_t *page)
{
	uint32_t used = KNOT_PAGE_BYTES;

	while (used && !page[used - 1])
		used--;
	records_add(records, KNOT_RECORD_PAGE, space, used, KNOT_PAGE_BYTES - used, page_no, page, used);
}

static inline void records_add_free(struct records *records, uint64_t page_no, uint32_t count)
{
	records_add(records, KNOT_RECORD_FREE, 0, count >> 16, count & 0xffff, page_no, NULL, 0);
}

/* Reserve, append, give the reservation back. Returns the end LSN. */
static inline knot_lsn_t volume_append(struct volume *volume, const struct records *records, knot_lsn_t *start_lsn)
{
	struct iovec iov = { .iov_base = (void *)(uintptr_t)records->bytes, .iov_len = records->len_bytes };
	uint64_t bytes = knot_log_worst_bytes(volume->log, records->len_bytes);
	bool ring_full;
	knot_lsn_t end;

	assert_int_equal(knot_log_try_reserve(volume->log, bytes, true, &ring_full), 0);
	end = knot_log_append(volume->log, &iov, 1, KNOT_RECORD_END_MTR, start_lsn);
	knot_log_unreserve(volume->log, bytes);
	return end;
}

/* A mini-transaction that fills a page of the tests with `fill` from byte 64 on, or empties it. */
static inline knot_lsn_t volume_append_fill(struct volume *volume, uint64_t page_no, uint8_t fill, uint32_t len)
{
	struct records *records = calloc(1, sizeof(*records));
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };
	knot_lsn_t end;

	assert_non_null(records);
	memset(page + 64, fill, len);
	records_add_page(records, KNOT_SPACE_DATA, page_no, page);
	end = volume_append(volume, records, NULL);
	free(records);
	return end;
}

/* ---- what is there, and cuts without tearing ------------------------------------------------------------------- */

static inline const uint8_t *page_now(const struct volume *volume, uint64_t page_no)
{
	return volume->recorder->now + page_no * KNOT_PAGE_BYTES;
}

static inline uint8_t *ring_now(const struct volume *volume, uint64_t lsn)
{
	uint64_t at = (volume->recovered.next_at + (lsn - volume->recovered.next_lsn)) % (64 * 4096);

	return volume->recorder->now + ring_device_at(&volume->super, at - at % 4096) + at % 4096;
}

static inline uint8_t *slot_now(const struct volume *volume, unsigned slot)
{
	return volume->recorder->now + (10 + slot) * KNOT_PAGE_BYTES;
}

static inline bool page_is_filled(const struct volume *volume, uint64_t page_no, uint8_t fill, size_t len)
{
	uint8_t page[KNOT_PAGE_BYTES] = { 0 };

	memset(page + 64, fill, len);
	return !memcmp(page, page_now(volume, page_no), sizeof(page));
}

static inline void volume_flush(struct volume *volume)
{
	assert_int_equal(knot_log_flush(volume->log, knot_log_lsn(volume->log), true, NULL), 0);
}

/* The power goes; what was written is there. */
static inline void volume_crash(struct volume *volume)
{
	knot_log_close(volume->log);
	volume->log = NULL;
}

static inline void volume_replay(struct volume *volume)
{
	assert_int_equal(volume_recover(volume, 1 << 20, 0), 0);
}

#endif
