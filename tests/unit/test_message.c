/* SPDX-License-Identifier: BSD-3-Clause */
/* Each message to a back-end: as it should be, and in all the ways in which it should not. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/pair.h"
#include "lib/process.h"

#define ALL        UINT64_MAX
#define NUM(array) (sizeof(array) / sizeof((array)[0]))

/* --- What the table says of each message ------------------------------------------------------------ */

struct row {
    const char *name;
    uint32_t request;
    uint32_t size;
    unsigned max_fds;
    uint64_t protocol_feature;
    bool names_queue;
    bool is_size_free; /* within limits */
    bool replies;
};

#define SLOTS FRONTEND_PROTOCOL_F_CONFIGURE_MEM_SLOTS

static const struct row rows[] = {
    {"GET_FEATURES", 1, .replies = true},
    {"SET_FEATURES", 2, .size = 8},
    {"SET_OWNER", 3, .size = 0},
    {"RESET_OWNER", 4, .size = 0},
    {"SET_MEM_TABLE", 5, .size = 8, .max_fds = 8, .is_size_free = true},
    {"SET_VRING_NUM", 8, .size = 8, .names_queue = true},
    {"SET_VRING_ADDR", 9, .size = 40, .names_queue = true},
    {"SET_VRING_BASE", 10, .size = 8, .names_queue = true},
    {"GET_VRING_BASE", 11, .size = 8, .names_queue = true, .replies = true},
    {"SET_VRING_KICK", 12, .size = 8, .max_fds = 1},
    {"SET_VRING_CALL", 13, .size = 8, .max_fds = 1},
    {"SET_VRING_ERR", 14, .size = 8, .max_fds = 1},
    {"GET_PROTOCOL_FEATURES", 15, .replies = true},
    {"SET_PROTOCOL_FEATURES", 16, .size = 8},
    {"GET_QUEUE_NUM", 17, .protocol_feature = FRONTEND_PROTOCOL_F_MQ, .replies = true},
    {"SET_VRING_ENABLE", 18, .size = 8, .names_queue = true},
    {"GET_CONFIG", 24, .size = 12, .protocol_feature = FRONTEND_PROTOCOL_F_CONFIG,
     .is_size_free = true, .replies = true},
    {"SET_CONFIG", 25, .size = 12, .protocol_feature = FRONTEND_PROTOCOL_F_CONFIG,
     .is_size_free = true},
    {"GET_MAX_MEM_SLOTS", 36, .protocol_feature = SLOTS, .replies = true},
    {"ADD_MEM_REG", 37, .size = 40, .max_fds = 1, .protocol_feature = SLOTS},
    {"REM_MEM_REG", 38, .size = 40, .max_fds = 1, .protocol_feature = SLOTS},
};

static void send_zeroes(struct frontend *frontend, uint32_t request, uint32_t size,
                        unsigned num_fds)
{
    static const uint8_t zeroes[FRONTEND_MAX_PAYLOAD];
    int fds[16];

    for (unsigned i = 0; i < num_fds; i++)
        fds[i] = STDERR_FILENO;
    assert_int_equal(frontend_send(frontend, request, FRONTEND_VERSION, size, zeroes, size, fds,
                                   num_fds),
                     0);
}

static void test_wrong_size(void **state)
{
    static const uint32_t sizes[] = {0, 1, 4, 7, 9, 11, 39, 41, 200, 264, 268};

    for (size_t i = 0; i < NUM(rows); i++) {
        for (size_t j = 0; j < NUM(sizes); j++) {
            bool fits = rows[i].is_size_free ? sizes[j] >= rows[i].size : sizes[j] == rows[i].size;

            if (fits)
                continue;
            send_zeroes(pair_connect(*state), rows[i].request, sizes[j], 0);
            pair_assert_disconnected(*state, rows[i].name);
            pair_assert_disconnected(*state, "payload of");
        }
    }
}

static void test_too_many_fds(void **state)
{
    for (size_t i = 0; i < NUM(rows); i++) {
        for (unsigned num = rows[i].max_fds + 1; num <= 9; num += 3) {
            send_zeroes(pair_connect(*state), rows[i].request, rows[i].size, num);
            pair_assert_disconnected(*state, num <= 8 ? rows[i].name : "");
            pair_assert_disconnected(*state, "file descriptors");
        }
    }
}

