/* SPDX-License-Identifier: MIT */
/*
 * Inside fsck: one check, and what its passes hand to each other.
 *
 *   super.c   superblocks, state page            walk.c    the tree, page by page
 *   object.c  its items, object by object        data.c    inodes' data       names.c  entries and back-references
 *   links.c   do both sides of a name agree      reach.c   is every directory reachable
 *   groups.c  allocation                         scrub.c   file contents
 *
 * The tree is walked once, in key order; all of an object's items come together, so what concerns one object alone is
 * checked in passing and only what ties objects together is remembered. A second walk is made only when something was
 * found whose place must be told.
 */
#ifndef KNOT_FSCK_FSCK_INT_H
#define KNOT_FSCK_FSCK_INT_H

#include "fs/disk/super.h"
#include "fs/tree/tree.h"
#include "fsck/fsck.h"

#define KNOT_FSCK_GROUP_WORDS (KNOT_GROUP_PAGES / 64u)
#define KNOT_FSCK_CLUSTERS    16u /* that the reader keeps */

/* An array that grows. */
struct knot_fsck_array {
	void *items;
	size_t count, room;
};

/* What the walk found in use of one group, and the fixed pages. */
struct knot_fsck_group {
	uint64_t words[KNOT_FSCK_GROUP_WORDS];
	uint64_t tree_clusters[KNOT_GROUP_CLUSTERS / 64u];
	uint64_t *written; /* a bit for each data page that has a check value; NULL: none, or no scrub */
};

/* An inode number: one that has an inode, or that an entry or directory names. */
#define KNOT_NODE_HAS_INODE 0x1u
#define KNOT_NODE_SUSPECT   0x2u /* its names are to be looked at one by one */
#define KNOT_NODE_REACHED   0x4u
#define KNOT_NODE_NO_NAMES  0x8u
struct knot_fsck_node {
	uint64_t number;
	uint64_t sum[2];  /* of a hash of each entry that names it, less that of each back-reference */
	uint32_t entries; /* that name it */
	uint16_t types;   /* bit t: one of them says type t */
	uint8_t type;     /* DT_*; 0 unknown */
	uint8_t flags;
};

struct knot_fsck_nodes {
	struct knot_fsck_array array;
	uint32_t *slots; /* hash table of index + 1 */
	size_t slot_count;
};

/* "Directory `from` names directory `to`": indexes of nodes. */
struct knot_fsck_edge {
	uint32_t from, to;
};

struct knot_fsck_orphan {
	uint64_t number;
	bool has_inode;
};

struct knot_fsck_truncation {
	uint64_t object, from_page, inode;
};

/* An inode whose data is filed under another number. */
struct knot_fsck_foreign {
	uint64_t object, inode, pages, size;
	bool has_inline;
};

/* Extents under a number that is not their inode's. */
struct knot_fsck_loose {
	uint64_t object, pages, end;
	bool has_owner;
};

/* The object that the walk is in. */
struct knot_fsck_object {
	uint64_t number;
	bool is_open, has_inode, is_good; /* good: its values can be relied upon */
	bool is_torn;                     /* some of its items may be in pages that can't be read */
	uint32_t node;
	bool has_node;
	uint32_t mode, links, subdirectories;
	uint64_t size, pages, data_object;
	uint64_t references, entries, directories, other_items;
	bool has_inline;
	size_t inline_bytes;
	uint64_t extents, extent_pages, extent_end;
	uint64_t name_dir; /* its first name, for messages */
	uint8_t name[KNOT_NAME_BYTES_MAX];
	size_t name_bytes;
	uint64_t run_hash;          /* names of the same hash */
	struct knot_fsck_array run; /* bytes: length, name */
};

struct knot_fsck_cluster {
	uint64_t first_page; /* 0: none */
	uint64_t used_at;
	uint8_t *pages;
};

struct knot_fsck_refused {
	uint64_t parent;
	uint32_t slot;
};

struct knot_fsck {
	struct knot_device *device;
	const struct knot_fsck_options *options;
	struct knot_fsck_report *report;
	struct knot_super super;
	uint64_t log_end; /* no page is newer */
	struct knot_disk_state state;
	bool has_state;
	uint64_t groups; /* only these may be in use */
	struct knot_fsck_group **used;
	struct knot_fsck_cluster clusters[KNOT_FSCK_CLUSTERS];
	uint64_t reads;
	struct knot_fsck_object object;
	struct knot_fsck_nodes nodes;
	struct knot_fsck_array edges, orphans, truncations, foreigns, loose;
	struct knot_fsck_array refused;   /* children that the first walk did not enter, in its order */
	struct knot_fsck_array bad_pages; /* data pages, ascending */
	bool has_gap;                     /* pages were left out since the last item */
	uint64_t second_names;
};

/* problem_line.c */

/* What a problem's placeholders stand for. */
struct knot_fsck_at {
	uint64_t object, page, file_page, a, b;
	const char *why;
	const void *name;
	size_t name_bytes;
};

