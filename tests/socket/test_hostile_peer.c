/* SPDX-License-Identifier: BSD-3-Clause */
/* A peer that breaks the rules of the vhost-user protocol: it loses its own connection, and nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "socket/frame.h"
#include "socket/hostile.h"

#define NUM(array) (sizeof(array) / sizeof((array)[0]))

/* --- Framing ---------------------------------------------------------------------------------------- */

static void test_bad_headers(void **state)
{
    static const struct {
        uint32_t header[3];
        const char *reason;
    } messages[] = {
        {{1, 0, 0}, "protocol version 0"},
        {{1, 2, 0}, "protocol version 2"},
        {{5, 1, 1 << 20}, "more than any has"},
        {{5, 1, UINT32_MAX}, "more than any has"},
        {{0, 1, 0}, "message 0 is unknown"},
        {{46, 1, 0}, "message 46 is unknown"},
        {{4711, 1, 0}, "message 4711 is unknown"},
        {{UINT32_MAX, 1, 0}, "is unknown"},
        {{1, 1, 4}, "GET_FEATURES"},
        {{2, 1, 0}, "SET_FEATURES"},
        {{9, 1, 8}, "SET_VRING_ADDR"},
        {{37, 1, 264}, "ADD_MEM_REG"},
    };
    static const uint8_t zeroes[300];

    for (size_t i = 0; i < NUM(messages); i++) {
        struct frontend *frontend = &hostile_attach(*state)->frontend;
        const uint32_t *header = messages[i].header;
        size_t len = header[2] <= sizeof(zeroes) ? header[2] : 0;

        assert_int_equal(frontend_send(frontend, header[0], header[1], header[2], zeroes, len, NULL,
                                       0),
                         0);
        hostile_assert_disconnected(*state, messages[i].reason);
    }
}

static void test_surplus_descriptors(void **state)
{
    static const unsigned nums[] = {1, 2, 8, 9, 16, 253};
    int fds[253];

    for (size_t i = 0; i < NUM(nums); i++) {
        struct driver *driver = hostile_attach(*state);

        for (unsigned j = 0; j < nums[i]; j++)
            fds[j] = driver->kick_fds[0];
        assert_int_equal(frontend_send(&driver->frontend, FRONTEND_GET_FEATURES, FRONTEND_VERSION,
                                       0, NULL, 0, fds, nums[i]),
                         0);
        hostile_assert_disconnected(*state, "file descriptor");
    }
}

/* A byte at a time is allowed; to stop in the middle is, too. */
static void test_slowly(void **state)
{
    struct hostile *hostile = *state;
    struct frontend *frontend = &hostile_attach(hostile)->frontend;
    const uint32_t header[3] = {FRONTEND_GET_FEATURES, FRONTEND_VERSION, 0};
    const uint32_t half[4] = {FRONTEND_SET_MEM_TABLE, FRONTEND_VERSION, 264, 8};
    struct frontend_message answer;

    for (size_t i = 0; i < sizeof(header); i++) {
        assert_int_equal(frontend_send_bytes(frontend, (const uint8_t *)header + i, 1, NULL, 0), 0);
        usleep(1000);
    }
    assert_int_equal(frontend_receive(frontend, &answer), 0);
    assert_int_equal(frontend_send_bytes(frontend, half, sizeof(half),
                                         hostile->evil.driver.kick_fds, 2),
                     0);
    hostile_assert_others_go_on(hostile);
    hostile_assert_unharmed(hostile);
}

static void test_does_not_read(void **state)
{
    struct hostile *hostile = *state;
    int fd = hostile_attach(hostile)->frontend.fd;
    const uint32_t header[3] = {FRONTEND_GET_FEATURES, FRONTEND_VERSION, 0};
    ssize_t num;

    do
        num = send(fd, header, sizeof(header), MSG_NOSIGNAL);
    while (num > 0);
    hostile_assert_disconnected(hostile, "replying to message 1");
}

static void test_a_thousand_connections(void **state)
{
    struct hostile *hostile = *state;
    struct frontend frontends[100];
    char path[128];

    hostile_attach(hostile);
    lab_socket(hostile->lab, path, sizeof(path), "evil");
    for (unsigned round = 0; round < 10; round++) {
        for (unsigned i = 0; i < NUM(frontends); i++)
            assert_int_equal(frontend_open(&frontends[i], path), 0);
        for (unsigned i = 0; i < NUM(frontends); i++) {
            assert_int_equal(frontend_wait_closed(&frontends[i]), 0);
            frontend_close(&frontends[i]);
        }
    }
    hostile_assert_unharmed(hostile);
}

/* --- Noise ------------------------------------------------------------------------------------------ */

static uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

