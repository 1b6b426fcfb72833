/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A port on a TAP device of the host's kernel: what we send, the kernel receives on that interface, and
 * the other way round. Frames are plain: no offloads.
 *
 * A burst is read into one buffer of our own, frame after frame, and lent from there; a frame that is
 * sent is written with one writev() from where it lies. So there is one copy each way, the kernel's.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/if_tun.h>
#include <net/if.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "port/port.h"
#include "virtio_net/segment.h"

/* Reading cuts off what is too long: with a byte more than a frame may have, that can be told. */
#define ROOM_BYTES (FRAME_MAX_BYTES + 1)
/* There is always room for one frame of the largest size, and for a burst of usual ones before it. */
#define ARENA_BYTES        (128 * 1024)
#define BOUNCE_BYTES       (68 * 1024)
#define WRITE_MAX_SEGMENTS 1024 /* the kernel's IOV_MAX */
static_assert(BOUNCE_BYTES >= FRAME_MAX_BYTES && ARENA_BYTES >= ROOM_BYTES, "room for a frame");

struct tap_port {
    char device[IFNAMSIZ];
    int fd;
    pthread_mutex_t tx_lock;
    uint8_t *arena; /* then the bounce buffer; touched only when used */
};

/* --- Control ---------------------------------------------------------------------------------------- */

/* A device that another program had keeps what that one could do: checksums left to us, for example. */
static int refuse_offloads(const struct tap_port *own, struct shunt_error *error)
{
    if (ioctl(own->fd, TUNSETOFFLOAD, 0) == 0)
        return 0;
    return error_set(error, -errno, "interface %s: its offloads cannot be turned off: %m",
                     own->device);
}

static int attach(struct tap_port *own, struct shunt_error *error)
{
    struct ifreq request = {.ifr_flags = IFF_TAP | IFF_NO_PI};
    int result;

    own->fd = open("/dev/net/tun", O_RDWR | O_NONBLOCK | O_CLOEXEC);
    if (own->fd < 0)
        return error_set(error, -errno, "/dev/net/tun: %m%s",
                         errno == ENOENT ? ": load the kernel module tun" : "");
    memcpy(request.ifr_name, own->device, IFNAMSIZ);
    if (ioctl(own->fd, TUNSETIFF, &request) == 0) {
        memcpy(own->device, request.ifr_name, IFNAMSIZ); /* "tap%d" has become "tap0" */
        return refuse_offloads(own, error);
    }
    result = -errno;
    switch (errno) {
    case EPERM:
        return error_set(error, result,
                         "interface %s: not permitted: run shuntd with CAP_NET_ADMIN, or make the "
                         "device for its user with 'ip tuntap add'",
                         own->device);
    case EBUSY:
        return error_set(error, result, "interface %s: another port or program is attached to it",
                         own->device);
    case EINVAL:
        return error_set(error, result,
                         "interface %s: there is one of that name that is not a TAP device (with a "
                         "single queue), or the name is not allowed: choose another with 'device'",
                         own->device);
    default:
        return error_set(error, result, "interface %s: %m", own->device);
    }
}

/* One that the user made is left as it is; the one that we made would otherwise be of no use yet. */
static void bring_up(const struct tap_port *own)
{
    struct ifreq request = {0};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

    if (fd < 0)
        return;
    memcpy(request.ifr_name, own->device, IFNAMSIZ);
    if (ioctl(fd, SIOCGIFFLAGS, &request) == 0) {
        request.ifr_flags = (short)(request.ifr_flags | IFF_UP);
        ioctl(fd, SIOCSIFFLAGS, &request);
    }
    close(fd);
}

