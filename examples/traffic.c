/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A program, as it may run in a container, with a fast path into a switch: it sends Ethernet frames
 * over a vhost-user socket, counts those that come back or from others, and says so every second:
 *     cc traffic.c -o traffic $(pkg-config --cflags --libs shunt)
 *     ./traffic --socket-path=/run/shunt/vm1.sock
 */
#include <err.h>
#include <poll.h>
#include <shunt/frontend.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>

enum { RECEIVEQ, TRANSMITQ, NUM_QUEUES }; /* VIRTIO 1.3, 5.1.2 */

#define QUEUE_SIZE   256
#define HEADER_BYTES 12   /* of virtio-net before each frame, since VIRTIO 1.0 (5.1.6) */
#define FRAME_BYTES  60   /* that we send */
#define BUFFER_BYTES 1600 /* for a frame of any size that comes */
#define BURST        32
#define VERSION_1    (1ull << 32)

struct traffic {
    struct shunt_frontend *frontend;
    struct shunt_shared_memory *memory;
    uint8_t *frame; /* sent again and again: nobody writes to it */
    unsigned long long sent, received;
};

static void add_buffer(struct shunt_driver_queue *queue, void *buffer)
{
    struct iovec piece = {buffer, BUFFER_BYTES};

    shunt_driver_queue_add(queue, &piece, 0, 1, buffer);
}

/*
 * All buffers for receiving are there once; they stay in the queue when the switch is started anew.
 */
static void fill(struct traffic *traffic, struct shunt_driver_queue *queue)
{
    shunt_driver_queue_lock(queue);
    while (shunt_driver_queue_num_free(queue) > 0) {
        void *buffer = shunt_shared_memory_allocate(traffic->memory, BUFFER_BYTES, 64);

        if (!buffer)
            break;
        add_buffer(queue, buffer);
    }
    shunt_driver_queue_publish(queue);
    shunt_driver_queue_unlock(queue);
}

static void started(void *ctx)
{
    struct traffic *traffic = ctx;

    puts("connected");
    fill(traffic, shunt_frontend_queue(traffic->frontend, RECEIVEQ));
}

static void stopped(void *ctx)
{
    struct traffic *traffic = ctx;

    printf("%s\n", shunt_frontend_reason(traffic->frontend));
}

/* Takes what came, and gives the buffers back. Whether one may sleep until there is more. */
static bool receive(struct traffic *traffic, struct shunt_driver_queue *queue)
{
    struct shunt_driver_used used[BURST];
    bool may_sleep;
    int num;

    shunt_driver_queue_lock(queue);
    num = shunt_driver_queue_take(queue, used, BURST);
    for (int i = 0; i < num; i++)
        add_buffer(queue, used[i].cookie);
    shunt_driver_queue_publish(queue);
    may_sleep = num <= 0 && shunt_driver_queue_arm(queue);
    shunt_driver_queue_unlock(queue);
    traffic->received += num > 0 ? (unsigned)num : 0;
    return may_sleep;
}

/* One frame, if there is room for it. */
static void transmit(struct traffic *traffic, struct shunt_driver_queue *queue)
{
    struct iovec piece = {traffic->frame, HEADER_BYTES + FRAME_BYTES};
    struct shunt_driver_used used[BURST];

    shunt_driver_queue_lock(queue);
    while (shunt_driver_queue_take(queue, used, BURST) > 0)
        ;
    if (shunt_driver_queue_add(queue, &piece, 1, 0, NULL) >= 0)
        traffic->sent++;
    shunt_driver_queue_publish(queue);
    shunt_driver_queue_unlock(queue);
}

static void make_frame(struct traffic *traffic)
{
    static const uint8_t ethernet[14] = {
        0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02,
        0,    0,    0,    0,    0x01, 0x88, 0xb5, /* for experiments */
    };

    traffic->frame = shunt_shared_memory_allocate(traffic->memory, HEADER_BYTES + FRAME_BYTES, 64);
    if (!traffic->frame)
        errx(1, "no shared memory is left");
    memcpy(traffic->frame + HEADER_BYTES, ethernet, sizeof(ethernet));
}

/*
 * Does what there is to do until second `end`, and sends a frame each time, at least each
 * millisecond.
 */
static void run_until(struct traffic *traffic, time_t end)
{
    struct shunt_driver_queue *rx = shunt_frontend_queue(traffic->frontend, RECEIVEQ);
    struct pollfd fds[2] = {{shunt_frontend_fd(traffic->frontend), POLLIN, 0},
                            {shunt_driver_queue_call_fd(rx), POLLIN, 0}};

    while (time(NULL) < end) {
        poll(fds, 2, receive(traffic, rx) ? 1 : 0);
        if (fds[1].revents)
            eventfd_read(fds[1].fd, &(eventfd_t){0}); /* it does not block */
        if (fds[0].revents)
            shunt_frontend_dispatch(traffic->frontend);
        if (shunt_frontend_is_running(traffic->frontend))
            transmit(traffic, shunt_frontend_queue(traffic->frontend, TRANSMITQ));
    }
}

int main(int argc, char **argv)
{
    const struct shunt_frontend_ops ops = {.started = started, .stopped = stopped};
    struct shunt_frontend_config config = {
        .name = "traffic",
        .required_features = VERSION_1,
        .num_virtqueues = NUM_QUEUES,
        .virtqueues_per_queue = 2,
        .queue_size = QUEUE_SIZE,
    };
    struct traffic traffic = {0};
    struct shunt_error error = {.text = "out of memory"};

    if (argc != 2 || strncmp(argv[1], "--socket-path=", 14) != 0)
        errx(2, "usage: %s --socket-path=PATH", argv[0]);
    config.socket_path = argv[1] + 14;
    if (shunt_shared_memory_create(&config.memory) < 0 ||
        shunt_shared_memory_add(config.memory, (QUEUE_SIZE + 1) * BUFFER_BYTES, 0, &error) < 0)
        errx(1, "%s", error.text);
    traffic.memory = config.memory;
    make_frame(&traffic);
    if (shunt_frontend_create(&config, &ops, &traffic, &traffic.frontend, &error) < 0)
        errx(1, "%s", error.text);
    for (;;) {
        run_until(&traffic, time(NULL) + 1);
        printf("%llu sent, %llu received\n", traffic.sent, traffic.received);
        fflush(stdout);
    }
}
