/* SPDX-License-Identifier: BSD-3-Clause */
/* Workers: that they deliver, when they rest, and what may change while they work. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "lib/rack.h"
#include "worker/worker.h"

#define PATIENCE_MS 10000u

static const enum worker_mode modes[] = {WORKER_ADAPTIVE, WORKER_POLL, WORKER_INTERRUPT};
static const struct port_class *const classes[] = {&inproc_class, &inproc_class_costly,
                                                   &inproc_class_unwakeable};

/* Two ports that a patch joins: what is sent to one comes out of the other. */
struct fixture {
    struct rack rack;
};

static void begin(struct fixture *f, enum worker_mode mode, unsigned num_workers,
                  const struct port_class *class, unsigned num_queues)
{
    struct worker_config config = rack_workers(mode, num_workers);

    rack_init(&f->rack, BRIDGE_PATCH, &config);
    assert_int_equal(rack_plug(&f->rack, class, num_queues), 0);
    assert_int_equal(rack_plug(&f->rack, class, num_queues), 1);
}

static void end(struct fixture *f)
{
    rack_fini(&f->rack);
}

static void send_tag(struct fixture *f, unsigned from, unsigned queue, uint32_t tag)
{
    uint8_t frame[60] = {0x02};

    memcpy(frame + 14, &tag, sizeof(tag));
    while (!inproc_send(f->rack.ports[from], queue, frame, sizeof(frame), 0))
        usleep(10);
}

/* Whether the port has got so many frames, within the time that one may wait for them. */
static bool are_delivered(struct fixture *f, unsigned at, uint64_t num)
{
    uint64_t start_ms = clock_ms();

    while (rack_delivered(&f->rack, at) < num) {
        if (clock_ms() - start_ms > PATIENCE_MS)
            return false;
        sched_yield();
    }
    return rack_delivered(&f->rack, at) == num;
}

static void expect_tags(struct fixture *f, unsigned at, unsigned queue, uint32_t first,
                        uint32_t num)
{
    unsigned received;
    const struct inproc_frame *frames = inproc_received(f->rack.ports[at], queue, &received);

    assert_int_equal(received, num);
    for (uint32_t i = 0; i < num; i++) {
        uint32_t tag;

        memcpy(&tag, frames[i].bytes + 14, sizeof(tag));
        assert_int_equal(tag, first + i);
    }
    inproc_forget(f->rack.ports[at]);
}

/* What all workers say together. */
static json_int_t sum_of(struct fixture *f, const char *key)
{
    json_t *workers = worker_pool_describe(f->rack.pool), *worker;
    json_int_t sum = 0;
    size_t i;

    assert_non_null(workers);
    json_array_foreach (workers, i, worker) {
        assert_true(json_is_integer(json_object_get(worker, key)));
        sum += json_integer_value(json_object_get(worker, key));
    }
    json_decref(workers);
    return sum;
}

/* --- Delivery --------------------------------------------------------------------------------------- */

static void test_delivery(void **state)
{
    for (unsigned m = 0; m < 3; m++) {
        for (unsigned c = 0; c < 3; c++) {
            struct fixture f;

            begin(&f, modes[m], 2, classes[c], 1);
            for (uint32_t tag = 0; tag < 2000; tag++) {
                send_tag(&f, 0, 0, tag);
                send_tag(&f, 1, 0, 50000 + tag);
            }
            assert_true(are_delivered(&f, 1, 2000));
            assert_true(are_delivered(&f, 0, 2000));
            expect_tags(&f, 1, 0, 0, 2000);
            expect_tags(&f, 0, 0, 50000, 2000);
            end(&f);
        }
    }
}