static void test_unknown_queue(void **state)
{
    static const uint32_t indices[] = {PAIR_NUM_QUEUES, 256, 0x10000, 0x10001, UINT32_MAX};
    uint32_t payload[10] = {0};

    for (size_t i = 0; i < NUM(rows); i++) {
        for (size_t j = 0; rows[i].names_queue && j < NUM(indices); j++) {
            payload[0] = indices[j];
            assert_int_equal(frontend_send(pair_connect(*state), rows[i].request, FRONTEND_VERSION,
                                           rows[i].size, payload, rows[i].size, NULL, 0),
                             0);
            pair_assert_disconnected(*state, rows[i].name);
            pair_assert_disconnected(*state, "there is no virtqueue");
        }
    }
}

static void test_unknown_queue_of_fd(void **state)
{
    static const unsigned indices[] = {PAIR_NUM_QUEUES, 128, 255};

    for (uint32_t request = FRONTEND_SET_VRING_KICK; request <= FRONTEND_SET_VRING_ERR; request++) {
        for (size_t i = 0; i < NUM(indices); i++) {
            struct pair *pair = *state;

            frontend_set_fd(pair_connect(pair), request, indices[i], pair->driver.kick_fds[0]);
            pair_assert_disconnected(pair, "there is no virtqueue");
        }
    }
}

static void test_feature_not_negotiated(void **state)
{
    for (size_t i = 0; i < NUM(rows); i++) {
        if (!rows[i].protocol_feature)
            continue;
        send_zeroes(pair_connect_with(*state, ALL & ~rows[i].protocol_feature), rows[i].request,
                    rows[i].size, 0);
        pair_assert_disconnected(*state, rows[i].name);
        pair_assert_disconnected(*state, "was not negotiated");
    }
}

static void test_unknown_message(void **state)
{
    static const uint32_t requests[] = {0, 6, 7, 19, 20, 23, 26, 31, 35, 39, 1000, UINT32_MAX};

    for (size_t i = 0; i < NUM(requests); i++) {
        struct frontend_message answer;
        struct frontend *frontend = pair_connect(*state);

        assert_int_equal(frontend_send(frontend, requests[i],
                                       FRONTEND_VERSION | FRONTEND_NEED_REPLY, 0, NULL, 0, NULL, 0),
                         0);
        assert_int_equal(frontend_receive(frontend, &answer), 0);
        assert_int_equal(answer.request, requests[i]);
        assert_int_equal(answer.payload[0], 1);
        pair_assert_disconnected(*state, "is unknown");
    }
}

/* An acknowledgement to each message that has no answer, and no second answer to one that has. */
static void test_acknowledgement(void **state)
{
    for (size_t i = 0; i < NUM(rows); i++) {
        struct frontend *frontend = pair_connect(*state);
        struct frontend_message answer;
        uint8_t payload[FRONTEND_MAX_PAYLOAD] = {0};
        bool is_good;

        if (rows[i].request == FRONTEND_SET_PROTOCOL_FEATURES)
            memcpy(payload, &frontend->protocol_features, 8);
        assert_int_equal(frontend_send(frontend, rows[i].request,
                                       FRONTEND_VERSION | FRONTEND_NEED_REPLY, rows[i].size,
                                       payload, rows[i].size, NULL, 0),
                         0);
        assert_int_equal(frontend_receive(frontend, &answer), 0);
        assert_int_equal(answer.request, rows[i].request);
        assert_int_equal(answer.flags, FRONTEND_VERSION | FRONTEND_REPLY);
        is_good = rows[i].replies || answer.payload[0] == 0;
        if (is_good)
            assert_int_equal(frontend_sync(frontend), 0);
        else
            pair_assert_disconnected(*state, rows[i].name);
    }
}

static void test_no_acknowledgement(void **state)
{
    struct frontend *frontend = pair_connect_with(*state, ALL & ~FRONTEND_PROTOCOL_F_REPLY_ACK);

    assert_int_equal(frontend_send(frontend, FRONTEND_SET_OWNER,
                                   FRONTEND_VERSION | FRONTEND_NEED_REPLY, 0, NULL, 0, NULL, 0),
                     0);
    assert_int_equal(frontend_sync(frontend), 0);
}

