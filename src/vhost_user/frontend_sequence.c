/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What is said to a back-end, one message after the other, and in which order.
 *
 *     due phases ──▶ phase ──▶ its steps, in the order of the table ──▶ for each step its items ──▶ a message
 *                                                                            (a queue, a region)
 *
 * With REPLY_ACK every message is acknowledged before the next one is sent, so a fault is known
 * with the name of its cause. Without it only those wait that have an answer of their own.
 */
#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/event.h"
#include "vhost_user/frontend_step.h"

/* --- Phases ----------------------------------------------------------------------------------------- */

/* What was told stays told. */
static int begin_memory(struct shunt_frontend *frontend, struct shunt_error *error)
{
    (void)error;
    frontend->sequence.item = frontend->num_regions_told;
    return 0;
}

static int begin_start(struct shunt_frontend *frontend, struct shunt_error *error)
{
    int result = 0;

    for (unsigned i = 0; i < frontend->num_virtqueues && result == 0; i++)
        result = driver_queue_start(frontend->queues[i].queue, frontend->features, error);
    return result;
}

static int end_start(struct shunt_frontend *frontend, struct shunt_error *error)
{
    eventfd_t ignored;

    (void)error;
    eventfd_read(frontend->error_fd, &ignored); /* of the back-end before */
    frontend->has_started = true;
    frontend->kept_features = frontend->features & ~(UINT64_C(1) << WIRE_F_PROTOCOL_FEATURES);
    frontend->kept_virtqueues = frontend->num_virtqueues;
    frontend->is_running = true;
    frontend->reason[0] = '\0';
    for (unsigned i = 0; i < frontend->num_virtqueues; i++)
        driver_queue_run(frontend->queues[i].queue);
    if (log_limit_allows(&frontend->log_limit, frontend->name))
        log_info(frontend->name, "%u virtqueues run, features 0x%" PRIx64, frontend->num_virtqueues,
                 frontend->features);
    if (frontend->ops->started)
        frontend->ops->started(frontend->ctx);
    return 0;
}

static int begin_stop(struct shunt_frontend *frontend, struct shunt_error *error)
{
    (void)error;
    for (unsigned i = 0; i < frontend->num_virtqueues; i++)
        driver_queue_stop(frontend->queues[i].queue);
    return 0;
}

static int end_stop(struct shunt_frontend *frontend, struct shunt_error *error)
{
    (void)error;
    frontend->is_running = false;
    snprintf(frontend->reason, sizeof(frontend->reason), "stopped by us");
    if (frontend->ops->stopped)
        frontend->ops->stopped(frontend->ctx);
    return 0;
}

static int end_config(struct shunt_frontend *frontend, struct shunt_error *error)
{
    (void)error;
    if (frontend->is_running && frontend->ops->config_changed)
        frontend->ops->config_changed(frontend->ctx);
    return 0;
}

/* What is done before its first message, and after its last is answered. */
static const struct {
    int (*begin)(struct shunt_frontend *frontend, struct shunt_error *error);
    int (*end)(struct shunt_frontend *frontend, struct shunt_error *error);
} phases[] = {
    [PHASE_NEGOTIATE] = {NULL, frontend_step_settle_queues}, /* also without GET_QUEUE_NUM */
    [PHASE_MEMORY] = {begin_memory, NULL},
    [PHASE_CONFIG] = {NULL, end_config},
    [PHASE_START] = {begin_start, end_start},
    [PHASE_ENABLE] = {NULL, NULL},
    [PHASE_STOP] = {begin_stop, end_stop},
};
static_assert(sizeof(phases) / sizeof(phases[0]) == PHASE_NUM, "each phase has a row");

void frontend_sequence_forget(struct shunt_frontend *frontend)
{
    frontend->sequence = (struct frontend_sequence){.phase = PHASE_NONE};
    frontend->features = 0;
    frontend->protocol_features = 0;
    frontend->has_device_config = false;
}

void frontend_sequence_begin(struct shunt_frontend *frontend)
{
    frontend_sequence_forget(frontend);
    frontend->offered_features = 0;
    frontend->num_virtqueues = frontend->config.virtqueues_per_queue; /* without MQ */
    frontend->num_regions_told = 0;
    frontend->sequence.due = 1u << PHASE_NEGOTIATE | 1u << PHASE_MEMORY | 1u << PHASE_CONFIG;
    if (frontend->wants_running)
        frontend->sequence.due |= 1u << PHASE_START;
}

void frontend_sequence_want(struct shunt_frontend *frontend, enum frontend_phase phase)
{
    if (frontend->channel.fd < 0)
        return; /* the next one is told all */
    frontend->sequence.due |= 1u << phase;
    event_signal(frontend->event_fd);
}

static int begin_phase(struct shunt_frontend *frontend, struct shunt_error *error)
{
    struct frontend_sequence *sequence = &frontend->sequence;
    enum frontend_phase phase = (enum frontend_phase)__builtin_ctz(sequence->due);

    sequence->due &= ~(1u << phase);
    sequence->phase = phase;
    sequence->item = 0;
    sequence->step = 0;
    while (frontend_step_at(sequence->step)->phase != phase)
        sequence->step++;
    return phases[phase].begin ? phases[phase].begin(frontend, error) : 0;
}

static int end_phase(struct shunt_frontend *frontend, struct shunt_error *error)
{
    enum frontend_phase phase = frontend->sequence.phase;

    frontend->sequence.phase = PHASE_NONE;
    return phases[phase].end ? phases[phase].end(frontend, error) : 0;
}

