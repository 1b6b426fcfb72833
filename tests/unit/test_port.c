/* SPDX-License-Identifier: BSD-3-Clause */
/* What all ports have in common, and the one that takes everything. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <string.h>

#include "lib/inproc.h"

/* What the owner was told. */
struct owner {
    unsigned num_queue_changes, num_state_changes;
    unsigned last_queue;
    bool last_runs;
};

static void on_queue(void *ctx, struct port_queue *queue, bool runs)
{
    struct owner *owner = ctx;

    owner->num_queue_changes++;
    owner->last_queue = queue->idx;
    owner->last_runs = runs;
}

static void on_state(void *ctx, struct port *port)
{
    struct owner *owner = ctx;

    owner->num_state_changes++;
}

static const struct port_events events = {.queue_changed = on_queue, .state_changed = on_state};

static void test_classes(void **state)
{
    static const char *const types[] = {"vhost-user", "virtio-user", "tap", "null"};

    for (unsigned i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
        assert_non_null(port_class_find(types[i]));
        assert_string_equal(port_class_find(types[i])->type, types[i]);
        assert_non_null(port_class_find(types[i])->help);
    }
    assert_null(port_class_find("nul"));
    assert_null(port_class_find(""));
    for (const struct port_class *const *class = port_classes; *class; class ++)
        assert_ptr_equal(port_class_find((*class)->type), *class);
}

static void test_state_is_told_once(void **state)
{
    struct owner owner = {0};
    struct port *port = inproc_create(&inproc_class, "a", 1, &events, &owner);

    assert_int_equal(port->state, PORT_UP);
    assert_string_equal(port->reason, "");
    assert_int_equal(owner.num_state_changes, 1);
    port_set_state(port, PORT_UP, "%s", "");
    assert_int_equal(owner.num_state_changes, 1);
    port_set_state(port, PORT_DOWN, "error %d of %s", 7, "nine");
    assert_int_equal(owner.num_state_changes, 2);
    assert_int_equal(port->state, PORT_DOWN);
    assert_string_equal(port->reason, "error 7 of nine");
    port_set_state(port, PORT_DOWN, "error %d of %s", 8, "nine"); /* another reason */
    assert_int_equal(owner.num_state_changes, 3);
    port_set_state(port, PORT_CONNECTING, "error %d of %s", 8, "nine"); /* another state */
    assert_int_equal(owner.num_state_changes, 4);
    assert_string_equal(port_state_name(PORT_DOWN), "down");
    assert_string_equal(port_state_name(PORT_CONNECTING), "connecting");
    assert_string_equal(port_state_name(PORT_UP), "up");
    port_destroy(port);
}

static void test_queues_are_told_once(void **state)
{
    struct owner owner = {0};
    struct port *port = inproc_create(&inproc_class, "a", 3, &events, &owner);

    assert_int_equal(owner.num_queue_changes, 3);
    port_queue_run(&port->queues[1], true);
    assert_int_equal(owner.num_queue_changes, 3);
    port_queue_run(&port->queues[1], false);
    assert_int_equal(owner.num_queue_changes, 4);
    assert_int_equal(owner.last_queue, 1);
    assert_false(owner.last_runs);
    port_queue_run(&port->queues[1], false);
    assert_int_equal(owner.num_queue_changes, 4);
    port_queue_run(&port->queues[1], true);
    assert_int_equal(owner.num_queue_changes, 5);
    assert_true(owner.last_runs);
    port_destroy(port);
}

static void test_nobody_to_tell(void **state)
{
    struct port *port = inproc_create(&inproc_class, "a", 1, NULL, NULL);

    inproc_set_up(port, false);
    assert_int_equal(port->state, PORT_DOWN);
    assert_false(port->queues[0].is_running);
    port_destroy(port);
    port_destroy(NULL);
}

static void test_names_are_cut(void **state)
{
    char name[200];
    struct port *port;

    memset(name, 'n', sizeof(name) - 1);
    name[sizeof(name) - 1] = '\0';
    port = inproc_create(&inproc_class, name, 1, NULL, NULL);
    assert_int_equal(strlen(port->name), PORT_NAME_MAX_BYTES);
    port_destroy(port);
}

/* A port that is up delivers on the queue that it chooses; one that is down counts. */
static void test_copy(void **state)
{
    static const uint8_t bytes[60];
    struct iovec segment = {.iov_base = (void *)(uintptr_t)bytes, .iov_len = sizeof(bytes)};
    struct port *port = inproc_create(&inproc_class, "a", 4, NULL, NULL);
    struct counters rx, tx;
    struct burst burst;
    unsigned num;

    assert_int_equal(burst_init(&burst), 0);
    burst.num = 3;
    for (unsigned i = 0; i < burst.num; i++)
        burst.frames[i] = (struct frame){.segments = &segment,
                                         .num_segments = 1,
                                         .len = sizeof(bytes)};
    port_copy(port, 6, &burst, 0x5);
    inproc_received(port, 2, &num);
    assert_int_equal(num, 2);
    atomic_store(&port->num_tx_queues, 0);
    assert_false(port_is_up(port));
    port_copy(port, 0, &burst, burst_all(&burst));
    port_sum_counters(port, &rx, &tx);
    assert_int_equal(tx.packets, 2);
    assert_int_equal(tx.drops[DROP_PORT_DOWN], 3);
    burst_fini(&burst);
    port_destroy(port);
}