static void test_more_queues_than_workers(void **state)
{
    struct fixture f;

    begin(&f, WORKER_ADAPTIVE, 2, &inproc_class, 8);
    assert_int_equal(sum_of(&f, "queues"), 16);
    for (uint32_t tag = 0; tag < 200; tag++) {
        for (unsigned queue = 0; queue < 8; queue++)
            send_tag(&f, 0, queue, queue * 1000 + tag);
    }
    assert_true(are_delivered(&f, 1, 1600));
    for (unsigned queue = 0; queue < 8; queue++) {
        unsigned num;
        const struct inproc_frame *frames = inproc_received(f.rack.ports[1], queue, &num);

        assert_int_equal(num, 200);
        for (uint32_t i = 0; i < num; i++) {
            uint32_t tag;

            memcpy(&tag, frames[i].bytes + 14, sizeof(tag));
            assert_int_equal(tag, queue * 1000 + i);
        }
    }
    end(&f);
}

/* Queues of all kinds beside each other. */
static void test_mixed_classes(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 1);
    struct fixture f;
    uint8_t frame[60] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff};

    rack_init(&f.rack, BRIDGE_LEARN, &config);
    for (unsigned c = 0; c < 3; c++)
        assert_int_equal(rack_plug(&f.rack, classes[c], 1), c);
    for (unsigned i = 0; i < 500; i++) {
        frame[11] = (uint8_t)(i % 3);
        while (!inproc_send(f.rack.ports[i % 3], 0, frame, 60, 0))
            usleep(10);
        if (i % 50 == 0)
            usleep(500);
    }
    for (unsigned at = 0; at < 3; at++)
        assert_true(are_delivered(&f, at, 500 - (500 + 2 - at) / 3));
    end(&f);
}

/* --- Rest ------------------------------------------------------------------------------------------- */

static uint64_t count_lends(struct fixture *f)
{
    return inproc_stats(f->rack.ports[0], 0).lends;
}

/*
 * Whether the queue is looked at, and then by nobody for 50 ms; machines may be slow, and so may a worker
 * be that starts: it is tried for a while.
 */
static bool comes_to_rest(struct fixture *f)
{
    uint64_t start_ms = clock_ms();

    while (clock_ms() - start_ms < PATIENCE_MS) {
        uint64_t before = count_lends(f);

        usleep(50000);
        if (before > 0 && count_lends(f) == before)
            return true;
    }
    return false;
}

/* Whether a port is looked at so many times more, with nothing to see. */
static bool keeps_looking_at(struct fixture *f, unsigned port, uint64_t num)
{
    uint64_t start_ms = clock_ms(), before = inproc_stats(f->rack.ports[port], 0).lends;

    while (clock_ms() - start_ms < PATIENCE_MS) {
        if (inproc_stats(f->rack.ports[port], 0).lends > before + num)
            return true;
        usleep(1000);
    }
    return false;
}

static void test_idle_workers_sleep(void **state)
{
    static const enum worker_mode sleepy[] = {WORKER_ADAPTIVE, WORKER_INTERRUPT};

    for (unsigned m = 0; m < 2; m++) {
        for (unsigned c = 0; c < 2; c++) {
            struct fixture f;

            begin(&f, sleepy[m], 1, classes[c], 1);
            assert_true(comes_to_rest(&f));
            assert_true(inproc_stats(f.rack.ports[0], 0).arms > 0);
            send_tag(&f, 0, 0, 1);
            assert_true(are_delivered(&f, 1, 1));
            assert_true(comes_to_rest(&f));
            end(&f);
        }
    }
}

static void test_polling_workers_do_not(void **state)
{
    struct fixture f;

    begin(&f, WORKER_POLL, 1, &inproc_class, 1);
    assert_true(keeps_looking_at(&f, 0, 20000));
    assert_int_equal(inproc_stats(f.rack.ports[0], 0).arms, 0);
    assert_int_equal(sum_of(&f, "wakeups"), 0);
    end(&f);
}

/* Without traffic a costly queue is not looked at, even by a worker that polls. */
static void test_costly_queues_are_left_alone(void **state)
{
    struct worker_config config = rack_workers(WORKER_POLL, 1);
    struct fixture f;

    rack_init(&f.rack, BRIDGE_LEARN, &config);
    rack_plug(&f.rack, &inproc_class_costly, 1);
    rack_plug(&f.rack, &inproc_class, 1);
    assert_true(comes_to_rest(&f));
    assert_true(keeps_looking_at(&f, 1, 1000));
    for (uint32_t i = 1; i <= 50; i++) {
        send_tag(&f, 0, 0, i);
        assert_true(are_delivered(&f, 1, i));
    }
    assert_true(comes_to_rest(&f));
    end(&f);
}