/* --- Sending ---------------------------------------------------------------------------------------- */

/* Only while the socket is full do we want to know when it is not. */
static void watch_room(struct shunt_frontend *frontend, bool is_full)
{
    struct epoll_event event = {
        .events = is_full ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data.u32 = FRONTEND_ON_MESSAGE,
    };

    if (frontend->is_room_watched == is_full)
        return;
    frontend->is_room_watched = is_full;
    epoll_ctl(frontend->epoll_fd, EPOLL_CTL_MOD, frontend->channel.fd, &event);
}

/* 0: all is sent; -EAGAIN: the back-end has to read first. */
static int flush(struct shunt_frontend *frontend, struct shunt_error *error)
{
    struct shunt_error cause;
    int result = channel_flush(&frontend->channel, &cause);

    watch_room(frontend, result == -EAGAIN);
    if (result < 0 && result != -EAGAIN)
        error_set(error, result, "sending to the back-end: %s", strerror(-result));
    return result;
}

static void say_what_is_awaited(struct shunt_frontend *frontend, const struct frontend_step *step)
{
    if (!frontend->is_running)
        snprintf(frontend->reason, sizeof(frontend->reason),
                 "waiting for the back-end to answer %s", step->name);
}

static int send_item(struct shunt_frontend *frontend, const struct frontend_step *step,
                     struct shunt_error *error)
{
    struct frontend_sequence *sequence = &frontend->sequence;
    struct wire_message message = {.header = {step->request, WIRE_VERSION, 0}};
    bool is_acknowledged = !step->answered &&
                           frontend_has_protocol(frontend, WIRE_PROTOCOL_F_REPLY_ACK);
    int result = step->make(frontend, sequence->item, &message);

    if (result < 0) {
        wire_close_fds(&message);
        return error_set(error, result, "%s cannot be sent: %s", step->name, strerror(-result));
    }
    /* Whether the back-end knows of acknowledgements is what SET_PROTOCOL_FEATURES tells it. */
    if (is_acknowledged && step->request != WIRE_SET_PROTOCOL_FEATURES)
        message.header.flags |= WIRE_FLAG_NEED_REPLY;
    sequence->is_awaiting = step->answered || (message.header.flags & WIRE_FLAG_NEED_REPLY);
    if (sequence->is_awaiting)
        say_what_is_awaited(frontend, step);
    else
        sequence->item++;
    channel_put(&frontend->channel, &message);
    return 0;
}

/* The step that has something to be sent, or NULL at the end of the phase. */
static const struct frontend_step *next_step(struct shunt_frontend *frontend)
{
    struct frontend_sequence *sequence = &frontend->sequence;

    for (;; sequence->step++, sequence->item = 0) {
        const struct frontend_step *step = frontend_step_at(sequence->step);

        if (!step || step->phase != sequence->phase)
            return NULL;
        if (sequence->item < (step->num ? step->num(frontend) : 1))
            return step;
    }
}

int frontend_sequence_continue(struct shunt_frontend *frontend, struct shunt_error *error)
{
    struct frontend_sequence *sequence = &frontend->sequence;
    int result = flush(frontend, error);

    while (result == 0 && !sequence->is_awaiting && frontend->channel.fd >= 0) {
        const struct frontend_step *step;

        if (sequence->phase == PHASE_NONE) {
            if (sequence->due == 0)
                return 0;
            result = begin_phase(frontend, error);
            continue;
        }
        step = next_step(frontend);
        if (!step) {
            result = end_phase(frontend, error);
            continue;
        }
        result = send_item(frontend, step, error);
        if (result == 0)
            result = flush(frontend, error);
    }
    return result == -EAGAIN ? 0 : result;
}

/* The step whose answer this is; NULL: that of none. */
static const struct frontend_step *awaited_step(const struct shunt_frontend *frontend,
                                                const struct wire_message *message,
                                                struct shunt_error *error)
{
    const struct frontend_sequence *sequence = &frontend->sequence;
    const struct frontend_step *step = sequence->is_awaiting ? frontend_step_at(sequence->step)
                                                             : NULL;

    if (step && message->header.request == (uint32_t)step->request &&
        (message->header.flags & WIRE_FLAG_REPLY))
        return step;
    error_set(error, -EPROTO, "the back-end sent message %u, which is no answer to %s",
              message->header.request, step ? step->name : "anything");
    return NULL;
}

int frontend_sequence_answer(struct shunt_frontend *frontend, const struct wire_message *message,
                             struct shunt_error *error)
{
    struct frontend_sequence *sequence = &frontend->sequence;
    const struct frontend_step *step = awaited_step(frontend, message, error);
    uint32_t min_bytes;

    if (!step)
        return -EPROTO;
    min_bytes = step->answered ? step->min_bytes : sizeof(uint64_t);
    if (message->header.size < min_bytes)
        return error_set(error, -EPROTO, "the back-end answered %s with %u bytes instead of %u",
                         step->name, message->header.size, min_bytes);
    sequence->is_awaiting = false;
    sequence->item++;
    if (step->answered)
        return step->answered(frontend, message, error);
    if (message->payload.u64 == 0)
        return 0;
    return error_set(error, -EREMOTEIO, "the back-end refused %s of item %u with %" PRIu64,
                     step->name, sequence->item - 1, message->payload.u64);
}
