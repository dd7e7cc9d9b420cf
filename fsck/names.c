/* SPDX-License-Identifier: MIT */
/*
 * Directory entries and back-references, as they come.
 *
 * Each name is in the tree twice: as an entry of its directory and as a back-reference of what it names, in places far
 * apart. So that memory stays small, each inode has a sum: entries that name it add a hash of (directory, cookie,
 * name), its back-references subtract theirs. If it is not zero in the end, links.c looks at the names themselves.
 */
#include "fsck/fsck_int.h"
#include "fs/util/endian.h"
#include "fs/util/hash.h"

#include <dirent.h>
#include <errno.h>
#include <sodium/crypto_shorthash_siphash24.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define HASH_SLOTS_MIN 256u

static_assert(crypto_shorthash_siphash24_KEYBYTES == 16 && crypto_shorthash_siphashx24_KEYBYTES == 16 &&
		      crypto_shorthash_siphashx24_BYTES == 16,
	      "the superblock's seed is the key");

/* ---- nodes: inode numbers in a hash table of indexes ---- */

static size_t slot_of(const struct knot_fsck_nodes *nodes, uint64_t number)
{
	size_t slot = knot_hash_mix(number) & (nodes->slot_count - 1);

	while (nodes->slots[slot] &&
	       ((struct knot_fsck_node *)nodes->array.items)[nodes->slots[slot] - 1].number != number)
		slot = (slot + 1) & (nodes->slot_count - 1);
	return slot;
}

/* Keep at least a quarter of the slots free. Errors: -ENOMEM. */
static int grow_slots(struct knot_fsck_nodes *nodes)
{
	size_t count = nodes->slot_count ? nodes->slot_count * 2 : HASH_SLOTS_MIN;
	const struct knot_fsck_node *items = nodes->array.items;
	uint32_t *slots;

	if (nodes->array.count + 1 <= nodes->slot_count / 4 * 3)
		return 0;
	if (nodes->array.count >= UINT32_MAX / 4)
		return -ENOMEM;
	slots = calloc(count, sizeof(*slots));
	if (!slots)
		return -ENOMEM;
	free(nodes->slots);
	nodes->slots = slots;
	nodes->slot_count = count;
	for (uint32_t i = 0; i < nodes->array.count; i++)
		slots[slot_of(nodes, items[i].number)] = i + 1;
	return 0;
}

struct knot_fsck_node *knot_fsck_node_find(const struct knot_fsck *fsck, uint64_t number)
{
	const struct knot_fsck_nodes *nodes = &fsck->nodes;

	if (!nodes->slot_count)
		return NULL;
	uint32_t index = nodes->slots[slot_of(nodes, number)];

	return index ? knot_fsck_node_at(fsck, index - 1) : NULL;
}

int knot_fsck_node(struct knot_fsck *fsck, uint64_t number, uint32_t *index)
{
	struct knot_fsck_nodes *nodes = &fsck->nodes;
	int err = grow_slots(nodes);

	if (err)
		return err;
	size_t slot = slot_of(nodes, number);
	if (!nodes->slots[slot]) {
		err = knot_fsck_array_grow(&nodes->array, sizeof(struct knot_fsck_node));
		if (err)
			return err;
		*knot_fsck_node_at(fsck, (uint32_t)nodes->array.count) = (struct knot_fsck_node){ .number = number };
		nodes->slots[slot] = (uint32_t)++nodes->array.count;
	}
	*index = nodes->slots[slot] - 1;
	return 0;
}

/* ---- the two sides of a name ---- */

const char *knot_fsck_parse_entry(const struct knot_key *key, const void *value, size_t len_bytes,
				  struct knot_fsck_name *name)
{
	const struct knot_disk_entry *entry = value;
	uint64_t cookie = knot_key_offset_low(key), child;

	if (len_bytes <= sizeof(*entry) || len_bytes > sizeof(*entry) + KNOT_NAME_BYTES_MAX)
		return "size";
	if (knot_key_offset_high(key) || cookie < KNOT_COOKIE_MIN || cookie > INT64_MAX)
		return "place";
	child = knot_get64(entry->inode);
	if (child != KNOT_OBJECT_ROOT && (child < KNOT_OBJECT_FIRST_FREE || child > INT64_MAX))
		return "inode number";
	*name = (struct knot_fsck_name){
		.child = child,
		.dir = knot_key_object(key),
		.cookie = cookie,
		.type = entry->type,
		.bytes = entry->name,
		.len_bytes = len_bytes - sizeof(*entry),
	};
	return NULL;
}

bool knot_fsck_parse_reference(const struct knot_key *key, const void *value, size_t len_bytes,
			       struct knot_fsck_name *name)
{
	if (len_bytes == 0 || len_bytes > KNOT_NAME_BYTES_MAX)
		return false;
	*name = (struct knot_fsck_name){
		.child = knot_key_object(key),
		.dir = knot_key_offset_high(key),
		.cookie = knot_key_offset_low(key),
		.bytes = value,
		.len_bytes = len_bytes,
	};
	return true;
}

