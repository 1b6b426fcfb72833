/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/steering.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdlib.h>

#define NUM_BUCKETS    1024u /* a power of two */
#define BUCKET_ENTRIES 8u    /* one line of the cache */

/* hash | when it was seen, in seconds | queue + 1; 0: free. */
typedef _Atomic uint64_t entry;

struct bucket {
    _Alignas(64) entry entries[BUCKET_ENTRIES];
};

struct steering {
    struct bucket buckets[NUM_BUCKETS];
};

static uint32_t entry_hash(uint64_t word)
{
    return (uint32_t)(word >> 32);
}

static uint16_t entry_seen_s(uint64_t word)
{
    return (uint16_t)(word >> 16);
}

static unsigned entry_queue(uint64_t word)
{
    return (unsigned)(word & 0xffff) - 1;
}

static uint64_t make_entry(uint32_t hash, uint32_t now_s, unsigned queue)
{
    return (uint64_t)hash << 32 | (uint64_t)(uint16_t)now_s << 16 | (uint16_t)(queue + 1);
}

/* The low bits: the spread goes by the high ones. */
static unsigned bucket_of(uint32_t hash)
{
    return hash % NUM_BUCKETS;
}

int steering_create(struct steering **steering)
{
    *steering = aligned_alloc(_Alignof(struct steering), sizeof(**steering));
    if (!*steering)
        return -ENOMEM;
    steering_clear(*steering);
    return 0;
}

void steering_destroy(struct steering *steering)
{
    free(steering);
}

void steering_clear(struct steering *steering)
{
    for (unsigned i = 0; i < NUM_BUCKETS; i++)
        for (unsigned j = 0; j < BUCKET_ENTRIES; j++)
            atomic_store_explicit(&steering->buckets[i].entries[j], 0, memory_order_relaxed);
}

/* The entry of the flow, or the one that it is to take: free, or the oldest. */
static entry *place_of(struct bucket *bucket, uint32_t hash, uint32_t now_s)
{
    entry *place = &bucket->entries[0];
    uint32_t place_age = 0;

    for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
        uint64_t word = atomic_load_explicit(&bucket->entries[i], memory_order_relaxed);
        uint32_t age = word == 0 ? UINT32_MAX : (uint16_t)((uint16_t)now_s - entry_seen_s(word));

        if (word != 0 && entry_hash(word) == hash)
            return &bucket->entries[i];
        if (age > place_age) {
            place = &bucket->entries[i];
            place_age = age;
        }
    }
    return place;
}

void steering_learn(struct steering *steering, uint32_t hash, unsigned queue, uint32_t now_s)
{
    entry *place = place_of(&steering->buckets[bucket_of(hash)], hash, now_s);
    uint64_t word = make_entry(hash, now_s, queue);

    if (atomic_load_explicit(place, memory_order_relaxed) != word)
        atomic_store_explicit(place, word, memory_order_relaxed);
}

unsigned steering_choose(const struct steering *steering, uint32_t hash, unsigned num)
{
    const struct bucket *bucket = &steering->buckets[bucket_of(hash)];

    for (unsigned i = 0; i < BUCKET_ENTRIES; i++) {
        uint64_t word = atomic_load_explicit(&bucket->entries[i], memory_order_relaxed);

        if (word != 0 && entry_hash(word) == hash && entry_queue(word) < num)
            return entry_queue(word);
    }
    return (unsigned)((uint64_t)hash * num >> 32);
}
