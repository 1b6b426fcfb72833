/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation.
 *
 * A worker goes round its queues and takes a burst from each: so each queue gets an equal share of it,
 * however much its guest sends. Rounds are counted as busy or idle by whether a frame moved.
 *
 *              a frame moved                     idle for SPIN_US (adaptive)
 *        ┌──────────────────────┐                or at once (interrupt)
 *        ▼                      │                         │
 *     polling ──── no frame ──▶ spinning ─────────────────┴──▶ arm all queues,
 *        ▲                                                     look again
 *        │                                                         │ nothing
 *        └──── a kick, a change of the roster, the time-out ◀── asleep in epoll
 *
 * Arming asks every driver for a notification and then looks at its ring once more: what was made
 * available before the driver could see our wish is found by that look, what comes after it is notified.
 *
 * Some queues can only be looked at by a system call. They are polled when their descriptor became
 * readable, which a busy worker asks for once in a while; descriptors are watched edge-triggered, and a
 * queue counts as ready until a lend finds it empty.
 *
 * The roster, the list of queues, is read under RCU: control publishes another one and waits. A queue has
 * the same place in it as long as it is there; events name that place, so a late event for a queue that
 * is gone does no harm: at most another queue is looked at for nothing.
 */
#include "worker/worker.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "base/rcu.h"

#define SPIN_US         50u
#define EVENTS_PER_WAIT 64
/* How often a busy worker asks which costly queues are ready, in rounds. */
#define ROUNDS_PER_LOOK 16u
/* A queue that cannot wake us is looked at this often, if there is one. */
#define UNWAKEABLE_MS 1
#define PLACE_WAKE    UINT32_MAX

struct place {
    struct bridge_port *member; /* NULL: free */
    struct port_queue *queue;
};

struct roster {
    unsigned num_places;
    unsigned num_queues;
    unsigned num_costly;
    struct place places[];
};

struct worker {
    unsigned id;
    int cpu;
    pthread_t thread;
    int epoll_fd;
    int wake_fd;
    atomic_bool is_ending;
    _Atomic enum worker_mode mode;
    struct roster *_Atomic roster;

    /* The worker's own, read by others as whole words. */
    _Alignas(64) struct worker_stats stats;
    const struct roster *seen; /* to notice that the roster is another one */
    uint64_t cycles_last;      /* the end of the last round */
    uint64_t idle_since;       /* cycles; 0: not idle */
    uint64_t spin_cycles;
    unsigned rounds;
    bool is_ready[BRIDGE_MAX_PORTS]; /* costly queues by place */
    struct burst burst;
};

/* --- The worker's thread ---------------------------------------------------------------------------- */

static void count(uint64_t *counter, uint64_t n)
{
    __atomic_store_n(counter, *counter + n, __ATOMIC_RELAXED);
}

/* Ready is what may have frames: anything that is cheap to look at, or has been signalled. */
static bool is_worth_a_look(const struct worker *worker, unsigned place,
                            const struct port_queue *queue)
{
    return !queue->port->class->is_lend_costly || place >= BRIDGE_MAX_PORTS ||
           worker->is_ready[place];
}

static unsigned poll_queues(struct worker *worker, const struct roster *roster)
{
    uint32_t now_s = clock_coarse_s();
    unsigned frames = 0;

    for (unsigned i = 0; i < roster->num_places; i++) {
        const struct place *place = &roster->places[i];
        unsigned num;

        if (!place->member || !is_worth_a_look(worker, i, place->queue))
            continue;
        num = bridge_forward(place->member, place->queue, &worker->burst, now_s);
        if (num > 0)
            count(&worker->stats.bursts, 1);
        else if (i < BRIDGE_MAX_PORTS)
            worker->is_ready[i] = false;
        frames += num;
    }
    return frames;
}

/* Marks what became readable. Waits for it if asked to. */
static void collect_events(struct worker *worker, int timeout_ms)
{
    struct epoll_event events[EVENTS_PER_WAIT];
    int num = epoll_wait(worker->epoll_fd, events, EVENTS_PER_WAIT, timeout_ms);

    for (int i = 0; i < num; i++) {
        uint32_t place = events[i].data.u32;
        uint64_t value;

        if (place < BRIDGE_MAX_PORTS)
            worker->is_ready[place] = true;
        else if (place == PLACE_WAKE && read(worker->wake_fd, &value, sizeof(value)) < 0)
            continue; /* read before: nothing is lost */
    }
}

/* With another roster, a place may be another queue's: all are looked at once. */
static void notice_roster(struct worker *worker, const struct roster *roster)
{
    if (roster == worker->seen)
        return;
    worker->seen = roster;
    memset(worker->is_ready, true, sizeof(worker->is_ready));
    worker->idle_since = 0;
}

