/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/inproc.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "virtio_net/segment.h"

/* A frame on its way in. */
struct pending {
    uint8_t *bytes;
    uint32_t len;
    uint32_t piece_bytes;
};

struct inproc_queue {
    pthread_mutex_t rx_lock; /* held from a lend until its give_back */
    struct pending pending[INPROC_MAX_PENDING];
    unsigned first, num; /* a circle */
    unsigned num_lent;
    bool is_armed;
    int wake_fd;
    struct inproc_stats stats;

    pthread_mutex_t tx_lock;
    uint64_t room;
    struct inproc_frame *received;
    unsigned num_received, max_received;
};

struct inproc {
    atomic_bool is_capturing;
    struct inproc_queue queues[];
};

static struct inproc_queue *queue_of(const struct port *port, unsigned idx)
{
    struct inproc *own = port->private;

    return &own->queues[idx];
}

static void *allocate(size_t bytes)
{
    void *memory = calloc(1, bytes);

    if (!memory)
        abort();
    return memory;
}

/* --- The test's side -------------------------------------------------------------------------------- */

static void signal_wake(struct inproc_queue *queue)
{
    uint64_t one = 1;

    queue->stats.wakes++;
    if (queue->wake_fd >= 0 && write(queue->wake_fd, &one, sizeof(one)) < 0 && errno != EAGAIN)
        abort();
}

bool inproc_send(struct port *port, unsigned idx, const void *frame, uint32_t len,
                 uint32_t piece_bytes)
{
    struct inproc_queue *queue = queue_of(port, idx);
    bool has_room;

    pthread_mutex_lock(&queue->rx_lock);
    has_room = queue->num < INPROC_MAX_PENDING;
    if (has_room) {
        struct pending *pending =
            &queue->pending[(queue->first + queue->num++) % INPROC_MAX_PENDING];

        *pending = (struct pending){allocate(len), len, piece_bytes ? piece_bytes : len};
        memcpy(pending->bytes, frame, len);
        if (queue->is_armed || port->class->is_lend_costly)
            signal_wake(queue);
        queue->is_armed = false;
    }
    pthread_mutex_unlock(&queue->rx_lock);
    return has_room;
}

unsigned inproc_num_pending(struct port *port, unsigned idx)
{
    struct inproc_queue *queue = queue_of(port, idx);
    unsigned num;

    pthread_mutex_lock(&queue->rx_lock);
    num = queue->num;
    pthread_mutex_unlock(&queue->rx_lock);
    return num;
}

void inproc_set_room(struct port *port, unsigned idx, uint64_t num_frames)
{
    struct inproc_queue *queue = queue_of(port, idx);

    pthread_mutex_lock(&queue->tx_lock);
    queue->room = num_frames;
    pthread_mutex_unlock(&queue->tx_lock);
}

void inproc_set_capture(struct port *port, bool is_on)
{
    struct inproc *own = port->private;

    atomic_store(&own->is_capturing, is_on);
}

const struct inproc_frame *inproc_received(struct port *port, unsigned idx, unsigned *num)
{
    struct inproc_queue *queue = queue_of(port, idx);
    const struct inproc_frame *received;

    pthread_mutex_lock(&queue->tx_lock);
    *num = queue->num_received;
    received = queue->received;
    pthread_mutex_unlock(&queue->tx_lock);
    return received;
}

void inproc_forget(struct port *port)
{
    for (unsigned i = 0; i < port->num_queues; i++) {
        struct inproc_queue *queue = queue_of(port, i);

        pthread_mutex_lock(&queue->tx_lock);
        while (queue->num_received > 0)
            free(queue->received[--queue->num_received].bytes);
        pthread_mutex_unlock(&queue->tx_lock);
    }
}

struct inproc_stats inproc_stats(struct port *port, unsigned idx)
{
    struct inproc_queue *queue = queue_of(port, idx);
    struct inproc_stats stats;

    pthread_mutex_lock(&queue->rx_lock);
    stats = queue->stats;
    pthread_mutex_unlock(&queue->rx_lock);
    return stats;
}

/* --- Workers ---------------------------------------------------------------------------------------- */

/* Cuts the frame into its pieces; how many, or 0 when there are more than `max`. */
static unsigned lay_out(const struct pending *pending, struct iovec *segments, unsigned max)
{
    unsigned num = 0;

    for (uint32_t at = 0; at < pending->len; at += pending->piece_bytes) {
        uint32_t left = pending->len - at;

        if (num == max)
            return 0;
        segments[num++] = (struct iovec){
            .iov_base = pending->bytes + at,
            .iov_len = left < pending->piece_bytes ? left : pending->piece_bytes,
        };
    }
    return num;
}

