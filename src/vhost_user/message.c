/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What each message of the front-end does. A table says what may come with it and what must hold before;
 * a handler sees only messages that keep to that. A handler that fails ends the connection, after a
 * negative acknowledgement where one was asked for.
 *
 * To add a message: its number and payload in wire.h, a handler here, and a row in the table.
 */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost_user/backend.h"

typedef int message_handler(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error);

enum message_flag {
    MESSAGE_REPLIES = 1 << 0,     /* the handler leaves its answer in the message */
    MESSAGE_NAMES_QUEUE = 1 << 1, /* the payload begins with a queue's index, which is checked */
    MESSAGE_NAMES_FD = 1 << 2,    /* … as the low byte of a u64 whose bit 8 says: no descriptor */
};

struct message_rule {
    const char *name;
    message_handler *handle;
    uint32_t min_bytes; /* of the payload */
    uint32_t max_bytes;
    unsigned max_fds;
    unsigned flags;
    uint64_t protocol_feature; /* that must have been negotiated; 0: none */
};

#define FEATURE(bit) (UINT64_C(1) << (bit))

static void set_u64(struct wire_message *message, uint64_t value)
{
    message->payload.u64 = value;
    message->header.size = sizeof(value);
}

/* --- Features --------------------------------------------------------------------------------------- */

static int get_features(struct shunt_backend *backend, struct wire_message *message,
                        struct shunt_error *error)
{
    (void)error;
    set_u64(message, backend_offered_features(backend));
    return 0;
}

static bool is_any_queue_started(const struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        if (backend->queues[i].virtqueue->is_started)
            return true;
    }
    return false;
}

static int set_features(struct shunt_backend *backend, struct wire_message *message,
                        struct shunt_error *error)
{
    uint64_t features = message->payload.u64;
    uint64_t unknown = features & ~backend_offered_features(backend);

    if (unknown)
        return error_set(error, -EINVAL, "features 0x%" PRIx64 " were not offered", unknown);
    if (is_any_queue_started(backend)) {
        if (features == backend->features)
            return 0;
        return error_set(error, -EBUSY,
                         "features changed from 0x%" PRIx64 " to 0x%" PRIx64 " while rings run",
                         backend->features, features);
    }
    backend->features = features;
    if (backend->ops->features_changed)
        backend->ops->features_changed(backend->ctx, features);
    return 0;
}

static int get_protocol_features(struct shunt_backend *backend, struct wire_message *message,
                                 struct shunt_error *error)
{
    (void)error;
    set_u64(message, backend_offered_protocol_features(backend));
    return 0;
}

static int set_protocol_features(struct shunt_backend *backend, struct wire_message *message,
                                 struct shunt_error *error)
{
    uint64_t unknown = message->payload.u64 & ~backend_offered_protocol_features(backend);

    if (unknown)
        return error_set(error, -EINVAL, "protocol features 0x%" PRIx64 " were not offered",
                         unknown);
    backend->protocol_features = message->payload.u64;
    return 0;
}

static int get_queue_num(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    (void)error;
    set_u64(message, backend->config.queue_num);
    return 0;
}

/* There is one owner, the connection: it need not say so. */
static int set_owner(struct shunt_backend *backend, struct wire_message *message,
                     struct shunt_error *error)
{
    (void)backend;
    (void)message;
    (void)error;
    return 0;
}

/* Deprecated; sent by old front-ends that mean to disable all rings, which is what this does. */
static int reset_owner(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    (void)message;
    (void)error;
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *queue = backend->queues[i].virtqueue;

        backend_stop_queue(backend, i);
        shunt_virtqueue_lock(queue);
        queue->is_enabled = false;
        shunt_virtqueue_unlock(queue);
    }
    return 0;
}

/* --- Memory ----------------------------------------------------------------------------------------- */

static struct shunt_memory_region region_of(const struct wire_region *wire)
{
    return (struct shunt_memory_region){
        .guest_addr = wire->guest_addr,
        .user_addr = wire->user_addr,
        .size = wire->size,
        .fd_offset = wire->fd_offset,
    };
}

/* The rings lie in this memory: find them again while nobody looks at them. */
static void remap_queues(struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        virtqueue_remap(backend->queues[i].virtqueue);
}

