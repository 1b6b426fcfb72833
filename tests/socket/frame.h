/* SPDX-License-Identifier: BSD-3-Clause */
/* Frames whose every byte follows from their number. */
#ifndef SOCKET_FRAME_H
#define SOCKET_FRAME_H

#include <stdbool.h>
#include <stdint.h>

#define FRAME_BYTES     65550u /* the longest there is */
#define FRAME_MIN_BYTES 14u

extern const uint8_t frame_broadcast[6];

/* The address of guest or host `n`. */
void frame_mac(uint8_t mac[6], uint32_t n);

/* Fills in `len` bytes: addresses, type, and a payload that begins with the number as far as it fits. */
void frame_fill(uint8_t *frame, uint32_t len, const uint8_t to[6], const uint8_t from[6],
                uint32_t number);

/* Whether the payload is that of frame `number`. */
bool frame_is(const uint8_t *frame, uint32_t len, uint32_t number);

/* The number of a frame of at least 18 bytes. */
uint32_t frame_number(const uint8_t *frame);

#endif
