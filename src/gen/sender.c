/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/sender.h"

#include <string.h>

#include "base/clock.h"
#include "gen/frame.h"
#include "gen/renew.h"

#define BURST      32u
#define LINE_BYTES 64u

static uint8_t *frame_of(const struct sender *sender, unsigned slot)
{
    return sender->frames + (size_t)sender->stride * slot;
}

static uint8_t seed_of(unsigned slot)
{
    return (uint8_t)slot;
}

void sender_build(struct sender *sender)
{
    const struct port *port = sender->port;

    if (port->num_destinations == 0)
        return;
    for (unsigned slot = 0; slot < port->options->ring_size; slot++) {
        frame_build(frame_of(sender, slot), port->plan->max_size, &port->routes[0], seed_of(slot));
        /* What is constant has the flow of this queue. */
        frame_set_headers(frame_of(sender, slot), &port->routes[0], port->plan->max_size,
                          sender->pattern.first_flow);
    }
}

/* --- How many ------------------------------------------------------------------------------------------- */

static uint64_t least_of(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Frames that may be sent in one go. */
static unsigned budget(const struct port *port)
{
    const struct options *options = port->plan->options;
    uint64_t num = least_of(options->burst ? options->burst : BURST, port->left);

    if (options->window) {
        uint64_t free = options->window > port->num_under_way
                            ? options->window - port->num_under_way
                            : 0;

        num = least_of(num, free);
    }
    return (unsigned)num;
}

/* Whether the back-end has returned so many frames. */
static ALWAYS_INLINE bool are_returned(const struct shunt_driver_queue *queue,
                                       enum ring_format format, unsigned num)
{
    uint16_t position;

    if (format == RING_SPLIT)
        return (uint16_t)(LOAD_RELAXED(&queue->split.used->idx) - queue->next_used) >= num;
    position = packed_advance(queue->next_used, num - 1, queue->size);
    return (LOAD_RELAXED(&queue->packed.descriptors[packed_idx(position)].flags) &
            (PACKED_F_AVAIL | PACKED_F_USED)) == packed_used_flags(position);
}

/*
 * Whether there is room for a good part of what is wanted: a back-end that is chased one descriptor at a
 * time costs both sides many times the cache lines.
 */
static ALWAYS_INLINE bool is_worthwhile(const struct shunt_driver_queue *queue,
                                        enum ring_format format, unsigned wanted)
{
    unsigned num = (unsigned)least_of(wanted, least_of(BURST, queue->size / 2u));

    /* A device that promised IN_ORDER shows several with one. */
    return queue->num_free >= num || queue->is_in_order || are_returned(queue, format, num);
}

/* What a back-end that is gone had returned: the frames stay with their slots, which are free. */
static void take_backlog(struct shunt_driver_queue *queue)
{
    struct shunt_driver_used used[BURST];

    while (queue->num_backlog > 0 && driver_queue_take(queue, queue->format, used, BURST) > 0)
        ;
}

/* --- What ----------------------------------------------------------------------------------------------- */

/* How far ahead frames are asked for, whose lines the back-end has read. They come in the order of slots. */
#define AHEAD          8u
#define EXPECTED_BYTES 512u

/* Bytes of a buffer, from its beginning, that are written as if somebody had just made the frame. */
static ALWAYS_INLINE uint32_t touched_bytes(enum touch touch, uint32_t size)
{
    return touch == TOUCH_ALL ? NET_HEADER_BYTES + size : touch == TOUCH_HEADER ? LINE_BYTES : 0;
}

static ALWAYS_INLINE void write_lines(uint8_t *buffer, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes; at += LINE_BYTES)
        *(volatile uint8_t *)(buffer + at) = buffer[at];
}

static ALWAYS_INLINE void expect_lines(const struct sender *sender, unsigned slot, uint32_t bytes)
{
    const uint8_t *buffer = frame_of(sender, (slot + AHEAD) & (sender->queue->size - 1u));
    uint32_t most = bytes < EXPECTED_BYTES ? bytes : EXPECTED_BYTES;

    for (uint32_t at = 0; at < most; at += LINE_BYTES)
        __builtin_prefetch(buffer + at, 1);
}