static void test_negative_acknowledgement(void **state)
{
    struct frontend *frontend = pair_connect(*state);

    frontend->wants_acks = true;
    assert_int_equal(frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, 0, PAIR_RING_SIZE), 0);
    assert_int_equal(frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, 0, 3), -EREMOTEIO);
    pair_assert_disconnected(*state, "SET_VRING_NUM: virtqueue 0: ring size 3");
}

/* --- Features --------------------------------------------------------------------------------------- */

static void test_features(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint64_t features;

    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_FEATURES, &features), 0);
    assert_int_equal(features, DEVICE_FEATURE | UINT64_C(1) << 27 | UINT64_C(1) << 28 |
                                   UINT64_C(1) << 29 | UINT64_C(1) << 30 | UINT64_C(1) << 32);
    assert_int_equal(shunt_backend_features(pair->device.backend), PAIR_FEATURES);
    assert_int_equal(pair->device.features, PAIR_FEATURES);
    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_PROTOCOL_FEATURES, &features), 0);
    assert_int_equal(features, FRONTEND_PROTOCOL_F_MQ | FRONTEND_PROTOCOL_F_REPLY_ACK |
                                   FRONTEND_PROTOCOL_F_CONFIG | SLOTS);
    assert_int_equal(shunt_backend_protocol_features(pair->device.backend), features);
}

static void test_features_not_offered(void **state)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t features = PAIR_FEATURES | UINT64_C(1) << bit;

        if (bit == 5 || (bit >= 27 && bit <= 30) || bit == 32)
            continue;
        frontend_set_features(pair_connect(*state), features);
        pair_assert_disconnected(*state, "were not offered");
        frontend_set_protocol_features(pair_connect(*state), UINT64_C(1) << 63);
        pair_assert_disconnected(*state, "were not offered");
    }
}

static void test_numbers(void **state)
{
    struct frontend *frontend = pair_connect(*state);
    uint64_t value;

    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_QUEUE_NUM, &value), 0);
    assert_int_equal(value, PAIR_NUM_QUEUES / 2);
    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_MAX_MEM_SLOTS, &value), 0);
    assert_int_equal(value, 128);
}

/* --- Rings ------------------------------------------------------------------------------------------ */

static void test_ring_sizes(void **state)
{
    static const uint32_t bad[] = {0, 3, 24, 32767, 32769, 65536, 65536 + 16, UINT32_MAX};
    struct frontend *frontend = pair_connect(*state);

    for (uint32_t size = 1; size <= 32768; size *= 2)
        frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, 1, size);
    assert_int_equal(frontend_sync(frontend), 0);
    for (size_t i = 0; i < NUM(bad); i++) {
        frontend_set_state(pair_connect(*state), FRONTEND_SET_VRING_NUM, 1, bad[i]);
        pair_assert_disconnected(*state, "SET_VRING_NUM: virtqueue 1: ring size");
    }
}

static void test_ring_sizes_in_a_loop(void **state)
{
    struct frontend *frontend = pair_connect(*state);

    for (unsigned i = 0; i < 10000; i++)
        assert_int_equal(frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, 0, 1u << i % 16), 0);
    assert_int_equal(frontend_sync(frontend), 0);
}

static void test_ring_addresses(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring good = driver_ring(&pair->driver, 0), bad = good;

    frontend_set_addresses(pair_connect(pair), 0, &good);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    bad.descriptor += 8;
    frontend_set_addresses(pair_connect(pair), 0, &bad);
    pair_assert_disconnected(pair, "descriptor area");
    bad = good;
    bad.available += 1;
    frontend_set_addresses(pair_connect(pair), 0, &bad);
    pair_assert_disconnected(pair, "available ring");
    bad = good;
    bad.used += 2;
    frontend_set_addresses(pair_connect(pair), 0, &bad);
    pair_assert_disconnected(pair, "is not aligned to 4 bytes");
}

