/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/virtio_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/event.h"
#include "virtio_net/feature.h"
#include "virtqueue/driver_queue.h"

#define LINE_BYTES 64u

/* --- The state follows from the front-end's --------------------------------------------------- */

/* A queue that broke stays so until the next back-end starts it anew. */
static bool is_any_ring_broken(const struct port *port)
{
    struct shunt_frontend *frontend = virtio_user_of(port)->frontend;
    bool is_broken = false;

    for (unsigned i = 0; i < 2 * port->num_queues && !is_broken; i++) {
        struct shunt_driver_queue *ring = shunt_frontend_queue(frontend, i);

        shunt_driver_queue_lock(ring);
        is_broken = ring->fault != DRIVER_FAULT_NONE;
        shunt_driver_queue_unlock(ring);
    }
    return is_broken;
}

static void update(struct port *port)
{
    const struct virtio_user_port *own = virtio_user_of(port);

    if (!own->frontend)
        return; /* it is being made */
    if (shunt_frontend_is_running(own->frontend))
        port_set_state(port, PORT_UP, "%s", "");
    else
        port_set_state(port, is_any_ring_broken(port) ? PORT_DOWN : PORT_CONNECTING, "%s",
                       shunt_frontend_reason(own->frontend));
}

/* --- Back-ends that come and go --------------------------------------------------------------- */

static void set_up(struct port *port)
{
    struct virtio_user_port *own = virtio_user_of(port);
    bool is_mergeable = feature_is_set(shunt_frontend_features(own->frontend), NET_F_MRG_RXBUF);

    for (unsigned i = 0; i < shunt_frontend_num_virtqueues(own->frontend) / 2; i++)
        virtio_user_rx_fill(&own->rx[i], is_mergeable);
    own->is_set_up = true;
}

/*
 * A back-end may wait for the first kick before it starts a ring, and so for our first frame before
 * it shows itself ready. QEMU kicks all rings once, too.
 */
static void greet(const struct virtio_user_tx *tx)
{
    event_signal(tx->ring->kick_fd);
}

static void on_started(void *ctx)
{
    struct port *port = ctx;
    struct virtio_user_port *own = virtio_user_of(port);
    unsigned num = shunt_frontend_num_virtqueues(own->frontend) / 2;

    if (!own->is_set_up)
        set_up(port);
    for (unsigned i = 0; i < num; i++) {
        virtio_user_rx_resume(&own->rx[i]);
        greet(&own->tx[i]);
        port_queue_run(&port->queues[i], true);
    }
    atomic_store_explicit(&port->num_tx_queues, num, memory_order_release);
}

static void on_stopped(void *ctx)
{
    struct port *port = ctx;

    atomic_store_explicit(&port->num_tx_queues, 0, memory_order_release);
    for (unsigned i = 0; i < port->num_queues; i++)
        port_queue_run(&port->queues[i], false);
}

static const struct shunt_frontend_ops ops = {.started = on_started, .stopped = on_stopped};

/* --- Life ------------------------------------------------------------------------------------- */

static bool says(const json_t *options, const char *key, const char *value)
{
    const char *text = option_text(options, key);

    return text && strcmp(text, value) == 0;
}

/*
 * Without indirect descriptors: they would help a frame of many pieces into a ring that is nearly
 * full, but the buffers are as many as the descriptors.
 */
static struct shunt_frontend_config make_config(const struct port *port, const json_t *options)
{
    const struct virtio_user_port *own = virtio_user_of(port);
    uint64_t required = RING_FEATURE(VERSION_1) |
                        (says(options, "packed", "on") ? RING_FEATURE(PACKED) : 0) |
                        (says(options, "mergeable", "on") ? NET_FEATURE(MRG_RXBUF) : 0);
    uint64_t useful = RING_FEATURE(EVENT_IDX) | RING_FEATURE(IN_ORDER) |
                      (says(options, "mergeable", "off") ? 0 : NET_FEATURE(MRG_RXBUF)) |
                      (port->num_queues > 1 ? NET_FEATURE(MQ) : 0);

    return (struct shunt_frontend_config){
        .name = port->name,
        .socket_path = own->socket_path,
        .is_server = own->is_server,
        .features = required | useful,
        .required_features = required,
        .num_virtqueues = 2 * port->num_queues,
        .min_virtqueues = 2,
        .virtqueues_per_queue = 2,
        .queue_size = own->ring_size,
        .memory = own->memory,
    };
}

static int check_size(const json_t *options, struct shunt_error *error)
{
    long size = option_number(options, "size");

    if ((size & (size - 1)) == 0 || says(options, "packed", "on"))
        return 0;
    return error_set(error, -EINVAL,
                     "size %ld is not a power of two: that takes packed rings ('packed on')", size);
}

