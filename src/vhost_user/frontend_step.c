/* SPDX-License-Identifier: BSD-3-Clause */
/* Each message to a back-end, how it is made, and what its answer means. */
#include "vhost_user/frontend_step.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"

#define FEATURE(bit)  (UINT64_C(1) << (bit))
#define PROTOCOL(bit) (UINT64_C(1) << WIRE_PROTOCOL_F_##bit)

/* The device status (VIRTIO 1.3, 2.1). */
#define STATUS_ACKNOWLEDGE 1u
#define STATUS_DRIVER      2u
#define STATUS_DRIVER_OK   4u
#define STATUS_FEATURES_OK 8u
#define STATUS_NEGOTIATED  (STATUS_ACKNOWLEDGE | STATUS_DRIVER | STATUS_FEATURES_OK)

/* --- How many messages ------------------------------------------------------------------------------ */

static bool has_protocol_features(const struct shunt_frontend *frontend)
{
    return frontend->offered_features & FEATURE(WIRE_F_PROTOCOL_FEATURES);
}

static unsigned if_protocol_features(const struct shunt_frontend *frontend)
{
    return has_protocol_features(frontend);
}

static unsigned if_mq(const struct shunt_frontend *frontend)
{
    return frontend_has_protocol(frontend, WIRE_PROTOCOL_F_MQ);
}

static unsigned if_slots(const struct shunt_frontend *frontend)
{
    return frontend_has_protocol(frontend, WIRE_PROTOCOL_F_CONFIGURE_MEM_SLOTS);
}

static unsigned if_no_slots(const struct shunt_frontend *frontend)
{
    return !if_slots(frontend);
}

static unsigned if_requests(const struct shunt_frontend *frontend)
{
    return frontend_has_protocol(frontend, WIRE_PROTOCOL_F_BACKEND_REQ);
}

static unsigned if_status(const struct shunt_frontend *frontend)
{
    return frontend_has_protocol(frontend, WIRE_PROTOCOL_F_STATUS);
}

static unsigned if_config(const struct shunt_frontend *frontend)
{
    return frontend_has_protocol(frontend, WIRE_PROTOCOL_F_CONFIG);
}

/* What is not acknowledged is certain once a question is answered that came after it. */
static unsigned if_no_acks(const struct shunt_frontend *frontend)
{
    return !frontend_has_protocol(frontend, WIRE_PROTOCOL_F_REPLY_ACK);
}

static unsigned each_queue(const struct shunt_frontend *frontend)
{
    return frontend->num_virtqueues;
}

static unsigned each_queue_if_enabled(const struct shunt_frontend *frontend)
{
    return has_protocol_features(frontend) ? frontend->num_virtqueues : 0;
}

/* The rings are the first region, those of the program follow. */
static unsigned num_regions(const struct shunt_frontend *frontend)
{
    return 1 + shunt_shared_memory_num_regions(frontend->config.memory);
}

/* From the first one on that is not told. */
static unsigned each_region_if_slots(const struct shunt_frontend *frontend)
{
    return if_slots(frontend) ? num_regions(frontend) : 0;
}

/* --- Making messages -------------------------------------------------------------------------------- */

static int set_u64(struct wire_message *message, uint64_t value)
{
    message->payload.u64 = value;
    message->header.size = sizeof(value);
    return 0;
}

static int set_state(struct wire_message *message, unsigned idx, uint32_t num)
{
    message->payload.state = (struct wire_vring_state){idx, num};
    message->header.size = sizeof(message->payload.state);
    return 0;
}

/* The channel closes what it sent. */
static int attach_fd(struct wire_message *message, int fd)
{
    int copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);

    if (copy < 0)
        return -errno;
    message->fds[message->num_fds++] = copy;
    return 0;
}

static int make_empty(struct shunt_frontend *frontend, unsigned item, struct wire_message *message)
{
    (void)frontend;
    (void)item;
    (void)message;
    return 0;
}

static uint64_t usable_protocol_features(const struct shunt_frontend *frontend)
{
    return PROTOCOL(MQ) | PROTOCOL(REPLY_ACK) | PROTOCOL(BACKEND_REQ) |
           PROTOCOL(CONFIGURE_MEM_SLOTS) | PROTOCOL(STATUS) |
           (frontend->config.config_len > 0 ? PROTOCOL(CONFIG) : 0);
}

static int make_set_protocol_features(struct shunt_frontend *frontend, unsigned item,
                                      struct wire_message *message)
{
    (void)item;
    return set_u64(message, frontend->protocol_features);
}

static int make_set_backend_req_fd(struct shunt_frontend *frontend, unsigned item,
                                   struct wire_message *message)
{
    int fd, result = frontend_request_open(frontend, &fd);

