/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network card that sends every frame back to its guest, source and destination swapped:
 *     cc echo.c -o echo $(pkg-config --cflags --libs shunt) && ./echo --socket-path=/tmp/echo.sock
 */
#include <err.h>
#include <poll.h>
#include <shunt/backend.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

enum { RECEIVEQ, TRANSMITQ }; /* in the guest's words (VIRTIO 1.3, 5.1.2) */
#define HEADER_BYTES 12       /* of virtio-net before each frame, since VIRTIO 1.0 (5.1.6) */
#define MAX_BYTES    65562    /* of both */

static void copy(const struct iovec *piece, uint8_t *bytes, size_t len, bool to_guest)
{
    for (size_t num; len > 0; bytes += num, len -= num, piece++) {
        num = piece->iov_len < len ? piece->iov_len : len;
        memcpy(to_guest ? piece->iov_base : bytes, to_guest ? bytes : piece->iov_base, num);
    }
}

static void turn_round(uint8_t *frame)
{
    uint8_t *ethernet = frame + HEADER_BYTES, destination[6];

    memcpy(frame, (uint8_t[HEADER_BYTES]){[10] = 1}, HEADER_BYTES); /* one buffer, no offload */
    memcpy(destination, ethernet, 6);
    memcpy(ethernet, ethernet + 6, 6);
    memcpy(ethernet + 6, destination, 6);
}

/* Does all that there is to do; what finds no buffer is lost. True: the guest kicks for more. */
static bool work(struct shunt_virtqueue *from, struct shunt_virtqueue *to)
{
    static struct iovec pieces[SHUNT_VIRTQUEUE_MAX_SIZE];
    static uint8_t frame[MAX_BYTES]; /* the guest may change its own at any time */
    struct shunt_chain chain;
    bool may_sleep;

    shunt_virtqueue_lock(from);
    shunt_virtqueue_lock(to);
    while (shunt_virtqueue_pop(from, &chain, pieces, SHUNT_VIRTQUEUE_MAX_SIZE) > 0) {
        uint32_t len = chain.readable_len <= MAX_BYTES ? chain.readable_len : 0;

        copy(pieces, frame, len, false);
        shunt_virtqueue_push(from, &chain, pieces, 0);
        if (len < HEADER_BYTES + 14 || !shunt_virtqueue_is_enabled(from) ||
            shunt_virtqueue_pop(to, &chain, pieces, SHUNT_VIRTQUEUE_MAX_SIZE) <= 0)
            continue;
        turn_round(frame);
        len = len <= chain.writable_len ? len : 0;
        copy(pieces + chain.num_readable, frame, len, true);
        shunt_virtqueue_push(to, &chain, pieces, len);
    }
    shunt_virtqueue_publish(to);
    shunt_virtqueue_publish(from);
    may_sleep = shunt_virtqueue_arm(from);
    shunt_virtqueue_unlock(to);
    shunt_virtqueue_unlock(from);
    return may_sleep;
}

static void end(void *program)
{
    errx(0, "%s ends with its only front-end", (const char *)program);
}

int main(int argc, char **argv) /* options: see vhost-user, "Backend program conventions" */
{
    struct shunt_backend_config config = {"echo", .fd = -1, .num_virtqueues = 2, .queue_num = 1};
    struct shunt_backend_ops ops = {0};
    struct shunt_backend *backend;
    struct shunt_error error = {.text = "exactly one of --socket-path=PATH and --fd=N is needed"};

    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--print-capabilities") == 0)
            return puts("{\"type\": \"net\"}") < 0;
        if (strncmp(argv[i], "--socket-path=", 14) == 0)
            config.socket_path = argv[i] + 14;
        if (strncmp(argv[i], "--fd=", 5) == 0)
            config.fd = (int)strtol(argv[i] + 5, NULL, 10);
    }
    ops.disconnected = config.socket_path ? NULL : end;
    if (!config.socket_path == (config.fd < 0) ||
        shunt_backend_create(&config, &ops, argv[0], &backend, &error) < 0)
        errx(1, "%s", error.text);
    for (;;) {
        struct shunt_virtqueue *from = shunt_backend_virtqueue(backend, TRANSMITQ);
        struct pollfd fds[2] = {{shunt_backend_fd(backend), POLLIN, 0},
                                {shunt_virtqueue_kick_fd(from), POLLIN, 0}};

        poll(fds, 2, work(from, shunt_backend_virtqueue(backend, RECEIVEQ)) ? -1 : 0);
        eventfd_read(fds[1].fd, &(eventfd_t){0}); /* it does not block */
        shunt_backend_dispatch(backend);
    }
}