static int set_mem_table(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    const struct wire_mem_table *table = &message->payload.table;
    struct shunt_memory_region regions[WIRE_TABLE_MAX_REGIONS];
    int result;

    if (table->num > WIRE_TABLE_MAX_REGIONS)
        return error_set(error, -EINVAL, "%u memory regions, more than %d", table->num,
                         WIRE_TABLE_MAX_REGIONS);
    if (message->header.size < 8 + table->num * sizeof(table->regions[0]))
        return error_set(error, -EINVAL, "%u memory regions in %u bytes", table->num,
                         message->header.size);
    if (message->num_fds != table->num)
        return error_set(error, -EINVAL,
                         "%u memory regions with %u file descriptors: guest memory is not shared",
                         table->num, message->num_fds);
    for (unsigned i = 0; i < table->num; i++)
        regions[i] = region_of(&table->regions[i]);
    backend_lock_queues(backend);
    result = shunt_memory_replace(backend->memory, regions, message->fds, table->num, error);
    remap_queues(backend);
    backend_unlock_queues(backend);
    return result;
}

static int get_max_mem_slots(struct shunt_backend *backend, struct wire_message *message,
                             struct shunt_error *error)
{
    (void)backend;
    (void)error;
    set_u64(message, SHUNT_MEMORY_MAX_REGIONS);
    return 0;
}

static int add_mem_reg(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    struct shunt_memory_region region = region_of(&message->payload.region.region);
    int result;

    if (message->num_fds != 1)
        return error_set(error, -EINVAL,
                         "a memory region without file descriptor: guest memory is not shared");
    backend_lock_queues(backend);
    result = shunt_memory_add(backend->memory, &region, message->fds[0], error);
    remap_queues(backend);
    backend_unlock_queues(backend);
    return result;
}

static int rem_mem_reg(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    struct shunt_memory_region region = region_of(&message->payload.region.region);
    int result;

    backend_lock_queues(backend);
    result = shunt_memory_remove(backend->memory, &region, error);
    remap_queues(backend);
    backend_unlock_queues(backend);
    return result;
}

/* --- Rings ------------------------------------------------------------------------------------------ */

static struct shunt_virtqueue *named_queue(struct shunt_backend *backend,
                                           const struct wire_message *message)
{
    return backend->queues[message->payload.state.idx].virtqueue;
}

static int set_vring_num(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    struct shunt_virtqueue *queue = named_queue(backend, message);
    int result;

    shunt_virtqueue_lock(queue);
    result = virtqueue_set_size(queue, message->payload.state.num, error);
    shunt_virtqueue_unlock(queue);
    return result;
}

static int set_vring_addr(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    const struct wire_vring_addr *addr = &message->payload.addr;
    struct shunt_virtqueue *queue = named_queue(backend, message);
    struct virtqueue_addresses addresses = {
        .descriptor = addr->descriptor,
        .driver = addr->available,
        .device = addr->used,
    };
    int result;

    shunt_virtqueue_lock(queue);
    result = virtqueue_set_addresses(queue, &addresses, error);
    shunt_virtqueue_unlock(queue);
    return result;
}

static int set_vring_base(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    struct shunt_virtqueue *queue = named_queue(backend, message);
    uint32_t base = message->payload.state.num;

    if (base > UINT16_MAX)
        return error_set(error, -EINVAL, "index 0x%x does not fit into 16 bits", base);
    if (queue->is_started)
        return error_set(error, -EBUSY, "index %u set while the ring runs", base);
    queue->base = (uint16_t)base;
    return 0;
}

static int get_vring_base(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    unsigned idx = message->payload.state.idx;

    (void)error;
    backend_stop_queue(backend, idx);
    message->payload.state.num = named_queue(backend, message)->base;
    return 0;
}

/* Comes before SET_FEATURES from QEMU: that it needs PROTOCOL_FEATURES cannot be held against it. */
static int set_vring_enable(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error)
{
    struct shunt_virtqueue *queue = named_queue(backend, message);
    uint32_t enable = message->payload.state.num;

    if (enable > 1)
        return error_set(error, -EINVAL, "enable is %u instead of 0 or 1", enable);
    shunt_virtqueue_lock(queue);
    queue->is_enabled = enable;
    shunt_virtqueue_unlock(queue);
    backend_tell_queue(backend, message->payload.state.idx);
    return 0;
}

