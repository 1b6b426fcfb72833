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

#define FEATURE_ACCESS_PLATFORM (UINT64_C(1) << 33)
#define NUM(array)              (sizeof(array) / sizeof((array)[0]))

/* --- What the table says of each message ------------------------------------------------------------ */

struct row {
    const char *name;
    uint32_t request;
    uint32_t size;     /* the least */
    uint32_t max_size; /* 0: as `size` */
    unsigned min_fds;
    unsigned max_fds;
    uint64_t protocol_feature;
    uint64_t feature;
    bool names_queue;
    bool replies; /* also to a payload of zeroes without descriptors */
};

#define PROTOCOL(name) FRONTEND_PROTOCOL_F_##name
#define SLOTS          PROTOCOL(CONFIGURE_MEM_SLOTS)

static const struct row rows[] = {
    {"GET_FEATURES", 1, .size = 0, .replies = true},
    {"SET_FEATURES", 2, .size = 8},
    {"SET_OWNER", 3, .size = 0},
    {"RESET_OWNER", 4, .size = 0},
    {"SET_MEM_TABLE", 5, .size = 8, .max_size = 264, .max_fds = 8},
    {"SET_LOG_BASE", 6, .size = 16, .min_fds = 1, .max_fds = 1,
     .protocol_feature = PROTOCOL(LOG_SHMFD)},
    {"SET_LOG_FD", 7, .min_fds = 1, .max_fds = 1},
    {"SET_VRING_NUM", 8, .size = 8, .names_queue = true},
    {"SET_VRING_ADDR", 9, .size = 40, .names_queue = true},
    {"SET_VRING_BASE", 10, .size = 8, .names_queue = true},
    {"GET_VRING_BASE", 11, .size = 8, .names_queue = true, .replies = true},
    {"SET_VRING_KICK", 12, .size = 8, .max_fds = 1},
    {"SET_VRING_CALL", 13, .size = 8, .max_fds = 1},
    {"SET_VRING_ERR", 14, .size = 8, .max_fds = 1},
    {"GET_PROTOCOL_FEATURES", 15, .replies = true},
    {"SET_PROTOCOL_FEATURES", 16, .size = 8},
    {"GET_QUEUE_NUM", 17, .protocol_feature = PROTOCOL(MQ), .replies = true},
    {"SET_VRING_ENABLE", 18, .size = 8, .names_queue = true},
    {"SEND_RARP", 19, .size = 8, .protocol_feature = PROTOCOL(RARP)},
    {"NET_SET_MTU", 20, .size = 8, .protocol_feature = PROTOCOL(MTU)},
    {"SET_BACKEND_REQ_FD", 21, .min_fds = 1, .max_fds = 1,
     .protocol_feature = PROTOCOL(BACKEND_REQ)},
    {"IOTLB_MSG", 22, .size = 26, .max_size = 32, .feature = FEATURE_ACCESS_PLATFORM,
     .replies = true},
    {"GET_CONFIG", 24, .size = 12, .max_size = 268, .protocol_feature = PROTOCOL(CONFIG),
     .replies = true},
    {"SET_CONFIG", 25, .size = 12, .max_size = 268, .protocol_feature = PROTOCOL(CONFIG)},
    {"POSTCOPY_ADVISE", 28, .protocol_feature = PROTOCOL(PAGEFAULT), .replies = true},
    {"POSTCOPY_LISTEN", 29, .protocol_feature = PROTOCOL(PAGEFAULT)},
    {"POSTCOPY_END", 30, .protocol_feature = PROTOCOL(PAGEFAULT)},
    {"GET_INFLIGHT_FD", 31, .size = 20, .max_size = 24,
     .protocol_feature = PROTOCOL(INFLIGHT_SHMFD)},
    {"SET_INFLIGHT_FD", 32, .size = 20, .max_size = 24, .min_fds = 1, .max_fds = 1,
     .protocol_feature = PROTOCOL(INFLIGHT_SHMFD)},
    {"RESET_DEVICE", 34, .protocol_feature = PROTOCOL(RESET_DEVICE)},
    {"VRING_KICK", 35, .size = 8, .names_queue = true,
     .protocol_feature = PROTOCOL(INBAND_NOTIFICATIONS)},
    {"GET_MAX_MEM_SLOTS", 36, .protocol_feature = SLOTS, .replies = true},
    {"ADD_MEM_REG", 37, .size = 40, .max_fds = 1, .protocol_feature = SLOTS},
    {"REM_MEM_REG", 38, .size = 40, .max_fds = 1, .protocol_feature = SLOTS},
    {"SET_STATUS", 39, .size = 8, .protocol_feature = PROTOCOL(STATUS)},
    {"GET_STATUS", 40, .protocol_feature = PROTOCOL(STATUS), .replies = true},
    {"SET_DEVICE_STATE_FD", 42, .size = 8, .min_fds = 1, .max_fds = 1,
     .protocol_feature = PROTOCOL(DEVICE_STATE)},
    {"CHECK_DEVICE_STATE", 43, .protocol_feature = PROTOCOL(DEVICE_STATE), .replies = true},
    {"GET_VRING_BASE_SKIP_DRAIN", 45, .size = 8, .names_queue = true, .replies = true,
     .protocol_feature = PROTOCOL(GET_VRING_BASE_INFLIGHT)},
};

