/* SPDX-License-Identifier: BSD-3-Clause */
#include "gen/receiver.h"

#include <string.h>

#include "base/clock.h"
#include "gen/frame.h"
#include "gen/renew.h"
#include "gen/sender.h"

#define BURST      32u
#define LINE_BYTES 64u

/* A burst of so many of each frame fits into a cache. */
#define EXPECTED_BYTES 512u

/* In place of its id: the buffer has no slot in the ring any more. */
#define NO_SLOT UINT16_MAX

/* --- Buffers -------------------------------------------------------------------------------------------- */

static void add(struct receiver *receiver, void *buffer)
{
    struct iovec piece = {buffer, receiver->buffer_bytes};

    driver_queue_add(receiver->queue, receiver->queue->format, &piece, 0, 1, buffer);
}

void receiver_fill(struct receiver *receiver)
{
    for (unsigned i = 0; i < receiver->port->options->ring_size; i++)
        add(receiver, receiver->buffers + (size_t)receiver->stride * i);
    driver_queue_publish(receiver->queue, receiver->queue->format);
}

/* The buffer may receive again. */
static ALWAYS_INLINE void give_back(struct receiver *receiver, enum ring_format format,
                                    const struct shunt_driver_used *piece)
{
    if (__builtin_expect(piece->id == NO_SLOT, 0))
        add(receiver, piece->cookie);
    else
        renew(receiver->queue, format, piece->id, receiver->buffer_bytes);
}

static void give_back_all(struct receiver *receiver)
{
    for (unsigned i = 0; i < receiver->num_pieces; i++)
        give_back(receiver, receiver->queue->format, &receiver->pieces[i]);
}

/* --- Echo ----------------------------------------------------------------------------------------------- */

static size_t idx_of(const struct receiver *receiver, const void *buffer)
{
    return (size_t)((const uint8_t *)buffer - receiver->buffers) / receiver->stride;
}

/* What the back-end wrote is no header to be sent: only what concerns checksum and segments is. */
static void turn_header(uint8_t *buffer)
{
    struct net_header header;

    memcpy(&header, buffer, NET_HEADER_BYTES);
    header.flags &= NET_HEADER_F_NEEDS_CSUM;
    header.num_buffers = 0;
    memcpy(buffer, &header, NET_HEADER_BYTES);
}

/* The buffers themselves go into the transmitq; those of a frame are linked. */
static void send_back(struct receiver *receiver)
{
    const struct shunt_driver_used *pieces = receiver->pieces;
    unsigned num = receiver->num_pieces;
    uint8_t *first = pieces[0].cookie;

    turn_header(first);
    frame_turn(first + NET_HEADER_BYTES, pieces[0].len - NET_HEADER_BYTES);
    for (unsigned i = 0; i < num; i++) {
        receiver->iov[i] = (struct iovec){pieces[i].cookie, pieces[i].len};
        receiver->next[idx_of(receiver, pieces[i].cookie)] =
            i + 1 < num ? (uint32_t)idx_of(receiver, pieces[i + 1].cookie) + 1 : 0;
    }
    sender_echo(receiver->echo, receiver->iov, num, receiver->bytes - NET_HEADER_BYTES, first);
}

/* Buffers of frames that were sent back receive again. */
static unsigned take_back(struct receiver *receiver)
{
    struct shunt_driver_used used[BURST];
    unsigned num = sender_take(receiver->echo, used, BURST);

    for (unsigned i = 0; i < num; i++) {
        size_t idx = idx_of(receiver, used[i].cookie);
        uint32_t next;

        do {
            next = receiver->next[idx];
            add(receiver, receiver->buffers + receiver->stride * idx);
            idx = next - 1;
        } while (next > 0);
    }
    return num;
}

/* --- Looking at a frame --------------------------------------------------------------------------------- */

/* The frame in one piece, without the header before it. */
static const uint8_t *linear(const struct receiver *receiver)
{
    const struct shunt_driver_used *pieces = receiver->pieces;
    uint8_t *to = receiver->port->plan->scratch;
    size_t filled = 0;

    if (receiver->num_pieces == 1)
        return (const uint8_t *)pieces[0].cookie + NET_HEADER_BYTES;
    for (unsigned i = 0; i < receiver->num_pieces; i++) {
        memcpy(to + filled, pieces[i].cookie, pieces[i].len);
        filled += pieces[i].len;
    }
    return to + NET_HEADER_BYTES;
}

