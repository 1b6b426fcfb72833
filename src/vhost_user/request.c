/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * What we have to tell or ask the front-end, on the request channel.
 *
 * A front-end need not read, and we neither block nor keep lists for it. What is due is state, a bit for
 * each kind of request and queue; the misses themselves stay in the queues. One message is on its way at a
 * time:
 *
 *     due ── make_…() ──▶ channel.outgoing ── the socket takes it ──▶ asked, if there is an answer
 *                              │                                          │
 *                     the socket is full: EPOLLOUT                answers come in order
 *
 * Misses are answered, where REPLY_ACK was negotiated, once the front-end has sent the update, or because it
 * will not: then the guest may not access the address, and the queue that asked breaks. While too many
 * answers are outstanding no more is asked.
 *
 * While the device is suspended nothing is sent ("Suspended device state"): what is due of it waits for a
 * ring to start. A front-end may close the channel, and set another; it may not send rubbish on it.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"
#include "vhost_user/backend.h"

/* So much is received in one dispatch. */
#define ANSWERS_PER_DISPATCH 64

/* --- Making messages -------------------------------------------------------------------------------- */

/* Makes the message; false: it is not due any more. Clears the bit when nothing more of the kind is due. */
typedef bool request_maker(struct shunt_backend *backend, unsigned idx,
                           struct wire_message *message);

static void clear_due(struct backend_queue *queue, enum request request)
{
    queue->requests_due &= ~(1u << request);
}

static void set_header(struct wire_message *message, enum wire_backend_request request,
                       uint32_t size)
{
    message->header = (struct wire_header){request, WIRE_VERSION, size};
}

/* Notes that the message is to be answered, if the front-end can. */
static void expect_answer(struct shunt_backend *backend, struct wire_message *message,
                          unsigned queue_idx, uint64_t io_addr, unsigned access)
{
    struct request_channel *requests = &backend->requests;

    if (!backend_has_protocol(backend, WIRE_PROTOCOL_F_REPLY_ACK))
        return;
    message->header.flags |= WIRE_FLAG_NEED_REPLY;
    requests->asked[requests->num_asked++ % REQUEST_MAX_ASKED] =
        (struct request_asked){message->header.request, queue_idx, io_addr, access};
}

static bool make_call(struct shunt_backend *backend, unsigned idx, struct wire_message *message)
{
    set_header(message, WIRE_BACKEND_VRING_CALL, sizeof(message->payload.state));
    message->payload.state = (struct wire_vring_state){.idx = idx};
    clear_due(&backend->queues[idx], REQUEST_CALL);
    return true;
}

static bool make_error(struct shunt_backend *backend, unsigned idx, struct wire_message *message)
{
    set_header(message, WIRE_BACKEND_VRING_ERR, sizeof(message->payload.state));
    message->payload.state = (struct wire_vring_state){.idx = idx};
    clear_due(&backend->queues[idx], REQUEST_ERROR);
    return true;
}

static void make_iotlb(struct wire_message *message, uint8_t type, uint64_t io_addr,
                       unsigned access)
{
    set_header(message, WIRE_BACKEND_IOTLB_MSG, sizeof(message->payload.iotlb));
    message->payload.iotlb = (struct wire_iotlb){
        .io_addr = io_addr,
        .access = (uint8_t)access,
        .type = type,
    };
}

/* Takes a miss of the queue that nobody asked for yet. */
static bool take_miss(struct shunt_virtqueue *virtqueue, struct iotlb_miss *miss)
{
    bool is_there = false;

    shunt_virtqueue_lock(virtqueue);
    for (unsigned i = 0; i < virtqueue->num_misses && !is_there; i++) {
        is_there = !virtqueue->misses[i].is_asked;
        virtqueue->misses[i].is_asked = true;
        *miss = virtqueue->misses[i];
    }
    shunt_virtqueue_unlock(virtqueue);
    return is_there;
}

static bool make_miss(struct shunt_backend *backend, unsigned idx, struct wire_message *message)
{
    struct iotlb_miss miss;

    if (!take_miss(backend->queues[idx].virtqueue, &miss)) {
        clear_due(&backend->queues[idx], REQUEST_MISS);
        return false;
    }
    make_iotlb(message, WIRE_IOTLB_MISS, miss.io_addr, miss.access);
    expect_answer(backend, message, idx, miss.io_addr, miss.access);
    return true;
}

