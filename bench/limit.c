/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The physical limit: two vhost-user back-ends with the bare copy loop of lane.h between them, for the same
 * generator that drives a switch. It polls without end, on one CPU.
 *
 * Threads: this one serves the sockets and answers; the other one copies. Where the first changes the
 * rings, it asks the second to step aside (the gate).
 *
 * For each line on standard input it prints its counters in a line of JSON; at the end, by SIGINT or
 * SIGTERM, what a frame cost.
 */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <shunt/backend.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "lane.h"
#include "virtio_net/feature.h"

#define NUM_PORTS 2u
#define MAX_COST  65536u                  /* cycles a frame */
enum { RECEIVEQ, TRANSMITQ, NUM_QUEUES }; /* VIRTIO 1.3, 5.1.2 */

/* The header goes on as it came, so whatever one guest asks for is asked of the other (5.1.3). */
#define OFFLOADS                                                                                   \
    (1u << 0 | 1u << 1 | 1u << 7 | 1u << 8 | 1u << 11 | 1u << 12 /* CSUM, GUEST_CSUM, …_TSO4, 6 */)

struct gate {
    atomic_bool is_wanted;
    atomic_bool is_given;
};

/* The copying thread's; others read whole words. */
struct clock {
    uint64_t busy_cycles; /* in rounds that moved a frame */
    uint64_t idle_cycles;
    uint64_t first, last; /* ends of rounds that moved a frame */
    /* Frames by what each of its burst cost: an average also counts the time that others had our CPU. */
    uint64_t frames_at[MAX_COST];
};

static struct shunt_backend *backends[NUM_PORTS];
static struct lane lanes[NUM_PORTS];
static struct gate gate;
static struct clock spent;
static atomic_bool is_ending;

/* --- The thread that copies -------------------------------------------------------------------------- */

static void step_aside(void)
{
    atomic_store(&gate.is_given, true);
    while (atomic_load(&gate.is_wanted))
        sched_yield();
    atomic_store(&gate.is_given, false);
}

static void account(unsigned num, uint64_t cycles, uint64_t now)
{
    if (num == 0) {
        spent.idle_cycles += cycles;
        return;
    }
    spent.busy_cycles += cycles;
    spent.last = now;
    spent.frames_at[cycles / num < MAX_COST ? cycles / num : MAX_COST - 1] += num;
    if (spent.first == 0)
        spent.first = now;
}

static void *copy_without_end(void *ctx)
{
    uint64_t last = clock_cycles();

    (void)ctx;
    while (!atomic_load_explicit(&is_ending, memory_order_relaxed)) {
        if (atomic_load_explicit(&gate.is_wanted, memory_order_relaxed))
            step_aside();
        for (unsigned i = 0; i < NUM_PORTS; i++) {
            unsigned num = lane_forward(&lanes[i]);
            uint64_t now = clock_cycles();

            account(num, now - last, now);
            last = now;
        }
    }
    return NULL;
}

static pthread_t start_copying(int cpu)
{
    pthread_t thread;

    if (pthread_create(&thread, NULL, copy_without_end, NULL) != 0)
        errx(1, "cannot start a thread");
    if (cpu >= 0) {
        cpu_set_t set;

        CPU_ZERO(&set);
        CPU_SET((unsigned)cpu, &set);
        if ((errno = pthread_setaffinity_np(thread, sizeof(set), &set)) != 0)
            err(1, "CPU %d", cpu);
    }
    return thread;
}

/* --- The thread that serves -------------------------------------------------------------------------- */

static void dispatch(struct shunt_backend *backend)
{
    atomic_store(&gate.is_wanted, true);
    while (!atomic_load(&gate.is_given))
        sched_yield();
    shunt_backend_dispatch(backend);
    atomic_store(&gate.is_wanted, false);
    while (atomic_load(&gate.is_given))
        sched_yield();
}

static uint64_t total(size_t offset)
{
    uint64_t sum = 0;

    for (unsigned i = 0; i < NUM_PORTS; i++)
        sum += *(const volatile uint64_t *)((const char *)&lanes[i] + offset);
    return sum;
}

/* What half of the frames cost at most. */
static unsigned median_cost(void)
{
    uint64_t frames = total(offsetof(struct lane, frames)), so_far = 0;
    unsigned cost = 0;

    while (cost < MAX_COST - 1 && 2 * (so_far += spent.frames_at[cost]) < frames)
        cost++;
    return cost;
}