/* A port that waits for frames to arrive may send another one. */
static void note_arrival(const struct port *port, const struct frame_stamp *stamp, bool is_own)
{
    const struct plan *plan = port->plan;
    struct port *sender;

    if (stamp->origin.id != port->origin.id || stamp->origin.port >= plan->num_ports)
        return;
    sender = &plan->ports[stamp->origin.port];
    /* What goes to an echo arrives when it is back. */
    if (!is_own && port->options->role == ROLE_ECHO)
        return;
    if (sender->num_under_way > 0)
        sender->num_under_way--;
    sender->last_return = clock_cycles();
}

/* For another port of ours: a bridge flooded it. */
static bool is_foreign(const struct port *port, const uint8_t *frame)
{
    int destination = frame_destination(frame, port->origin.id);

    return destination >= 0 && destination != (int)port->idx &&
           destination < (int)port->plan->num_ports;
}

static void look(struct receiver *receiver, uint32_t time)
{
    struct port *port = receiver->port;
    const uint8_t *frame = linear(receiver);
    uint32_t size = receiver->bytes - NET_HEADER_BYTES;
    struct frame_stamp stamp;
    bool is_own;

    if (!frame_get_stamp(frame, size, &stamp)) {
        port->tracker.counts.unknown++;
        return;
    }
    if (is_foreign(port, frame)) {
        port->num_foreign++;
        return;
    }
    is_own = stamp.origin.id == port->origin.id && stamp.origin.port == port->origin.port;
    if (stamp.has_time && port->round_trip)
        histogram_add(is_own ? port->round_trip : port->one_way, time - stamp.time);
    if (port->plan->options->window)
        note_arrival(port, &stamp, is_own);
    if (!port->plan->options->verifies || !stamp.has_content)
        return;
    if (frame_is_intact(frame, size, &stamp))
        tracker_see(&port->tracker, &stamp);
    else
        port->tracker.counts.corrupted++;
}

/* --- Touching a frame ----------------------------------------------------------------------------------- */

/* Bytes of a buffer that are read as if somebody used them. */
static ALWAYS_INLINE uint32_t touched_bytes(enum touch touch, uint32_t len)
{
    return touch == TOUCH_ALL ? len : touch == TOUCH_HEADER ? 1 : 0;
}

/* Lines are asked for long before they are read, or else each would be waited for. */
static ALWAYS_INLINE void expect_lines(const uint8_t *buffer, uint32_t bytes)
{
    uint32_t most = bytes < EXPECTED_BYTES ? bytes : EXPECTED_BYTES;

    for (uint32_t at = 0; at < most; at += LINE_BYTES)
        __builtin_prefetch(buffer + at);
}

static ALWAYS_INLINE void read_lines(const uint8_t *buffer, uint32_t bytes)
{
    for (uint32_t at = 0; at < bytes; at += LINE_BYTES)
        (void)*(const volatile uint8_t *)(buffer + at);
}

/* --- Receiving ------------------------------------------------------------------------------------------ */

static void complete(struct receiver *receiver, uint32_t time)
{
    struct port *port = receiver->port;

    port->rx.frames++;
    port->rx.bytes += receiver->bytes - NET_HEADER_BYTES;
    if (port->plan->has_stamps)
        look(receiver, time);
    if (receiver->echo)
        send_back(receiver);
    else
        give_back_all(receiver);
}

/* How many buffers the frame takes that begins here. */
static ALWAYS_INLINE unsigned num_buffers(const struct receiver *receiver, const void *buffer)
{
    return receiver->port->is_mergeable
               ? LOAD_RELAXED(&((const struct net_header *)buffer)->num_buffers)
               : 1;
}

static bool is_malformed(const struct receiver *receiver)
{
    uint32_t last = receiver->pieces[receiver->num_pieces - 1].len;

    return receiver->num_wanted == 0 || receiver->num_wanted > receiver->port->options->ring_size ||
           receiver->pieces[0].len < NET_HEADER_BYTES || last == 0 ||
           receiver->bytes > NET_HEADER_BYTES + FRAME_LIMIT_BYTES;
}