struct pump {
    struct fixture *fixture;
    unsigned from;
    uint32_t num;
    atomic_bool is_ending;
    pthread_t thread;
};

static void *run_pump(void *ctx)
{
    struct pump *pump = ctx;

    while (!atomic_load(&pump->is_ending))
        send_tag(pump->fixture, pump->from, 0, pump->num++);
    return NULL;
}

/* Beside a queue that is never empty, a costly one gets its turn. */
static void test_costly_queues_beside_busy_ones(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 1);
    struct fixture f;
    struct pump pump = {.fixture = &f, .from = 1};

    rack_init(&f.rack, BRIDGE_LEARN, &config);
    rack_plug(&f.rack, &inproc_class_costly, 1);
    rack_plug(&f.rack, &inproc_class, 1);
    inproc_set_capture(f.rack.ports[0], false);
    assert_int_equal(pthread_create(&pump.thread, NULL, run_pump, &pump), 0);
    for (uint32_t i = 1; i <= 200; i++) {
        send_tag(&f, 0, 0, i);
        assert_true(are_delivered(&f, 1, i));
    }
    atomic_store(&pump.is_ending, true);
    assert_int_equal(pthread_join(pump.thread, NULL), 0);
    assert_true(are_delivered(&f, 0, pump.num));
    end(&f);
}

/* --- Figures ---------------------------------------------------------------------------------------- */

/* Time asleep is idle, also if there is a frame to move after it. */
static void test_sleep_is_idle(void **state)
{
    struct fixture f;
    json_int_t busy, idle;

    begin(&f, WORKER_INTERRUPT, 1, &inproc_class, 1);
    for (uint32_t i = 1; i <= 40; i++) {
        usleep(5000);
        send_tag(&f, 0, 0, i);
        assert_true(are_delivered(&f, 1, i));
    }
    assert_true(comes_to_rest(&f));
    busy = sum_of(&f, "busy_cycles");
    idle = sum_of(&f, "idle_cycles");
    assert_true(busy > 0);
    assert_true(busy < idle / 4);
    end(&f);
}

static void test_description(void **state)
{
    struct fixture f;
    json_t *workers;
    json_int_t frames, bursts;

    begin(&f, WORKER_ADAPTIVE, 2, &inproc_class, 1);
    for (uint32_t tag = 0; tag < 1000; tag++)
        send_tag(&f, tag % 2, 0, tag);
    assert_true(are_delivered(&f, 0, 500));
    assert_true(are_delivered(&f, 1, 500));
    assert_true(comes_to_rest(&f));
    frames = sum_of(&f, "frames");
    bursts = sum_of(&f, "bursts");
    assert_int_equal(frames, 1000);
    assert_in_range(bursts, 1000 / BURST_MAX_FRAMES, 1000);
    workers = worker_pool_describe(f.rack.pool);
    assert_int_equal(json_array_size(workers), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *worker = json_array_get(workers, i);

        assert_int_equal(json_integer_value(json_object_get(worker, "id")), i);
        assert_string_equal(json_string_value(json_object_get(worker, "mode")), "adaptive");
        assert_true(json_is_false(json_object_get(worker, "pinned")));
        assert_int_equal(json_integer_value(json_object_get(worker, "queues")), 1);
        assert_in_range(json_integer_value(json_object_get(worker, "cpu")), 0, CPU_SETSIZE);
        assert_true(json_integer_value(json_object_get(worker, "cycles_per_second")) > 1000000);
        assert_true(json_integer_value(json_object_get(worker, "wakeups")) > 0);
    }
    json_decref(workers);
    end(&f);
}

/* --- Queues that come and go ------------------------------------------------------------------------ */

static json_int_t queues_of(struct fixture *f, size_t worker)
{
    json_t *workers = worker_pool_describe(f->rack.pool);
    json_int_t num = json_integer_value(json_object_get(json_array_get(workers, worker), "queues"));

    json_decref(workers);
    return num;
}

