/* SPDX-License-Identifier: BSD-3-Clause */
/* What differs between the formats on the driver's side; inside of ring.c and the two formats' files. */
#ifndef LIB_RING_CLASS_H
#define LIB_RING_CLASS_H

#include "lib/ring.h"

#define RING_LOAD_ACQUIRE(pointer)         __atomic_load_n(pointer, __ATOMIC_ACQUIRE)
#define RING_LOAD_RELAXED(pointer)         __atomic_load_n(pointer, __ATOMIC_RELAXED)
#define RING_STORE_RELAXED(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELAXED)
#define RING_STORE_RELEASE(pointer, value) __atomic_store_n(pointer, value, __ATOMIC_RELEASE)

/* What the driver remembers of a chain, or of a free id. */
struct ring_shadow {
    uint16_t next;         /* of the list of free ids; split: also of the chain */
    uint16_t num;          /* descriptors of a chain of ours; 0: the device has none by this id */
    uint32_t writable_len; /* in the descriptors of the ring itself */
};

struct ring_class {
    /* Where the areas lie from `start` on. */
    void (*lay_out)(struct ring *ring, uint8_t *start);
    /* What the driver knows of a ring that is new. */
    void (*begin)(struct ring *ring);
    void (*set_base)(struct ring *ring, uint32_t base);
    uint16_t (*step)(const struct ring *ring, uint16_t place, int distance);

    /* Takes an id and descriptors, and writes the chain; which is in the ring, but not published. */
    uint16_t (*write_chain)(struct ring *ring, const struct ring_descriptor *descriptors,
                            unsigned num);
    void (*publish)(struct ring *ring);

    /* Whether there is a used entry in this place, and what it says. */
    bool (*read_used)(const struct ring *ring, uint16_t place, struct ring_used *used);
    /* The place after that of a chain of `num` descriptors. */
    uint16_t (*after_chain)(const struct ring *ring, uint16_t place, unsigned num);
    /* Puts id and descriptors of a chain back. */
    void (*free_chain)(struct ring *ring, uint16_t id);

    /* Whether the device's wish lies among the `num` entries before the next one. */
    bool (*is_kick_wanted)(const struct ring *ring, uint16_t num);
    void (*want_calls)(struct ring *ring, bool wanted);
    void (*want_call_past)(struct ring *ring, uint16_t place);
    bool (*device_event)(const struct ring *ring, uint16_t *place);
};

extern const struct ring_class ring_split;
extern const struct ring_class ring_packed;

#endif