static bool make_access_fail(struct shunt_backend *backend, unsigned idx,
                             struct wire_message *message)
{
    struct backend_queue *queue = &backend->queues[idx];

    make_iotlb(message, WIRE_IOTLB_ACCESS_FAIL, queue->refused_addr, queue->refused_access);
    clear_due(queue, REQUEST_ACCESS_FAIL);
    return true;
}

static bool make_host_notifier(struct shunt_backend *backend, unsigned idx,
                               struct wire_message *message)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct host_notifier *notifier = &queue->host_notifier;

    set_header(message, WIRE_BACKEND_VRING_HOST_NOTIFIER_MSG, sizeof(message->payload.area));
    message->payload.area = (struct wire_area){
        .idx = idx | (notifier->fd < 0 ? WIRE_VRING_FD_NONE : 0),
        .size = notifier->size,
        .offset = notifier->offset,
    };
    if (notifier->fd >= 0)
        message->fds[message->num_fds++] = notifier->fd;
    notifier->fd = -1;
    expect_answer(backend, message, idx, 0, 0);
    clear_due(queue, REQUEST_HOST_NOTIFIER);
    return true;
}

static request_maker *const makers[] = {
    [REQUEST_CALL] = make_call,
    [REQUEST_ERROR] = make_error,
    [REQUEST_MISS] = make_miss,
    [REQUEST_ACCESS_FAIL] = make_access_fail,
    [REQUEST_HOST_NOTIFIER] = make_host_notifier,
};
static_assert(sizeof(makers) / sizeof(makers[0]) == REQUEST_NUM,
              "each request is made by something");

#define ANSWERED_REQUESTS (1u << REQUEST_MISS | 1u << REQUEST_HOST_NOTIFIER)

/* --- Sending ---------------------------------------------------------------------------------------- */

static void close_channel(struct shunt_backend *backend)
{
    if (backend->requests.channel.fd < 0)
        return;
    backend_unwatch(backend, backend->requests.channel.fd);
    channel_close(&backend->requests.channel);
}

/* Whoever is at the other end went away or broke it: there is nobody to tell more. */
static void lose_channel(struct shunt_backend *backend, const struct shunt_error *cause)
{
    close_channel(backend);
    if (log_limit_allows(&backend->log_limit, backend->name))
        log_warning(backend->name, "the request channel is lost: %s", cause->text);
}

/* Only while the socket is full do we want to know when it is not. */
static void watch_room(struct shunt_backend *backend, bool is_full)
{
    struct epoll_event event = {
        .events = is_full ? EPOLLIN | EPOLLOUT : EPOLLIN,
        .data.u64 = EVENT_REQUEST,
    };

    if (backend->requests.is_full == is_full)
        return;
    backend->requests.is_full = is_full;
    epoll_ctl(backend->epoll_fd, EPOLL_CTL_MOD, backend->requests.channel.fd, &event);
}

/* Whether the socket took all that it was given. */
static bool flush(struct shunt_backend *backend)
{
    struct shunt_error error;
    int result = channel_flush(&backend->requests.channel, &error);

    if (result < 0 && result != -EAGAIN) {
        lose_channel(backend, &error);
        return false;
    }
    watch_room(backend, result == -EAGAIN);
    return result == 0;
}

/* Which requests may be made now. */
static unsigned allowed_requests(const struct request_channel *requests)
{
    bool may_ask = requests->num_asked - requests->num_answered < REQUEST_MAX_ASKED;

    return may_ask ? ~0u : ~ANSWERED_REQUESTS;
}

static bool make_for_queue(struct shunt_backend *backend, unsigned idx,
                           struct wire_message *message)
{
    struct backend_queue *queue = &backend->queues[idx];
    unsigned due;

    while ((due = queue->requests_due & allowed_requests(&backend->requests)) != 0) {
        if (makers[__builtin_ctz(due)](backend, idx, message))
            return true;
    }
    return false;
}

static bool make_config_change(struct shunt_backend *backend, struct wire_message *message)
{
    if (!backend->requests.is_config_due)
        return false;
    backend->requests.is_config_due = false;
    set_header(message, WIRE_BACKEND_CONFIG_CHANGE_MSG, 0);
    return true;
}

