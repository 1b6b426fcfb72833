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
 * `enabled` is a switch beside it, and so is `armed`. A started queue *runs* while it is not broken and we
 * know where its ring lies, which behind a vIOMMU can change. The ring knows neither sockets nor devices:
 * it is handed memory, addresses and eventfds, and hands out buffers.
 *
 * Threads: all under the lock, but for create, destroy, and the eventfds' values, which only the
 * control thread changes (under the lock) and reads.
 */
#ifndef VIRTQUEUE_VIRTQUEUE_H
#define VIRTQUEUE_VIRTQUEUE_H

#include <pthread.h>
#include <shunt/error.h>
#include <shunt/virtqueue.h>

#include "memory/dirty_log.h"
#include "memory/iotlb.h"
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
    FAULT_IO_ACCESS,
    FAULT_NUM,
};

/* In which addresses the front-end tells where a ring lies. */
enum ring_addressing { RING_AT_USER, RING_AT_GUEST, RING_AT_IO };

/* What all queues of a device share: where addresses lead. Changed with all of them locked. */
struct virtqueue_space {
    const struct shunt_memory *memory;
    const struct iotlb
        *iotlb; /* buffers are named by I/O virtual address; NULL: by guest address */
    const struct dirty_log *log;
    enum ring_addressing ring_addressing;
};

/* Where the driver put the ring. */
struct virtqueue_addresses {
    uint64_t descriptor;
    uint64_t driver; /* split: the available ring; packed: what the driver wants to know of */
    uint64_t device; /* split: the used ring; packed: what the device wants to know of */
    uint64_t log;    /* guest address by which writes to the device's area are logged, if … */
    bool is_logged;
};

/* Notifications of the driver, by the used ring. */
struct virtqueue_stats {
    uint64_t notified;
    uint64_t suppressed;
    uint64_t iotlb_misses;
};

/* A chain on its way back. */
struct used_chain {
    uint16_t id;
    uint16_t num_descriptors; /* of the ring */
    uint32_t len;             /* bytes that were written to it */
};

/* An I/O virtual address whose place is to be asked for. */
struct iotlb_miss {
    uint64_t io_addr;
    unsigned access;
    bool is_asked; /* the back-end sent it on */
};

#define VIRTQUEUE_MAX_MISSES 64

/* Pages of an area of the ring that are mapped once more, in a row; start NULL: there is no need. */
struct area_window {
    void *start;
    uint64_t bytes;
};

struct shunt_virtqueue {
    pthread_mutex_t lock;

    /* The ring where we have it mapped; valid while `is_running`. */
    enum ring_format format;
    union {
        struct {
            const struct split_descriptor *descriptors;
            const struct split_available *available;
            struct split_used *used;
        } split;
        struct {
            struct packed_descriptor *descriptors;
            const struct packed_event *driver_event;
            struct packed_event *device_event;
        } packed;
    };

    uint16_t size;
    uint16_t generation;
    bool is_running; /* started, not broken, ring mapped: all that the data path asks for */
    bool is_started;
    bool is_settled; /* since the start it was found where the ring goes on */
    bool is_enabled;
    bool is_armed;
    bool is_blocked; /* the next chain waits for the IOTLB */
    bool has_event_idx;
    bool has_indirect;
    bool notifies_on_empty;
    bool is_logging; /* what we write is marked in the log */
    /*
     * The device only reads from it, as from a transmitq: F_WRITE within indirect tables means nothing.
     * DPDK's driver for packed rings leaves it set in some entries of the frames that it sends.
     */
    bool is_read_only;

    /* Split: free-running indices. Packed: positions, see ring.h. */
    uint16_t next_available; /* the next entry to take */
    uint16_t seen_available; /* split: the driver's index when we last looked */
    uint16_t next_used;      /* the next entry to fill */
    uint16_t published_used; /* what the driver knows of it */
    uint16_t first_flags;    /* packed: of the entry at published_used, which are written last */

    const struct virtqueue_space *space;
    const struct memory_range *last_range;
    struct dirty_marks marks;

    /* Chains in flight as they are noted in shared memory, see inflight.h; NULL: they are not. */
    void *inflight_region;
    uint64_t inflight_region_bytes;
    struct inflight *inflight; /* while started */
    unsigned num_resubmitted; /* chains of a predecessor that are to be fetched before all others */

    enum virtqueue_fault fault;
    uint64_t fault_value;

    int kick_fd;      /* the driver notifies us; -1: we poll */
    bool has_started; /* with this kick descriptor: until then it is the back-end's to watch */
    int call_fd;      /* we notify the driver; -1: it polls */
    int error_fd;
    struct virtqueue_stats stats;

    unsigned num_misses;
    struct iotlb_miss misses[VIRTQUEUE_MAX_MISSES];

