/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What `shuntctl port show` tells of a port for a guest. Parts that are not in use are left out.
 */
#include <string.h>

#include "port/describe.h"
#include "port/vhost_user.h"
#include "vhost_user/wire.h"

static json_t *number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

/* VIRTIO 1.3, 2.1 */
static const char *status_name(unsigned bit)
{
    static const char *const names[8] = {
        [0] = "ACKNOWLEDGE", [1] = "DRIVER",      [2] = "DRIVER_OK",
        [3] = "FEATURES_OK", [6] = "NEEDS_RESET", [7] = "FAILED",
    };

    return bit < 8 ? names[bit] : NULL;
}

static const char *hash_type_name(unsigned bit)
{
    static const char *const names[RSS_TYPES] = {
        [RSS_IPV4] = "IPv4",       [RSS_TCPV4] = "TCPv4",       [RSS_UDPV4] = "UDPv4",
        [RSS_IPV6] = "IPv6",       [RSS_TCPV6] = "TCPv6",       [RSS_UDPV6] = "UDPv6",
        [RSS_IPV6_EX] = "IPv6_EX", [RSS_TCPV6_EX] = "TCPv6_EX", [RSS_UDPV6_EX] = "UDPv6_EX",
    };

    return bit < RSS_TYPES ? names[bit] : NULL;
}

static json_t *mac_text(const uint8_t mac[6])
{
    return json_sprintf("%02x:%02x:%02x:%02x:%02x:%02x", mac[0], mac[1], mac[2], mac[3], mac[4],
                        mac[5]);
}

/* --- Rings -------------------------------------------------------------------------------------------- */

static const char *ring_use(const struct port *port, unsigned idx)
{
    if ((int)idx == vhost_user_control_idx(port) || idx == 2 * port->num_queues)
        return "controlq";
    return idx % 2 ? "transmitq" : "receiveq";
}

static const char *notification_kind(int fd, bool is_in_band)
{
    if (is_in_band)
        return "in-band";
    return fd >= 0 ? "eventfd" : "polled";
}

/* With the virtqueue locked. */
static json_t *describe_started(const struct backend_queue *queue)
{
    const struct shunt_virtqueue *virtqueue = queue->virtqueue;
    bool is_in_band = queue->calls_in_band;

    return json_pack("{s:s, s:i, s:o, s:o, s:s, s:s}", "format",
                     virtqueue->format == RING_PACKED ? "packed" : "split", "size",
                     (int)virtqueue->size, "available",
                     describe_position(virtqueue->format, virtqueue->next_available), "used",
                     describe_position(virtqueue->format, virtqueue->next_used), "kick",
                     notification_kind(virtqueue->kick_fd, is_in_band), "call",
                     notification_kind(virtqueue->call_fd, is_in_band));
}

static json_t *describe_ring(const struct port *port, unsigned idx)
{
    static const char *const states[] = {
        [RING_STOPPED] = "stopped",
        [RING_DISABLED] = "disabled",
        [RING_RUNNING] = "running",
        [RING_BROKEN] = "broken",
    };
    const struct backend_queue *queue = &vhost_user_of(port)->backend->queues[idx];
    struct shunt_virtqueue *virtqueue = queue->virtqueue;
    enum ring_state state = vhost_user_ring_state(virtqueue);
    json_t *ring = json_pack("{s:i, s:s, s:s}", "index", (int)idx, "use", ring_use(port, idx),
                             "state", states[state]);

    shunt_virtqueue_lock(virtqueue);
    if (virtqueue->is_started)
        json_object_update_new(ring, describe_started(queue));
    else
        json_object_set_new(ring, "size", json_integer(virtqueue->size));
    json_object_set_new(ring, "notifications", number(virtqueue->stats.notified));
    json_object_set_new(ring, "suppressed", number(virtqueue->stats.suppressed));
    shunt_virtqueue_unlock(virtqueue);
    return ring;
}

static json_t *describe_rings(const struct port *port)
{
    json_t *rings = json_array();

    for (unsigned i = 0; i < vhost_user_of(port)->backend->config.num_virtqueues; i++)
        json_array_append_new(rings, describe_ring(port, i));
    return rings;
}

/* --- Memory --------------------------------------------------------------------------------------------- */

static json_t *describe_memory(const struct shunt_memory *memory)
{
    json_t *regions = json_array();

    for (unsigned i = 0; i < memory->num_regions; i++) {
        const struct memory_region *region = &memory->regions[i];

        json_array_append_new(regions, describe_region(region->range.addr, region->range.size,
                                                       region->mapping.pages));
    }
    return regions;
}

static uint64_t count_misses(const struct shunt_backend *backend)
{
    uint64_t num = 0;

    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *virtqueue = backend->queues[i].virtqueue;

        shunt_virtqueue_lock(virtqueue);
        num += virtqueue->stats.iotlb_misses;
        shunt_virtqueue_unlock(virtqueue);
    }
    return num;
}

static json_t *describe_iotlb(const struct shunt_backend *backend)
{
    struct iotlb_stats stats;

    if (!backend->space.iotlb)
        return json_object();
    stats = iotlb_stats(backend->iotlb);
    return json_pack("{s:I, s:I, s:I, s:I, s:I}", "entries", (json_int_t)stats.num_entries, "bytes",
                     (json_int_t)stats.bytes, "updates", (json_int_t)stats.updates, "invalidations",
                     (json_int_t)stats.invalidations, "misses", (json_int_t)count_misses(backend));
}

/* The log is there for a migration; whether it is written, LOG_ALL says. */
static json_t *describe_log(const struct shunt_backend *backend)
{
    if (!dirty_log_is_mapped(&backend->log))
        return json_object();
    return json_pack("{s:b, s:I}", "is_written", feature_is_set(backend->features, RING_F_LOG_ALL),
                     "bytes", (json_int_t)backend->log.num_bytes);
}