/* What is refused by decision. */
static const struct row refused[] = {
    {"SET_VRING_ENDIAN", 23, .size = 8},     {"CREATE_CRYPTO_SESSION", 26, .size = 40},
    {"CLOSE_CRYPTO_SESSION", 27, .size = 8}, {"GPU_SET_SOCKET", 33, .max_fds = 1},
    {"GET_SHARED_OBJECT", 41, .size = 16},   {"GET_SHMEM_CONFIG", 44, .size = 0},
};

static bool fits(const struct row *row, uint32_t size)
{
    return size >= row->size && size <= (row->max_size ? row->max_size : row->size);
}

/* A connection on which the message may be sent, as far as features go; rings by user address. */
static struct frontend *connect_for(struct pair *pair, const struct row *row)
{
    uint64_t features = pair->features;
    struct frontend *frontend;

    if (row->protocol_feature == PROTOCOL(PAGEFAULT) && !pair->device.allows_postcopy) {
        pair_disconnect(pair);
        device_allow_postcopy(&pair->device, PAIR_NUM_QUEUES);
    }
    pair->features |= row->feature;
    frontend = pair_connect_with(pair, FRONTEND_PROTOCOL_USUAL | row->protocol_feature);
    pair->features = features;
    return frontend;
}

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
    static const uint32_t sizes[] = {0, 1, 7, 9, 15, 19, 25, 33, 39, 41, 265, 268};

    for (size_t i = 0; i < NUM(rows); i++) {
        for (size_t j = 0; j < NUM(sizes); j++) {
            if (fits(&rows[i], sizes[j]))
                continue;
            send_zeroes(connect_for(*state, &rows[i]), rows[i].request, sizes[j], 0);
            pair_assert_disconnected(*state, rows[i].name);
            pair_assert_disconnected(*state, "payload of");
        }
    }
}

static void test_too_many_fds(void **state)
{
    for (size_t i = 0; i < NUM(rows); i++) {
        for (unsigned num = rows[i].max_fds + 1; num <= 9; num += 3) {
            send_zeroes(connect_for(*state, &rows[i]), rows[i].request, rows[i].size, num);
            pair_assert_disconnected(*state, num <= 8 ? rows[i].name : "");
            pair_assert_disconnected(*state, "file descriptor");
        }
    }
}

static void test_too_few_fds(void **state)
{
    for (size_t i = 0; i < NUM(rows); i++) {
        if (rows[i].min_fds == 0)
            continue;
        send_zeroes(connect_for(*state, &rows[i]), rows[i].request, rows[i].size, 0);
        pair_assert_disconnected(*state, rows[i].name);
        pair_assert_disconnected(*state, "0 file descriptors instead of 1");
    }
}

/* What a person reads. */
static void test_wording(void **state)
{
    static const struct {
        uint32_t request, size;
        const char *text;
    } cases[] = {
        {3, 1, "SET_OWNER: a payload of 1 byte instead of none"},
        {8, 9, "SET_VRING_NUM: virtqueue 0: a payload of 9 bytes instead of 8"},
        {5, 4, "SET_MEM_TABLE: a payload of 4 bytes instead of 8 to 264"},
    };

    for (size_t i = 0; i < NUM(cases); i++) {
        send_zeroes(pair_connect(*state), cases[i].request, cases[i].size, 0);
        pair_assert_disconnected(*state, cases[i].text);
    }
}

