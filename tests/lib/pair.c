/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/pair.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "lib/process.h"

static int setup_with(void **state, uint64_t features)
{
    static struct pair pair;

    pair.features = features;
    pair.num_fds = process_num_fds(0);
    pair.num_mappings = process_num_mappings(0);
    device_create(&pair.device, PAIR_NUM_QUEUES);
    driver_init(&pair.driver, PAIR_NUM_QUEUES, PAIR_RING_SIZE, PAIR_MEMORY_BYTES);
    driver_adopt(&pair.driver, features);
    device_attach(&pair.device, &pair.driver);
    *state = &pair;
    return 0;
}

int pair_setup(void **state)
{
    return setup_with(state, PAIR_FEATURES);
}

int pair_setup_packed(void **state)
{
    return setup_with(state, PAIR_FEATURES | PAIR_F_PACKED);
}

int pair_teardown(void **state)
{
    struct pair *pair = *state;

    driver_fini(&pair->driver);
    device_destroy(&pair->device);
    if (process_num_fds(0) != pair->num_fds || process_num_mappings(0) != pair->num_mappings) {
        print_error("%u descriptors and %u mappings were left\n",
                    process_num_fds(0) - pair->num_fds,
                    process_num_mappings(0) - pair->num_mappings);
        return -1;
    }
    return 0;
}

void pair_disconnect(struct pair *pair)
{
    driver_disconnect(&pair->driver);
    device_run(&pair->device);
    assert_false(shunt_backend_is_connected(pair->device.backend));
}

struct frontend *pair_connect_with(struct pair *pair, uint64_t protocol_features)
{
    pair_disconnect(pair);
    assert_int_equal(driver_connect(&pair->driver, pair->device.path, pair->features,
                                    protocol_features),
                     0);
    assert_int_equal(pair->driver.frontend.features, pair->features);
    return &pair->driver.frontend;
}

struct frontend *pair_connect(struct pair *pair)
{
    return pair_connect_with(pair, UINT64_MAX);
}

struct frontend *pair_open(struct pair *pair)
{
    struct frontend *frontend = &pair->driver.frontend;

    assert_int_equal(frontend_open(frontend, pair->device.path), 0);
    frontend->idle = pair->driver.idle;
    frontend->idle_ctx = pair->driver.idle_ctx;
    return frontend;
}

void pair_start(struct pair *pair, unsigned idx)
{
    assert_int_equal(driver_start(&pair->driver, idx), 0);
    device_run(&pair->device);
    assert_true(device_is_started(&pair->device, idx));
    assert_true(device_is_enabled(&pair->device, idx));
}

void pair_assert_sees(struct pair *pair, unsigned idx, uint64_t addr, uint8_t *bytes)
{
    struct ring_buffer buffers[2] = {{addr, 5, false}, {addr + 8, 5, true}};
    struct ring_used used;
    int id;

    memcpy(bytes, "hello", 5);
    memset(bytes + 8, 0, 5);
    id = driver_add(&pair->driver, idx, buffers, 2);
    assert_true(id >= 0);
    device_run(&pair->device);
    assert_int_equal(device_echo(&pair->device, idx), 1);
    assert_true(ring_take_used(&pair->driver.rings[idx], &used));
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, 5);
    assert_memory_equal(bytes + 8, "hello", 5);
}

void pair_assert_works(struct pair *pair, unsigned idx)
{
    pair_assert_sees(pair, idx, driver_buffer(&pair->driver, 0, 16, false).addr,
                     driver_data(&pair->driver, 0));
}

void pair_break_queue(struct pair *pair, unsigned idx)
{
    struct ring_buffer nowhere = {PAIR_NOWHERE, 8, false};

    assert_true(ring_add(&pair->driver.rings[idx], &nowhere, 1) >= 0);
    ring_publish(&pair->driver.rings[idx]);
    assert_int_equal(device_echo(&pair->device, idx), -EPROTO);
    device_run(&pair->device);
}

void pair_assert_reason(const struct pair *pair, const char *text)
{
    const char *said = shunt_backend_reason(pair->device.backend);

    if (!strstr(said, text))
        fail_msg("'%s' is not in '%s'", text, said);
    assert_null(strchr(said, '\n'));
}

void pair_assert_no_reason(const struct pair *pair)
{
    assert_string_equal(shunt_backend_reason(pair->device.backend), "");
}

void pair_assert_disconnected(struct pair *pair, const char *text)
{
    assert_int_equal(frontend_wait_closed(&pair->driver.frontend), 0);
    assert_false(shunt_backend_is_connected(pair->device.backend));
    pair_assert_reason(pair, text);
    assert_int_equal(pair_num_regions(pair), 0);
}

unsigned pair_num_regions(const struct pair *pair)
{
    return shunt_memory_num_regions(shunt_backend_memory(pair->device.backend));
}

struct shunt_virtqueue *pair_virtqueue(const struct pair *pair, unsigned idx)
{
    return shunt_backend_virtqueue(pair->device.backend, idx);
}