/* Messages that are whole, with payloads, sizes and descriptors at random, until it is disconnected. */
static void send_noise(struct driver *driver, uint32_t *seed)
{
    struct frontend *frontend = &driver->frontend;
    uint8_t payload[300];
    int fds[9], result = 0;

    for (unsigned i = 0; i < 200 && result == 0; i++) {
        uint32_t request = next_random(seed) % 40, size = next_random(seed) % 5 * 8;
        unsigned num_fds = next_random(seed) % 4 ? 0 : next_random(seed) % 9;

        for (size_t j = 0; j < sizeof(payload); j++)
            payload[j] = next_random(seed) % 2 ? 0 : (uint8_t)next_random(seed);
        for (unsigned j = 0; j < num_fds; j++)
            fds[j] = next_random(seed) % 2 ? driver->kick_fds[0] : driver->area.fd;
        result = frontend_send(frontend, request, FRONTEND_VERSION | (next_random(seed) & 8), size,
                               payload, size, fds, num_fds);
    }
}

static void test_noise(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = &hostile->evil.driver;
    uint32_t seed = 4711;
    char path[128];

    lab_socket(hostile->lab, path, sizeof(path), "evil");
    for (unsigned i = 0; i < 300; i++) {
        int result;

        guest_detach(&hostile->evil);
        result = i % 2 ? driver_connect(driver, path, GUEST_F_MODERN, UINT64_MAX)
                       : frontend_open(&driver->frontend, path);
        assert_int_equal(result, 0);
        send_noise(driver, &seed);
    }
    hostile_attach(hostile);
    hostile_assert_unharmed(hostile);
}

static void test_garbage(void **state)
{
    struct hostile *hostile = *state;
    struct frontend *frontend = &hostile->evil.driver.frontend;
    uint32_t seed = 815, bytes[256];
    char path[128];

    lab_socket(hostile->lab, path, sizeof(path), "evil");
    for (unsigned i = 0; i < 300; i++) {
        guest_detach(&hostile->evil);
        assert_int_equal(frontend_open(frontend, path), 0);
        for (size_t j = 0; j < NUM(bytes); j++)
            bytes[j] = next_random(&seed);
        frontend_send_bytes(frontend, bytes, 1 + next_random(&seed) % sizeof(bytes), NULL, 0);
    }
    hostile_attach(hostile);
    hostile_assert_unharmed(hostile);
}

/* --- Rings and their descriptors -------------------------------------------------------------------- */

static void test_bad_ring_sizes(void **state)
{
    static const uint32_t sizes[] = {0, 3, 65535, 65536, UINT32_MAX};

    for (size_t i = 0; i < NUM(sizes); i++) {
        struct frontend *frontend = &hostile_attach(*state)->frontend;

        frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, 0, sizes[i]);
        hostile_assert_disconnected(*state, "SET_VRING_NUM");
    }
}

static void test_unknown_rings(void **state)
{
    static const uint32_t indices[] = {2, 255, 0x10000, 0x10001, UINT32_MAX};

    for (size_t i = 0; i < NUM(indices); i++) {
        struct frontend *frontend = &hostile_attach(*state)->frontend;

        frontend_set_state(frontend, FRONTEND_SET_VRING_ENABLE, indices[i], 1);
        hostile_assert_disconnected(*state, "there is no virtqueue");
    }
}

static void test_not_eventfds(void **state)
{
    int pair[2];

    assert_int_equal(pipe2(pair, O_CLOEXEC), 0);
    for (uint32_t request = FRONTEND_SET_VRING_KICK; request <= FRONTEND_SET_VRING_ERR; request++) {
        frontend_set_fd(&hostile_attach(*state)->frontend, request, 1, pair[1]);
        hostile_assert_disconnected(*state, "is not an eventfd");
    }
    close(pair[0]);
    close(pair[1]);
}

/* Full to the brim, so that a write to it would block. */
static void test_full_call_descriptor(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);
    const uint64_t most = UINT64_MAX - 1;

    assert_int_equal(write(driver->call_fds[1], &most, sizeof(most)), sizeof(most));
    for (unsigned i = 0; i < 10; i++) {
        struct ring_buffer buffer = driver_buffer(driver, 0, 100, false);

        driver_add(driver, 1, &buffer, 1);
    }
    lab_wait_counter(hostile->lab, "evil", "rx", "packets", 10);
    hostile_assert_others_go_on(hostile);
}

static void test_features_while_running(void **state)
{
    struct frontend *frontend = &hostile_attach(*state)->frontend;

    frontend_set_features(frontend, GUEST_F_VERSION_1 | FRONTEND_F_PROTOCOL_FEATURES);
    hostile_assert_disconnected(*state, "while rings run");
}

/* --- Memory ----------------------------------------------------------------------------------------- */

