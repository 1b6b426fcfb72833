/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A vhost-user front-end for tests: the other end of the socket, written from the specification (QEMU,
 * docs/interop/vhost-user.rst) alone. It shares no definition with src/vhost_user, so that a mistake there
 * is not made here as well.
 *
 *     frontend_open(&frontend, path);
 *     frontend_negotiate(&frontend, features, protocol_features);
 *     frontend_set_memory(&frontend, &region, &fd, 1);
 *     frontend_setup_ring(&frontend, 0, &ring);
 *     frontend_enable(&frontend, 0, true);
 *     frontend_close(&frontend);
 *
 * Calls block, for as long as `timeout_ms`. While they do, `idle` is called if it is set: there a test
 * dispatches a back-end that lives in its own thread.
 *
 * Everything returns 0 or a negative errno: -ETIMEDOUT; -EPIPE: the back-end closed the connection;
 * -EPROTO: an answer that does not fit the question; -EREMOTEIO: a negative acknowledgement.
 *
 * For a hostile front-end there are frontend_send(), which sends any header with any payload, and
 * frontend_send_bytes(), which sends anything.
 */
#ifndef LIB_FRONTEND_H
#define LIB_FRONTEND_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum frontend_request {
    FRONTEND_GET_FEATURES = 1,
    FRONTEND_SET_FEATURES = 2,
    FRONTEND_SET_OWNER = 3,
    FRONTEND_RESET_OWNER = 4,
    FRONTEND_SET_MEM_TABLE = 5,
    FRONTEND_SET_LOG_BASE = 6,
    FRONTEND_SET_LOG_FD = 7,
    FRONTEND_SET_VRING_NUM = 8,
    FRONTEND_SET_VRING_ADDR = 9,
    FRONTEND_SET_VRING_BASE = 10,
    FRONTEND_GET_VRING_BASE = 11,
    FRONTEND_SET_VRING_KICK = 12,
    FRONTEND_SET_VRING_CALL = 13,
    FRONTEND_SET_VRING_ERR = 14,
    FRONTEND_GET_PROTOCOL_FEATURES = 15,
    FRONTEND_SET_PROTOCOL_FEATURES = 16,
    FRONTEND_GET_QUEUE_NUM = 17,
    FRONTEND_SET_VRING_ENABLE = 18,
    FRONTEND_SEND_RARP = 19,
    FRONTEND_NET_SET_MTU = 20,
    FRONTEND_SET_BACKEND_REQ_FD = 21,
    FRONTEND_IOTLB_MSG = 22,
    FRONTEND_GET_CONFIG = 24,
    FRONTEND_SET_CONFIG = 25,
    FRONTEND_POSTCOPY_ADVISE = 28,
    FRONTEND_POSTCOPY_LISTEN = 29,
    FRONTEND_POSTCOPY_END = 30,
    FRONTEND_GET_INFLIGHT_FD = 31,
    FRONTEND_SET_INFLIGHT_FD = 32,
    FRONTEND_RESET_DEVICE = 34,
    FRONTEND_VRING_KICK = 35,
    FRONTEND_GET_MAX_MEM_SLOTS = 36,
    FRONTEND_ADD_MEM_REG = 37,
    FRONTEND_REM_MEM_REG = 38,
    FRONTEND_SET_STATUS = 39,
    FRONTEND_GET_STATUS = 40,
    FRONTEND_SET_DEVICE_STATE_FD = 42,
    FRONTEND_CHECK_DEVICE_STATE = 43,
    FRONTEND_GET_VRING_BASE_SKIP_DRAIN = 45,
};

/* What the back-end asks for, on a channel of its own. */
enum frontend_backend_request {
    FRONTEND_BACKEND_IOTLB_MSG = 1,
    FRONTEND_BACKEND_CONFIG_CHANGE_MSG = 2,
    FRONTEND_BACKEND_VRING_HOST_NOTIFIER_MSG = 3,
    FRONTEND_BACKEND_VRING_CALL = 4,
    FRONTEND_BACKEND_VRING_ERR = 5,
};

/* Flags of a message: the version, and that it is to be acknowledged. */
#define FRONTEND_VERSION    1u
#define FRONTEND_REPLY      4u
#define FRONTEND_NEED_REPLY 8u

