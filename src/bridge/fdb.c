/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Theory of operation.
 *
 * An address has two buckets, chosen by a keyed hash; each is one cache line of four entries. It lies in
 * either; the second is looked at only when the first does not have it, and used only when the first is
 * full. When both are, an entry of theirs makes place by going to its own other bucket: as the table is
 * kept at most half full, there is one that can. Should there be none, one of the eight is evicted.
 *
 * An entry is two words: `key` (the address and a bit that says that there is one; 0: free) and `value`
 * (slot, flags and the second when it was last seen). Workers read without lock. Whoever changes which
 * address an entry stands for clears the key first and sets it last; a reader takes key, value and key
 * again, and a difference is a miss:
 *
 *     writer: key = 0 │ release fence │ value = v │ key = k (release)
 *     reader: k1 = key (acquire) │ v = value (acquire) │ k2 = key │ valid if k1 == k2
 *
 * A reader that saw any part of a new value sees the cleared key, or a later one, at its second look.
 *
 * Everything that changes the table holds `lock`, with one exception: a worker that sees an address again
 * moves its second forward with one compare-and-swap of the value. Should the entry have been given to
 * another address of the same slot meanwhile, that one seems to be seen a moment later than it was.
 *
 * Each slot has a list of its learned addresses, in the order in which they were last found alive. To
 * evict, its first one is taken; one that was seen since it was put there goes to the end instead (the
 * clock algorithm). Links are kept beside the buckets, so that lookups do not drag them along.
 */
#include "bridge/fdb.h"

#include <assert.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>

#define WAYS        4u
#define NUM_ENTRIES (2 * FDB_MAX_ADDRESSES)
#define NUM_BUCKETS (NUM_ENTRIES / WAYS)
static_assert((NUM_BUCKETS & (NUM_BUCKETS - 1)) == 0, "buckets are chosen by a mask");

#define KEY_VALID    (UINT64_C(1) << 48)
#define VALUE_STATIC (UINT64_C(1) << 16)

struct entry {
    _Atomic uint64_t key;
    _Atomic uint64_t value; /* slot: 16 bits, flags: 16, seen: 32 */
};

struct bucket {
    _Alignas(64) struct entry ways[WAYS];
};
static_assert(sizeof(struct bucket) == 64, "a bucket is a cache line");

/* Beside an entry: its place in its slot's list. Entries are named by index + 1; 0 is none. */
struct link {
    uint32_t previous, next;
    uint32_t queued_s; /* when it was put at the end */
};

struct slot {
    uint32_t first, last; /* learned and static addresses */
    uint32_t num_learned;
    uint32_t limit;
};

struct fdb {
    struct bucket *buckets;
    struct link *links;
    uint64_t hash_key;
    _Atomic uint32_t ageing_s;
    pthread_mutex_t lock;
    unsigned num_slots;
    unsigned num_used_slots; /* those from here on never had an address */
    struct fdb_stats stats;
    struct slot slots[];
};

/* --- Keys and values -------------------------------------------------------------------------------- */

static inline uint64_t key_of(const uint8_t mac[6])
{
    uint64_t key = 0;

    memcpy(&key, mac, 6);
    return key | KEY_VALID;
}

static inline bool is_group(const uint8_t mac[6])
{
    return mac[0] & 1;
}

static inline uint64_t value_of(uint16_t slot, bool is_static, uint32_t seen_s)
{
    return (uint64_t)seen_s << 32 | (is_static ? VALUE_STATIC : 0) | slot;
}

static inline uint16_t slot_of(uint64_t value)
{
    return (uint16_t)value;
}

static inline uint32_t seen_of(uint64_t value)
{
    return (uint32_t)(value >> 32);
}

/* Workers' clocks are read apart: what was seen "later" than now is not old. */
static inline uint32_t age_of(uint64_t value, uint32_t now_s)
{
    int32_t age = (int32_t)(now_s - seen_of(value));

    return age > 0 ? (uint32_t)age : 0;
}

static inline bool is_aged(const struct fdb *fdb, uint64_t value, uint32_t now_s)
{
    uint32_t ageing_s = atomic_load_explicit(&fdb->ageing_s, memory_order_relaxed);

    return !(value & VALUE_STATIC) && ageing_s != 0 && age_of(value, now_s) > ageing_s;
}

/* --- Places ----------------------------------------------------------------------------------------- */

struct pair {
    uint32_t first, second; /* buckets */
};

