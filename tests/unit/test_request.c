/* SPDX-License-Identifier: BSD-3-Clause */
/* What the back-end has to tell the front-end, and front-ends that answer no, rubbish, or nothing. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "lib/pair.h"
#include "lib/process.h"
#include "vhost_user/backend.h"

#define IN_BAND                                                                                    \
    (FRONTEND_PROTOCOL_F_MQ | FRONTEND_PROTOCOL_F_REPLY_ACK | FRONTEND_PROTOCOL_F_BACKEND_REQ |    \
     FRONTEND_PROTOCOL_F_INBAND_NOTIFICATIONS | FRONTEND_PROTOCOL_F_CONFIG)
#define ACCESS_PLATFORM (UINT64_C(1) << 33)
#define WITHOUT_ACKS    (FRONTEND_PROTOCOL_F_MQ | FRONTEND_PROTOCOL_F_BACKEND_REQ)

/* What lies between the addresses that the guest's IOMMU gives out and those behind it. */
#define IO_OFFSET UINT64_C(0x100000000)

struct fixture {
    struct pair *pair;
    struct frontend requests; /* our end */
};

static int setup(void **state)
{
    static struct fixture fixture;
    int result = pair_setup(state);

    fixture.pair = *state;
    frontend_adopt(&fixture.requests, -1);
    *state = &fixture;
    return result;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    frontend_close(&fixture->requests);
    *state = fixture->pair;
    return pair_teardown(state);
}

static void open_requests(struct fixture *fixture)
{
    frontend_close(&fixture->requests);
    assert_int_equal(frontend_open_requests(&fixture->pair->driver.frontend, &fixture->requests),
                     0);
    assert_int_equal(frontend_sync(&fixture->pair->driver.frontend), 0);
}

static void connect_with(struct fixture *fixture, uint64_t protocol_features)
{
    pair_connect_with(fixture->pair, protocol_features);
    open_requests(fixture);
}

static void expect(struct fixture *fixture, uint32_t request, void *payload, uint32_t size)
{
    struct frontend_message message = {0};

    assert_int_equal(frontend_receive(&fixture->requests, &message), 0);
    assert_int_equal(message.request, request);
    assert_int_equal(message.flags & 3, FRONTEND_VERSION);
    assert_int_equal(message.size, size);
    if (size > 0)
        memcpy(payload, message.payload, size);
}

static void expect_for_queue(struct fixture *fixture, uint32_t request, unsigned idx)
{
    struct frontend_state state;

    expect(fixture, request, &state, sizeof(state));
    assert_int_equal(state.idx, idx);
    assert_int_equal(state.num, 0);
}

/* After everything that was to be done. */
static void expect_nothing(struct fixture *fixture)
{
    struct pollfd socket = {.fd = fixture->requests.fd, .events = POLLIN};

    device_run(&fixture->pair->device);
    assert_int_equal(poll(&socket, 1, 0), 0);
}

/* --- Notifications in band -------------------------------------------------------------------------- */

/* All but the descriptors. */
static void setup_ring(struct fixture *fixture, unsigned idx)
{
    struct frontend *frontend = &fixture->pair->driver.frontend;
    struct frontend_ring ring = driver_ring(&fixture->pair->driver, idx);

    frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, idx, ring.size);
    frontend_set_state(frontend, FRONTEND_SET_VRING_BASE, idx, ring.base);
    frontend_set_addresses(frontend, idx, &ring);
    frontend_enable(frontend, idx, true);
    assert_int_equal(frontend_sync(frontend), 0);
}

static void kick(struct fixture *fixture, unsigned idx)
{
    struct frontend *frontend = &fixture->pair->driver.frontend;

    assert_int_equal(frontend_set_state(frontend, FRONTEND_VRING_KICK, idx, 0), 0);
    assert_int_equal(frontend_sync(frontend), 0);
}

/* Adds a chain to the ring and tells the device by a message alone. */
static void add_and_kick(struct fixture *fixture, unsigned idx)
{
    struct pair *pair = fixture->pair;
    struct ring_buffer buffer = driver_buffer(&pair->driver, 0, 64, true);

    assert_true(ring_add(&pair->driver.rings[idx], &buffer, 1) >= 0);
    ring_publish(&pair->driver.rings[idx]);
    kick(fixture, idx);
}