/* Where a ring lies is known when it starts: then each of its areas must be in one region. */
static void test_ring_outside_of_memory(void **state)
{
    struct pair *pair = *state;
    struct frontend_ring good = driver_ring(&pair->driver, 0);
    uint64_t end = DRIVER_USER_ADDR + PAIR_MEMORY_BYTES;
    uint64_t *const areas[] = {&good.descriptor, &good.available, &good.used};
    const uint64_t wrong[] = {end - 16, end, DRIVER_GUEST_ADDR, 0, UINT64_MAX - 15};

    for (size_t i = 0; i < NUM(areas); i++) {
        uint64_t before = *areas[i];

        for (size_t j = 0; j < NUM(wrong); j++) {
            struct frontend *frontend = pair_connect(pair);

            *areas[i] = wrong[j];
            frontend_setup_ring(frontend, 0, &good);
            driver_kick(&pair->driver, 0);
            pair_assert_disconnected(pair, "does not lie in one region of guest memory");
        }
        *areas[i] = before;
    }
}

static void test_ring_base(void **state)
{
    struct frontend *frontend = pair_connect(*state);
    uint32_t base;

    frontend_set_state(frontend, FRONTEND_SET_VRING_BASE, 2, 65535);
    assert_int_equal(frontend_get_base(frontend, 2, &base), 0);
    assert_int_equal(base, 65535);
    frontend_set_state(frontend, FRONTEND_SET_VRING_BASE, 2, 65536);
    pair_assert_disconnected(*state, "does not fit into 16 bits");
}

static void test_enable(void **state)
{
    frontend_set_state(pair_connect(*state), FRONTEND_SET_VRING_ENABLE, 0, 2);
    pair_assert_disconnected(*state, "SET_VRING_ENABLE");
}

/* QEMU's virtio-net enables its rings before it tells of the features that the driver accepted. */
static void test_enable_before_features(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_open(pair);

    assert_int_equal(frontend_enable(frontend, 0, true), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_true(device_is_enabled(&pair->device, 0));
}

/* --- Eventfds --------------------------------------------------------------------------------------- */

static void assert_fd_refused(struct pair *pair, int fd)
{
    for (uint32_t request = FRONTEND_SET_VRING_KICK; request <= FRONTEND_SET_VRING_ERR; request++) {
        frontend_set_fd(pair_connect(pair), request, 0, fd);
        pair_assert_disconnected(pair, "is not an eventfd");
    }
    close(fd);
}

static void test_other_descriptors(void **state)
{
    int pair[2];

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    assert_fd_refused(*state, pair[0]);
    assert_fd_refused(*state, pair[1]);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
    assert_fd_refused(*state, pair[0]);
    assert_fd_refused(*state, pair[1]);
    assert_fd_refused(*state, open("/dev/null", O_RDWR | O_CLOEXEC));
    assert_fd_refused(*state, timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC));
    assert_fd_refused(*state, epoll_create1(EPOLL_CLOEXEC));
    assert_fd_refused(*state, memfd_create("anon_inode:[eventfd]", MFD_CLOEXEC));
}

static void test_fd_and_none(void **state)
{
    struct pair *pair = *state;
    uint64_t none = FRONTEND_NO_FD, one = 0;

    for (uint32_t request = FRONTEND_SET_VRING_KICK; request <= FRONTEND_SET_VRING_ERR; request++) {
        frontend_call(pair_connect(pair), request, &none, 8, &pair->driver.kick_fds[0], 1);
        pair_assert_disconnected(pair, "1 file descriptors, but the message announces 0");
        frontend_call(pair_connect(pair), request, &one, 8, NULL, 0);
        pair_assert_disconnected(pair, "0 file descriptors, but the message announces 1");
    }
}

/* A descriptor that replaces another leaves nothing of it behind (see teardown). */
static void test_fds_in_a_loop(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    unsigned num_fds;

    for (unsigned i = 0; i < 200; i++) {
        int fd = i % 5 ? pair->driver.kick_fds[0] : -1;

        frontend_set_fd(frontend, FRONTEND_SET_VRING_CALL, 0, fd);
        frontend_set_fd(frontend, FRONTEND_SET_VRING_ERR, 1, fd);
        if (fd >= 0)
            frontend_set_fd(frontend, FRONTEND_SET_VRING_KICK, 2, fd);
        assert_int_equal(frontend_sync(frontend), 0);
        if (i == 1)
            num_fds = process_num_fds(0);
    }
    assert_int_equal(process_num_fds(0), num_fds);
}

