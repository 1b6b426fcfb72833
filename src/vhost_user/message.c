/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What may come with each message of the front-end, what must hold before, and who handles it: the table.
 * A handler that fails ends the connection, after a negative acknowledgement where one was asked for.
 *
 * To add a message: its number and payload in wire.h, a handler in the file of its noun (message_*.c), a
 * line in message.h, and a row in the table.
 */
#include "vhost_user/message.h"

#include <errno.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/error.h"

enum message_flag {
    MESSAGE_REPLIES = 1 << 0,     /* the handler leaves its answer in the message */
    MESSAGE_GIVES_FD = 1 << 1,    /* … and a descriptor with it */
    MESSAGE_NAMES_QUEUE = 1 << 2, /* the payload begins with a queue's index, which is checked */
    MESSAGE_NAMES_FD = 1 << 3,    /* … as the low byte of a u64 whose bit 8 says: no descriptor */
};

/* What must hold before a message, beside features. */
enum message_need {
    NEEDS_NOTHING,
    NEEDS_SUSPENDED,
    NEEDS_POSTCOPY_ADVISED,
    NEEDS_POSTCOPY_LISTENING,
};

struct message_rule {
    const char *name;
    message_handler *handle;
    const char *refusal; /* it is refused, and this is why */
    uint32_t min_bytes;  /* of the payload */
    uint32_t max_bytes;
    unsigned min_fds;
    unsigned max_fds;
    unsigned flags;
    enum message_need need;
    uint64_t protocol_feature; /* that must have been negotiated; 0: none */
    uint64_t feature;          /* likewise */
};

/* --- The table -------------------------------------------------------------------------------------- */

#define BYTES(type)    .min_bytes = sizeof(type), .max_bytes = sizeof(type)
#define FDS(num)       .min_fds = (num), .max_fds = (num)
#define PROTOCOL(name) .protocol_feature = UINT64_C(1) << WIRE_PROTOCOL_F_##name
#define SETS_FD        BYTES(uint64_t), .max_fds = 1, .flags = MESSAGE_NAMES_FD
#define SETS_STATE     BYTES(struct wire_vring_state), .flags = MESSAGE_NAMES_QUEUE