static int allocate(struct port *port, const json_t *options)
{
    struct virtio_user_port *own = virtio_user_of(port);
    unsigned num = (unsigned)option_number(options, "queues");

    own->is_server = says(options, "mode", "server");
    own->ring_size = (uint16_t)option_number(options, "size");
    own->socket_path = strdup(option_text(options, "socket"));
    own->rx = calloc(num, sizeof(*own->rx));
    own->tx = calloc(num, sizeof(*own->tx));
    if (!own->socket_path || !own->rx || !own->tx || port_make_queues(port, num) < 0)
        return -ENOMEM;
    for (unsigned i = 0; i < num; i++) {
        own->rx[i].held = calloc(own->ring_size, sizeof(*own->rx[i].held));
        if (!own->rx[i].held)
            return -ENOMEM;
    }
    return 0;
}

/* Each part begins at a line, and all of them are whole lines. */
static int make_memory(struct port *port, const json_t *options, struct shunt_error *error)
{
    struct virtio_user_port *own = virtio_user_of(port);
    uint64_t rx_bytes = (uint64_t)own->ring_size *
                        virtio_user_rx_stride(says(options, "mergeable", "on"));
    uint64_t tx_bytes = (uint64_t)own->ring_size * VIRTIO_USER_BUFFER_BYTES;
    int result;

    if (shunt_shared_memory_create(&own->memory) < 0)
        return error_set(error, -ENOMEM, "out of memory");
    result = shunt_shared_memory_add(own->memory, port->num_queues * (rx_bytes + tx_bytes), 0,
                                     error);
    for (unsigned i = 0; i < port->num_queues && result == 0; i++) {
        own->rx[i].buffers = shunt_shared_memory_allocate(own->memory, rx_bytes, LINE_BYTES);
        own->tx[i].buffers = shunt_shared_memory_allocate(own->memory, tx_bytes, LINE_BYTES);
    }
    return result;
}

static int virtio_user_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    struct virtio_user_port *own = calloc(1, sizeof(*own));
    struct shunt_frontend_config config;
    int result;

    if (!own)
        return error_set(error, -ENOMEM, "out of memory");
    port->private = own;
    result = check_size(options, error);
    if (result == 0 && allocate(port, options) < 0)
        result = error_set(error, -ENOMEM, "out of memory");
    if (result == 0)
        result = make_memory(port, options, error);
    if (result < 0)
        return result;
    config = make_config(port, options);
    result = shunt_frontend_create(&config, &ops, port, &own->frontend, error);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < port->num_queues; i++) {
        own->rx[i].ring = shunt_frontend_queue(own->frontend, 2 * i);
        own->tx[i].ring = shunt_frontend_queue(own->frontend, 2 * i + 1);
    }
    update(port);
    return 0;
}

/* The front-end tells of its end while it goes: the port must still be whole. */
static void virtio_user_close(struct port *port)
{
    struct virtio_user_port *own = port->private;

    if (!own)
        return;
    port->events = NULL;
    shunt_frontend_destroy(own->frontend);
    shunt_shared_memory_destroy(own->memory);
    for (unsigned i = 0; own->rx && i < port->num_queues; i++)
        free(own->rx[i].held);
    free(own->rx);
    free(own->tx);
    free(own->socket_path);
    free(own);
}

static int virtio_user_fd(const struct port *port)
{
    return shunt_frontend_fd(virtio_user_of(port)->frontend);
}

static void virtio_user_dispatch(struct port *port)
{
    shunt_frontend_dispatch(virtio_user_of(port)->frontend);
    update(port);
}

static const char *const modes[] = {"client", "server", NULL};
static const char *const switches[] = {"on", "off", NULL};

static const struct option virtio_user_options[] = {
    {.key = "socket",
     .kind = OPTION_TEXT,
     .is_required = true,
     .max = 4096,
     .help = "path of the socket between us and the other switch, the back-end"},
    {.key = "mode",
     .kind = OPTION_CHOICE,
     .choices = modes,
     .fallback = "client",
     .help = "our role on the socket: client connects, again and again; server listens"},
    {.key = "queues",
     .kind = OPTION_NUMBER,
     .min = 1,
     .max = PORT_MAX_QUEUES,
     .fallback = "1",
     .help = "the most queue pairs that are used, if the back-end has so many"},
    {.key = "size",
     .kind = OPTION_NUMBER,
     .min = 8,
     .max = 32768,
     .fallback = "256",
     .help = "entries of each virtqueue; a power of two unless packed is on"},
    {.key = "packed",
     .kind = OPTION_CHOICE,
     .choices = switches,
     .fallback = "off",
     .help = "on: packed virtqueues, and no back-end that lacks them; off: split ones"},
    {.key = "mergeable",
     .kind = OPTION_CHOICE,
     .choices = switches,
     .help = "whether a frame may fill several receive buffers; by default if the back-end can"},
    {0},
};

extern const struct port_class port_class_virtio_user;
const struct port_class port_class_virtio_user = {
    .type = "virtio-user",
    .help = "a virtio-net device of another vhost-user back-end, such as another switch",
    .options = virtio_user_options,
    .open = virtio_user_open,
    .close = virtio_user_close,
    .fd = virtio_user_fd,
    .dispatch = virtio_user_dispatch,
    .describe = virtio_user_describe,
    .lend = virtio_user_lend,
    .give_back = virtio_user_give_back,
    .copy = virtio_user_copy,
    .arm = virtio_user_arm,
    .disarm = virtio_user_disarm,
    .wake_fd = virtio_user_wake_fd,
};
