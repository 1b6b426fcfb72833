/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is in the frames that we send, and whether it is in those that we receive.
 *
 *     0             14        34       42                    60
 *     Ethernet      IPv4      UDP      stamp (18 bytes)      payload …          trailer (4), if verified
 *                             TCP               54           72
 *
 * TCP stands where UDP does in frames that the back-end is to segment (TSO). The stamp says who sent the
 * frame in which stream, as the how-manieth, and when. It fits into the smallest frame of Ethernet. Its
 * last field makes the one's complement sum of all up to its end come out right; because both addresses
 * and both ports are at even places, that is still so when an echo has exchanged them. The payload is made
 * of words that follow from their place and from the stamp, and the trailer repeats the sequence number, so
 * that a frame whose end is another one's is noticed.
 *
 * Addresses follow from who sends: the n-th address of port P of the process with id I is
 * 02:I:P:00:00:00 + n, and its IPv4 addresses begin with 10.P.
 *
 * Before the frame lies the header of virtio-net, 12 bytes. What comes from a back-end may change while
 * we look at it: it is used for counting only.
 */
#ifndef GEN_FRAME_H
#define GEN_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#include "virtio_net/header.h"

#define FRAME_MIN_BYTES        60u
#define FRAME_MIN_GSO_BYTES    72u
#define FRAME_GSO_HEADER_BYTES 54u    /* before the payload that is segmented */
#define FRAME_LIMIT_BYTES      65549u /* an IPv4 packet of 65,535 bytes */

#define FRAME_MAX_STREAMS (1u << 24)

/* Who a frame is from. */
struct frame_origin {
    uint8_t id;
    uint8_t port;
};

struct frame_stamp {
    struct frame_origin origin;
    uint32_t stream;
    uint32_t sequence;
    uint32_t time;    /* frame_time() */
    bool has_content; /* it is sent to be verified: the sequence number and the trailer count */
    bool has_time;
};

/* Time as it is in a stamp. Differences below 2^32 units are right, some seconds. */
#define FRAME_TIME_SHIFT 2u

static inline uint32_t frame_time(uint64_t cycles)
{
    return (uint32_t)(cycles >> FRAME_TIME_SHIFT);
}

/* The first address of a port. */
struct frame_address {
    uint8_t mac[6];
    uint32_t ip;
};

struct frame_address frame_address_of(struct frame_origin origin);

/* What the frames from one port to another have in common. */
struct frame_route {
    struct frame_address from, to;
    uint32_t num_macs;  /* addresses at each end; flow f has number f modulo num_macs */
    uint16_t gso_bytes; /* of payload in each segment, when the back-end segments; 0: it does not */
};

/*
 * Writes all of a frame of up to `max_size` bytes with the header before it, for frame_set_headers().
 * `seed` goes into the payload.
 */
void frame_build(uint8_t *buffer, uint32_t max_size, const struct frame_route *route, uint8_t seed);

/* Writes what depends on size and flow: the headers. */
void frame_set_headers(uint8_t *buffer, const struct frame_route *route, uint32_t size,
                       uint32_t flow);

/*
 * Stamps a frame with headers. With content, `trailer` is where that of the last frame in this buffer is, 0 if
 * there is none, and is set.
 */
void frame_set_stamp(uint8_t *buffer, uint32_t size, const struct frame_stamp *stamp, uint8_t seed,
                     uint32_t *trailer);

/* The stamp of a frame, which begins behind the header. False: it has none that is right. */
bool frame_get_stamp(const uint8_t *frame, uint32_t size, struct frame_stamp *stamp);

/* Whether a frame with this stamp, which has content, is as long as it says, and its payload right. */
bool frame_is_intact(const uint8_t *frame, uint32_t size, const struct frame_stamp *stamp);

/* Of a frame with a stamp: which port of process `id` it is for; -1: none. */
int frame_destination(const uint8_t *frame, uint8_t id);

/* Makes an answer of it: addresses, and ports if there are any, are exchanged. */
void frame_turn(uint8_t *frame, uint32_t size);

#endif
