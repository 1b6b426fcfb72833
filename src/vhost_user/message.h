/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The handlers of the front-end's messages, for the table in message.c. They lie in message_*.c, by noun.
 *
 * A handler sees only messages that keep to their row: size, descriptors, features, state, and that the
 * queue exists that is named. What it takes out of the message with wire_take_fd() is its own; all other
 * descriptors are closed after it.
 */
#ifndef VHOST_USER_MESSAGE_H
#define VHOST_USER_MESSAGE_H

#include <stdbool.h>

#include "vhost_user/backend.h"

/* What becomes of a message. A negative errno ends the connection; `error` then says why. */
enum message_result {
    MESSAGE_DONE,     /* as its row says: its answer is in the message, or it is acknowledged */
    MESSAGE_ANSWERED, /* there is an answer in the message, unlike what its row says */
    MESSAGE_DECLINED, /* a negative acknowledgement, for what `error` says; the connection stays */
    MESSAGE_DEFERRED, /* the answer comes later, by message_answer_u64() */
};

typedef int message_handler(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error);

/* message_features.c */
message_handler message_get_features;
message_handler message_set_features;
message_handler message_get_protocol_features;
message_handler message_set_protocol_features;
message_handler message_get_queue_num;
message_handler message_set_owner;

/* message_status.c */
message_handler message_reset_owner;
message_handler message_reset_device;
message_handler message_set_status;
message_handler message_get_status;

/* message_memory.c */
message_handler message_set_mem_table;
message_handler message_get_max_mem_slots;
message_handler message_add_mem_reg;
message_handler message_rem_mem_reg;

/* message_ring.c */
message_handler message_set_vring_num;
message_handler message_set_vring_addr;
message_handler message_set_vring_base;
message_handler message_get_vring_base;
message_handler message_set_vring_enable;
message_handler message_set_vring_kick;
message_handler message_set_vring_call;
message_handler message_set_vring_err;
message_handler message_vring_kick;
message_handler message_set_backend_req_fd;

/* message_log.c */
message_handler message_set_log_base;
message_handler message_set_log_fd;

/* message_iotlb.c */
message_handler message_iotlb;

/* message_net.c */
message_handler message_send_rarp;
message_handler message_net_set_mtu;

/* message_config.c */
message_handler message_get_config;
message_handler message_set_config;

/* message_inflight.c */
message_handler message_get_inflight_fd;
message_handler message_set_inflight_fd;

/* message_postcopy.c */
message_handler message_postcopy_advise;
message_handler message_postcopy_listen;
message_handler message_postcopy_end;
message_handler message_postcopy_acknowledge;

/* message_device_state.c */
message_handler message_set_device_state_fd;
message_handler message_check_device_state;

/* --- For handlers ----------------------------------------------------------------------------------- */

static inline void message_set_u64(struct wire_message *message, uint64_t value)
{
    message->payload.u64 = value;
    message->header.size = sizeof(value);
}

/* Of a message whose payload begins with the index of a queue. */
static inline struct shunt_virtqueue *message_queue(struct shunt_backend *backend,
                                                    const struct wire_message *message)
{
    return backend->queues[message->payload.state.idx].virtqueue;
}

/* Of one whose payload is a u64 with the index in its low byte. */
static inline unsigned message_fd_queue_idx(const struct wire_message *message)
{
    return message->payload.u64 & WIRE_VRING_FD_IDX_MASK;
}

/* `fd` goes with the answer, and is closed then. */
void message_give_fd(struct wire_message *message, int fd);

/*
 * We write to and read from these from threads that must not block, so they must be what they are meant
 * to be: -EINVAL otherwise. Makes it non-blocking.
 */
int message_check_eventfd(int fd, struct shunt_error *error);

/* The late answer to a message whose handler said MESSAGE_DEFERRED. -errno: as channel_send(). */
int message_answer_u64(struct shunt_backend *backend, uint32_t request, uint64_t value,
                       struct shunt_error *error);

/* Features or the log changed: whether the queues mark what they write. */
void message_update_logging(struct shunt_backend *backend);

/* Features changed: in which addresses rings and buffers are named. */
void message_update_space(struct shunt_backend *backend);

/* Features or the area changed: gives each stopped queue its part of the area. -EINVAL: too small. */
int message_attach_inflight(struct shunt_backend *backend, struct shunt_error *error);

#endif
