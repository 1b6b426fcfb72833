/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's driver for tests: a front-end with guest memory and rings in it, which have the format and the
 * abilities that were negotiated.
 *
 *     driver_init(&driver, 2, 256, 1 << 20);          memory and rings, known to nobody yet
 *     driver_connect(&driver, path, features, protocol_features);
 *     driver_start(&driver, 0);                       … and 1: the device may look at the ring
 *     driver_add(&driver, 0, buffers, num);           a chain, and a kick if the device wants one
 *     driver_disconnect(&driver);                     driver_connect() may follow
 *     driver_fini(&driver);
 *
 * All that is inside may be used directly; that is what hostile drivers do.
 */
#ifndef LIB_DRIVER_H
#define LIB_DRIVER_H

#include "lib/frontend.h"
#include "lib/ring.h"

#define DRIVER_MAX_RINGS 10

/* Where the memory lies for the guest, and for the front-end: just not the same. */
#define DRIVER_GUEST_ADDR UINT64_C(0x40000000)
#define DRIVER_USER_ADDR  UINT64_C(0x7e0000000000)

struct driver {
    struct frontend frontend;
    struct ring_area area;
    uint64_t data_offset; /* in the area: what lies behind the rings */
    unsigned num_rings;
    uint16_t ring_size;
    struct ring rings[DRIVER_MAX_RINGS];
    int kick_fds[DRIVER_MAX_RINGS];
    int call_fds[DRIVER_MAX_RINGS];
    /* For the front-end, see there; set before the connection. */
    void (*idle)(void *ctx);
    void *idle_ctx;
    bool wants_acks;
    /*
     * In how many regions the memory is shared (0: one), so that buffers cross from one to the next; the
     * rings lie in the first. Needs CONFIGURE_MEM_SLOTS.
     */
    unsigned num_regions;
};

/* Makes the memory and the rings. Aborts if it cannot. */
void driver_init(struct driver *driver, unsigned num_rings, uint16_t ring_size,
                 uint64_t memory_bytes);
void driver_fini(struct driver *driver);

/*
 * Connects, negotiates and shares the memory. Rings that were of another format begin anew; all others stay
 * as they are, for a device that goes on with them.
 */
int driver_connect(struct driver *driver, const char *path, uint64_t features,
                   uint64_t protocol_features);

/* The same on a front-end that is connected already. */
int driver_begin(struct driver *driver, uint64_t features, uint64_t protocol_features);

void driver_disconnect(struct driver *driver);

/* Rings as after the negotiation of these features, which driver_connect() does by itself. */
void driver_adopt(struct driver *driver, uint64_t features);

/* The memory as the front-end tells of it, in one region. */
struct frontend_region driver_region(const struct driver *driver);

/* The ring as the front-end tells of it, from the index where it is. */
struct frontend_ring driver_ring(const struct driver *driver, unsigned idx);

/* Empties the ring: the driver begins anew. */
void driver_reset_ring(struct driver *driver, unsigned idx);

/* Sets the ring up, enables it where protocol features were negotiated, and kicks. */
int driver_start(struct driver *driver, unsigned idx);

/* Stops the ring by GET_VRING_BASE and empties it, as a driver's reset does. */
int driver_stop(struct driver *driver, unsigned idx);

void driver_kick(struct driver *driver, unsigned idx);

/* Adds a chain, publishes it, and kicks if the device wants it. Its id, or -1. */
int driver_add(struct driver *driver, unsigned idx, const struct ring_buffer *buffers,
               unsigned num);

/* `len` bytes of data memory at `offset` behind the rings, as a buffer and as the test has them. */
struct ring_buffer driver_buffer(const struct driver *driver, uint64_t offset, uint32_t len,
                                 bool is_writable);
void *driver_data(const struct driver *driver, uint64_t offset);

#endif