static int make_parts(struct port *port, struct tap_port *own)
{
    own->fd = -1;
    own->arena = mmap(NULL, ARENA_BYTES + BOUNCE_BYTES, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (own->arena == MAP_FAILED) {
        own->arena = NULL;
        return -ENOMEM;
    }
    return port_make_queues(port, 1);
}

static int tap_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    const char *device = option_text(options, "device");
    struct tap_port *own = calloc(1, sizeof(*own));
    bool is_new;
    int result;

    if (!own)
        return error_set(error, -ENOMEM, "out of memory");
    port->private = own;
    pthread_mutex_init(&own->tx_lock, NULL);
    if (make_parts(port, own) < 0)
        return error_set(error, -ENOMEM, "out of memory");
    if (!device)
        device = port->name;
    if (strlen(device) >= IFNAMSIZ)
        return error_set(error, -ENAMETOOLONG,
                         "interface name '%s' is longer than %d bytes: choose one with 'device'",
                         device, IFNAMSIZ - 1);
    snprintf(own->device, sizeof(own->device), "%s", device);
    is_new = if_nametoindex(device) == 0;
    result = attach(own, error);
    if (result < 0)
        return result;
    if (is_new)
        bring_up(own);
    atomic_store_explicit(&port->num_tx_queues, 1, memory_order_release);
    port_queue_run(&port->queues[0], true);
    port_set_state(port, PORT_UP, "%s", "");
    return 0;
}

static void tap_close(struct port *port)
{
    struct tap_port *own = port->private;

    if (!own)
        return;
    if (own->fd >= 0)
        close(own->fd);
    if (own->arena)
        munmap(own->arena, ARENA_BYTES + BOUNCE_BYTES);
    pthread_mutex_destroy(&own->tx_lock);
    free(own);
}

/* A worker may be woken a moment before reading fails, and then never again: so control asks. */
static bool is_deleted(const struct tap_port *own)
{
    struct pollfd fd = {.fd = own->fd};

    return poll(&fd, 1, 0) > 0 && (fd.revents & POLLERR);
}

static void tap_tick(struct port *port)
{
    const struct tap_port *own = port->private;

    if (port->state == PORT_DOWN || !is_deleted(own))
        return;
    atomic_store_explicit(&port->num_tx_queues, 0, memory_order_release);
    port_queue_run(&port->queues[0], false);
    port_set_state(port, PORT_DOWN,
                   "interface %s was deleted: delete this port and add it again to make a new one",
                   own->device);
}

static void tap_describe(const struct port *port, json_t *object)
{
    const struct tap_port *own = port->private;

    json_object_set_new(object, "device", json_string(own->device));
}

/* --- Workers ---------------------------------------------------------------------------------------- */

/* Reads the next frame to `to`; its length, or 0 when there is none. */
static uint32_t read_frame(const struct tap_port *own, uint8_t *to, size_t max)
{
    ssize_t len;

    do
        len = read(own->fd, to, max);
    while (len < 0 && errno == EINTR);
    return len < 0 ? 0 : (uint32_t)len;
}

static void open_frame(struct frame *frame, struct iovec *segment, uint8_t *at, uint32_t len)
{
    *segment = (struct iovec){.iov_base = at, .iov_len = len};
    frame->segments = segment;
    frame->num_segments = 1;
    frame->len = len;
    memcpy(&frame->ethernet, at, ETHERNET_HEADER_BYTES);
}

/*
 * Counts what is no frame. The kernel's own stack makes none such, but hands on what is redirected to
 * the interface: packets of one without Ethernet, for example.
 */
static bool is_bad_length(struct port_queue *queue, uint32_t len)
{
    enum drop drop = len < ETHERNET_HEADER_BYTES ? DROP_RUNT : DROP_OVERSIZE;

    if (len >= ETHERNET_HEADER_BYTES && len <= FRAME_MAX_BYTES)
        return false;
    counter_add(&queue->rx.packets, 1);
    counter_add(&queue->rx.drops[drop], 1);
    return true;
}

static unsigned tap_lend(struct port_queue *queue, struct burst *burst)
{
    struct tap_port *own = queue->port->private;
    uint64_t bytes = 0;
    size_t used = 0;

    burst->num = 0;
    while (burst->num < BURST_MAX_FRAMES && ARENA_BYTES - used >= ROOM_BYTES) {
        uint8_t *at = own->arena + used;
        uint32_t len = read_frame(own, at, ROOM_BYTES);

        if (len == 0)
            break;
        if (is_bad_length(queue, len))
            continue;
        open_frame(&burst->frames[burst->num], &burst->segments[burst->num], at, len);
        burst->num++;
        bytes += len;
        used += (len + 63) & ~UINT32_C(63);
    }
    if (burst->num > 0) {
        counter_add(&queue->rx.packets, burst->num);
        counter_add(&queue->rx.bytes, bytes);
    }
    return burst->num;
}

