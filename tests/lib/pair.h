/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A device and a driver, joined by a socket, in one thread: what tests of the back-end begin with. The
 * set-up and the teardown are cmocka's; the teardown fails when a descriptor or a mapping is left.
 * All others fail the test if it does not go as their names say.
 */
#ifndef LIB_PAIR_H
#define LIB_PAIR_H

#include "lib/device.h"

#define PAIR_NUM_QUEUES   4
#define PAIR_RING_SIZE    16
#define PAIR_MEMORY_BYTES UINT64_C(0x100000)
#define PAIR_NOWHERE      UINT64_C(0x10) /* no guest memory lies there */
#define PAIR_FEATURES     (FRONTEND_F_PROTOCOL_FEATURES | UINT64_C(1) << 32)
#define PAIR_F_PACKED     (UINT64_C(1) << 34)

struct pair {
    struct device device;
    struct driver driver;
    uint64_t features; /* with which pair_connect() connects */
    unsigned num_fds, num_mappings;
};

/* With split rings, and with packed ones. */
int pair_setup(void **state);
int pair_setup_packed(void **state);
int pair_teardown(void **state);

/* A test in both formats. */
#define PAIR_TEST_OF(name, setup, format)                                                          \
    {                                                                                              \
#name "/" format, name, setup, pair_teardown, NULL                                         \
    }
#define PAIR_TEST(name)                                                                            \
    PAIR_TEST_OF(name, pair_setup, "split"), PAIR_TEST_OF(name, pair_setup_packed, "packed")

/* Connects the driver, with all protocol features or some, after disconnecting it. */
struct frontend *pair_connect(struct pair *pair);
struct frontend *pair_connect_with(struct pair *pair, uint64_t protocol_features);

/* Opens the connection, and says nothing yet. */
struct frontend *pair_open(struct pair *pair);

/* Disconnects in order; the device knows it. */
void pair_disconnect(struct pair *pair);

/* Starts a ring; it is started and enabled afterwards. */
void pair_start(struct pair *pair, unsigned idx);

/* A chain with something to read and something to write goes to the device and comes back. */
void pair_assert_works(struct pair *pair, unsigned idx);

/* The same with buffers elsewhere: 16 bytes at `addr`, which the test has at `bytes`. */
void pair_assert_sees(struct pair *pair, unsigned idx, uint64_t addr, uint8_t *bytes);

/* The driver makes a buffer available that lies nowhere; the device looks at it. */
void pair_break_queue(struct pair *pair, unsigned idx);

/* `text` is in the reason, which is one line. */
void pair_assert_reason(const struct pair *pair, const char *text);

/* The reason is "". */
void pair_assert_no_reason(const struct pair *pair);

/* The device closed the connection, for a reason that has `text` in it, and let go of the memory. */
void pair_assert_disconnected(struct pair *pair, const char *text);

unsigned pair_num_regions(const struct pair *pair);
struct shunt_virtqueue *pair_virtqueue(const struct pair *pair, unsigned idx);

#endif