/* --- Configuration space ---------------------------------------------------------------------------- */

static void test_config(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint8_t data[DEVICE_CONFIG_BYTES];

    for (unsigned i = 0; i < sizeof(data); i++)
        pair->device.config[i] = (uint8_t)(i + 1);
    assert_int_equal(frontend_get_config(frontend, 0, data, sizeof(data)), 0);
    assert_memory_equal(data, pair->device.config, sizeof(data));
    assert_int_equal(frontend_get_config(frontend, 57, data, 3), 0);
    assert_memory_equal(data, pair->device.config + 57, 3);
    assert_int_equal(frontend_set_config(frontend, 58, "\xaa\xbb", 2), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair->device.config[57], 58);
    assert_int_equal(pair->device.config[58], 0xaa);
    assert_int_equal(pair->device.config[59], 0xbb);
}

/* A refused read is answered by an empty payload, a refused write ends the connection. */
static void test_config_out_of_range(void **state)
{
    static const uint32_t ranges[][2] = {{0, 61}, {60, 1}, {59, 2}, {UINT32_MAX, 1}, {1, 256}};
    struct frontend *frontend = pair_connect(*state);
    uint8_t data[FRONTEND_CONFIG_BYTES] = {0};

    for (size_t i = 0; i < NUM(ranges); i++)
        assert_int_equal(frontend_get_config(frontend, ranges[i][0], data, ranges[i][1]),
                         -EREMOTEIO);
    for (size_t i = 0; i < NUM(ranges); i++) {
        frontend_set_config(pair_connect(*state), ranges[i][0], data, ranges[i][1]);
        pair_assert_disconnected(*state, "of a configuration space of 60");
    }
}

/* The size inside of the payload is not that of the payload. */
static void test_config_of_other_size(void **state)
{
    struct frontend_config config = {.offset = 0, .size = 8};
    struct frontend *frontend = pair_connect(*state);
    struct frontend_message answer;

    assert_int_equal(frontend_ask(frontend, FRONTEND_GET_CONFIG, &config, 12, &answer), 0);
    assert_int_equal(answer.size, 0);
    config.size = UINT32_MAX - 11;
    assert_int_equal(frontend_ask(frontend, FRONTEND_GET_CONFIG, &config, 20, &answer), 0);
    assert_int_equal(answer.size, 0);
    frontend_call(frontend, FRONTEND_SET_CONFIG, &config, 20, NULL, 0);
    pair_assert_disconnected(*state, "SET_CONFIG");
}

static void test_config_refused_by_program(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint8_t data[4] = {0};

    pair->device.config_result = -EIO;
    assert_int_equal(frontend_get_config(frontend, 0, data, 4), -EREMOTEIO);
    frontend_set_config(frontend, 0, data, 4);
    pair_assert_disconnected(pair, "SET_CONFIG");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_size),
        TEST(test_too_many_fds),
        TEST(test_unknown_queue),
        TEST(test_unknown_queue_of_fd),
        TEST(test_feature_not_negotiated),
        TEST(test_unknown_message),
        TEST(test_acknowledgement),
        TEST(test_no_acknowledgement),
        TEST(test_negative_acknowledgement),
        TEST(test_features),
        TEST(test_features_not_offered),
        TEST(test_numbers),
        TEST(test_ring_sizes),
        TEST(test_ring_sizes_in_a_loop),
        TEST(test_ring_addresses),
        TEST(test_ring_outside_of_memory),
        TEST(test_ring_base),
        TEST(test_enable),
        TEST(test_enable_before_features),
        TEST(test_other_descriptors),
        TEST(test_fd_and_none),
        TEST(test_fds_in_a_loop),
        TEST(test_config),
        TEST(test_config_out_of_range),
        TEST(test_config_of_other_size),
        TEST(test_config_refused_by_program),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
