/* SPDX-License-Identifier: MIT */
/* Orphans: inodes without a name that somebody may still use. By their items a mount finishes what a crash cut off. */
#include "fs/node/dir.h"

static void orphan_key(struct knot_key *key, uint64_t inode_no)
{
	knot_key_make(key, KNOT_OBJECT_ORPHANS, KNOT_KIND_ORPHAN, 0, inode_no);
}

int knot_orphan_add(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no)
{
	struct knot_key key;
	int err;

	orphan_key(&key, inode_no);
	err = knot_tree_insert(nodes->tree, mtr, &key, "", 0);
	if (err)
		return err == -EEXIST ? -EUCLEAN : err;
	return knot_space_count_orphans(nodes->space, mtr, 1);
}

int knot_orphan_remove(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t inode_no)
{
	struct knot_key key;
	int err;

	orphan_key(&key, inode_no);
	err = knot_tree_remove(nodes->tree, mtr, &key);
	return err ? err : knot_space_count_orphans(nodes->space, mtr, -1);
}

int knot_orphan_next(struct knot_nodes *nodes, struct knot_mtr *mtr, uint64_t from, uint64_t *inode_no)
{
	struct knot_key key, found;
	const void *value;
	size_t len_bytes;
	int err;

	orphan_key(&key, from);
	err = knot_tree_next(nodes->tree, mtr, &key, &found, &value, &len_bytes);
	if (err)
		return err;
	if (knot_key_object(&found) != KNOT_OBJECT_ORPHANS || knot_key_kind(&found) != KNOT_KIND_ORPHAN)
		return -ENOENT;
	if (knot_key_offset_high(&found) || !knot_key_offset_low(&found) || knot_key_offset_low(&found) >= INT64_MAX) {
		knot_message(knot_txn_messages(nodes->txn), KNOT_ERROR,
			     "the list of inodes without names has an impossible entry; run fsck.knotfs");
		return -EUCLEAN;
	}
	*inode_no = knot_key_offset_low(&found);
	return 0;
}
