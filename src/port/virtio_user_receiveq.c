/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Lending what the back-end put into our receive buffers. It can write there at any time: what
 * decisions are made on is copied once, and lengths are those of the used ring, which the queue has
 * checked.
 */
#include <string.h>

#include "port/virtio_user.h"
#include "virtio_net/header.h"
#include "virtio_net/segment.h"
#include "virtqueue/driver.h"

#define LINE_BYTES 64u

/* The longest frame with its header, and an odd number of lines: see VIRTIO_USER_BUFFER_BYTES. */
#define WHOLE_BYTES  (NET_HEADER_BYTES + FRAME_MAX_BYTES)
#define WHOLE_STRIDE ((((WHOLE_BYTES + LINE_BYTES - 1) / LINE_BYTES) | 1) * LINE_BYTES)
static_assert(VIRTIO_USER_BUFFER_BYTES % (2 * LINE_BYTES) == LINE_BYTES, "an odd number of lines");

/* --- Buffers ---------------------------------------------------------------------------------- */

uint32_t virtio_user_rx_stride(bool is_mergeable)
{
    return is_mergeable ? VIRTIO_USER_BUFFER_BYTES : WHOLE_STRIDE;
}

/* There is a descriptor for each buffer, so it fits. */
static ALWAYS_INLINE void add(const struct virtio_user_rx *rx, enum ring_format format,
                              void *buffer)
{
    struct iovec piece = {buffer, rx->buffer_bytes};

    driver_queue_add(rx->ring, format, &piece, 0, 1, buffer);
}

void virtio_user_rx_fill(struct virtio_user_rx *rx, bool is_mergeable)
{
    rx->is_mergeable = is_mergeable;
    rx->buffer_bytes = is_mergeable ? VIRTIO_USER_BUFFER_BYTES : WHOLE_BYTES;
    rx->stride = virtio_user_rx_stride(is_mergeable);
    shunt_driver_queue_lock(rx->ring);
    for (unsigned i = 0; i < rx->ring->size; i++)
        add(rx, rx->ring->format, rx->buffers + (size_t)rx->stride * i);
    driver_queue_publish(rx->ring, rx->ring->format);
    shunt_driver_queue_unlock(rx->ring);
}

/* Makes the buffers of whole frames available again; the beginning of another one stays. */
static ALWAYS_INLINE void add_whole(struct virtio_user_rx *rx, enum ring_format format)
{
    for (unsigned i = 0; i < rx->num_whole; i++)
        add(rx, format, rx->held[i].iov_base);
    driver_queue_publish(rx->ring, format);
    rx->num_held -= rx->num_whole;
    if (__builtin_expect(rx->num_held > 0, 0))
        memmove(rx->held, rx->held + rx->num_whole, rx->num_held * sizeof(rx->held[0]));
    rx->num_whole = 0;
}

static void add_whole_as(struct virtio_user_rx *rx)
{
    if (rx->ring->format == RING_PACKED)
        add_whole(rx, RING_PACKED);
    else
        add_whole(rx, RING_SPLIT);
}

/* Nobody will complete the frame. */
static void forget_begun(struct virtio_user_rx *rx)
{
    rx->num_whole = rx->num_held;
}

void virtio_user_rx_resume(struct virtio_user_rx *rx)
{
    shunt_driver_queue_lock(rx->ring);
    if (rx->ring->num_backlog == 0) {
        forget_begun(rx);
        add_whole_as(rx);
    }
    shunt_driver_queue_unlock(rx->ring);
}

/* --- Frames ----------------------------------------------------------------------------------- */

static ALWAYS_INLINE void copy_ethernet(struct frame *frame)
{
    struct segment_cursor cursor = segment_start(frame->segments);

    if (__builtin_expect(frame->num_segments == 1, 1))
        memcpy(&frame->ethernet, frame->segments->iov_base, sizeof(frame->ethernet));
    else
        segment_read(&cursor, &frame->ethernet, sizeof(frame->ethernet));
}

