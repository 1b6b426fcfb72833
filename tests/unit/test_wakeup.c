/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A worker that goes to sleep, and a frame that comes at that very moment: it must not lie there until the
 * next one. The pauses between frames are random and about as long as a worker spins, so that many of them
 * end while it is arming.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/rack.h"
#include "lib/rig.h"
#include "virtio_net/queue.h"

#define NUM_FRAMES   4000u
#define LONGEST_NS   150000u
#define PATIENCE_MS  10000u
#define HEADER_BYTES 10u
#define FRAME_BYTES  60u

/* --- A port of one virtqueue ------------------------------------------------------------------------ */

static unsigned ring_lend(struct port_queue *queue, struct burst *burst)
{
    struct rig *rig = queue->port->private;
    struct net_format format = net_format_of(0);

    shunt_virtqueue_lock(rig->queue);
    if (transmitq_lend(rig->queue, &format, burst, &queue->rx) > 0)
        return burst->num;
    shunt_virtqueue_unlock(rig->queue);
    return 0;
}

static void ring_give_back(struct port_queue *queue, struct burst *burst)
{
    struct rig *rig = queue->port->private;

    transmitq_give_back(rig->queue, burst);
    shunt_virtqueue_unlock(rig->queue);
}

static bool ring_arm(struct port_queue *queue)
{
    struct rig *rig = queue->port->private;
    bool may_sleep;

    shunt_virtqueue_lock(rig->queue);
    may_sleep = shunt_virtqueue_arm(rig->queue);
    shunt_virtqueue_unlock(rig->queue);
    return may_sleep;
}

static void ring_disarm(struct port_queue *queue)
{
    struct rig *rig = queue->port->private;

    shunt_virtqueue_lock(rig->queue);
    shunt_virtqueue_disarm(rig->queue);
    shunt_virtqueue_unlock(rig->queue);
}

static int ring_wake_fd(const struct port_queue *queue)
{
    const struct rig *rig = queue->port->private;

    return shunt_virtqueue_kick_fd(rig->queue);
}

static int ring_open(struct port *port, const json_t *options, struct shunt_error *error)
{
    struct rig *rig = calloc(1, sizeof(*rig));
    bool has_event_idx = json_is_true(json_object_get(options, "event_idx"));

    if (!rig || port_make_queues(port, 1) < 0)
        abort();
    rig_init_started(rig, 64, has_event_idx ? RIG_F_EVENT_IDX : 0);
    port->private = rig;
    port_queue_run(&port->queues[0], true);
    return 0;
}

static void ring_close(struct port *port)
{
    rig_fini(port->private);
    free(port->private);
}

/* It takes no frames: num_tx_queues stays 0. */
static const struct port_class ring_class = {
    .type = "ring",
    .open = ring_open,
    .close = ring_close,
    .lend = ring_lend,
    .give_back = ring_give_back,
    .arm = ring_arm,
    .disarm = ring_disarm,
    .wake_fd = ring_wake_fd,
};

static struct port *create_ring_port(struct rack *rack, bool has_event_idx)
{
    json_t *options = json_pack("{s:b}", "event_idx", (int)has_event_idx);
    struct port *port;

    assert_int_equal(port_create(&ring_class, "ring", options, &rack_events, rack, &port, NULL), 0);
    json_decref(options);
    return port;
}

/* The driver sends a frame, and kicks if it is asked to. Returns whether it did. */
static bool send_by_ring(struct port *port)
{
    struct rig *rig = port->private;
    struct ring_buffer buffer = {RIG_BUFFERS, HEADER_BYTES + FRAME_BYTES, false};
    struct ring_used used;
    uint64_t one = 1;

    while (ring_take_used(&rig->ring, &used))
        ;
    assert_true(ring_add(&rig->ring, &buffer, 1) >= 0);
    ring_publish(&rig->ring);
    if (!ring_needs_kick(&rig->ring))
        return false;
    assert_int_equal(write(rig->kick_fd, &one, sizeof(one)), sizeof(one));
    return true;
}

/* --- Frames after random pauses --------------------------------------------------------------------- */