/* The queues take turns. */
static bool make_next(struct shunt_backend *backend, struct wire_message *message)
{
    unsigned num = backend->config.num_virtqueues;

    if (make_config_change(backend, message))
        return true;
    for (unsigned i = 0; i < num; i++) {
        unsigned idx = (backend->requests.next_queue + i) % num;

        if (make_for_queue(backend, idx, message)) {
            backend->requests.next_queue = (idx + 1) % num;
            return true;
        }
    }
    return false;
}

void request_send(struct shunt_backend *backend)
{
    struct request_channel *requests = &backend->requests;

    if (requests->channel.fd < 0)
        return;
    while (flush(backend) && !backend_is_suspended(backend)) {
        struct wire_message message = {0};

        if (!make_next(backend, &message))
            return;
        channel_put(&requests->channel, &message);
    }
}

static const char no_channel[] =
    "the guest has an IOMMU, and the front-end gave no request channel to "
    "ask it by";

void request_add(struct shunt_backend *backend, unsigned idx, enum request request)
{
    backend->queues[idx].requests_due |= 1u << request;
    if (request == REQUEST_MISS && backend->requests.channel.fd < 0) {
        snprintf(backend->reason, sizeof(backend->reason), "%s", no_channel);
        backend_tell_queue(backend, idx);
    }
    request_send(backend);
}

/* The driver must not miss what was returned before the ring stopped, also if it is the last that did. */
void request_forget_queue(struct shunt_backend *backend, unsigned idx)
{
    struct backend_queue *queue = &backend->queues[idx];
    struct request_channel *requests = &backend->requests;
    bool has_call = queue->requests_due & 1u << REQUEST_CALL;

    queue->requests_due &= 1u << REQUEST_HOST_NOTIFIER;
    if (has_call && requests->channel.fd >= 0 && flush(backend)) {
        struct wire_message message = {0};

        make_call(backend, idx, &message);
        channel_put(&requests->channel, &message);
        flush(backend);
    }
}

/* --- Answers ---------------------------------------------------------------------------------------- */

/* The guest may not access the address. The queue may have been stopped since, and know nothing of it. */
static void refuse_access(struct shunt_backend *backend, const struct request_asked *asked)
{
    struct backend_queue *queue = &backend->queues[asked->queue_idx];
    struct shunt_virtqueue *virtqueue = queue->virtqueue;

    shunt_virtqueue_lock(virtqueue);
    for (unsigned i = 0; i < virtqueue->num_misses; i++) {
        if (virtqueue->misses[i].io_addr != asked->io_addr || !virtqueue->misses[i].is_asked)
            continue;
        queue->refused_addr = asked->io_addr;
        queue->refused_access = asked->access;
        virtqueue_break(virtqueue, FAULT_IO_ACCESS, asked->io_addr);
        break;
    }
    shunt_virtqueue_unlock(virtqueue);
}

static int handle_answer(struct shunt_backend *backend, const struct wire_message *message,
                         struct shunt_error *error)
{
    struct request_channel *requests = &backend->requests;
    const struct request_asked *asked =
        &requests->asked[requests->num_answered % REQUEST_MAX_ASKED];

    if (requests->num_answered == requests->num_asked)
        return error_set(error, -EPROTO, "request channel: an answer to nothing, message %u",
                         message->header.request);
    if (message->header.request != asked->request ||
        message->header.size != sizeof(message->payload.u64) ||
        !(message->header.flags & WIRE_FLAG_REPLY) || message->num_fds > 0)
        return error_set(error, -EPROTO,
                         "request channel: message %u of %u bytes with flags 0x%x is no answer to "
                         "request %u",
                         message->header.request, message->header.size, message->header.flags,
                         asked->request);
    requests->num_answered++;
    if (message->payload.u64 == 0)
        return 0;
    if (asked->request == WIRE_BACKEND_IOTLB_MSG)
        refuse_access(backend, asked);
    else
        log_warning(backend->name, "the front-end refused the host notifier of virtqueue %u",
                    asked->queue_idx);
    return 0;
}

