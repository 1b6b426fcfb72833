/* SPDX-License-Identifier: BSD-3-Clause */
#include "vhost_user/channel.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error.h"

void channel_open(struct channel *channel, int fd)
{
    memset(channel, 0, sizeof(*channel));
    channel->fd = fd;
}

void channel_close(struct channel *channel)
{
    if (channel->fd < 0)
        return;
    wire_close_fds(&channel->incoming);
    wire_close_fds(&channel->outgoing);
    close(channel->fd);
    channel->fd = -1;
    channel->received = 0;
    channel->unsent = 0;
}

void wire_close_fds(struct wire_message *message)
{
    for (unsigned i = 0; i < message->num_fds; i++) {
        if (message->fds[i] >= 0)
            close(message->fds[i]);
    }
    message->num_fds = 0;
}

int wire_take_fd(struct wire_message *message, unsigned idx)
{
    int fd;

    if (idx >= message->num_fds)
        return -1;
    fd = message->fds[idx];
    message->fds[idx] = -1;
    return fd;
}

/* Keeps as many of the descriptors as a message may have; false if there were more. */
static bool keep_fds(struct wire_message *message, const struct cmsghdr *control)
{
    size_t num = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    const unsigned char *data = CMSG_DATA(control);
    bool all_fit = true;

    for (size_t i = 0; i < num; i++) {
        int fd;

        memcpy(&fd, data + i * sizeof(fd), sizeof(fd));
        if (message->num_fds < WIRE_MAX_FDS) {
            message->fds[message->num_fds++] = fd;
        } else {
            close(fd);
            all_fit = false;
        }
    }
    return all_fit;
}

/* Reads up to `len` bytes to `to`, and what descriptors come with them. Bytes, 0 or -errno. */
static ssize_t receive_some(struct channel *channel, void *to, size_t len,
                            struct shunt_error *error)
{
    /* Room for more than are allowed, so that a surplus arrives and can be closed. */
    union {
        char bytes[CMSG_SPACE(sizeof(int) * (WIRE_MAX_FDS + 1))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = to, .iov_len = len};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    bool all_fit = true;
    ssize_t num;

    do
        num = recvmsg(channel->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    while (num < 0 && errno == EINTR);
    if (num < 0 && errno == EAGAIN)
        return 0;
    if (num < 0)
        return error_set(error, -errno, "receiving from the front-end: %m");
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&header); c; c = CMSG_NXTHDR(&header, c)) {
        if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
            all_fit &= keep_fds(&channel->incoming, c);
    }
    if (!all_fit)
        return error_set(error, -EPROTO, "a message with more than %d file descriptors",
                         WIRE_MAX_FDS);
    if (header.msg_flags & MSG_CTRUNC) /* the kernel does not tell which */
        return error_set(error, -EPROTO,
                         "a message with more than %d file descriptors, or this process has as "
                         "many as it may (RLIMIT_NOFILE)",
                         WIRE_MAX_FDS);
    if (num == 0)
        return error_set(error, -EPIPE, "the front-end closed the connection");
    return num;
}

static int check_header(const struct wire_header *header, struct shunt_error *error)
{
    if ((header->flags & WIRE_VERSION_MASK) != WIRE_VERSION)
        return error_set(error, -EPROTO, "message %u has protocol version %u instead of %u",
                         header->request, header->flags & WIRE_VERSION_MASK, WIRE_VERSION);
    if (header->size > sizeof(union wire_payload))
        return error_set(error, -EPROTO, "message %u has a payload of %u bytes, more than any has",
                         header->request, header->size);
    return 0;
}

int channel_receive(struct channel *channel, struct wire_message *message,
                    struct shunt_error *error)
{
    struct wire_message *incoming = &channel->incoming;
    const size_t header_bytes = sizeof(incoming->header);

