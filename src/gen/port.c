/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/port.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/error.h"
#include "base/phrase.h"
#include "gen/receiver.h"
#include "gen/sender.h"
#include "virtio_net/feature.h"
#include "virtio_net/header.h"
#include "virtqueue/driver.h"

#define LINE_BYTES 64u

/* Of frames that we did not send: a whole one, with a VLAN tag. */
#define USUAL_FRAME_BYTES 1518u

/* Mergeable buffers need not be larger: a frame takes several. */
#define MERGEABLE_BUFFER_BYTES 4032u

/* What a driver that takes segments without mergeable buffers must have room for (VIRTIO 1.3, 5.1.6.3.1). */
#define TSO_BUFFER_BYTES 65562u

/* The configuration space up to the MTU (VIRTIO 1.3, 5.1.4). */
#define CONFIG_BYTES      12u
#define CONFIG_MTU_OFFSET 10u
#define ETHERNET_BYTES    14u

/* --- Features ------------------------------------------------------------------------------------------- */

static const uint64_t send_tso = NET_FEATURE(CSUM) | NET_FEATURE(HOST_TSO4);
static const uint64_t receive_tso = NET_FEATURE(GUEST_CSUM) | NET_FEATURE(GUEST_TSO4);

/* What the user asked for by name, and without which we do not start. */
static uint64_t asked_features(const struct port *port)
{
    const struct port_options *options = port->options;
    bool sends_segments = port->plan->options->gso_bytes > 0 && options->role != ROLE_SINK;

    return (options->is_packed ? RING_FEATURE(PACKED) : 0) |
           (options->is_in_order ? RING_FEATURE(IN_ORDER) : 0) |
           (options->mergeable == MERGEABLE_ON ? NET_FEATURE(MRG_RXBUF) : 0) |
           (options->num_queues > 1 ? NET_FEATURE(MQ) : 0) | (sends_segments ? send_tso : 0);
}

/* What is used if it is there. */
static uint64_t useful_features(const struct port *port)
{
    const struct port_options *options = port->options;

    return asked_features(port) | RING_FEATURE(VERSION_1) | NET_FEATURE(MTU) |
           (options->has_event_idx ? RING_FEATURE(EVENT_IDX) : 0) |
           (options->mergeable != MERGEABLE_OFF ? NET_FEATURE(MRG_RXBUF) : 0) |
           (port->plan->options->gso_bytes ? receive_tso : 0);
}

static int check_features(const struct port *port, struct shunt_error *error)
{
    uint64_t missing = asked_features(port) & ~shunt_frontend_features(port->frontend);
    struct phrase names = {0};

    for (unsigned bit = 0; bit < 64; bit++) {
        if (feature_is_set(missing, bit))
            phrase_list(&names, feature_name(bit));
    }
    if (missing)
        return error_set(error, -ENOTSUP, "the back-end lacks %s, which was asked for", names.text);
    return 0;
}

static int check_queues(const struct port *port, struct shunt_error *error)
{
    unsigned num = shunt_frontend_num_virtqueues(port->frontend) / 2;

    if (num >= port->options->num_queues)
        return 0;
    return error_set(error, -ENOTSUP, "the back-end has %u queue pair%s, and %u were asked for",
                     num, num == 1 ? "" : "s", port->options->num_queues);
}

/* The back-end may say how large a packet may be. */
static int check_mtu(const struct port *port, struct shunt_error *error)
{
    const uint8_t *config = shunt_frontend_device_config(port->frontend);
    uint32_t max_size = port->plan->max_size;
    uint16_t mtu;

    if (!config || !feature_is_set(shunt_frontend_features(port->frontend), NET_F_MTU) ||
        port->plan->options->gso_bytes > 0)
        return 0;
    memcpy(&mtu, config + CONFIG_MTU_OFFSET, sizeof(mtu));
    if (max_size <= mtu + ETHERNET_BYTES)
        return 0;
    return error_set(error, -EMSGSIZE,
                     "frames of %u bytes are beyond the back-end's MTU of %u: at most %u bytes",
                     max_size, mtu, mtu + ETHERNET_BYTES);
}

static int check(struct port *port, struct shunt_error *error)
{
    int result = check_queues(port, error);

    if (result == 0)
        result = check_features(port, error);
    return result < 0 ? result : check_mtu(port, error);
}

/* --- Buffers -------------------------------------------------------------------------------------------- */

/*
 * An odd number of lines: buffers that are a power of two apart would share a few sets of the caches,
 * those of the back-end too.
 */
static uint32_t stride_of(uint32_t bytes)
{
    return (((bytes + LINE_BYTES - 1) / LINE_BYTES) | 1) * LINE_BYTES;
}

