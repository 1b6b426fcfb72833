/* SPDX-License-Identifier: BSD-3-Clause */
#include "port/vhost_user.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"

/* --- The state follows from the rings ------------------------------------------------------------------ */

enum ring_state vhost_user_ring_state(struct shunt_virtqueue *virtqueue)
{
    enum ring_state state = RING_STOPPED;

    shunt_virtqueue_lock(virtqueue);
    if (virtqueue->fault != FAULT_NONE)
        state = RING_BROKEN;
    else if (virtqueue->is_started) /* also while a guest's IOMMU has yet to tell where it lies */
        state = virtqueue->is_enabled ? RING_RUNNING : RING_DISABLED;
    shunt_virtqueue_unlock(virtqueue);
    return state;
}

/*
 * The receiveqs from the first on that take frames: a driver enables pairs in order (5.1.6.5.6). None while
 * the link is down.
 */
static unsigned count_tx_queues(const struct port *port)
{
    unsigned max = vhost_user_max_active(port), num = 0;

    if (!atomic_load_explicit(&vhost_user_of(port)->is_link_up, memory_order_relaxed))
        return 0;
    while (num < max && vhost_user_ring_state(receiveq_of(&port->queues[num])) == RING_RUNNING)
        num++;
    return num;
}

static bool is_any_ring_broken(const struct port *port)
{
    struct shunt_backend *backend = vhost_user_of(port)->backend;

    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (vhost_user_ring_state(shunt_backend_virtqueue(backend, i)) == RING_BROKEN)
            return true;
    }
    return false;
}

static void update_state(struct port *port)
{
    const struct vhost_user_port *own = vhost_user_of(port);
    const char *reason = shunt_backend_reason(own->backend);
    bool can_send = port_is_up(port);
    bool can_receive = vhost_user_ring_state(transmitq_of(&port->queues[0])) == RING_RUNNING;

    if (is_any_ring_broken(port) || own->backend->is_memory_private)
        port_set_state(port, PORT_DOWN, "%s", reason);
    else if (!shunt_backend_is_connected(own->backend))
        port_set_state(port, PORT_CONNECTING, "%s", reason);
    else if (!atomic_load_explicit(&own->is_link_up, memory_order_relaxed))
        port_set_state(port, PORT_DOWN, "the link is set down: 'shuntctl port set %s link up'",
                       port->name);
    else if (can_send && can_receive)
        port_set_state(port, PORT_UP, "%s", "");
    else
        port_set_state(port, PORT_CONNECTING, "%s",
                       reason[0] ? reason : "connected; the guest's driver has not started");
}

void vhost_user_update(struct port *port)
{
    if (!vhost_user_of(port)->backend)
        return; /* it is being made */
    atomic_store_explicit(&port->num_tx_queues, count_tx_queues(port), memory_order_release);
    update_state(port);
}

/* --- Life ------------------------------------------------------------------------------------------------ */

/* A front-end that passes everything on takes us for any device: it counts virtqueues, not pairs. */
static struct shunt_backend_config make_config(const struct port *port, const json_t *options)
{
    bool has_control_queue = vhost_user_of(port)->has_control_queue;
    const char *postcopy = option_text(options, "postcopy");
    unsigned num = port->num_queues;

    return (struct shunt_backend_config){
        .name = port->name,
        .socket_path = option_text(options, "socket"),
        .fd = -1,
        .is_client = strcmp(option_text(options, "mode"), "client") == 0,
        .features = vhost_user_offered(port),
        .num_virtqueues = 2 * num + has_control_queue,
        .queue_num = has_control_queue ? 2 * num + 1 : num,
        .config_len = has_control_queue ? sizeof(struct net_config) : 0,
        .allows_postcopy = postcopy && strcmp(postcopy, "on") == 0,
    };
}

