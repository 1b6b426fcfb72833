/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A list of structs that hold their own links: putting in and taking out cost nothing and cannot fail.
 * It has no locks and owns nothing.
 *
 *     struct port { struct list_link link; … };
 *     struct list_link ports;
 *     list_for_each (port, &ports, link) …
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stddef.h>

/* In a struct: its neighbours. By itself: the list, a circle with this as its beginning and end. */
struct list_link {
    struct list_link *next;
    struct list_link *prev;
};

static inline void list_init(struct list_link *list)
{
    list->next = list->prev = list;
}

static inline void list_append(struct list_link *list, struct list_link *link)
{
    link->next = list;
    link->prev = list->prev;
    list->prev->next = link;
    list->prev = link;
}

static inline void list_remove(struct list_link *link)
{
    link->next->prev = link->prev;
    link->prev->next = link->next;
}

/* The struct whose `member` the link is. */
#define list_entry(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

#define list_first(entry, list, member) list_entry((list)->next, __typeof__(*(entry)), member)
#define list_next(entry, member)        list_entry((entry)->member.next, __typeof__(*(entry)), member)

/* The list must not change, but what it holds may. */
#define list_for_each(entry, list, member)                                                         \
    for ((entry) = list_first(entry, list, member); &(entry)->member != (list);                    \
         (entry) = list_next(entry, member))

/* The entry at hand may be taken out. `following` is of the same type, and for the macro's own use. */
#define list_for_each_safe(entry, following, list, member)                                         \
    for ((entry) = list_first(entry, list, member), (following) = list_next(entry, member);        \
         &(entry)->member != (list);                                                               \
         (entry) = (following), (following) = list_next(following, member))

#endif
