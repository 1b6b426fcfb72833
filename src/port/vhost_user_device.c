/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The network device beside its rings: what it offers, its configuration space, the control queue, and
 * what a migration needs. All in the control thread, but for what workers read: see publish_rules().
 */
#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "base/rcu.h"
#include "port/vhost_user.h"

#define DEFAULT_MTU 1500

/* --- What workers go by ----------------------------------------------------------------------------------- */

static uint32_t max_frame_bytes(const struct vhost_user_port *own)
{
    bool has_mtu = feature_is_set(own->features, NET_F_MTU) && own->mtu > 0;

    return has_mtu ? ETHERNET_HEADER_BYTES + own->mtu : FRAME_MAX_BYTES;
}

static void write_rules(const struct vhost_user_port *own, struct receive_rules *rules)
{
    const struct net_state *state = &own->control.state;

    rules->filter = state->filter;
    rules->rss = state->rss;
    rules->reports_hash = feature_is_set(own->features, NET_F_HASH_REPORT);
    rules->max_frame_bytes = max_frame_bytes(own);
    rules->is_sifting = filter_is_closed(&rules->filter) ||
                        rules->max_frame_bytes < FRAME_MAX_BYTES;
}

/* When this returns, every worker goes by the state as it is now. */
static void publish_rules(struct vhost_user_port *own)
{
    struct receive_rules *spare = rcu_follow(&own->current_rules) == &own->rules[0]
                                      ? &own->rules[1]
                                      : &own->rules[0];

    write_rules(own, spare);
    rcu_publish(&own->current_rules, spare);
    rcu_wait_for_readers();
}

/* --- The control queue -------------------------------------------------------------------------------------- */

int vhost_user_control_idx(const struct port *port)
{
    const struct vhost_user_port *own = vhost_user_of(port);

    if (!own->has_control_queue || !feature_is_set(own->features, NET_F_CTRL_VQ))
        return -1;
    if (own->features & (NET_FEATURE(MQ) | NET_FEATURE(RSS)))
        return (int)(2 * port->num_queues);
    return 2;
}

unsigned vhost_user_max_active(const struct port *port)
{
    const struct vhost_user_port *own = vhost_user_of(port);

    return own->has_control_queue ? own->control.state.num_pairs : port->num_queues;
}

/* A command was obeyed. */
static void on_command(void *ctx)
{
    struct port *port = ctx;

    publish_rules(vhost_user_of(port));
    vhost_user_update(port);
}

void vhost_user_serve_control(struct port *port)
{
    struct vhost_user_port *own = vhost_user_of(port);
    int idx = vhost_user_control_idx(port);
    struct shunt_virtqueue *virtqueue;

    if (idx < 0)
        return;
    virtqueue = shunt_backend_virtqueue(own->backend, (unsigned)idx);
    if (vhost_user_ring_state(virtqueue) != RING_RUNNING)
        return;
    shunt_backend_watch_queue(own->backend, (unsigned)idx);
    if (control_serve(&own->control, virtqueue))
        virtqueue_wake(virtqueue);
}

static void on_kick(void *ctx, unsigned idx)
{
    struct port *port = ctx;

    if ((int)idx == vhost_user_control_idx(port))
        vhost_user_serve_control(port);
}

/* --- Configuration space -------------------------------------------------------------------------------------- */

struct net_config vhost_user_config(const struct port *port)
{
    const struct vhost_user_port *own = vhost_user_of(port);
    const struct net_state *state = &own->control.state;
    struct net_config config = own->config;
    bool announces = state->is_announcing && feature_is_set(own->features, NET_F_GUEST_ANNOUNCE);

    memcpy(config.mac, state->filter.mac, sizeof(config.mac));
    config.status = (uint16_t)((atomic_load_explicit(&own->is_link_up, memory_order_relaxed)
                                    ? NET_STATUS_LINK_UP
                                    : 0) |
                               (announces ? NET_STATUS_ANNOUNCE : 0));
    return config;
}

static int on_get_config(void *ctx, uint32_t offset, void *data, uint32_t len)
{
    struct net_config config = vhost_user_config(ctx);

    net_config_read(&config, offset, data, len);
    return 0;
}

/*
 * Legacy drivers set their address here, byte by byte (VIRTIO 1.3, 5.1.6.5.2), and a migration brings it along;
 * it counts when the last byte is written. Everything else is read-only for the driver, or ours to know on
 * this host: what is written there is ignored.
 */
static int on_set_config(void *ctx, uint32_t offset, const void *data, uint32_t len,
                         bool is_migrated)
{
    struct vhost_user_port *own = vhost_user_of(ctx);
    uint8_t *mac = own->control.state.filter.mac;
    const uint32_t mac_bytes = sizeof(own->config.mac);

    if (offset >= mac_bytes || (!is_migrated && feature_is_set(own->features, RING_F_VERSION_1)))
        return 0;
    if (len > mac_bytes - offset)
        len = mac_bytes - offset;
    memcpy(mac + offset, data, len);
    if (offset + len == mac_bytes)
        publish_rules(own);
    return 0;
}

