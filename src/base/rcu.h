/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Read-copy-update by liburcu's quiescent-state flavour: readers pay nothing while they read, and say
 * between two bursts that they hold no reference.
 *
 * The thread sanitizer does not see into liburcu, so what a grace period orders is told to it here: all
 * that a reader did before its quiescent state comes before what the waiting thread does next.
 */
#ifndef BASE_RCU_H
#define BASE_RCU_H

#include <stdatomic.h>
#include <urcu-qsbr.h>

#if defined(__SANITIZE_THREAD__)
#define RCU_TELL_SANITIZER 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define RCU_TELL_SANITIZER 1
#endif
#endif

#ifdef RCU_TELL_SANITIZER
extern struct urcu_gp urcu_qsbr_gp; /* liburcu's own: any address that all agree on will do */
void __tsan_acquire(void *addr);
void __tsan_release(void *addr);
#define RCU_RELEASE() __tsan_release(&urcu_qsbr_gp)
#define RCU_ACQUIRE() __tsan_acquire(&urcu_qsbr_gp)
#else
#define RCU_RELEASE() ((void)0)
#define RCU_ACQUIRE() ((void)0)
#endif

/* Reader: it holds no reference at this moment. */
static inline void rcu_reader_quiescent(void)
{
    RCU_RELEASE();
    urcu_qsbr_quiescent_state();
}

/* Reader: it holds none from now until it is online again, however long it sleeps. */
static inline void rcu_reader_offline(void)
{
    RCU_RELEASE();
    urcu_qsbr_thread_offline();
}

static inline void rcu_reader_online(void)
{
    urcu_qsbr_thread_online();
}

static inline void rcu_reader_register(void)
{
    urcu_qsbr_register_thread();
}

static inline void rcu_reader_unregister(void)
{
    RCU_RELEASE();
    urcu_qsbr_unregister_thread();
}

/* Writer, not a registered reader: waits until every reader has been quiescent. */
static inline void rcu_wait_for_readers(void)
{
    urcu_qsbr_synchronize_rcu();
    RCU_ACQUIRE();
}

/*
 * A pointer that readers follow: published with release, read with acquire (which costs nothing on
 * x86 and next to nothing elsewhere, and needs no trust in dependency ordering).
 */
#define rcu_publish(pointer, value) atomic_store_explicit(pointer, value, memory_order_release)
#define rcu_follow(pointer)         atomic_load_explicit(pointer, memory_order_acquire)

#endif