static uint32_t max_of(uint32_t a, uint32_t b)
{
    return a > b ? a : b;
}

static uint32_t frame_bytes(const struct port *port)
{
    return NET_HEADER_BYTES + port->plan->max_size;
}

/* Of a receive buffer. */
static uint32_t buffer_bytes(const struct port *port, bool is_mergeable)
{
    uint32_t whole = NET_HEADER_BYTES + max_of(port->plan->max_size, USUAL_FRAME_BYTES);

    if (port->options->buffer_bytes)
        return port->options->buffer_bytes;
    if (is_mergeable)
        return whole < MERGEABLE_BUFFER_BYTES ? whole : MERGEABLE_BUFFER_BYTES;
    return port->plan->options->gso_bytes ? TSO_BUFFER_BYTES : whole;
}

/* At most: which features there are is known later. Pages that are not used cost nothing. */
static uint64_t memory_bytes(const struct port *port)
{
    uint64_t slots = (uint64_t)port->options->ring_size * port->options->num_queues;
    uint64_t each = stride_of(buffer_bytes(port, false));

    if (port_sends(port))
        each += stride_of(frame_bytes(port));
    return slots * each;
}

static int set_up_sender(struct port *port, unsigned idx)
{
    struct sender *sender = &port->senders[idx];

    sender->port = port;
    sender->queue = shunt_frontend_queue(port->frontend, 2 * idx + 1);
    if (!port_sends(port))
        return 0;
    sender->has_flows = pattern_init(&sender->pattern, &port->plan->sizes,
                                     (uint32_t)port->plan->options->num_flows,
                                     port->num_destinations, idx, port->options->num_queues);
    sender->is_constant = pattern_is_constant(&sender->pattern) && !port->plan->has_stamps;
    sender->stride = stride_of(frame_bytes(port));
    sender->frames = shunt_shared_memory_allocate(
        port->memory, (uint64_t)sender->stride * port->options->ring_size, LINE_BYTES);
    sender->trailers = calloc(port->options->ring_size, sizeof(*sender->trailers));
    if (!sender->frames || !sender->trailers)
        return -ENOMEM;
    sender_build(sender);
    return 0;
}

static int set_up_receiver(struct port *port, unsigned idx)
{
    struct receiver *receiver = &port->receivers[idx];
    uint32_t ring_size = port->options->ring_size;

    receiver->port = port;
    receiver->queue = shunt_frontend_queue(port->frontend, 2 * idx);
    receiver->echo = port->options->role == ROLE_ECHO ? &port->senders[idx] : NULL;
    receiver->buffer_bytes = buffer_bytes(port, port->is_mergeable);
    receiver->stride = stride_of(receiver->buffer_bytes);
    receiver->buffers = shunt_shared_memory_allocate(port->memory,
                                                     (uint64_t)receiver->stride * ring_size,
                                                     LINE_BYTES);
    receiver->pieces = calloc(ring_size, sizeof(*receiver->pieces));
    receiver->iov = calloc(ring_size, sizeof(*receiver->iov));
    receiver->next = calloc(ring_size, sizeof(*receiver->next));
    if (!receiver->buffers || !receiver->pieces || !receiver->iov || !receiver->next)
        return -ENOMEM;
    receiver_fill(receiver);
    return 0;
}

static int set_up(struct port *port, struct shunt_error *error)
{
    int result = check(port, error);

    port->is_mergeable = feature_is_set(shunt_frontend_features(port->frontend), NET_F_MRG_RXBUF);
    for (unsigned i = 0; i < port->options->num_queues && result == 0; i++) {
        if (set_up_sender(port, i) < 0 || set_up_receiver(port, i) < 0)
            result = error_set(error, -ENOMEM, "out of memory");
    }
    port->is_set_up = result == 0;
    return result;
}

/* --- Whom it sends to ----------------------------------------------------------------------------------- */

static void add_route(struct port *port, struct frame_address to)
{
    const struct options *options = port->plan->options;

    port->routes[port->num_destinations++] = (struct frame_route){
        .from = frame_address_of(port->origin),
        .to = to,
        .num_macs = (uint32_t)options->num_macs,
        .gso_bytes = (uint16_t)options->gso_bytes,
    };
}

/* Nobody else is here: to where the user says, or to an address that nobody has. */
static void add_lonely_route(struct port *port)
{
    const struct options *options = port->plan->options;
    struct frame_address to = frame_address_of((struct frame_origin){port->origin.id, 255});

    if (options->has_to_mac)
        memcpy(to.mac, options->to_mac, sizeof(to.mac));
    add_route(port, to);
}

