/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port for a guest: a virtio-net device that is offered on a vhost-user socket.
 *
 * Queue n of the port is the pair of virtqueues 2n, the receiveq that we copy to, and 2n + 1, the
 * transmitq that we lend from (VIRTIO 1.3, 5.1.2). Their locks are the virtqueues' own.
 */
#include <errno.h>
#include <stdlib.h>

#include <shunt/backend.h>

#include "base/error.h"
#include "port/port.h"
#include "vhost_user/backend.h"
#include "virtio_net/feature.h"
#include "virtio_net/queue.h"

struct vhost_user_port {
    struct shunt_backend *backend;
    struct net_format format; /* changes only while no ring runs */
};

static struct shunt_virtqueue *receiveq(const struct port_queue *queue)
{
    const struct vhost_user_port *own = queue->port->private;

    return shunt_backend_virtqueue(own->backend, 2 * queue->idx);
}

static struct shunt_virtqueue *transmitq(const struct port_queue *queue)
{
    const struct vhost_user_port *own = queue->port->private;

    return shunt_backend_virtqueue(own->backend, 2 * queue->idx + 1);
}

/* --- Control: the state follows from the rings ------------------------------------------------------ */

enum ring_state { RING_STOPPED, RING_DISABLED, RING_RUNNING, RING_BROKEN };

static enum ring_state ring_state(struct shunt_virtqueue *virtqueue)
{
    enum ring_state state = RING_STOPPED;

    shunt_virtqueue_lock(virtqueue);
    if (shunt_virtqueue_is_started(virtqueue))
        state = shunt_virtqueue_is_enabled(virtqueue) ? RING_RUNNING : RING_DISABLED;
    else if (virtqueue->fault != FAULT_NONE)
        state = RING_BROKEN;
    shunt_virtqueue_unlock(virtqueue);
    return state;
}

/* The receiveqs from the first on that take frames: a driver enables pairs in order (5.1.6.5.5). */
static unsigned count_tx_queues(const struct port *port)
{
    unsigned num = 0;

    while (num < port->num_queues && ring_state(receiveq(&port->queues[num])) == RING_RUNNING)
        num++;
    return num;
}

static bool is_any_ring_broken(const struct port *port)
{
    for (unsigned i = 0; i < port->num_queues; i++) {
        if (ring_state(receiveq(&port->queues[i])) == RING_BROKEN ||
            ring_state(transmitq(&port->queues[i])) == RING_BROKEN)
            return true;
    }
    return false;
}

static void update_state(struct port *port)
{
    struct vhost_user_port *own = port->private;
    const char *reason = shunt_backend_reason(own->backend);
    bool can_send = count_tx_queues(port) > 0;
    bool can_receive = ring_state(transmitq(&port->queues[0])) == RING_RUNNING;

    if (is_any_ring_broken(port) || own->backend->is_memory_private)
        port_set_state(port, PORT_DOWN, "%s", reason);
    else if (!shunt_backend_is_connected(own->backend))
        port_set_state(port, PORT_CONNECTING, "%s", reason);
    else if (can_send && can_receive)
        port_set_state(port, PORT_UP, "%s", "");
    else
        port_set_state(port, PORT_CONNECTING, "%s",
                       reason[0] ? reason : "connected; the guest's driver has not started");
}

/* Each connection begins without features. */
static void on_connection(void *ctx)
{
    struct port *port = ctx;
    struct vhost_user_port *own = port->private;

    own->format = net_format_of(0);
    update_state(port);
}

static void on_features(void *ctx, uint64_t features)
{
    struct port *port = ctx;
    struct vhost_user_port *own = port->private;

    own->format = net_format_of(features);
}

/* Disabled transmitqs run too: what the driver sends on them is taken and discarded. */
static void on_queue(void *ctx, unsigned idx)
{
    struct port *port = ctx;
    struct port_queue *queue = &port->queues[idx / 2];
    enum ring_state state = ring_state(transmitq(queue));

    atomic_store_explicit(&port->num_tx_queues, count_tx_queues(port), memory_order_release);
    port_queue_run(queue, state == RING_RUNNING || state == RING_DISABLED);
    update_state(port);
}