static void start_in_band(struct fixture *fixture, unsigned idx)
{
    connect_with(fixture, IN_BAND);
    setup_ring(fixture, idx);
    assert_false(device_is_started(&fixture->pair->device, idx));
    add_and_kick(fixture, idx);
    assert_true(device_is_started(&fixture->pair->device, idx));
}

static void take_used(struct fixture *fixture, unsigned idx)
{
    struct ring_used used;

    assert_true(ring_take_used(&fixture->pair->driver.rings[idx], &used));
}

static void test_kick_and_call(void **state)
{
    struct fixture *fixture = *state;
    struct device *device = &fixture->pair->device;

    start_in_band(fixture, 1);
    for (unsigned i = 0; i < 20; i++) {
        assert_int_equal(device_echo(device, 1), 1);
        expect_for_queue(fixture, FRONTEND_BACKEND_VRING_CALL, 1);
        expect_nothing(fixture);
        take_used(fixture, 1);
        add_and_kick(fixture, 1);
    }
}

/* Whoever works on the ring sleeps on a descriptor, as on any other ring. */
static void test_kick_wakes(void **state)
{
    struct fixture *fixture = *state;
    struct device *device = &fixture->pair->device;
    struct shunt_virtqueue *queue = pair_virtqueue(fixture->pair, 0);
    int fd;

    start_in_band(fixture, 0);
    fd = shunt_virtqueue_kick_fd(queue);
    assert_true(fd >= 0);
    assert_int_equal(device_echo(device, 0), 1);
    assert_int_equal(frontend_wait_event(fd, 0), 0);
    assert_int_equal(frontend_wait_event(fd, 0), -ETIMEDOUT);
    kick(fixture, 0);
    assert_int_equal(frontend_wait_event(fd, 0), 0);
}

static void test_error(void **state)
{
    struct fixture *fixture = *state;

    start_in_band(fixture, 0);
    assert_int_equal(device_echo(&fixture->pair->device, 0), 1);
    expect_for_queue(fixture, FRONTEND_BACKEND_VRING_CALL, 0);
    pair_break_queue(fixture->pair, 0);
    expect_for_queue(fixture, FRONTEND_BACKEND_VRING_ERR, 0);
    expect_nothing(fixture);
}

/* A descriptor that the front-end sets is preferred, whenever it comes. */
static void test_descriptors_are_preferred(void **state)
{
    struct fixture *fixture = *state;
    struct driver *driver = &fixture->pair->driver;

    start_in_band(fixture, 0);
    assert_int_equal(frontend_set_fd(&driver->frontend, FRONTEND_SET_VRING_CALL, 0,
                                     driver->call_fds[0]),
                     0);
    assert_int_equal(frontend_sync(&driver->frontend), 0);
    assert_int_equal(frontend_wait_event(driver->call_fds[0], 0), 0);
    assert_int_equal(device_echo(&fixture->pair->device, 0), 1);
    assert_int_equal(frontend_wait_event(driver->call_fds[0], 0), 0);
    expect_nothing(fixture);
    connect_with(fixture, IN_BAND);
    driver_reset_ring(driver, 0);
    pair_start(fixture->pair, 0);
    pair_assert_works(fixture->pair, 0);
    expect_nothing(fixture);
}

static void test_polled(void **state)
{
    struct fixture *fixture = *state;
    struct frontend *frontend = &fixture->pair->driver.frontend;

    connect_with(fixture, IN_BAND);
    setup_ring(fixture, 0);
    frontend_set_fd(frontend, FRONTEND_SET_VRING_CALL, 0, -1);
    frontend_set_fd(frontend, FRONTEND_SET_VRING_KICK, 0, -1);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_true(device_is_started(&fixture->pair->device, 0));
    assert_int_equal(shunt_virtqueue_kick_fd(pair_virtqueue(fixture->pair, 0)), -1);
    add_and_kick(fixture, 0);
    assert_int_equal(device_echo(&fixture->pair->device, 0), 1);
    expect_nothing(fixture);
}

