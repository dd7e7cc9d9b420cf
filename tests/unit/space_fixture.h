/* SPDX-License-Identifier: MIT */
/* A formatted volume in memory with transactions and allocator open: for the tests of fs/space. */
#ifndef KNOT_TESTS_SPACE_FIXTURE_H
#define KNOT_TESTS_SPACE_FIXTURE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "fs/space/space_int.h"
#include "fs/util/endian.h"
#include "mkfs/format.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GIVE_UP (-ECANCELED) /* an operation returns it to have its mtr given up */

struct fixture {
	struct knot_device *device;
	struct knot_super super;
	struct knot_messages messages;
	struct knot_txn *txn;
	struct knot_space *space;
	unsigned said;
	char last_line[256];
};

typedef int (*fixture_op)(struct fixture *f, struct knot_mtr *mtr, void *arg);

static inline void fixture_emit(void *arg, enum knot_severity severity, const char *line)
{
	struct fixture *f = arg;

	(void)severity;
	f->said++;
	snprintf(f->last_line, sizeof(f->last_line), "%s", line);
}

static inline int fixture_try_load(struct fixture *f)
{
	struct knot_txn_options options = {
		.device = f->device,
		.super = &f->super,
		.messages = &f->messages,
		.cache_bytes = 16u << 20,
		.log_buffer_bytes = 4u << 20,
		.commit_policy = 1,
	};

	assert_int_equal(knot_txn_open(&options, &f->txn), 0);
	return knot_space_open(f->txn, &f->space);
}

static inline void fixture_load(struct fixture *f)
{
	assert_int_equal(fixture_try_load(f), 0);
}

static inline void fixture_unload(struct fixture *f)
{
	knot_space_close(f->space);
	f->space = NULL;
	assert_int_equal(knot_txn_close(f->txn), 0);
	f->txn = NULL;
}

/* Format only; `pages` of the volume. */
static inline void fixture_format(struct fixture *f, uint64_t pages)
{
	struct knot_mkfs_options options = { .log_bytes = pages > KNOT_GROUP_PAGES ? 4u << 20 : 1u << 20,
					     .salt = (const uint8_t *)"0123456789abcdef" };

	memset(f, 0, sizeof(*f));
	f->messages = (struct knot_messages){ .emit = fixture_emit, .arg = f };
	options.messages = &f->messages;
	assert_int_equal(knot_device_open_memory(pages * KNOT_PAGE_BYTES, &f->device), 0);
	assert_int_equal(knot_mkfs(f->device, &options, &f->super), 0);
}

static inline void fixture_open(struct fixture *f, uint64_t pages)
{
	fixture_format(f, pages);
	fixture_load(f);
}

static inline void fixture_close(struct fixture *f)
{
	fixture_unload(f);
	knot_device_close(f->device);
}

static inline int fixture_run(struct fixture *f, bool write, fixture_op op, void *arg, knot_lsn_t *end_lsn)
{
	struct knot_mtr mtr;
	int err;

	knot_mtr_init(&mtr, f->txn, NULL);
	do {
		err = write ? knot_mtr_begin(&mtr, 8, 0) : knot_mtr_begin_read(&mtr);
		if (!err)
			err = op(f, &mtr, arg);
		err = knot_mtr_finish(&mtr, err);
	} while (err == KNOT_RETRY);
	if (end_lsn)
		*end_lsn = mtr.end_lsn;
	return err;
}

static inline void fixture_commit(struct fixture *f)
{
	assert_int_equal(knot_txn_commit_to(f->txn, knot_txn_lsn(f->txn), true, NULL), 0);
}

/* ---- single calls as operations ---- */

struct fixture_call {
	uint64_t near, page_no, value;
	uint32_t want, got, count;
	bool give_up;
};

static inline int fixture_end(const struct fixture_call *call, int err)
{
	return !err && call->give_up ? GIVE_UP : err;
}

static inline int op_alloc_data(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;

	return fixture_end(call,
			   knot_space_alloc_data(f->space, mtr, call->near, call->want, &call->page_no, &call->got));
}

static inline int op_alloc_tree(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;

	return fixture_end(call, knot_space_alloc_tree(f->space, mtr, call->near, &call->page_no));
}

