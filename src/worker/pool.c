/* SPDX-License-Identifier: BSD-3-Clause */
#include "worker/pool.h"

#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "worker/worker.h"

const char *const worker_mode_names[] = {
    [WORKER_ADAPTIVE] = "adaptive",
    [WORKER_POLL] = "poll",
    [WORKER_INTERRUPT] = "interrupt",
    NULL,
};

/* Which worker has which queue. */
struct assignment {
    struct bridge_port *member;
    struct port_queue *queue;
    unsigned worker;
    unsigned slot;
};

struct worker_pool {
    struct worker_config config;
    struct worker *workers[WORKER_MAX];
    unsigned num_assignments, max_assignments;
    struct assignment *assignments;
    /* When the pool was made: how fast the counter of cycles runs is measured since then. */
    uint64_t start_ns, start_cycles;
};

static int check_cpus(const struct worker_config *config, struct shunt_error *error)
{
    cpu_set_t allowed;

    CPU_ZERO(&allowed);
    sched_getaffinity(0, sizeof(allowed), &allowed);
    for (unsigned i = 0; i < config->num; i++) {
        int cpu = config->cpus[i];

        if (cpu >= 0 && (cpu >= CPU_SETSIZE || !CPU_ISSET((unsigned)cpu, &allowed)))
            return error_set(error, -EINVAL,
                             "CPU %d is not one that shuntd may run on: see 'taskset -cp %d' or "
                             "/proc/cpuinfo",
                             cpu, (int)getpid());
    }
    return 0;
}

static void destroy_workers(struct worker *const *workers, unsigned num)
{
    for (unsigned i = 0; i < num; i++)
        worker_destroy(workers[i]);
}

static int create_workers(const struct worker_config *config, struct worker **workers,
                          struct shunt_error *error)
{
    int result = check_cpus(config, error);

    for (unsigned i = 0; i < config->num && result == 0; i++) {
        result = worker_create(i, config->cpus[i], config->mode, &workers[i], error);
        if (result < 0)
            destroy_workers(workers, i);
    }
    return result;
}

int worker_pool_create(const struct worker_config *config, struct worker_pool **pool,
                       struct shunt_error *error)
{
    struct worker_pool *fresh = calloc(1, sizeof(*fresh));
    int result;

    if (!fresh)
        return error_set(error, -ENOMEM, "out of memory");
    fresh->start_ns = clock_ns();
    fresh->start_cycles = clock_cycles();
    fresh->config = *config;
    result = create_workers(config, fresh->workers, error);
    if (result < 0) {
        free(fresh);
        return result;
    }
    *pool = fresh;
    return 0;
}

void worker_pool_destroy(struct worker_pool *pool)
{
    if (!pool)
        return;
    destroy_workers(pool->workers, pool->config.num);
    free(pool->assignments);
    free(pool);
}

const struct worker_config *worker_pool_config(const struct worker_pool *pool)
{
    return &pool->config;
}

/* --- Queues ----------------------------------------------------------------------------------------- */

static unsigned least_loaded(const struct worker_pool *pool)
{
    unsigned least = 0;

    for (unsigned i = 1; i < pool->config.num; i++) {
        if (worker_num_queues(pool->workers[i]) < worker_num_queues(pool->workers[least]))
            least = i;
    }
    return least;
}

static int assign(struct worker_pool *pool, struct assignment *assignment)
{
    assignment->worker = least_loaded(pool);
    return worker_add(pool->workers[assignment->worker], assignment->member, assignment->queue,
                      &assignment->slot);
}

int worker_pool_add(struct worker_pool *pool, struct bridge_port *member, struct port_queue *queue)
{
    struct assignment assignment = {.member = member, .queue = queue};
    int result;

    if (pool->num_assignments == pool->max_assignments) {
        unsigned max = pool->max_assignments ? 2 * pool->max_assignments : 16;
        struct assignment *grown = realloc(pool->assignments, max * sizeof(*grown));

        if (!grown)
            return -ENOMEM;
        pool->assignments = grown;
        pool->max_assignments = max;
    }
    result = assign(pool, &assignment);
    if (result == 0)
        pool->assignments[pool->num_assignments++] = assignment;
    return result;
}

void worker_pool_remove(struct worker_pool *pool, struct port_queue *queue)
{
    for (unsigned i = 0; i < pool->num_assignments; i++) {
        struct assignment *assignment = &pool->assignments[i];

        if (assignment->queue != queue)
            continue;
        worker_remove(pool->workers[assignment->worker], assignment->slot);
        *assignment = pool->assignments[--pool->num_assignments];
        return;
    }
}