static void test_queues_are_spread(void **state)
{
    struct fixture f;

    begin(&f, WORKER_INTERRUPT, 2, &inproc_class, 3);
    assert_int_equal(queues_of(&f, 0), 3);
    assert_int_equal(queues_of(&f, 1), 3);
    rack_unplug(&f.rack, 0);
    assert_int_equal(queues_of(&f, 0) + queues_of(&f, 1), 3);
    rack_plug(&f.rack, &inproc_class, 3);
    assert_int_equal(queues_of(&f, 0), 3);
    assert_int_equal(queues_of(&f, 1), 3);
    end(&f);
}

static void test_remove_what_is_not_there(void **state)
{
    struct port *other = inproc_create(&inproc_class, "other", 1, NULL, NULL);
    struct fixture f;

    begin(&f, WORKER_INTERRUPT, 1, &inproc_class, 1);
    worker_pool_remove(f.rack.pool, &other->queues[0]);
    assert_int_equal(sum_of(&f, "queues"), 2);
    worker_pool_remove(f.rack.pool, &f.rack.ports[0]->queues[0]);
    worker_pool_remove(f.rack.pool, &f.rack.ports[0]->queues[0]);
    assert_int_equal(sum_of(&f, "queues"), 1);
    end(&f);
    port_destroy(other);
}

/* After the removal no worker touches the queue, not even one that is busy with it. */
static void test_removed_is_removed(void **state)
{
    struct fixture f;
    struct pump pump = {.fixture = &f, .from = 0};

    begin(&f, WORKER_POLL, 2, &inproc_class, 1);
    inproc_set_capture(f.rack.ports[1], false);
    assert_int_equal(pthread_create(&pump.thread, NULL, run_pump, &pump), 0);
    for (unsigned i = 0; i < 300; i++) {
        uint64_t lends;

        worker_pool_remove(f.rack.pool, &f.rack.ports[0]->queues[0]);
        lends = count_lends(&f);
        usleep(50);
        assert_int_equal(count_lends(&f), lends);
        assert_int_equal(worker_pool_add(f.rack.pool, f.rack.members[0],
                                         &f.rack.ports[0]->queues[0]),
                         0);
        usleep(50);
    }
    atomic_store(&pump.is_ending, true);
    assert_int_equal(pthread_join(pump.thread, NULL), 0);
    assert_true(are_delivered(&f, 1, pump.num));
    end(&f);
}

/* What a queue already has when it comes to a worker that sleeps. */
static void test_frames_before_the_queue(void **state)
{
    for (unsigned c = 0; c < 3; c++) {
        struct fixture f;

        begin(&f, WORKER_INTERRUPT, 1, classes[c], 1);
        for (uint32_t i = 0; i < 20; i++) {
            inproc_set_up(f.rack.ports[0], false);
            for (uint32_t tag = 0; tag < 100; tag++)
                send_tag(&f, 0, 0, 100 * i + tag);
            usleep(2000);
            assert_int_equal(inproc_num_pending(f.rack.ports[0], 0), 100);
            inproc_set_up(f.rack.ports[0], true);
            assert_true(are_delivered(&f, 1, 100 * (i + 1)));
        }
        expect_tags(&f, 1, 0, 0, 2000);
        end(&f);
    }
}

/* A place that becomes free is another queue's next; each finds its own frames. */
static void test_places_are_used_again(void **state)
{
    struct worker_config config = rack_workers(WORKER_INTERRUPT, 1);
    struct fixture f;

    rack_init(&f.rack, BRIDGE_LEARN, &config);
    rack_plug(&f.rack, &inproc_class, 1);
    for (uint32_t i = 1; i <= 200; i++) {
        unsigned place = rack_plug(&f.rack, classes[i % 2], 1);

        send_tag(&f, place, 0, i);
        assert_true(are_delivered(&f, 0, 2 * i - 1));
        usleep(i % 10 * 20);
        send_tag(&f, place, 0, i);
        assert_true(are_delivered(&f, 0, 2 * i));
        rack_unplug(&f.rack, place);
    }
    end(&f);
}

