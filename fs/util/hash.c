/* SPDX-License-Identifier: MIT */
#include "fs/util/hash.h"

#include <errno.h>
#include <stdlib.h>

uint64_t knot_hash_mix(uint64_t value)
{
	value ^= value >> 30;
	value *= 0xbf58476d1ce4e5b9ULL;
	value ^= value >> 27;
	value *= 0x94d049bb133111ebULL;
	value ^= value >> 31;
	return value;
}

static size_t bucket_of(const struct knot_hash *hash, uint64_t key)
{
	return (size_t)knot_hash_mix(key + 0x9e3779b97f4a7c15ULL) & (hash->bucket_count - 1);
}

int knot_hash_init(struct knot_hash *hash, size_t expected)
{
	size_t count = 64;

	while (count < expected)
		count *= 2;
	hash->buckets = calloc(count, sizeof(hash->buckets[0]));
	if (!hash->buckets)
		return -ENOMEM;
	hash->bucket_count = count;
	hash->count = 0;
	return 0;
}

void knot_hash_destroy(struct knot_hash *hash)
{
	free(hash->buckets);
	hash->buckets = NULL;
	hash->bucket_count = 0;
	hash->count = 0;
}

struct knot_hash_node *knot_hash_find(const struct knot_hash *hash, uint64_t key)
{
	struct knot_hash_node *node = hash->buckets[bucket_of(hash, key)];

	while (node && node->key != key)
		node = node->next;
	return node;
}

static void grow(struct knot_hash *hash)
{
	struct knot_hash larger = { .bucket_count = hash->bucket_count * 2, .count = hash->count };

	larger.buckets = calloc(larger.bucket_count, sizeof(larger.buckets[0]));
	if (!larger.buckets)
		return;
	for (size_t i = 0; i < hash->bucket_count; i++) {
		struct knot_hash_node *node = hash->buckets[i];

		while (node) {
			struct knot_hash_node *next = node->next;
			size_t at = bucket_of(&larger, node->key);

			node->next = larger.buckets[at];
			larger.buckets[at] = node;
			node = next;
		}
	}
	free(hash->buckets);
	*hash = larger;
}

void knot_hash_add(struct knot_hash *hash, struct knot_hash_node *node, uint64_t key)
{
	if (hash->count >= hash->bucket_count)
		grow(hash);

	size_t at = bucket_of(hash, key);

	node->key = key;
	node->next = hash->buckets[at];
	hash->buckets[at] = node;
	hash->count++;
}

void knot_hash_remove(struct knot_hash *hash, struct knot_hash_node *node)
{
	struct knot_hash_node **link = &hash->buckets[bucket_of(hash, node->key)];

	while (*link && *link != node)
		link = &(*link)->next;
	if (!*link)
		return;
	*link = node->next;
	node->next = NULL;
	hash->count--;
}

size_t knot_hash_bytes(const struct knot_hash *hash)
{
	return hash->bucket_count * sizeof(hash->buckets[0]);
}

struct knot_hash_node *knot_hash_next(const struct knot_hash *hash, struct knot_hash_node *node, size_t *bucket)
{
	if (node && node->next)
		return node->next;
	if (node)
		(*bucket)++;
	while (*bucket < hash->bucket_count && !hash->buckets[*bucket])
		(*bucket)++;
	return *bucket < hash->bucket_count ? hash->buckets[*bucket] : NULL;
}