static int vhost_user_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    struct vhost_user_port *own = calloc(1, sizeof(*own));
    struct shunt_backend_config config;
    int result;

    if (!own || port_make_queues(port, (unsigned)option_number(options, "queues")) < 0) {
        free(own);
        return error_set(error, -ENOMEM, "out of memory");
    }
    port->private = own;
    own->backlogs = calloc(port->num_queues, sizeof(*own->backlogs));
    if (!own->backlogs)
        return error_set(error, -ENOMEM, "out of memory");
    result = vhost_user_init_device(port, options, error);
    if (result < 0)
        return result;
    config = make_config(port, options);
    result = shunt_backend_create(&config, &vhost_user_ops, port, &own->backend, error);
    if (result < 0)
        return result;
    for (unsigned i = 0; i < port->num_queues; i++)
        transmitq_of(&port->queues[i])->is_read_only = true;
    vhost_user_update(port);
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
    burst_fini(&own->flushed);
    for (unsigned i = 0; own->backlogs && i < port->num_queues; i++)
        backlog_forget(&own->backlogs[i], own->backlogs[i].num);
    free(own->backlogs);
    steering_destroy(own->steering);
    free(own);
}

static int vhost_user_fd(const struct port *port)
{
    return shunt_backend_fd(vhost_user_of(port)->backend);
}

static void vhost_user_dispatch(struct port *port)
{
    shunt_backend_dispatch(vhost_user_of(port)->backend);
}

/* A control queue without kick descriptor is to be polled. */
static void vhost_user_tick(struct port *port)
{
    vhost_user_serve_control(port);
}

static void vhost_user_set(struct port *port, const char *key, const json_t *value)
{
    if (strcmp(key, "link") == 0)
        vhost_user_set_link(port, !value || strcmp(json_string_value(value), "up") == 0);
}

static const char *const modes[] = {"server", "client", NULL};

static const char *const switches[] = {"on", "off", NULL};
static const char *const links[] = {"up", "down", NULL};
static const char *const duplexes[] = {"full", "half", NULL};

static const struct option vhost_user_options[] = {
    {.key = "socket",
     .kind = OPTION_TEXT,
     .is_required = true,
     .max = 4096,
     .help = "path of the socket between us and the guest's QEMU"},
    {.key = "mode",
     .kind = OPTION_CHOICE,
     .choices = modes,
     .fallback = "server",
     .help = "our role on the socket: server listens; client connects, again and again"},
    {.key = "queues",
     .kind = OPTION_NUMBER,
     .min = 1,
     .max = PORT_MAX_QUEUES,
     .fallback = "1",
     .help = "the most queue pairs that the guest may use"},
    {.key = "link",
     .kind = OPTION_CHOICE,
     .is_live = true,
     .choices = links,
     .help = "down: no frame passes, as if the cable were pulled; by default up"},
    {.key = "mtu",
     .kind = OPTION_NUMBER,
     .min = 68,
     .max = 65535,
     .help = "the largest MTU of the guest; by default whatever its front-end says"},
    {.key = "postcopy",
     .kind = OPTION_CHOICE,
     .choices = switches,
     .help =
         "on: guests may come by postcopy migration; their QEMU can make us wait; by default off"},
    {.key = "control-queue",
     .kind = OPTION_CHOICE,
     .choices = switches,
     .help =
         "on: the front-end leaves control queue and configuration space to us; by default off"},
    {.key = "mac",
     .kind = OPTION_TEXT,
     .is_shareable = true,
     .max = 17,
     .help = "with control-queue on: the guest's address; by default made from the port's name"},
    {.key = "speed",
     .kind = OPTION_NUMBER,
     .min = 1,
     .max = INT32_MAX,
     .help = "with control-queue on: Mbit/s that the guest is told; by default none"},
    {.key = "duplex",
     .kind = OPTION_CHOICE,
     .choices = duplexes,
     .help = "with control-queue on: the duplex mode that the guest is told; by default full"},
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
    .tick = vhost_user_tick,
    .set = vhost_user_set,
    .describe = vhost_user_describe,
    .lend = vhost_user_lend,
    .give_back = vhost_user_give_back,
    .copy = vhost_user_copy,
    .arm = vhost_user_arm,
    .disarm = vhost_user_disarm,
    .wake_fd = vhost_user_wake_fd,
};