/* True if all queues will wake us; `*timeout_ms` is for those that cannot. */
static bool arm_queues(const struct roster *roster, int *timeout_ms)
{
    bool may_sleep = true;

    *timeout_ms = -1;
    for (unsigned i = 0; i < roster->num_places; i++) {
        const struct place *place = &roster->places[i];
        const struct port_class *class;

        if (!place->member)
            continue;
        class = place->queue->port->class;
        if (class->wake_fd(place->queue) < 0)
            *timeout_ms = UNWAKEABLE_MS;
        else if (!class->arm(place->queue))
            may_sleep = false;
    }
    return may_sleep;
}

static void disarm_queues(const struct roster *roster)
{
    for (unsigned i = 0; i < roster->num_places; i++) {
        const struct place *place = &roster->places[i];

        if (place->member)
            place->queue->port->class->disarm(place->queue);
    }
}

/* The cycles since the last time go to the round that ends now, or to the sleep. */
static void account(struct worker *worker, unsigned frames)
{
    uint64_t now = clock_cycles(), spent = now - worker->cycles_last;

    worker->cycles_last = now;
    if (frames == 0) {
        count(&worker->stats.idle_cycles, spent);
        return;
    }
    worker->idle_since = 0;
    count(&worker->stats.busy_cycles, spent);
    count(&worker->stats.frames, frames);
}

static void sleep_until_woken(struct worker *worker, const struct roster *roster)
{
    int timeout_ms;

    if (arm_queues(roster, &timeout_ms)) {
        rcu_reader_offline();
        collect_events(worker, timeout_ms);
        rcu_reader_online();
        account(worker, 0);
        count(&worker->stats.wakeups, 1);
        __atomic_store_n(&worker->stats.cpu, sched_getcpu(), __ATOMIC_RELAXED);
        roster = rcu_follow(&worker->roster);
    }
    disarm_queues(roster);
    worker->idle_since = 0;
}

static void relax(void)
{
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* After a round without a frame. */
static void rest(struct worker *worker, const struct roster *roster)
{
    enum worker_mode mode = atomic_load_explicit(&worker->mode, memory_order_relaxed);

    if (worker->idle_since == 0)
        worker->idle_since = worker->cycles_last;
    if (mode == WORKER_INTERRUPT ||
        (mode == WORKER_ADAPTIVE && worker->cycles_last - worker->idle_since > worker->spin_cycles))
        sleep_until_woken(worker, roster);
    else
        relax();
}

static void go_round(struct worker *worker)
{
    const struct roster *roster;
    unsigned frames;

    rcu_reader_quiescent();
    roster = rcu_follow(&worker->roster);
    notice_roster(worker, roster);
    if (roster->num_costly > 0 && ++worker->rounds % ROUNDS_PER_LOOK == 0)
        collect_events(worker, 0);
    frames = poll_queues(worker, roster);
    account(worker, frames);
    if (frames == 0)
        rest(worker, roster);
}

/* The counter's rate, measured once for how long to spin; 1 ms makes it exact enough for that. */
static uint64_t measure_spin_cycles(void)
{
    uint64_t start_ns = clock_ns(), start = clock_cycles(), ns;

    do
        ns = clock_ns() - start_ns;
    while (ns < 1000000);
    return (clock_cycles() - start) * (SPIN_US * 1000) / ns;
}

static void *run(void *ctx)
{
    struct worker *worker = ctx;

    rcu_reader_register();
    worker->spin_cycles = measure_spin_cycles();
    worker->cycles_last = clock_cycles();
    __atomic_store_n(&worker->stats.cpu, sched_getcpu(), __ATOMIC_RELAXED);
    while (!atomic_load_explicit(&worker->is_ending, memory_order_relaxed))
        go_round(worker);
    rcu_reader_unregister();
    return NULL;
}

/* --- Control ---------------------------------------------------------------------------------------- */

static void wake(const struct worker *worker)
{
    uint64_t one = 1;

    while (write(worker->wake_fd, &one, sizeof(one)) < 0 && errno == EINTR)
        ;
}

static int watch(const struct worker *worker, int fd, uint32_t place)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = place};

    return epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0 ? -errno : 0;
}

static int make_parts(struct worker *worker)
{
    struct roster *empty = calloc(1, sizeof(*empty));
    int result;

    if (!empty)
        return -ENOMEM;
    rcu_publish(&worker->roster, empty);
    worker->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    if (worker->epoll_fd < 0)
        return -errno;
    worker->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (worker->wake_fd < 0)
        return -errno;
    result = watch(worker, worker->wake_fd, PLACE_WAKE);
    return result < 0 ? result : burst_init(&worker->burst);
}

static int start_thread(struct worker *worker)
{
    pthread_attr_t attributes;
    char name[16];
    int result;

    pthread_attr_init(&attributes);
    if (worker->cpu >= 0) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((unsigned)worker->cpu, &set);
        pthread_attr_setaffinity_np(&attributes, sizeof(set), &set);
    }
    result = pthread_create(&worker->thread, &attributes, run, worker);
    pthread_attr_destroy(&attributes);
    if (result != 0)
        return -result;
    snprintf(name, sizeof(name), "worker-%u", worker->id % 1000);
    pthread_setname_np(worker->thread, name);
    return 0;
}