/* Features that the front-end itself is about. */
#define FRONTEND_F_PROTOCOL_FEATURES                (UINT64_C(1) << 30)
#define FRONTEND_PROTOCOL_F_MQ                      (UINT64_C(1) << 0)
#define FRONTEND_PROTOCOL_F_LOG_SHMFD               (UINT64_C(1) << 1)
#define FRONTEND_PROTOCOL_F_RARP                    (UINT64_C(1) << 2)
#define FRONTEND_PROTOCOL_F_REPLY_ACK               (UINT64_C(1) << 3)
#define FRONTEND_PROTOCOL_F_MTU                     (UINT64_C(1) << 4)
#define FRONTEND_PROTOCOL_F_BACKEND_REQ             (UINT64_C(1) << 5)
#define FRONTEND_PROTOCOL_F_PAGEFAULT               (UINT64_C(1) << 8)
#define FRONTEND_PROTOCOL_F_CONFIG                  (UINT64_C(1) << 9)
#define FRONTEND_PROTOCOL_F_BACKEND_SEND_FD         (UINT64_C(1) << 10)
#define FRONTEND_PROTOCOL_F_HOST_NOTIFIER           (UINT64_C(1) << 11)
#define FRONTEND_PROTOCOL_F_INFLIGHT_SHMFD          (UINT64_C(1) << 12)
#define FRONTEND_PROTOCOL_F_RESET_DEVICE            (UINT64_C(1) << 13)
#define FRONTEND_PROTOCOL_F_INBAND_NOTIFICATIONS    (UINT64_C(1) << 14)
#define FRONTEND_PROTOCOL_F_CONFIGURE_MEM_SLOTS     (UINT64_C(1) << 15)
#define FRONTEND_PROTOCOL_F_STATUS                  (UINT64_C(1) << 16)
#define FRONTEND_PROTOCOL_F_DEVICE_STATE            (UINT64_C(1) << 19)
#define FRONTEND_PROTOCOL_F_GET_VRING_BASE_INFLIGHT (UINT64_C(1) << 20)
#define FRONTEND_PROTOCOL_F_GPA_ADDRESSES           (UINT64_C(1) << 21)

/* All but those with which addresses and notifications are told in another way. */
#define FRONTEND_PROTOCOL_USUAL                                                                    \
    (~(FRONTEND_PROTOCOL_F_INBAND_NOTIFICATIONS | FRONTEND_PROTOCOL_F_GPA_ADDRESSES))

/* Of SET_VRING_KICK, _CALL and _ERR: no descriptor comes with it. */
#define FRONTEND_NO_FD (1u << 8)

#define FRONTEND_MAX_REGIONS  8
#define FRONTEND_MAX_PAYLOAD  512
#define FRONTEND_CONFIG_BYTES 256

struct frontend {
    int fd;
    int timeout_ms;
    bool wants_acks; /* once REPLY_ACK is negotiated; may be switched off */
    uint64_t features;
    uint64_t protocol_features;
    void (*idle)(void *ctx);
    void *idle_ctx;
};

struct frontend_message {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
    uint8_t payload[FRONTEND_MAX_PAYLOAD];
};

/* As it travels. */
struct frontend_region {
    uint64_t guest_addr;
    uint64_t size;
    uint64_t user_addr;
    uint64_t fd_offset;
};

/* As it travels: the payload of SET_VRING_ADDR. */
struct frontend_addresses {
    uint32_t idx;
    uint32_t flags;
    uint64_t descriptor;
    uint64_t used;
    uint64_t available;
    uint64_t log;
};

/* As it travels: the payload of the messages that name a ring and a number. */
struct frontend_state {
    uint32_t idx;
    uint32_t num;
};

/* As it travels: the payload of GET_CONFIG and SET_CONFIG. */
struct frontend_config {
    uint32_t offset;
    uint32_t size;
    uint32_t flags;
    uint8_t data[FRONTEND_CONFIG_BYTES];
};
#define FRONTEND_CONFIG_HEADER_BYTES 12

/* As it travels: the payload of IOTLB_MSG, in both directions. */
struct frontend_iotlb {
    uint64_t io_addr;
    uint64_t size;
    uint64_t user_addr;
    uint8_t access; /* 1: read, 2: write */
    uint8_t type;
    uint8_t padding[6];
};
#define FRONTEND_IOTLB_MISS        1
#define FRONTEND_IOTLB_UPDATE      2
#define FRONTEND_IOTLB_INVALIDATE  3
#define FRONTEND_IOTLB_ACCESS_FAIL 4

/* As it travels: the payload of VRING_HOST_NOTIFIER_MSG. */
struct frontend_area {
    uint64_t idx;
    uint64_t size;
    uint64_t offset;
};

/* A ring as the front-end knows it. */
struct frontend_ring {
    uint16_t size;
    uint32_t base;
    uint64_t descriptor; /* user addresses */
    uint64_t available;
    uint64_t used;
    int kick_fd; /* -1: the back-end is to poll */
    int call_fd; /* -1: we poll */
};

/* --- The connection --------------------------------------------------------------------------------- */

/* Connects, with a time-out of some seconds and no `idle`. */
int frontend_open(struct frontend *frontend, const char *path);
void frontend_close(struct frontend *frontend);

/* The same on a socket that is connected already, which becomes the front-end's. */
void frontend_adopt(struct frontend *frontend, int fd);

