/* SPDX-License-Identifier: BSD-3-Clause */
/* A device that is no network device, on the public headers alone, driven as a guest's driver does it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lib/block_device.h"
#include "lib/driver.h"
#include "lib/variant.h"

#define NUM_SECTORS 1024
#define FEATURES                                                                                   \
    (FRONTEND_F_PROTOCOL_FEATURES | UINT64_C(1) << 28 | UINT64_C(1) << 32 | BLOCK_F_CONFIG_WCE |   \
     BLOCK_F_MQ)

/* Where a request lies behind the rings. */
#define HEADER_OFFSET 0
#define STATUS_OFFSET 64
#define TABLE_OFFSET  128
#define DATA_OFFSET   4096
#define SLOT_BYTES    65536 /* for each request that is under way */

struct fixture {
    char folder[64];
    char path[96];
    struct block_device *device;
    struct driver driver;
};

static void run_device(void *ctx)
{
    block_device_run(ctx);
}

static int setup(void **state)
{
    static struct fixture fixture;
    uint64_t features = FEATURES | variant_features(state);

    fixture = (struct fixture){.folder = "/tmp/shunt-block-XXXXXX"};
    if (!mkdtemp(fixture.folder))
        return -1;
    snprintf(fixture.path, sizeof(fixture.path), "%s/socket", fixture.folder);
    if (block_device_create(fixture.path, NUM_SECTORS, "disk-0815", &fixture.device) < 0)
        return -1;
    driver_init(&fixture.driver, BLOCK_NUM_QUEUES, 64, 1 << 20);
    fixture.driver.idle = run_device;
    fixture.driver.idle_ctx = fixture.device;
    if (driver_connect(&fixture.driver, fixture.path, features, UINT64_MAX) < 0 ||
        fixture.driver.frontend.features != features || driver_start(&fixture.driver, 0) < 0 ||
        driver_start(&fixture.driver, 1) < 0)
        return -1;
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;

    driver_fini(&fixture->driver);
    block_device_destroy(fixture->device);
    return rmdir(fixture->folder);
}

/* Puts a request of three buffers into slot `slot`, with its data in pieces of `piece` bytes. */
static unsigned lay_out(struct fixture *fixture, unsigned slot, const struct block_request *request,
                        uint32_t len, uint32_t piece, struct ring_buffer *buffers)
{
    struct driver *driver = &fixture->driver;
    uint64_t base = (uint64_t)slot * SLOT_BYTES;
    unsigned num = 0;

    memcpy(driver_data(driver, base + HEADER_OFFSET), request, sizeof(*request));
    memset(driver_data(driver, base + STATUS_OFFSET), 0xff, 1);
    buffers[num++] = driver_buffer(driver, base + HEADER_OFFSET, sizeof(*request), false);
    for (uint32_t at = 0; at < len; at += piece)
        buffers[num++] = driver_buffer(driver, base + DATA_OFFSET + at,
                                       piece < len - at ? piece : len - at,
                                       request->type != BLOCK_OUT);
    buffers[num++] = driver_buffer(driver, base + STATUS_OFFSET, 1, true);
    return num;
}

static uint8_t *data_of(struct fixture *fixture, unsigned slot)
{
    return driver_data(&fixture->driver, (uint64_t)slot * SLOT_BYTES + DATA_OFFSET);
}

static uint8_t status_of(struct fixture *fixture, unsigned slot)
{
    return *(uint8_t *)driver_data(&fixture->driver, (uint64_t)slot * SLOT_BYTES + STATUS_OFFSET);
}

/* One request to its end; returns its status. */
static uint8_t request(struct fixture *fixture, unsigned queue, uint32_t type, uint64_t sector,
                       uint32_t len, uint32_t piece)
{
    struct block_request header = {.type = type, .sector = sector};
    struct ring_buffer buffers[64];
    unsigned num = lay_out(fixture, 0, &header, len, piece, buffers);
    struct ring_used used;

    assert_true(driver_add(&fixture->driver, queue, buffers, num) >= 0);
    block_device_run(fixture->device);
    assert_true(ring_take_used(&fixture->driver.rings[queue], &used));
    assert_int_equal(used.len, type == BLOCK_OUT ? 1 : len + 1);
    return status_of(fixture, 0);
}

static void fill(uint8_t *data, uint32_t len, unsigned seed)
{
    for (uint32_t i = 0; i < len; i++)
        data[i] = (uint8_t)(i * 7 + i / 256 + seed);
}

