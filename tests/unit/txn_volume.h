/* SPDX-License-Identifier: MIT */
/*
 * For the tests of cache, mini-transactions and cleaner: the small volume of log_volume.h (64 pages of ring) with a
 * transaction layer on it, 64 frames unless a test says otherwise, and state pages, any number of them, as counters.
 */
#ifndef KNOT_TESTS_TXN_VOLUME_H
#define KNOT_TESTS_TXN_VOLUME_H

#include "tests/unit/log_volume.h"

#include "fs/txn/txn_int.h"

struct bed {
	struct volume volume;
	struct knot_txn_options options;
	struct knot_txn *txn;
	unsigned said;
	bool silent;
};

static inline void bed_say(void *arg, enum knot_severity severity, const char *line)
{
	struct bed *bed = arg;

	(void)severity;
	bed->said++;
	snprintf(bed->volume.said, sizeof(bed->volume.said), "%s", line);
}

static inline void bed_open(struct bed *bed)
{
	bed->options.device = &bed->volume.recorder->device;
	bed->options.super = &bed->volume.super;
	bed->options.messages = &bed->volume.messages;
	assert_int_equal(knot_txn_open(&bed->options, &bed->txn), 0);
}

static inline void bed_prepare(struct bed *bed, const uint8_t *image)
{
	memset(bed, 0, sizeof(*bed));
	volume_init(&bed->volume, image, 4096);
	bed->volume.messages.emit = bed_say;
	bed->volume.messages.arg = bed;
	bed->options.cache_bytes = 64 * KNOT_PAGE_BYTES;
	bed->options.log_buffer_bytes = 256 * 1024;
	bed->options.commit_policy = 1;
}

static inline void bed_start(struct bed *bed)
{
	bed_prepare(bed, NULL);
	bed_open(bed);
}

static inline void bed_stop(struct bed *bed)
{
	if (bed->txn)
		assert_int_equal(knot_txn_close(bed->txn), 0);
	knot_device_close(&bed->volume.recorder->device);
}

/* What a power cut leaves, opened anew: nothing that was not written is there. */
static inline void bed_cut(struct bed *bed)
{
	knot_txn_abandon(bed->txn);
	bed->txn = NULL;
	bed_open(bed);
}

static inline uint64_t *counter_of(struct knot_page *page, unsigned at)
{
	return (uint64_t *)knot_page_data(page) + 16 + at;
}

/* Run `body` in mini-transactions until it is through. */
#define RUN(bed, mtr, pages, flags, err, body)                                                                    \
	do {                                                                                                      \
		knot_mtr_init(&(mtr), (bed)->txn, NULL);                                                          \
		do {                                                                                              \
			(err) = (pages) ? knot_mtr_begin(&(mtr), (pages), (flags)) : knot_mtr_begin_read(&(mtr)); \
			if (!(err))                                                                               \
				(err) = (body);                                                                   \
			(err) = knot_mtr_finish(&(mtr), (err));                                                   \
		} while ((err) == KNOT_RETRY);                                                                    \
	} while (0)

static inline int make_page(struct knot_mtr *mtr, uint64_t page_no, uint64_t value)
{
	struct knot_page *page;
	int err = knot_mtr_new_page(mtr, page_no, KNOT_PAGE_STATE, &page);

	struct knot_disk_state *disk;

	if (err)
		return err;
	disk = knot_page_data(page);
	disk->next_inode = knot_put64(KNOT_OBJECT_FIRST_FREE);
	disk->inodes = knot_put64(1);
	disk->groups_initialised = knot_put64(1);
	disk->root_generation = knot_put64(1);
	*counter_of(page, 0) = value;
	return 0;
}

static inline int add_to_page(struct knot_mtr *mtr, uint64_t page_no, unsigned at, uint64_t step)
{
	struct knot_page *page;
	int err = knot_mtr_page(mtr, page_no, KNOT_PAGE_STATE, 0, &page);

	if (!err)
		err = knot_mtr_change(mtr, page, NULL);
	if (!err)
		*counter_of(page, at) += step;
	return err;
}

static inline int look_at_page(struct knot_mtr *mtr, uint64_t page_no, unsigned at, uint64_t *value)
{
	struct knot_page *page;
	int err = knot_mtr_page(mtr, page_no, KNOT_PAGE_STATE, 0, &page);

	if (!err)
		*value = *counter_of(page, at);
	return err;
}

static inline knot_lsn_t bed_make(struct bed *bed, uint64_t page_no, uint64_t value)
{
	struct knot_mtr mtr;
	int err;

	RUN(bed, mtr, 1, 0, err, make_page(&mtr, page_no, value));
	assert_int_equal(err, 0);
	return mtr.end_lsn;
}

static inline knot_lsn_t bed_add(struct bed *bed, uint64_t page_no, uint64_t step)
{
	struct knot_mtr mtr;
	int err;

	RUN(bed, mtr, 1, 0, err, add_to_page(&mtr, page_no, 0, step));
	assert_int_equal(err, 0);
	return mtr.end_lsn;
}

static inline uint64_t bed_value(struct bed *bed, uint64_t page_no)
{
	struct knot_mtr mtr;
	uint64_t value = 0;
	int err;

	RUN(bed, mtr, 0, 0, err, look_at_page(&mtr, page_no, 0, &value));
	assert_int_equal(err, 0);
	return value;
}

static inline knot_lsn_t bed_free(struct bed *bed, uint64_t page_no, uint32_t count)
{
	struct knot_mtr mtr;
	int err;

	RUN(bed, mtr, 1, 0, err, knot_mtr_free_pages(&mtr, page_no, count));
	assert_int_equal(err, 0);
	return mtr.end_lsn;
}

static inline bool bed_idle(struct bed *bed, uint64_t page_no, uint32_t count)
{
	bool idle;

	knot_txn_lock(bed->txn, NULL);
	idle = knot_txn_pages_idle(bed->txn, page_no, count);
	knot_txn_unlock(bed->txn);
	return idle;
}

static inline struct knot_txn_stats bed_stats(struct bed *bed)
{
	struct knot_txn_stats stats;

	knot_txn_get_stats(bed->txn, &stats);
	return stats;
}

/* The counter of a page as the device has it now. */
static inline uint64_t home_value(struct bed *bed, uint64_t page_no)
{
	uint64_t value;

	pthread_mutex_lock(&bed->volume.recorder->mutex);
	memcpy(&value, bed->volume.recorder->now + page_no * KNOT_PAGE_BYTES + 128, sizeof(value));
	pthread_mutex_unlock(&bed->volume.recorder->mutex);
	return value;
}

#endif