/* What was returned before the ring stopped is told before the answer says that it is stopped. */
static void test_last_call(void **state)
{
    struct fixture *fixture = *state;
    uint32_t base;

    start_in_band(fixture, 0);
    assert_int_equal(device_echo(&fixture->pair->device, 0), 1);
    assert_int_equal(frontend_get_base(&fixture->pair->driver.frontend, 0, &base), 0);
    expect_for_queue(fixture, FRONTEND_BACKEND_VRING_CALL, 0);
    expect_nothing(fixture);
    take_used(fixture, 0);
    frontend_set_state(&fixture->pair->driver.frontend, FRONTEND_SET_VRING_BASE, 0, base);
    add_and_kick(fixture, 0);
    assert_int_equal(device_echo(&fixture->pair->device, 0), 1);
    expect_for_queue(fixture, FRONTEND_BACKEND_VRING_CALL, 0);
}

/* It never reads: calls become one that is due. Then it reads, and gets on. */
static void test_does_not_read(void **state)
{
    struct fixture *fixture = *state;
    struct device *device = &fixture->pair->device;
    struct frontend_message message;
    unsigned num_read = 0, num_fds;
    struct pollfd socket;

    start_in_band(fixture, 0);
    num_fds = process_num_fds(0);
    for (unsigned i = 0; i < 5000; i++) {
        struct shunt_virtqueue *queue = pair_virtqueue(fixture->pair, 0);

        shunt_virtqueue_lock(queue);
        virtqueue_notify(queue);
        shunt_virtqueue_unlock(queue);
        device_run(device);
        assert_true(shunt_backend_is_connected(device->backend));
    }
    assert_int_equal(process_num_fds(0), num_fds);
    assert_true(device->backend->requests.is_full);
    socket = (struct pollfd){.fd = fixture->requests.fd, .events = POLLIN};
    while (device_run(device), poll(&socket, 1, 0) > 0) {
        assert_int_equal(frontend_receive(&fixture->requests, &message), 0);
        assert_int_equal(message.request, FRONTEND_BACKEND_VRING_CALL);
        num_read++;
    }
    assert_in_range(num_read, 2, 4999);
    assert_false(device->backend->requests.is_full);
    assert_int_equal(device_echo(device, 0), 1);
    expect_for_queue(fixture, FRONTEND_BACKEND_VRING_CALL, 0);
}

/* --- The configuration space, and notifiers --------------------------------------------------------- */

/* It is sent once, however often it changed, and not before a ring runs. */
static void test_config_change(void **state)
{
    struct fixture *fixture = *state;
    struct device *device = &fixture->pair->device;

    assert_int_equal(shunt_backend_config_changed(device->backend), -ENOTSUP);
    connect_with(fixture, WITHOUT_ACKS);
    assert_int_equal(shunt_backend_config_changed(device->backend), -ENOTSUP);
    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(shunt_backend_config_changed(device->backend), 0);
    expect_nothing(fixture);
    pair_start(fixture->pair, 0);
    expect(fixture, FRONTEND_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);
    expect_nothing(fixture);
    assert_int_equal(shunt_backend_config_changed(device->backend), 0);
    expect(fixture, FRONTEND_BACKEND_CONFIG_CHANGE_MSG, NULL, 0);
    assert_int_equal(driver_stop(&fixture->pair->driver, 0), 0);
    assert_int_equal(shunt_backend_config_changed(device->backend), 0);
    expect_nothing(fixture);
}

static void test_host_notifier(void **state)
{
    struct fixture *fixture = *state;
    struct shunt_backend *backend = fixture->pair->device.backend;
    struct frontend_message message;
    struct frontend_area area;
    int file = eventfd(0, EFD_CLOEXEC), fd;

    assert_int_equal(shunt_backend_set_host_notifier(backend, 0, file, 0, 4096), -ENOTSUP);
    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    pair_start(fixture->pair, 0);
    assert_int_equal(shunt_backend_set_host_notifier(backend, 1, file, 8192, 4096), 0);
    close(file);
    assert_int_equal(frontend_receive_fd(&fixture->requests, &message, &fd), 0);
    assert_int_equal(message.request, FRONTEND_BACKEND_VRING_HOST_NOTIFIER_MSG);
    assert_int_equal(message.flags, FRONTEND_VERSION | FRONTEND_NEED_REPLY);
    memcpy(&area, message.payload, sizeof(area));
    assert_int_equal(area.idx, 1);
    assert_int_equal(area.size, 4096);
    assert_int_equal(area.offset, 8192);
    assert_true(fd >= 0);
    close(fd);
    /* Refused: the guest goes on with its kicks. */
    frontend_answer(&fixture->requests, FRONTEND_BACKEND_VRING_HOST_NOTIFIER_MSG, 1);
    device_run(&fixture->pair->device);
    pair_assert_works(fixture->pair, 0);
    assert_int_equal(shunt_backend_set_host_notifier(backend, 1, -1, 0, 0), 0);
    expect(fixture, FRONTEND_BACKEND_VRING_HOST_NOTIFIER_MSG, &area, sizeof(area));
    assert_int_equal(area.idx, 1 | FRONTEND_NO_FD);
}