static void take_piece(struct receiver *receiver, const struct shunt_driver_used *piece,
                       uint32_t time)
{
    if (receiver->num_pieces == 0) {
        receiver->num_wanted = num_buffers(receiver, piece->cookie);
        receiver->bytes = 0;
    }
    receiver->pieces[receiver->num_pieces++] = *piece;
    receiver->bytes += piece->len;
    read_lines(piece->cookie, touched_bytes(receiver->port->plan->options->touch, piece->len));
    if (is_malformed(receiver)) {
        receiver->port->num_malformed++;
        give_back_all(receiver);
    } else if (receiver->num_pieces < receiver->num_wanted) {
        return;
    } else {
        complete(receiver, time);
    }
    receiver->num_pieces = 0;
}

/* Nobody wants to know more of the frames than how long they are. */
static ALWAYS_INLINE void count_only(struct receiver *receiver, enum ring_format format,
                                     const struct shunt_driver_used *pieces, unsigned num)
{
    struct port *port = receiver->port;
    enum touch touch = port->plan->options->touch;
    uint64_t bytes = 0;
    unsigned i = 0;

    for (; i < num && receiver->num_pieces == 0; i++) {
        if (pieces[i].len < NET_HEADER_BYTES || num_buffers(receiver, pieces[i].cookie) != 1)
            break;
        bytes += pieces[i].len - NET_HEADER_BYTES;
        read_lines(pieces[i].cookie, touched_bytes(touch, pieces[i].len));
        give_back(receiver, format, &pieces[i]);
    }
    port->rx.frames += i;
    port->rx.bytes += bytes;
    for (; i < num; i++)
        take_piece(receiver, &pieces[i], 0);
}

static bool only_counts(const struct receiver *receiver)
{
    return !receiver->port->plan->has_stamps && !receiver->echo;
}

/* Buffers that came back and keep their slots. */
static ALWAYS_INLINE unsigned take_kept(struct receiver *receiver, enum ring_format format,
                                        struct shunt_driver_used *pieces)
{
    struct shunt_driver_queue *queue = receiver->queue;
    struct driver_completion completion;
    enum touch touch = receiver->port->plan->options->touch;
    unsigned num = 0;

    for (; num < BURST && renew_next(queue, format, &completion); num++) {
        void *buffer = queue->chains[completion.id].cookie;

        /* The first line has the header, which is read in any case. */
        expect_lines(buffer, touched_bytes(touch, completion.len) | 1);
        pieces[num] = (struct shunt_driver_used){buffer, completion.len, completion.id};
    }
    return num;
}

/* Buffers that lose their slots: they go another way, or their ring is a new one. */
static unsigned take_free(struct receiver *receiver, struct shunt_driver_used *pieces)
{
    int num = driver_queue_take(receiver->queue, receiver->queue->format, pieces, BURST);

    for (int i = 0; i < num; i++) {
        pieces[i].id = NO_SLOT;
        __builtin_prefetch(pieces[i].cookie);
    }
    return num > 0 ? (unsigned)num : 0;
}

static ALWAYS_INLINE unsigned receive_burst(struct receiver *receiver, enum ring_format format)
{
    struct shunt_driver_used pieces[BURST];
    bool loses_slots = receiver->echo || receiver->queue->num_backlog > 0;
    unsigned num = __builtin_expect(loses_slots, 0) ? take_free(receiver, pieces)
                                                    : take_kept(receiver, format, pieces);

    if (num == 0)
        return 0;
    if (only_counts(receiver)) {
        count_only(receiver, format, pieces, num);
    } else {
        uint32_t time = frame_time(clock_cycles());

        for (unsigned i = 0; i < num; i++)
            take_piece(receiver, &pieces[i], time);
    }
    driver_queue_publish(receiver->queue, format);
    return num;
}

/* All that is there, so that frames are not lost for want of buffers while we send more; one ring at most. */
static ALWAYS_INLINE unsigned receive_as(struct receiver *receiver, enum ring_format format)
{
    unsigned num = 0, burst;

    do {
        burst = receive_burst(receiver, format);
        num += burst;
    } while (burst == BURST && num < receiver->queue->size);
    return num;
}

static unsigned echo(struct receiver *receiver)
{
    unsigned num_back = take_back(receiver);
    unsigned num = receive_as(receiver, receiver->queue->format);

    if (num_back)
        driver_queue_publish(receiver->queue, receiver->queue->format);
    if (num)
        driver_queue_publish(receiver->echo->queue, receiver->queue->format);
    return num + num_back;
}

unsigned receiver_receive(struct receiver *receiver)
{
    if (receiver->echo)
        return echo(receiver);
    return receiver->queue->format == RING_PACKED ? receive_as(receiver, RING_PACKED)
                                                  : receive_as(receiver, RING_SPLIT);
}