static void free_parts(struct worker *worker)
{
    burst_fini(&worker->burst);
    if (worker->wake_fd >= 0)
        close(worker->wake_fd);
    if (worker->epoll_fd >= 0)
        close(worker->epoll_fd);
    free(rcu_follow(&worker->roster));
    free(worker);
}

int worker_create(unsigned id, int cpu, enum worker_mode mode, struct worker **worker,
                  struct shunt_error *error)
{
    struct worker *fresh = aligned_alloc(_Alignof(struct worker), sizeof(*fresh));
    int result;

    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    memset(fresh, 0, sizeof(*fresh));
    fresh->id = id;
    fresh->cpu = cpu;
    fresh->epoll_fd = -1;
    fresh->wake_fd = -1;
    fresh->mode = mode;
    result = make_parts(fresh);
    if (result == 0)
        result = start_thread(fresh);
    if (result < 0) {
        free_parts(fresh);
        if (cpu >= 0)
            return error_set(error, result, "worker %u on CPU %d cannot start: %s", id, cpu,
                             strerror(-result));
        return error_set(error, result, "worker %u cannot start: %s", id, strerror(-result));
    }
    *worker = fresh;
    return 0;
}

void worker_destroy(struct worker *worker)
{
    if (!worker)
        return;
    atomic_store_explicit(&worker->is_ending, true, memory_order_relaxed);
    wake(worker);
    pthread_join(worker->thread, NULL);
    free_parts(worker);
}

void worker_set_mode(struct worker *worker, enum worker_mode mode)
{
    atomic_store_explicit(&worker->mode, mode, memory_order_relaxed);
    wake(worker);
}

static unsigned free_place(const struct roster *roster)
{
    unsigned place = 0;

    while (place < roster->num_places && roster->places[place].member)
        place++;
    return place;
}

static struct roster *copy_roster(const struct roster *old, unsigned num_places)
{
    struct roster *fresh = calloc(1, sizeof(*fresh) + num_places * sizeof(fresh->places[0]));

    if (!fresh)
        return NULL;
    memcpy(fresh, old, sizeof(*old));
    memcpy(fresh->places, old->places, old->num_places * sizeof(old->places[0]));
    fresh->num_places = num_places;
    return fresh;
}

static void replace_roster(struct worker *worker, struct roster *old, struct roster *fresh)
{
    rcu_publish(&worker->roster, fresh);
    wake(worker);
    rcu_wait_for_readers();
    free(old);
}

int worker_add(struct worker *worker, struct bridge_port *member, struct port_queue *queue,
               unsigned *slot)
{
    struct roster *old = rcu_follow(&worker->roster), *fresh;
    unsigned place = free_place(old);
    int fd = queue->port->class->wake_fd(queue);
    int result;

    fresh = copy_roster(old, place < old->num_places ? old->num_places : place + 1);
    if (!fresh)
        return -ENOMEM;
    if (fd >= 0) {
        result = watch(worker, fd, place);
        if (result < 0) {
            free(fresh);
            return result;
        }
    }
    fresh->places[place] = (struct place){.member = member, .queue = queue};
    fresh->num_queues++;
    fresh->num_costly += queue->port->class->is_lend_costly;
    replace_roster(worker, old, fresh);
    *slot = place;
    return 0;
}

/* When memory is short the place is cleared where it is: the worker looks at `member` first. */
void worker_remove(struct worker *worker, unsigned slot)
{
    struct roster *old = rcu_follow(&worker->roster), *fresh;
    struct port_queue *queue = old->places[slot].queue;
    int fd = queue->port->class->wake_fd(queue);

    if (fd >= 0)
        epoll_ctl(worker->epoll_fd, EPOLL_CTL_DEL, fd, NULL);
    fresh = copy_roster(old, old->num_places);
    if (!fresh) {
        old->num_queues--;
        old->num_costly -= queue->port->class->is_lend_costly;
        __atomic_store_n(&old->places[slot].member, NULL, __ATOMIC_RELEASE);
        wake(worker);
        rcu_wait_for_readers();
        return;
    }
    fresh->places[slot] = (struct place){0};
    fresh->num_queues--;
    fresh->num_costly -= queue->port->class->is_lend_costly;
    replace_roster(worker, old, fresh);
}

unsigned worker_num_queues(const struct worker *worker)
{
    return rcu_follow(&worker->roster)->num_queues;
}

struct worker_stats worker_stats(const struct worker *worker)
{
    const struct worker_stats *stats = &worker->stats;

    return (struct worker_stats){
        .busy_cycles = __atomic_load_n(&stats->busy_cycles, __ATOMIC_RELAXED),
        .idle_cycles = __atomic_load_n(&stats->idle_cycles, __ATOMIC_RELAXED),
        .frames = __atomic_load_n(&stats->frames, __ATOMIC_RELAXED),
        .bursts = __atomic_load_n(&stats->bursts, __ATOMIC_RELAXED),
        .wakeups = __atomic_load_n(&stats->wakeups, __ATOMIC_RELAXED),
        .cpu = __atomic_load_n(&stats->cpu, __ATOMIC_RELAXED),
    };
}