/* The buffers of a frame become its segments, without the header; or why they are none. */
static ALWAYS_INLINE enum drop open_frame(const struct iovec *buffers, unsigned num, uint64_t len,
                                          struct iovec *segments, struct frame *frame)
{
    struct net_header header;

    if (__builtin_expect(buffers->iov_len < NET_HEADER_BYTES ||
                             len < NET_HEADER_BYTES + ETHERNET_HEADER_BYTES,
                         0))
        return DROP_RUNT;
    if (__builtin_expect(len > WHOLE_BYTES, 0))
        return DROP_OVERSIZE;
    memcpy(&header, buffers->iov_base, NET_HEADER_BYTES);
    for (unsigned i = 0; i < num; i++)
        segments[i] = buffers[i];
    segments->iov_base = (uint8_t *)segments->iov_base + NET_HEADER_BYTES;
    segments->iov_len -= NET_HEADER_BYTES;
    frame->segments = segments;
    frame->num_segments = num;
    frame->len = (uint32_t)len - NET_HEADER_BYTES;
    copy_ethernet(frame);
    atomic_signal_fence(memory_order_seq_cst); /* what follows looks at the copies only */
    return __builtin_expect(net_header_is_plain(&header), 1) ? DROP_NUM : DROP_BAD_OFFLOAD;
}

/* All buffers of the frame are there. */
static ALWAYS_INLINE void complete(struct virtio_user_rx *rx, struct burst *burst,
                                   struct counters *counters)
{
    const struct iovec *buffers = &rx->held[rx->num_whole];
    unsigned num = rx->num_held - rx->num_whole;
    struct frame *frame = &burst->frames[burst->num];
    uint64_t len = 0;
    enum drop drop;

    for (unsigned i = 0; i < num; i++)
        len += buffers[i].iov_len;
    drop = open_frame(buffers, num, len, &burst->segments[rx->num_whole], frame);
    rx->num_whole = rx->num_held;
    counter_add(&counters->packets, 1);
    if (__builtin_expect(drop != DROP_NUM, 0)) {
        counter_add(&counters->drops[drop], 1);
        return;
    }
    counter_add(&counters->bytes, frame->len);
    burst->num++;
}

/*
 * How many buffers the frame takes that begins here; read once. 0 is none, and counts as too short;
 * more than there are is too long, which the length will not say.
 */
static ALWAYS_INLINE unsigned num_buffers(const struct virtio_user_rx *rx, const void *buffer)
{
    return rx->is_mergeable ? LOAD_RELAXED(&((const struct net_header *)buffer)->num_buffers) : 1;
}

/* Holds a buffer that came. False: it begins a frame that cannot be. */
static ALWAYS_INLINE bool hold(struct virtio_user_rx *rx, const struct shunt_driver_used *used)
{
    if (rx->num_held == rx->num_whole)
        rx->num_wanted = num_buffers(rx, used->cookie);
    rx->held[rx->num_held++] = (struct iovec){used->cookie, used->len};
    return rx->num_wanted > 0 && rx->num_wanted <= rx->ring->size;
}

static void drop_begun(struct virtio_user_rx *rx, struct counters *counters)
{
    counter_add(&counters->packets, 1);
    counter_add(&counters->drops[rx->num_wanted == 0 ? DROP_RUNT : DROP_OVERSIZE], 1);
    forget_begun(rx);
}

/* Buffers that the frame lacks which is at hand. */
static unsigned num_lacking(const struct virtio_user_rx *rx)
{
    return rx->num_held == rx->num_whole ? 0 : rx->num_wanted - (rx->num_held - rx->num_whole);
}

/* --- Bursts ----------------------------------------------------------------------------------- */

static ALWAYS_INLINE unsigned take(struct virtio_user_rx *rx, enum ring_format format,
                                   struct shunt_driver_used *used, unsigned max)
{
    unsigned num_backlog = rx->ring->num_backlog;
    int num;

