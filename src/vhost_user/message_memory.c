/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about guest memory. In postcopy migration, what they bring is only staged: see postcopy.h. */
#include <errno.h>

#include "base/error.h"
#include "vhost_user/message.h"

/* With GPA_ADDRESSES the user address has no meaning, and need not be different for each region. */
static struct shunt_memory_region region_of(const struct shunt_backend *backend,
                                            const struct wire_region *wire)
{
    bool has_user_addr = !backend_has_protocol(backend, WIRE_PROTOCOL_F_GPA_ADDRESSES);

    return (struct shunt_memory_region){
        .guest_addr = wire->guest_addr,
        .user_addr = has_user_addr ? wire->user_addr : wire->guest_addr,
        .size = wire->size,
        .fd_offset = wire->fd_offset,
    };
}

/* IOTLB and rings lie in this memory: find them again while nobody looks at them. */
static void remap(struct shunt_backend *backend)
{
    iotlb_remap(backend->iotlb);
    backend_remap_queues(backend);
}

static int check_table(const struct wire_message *message, struct shunt_error *error)
{
    const struct wire_mem_table *table = &message->payload.table;

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
    return 0;
}

static int stage_table(struct shunt_backend *backend, struct wire_message *message,
                       const struct shunt_memory_region *regions, struct shunt_error *error)
{
    struct wire_mem_table *table = &message->payload.table;
    int result = postcopy_stage_table(&backend->postcopy, backend->memory, regions, message->fds,
                                      table->num, error);

    if (result < 0)
        return result;
    for (unsigned i = 0; i < table->num; i++)
        postcopy_tell_address(&backend->postcopy, &table->regions[i]);
    return MESSAGE_ANSWERED;
}

int message_set_mem_table(struct shunt_backend *backend, struct wire_message *message,
                          struct shunt_error *error)
{
    const struct wire_mem_table *table = &message->payload.table;
    struct shunt_memory_region regions[WIRE_TABLE_MAX_REGIONS];
    int result = check_table(message, error);

    if (result < 0)
        return result;
    for (unsigned i = 0; i < table->num; i++)
        regions[i] = region_of(backend, &table->regions[i]);
    if (postcopy_is_listening(&backend->postcopy))
        return stage_table(backend, message, regions, error);
    backend_lock_queues(backend);
    result = shunt_memory_replace(backend->memory, regions, message->fds, table->num, error);
    remap(backend);
    backend_unlock_queues(backend);
    return result;
}

int message_get_max_mem_slots(struct shunt_backend *backend, struct wire_message *message,
                              struct shunt_error *error)
{
    (void)backend;
    (void)error;
    message_set_u64(message, SHUNT_MEMORY_MAX_REGIONS);
    return 0;
}

int message_add_mem_reg(struct shunt_backend *backend, struct wire_message *message,
                        struct shunt_error *error)
{
    struct wire_region *wire = &message->payload.region.region;
    struct shunt_memory_region region = region_of(backend, wire);
    int result;

    if (message->num_fds != 1)
        return error_set(error, -EINVAL,
                         "a memory region without file descriptor: guest memory is not shared");
    if (postcopy_is_listening(&backend->postcopy)) {
        result = postcopy_stage_region(&backend->postcopy, backend->memory, &region,
                                       message->fds[0], error);
        if (result < 0)
            return result;
        postcopy_tell_address(&backend->postcopy, wire);
        return MESSAGE_ANSWERED;
    }
    backend_lock_queues(backend);
    result = shunt_memory_add(backend->memory, &region, message->fds[0], error);
    remap(backend);
    backend_unlock_queues(backend);
    return result;
}

int message_rem_mem_reg(struct shunt_backend *backend, struct wire_message *message,
                        struct shunt_error *error)
{
    struct shunt_memory_region region = region_of(backend, &message->payload.region.region);
    int result;

    backend_lock_queues(backend);
    result = shunt_memory_remove(backend->memory, &region, error);
    remap(backend);
    backend_unlock_queues(backend);
    return result;
}