static const struct message_rule rules[WIRE_REQUEST_NUM] = {
    [WIRE_GET_FEATURES] = {"GET_FEATURES", message_get_features, .flags = MESSAGE_REPLIES},
    [WIRE_SET_FEATURES] = {"SET_FEATURES", message_set_features, BYTES(uint64_t)},
    [WIRE_SET_OWNER] = {"SET_OWNER", message_set_owner, .flags = 0},
    [WIRE_RESET_OWNER] = {"RESET_OWNER", message_reset_owner, .flags = 0},
    /* Memory that is not shared has no descriptors: the handlers find better words for it. */
    [WIRE_SET_MEM_TABLE] = {"SET_MEM_TABLE", message_set_mem_table, .min_bytes = 8,
                            .max_bytes = sizeof(struct wire_mem_table),
                            .max_fds = WIRE_TABLE_MAX_REGIONS},
    [WIRE_SET_LOG_BASE] = {"SET_LOG_BASE", message_set_log_base, BYTES(struct wire_log), FDS(1),
                           .flags = MESSAGE_REPLIES, PROTOCOL(LOG_SHMFD)},
    [WIRE_SET_LOG_FD] = {"SET_LOG_FD", message_set_log_fd, FDS(1)},
    [WIRE_SET_VRING_NUM] = {"SET_VRING_NUM", message_set_vring_num, SETS_STATE},
    [WIRE_SET_VRING_ADDR] = {"SET_VRING_ADDR", message_set_vring_addr,
                             BYTES(struct wire_vring_addr), .flags = MESSAGE_NAMES_QUEUE},
    [WIRE_SET_VRING_BASE] = {"SET_VRING_BASE", message_set_vring_base, SETS_STATE},
    [WIRE_GET_VRING_BASE] = {"GET_VRING_BASE", message_get_vring_base,
                             BYTES(struct wire_vring_state),
                             .flags = MESSAGE_NAMES_QUEUE | MESSAGE_REPLIES},
    [WIRE_SET_VRING_KICK] = {"SET_VRING_KICK", message_set_vring_kick, SETS_FD},
    [WIRE_SET_VRING_CALL] = {"SET_VRING_CALL", message_set_vring_call, SETS_FD},
    [WIRE_SET_VRING_ERR] = {"SET_VRING_ERR", message_set_vring_err, SETS_FD},
    [WIRE_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", message_get_protocol_features,
                                    .flags = MESSAGE_REPLIES},
    [WIRE_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", message_set_protocol_features,
                                    BYTES(uint64_t)},
    [WIRE_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", message_get_queue_num, .flags = MESSAGE_REPLIES,
                            PROTOCOL(MQ)},
    [WIRE_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", message_set_vring_enable, SETS_STATE},
    [WIRE_SEND_RARP] = {"SEND_RARP", message_send_rarp, BYTES(uint64_t), PROTOCOL(RARP)},
    [WIRE_NET_SET_MTU] = {"NET_SET_MTU", message_net_set_mtu, BYTES(uint64_t), PROTOCOL(MTU)},
    [WIRE_SET_BACKEND_REQ_FD] = {"SET_BACKEND_REQ_FD", message_set_backend_req_fd, FDS(1),
                                 PROTOCOL(BACKEND_REQ)},
    [WIRE_IOTLB_MSG] = {"IOTLB_MSG", message_iotlb, .min_bytes = WIRE_IOTLB_MIN_BYTES,
                        .max_bytes = sizeof(struct wire_iotlb), .flags = MESSAGE_REPLIES,
                        .feature = RING_FEATURE(ACCESS_PLATFORM)},
    [WIRE_SET_VRING_ENDIAN] = {"SET_VRING_ENDIAN",
                               .refusal = "rings of another byte order (CROSS_ENDIAN) are not "
                                          "offered: hosts and guests are little-endian"},
    [WIRE_GET_CONFIG] = {"GET_CONFIG", message_get_config, .min_bytes = WIRE_CONFIG_HEADER_BYTES,
                         .max_bytes = sizeof(struct wire_config), .flags = MESSAGE_REPLIES,
                         PROTOCOL(CONFIG)},
    [WIRE_SET_CONFIG] = {"SET_CONFIG", message_set_config, .min_bytes = WIRE_CONFIG_HEADER_BYTES,
                         .max_bytes = sizeof(struct wire_config), PROTOCOL(CONFIG)},
    [WIRE_CREATE_CRYPTO_SESSION] = {"CREATE_CRYPTO_SESSION",
                                    .refusal = "CRYPTO_SESSION is not offered: this is no crypto "
                                               "device"},
    [WIRE_CLOSE_CRYPTO_SESSION] = {"CLOSE_CRYPTO_SESSION",
                                   .refusal = "CRYPTO_SESSION is not offered: this is no crypto "
                                              "device"},
    [WIRE_POSTCOPY_ADVISE] = {"POSTCOPY_ADVISE", message_postcopy_advise,
                              .flags = MESSAGE_REPLIES | MESSAGE_GIVES_FD, PROTOCOL(PAGEFAULT)},
    [WIRE_POSTCOPY_LISTEN] = {"POSTCOPY_LISTEN", message_postcopy_listen,
                              .need = NEEDS_POSTCOPY_ADVISED, PROTOCOL(PAGEFAULT)},
    [WIRE_POSTCOPY_END] = {"POSTCOPY_END", message_postcopy_end, .flags = MESSAGE_REPLIES,
                           .need = NEEDS_POSTCOPY_LISTENING, PROTOCOL(PAGEFAULT)},
    [WIRE_GET_INFLIGHT_FD] = {"GET_INFLIGHT_FD", message_get_inflight_fd,
                              .min_bytes = WIRE_INFLIGHT_MIN_BYTES,
                              .max_bytes = sizeof(struct wire_inflight),
                              .flags = MESSAGE_REPLIES | MESSAGE_GIVES_FD,
                              PROTOCOL(INFLIGHT_SHMFD)},
    [WIRE_SET_INFLIGHT_FD] = {"SET_INFLIGHT_FD", message_set_inflight_fd,
                              .min_bytes = WIRE_INFLIGHT_MIN_BYTES,
                              .max_bytes = sizeof(struct wire_inflight), FDS(1),
                              .need = NEEDS_SUSPENDED, PROTOCOL(INFLIGHT_SHMFD)},
    [WIRE_GPU_SET_SOCKET] = {"GPU_SET_SOCKET", .refusal = "this is no GPU device"},
    [WIRE_RESET_DEVICE] = {"RESET_DEVICE", message_reset_device, PROTOCOL(RESET_DEVICE)},
    [WIRE_VRING_KICK] = {"VRING_KICK", message_vring_kick, SETS_STATE,
                         PROTOCOL(INBAND_NOTIFICATIONS)},
    [WIRE_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", message_get_max_mem_slots,
                                .flags = MESSAGE_REPLIES, PROTOCOL(CONFIGURE_MEM_SLOTS)},
    [WIRE_ADD_MEM_REG] = {"ADD_MEM_REG", message_add_mem_reg, BYTES(struct wire_mem_region),
                          .max_fds = 1, PROTOCOL(CONFIGURE_MEM_SLOTS)},
    /* Some front-ends send a descriptor with it, to no use: the specification lets them. */
    [WIRE_REM_MEM_REG] = {"REM_MEM_REG", message_rem_mem_reg, BYTES(struct wire_mem_region),
                          .max_fds = 1, PROTOCOL(CONFIGURE_MEM_SLOTS)},
    [WIRE_SET_STATUS] = {"SET_STATUS", message_set_status, BYTES(uint64_t), PROTOCOL(STATUS)},
    [WIRE_GET_STATUS] = {"GET_STATUS", message_get_status, .flags = MESSAGE_REPLIES,
                         PROTOCOL(STATUS)},
    [WIRE_GET_SHARED_OBJECT] = {"GET_SHARED_OBJECT",
                                .refusal = "SHARED_OBJECT is not offered: there are no buffers to "
                                           "export"},
    [WIRE_SET_DEVICE_STATE_FD] = {"SET_DEVICE_STATE_FD", message_set_device_state_fd,
                                  BYTES(struct wire_transfer), FDS(1), .flags = MESSAGE_REPLIES,
                                  PROTOCOL(DEVICE_STATE)},
    [WIRE_CHECK_DEVICE_STATE] = {"CHECK_DEVICE_STATE", message_check_device_state,
                                 .flags = MESSAGE_REPLIES, PROTOCOL(DEVICE_STATE)},
    /* The specification lets nobody ask without the feature, be it to hear that there are none. */
    [WIRE_GET_SHMEM_CONFIG] = {"GET_SHMEM_CONFIG",
                               .refusal = "SHMEM is not offered: the device has no shared memory "
                                          "regions"},
    [WIRE_GET_VRING_BASE_SKIP_DRAIN] = {"GET_VRING_BASE_SKIP_DRAIN", message_get_vring_base,
                                        BYTES(struct wire_vring_state),
                                        .flags = MESSAGE_NAMES_QUEUE | MESSAGE_REPLIES,
                                        PROTOCOL(GET_VRING_BASE_INFLIGHT)},
};

static const struct message_rule *find_rule(uint32_t request)
{
    return request < WIRE_REQUEST_NUM && rules[request].name ? &rules[request] : NULL;
}

/* --- What must hold --------------------------------------------------------------------------------- */

static bool is_advised(const struct shunt_backend *backend)
{
    return backend->postcopy.phase == POSTCOPY_ADVISED;
}

static bool is_listening(const struct shunt_backend *backend)
{
    return backend->postcopy.phase == POSTCOPY_LISTENING;
}

static const struct {
    bool (*is_met)(const struct shunt_backend *backend);
    const char *text;
} needs[] = {
    [NEEDS_SUSPENDED] = {backend_is_suspended, "rings run"},
    [NEEDS_POSTCOPY_ADVISED] = {is_advised, "no POSTCOPY_ADVISE came before"},
    [NEEDS_POSTCOPY_LISTENING] = {is_listening, "no POSTCOPY_LISTEN came before"},
};

static bool is_need_met(const struct shunt_backend *backend, enum message_need need)
{
    return need == NEEDS_NOTHING || needs[need].is_met(backend);
}

static int check_size(const struct message_rule *rule, uint32_t size, struct shunt_error *error)
{
    const char *plural = size == 1 ? "" : "s";

    if (size >= rule->min_bytes && size <= rule->max_bytes)
        return 0;
    if (rule->max_bytes == 0)
        return error_set(error, -EPROTO, "a payload of %u byte%s instead of none", size, plural);
    if (rule->max_bytes == rule->min_bytes)
        return error_set(error, -EPROTO, "a payload of %u byte%s instead of %u", size, plural,
                         rule->max_bytes);
    return error_set(error, -EPROTO, "a payload of %u byte%s instead of %u to %u", size, plural,
                     rule->min_bytes, rule->max_bytes);
}

static int check_fds(const struct message_rule *rule, unsigned num, struct shunt_error *error)
{
    const char *plural = num == 1 ? "" : "s";

    if (num >= rule->min_fds && num <= rule->max_fds)
        return 0;
    if (rule->max_fds == 0)
        return error_set(error, -EPROTO, "%u file descriptor%s instead of none", num, plural);
    if (rule->max_fds == rule->min_fds)
        return error_set(error, -EPROTO, "%u file descriptor%s instead of %u", num, plural,
                         rule->max_fds);
    return error_set(error, -EPROTO, "%u file descriptor%s instead of at most %u", num, plural,
                     rule->max_fds);
}

/* Which queue the message is about, if it is about one. */
static bool names_unknown_queue(const struct shunt_backend *backend,
                                const struct message_rule *rule, const struct wire_message *message)
{
    if (rule->flags & MESSAGE_NAMES_QUEUE)
        return message->payload.state.idx >= backend->config.num_virtqueues;
    if (rule->flags & MESSAGE_NAMES_FD)
        return message_fd_queue_idx(message) >= backend->config.num_virtqueues;
    return false;
}

static int check_rule(const struct shunt_backend *backend, const struct message_rule *rule,
                      const struct wire_message *message, struct shunt_error *error)
{
    int result;

    if (rule->refusal)
        return error_set(error, -ENOTSUP, "refused: %s", rule->refusal);
    result = check_size(rule, message->header.size, error);
    if (result == 0)
        result = check_fds(rule, message->num_fds, error);
    if (result < 0)
        return result;
    if (rule->protocol_feature & ~backend->protocol_features)
        return error_set(error, -EPROTO, "protocol feature 0x%" PRIx64 " was not negotiated",
                         rule->protocol_feature);
    if (rule->feature & ~backend->features)
        return error_set(error, -EPROTO, "feature 0x%" PRIx64 " was not negotiated", rule->feature);
    if (!is_need_met(backend, rule->need))
        return error_set(error, -EPROTO, "%s", needs[rule->need].text);
    if (names_unknown_queue(backend, rule, message))
        return error_set(error, -EINVAL, "there is no virtqueue %" PRIu64,
                         rule->flags & MESSAGE_NAMES_FD ? message_fd_queue_idx(message)
                                                        : (uint64_t)message->payload.state.idx);
    return 0;
}

/* --- Messages of which another one is still to be finished ------------------------------------------ */

static bool is_memory_request(uint32_t request)
{
    return request == WIRE_SET_MEM_TABLE || request == WIRE_ADD_MEM_REG;
}

/* In postcopy, a message of memory is acknowledged by one that is empty or holds a zero. */
static bool is_acknowledgement(const struct shunt_backend *backend,
                               const struct wire_message *message)
{
    uint32_t size = message->header.size;

    return backend->postcopy.phase == POSTCOPY_STAGED &&
           is_memory_request(message->header.request) && message->num_fds == 0 &&
           (size == 0 || size == sizeof(uint64_t));
}

/* QEMU adds several regions before it acknowledges them. */
static int check_turn(const struct shunt_backend *backend, uint32_t request,
                      struct shunt_error *error)
{
    if (backend->postcopy.phase == POSTCOPY_STAGED && request != WIRE_ADD_MEM_REG)
        return error_set(error, -EPROTO, "the memory is not acknowledged yet");
    if (backend->device_state.is_check_due)
        return error_set(error, -EPROTO, "CHECK_DEVICE_STATE is not answered yet");
    return 0;
}

/* --- Answers ---------------------------------------------------------------------------------------- */

void message_give_fd(struct wire_message *message, int fd)
{
    wire_close_fds(message);
    message->fds[0] = fd;
    message->num_fds = 1;
}

static bool is_ack_wanted(const struct shunt_backend *backend, const struct wire_message *message)
{
    return (message->header.flags & WIRE_FLAG_NEED_REPLY) &&
           backend_has_protocol(backend, WIRE_PROTOCOL_F_REPLY_ACK);
}

static int reply(struct shunt_backend *backend, struct wire_message *message, bool gives_fd,
                 struct shunt_error *error)
{
    message->header.flags = WIRE_VERSION | WIRE_FLAG_REPLY;
    if (gives_fd)
        return channel_send_fd(&backend->channel, message, message->fds[0], error);
    return channel_send(&backend->channel, message, error);
}

int message_answer_u64(struct shunt_backend *backend, uint32_t request, uint64_t value,
                       struct shunt_error *error)
{
    struct wire_message message = {.header.request = request};

    message_set_u64(&message, value);
    return reply(backend, &message, false, error);
}

/* Failures are told with the message's name, and the ring's number where there is one. */
static int name_failure(const struct message_rule *rule, const struct wire_message *message,
                        int result, const struct shunt_error *cause, struct shunt_error *error)
{
    if (!rule)
        return error_set(error, result, "message %u is unknown", message->header.request);
    if (rule->flags & MESSAGE_NAMES_QUEUE)
        return error_set(error, result, "%s: virtqueue %u: %s", rule->name,
                         message->payload.state.idx, cause->text);
    if (rule->flags & MESSAGE_NAMES_FD)
        return error_set(error, result, "%s: virtqueue %u: %s", rule->name,
                         message_fd_queue_idx(message), cause->text);
    return error_set(error, result, "%s: %s", rule->name, cause->text);
}

/* What is sent for a message that was handled with `result`. */
static int answer(struct shunt_backend *backend, const struct message_rule *rule,
                  struct wire_message *message, int result, struct shunt_error *error)
{
    bool has_answer = result == MESSAGE_ANSWERED ||
                      (result == MESSAGE_DONE && rule && (rule->flags & MESSAGE_REPLIES));
    struct shunt_error ignored;

    if (result == MESSAGE_DEFERRED)
        return 0;
    if (has_answer)
        return reply(backend, message, rule->flags & MESSAGE_GIVES_FD, error);
    if (!is_ack_wanted(backend, message))
        return result < 0 ? result : 0;
    message_set_u64(message, result != MESSAGE_DONE);
    if (result >= 0)
        return reply(backend, message, false, error);
    reply(backend, message, false, &ignored); /* the connection ends anyway */
    return result;
}

int message_handle(struct shunt_backend *backend, struct wire_message *message,
                   struct shunt_error *error)
{
    uint32_t request = message->header.request;
    const struct message_rule *rule = find_rule(request);
    struct shunt_error cause = {.text = "failed"};
    bool is_ack = is_acknowledgement(backend, message);
    int result = rule ? 0 : -EPROTO;

    if (rule)
        log_debug(backend->name, "%s, %u bytes, %u descriptors", rule->name, message->header.size,
                  message->num_fds);
    if (rule && !is_ack)
        result = check_turn(backend, request, &cause);
    if (result == 0 && !is_ack)
        result = check_rule(backend, rule, message, &cause);
    if (result == 0)
        result = (is_ack ? message_postcopy_acknowledge : rule->handle)(backend, message, &cause);
    if (result < 0)
        name_failure(rule, message, result, &cause, error);
    if (result == MESSAGE_DECLINED && log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "%s: %s", rule->name, cause.text);
    return answer(backend, rule, message, result, error);
}

void message_forget(struct shunt_backend *backend)
{
    postcopy_end(&backend->postcopy, backend->memory);
    device_state_forget(backend);
    backend->status = 0;
}
