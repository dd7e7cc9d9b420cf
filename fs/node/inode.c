/* SPDX-License-Identifier: MIT */
/*
 * The table of inodes in memory, and inode items.
 *
 * Invariants (the transaction lock guards all)
 *  (1) An inode is in nodes->lru exactly while it has no pins; the head is the next to be freed. A dead one goes with
 *      its last pin.
 *  (2) What is loaded from an item is committed: whoever changes an item in a mini-transaction got the inode before.
 *  (3) freed_lsn is at least the sync_lsn of every inode freed so far: what is loaded again waits for no less.
 *  (4) `charged_bytes` were charged for the table, in steps, so that an inode costs no call.
 */
#include "fs/node/data.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define CHARGE_STEP_INODES  64
#define CACHE_SHARE         8 /* inodes may hold 1/8 of cache_bytes */
#define CACHE_BYTES_DEFAULT (256ULL << 20)
#define COUNT_MIN           64
#define TRIM_STEPS_MAX      16 /* pinned ones aside, an operation adds few inodes */

struct nodes_own {
	struct knot_nodes nodes;
	size_t charged_inodes; /* (4) */
	knot_lsn_t freed_lsn;  /* (3) */
};

struct inode_own {
	struct knot_inode inode;
	struct knot_mtr_hook hook; /* while it is being created */
	struct knot_nodes *nodes;
};

static struct nodes_own *own(struct knot_nodes *nodes)
{
	return knot_container_of(nodes, struct nodes_own, nodes);
}

static struct knot_time now_realtime(void *arg)
{
	struct timespec now;

	(void)arg;
	clock_gettime(CLOCK_REALTIME, &now);
	return (struct knot_time){ .sec = now.tv_sec, .nsec = (uint32_t)now.tv_nsec };
}

int knot_nodes_open(struct knot_txn *txn, struct knot_space *space, struct knot_tree *tree,
		    const struct knot_volume_options *options, struct knot_nodes **nodes)
{
	size_t cache_bytes = options->cache_bytes ? options->cache_bytes : CACHE_BYTES_DEFAULT;
	struct nodes_own *opened = calloc(1, sizeof(*opened));
	struct knot_nodes *out;
	int err;

	if (!opened)
		return -ENOMEM;
	out = &opened->nodes;
	err = knot_hash_init(&out->inodes, COUNT_MIN);
	if (err) {
		free(opened);
		return err;
	}
	out->txn = txn;
	out->space = space;
	out->tree = tree;
	out->count_max = cache_bytes / CACHE_SHARE / sizeof(struct inode_own);
	if (out->count_max < COUNT_MIN)
		out->count_max = COUNT_MIN;
	out->now = options->now ? options->now : now_realtime;
	out->now_arg = options->now_arg;
	memcpy(out->hash_seed, knot_txn_super(txn)->hash_seed, sizeof(out->hash_seed));
	knot_list_init(&out->lru);
	opened->freed_lsn = knot_txn_lsn(txn);
	*nodes = out;
	return 0;
}

static void charge(struct knot_nodes *nodes)
{
	struct nodes_own *mine = own(nodes);
	size_t wanted = (nodes->count + CHARGE_STEP_INODES - 1) / CHARGE_STEP_INODES * CHARGE_STEP_INODES;
	ssize_t step;

	if (wanted == mine->charged_inodes || wanted + CHARGE_STEP_INODES == mine->charged_inodes)
		return;
	step = (ssize_t)wanted - (ssize_t)mine->charged_inodes;
	mine->charged_inodes = wanted;
	knot_txn_charge(nodes->txn, step * (ssize_t)sizeof(struct inode_own));
}

static void free_inode(struct knot_nodes *nodes, struct knot_inode *inode)
{
	knot_lsn_t lsn = atomic_load_explicit(&inode->sync_lsn, memory_order_relaxed);

	if (own(nodes)->freed_lsn < lsn)
		own(nodes)->freed_lsn = lsn;
	knot_hash_remove(&nodes->inodes, &inode->hash);
	knot_list_remove(&inode->lru);
	if (inode->data)
		knot_data_free_state_locked(nodes, inode);
	free(knot_container_of(inode, struct inode_own, inode));
	nodes->count--;
	charge(nodes);
}

void knot_nodes_close(struct knot_nodes *nodes)
{
	struct knot_txn *txn = nodes->txn;
	size_t bucket = 0;

	knot_txn_lock(txn, NULL);
	for (;;) {
		struct knot_hash_node *node;

		bucket = 0;
		node = knot_hash_next(&nodes->inodes, NULL, &bucket);
		if (!node)
			break;
		while (node) {
			struct knot_hash_node *next = knot_hash_next(&nodes->inodes, node, &bucket);

			free_inode(nodes, knot_container_of(node, struct knot_inode, hash));
			node = next;
		}
	}
	assert(!nodes->count);
	charge(nodes);
	knot_txn_charge(txn, -(ssize_t)(own(nodes)->charged_inodes * sizeof(struct inode_own)));
	knot_txn_unlock(txn);
	knot_hash_destroy(&nodes->inodes);
	free(own(nodes));
}

struct knot_time knot_nodes_now(struct knot_nodes *nodes)
{
	return nodes->now(nodes->now_arg);
}

