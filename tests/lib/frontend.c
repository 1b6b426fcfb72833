/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/frontend.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#define TIMEOUT_MS 10000
#define IDLE_MS    1
#define MAX_FDS    253 /* more than the kernel passes in one message */

struct header {
    uint32_t request;
    uint32_t flags;
    uint32_t size;
};

static int64_t now_ms(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

/* --- The connection --------------------------------------------------------------------------------- */

static int make_address(struct sockaddr_un *address, const char *path)
{
    size_t len = strlen(path);

    *address = (struct sockaddr_un){.sun_family = AF_UNIX};
    if (len >= sizeof(address->sun_path))
        return -ENAMETOOLONG;
    memcpy(address->sun_path, path, len);
    return 0;
}

void frontend_adopt(struct frontend *frontend, int fd)
{
    *frontend = (struct frontend){.fd = fd, .timeout_ms = TIMEOUT_MS};
}

int frontend_open(struct frontend *frontend, const char *path)
{
    struct sockaddr_un address;

    frontend_adopt(frontend, -1);
    if (make_address(&address, path) < 0)
        return -ENAMETOOLONG;
    frontend->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (frontend->fd < 0)
        return -errno;
    if (connect(frontend->fd, (const struct sockaddr *)&address, sizeof(address)) < 0) {
        int result = -errno;

        frontend_close(frontend);
        return result;
    }
    return 0;
}

void frontend_close(struct frontend *frontend)
{
    if (frontend->fd >= 0)
        close(frontend->fd);
    frontend->fd = -1;
}

/* Until the socket is ready for `events`. */
static int wait_ready(const struct frontend *frontend, short events)
{
    int64_t deadline_ms = now_ms() + frontend->timeout_ms;

    for (;;) {
        struct pollfd socket = {.fd = frontend->fd, .events = events};
        int64_t left_ms = deadline_ms - now_ms();

        if (frontend->idle)
            frontend->idle(frontend->idle_ctx);
        if (frontend->idle && left_ms > IDLE_MS)
            left_ms = IDLE_MS;
        if (poll(&socket, 1, left_ms > 0 ? (int)left_ms : 0) > 0)
            return 0;
        if (now_ms() >= deadline_ms)
            return -ETIMEDOUT;
    }
}

int frontend_listen(const char *path)
{
    struct sockaddr_un address;
    int result = make_address(&address, path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -errno;
    if (result == 0 &&
        (bind(fd, (const struct sockaddr *)&address, sizeof(address)) < 0 || listen(fd, 1) < 0))
        result = -errno;
    if (result == 0)
        return fd;
    close(fd);
    return result;
}

int frontend_accept(struct frontend *frontend, int listener_fd, void (*idle)(void *ctx), void *ctx)
{
    int result, fd;

    frontend_adopt(frontend, listener_fd);
    frontend->idle = idle;
    frontend->idle_ctx = ctx;
    result = wait_ready(frontend, POLLIN);
    fd = result == 0 ? accept4(listener_fd, NULL, NULL, SOCK_CLOEXEC) : -1;
    frontend->fd = fd;
    if (result < 0)
        return result;
    return fd < 0 ? -errno : 0;
}

/* All of `len` bytes. */
static int receive_bytes(struct frontend *frontend, void *to, size_t len)
{
    uint8_t *bytes = to;

    while (len > 0) {
        int result = wait_ready(frontend, POLLIN);
        ssize_t num;

        if (result < 0)
            return result;
        num = recv(frontend->fd, bytes, len, MSG_DONTWAIT);
        if (num == 0 || (num < 0 && errno == ECONNRESET))
            return -EPIPE;
        if (num < 0 && errno != EAGAIN && errno != EINTR)
            return -errno;
        if (num > 0) {
            bytes += num;
            len -= (size_t)num;
        }
    }
    return 0;
}

int frontend_wait_closed(struct frontend *frontend)
{
    char byte;
    int result;

    do
        result = receive_bytes(frontend, &byte, 1);
    while (result == 0);
    return result == -EPIPE ? 0 : result;
}

int frontend_sync(struct frontend *frontend)
{
    uint64_t features;

    return frontend_ask_u64(frontend, FRONTEND_GET_FEATURES, &features);
}

/* --- Any message ------------------------------------------------------------------------------------ */

static void attach_fds(struct msghdr *header, const int *fds, unsigned num_fds)
{
    struct cmsghdr *control;

    header->msg_controllen = CMSG_SPACE(num_fds * sizeof(fds[0]));
    control = CMSG_FIRSTHDR(header);
    control->cmsg_level = SOL_SOCKET;
    control->cmsg_type = SCM_RIGHTS;
    control->cmsg_len = CMSG_LEN(num_fds * sizeof(fds[0]));
    memcpy(CMSG_DATA(control), fds, num_fds * sizeof(fds[0]));
}

/* Sends what the socket takes now. Bytes, 0 when it takes none, or -errno. */
static ssize_t send_some(struct frontend *frontend, const uint8_t *bytes, size_t len,
                         const int *fds, unsigned num_fds)
{
    union {
        char bytes[CMSG_SPACE(MAX_FDS * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = len};
    struct msghdr header = {.msg_iov = &iov, .msg_iovlen = 1};
    ssize_t num;

    if (num_fds > 0) {
        header.msg_control = &control;
        attach_fds(&header, fds, num_fds);
    }
    num = sendmsg(frontend->fd, &header, MSG_DONTWAIT | MSG_NOSIGNAL);
    if (num >= 0)
        return num;
    if (errno == EAGAIN || errno == EINTR)
        return 0;
    return errno == ECONNRESET ? -EPIPE : -errno;
}

int frontend_send_bytes(struct frontend *frontend, const void *bytes, size_t len, const int *fds,
                        unsigned num_fds)
{
    const uint8_t *from = bytes;

    while (len > 0) {
        ssize_t num = send_some(frontend, from, len, fds, num_fds);

        if (num < 0)
            return (int)num;
        if (num == 0) {
            int result = wait_ready(frontend, POLLOUT);

            if (result < 0)
                return result;
            continue;
        }
        num_fds = 0;
        from += num;
        len -= (size_t)num;
    }
    return 0;
}

int frontend_send(struct frontend *frontend, uint32_t request, uint32_t flags, uint32_t size,
                  const void *payload, size_t len, const int *fds, unsigned num_fds)
{
    struct header header = {request, flags, size};
    uint8_t *bytes = malloc(sizeof(header) + len);
    int result;

    if (!bytes)
        return -ENOMEM;
    memcpy(bytes, &header, sizeof(header));
    if (len > 0)
        memcpy(bytes + sizeof(header), payload, len);
    result = frontend_send_bytes(frontend, bytes, sizeof(header) + len, fds, num_fds);
    free(bytes);
    return result;
}

int frontend_receive(struct frontend *frontend, struct frontend_message *message)
{
    struct header header;
    int result = receive_bytes(frontend, &header, sizeof(header));

    if (result < 0)
        return result;
    if (header.size > sizeof(message->payload))
        return -EPROTO;
    message->request = header.request;
    message->flags = header.flags;
    message->size = header.size;
    return receive_bytes(frontend, message->payload, header.size);
}

/* Reads the first byte of what comes next, with which descriptors travel. */
static int receive_first(struct frontend *frontend, void *byte, int *fd)
{
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {.iov_base = byte, .iov_len = 1};
    struct msghdr header = {
        .msg_iov = &iov,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    const struct cmsghdr *found;
    int result = wait_ready(frontend, POLLIN);
    ssize_t num;

    if (result < 0)
        return result;
    num = recvmsg(frontend->fd, &header, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (num <= 0)
        return num == 0 || errno == ECONNRESET ? -EPIPE : -errno;
    found = CMSG_FIRSTHDR(&header);
    *fd = -1;
    if (found && found->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(found), sizeof(*fd));
    return 0;
}

int frontend_receive_fd(struct frontend *frontend, struct frontend_message *message, int *fd)
{
    struct header header;
    int result = receive_first(frontend, &header, fd);

    if (result == 0)
        result = receive_bytes(frontend, (uint8_t *)&header + 1, sizeof(header) - 1);
    if (result < 0)
        return result;
    if (header.size > sizeof(message->payload))
        return -EPROTO;
    message->request = header.request;
    message->flags = header.flags;
    message->size = header.size;
    return receive_bytes(frontend, message->payload, header.size);
}

int frontend_open_requests(struct frontend *frontend, struct frontend *requests)
{
    int fds[2], result;

    frontend_adopt(requests, -1);
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) < 0)
        return -errno;
    frontend_adopt(requests, fds[0]);
    requests->idle = frontend->idle;
    requests->idle_ctx = frontend->idle_ctx;
    result = frontend_call(frontend, FRONTEND_SET_BACKEND_REQ_FD, NULL, 0, &fds[1], 1);
    close(fds[1]);
    return result;
}

int frontend_answer(struct frontend *requests, uint32_t request, uint64_t value)
{
    return frontend_send(requests, request, FRONTEND_VERSION | FRONTEND_REPLY, sizeof(value),
                         &value, sizeof(value), NULL, 0);
}

static int check_answer(uint32_t request, const struct frontend_message *answer)
{
    bool is_reply = answer->flags == (FRONTEND_VERSION | FRONTEND_REPLY);

    return answer->request == request && is_reply ? 0 : -EPROTO;
}

/* The answer to `request`, if it is that. */
static int receive_answer(struct frontend *frontend, uint32_t request,
                          struct frontend_message *answer)
{
    int result = frontend_receive(frontend, answer);

    return result < 0 ? result : check_answer(request, answer);
}

static int answer_u64(const struct frontend_message *answer, uint64_t *value)
{
    if (answer->size != sizeof(*value))
        return -EPROTO;
    memcpy(value, answer->payload, sizeof(*value));
    return 0;
}

int frontend_call(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                  const int *fds, unsigned num_fds)
{
    bool wants_ack = frontend->wants_acks &&
                     (frontend->protocol_features & FRONTEND_PROTOCOL_F_REPLY_ACK);
    uint32_t flags = FRONTEND_VERSION | (wants_ack ? FRONTEND_NEED_REPLY : 0);
    struct frontend_message answer;
    uint64_t failure;
    int result;

    result = frontend_send(frontend, request, flags, size, payload, size, fds, num_fds);
    if (result < 0 || !wants_ack)
        return result;
    result = receive_answer(frontend, request, &answer);
    if (result == 0)
        result = answer_u64(&answer, &failure);
    if (result < 0)
        return result;
    return failure ? -EREMOTEIO : 0;
}

int frontend_ask(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                 struct frontend_message *answer)
{
    int result;

    result = frontend_send(frontend, request, FRONTEND_VERSION, size, payload, size, NULL, 0);
    return result < 0 ? result : receive_answer(frontend, request, answer);
}

int frontend_ask_with(struct frontend *frontend, uint32_t request, const void *payload,
                      uint32_t size, const int *fds, unsigned num_fds,
                      struct frontend_message *answer)
{
    int result = frontend_send(frontend, request, FRONTEND_VERSION, size, payload, size, fds,
                               num_fds);

    return result < 0 ? result : receive_answer(frontend, request, answer);
}

int frontend_ask_fd(struct frontend *frontend, uint32_t request, const void *payload, uint32_t size,
                    struct frontend_message *answer, int *fd)
{
    int result;

    result = frontend_send(frontend, request, FRONTEND_VERSION, size, payload, size, NULL, 0);
    if (result == 0)
        result = frontend_receive_fd(frontend, answer, fd);
    return result < 0 ? result : check_answer(request, answer);
}

int frontend_ask_u64(struct frontend *frontend, uint32_t request, uint64_t *value)
{
    struct frontend_message answer;
    int result = frontend_ask(frontend, request, NULL, 0, &answer);

    return result < 0 ? result : answer_u64(&answer, value);
}

/* --- The messages ----------------------------------------------------------------------------------- */

int frontend_set_features(struct frontend *frontend, uint64_t features)
{
    frontend->features = features;
    return frontend_call(frontend, FRONTEND_SET_FEATURES, &features, sizeof(features), NULL, 0);
}

/* The message is acknowledged only if REPLY_ACK was there before it. */
int frontend_set_protocol_features(struct frontend *frontend, uint64_t features)
{
    int result;

    result = frontend_call(frontend, FRONTEND_SET_PROTOCOL_FEATURES, &features, sizeof(features),
                           NULL, 0);
    frontend->protocol_features = features;
    return result;
}

static int negotiate_protocol(struct frontend *frontend, uint64_t wanted)
{
    uint64_t offered;
    int result = frontend_ask_u64(frontend, FRONTEND_GET_PROTOCOL_FEATURES, &offered);

    if (wanted == UINT64_MAX)
        wanted = FRONTEND_PROTOCOL_USUAL;
    return result < 0 ? result : frontend_set_protocol_features(frontend, offered & wanted);
}

int frontend_negotiate(struct frontend *frontend, uint64_t features, uint64_t protocol_features)
{
    uint64_t offered;
    int result = frontend_ask_u64(frontend, FRONTEND_GET_FEATURES, &offered);

    features &= offered;
    if (result == 0 && (features & FRONTEND_F_PROTOCOL_FEATURES))
        result = negotiate_protocol(frontend, protocol_features);
    if (result == 0)
        result = frontend_call(frontend, FRONTEND_SET_OWNER, NULL, 0, NULL, 0);
    return result < 0 ? result : frontend_set_features(frontend, features);
}

int frontend_set_memory(struct frontend *frontend, const struct frontend_region *regions,
                        const int *fds, unsigned num)
{
    struct {
        uint32_t num;
        uint32_t padding;
        struct frontend_region regions[FRONTEND_MAX_REGIONS];
    } table = {.num = num};
    uint32_t size = 8 + num * (uint32_t)sizeof(regions[0]);

    if (num > 0)
        memcpy(table.regions, regions, num * sizeof(regions[0]));
    return frontend_call(frontend, FRONTEND_SET_MEM_TABLE, &table, size, fds, num);
}

static int send_region(struct frontend *frontend, uint32_t request,
                       const struct frontend_region *region, const int *fds, unsigned num_fds)
{
    struct {
        uint64_t padding;
        struct frontend_region region;
    } payload = {.region = *region};

    return frontend_call(frontend, request, &payload, sizeof(payload), fds, num_fds);
}

int frontend_add_region(struct frontend *frontend, const struct frontend_region *region, int fd)
{
    return send_region(frontend, FRONTEND_ADD_MEM_REG, region, &fd, 1);
}

int frontend_remove_region(struct frontend *frontend, const struct frontend_region *region)
{
    return send_region(frontend, FRONTEND_REM_MEM_REG, region, NULL, 0);
}

int frontend_set_state(struct frontend *frontend, uint32_t request, unsigned idx, uint32_t num)
{
    struct frontend_state state = {idx, num};

    return frontend_call(frontend, request, &state, sizeof(state), NULL, 0);
}

int frontend_set_addresses(struct frontend *frontend, unsigned idx,
                           const struct frontend_ring *ring)
{
    struct frontend_addresses addresses = {
        .idx = idx,
        .descriptor = ring->descriptor,
        .used = ring->used,
        .available = ring->available,
    };

    return frontend_call(frontend, FRONTEND_SET_VRING_ADDR, &addresses, sizeof(addresses), NULL, 0);
}

int frontend_set_fd(struct frontend *frontend, uint32_t request, unsigned idx, int fd)
{
    uint64_t payload = fd < 0 ? idx | FRONTEND_NO_FD : idx;

    return frontend_call(frontend, request, &payload, sizeof(payload), &fd, fd >= 0);
}

int frontend_setup_ring(struct frontend *frontend, unsigned idx, const struct frontend_ring *ring)
{
    int result = frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, idx, ring->size);

    if (result == 0)
        result = frontend_set_state(frontend, FRONTEND_SET_VRING_BASE, idx, ring->base);
    if (result == 0)
        result = frontend_set_addresses(frontend, idx, ring);
    if (result == 0)
        result = frontend_set_fd(frontend, FRONTEND_SET_VRING_KICK, idx, ring->kick_fd);
    if (result == 0)
        result = frontend_set_fd(frontend, FRONTEND_SET_VRING_CALL, idx, ring->call_fd);
    return result;
}

int frontend_enable(struct frontend *frontend, unsigned idx, bool enable)
{
    return frontend_set_state(frontend, FRONTEND_SET_VRING_ENABLE, idx, enable);
}

int frontend_get_base(struct frontend *frontend, unsigned idx, uint32_t *base)
{
    struct frontend_state state = {.idx = idx};
    struct frontend_message answer;
    int result = frontend_ask(frontend, FRONTEND_GET_VRING_BASE, &state, sizeof(state), &answer);

    if (result < 0)
        return result;
    if (answer.size != sizeof(state))
        return -EPROTO;
    memcpy(&state, answer.payload, sizeof(state));
    *base = state.num;
    return state.idx == idx ? 0 : -EPROTO;
}

int frontend_get_config(struct frontend *frontend, uint32_t offset, void *data, uint32_t len)
{
    struct frontend_config config = {.offset = offset, .size = len};
    uint32_t size = FRONTEND_CONFIG_HEADER_BYTES + len;
    struct frontend_message answer;
    int result = frontend_ask(frontend, FRONTEND_GET_CONFIG, &config, size, &answer);

    if (result < 0)
        return result;
    if (answer.size == 0)
        return -EREMOTEIO;
    if (answer.size != size || memcmp(answer.payload, &config, FRONTEND_CONFIG_HEADER_BYTES) != 0)
        return -EPROTO;
    memcpy(data, answer.payload + FRONTEND_CONFIG_HEADER_BYTES, len);
    return 0;
}

int frontend_set_config(struct frontend *frontend, uint32_t offset, const void *data, uint32_t len)
{
    struct frontend_config config = {.offset = offset, .size = len};

    memcpy(config.data, data, len);
    return frontend_call(frontend, FRONTEND_SET_CONFIG, &config, FRONTEND_CONFIG_HEADER_BYTES + len,
                         NULL, 0);
}

/* --- Eventfds --------------------------------------------------------------------------------------- */

int frontend_eventfd(void)
{
    int fd = eventfd(0, EFD_CLOEXEC);

    return fd < 0 ? -errno : fd;
}

void frontend_kick(int fd)
{
    uint64_t one = 1;

    while (write(fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

int frontend_wait_event(int fd, int timeout_ms)
{
    struct pollfd event = {.fd = fd, .events = POLLIN};
    uint64_t count;

    if (poll(&event, 1, timeout_ms) <= 0)
        return -ETIMEDOUT;
    return read(fd, &count, sizeof(count)) < 0 ? -errno : 0;
}
