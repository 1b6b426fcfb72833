/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a split ring, for tests: it does what a driver does, and anything that a hostile one
 * would do.
 *
 *     area_create(&area, bytes, guest_addr, user_addr);     memory that both sides map
 *     shunt_memory_add(memory, &region, area.fd, …);        … region = area_region(&area)
 *     ring_init(&ring, &area, offset, size);
 *     virtqueue_set_addresses(queue, &addresses, …);        … addresses = ring_addresses(&ring)
 *     ring_add(&ring, buffers, num);                        a chain, known to nobody yet
 *     ring_publish(&ring);                                  the device may see it
 *     ring_take_used(&ring, &used);                         what came back
 *
 * The ring can lie in any memory that is mapped: fill in a `struct ring_area` by hand. All that lies in
 * guest memory may also be written directly, through `descriptors`, `available` and `used`: nothing is
 * checked. What the functions here remember of the ring lies elsewhere.
 *
 * Threads: one at a time for a ring; the device's side may run in any other.
 */
#ifndef LIB_RING_H
#define LIB_RING_H

#include <shunt/memory.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtqueue/ring.h"
#include "virtqueue/virtqueue.h"

/* A piece of guest memory as the test has it. */
struct ring_area {
    uint8_t *base;       /* where the test has it mapped */
    uint64_t guest_addr; /* of base[0] */
    uint64_t user_addr;  /* of base[0] */
    uint64_t size;       /* bytes */
    int fd;              /* the file that it is mapped from, from its beginning; -1: none of ours */
};

/* Makes a zeroed area in a memfd of its own. Fails the test if it cannot. */
void area_create(struct ring_area *area, uint64_t size, uint64_t guest_addr, uint64_t user_addr);
void area_destroy(struct ring_area *area);

/* The region that shares the whole area. */
struct shunt_memory_region area_region(const struct ring_area *area);

/* From a guest address within the area to the test's pointer, and back. */
void *area_at(const struct ring_area *area, uint64_t guest_addr);
uint64_t area_guest(const struct ring_area *area, const void *pointer);

/* One buffer of a chain. */
struct ring_buffer {
    uint64_t addr; /* guest physical */
    uint32_t len;
    bool is_writable;
};

struct ring {
    struct ring_area area; /* where the ring itself lies; buffers may lie anywhere */
    uint16_t size;
    bool has_event_idx; /* set it if negotiated; false after init */

    /* The ring in guest memory, where the test has it mapped. */
    struct split_descriptor *descriptors;
    struct split_available *available;
    struct split_used *used;

    /* Known to the driver only. */
    uint16_t next_available; /* the next entry of the available ring to fill */
    uint16_t kicked_up_to;   /* next_available at the last ring_needs_kick() */
    uint16_t last_used;      /* the next used entry to take */
    uint16_t num_free;       /* descriptors that no chain uses */
    uint16_t first_free;     /* of the list of these, through shadow[].next */
    struct ring_shadow *shadow;
};

/* Bytes from `offset` on that a ring takes. */
uint64_t ring_bytes(uint16_t size);

/*
 * Lays out an empty, zeroed ring at `offset` (a multiple of 16) of the area: descriptors, available ring,
 * used ring. The area is copied, its memory is not owned.
 */
void ring_init(struct ring *ring, const struct ring_area *area, uint64_t offset, uint16_t size);

/* Begins with the index `idx` on both sides, as after a migration: the device's base is `idx`. */
void ring_set_base(struct ring *ring, uint16_t idx);

/* Frees what is ours, not the memory of the ring. */
void ring_fini(struct ring *ring);

/* The user addresses of the three areas, as a front-end sends them. */
struct virtqueue_addresses ring_addresses(const struct ring *ring);

/* --- Chains ----------------------------------------------------------------------------------------- */

/* Writes one descriptor as it is, without looking at it. */
void ring_set_descriptor(struct ring *ring, uint16_t idx, uint64_t addr, uint32_t len,
                         uint16_t flags, uint16_t next);

/*
 * Builds a chain of `num` (>= 1) buffers in free descriptors and puts it into the next entry of the
 * available ring. Returns its head, or -1 when there are not enough descriptors.
 */
int ring_add(struct ring *ring, const struct ring_buffer *buffers, unsigned num);

/*
 * The same by way of an indirect table, which is written to `table` (16 bytes for each buffer) and which
 * the device finds at `table_addr`. It takes one descriptor of the ring.
 */
int ring_add_indirect(struct ring *ring, void *table, uint64_t table_addr,
                      const struct ring_buffer *buffers, unsigned num);

/* Puts any head into the next entry of the available ring; it belongs to no chain of ours. */
void ring_offer(struct ring *ring, uint16_t head);

/* Moves the available index to what was added. */
void ring_publish(struct ring *ring);

/* Writes any available index, without remembering it. */
void ring_set_available_idx(struct ring *ring, uint16_t idx);

/* --- Used ------------------------------------------------------------------------------------------- */

/* How many used entries there are that were not taken. */
uint16_t ring_num_used(const struct ring *ring);

/* Takes the next used entry; its descriptors are free again if it is a chain of ours. False: none. */
bool ring_take_used(struct ring *ring, struct split_used_element *element);

/* --- Notifications ---------------------------------------------------------------------------------- */

/* Whether the device asks to be notified of what was published since the last call. */
bool ring_needs_kick(struct ring *ring);

/*
 * Whether the device is to notify us. With EVENT_IDX: of the next used entry, or not for as long as
 * possible; without: by the flag.
 */
void ring_want_calls(struct ring *ring, bool wanted);

/* With EVENT_IDX: to be notified when the device's used index has gone past `idx`. */
void ring_set_used_event(struct ring *ring, uint16_t idx);

/* With EVENT_IDX: what the device wrote as its wish. */
uint16_t ring_avail_event(const struct ring *ring);

#endif