/* A guest that knew the hash could fill one pair of buckets: the key is drawn for each table. */
static inline struct pair buckets_of(const struct fdb *fdb, uint64_t key)
{
    uint64_t hash = (key ^ fdb->hash_key) * UINT64_C(0x9e3779b97f4a7c15);
    struct pair pair;

    hash = (hash ^ hash >> 32) * UINT64_C(0xd6e8feb86659fd93);
    hash ^= hash >> 29;
    pair.first = (uint32_t)hash & (NUM_BUCKETS - 1);
    pair.second = (uint32_t)(hash >> 32) & (NUM_BUCKETS - 1);
    if (pair.second == pair.first)
        pair.second ^= 1;
    return pair;
}

static inline struct entry *entry_at(const struct fdb *fdb, uint32_t name)
{
    return &fdb->buckets[(name - 1) / WAYS].ways[(name - 1) % WAYS];
}

static inline struct link *link_at(const struct fdb *fdb, uint32_t name)
{
    return &fdb->links[name - 1];
}

static inline uint64_t value_at(const struct fdb *fdb, uint32_t name)
{
    return atomic_load_explicit(&entry_at(fdb, name)->value, memory_order_relaxed);
}

/* The entry of the bucket that has `key`, with its value, or NULL. */
static inline struct entry *find_in(struct bucket *bucket, uint64_t key, uint64_t *value)
{
    for (unsigned i = 0; i < WAYS; i++) {
        struct entry *entry = &bucket->ways[i];

        if (atomic_load_explicit(&entry->key, memory_order_acquire) != key)
            continue;
        *value = atomic_load_explicit(&entry->value, memory_order_acquire);
        if (atomic_load_explicit(&entry->key, memory_order_relaxed) == key)
            return entry;
    }
    return NULL;
}

static inline struct entry *find(const struct fdb *fdb, uint64_t key, uint64_t *value)
{
    struct pair pair = buckets_of(fdb, key);
    struct entry *entry = find_in(&fdb->buckets[pair.first], key, value);

    return entry ? entry : find_in(&fdb->buckets[pair.second], key, value);
}

static uint32_t name_of(const struct fdb *fdb, const struct entry *entry)
{
    /* Buckets are whole: entries follow one another without gap. */
    return (uint32_t)(entry - &fdb->buckets[0].ways[0]) + 1;
}

/* --- Lists, with the lock held ---------------------------------------------------------------------- */

static void unlink_entry(struct fdb *fdb, uint32_t name)
{
    struct slot *slot = &fdb->slots[slot_of(value_at(fdb, name))];
    struct link *link = link_at(fdb, name);

    if (link->previous)
        link_at(fdb, link->previous)->next = link->next;
    else
        slot->first = link->next;
    if (link->next)
        link_at(fdb, link->next)->previous = link->previous;
    else
        slot->last = link->previous;
}

static void append_entry(struct fdb *fdb, uint32_t name)
{
    uint64_t value = value_at(fdb, name);
    struct slot *slot = &fdb->slots[slot_of(value)];

    *link_at(fdb, name) = (struct link){.previous = slot->last, .queued_s = seen_of(value)};
    if (slot->last)
        link_at(fdb, slot->last)->next = name;
    else
        slot->first = name;
    slot->last = name;
}

static void count_learned(struct fdb *fdb, uint64_t value, int change)
{
    fdb->stats.addresses = (uint64_t)((int64_t)fdb->stats.addresses + change);
    if (!(value & VALUE_STATIC))
        fdb->slots[slot_of(value)].num_learned += (uint32_t)change;
}

static void remove_entry(struct fdb *fdb, uint32_t name)
{
    unlink_entry(fdb, name);
    count_learned(fdb, value_at(fdb, name), -1);
    atomic_store_explicit(&entry_at(fdb, name)->key, 0, memory_order_relaxed);
}

static void fill_entry(struct fdb *fdb, uint32_t name, uint64_t key, uint64_t value)
{
    struct entry *entry = entry_at(fdb, name);

    atomic_store_explicit(&entry->key, 0, memory_order_relaxed);
    atomic_thread_fence(memory_order_release);
    atomic_store_explicit(&entry->value, value, memory_order_release);
    atomic_store_explicit(&entry->key, key, memory_order_release);
    append_entry(fdb, name);
    count_learned(fdb, value, 1);
    if (slot_of(value) >= fdb->num_used_slots)
        fdb->num_used_slots = slot_of(value) + 1u;
}