    (void)item;
    if (result == 0)
        message->fds[message->num_fds++] = fd;
    return result;
}

static int make_set_status_driver(struct shunt_frontend *frontend, unsigned item,
                                  struct wire_message *message)
{
    (void)frontend;
    (void)item;
    return set_u64(message, STATUS_ACKNOWLEDGE | STATUS_DRIVER);
}

static int make_set_status_features_ok(struct shunt_frontend *frontend, unsigned item,
                                       struct wire_message *message)
{
    (void)frontend;
    (void)item;
    return set_u64(message, STATUS_NEGOTIATED);
}

static int make_set_status_driver_ok(struct shunt_frontend *frontend, unsigned item,
                                     struct wire_message *message)
{
    (void)frontend;
    (void)item;
    return set_u64(message, STATUS_NEGOTIATED | STATUS_DRIVER_OK);
}

static int make_set_features(struct shunt_frontend *frontend, unsigned item,
                             struct wire_message *message)
{
    (void)item;
    return set_u64(message, frontend->features);
}

static struct shunt_memory_region region_at(const struct shunt_frontend *frontend, unsigned idx,
                                            int *fd)
{
    struct shunt_memory_region region = shared_area_region(&frontend->rings);

    *fd = frontend->rings.fd;
    if (idx > 0)
        *fd = shunt_shared_memory_get_region(frontend->config.memory, idx - 1, &region);
    return region;
}

static int attach_region(const struct shunt_frontend *frontend, unsigned idx,
                         struct wire_region *wire, struct wire_message *message)
{
    int fd;
    struct shunt_memory_region region = region_at(frontend, idx, &fd);

    *wire = (struct wire_region){region.guest_addr, region.size, region.user_addr,
                                 region.fd_offset};
    return attach_fd(message, fd);
}

static_assert(1 + SHUNT_SHARED_MEMORY_MAX_REGIONS <= WIRE_TABLE_MAX_REGIONS,
              "all regions fit into the table");

static int make_set_mem_table(struct shunt_frontend *frontend, unsigned item,
                              struct wire_message *message)
{
    struct wire_mem_table *table = &message->payload.table;
    int result = 0;

    (void)item;
    table->num = num_regions(frontend);
    for (unsigned i = 0; i < table->num && result == 0; i++)
        result = attach_region(frontend, i, &table->regions[i], message);
    message->header.size = (uint32_t)(offsetof(struct wire_mem_table, regions) +
                                      table->num * sizeof(table->regions[0]));
    return result;
}

static int make_add_mem_reg(struct shunt_frontend *frontend, unsigned item,
                            struct wire_message *message)
{
    message->header.size = sizeof(message->payload.region);
    if (item >= frontend->max_mem_slots)
        return -ENOSPC;
    frontend->num_regions_told = item + 1;
    return attach_region(frontend, item, &message->payload.region.region, message);
}

static int make_get_config(struct shunt_frontend *frontend, unsigned item,
                           struct wire_message *message)
{
    (void)item;
    message->payload.config.size = frontend->config.config_len;
    message->header.size = WIRE_CONFIG_HEADER_BYTES + frontend->config.config_len;
    return 0;
}

static int make_set_vring_num(struct shunt_frontend *frontend, unsigned item,
                              struct wire_message *message)
{
    return set_state(message, item, frontend->config.queue_size);
}

static int make_set_vring_base(struct shunt_frontend *frontend, unsigned item,
                               struct wire_message *message)
{
    return set_state(message, item, driver_queue_base(frontend->queues[item].queue));
}

static int make_set_vring_addr(struct shunt_frontend *frontend, unsigned item,
                               struct wire_message *message)
{
    const struct shunt_driver_queue *queue = frontend->queues[item].queue;

    /* The areas of a packed ring are in the same places. */
    message->payload.addr = (struct wire_vring_addr){
        .idx = item,
        .descriptor = (uintptr_t)queue->split.descriptors,
        .used = (uintptr_t)queue->split.used,
        .available = (uintptr_t)queue->split.available,
    };
    message->header.size = sizeof(message->payload.addr);
    return 0;
}

static int make_set_vring_call(struct shunt_frontend *frontend, unsigned item,
                               struct wire_message *message)
{
    set_u64(message, item);
    return attach_fd(message, frontend->queues[item].queue->call_fd);
}

static int make_set_vring_err(struct shunt_frontend *frontend, unsigned item,
                              struct wire_message *message)
{
    set_u64(message, item);
    return attach_fd(message, frontend->error_fd);
}

