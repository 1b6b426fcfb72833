/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The inside of `struct shunt_virtqueue` (see <shunt/virtqueue.h>) and its life.
 *
 *            configure: size, addresses, base, descriptors
 *                 │
 *     stopped ────┴── start ──▶ started ── a rule is broken ──▶ broken
 *        ▲                         │                              │
 *        └───────── stop ──────────┴──────────────────────────────┘
 *
 * `enabled` is a switch beside it, and so is `armed`. The ring knows neither sockets nor devices: it is
 * handed memory, addresses and eventfds, and hands out buffers.
 *
 * Threads: all under the lock, but for create, destroy, and the eventfds' values, which only the
 * control thread changes (under the lock) and reads.
 */
#ifndef VIRTQUEUE_VIRTQUEUE_H
#define VIRTQUEUE_VIRTQUEUE_H

#include <pthread.h>
#include <shunt/error.h>
#include <shunt/virtqueue.h>

#include "memory/memory.h"
#include "virtqueue/ring.h"

/* How a driver can break a ring. */
enum virtqueue_fault {
    FAULT_NONE,
    FAULT_AVAILABLE_INDEX,
    FAULT_HEAD,
    FAULT_NEXT,
    FAULT_CHAIN_TOO_LONG,
    FAULT_CHAIN_TOO_LARGE,
    FAULT_ZERO_LENGTH,
    FAULT_UNMAPPED,
    FAULT_READABLE_AFTER_WRITABLE,
    FAULT_INDIRECT_NOT_NEGOTIATED,
    FAULT_INDIRECT_NESTED,
    FAULT_INDIRECT_LENGTH,
    FAULT_NOT_WRITABLE,
    FAULT_RING_UNMAPPED,
    FAULT_NUM,
};

/* Where the driver put the ring, in the front-end's user addresses (vhost-user). */
struct virtqueue_addresses {
    uint64_t descriptor;
    uint64_t driver; /* the available ring */
    uint64_t device; /* the used ring */
};

/* Notifications of the driver, by the used ring. */
struct virtqueue_stats {
    uint64_t notified;
    uint64_t suppressed;
};

struct shunt_virtqueue {
    pthread_mutex_t lock;

    /* The ring where we have it mapped; valid while started. */
    const struct split_descriptor *descriptors;
    const struct split_available *available;
    struct split_used *used;

    uint16_t size; /* a power of two */
    uint16_t generation;
    bool is_started;
    bool is_enabled;
    bool is_armed;
    bool has_event_idx;
    bool has_indirect;

    uint16_t next_available; /* the next entry to take */
    uint16_t seen_available; /* the driver's index when we last looked */
    uint16_t next_used;      /* the next entry to fill */
    uint16_t published_used; /* what the driver knows of it */

    const struct shunt_memory *memory;
    const struct memory_region *last_region;

    enum virtqueue_fault fault;
    uint64_t fault_value;

    int kick_fd;      /* the driver notifies us; -1: we poll */
    bool has_started; /* with this kick descriptor: until then it is the back-end's to watch */
    int call_fd;      /* we notify the driver; -1: it polls */
    int error_fd;
    struct virtqueue_stats stats;

    struct virtqueue_addresses addresses;
    bool has_addresses;
    uint16_t base; /* the index at which the next start begins */

    /* Told once when the queue breaks, with the lock held, in the thread that found it. */
    void (*on_broken)(void *ctx);
    void *on_broken_ctx;
};

/* Makes a stopped queue whose memory is `memory`. -ENOMEM. */
int virtqueue_create(const struct shunt_memory *memory, void (*on_broken)(void *ctx), void *ctx,
                     struct shunt_virtqueue **queue);

/* Closes the eventfds. Accepts NULL. */
void virtqueue_destroy(struct shunt_virtqueue *queue);

/* -EINVAL: not a power of two, 0, or beyond the limit; or the queue is started (-EBUSY). */
int virtqueue_set_size(struct shunt_virtqueue *queue, uint32_t size, struct shunt_error *error);

/* For a stopped queue; a started one is remapped at once. -EINVAL: unaligned; or as of start. */
int virtqueue_set_addresses(struct shunt_virtqueue *queue,
                            const struct virtqueue_addresses *addresses, struct shunt_error *error);

/*
 * Starts the ring at `queue->base`, disarmed. -EINVAL: size or addresses are missing, or an area of the
 * ring does not lie in one piece in guest memory.
 */
int virtqueue_start(struct shunt_virtqueue *queue, uint64_t features, struct shunt_error *error);

/* Stops it; `queue->base` then is where the next start goes on. Forgets a fault. */
void virtqueue_stop(struct shunt_virtqueue *queue);

/* After the memory changed: finds the ring again, or breaks the queue. */
void virtqueue_remap(struct shunt_virtqueue *queue);

/* Whether the driver has made anything available since the start. Takes the lock. */
bool virtqueue_has_moved(struct shunt_virtqueue *queue);

/* Puts the descriptor in place of the one there, which is closed. -1: none. */
void virtqueue_replace_fd(int *slot, int fd);

/* The driver broke a rule: nothing more is taken or returned until the next start. */
void virtqueue_break(struct shunt_virtqueue *queue, enum virtqueue_fault fault, uint64_t value);

/* What a fault is, for a person; the value belongs to it. */
const char *virtqueue_fault_text(enum virtqueue_fault fault);

/* Wakes the driver by its eventfd. */
void virtqueue_notify(struct shunt_virtqueue *queue);

#endif
