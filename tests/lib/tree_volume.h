/* SPDX-License-Identifier: MIT */
/*
 * A volume in memory with its tree, one mini-transaction a call; and a check of the whole tree that shares no code
 * with fs/tree's changes.
 */
#ifndef KNOT_TESTS_LIB_TREE_VOLUME_H
#define KNOT_TESTS_LIB_TREE_VOLUME_H

#include "fs/disk/super.h"
#include "fs/tree/tree.h"

#include <stdbool.h>
#include <stdint.h>

#define TREE_VOLUME_BYTES (192ULL << 20)

struct tree_volume {
	struct knot_device *device;
	struct knot_messages messages;
	struct knot_super super;
	struct knot_txn *txn;
	struct knot_space *space;
	struct knot_tree *tree;
	unsigned said; /* messages */
};

/* cmocka's: the volume becomes *state. */
int tree_set_up(void **state);
int tree_set_up_small_cache(void **state); /* so that pages are evicted and missed all the time */
int tree_tear_down(void **state);

/* Pages become clean, so that the next change of each gives it a new generation; freed ones become free. */
void tree_clean(struct tree_volume *v);

/* Cleans, then counts. */
uint64_t tree_free_pages(struct tree_volume *v);

enum tree_change { TREE_INSERT, TREE_UPDATE, TREE_REMOVE };

int tree_change_locked(struct tree_volume *v, struct knot_mtr *mtr, enum tree_change change, const struct knot_key *key,
		       const void *value, size_t len_bytes);
int tree_change(struct tree_volume *v, enum tree_change change, const struct knot_key *key, const void *value,
		size_t len_bytes);

/* `value` has room for KNOT_VALUE_BYTES_MAX. */
int tree_get(struct tree_volume *v, const struct knot_key *key, void *value, size_t *len_bytes);
int tree_neighbour(struct tree_volume *v, bool forward, const struct knot_key *key, struct knot_key *found, void *value,
		   size_t *len_bytes);

/* `*counter` is set to 0 at each start: a scan begins anew when a page had to be read. */
int tree_scan(struct tree_volume *v, const struct knot_key *from, const struct knot_key *to,
	      int (*visit)(void *arg, const struct knot_key *key, const void *value, size_t len_bytes), void *arg,
	      unsigned *counter);

/* A copy of a tree page; the root if `generation` is 0. */
void tree_read_page(struct tree_volume *v, uint64_t page_no, uint64_t generation, uint8_t *copy);

struct tree_shape {
	unsigned levels;
	unsigned pages, leaves, items;
	uint64_t leaf_bytes; /* in use */
	struct knot_key last;
};

/* Assert that every page keeps the rules of tree.c; add up what is there. */
void tree_check(struct tree_volume *v, struct tree_shape *shape);

/* Random numbers from KNOT_SEED, which is printed. `*random` is never 0. */
uint64_t tree_seed(void);
uint64_t tree_random(uint64_t *random);
unsigned tree_random_below(uint64_t *random, unsigned limit);

/* KNOT_TEST_PERCENT of `count`. */
unsigned tree_percent_of(unsigned count);

#endif