static int find_routes(struct port *port)
{
    const struct plan *plan = port->plan;
    uint64_t num_streams;

    port->routes = calloc(plan->num_ports, sizeof(*port->routes));
    port->destinations = calloc(plan->num_ports, sizeof(*port->destinations));
    if (!port->routes || !port->destinations)
        return -ENOMEM;
    for (unsigned i = 0; i < plan->num_ports; i++) {
        struct frame_origin other = {port->origin.id, (uint8_t)i};

        if (i == port->idx || plan->options->ports[i].role == ROLE_SEND)
            continue;
        port->destinations[port->num_destinations] = i;
        add_route(port, frame_address_of(other));
    }
    if (plan->num_ports == 1)
        add_lonely_route(port);
    num_streams = plan->options->num_flows * (port->num_destinations ? port->num_destinations : 1);
    port->sequences = calloc(num_streams, sizeof(*port->sequences));
    return port->sequences ? 0 : -ENOMEM;
}

/* --- Life ----------------------------------------------------------------------------------------------- */

static void on_started(void *ctx)
{
    struct port *port = ctx;

    if (!port->is_set_up && set_up(port, &port->failure) < 0)
        return;
    port->is_running = true;
}

static void on_stopped(void *ctx)
{
    struct port *port = ctx;

    port->is_running = false;
}

static const struct shunt_frontend_ops ops = {.started = on_started, .stopped = on_stopped};

static int create_frontend(struct port *port, struct shunt_error *error)
{
    struct shunt_frontend_config config = {
        .name = port->options->path,
        .socket_path = port->options->path,
        .is_server = port->options->is_server,
        .features = useful_features(port),
        .required_features = RING_FEATURE(VERSION_1),
        .num_virtqueues = 2 * port->options->num_queues,
        .min_virtqueues = 2,
        .virtqueues_per_queue = 2,
        .queue_size = (uint16_t)port->options->ring_size,
        .config_len = CONFIG_BYTES,
        .memory = port->memory,
    };
    struct stat status;

    if (!config.is_server && stat(config.socket_path, &status) < 0)
        return error_set(error, -errno, "%s: is the back-end running, with this socket?",
                         strerror(errno));
    return shunt_frontend_create(&config, &ops, port, &port->frontend, error);
}

static int allocate(struct port *port)
{
    unsigned num = port->options->num_queues;

    port->senders = calloc(num, sizeof(*port->senders));
    port->receivers = calloc(num, sizeof(*port->receivers));
    if (!port->senders || !port->receivers)
        return -ENOMEM;
    if (port->plan->options->measures_latency) {
        port->round_trip = calloc(1, sizeof(*port->round_trip));
        port->one_way = calloc(1, sizeof(*port->one_way));
        if (!port->round_trip || !port->one_way)
            return -ENOMEM;
    }
    return find_routes(port);
}

int port_create(struct port *port, const struct plan *plan, unsigned idx, struct shunt_error *error)
{
    int result;

    port->plan = plan;
    port->options = &plan->options->ports[idx];
    port->idx = idx;
    port->origin = (struct frame_origin){(uint8_t)plan->options->id, (uint8_t)idx};
    tracker_init(&port->tracker, port->origin.id);
    port->left = plan->options->count ? plan->options->count : UINT64_MAX;
    if (allocate(port) < 0 || shunt_shared_memory_create(&port->memory) < 0)
        return error_set(error, -ENOMEM, "out of memory");
    result = shunt_shared_memory_add(port->memory, memory_bytes(port) + 2 * LINE_BYTES,
                                     SHUNT_SHARED_MEMORY_HUGE, error);
    return result < 0 ? result : create_frontend(port, error);
}

void port_destroy(struct port *port)
{
    shunt_frontend_destroy(port->frontend);
    shunt_shared_memory_destroy(port->memory);
    for (unsigned i = 0; port->senders && i < port->options->num_queues; i++)
        free(port->senders[i].trailers);
    for (unsigned i = 0; port->receivers && i < port->options->num_queues; i++) {
        free(port->receivers[i].pieces);
        free(port->receivers[i].iov);
        free(port->receivers[i].next);
    }
    free(port->senders);
    free(port->receivers);
    free(port->destinations);
    free(port->routes);
    free(port->sequences);
    free(port->round_trip);
    free(port->one_way);
    tracker_destroy(&port->tracker);
    *port = (struct port){0};
}

const char *port_name(const struct port *port)
{
    const char *slash = strrchr(port->options->path, '/');

    return slash && slash[1] ? slash + 1 : port->options->path;
}