static void pause_for(uint64_t ns)
{
    uint64_t start = clock_ns();

    while (clock_ns() - start < ns)
        ;
}

static bool is_delivered(struct rack *rack, unsigned at, uint64_t num)
{
    uint64_t start_ms = clock_ms();

    while (rack_delivered(rack, at) < num) {
        if (clock_ms() - start_ms > PATIENCE_MS)
            return false;
        sched_yield();
    }
    return true;
}

static bool send_by_inproc(struct port *port)
{
    static const uint8_t frame[FRAME_BYTES] = {0x02};
    uint64_t wakes = inproc_stats(port, 0).wakes;

    assert_true(inproc_send(port, 0, frame, sizeof(frame), 0));
    return inproc_stats(port, 0).wakes > wakes;
}

/* Sends one after the other; each must arrive before the next is sent. */
static void expect_no_loss(struct rack *rack, struct port *port, bool (*send)(struct port *port))
{
    unsigned to = rack_plug(rack, &inproc_class_unwakeable, 1), num_wakes = 0;

    /* Only its peer is to wake the worker: nothing comes from there, and it is not looked at. */
    worker_pool_remove(rack->pool, &rack->ports[to]->queues[0]);
    inproc_set_capture(rack->ports[to], false);
    rack_plug_port(rack, port);
    srand(1);
    for (uint64_t i = 1; i <= NUM_FRAMES; i++) {
        pause_for((uint64_t)rand() % LONGEST_NS);
        num_wakes += send(port);
        if (!is_delivered(rack, to, i))
            fail_msg("frame %u of %u was not seen", (unsigned)i, NUM_FRAMES);
    }
    assert_true(num_wakes > 10);
    assert_int_equal(rack_balance(rack).rx_packets, NUM_FRAMES);
    rack_fini(rack);
}

static void expect_no_loss_by_inproc(enum worker_mode mode, const struct port_class *class)
{
    struct worker_config config = rack_workers(mode, 1);
    struct rack rack;

    rack_init(&rack, BRIDGE_PATCH, &config);
    expect_no_loss(&rack, inproc_create(class, "inproc", 1, &rack_events, &rack), send_by_inproc);
}

static void expect_no_loss_by_ring(enum worker_mode mode, bool has_event_idx)
{
    struct worker_config config = rack_workers(mode, 1);
    struct rack rack;

    rack_init(&rack, BRIDGE_PATCH, &config);
    expect_no_loss(&rack, create_ring_port(&rack, has_event_idx), send_by_ring);
}

static void test_adaptive(void **state)
{
    expect_no_loss_by_inproc(WORKER_ADAPTIVE, &inproc_class);
}

static void test_adaptive_costly(void **state)
{
    expect_no_loss_by_inproc(WORKER_ADAPTIVE, &inproc_class_costly);
}

static void test_adaptive_flags(void **state)
{
    expect_no_loss_by_ring(WORKER_ADAPTIVE, false);
}

static void test_adaptive_event_idx(void **state)
{
    expect_no_loss_by_ring(WORKER_ADAPTIVE, true);
}

static void test_interrupt(void **state)
{
    expect_no_loss_by_inproc(WORKER_INTERRUPT, &inproc_class);
}

static void test_interrupt_costly(void **state)
{
    expect_no_loss_by_inproc(WORKER_INTERRUPT, &inproc_class_costly);
}

static void test_interrupt_flags(void **state)
{
    expect_no_loss_by_ring(WORKER_INTERRUPT, false);
}

static void test_interrupt_event_idx(void **state)
{
    expect_no_loss_by_ring(WORKER_INTERRUPT, true);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adaptive),        cmocka_unit_test(test_adaptive_costly),
        cmocka_unit_test(test_adaptive_flags),  cmocka_unit_test(test_adaptive_event_idx),
        cmocka_unit_test(test_interrupt),       cmocka_unit_test(test_interrupt_costly),
        cmocka_unit_test(test_interrupt_flags), cmocka_unit_test(test_interrupt_event_idx),
    };

    return cmocka_run_group_tests_name("wakeup", tests, NULL, NULL);
}