void vhost_user_set_link(struct port *port, bool is_up)
{
    struct vhost_user_port *own = vhost_user_of(port);

    if (atomic_exchange(&own->is_link_up, is_up) == is_up)
        return;
    if (own->has_control_queue)
        shunt_backend_config_changed(own->backend);
    vhost_user_update(port);
}

/* --- Connection, features, reset ------------------------------------------------------------------------------- */

/*
 * While a guest migrates, its front-end sets the features again, with LOG_ALL, and its rings run: the
 * format, which workers read, stays as it is then.
 */
static void set_features(struct port *port, uint64_t features)
{
    struct vhost_user_port *own = vhost_user_of(port);
    struct net_format format = net_format_of(features);

    own->features = features;
    if (format.header_bytes != own->format.header_bytes ||
        format.is_mergeable != own->format.is_mergeable)
        own->format = format;
    control_set_features(&own->control, own->has_control_queue ? features : 0);
    publish_rules(own);
}

/* The device as it is when nobody has said anything to it. */
static void reset_device(struct port *port)
{
    struct vhost_user_port *own = vhost_user_of(port);

    control_reset(&own->control, own->config.mac);
    if (own->steering)
        steering_clear(own->steering);
    publish_rules(own);
}

/* Each connection begins without features. */
static void on_connection(void *ctx)
{
    struct vhost_user_port *own = vhost_user_of(ctx);

    own->mtu = own->max_mtu;
    set_features(ctx, 0);
    reset_device(ctx);
    vhost_user_update(ctx);
}

static void on_reset(void *ctx)
{
    reset_device(ctx);
    vhost_user_update(ctx);
}

static void on_features(void *ctx, uint64_t features)
{
    set_features(ctx, features);
    vhost_user_update(ctx);
}

/*
 * What the driver sends on a transmitq that was disabled is taken and discarded. One that was not enabled
 * yet is left alone: after our restart, frames wait there that the driver sent before.
 */
static void on_queue(void *ctx, unsigned idx)
{
    struct port *port = ctx;
    struct vhost_user_port *own = vhost_user_of(port);

    if ((int)idx == vhost_user_control_idx(port)) {
        vhost_user_serve_control(port);
    } else if (idx / 2 < port->num_queues) {
        struct port_queue *queue = &port->queues[idx / 2];
        enum ring_state state = vhost_user_ring_state(transmitq_of(queue));

        bool is_discarded = state == RING_DISABLED && queue->is_running;

        port_queue_run(queue, state == RING_RUNNING || is_discarded);
        vhost_user_flush(queue);
    }
    vhost_user_update(port);
    /* A guest that arrived before its driver could be asked is asked now. */
    if (own->control.state.is_announcing && port->state == PORT_UP)
        shunt_backend_config_changed(own->backend);
}

/* --- Migration -------------------------------------------------------------------------------------------------- */

struct __attribute__((packed)) rarp_packet {
    struct ethernet_header ethernet;
    uint16_t hardware_type, protocol_type;
    uint8_t hardware_bytes, protocol_bytes;
    uint16_t operation;
    uint8_t sender_mac[6], sender_ip[4], target_mac[6], target_ip[4];
};
_Static_assert(sizeof(struct rarp_packet) <= RARP_FRAME_BYTES, "padded to the least of Ethernet");

/* RFC 903: "who am I?", to everybody. All that matters is where it comes from. */
static void write_rarp(const uint8_t mac[6], uint8_t frame[RARP_FRAME_BYTES])
{
    struct rarp_packet packet = {
        .ethernet.type = htons(0x8035),
        .hardware_type = htons(1),
        .protocol_type = htons(0x0800),
        .hardware_bytes = 6,
        .protocol_bytes = 4,
        .operation = htons(3),
    };

    memset(packet.ethernet.destination, 0xff, 6);
    memcpy(packet.ethernet.source, mac, 6);
    memcpy(packet.sender_mac, mac, 6);
    memcpy(packet.target_mac, mac, 6);
    memset(frame, 0, RARP_FRAME_BYTES);
    memcpy(frame, &packet, sizeof(packet));
}

/*
 * The worker that has the first transmitq lends it, as if the guest had sent it. It is woken by the kick
 * descriptor; that is no kick of the driver, from which the back-end would conclude something.
 */
static void on_announce(void *ctx, const uint8_t mac[6])
{
    struct port *port = ctx;
    struct vhost_user_port *own = vhost_user_of(port);
    struct shunt_virtqueue *virtqueue = transmitq_of(&port->queues[0]);

    if (mac[0] & 1)
        return;
    shunt_virtqueue_lock(virtqueue);
    write_rarp(mac, own->rarp);
    own->is_rarp_due = true;
    own->backend->queues[1].num_empty_kicks = 0;
    virtqueue_wake(virtqueue);
    shunt_virtqueue_unlock(virtqueue);
}

static int on_set_mtu(void *ctx, uint16_t mtu)
{
    struct vhost_user_port *own = vhost_user_of(ctx);

    if (own->max_mtu > 0 && mtu > own->max_mtu)
        return -ERANGE;
    own->mtu = mtu;
    publish_rules(own);
    return 0;
}

