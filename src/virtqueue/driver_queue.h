/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_driver_queue` (see <shunt/driver.h>) and its life.
 *
 *     fresh ── start ──▶ running ── stop, or it breaks ──▶ waiting ── start ──▶ running …
 *
 * What the device can write, which is all of the shared memory, is never what we go by. Everything
 * that we need to know of a chain is in memory of our own:
 *
 *     chains[id]    cookie, number of descriptors, order; num 0: the device does not have it
 *     shadow[slot]  each descriptor as we last wrote it, in the split format; `next` links a chain
 *     free_slots    a circle of slots that are free, first in, first out
 *
 * A *slot* is an entry of the descriptor table in a split ring, and an identifier of a buffer in a
 * packed one; a chain takes as many as it has descriptors in the ring, and the first one is its id.
 * Because slots are taken in the order in which they came back, a device that returns chains in
 * order gets the same slots in the same places of the ring, again and again: then nothing of what
 * did not change has to be written. That is also what IN_ORDER asks of a driver (VIRTIO 1.3,
 * 2.7.2).
 *
 * At each start the ring is laid out anew from the shadow: what the last device left in it is of no
 * interest but for what it had returned, which is taken out before (`backlog`). So a device may
 * crash at any moment, and the next one may be of another make.
 *
 * Threads: all under the lock, but for create and destroy.
 */
#ifndef VIRTQUEUE_DRIVER_QUEUE_H
#define VIRTQUEUE_DRIVER_QUEUE_H

#include <pthread.h>
#include <shunt/driver.h>
#include <shunt/error.h>

#include "virtqueue/ring.h"

/* How a device can break a ring. */
enum driver_fault {
    DRIVER_FAULT_NONE,
    DRIVER_FAULT_USED_INDEX,
    DRIVER_FAULT_USED_ID,
    DRIVER_FAULT_USED_LENGTH,
    DRIVER_FAULT_USED_BATCH,
    DRIVER_FAULT_NUM,
};

struct driver_chain {
    void *cookie;
    uint32_t writable_len;
    uint32_t sequence; /* chains have an order */
    uint16_t num;      /* slots; 0: the device does not have it */
};

/* A chain that the device returned. */
struct driver_completion {
    uint16_t id;
    uint16_t num;
    uint32_t len;
};

/* The next entry of the used ring, as the device wrote it. */
struct driver_used_entry {
    uint32_t id;
    uint32_t len;
};

struct driver_queue_stats {
    uint64_t kicked;
    uint64_t suppressed;
};

struct shunt_driver_queue {
    pthread_mutex_t lock;

    /* The ring, in shared memory. */
    enum ring_format format;
    union {
        struct {
            struct split_descriptor *descriptors;
            struct split_available *available;
            struct split_used *used;
        } split;
        struct {
            struct packed_descriptor *descriptors;
            struct packed_event *driver_event;
            struct packed_event *device_event;
        } packed;
    };

    uint16_t size;
    uint16_t num_free; /* slots */
    uint16_t first_free, end_free;

    /* Split: free-running indices. Packed: positions, see ring.h. */
    uint16_t next_available; /* the next entry to fill */
    uint16_t published_available;
    uint16_t next_used; /* the next entry to take */
    uint16_t seen_used; /* split: the device's index when we last looked */
    uint16_t oldest;    /* IN_ORDER: the slot that the device returns next */

    bool is_running;
    bool has_format; /* it was started once */
    bool is_armed;
    bool is_in_order;
    bool is_in_batch; /* `entry` stands for chains that are not taken yet */
    bool has_event_idx;
    bool has_indirect;

    uint32_t sequence;           /* of the next chain */
    uint32_t published_sequence; /* of the first one that is not published */
    uint64_t first_word;         /* packed: of the entry at published_available, written last */
    struct driver_used_entry entry;

    struct driver_chain *chains;
    struct split_descriptor *shadow;
    uint16_t *free_slots;
    uint16_t *heads; /* split: what we last wrote to the available ring */

    /* Returned by a device that is gone: taken before all others. */
    struct driver_completion *backlog;
    unsigned num_backlog;
    unsigned first_backlog;

    enum driver_fault fault;
    uint64_t fault_value;

    int kick_fd; /* we notify the device */
    int call_fd; /* the device notifies us */
    struct driver_queue_stats stats;

    struct split_descriptor *tables; /* for indirect chains, `max_indirect` entries for each slot */
    unsigned max_indirect;
    /* Told when the queue breaks, with the lock held. */
    void (*on_break)(void *ctx);
    void *on_break_ctx;
};

struct driver_queue_config {
    uint16_t size; /* 1 … SHUNT_VIRTQUEUE_MAX_SIZE; a power of two unless PACKED is certain */
    unsigned max_indirect; /* pieces of an indirect chain; 0: there are none */
    void (*on_break)(void *ctx);
    void *ctx;
};

/*
 * Bytes of shared memory that the rings of a queue take in either format, a multiple of a cache
 * line.
 */
uint64_t driver_queue_bytes(const struct driver_queue_config *config);

/* `ring`: so many bytes, aligned to a cache line, that outlive the queue. -ENOMEM, -EMFILE. */
int driver_queue_create(const struct driver_queue_config *config, void *ring,
                        struct shunt_driver_queue **queue);

/* Accepts NULL. */
void driver_queue_destroy(struct shunt_driver_queue *queue);

/*
 * Lays the ring out for a device that begins at driver_queue_base(), with all chains that no device
 * returned. Nobody may work on the ring. Forgets a fault. -EINVAL: the size does not suit the
 * format.
 */
int driver_queue_start(struct shunt_driver_queue *queue, uint64_t features,
                       struct shunt_error *error);

/*
 * From now on the device may be notified. We are told to look once, and so is it if there is
 * anything.
 */
void driver_queue_run(struct shunt_driver_queue *queue);

/* The device is gone, or stopped. */
void driver_queue_stop(struct shunt_driver_queue *queue);

/* Where the device begins, as SET_VRING_BASE has it. */
uint32_t driver_queue_base(const struct shunt_driver_queue *queue);

/* The device broke a rule. */
void driver_queue_break(struct shunt_driver_queue *queue, enum driver_fault fault, uint64_t value);

/* What a fault is, for a person; the value belongs to it. */
const char *driver_queue_fault_text(enum driver_fault fault);

#endif