void knot_nodes_trim_locked(struct knot_nodes *nodes)
{
	for (unsigned steps = 0; nodes->count > nodes->count_max && steps < TRIM_STEPS_MAX; steps++) {
		struct knot_inode *inode;

		if (knot_list_empty(&nodes->lru))
			return;
		inode = knot_container_of(nodes->lru.next, struct knot_inode, lru);
		if (knot_data_keeps_inode_locked(inode)) {
			knot_list_remove(&inode->lru);
			knot_list_add_tail(&nodes->lru, &inode->lru);
			continue;
		}
		free_inode(nodes, inode);
	}
}

struct knot_inode *knot_inode_peek(struct knot_nodes *nodes, uint64_t inode_no)
{
	struct knot_hash_node *node = knot_hash_find(&nodes->inodes, inode_no);

	return node ? knot_container_of(node, struct knot_inode, hash) : NULL;
}

static void add_inode(struct knot_nodes *nodes, struct knot_inode *inode)
{
	inode->logged_size = inode->attr.size;
	inode->orphan = !inode->attr.links;
	knot_hash_add(&nodes->inodes, &inode->hash, inode->attr.inode);
	knot_list_add_tail(&nodes->lru, &inode->lru);
	nodes->count++;
	charge(nodes);
}

static void say_damaged(struct knot_nodes *nodes, uint64_t inode_no)
{
	knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR,
		     "inode %" PRIu64 " holds impossible values; run fsck.knotfs", inode_no);
}

int knot_inode_get(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no, struct knot_inode **inode)
{
	struct knot_inode *found = knot_inode_peek(nodes, inode_no);
	struct inode_own *loaded;
	struct knot_attr attr;
	struct knot_key key;
	const void *value;
	size_t len_bytes;
	int err;

	if (found) {
		if (found->dead)
			return -ESTALE;
		if (!found->pins) {
			knot_list_remove(&found->lru);
			knot_list_add_tail(&nodes->lru, &found->lru);
		}
		*inode = found;
		return 0;
	}
	knot_key_make(&key, inode_no, KNOT_KIND_INODE, 0, 0);
	err = knot_tree_get(nodes->tree, mtr, &key, &value, &len_bytes);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	err = knot_inode_decode(inode_no, value, len_bytes, &attr);
	if (err) {
		say_damaged(nodes, inode_no);
		return err;
	}
	loaded = calloc(1, sizeof(*loaded));
	if (!loaded)
		return -ENOMEM;
	loaded->nodes = nodes;
	loaded->inode.attr = attr;
	atomic_init(&loaded->inode.sync_lsn, own(nodes)->freed_lsn);
	atomic_init(&loaded->inode.datasync_lsn, own(nodes)->freed_lsn);
	add_inode(nodes, &loaded->inode);
	*inode = &loaded->inode;
	return 0;
}

void knot_inode_pin(struct knot_nodes *nodes, struct knot_inode *inode)
{
	(void)nodes;
	if (!inode->pins++)
		knot_list_remove(&inode->lru);
}

void knot_inode_unpin(struct knot_nodes *nodes, struct knot_inode *inode)
{
	assert(inode->pins);
	if (--inode->pins)
		return;
	if (inode->dead)
		free_inode(nodes, inode);
	else
		knot_list_add_tail(&nodes->lru, &inode->lru);
}

static void creation_finished(struct knot_mtr_hook *hook, knot_lsn_t lsn)
{
	struct inode_own *created = knot_container_of(hook, struct inode_own, hook);

	if (!lsn) {
		free(created);
		return;
	}
	atomic_init(&created->inode.sync_lsn, lsn);
	atomic_init(&created->inode.datasync_lsn, lsn);
	add_inode(created->nodes, &created->inode);
}

int knot_inode_create(struct knot_nodes *nodes, struct knot_mtr *mtr, const struct knot_attr *attr)
{
	struct inode_own *created = calloc(1, sizeof(*created));
	struct knot_disk_inode disk;
	struct knot_key key;
	int err;

	if (!created)
		return -ENOMEM;
	created->nodes = nodes;
	created->inode.attr = *attr;
	knot_list_init(&created->inode.lru);

	knot_inode_encode(attr, &disk);
	knot_key_make(&key, attr->inode, KNOT_KIND_INODE, 0, 0);
	err = knot_tree_insert(nodes->tree, mtr, &key, &disk, sizeof(disk));
	if (!err)
		err = knot_space_count_inodes(nodes->space, mtr, 1);
	if (err) {
		free(created);
		return err;
	}
	created->hook.finish = creation_finished;
	knot_mtr_add_hook(mtr, &created->hook);
	return 0;
}

int knot_inode_delete_item(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no)
{
	struct knot_key key;
	int err;

	knot_key_make(&key, inode_no, KNOT_KIND_INODE, 0, 0);
	err = knot_tree_remove(nodes->tree, mtr, &key);
	if (err)
		return err == -ENOENT ? -ESTALE : err;
	return knot_space_count_inodes(nodes->space, mtr, -1);
}

static void note(_Atomic uint64_t *place, knot_lsn_t lsn)
{
	uint64_t old = atomic_load_explicit(place, memory_order_relaxed);

	while (old < lsn &&
	       !atomic_compare_exchange_weak_explicit(place, &old, lsn, memory_order_release, memory_order_relaxed))
		;
}

void knot_inode_note_lsn(struct knot_inode *inode, knot_lsn_t lsn, bool datasync_too)
{
	note(&inode->sync_lsn, lsn);
	if (datasync_too)
		note(&inode->datasync_lsn, lsn);
}
