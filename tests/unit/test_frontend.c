/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The front-end against our back-end over a real socket, in both roles: negotiation, data on many
 * queues, back-ends that die with chains in hand, stop and start; and against back-ends made by
 * hand that break the protocol.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <poll.h>
#include <shunt/frontend.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/listener.h"
#include "lib/device.h"
#include "lib/variant.h"
#include "vhost_user/channel.h"

#define PATIENCE_MS    20000u
#define NUM_QUEUES     8u
#define QUEUE_SIZE     64u
#define BUFFER_BYTES   96u
#define NUM_BUFFERS    256u
#define NUM_RECONNECTS 50u

/* --- Both ends -------------------------------------------------------------------------------------- */

struct stage {
    struct device device;
    struct shunt_shared_memory *memory;
    struct shunt_frontend_config config;
    struct shunt_frontend *frontend;
    uint8_t *buffers;
    unsigned num_started, num_stopped, num_config_changed;
    bool is_device_client;
    unsigned num_device_queues;
};

static void on_started(void *ctx)
{
    struct stage *stage = ctx;

    assert_true(shunt_frontend_is_running(stage->frontend));
    stage->num_started++;
}

static void on_stopped(void *ctx)
{
    struct stage *stage = ctx;

    assert_false(shunt_frontend_is_running(stage->frontend));
    stage->num_stopped++;
}

static void on_config_changed(void *ctx)
{
    struct stage *stage = ctx;

    stage->num_config_changed++;
}

static const struct shunt_frontend_ops ops = {on_started, on_stopped, on_config_changed};

static void make_memory(struct stage *stage)
{
    assert_int_equal(shunt_shared_memory_create(&stage->memory), 0);
    assert_int_equal(shunt_shared_memory_add(stage->memory, NUM_BUFFERS * BUFFER_BYTES, 0, NULL),
                     0);
    stage->buffers = shunt_shared_memory_allocate(stage->memory, NUM_BUFFERS * BUFFER_BYTES, 64);
    assert_non_null(stage->buffers);
}

static struct stage *stage_create(uint64_t features)
{
    struct stage *stage = test_calloc(1, sizeof(*stage));

    stage->num_device_queues = NUM_QUEUES;
    device_create(&stage->device, NUM_QUEUES);
    make_memory(stage);
    stage->config = (struct shunt_frontend_config){
        .name = "frontend",
        .socket_path = stage->device.path,
        .features = features | DEVICE_FEATURE | RING_FEATURE(INDIRECT_DESC),
        .required_features = features,
        .num_virtqueues = NUM_QUEUES,
        .virtqueues_per_queue = 2,
        .queue_size = QUEUE_SIZE,
        .max_indirect = 4,
        .config_len = DEVICE_CONFIG_BYTES,
        .memory = stage->memory,
    };
    return stage;
}

static void make_frontend(struct stage *stage)
{
    struct shunt_error error = {0};

    if (shunt_frontend_create(&stage->config, &ops, stage, &stage->frontend, &error) < 0)
        fail_msg("%s", error.text);
}

/* The roles the other way round. */
static void become_server(struct stage *stage)
{
    stage->is_device_client = true;
    stage->config.is_server = true;
    shunt_backend_destroy(stage->device.backend);
    stage->device.backend = NULL;
    make_frontend(stage);
    device_become_client(&stage->device, stage->num_device_queues);
}

static void stage_destroy(struct stage *stage)
{
    shunt_frontend_destroy(stage->frontend);
    device_destroy(&stage->device);
    shunt_shared_memory_destroy(stage->memory);
    test_free(stage);
}

/* Dispatches both ends until there is nothing to do, or for a while. */
static void turn(struct stage *stage)
{
    struct pollfd events[2] = {
        {.fd = stage->frontend ? shunt_frontend_fd(stage->frontend) : -1, .events = POLLIN},
        {.fd = stage->device.backend ? shunt_backend_fd(stage->device.backend) : -1,
         .events = POLLIN},
    };

    poll(events, 2, 100);
    if (events[0].revents)
        shunt_frontend_dispatch(stage->frontend);
    if (events[1].revents)
        shunt_backend_dispatch(stage->device.backend);
}

