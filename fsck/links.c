/* SPDX-License-Identifier: MIT */
/*
 * Do entries, back-references and inodes agree? Where a node's sum or types say no, a second walk gathers the names of
 * such nodes, and only those.
 */
#include "fsck/fsck_int.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* One side of a name; its bytes are in the blob. */
struct side {
	uint64_t child, dir, cookie;
	size_t at;
	uint8_t len_bytes, type;
	bool is_entry;
};

struct gathering {
	struct knot_fsck_array sides;
	uint8_t *blob;
	size_t blob_bytes, blob_room;
};

static bool is_suspect(const struct knot_fsck_node *node)
{
	if (!(node->flags & KNOT_NODE_HAS_INODE))
		return node->entries > 0;
	if (node->sum[0] || node->sum[1])
		return true;
	return node->type && (node->types & ~(1u << node->type)) != 0;
}

/* ---- gathering ---- */

static int keep(struct gathering *gathering, const struct knot_fsck_name *name, bool is_entry)
{
	int err = knot_fsck_array_grow(&gathering->sides, sizeof(struct side));

	if (err)
		return err;
	if (gathering->blob_bytes + name->len_bytes > gathering->blob_room) {
		size_t room = gathering->blob_room * 2 + 4096;
		uint8_t *blob = realloc(gathering->blob, room);

		if (!blob)
			return -ENOMEM;
		gathering->blob = blob;
		gathering->blob_room = room;
	}
	memcpy(gathering->blob + gathering->blob_bytes, name->bytes, name->len_bytes);
	((struct side *)gathering->sides.items)[gathering->sides.count++] = (struct side){
		.child = name->child,
		.dir = name->dir,
		.cookie = name->cookie,
		.at = gathering->blob_bytes,
		.len_bytes = (uint8_t)name->len_bytes,
		.type = name->type,
		.is_entry = is_entry,
	};
	gathering->blob_bytes += name->len_bytes;
	return 0;
}

static int gather(struct knot_fsck *fsck, void *arg, const struct knot_key *key, const void *value, size_t len_bytes)
{
	uint8_t kind = knot_key_kind(key);
	struct knot_fsck_name name;
	bool is_name = false;

	if (kind == KNOT_KIND_ENTRY)
		is_name = !knot_fsck_parse_entry(key, value, len_bytes, &name);
	else if (kind == KNOT_KIND_PARENT_LINK)
		is_name = knot_fsck_parse_reference(key, value, len_bytes, &name);
	if (!is_name)
		return 0;
	const struct knot_fsck_node *node = knot_fsck_node_find(fsck, name.child);
	if (!node || !(node->flags & KNOT_NODE_SUSPECT))
		return 0;
	return keep(arg, &name, kind == KNOT_KIND_ENTRY);
}

/* ---- comparing ---- */

static int order_sides(const struct side *a, const struct side *b)
{
	if (a->child != b->child)
		return a->child < b->child ? -1 : 1;
	if (a->dir != b->dir)
		return a->dir < b->dir ? -1 : 1;
	return a->cookie < b->cookie ? -1 : a->cookie > b->cookie;
}

static int compare_sides(const void *a, const void *b)
{
	int order = order_sides(a, b);

	return order ? order : (int)((const struct side *)b)->is_entry - (int)((const struct side *)a)->is_entry;
}

static void say(struct knot_fsck *fsck, enum knot_fsck_problem problem, const struct gathering *gathering,
		const struct side *side)
{
	const struct knot_fsck_at at = {
		.object = side->dir,
		.a = side->child,
		.name = gathering->blob + side->at,
		.name_bytes = side->len_bytes,
	};

	knot_fsck_problem(fsck, problem, &at);
}

static void check_type(struct knot_fsck *fsck, const struct gathering *gathering, const struct side *side,
		       const struct knot_fsck_node *node)
{
	const struct knot_fsck_at at = {
		.object = side->dir,
		.a = side->type,
		.b = node->type,
		.name = gathering->blob + side->at,
		.name_bytes = side->len_bytes,
	};

	if (side->is_entry && node->type && side->type != node->type)
		knot_fsck_problem(fsck, KNOT_FSCK_ENTRY_TYPE, &at);
}

static void compare(struct knot_fsck *fsck, const struct gathering *gathering)
{
	const struct side *sides = gathering->sides.items;
	size_t count = gathering->sides.count;

	for (size_t i = 0; i < count; i++) {
		const struct knot_fsck_node *node = knot_fsck_node_find(fsck, sides[i].child);
		bool is_pair = i + 1 < count && sides[i].is_entry && order_sides(&sides[i], &sides[i + 1]) == 0;

		if (!(node->flags & KNOT_NODE_HAS_INODE)) {
			if (sides[i].is_entry)
				say(fsck, KNOT_FSCK_ENTRY_NO_INODE, gathering, &sides[i]);
			continue;
		}
		check_type(fsck, gathering, &sides[i], node);
		if (!is_pair) {
			say(fsck, sides[i].is_entry ? KNOT_FSCK_ENTRY_NO_REFERENCE : KNOT_FSCK_REFERENCE_NO_ENTRY,
			    gathering, &sides[i]);
			continue;
		}
		if (sides[i].len_bytes != sides[i + 1].len_bytes ||
		    memcmp(gathering->blob + sides[i].at, gathering->blob + sides[i + 1].at, sides[i].len_bytes) != 0)
			say(fsck, KNOT_FSCK_REFERENCE_NAME, gathering, &sides[i]);
		i++;
	}
}

static int look_at_suspects(struct knot_fsck *fsck)
{
	struct gathering gathering = { .blob = NULL };
	int err = knot_fsck_walk_again(fsck, gather, &gathering);

	if (!err && gathering.sides.count) {
		qsort(gathering.sides.items, gathering.sides.count, sizeof(struct side), compare_sides);
		compare(fsck, &gathering);
	}
	free(gathering.sides.items);
	free(gathering.blob);
	return err;
}

int knot_fsck_links(struct knot_fsck *fsck)
{
	const struct knot_fsck_orphan *orphans = fsck->orphans.items;
	bool found = false;

	for (size_t i = 0; i < fsck->orphans.count; i++) {
		const struct knot_fsck_at at = { .object = orphans[i].number };

		if (!orphans[i].has_inode)
			knot_fsck_problem(fsck, KNOT_FSCK_ORPHAN_NO_INODE, &at);
	}
	for (uint32_t i = 0; i < fsck->nodes.array.count; i++) {
		struct knot_fsck_node *node = knot_fsck_node_at(fsck, i);

		if (is_suspect(node)) {
			node->flags |= KNOT_NODE_SUSPECT;
			found = true;
		}
	}
	return found ? look_at_suspects(fsck) : 0;
}