static json_t *describe_inflight(const struct shunt_backend *backend)
{
    const struct inflight_area *area = &backend->inflight;

    if (!area->mapping.start)
        return json_object();
    return json_pack("{s:I, s:i, s:i}", "bytes", (json_int_t)area->size, "virtqueues",
                     (int)area->num_queues, "entries", (int)area->queue_size);
}

/* --- The device ------------------------------------------------------------------------------------------- */

static json_t *describe_steering(const struct port *port)
{
    const struct rss *rss = &vhost_user_of(port)->control.state.rss;
    unsigned num = atomic_load_explicit(&port->num_tx_queues, memory_order_relaxed);
    json_t *steering = json_pack("{s:s, s:i}", "mode",
                                 rss->steers ? "rss"
                                 : num > 1   ? "automatic"
                                             : "one pair",
                                 "active_pairs", (int)num);

    if (rss->steers)
        json_object_set_new(steering, "table_entries", json_integer(rss->mask + 1));
    if (rss->hash_types)
        json_object_set_new(steering, "hash_types", describe_bits(rss->hash_types, hash_type_name));
    return steering;
}

static const char *const switch_names[FILTER_SWITCHES] = {
    [FILTER_PROMISC] = "promisc", [FILTER_ALLMULTI] = "allmulti", [FILTER_ALLUNI] = "alluni",
    [FILTER_NOMULTI] = "nomulti", [FILTER_NOUNI] = "nouni",       [FILTER_NOBCAST] = "nobcast",
};

static json_t *describe_filter(const struct filter *filter)
{
    json_t *modes = json_array();
    unsigned num_vlans = 0;

    for (unsigned i = 0; i < FILTER_SWITCHES; i++)
        if (filter->is_on[i])
            json_array_append_new(modes, json_string(switch_names[i]));
    for (unsigned i = 0; i < FILTER_NUM_VLANS / 64; i++)
        num_vlans += (unsigned)__builtin_popcountll(filter->vlans[i]);
    return json_pack("{s:b, s:b, s:o, s:i, s:i, s:i}", "by_destination", filter->has_addresses,
                     "by_vlan", filter->has_vlans, "modes", modes, "unicast_addresses",
                     (int)filter->unicast.num, "multicast_addresses", (int)filter->multicast.num,
                     "vlans", (int)num_vlans);
}

/* The parts that we have only with the control queue. */
static void describe_control(const struct port *port, json_t *object)
{
    const struct vhost_user_port *own = vhost_user_of(port);
    struct net_config config = vhost_user_config(port);
    json_t *queue;

    json_object_set_new(object, "mac", mac_text(config.mac));
    if (config.speed != NET_SPEED_UNKNOWN)
        json_object_set_new(object, "speed_mbits", number(config.speed));
    json_object_set_new(object, "duplex",
                        json_string(config.duplex == NET_DUPLEX_HALF ? "half" : "full"));
    queue = json_pack("{s:I, s:I, s:b}", "obeyed", (json_int_t)own->control.num_obeyed, "refused",
                      (json_int_t)own->control.num_refused, "announcing",
                      (config.status & NET_STATUS_ANNOUNCE) != 0);
    json_object_set_new(object, "control_queue", queue);
    json_object_set_new(object, "filter", describe_filter(&own->control.state.filter));
}

static void describe_peer(const struct shunt_backend *backend, json_t *object)
{
    static const char *const roles[] = {
        [ROLE_SERVER] = "server",
        [ROLE_CLIENT] = "client",
        [ROLE_ADOPTED] = "adopted",
    };
    const char *path = backend->role == ROLE_CLIENT ? backend->connector.path
                                                    : backend->listener.path;

    json_object_set_new(object, "role", json_string(roles[backend->role]));
    if (path)
        json_object_set_new(object, "socket", json_string(path));
    if (!shunt_backend_is_connected(backend))
        return;
    json_object_set_new(object, "peer_pid", json_integer(backend->peer_pid));
    if (backend->peer_name[0])
        json_object_set_new(object, "peer_name",
                            json_stringn_nocheck(backend->peer_name, strlen(backend->peer_name)));
}

static void set_if_any(json_t *object, const char *key, json_t *part)
{
    if (json_object_size(part) > 0)
        json_object_set(object, key, part);
    json_decref(part);
}

void vhost_user_describe(const struct port *port, json_t *object)
{
    const struct vhost_user_port *own = vhost_user_of(port);
    const struct shunt_backend *backend = own->backend;
    bool is_link_up = atomic_load_explicit(&own->is_link_up, memory_order_relaxed);

    describe_peer(backend, object);
    json_object_set_new(object, "link", json_string(is_link_up ? "up" : "down"));
    if (own->mtu > 0)
        json_object_set_new(object, "mtu", json_integer(own->mtu));
    json_object_set_new(object, "features", describe_bits(backend->features, feature_name));
    json_object_set_new(object, "protocol_features",
                        describe_bits(backend->protocol_features, protocol_feature_name));
    if (backend_has_protocol(backend, WIRE_PROTOCOL_F_STATUS))
        json_object_set_new(object, "status", describe_bits(backend->status, status_name));
    if (own->has_control_queue)
        describe_control(port, object);
    json_object_set_new(object, "steering", describe_steering(port));
    json_object_set_new(object, "rings", describe_rings(port));
    json_object_set_new(object, "memory", describe_memory(backend->memory));
    set_if_any(object, "iotlb", describe_iotlb(backend));
    set_if_any(object, "log", describe_log(backend));
    set_if_any(object, "inflight", describe_inflight(backend));
}
