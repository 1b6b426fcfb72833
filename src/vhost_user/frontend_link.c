/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Back-ends that come and go, one at a time.
 *
 *                    ┌── server: accept ──┐
 *     waiting ───────┤                    ├──▶ connected ── closed, or a rule is broken ──┐
 *        ▲           └── client: connect ─┘                                               │
 *        └────────────────────────────────────────────────────────────────────────────────┘
 *
 * As a client we try for ever: at once after a connection that was of use and ended in order, else
 * after a pause that doubles. The log hears of the first failure, and then of the success.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/timer.h"
#include "vhost_user/frontend.h"

/* So much is done in one dispatch; what is left keeps the descriptor readable. */
#define MESSAGES_PER_DISPATCH 64

/* A connection that lasted so long was of use, whatever came of it. */
#define USEFUL_MS 1000u

/* How long not to accept when there are no descriptors for it. */
#define ACCEPT_PAUSE_MS 1000u

/* --- Connected -------------------------------------------------------------------------------------- */

static void meet(struct shunt_frontend *frontend, int fd)
{
    struct shunt_error error;
    int result = frontend_watch(frontend, fd, FRONTEND_ON_MESSAGE);

    if (result < 0) {
        snprintf(frontend->reason, sizeof(frontend->reason), "the connection cannot be watched: %s",
                 strerror(-result));
        close(fd);
        timer_set_ms(frontend->timer_fd, ACCEPT_PAUSE_MS);
        return;
    }
    channel_open(&frontend->channel, fd);
    frontend->is_room_watched = false;
    frontend->is_trouble_said = false;
    frontend->connected_ms = clock_ms();
    if (log_limit_allows(&frontend->log_limit, frontend->name))
        log_info(frontend->name, "back-end connected");
    frontend_sequence_begin(frontend);
    if (frontend_sequence_continue(frontend, &error) < 0)
        frontend_link_fail(frontend, &error);
}

static void stop_queues(struct shunt_frontend *frontend)
{
    for (unsigned i = 0; i < frontend->config.num_virtqueues; i++)
        driver_queue_stop(frontend->queues[i].queue);
}

static void say_why(struct shunt_frontend *frontend, const char *fault)
{
    snprintf(frontend->reason, sizeof(frontend->reason), "%s; %s",
             frontend->config.is_server ? "waiting for a back-end to connect"
                                        : "trying to connect again",
             fault ? fault : "the last back-end closed the connection");
}

/* `fault`: what the back-end did wrong; NULL: it left in order. */
static void part(struct shunt_frontend *frontend, const char *fault)
{
    bool was_running = frontend->is_running;
    bool was_useful = (was_running && !fault) || clock_ms() - frontend->connected_ms >= USEFUL_MS;

    say_why(frontend, fault);
    frontend_unwatch(frontend, frontend->channel.fd);
    channel_close(&frontend->channel);
    frontend_request_close(frontend);
    frontend_sequence_forget(frontend);
    stop_queues(frontend);
    frontend->is_running = false;
    if (log_limit_allows(&frontend->log_limit, frontend->name))
        log_info(frontend->name, "back-end disconnected");
    if (!frontend->config.is_server) {
        if (was_useful)
            connector_forgive(&frontend->connector);
        timer_set_ms(frontend->timer_fd, connector_delay_ms(&frontend->connector));
    }
    if (was_running && frontend->ops->stopped)
        frontend->ops->stopped(frontend->ctx);
}

void frontend_link_fail(struct shunt_frontend *frontend, const struct shunt_error *fault)
{
    if (frontend->channel.fd < 0)
        return;
    if (log_limit_allows(&frontend->log_limit, frontend->name))
        log_warning(frontend->name, "%s", fault->text);
    part(frontend, fault->text);
}

static bool is_farewell(int code)
{
    return code == -EPIPE || code == -ECONNRESET;
}

void frontend_link_on_message(struct shunt_frontend *frontend)
{
    for (unsigned i = 0; i < MESSAGES_PER_DISPATCH && frontend->channel.fd >= 0; i++) {
        struct shunt_error error = {.text = "unknown"};
        struct wire_message message;
        int result = channel_receive(&frontend->channel, &message, &error);
        bool is_end = result == 0;

        if (result > 0) {
            result = frontend_sequence_answer(frontend, &message, &error);
            wire_close_fds(&message);
        }
        /* Also when nothing came: there may be room again to send. */
        if (result == 0)
            result = frontend_sequence_continue(frontend, &error);
        if (is_farewell(result))
            part(frontend, NULL);
        else if (result < 0)
            frontend_link_fail(frontend, &error);
        if (is_end)
            return;
    }
}

