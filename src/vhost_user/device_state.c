/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost_user/device_state.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost_user/message.h"

static void let_go(struct shunt_backend *backend)
{
    struct device_state *state = &backend->device_state;

    if (device_state_is_moving(state)) {
        backend_unwatch(backend, state->fd);
        close(state->fd);
    }
    free(state->data);
    state->data = NULL;
}

void device_state_forget(struct shunt_backend *backend)
{
    let_go(backend);
    backend->device_state = (struct device_state){.phase = DEVICE_STATE_IDLE};
}

/* The transfer is over; closing the descriptor is how a reader learns of the end. */
static void finish(struct shunt_backend *backend, int result, const char *why)
{
    struct device_state *state = &backend->device_state;
    bool is_check_due = state->is_check_due;
    struct shunt_error error;

    let_go(backend);
    *state = (struct device_state){.phase = DEVICE_STATE_DONE, .result = result};
    if (result < 0)
        log_warning(backend->name, "the device's state was not transferred: %s", why);
    if (is_check_due &&
        message_answer_u64(backend, WIRE_CHECK_DEVICE_STATE, result < 0, &error) < 0)
        connection_fail(backend, &error);
}

/*
 * The descriptor is the front-end's as well, which can make it blocking at any time. So it is not read or written
 * but by calls that are told each time not to wait: there are such for sockets, and for pipes from and to a pipe
 * of our own, the relay. Both return as read(2) and write(2) of a descriptor that does not block.
 */
static void close_relay(const int relay[2])
{
    int code = errno;

    close(relay[0]);
    close(relay[1]);
    errno = code;
}

static ssize_t read_at_once(int fd, void *data, size_t len)
{
    ssize_t num = recv(fd, data, len, MSG_DONTWAIT);
    int relay[2];

    if (num >= 0 || errno != ENOTSOCK)
        return num;
    if (pipe2(relay, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    num = splice(fd, NULL, relay[1], NULL, len, SPLICE_F_NONBLOCK);
    if (num > 0)
        num = read(relay[0], data, (size_t)num);
    close_relay(relay);
    return num;
}

static ssize_t write_at_once(int fd, const void *data, size_t len)
{
    ssize_t num = send(fd, data, len, MSG_DONTWAIT | MSG_NOSIGNAL);
    int relay[2];

    if (num >= 0 || errno != ENOTSOCK)
        return num;
    if (pipe2(relay, O_CLOEXEC | O_NONBLOCK) < 0)
        return -1;
    num = write(relay[1], data, len);
    if (num > 0)
        num = splice(relay[0], NULL, fd, NULL, (size_t)num, SPLICE_F_NONBLOCK);
    close_relay(relay);
    return num;
}

/* Without a SIGPIPE where nobody reads any more: signals are the program's business. Bytes or -errno. */
static ssize_t write_quietly(int fd, const void *data, size_t len)
{
    const struct timespec now = {0};
    sigset_t pipe, before, pending;
    ssize_t num;

    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    sigpending(&pending);
    pthread_sigmask(SIG_BLOCK, &pipe, &before);
    do
        num = write_at_once(fd, data, len);
    while (num < 0 && errno == EINTR);
    if (num < 0)
        num = -errno;
    if (num == -EPIPE && !sigismember(&pending, SIGPIPE))
        sigtimedwait(&pipe, NULL, &now);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return num;
}

static void save_more(struct shunt_backend *backend)
{
    struct device_state *state = &backend->device_state;

    while (state->done < state->len) {
        ssize_t num = write_quietly(state->fd, state->data + state->done, state->len - state->done);

        if (num == -EAGAIN)
            return;
        if (num < 0) {
            finish(backend, (int)num, strerror((int)-num));
            return;
        }
        state->done += (size_t)num;
    }
    finish(backend, 0, "");
}

static void load_all(struct shunt_backend *backend)
{
    struct device_state *state = &backend->device_state;
    int result = -EBUSY;

    if (backend_is_suspended(backend))
        result = backend->ops->load_state(backend->ctx, state->data, state->done);
    finish(backend, result, result < 0 ? strerror(-result) : "");
}

/* There is room for one byte more than may come. */
static void load_more(struct shunt_backend *backend)
{
    struct device_state *state = &backend->device_state;

    while (state->done < state->len) {
        ssize_t num = read_at_once(state->fd, state->data + state->done, state->len - state->done);

        if (num == 0) {
            load_all(backend);
            return;
        }
        if (num < 0 && errno == EAGAIN)
            return;
        if (num < 0 && errno != EINTR) {
            finish(backend, -errno, strerror(errno));
            return;
        }
        if (num > 0)
            state->done += (size_t)num;
    }
    finish(backend, -EFBIG, strerror(EFBIG));
}

void device_state_on_event(struct shunt_backend *backend, unsigned idx)
{
    (void)idx;
    if (backend->device_state.phase == DEVICE_STATE_SAVING)
        save_more(backend);
    else if (backend->device_state.phase == DEVICE_STATE_LOADING)
        load_more(backend);
}

/* What is to be written, or the room for what is to be read. */
static int get_data(struct shunt_backend *backend, enum wire_transfer_direction direction,
                    struct shunt_error *error)
{
    struct device_state *state = &backend->device_state;
    void *data = NULL;
    int result;

    if (direction == WIRE_TRANSFER_LOAD) {
        state->len = DEVICE_STATE_MAX_BYTES + 1;
        state->data = malloc(state->len);
        return state->data ? 0 : error_set(error, -ENOMEM, "out of memory");
    }
    result = backend->ops->save_state(backend->ctx, &data, &state->len);
    if (result < 0)
        return error_set(error, result, "the device's state: %s", strerror(-result));
    state->data = data;
    return 0;
}

static int watch(const struct shunt_backend *backend, int fd,
                 enum wire_transfer_direction direction, struct shunt_error *error)
{
    bool is_load = direction == WIRE_TRANSFER_LOAD;
    int result = backend_watch(backend, fd, is_load ? EVENT_STATE_LOAD : EVENT_STATE_SAVE, 0);

    if (result < 0)
        return error_set(error, result, "the descriptor does not behave like a pipe: %s",
                         strerror(-result));
    return 0;
}

int device_state_begin(struct shunt_backend *backend, enum wire_transfer_direction direction,
                       int fd, struct shunt_error *error)
{
    struct device_state *state = &backend->device_state;
    int result;

    device_state_forget(backend);
    result = get_data(backend, direction, error);
    if (result == 0)
        result = watch(backend, fd, direction, error);
    if (result < 0) {
        close(fd);
        device_state_forget(backend);
        return result;
    }
    state->fd = fd;
    state->phase = direction == WIRE_TRANSFER_LOAD ? DEVICE_STATE_LOADING : DEVICE_STATE_SAVING;
    return 0;
}
