/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * A started rig, and what tests of a virtqueue say of it again and again. Set-ups take the features from the
 * variant (see there), and add INDIRECT_DESC. All others fail the test if it is not as their names say.
 */
#ifndef LIB_PROBE_H
#define LIB_PROBE_H

#include "lib/rig.h"
#include "lib/variant.h"

#define PROBE_SIZE   256u
#define PROBE_PIECES 600u

struct probe {
    struct rig rig;
    struct iovec iov[PROBE_PIECES];
};

/* Started and enabled, with a ring of PROBE_SIZE; not started. */
int probe_setup(void **state);
int probe_setup_stopped(void **state);
int probe_teardown(void **state);

/* One of another size, or with exactly these features. */
struct probe *probe_create(uint16_t size, uint64_t features);
void probe_destroy(struct probe *probe);

static inline struct ring_buffer readable(uint64_t addr, uint32_t len)
{
    return (struct ring_buffer){addr, len, false};
}

static inline struct ring_buffer writable(uint64_t addr, uint32_t len)
{
    return (struct ring_buffer){addr, len, true};
}

/* Adds a chain, which must fit; its id. */
int probe_add(struct probe *probe, const struct ring_buffer *buffers, unsigned num);

/* The same with one buffer, and publishes it. */
int probe_offer(struct probe *probe, struct ring_buffer buffer);

/* As shunt_virtqueue_pop(), into probe->iov. */
int probe_pop(struct probe *probe, struct shunt_chain *chain);

/* A chain is there, and has this id. */
void probe_expect_chain(struct probe *probe, struct shunt_chain *chain, int id);

/* Returns the chain and shows it. */
void probe_give_back(struct probe *probe, const struct shunt_chain *chain, uint32_t written);

/* The entry of probe->iov is this piece of guest memory. */
void probe_expect_piece(struct probe *probe, unsigned idx, uint64_t addr, uint64_t len);

/* The next chain that came back. */
void probe_expect_used(struct probe *probe, int id, uint32_t len);

/* One chain of one buffer goes through, so the queue works. */
void probe_expect_alive(struct probe *probe);

#endif