/* One that could not be sent does not stay open. */
static void test_host_notifier_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct shunt_backend *backend = fixture->pair->device.backend;

    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    for (unsigned i = 0; i < 3; i++)
        assert_int_equal(shunt_backend_set_host_notifier(backend, 0, STDERR_FILENO, 0, 4096), 0);
    expect_nothing(fixture);
    pair_disconnect(fixture->pair);
}

/* --- Addresses behind an IOMMU ---------------------------------------------------------------------- */

static void set_io_addresses(struct fixture *fixture, unsigned idx)
{
    struct frontend_ring ring = driver_ring(&fixture->pair->driver, idx);

    ring.descriptor += IO_OFFSET - DRIVER_USER_ADDR;
    ring.available += IO_OFFSET - DRIVER_USER_ADDR;
    ring.used += IO_OFFSET - DRIVER_USER_ADDR;
    assert_int_equal(frontend_set_addresses(&fixture->pair->driver.frontend, idx, &ring), 0);
}

/* A ring whose place is not known: the back-end asks for it. */
static void start_behind_iommu(struct fixture *fixture, uint64_t protocol_features)
{
    struct pair *pair = fixture->pair;

    pair->features = PAIR_FEATURES | ACCESS_PLATFORM;
    connect_with(fixture, protocol_features);
    setup_ring(fixture, 0);
    set_io_addresses(fixture, 0);
    frontend_set_fd(&pair->driver.frontend, FRONTEND_SET_VRING_KICK, 0, pair->driver.kick_fds[0]);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    assert_false(device_is_started(&pair->device, 0));
}

static uint64_t expect_miss(struct fixture *fixture)
{
    struct frontend_iotlb miss;

    expect(fixture, FRONTEND_BACKEND_IOTLB_MSG, &miss, sizeof(miss));
    assert_int_equal(miss.type, FRONTEND_IOTLB_MISS);
    assert_in_range(miss.access, 1, 3);
    assert_in_range(miss.io_addr, IO_OFFSET & ~UINT64_C(4095), IO_OFFSET + PAIR_MEMORY_BYTES);
    return miss.io_addr;
}

/* Every miss that there is; the address of the first. */
static uint64_t expect_misses(struct fixture *fixture)
{
    struct pollfd socket = {.fd = fixture->requests.fd, .events = POLLIN};
    uint64_t first = expect_miss(fixture);

    while (device_run(&fixture->pair->device), poll(&socket, 1, 0) > 0)
        expect_miss(fixture);
    return first;
}

/* All of the memory, at once. */
static void update(struct fixture *fixture)
{
    struct frontend *frontend = &fixture->pair->driver.frontend;
    struct frontend_region region = driver_region(&fixture->pair->driver);
    struct frontend_iotlb entry = {
        .io_addr = IO_OFFSET,
        .size = region.size,
        .user_addr = DRIVER_USER_ADDR,
        .access = 3,
        .type = FRONTEND_IOTLB_UPDATE,
    };
    struct frontend_message answer;
    uint64_t failure = 1;

    assert_int_equal(frontend_ask(frontend, FRONTEND_IOTLB_MSG, &entry, sizeof(entry), &answer), 0);
    memcpy(&failure, answer.payload, sizeof(failure));
    assert_int_equal(failure, 0);
}