/*
 * We write to and read from these from threads that must not block, so they must be what they are meant
 * to be. Non-blocking suits the other end as well: an eventfd's reader is woken by poll.
 */
static int check_eventfd(int fd, struct shunt_error *error)
{
    static const char wanted[] = "anon_inode:[eventfd]";
    char link[64], target[64];
    ssize_t len;
    int flags;

    snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    len = readlink(link, target, sizeof(target) - 1);
    if (len < 0)
        return error_set(error, -errno, "the descriptor cannot be examined: %s: %m", link);
    target[len] = '\0';
    if (strcmp(target, wanted) != 0)
        return error_set(error, -EINVAL, "the descriptor is not an eventfd but %s", target);
    flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0)
        return error_set(error, -errno, "fcntl: %m");
    return 0;
}

/* The eventfd that came with a SET_VRING_KICK, _CALL or _ERR, or -1 where the message says so. */
static int take_eventfd(struct wire_message *message, int *fd, struct shunt_error *error)
{
    bool has_none = message->payload.u64 & WIRE_VRING_FD_NONE;
    int result;

    *fd = -1;
    if (has_none != (message->num_fds == 0))
        return error_set(error, -EINVAL, "%u file descriptors, but the message announces %d",
                         message->num_fds, !has_none);
    if (has_none)
        return 0;
    result = check_eventfd(message->fds[0], error);
    if (result == 0)
        *fd = wire_take_fd(message, 0);
    return result;
}

static unsigned fd_queue_idx(const struct wire_message *message)
{
    return message->payload.u64 & WIRE_VRING_FD_IDX_MASK;
}

static int set_vring_kick(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    int fd, result = take_eventfd(message, &fd, error);

    return result < 0 ? result : backend_set_kick(backend, fd_queue_idx(message), fd, error);
}

/* What was returned before this came had nobody to notify: the driver is told to look once. */
static int set_vring_call(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    struct shunt_virtqueue *queue = backend->queues[fd_queue_idx(message)].virtqueue;
    int fd, result = take_eventfd(message, &fd, error);

    if (result < 0)
        return result;
    shunt_virtqueue_lock(queue);
    virtqueue_replace_fd(&queue->call_fd, fd);
    if (queue->is_started)
        virtqueue_notify(queue);
    shunt_virtqueue_unlock(queue);
    return 0;
}

static int set_vring_err(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    struct shunt_virtqueue *queue = backend->queues[fd_queue_idx(message)].virtqueue;
    int fd, result = take_eventfd(message, &fd, error);

    if (result < 0)
        return result;
    shunt_virtqueue_lock(queue);
    virtqueue_replace_fd(&queue->error_fd, fd);
    shunt_virtqueue_unlock(queue);
    return 0;
}

/* --- Configuration space ---------------------------------------------------------------------------- */

static bool is_config_range(const struct shunt_backend *backend, const struct wire_message *message)
{
    const struct wire_config *config = &message->payload.config;

    return config->size <= backend->config.config_len &&
           config->offset <= backend->config.config_len - config->size &&
           message->header.size == WIRE_CONFIG_HEADER_BYTES + config->size;
}

/* A payload of size 0 is how the answer says that there is none. */
static int get_config(struct shunt_backend *backend, struct wire_message *message,
                      struct shunt_error *error)
{
    struct wire_config *config = &message->payload.config;

    (void)error;
    if (!is_config_range(backend, message) || !backend->ops->get_config ||
        backend->ops->get_config(backend->ctx, config->offset, config->data, config->size) < 0)
        message->header.size = 0;
    return 0;
}

static int set_config(struct shunt_backend *backend, struct wire_message *message,
                      struct shunt_error *error)
{
    const struct wire_config *config = &message->payload.config;

    if (!is_config_range(backend, message))
        return error_set(error, -EINVAL, "%u bytes at offset %u of a configuration space of %u",
                         config->size, config->offset, backend->config.config_len);
    if (!backend->ops->set_config)
        return error_set(error, -EROFS, "the configuration space is read-only");
    return backend->ops->set_config(backend->ctx, config->offset, config->data, config->size);
}

/* --- The table -------------------------------------------------------------------------------------- */

#define BYTES(type) .min_bytes = sizeof(type), .max_bytes = sizeof(type)

