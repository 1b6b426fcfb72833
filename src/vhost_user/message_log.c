/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about the log of what a migrating guest's device writes (vhost-user, "Migration"). */
#include "vhost_user/message.h"

void message_update_logging(struct shunt_backend *backend)
{
    bool is_logging = (backend->features & RING_FEATURE(LOG_ALL)) &&
                      dirty_log_is_mapped(&backend->log);

    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *queue = backend->queues[i].virtqueue;

        shunt_virtqueue_lock(queue);
        queue->is_logging = is_logging;
        shunt_virtqueue_unlock(queue);
    }
}

/* May come again, with a larger log. It is answered, because QEMU waits for it. */
int message_set_log_base(struct shunt_backend *backend, struct wire_message *message,
                         struct shunt_error *error)
{
    const struct wire_log *log = &message->payload.log;
    int result;

    backend_lock_queues(backend);
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++)
        virtqueue_flush_marks(backend->queues[i].virtqueue);
    result = dirty_log_map(&backend->log, message->fds[0], log->offset, log->size, error);
    backend_unlock_queues(backend);
    if (result < 0)
        return result;
    message_update_logging(backend);
    message_set_u64(message, 0);
    return 0;
}

int message_set_log_fd(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    int result = message_check_eventfd(message->fds[0], error);

    if (result < 0)
        return result;
    backend_lock_queues(backend);
    dirty_log_set_event(&backend->log, wire_take_fd(message, 0));
    backend_unlock_queues(backend);
    return 0;
}
