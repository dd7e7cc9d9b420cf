/* SPDX-License-Identifier: MIT */
/*
 * Directory entries and back-references.
 *
 * Invariants
 *  (1) Each entry (directory, cookie) -> child has exactly one back-reference (child, directory, cookie) with the same
 *      name; both change in one mini-transaction.
 *  (2) A name is filed under its hash; names with equal hashes differ in the tie-break only. So all that a name can
 *      collide with is in one run of at most 256 keys.
 */
#include "fs/node/dir.h"
#include "fs/util/endian.h"

#include <inttypes.h>
#include <sodium/crypto_shorthash_siphash24.h>

static_assert(crypto_shorthash_siphash24_KEYBYTES == 16, "the superblock's seed is the key");

uint64_t knot_dir_hash(const struct knot_nodes *nodes, const char *name, size_t name_bytes)
{
	uint8_t out[crypto_shorthash_siphash24_BYTES];
	knot_le64 value;
	uint64_t hash;

	crypto_shorthash_siphash24(out, (const unsigned char *)name, name_bytes, nodes->hash_seed);
	memcpy(&value, out, sizeof(value));
	hash = knot_get64(value) >> 9 << 8;
	return hash ? hash : KNOT_COOKIE_MIN;
}

static void entry_key(struct knot_key *key, uint64_t dir, uint64_t cookie)
{
	knot_key_make(key, dir, KNOT_KIND_ENTRY, 0, cookie);
}

static void parent_key(struct knot_key *key, uint64_t child, uint64_t dir, uint64_t cookie)
{
	knot_key_make(key, child, KNOT_KIND_PARENT_LINK, dir, cookie);
}

static int say_damaged(struct knot_nodes *nodes, uint64_t dir, const char *what)
{
	knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR, "directory %" PRIu64 ": %s; run fsck.knotfs", dir,
		     what);
	return -EUCLEAN;
}

struct search {
	const char *name;
	size_t name_bytes;
	struct knot_dir_found found;
	uint64_t free_cookie; /* the first tie that no entry has */
	bool is_damaged;
};

static int search_visit(void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	const struct knot_disk_entry *entry = value;
	struct search *search = arg;
	uint64_t cookie = knot_key_offset_low(key);

	if (len_bytes <= sizeof(*entry) || len_bytes > sizeof(*entry) + KNOT_NAME_BYTES_MAX) {
		search->is_damaged = true;
		return 1;
	}
	if (search->free_cookie == cookie)
		search->free_cookie++;
	if (len_bytes - sizeof(*entry) != search->name_bytes ||
	    memcmp(entry->name, search->name, search->name_bytes) != 0)
		return 0;
	search->found.cookie = cookie;
	search->found.inode_no = knot_get64(entry->inode);
	search->found.type = entry->type;
	return 1;
}

/* Walk the run of (2). 0: `search->found` is set. -ENOENT: there is no such name, `free_cookie` is set. */
static int search_run(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, struct search *search)
{
	uint64_t hash = knot_dir_hash(nodes, search->name, search->name_bytes);
	struct knot_key from, to;
	int err;

	search->free_cookie = hash;
	entry_key(&from, dir, hash);
	entry_key(&to, dir, hash + KNOT_COOKIE_TIES - 1);
	err = knot_tree_scan(nodes->tree, mtr, &from, &to, search_visit, search);
	if (err < 0)
		return err;
	if (search->is_damaged)
		return say_damaged(nodes, dir, "an entry has an impossible length");
	if (!err)
		return -ENOENT;
	if (!search->found.inode_no || search->found.inode_no > INT64_MAX)
		return say_damaged(nodes, dir, "an entry names an impossible inode");
	return 0;
}

int knot_dir_find(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, const char *name, size_t name_bytes,
		  struct knot_dir_found *found)
{
	struct search search = { .name = name, .name_bytes = name_bytes };
	int err;