/* Add the name's hash to the sum, or take it away. */
static void count_name(const struct knot_fsck *fsck, struct knot_fsck_node *node, const struct knot_fsck_name *name,
		       bool is_entry)
{
	uint8_t text[2 * sizeof(uint64_t) + KNOT_NAME_BYTES_MAX], out[crypto_shorthash_siphashx24_BYTES];
	uint64_t hash[2];

	knot_put_be64(text, name->dir);
	knot_put_be64(text + sizeof(uint64_t), name->cookie);
	memcpy(text + 2 * sizeof(uint64_t), name->bytes, name->len_bytes);
	crypto_shorthash_siphashx24(out, text, 2 * sizeof(uint64_t) + name->len_bytes, fsck->super.hash_seed);
	memcpy(hash, out, sizeof(hash));
	for (unsigned i = 0; i < 2; i++)
		node->sum[i] += is_entry ? hash[i] : 0 - hash[i];
}

static uint64_t name_hash(const struct knot_fsck *fsck, const struct knot_fsck_name *name)
{
	uint8_t out[crypto_shorthash_siphash24_BYTES];
	knot_le64 value;

	crypto_shorthash_siphash24(out, name->bytes, name->len_bytes, fsck->super.hash_seed);
	memcpy(&value, out, sizeof(value));
	uint64_t hash = knot_get64(value) >> 9 << 8;

	return hash ? hash : KNOT_COOKIE_MIN;
}

/* ---- entries ---- */

static bool type_is_known(uint8_t type)
{
	switch (type) {
	case DT_REG:
	case DT_DIR:
	case DT_LNK:
	case DT_CHR:
	case DT_BLK:
	case DT_FIFO:
	case DT_SOCK:
		return true;
	default:
		return false;
	}
}

static bool name_is_possible(const struct knot_fsck_name *name)
{
	if (memchr(name->bytes, '/', name->len_bytes) || memchr(name->bytes, '\0', name->len_bytes))
		return false;
	return !(name->bytes[0] == '.' && (name->len_bytes == 1 || (name->len_bytes == 2 && name->bytes[1] == '.')));
}

/* Names that share a hash lie side by side: is this one of the run there already? Errors: -ENOMEM. */
static int check_twice(struct knot_fsck *fsck, const struct knot_fsck_name *name, const struct knot_fsck_at *at)
{
	struct knot_fsck_object *object = &fsck->object;
	uint64_t hash = name->cookie & KNOT_COOKIE_MASK;
	struct run_name {
		uint8_t len_bytes;
		uint8_t bytes[KNOT_NAME_BYTES_MAX];
	} * run;

	if (object->run_hash != hash)
		object->run.count = 0;
	object->run_hash = hash;
	run = object->run.items;
	for (size_t i = 0; i < object->run.count; i++) {
		if (run[i].len_bytes == name->len_bytes && memcmp(run[i].bytes, name->bytes, name->len_bytes) == 0) {
			knot_fsck_problem(fsck, KNOT_FSCK_ENTRY_TWICE, at);
			break;
		}
	}
	int err = knot_fsck_array_grow(&object->run, sizeof(*run));
	if (err)
		return err;
	run = object->run.items;
	run += object->run.count++;
	run->len_bytes = (uint8_t)name->len_bytes;
	memcpy(run->bytes, name->bytes, name->len_bytes);
	return 0;
}

static int check_name(struct knot_fsck *fsck, const struct knot_fsck_name *name)
{
	const struct knot_fsck_at at = {
		.object = name->dir, .a = name->cookie, .name = name->bytes, .name_bytes = name->len_bytes
	};

	if (!name_is_possible(name))
		knot_fsck_problem(fsck, KNOT_FSCK_ENTRY_NAME, &at);
	if ((name->cookie & KNOT_COOKIE_MASK) != name_hash(fsck, name))
		knot_fsck_problem(fsck, KNOT_FSCK_ENTRY_HASH, &at);
	return check_twice(fsck, name, &at);
}

static int add_edge(struct knot_fsck *fsck, uint32_t from, uint32_t to)
{
	int err = knot_fsck_array_grow(&fsck->edges, sizeof(struct knot_fsck_edge));

	if (!err)
		((struct knot_fsck_edge *)fsck->edges.items)[fsck->edges.count++] =
			(struct knot_fsck_edge){ .from = from, .to = to };
	return err;
}

