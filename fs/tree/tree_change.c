/* SPDX-License-Identifier: MIT */
/*
 * Changing the tree: insert, update, remove, with splits, merges, growing and shrinking at the root.
 *
 * Invariants kept here (numbers go on from tree.c)
 *  (5) A range that gets narrower may keep its page as it is; one that gets wider (its neighbour's items or its empty
 *      neighbour's range join it) has its page written anew when the prefix becomes shorter. So (2) holds, and an
 *      insert always finds room for its key under the prefix that is there.
 *  (6) Inner pages are cut only at keys that are there (a child's range must not move under it), with two children on
 *      each side, and joined or filled up when only one is left: so every child has a neighbour under the same parent
 *      to be joined with.
 *  (7) Before the first change of a page since it was clean, its generation becomes the mini-transaction's and so
 *      does the reference in its parent, which is changed too. announce() does that and is called before any byte is
 *      touched.
 *
 * A call that fails midway leaves pages half done; its mini-transaction is given up, which brings back every page. If
 * power fails: the mini-transaction is replayed whole or not at all.
 */
#include "fs/tree/tree_int.h"

#include "fs/util/endian.h"

#include <string.h>

#define MERGE_BELOW_BYTES (KNOT_TREE_AREA_BYTES / 4)     /* used less: try to join a neighbour */
#define MERGED_MAX_BYTES  (KNOT_TREE_AREA_BYTES / 4 * 3) /* with slack, so that it is not split again at once */

/* ---- announcing changes, new pages ---- */

static void set_generation(struct knot_page *page, uint64_t generation)
{
	struct knot_disk_page_header *header = knot_page_data(page);

	header->generation = knot_put64(generation);
}

static void set_child(struct knot_page *parent, unsigned slot, uint64_t generation)
{
	uint64_t page_no, old_generation;

	knot_tree_page_child(knot_page_data(parent), slot, &page_no, &old_generation);
	knot_tree_page_set_child(knot_page_data(parent), slot, page_no, generation);
}

/*
 * `page` is the child at `slot` of path->at[depth - 1]; the root if `depth` is 0. See (7). Errors: -KNOT_EGROW, those
 * of the state page.
 */
static int announce(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path, unsigned depth,
		    unsigned slot, struct knot_page *page)
{
	uint64_t generation = knot_mtr_generation(mtr);
	bool was_clean = false;
	int err;

	if (knot_page_is_changing(page))
		return 0;
	err = knot_mtr_change(mtr, page, &was_clean);
	while (!err && was_clean) {
		set_generation(page, generation);
		if (depth == 0) {
			err = knot_space_set_root_generation(tree->space, mtr, generation);
			if (!err)
				tree->root_generation = generation;
			break;
		}
		page = path->at[--depth].page;
		was_clean = false;
		err = knot_mtr_change(mtr, page, &was_clean);
		if (err)
			break;
		set_child(page, slot, generation);
		slot = depth > 0 ? path->at[depth - 1].slot : 0;
	}
	return err;
}

static int announce_step(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path,
			 unsigned depth)
{
	return announce(tree, mtr, path, depth, depth > 0 ? path->at[depth - 1].slot : 0, path->at[depth].page);
}

static void page_range(const struct knot_tree_path *path, unsigned depth, struct knot_tree_range *range)
{
	memset(range, 0, sizeof(*range));
	if (depth > 0)
		knot_tree_child_range(path, depth - 1, path->at[depth - 1].slot, range);
}

static int new_page(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path, uint64_t near,
		    struct knot_page **page)
{
	uint64_t page_no;
	int err = knot_space_alloc_tree(tree->space, mtr, near, &page_no);

	if (err)
		return err;
	for (unsigned i = 0; i <= path->leaf; i++) {
		if (knot_page_no(path->at[i].page) == page_no)
			return knot_tree_damaged(tree, path->at[i].page, "it is marked free");
	}
	return knot_mtr_new_page(mtr, page_no, KNOT_PAGE_TREE, page);
}