	if (name_bytes > KNOT_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	err = search_run(nodes, mtr, dir, &search);
	if (!err)
		*found = search.found;
	return err;
}

static int insert_reference(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t child, uint64_t dir,
			    uint64_t cookie, const uint8_t *name, size_t name_bytes)
{
	struct knot_key key;
	int err;

	parent_key(&key, child, dir, cookie);
	err = knot_tree_insert(nodes->tree, mtr, &key, name, name_bytes);
	return err == -EEXIST ? say_damaged(nodes, dir, "a back-reference is there without its entry") : err;
}

static int remove_reference(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t child, uint64_t dir,
			    uint64_t cookie)
{
	struct knot_key key;
	int err;

	parent_key(&key, child, dir, cookie);
	err = knot_tree_remove(nodes->tree, mtr, &key);
	return err == -ENOENT ? say_damaged(nodes, dir, "an entry lacks its back-reference") : err;
}

union entry_buffer {
	struct knot_disk_entry entry;
	uint8_t bytes[sizeof(struct knot_disk_entry) + KNOT_NAME_BYTES_MAX];
};

static void make_entry(union entry_buffer *buffer, uint64_t child, uint8_t type)
{
	buffer->entry.inode = knot_put64(child);
	buffer->entry.type = type;
	buffer->entry.flags = 0;
}

int knot_dir_add(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, const char *name, size_t name_bytes,
		 uint64_t child, uint8_t type, uint64_t *cookie)
{
	struct search search = { .name = name, .name_bytes = name_bytes };
	union entry_buffer buffer;
	struct knot_key key;
	int err;

	if (name_bytes > KNOT_NAME_BYTES_MAX)
		return -ENAMETOOLONG;
	if (!name_bytes)
		return -ENOENT;
	err = search_run(nodes, mtr, dir, &search);
	if (err != -ENOENT)
		return err ? err : -EEXIST;
	if ((search.free_cookie & KNOT_COOKIE_MASK) != knot_dir_hash(nodes, name, name_bytes))
		return -ENOSPC;

	make_entry(&buffer, child, type);
	memcpy(buffer.bytes + sizeof(buffer.entry), name, name_bytes);
	entry_key(&key, dir, search.free_cookie);
	err = knot_tree_insert(nodes->tree, mtr, &key, &buffer, sizeof(buffer.entry) + name_bytes);
	if (!err)
		err = insert_reference(nodes, mtr, child, dir, search.free_cookie, (const uint8_t *)name, name_bytes);
	if (!err)
		*cookie = search.free_cookie;
	return err;
}

int knot_dir_remove(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, uint64_t cookie, uint64_t child)
{
	struct knot_key key;
	int err;

	entry_key(&key, dir, cookie);
	err = knot_tree_remove(nodes->tree, mtr, &key);
	return err ? err : remove_reference(nodes, mtr, child, dir, cookie);
}

int knot_dir_replace(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, uint64_t cookie, uint64_t old_child,
		     uint64_t child, uint8_t type)
{
	union entry_buffer buffer;
	struct knot_key key;
	const void *value;
	size_t len_bytes;
	int err;

	entry_key(&key, dir, cookie);
	err = knot_tree_get(nodes->tree, mtr, &key, &value, &len_bytes);
	if (err)
		return err;
	if (len_bytes <= sizeof(buffer.entry) || len_bytes > sizeof(buffer.bytes))
		return say_damaged(nodes, dir, "an entry has an impossible length");
	memcpy(buffer.bytes, value, len_bytes);
	make_entry(&buffer, child, type);
	err = knot_tree_update(nodes->tree, mtr, &key, &buffer, len_bytes);
	if (!err)
		err = remove_reference(nodes, mtr, old_child, dir, cookie);
	if (!err)
		err = insert_reference(nodes, mtr, child, dir, cookie, buffer.bytes + sizeof(buffer.entry),
				       len_bytes - sizeof(buffer.entry));
	return err;
}

int knot_dir_parent(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t dir, uint64_t *parent)
{
	struct knot_key key, found;
	const void *value;
	size_t len_bytes;
	int err;

	if (dir == KNOT_OBJECT_ROOT) {
		*parent = dir;
		return 0;
	}
	parent_key(&key, dir, 0, 0);
	err = knot_tree_next(nodes->tree, mtr, &key, &found, &value, &len_bytes);
	if (err)
		return err;
	if (knot_key_object(&found) != dir || knot_key_kind(&found) != KNOT_KIND_PARENT_LINK)
		return -ENOENT;
	*parent = knot_key_offset_high(&found);
	return 0;
}