int knot_fsck_entry_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number, .a = knot_key_offset_low(key) };
	struct knot_fsck_name name;
	uint32_t child;

	object->entries++;
	fsck->report->names++;
	at.why = knot_fsck_parse_entry(key, value, len_bytes, &name);
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_ENTRY_VALUE, &at);
		return 0;
	}
	at.why = "type";
	if (!type_is_known(name.type))
		knot_fsck_problem(fsck, KNOT_FSCK_ENTRY_VALUE, &at);
	int err = check_name(fsck, &name);
	if (!err)
		err = knot_fsck_node(fsck, name.child, &child);
	if (err)
		return err;
	struct knot_fsck_node *node = knot_fsck_node_at(fsck, child);
	node->entries++;
	if (type_is_known(name.type))
		node->types |= (uint16_t)(1u << name.type);
	count_name(fsck, node, &name, true);
	if (name.type != DT_DIR)
		return 0;

	object->directories++;
	if (!object->has_node)
		err = knot_fsck_node(fsck, object->number, &object->node);
	object->has_node |= !err;
	return err ? err : add_edge(fsck, object->node, child);
}

/* ---- back-references ---- */

int knot_fsck_reference_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes)
{
	struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number, .a = knot_key_kind(key), .why = "size" };
	struct knot_fsck_name name;

	object->references++;
	if (!knot_fsck_parse_reference(key, value, len_bytes, &name)) {
		knot_fsck_problem(fsck, KNOT_FSCK_ITEM_MALFORMED, &at);
		return 0;
	}
	if (!object->name_bytes) {
		object->name_dir = name.dir;
		object->name_bytes = name.len_bytes;
		memcpy(object->name, name.bytes, name.len_bytes);
	}
	if (object->has_inode)
		count_name(fsck, knot_fsck_node_at(fsck, object->node), &name, false);
	return 0;
}

/* ---- orphans: they come before all inodes but the root ---- */

int knot_fsck_orphan_item(struct knot_fsck *fsck, const struct knot_key *key, size_t len_bytes)
{
	struct knot_fsck_at at = { .object = knot_key_object(key), .a = knot_key_kind(key) };

	if (knot_key_offset_high(key) || knot_key_offset_low(key) < KNOT_OBJECT_FIRST_FREE)
		at.why = "inode number";
	else if (len_bytes != 0)
		at.why = "size";
	if (at.why) {
		knot_fsck_problem(fsck, KNOT_FSCK_ITEM_MALFORMED, &at);
		return 0;
	}
	int err = knot_fsck_array_grow(&fsck->orphans, sizeof(struct knot_fsck_orphan));
	if (!err)
		((struct knot_fsck_orphan *)fsck->orphans.items)[fsck->orphans.count++] =
			(struct knot_fsck_orphan){ .number = knot_key_offset_low(key) };
	return err;
}

static int compare_orphan(const void *key, const void *item)
{
	uint64_t number = *(const uint64_t *)key, other = ((const struct knot_fsck_orphan *)item)->number;

	return number < other ? -1 : number > other;
}

static struct knot_fsck_orphan *find_orphan(const struct knot_fsck *fsck, uint64_t number)
{
	if (!fsck->orphans.count)
		return NULL;
	return bsearch(&number, fsck->orphans.items, fsck->orphans.count, sizeof(struct knot_fsck_orphan),
		       compare_orphan);
}

/* ---- an object's counts ---- */

static void check_directory(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number, .a = object->size, .b = object->entries };

	if (!S_ISDIR(object->mode)) {
		if (object->entries || object->subdirectories)
			knot_fsck_problem(fsck, KNOT_FSCK_NOT_A_DIR, &at);
		return;
	}
	if (object->size != object->entries)
		knot_fsck_problem(fsck, KNOT_FSCK_DIR_SIZE, &at);
	at.a = object->subdirectories;
	at.b = object->directories;
	if (at.a != at.b)
		knot_fsck_problem(fsck, KNOT_FSCK_DIR_SUBDIRECTORIES, &at);
}

void knot_fsck_names_end_of_object(struct knot_fsck *fsck)
{
	const struct knot_fsck_object *object = &fsck->object;
	struct knot_fsck_at at = { .object = object->number, .a = object->links };
	struct knot_fsck_orphan *orphan = find_orphan(fsck, object->number);

	if (orphan && object->has_inode)
		orphan->has_inode = true;
	if (!object->is_good)
		return;
	at.b = object->references + (object->number == KNOT_OBJECT_ROOT ? 1 : 0); /* the root needs no name */
	if (at.a != at.b)
		knot_fsck_problem(fsck, KNOT_FSCK_LINKS, &at);
	if (S_ISDIR(object->mode) && at.b > 1)
		fsck->second_names += at.b - 1;
	if (orphan && at.a)
		knot_fsck_problem(fsck, KNOT_FSCK_ORPHAN_LINKED, &at);
	else if (!orphan && !at.a)
		knot_fsck_problem(fsck, KNOT_FSCK_ORPHAN_MISSING, &at);
	check_directory(fsck);
}
