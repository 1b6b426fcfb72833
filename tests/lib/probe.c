/* SPDX-License-Identifier: BSD-3-Clause */
#include "lib/probe.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include <cmocka.h>

static struct probe *must_calloc(void)
{
    struct probe *probe = calloc(1, sizeof(*probe));

    assert_non_null(probe);
    return probe;
}

struct probe *probe_create(uint16_t size, uint64_t features)
{
    struct probe *probe = must_calloc();

    rig_init_started(&probe->rig, size, features);
    return probe;
}

void probe_destroy(struct probe *probe)
{
    rig_fini(&probe->rig);
    free(probe);
}

int probe_setup(void **state)
{
    *state = probe_create(PROBE_SIZE, variant_features(state) | RIG_F_INDIRECT);
    return 0;
}

int probe_setup_stopped(void **state)
{
    struct probe *probe = must_calloc();

    rig_init(&probe->rig, PROBE_SIZE, variant_features(state) | RIG_F_INDIRECT);
    *state = probe;
    return 0;
}

int probe_teardown(void **state)
{
    probe_destroy(*state);
    return 0;
}

int probe_add(struct probe *probe, const struct ring_buffer *buffers, unsigned num)
{
    int id = ring_add(&probe->rig.ring, buffers, num);

    assert_true(id >= 0);
    return id;
}

int probe_offer(struct probe *probe, struct ring_buffer buffer)
{
    int id = probe_add(probe, &buffer, 1);

    ring_publish(&probe->rig.ring);
    return id;
}

int probe_pop(struct probe *probe, struct shunt_chain *chain)
{
    return shunt_virtqueue_pop(probe->rig.queue, chain, probe->iov, PROBE_PIECES);
}

void probe_expect_chain(struct probe *probe, struct shunt_chain *chain, int id)
{
    assert_int_equal(probe_pop(probe, chain), 1);
    assert_int_equal(chain->id, id);
}

void probe_give_back(struct probe *probe, const struct shunt_chain *chain, uint32_t written)
{
    shunt_virtqueue_push(probe->rig.queue, chain, probe->iov, written);
    shunt_virtqueue_publish(probe->rig.queue);
}

void probe_expect_piece(struct probe *probe, unsigned idx, uint64_t addr, uint64_t len)
{
    assert_int_equal(probe->iov[idx].iov_len, len);
    assert_true(rig_is_at(&probe->rig, probe->iov[idx].iov_base, addr));
}

void probe_expect_used(struct probe *probe, int id, uint32_t len)
{
    struct ring_used used;

    assert_true(ring_take_used(&probe->rig.ring, &used));
    assert_int_equal(used.id, id);
    assert_int_equal(used.len, len);
}

void probe_expect_alive(struct probe *probe)
{
    struct shunt_chain chain;
    int id = probe_add(probe, &(struct ring_buffer){RIG_BUFFERS, 100, true}, 1);

    assert_int_equal(ring_num_used(&probe->rig.ring), 0);
    ring_publish(&probe->rig.ring);
    probe_expect_chain(probe, &chain, id);
    probe_give_back(probe, &chain, 77);
    probe_expect_used(probe, id, 77);
    assert_int_equal(ring_num_used(&probe->rig.ring), 0);
}