static void test_refused(void **state)
{
    for (size_t i = 0; i < NUM(refused); i++) {
        send_zeroes(pair_connect(*state), refused[i].request, refused[i].size, refused[i].max_fds);
        pair_assert_disconnected(*state, refused[i].name);
        pair_assert_disconnected(*state, ": refused: ");
    }
}

static void test_unknown_queue(void **state)
{
    static const uint32_t indices[] = {PAIR_NUM_QUEUES, 256, 0x10000, 0x10001, UINT32_MAX};
    uint32_t payload[10] = {0};

    for (size_t i = 0; i < NUM(rows); i++) {
        for (size_t j = 0; rows[i].names_queue && j < NUM(indices); j++) {
            payload[0] = indices[j];
            assert_int_equal(frontend_send(connect_for(*state, &rows[i]), rows[i].request,
                                           FRONTEND_VERSION, rows[i].size, payload, rows[i].size,
                                           NULL, 0),
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
        uint64_t features = FRONTEND_PROTOCOL_USUAL & ~rows[i].protocol_feature;

        if (!rows[i].protocol_feature && !rows[i].feature)
            continue;
        send_zeroes(pair_connect_with(*state, features), rows[i].request, rows[i].size,
                    rows[i].min_fds);
        pair_assert_disconnected(*state, rows[i].name);
        pair_assert_disconnected(*state, "was not negotiated");
    }
}

static void test_unknown_message(void **state)
{
    static const uint32_t requests[] = {0, 46, 47, 100, 1000, UINT32_MAX};

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
        struct frontend *frontend = connect_for(*state, &rows[i]);
        struct frontend_message answer;
        uint8_t payload[FRONTEND_MAX_PAYLOAD] = {0};
        bool is_good;

        if (rows[i].request == FRONTEND_SET_PROTOCOL_FEATURES)
            memcpy(payload, &frontend->protocol_features, 8);
        if (rows[i].request == FRONTEND_NET_SET_MTU)
            payload[1] = 5;
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
    struct frontend *frontend = pair_connect_with(*state,
                                                  FRONTEND_PROTOCOL_USUAL & ~PROTOCOL(REPLY_ACK));

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
    assert_int_equal(frontend_set_state(frontend, FRONTEND_SET_VRING_NUM, 0, 0), -EREMOTEIO);
    pair_assert_disconnected(*state, "SET_VRING_NUM: virtqueue 0: ring size 0");
}

/* --- Features --------------------------------------------------------------------------------------- */

/* Those of rings and transport, and the one of the device. */
#define OFFERED (DEVICE_FEATURE | UINT64_C(1) << 24 | UINT64_C(0x7c000000) | UINT64_C(0x5700000000))

#define OFFERED_PROTOCOL                                                                           \
    (PROTOCOL(MQ) | PROTOCOL(LOG_SHMFD) | PROTOCOL(RARP) | PROTOCOL(REPLY_ACK) | PROTOCOL(MTU) |   \
     PROTOCOL(BACKEND_REQ) | PROTOCOL(CONFIG) | PROTOCOL(BACKEND_SEND_FD) |                        \
     PROTOCOL(HOST_NOTIFIER) | PROTOCOL(INFLIGHT_SHMFD) | PROTOCOL(RESET_DEVICE) |                 \
     PROTOCOL(INBAND_NOTIFICATIONS) | SLOTS | PROTOCOL(STATUS) | PROTOCOL(DEVICE_STATE) |          \
     PROTOCOL(GET_VRING_BASE_INFLIGHT) | PROTOCOL(GPA_ADDRESSES))

static void test_features(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    uint64_t features;

    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_FEATURES, &features), 0);
    assert_int_equal(features, OFFERED);
    assert_int_equal(shunt_backend_features(pair->device.backend), PAIR_FEATURES);
    assert_int_equal(pair->device.features, PAIR_FEATURES);
    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_PROTOCOL_FEATURES, &features), 0);
    assert_int_equal(features, OFFERED_PROTOCOL);
    assert_int_equal(shunt_backend_protocol_features(pair->device.backend),
                     features & FRONTEND_PROTOCOL_USUAL);
}