static int make_set_vring_kick(struct shunt_frontend *frontend, unsigned item,
                               struct wire_message *message)
{
    set_u64(message, item);
    return attach_fd(message, frontend->queues[item].queue->kick_fd);
}

static int make_set_vring_enable(struct shunt_frontend *frontend, unsigned item,
                                 struct wire_message *message)
{
    struct frontend_queue *queue = &frontend->queues[item];

    queue->is_enable_told = queue->is_enable_wanted;
    return set_state(message, item, queue->is_enable_told);
}

static int make_set_vring_disable(struct shunt_frontend *frontend, unsigned item,
                                  struct wire_message *message)
{
    frontend->queues[item].is_enable_told = false;
    return set_state(message, item, 0);
}

static int make_get_vring_base(struct shunt_frontend *frontend, unsigned item,
                               struct wire_message *message)
{
    (void)frontend;
    return set_state(message, item, 0);
}

/* --- Answers ---------------------------------------------------------------------------------------- */

static int on_features(struct shunt_frontend *frontend, const struct wire_message *message,
                       struct shunt_error *error)
{
    uint64_t wanted = frontend->has_started ? frontend->kept_features : frontend->config.features;
    uint64_t required = frontend->has_started ? frontend->kept_features
                                              : frontend->config.required_features;
    uint64_t missing;

    frontend->offered_features = message->payload.u64;
    missing = required & ~frontend->offered_features;
    if (missing)
        return error_set(error, -ENOTSUP, "the back-end lacks features 0x%" PRIx64 "%s", missing,
                         frontend->has_started ? ", which the one before it had" : "");
    frontend->features = frontend->offered_features & (wanted | FEATURE(WIRE_F_PROTOCOL_FEATURES));
    return 0;
}

static int on_protocol_features(struct shunt_frontend *frontend, const struct wire_message *message,
                                struct shunt_error *error)
{
    (void)error;
    frontend->protocol_features = message->payload.u64 & usable_protocol_features(frontend);
    return 0;
}

int frontend_step_settle_queues(struct shunt_frontend *frontend, struct shunt_error *error)
{
    unsigned least = frontend->has_started ? frontend->kept_virtqueues
                                           : frontend->config.min_virtqueues;
    unsigned most = frontend->has_started ? frontend->kept_virtqueues
                                          : frontend->config.num_virtqueues;

    if (frontend->num_virtqueues < least)
        return error_set(error, -ENOTSUP, "the back-end has %u virtqueues, and %u are needed",
                         frontend->num_virtqueues, least);
    if (frontend->num_virtqueues > most)
        frontend->num_virtqueues = most;
    return 0;
}

static int on_queue_num(struct shunt_frontend *frontend, const struct wire_message *message,
                        struct shunt_error *error)
{
    unsigned each = frontend->config.virtqueues_per_queue;

    if (message->payload.u64 < SHUNT_FRONTEND_MAX_VIRTQUEUES / each)
        frontend->num_virtqueues = (unsigned)message->payload.u64 * each;
    else
        frontend->num_virtqueues = SHUNT_FRONTEND_MAX_VIRTQUEUES;
    return frontend_step_settle_queues(frontend, error);
}

static int on_max_mem_slots(struct shunt_frontend *frontend, const struct wire_message *message,
                            struct shunt_error *error)
{
    (void)error;
    frontend->max_mem_slots = message->payload.u64;
    return 0;
}

static int on_status(struct shunt_frontend *frontend, const struct wire_message *message,
                     struct shunt_error *error)
{
    if (message->payload.u64 & STATUS_FEATURES_OK)
        return 0;
    return error_set(error, -ENOTSUP, "the back-end does not take features 0x%" PRIx64,
                     frontend->features);
}

static int on_config(struct shunt_frontend *frontend, const struct wire_message *message,
                     struct shunt_error *error)
{
    uint32_t len = frontend->config.config_len;

    /* An answer without content says that it failed. */
    if (message->header.size < WIRE_CONFIG_HEADER_BYTES + len ||
        message->payload.config.size != len)
        return error_set(error, -EPROTO,
                         "GET_CONFIG: %u bytes of configuration space are not there", len);
    memcpy(frontend->device_config, message->payload.config.data, len);
    frontend->has_device_config = true;
    return 0;
}

static int on_anything(struct shunt_frontend *frontend, const struct wire_message *message,
                       struct shunt_error *error)
{
    (void)frontend;
    (void)message;
    (void)error;
    return 0;
}

/* --- The table -------------------------------------------------------------------------------------- */

#define BYTES(type) .min_bytes = sizeof(type)