/* The frames lie in our own buffer, which the next lend fills again. */
static void tap_give_back(struct port_queue *queue, struct burst *burst)
{
    (void)queue;
    burst->num = 0;
}

/*
 * The frame as writev() takes it: the Ethernet header that was decided on, then the rest from where it
 * lies. In more pieces than the kernel takes, it goes through a buffer of ours.
 */
static unsigned lay_out(struct tap_port *own, const struct frame *frame, struct iovec *room)
{
    struct segment_cursor from = segment_start(frame->segments);
    size_t left = frame->len - ETHERNET_HEADER_BYTES;
    unsigned num = 0;

    room[num].iov_base = (void *)(uintptr_t)&frame->ethernet;
    room[num++].iov_len = ETHERNET_HEADER_BYTES;
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    if (frame->num_segments + 1 > WRITE_MAX_SEGMENTS) {
        room[num++] = (struct iovec){.iov_base = own->arena + ARENA_BYTES, .iov_len = left};
        segment_read(&from, own->arena + ARENA_BYTES, left);
        return num;
    }
    while (left > 0) {
        uint8_t *piece;
        size_t len = segment_piece(&from, left, &piece);

        room[num++] = (struct iovec){.iov_base = piece, .iov_len = len};
        left -= len;
    }
    return num;
}

static enum drop write_frame(struct tap_port *own, const struct frame *frame, struct iovec *room)
{
    unsigned num = lay_out(own, frame, room);
    ssize_t len;

    do
        len = writev(own->fd, room, (int)num);
    while (len < 0 && errno == EINTR);
    if (len >= 0)
        return DROP_NUM;
    return errno == EAGAIN || errno == ENOBUFS || errno == ENOMEM ? DROP_DEVICE_FULL
                                                                  : DROP_DEVICE_ERROR;
}

static void tap_copy(struct port *port, unsigned hint, struct burst *burst, burst_mask which)
{
    struct tap_port *own = port->private;
    struct counters *tx = &port->queues[0].tx;

    (void)hint;
    pthread_mutex_lock(&own->tx_lock);
    while (which) {
        const struct frame *frame = &burst->frames[burst_next(&which)];
        enum drop drop = write_frame(own, frame, burst->room);

        if (drop == DROP_NUM) {
            counter_add(&tx->packets, 1);
            counter_add(&tx->bytes, frame->len);
        } else {
            counter_add(&tx->drops[drop], 1);
        }
    }
    pthread_mutex_unlock(&own->tx_lock);
}

/* The descriptor is watched edge-triggered and was read empty before this is called. */
static bool tap_arm(struct port_queue *queue)
{
    (void)queue;
    return true;
}

static void tap_disarm(struct port_queue *queue)
{
    (void)queue;
}

static int tap_wake_fd(const struct port_queue *queue)
{
    const struct tap_port *own = queue->port->private;

    return own->fd;
}

static const struct option tap_options[] = {
    {.key = "device",
     .kind = OPTION_TEXT,
     .max = IFNAMSIZ - 1,
     .help = "the TAP interface, created if it is not there; by default of the port's name"},
    {0},
};

extern const struct port_class port_class_tap;
const struct port_class port_class_tap = {
    .type = "tap",
    .help = "an interface of the host's kernel",
    .options = tap_options,
    .open = tap_open,
    .close = tap_close,
    .tick = tap_tick,
    .describe = tap_describe,
    .lend = tap_lend,
    .give_back = tap_give_back,
    .copy = tap_copy,
    .arm = tap_arm,
    .disarm = tap_disarm,
    .wake_fd = tap_wake_fd,
    .is_lend_costly = true,
};