static int on_save_state(void *ctx, void **data, size_t *len)
{
    return net_state_save(&vhost_user_of(ctx)->control.state, data, len);
}

/* The driver is asked to tell its new neighbours where it is, as soon as it runs. */
static int on_load_state(void *ctx, const void *data, size_t len)
{
    struct port *port = ctx;
    struct vhost_user_port *own = vhost_user_of(port);
    struct shunt_error error;
    int result = net_state_load(&own->control.state, data, len, port->num_queues, &error);

    if (result < 0) {
        log_warning(port->name, "%s", error.text);
        return result;
    }
    own->control.state.is_announcing = own->has_control_queue;
    publish_rules(own);
    vhost_user_update(port);
    return 0;
}

/* --- Life --------------------------------------------------------------------------------------------------------- */

static void on_reason(void *ctx)
{
    vhost_user_update(ctx);
}

const struct shunt_backend_ops vhost_user_ops = {
    .connected = on_connection,
    .disconnected = on_connection,
    .reason_changed = on_reason,
    .features_changed = on_features,
    .queue_changed = on_queue,
    .get_config = on_get_config,
    .set_config = on_set_config,
    .announce = on_announce,
    .set_mtu = on_set_mtu,
    .save_state = on_save_state,
    .load_state = on_load_state,
    .reset = on_reset,
    .kicked = on_kick,
};

/*
 * Two bits say only what the front-end may do, where control queue and configuration space are not ours. MTU:
 * it may tell its guest one, which NET_SET_MTU tells us. GUEST_ANNOUNCE: after a migration it may have the
 * guest announce itself, which does so on each of its VLANs; for all other guests it sends SEND_RARP.
 *
 * RING_RESET only to front-ends that pass everything on: QEMU offers it to its guests, but does not tell
 * a vhost-user back-end of the reset, and we would go on in memory that the driver has freed.
 */
uint64_t vhost_user_offered(const struct port *port)
{
    const struct vhost_user_port *own = vhost_user_of(port);
    uint64_t features = NET_FEATURE(MRG_RXBUF) | NET_FEATURE(GUEST_ANNOUNCE) |
                        RING_FEATURE(IN_ORDER);

    if (port->num_queues > 1)
        features |= NET_FEATURE(MQ);
    if (!own->has_control_queue || own->max_mtu > 0)
        features |= NET_FEATURE(MTU);
    if (own->has_control_queue)
        features |= NET_FEATURE(MAC) | NET_FEATURE(STATUS) | NET_FEATURE(SPEED_DUPLEX) |
                    NET_FEATURE(CTRL_VQ) | NET_FEATURE(CTRL_RX) | NET_FEATURE(CTRL_RX_EXTRA) |
                    NET_FEATURE(CTRL_VLAN) | NET_FEATURE(CTRL_MAC_ADDR) | NET_FEATURE(RSS) |
                    NET_FEATURE(HASH_REPORT) | RING_FEATURE(RESET);
    return features;
}

static int choose_mac(const struct port *port, const char *text, uint8_t mac[6],
                      struct shunt_error *error)
{
    if (!text)
        net_mac_derive(port->name, mac);
    else if (net_mac_parse(text, mac) < 0)
        return error_set(error, -EINVAL, "mac '%s' is not a unicast address like 52:54:00:12:34:56",
                         text);
    return 0;
}

static bool is_option(const json_t *options, const char *key, const char *value)
{
    const char *text = option_text(options, key);

    return text && strcmp(text, value) == 0;
}

int vhost_user_init_device(struct port *port, const json_t *options, struct shunt_error *error)
{
    struct vhost_user_port *own = vhost_user_of(port);
    long speed = option_number(options, "speed");
    bool is_half = is_option(options, "duplex", "half");
    int result;

    own->has_control_queue = is_option(options, "control-queue", "on");
    own->max_mtu = (uint16_t)option_number(options, "mtu");
    own->mtu = own->max_mtu;
    own->config = (struct net_config){
        .max_virtqueue_pairs = (uint16_t)port->num_queues,
        .mtu = own->max_mtu > 0 ? own->max_mtu : DEFAULT_MTU,
        .speed = speed > 0 ? (uint32_t)speed : NET_SPEED_UNKNOWN,
        .duplex = is_half ? NET_DUPLEX_HALF : NET_DUPLEX_FULL,
        .rss_max_key_size = RSS_KEY_BYTES,
        .rss_max_indirection_table_length = RSS_TABLE_LENGTH,
        .supported_hash_types = RSS_SUPPORTED_TYPES,
    };
    atomic_init(&own->is_link_up, !is_option(options, "link", "down"));
    result = choose_mac(port, option_text(options, "mac"), own->config.mac, error);
    if (result < 0)
        return result;
    if (port->num_queues > 1 && steering_create(&own->steering) < 0)
        return error_set(error, -ENOMEM, "out of memory");
    control_init(&own->control, own->config.mac, port->num_queues, on_command, port);
    own->format = net_format_of(0);
    write_rules(own, &own->rules[0]);
    rcu_publish(&own->current_rules, &own->rules[0]);
    return 0;
}