static void test_queues_are_cache_lines_apart(void **state)
{
    struct port *port = inproc_create(&inproc_class, "a", 2, NULL, NULL);

    for (unsigned i = 0; i < 2; i++) {
        assert_int_equal((uintptr_t)&port->queues[i].rx % 64, 0);
        assert_int_equal((uintptr_t)&port->queues[i].tx % 64, 0);
        assert_true((char *)&port->queues[i].tx - (char *)&port->queues[i].rx >=
                    (ptrdiff_t)sizeof(struct counters));
        assert_ptr_equal(port->queues[i].port, port);
        assert_int_equal(port->queues[i].idx, i);
    }
    port_destroy(port);
}

/* --- Counters --------------------------------------------------------------------------------------- */

static struct port *counted_port(void)
{
    struct port *port = inproc_create(&inproc_class, "vm1", 2, NULL, NULL);

    counter_add(&port->queues[0].rx.packets, 10);
    counter_add(&port->queues[1].rx.packets, 5);
    counter_add(&port->queues[1].rx.bytes, 900);
    counter_add(&port->queues[0].rx.copies, 3);
    counter_add(&port->queues[0].rx.drops[DROP_RUNT], 2);
    counter_add(&port->queues[1].rx.drops[DROP_RUNT], 4);
    counter_add(&port->queues[0].tx.packets, 20);
    counter_add(&port->queues[0].tx.bytes, 1200);
    counter_add(&port->queues[1].tx.drops[DROP_PORT_DOWN], 1);
    port_count_down(port, 6);
    return port;
}

static void test_counters_are_summed(void **state)
{
    struct port *port = counted_port();
    struct counters rx, tx;

    port_sum_counters(port, &rx, &tx);
    assert_int_equal(rx.packets, 15);
    assert_int_equal(rx.bytes, 900);
    assert_int_equal(rx.copies, 3);
    assert_int_equal(rx.drops[DROP_RUNT], 6);
    assert_int_equal(rx.drops[DROP_PORT_DOWN], 0);
    assert_int_equal(tx.packets, 20);
    assert_int_equal(tx.bytes, 1200);
    assert_int_equal(tx.drops[DROP_PORT_DOWN], 7);
    port_destroy(port);
}

static void test_description(void **state)
{
    struct port *port = counted_port();
    json_t *object = port_describe(port);
    json_t *expected = json_pack(
        "{s:s, s:s, s:s, s:s, s:i, s:[], s:{s:i, s:i, s:i, s:{s:i}}, s:{s:i, s:i, s:{s:i}}}",
        "name", "vm1", "type", "inproc", "state", "up", "reason", "", "queues", 2, "features", "rx",
        "packets", 15, "bytes", 900, "copies", 3, "drops", "runt", 6, "tx", "packets", 20, "bytes",
        1200, "drops", "port-down", 7);

    assert_non_null(object);
    assert_non_null(expected);
    assert_true(json_equal(object, expected));
    json_decref(object);
    json_decref(expected);
    port_destroy(port);
}

/* --- The null port ---------------------------------------------------------------------------------- */

static void test_null(void **state)
{
    const struct port_class *class = port_class_find("null");
    struct owner owner = {0};
    struct burst burst;
    struct counters rx, tx;
    struct port *port;

    assert_int_equal(port_create(class, "sink", NULL, &events, &owner, &port, NULL), 0);
    assert_int_equal(port->state, PORT_UP);
    assert_true(port_is_up(port));
    assert_int_equal(owner.num_queue_changes, 0); /* there is nothing to lend */
    assert_int_equal(burst_init(&burst), 0);
    burst.num = 3;
    burst.frames[0].len = 60;
    burst.frames[1].len = 1000;
    burst.frames[2].len = 7;
    class->copy(port, 5, &burst, 0x5);
    class->copy(port, 0, &burst, burst_all(&burst));
    port_sum_counters(port, &rx, &tx);
    assert_int_equal(tx.packets, 5);
    assert_int_equal(tx.bytes, 67 + 1067);
    assert_int_equal(rx.packets, 0);
    burst_fini(&burst);
    port_destroy(port);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_classes),
        cmocka_unit_test(test_state_is_told_once),
        cmocka_unit_test(test_queues_are_told_once),
        cmocka_unit_test(test_nobody_to_tell),
        cmocka_unit_test(test_names_are_cut),
        cmocka_unit_test(test_copy),
        cmocka_unit_test(test_queues_are_cache_lines_apart),
        cmocka_unit_test(test_counters_are_summed),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_null),
    };

    return cmocka_run_group_tests_name("port", tests, NULL, NULL);
}