/* Evicts the slot's address that has been silent for longest, if it has a learned one. */
static void evict_from(struct fdb *fdb, struct slot *slot)
{
    uint32_t name = slot->first;

    /* Twice round at the most: an address that is seen all the time goes then, too. */
    for (uint32_t left = slot->num_learned * 2; name && left > 0;) {
        uint64_t value = value_at(fdb, name);
        uint32_t next = link_at(fdb, name)->next;
        bool is_static = value & VALUE_STATIC;

        if (!is_static && (seen_of(value) == link_at(fdb, name)->queued_s || left == 1)) {
            remove_entry(fdb, name);
            fdb->stats.evictions++;
            return;
        }
        left -= !is_static;
        unlink_entry(fdb, name);
        append_entry(fdb, name);
        name = next ? next : slot->first;
    }
}

static struct slot *slot_with_most(struct fdb *fdb)
{
    struct slot *most = &fdb->slots[0];

    for (unsigned i = 1; i < fdb->num_used_slots; i++) {
        if (fdb->slots[i].num_learned > most->num_learned)
            most = &fdb->slots[i];
    }
    return most;
}

/* A free entry of the bucket, or 0. */
static uint32_t free_way(const struct fdb *fdb, uint32_t bucket)
{
    for (unsigned i = 0; i < WAYS; i++) {
        if (!atomic_load_explicit(&fdb->buckets[bucket].ways[i].key, memory_order_relaxed))
            return bucket * WAYS + i + 1;
    }
    return 0;
}

/*
 * Puts what lies at `from` into the free entry `to`. A reader that looks into both buckets meanwhile may
 * find it twice; or, should it have been at `to` already, not at all: then one frame is flooded.
 */
static void relocate(struct fdb *fdb, uint32_t from, uint32_t to)
{
    struct entry *old = entry_at(fdb, from), *fresh = entry_at(fdb, to);
    struct slot *slot = &fdb->slots[slot_of(value_at(fdb, from))];
    struct link *link = link_at(fdb, to);

    *link = *link_at(fdb, from);
    if (link->previous)
        link_at(fdb, link->previous)->next = to;
    else
        slot->first = to;
    if (link->next)
        link_at(fdb, link->next)->previous = to;
    else
        slot->last = to;
    atomic_store_explicit(&fresh->value, value_at(fdb, from), memory_order_release);
    atomic_store_explicit(&fresh->key, atomic_load_explicit(&old->key, memory_order_relaxed),
                          memory_order_release);
    atomic_store_explicit(&old->key, 0, memory_order_release);
}

/* Sends an entry of a pair of full buckets to its other bucket. Its place; 0: none can go. */
static uint32_t displace_from(struct fdb *fdb, struct pair pair)
{
    for (unsigned i = 0; i < 2 * WAYS; i++) {
        uint32_t bucket = i < WAYS ? pair.first : pair.second;
        uint32_t name = bucket * WAYS + i % WAYS + 1, to;
        struct pair own = buckets_of(fdb, atomic_load_explicit(&entry_at(fdb, name)->key,
                                                               memory_order_relaxed));

        to = free_way(fdb, own.first == bucket ? own.second : own.first);
        if (to) {
            relocate(fdb, name, to);
            return name;
        }
    }
    return 0;
}

/* Of a pair of full buckets, the learned entry whose slot has the most; 0 if all are static. */
static uint32_t victim_in(const struct fdb *fdb, struct pair pair)
{
    uint32_t victim = 0, most = 0;

    for (unsigned i = 0; i < 2 * WAYS; i++) {
        uint32_t name = (i < WAYS ? pair.first : pair.second) * WAYS + i % WAYS + 1;
        uint64_t value = value_at(fdb, name);
        uint32_t num = fdb->slots[slot_of(value)].num_learned;

        if (!(value & VALUE_STATIC) && num > most) {
            victim = name;
            most = num;
        }
    }
    return victim;
}

/* A place for `key`, at the cost of another address if it must be; 0 if none can be had. */
static uint32_t make_place(struct fdb *fdb, uint64_t key)
{
    struct pair pair = buckets_of(fdb, key);
    uint32_t name;

    if (fdb->stats.addresses >= FDB_MAX_ADDRESSES)
        evict_from(fdb, slot_with_most(fdb));
    name = free_way(fdb, pair.first);
    if (!name)
        name = free_way(fdb, pair.second);
    if (!name)
        name = displace_from(fdb, pair);
    if (!name) {
        name = victim_in(fdb, pair);
        if (name) {
            remove_entry(fdb, name);
            fdb->stats.evictions++;
        }
    }
    return name;
}

/* --- Learning --------------------------------------------------------------------------------------- */