static void test_miss(void **state)
{
    struct fixture *fixture = *state;
    struct pair *pair = fixture->pair;
    unsigned num_changes;

    start_behind_iommu(fixture, FRONTEND_PROTOCOL_USUAL);
    expect_miss(fixture);
    num_changes = pair->device.num_queue_changed[0];
    update(fixture);
    frontend_answer(&fixture->requests, FRONTEND_BACKEND_IOTLB_MSG, 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    assert_true(pair->device.num_queue_changed[0] > num_changes);
    pair_assert_no_reason(pair);
}

/* Without acknowledgements the back-end just waits. */
static void test_miss_without_acks(void **state)
{
    struct fixture *fixture = *state;

    start_behind_iommu(fixture, WITHOUT_ACKS);
    expect_miss(fixture);
    update(fixture);
    device_run(&fixture->pair->device);
    assert_true(device_is_started(&fixture->pair->device, 0));
}

static void test_miss_is_refused(void **state)
{
    struct fixture *fixture = *state;
    struct pair *pair = fixture->pair;
    struct frontend_iotlb failure;
    uint64_t io_addr;

    start_behind_iommu(fixture, FRONTEND_PROTOCOL_USUAL);
    io_addr = expect_misses(fixture);
    frontend_answer(&fixture->requests, FRONTEND_BACKEND_IOTLB_MSG, 1);
    expect(fixture, FRONTEND_BACKEND_IOTLB_MSG, &failure, sizeof(failure));
    assert_int_equal(failure.type, FRONTEND_IOTLB_ACCESS_FAIL);
    assert_int_equal(failure.io_addr, io_addr);
    expect_nothing(fixture);
    pair_assert_reason(pair, "virtqueue 0");
    assert_true(shunt_backend_is_connected(pair->device.backend));
    assert_false(device_is_started(&pair->device, 0));
}

/* The ring is gone when the answer comes: it is nobody's business any more. */
static void test_late_refusal(void **state)
{
    struct fixture *fixture = *state;
    uint32_t base;

    start_behind_iommu(fixture, FRONTEND_PROTOCOL_USUAL);
    expect_misses(fixture);
    assert_int_equal(frontend_get_base(&fixture->pair->driver.frontend, 0, &base), 0);
    frontend_answer(&fixture->requests, FRONTEND_BACKEND_IOTLB_MSG, 1);
    device_run(&fixture->pair->device);
    assert_true(shunt_backend_is_connected(fixture->pair->device.backend));
    expect_nothing(fixture);
}

/* Misses wait for a channel, and are asked again on a new one. */
static void test_channel_closes(void **state)
{
    struct fixture *fixture = *state;
    struct pair *pair = fixture->pair;
    uint64_t first;

    start_behind_iommu(fixture, FRONTEND_PROTOCOL_USUAL);
    first = expect_miss(fixture);
    frontend_close(&fixture->requests);
    device_run(&pair->device);
    assert_true(shunt_backend_is_connected(pair->device.backend));
    assert_int_equal(pair->device.backend->requests.channel.fd, -1);
    open_requests(fixture);
    assert_int_equal(expect_miss(fixture), first);
    update(fixture);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
}

/* --- Rubbish ---------------------------------------------------------------------------------------- */

static void test_answer_to_nothing(void **state)
{
    struct fixture *fixture = *state;

    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    frontend_answer(&fixture->requests, FRONTEND_BACKEND_IOTLB_MSG, 0);
    pair_assert_disconnected(fixture->pair, "request channel: an answer to nothing, message 1");
}

static void test_wrong_answers(void **state)
{
    static const struct {
        uint32_t request, flags, size;
    } wrong[] = {
        {FRONTEND_BACKEND_CONFIG_CHANGE_MSG, FRONTEND_VERSION | FRONTEND_REPLY, 8},
        {FRONTEND_BACKEND_IOTLB_MSG, FRONTEND_VERSION, 8},
        {FRONTEND_BACKEND_IOTLB_MSG, FRONTEND_VERSION | FRONTEND_REPLY, 4},
        {FRONTEND_BACKEND_IOTLB_MSG, FRONTEND_VERSION | FRONTEND_REPLY, 0},
    };
    struct fixture *fixture = *state;

    for (unsigned i = 0; i < sizeof(wrong) / sizeof(wrong[0]); i++) {
        uint64_t value = 0;

        start_behind_iommu(fixture, FRONTEND_PROTOCOL_USUAL);
        expect_miss(fixture);
        frontend_send(&fixture->requests, wrong[i].request, wrong[i].flags, wrong[i].size, &value,
                      wrong[i].size, NULL, 0);
        pair_assert_disconnected(fixture->pair, "is no answer to request 1");
    }
    start_behind_iommu(fixture, FRONTEND_PROTOCOL_USUAL);
    frontend_send(&fixture->requests, 1, FRONTEND_VERSION | FRONTEND_REPLY, 1u << 30, NULL, 0, NULL,
                  0);
    pair_assert_disconnected(fixture->pair, "payload of 1073741824 bytes");
}

static void test_channel_is_no_socket(void **state)
{
    struct fixture *fixture = *state;
    struct frontend *frontend = &fixture->pair->driver.frontend;

    pair_connect(fixture->pair);
    frontend_call(frontend, FRONTEND_SET_BACKEND_REQ_FD, NULL, 0, fixture->pair->driver.kick_fds,
                  1);
    pair_assert_disconnected(fixture->pair, "the request channel is no socket");
}

static void test_many_channels(void **state)
{
    struct fixture *fixture = *state;
    unsigned num_fds;

    connect_with(fixture, IN_BAND);
    num_fds = process_num_fds(0);
    for (unsigned i = 0; i < 100; i++)
        open_requests(fixture);
    assert_int_equal(process_num_fds(0), num_fds);
}

/* --- Queues that the back-end watches for the program ----------------------------------------------- */

static void test_watched_queue(void **state)
{
    struct fixture *fixture = *state;
    struct pair *pair = fixture->pair;
    struct ring_buffer buffer = driver_buffer(&pair->driver, 0, 64, true);
    unsigned num;

    shunt_backend_watch_queue(pair->device.backend, 2);
    pair_connect(pair);
    pair_start(pair, 0);
    pair_start(pair, 2);
    for (unsigned i = 0; i < 10; i++) {
        struct shunt_virtqueue *queue = pair_virtqueue(pair, 2);

        shunt_virtqueue_lock(queue);
        assert_true(shunt_virtqueue_arm(queue));
        shunt_virtqueue_unlock(queue);
        num = pair->device.num_kicked[2];
        assert_true(driver_add(&pair->driver, 2, &buffer, 1) >= 0);
        device_run(&pair->device);
        assert_int_equal(pair->device.num_kicked[2], num + 1);
        assert_int_equal(device_echo(&pair->device, 2), 1);
        take_used(fixture, 2);
    }
    assert_int_equal(pair->device.num_kicked[0], 0);
    assert_int_equal(driver_stop(&pair->driver, 2), 0);
    num = pair->device.num_kicked[2];
    driver_kick(&pair->driver, 2);
    device_run(&pair->device);
    assert_int_equal(pair->device.num_kicked[2], num);
}

/* --- What the last front-end left ------------------------------------------------------------------- */

/* A ring that was set up and never kicked; the next front-end has no IOMMU to ask. */
static void test_misses_are_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct pair *pair = fixture->pair;
    struct frontend_ring ring = driver_ring(&pair->driver, 0);
    uint64_t features = pair->features;

    pair->features |= ACCESS_PLATFORM;
    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    assert_int_equal(frontend_setup_ring(&pair->driver.frontend, 0, &ring), 0);
    assert_int_equal(frontend_sync(&pair->driver.frontend), 0);
    expect_nothing(fixture);
    pair->features = features;
    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    pair_start(pair, 1);
    expect_nothing(fixture);
}