static const struct shunt_backend_ops backend_ops = {
    .connected = on_connection,
    .disconnected = on_connection,
    .features_changed = on_features,
    .queue_changed = on_queue,
};

static int vhost_user_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    unsigned num = (unsigned)option_number(options, "queues");
    struct vhost_user_port *own = calloc(1, sizeof(*own));
    struct shunt_backend_config config = {
        .name = port->name,
        .socket_path = option_text(options, "socket"),
        .features = UINT64_C(1) << NET_F_MRG_RXBUF | (num > 1 ? UINT64_C(1) << NET_F_MQ : 0),
        .num_virtqueues = 2 * num,
        .queue_num = num,
    };
    int result;

    if (!own || port_make_queues(port, num) < 0) {
        free(own);
        return error_set(error, -ENOMEM, "out of memory");
    }
    own->format = net_format_of(0);
    port->private = own;
    result = shunt_backend_create(&config, &backend_ops, port, &own->backend, error);
    if (result < 0)
        return result;
    update_state(port);
    return 0;
}

/* The backend tells of its queues' end while it goes: the port must still be whole. */
static void vhost_user_close(struct port *port)
{
    struct vhost_user_port *own = port->private;

    if (!own)
        return;
    port->events = NULL;
    shunt_backend_destroy(own->backend);
    free(own);
}

static int vhost_user_fd(const struct port *port)
{
    const struct vhost_user_port *own = port->private;

    return shunt_backend_fd(own->backend);
}

static void vhost_user_dispatch(struct port *port)
{
    struct vhost_user_port *own = port->private;

    shunt_backend_dispatch(own->backend);
}

/* --- Description ------------------------------------------------------------------------------------ */

static json_t *names_of(uint64_t features, const char *(*name)(unsigned bit))
{
    json_t *names = json_array();

    for (unsigned bit = 0; bit < 64; bit++) {
        if (feature_is_set(features, bit) && name(bit))
            json_array_append_new(names, json_string(name(bit)));
    }
    return names;
}

static json_t *describe_ring(unsigned idx, struct shunt_virtqueue *virtqueue)
{
    static const char *const states[] = {
        [RING_STOPPED] = "stopped",
        [RING_DISABLED] = "disabled",
        [RING_RUNNING] = "running",
        [RING_BROKEN] = "broken",
    };
    enum ring_state state = ring_state(virtqueue);
    json_t *ring;

    shunt_virtqueue_lock(virtqueue);
    ring = json_pack("{s:i, s:s, s:s, s:s, s:i, s:i, s:i, s:I, s:I}", "index", (int)idx, "use",
                     idx % 2 ? "transmitq" : "receiveq", "format", "split", "state", states[state],
                     "size", virtqueue->size, "available", virtqueue->next_available, "used",
                     virtqueue->next_used, "notifications", (json_int_t)virtqueue->stats.notified,
                     "suppressed", (json_int_t)virtqueue->stats.suppressed);
    shunt_virtqueue_unlock(virtqueue);
    return ring;
}

static json_t *describe_region(const struct shunt_memory_region *region)
{
    return json_pack("{s:I, s:I}", "guest_address", (json_int_t)region->guest_addr, "bytes",
                     (json_int_t)region->size);
}

static void vhost_user_describe(const struct port *port, json_t *object)
{
    const struct vhost_user_port *own = port->private;
    const struct shunt_memory *memory = shunt_backend_memory(own->backend);
    json_t *rings = json_array(), *regions = json_array();

    for (unsigned i = 0; i < 2 * port->num_queues; i++)
        json_array_append_new(rings, describe_ring(i, shunt_backend_virtqueue(own->backend, i)));
    for (unsigned i = 0; i < shunt_memory_num_regions(memory); i++) {
        struct shunt_memory_region region;

        shunt_memory_get_region(memory, i, &region);
        json_array_append_new(regions, describe_region(&region));
    }
    json_object_set_new(object, "features",
                        names_of(shunt_backend_features(own->backend), feature_name));
    json_object_set_new(object, "protocol_features",
                        names_of(shunt_backend_protocol_features(own->backend),
                                 protocol_feature_name));
    json_object_set_new(object, "role", json_string("server"));
    if (shunt_backend_is_connected(own->backend))
        json_object_set_new(object, "peer_pid", json_integer(own->backend->peer_pid));
    json_object_set_new(object, "rings", rings);
    json_object_set_new(object, "memory", regions);
}

