/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * One copy from guest to guest, shown by changing the sender's memory at every point between. If anything
 * had been copied before the receiver's turn, the change would not arrive; if the receiver's buffer were
 * filled by another copy after it, a change made then would.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#include "lib/rig.h"
#include "lib/variant.h"
#include "virtio_net/header.h"
#include "virtio_net/queue.h"

#define SIZE     64u
#define FEATURES (RING_FEATURE(VERSION_1) | UINT64_C(1) << NET_F_MRG_RXBUF)
#define RECEIVED 0x3000u /* bytes of a receive buffer */

struct fixture {
    struct rig sender, receiver;
    struct net_format format;
    struct burst burst;
    struct counters rx, tx;
};

static int setup(void **state)
{
    static struct fixture fixture;
    uint64_t features = FEATURES | variant_features(state);

    memset(&fixture, 0, sizeof(fixture));
    rig_init_started(&fixture.sender, SIZE, features);
    rig_init_started(&fixture.receiver, SIZE, features);
    fixture.format = net_format_of(features);
    assert_int_equal(burst_init(&fixture.burst), 0);
    shunt_virtqueue_lock(fixture.sender.queue);
    shunt_virtqueue_lock(fixture.receiver.queue);
    *state = &fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;

    shunt_virtqueue_unlock(f->receiver.queue);
    shunt_virtqueue_unlock(f->sender.queue);
    burst_fini(&f->burst);
    rig_fini(&f->receiver);
    rig_fini(&f->sender);
    return 0;
}

static void offer(struct rig *rig, uint64_t len, bool is_writable)
{
    struct ring_buffer buffer = {RIG_BUFFERS, (uint32_t)len, is_writable};

    assert_true(ring_add(&rig->ring, &buffer, 1) >= 0);
    ring_publish(&rig->ring);
}

/* What the receiver has of the frame, behind the Ethernet header, is `byte` all over. */
static void expect_payload(const struct fixture *f, uint8_t byte, uint32_t len)
{
    const uint8_t *frame = rig_at(&f->receiver, RIG_BUFFERS + f->format.header_bytes);

    for (uint32_t i = ETHERNET_HEADER_BYTES; i < len; i++)
        assert_int_equal(frame[i], byte);
}

static void check_one_copy(struct fixture *f, uint32_t len)
{
    uint8_t *packet = rig_at(&f->sender, RIG_BUFFERS);
    uint8_t *payload = packet + f->format.header_bytes + ETHERNET_HEADER_BYTES;
    uint32_t payload_len = len - ETHERNET_HEADER_BYTES;

    memset(packet, 0, f->format.header_bytes);
    memset(payload, 0x11, payload_len);
    offer(&f->sender, f->format.header_bytes + len, false);
    offer(&f->receiver, RECEIVED, true);
    assert_int_equal(transmitq_lend(f->sender.queue, &f->format, &f->burst, &f->rx), 1);
    assert_true(rig_is_at(&f->sender, f->burst.frames[0].segments[0].iov_base,
                          RIG_BUFFERS + f->format.header_bytes));
    memset(payload, 0x22, payload_len); /* lent, but not copied yet */
    receiveq_copy(f->receiver.queue, &f->format, &f->burst, burst_all(&f->burst), &f->tx);
    memset(payload, 0x33, payload_len); /* copied, and never looked at again */
    transmitq_give_back(f->sender.queue, &f->burst);
    expect_payload(f, 0x22, len);
}

static void test_small_frame(void **state)
{
    check_one_copy(*state, 60);
}

static void test_full_frame(void **state)
{
    check_one_copy(*state, 1514);
}

static void test_jumbo_frame(void **state)
{
    check_one_copy(*state, 9014);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH_FORMATS(test_small_frame, setup, teardown),
        BOTH_FORMATS(test_full_frame, setup, teardown),
        BOTH_FORMATS(test_jumbo_frame, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
