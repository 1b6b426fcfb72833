/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user messages as they travel (QEMU, docs/interop/vhost-user.rst, "Message Specification"), in
 * the machine's own byte order, packed.
 */
#ifndef VHOST_USER_WIRE_H
#define VHOST_USER_WIRE_H

#include <assert.h>
#include <stdint.h>

enum wire_request {
    WIRE_GET_FEATURES = 1,
    WIRE_SET_FEATURES = 2,
    WIRE_SET_OWNER = 3,
    WIRE_RESET_OWNER = 4,
    WIRE_SET_MEM_TABLE = 5,
    WIRE_SET_VRING_NUM = 8,
    WIRE_SET_VRING_ADDR = 9,
    WIRE_SET_VRING_BASE = 10,
    WIRE_GET_VRING_BASE = 11,
    WIRE_SET_VRING_KICK = 12,
    WIRE_SET_VRING_CALL = 13,
    WIRE_SET_VRING_ERR = 14,
    WIRE_GET_PROTOCOL_FEATURES = 15,
    WIRE_SET_PROTOCOL_FEATURES = 16,
    WIRE_GET_QUEUE_NUM = 17,
    WIRE_SET_VRING_ENABLE = 18,
    WIRE_GET_CONFIG = 24,
    WIRE_SET_CONFIG = 25,
    WIRE_GET_MAX_MEM_SLOTS = 36,
    WIRE_ADD_MEM_REG = 37,
    WIRE_REM_MEM_REG = 38,
    WIRE_REQUEST_NUM,
};

/* The bit of the virtio features that stands for the protocol features. */
#define WIRE_F_PROTOCOL_FEATURES 30

#define WIRE_PROTOCOL_F_MQ                  0
#define WIRE_PROTOCOL_F_REPLY_ACK           3
#define WIRE_PROTOCOL_F_CONFIG              9
#define WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS 15

#define WIRE_VERSION         1u
#define WIRE_VERSION_MASK    3u
#define WIRE_FLAG_REPLY      (1u << 2)
#define WIRE_FLAG_NEED_REPLY (1u << 3)

struct wire_header {
    uint32_t request;
    uint32_t flags;
    uint32_t size; /* of the payload, bytes */
};

struct wire_vring_state {
    uint32_t idx;
    uint32_t num;
};

struct wire_vring_addr {
    uint32_t idx;
    uint32_t flags;
    uint64_t descriptor; /* user addresses */
    uint64_t used;
    uint64_t available;
    uint64_t log; /* guest address */
};

struct wire_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t fd_offset;
};

#define WIRE_TABLE_MAX_REGIONS 8

struct wire_mem_table {
    uint32_t num;
    uint32_t padding;
    struct wire_region regions[WIRE_TABLE_MAX_REGIONS];
};

struct wire_mem_region {
    uint64_t padding;
    struct wire_region region;
};

#define WIRE_CONFIG_MAX_BYTES 256

struct wire_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[WIRE_CONFIG_MAX_BYTES];
};
#define WIRE_CONFIG_HEADER_BYTES 12

/* Of SET_VRING_KICK, _CALL and _ERR: which ring, and whether no descriptor comes with it. */
#define WIRE_VRING_FD_IDX_MASK 0xffu
#define WIRE_VRING_FD_NONE     (1u << 8)

union wire_payload {
    uint64_t u64;
    struct wire_vring_state state;
    struct wire_vring_addr addr;
    struct wire_mem_table table;
    struct wire_mem_region region;
    struct wire_config config;
};

static_assert(sizeof(struct wire_header) == 12, "as in the specification");
static_assert(sizeof(struct wire_vring_addr) == 40, "as in the specification");
static_assert(sizeof(struct wire_mem_table) == 8 + 32 * WIRE_TABLE_MAX_REGIONS, "likewise");
static_assert(sizeof(struct wire_mem_region) == 40, "likewise");

/* The most file descriptors that come with one message. */
#define WIRE_MAX_FDS 8

/* A message, received or to be sent. The descriptors belong to whoever holds it. */
struct wire_message {
    struct wire_header header;
    union wire_payload payload;
    int fds[WIRE_MAX_FDS];
    unsigned num_fds;
};

#endif