/* --- Workers ---------------------------------------------------------------------------------------- */

static unsigned vhost_user_lend(struct port_queue *queue, struct burst *burst)
{
    const struct vhost_user_port *own = queue->port->private;
    struct shunt_virtqueue *virtqueue = transmitq(queue);

    shunt_virtqueue_lock(virtqueue);
    if (shunt_virtqueue_is_started(virtqueue) &&
        transmitq_lend(virtqueue, &own->format, burst, &queue->rx) > 0)
        return burst->num;
    shunt_virtqueue_unlock(virtqueue);
    return 0;
}

static void vhost_user_give_back(struct port_queue *queue, struct burst *burst)
{
    struct shunt_virtqueue *virtqueue = transmitq(queue);

    transmitq_give_back(virtqueue, burst);
    shunt_virtqueue_unlock(virtqueue);
}

static void vhost_user_copy(struct port_queue *queue, struct burst *burst, burst_mask which)
{
    const struct vhost_user_port *own = queue->port->private;
    struct shunt_virtqueue *virtqueue = receiveq(queue);

    shunt_virtqueue_lock(virtqueue);
    if (shunt_virtqueue_is_started(virtqueue) && shunt_virtqueue_is_enabled(virtqueue))
        receiveq_copy(virtqueue, &own->format, burst, which, &queue->tx);
    else
        counter_add(&queue->tx.drops[DROP_PORT_DOWN], (uint64_t)__builtin_popcountll(which));
    shunt_virtqueue_unlock(virtqueue);
}

static bool vhost_user_arm(struct port_queue *queue)
{
    struct shunt_virtqueue *virtqueue = transmitq(queue);
    bool may_sleep;

    shunt_virtqueue_lock(virtqueue);
    may_sleep = shunt_virtqueue_arm(virtqueue);
    shunt_virtqueue_unlock(virtqueue);
    return may_sleep;
}

static void vhost_user_disarm(struct port_queue *queue)
{
    struct shunt_virtqueue *virtqueue = transmitq(queue);

    shunt_virtqueue_lock(virtqueue);
    shunt_virtqueue_disarm(virtqueue);
    shunt_virtqueue_unlock(virtqueue);
}

static int vhost_user_wake_fd(const struct port_queue *queue)
{
    return shunt_virtqueue_kick_fd(transmitq(queue));
}

static const char *const modes[] = {"server", NULL};

static const struct option vhost_user_options[] = {
    {.key = "socket",
     .kind = OPTION_TEXT,
     .is_required = true,
     .max = 4096,
     .help = "path of the socket that the guest's QEMU connects to"},
    {.key = "mode",
     .kind = OPTION_CHOICE,
     .choices = modes,
     .fallback = "server",
     .help = "our role on the socket"},
    {.key = "queues",
     .kind = OPTION_NUMBER,
     .min = 1,
     .max = PORT_MAX_QUEUES,
     .fallback = "1",
     .help = "the most queue pairs that the guest may use"},
    {0},
};

extern const struct port_class port_class_vhost_user;
const struct port_class port_class_vhost_user = {
    .type = "vhost-user",
    .help = "a guest's virtio-net device on a vhost-user socket",
    .options = vhost_user_options,
    .open = vhost_user_open,
    .close = vhost_user_close,
    .fd = vhost_user_fd,
    .dispatch = vhost_user_dispatch,
    .describe = vhost_user_describe,
    .lend = vhost_user_lend,
    .give_back = vhost_user_give_back,
    .copy = vhost_user_copy,
    .arm = vhost_user_arm,
    .disarm = vhost_user_disarm,
    .wake_fd = vhost_user_wake_fd,
};