static void test_features_not_offered(void **state)
{
    for (unsigned bit = 0; bit < 64; bit++) {
        uint64_t feature = UINT64_C(1) << bit;

        if (!(feature & OFFERED)) {
            frontend_set_features(pair_connect(*state), PAIR_FEATURES | feature);
            pair_assert_disconnected(*state, "were not offered");
        }
        if (!(feature & OFFERED_PROTOCOL)) {
            frontend_set_protocol_features(pair_connect(*state), feature);
            pair_assert_disconnected(*state, "were not offered");
        }
    }
}

/* "In-band notifications": the connection is closed. */
static void test_in_band_alone(void **state)
{
    static const uint64_t missing[] = {PROTOCOL(BACKEND_REQ), PROTOCOL(REPLY_ACK)};

    for (size_t i = 0; i < NUM(missing); i++) {
        frontend_set_protocol_features(pair_connect(*state), OFFERED_PROTOCOL & ~missing[i]);
        pair_assert_disconnected(*state, "INBAND_NOTIFICATIONS without");
    }
}

/* While rings run, nothing but LOG_ALL may change. */
static void test_features_of_running_rings(void **state)
{
    const uint64_t log_all = UINT64_C(1) << 26;
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    pair_start(pair, 0);
    frontend_set_features(frontend, PAIR_FEATURES | log_all);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(shunt_backend_features(pair->device.backend), PAIR_FEATURES | log_all);
    pair_assert_works(pair, 0);
    frontend_set_features(frontend, PAIR_FEATURES);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(shunt_backend_features(pair->device.backend), PAIR_FEATURES);
    frontend_set_features(frontend, PAIR_FEATURES | log_all | DEVICE_FEATURE);
    pair_assert_disconnected(pair, "while rings run");
}