    for (;;) {
        size_t wanted = header_bytes;
        ssize_t num;
        uint8_t *to;

        if (channel->received >= header_bytes)
            wanted += incoming->header.size;
        if (channel->received == wanted)
            break;
        to = channel->received < header_bytes
                 ? (uint8_t *)&incoming->header + channel->received
                 : (uint8_t *)&incoming->payload + (channel->received - header_bytes);
        num = receive_some(channel, to, wanted - channel->received, error);
        if (num <= 0)
            return (int)num;
        channel->received += (size_t)num;
        if (channel->received == header_bytes) {
            int result = check_header(&incoming->header, error);

            if (result < 0)
                return result;
        }
    }
    *message = *incoming;
    incoming->num_fds = 0;
    channel->received = 0;
    return 1;
}

static void attach_fds(struct msghdr *header, const int *fds, unsigned num_fds)
{
    struct cmsghdr *control = CMSG_FIRSTHDR(header);

    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(num_fds * sizeof(fds[0]));
    memcpy(CMSG_DATA(control), fds, num_fds * sizeof(fds[0]));
}

/* Sends what the socket takes of the message from byte `offset` on. Bytes or -errno. */
static ssize_t send_some(const struct channel *channel, const struct wire_message *message,
                         size_t offset, const int *fds, unsigned num_fds)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int) * WIRE_MAX_FDS)];
        struct cmsghdr align;
    } control = {0};
    size_t header_left = offset < sizeof(message->header) ? sizeof(message->header) - offset : 0;
    size_t payload_left = sizeof(message->header) + message->header.size - offset - header_left;
    const uint8_t *payload_end = (const uint8_t *)&message->payload + message->header.size;
    const uint8_t *header_end = (const uint8_t *)(&message->header + 1);
    struct iovec iov[2] = {
        {.iov_base = (void *)(uintptr_t)(header_end - header_left), .iov_len = header_left},
        {.iov_base = (void *)(uintptr_t)(payload_end - payload_left), .iov_len = payload_left},
    };
    struct msghdr header = {.msg_iov = iov, .msg_iovlen = 2};
    ssize_t num;

    if (num_fds > 0) {
        header.msg_control = &control;
        header.msg_controllen = CMSG_SPACE(num_fds * sizeof(fds[0]));
        attach_fds(&header, fds, num_fds);
    }
    do
        num = sendmsg(channel->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    while (num < 0 && errno == EINTR);
    return num < 0 ? -errno : num;
}

static size_t message_bytes(const struct wire_message *message)
{
    return sizeof(message->header) + message->header.size;
}

static int send_reply(struct channel *channel, const struct wire_message *message, const int *fds,
                      unsigned num_fds, struct shunt_error *error)
{
    ssize_t num = send_some(channel, message, 0, fds, num_fds);

    if (num < 0)
        return error_set(error, (int)num, "replying to message %u: %s", message->header.request,
                         strerror((int)-num));
    if ((size_t)num < message_bytes(message))
        return error_set(error, -EAGAIN, "replying to message %u: the front-end does not read",
                         message->header.request);
    return 0;
}

int channel_send(struct channel *channel, const struct wire_message *message,
                 struct shunt_error *error)
{
    return send_reply(channel, message, NULL, 0, error);
}

int channel_send_fd(struct channel *channel, const struct wire_message *message, int fd,
                    struct shunt_error *error)
{
    return send_reply(channel, message, &fd, 1, error);
}

void channel_put(struct channel *channel, struct wire_message *message)
{
    channel->outgoing = *message;
    channel->unsent = message_bytes(message);
    message->num_fds = 0;
}

bool channel_is_flushed(const struct channel *channel)
{
    return channel->unsent == 0;
}

/* Descriptors travel with the first byte. */
int channel_flush(struct channel *channel, struct shunt_error *error)
{
    struct wire_message *outgoing = &channel->outgoing;

    while (channel->unsent > 0) {
        ssize_t num = send_some(channel, outgoing, message_bytes(outgoing) - channel->unsent,
                                outgoing->fds, outgoing->num_fds);

        if (num < 0)
            return error_set(error, (int)num, "sending to the front-end: %s", strerror((int)-num));
        wire_close_fds(outgoing);
        channel->unsent -= (size_t)num;
    }
    return 0;
}
