/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * The forwarding table of a bridge: which MAC address was last seen on which of its ports.
 *
 * Ports are known by their slot in the bridge, a small number. Time is the caller's: a coarse
 * monotonic clock in seconds that is handed in, so that a test can move it.
 *
 * Bounds: each port has a limit of addresses, the table one of its own (FDB_MAX_ADDRESSES). A port at
 * its limit evicts its own oldest address; a full table evicts one of the port that has the most. So a
 * guest that sends from a million addresses forgets its own, not its neighbours'.
 *
 * Threads: fdb_lookup() and fdb_learn() by any number of workers; everything else by the control
 * thread. Lookups take no lock, write nothing and touch one or two cache lines. A learn that finds
 * its address where it was, seen in the same second, is a lookup; others take the table's mutex.
 */
#ifndef BRIDGE_FDB_H
#define BRIDGE_FDB_H

#include <stdbool.h>
#include <stdint.h>

#define FDB_MAX_ADDRESSES 131072u
#define FDB_NO_SLOT       UINT16_MAX

struct fdb;

struct fdb_stats {
    uint64_t addresses; /* now */
    uint64_t learned;   /* since the start, as are those that follow */
    uint64_t moves;
    uint64_t expired;
    uint64_t evictions;
};

struct fdb_address {
    uint8_t mac[6];
    uint16_t slot;
    bool is_static;
    uint32_t age_s; /* since it was last seen; 0 for static ones */
};

/* A table for slots 0 … num_slots - 1. NULL when memory is short. */
struct fdb *fdb_create(unsigned num_slots, unsigned ageing_s);
void fdb_destroy(struct fdb *fdb);

/* 0: addresses never age. */
void fdb_set_ageing(struct fdb *fdb, unsigned ageing_s);
unsigned fdb_ageing(const struct fdb *fdb);

/* The most addresses that are learned on `slot`; 0: none are. */
void fdb_set_limit(struct fdb *fdb, uint16_t slot, unsigned max_addresses);

/* The slot on which `mac` was seen within the ageing time, or FDB_NO_SLOT. */
uint16_t fdb_lookup(const struct fdb *fdb, const uint8_t mac[6], uint32_t now_s);

/* `mac` was seen on `slot`. Group addresses are ignored; static ones do not move. */
void fdb_learn(struct fdb *fdb, const uint8_t mac[6], uint16_t slot, uint32_t now_s);

/* An address that neither ages nor moves. -EINVAL: a group address; -ENOSPC: no room for it. */
int fdb_add_static(struct fdb *fdb, const uint8_t mac[6], uint16_t slot, uint32_t now_s);

/* Forgets one address. -ENOENT. */
int fdb_remove(struct fdb *fdb, const uint8_t mac[6]);

/* Forgets the learned addresses of a slot, the static ones too if asked. Returns how many. */
unsigned fdb_flush(struct fdb *fdb, uint16_t slot, bool static_too);

/* Forgets what has aged. */
void fdb_age(struct fdb *fdb, uint32_t now_s);

/* Calls `fn` for each address, with the table locked. */
void fdb_walk(struct fdb *fdb, uint32_t now_s,
              void (*fn)(void *ctx, const struct fdb_address *address), void *ctx);

struct fdb_stats fdb_stats(struct fdb *fdb);

#endif