static void test_config_space(void **state)
{
    struct fixture *fixture = *state;
    struct frontend *frontend = &fixture->driver.frontend;
    uint64_t capacity, num;
    uint8_t one = 1;

    assert_int_equal(frontend_get_config(frontend, 0, &capacity, sizeof(capacity)), 0);
    assert_int_equal(capacity, NUM_SECTORS);
    assert_int_equal(frontend_ask_u64(frontend, FRONTEND_GET_QUEUE_NUM, &num), 0);
    assert_int_equal(num, BLOCK_NUM_QUEUES);
    assert_int_equal(block_device_writeback(fixture->device), 0);
    assert_int_equal(frontend_set_config(frontend, 32, &one, 1), 0);
    assert_int_equal(frontend_sync(frontend), 0);
    assert_int_equal(block_device_writeback(fixture->device), 1);
    frontend_set_config(frontend, 0, &one, 1);
    assert_int_equal(frontend_wait_closed(frontend), 0);
}

static void test_write_and_read(void **state)
{
    static const uint32_t pieces[] = {1000, 512, 4096, 32768};
    struct fixture *fixture = *state;
    uint8_t expected[32768];

    for (unsigned i = 0; i < 4; i++) {
        uint32_t len = 16384;
        uint64_t sector = 100 * i;

        fill(expected, len, i);
        memcpy(data_of(fixture, 0), expected, len);
        assert_int_equal(request(fixture, i % 2, BLOCK_OUT, sector, len, pieces[i]), BLOCK_OK);
        memset(data_of(fixture, 0), 0, len);
        assert_int_equal(request(fixture, 1 - i % 2, BLOCK_IN, sector, len, pieces[3 - i]),
                         BLOCK_OK);
        assert_memory_equal(data_of(fixture, 0), expected, len);
    }
}

static void test_get_id(void **state)
{
    struct fixture *fixture = *state;

    assert_int_equal(request(fixture, 0, BLOCK_GET_ID, 0, BLOCK_ID_BYTES, 20), BLOCK_OK);
    assert_string_equal((const char *)data_of(fixture, 0), "disk-0815");
}

static void test_bad_requests(void **state)
{
    struct fixture *fixture = *state;
    struct ring_buffer lone = driver_buffer(&fixture->driver, 0, 15, false);
    struct ring_used used;

    assert_int_equal(request(fixture, 0, BLOCK_IN, NUM_SECTORS - 1, 1024, 512), BLOCK_ERROR);
    assert_int_equal(request(fixture, 0, BLOCK_IN, UINT64_MAX, 512, 512), BLOCK_ERROR);
    assert_int_equal(request(fixture, 0, BLOCK_OUT, 0, 100, 100), BLOCK_ERROR);
    assert_int_equal(request(fixture, 0, BLOCK_GET_ID, 0, 19, 19), BLOCK_ERROR);
    assert_int_equal(request(fixture, 0, 99, 0, 512, 512), BLOCK_UNSUPPORTED);
    driver_add(&fixture->driver, 0, &lone, 1);
    block_device_run(fixture->device);
    assert_true(ring_take_used(&fixture->driver.rings[0], &used));
    assert_int_equal(used.len, 0);
}

/* Several under way at once, by way of indirect tables; the device finishes them backwards. */
static void test_burst(void **state)
{
    struct fixture *fixture = *state;
    struct driver *driver = &fixture->driver;
    struct ring *ring = &driver->rings[0];
    struct ring_used used;
    uint32_t ids[8];

    for (unsigned i = 0; i < 8; i++) {
        struct block_request header = {.type = BLOCK_OUT, .sector = i};
        uint64_t table = (uint64_t)i * SLOT_BYTES + TABLE_OFFSET;
        struct ring_buffer buffers[3];

        fill(data_of(fixture, i), 512, i);
        assert_int_equal(lay_out(fixture, i, &header, 512, 512, buffers), 3);
        ids[i] = (uint32_t)ring_add_indirect(ring, driver_data(driver, table),
                                             driver_buffer(driver, table, 1, false).addr, buffers,
                                             3);
    }
    ring_publish(ring);
    driver_kick(driver, 0);
    block_device_run(fixture->device);
    for (unsigned i = 8; i-- > 0;) {
        assert_true(ring_take_used(ring, &used));
        assert_int_equal(used.id, ids[i]);
        assert_int_equal(status_of(fixture, i), BLOCK_OK);
    }
    assert_int_equal(request(fixture, 1, BLOCK_IN, 5, 512, 512), BLOCK_OK);
    fill(data_of(fixture, 1), 512, 5);
    assert_memory_equal(data_of(fixture, 0), data_of(fixture, 1), 512);
}

#define TEST(name) BOTH_FORMATS(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_config_space), TEST(test_write_and_read), TEST(test_get_id),
        TEST(test_bad_requests), TEST(test_burst),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