static bool make_room_on(struct fdb *fdb, struct slot *slot)
{
    if (slot->limit == 0)
        return false;
    while (slot->num_learned >= slot->limit) {
        uint32_t before = slot->num_learned;

        evict_from(fdb, slot);
        if (slot->num_learned == before)
            return false;
    }
    return true;
}

static void learn_new(struct fdb *fdb, uint64_t key, uint16_t slot, uint32_t now_s)
{
    uint32_t name;

    if (!make_room_on(fdb, &fdb->slots[slot]))
        return;
    name = make_place(fdb, key);
    if (!name)
        return;
    fill_entry(fdb, name, key, value_of(slot, false, now_s));
    fdb->stats.learned++;
}

static void move(struct fdb *fdb, uint64_t key, struct entry *entry, uint16_t slot, uint32_t now_s)
{
    if (fdb->slots[slot].limit == 0)
        return;
    remove_entry(fdb, name_of(fdb, entry));
    if (!make_room_on(fdb, &fdb->slots[slot]))
        return;
    fill_entry(fdb, name_of(fdb, entry), key, value_of(slot, false, now_s));
    fdb->stats.moves++;
}

static void learn_locked(struct fdb *fdb, uint64_t key, uint16_t slot, uint32_t now_s)
{
    uint64_t value;
    struct entry *entry;

    pthread_mutex_lock(&fdb->lock);
    entry = find(fdb, key, &value);
    if (!entry)
        learn_new(fdb, key, slot, now_s);
    else if (!(value & VALUE_STATIC) && slot_of(value) != slot)
        move(fdb, key, entry, slot, now_s);
    pthread_mutex_unlock(&fdb->lock);
}

void fdb_learn(struct fdb *fdb, const uint8_t mac[6], uint16_t slot, uint32_t now_s)
{
    uint64_t key = key_of(mac), value;
    struct entry *entry;

    if (is_group(mac))
        return;
    entry = find(fdb, key, &value);
    if (!entry || (slot_of(value) != slot && !(value & VALUE_STATIC))) {
        learn_locked(fdb, key, slot, now_s);
        return;
    }
    if (!(value & VALUE_STATIC) && seen_of(value) != now_s)
        atomic_compare_exchange_strong_explicit(&entry->value, &value, value_of(slot, false, now_s),
                                                memory_order_relaxed, memory_order_relaxed);
}

uint16_t fdb_lookup(const struct fdb *fdb, const uint8_t mac[6], uint32_t now_s)
{
    uint64_t value;

    if (!find(fdb, key_of(mac), &value) || is_aged(fdb, value, now_s))
        return FDB_NO_SLOT;
    return slot_of(value);
}

/* --- Control ---------------------------------------------------------------------------------------- */

static void *map_zeroed(size_t bytes)
{
    void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

    return memory == MAP_FAILED ? NULL : memory;
}

#define BUCKETS_BYTES (NUM_BUCKETS * sizeof(struct bucket))
#define LINKS_BYTES   (NUM_ENTRIES * sizeof(struct link))

/* The whole table is mapped at once; pages are there once an address is put into them. */
struct fdb *fdb_create(unsigned num_slots, unsigned ageing_s)
{
    struct fdb *fdb = calloc(1, sizeof(*fdb) + num_slots * sizeof(fdb->slots[0]));

    if (!fdb)
        return NULL;
    pthread_mutex_init(&fdb->lock, NULL);
    fdb->num_slots = num_slots;
    atomic_store_explicit(&fdb->ageing_s, ageing_s, memory_order_relaxed);
    fdb->buckets = map_zeroed(BUCKETS_BYTES);
    fdb->links = map_zeroed(LINKS_BYTES);
    if (!fdb->buckets || !fdb->links ||
        getrandom(&fdb->hash_key, sizeof(fdb->hash_key), GRND_NONBLOCK) < 0) {
        fdb_destroy(fdb);
        return NULL;
    }
    return fdb;
}

void fdb_destroy(struct fdb *fdb)
{
    if (!fdb)
        return;
    if (fdb->buckets)
        munmap(fdb->buckets, BUCKETS_BYTES);
    if (fdb->links)
        munmap(fdb->links, LINKS_BYTES);
    pthread_mutex_destroy(&fdb->lock);
    free(fdb);
}

void fdb_set_ageing(struct fdb *fdb, unsigned ageing_s)
{
    atomic_store_explicit(&fdb->ageing_s, ageing_s, memory_order_relaxed);
}

