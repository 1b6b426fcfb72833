/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about postcopy migration: see postcopy.h. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost_user/message.h"

/* The front-end gets a descriptor of its own; ours is needed to the end. */
int message_postcopy_advise(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error)
{
    int fd, result;

    if (postcopy_is_listening(&backend->postcopy))
        return error_set(error, -EPROTO, "a postcopy migration is under way");
    result = postcopy_advise(&backend->postcopy, error);
    if (result < 0)
        return result;
    fd = fcntl(backend->postcopy.fd, F_DUPFD_CLOEXEC, 0);
    if (fd < 0)
        return error_set(error, -errno, "fcntl: %m");
    message_give_fd(message, fd);
    message->header.size = 0;
    return 0;
}

/* Of memory that came before, the front-end does not know where we have it, nor could serve its faults. */
int message_postcopy_listen(struct shunt_backend *backend, struct wire_message *message,
                            struct shunt_error *error)
{
    unsigned num_regions = shunt_memory_num_regions(backend->memory);

    (void)message;
    if (num_regions > 0)
        return error_set(error, -EPROTO, "%u memory regions were there before", num_regions);
    backend->postcopy.phase = POSTCOPY_LISTENING;
    return 0;
}

int message_postcopy_end(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    (void)error;
    postcopy_end(&backend->postcopy, backend->memory);
    message_set_u64(message, 0);
    return 0;
}

/* Comes as an empty SET_MEM_TABLE, from QEMU after ADD_MEM_REG as one of that: with a zero, or nothing. */
int message_postcopy_acknowledge(struct shunt_backend *backend, struct wire_message *message,
                                 struct shunt_error *error)
{
    int result;

    if (message->header.size == sizeof(uint64_t) && message->payload.u64 != 0)
        return error_set(error, -EPROTO, "the memory was not acknowledged: 0x%" PRIx64,
                         message->payload.u64);
    backend_lock_queues(backend);
    result = postcopy_commit(&backend->postcopy, backend->memory, error);
    if (result == 0) {
        iotlb_remap(backend->iotlb);
        backend_remap_queues(backend);
    }
    backend_unlock_queues(backend);
    return result;
}