static const struct message_rule rules[WIRE_REQUEST_NUM] = {
    [WIRE_GET_FEATURES] = {"GET_FEATURES", get_features, .flags = MESSAGE_REPLIES},
    [WIRE_SET_FEATURES] = {"SET_FEATURES", set_features, BYTES(uint64_t)},
    [WIRE_SET_OWNER] = {"SET_OWNER", set_owner, .flags = 0},
    [WIRE_RESET_OWNER] = {"RESET_OWNER", reset_owner, .flags = 0},
    [WIRE_SET_MEM_TABLE] = {"SET_MEM_TABLE", set_mem_table, .min_bytes = 8,
                            .max_bytes = sizeof(struct wire_mem_table),
                            .max_fds = WIRE_TABLE_MAX_REGIONS},
    [WIRE_SET_VRING_NUM] = {"SET_VRING_NUM", set_vring_num, BYTES(struct wire_vring_state),
                            .flags = MESSAGE_NAMES_QUEUE},
    [WIRE_SET_VRING_ADDR] = {"SET_VRING_ADDR", set_vring_addr, BYTES(struct wire_vring_addr),
                             .flags = MESSAGE_NAMES_QUEUE},
    [WIRE_SET_VRING_BASE] = {"SET_VRING_BASE", set_vring_base, BYTES(struct wire_vring_state),
                             .flags = MESSAGE_NAMES_QUEUE},
    [WIRE_GET_VRING_BASE] = {"GET_VRING_BASE", get_vring_base, BYTES(struct wire_vring_state),
                             .flags = MESSAGE_NAMES_QUEUE | MESSAGE_REPLIES},
    [WIRE_SET_VRING_KICK] = {"SET_VRING_KICK", set_vring_kick, BYTES(uint64_t), .max_fds = 1,
                             .flags = MESSAGE_NAMES_FD},
    [WIRE_SET_VRING_CALL] = {"SET_VRING_CALL", set_vring_call, BYTES(uint64_t), .max_fds = 1,
                             .flags = MESSAGE_NAMES_FD},
    [WIRE_SET_VRING_ERR] = {"SET_VRING_ERR", set_vring_err, BYTES(uint64_t), .max_fds = 1,
                            .flags = MESSAGE_NAMES_FD},
    [WIRE_GET_PROTOCOL_FEATURES] = {"GET_PROTOCOL_FEATURES", get_protocol_features,
                                    .flags = MESSAGE_REPLIES},
    [WIRE_SET_PROTOCOL_FEATURES] = {"SET_PROTOCOL_FEATURES", set_protocol_features,
                                    BYTES(uint64_t)},
    [WIRE_GET_QUEUE_NUM] = {"GET_QUEUE_NUM", get_queue_num, .flags = MESSAGE_REPLIES,
                            .protocol_feature = FEATURE(WIRE_PROTOCOL_F_MQ)},
    [WIRE_SET_VRING_ENABLE] = {"SET_VRING_ENABLE", set_vring_enable, BYTES(struct wire_vring_state),
                               .flags = MESSAGE_NAMES_QUEUE},
    [WIRE_GET_CONFIG] = {"GET_CONFIG", get_config, .min_bytes = WIRE_CONFIG_HEADER_BYTES,
                         .max_bytes = sizeof(struct wire_config), .flags = MESSAGE_REPLIES,
                         .protocol_feature = FEATURE(WIRE_PROTOCOL_F_CONFIG)},
    [WIRE_SET_CONFIG] = {"SET_CONFIG", set_config, .min_bytes = WIRE_CONFIG_HEADER_BYTES,
                         .max_bytes = sizeof(struct wire_config),
                         .protocol_feature = FEATURE(WIRE_PROTOCOL_F_CONFIG)},
    [WIRE_GET_MAX_MEM_SLOTS] = {"GET_MAX_MEM_SLOTS", get_max_mem_slots, .flags = MESSAGE_REPLIES,
                                .protocol_feature = FEATURE(WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS)},
    [WIRE_ADD_MEM_REG] = {"ADD_MEM_REG", add_mem_reg, BYTES(struct wire_mem_region), .max_fds = 1,
                          .protocol_feature = FEATURE(WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS)},
    /* Some front-ends send a descriptor with it, to no use: the specification lets them. */
    [WIRE_REM_MEM_REG] = {"REM_MEM_REG", rem_mem_reg, BYTES(struct wire_mem_region), .max_fds = 1,
                          .protocol_feature = FEATURE(WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS)},
};