unsigned fdb_ageing(const struct fdb *fdb)
{
    return atomic_load_explicit(&fdb->ageing_s, memory_order_relaxed);
}

void fdb_set_limit(struct fdb *fdb, uint16_t slot, unsigned max_addresses)
{
    pthread_mutex_lock(&fdb->lock);
    fdb->slots[slot].limit = max_addresses;
    while (fdb->slots[slot].num_learned > max_addresses)
        evict_from(fdb, &fdb->slots[slot]);
    pthread_mutex_unlock(&fdb->lock);
}

int fdb_add_static(struct fdb *fdb, const uint8_t mac[6], uint16_t slot, uint32_t now_s)
{
    uint64_t key = key_of(mac), value;
    struct entry *entry;
    uint32_t name;

    if (is_group(mac))
        return -EINVAL;
    pthread_mutex_lock(&fdb->lock);
    entry = find(fdb, key, &value);
    if (entry) {
        name = name_of(fdb, entry);
        remove_entry(fdb, name);
    } else {
        name = make_place(fdb, key);
    }
    if (name)
        fill_entry(fdb, name, key, value_of(slot, true, now_s));
    pthread_mutex_unlock(&fdb->lock);
    return name ? 0 : -ENOSPC;
}

int fdb_remove(struct fdb *fdb, const uint8_t mac[6])
{
    struct entry *entry;
    uint64_t value;

    pthread_mutex_lock(&fdb->lock);
    entry = find(fdb, key_of(mac), &value);
    if (entry)
        remove_entry(fdb, name_of(fdb, entry));
    pthread_mutex_unlock(&fdb->lock);
    return entry ? 0 : -ENOENT;
}

/* Removes those entries of a slot that the question is answered with yes for. Returns how many. */
static unsigned remove_if(struct fdb *fdb, uint16_t slot,
                          bool (*question)(const struct fdb *fdb, uint64_t value, uint32_t now_s),
                          uint32_t now_s)
{
    unsigned num = 0;

    pthread_mutex_lock(&fdb->lock);
    for (uint32_t name = fdb->slots[slot].first; name;) {
        uint32_t next = link_at(fdb, name)->next;

        if (question(fdb, value_at(fdb, name), now_s)) {
            remove_entry(fdb, name);
            num++;
        }
        name = next;
    }
    pthread_mutex_unlock(&fdb->lock);
    return num;
}

static bool is_learned(const struct fdb *fdb, uint64_t value, uint32_t now_s)
{
    (void)fdb;
    (void)now_s;
    return !(value & VALUE_STATIC);
}

static bool is_any(const struct fdb *fdb, uint64_t value, uint32_t now_s)
{
    (void)fdb;
    (void)value;
    (void)now_s;
    return true;
}

unsigned fdb_flush(struct fdb *fdb, uint16_t slot, bool static_too)
{
    return remove_if(fdb, slot, static_too ? is_any : is_learned, 0);
}

/* One slot at a time, so that workers that learn do not wait for the whole table. */
void fdb_age(struct fdb *fdb, uint32_t now_s)
{
    for (unsigned slot = 0; slot < fdb->num_slots; slot++) {
        unsigned num = remove_if(fdb, (uint16_t)slot, is_aged, now_s);

        pthread_mutex_lock(&fdb->lock);
        fdb->stats.expired += num;
        pthread_mutex_unlock(&fdb->lock);
    }
}

void fdb_walk(struct fdb *fdb, uint32_t now_s,
              void (*fn)(void *ctx, const struct fdb_address *address), void *ctx)
{
    pthread_mutex_lock(&fdb->lock);
    for (unsigned slot = 0; slot < fdb->num_slots; slot++) {
        for (uint32_t name = fdb->slots[slot].first; name; name = link_at(fdb, name)->next) {
            uint64_t key = atomic_load_explicit(&entry_at(fdb, name)->key, memory_order_relaxed);
            uint64_t value = value_at(fdb, name);
            struct fdb_address address = {
                .slot = (uint16_t)slot,
                .is_static = value & VALUE_STATIC,
                .age_s = value & VALUE_STATIC ? 0 : age_of(value, now_s),
            };

            memcpy(address.mac, &key, 6);
            fn(ctx, &address);
        }
    }
    pthread_mutex_unlock(&fdb->lock);
}

struct fdb_stats fdb_stats(struct fdb *fdb)
{
    struct fdb_stats stats;

    pthread_mutex_lock(&fdb->lock);
    stats = fdb->stats;
    pthread_mutex_unlock(&fdb->lock);
    return stats;
}