static void print_counters(void)
{
    const volatile struct clock *now = &spent;

    printf("{\"frames\": %lu, \"bytes\": %lu, \"bursts\": %lu, \"busy_cycles\": %lu, "
           "\"idle_cycles\": %lu, \"median\": %u}\n",
           total(offsetof(struct lane, frames)), total(offsetof(struct lane, bytes)),
           total(offsetof(struct lane, bursts)), now->busy_cycles, now->idle_cycles, median_cost());
    fflush(stdout);
}

/* `hz`: of clock_cycles(). */
static void print_report(double hz)
{
    double frames = (double)total(offsetof(struct lane, frames));
    double bursts = (double)total(offsetof(struct lane, bursts));
    double seconds = (double)(spent.last - spent.first) / hz;

    if (frames < 1)
        return;
    printf("%.0f frames, %.1f busy cycles each (median %u), %.1f a burst, %.3f Mpps\n", frames,
           (double)spent.busy_cycles / frames, median_cost(), frames / bursts,
           seconds > 0 ? frames / seconds / 1e6 : 0);
}

/* A line asks for the counters; the end of the input asks for nothing. True while it is open. */
static bool answer(void)
{
    char text[256];
    ssize_t len = read(STDIN_FILENO, text, sizeof(text));

    for (ssize_t i = 0; i < len; i++)
        if (text[i] == '\n')
            print_counters();
    return len > 0;
}

static int catch_signals(void)
{
    sigset_t set;
    int fd;

    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
    fd = signalfd(-1, &set, SFD_CLOEXEC);
    if (fd < 0)
        err(1, "signalfd");
    return fd;
}

static void serve(int signal_fd)
{
    struct pollfd fds[NUM_PORTS + 2];

    for (unsigned i = 0; i < NUM_PORTS; i++)
        fds[i] = (struct pollfd){.fd = shunt_backend_fd(backends[i]), .events = POLLIN};
    fds[NUM_PORTS] = (struct pollfd){.fd = signal_fd, .events = POLLIN};
    fds[NUM_PORTS + 1] = (struct pollfd){.fd = STDIN_FILENO, .events = POLLIN};
    while (!fds[NUM_PORTS].revents) {
        if (poll(fds, NUM_PORTS + 2, -1) < 0 && errno != EINTR)
            err(1, "poll");
        for (unsigned i = 0; i < NUM_PORTS; i++)
            if (fds[i].revents)
                dispatch(backends[i]);
        if (fds[NUM_PORTS + 1].revents && !answer())
            fds[NUM_PORTS + 1].fd = -1;
    }
}

static void create_ports(char **paths)
{
    static const struct shunt_backend_ops ops;

    for (unsigned i = 0; i < NUM_PORTS; i++) {
        struct shunt_backend_config config = {
            .name = paths[i],
            .socket_path = paths[i],
            .features = NET_FEATURE(MRG_RXBUF) | OFFLOADS,
            .num_virtqueues = NUM_QUEUES,
            .queue_num = 1,
        };
        struct shunt_error error = {.text = "out of memory"};

        if (shunt_backend_create(&config, &ops, NULL, &backends[i], &error) < 0)
            errx(1, "%s", error.text);
    }
    for (unsigned i = 0; i < NUM_PORTS; i++) {
        lanes[i].from = shunt_backend_virtqueue(backends[i], TRANSMITQ);
        lanes[i].to = shunt_backend_virtqueue(backends[NUM_PORTS - 1 - i], RECEIVEQ);
    }
}

int main(int argc, char **argv)
{
    static const struct option options[] = {{"cpu", required_argument, NULL, 'c'}, {0}};
    char *end = NULL;
    int option, cpu = -1, signal_fd = catch_signals();
    uint64_t start_ns = clock_ns(), start_cycles = clock_cycles();
    pthread_t thread;

    while ((option = getopt_long(argc, argv, "", options, NULL)) == 'c')
        cpu = (int)strtol(optarg, &end, 10);
    if ((end && *end) || option != -1 || argc - optind != NUM_PORTS)
        errx(2, "usage: %s [--cpu N] SOCKET SOCKET", argv[0]);
    create_ports(&argv[optind]);
    thread = start_copying(cpu);
    serve(signal_fd);
    atomic_store(&is_ending, true);
    pthread_join(thread, NULL);
    print_report((double)(clock_cycles() - start_cycles) * 1e9 / (double)(clock_ns() - start_ns));
    for (unsigned i = 0; i < NUM_PORTS; i++)
        shunt_backend_destroy(backends[i]);
    return 0;
}