/* Copy all but the header: the page keeps its own number and generation. */
static void copy_body(void *to, const void *from)
{
	const size_t header_bytes = sizeof(struct knot_disk_page_header);

	memcpy((uint8_t *)to + header_bytes, (const uint8_t *)from + header_bytes, KNOT_PAGE_BYTES - header_bytes);
}

/* ---- splitting ---- */

/*
 * Move the root's contents into a new page, its only child for now. The path gets a step longer. The root was
 * announced.
 */
static int grow(struct knot_tree *tree, struct knot_mtr *mtr, struct knot_tree_path *path)
{
	const struct knot_key lowest = { { 0 } };
	struct knot_page *child;
	struct knot_disk_child reference;
	struct knot_tree_item item = { .key = lowest, .payload = &reference, .payload_bytes = sizeof(reference) };
	void *root = knot_page_data(path->at[0].page);
	unsigned level = knot_tree_page_level(root) + 1;
	int err;

	if (level >= KNOT_TREE_LEVELS_MAX)
		return knot_tree_damaged(tree, path->at[0].page, "too many levels");
	err = new_page(tree, mtr, path, knot_page_no(path->at[0].page), &child);
	if (err)
		return err;

	copy_body(knot_page_data(child), root);
	reference.page_no = knot_put64(knot_page_no(child));
	reference.generation = knot_put64(knot_page_generation(child));
	knot_tree_page_reset(root, level, 0, &lowest);
	knot_tree_page_insert(root, 0, &item);
	tree->levels = level + 1;

	memmove(&path->at[1], &path->at[0], (path->leaf + 1) * sizeof(path->at[0]));
	path->leaf++;
	path->at[0].slot = 0;
	path->at[1].page = child;
	return 0;
}

/*
 * Split the announced page at[depth] (not the root), putting `item` in front of its `slot` on the way. `*separator` and
 * `*reference` are what its parent needs for the new page on the right.
 */
static int split(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path, unsigned depth,
		 unsigned slot, const struct knot_tree_item *item, bool is_new, struct knot_key *separator,
		 struct knot_disk_child *reference)
{
	uint8_t old[KNOT_PAGE_BYTES];
	struct knot_page *left_page = path->at[depth].page;
	struct knot_page *right_page;
	void *left = knot_page_data(left_page);
	struct knot_tree_items items = { .first = old, .extra = item, .extra_at = slot };
	struct knot_tree_range left_range, right_range;
	unsigned at;
	int err;

	memcpy(old, left, sizeof(old));
	page_range(path, depth, &left_range);
	right_range = left_range;
	err = knot_tree_items_cut(&items, &left_range, is_new ? knot_tree_page_series(old, slot) : KNOT_SERIES_NONE,
				  &at, &right_range.low);
	if (err)
		return knot_tree_damaged(tree, left_page, "its keys do not fit its parent's");
	left_range.high = right_range.low;
	left_range.bounded = true;
	err = new_page(tree, mtr, path, knot_page_no(left_page), &right_page);
	if (err)
		return err;

	err = knot_tree_items_fill(&items, at, knot_tree_items_count(&items), &right_range, knot_page_data(right_page));
	/* Where nothing but the new item goes right, the left page is fine as it is: that logs less. */
	if (!err && !(at == slot && slot == knot_tree_page_count(old) &&
		      knot_tree_range_prefix(&left_range) == knot_tree_page_prefix(old)))
		err = knot_tree_items_fill(&items, 0, at, &left_range, left);
	if (err)
		return knot_tree_damaged(tree, left_page, "its keys do not fit its parent's");

	*separator = right_range.low;
	reference->page_no = knot_put64(knot_page_no(right_page));
	reference->generation = knot_put64(knot_page_generation(right_page));
	return 0;
}

/*
 * Put an item (an old one with a longer value unless `is_new`) in front of the leaf's slot, splitting upwards as far as
 * it takes. The path is good for nothing afterwards.
 */