    /*
     * Never of the last back-end and of this one at once: a frame does not reach from one to the
     * other.
     */
    if (__builtin_expect(num_backlog > 0 && num_backlog < max, 0))
        max = num_backlog;
    num = driver_queue_take(rx->ring, format, used, max);
    return num < 0 ? 0 : (unsigned)num;
}

/*
 * Takes up to `max` buffers, and asks for the line with both headers of each; then looks at them.
 */
static ALWAYS_INLINE unsigned gather(struct virtio_user_rx *rx, enum ring_format format,
                                     unsigned max, struct burst *burst, struct counters *counters)
{
    struct shunt_driver_used used[BURST_MAX_FRAMES];
    bool is_late = rx->ring->num_backlog > 0;
    unsigned num = take(rx, format, used, max);

    for (unsigned i = 0; i < num; i++)
        __builtin_prefetch(used[i].cookie);
    for (unsigned i = 0; i < num; i++) {
        if (__builtin_expect(!hold(rx, &used[i]), 0))
            drop_begun(rx, counters);
        else if (rx->num_held - rx->num_whole == rx->num_wanted)
            complete(rx, burst, counters);
    }
    if (__builtin_expect(is_late && rx->ring->num_backlog == 0, 0))
        forget_begun(rx);
    return num;
}

/*
 * How many buffers to take next: a burst of them, and then what the last frame lacks; so there are
 * no more frames than a burst has.
 */
static ALWAYS_INLINE unsigned num_next(const struct virtio_user_rx *rx, const struct burst *burst)
{
    unsigned lacking = num_lacking(rx);

    if (__builtin_expect(lacking > 0, 0))
        return lacking < BURST_MAX_FRAMES ? lacking : BURST_MAX_FRAMES;
    return burst->num == 0 ? BURST_MAX_FRAMES : 0;
}

static ALWAYS_INLINE void lend(struct virtio_user_rx *rx, enum ring_format format,
                               struct burst *burst, struct counters *counters)
{
    unsigned max;

    burst->num = 0;
    while ((max = num_next(rx, burst)) > 0 && gather(rx, format, max, burst, counters) > 0)
        ;
}

unsigned virtio_user_lend(struct port_queue *queue, struct burst *burst)
{
    struct virtio_user_rx *rx = virtio_user_rx_of(queue);

    shunt_driver_queue_lock(rx->ring);
    if (rx->ring->format == RING_PACKED)
        lend(rx, RING_PACKED, burst, &queue->rx);
    else
        lend(rx, RING_SPLIT, burst, &queue->rx);
    if (burst->num > 0)
        return burst->num;
    if (rx->num_whole > 0)
        add_whole_as(rx);
    shunt_driver_queue_unlock(rx->ring);
    return 0;
}

void virtio_user_give_back(struct port_queue *queue, struct burst *burst)
{
    struct virtio_user_rx *rx = virtio_user_rx_of(queue);

    burst->num = 0;
    add_whole_as(rx);
    shunt_driver_queue_unlock(rx->ring);
}

/* --- Sleeping --------------------------------------------------------------------------------- */

bool virtio_user_arm(struct port_queue *queue)
{
    struct shunt_driver_queue *ring = virtio_user_rx_of(queue)->ring;
    bool may_sleep;

    shunt_driver_queue_lock(ring);
    may_sleep = shunt_driver_queue_arm(ring);
    shunt_driver_queue_unlock(ring);
    return may_sleep;
}

void virtio_user_disarm(struct port_queue *queue)
{
    struct shunt_driver_queue *ring = virtio_user_rx_of(queue)->ring;

    shunt_driver_queue_lock(ring);
    shunt_driver_queue_disarm(ring);
    shunt_driver_queue_unlock(ring);
}

int virtio_user_wake_fd(const struct port_queue *queue)
{
    return shunt_driver_queue_call_fd(virtio_user_rx_of(queue)->ring);
}