/* --- Change ----------------------------------------------------------------------------------------- */

static bool are_cpus_equal(const struct worker_config *a, const struct worker_config *b)
{
    return a->num == b->num && memcmp(a->cpus, b->cpus, a->num * sizeof(a->cpus[0])) == 0;
}

/* From the worker that it has among `from` to one of the pool's. */
static int move_queue(struct worker_pool *pool, struct assignment *assignment,
                      struct worker *const *from)
{
    worker_remove(from[assignment->worker], assignment->slot);
    return assign(pool, assignment);
}

/*
 * After a failure the queues before `num` go back, and so does that one, which has no worker. Should there
 * be no memory for that either, a queue stays without worker until it starts anew.
 */
static void move_back(struct worker_pool *pool, struct worker *const *from, unsigned num)
{
    for (unsigned i = num + 1; i-- > 0;) {
        struct assignment *assignment = &pool->assignments[i];
        int result = i == num ? assign(pool, assignment) : move_queue(pool, assignment, from);

        if (result == 0)
            continue;
        log_error(assignment->queue->port->name, "queue %u lost its worker: %s",
                  assignment->queue->idx, strerror(-result));
        *assignment = pool->assignments[--pool->num_assignments];
    }
}

/* The fresh workers take over one queue after the other; the pool has the workers that have the queues. */
static int replace_workers(struct worker_pool *pool, const struct worker_config *config,
                           struct worker *const *fresh, struct shunt_error *error)
{
    struct worker *old[WORKER_MAX];
    struct worker_config old_config = pool->config;
    int result = 0;

    memcpy(old, pool->workers, sizeof(old));
    memcpy(pool->workers, fresh, sizeof(old));
    pool->config = *config;
    for (unsigned i = 0; i < pool->num_assignments && result == 0; i++) {
        const struct port_queue *queue = pool->assignments[i].queue;

        result = move_queue(pool, &pool->assignments[i], old);
        if (result == 0)
            continue;
        error_set(error, result, "port %s: queue %u cannot change its worker: %s",
                  queue->port->name, queue->idx, strerror(-result));
        memcpy(pool->workers, old, sizeof(old));
        pool->config = old_config;
        move_back(pool, fresh, i);
    }
    destroy_workers(result == 0 ? old : fresh, result == 0 ? old_config.num : config->num);
    return result;
}

int worker_pool_set(struct worker_pool *pool, const struct worker_config *config,
                    struct shunt_error *error)
{
    struct worker *fresh[WORKER_MAX] = {NULL};
    int result;

    if (!are_cpus_equal(config, &pool->config)) {
        result = create_workers(config, fresh, error);
        return result < 0 ? result : replace_workers(pool, config, fresh, error);
    }
    pool->config = *config;
    for (unsigned i = 0; i < config->num; i++)
        worker_set_mode(pool->workers[i], config->mode);
    return 0;
}

/* --- Description ------------------------------------------------------------------------------------ */

static double cycles_per_second(const struct worker_pool *pool)
{
    double ns = (double)(clock_ns() - pool->start_ns);

    return (double)(clock_cycles() - pool->start_cycles) * 1e9 / ns;
}

json_t *worker_pool_describe(const struct worker_pool *pool)
{
    json_t *array = json_array();

    for (unsigned i = 0; i < pool->config.num; i++) {
        struct worker_stats stats = worker_stats(pool->workers[i]);
        bool is_pinned = pool->config.cpus[i] >= 0;

        json_array_append_new(
            array,
            json_pack("{s:i, s:i, s:b, s:s, s:i, s:I, s:I, s:I, s:I, s:I, s:I}", "id", (int)i,
                      "cpu", is_pinned ? pool->config.cpus[i] : stats.cpu, "pinned", (int)is_pinned,
                      "mode", worker_mode_names[pool->config.mode], "queues",
                      (int)worker_num_queues(pool->workers[i]), "busy_cycles",
                      (json_int_t)stats.busy_cycles, "idle_cycles", (json_int_t)stats.idle_cycles,
                      "cycles_per_second", (json_int_t)cycles_per_second(pool), "frames",
                      (json_int_t)stats.frames, "bursts", (json_int_t)stats.bursts, "wakeups",
                      (json_int_t)stats.wakeups));
    }
    return array;
}