/* Sorted by phase. */
static const struct frontend_step steps[] = {
    {"GET_FEATURES", PHASE_NEGOTIATE, WIRE_GET_FEATURES, NULL, make_empty, on_features,
     BYTES(uint64_t)},
    {"GET_PROTOCOL_FEATURES", PHASE_NEGOTIATE, WIRE_GET_PROTOCOL_FEATURES, if_protocol_features,
     make_empty, on_protocol_features, BYTES(uint64_t)},
    {"SET_PROTOCOL_FEATURES", PHASE_NEGOTIATE, WIRE_SET_PROTOCOL_FEATURES, if_protocol_features,
     make_set_protocol_features, NULL, 0},
    {"GET_QUEUE_NUM", PHASE_NEGOTIATE, WIRE_GET_QUEUE_NUM, if_mq, make_empty, on_queue_num,
     BYTES(uint64_t)},
    {"GET_MAX_MEM_SLOTS", PHASE_NEGOTIATE, WIRE_GET_MAX_MEM_SLOTS, if_slots, make_empty,
     on_max_mem_slots, BYTES(uint64_t)},
    {"SET_OWNER", PHASE_NEGOTIATE, WIRE_SET_OWNER, NULL, make_empty, NULL, 0},
    {"SET_BACKEND_REQ_FD", PHASE_NEGOTIATE, WIRE_SET_BACKEND_REQ_FD, if_requests,
     make_set_backend_req_fd, NULL, 0},
    {"SET_STATUS", PHASE_NEGOTIATE, WIRE_SET_STATUS, if_status, make_set_status_driver, NULL, 0},
    {"SET_FEATURES", PHASE_NEGOTIATE, WIRE_SET_FEATURES, NULL, make_set_features, NULL, 0},
    {"SET_STATUS", PHASE_NEGOTIATE, WIRE_SET_STATUS, if_status, make_set_status_features_ok, NULL,
     0},
    {"GET_STATUS", PHASE_NEGOTIATE, WIRE_GET_STATUS, if_status, make_empty, on_status,
     BYTES(uint64_t)},

    {"ADD_MEM_REG", PHASE_MEMORY, WIRE_ADD_MEM_REG, each_region_if_slots, make_add_mem_reg, NULL,
     0}, /* see begin_memory() */
    {"SET_MEM_TABLE", PHASE_MEMORY, WIRE_SET_MEM_TABLE, if_no_slots, make_set_mem_table, NULL, 0},

    {"GET_CONFIG", PHASE_CONFIG, WIRE_GET_CONFIG, if_config, make_get_config, on_config, 0},

    {"SET_VRING_NUM", PHASE_START, WIRE_SET_VRING_NUM, each_queue, make_set_vring_num, NULL, 0},
    {"SET_VRING_BASE", PHASE_START, WIRE_SET_VRING_BASE, each_queue, make_set_vring_base, NULL, 0},
    {"SET_VRING_ADDR", PHASE_START, WIRE_SET_VRING_ADDR, each_queue, make_set_vring_addr, NULL, 0},
    {"SET_VRING_CALL", PHASE_START, WIRE_SET_VRING_CALL, each_queue, make_set_vring_call, NULL, 0},
    {"SET_VRING_ERR", PHASE_START, WIRE_SET_VRING_ERR, each_queue, make_set_vring_err, NULL, 0},
    {"SET_VRING_KICK", PHASE_START, WIRE_SET_VRING_KICK, each_queue, make_set_vring_kick, NULL, 0},
    {"SET_VRING_ENABLE", PHASE_START, WIRE_SET_VRING_ENABLE, each_queue_if_enabled,
     make_set_vring_enable, NULL, 0},
    {"SET_STATUS", PHASE_START, WIRE_SET_STATUS, if_status, make_set_status_driver_ok, NULL, 0},
    {"GET_FEATURES", PHASE_START, WIRE_GET_FEATURES, if_no_acks, make_empty, on_anything,
     BYTES(uint64_t)},

    {"SET_VRING_ENABLE", PHASE_ENABLE, WIRE_SET_VRING_ENABLE, each_queue_if_enabled,
     make_set_vring_enable, NULL, 0},

    {"SET_VRING_ENABLE", PHASE_STOP, WIRE_SET_VRING_ENABLE, each_queue_if_enabled,
     make_set_vring_disable, NULL, 0},
    {"GET_VRING_BASE", PHASE_STOP, WIRE_GET_VRING_BASE, each_queue, make_get_vring_base,
     on_anything, BYTES(struct wire_vring_state)},
};

const struct frontend_step *frontend_step_at(unsigned idx)
{
    return idx < sizeof(steps) / sizeof(steps[0]) ? &steps[idx] : NULL;
}