/* A queue whose wake-up cannot be watched at times: bit n stands for the control thread's n-th call. */
static unsigned bad_calls;
static pthread_t control;

static int odd_wake_fd(const struct port_queue *queue)
{
    bool is_bad = false;

    if (pthread_equal(pthread_self(), control)) {
        is_bad = bad_calls & 1;
        bad_calls >>= 1;
    }
    return is_bad ? 1 << 20 : inproc_class.wake_fd(queue);
}

static void ignore_line(void *ctx, enum shunt_log_level level, const char *tag, const char *text)
{
    ++*(unsigned *)ctx;
}

/* Two workers instead of one are refused for this reason; after that there are so many queues. */
static void expect_unchanged(struct fixture *f, int code, json_int_t num_queues)
{
    struct worker_config config = rack_workers(WORKER_INTERRUPT, 2);
    struct shunt_error error = {0};

    assert_int_equal(worker_pool_set(f->rack.pool, &config, &error), code);
    assert_int_equal(error.code, code);
    assert_non_null(strstr(error.text, "odd"));
    assert_int_equal(worker_pool_config(f->rack.pool)->num, 1);
    assert_int_equal(worker_pool_config(f->rack.pool)->mode, WORKER_ADAPTIVE);
    assert_int_equal(sum_of(f, "queues"), num_queues);
}

static void expect_both_ways(struct fixture *f, uint64_t num)
{
    send_tag(f, 0, 0, 1);
    send_tag(f, 1, 0, 1);
    assert_true(are_delivered(f, 1, num));
    assert_true(are_delivered(f, 0, num));
}

static void test_a_queue_that_cannot_be_watched(void **state)
{
    struct port_class class = inproc_class;
    struct port *port;
    struct fixture f;

    control = pthread_self();
    class.wake_fd = odd_wake_fd;
    begin(&f, WORKER_ADAPTIVE, 1, &inproc_class, 1);
    port = inproc_create(&class, "odd", 1, NULL, NULL);
    bad_calls = 1;
    assert_int_equal(worker_pool_add(f.rack.pool, f.rack.members[0], &port->queues[0]), -EBADF);
    assert_int_equal(sum_of(&f, "queues"), 2);
    worker_pool_remove(f.rack.pool, &port->queues[0]);
    assert_int_equal(worker_pool_add(f.rack.pool, f.rack.members[0], &port->queues[0]), 0);
    assert_int_equal(sum_of(&f, "queues"), 3);
    expect_both_ways(&f, 1);
    bad_calls = 2; /* the first one is its removal */
    expect_unchanged(&f, -EBADF, 3);
    expect_both_ways(&f, 2);
    worker_pool_remove(f.rack.pool, &port->queues[0]);
    assert_int_equal(sum_of(&f, "queues"), 2);
    end(&f);
    port_destroy(port);
}

/* If there is no way back either, that is said, and only this queue is without worker. */
static void test_a_queue_that_cannot_go_back(void **state)
{
    struct port_class class = inproc_class;
    struct port *port;
    struct fixture f;
    unsigned num_lines = 0;

    control = pthread_self();
    class.wake_fd = odd_wake_fd;
    begin(&f, WORKER_ADAPTIVE, 1, &inproc_class, 1);
    port = inproc_create(&class, "odd", 1, NULL, NULL);
    assert_int_equal(worker_pool_add(f.rack.pool, f.rack.members[0], &port->queues[0]), 0);
    bad_calls = 6;
    shunt_log_set(SHUNT_LOG_WARNING, ignore_line, &num_lines);
    expect_unchanged(&f, -EBADF, 2);
    shunt_log_set(SHUNT_LOG_WARNING, NULL, NULL);
    assert_int_equal(num_lines, 1);
    worker_pool_remove(f.rack.pool, &port->queues[0]);
    assert_int_equal(sum_of(&f, "queues"), 2);
    expect_both_ways(&f, 1);
    end(&f);
    port_destroy(port);
}

