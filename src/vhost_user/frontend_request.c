/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The channel on which a back-end asks. We have no IOMMU and no device behind us, so nearly all
 * that it may ask for is answered with an error; that the configuration space changed leads to its
 * being read again. Descriptors that come with a request are closed.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost_user/frontend.h"

/* So much is received in one dispatch. */
#define REQUESTS_PER_DISPATCH 64

int frontend_request_open(struct shunt_frontend *frontend, int *fd)
{
    int result, ends[2];

    frontend_request_close(frontend);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) < 0)
        return -errno;
    channel_open(&frontend->requests, ends[0]);
    result = frontend_watch(frontend, ends[0], FRONTEND_ON_REQUEST);
    if (result == 0) {
        *fd = ends[1];
        return 0;
    }
    channel_close(&frontend->requests);
    close(ends[1]);
    return result;
}

void frontend_request_close(struct shunt_frontend *frontend)
{
    if (frontend->requests.fd < 0)
        return;
    frontend_unwatch(frontend, frontend->requests.fd);
    channel_close(&frontend->requests);
}

/* What is answered: 0 is yes. */
static uint64_t handle(struct shunt_frontend *frontend, const struct wire_message *message)
{
    if (message->header.request != WIRE_BACKEND_CONFIG_CHANGE_MSG) {
        log_debug(frontend->name, "the back-end's request %u is refused", message->header.request);
        return 1;
    }
    frontend_sequence_want(frontend, PHASE_CONFIG);
    return 0;
}

static int answer(struct shunt_frontend *frontend, uint32_t request, uint64_t value,
                  struct shunt_error *error)
{
    struct wire_message message = {
        .header = {request, WIRE_VERSION | WIRE_FLAG_REPLY, sizeof(value)},
        .payload.u64 = value,
    };

    return channel_send(&frontend->requests, &message, error);
}

void frontend_request_on_event(struct shunt_frontend *frontend)
{
    for (unsigned i = 0; i < REQUESTS_PER_DISPATCH && frontend->requests.fd >= 0; i++) {
        struct shunt_error error = {.text = "unknown"};
        struct wire_message message;
        int result = channel_receive(&frontend->requests, &message, &error);

        if (result == 0)
            return;
        if (result > 0) {
            uint64_t value = handle(frontend, &message);

            wire_close_fds(&message);
            result = 0;
            if (message.header.flags & WIRE_FLAG_NEED_REPLY)
                result = answer(frontend, message.header.request, value, &error);
        }
        if (result < 0) {
            log_debug(frontend->name, "the back-end's request channel is closed: %s", error.text);
            frontend_request_close(frontend);
        }
    }
}
