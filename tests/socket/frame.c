/* SPDX-License-Identifier: BSD-3-Clause */
#include "socket/frame.h"

#include <string.h>

const uint8_t frame_broadcast[6] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

/* For local experiments (IEEE 802, 9.2.3). */
static const uint8_t type[2] = {0x88, 0xb5};

void frame_mac(uint8_t mac[6], uint32_t n)
{
    mac[0] = 0x52;
    mac[1] = 0x54;
    memcpy(mac + 2, &n, sizeof(n));
}

/* The bytes of a payload: the number, and then what a generator that begins with it says. */
static void fill_payload(uint8_t *payload, uint32_t len, uint32_t number)
{
    uint32_t state = number * 2654435761u + len + 1;

    for (uint32_t i = 0; i < len; i++) {
        state = state * 1664525u + 1013904223u;
        payload[i] = (uint8_t)(state >> 24);
    }
    memcpy(payload, &number, len < sizeof(number) ? len : sizeof(number));
}

void frame_fill(uint8_t *frame, uint32_t len, const uint8_t to[6], const uint8_t from[6],
                uint32_t number)
{
    memcpy(frame, to, 6);
    memcpy(frame + 6, from, 6);
    memcpy(frame + 12, type, 2);
    fill_payload(frame + FRAME_MIN_BYTES, len - FRAME_MIN_BYTES, number);
}

bool frame_is(const uint8_t *frame, uint32_t len, uint32_t number)
{
    static _Thread_local uint8_t expected[FRAME_BYTES];

    if (len < FRAME_MIN_BYTES || len > FRAME_BYTES || memcmp(frame + 12, type, 2) != 0)
        return false;
    fill_payload(expected, len - FRAME_MIN_BYTES, number);
    return memcmp(frame + FRAME_MIN_BYTES, expected, len - FRAME_MIN_BYTES) == 0;
}

uint32_t frame_number(const uint8_t *frame)
{
    uint32_t number;

    memcpy(&number, frame + FRAME_MIN_BYTES, sizeof(number));
    return number;
}