static void fill_burst(struct inproc_queue *queue, struct burst *burst, struct counters *rx)
{
    unsigned used = 0;

    burst->num = 0;
    while (burst->num < queue->num && burst->num < BURST_MAX_FRAMES) {
        const struct pending *pending =
            &queue->pending[(queue->first + burst->num) % INPROC_MAX_PENDING];
        struct frame *frame = &burst->frames[burst->num];
        unsigned num = lay_out(pending, &burst->segments[used], BURST_MAX_SEGMENTS - used);

        if (num == 0)
            break;
        *frame = (struct frame){.segments = &burst->segments[used],
                                .num_segments = num,
                                .len = pending->len};
        memcpy(&frame->ethernet, pending->bytes, ETHERNET_HEADER_BYTES);
        used += num;
        burst->num++;
        counter_add(&rx->packets, 1);
        counter_add(&rx->bytes, pending->len);
    }
}

static unsigned inproc_lend(struct port_queue *port_queue, struct burst *burst)
{
    struct inproc_queue *queue = queue_of(port_queue->port, port_queue->idx);

    pthread_mutex_lock(&queue->rx_lock);
    fill_burst(queue, burst, &port_queue->rx);
    queue->stats.lends++;
    queue->num_lent = burst->num;
    if (burst->num > 0)
        return burst->num;
    queue->stats.empty_lends++;
    pthread_mutex_unlock(&queue->rx_lock);
    return 0;
}

static void inproc_give_back(struct port_queue *port_queue, struct burst *burst)
{
    struct inproc_queue *queue = queue_of(port_queue->port, port_queue->idx);

    if (queue->num_lent != burst->num)
        abort();
    for (unsigned i = 0; i < queue->num_lent; i++) {
        free(queue->pending[queue->first].bytes);
        queue->first = (queue->first + 1) % INPROC_MAX_PENDING;
    }
    queue->num -= queue->num_lent;
    queue->num_lent = 0;
    pthread_mutex_unlock(&queue->rx_lock);
}

static void capture(struct inproc_queue *queue, const struct frame *frame)
{
    struct segment_cursor from = segment_start(frame->segments);
    struct inproc_frame *copy;

    if (queue->num_received == queue->max_received) {
        queue->max_received = queue->max_received ? 2 * queue->max_received : 64;
        queue->received = realloc(queue->received, queue->max_received * sizeof(*queue->received));
        if (!queue->received)
            abort();
    }
    copy = &queue->received[queue->num_received++];
    *copy = (struct inproc_frame){frame->len, allocate(frame->len)};
    memcpy(copy->bytes, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_read(&from, copy->bytes + ETHERNET_HEADER_BYTES, frame->len - ETHERNET_HEADER_BYTES);
}

/* Queues keep their own company: frames from queue n go to queue n, as far as there are as many. */
static void inproc_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which)
{
    const struct inproc *own = port->private;
    unsigned num = atomic_load_explicit(&port->num_tx_queues, memory_order_acquire);
    struct port_queue *port_queue = &port->queues[num > 0 ? hint % num : 0];
    struct inproc_queue *queue = queue_of(port, port_queue->idx);

    if (which == 0 || (which & ~burst_all(burst)) != 0)
        abort();
    pthread_mutex_lock(&queue->tx_lock);
    while (which) {
        const struct frame *frame = &burst->frames[burst_next(&which)];

        if (queue->room == 0) {
            counter_add(&port_queue->tx.drops[DROP_RING_FULL], 1);
            continue;
        }
        queue->room--;
        if (atomic_load_explicit(&own->is_capturing, memory_order_relaxed))
            capture(queue, frame);
        counter_add(&port_queue->tx.packets, 1);
        counter_add(&port_queue->tx.bytes, frame->len);
    }
    pthread_mutex_unlock(&queue->tx_lock);
}

static bool inproc_arm(struct port_queue *port_queue)
{
    struct inproc_queue *queue = queue_of(port_queue->port, port_queue->idx);
    bool is_empty;

    pthread_mutex_lock(&queue->rx_lock);
    queue->is_armed = true;
    queue->stats.arms++;
    is_empty = queue->num == 0;
    pthread_mutex_unlock(&queue->rx_lock);
    return is_empty;
}

