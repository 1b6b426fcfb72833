/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A network card that sends every frame back to its guest, source and destination swapped:
 *     cc echo.c -o echo $(pkg-config --cflags --libs shunt) && ./echo /tmp/echo.sock
 */
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

#include <shunt/backend.h>

enum { RECEIVEQ, TRANSMITQ, NUM_QUEUES }; /* in the guest's words (VIRTIO 1.3, 5.1.2) */

#define HEADER_BYTES 12    /* of virtio-net before each frame, since VIRTIO 1.0 (5.1.6) */
#define MAX_BYTES    65562 /* of both */
#define MAX_PIECES   SHUNT_VIRTQUEUE_MAX_SIZE /* that they lie in, in guest memory */

static void copy(const struct iovec *piece, uint8_t *bytes, size_t len, bool to_guest)
{
    for (size_t num; len > 0; bytes += num, len -= num, piece++) {
        num = piece->iov_len < len ? piece->iov_len : len;
        memcpy(to_guest ? piece->iov_base : bytes, to_guest ? bytes : piece->iov_base, num);
    }
}

static void turn_round(uint8_t *frame)
{
    static const uint8_t header[HEADER_BYTES] = {[10] = 1}; /* one buffer, no offload */
    uint8_t *ethernet = frame + HEADER_BYTES, destination[6];

    memcpy(frame, header, HEADER_BYTES);
    memcpy(destination, ethernet, 6);
    memcpy(ethernet, ethernet + 6, 6);
    memcpy(ethernet + 6, destination, 6);
}

/* A frame that finds no buffer is lost, as on any wire. */
static void echo_frames(struct shunt_virtqueue *from, struct shunt_virtqueue *to)
{
    static struct iovec pieces[MAX_PIECES];
    static uint8_t frame[MAX_BYTES]; /* the guest may change its own at any time */
    struct shunt_chain chain;

    while (shunt_virtqueue_pop(from, &chain, pieces, MAX_PIECES) > 0) {
        uint32_t len = chain.readable_len <= MAX_BYTES ? chain.readable_len : 0;

        copy(pieces, frame, len, false);
        shunt_virtqueue_push(from, &chain, 0);
        if (len < HEADER_BYTES + 14 || !shunt_virtqueue_is_enabled(from) ||
            shunt_virtqueue_pop(to, &chain, pieces, MAX_PIECES) <= 0)
            continue;
        turn_round(frame);
        len = len <= chain.writable_len ? len : 0;
        copy(pieces + chain.num_readable, frame, len, true);
        shunt_virtqueue_push(to, &chain, len);
    }
}

/* Does all that there is to do. True: the guest will kick when there is more. */
static bool work(struct shunt_backend *backend)
{
    struct shunt_virtqueue *from = shunt_backend_virtqueue(backend, TRANSMITQ);
    struct shunt_virtqueue *to = shunt_backend_virtqueue(backend, RECEIVEQ);
    bool may_sleep;

    shunt_virtqueue_lock(from);
    shunt_virtqueue_lock(to);
    echo_frames(from, to);
    shunt_virtqueue_publish(to);
    shunt_virtqueue_publish(from);
    may_sleep = shunt_virtqueue_arm(from);
    shunt_virtqueue_unlock(to);
    shunt_virtqueue_unlock(from);
    return may_sleep;
}

int main(int argc, char **argv)
{
    struct shunt_backend_config config = {"echo", .num_virtqueues = NUM_QUEUES, .queue_num = 1};
    static const struct shunt_backend_ops ops; /* there is nothing that we want to be told */
    struct shunt_backend *backend;
    struct shunt_error error;
    eventfd_t kicks;

    config.socket_path = argc > 1 ? argv[1] : "/tmp/echo.sock";
    if (shunt_backend_create(&config, &ops, NULL, &backend, &error) < 0) {
        fprintf(stderr, "echo: %s\n", error.text);
        return 1;
    }
    for (;;) {
        int kick_fd = shunt_virtqueue_kick_fd(shunt_backend_virtqueue(backend, TRANSMITQ));
        struct pollfd fds[2] = {{shunt_backend_fd(backend), POLLIN, 0}, {kick_fd, POLLIN, 0}};

        poll(fds, 2, work(backend) ? -1 : 0);
        eventfd_read(kick_fd, &kicks); /* it does not block */
        if (fds[0].revents)
            shunt_backend_dispatch(backend);
    }
}