static void receive_answers(struct shunt_backend *backend)
{
    for (unsigned i = 0; i < ANSWERS_PER_DISPATCH && backend->requests.channel.fd >= 0; i++) {
        struct shunt_error error;
        struct wire_message message;
        int result = channel_receive(&backend->requests.channel, &message, &error);

        if (result == 0)
            return;
        if (result < 0 && result != -EPROTO) {
            lose_channel(backend, &error);
            return;
        }
        if (result > 0) {
            result = handle_answer(backend, &message, &error);
            wire_close_fds(&message);
        }
        if (result < 0)
            connection_fail(backend, &error);
    }
}

void request_on_event(struct shunt_backend *backend, unsigned idx)
{
    (void)idx;
    receive_answers(backend);
    request_send(backend);
}

/* --- Life ------------------------------------------------------------------------------------------- */

/* A new channel knows nothing of what was asked on the old one. */
static void ask_again(struct shunt_backend *backend)
{
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        struct shunt_virtqueue *virtqueue = backend->queues[i].virtqueue;

        shunt_virtqueue_lock(virtqueue);
        for (unsigned j = 0; j < virtqueue->num_misses; j++)
            virtqueue->misses[j].is_asked = false;
        if (virtqueue->num_misses > 0)
            backend->queues[i].requests_due |= 1u << REQUEST_MISS;
        shunt_virtqueue_unlock(virtqueue);
    }
}

static int check_channel(const struct shunt_backend *backend, int fd, struct shunt_error *error)
{
    socklen_t len = sizeof(int);
    int type, result;

    if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) < 0)
        return error_set(error, -errno, "the request channel is no socket: %m");
    if (type != SOCK_STREAM)
        return error_set(error, -EINVAL, "the request channel is a socket of type %d, no stream",
                         type);
    result = backend_watch(backend, fd, EVENT_REQUEST, 0);
    if (result < 0)
        return error_set(error, result, "the request channel cannot be watched: %s",
                         strerror(-result));
    return 0;
}

int backend_set_request_fd(struct shunt_backend *backend, int fd, struct shunt_error *error)
{
    struct request_channel *requests = &backend->requests;
    int result = check_channel(backend, fd, error);

    if (result < 0) {
        if (fd >= 0)
            close(fd);
        return result;
    }
    close_channel(backend);
    requests->is_full = false;
    requests->num_asked = 0;
    requests->num_answered = 0;
    channel_open(&requests->channel, fd);
    if (strcmp(backend->reason, no_channel) == 0)
        backend->reason[0] = '\0';
    ask_again(backend);
    request_send(backend);
    return 0;
}

static void close_notifier(struct host_notifier *notifier)
{
    if (notifier->fd >= 0)
        close(notifier->fd);
    notifier->fd = -1;
}

void request_close(struct shunt_backend *backend)
{
    close_channel(backend);
    backend->requests.is_config_due = false;
    for (unsigned i = 0; i < backend->config.num_virtqueues; i++) {
        backend->queues[i].requests_due = 0;
        close_notifier(&backend->queues[i].host_notifier);
    }
}

int shunt_backend_config_changed(struct shunt_backend *backend)
{
    if (!backend_has_protocol(backend, WIRE_PROTOCOL_F_BACKEND_REQ) ||
        !backend_has_protocol(backend, WIRE_PROTOCOL_F_CONFIG))
        return -ENOTSUP;
    backend->requests.is_config_due = true;
    request_send(backend);
    return 0;
}

int shunt_backend_set_host_notifier(struct shunt_backend *backend, unsigned idx, int fd,
                                    uint64_t offset, uint64_t size)
{
    struct host_notifier notifier = {.fd = -1, .offset = offset, .size = size};

    if (!backend_has_protocol(backend, WIRE_PROTOCOL_F_BACKEND_REQ) ||
        !backend_has_protocol(backend, WIRE_PROTOCOL_F_BACKEND_SEND_FD) ||
        !backend_has_protocol(backend, WIRE_PROTOCOL_F_HOST_NOTIFIER) ||
        idx > WIRE_VRING_FD_IDX_MASK)
        return -ENOTSUP;
    if (fd >= 0)
        notifier.fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
    if (fd >= 0 && notifier.fd < 0)
        return -errno;
    close_notifier(&backend->queues[idx].host_notifier);
    backend->queues[idx].host_notifier = notifier;
    request_add(backend, idx, REQUEST_HOST_NOTIFIER);
    return 0;
}
