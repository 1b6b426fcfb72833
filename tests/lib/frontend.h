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
    FRONTEND_GET_CONFIG = 24,
    FRONTEND_SET_CONFIG = 25,
    FRONTEND_GET_MAX_MEM_SLOTS = 36,
    FRONTEND_ADD_MEM_REG = 37,
    FRONTEND_REM_MEM_REG = 38,
};

/* Flags of a message: the version, and that it is to be acknowledged. */
#define FRONTEND_VERSION    1u
#define FRONTEND_REPLY      4u
#define FRONTEND_NEED_REPLY 8u

/* Features that the front-end itself is about. */
#define FRONTEND_F_PROTOCOL_FEATURES            (UINT64_C(1) << 30)
#define FRONTEND_PROTOCOL_F_MQ                  (UINT64_C(1) << 0)
#define FRONTEND_PROTOCOL_F_REPLY_ACK           (UINT64_C(1) << 3)
#define FRONTEND_PROTOCOL_F_CONFIG              (UINT64_C(1) << 9)
#define FRONTEND_PROTOCOL_F_CONFIGURE_MEM_SLOTS (UINT64_C(1) << 15)

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

/* A ring as the front-end knows it. */
struct frontend_ring {
    uint16_t size;
    uint16_t base;
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

/* Sends a message that has no answer, and waits for the acknowledgement if they are wanted. */
int frontend_call(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                  const int *fds, unsigned num_fds);

/* Sends a message and waits for its answer. */
int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                 struct frontend_message *answer);

/* The same for an answer that is a number. */
int frontend_ask_u64(struct frontend *frontend, uint32_t request, uint64_t *value);

/* --- The messages ----------------------------------------------------------------------------------- */

/*
 * Becomes the owner and accepts what the back-end offers of the two sets. Protocol features are negotiated
 * if `features` has FRONTEND_F_PROTOCOL_FEATURES.
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
