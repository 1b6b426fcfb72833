/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The driver's side of a ring in either format, for tests: it does what a driver does, and anything that a
 * hostile one would do.
 *
 *     area_create(&area, bytes, guest_addr, user_addr);     memory that both sides map
 *     shunt_memory_add(memory, &region, area.fd, …);        … region = area_region(&area)
 *     ring_init(&ring, &area, offset, size, RING_PACKED);
 *     virtqueue_set_addresses(queue, &addresses, …);        … addresses = ring_addresses(&ring)
 *     ring_add(&ring, buffers, num);                        a chain, known to nobody yet
 *     ring_publish(&ring);                                  the device may see it
 *     ring_take_used(&ring, &used);                         what came back
 *
 * All that lies in guest memory may also be written directly: split by `descriptors`, `available` and
 * `used`, packed by `packed`, `driver_event` and `device_event`. Nothing is checked; what the functions
 * here remember of the ring lies elsewhere.
 *
 * A chain is known by its *id*: split, the index of its first descriptor; packed, its buffer id, which has
 * nothing to do with where its descriptors lie.
 *
 * Threads: one at a time for a ring; the device's side may run in any other.
 */
#ifndef LIB_RING_H
#define LIB_RING_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/area.h"
#include "virtqueue/ring.h"
#include "virtqueue/virtqueue.h"

/* One buffer of a chain. */
struct ring_buffer {
    uint64_t addr; /* guest physical */
    uint32_t len;
    bool is_writable;
};

/* A descriptor as anybody makes it up; what links it to the next one is the format's. */
struct ring_descriptor {
    uint64_t addr;
    uint32_t len;
    uint16_t flags;
};

/* A chain that came back. */
struct ring_used {
    uint32_t id;
    uint32_t len; /* bytes written to it */
};

struct ring_class;
struct ring_shadow;

struct ring {
    struct ring_area area; /* where the ring itself lies; buffers may lie anywhere */
    enum ring_format format;
    uint16_t size;

    /* Set them if negotiated, before the first chain; false after init. */
    bool has_event_idx;
    bool is_in_order;

    /* The ring in guest memory, where the test has it mapped; those of the other format are NULL. */
    struct split_descriptor *descriptors;
    struct split_available *available;
    struct split_used *used;
    struct packed_descriptor *packed;
    struct packed_event *driver_event;
    struct packed_event *device_event;

    /*
     * Known to the driver only. Places in the ring are free-running indices in the split format, and
     * positions with the wrap counter in the packed one.
     */
    uint16_t next_available; /* the next entry to fill */
    uint16_t last_used;      /* the next used entry to take */
    uint16_t num_free;       /* descriptors that no chain uses */
    uint16_t first_free;     /* the next id, of a list through shadow[].next */
    uint16_t num_unkicked;   /* entries that were added since the last ring_needs_kick() */
    uint16_t hidden_at;      /* packed: the slot whose flags are written when it is published … */
    uint16_t hidden_flags;
    bool has_hidden; /* … if there is one */
    const struct ring_class *class;
    struct ring_shadow *shadow; /* by id */

    /* In order only: chains that the device has, oldest first, and those of a batch that it gave back. */
    uint16_t *order;
    uint32_t first_in_order, end_of_order; /* free-running */
    uint32_t batch_end;
    uint32_t batch_len;
};

/* Bytes from `offset` on that a ring takes, whatever its format. */
uint64_t ring_bytes(uint16_t size);

/*
 * Lays out an empty, zeroed ring at `offset` (a multiple of 16) of the area. The area is copied, its
 * memory is not owned.
 */
void ring_init(struct ring *ring, const struct ring_area *area, uint64_t offset, uint16_t size,
               enum ring_format format);

/* Copies the ring to another place, where it goes on. */
void ring_move(struct ring *ring, const struct ring_area *area, uint64_t offset);