/* "Ring states": without PROTOCOL_FEATURES all rings are enabled at once. */
static void test_old_front_end(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_open(pair);

    assert_int_equal(frontend_set_features(frontend, UINT64_C(1) << 32), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    for (unsigned i = 0; i < PAIR_NUM_QUEUES; i++)
        assert_true(device_is_enabled(&pair->device, i));
}

/* Rings and memory by guest address; the regions' user addresses mean nothing then. */
static void test_guest_addresses(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect_with(pair, SLOTS);
    struct frontend_region region = driver_region(&pair->driver);
    struct frontend_ring ring;

    pair_disconnect(pair);
    frontend = pair_open(pair);
    assert_int_equal(frontend_negotiate(frontend, PAIR_FEATURES, SLOTS | PROTOCOL(GPA_ADDRESSES)),
                     0);
    region.user_addr = 0;
    region.size /= 2;
    assert_int_equal(frontend_add_region(frontend, &region, pair->driver.area.fd), 0);
    region.guest_addr += region.size;
    region.fd_offset += region.size;
    assert_int_equal(frontend_add_region(frontend, &region, pair->driver.area.fd), 0);
    ring = driver_ring(&pair->driver, 0);
    ring.descriptor += DRIVER_GUEST_ADDR - DRIVER_USER_ADDR;
    ring.available += DRIVER_GUEST_ADDR - DRIVER_USER_ADDR;
    ring.used += DRIVER_GUEST_ADDR - DRIVER_USER_ADDR;
    assert_int_equal(frontend_setup_ring(frontend, 0, &ring), 0);
    assert_int_equal(frontend_enable(frontend, 0, true), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    driver_kick(&pair->driver, 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, 0));
    pair_assert_works(pair, 0);
    assert_int_equal(frontend_remove_region(frontend, &region), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair_num_regions(pair), 1);
    assert_int_equal(driver_stop(&pair->driver, 0), 0);
    frontend_set_protocol_features(frontend, SLOTS);
    pair_assert_disconnected(pair, "GPA_ADDRESSES changed while there are memory regions");
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
    static const uint32_t bad[] = {0, 32769, 65536, 65536 + 16, UINT32_MAX};
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
    pair_assert_disconnected(pair, "is not aligned to 2 bytes");
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

/* Packed rings have two positions in it. */
static void test_ring_base_packed(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend;
    uint32_t base;

    pair->features |= PAIR_F_PACKED;
    frontend = pair_connect(pair);
    frontend_set_state(frontend, FRONTEND_SET_VRING_BASE, 2, 0x80018003);
    assert_int_equal(frontend_get_base(frontend, 2, &base), 0);
    assert_int_equal(base, 0x80018003);
}

static void test_skip_drain(void **state)
{
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);
    struct frontend_state ring = {.idx = 1};
    struct frontend_message answer;

    pair_start(pair, 1);
    pair_assert_works(pair, 1);
    assert_int_equal(frontend_ask(frontend, FRONTEND_GET_VRING_BASE_SKIP_DRAIN, &ring, sizeof(ring),
                                  &answer),
                     0);
    assert_int_equal(answer.size, sizeof(ring));
    memcpy(&ring, answer.payload, sizeof(ring));
    assert_int_equal(ring.idx, 1);
    assert_int_equal(ring.num, 1);
    assert_false(device_is_started(&pair->device, 1));
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

static void test_config_flags(void **state)
{
    struct frontend_config config = {.offset = 0, .size = 1, .flags = 1};
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    frontend_call(frontend, FRONTEND_SET_CONFIG, &config, 13, NULL, 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_true(pair->device.is_migrated);
    config.flags = 0;
    frontend_call(frontend, FRONTEND_SET_CONFIG, &config, 13, NULL, 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_false(pair->device.is_migrated);
    config.flags = 2;
    frontend_call(frontend, FRONTEND_SET_CONFIG, &config, 13, NULL, 0);
    pair_assert_disconnected(*state, "SET_CONFIG: flags are 0x2");
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

/* --- Network devices -------------------------------------------------------------------------------- */

static void test_announcement(void **state)
{
    static const uint8_t mac[8] = {0x52, 0x54, 0, 0x12, 0x34, 0x56, 0xff, 0xff};
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    assert_int_equal(frontend_call(frontend, FRONTEND_SEND_RARP, mac, 8, NULL, 0), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(pair->device.num_announced, 1);
    assert_memory_equal(pair->device.announced, mac, 6);
}

static int set_mtu(struct frontend *frontend, uint64_t mtu)
{
    return frontend_call(frontend, FRONTEND_NET_SET_MTU, &mtu, sizeof(mtu), NULL, 0);
}

/* What is refused leaves the connection: the front-end asked. */
static void test_mtu(void **state)
{
    static const uint64_t bad[] = {0, 67, 65536, 65536 + 1500, UINT64_MAX};
    struct pair *pair = *state;
    struct frontend *frontend = pair_connect(pair);

    frontend->wants_acks = true;
    assert_int_equal(set_mtu(frontend, 68), 0);
    assert_int_equal(pair->device.mtu, 68);
    assert_int_equal(set_mtu(frontend, 65535), 0);
    assert_int_equal(pair->device.mtu, 65535);
    for (size_t i = 0; i < NUM(bad); i++)
        assert_int_equal(set_mtu(frontend, bad[i]), -EREMOTEIO);
    assert_int_equal(pair->device.mtu, 65535);
    pair->device.mtu_result = -EINVAL;
    assert_int_equal(set_mtu(frontend, 1500), -EREMOTEIO);
    frontend->wants_acks = false;
    assert_int_equal(set_mtu(frontend, 1500), 0);
    assert_int_equal(frontend_sync(frontend), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, pair_setup, pair_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_wrong_size),
        TEST(test_too_many_fds),
        TEST(test_too_few_fds),
        TEST(test_wording),
        TEST(test_refused),
        TEST(test_unknown_queue),
        TEST(test_unknown_queue_of_fd),
        TEST(test_feature_not_negotiated),
        TEST(test_unknown_message),
        TEST(test_acknowledgement),
        TEST(test_no_acknowledgement),
        TEST(test_negative_acknowledgement),
        TEST(test_features),
        TEST(test_features_not_offered),
        TEST(test_in_band_alone),
        TEST(test_features_of_running_rings),
        TEST(test_old_front_end),
        TEST(test_guest_addresses),
        TEST(test_numbers),
        TEST(test_ring_sizes),
        TEST(test_ring_sizes_in_a_loop),
        TEST(test_ring_addresses),
        TEST(test_ring_outside_of_memory),
        TEST(test_ring_base),
        TEST(test_ring_base_packed),
        TEST(test_skip_drain),
        TEST(test_enable),
        TEST(test_enable_before_features),
        TEST(test_other_descriptors),
        TEST(test_fd_and_none),
        TEST(test_fds_in_a_loop),
        TEST(test_config),
        TEST(test_config_out_of_range),
        TEST(test_config_of_other_size),
        TEST(test_config_flags),
        TEST(test_config_refused_by_program),
        TEST(test_announcement),
        TEST(test_mtu),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
