/* SPDX-License-Identifier: BSD-3-Clause */
/*
 * Why a frame was not delivered. Every frame that is dropped is counted under exactly one of these;
 * the explanations are what `shuntctl stats show` prints.
 *
 * It is counted where the reason is known: at the source port's rx side for what is wrong with the
 * frame or leads nowhere, at the destination port's tx side for what is wrong with the destination.
 */
#ifndef BASE_DROP_H
#define BASE_DROP_H

enum drop {
    /* at the source, rx */
    DROP_RUNT,
    DROP_OVERSIZE,
    DROP_BAD_OFFLOAD,
    DROP_QUEUE_DISABLED,
    DROP_NO_DESTINATION,
    DROP_SAME_PORT,
    DROP_LINK_LOCAL,
    DROP_LINK_DOWN,
    /* at the destination, tx */
    DROP_PORT_DOWN,
    DROP_FILTERED,
    DROP_RING_FULL,
    DROP_TOO_BIG,
    DROP_NO_BUFFERS,
    DROP_IOTLB_MISS,
    DROP_DEVICE_FULL,
    DROP_DEVICE_ERROR,
    DROP_NUM,
};

/* As users read it: lower case with hyphens. */
const char *drop_name(enum drop drop);

/* One sentence: what happened, and what to do about it. */
const char *drop_explanation(enum drop drop);

#endif
