/* SPDX-License-Identifier: BSD-3-Clause */
/* What the front-end tells of its guest's IOMMU (vhost-user, "IOMMU support"). */
#include <errno.h>
#include <inttypes.h>

#include "base/error.h"
#include "vhost_user/message.h"

#define ACCESS_ALL 3u

static_assert(MEMORY_READ == 1 && MEMORY_WRITE == 2, "as in the message");

static int change(struct shunt_backend *backend, const struct wire_iotlb *entry,
                  struct shunt_error *error)
{
    switch (entry->type) {
    case WIRE_IOTLB_UPDATE:
        if (entry->access & ~ACCESS_ALL)
            return error_set(error, -EINVAL, "access is %u instead of 0 to 3", entry->access);
        return iotlb_update(backend->iotlb, entry->io_addr, entry->size, entry->addr, entry->access,
                            error);
    case WIRE_IOTLB_INVALIDATE: /* its access is whatever QEMU's stack held */
        iotlb_invalidate(backend->iotlb, entry->io_addr, entry->size);
        return 0;
    default:
        return error_set(error, -EINVAL, "IOTLB message type %u", entry->type);
    }
}

/* The answer says whether it could be done; a front-end may go on if not. */
int message_iotlb(struct shunt_backend *backend, struct wire_message *message,
                  struct shunt_error *error)
{
    const struct wire_iotlb *entry = &message->payload.iotlb;
    int result;

    backend_lock_queues(backend);
    result = change(backend, entry, error);
    if (result == 0)
        backend_iotlb_changed(backend, entry->io_addr, entry->size);
    backend_unlock_queues(backend);
    if (result < 0 && log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "IOTLB_MSG: 0x%" PRIx64 ": %s", entry->io_addr, error->text);
    message_set_u64(message, result < 0);
    return 0;
}