/* Frees what is ours, not the memory of the ring. */
void ring_fini(struct ring *ring);

/*
 * Begins at `base` on both sides with all descriptors used, as after a migration. As the device's base:
 * split, an index; packed, a position, which may be given for both sides at once (the upper half).
 */
void ring_set_base(struct ring *ring, uint32_t base);

/* The base of a device that has returned all that it took: from what the driver knows. */
uint32_t ring_base(const struct ring *ring);

/* The place `distance` entries after (before, if negative) another one. */
uint16_t ring_step(const struct ring *ring, uint16_t place, int distance);

/* The user addresses of the three areas, as a front-end sends them. */
struct virtqueue_addresses ring_addresses(const struct ring *ring);

/* The bytes that each of the areas takes. */
struct ring_area_bytes {
    uint64_t descriptor;
    uint64_t driver;
    uint64_t device;
};
struct ring_area_bytes ring_area_bytes(const struct ring *ring);

/* --- Chains ----------------------------------------------------------------------------------------- */

/* The id that the next chain will have. */
uint16_t ring_next_id(const struct ring *ring);

/*
 * Builds a chain of `num` (>= 1) buffers in free descriptors and puts it into the next entry of the
 * ring. Returns its id, or -1 when there are not enough descriptors.
 */
int ring_add(struct ring *ring, const struct ring_buffer *buffers, unsigned num);

/*
 * The same by way of an indirect table, which is written to `table` (16 bytes for each buffer) and which
 * the device finds at `table_addr`. It takes one descriptor of the ring.
 */
int ring_add_indirect(struct ring *ring, void *table, uint64_t table_addr,
                      const struct ring_buffer *buffers, unsigned num);

/* The same of descriptors that are written as they are: their flags, too, are the caller's. */
int ring_add_descriptors(struct ring *ring, const struct ring_descriptor *descriptors,
                         unsigned num);

/* Writes one entry of an indirect table as it is; `next` is for the split format. */
void ring_set_entry(const struct ring *ring, void *entry, const struct ring_descriptor *descriptor,
                    uint16_t next);

/* Shows the device all that was added. */
void ring_publish(struct ring *ring);

/* Split: writes one descriptor as it is, without looking at it. */
void ring_set_descriptor(struct ring *ring, uint16_t idx, uint64_t addr, uint32_t len,
                         uint16_t flags, uint16_t next);

/* Split: puts any head into the next entry of the available ring; it belongs to no chain of ours. */
void ring_offer(struct ring *ring, uint16_t head);

/* Split: writes any available index, without remembering it. */
void ring_set_available_idx(struct ring *ring, uint16_t idx);

/* Packed: the flags by which a descriptor in this place is available, and those by which it is used. */
uint16_t ring_available_flags(uint16_t place);
uint16_t ring_used_flags(uint16_t place);

/* --- Used ------------------------------------------------------------------------------------------- */

/* How many chains came back that were not taken. */
uint16_t ring_num_used(const struct ring *ring);

/*
 * Takes the next chain that came back; its descriptors are free again if it is one of ours. In order, one
 * that the device skipped has all of its writable bytes written. False: none.
 */
bool ring_take_used(struct ring *ring, struct ring_used *used);

/* --- Notifications ---------------------------------------------------------------------------------- */

/* Whether the device asks to be notified of what was published since the last call. */
bool ring_needs_kick(struct ring *ring);

/*
 * Whether the device is to notify us. With EVENT_IDX: of the next used entry, or (split) not for as long
 * as possible, (packed) not at all; without: by the flag.
 */
void ring_want_calls(struct ring *ring, bool wanted);

/* With EVENT_IDX: to be notified when the device has gone past this place. */
void ring_want_call_past(struct ring *ring, uint16_t place);

/* With EVENT_IDX: the place past which the device wants to be notified, if it does at all. */
bool ring_device_event(const struct ring *ring, uint16_t *place);

#endif