static void test_end_with_queues(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 2);
    struct port *port = inproc_create(&inproc_class, "a", 4, NULL, NULL);
    struct bridge_port *member;
    struct worker_pool *pool;
    struct bridge *bridge;

    assert_int_equal(worker_pool_create(&config, &pool, NULL), 0);
    assert_int_equal(bridge_create("br0", BRIDGE_LEARN, 0, &bridge, NULL), 0);
    assert_int_equal(bridge_add_port(bridge, port, 10, &member, NULL), 0);
    for (unsigned i = 0; i < 4; i++)
        assert_int_equal(worker_pool_add(pool, member, &port->queues[i]), 0);
    worker_pool_destroy(pool);
    worker_pool_destroy(NULL);
    bridge_remove_port(member);
    bridge_destroy(bridge);
    port_destroy(port);
}

/* --- Change ----------------------------------------------------------------------------------------- */

/* The CPUs that we may run on. */
static unsigned list_cpus(int *cpus, unsigned max)
{
    cpu_set_t set;
    unsigned num = 0;

    assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
    for (int cpu = 0; cpu < CPU_SETSIZE && num < max; cpu++) {
        if (CPU_ISSET((unsigned)cpu, &set))
            cpus[num++] = cpu;
    }
    return num;
}

static void test_modes_are_live(void **state)
{
    struct worker_config config = rack_workers(WORKER_INTERRUPT, 1);
    struct fixture f;
    uint32_t num = 0;

    begin(&f, WORKER_INTERRUPT, 1, &inproc_class, 1);
    for (unsigned i = 0; i < 12; i++) {
        config.mode = modes[i % 3];
        assert_int_equal(worker_pool_set(f.rack.pool, &config, NULL), 0);
        assert_int_equal(worker_pool_config(f.rack.pool)->mode, config.mode);
        send_tag(&f, 0, 0, num++);
        assert_true(are_delivered(&f, 1, num));
    }
    /* From sleep to polling, without a frame that would wake it. */
    config.mode = WORKER_INTERRUPT;
    assert_int_equal(worker_pool_set(f.rack.pool, &config, NULL), 0);
    assert_true(comes_to_rest(&f));
    config.mode = WORKER_POLL;
    assert_int_equal(worker_pool_set(f.rack.pool, &config, NULL), 0);
    assert_true(keeps_looking_at(&f, 0, 20000));
    end(&f);
}

/* The thread of the only worker runs where it should. */
static void expect_pinned(struct fixture *f, int cpu)
{
    json_t *workers = worker_pool_describe(f->rack.pool), *worker = json_array_get(workers, 0);

    assert_true(json_is_true(json_object_get(worker, "pinned")));
    assert_int_equal(json_integer_value(json_object_get(worker, "cpu")), cpu);
    json_decref(workers);
}

static void test_cpus(void **state)
{
    struct worker_config config = rack_workers(WORKER_ADAPTIVE, 1);
    struct fixture f;
    int cpus[WORKER_MAX];
    unsigned num = list_cpus(cpus, WORKER_MAX);

    begin(&f, WORKER_ADAPTIVE, 1, &inproc_class, 1);
    for (uint32_t i = 0; i < 8; i++) {
        config.cpus[0] = cpus[i % num];
        assert_int_equal(worker_pool_set(f.rack.pool, &config, NULL), 0);
        expect_pinned(&f, cpus[i % num]);
        send_tag(&f, 0, 0, i);
        assert_true(are_delivered(&f, 1, i + 1));
    }
    assert_int_equal(sum_of(&f, "queues"), 2);
    end(&f);
}

/* A worker's own word on where it runs. */
static void test_pinned_thread(void **state)
{
    int cpus[WORKER_MAX];
    unsigned num = list_cpus(cpus, WORKER_MAX);

    for (unsigned i = 0; i < num && i < 4; i++) {
        struct worker *worker;
        uint64_t start_ms = clock_ms();

        assert_int_equal(worker_create(i, cpus[i], WORKER_POLL, &worker, NULL), 0);
        while (worker_stats(worker).idle_cycles == 0 && clock_ms() - start_ms < PATIENCE_MS)
            sched_yield();
        assert_int_equal(worker_stats(worker).cpu, cpus[i]);
        assert_int_equal(worker_num_queues(worker), 0);
        worker_destroy(worker);
    }
    worker_destroy(NULL);
}

