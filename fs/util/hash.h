/* SPDX-License-Identifier: MIT */
/* An intrusive hash table with 64-bit keys. It grows by itself; it has no lock of its own. */
#ifndef KNOT_UTIL_HASH_H
#define KNOT_UTIL_HASH_H

#include <stddef.h>
#include <stdint.h>

struct knot_hash_node {
	struct knot_hash_node *next;
	uint64_t key;
};

struct knot_hash {
	struct knot_hash_node **buckets;
	size_t bucket_count; /* a power of two */
	size_t count;
};

/* Errors: -ENOMEM. */
int knot_hash_init(struct knot_hash *hash, size_t expected);

/* Free the table, not the nodes. */
void knot_hash_destroy(struct knot_hash *hash);

/* The node with this key, or NULL. */
struct knot_hash_node *knot_hash_find(const struct knot_hash *hash, uint64_t key);

/* Add a node whose key is not there yet. Never fails: if the table can't grow, chains get longer. */
void knot_hash_add(struct knot_hash *hash, struct knot_hash_node *node, uint64_t key);

/* Take out a node that is in the table. */
void knot_hash_remove(struct knot_hash *hash, struct knot_hash_node *node);

/* Bytes of memory that the table itself holds. */
size_t knot_hash_bytes(const struct knot_hash *hash);

/* Walk: `*bucket` starts at 0; the next node after `node` (NULL to begin), or NULL at the end. Removing the node just
 * returned is not allowed. */
struct knot_hash_node *knot_hash_next(const struct knot_hash *hash, struct knot_hash_node *node, size_t *bucket);

/* A good 64-bit mixer (splitmix64's finish). */
uint64_t knot_hash_mix(uint64_t value);

#endif