static int place(struct knot_tree *tree, struct knot_mtr *mtr, struct knot_tree_path *path, struct knot_tree_item item,
		 bool is_new)
{
	struct knot_key separators[2];
	struct knot_disk_child references[2];
	unsigned depth = path->leaf;
	unsigned slot = path->at[depth].slot;

	for (unsigned turn = 0;; turn ^= 1) {
		int err = announce_step(tree, mtr, path, depth);

		if (err)
			return err;
		if (knot_tree_page_fits(knot_page_data(path->at[depth].page), item.payload_bytes)) {
			knot_tree_page_insert(knot_page_data(path->at[depth].page), slot, &item);
			return 0;
		}
		if (depth == 0) {
			err = grow(tree, mtr, path);
			if (err)
				return err;
			depth = 1;
		}
		err = split(tree, mtr, path, depth, slot, &item, is_new, &separators[turn], &references[turn]);
		if (err)
			return err;
		item = (struct knot_tree_item){ separators[turn], &references[turn], sizeof(references[turn]) };
		depth--;
		slot = path->at[depth].slot + 1;
		is_new = true;
	}
}

int knot_tree_insert(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, const void *value,
		     size_t len_bytes)
{
	const struct knot_tree_item item = { .key = *key, .payload = value, .payload_bytes = len_bytes };
	struct knot_tree_path path;
	int err;

	if (len_bytes > KNOT_VALUE_BYTES_MAX)
		return -EINVAL;
	err = knot_tree_descend(tree, mtr, key, &path);
	if (err)
		return err;
	if (path.found)
		return -EEXIST;
	return place(tree, mtr, &path, item, true);
}

int knot_tree_update(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key, const void *value,
		     size_t len_bytes)
{
	const struct knot_tree_item item = { .key = *key, .payload = value, .payload_bytes = len_bytes };
	struct knot_tree_path path;
	struct knot_tree_step *leaf;
	int err;

	if (len_bytes > KNOT_VALUE_BYTES_MAX)
		return -EINVAL;
	err = knot_tree_descend(tree, mtr, key, &path);
	if (!err && !path.found)
		err = -ENOENT;
	if (!err)
		err = announce_step(tree, mtr, &path, path.leaf);
	if (err)
		return err;
	leaf = &path.at[path.leaf];
	if (knot_tree_page_shorten(knot_page_data(leaf->page), leaf->slot, value, len_bytes))
		return 0;
	knot_tree_page_remove(knot_page_data(leaf->page), leaf->slot);
	return place(tree, mtr, &path, item, false);
}

/* ---- joining ---- */

/* Two neighbours under at[depth], the left one at `slot`; `range` is that of both. */
struct pair {
	unsigned depth;
	unsigned slot;
	struct knot_page *left;
	struct knot_page *right;
	struct knot_tree_range range;
};

/* The page at[depth + 1] and the neighbour on one side of it, which is there. Errors: -KNOT_EMISS, -EUCLEAN. */
static int take_pair(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path, unsigned depth,
		     bool to_right, struct pair *pair)
{
	struct knot_page *page = path->at[depth + 1].page;
	struct knot_page *parent = path->at[depth].page;
	struct knot_tree_range right_range;
	struct knot_key last, first;
	struct knot_page *other;
	unsigned slot = path->at[depth].slot;
	int err = knot_tree_child(tree, mtr, parent, to_right ? slot + 1 : slot - 1, &other);

	if (err)
		return err;
	if (other == page)
		return knot_tree_damaged(tree, page, "two references to it");
	pair->depth = depth;
	pair->slot = to_right ? slot : slot - 1;
	pair->left = to_right ? page : other;
	pair->right = to_right ? other : page;
	knot_tree_child_range(path, depth, pair->slot, &pair->range);
	knot_tree_child_range(path, depth, pair->slot + 1, &right_range);
	pair->range.high = right_range.high;
	pair->range.bounded = right_range.bounded;

	if (knot_tree_page_count(knot_page_data(page)) > 0) {
		knot_tree_page_key(knot_page_data(pair->left), knot_tree_page_count(knot_page_data(pair->left)) - 1,
				   &last);
		knot_tree_page_key(knot_page_data(pair->right), 0, &first);
		if (memcmp(&last, &first, sizeof(last)) >= 0)
			return knot_tree_damaged(tree, other, "its keys do not fit its neighbour's");
	}
	return 0;
}

