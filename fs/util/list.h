/* SPDX-License-Identifier: MIT */
/* Intrusive doubly linked lists. A node that is in no list points to itself. */
#ifndef KNOT_UTIL_LIST_H
#define KNOT_UTIL_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct knot_list {
	struct knot_list *next;
	struct knot_list *prev;
};

#define knot_container_of(pointer, type, member) ((type *)(void *)((char *)(pointer)-offsetof(type, member)))

static inline void knot_list_init(struct knot_list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool knot_list_empty(const struct knot_list *list)
{
	return list->next == list;
}

static inline void knot_list_insert_between(struct knot_list *node, struct knot_list *prev, struct knot_list *next)
{
	node->prev = prev;
	node->next = next;
	prev->next = node;
	next->prev = node;
}

static inline void knot_list_add_head(struct knot_list *list, struct knot_list *node)
{
	knot_list_insert_between(node, list, list->next);
}

static inline void knot_list_add_tail(struct knot_list *list, struct knot_list *node)
{
	knot_list_insert_between(node, list->prev, list);
}

/* Take the node out of the list that it is in, if any. */
static inline void knot_list_remove(struct knot_list *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	knot_list_init(node);
}

/* Move everything in `from` to the end of `to`. */
static inline void knot_list_splice_tail(struct knot_list *to, struct knot_list *from)
{
	if (knot_list_empty(from))
		return;
	from->next->prev = to->prev;
	to->prev->next = from->next;
	from->prev->next = to;
	to->prev = from->prev;
	knot_list_init(from);
}

#endif