static void test_bad_regions(void **state)
{
    static const struct {
        struct frontend_region region;
        const char *reason;
    } tables[] = {
        {{0, 0, 0, 0}, "has size 0"},
        {{0, UINT64_C(1) << 40, 0, 0}, "reach beyond its file"},
        {{0, 4096, 0, UINT64_MAX - 4095}, "reach beyond its file"},
        {{UINT64_MAX - 10, 4096, 0, 0}, "wraps around"},
        {{0, 4096, UINT64_MAX - 10, 0}, "wraps around"},
        {{0, UINT64_MAX, 2, 0}, "wraps around"},
    };

    for (size_t i = 0; i < NUM(tables); i++) {
        struct driver *driver = hostile_attach(*state);

        frontend_set_memory(&driver->frontend, &tables[i].region, &driver->area.fd, 1);
        hostile_assert_disconnected(*state, tables[i].reason);
    }
}

/* The memory goes from under the rings. */
static void test_rings_unmapped(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);
    struct frontend_region region = driver_region(driver);

    assert_int_equal(frontend_set_memory(&driver->frontend, NULL, NULL, 0), 0);
    lab_wait_state(hostile->lab, "evil", "down");
    lab_wait_reason(hostile->lab, "evil", "the ring no longer lies in guest memory");
    hostile_assert_others_go_on(hostile);
    assert_int_equal(frontend_set_memory(&driver->frontend, &region, &driver->area.fd, 1), 0);
    hostile_assert_broken(hostile, "the ring no longer lies in guest memory");
}

/* --- Under load ------------------------------------------------------------------------------------- */

/*
 * Fills the ring again, as far as it has places. One frame goes to everybody; more would fill the rings of
 * the others, as any guest may do.
 */
static void load(struct guest *guest)
{
    static uint8_t frame[1000];

    frame_fill(frame, sizeof(frame), frame_broadcast, guest->mac, 0);
    for (unsigned i = 0; i < 32 && guest_queue_frame(guest, 0, frame, sizeof(frame)); i++)
        memcpy(frame, guest->mac, 6);
    guest_flush(guest, 0);
}

static void test_table_replaced_under_load(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);
    struct frontend_region halves[2] = {driver_region(driver), driver_region(driver)};
    int fds[2] = {driver->area.fd, driver->area.fd};
    struct frontend_region whole = halves[0];

    halves[0].size /= 2;
    halves[1].size -= halves[0].size;
    halves[1].guest_addr += halves[0].size;
    halves[1].user_addr += halves[0].size;
    halves[1].fd_offset += halves[0].size;
    for (unsigned i = 0; i < 500; i++) {
        load(&hostile->evil);
        if (i % 2)
            frontend_set_memory(&driver->frontend, &whole, fds, 1);
        else
            frontend_set_memory(&driver->frontend, halves, fds, 2);
    }
    assert_int_equal(frontend_sync(&driver->frontend), 0);
    hostile_assert_unharmed(hostile);
}

static void test_reset_owner_under_load(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (unsigned i = 0; i < 20; i++) {
        load(&hostile->evil);
        assert_int_equal(frontend_call(&driver->frontend, FRONTEND_RESET_OWNER, NULL, 0, NULL, 0),
                         0);
        lab_wait_state(hostile->lab, "evil", "connecting");
        for (unsigned ring = 0; ring < 2; ring++)
            assert_int_equal(frontend_enable(&driver->frontend, ring, true), 0);
        lab_wait_state(hostile->lab, "evil", "up");
    }
    hostile_assert_unharmed(hostile);
}

static void test_descriptors_replaced_under_load(void **state)
{
    struct hostile *hostile = *state;
    struct driver *driver = hostile_attach(hostile);

    for (unsigned i = 0; i < 1000; i++) {
        load(&hostile->evil);
        frontend_set_fd(&driver->frontend, FRONTEND_SET_VRING_CALL, i % 2, driver->call_fds[i % 2]);
        frontend_set_fd(&driver->frontend, FRONTEND_SET_VRING_KICK, i % 2, driver->kick_fds[i % 2]);
        frontend_enable(&driver->frontend, i % 2, i % 8 > 3);
    }
    for (unsigned i = 0; i < 2; i++)
        frontend_enable(&driver->frontend, i, true);
    assert_int_equal(frontend_sync(&driver->frontend), 0);
    hostile_assert_unharmed(hostile);
}

static void test_restarted_under_load(void **state)
{
    struct hostile *hostile = *state;

    hostile_attach(hostile);
    for (unsigned i = 0; i < 200; i++) {
        load(&hostile->evil);
        guest_reset(&hostile->evil);
    }
    hostile_assert_unharmed(hostile);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, hostile_setup, hostile_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_bad_headers),
        TEST(test_surplus_descriptors),
        TEST(test_slowly),
        TEST(test_does_not_read),
        TEST(test_a_thousand_connections),
        TEST(test_noise),
        TEST(test_garbage),
        TEST(test_bad_ring_sizes),
        TEST(test_unknown_rings),
        TEST(test_not_eventfds),
        TEST(test_full_call_descriptor),
        TEST(test_features_while_running),
        TEST(test_bad_regions),
        TEST(test_rings_unmapped),
        TEST(test_table_replaced_under_load),
        TEST(test_reset_owner_under_load),
        TEST(test_descriptors_replaced_under_load),
        TEST(test_restarted_under_load),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
