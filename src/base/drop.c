/* SPDX-License-Identifier: BSD-3-Clause */
#include "base/drop.h"

#include <assert.h>
#include <stddef.h>

static const struct {
    const char *name;
    const char *explanation;
} reasons[] = {
    [DROP_RUNT] = {"runt", "The frame is shorter than an Ethernet header of 14 bytes; the sender's "
                           "driver is at fault."},
    [DROP_OVERSIZE] = {"oversize", "The sender's frame is longer than 65,550 bytes, more than any "
                                   "port can carry."},
    [DROP_BAD_OFFLOAD] = {"bad-offload", "The frame asks for an offload (checksum, segmentation) "
                                         "that was not negotiated or makes no sense."},
    [DROP_QUEUE_DISABLED] = {"queue-disabled", "The guest sent on a queue that it has disabled; "
                                               "such frames are discarded, as vhost-user demands."},
    [DROP_NO_DESTINATION] = {"no-destination", "No other port of the bridge is up, so the frame "
                                               "had nowhere to go."},
    [DROP_SAME_PORT] = {"same-port", "The destination address was learned on the port that the "
                                     "frame came from; it is not sent back."},
    [DROP_LINK_LOCAL] = {"link-local",
                         "Addressed to 01:80:c2:00:00:0x (spanning tree, LLDP and the "
                         "like), which concerns one link and is not forwarded."},
    [DROP_LINK_DOWN] = {"link-down", "The guest sent while the link of its port is set down: "
                                     "'shuntctl port set NAME link up' ends that."},
    [DROP_PORT_DOWN] = {"port-down", "The destination port is not up: see its reason in "
                                     "'shuntctl port show'."},
    [DROP_FILTERED] = {"filtered", "The receiving guest did not ask for this address or VLAN: its "
                                   "driver set a receive filter."},
    [DROP_RING_FULL] = {"ring-full", "The receiving guest had no free buffers: it is slower than "
                                     "the sender; a larger ring or more queues help with bursts."},
    [DROP_TOO_BIG] = {"too-big", "The frame is longer than what the destination takes: raise its "
                                 "MTU, or let the guest use mergeable receive buffers."},
    [DROP_NO_BUFFERS] = {"no-buffers", "The frame does not fit into the receiving guest's whole "
                                       "ring: its buffers are too small."},
    [DROP_IOTLB_MISS] = {"iotlb-miss", "The guest's IOMMU has yet to tell where its receive "
                                       "buffers lie: it was asked, the next frames pass."},
    [DROP_DEVICE_FULL] = {"device-full", "The kernel's queue of the destination interface is "
                                         "full: its readers are slower than the sender."},
    [DROP_DEVICE_ERROR] = {"device-error", "The kernel refused the frame at the destination "
                                           "interface; 'ip link' may show it down."},
};

static_assert(sizeof(reasons) / sizeof(reasons[0]) == DROP_NUM, "a name for each drop reason");

const char *drop_name(enum drop drop)
{
    return reasons[drop].name;
}

const char *drop_explanation(enum drop drop)
{
    return reasons[drop].explanation;
}