#define WAIT_UNTIL(stage, condition)                                                               \
    do {                                                                                           \
        uint64_t deadline = clock_ms() + PATIENCE_MS;                                              \
                                                                                                   \
        while (!(condition)) {                                                                     \
            if (clock_ms() > deadline)                                                             \
                fail_msg("%s: %s", #condition, shunt_frontend_reason((stage)->frontend));          \
            turn(stage);                                                                           \
        }                                                                                          \
    } while (0)

static bool is_ready(const struct stage *stage)
{
    return shunt_frontend_is_running(stage->frontend);
}

/* A ring begins with its first kick, or where it goes on: what the device returns then. */
static int echo(struct stage *stage, unsigned idx)
{
    WAIT_UNTIL(stage, device_is_started(&stage->device, idx));
    return device_echo(&stage->device, idx);
}

/* One buffer to be read and one to be written, of which the device makes a copy. */
static int add_pair(struct stage *stage, unsigned queue_idx, unsigned buffer, uint8_t seed)
{
    struct shunt_driver_queue *queue = shunt_frontend_queue(stage->frontend, queue_idx);
    struct iovec iov[2];
    int result;

    for (unsigned i = 0; i < 2; i++)
        iov[i] = (struct iovec){stage->buffers + (buffer * 2 + i) * BUFFER_BYTES, BUFFER_BYTES};
    memset(iov[0].iov_base, seed, BUFFER_BYTES);
    memset(iov[1].iov_base, 0, BUFFER_BYTES);
    shunt_driver_queue_lock(queue);
    if (seed % 2)
        result = shunt_driver_queue_add(queue, iov, 1, 1, iov[0].iov_base);
    else
        result = shunt_driver_queue_add_indirect(queue, iov, 1, 1, iov[0].iov_base);
    shunt_driver_queue_publish(queue);
    shunt_driver_queue_unlock(queue);
    return result;
}

/* Takes all that came back and checks it; how many. */
static unsigned take_pairs(struct stage *stage, unsigned queue_idx)
{
    struct shunt_driver_queue *queue = shunt_frontend_queue(stage->frontend, queue_idx);
    struct shunt_driver_used used[QUEUE_SIZE];
    int num;

    shunt_driver_queue_lock(queue);
    num = shunt_driver_queue_take(queue, used, QUEUE_SIZE);
    shunt_driver_queue_unlock(queue);
    assert_true(num >= 0);
    for (int i = 0; i < num; i++) {
        assert_int_equal(used[i].len, BUFFER_BYTES);
        assert_memory_equal(used[i].cookie, (uint8_t *)used[i].cookie + BUFFER_BYTES, BUFFER_BYTES);
    }
    return (unsigned)num;
}

/* Data goes through queues and comes back, with its content. */
static void check_data(struct stage *stage, unsigned num_queues)
{
    for (unsigned i = 0; i < num_queues; i++) {
        for (unsigned j = 0; j < 10; j++)
            assert_true(add_pair(stage, i, j, (uint8_t)(i * 10 + j + 1)) >= 0);
        assert_int_equal(echo(stage, i), 10);
        assert_int_equal(take_pairs(stage, i), 10);
    }
}

/* --- Negotiation and data --------------------------------------------------------------------------- */

static void check_started(struct stage *stage)
{
    WAIT_UNTIL(stage, is_ready(stage));
    assert_int_equal(stage->num_started, 1);
    assert_int_equal(stage->num_stopped, 0);
    assert_string_equal(shunt_frontend_reason(stage->frontend), "");
    assert_int_equal(shunt_frontend_num_virtqueues(stage->frontend), NUM_QUEUES);
    assert_int_equal(shunt_frontend_features(stage->frontend),
                     stage->config.features | RING_FEATURE(VERSION_1));
    assert_int_equal(stage->device.features & ~(UINT64_C(1) << 30),
                     shunt_frontend_features(stage->frontend));
    assert_memory_equal(shunt_frontend_device_config(stage->frontend), stage->device.config,
                        DEVICE_CONFIG_BYTES);
    for (unsigned i = 0; i < NUM_QUEUES; i++)
        assert_true(device_is_enabled(&stage->device, i));
    check_data(stage, NUM_QUEUES);
}

static void test_client(void **state)
{
    struct stage *stage = stage_create(variant_features(state));

    memset(stage->device.config, 0x37, DEVICE_CONFIG_BYTES);
    make_frontend(stage);
    check_started(stage);
    stage_destroy(stage);
}

static void test_server(void **state)
{
    struct stage *stage = stage_create(variant_features(state));

    become_server(stage);
    check_started(stage);
    stage_destroy(stage);
}

/* Nobody listens at first. */
static void test_back_end_comes_later(void **state)
{
    struct stage *stage = stage_create(0);

    shunt_backend_destroy(stage->device.backend);
    stage->device.backend = NULL;
    make_frontend(stage);
    WAIT_UNTIL(stage, strstr(shunt_frontend_reason(stage->frontend), "trying again"));
    assert_int_equal(shunt_driver_queue_add(shunt_frontend_queue(stage->frontend, 0),
                                            &(struct iovec){stage->buffers, 1}, 1, 0, NULL),
                     -ENOTCONN);
    device_become_adopter(&stage->device, NUM_QUEUES, -1); /* at its path again */
    WAIT_UNTIL(stage, is_ready(stage));
    check_data(stage, NUM_QUEUES);
    stage_destroy(stage);
}

static void test_features_are_missing(void **state)
{
    struct stage *stage = stage_create(
        RING_FEATURE(IN_ORDER)); /* which the device does not offer */

    make_frontend(stage);
    WAIT_UNTIL(stage, strstr(shunt_frontend_reason(stage->frontend), "lacks features 0x800000000"));
    for (unsigned i = 0; i < 5; i++)
        turn(stage);
    assert_int_equal(stage->num_started, 0);
    assert_true(stage->device.num_connected < 10); /* with pauses */
    stage_destroy(stage);
}

/* IN_ORDER is only wanted; and there are fewer queues than wanted. */
static void test_back_end_has_less(void **state)
{
    struct stage *stage = stage_create(0);

    device_become_adopter(&stage->device, 4, -1);
    stage->config.features |= RING_FEATURE(IN_ORDER);
    stage->config.min_virtqueues = 2;
    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    assert_int_equal(shunt_frontend_num_virtqueues(stage->frontend), 4);
    assert_false(shunt_frontend_features(stage->frontend) & RING_FEATURE(IN_ORDER));
    check_data(stage, 4);
    stage_destroy(stage);
}

static void test_too_few_queues(void **state)
{
    struct stage *stage = stage_create(0);

    device_become_adopter(&stage->device, 4, -1);
    make_frontend(stage);
    WAIT_UNTIL(stage, strstr(shunt_frontend_reason(stage->frontend),
                             "has 4 virtqueues, and 8 are needed"));
    stage_destroy(stage);
}

static void test_bad_configs(void **state)
{
    struct stage *stage = stage_create(0);
    const struct shunt_frontend_config good = stage->config;
    struct shunt_frontend_config bad[8];
    struct shunt_error error;
    char path[200];

    memset(path, 'a', sizeof(path));
    path[sizeof(path) - 1] = '\0';
    for (unsigned i = 0; i < 8; i++)
        bad[i] = good;
    bad[0].num_virtqueues = 0;
    bad[1].num_virtqueues = SHUNT_FRONTEND_MAX_VIRTQUEUES + 1;
    bad[2].queue_size = 0;
    bad[3].queue_size = 100;
    bad[4].config_len = 257;
    bad[5].required_features = RING_FEATURE(ACCESS_PLATFORM);
    bad[6].virtqueues_per_queue = 0;
    bad[7].min_virtqueues = NUM_QUEUES + 1;
    for (unsigned i = 0; i < 8; i++) {
        error.text[0] = '\0';
        assert_int_equal(shunt_frontend_create(&bad[i], &ops, stage, &stage->frontend, &error),
                         -EINVAL);
        assert_true(strlen(error.text) > 0);
    }
    stage->config.socket_path = path;
    assert_int_equal(shunt_frontend_create(&stage->config, &ops, stage, &stage->frontend, &error),
                     -ENAMETOOLONG);
    stage->config.socket_path = stage->device.path;
    stage->config.is_server = true;
    assert_int_equal(shunt_frontend_create(&stage->config, &ops, stage, &stage->frontend, &error),
                     -EADDRINUSE);
    assert_null(stage->frontend);
    stage_destroy(stage);
}

/* --- Back-ends that die ----------------------------------------------------------------------------- */

static void kill_device(struct stage *stage)
{
    shunt_backend_destroy(stage->device.backend);
    stage->device.backend = NULL;
}

static void revive_device(struct stage *stage)
{
    if (stage->is_device_client)
        device_become_client(&stage->device, stage->num_device_queues);
    else
        device_become_adopter(&stage->device, stage->num_device_queues, -1);
}

/* Takes `num` chains without returning them: they are in its hands when it dies. */
static void hold(struct stage *stage, unsigned idx, unsigned num)
{
    struct shunt_virtqueue *queue = shunt_backend_virtqueue(stage->device.backend, idx);
    struct shunt_chain chain;
    struct iovec iov[4];

    WAIT_UNTIL(stage, device_is_started(&stage->device, idx));
    shunt_virtqueue_lock(queue);
    for (; num > 0; num--)
        assert_int_equal(shunt_virtqueue_pop(queue, &chain, iov, 4), 1);
    shunt_virtqueue_unlock(queue);
}

/*
 * In each round some are returned and taken, some returned and not taken, some held, some not seen.
 */
static void reconnect_often(struct stage *stage)
{
    for (unsigned round = 0; round < NUM_RECONNECTS; round++) {
        unsigned pairs = 5 + round % 7;

        WAIT_UNTIL(stage, is_ready(stage));
        for (unsigned i = 0; i < NUM_QUEUES; i++) {
            for (unsigned j = 0; j < pairs; j++)
                assert_true(add_pair(stage, i, i * 12 + j, (uint8_t)(round + j + 1)) >= 0);
            if (round % 3 != 0)
                assert_int_equal(echo(stage, i), pairs);
            if (round % 3 == 1)
                assert_int_equal(take_pairs(stage, i), pairs);
            else if (round % 3 == 0)
                hold(stage, i, round % 5);
        }
        kill_device(stage);
        if (round % 2)
            WAIT_UNTIL(stage, !shunt_frontend_is_running(stage->frontend));
        revive_device(stage);
        WAIT_UNTIL(stage, stage->num_started == round + 2 && is_ready(stage));
        for (unsigned i = 0; i < NUM_QUEUES; i++) {
            if (round % 3 == 0)
                assert_int_equal(echo(stage, i), pairs);
            assert_int_equal(take_pairs(stage, i), round % 3 == 1 ? 0 : pairs);
            assert_int_equal(shunt_driver_queue_num_free(shunt_frontend_queue(stage->frontend, i)),
                             QUEUE_SIZE);
        }
    }
    assert_int_equal(stage->num_stopped, NUM_RECONNECTS);
}

static void test_reconnects_of_a_client(void **state)
{
    struct stage *stage = stage_create(variant_features(state));

    make_frontend(stage);
    reconnect_often(stage);
    stage_destroy(stage);
}

static void test_reconnects_of_a_server(void **state)
{
    struct stage *stage = stage_create(variant_features(state));

    become_server(stage);
    reconnect_often(stage);
    stage_destroy(stage);
}

/* What is added while nobody is there waits for the next one. */
static void test_adding_without_a_back_end(void **state)
{
    struct stage *stage = stage_create(variant_features(state));

    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    kill_device(stage);
    WAIT_UNTIL(stage, !shunt_frontend_is_running(stage->frontend));
    for (unsigned i = 0; i < QUEUE_SIZE / 2; i++)
        assert_true(add_pair(stage, 3, i, (uint8_t)(2 * i + 1)) >= 0);
    assert_int_equal(add_pair(stage, 3, 40, 1), -ENOSPC);
    revive_device(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    assert_int_equal(echo(stage, 3), QUEUE_SIZE / 2);
    assert_int_equal(take_pairs(stage, 3), QUEUE_SIZE / 2);
    stage_destroy(stage);
}

/* A back-end that has less than the one before is of no use, until one comes that has as much. */
static void test_next_back_end_has_less(void **state)
{
    struct stage *stage = stage_create(0);

    stage->config.min_virtqueues = 2;
    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    kill_device(stage);
    stage->num_device_queues = 4;
    revive_device(stage);
    WAIT_UNTIL(stage, strstr(shunt_frontend_reason(stage->frontend),
                             "has 4 virtqueues, and 8 are needed"));
    kill_device(stage);
    stage->num_device_queues = NUM_QUEUES;
    revive_device(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    check_data(stage, NUM_QUEUES);
    stage_destroy(stage);
}

/* --- What the program wants ------------------------------------------------------------------------- */

static void test_stop_and_start(void **state)
{
    struct stage *stage = stage_create(variant_features(state));

    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    for (unsigned i = 1; i <= 5; i++) {
        for (unsigned j = 0; j < 7; j++)
            assert_true(add_pair(stage, 1, j, (uint8_t)(i + j)) >= 0);
        shunt_frontend_stop(stage->frontend);
        WAIT_UNTIL(stage, stage->num_stopped == i);
        assert_false(device_is_started(&stage->device, 1));
        assert_true(shunt_frontend_is_connected(stage->frontend));
        assert_int_equal(take_pairs(stage, 1), 0);
        shunt_frontend_start(stage->frontend);
        WAIT_UNTIL(stage, stage->num_started == i + 1 && is_ready(stage));
        assert_int_equal(echo(stage, 1), 7);
        assert_int_equal(take_pairs(stage, 1), 7);
    }
    assert_int_equal(stage->device.num_disconnected, 0);
    stage_destroy(stage);
}

static void test_start_later(void **state)
{
    struct stage *stage = stage_create(0);

    stage->config.is_stopped = true;
    make_frontend(stage);
    WAIT_UNTIL(stage, stage->device.num_features_changed > 0);
    for (unsigned i = 0; i < 3; i++)
        turn(stage);
    assert_int_equal(stage->num_started, 0);
    shunt_frontend_start(stage->frontend);
    WAIT_UNTIL(stage, is_ready(stage));
    shunt_frontend_stop(stage->frontend);
    shunt_frontend_start(stage->frontend); /* it has not stopped yet */
    check_data(stage, NUM_QUEUES);
    stage_destroy(stage);
}

static void test_enable_queue(void **state)
{
    struct stage *stage = stage_create(0);

    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    shunt_frontend_enable_queue(stage->frontend, 5, false);
    WAIT_UNTIL(stage, !device_is_enabled(&stage->device, 5));
    assert_true(device_is_enabled(&stage->device, 4));
    kill_device(stage);
    revive_device(stage);
    WAIT_UNTIL(stage, stage->num_started == 2 && is_ready(stage));
    assert_false(device_is_enabled(&stage->device, 5));
    shunt_frontend_enable_queue(stage->frontend, 5, true);
    WAIT_UNTIL(stage, device_is_enabled(&stage->device, 5));
    stage_destroy(stage);
}

static void test_config_changes(void **state)
{
    struct stage *stage = stage_create(0);

    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    check_data(stage, 1); /* a device that is suspended says nothing */
    for (unsigned i = 1; i < 5; i++) {
        memset(stage->device.config, (int)i, DEVICE_CONFIG_BYTES);
        assert_int_equal(shunt_backend_config_changed(stage->device.backend), 0);
        WAIT_UNTIL(stage, stage->num_config_changed == i);
        assert_memory_equal(shunt_frontend_device_config(stage->frontend), stage->device.config,
                            DEVICE_CONFIG_BYTES);
    }
    stage_destroy(stage);
}

static void test_memory_is_added(void **state)
{
    struct stage *stage = stage_create(0);
    const struct shunt_memory *memory;

    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    memory = shunt_backend_memory(stage->device.backend);
    assert_int_equal(shunt_memory_num_regions(memory), 2);
    assert_int_equal(shunt_shared_memory_add(stage->memory, 2 * NUM_BUFFERS * BUFFER_BYTES, 0,
                                             NULL),
                     0);
    shunt_frontend_share_memory(stage->frontend);
    WAIT_UNTIL(stage, shunt_memory_num_regions(memory) == 3);
    stage->buffers = shunt_shared_memory_allocate(stage->memory, NUM_BUFFERS * BUFFER_BYTES, 64);
    assert_non_null(stage->buffers);
    check_data(stage, NUM_QUEUES);
    stage_destroy(stage);
}

/* A device that breaks the ring loses its connection, and what it had is there for the next one. */
static void test_ring_breaks(void **state)
{
    struct stage *stage = stage_create(0);
    struct shunt_driver_queue *queue;
    struct shunt_driver_used used;
    struct shunt_memory_region region;
    uint64_t contiguous;
    uint16_t *idx;

    make_frontend(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    queue = shunt_frontend_queue(stage->frontend, 2);
    assert_true(add_pair(stage, 2, 0, 1) >= 0);
    /*
     * Where the device has the used ring of queue 2: the rings are the first region that is ours.
     */
    for (unsigned i = 0; i < 2; i++) {
        shunt_memory_get_region(shunt_backend_memory(stage->device.backend), i, &region);
        if ((uintptr_t)stage->buffers - region.guest_addr >= region.size)
            break;
    }
    idx = shunt_memory_at_guest(shunt_backend_memory(stage->device.backend), region.guest_addr, 1,
                                &contiguous);
    assert_non_null(idx);
    /* All of the first page after descriptors: whatever the used index is, it is wrong now. */
    memset(idx, 0x77, region.size);
    shunt_driver_queue_lock(queue);
    assert_int_equal(shunt_driver_queue_take(queue, &used, 1), -EPROTO);
    shunt_driver_queue_unlock(queue);
    WAIT_UNTIL(stage, stage->num_stopped == 1);
    assert_non_null(
        strstr(shunt_frontend_reason(stage->frontend), "the back-end broke virtqueue 2"));
    WAIT_UNTIL(stage, stage->num_started == 2 && is_ready(stage));
    assert_int_equal(echo(stage, 2), 1);
    assert_int_equal(take_pairs(stage, 2), 1);
    stage_destroy(stage);
}

/* --- Back-ends made by hand ------------------------------------------------------------------------- */

#define PROTOCOL_F(name) (UINT64_C(1) << WIRE_PROTOCOL_F_##name)

struct hand {
    struct stage *stage;
    struct listener listener;
    struct channel channel;
    uint64_t protocol_features;
    unsigned num_messages;
    uint32_t last;        /* request that came last */
    int request_fd;       /* for our requests */
    unsigned num_mem_fds; /* of SET_MEM_TABLE */
};

static void hand_begin(struct hand *hand, uint64_t protocol_features)
{
    *hand = (struct hand){.stage = stage_create(0), .request_fd = -1};
    hand->protocol_features = protocol_features;
    kill_device(hand->stage);
    assert_int_equal(listener_open(&hand->listener, hand->stage->device.path, NULL), 0);
    make_frontend(hand->stage);
    hand->channel.fd = -1;
}

static void hand_meet(struct hand *hand)
{
    int fd = -EAGAIN;

    WAIT_UNTIL(hand->stage, (fd = listener_accept(&hand->listener)) >= 0);
    channel_open(&hand->channel, fd);
}

static void hand_end(struct hand *hand)
{
    channel_close(&hand->channel);
    if (hand->request_fd >= 0)
        close(hand->request_fd);
    listener_close(&hand->listener);
    stage_destroy(hand->stage);
}

/* The next message, whose descriptors are closed. */
static void hand_receive(struct hand *hand, struct wire_message *message)
{
    int result = 0;

    WAIT_UNTIL(hand->stage, (result = channel_receive(&hand->channel, message, NULL)) != 0);
    assert_int_equal(result, 1);
    hand->last = message->header.request;
    hand->num_messages++;
    if (hand->last == WIRE_SET_BACKEND_REQ_FD)
        hand->request_fd = wire_take_fd(message, 0);
    if (hand->last == WIRE_SET_MEM_TABLE)
        hand->num_mem_fds = message->num_fds;
    wire_close_fds(message);
}

static void hand_send_u64(struct hand *hand, uint32_t request, uint32_t flags, uint64_t value)
{
    struct wire_message message = {.header = {request, flags, sizeof(value)}, .payload.u64 = value};

    channel_send(&hand->channel, &message, NULL);
}

#define REPLY (WIRE_VERSION | WIRE_FLAG_REPLY)

/* As a back-end should. */
static void hand_answer(struct hand *hand, struct wire_message *message)
{
    uint32_t request = message->header.request;

    if (request == WIRE_GET_FEATURES)
        hand_send_u64(hand, request, REPLY, UINT64_C(1) << 30 | RING_FEATURE(VERSION_1));
    else if (request == WIRE_GET_PROTOCOL_FEATURES)
        hand_send_u64(hand, request, REPLY, hand->protocol_features);
    else if (request == WIRE_GET_QUEUE_NUM || request == WIRE_GET_MAX_MEM_SLOTS)
        hand_send_u64(hand, request, REPLY, 32);
    else if (request == WIRE_GET_STATUS)
        hand_send_u64(hand, request, REPLY, 11);
    else if (request == WIRE_GET_VRING_BASE || (message->header.flags & WIRE_FLAG_NEED_REPLY))
        hand_send_u64(hand, request, REPLY, 0);
    if (request != WIRE_GET_CONFIG)
        return;
    message->header.flags = REPLY; /* all zero, as the question is */
    channel_send(&hand->channel, message, NULL);
}

/* Answers until the front-end sends this. */
static void hand_answer_until(struct hand *hand, uint32_t request, struct wire_message *message)
{
    hand_receive(hand, message);
    while (message->header.request != request) {
        hand_answer(hand, message);
        hand_receive(hand, message);
    }
}

/* The oldest back-ends: one pair, a table of memory, nothing acknowledged. */
static void test_back_end_with_few_protocol_features(void **state)
{
    struct wire_message message;
    struct hand hand;

    hand_begin(&hand, 0);
    hand.stage->config.min_virtqueues = 2;
    shunt_frontend_destroy(hand.stage->frontend);
    make_frontend(hand.stage);
    hand_meet(&hand);
    hand_answer_until(&hand, WIRE_SET_VRING_ENABLE, &message);
    assert_int_equal(hand.num_mem_fds, 2);
    while (hand.stage->num_started == 0) {
        if (channel_receive(&hand.channel, &message, NULL) > 0) {
            hand_answer(&hand, &message);
            wire_close_fds(&message);
        }
        turn(hand.stage);
    }
    assert_int_equal(shunt_frontend_num_virtqueues(hand.stage->frontend), 2);
    assert_null(shunt_frontend_device_config(hand.stage->frontend));
    hand_end(&hand);
}

/* What is sent in place of an answer, to which request. */
struct wrong {
    uint32_t to;
    uint32_t request, flags, size;
    uint64_t value;
    const char *reason;
};

static void send_wrong(const struct wrong *wrong)
{
    struct wire_message message = {.header = {wrong->request, wrong->flags, wrong->size},
                                   .payload.u64 = wrong->value};
    struct wire_message question;
    struct hand hand;

    hand_begin(&hand, PROTOCOL_F(MQ) | PROTOCOL_F(REPLY_ACK) | PROTOCOL_F(STATUS) |
                          PROTOCOL_F(CONFIG) | PROTOCOL_F(BACKEND_REQ));
    hand_meet(&hand);
    hand_answer_until(&hand, wrong->to, &question);
    if (wrong->size <= sizeof(message.payload))
        assert_int_equal(channel_send(&hand.channel, &message, NULL), 0);
    else
        assert_int_equal(send(hand.channel.fd, &message, sizeof(message.header), 0),
                         sizeof(message.header));
    WAIT_UNTIL(hand.stage, strstr(shunt_frontend_reason(hand.stage->frontend), wrong->reason));
    assert_int_equal(hand.stage->num_started, 0);
    /* It tries again. */
    channel_close(&hand.channel);
    hand_meet(&hand);
    hand_receive(&hand, &question);
    assert_int_equal(question.header.request, WIRE_GET_FEATURES);
    hand_end(&hand);
}

static void test_wrong_answers(void **state)
{
    static const struct wrong wrongs[] = {
        {WIRE_GET_FEATURES, WIRE_GET_QUEUE_NUM, REPLY, 8, 0, "no answer to GET_FEATURES"},
        {WIRE_GET_FEATURES, WIRE_GET_FEATURES, WIRE_VERSION, 8, 0, "no answer to GET_FEATURES"},
        {WIRE_GET_FEATURES, WIRE_GET_FEATURES, REPLY, 7, 0, "with 7 bytes instead of 8"},
        {WIRE_GET_FEATURES, WIRE_GET_FEATURES, REPLY + 1, 8, 0, "protocol version 2"},
        {WIRE_GET_FEATURES, WIRE_GET_FEATURES, REPLY, 100000, 0, "payload of 100000 bytes"},
        {WIRE_GET_QUEUE_NUM, WIRE_GET_QUEUE_NUM, REPLY, 8, 0, "has 0 virtqueues"},
        {WIRE_SET_FEATURES, WIRE_SET_FEATURES, REPLY, 8, 1, "refused SET_FEATURES"},
        {WIRE_SET_FEATURES, WIRE_SET_FEATURES, REPLY, 0, 0, "with 0 bytes instead of 8"},
        {WIRE_GET_STATUS, WIRE_GET_STATUS, REPLY, 8, 3, "does not take features"},
        {WIRE_SET_MEM_TABLE, WIRE_SET_MEM_TABLE, REPLY, 8, UINT64_MAX, "refused SET_MEM_TABLE"},
        {WIRE_GET_CONFIG, WIRE_GET_CONFIG, REPLY, 0, 0, "GET_CONFIG: 60 bytes"},
        {WIRE_GET_CONFIG, WIRE_GET_CONFIG, REPLY, 12, UINT64_C(61) << 32, "GET_CONFIG: 60 bytes"},
        {WIRE_SET_VRING_ADDR, WIRE_SET_VRING_ADDR, REPLY, 8, 5, "refused SET_VRING_ADDR of item 0"},
    };

    for (unsigned i = 0; i < sizeof(wrongs) / sizeof(wrongs[0]); i++)
        send_wrong(&wrongs[i]);
}

/* While we run, and after we stopped, a back-end has nothing to say. */
static void test_unasked_messages(void **state)
{
    for (unsigned stops = 0; stops < 2; stops++) {
        struct wire_message message;
        struct hand hand;

        hand_begin(&hand, PROTOCOL_F(MQ) | PROTOCOL_F(REPLY_ACK));
        hand_meet(&hand);
        while (hand.stage->num_started == 0 || hand.stage->num_stopped < stops) {
            if (channel_receive(&hand.channel, &message, NULL) > 0) {
                hand_answer(&hand, &message);
                wire_close_fds(&message);
            }
            turn(hand.stage);
            if (stops && shunt_frontend_is_running(hand.stage->frontend))
                shunt_frontend_stop(hand.stage->frontend);
        }
        assert_int_equal(hand.stage->num_stopped, stops);
        hand_send_u64(&hand, WIRE_GET_VRING_BASE, REPLY, 0);
        WAIT_UNTIL(hand.stage, strstr(shunt_frontend_reason(hand.stage->frontend),
                                      "which is no answer to anything"));
        hand_end(&hand);
    }
}

/* A back-end that accepts and closes in a loop is not asked without a pause. */
static void test_back_end_that_closes(void **state)
{
    uint64_t begin = clock_ms();
    struct hand hand;

    hand_begin(&hand, 0);
    for (unsigned i = 0; i < 5; i++) {
        hand_meet(&hand);
        channel_close(&hand.channel);
    }
    /* 50, 100, 200 and 400 ms lay between. */
    assert_true(clock_ms() - begin >= 700);
    hand_end(&hand);
}

/* Requests that we do not serve are answered with an error, and the connection goes on. */
static void test_requests_of_the_back_end(void **state)
{
    static const uint32_t refused[] = {WIRE_BACKEND_IOTLB_MSG, WIRE_BACKEND_VRING_HOST_NOTIFIER_MSG,
                                       WIRE_BACKEND_VRING_CALL, 77};
    struct wire_message message;
    struct channel requests;
    struct hand hand;

    hand_begin(&hand, PROTOCOL_F(MQ) | PROTOCOL_F(REPLY_ACK) | PROTOCOL_F(BACKEND_REQ));
    hand_meet(&hand);
    hand_answer_until(&hand, WIRE_SET_VRING_ENABLE, &message);
    assert_true(hand.request_fd >= 0);
    channel_open(&requests, hand.request_fd);
    for (unsigned i = 0; i < 4; i++) {
        struct wire_message request = {
            .header = {refused[i], WIRE_VERSION | WIRE_FLAG_NEED_REPLY, 32}};

        assert_int_equal(channel_send_fd(&requests, &request, 0, NULL), 0);
        WAIT_UNTIL(hand.stage, channel_receive(&requests, &message, NULL) > 0);
        assert_int_equal(message.header.request, refused[i]);
        assert_int_equal(message.header.flags, REPLY);
        assert_true(message.payload.u64 != 0);
    }
    assert_true(shunt_frontend_is_connected(hand.stage->frontend));
    hand_end(&hand);
}

/* A second back-end is turned away; the first one stays. */
static void test_second_back_end(void **state)
{
    struct stage *stage = stage_create(0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    struct pollfd gone = {.events = POLLIN};

    become_server(stage);
    WAIT_UNTIL(stage, is_ready(stage));
    memcpy(address.sun_path, stage->device.path, sizeof(stage->device.path));
    gone.fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(connect(gone.fd, (const struct sockaddr *)&address, sizeof(address)), 0);
    WAIT_UNTIL(stage, poll(&gone, 1, 0) > 0 && (gone.revents & POLLHUP));
    close(gone.fd);
    check_data(stage, NUM_QUEUES);
    assert_int_equal(stage->num_stopped, 0);
    stage_destroy(stage);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_FORMATS(test_client, NULL, NULL),
        BOTH_FORMATS_EVENT_IDX(test_client, NULL, NULL),
        BOTH_FORMATS(test_server, NULL, NULL),
        cmocka_unit_test(test_back_end_comes_later),
        cmocka_unit_test(test_features_are_missing),
        cmocka_unit_test(test_back_end_has_less),
        cmocka_unit_test(test_too_few_queues),
        cmocka_unit_test(test_bad_configs),
        BOTH_FORMATS(test_reconnects_of_a_client, NULL, NULL),
        BOTH_FORMATS(test_reconnects_of_a_server, NULL, NULL),
        BOTH_FORMATS(test_adding_without_a_back_end, NULL, NULL),
        cmocka_unit_test(test_next_back_end_has_less),
        BOTH_FORMATS(test_stop_and_start, NULL, NULL),
        cmocka_unit_test(test_start_later),
        cmocka_unit_test(test_enable_queue),
        cmocka_unit_test(test_config_changes),
        cmocka_unit_test(test_memory_is_added),
        cmocka_unit_test(test_ring_breaks),
        cmocka_unit_test(test_back_end_with_few_protocol_features),
        cmocka_unit_test(test_wrong_answers),
        cmocka_unit_test(test_unasked_messages),
        cmocka_unit_test(test_back_end_that_closes),
        cmocka_unit_test(test_requests_of_the_back_end),
        cmocka_unit_test(test_second_back_end),
    };

    return cmocka_run_group_tests_name("front-end", tests, NULL, NULL);
}