/* --- Server ----------------------------------------------------------------------------------------- */

/* Who waits to be accepted keeps the socket readable: without a pause we would turn in circles. */
static void pause_listening(struct shunt_frontend *frontend, int code)
{
    frontend_unwatch(frontend, frontend->listener.fd);
    frontend->is_listener_paused = true;
    timer_set_ms(frontend->timer_fd, ACCEPT_PAUSE_MS);
    if (!frontend->is_trouble_said)
        log_error(frontend->name, "a back-end cannot be accepted: %s; trying again until it can",
                  strerror(-code));
    frontend->is_trouble_said = true;
}

/* One back-end at a time. One that is gone, but not noticed yet, makes room for the next. */
void frontend_link_on_listener(struct shunt_frontend *frontend)
{
    struct pollfd gone = {.fd = frontend->channel.fd, .events = POLLRDHUP};
    int fd = listener_accept(&frontend->listener);

    if (fd == -EAGAIN)
        return;
    if (fd < 0) {
        pause_listening(frontend, fd);
        return;
    }
    if (frontend->channel.fd >= 0 && poll(&gone, 1, 0) > 0)
        part(frontend, NULL);
    if (frontend->channel.fd < 0) {
        meet(frontend, fd);
        return;
    }
    if (log_limit_allows(&frontend->log_limit, frontend->name))
        log_warning(frontend->name, "a second back-end was turned away: one is connected");
    close(fd);
}

static void listen_again(struct shunt_frontend *frontend)
{
    if (!frontend->is_listener_paused)
        return;
    frontend->is_listener_paused = false;
    if (frontend_watch(frontend, frontend->listener.fd, FRONTEND_ON_LISTENER) < 0)
        pause_listening(frontend, -ENOMEM);
}

/* --- Client ----------------------------------------------------------------------------------------- */

static void try_to_connect(struct shunt_frontend *frontend)
{
    struct shunt_error error;
    int fd;

    if (frontend->channel.fd >= 0)
        return;
    fd = connector_connect(&frontend->connector, &error);
    if (fd >= 0) {
        meet(frontend, fd);
        return;
    }
    timer_set_ms(frontend->timer_fd, connector_delay_ms(&frontend->connector));
    snprintf(frontend->reason, sizeof(frontend->reason), "%.230s; trying again", error.text);
    if (!frontend->is_trouble_said && log_limit_allows(&frontend->log_limit, frontend->name))
        log_warning(frontend->name, "%s; trying again until it works", error.text);
    frontend->is_trouble_said = true;
}

void frontend_link_on_timer(struct shunt_frontend *frontend)
{
    if (!timer_has_expired(frontend->timer_fd))
        return;
    if (frontend->config.is_server)
        listen_again(frontend);
    else
        try_to_connect(frontend);
}

/* --- Life ------------------------------------------------------------------------------------------- */

int frontend_link_begin(struct shunt_frontend *frontend, struct shunt_error *error)
{
    const char *path = frontend->config.socket_path;
    int result;

    if (!frontend->config.is_server) {
        result = connector_open(&frontend->connector, path, error);
        if (result == 0)
            timer_set_ms(frontend->timer_fd, 0);
        snprintf(frontend->reason, sizeof(frontend->reason), "connecting to %.107s", path);
        return result;
    }
    result = listener_open(&frontend->listener, path, error);
    if (result < 0)
        return result;
    result = frontend_watch(frontend, frontend->listener.fd, FRONTEND_ON_LISTENER);
    snprintf(frontend->reason, sizeof(frontend->reason), "waiting for a back-end to connect");
    return result < 0 ? error_set(error, result, "%s", strerror(-result)) : 0;
}

void frontend_link_end(struct shunt_frontend *frontend)
{
    if (frontend->channel.fd >= 0)
        part(frontend, NULL);
    listener_close(&frontend->listener);
    connector_close(&frontend->connector);
}