    struct virtqueue_addresses addresses;
    bool has_addresses;
    struct area_window windows[RING_NUM_AREAS];
    /*
     * Where the next start begins, as SET_VRING_BASE says it. Split: the index. Packed: the position in
     * the available ring, and in the upper half that in the used ring.
     */
    uint32_t base;

    /*
     * Told when the queue breaks or misses an address, with the lock held, in the thread that found it.
     * The control thread then looks at `fault` and `misses`.
     */
    void (*on_event)(void *ctx);
    void *on_event_ctx;
};

/* Makes a stopped queue in `space`. -ENOMEM. */
int virtqueue_create(const struct virtqueue_space *space, void (*on_event)(void *ctx), void *ctx,
                     struct shunt_virtqueue **queue);

/* Closes the eventfds. Accepts NULL. */
void virtqueue_destroy(struct shunt_virtqueue *queue);

/* -EINVAL: 0, or beyond the limit; -EBUSY: the queue is started. */
int virtqueue_set_size(struct shunt_virtqueue *queue, uint32_t size, struct shunt_error *error);

/*
 * A started queue is remapped at once. -EINVAL: unaligned, or as of start; -EAGAIN cannot be: a started
 * queue waits for its addresses.
 */
int virtqueue_set_addresses(struct shunt_virtqueue *queue,
                            const struct virtqueue_addresses *addresses, struct shunt_error *error);

/*
 * Chains are to be noted in `region`, which is the queue's part of an area that the front-end keeps and
 * stays mapped until another is set; NULL: in none. For a stopped queue; checked at its start.
 */
void virtqueue_set_inflight_region(struct shunt_virtqueue *queue, void *region, uint64_t bytes);

/*
 * Starts the ring at `queue->base`, disarmed. 0, also when the IOTLB has yet to tell where it lies.
 * -EINVAL: size or addresses are missing or do not suit the format, or an area of the ring does not lie
 * in one piece in guest memory.
 */
int virtqueue_start(struct shunt_virtqueue *queue, uint64_t features, struct shunt_error *error);

/*
 * Whether a stopped ring would go on where another device, or we before a crash, left it: then its driver's
 * first kick was long ago. The front-end says so by the base, or it knows no better and the ring shows it.
 */
bool virtqueue_is_resumable(struct shunt_virtqueue *queue, uint64_t features);

/* Stops it; `queue->base` then is where the next start goes on. Forgets a fault. */
void virtqueue_stop(struct shunt_virtqueue *queue);

/*
 * After memory or IOTLB changed: finds the ring again, or breaks the queue; misses that are answered are
 * forgotten. True if the queue can go on where it had to wait: whoever sleeps on it is to be woken.
 */
bool virtqueue_remap(struct shunt_virtqueue *queue);

/*
 * After an update or invalidation of `bytes` from `io_addr` on in the IOTLB, as iotlb_invalidate() takes them:
 * the same, but with little work when the ring does not lie there.
 */
bool virtqueue_iotlb_changed(struct shunt_virtqueue *queue, uint64_t io_addr, uint64_t bytes);

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

/* Wakes whoever sleeps on the kick descriptor, as the driver would. */
void virtqueue_wake(struct shunt_virtqueue *queue);

/*
 * The range that holds `addr` and grants `access`. -EPROTO: there is none, and the queue is broken;
 * -EAGAIN: the IOTLB does not know, and is being asked.
 */
int virtqueue_find_range(struct shunt_virtqueue *queue, uint64_t addr, unsigned access,
                         const struct memory_range **range);

/* The next chain waits for the IOTLB; what those after it need is asked for as well, once while it waits. */
void virtqueue_block(struct shunt_virtqueue *queue);

/* Asks for what the next chains need, as far as the IOTLB does not know. */
void virtqueue_look_ahead(struct shunt_virtqueue *queue);

/* `access` to the page of `addr` is to be asked for. */
void virtqueue_miss(struct shunt_virtqueue *queue, uint64_t addr, unsigned access);

/* Forgets the misses that the IOTLB answers by now; whether there were any. */
bool virtqueue_forget_misses(struct shunt_virtqueue *queue);

/* While `is_logging`: `len` bytes from `host` on, in guest memory, were written. */
void virtqueue_mark(struct shunt_virtqueue *queue, const void *host, uint64_t len);

/* The same for the first `len` bytes of a list of pieces. */
void virtqueue_mark_pieces(struct shunt_virtqueue *queue, const struct iovec *iov, uint64_t len);

/* The same for `num` entries of the ring that are used from `position` (split: index) on. */
void virtqueue_mark_used(struct shunt_virtqueue *queue, uint16_t position, unsigned num);

/* The same for what was published since `before`; writes all marks to the log. */
void virtqueue_log_publish(struct shunt_virtqueue *queue, uint16_t before);

/* Writes the marks that are left to the log, before that or the queue goes. */
void virtqueue_flush_marks(struct shunt_virtqueue *queue);

/* The same for what we wrote of our wish for notifications. */
void virtqueue_log_wish(struct shunt_virtqueue *queue);

#endif
