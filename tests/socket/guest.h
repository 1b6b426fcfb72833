/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A guest's virtio-net driver on a real socket (VIRTIO 1.3, 5.1): pairs of queues, the header in its three
 * forms, buffers in one piece and in many, notifications as the ring's rules have them.
 *
 *     guest_create(&guest, &config);
 *     guest_attach(&guest, lab, "a");                 connects to port a, which then is up
 *     guest_send(&guest, 0, frame, len);              false: the ring is full
 *     guest_receive(&guest, 0, frame, &len, 1000);    false: nothing came within a second
 *     guest_destroy(&guest);
 *
 * Functions fail the test if something is not as it should be. One thread at a time for a guest.
 */
#ifndef SOCKET_GUEST_H
#define SOCKET_GUEST_H

#include <stdbool.h>
#include <stdint.h>

#include "lib/driver.h"
#include "socket/lab.h"

#define GUEST_MAX_PAIRS 4
#define GUEST_MAX_SIZE  512 /* entries of a ring */

#define GUEST_F_MRG_RXBUF (UINT64_C(1) << 15)
#define GUEST_F_MQ        (UINT64_C(1) << 22)
#define GUEST_F_INDIRECT  (UINT64_C(1) << 28)
#define GUEST_F_EVENT_IDX (UINT64_C(1) << 29)
#define GUEST_F_VERSION_1 (UINT64_C(1) << 32)
#define GUEST_F_PACKED    (UINT64_C(1) << 34)
#define GUEST_F_IN_ORDER  (UINT64_C(1) << 35)
#define GUEST_F_MODERN    (GUEST_F_VERSION_1 | GUEST_F_MRG_RXBUF | FRONTEND_F_PROTOCOL_FEATURES)

/* How a buffer lies in descriptors. */
enum guest_layout {
    GUEST_WHOLE,  /* in one */
    GUEST_APART,  /* the virtio-net header in one of its own */
    GUEST_PIECES, /* in many, three of them for the header alone */
};

struct guest_config {
    uint64_t features;
    unsigned num_pairs;
    uint16_t ring_size;
    uint32_t rx_bytes; /* of a receive buffer, the header included */
    enum guest_layout layout;
    unsigned num_regions; /* of guest memory; 0: one */
};

/* A modern driver with one pair and mergeable buffers of a page. */
extern const struct guest_config guest_modern;

struct guest_queue {
    uint16_t slot_of[GUEST_MAX_SIZE]; /* by id */
    uint16_t free_slots[GUEST_MAX_SIZE];
    unsigned num_free;
};

struct guest {
    struct driver driver;
    struct guest_config config;
    unsigned header_bytes;
    uint8_t mac[6];
    struct guest_queue queues[2 * GUEST_MAX_PAIRS];
    bool keeps_buffers; /* what was received is not made available again */
};

void guest_create(struct guest *guest, const struct guest_config *config);
void guest_destroy(struct guest *guest);

/* Connects, begins all rings anew with all receive buffers in them, and waits for the port to be up. */
void guest_attach(struct guest *guest, const struct lab *lab, const char *port);

/* The same without waiting. */
void guest_connect(struct guest *guest, const struct lab *lab, const char *port);

/* Connects to another socket than a port's. */
void guest_connect_path(struct guest *guest, const char *path);
void guest_detach(struct guest *guest);

/* The driver resets the device and starts it again on the same connection. */
void guest_reset(struct guest *guest);

/* Puts a frame into the transmitq. guest_flush() shows it to the device; guest_send() does both. */
bool guest_queue_frame(struct guest *guest, unsigned pair, const void *frame, uint32_t len);
void guest_flush(struct guest *guest, unsigned pair);
bool guest_send(struct guest *guest, unsigned pair, const void *frame, uint32_t len);

/* The same, having waited for room; fails the test after some seconds. */
void guest_must_send(struct guest *guest, unsigned pair, const void *frame, uint32_t len);

/* Waits until the device has returned all that was sent. */
void guest_wait_sent(struct guest *guest, unsigned pair);

/* The next frame, at most FRAME_BYTES; asleep on the call descriptor until it comes. */
bool guest_receive(struct guest *guest, unsigned pair, void *frame, uint32_t *len, int timeout_ms);

/* The same from whichever pair it comes on first. */
bool guest_receive_any(struct guest *guest, void *frame, uint32_t *len, int timeout_ms);

/* Nothing was received on any pair. */
void guest_assert_quiet(struct guest *guest);

/* Makes all free receive buffers available again. */
void guest_refill(struct guest *guest, unsigned pair);

#endif