/* For back-ends that connect: a listening socket at `path`, to be closed and unlinked; -errno. */
int frontend_listen(const char *path);

/* Waits for a back-end to connect; `idle` is called meanwhile. -ETIMEDOUT. */
int frontend_accept(struct frontend *frontend, int listener_fd, void (*idle)(void *ctx), void *ctx);

/* Waits until the back-end closed the connection; what it sent before is thrown away. */
int frontend_wait_closed(struct frontend *frontend);

/* Waits until all that was sent before has been handled. */
int frontend_sync(struct frontend *frontend);

/* --- Any message ------------------------------------------------------------------------------------ */

int frontend_send_bytes(struct frontend *frontend, const void *bytes, size_t len, const int *fds,
                        unsigned num_fds);

/* Sends the header and `len` bytes of payload; what the header says of its size is `size`. */
int frontend_send(struct frontend *frontend, uint32_t request, uint32_t flags, uint32_t size,
                  const void *payload, size_t len, const int *fds, unsigned num_fds);

int frontend_receive(struct frontend *frontend, struct frontend_message *message);

/* The same with the descriptor that comes with it, or -1. */
int frontend_receive_fd(struct frontend *frontend, struct frontend_message *message, int *fd);

/*
 * SET_BACKEND_REQ_FD: `requests` becomes our end of the request channel, where frontend_receive() and
 * frontend_answer() are of use. Close it with frontend_close().
 */
int frontend_open_requests(struct frontend *frontend, struct frontend *requests);

/* Answers a request of the back-end; 0 is yes. */
int frontend_answer(struct frontend *requests, uint32_t request, uint64_t value);

/* Sends a message that has no answer, and waits for the acknowledgement if they are wanted. */
int frontend_call(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                  const int *fds, unsigned num_fds);

/* Sends a message and waits for its answer. */
int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                 struct frontend_message *answer);

/* The same for an answer with a descriptor, which is the caller's; -1: none came. */
int frontend_ask_fd(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                    struct frontend_message *answer, int *fd);

/* The same with a message that brings descriptors. */
int frontend_ask_with(struct frontend *frontend, uint32_t request, const void *payload,
                      uint32_t size, const int *fds, unsigned num_fds,
                      struct frontend_message *answer);

/* The same for an answer that is a number. */
int frontend_ask_u64(struct frontend *frontend, uint32_t request, uint64_t *value);

/* --- The messages ----------------------------------------------------------------------------------- */

/*
 * Becomes the owner and accepts what the back-end offers of the two sets. Protocol features are negotiated
 * if `features` has FRONTEND_F_PROTOCOL_FEATURES; UINT64_MAX stands for FRONTEND_PROTOCOL_USUAL.
 */
int frontend_negotiate(struct frontend *frontend, uint64_t features, uint64_t protocol_features);

int frontend_set_features(struct frontend *frontend, uint64_t features);
int frontend_set_protocol_features(struct frontend *frontend, uint64_t features);

int frontend_set_memory(struct frontend *frontend, const struct frontend_region *regions,
                        const int *fds, unsigned num);
int frontend_add_region(struct frontend *frontend, const struct frontend_region *region, int fd);
int frontend_remove_region(struct frontend *frontend, const struct frontend_region *region);

/* SET_VRING_NUM, _BASE or _ENABLE: those that name a ring and a number. */
int frontend_set_state(struct frontend *frontend, uint32_t request, unsigned idx, uint32_t num);
int frontend_set_addresses(struct frontend *frontend, unsigned idx,
                           const struct frontend_ring *ring);

/* SET_VRING_KICK, _CALL or _ERR; -1: no descriptor. */
int frontend_set_fd(struct frontend *frontend, uint32_t request, unsigned idx, int fd);

/* SET_VRING_NUM, _BASE, _ADDR, _KICK and _CALL. */
int frontend_setup_ring(struct frontend *frontend, unsigned idx, const struct frontend_ring *ring);
int frontend_enable(struct frontend *frontend, unsigned idx, bool enable);

/* Stops the ring. */
int frontend_get_base(struct frontend *frontend, unsigned idx, uint32_t *base);

/* `len` up to FRONTEND_CONFIG_BYTES. -EREMOTEIO: the back-end refused. */
int frontend_get_config(struct frontend *frontend, uint32_t offset, void *data, uint32_t len);
int frontend_set_config(struct frontend *frontend, uint32_t offset, const void *data, uint32_t len);

/* --- Eventfds --------------------------------------------------------------------------------------- */

/* A fresh eventfd, blocking as front-ends make them; -errno. */
int frontend_eventfd(void);

void frontend_kick(int fd);

/* Waits for the event and clears it. -ETIMEDOUT. */
int frontend_wait_event(int fd, int timeout_ms);

#endif