/* Of what the program had to tell while the connection ended. */
static void test_config_change_is_forgotten(void **state)
{
    struct fixture *fixture = *state;
    struct pair *pair = fixture->pair;

    connect_with(fixture, FRONTEND_PROTOCOL_USUAL);
    pair_start(pair, 0);
    pair->device.changes_config = true;
    pair_disconnect(pair);
    pair->device.changes_config = false;
    driver_reset_ring(&pair->driver, 0);
    connect_with(fixture, WITHOUT_ACKS);
    pair_start(pair, 0);
    expect_nothing(fixture);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_kick_and_call),
        TEST(test_kick_wakes),
        TEST(test_error),
        TEST(test_descriptors_are_preferred),
        TEST(test_polled),
        TEST(test_last_call),
        TEST(test_does_not_read),
        TEST(test_config_change),
        TEST(test_host_notifier),
        TEST(test_host_notifier_is_forgotten),
        TEST(test_miss),
        TEST(test_miss_without_acks),
        TEST(test_miss_is_refused),
        TEST(test_late_refusal),
        TEST(test_channel_closes),
        TEST(test_answer_to_nothing),
        TEST(test_wrong_answers),
        TEST(test_channel_is_no_socket),
        TEST(test_many_channels),
        TEST(test_watched_queue),
        TEST(test_misses_are_forgotten),
        TEST(test_config_change_is_forgotten),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