/* Count a problem and say it. */
void knot_fsck_problem(struct knot_fsck *fsck, enum knot_fsck_problem problem, const struct knot_fsck_at *at);

/* reader.c */

/* Room for one more item of `item_bytes`. Errors: -ENOMEM. */
int knot_fsck_array_grow(struct knot_fsck_array *array, size_t item_bytes);

/* Errors: those of the device. */
int knot_fsck_read(struct knot_fsck *fsck, uint64_t page_no, void *page);

/* Read and verify a page with a header. False when it can't be used: that was said as `problem`. */
bool knot_fsck_load(struct knot_fsck *fsck, uint64_t page_no, enum knot_page_type type, enum knot_fsck_problem problem,
		    void *page);

/* Has somebody cancelled the check? The second asks only at every 64th read. Errors: -ECANCELED. */
int knot_fsck_ask(struct knot_fsck *fsck);
int knot_fsck_go_on(struct knot_fsck *fsck);

void knot_fsck_reader_free(struct knot_fsck *fsck);

/* used.c */

int knot_fsck_used_init(struct knot_fsck *fsck);
void knot_fsck_used_free(struct knot_fsck *fsck);

/* The group, made with its fixed pages when it is new. Errors: -ENOMEM. */
int knot_fsck_used_group(struct knot_fsck *fsck, uint64_t group, struct knot_fsck_group **found);

/* Why these can't be pages of a group in use: the end of a sentence; NULL if they can. */
const char *knot_fsck_why_outside(const struct knot_fsck *fsck, uint64_t page_no, uint64_t pages);

/*
 * Take pages of one group, none of them outside. `*twice` is the first that was taken already or has a fixed use, or 0.
 * Errors: -ENOMEM.
 */
int knot_fsck_take(struct knot_fsck *fsck, uint64_t page_no, uint32_t pages, uint64_t *twice);
int knot_fsck_take_tree(struct knot_fsck *fsck, uint64_t page_no, bool *twice);

/* super.c */

/* Errors: of knot_fsck_run(), said. */
int knot_fsck_super(struct knot_fsck *fsck);
/* After replay. */
void knot_fsck_super_copies(struct knot_fsck *fsck);
void knot_fsck_state(struct knot_fsck *fsck);
void knot_fsck_state_counts(struct knot_fsck *fsck);

/* walk.c */

typedef int (*knot_fsck_visit_fn)(struct knot_fsck *fsck, void *arg, const struct knot_key *key, const void *value,
				  size_t len_bytes);

/* The first walk checks the pages and takes them. Errors: -ENOMEM, -ECANCELED, those of `visit`. */
int knot_fsck_walk_first(struct knot_fsck *fsck, knot_fsck_visit_fn visit, void *arg);
int knot_fsck_walk_again(struct knot_fsck *fsck, knot_fsck_visit_fn visit, void *arg);

/* object.c */

int knot_fsck_visit_item(struct knot_fsck *fsck, void *arg, const struct knot_key *key, const void *value,
			 size_t len_bytes);
int knot_fsck_visit_end(struct knot_fsck *fsck);

/* data.c */

int knot_fsck_truncation_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes);
int knot_fsck_extent_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes);
int knot_fsck_data_end_of_object(struct knot_fsck *fsck);
void knot_fsck_data_end(struct knot_fsck *fsck);

/* names.c */

/* Errors: -ENOMEM. */
int knot_fsck_node(struct knot_fsck *fsck, uint64_t number, uint32_t *index);
/* NULL if there is none. */
struct knot_fsck_node *knot_fsck_node_find(const struct knot_fsck *fsck, uint64_t number);
static inline struct knot_fsck_node *knot_fsck_node_at(const struct knot_fsck *fsck, uint32_t index)
{
	return (struct knot_fsck_node *)fsck->nodes.array.items + index;
}

struct knot_fsck_name {
	uint64_t child, dir, cookie;
	uint8_t type; /* entries */
	const uint8_t *bytes;
	size_t len_bytes;
};

/* What is impossible about the item, but for type and name; NULL: nothing. `bytes` points into the value. */
const char *knot_fsck_parse_entry(const struct knot_key *key, const void *value, size_t len_bytes,
				  struct knot_fsck_name *name);
bool knot_fsck_parse_reference(const struct knot_key *key, const void *value, size_t len_bytes,
			       struct knot_fsck_name *name);

int knot_fsck_entry_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes);
int knot_fsck_reference_item(struct knot_fsck *fsck, const struct knot_key *key, const void *value, size_t len_bytes);
int knot_fsck_orphan_item(struct knot_fsck *fsck, const struct knot_key *key, size_t len_bytes);
void knot_fsck_names_end_of_object(struct knot_fsck *fsck);

/* links.c, reach.c: the walk was complete */
int knot_fsck_links(struct knot_fsck *fsck);
int knot_fsck_reach(struct knot_fsck *fsck);

/* groups.c, scrub.c */
int knot_fsck_groups(struct knot_fsck *fsck);
int knot_fsck_scrub(struct knot_fsck *fsck);

#endif
