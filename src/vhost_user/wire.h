/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * vhost-user messages as they travel (QEMU, docs/interop/vhost-user.rst, "Message Specification"), in
 * the machine's own byte order, packed.
 */
#ifndef VHOST_USER_WIRE_H
#define VHOST_USER_WIRE_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

/* Of the front-end. */
enum wire_request {
    WIRE_GET_FEATURES = 1,
    WIRE_SET_FEATURES = 2,
    WIRE_SET_OWNER = 3,
    WIRE_RESET_OWNER = 4,
    WIRE_SET_MEM_TABLE = 5,
    WIRE_SET_LOG_BASE = 6,
    WIRE_SET_LOG_FD = 7,
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
    WIRE_SEND_RARP = 19,
    WIRE_NET_SET_MTU = 20,
    WIRE_SET_BACKEND_REQ_FD = 21,
    WIRE_IOTLB_MSG = 22,
    WIRE_SET_VRING_ENDIAN = 23,
    WIRE_GET_CONFIG = 24,
    WIRE_SET_CONFIG = 25,
    WIRE_CREATE_CRYPTO_SESSION = 26,
    WIRE_CLOSE_CRYPTO_SESSION = 27,
    WIRE_POSTCOPY_ADVISE = 28,
    WIRE_POSTCOPY_LISTEN = 29,
    WIRE_POSTCOPY_END = 30,
    WIRE_GET_INFLIGHT_FD = 31,
    WIRE_SET_INFLIGHT_FD = 32,
    WIRE_GPU_SET_SOCKET = 33,
    WIRE_RESET_DEVICE = 34,
    WIRE_VRING_KICK = 35,
    WIRE_GET_MAX_MEM_SLOTS = 36,
    WIRE_ADD_MEM_REG = 37,
    WIRE_REM_MEM_REG = 38,
    WIRE_SET_STATUS = 39,
    WIRE_GET_STATUS = 40,
    WIRE_GET_SHARED_OBJECT = 41,
    WIRE_SET_DEVICE_STATE_FD = 42,
    WIRE_CHECK_DEVICE_STATE = 43,
    WIRE_GET_SHMEM_CONFIG = 44,
    WIRE_GET_VRING_BASE_SKIP_DRAIN = 45,
    WIRE_REQUEST_NUM,
};

/* Of the back-end, on the request channel. */
enum wire_backend_request {
    WIRE_BACKEND_IOTLB_MSG = 1,
    WIRE_BACKEND_CONFIG_CHANGE_MSG = 2,
    WIRE_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
    WIRE_BACKEND_VRING_CALL = 4,
    WIRE_BACKEND_VRING_ERR = 5,
};

/* The bit of the virtio features that stands for the protocol features. */
#define WIRE_F_PROTOCOL_FEATURES 30

#define WIRE_PROTOCOL_F_MQ                      0
#define WIRE_PROTOCOL_F_LOG_SHMFD               1
#define WIRE_PROTOCOL_F_RARP                    2
#define WIRE_PROTOCOL_F_REPLY_ACK               3
#define WIRE_PROTOCOL_F_MTU                     4
#define WIRE_PROTOCOL_F_BACKEND_REQ             5
#define WIRE_PROTOCOL_F_PAGEFAULT               8
#define WIRE_PROTOCOL_F_CONFIG                  9
#define WIRE_PROTOCOL_F_BACKEND_SEND_FD         10
#define WIRE_PROTOCOL_F_HOST_NOTIFIER           11
#define WIRE_PROTOCOL_F_INFLIGHT_SHMFD          12
#define WIRE_PROTOCOL_F_RESET_DEVICE            13
#define WIRE_PROTOCOL_F_INBAND_NOTIFICATIONS    14
#define WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS     15
#define WIRE_PROTOCOL_F_STATUS                  16
#define WIRE_PROTOCOL_F_DEVICE_STATE            19
#define WIRE_PROTOCOL_F_GET_VRING_BASE_INFLIGHT 20
#define WIRE_PROTOCOL_F_GPA_ADDRESSES           21

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
    uint64_t descriptor; /* ring addresses: see `enum ring_addressing` */
    uint64_t used;
    uint64_t available;
    uint64_t log; /* guest address */
};
#define WIRE_VRING_ADDR_F_LOG 1u

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

struct wire_log {
    uint64_t size;
    uint64_t offset;
};

enum wire_iotlb_type {
    WIRE_IOTLB_MISS = 1,
    WIRE_IOTLB_UPDATE = 2,
    WIRE_IOTLB_INVALIDATE = 3,
    WIRE_IOTLB_ACCESS_FAIL = 4,
};

/* Front-ends send it with the padding that a C compiler puts at its end, and so do we. */
struct wire_iotlb {
    uint64_t io_addr;
    uint64_t size;
    uint64_t addr; /* user or guest address */
    uint8_t access;
    uint8_t type;
    uint8_t padding[6];
};
#define WIRE_IOTLB_MIN_BYTES offsetof(struct wire_iotlb, padding)

#define WIRE_CONFIG_MAX_BYTES 256

struct wire_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[WIRE_CONFIG_MAX_BYTES];
};
#define WIRE_CONFIG_HEADER_BYTES 12

struct wire_area {
    uint64_t idx; /* and flags */
    uint64_t size;
    uint64_t offset;
};

/* Front-ends send it with the padding at its end, too. */
struct wire_inflight {
    uint64_t size;
    uint64_t offset;
    uint16_t num_queues;
    uint16_t queue_size;
    uint8_t padding[4];
};
#define WIRE_INFLIGHT_MIN_BYTES offsetof(struct wire_inflight, padding)

enum wire_transfer_direction { WIRE_TRANSFER_SAVE = 0, WIRE_TRANSFER_LOAD = 1 };
#define WIRE_TRANSFER_PHASE_STOPPED 0

struct wire_transfer {
    uint32_t direction;
    uint32_t phase;
};

/* Of SET_VRING_KICK, _CALL and _ERR: which ring, and whether no descriptor comes with it. */
#define WIRE_VRING_FD_IDX_MASK 0xffu
#define WIRE_VRING_FD_NONE     (1u << 8)

/* Of the answer to SET_DEVICE_STATE_FD: an error, and that no descriptor comes with it. */
#define WIRE_TRANSFER_ERROR_MASK 0xffu
#define WIRE_TRANSFER_FD_NONE    (1u << 8)

union wire_payload {
    uint64_t u64;
    struct wire_vring_state state;
    struct wire_vring_addr addr;
    struct wire_mem_table table;
    struct wire_mem_region region;
    struct wire_log log;
    struct wire_iotlb iotlb;
    struct wire_config config;
    struct wire_area area;
    struct wire_inflight inflight;
    struct wire_transfer transfer;
};

static_assert(sizeof(struct wire_header) == 12, "as in the specification");
static_assert(sizeof(struct wire_vring_addr) == 40, "as in the specification");
static_assert(sizeof(struct wire_mem_table) == 8 + 32 * WIRE_TABLE_MAX_REGIONS, "likewise");
static_assert(sizeof(struct wire_mem_region) == 40, "likewise");
static_assert(sizeof(struct wire_log) == 16, "likewise");
static_assert(sizeof(struct wire_iotlb) == 32 && WIRE_IOTLB_MIN_BYTES == 26, "likewise");
static_assert(sizeof(struct wire_area) == 24, "likewise");
static_assert(sizeof(struct wire_inflight) == 24 && WIRE_INFLIGHT_MIN_BYTES == 20, "likewise");
static_assert(sizeof(struct wire_transfer) == 8, "likewise");

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