static size_t joined_bytes(const struct pair *pair)
{
	unsigned prefix_bytes = knot_tree_range_prefix(&pair->range);

	return knot_tree_page_used(knot_page_data(pair->left), prefix_bytes) +
	       knot_tree_page_used(knot_page_data(pair->right), prefix_bytes);
}

/* Add all items of one page to its neighbour's, on which side of them `in_front` says; the prefix stays. */
static int add_items(void *to, const void *from, bool in_front)
{
	unsigned slot = in_front ? 0 : knot_tree_page_count(to);
	unsigned count = knot_tree_page_count(from);
	struct knot_tree_item item;

	for (unsigned i = 0; i < count; i++) {
		knot_tree_page_item(from, i, &item);
		if (!knot_tree_page_covers(to, &item.key) || !knot_tree_page_fits(to, item.payload_bytes))
			return -EUCLEAN;
		knot_tree_page_insert(to, slot + i, &item);
	}
	return 0;
}

/* Both pages' items into the one that has more of them; the other is freed. The parent was announced. */
static int join(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path,
		const struct pair *pair)
{
	uint8_t old[KNOT_PAGE_BYTES];
	void *parent = knot_page_data(path->at[pair->depth].page);
	unsigned prefix_bytes = knot_tree_range_prefix(&pair->range);
	bool keep_left = knot_tree_page_used(knot_page_data(pair->left), prefix_bytes) >=
			 knot_tree_page_used(knot_page_data(pair->right), prefix_bytes);
	struct knot_page *kept = keep_left ? pair->left : pair->right;
	struct knot_page *freed = keep_left ? pair->right : pair->left;
	int err = 0;

	if (knot_tree_page_count(knot_page_data(freed)) > 0 ||
	    knot_tree_page_prefix(knot_page_data(kept)) != prefix_bytes) {
		struct knot_tree_items items = { .first = keep_left ? old : knot_page_data(freed),
						 .second = keep_left ? knot_page_data(freed) : old };

		err = announce(tree, mtr, path, pair->depth + 1, keep_left ? pair->slot : pair->slot + 1, kept);
		if (err)
			return err;
		memcpy(old, knot_page_data(kept), sizeof(old));
		if (knot_tree_page_prefix(old) == prefix_bytes)
			err = add_items(knot_page_data(kept), knot_page_data(freed), !keep_left);
		else
			err = knot_tree_items_fill(&items, 0, knot_tree_items_count(&items), &pair->range,
						   knot_page_data(kept));
		if (err)
			return knot_tree_damaged(tree, kept, "its keys do not fit its parent's");
	}
	knot_tree_page_set_child(parent, pair->slot, knot_page_no(kept), knot_page_generation(kept));
	knot_tree_page_remove(parent, pair->slot + 1);
	return knot_space_release(tree->space, mtr, knot_page_no(freed), 1);
}

/* Cut both pages' items anew between them. The parent was announced. */
static int level_out(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path,
		     const struct pair *pair)
{
	uint8_t old_left[KNOT_PAGE_BYTES], old_right[KNOT_PAGE_BYTES];
	struct knot_tree_items items = { .first = old_left, .second = old_right };
	struct knot_tree_range left_range = pair->range;
	struct knot_tree_range right_range = pair->range;
	unsigned at;
	int err = announce(tree, mtr, path, pair->depth + 1, pair->slot, pair->left);

	if (!err)
		err = announce(tree, mtr, path, pair->depth + 1, pair->slot + 1, pair->right);
	if (err)
		return err;
	memcpy(old_left, knot_page_data(pair->left), sizeof(old_left));
	memcpy(old_right, knot_page_data(pair->right), sizeof(old_right));
	err = knot_tree_items_cut(&items, &pair->range, KNOT_SERIES_NONE, &at, &right_range.low);
	if (!err) {
		left_range.high = right_range.low;
		left_range.bounded = true;
		err = knot_tree_items_fill(&items, 0, at, &left_range, knot_page_data(pair->left));
	}
	if (!err)
		err = knot_tree_items_fill(&items, at, knot_tree_items_count(&items), &right_range,
					   knot_page_data(pair->right));
	if (err || !knot_tree_page_covers(knot_page_data(path->at[pair->depth].page), &right_range.low))
		return knot_tree_damaged(tree, pair->left, "its keys do not fit its parent's");
	knot_tree_page_set_key(knot_page_data(path->at[pair->depth].page), pair->slot + 1, &right_range.low);
	return 0;
}

