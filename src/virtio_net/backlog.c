/* SPDX-License-Identifier: BSD-3-Clause */
#include "virtio_net/backlog.h"

#include <stdlib.h>

#include "virtio_net/segment.h"

struct kept_frame {
    struct kept_frame *next;
    struct frame frame;
    struct iovec segment;
    uint8_t bytes[];
};

/* The Ethernet header is the copy on which the decision was made, as in receiveq.c. */
static void copy_bytes(struct kept_frame *kept, const struct frame *frame)
{
    struct segment_cursor from = segment_start(frame->segments);

    memcpy(kept->bytes, &frame->ethernet, ETHERNET_HEADER_BYTES);
    segment_skip(&from, ETHERNET_HEADER_BYTES);
    segment_read(&from, kept->bytes + ETHERNET_HEADER_BYTES, frame->len - ETHERNET_HEADER_BYTES);
}

bool backlog_keep(struct backlog *backlog, const struct frame *frame)
{
    struct kept_frame *kept;

    if (backlog->num == BACKLOG_MAX_FRAMES || frame->len > BACKLOG_MAX_BYTES - backlog->bytes)
        return false;
    kept = malloc(sizeof(*kept) + frame->len);
    if (!kept)
        return false;
    kept->next = NULL;
    kept->frame = *frame;
    kept->segment = (struct iovec){kept->bytes, frame->len};
    kept->frame.segments = &kept->segment;
    kept->frame.num_segments = 1;
    copy_bytes(kept, frame);
    if (backlog->last)
        backlog->last->next = kept;
    else
        backlog->first = kept;
    backlog->last = kept;
    backlog->num++;
    backlog->bytes += frame->len;
    return true;
}

unsigned backlog_lend(const struct backlog *backlog, struct burst *burst)
{
    burst->num = 0;
    burst->num_chains = 0;
    for (const struct kept_frame *kept = backlog->first; kept && burst->num < BURST_MAX_FRAMES;
         kept = kept->next)
        burst->frames[burst->num++] = kept->frame;
    return burst->num;
}

void backlog_forget(struct backlog *backlog, unsigned num)
{
    for (; num > 0 && backlog->first; num--) {
        struct kept_frame *kept = backlog->first;

        backlog->first = kept->next;
        backlog->num--;
        backlog->bytes -= kept->frame.len;
        free(kept);
    }
    if (!backlog->first)
        backlog->last = NULL;
}
