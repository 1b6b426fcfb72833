/* SPDX-License-Identifier: BSD-3-Clause */
/* What the descriptions of ports have in common. Control thread. */
#ifndef PORT_DESCRIBE_H
#define PORT_DESCRIBE_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "virtqueue/ring.h"

/* The names of the bits that are set and have one. */
json_t *describe_bits(uint64_t bits, const char *(*name)(unsigned bit));

/*
 * Where a ring is: a free-running index of a split ring, and of a packed one an entry with the wrap
 * counter behind it.
 */
json_t *describe_position(enum ring_format format, uint16_t place);

/* A memory region; `pages` is where we have it. */
json_t *describe_region(uint64_t guest_addr, uint64_t bytes, const void *pages);

#endif