/* While the root has a single child, it takes that one's place. */
static int shrink(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path)
{
	struct knot_page *page = path->at[0].page;
	int err = 0;

	while (!err && knot_tree_page_level(knot_page_data(page)) > 0 &&
	       knot_tree_page_count(knot_page_data(page)) == 1) {
		struct knot_page *child;

		err = knot_tree_child(tree, mtr, page, 0, &child);
		if (!err)
			err = announce(tree, mtr, path, 0, 0, page);
		if (!err && knot_tree_page_prefix(knot_page_data(child)) != 0)
			err = knot_tree_damaged(tree, child, "its prefix does not fit its parent's keys");
		if (err)
			break;
		copy_body(knot_page_data(page), knot_page_data(child));
		tree->levels = knot_tree_page_level(knot_page_data(page)) + 1;
		err = knot_space_release(tree->space, mtr, knot_page_no(child), 1);
	}
	return err;
}

/*
 * at[depth] is too empty to be left so: join or level it out with a neighbour. `*joined`: its parent has a child
 * less.
 */
static int relieve(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path, unsigned depth,
		   bool must, bool *joined)
{
	const size_t most_bytes = must ? KNOT_TREE_AREA_BYTES : MERGED_MAX_BYTES;
	unsigned slot = path->at[depth - 1].slot;
	bool has_right = slot + 1 < knot_tree_page_count(knot_page_data(path->at[depth - 1].page));
	bool have_pair = false;
	struct pair pair;
	int err;

	*joined = false;
	for (int to_right = 1; to_right >= 0; to_right--) {
		if (to_right ? !has_right : slot == 0)
			continue;
		err = take_pair(tree, mtr, path, depth - 1, to_right, &pair);
		if (err)
			return err;
		have_pair = true;
		if (joined_bytes(&pair) <= most_bytes) {
			*joined = true;
			break;
		}
	}
	if (!*joined && !must)
		return 0;
	if (!have_pair)
		return knot_tree_damaged(tree, path->at[depth - 1].page, "it has a single child");
	err = announce_step(tree, mtr, path, depth - 1);
	if (err)
		return err;
	return *joined ? join(tree, mtr, path, &pair) : level_out(tree, mtr, path, &pair);
}

/* An item of the leaf is gone: see that no page is too empty, from there up. */
static int settle(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_tree_path *path)
{
	bool joined = true;

	for (unsigned depth = path->leaf; depth > 0 && joined; depth--) {
		const void *data = knot_page_data(path->at[depth].page);
		unsigned least = knot_tree_page_level(data) > 0 ? 2 : 1;
		bool must = knot_tree_page_count(data) < least;
		int err;

		if (!must && knot_tree_page_used(data, knot_tree_page_prefix(data)) >= MERGE_BELOW_BYTES)
			return 0;
		err = relieve(tree, mtr, path, depth, must, &joined);
		if (err)
			return err;
	}
	return joined ? shrink(tree, mtr, path) : 0;
}

int knot_tree_remove(struct knot_tree *tree, struct knot_mtr *mtr, const struct knot_key *key)
{
	struct knot_tree_path path;
	struct knot_tree_step *leaf;
	int err = knot_tree_descend(tree, mtr, key, &path);

	if (!err && !path.found)
		err = -ENOENT;
	if (!err)
		err = announce_step(tree, mtr, &path, path.leaf);
	if (err)
		return err;
	leaf = &path.at[path.leaf];
	knot_tree_page_remove(knot_page_data(leaf->page), leaf->slot);
	return settle(tree, mtr, &path);
}
