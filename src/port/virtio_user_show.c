/* SPDX-License-Identifier: BSD-3-Clause */
/* What `shuntctl port show` tells of a port that is the driver of another back-end's device. */
#include <sys/socket.h>

#include "port/describe.h"
#include "port/virtio_user.h"
#include "vhost_user/frontend.h"
#include "virtio_net/feature.h"

/* --- Rings ------------------------------------------------------------------------------------ */

static const char *state_name(const struct shunt_driver_queue *ring)
{
    if (ring->fault != DRIVER_FAULT_NONE)
        return "broken";
    return ring->is_running ? "running" : "stopped";
}

static json_t *describe_ring(const struct port *port, unsigned idx)
{
    struct shunt_driver_queue *ring = shunt_frontend_queue(virtio_user_of(port)->frontend, idx);
    json_t *object;

    shunt_driver_queue_lock(ring);
    object = json_pack("{s:i, s:s, s:s, s:i, s:I, s:I}", "index", (int)idx, "use",
                       idx % 2 ? "transmitq" : "receiveq", "state", state_name(ring), "size",
                       (int)ring->size, "notifications", (json_int_t)ring->stats.kicked,
                       "suppressed", (json_int_t)ring->stats.suppressed);
    if (ring->has_format) {
        json_object_set_new(object, "format",
                            json_string(ring->format == RING_PACKED ? "packed" : "split"));
        json_object_set_new(object, "available",
                            describe_position(ring->format, ring->next_available));
        json_object_set_new(object, "used", describe_position(ring->format, ring->next_used));
        json_object_set_new(object, "free", json_integer(ring->num_free));
    }
    shunt_driver_queue_unlock(ring);
    return object;
}

/* --- Memory ----------------------------------------------------------------------------------- */

static json_t *describe_memory(const struct virtio_user_port *own)
{
    struct shunt_memory_region rings = shared_area_region(&own->frontend->rings), region;
    json_t *regions = json_array();

    json_array_append_new(regions, describe_region(rings.guest_addr, rings.size,
                                                   (const void *)(uintptr_t)rings.guest_addr));
    for (unsigned i = 0; i < shunt_shared_memory_num_regions(own->memory); i++) {
        shunt_shared_memory_get_region(own->memory, i, &region);
        json_array_append_new(regions, describe_region(region.guest_addr, region.size,
                                                       (const void *)(uintptr_t)region.guest_addr));
    }
    return regions;
}

/* --- The port --------------------------------------------------------------------------------- */

static void describe_peer(const struct virtio_user_port *own, json_t *object)
{
    struct ucred peer = {0};
    socklen_t len = sizeof(peer);

    json_object_set_new(object, "role", json_string(own->is_server ? "server" : "client"));
    json_object_set_new(object, "socket", json_string(own->socket_path));
    if (shunt_frontend_is_connected(own->frontend) &&
        getsockopt(own->frontend->channel.fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0)
        json_object_set_new(object, "peer_pid", json_integer(peer.pid));
}

void virtio_user_describe(const struct port *port, json_t *object)
{
    const struct virtio_user_port *own = virtio_user_of(port);
    struct shunt_frontend *frontend = own->frontend;
    uint64_t protocol_features = shunt_frontend_protocol_features(frontend);
    json_t *rings = json_array();

    for (unsigned i = 0; i < 2 * port->num_queues; i++)
        json_array_append_new(rings, describe_ring(port, i));
    describe_peer(own, object);
    json_object_set_new(object, "features",
                        describe_bits(shunt_frontend_features(frontend), feature_name));
    json_object_set_new(object, "protocol_features",
                        describe_bits(protocol_features, protocol_feature_name));
    json_object_set_new(object, "active_pairs",
                        json_integer(
                            atomic_load_explicit(&port->num_tx_queues, memory_order_relaxed)));
    json_object_set_new(object, "rings", rings);
    json_object_set_new(object, "memory", describe_memory(own));
}
