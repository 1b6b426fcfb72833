/* SPDX-License-Identifier: BSD-3-Clause */
/* Messages about the device's state, which a migration carries over: see device_state.h. */
#include <errno.h>

#include "base/error.h"
#include "vhost_user/message.h"

static int check_transfer(const struct shunt_backend *backend, const struct wire_transfer *transfer,
                          struct shunt_error *error)
{
    if (transfer->direction > WIRE_TRANSFER_LOAD)
        return error_set(error, -EINVAL, "direction is %u instead of 0 or 1", transfer->direction);
    if (transfer->phase != WIRE_TRANSFER_PHASE_STOPPED)
        return error_set(error, -EINVAL, "phase is %u instead of 0", transfer->phase);
    if (!backend_is_suspended(backend))
        return error_set(error, -EBUSY, "rings run");
    return 0;
}

/* The answer says whether it can be done; a front-end may go on if not. */
int message_set_device_state_fd(struct shunt_backend *backend, struct wire_message *message,
                                struct shunt_error *error)
{
    struct wire_transfer transfer = message->payload.transfer;
    int result = check_transfer(backend, &transfer, error);

    if (result == 0)
        result = device_state_begin(backend, (enum wire_transfer_direction)transfer.direction,
                                    wire_take_fd(message, 0), error);
    if (result < 0)
        log_warning(backend->name, "SET_DEVICE_STATE_FD: %s", error->text);
    message_set_u64(message, WIRE_TRANSFER_FD_NONE | (result < 0));
    return 0;
}

int message_check_device_state(struct shunt_backend *backend, struct wire_message *message,
                               struct shunt_error *error)
{
    struct device_state *state = &backend->device_state;

    (void)error;
    if (device_state_is_moving(state)) {
        state->is_check_due = true;
        return MESSAGE_DEFERRED;
    }
    message_set_u64(message, state->phase != DEVICE_STATE_DONE || state->result < 0);
    return 0;
}