static inline int op_place(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;

	return knot_space_place(f->space, mtr, call->near, call->want, &call->page_no, &call->got);
}

static inline int op_settle(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;

	return fixture_end(call, knot_space_settle(f->space, mtr, call->page_no, call->count));
}

static inline int op_release(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_call *call = arg;

	return fixture_end(call, knot_space_release(f->space, mtr, call->page_no, call->count));
}

static inline uint64_t fixture_alloc_data(struct fixture *f, uint64_t near, uint32_t want, uint32_t *got)
{
	struct fixture_call call = { .near = near, .want = want };

	assert_int_equal(fixture_run(f, true, op_alloc_data, &call, NULL), 0);
	*got = call.got;
	return call.page_no;
}

static inline uint64_t fixture_alloc_tree(struct fixture *f, uint64_t near)
{
	struct fixture_call call = { .near = near };

	assert_int_equal(fixture_run(f, true, op_alloc_tree, &call, NULL), 0);
	return call.page_no;
}

static inline uint64_t fixture_place(struct fixture *f, uint64_t near, uint32_t want, uint32_t *got)
{
	struct fixture_call call = { .near = near, .want = want };

	assert_int_equal(fixture_run(f, false, op_place, &call, NULL), 0);
	*got = call.got;
	return call.page_no;
}

static inline int fixture_settle(struct fixture *f, uint64_t page_no, uint32_t count)
{
	struct fixture_call call = { .page_no = page_no, .count = count };

	return fixture_run(f, true, op_settle, &call, NULL);
}

static inline int fixture_release(struct fixture *f, uint64_t page_no, uint32_t count)
{
	struct fixture_call call = { .page_no = page_no, .count = count };

	return fixture_run(f, true, op_release, &call, NULL);
}

static inline void fixture_reap(struct fixture *f)
{
	knot_txn_lock(f->txn, NULL);
	knot_space_reap(f->space);
	knot_txn_unlock(f->txn);
}

static inline int fixture_reserve(struct fixture *f, uint64_t pages, unsigned flags)
{
	int err;

	knot_txn_lock(f->txn, NULL);
	err = knot_space_reserve(f->space, pages, flags);
	knot_txn_unlock(f->txn);
	return err;
}

/* ---- what is on the pages ---- */

struct fixture_look {
	uint64_t page_no;
	bool in_use, tree;
};

static inline int op_look(struct fixture *f, struct knot_mtr *mtr, void *arg)
{
	struct fixture_look *look = arg;
	const struct knot_disk_group *header;
	struct knot_page *page;
	uint32_t bit = knot_group_bit(look->page_no);
	int err = knot_group_open(f->space, mtr, knot_group_of(look->page_no), &page);

	if (err)
		return err;
	header = knot_page_data(page);
	look->in_use = (header->bitmap[bit / 8u] & 1u << (bit % 8u)) != 0;
	look->tree = knot_group_is_tree_cluster(header->tree_clusters, bit / KNOT_CLUSTER_PAGES);
	return 0;
}

static inline struct fixture_look fixture_look(struct fixture *f, uint64_t page_no)
{
	struct fixture_look look = { .page_no = page_no };

	assert_int_equal(fixture_run(f, false, op_look, &look, NULL), 0);
	return look;
}

static inline bool fixture_in_use(struct fixture *f, uint64_t page_no)
{
	return fixture_look(f, page_no).in_use;
}

/* Change a metadata page on the device behind the volume's back; its seal is right afterwards. */
static inline void fixture_edit(struct fixture *f, uint64_t page_no, size_t at, const void *bytes, size_t len_bytes)
{
	uint8_t *page = aligned_alloc(KNOT_PAGE_BYTES, KNOT_PAGE_BYTES);

	assert_int_equal(knot_device_read(f->device, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES), 0);
	memcpy(page + at, bytes, len_bytes);
	knot_page_seal(&f->super.seal, page);
	assert_int_equal(knot_device_write(f->device, page, KNOT_PAGE_BYTES, page_no * KNOT_PAGE_BYTES), 0);
	free(page);
}

#endif