/* As at a device whose descriptor is watched edge-triggered: a later frame wakes in any case. */
static bool costly_arm(struct port_queue *port_queue)
{
    inproc_arm(port_queue);
    return true;
}

static void inproc_disarm(struct port_queue *port_queue)
{
    struct inproc_queue *queue = queue_of(port_queue->port, port_queue->idx);

    pthread_mutex_lock(&queue->rx_lock);
    queue->is_armed = false;
    queue->stats.disarms++;
    pthread_mutex_unlock(&queue->rx_lock);
}

static int inproc_wake_fd(const struct port_queue *port_queue)
{
    return queue_of(port_queue->port, port_queue->idx)->wake_fd;
}

/* --- Control ---------------------------------------------------------------------------------------- */

void inproc_set_up(struct port *port, bool is_up)
{
    atomic_store_explicit(&port->num_tx_queues, is_up ? port->num_queues : 0, memory_order_release);
    for (unsigned i = 0; i < port->num_queues; i++)
        port_queue_run(&port->queues[i], is_up);
    port_set_state(port, is_up ? PORT_UP : PORT_DOWN, "%s", is_up ? "" : "the test says so");
}

static void init_queue(struct inproc_queue *queue, bool is_wakeable)
{
    pthread_mutex_init(&queue->rx_lock, NULL);
    pthread_mutex_init(&queue->tx_lock, NULL);
    queue->room = UINT64_MAX;
    queue->wake_fd = is_wakeable ? eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK) : -1;
}

static int inproc_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    unsigned num = (unsigned)json_integer_value(json_object_get(options, "queues"));
    struct inproc *own = allocate(sizeof(*own) + num * sizeof(own->queues[0]));

    (void)error;
    atomic_store(&own->is_capturing, true);
    for (unsigned i = 0; i < num; i++)
        init_queue(&own->queues[i], port->class != &inproc_class_unwakeable);
    port->private = own;
    if (port_make_queues(port, num) < 0)
        abort();
    inproc_set_up(port, true);
    return 0;
}

static void close_queue(struct inproc_queue *queue)
{
    while (queue->num > 0) {
        free(queue->pending[queue->first].bytes);
        queue->first = (queue->first + 1) % INPROC_MAX_PENDING;
        queue->num--;
    }
    free(queue->received);
    if (queue->wake_fd >= 0)
        close(queue->wake_fd);
    pthread_mutex_destroy(&queue->rx_lock);
    pthread_mutex_destroy(&queue->tx_lock);
}

static void inproc_close(struct port *port)
{
    inproc_forget(port);
    for (unsigned i = 0; i < port->num_queues; i++)
        close_queue(queue_of(port, i));
    free(port->private);
}

struct port *inproc_create(const struct port_class *class, const char *name, unsigned num_queues,
                           const struct port_events *events, void *ctx)
{
    json_t *options = json_pack("{s:i}", "queues", (int)num_queues);
    struct port *port;

    if (!options || port_create(class, name, options, events, ctx, &port, NULL) < 0)
        abort();
    json_decref(options);
    return port;
}

static const struct option no_options[] = {{0}};

const struct port_class inproc_class = {
    .type = "inproc",
    .help = "the peer is the test",
    .options = no_options,
    .open = inproc_open,
    .close = inproc_close,
    .lend = inproc_lend,
    .give_back = inproc_give_back,
    .copy = inproc_copy,
    .arm = inproc_arm,
    .disarm = inproc_disarm,
    .wake_fd = inproc_wake_fd,
};

const struct port_class inproc_class_costly = {
    .type = "inproc-costly",
    .help = "the peer is the test, and an empty lend is costly",
    .options = no_options,
    .open = inproc_open,
    .close = inproc_close,
    .lend = inproc_lend,
    .give_back = inproc_give_back,
    .copy = inproc_copy,
    .arm = costly_arm,
    .disarm = inproc_disarm,
    .wake_fd = inproc_wake_fd,
    .is_lend_costly = true,
};

const struct port_class inproc_class_unwakeable = {
    .type = "inproc-unwakeable",
    .help = "the peer is the test, and cannot wake anybody",
    .options = no_options,
    .open = inproc_open,
    .close = inproc_close,
    .lend = inproc_lend,
    .give_back = inproc_give_back,
    .copy = inproc_copy,
    .arm = inproc_arm,
    .disarm = inproc_disarm,
    .wake_fd = inproc_wake_fd,
};