/* Makes the next frame of the pattern in the slot. Its size. */
static uint32_t make(struct sender *sender, uint8_t *buffer, unsigned slot, uint32_t time)
{
    struct port *port = sender->port;
    const struct options *options = port->plan->options;
    struct pattern_frame next = pattern_next(&sender->pattern);

    frame_set_headers(buffer, &port->routes[next.destination], next.size, next.flow);
    if (port->plan->has_stamps) {
        struct frame_stamp stamp = {
            .origin = port->origin,
            .stream = next.stream,
            .sequence = port->sequences[next.stream]++,
            .time = time,
            .has_time = options->measures_latency,
            .has_content = options->verifies,
        };

        frame_set_stamp(buffer, next.size, &stamp, seed_of(slot), &sender->trailers[slot]);
    }
    return next.size;
}

/* --- Sending -------------------------------------------------------------------------------------------- */

/* A slot for the next frame: a free one, or that of a frame that came back; -1: there is none. */
static ALWAYS_INLINE int next_slot(struct shunt_driver_queue *queue, enum ring_format format,
                                   bool *is_free)
{
    struct driver_completion completion;

    *is_free = queue->num_free > 0;
    if (__builtin_expect(*is_free, 0))
        return driver_queue_next_id(queue);
    return renew_next(queue, format, &completion) ? completion.id : -1;
}

static ALWAYS_INLINE void put(struct shunt_driver_queue *queue, enum ring_format format, int slot,
                              bool is_free, uint8_t *buffer, uint32_t len)
{
    struct iovec piece = {buffer, len};

    if (__builtin_expect(is_free, 0))
        driver_queue_add(queue, format, &piece, 1, 1, NULL);
    else
        renew(queue, format, (uint16_t)slot, len);
}

static ALWAYS_INLINE unsigned send_frames(struct sender *sender, enum ring_format format,
                                          bool is_constant, unsigned num, double now)
{
    struct port *port = sender->port;
    struct shunt_driver_queue *queue = sender->queue;
    uint32_t time = is_constant ? 0 : frame_time(clock_cycles());
    enum touch touch = port->plan->options->touch;
    uint32_t size = port->plan->max_size;
    uint64_t bytes = 0;
    unsigned sent = 0;

    for (; sent < num; sent++) {
        bool is_free, is_limited = port->is_limited;
        uint8_t *buffer;
        int slot;

        if (is_limited && !limiter_allows(&port->limiter, now))
            break;
        slot = next_slot(queue, format, &is_free);
        if (slot < 0)
            break;
        buffer = frame_of(sender, (unsigned)slot);
        expect_lines(sender, (unsigned)slot, touched_bytes(touch, size) | !is_constant);
        if (!is_constant)
            size = make(sender, buffer, (unsigned)slot, time);
        write_lines(buffer, touched_bytes(touch, size));
        put(queue, format, slot, is_free, buffer, NET_HEADER_BYTES + size);
        if (is_limited)
            limiter_spend(&port->limiter, size);
        bytes += size;
    }
    driver_queue_publish(queue, format);
    port->tx.frames += sent;
    port->tx.bytes += bytes;
    port->left -= sent;
    if (port->num_under_way == 0 && port->plan->options->window > 0)
        port->last_return = clock_cycles();
    port->num_under_way += sent;
    return sent;
}

static ALWAYS_INLINE unsigned send_as(struct sender *sender, enum ring_format format, double now)
{
    struct shunt_driver_queue *queue = sender->queue;
    unsigned num = budget(sender->port);

    if (__builtin_expect(queue->num_backlog > 0, 0))
        take_backlog(queue);
    if (num == 0 || (sender->port->is_limited && !limiter_allows(&sender->port->limiter, now)) ||
        !is_worthwhile(queue, format, num))
        return 0;
    return sender->is_constant ? send_frames(sender, format, true, num, now)
                               : send_frames(sender, format, false, num, now);
}

unsigned sender_send(struct sender *sender, double now)
{
    if (!sender->has_flows)
        return 0;
    return sender->queue->format == RING_PACKED ? send_as(sender, RING_PACKED, now)
                                                : send_as(sender, RING_SPLIT, now);
}

/* --- Echo ----------------------------------------------------------------------------------------------- */

/* There is room: no more buffers are there than the ring has slots. */
void sender_echo(struct sender *sender, const struct iovec *pieces, unsigned num, uint32_t bytes,
                 void *cookie)
{
    driver_queue_add(sender->queue, sender->queue->format, pieces, num, num, cookie);
    sender->port->tx.frames++;
    sender->port->tx.bytes += bytes;
}

unsigned sender_take(struct sender *sender, struct shunt_driver_used *used, unsigned max)
{
    int num = driver_queue_take(sender->queue, sender->queue->format, used, max);

    return num > 0 ? (unsigned)num : 0;
}