static void test_bad_cpus_change_nothing(void **state)
{
    static const int bad[] = {CPU_SETSIZE - 1, CPU_SETSIZE, 1 << 30};
    struct worker_config before, config;
    struct worker_pool *pool = NULL;
    struct fixture f;

    begin(&f, WORKER_ADAPTIVE, 2, &inproc_class, 1);
    before = *worker_pool_config(f.rack.pool);
    for (unsigned i = 0; i < 3; i++) {
        struct shunt_error error = {0};

        config = rack_workers(WORKER_POLL, 3);
        config.cpus[2] = bad[i];
        assert_int_equal(worker_pool_set(f.rack.pool, &config, &error), -EINVAL);
        assert_int_equal(error.code, -EINVAL);
        assert_int_not_equal(error.text[0], '\0');
        assert_memory_equal(worker_pool_config(f.rack.pool), &before, sizeof(before));
        assert_int_equal(worker_pool_create(&config, &pool, &error), -EINVAL);
        assert_null(pool);
    }
    assert_int_equal(sum_of(&f, "queues"), 2);
    send_tag(&f, 0, 0, 1);
    assert_true(are_delivered(&f, 1, 1));
    end(&f);
}

/* Number, place and mode change under traffic, and no frame is lost. */
static void test_change_under_traffic(void **state)
{
    struct fixture f;
    struct pump pump = {.fixture = &f, .from = 0};
    int cpus[WORKER_MAX];
    unsigned num_cpus = list_cpus(cpus, WORKER_MAX);

    begin(&f, WORKER_ADAPTIVE, 1, &inproc_class, 2);
    assert_int_equal(pthread_create(&pump.thread, NULL, run_pump, &pump), 0);
    inproc_set_capture(f.rack.ports[1], false);
    for (unsigned i = 0; i < 60; i++) {
        struct worker_config config = rack_workers(modes[i % 3], i % 4 + 1);

        for (unsigned w = 0; i % 5 > 1 && w < config.num; w++)
            config.cpus[w] = cpus[(i + w) % num_cpus];
        assert_int_equal(worker_pool_set(f.rack.pool, &config, NULL), 0);
        assert_int_equal(sum_of(&f, "queues"), 4);
        usleep(2000);
    }
    atomic_store(&pump.is_ending, true);
    assert_int_equal(pthread_join(pump.thread, NULL), 0);
    assert_true(are_delivered(&f, 1, pump.num));
    assert_true(pump.num > 1000);
    end(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_delivery),
        cmocka_unit_test(test_more_queues_than_workers),
        cmocka_unit_test(test_mixed_classes),
        cmocka_unit_test(test_idle_workers_sleep),
        cmocka_unit_test(test_polling_workers_do_not),
        cmocka_unit_test(test_costly_queues_are_left_alone),
        cmocka_unit_test(test_costly_queues_beside_busy_ones),
        cmocka_unit_test(test_sleep_is_idle),
        cmocka_unit_test(test_description),
        cmocka_unit_test(test_queues_are_spread),
        cmocka_unit_test(test_remove_what_is_not_there),
        cmocka_unit_test(test_removed_is_removed),
        cmocka_unit_test(test_frames_before_the_queue),
        cmocka_unit_test(test_places_are_used_again),
        cmocka_unit_test(test_a_queue_that_cannot_be_watched),
        cmocka_unit_test(test_a_queue_that_cannot_go_back),
        cmocka_unit_test(test_end_with_queues),
        cmocka_unit_test(test_modes_are_live),
        cmocka_unit_test(test_cpus),
        cmocka_unit_test(test_pinned_thread),
        cmocka_unit_test(test_bad_cpus_change_nothing),
        cmocka_unit_test(test_change_under_traffic),
    };

    return cmocka_run_group_tests_name("worker", tests, NULL, NULL);
}
