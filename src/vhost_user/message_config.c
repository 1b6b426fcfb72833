/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about the device's configuration space. */
#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "vhost_user/message.h"

/* Of SET_CONFIG: what the driver wrote, or what a migration brought. */
#define CONFIG_FLAG_MIGRATION 1u

static bool is_config_range(const struct shunt_backend *backend, const struct wire_message *message)
{
    const struct wire_config *config = &message->payload.config;

    return config->size <= backend->config.config_len &&
           config->offset <= backend->config.config_len - config->size &&
           message->header.size == WIRE_CONFIG_HEADER_BYTES + config->size;
}

/* A payload of size 0 is how the answer says that there is none. */
int message_get_config(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    struct wire_config *config = &message->payload.config;

    (void)error;
    if (!is_config_range(backend, message) || !backend->ops->get_config ||
        backend->ops->get_config(backend->ctx, config->offset, config->data, config->size) < 0)
        message->header.size = 0;
    return 0;
}

int message_set_config(struct shunt_backend *backend, struct wire_message *message,
                       struct shunt_error *error)
{
    const struct wire_config *config = &message->payload.config;
    int result;

    if (!is_config_range(backend, message))
        return error_set(error, -EINVAL, "%u bytes at offset %u of a configuration space of %u",
                         config->size, config->offset, backend->config.config_len);
    if (config->flags & ~CONFIG_FLAG_MIGRATION)
        return error_set(error, -EINVAL, "flags are 0x%x instead of 0 or 1", config->flags);
    if (!backend->ops->set_config)
        return error_set(error, -EROFS, "the configuration space is read-only");
    result = backend->ops->set_config(backend->ctx, config->offset, config->data, config->size,
                                      config->flags & CONFIG_FLAG_MIGRATION);
    if (result < 0)
        return error_set(error, result, "%u bytes at offset %u: %s", config->size, config->offset,
                         strerror(-result));
    return 0;
}