static const struct message_rule *find_rule(uint32_t request)
{
    return request < WIRE_REQUEST_NUM && rules[request].handle ? &rules[request] : NULL;
}

/* Which queue the message is about, if it is about one. */
static bool names_unknown_queue(const struct shunt_backend *backend,
                                const struct message_rule *rule, const struct wire_message *message)
{
    if (rule->flags & MESSAGE_NAMES_QUEUE)
        return message->payload.state.idx >= backend->config.num_virtqueues;
    if (rule->flags & MESSAGE_NAMES_FD)
        return fd_queue_idx(message) >= backend->config.num_virtqueues;
    return false;
}

static int check_rule(const struct shunt_backend *backend, const struct message_rule *rule,
                      const struct wire_message *message, struct shunt_error *error)
{
    uint32_t size = message->header.size;

    if (size < rule->min_bytes || size > rule->max_bytes)
        return error_set(error, -EPROTO, "a payload of %u bytes instead of %u to %u", size,
                         rule->min_bytes, rule->max_bytes);
    if (message->num_fds > rule->max_fds)
        return error_set(error, -EPROTO, "%u file descriptors instead of at most %u",
                         message->num_fds, rule->max_fds);
    if (rule->protocol_feature & ~backend->protocol_features)
        return error_set(error, -EPROTO, "protocol feature 0x%" PRIx64 " was not negotiated",
                         rule->protocol_feature);
    if (names_unknown_queue(backend, rule, message))
        return error_set(error, -EINVAL, "there is no virtqueue %" PRIu64,
                         rule->flags & MESSAGE_NAMES_FD ? fd_queue_idx(message)
                                                        : (uint64_t)message->payload.state.idx);
    return 0;
}

static bool is_ack_wanted(const struct shunt_backend *backend, const struct wire_message *message)
{
    return (message->header.flags & WIRE_FLAG_NEED_REPLY) &&
           (backend->protocol_features & FEATURE(WIRE_PROTOCOL_F_REPLY_ACK));
}

static int reply(struct shunt_backend *backend, struct wire_message *message,
                 struct shunt_error *error)
{
    message->header.flags = WIRE_VERSION | WIRE_FLAG_REPLY;
    return channel_send(&backend->channel, message, error);
}

/* Failures are told with the message's name, and the ring's number where there is one. */
static int name_failure(const struct message_rule *rule, uint32_t request,
                        const struct wire_message *message, int result,
                        const struct shunt_error *cause, struct shunt_error *error)
{
    if (!rule)
        return error_set(error, result, "message %u is unknown", request);
    if (rule->flags & MESSAGE_NAMES_QUEUE)
        return error_set(error, result, "%s: virtqueue %u: %s", rule->name,
                         message->payload.state.idx, cause->text);
    if (rule->flags & MESSAGE_NAMES_FD)
        return error_set(error, result, "%s: virtqueue %u: %s", rule->name, fd_queue_idx(message),
                         cause->text);
    return error_set(error, result, "%s: %s", rule->name, cause->text);
}

int message_handle(struct shunt_backend *backend, struct wire_message *message,
                   struct shunt_error *error)
{
    uint32_t request = message->header.request;
    const struct message_rule *rule = find_rule(request);
    struct shunt_error cause = {.text = "failed"};
    int result = rule ? check_rule(backend, rule, message, &cause) : -EPROTO;

    if (rule)
        log_debug(backend->name, "%s, %u bytes, %u descriptors", rule->name, message->header.size,
                  message->num_fds);
    if (result == 0)
        result = rule->handle(backend, message, &cause);
    if (result < 0)
        name_failure(rule, request, message, result, &cause, error);
    if (result == 0 && (rule->flags & MESSAGE_REPLIES))
        return reply(backend, message, error);
    if (is_ack_wanted(backend, message)) {
        struct shunt_error ignored;

        set_u64(message, result < 0);
        if (result == 0)
            return reply(backend, message, error);
        reply(backend, message, &ignored); /* the connection ends anyway */
    }
    return result;
}
