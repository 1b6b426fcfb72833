# SPDX-License-Identifier: BSD-3-Clause
"""Frames arrive as they were sent, byte by byte."""

import os
import random

import frame
from device import IFF_TUN, attached
from suite import Failure, Skip, expect

LARGEST_MTU = 65521  # that a TAP device takes
FRAME_MAX_BYTES = 65550  # that the switch takes
IPV4 = b"\x45"
BATCH = 50


def noise(size):
    return random.Random(size).randbytes(size)


def of_size(sender, receiver, size):
    return sender.frame_to(receiver, noise(size - frame.HEADER_BYTES))


def expect_all_sizes(network, sender, receiver, sizes):
    """The receiver gets a frame of each size; a few at a time, so that no queue is full."""
    for begin in range(0, len(sizes), BATCH):
        batch = sizes[begin:begin + BATCH]
        network.expect_only(sender, [of_size(sender, receiver, size) for size in batch], [receiver])


def test_frames_of_every_size(network):
    """frames of every size from 14 to 9,014 bytes arrive unchanged"""
    h1, h2, _h3 = network.add_hosts("h1", "h2", "h3", mtu=9000)
    network.deliver(h2, h2.frame_to(h1))
    expect_all_sizes(network, h1, h2, range(frame.HEADER_BYTES, 9014 + 1))


def test_largest_frames(network):
    """frames of up to 65,535 bytes, the most that a TAP device has, arrive unchanged"""
    h1, h2, _h3 = network.add_hosts("h1", "h2", "h3", mtu=LARGEST_MTU)
    network.deliver(h2, h2.frame_to(h1))
    largest = LARGEST_MTU + frame.HEADER_BYTES
    sizes = [*range(9100, largest, 1700), *range(largest - 30, largest + 1)]
    expect_all_sizes(network, h1, h2, sizes)
    h1.ping(h2, count=1, size=65000)


def test_vlan_tags(network):
    """frames with VLAN tags, also two of them, pass unchanged"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    plain = h1.frame_to(frame.BROADCAST, noise(100))
    tags = [0, 1, 100, 4094, 0xE000 | 7]
    frames = [frame.tagged(plain, tag) for tag in tags]
    frames += [frame.tagged(one, 200) for one in frames]
    frames += [frame.tagged(frame.tagged(plain, 7), 8, frame.TYPE_SERVICE_VLAN)]
    frames += [frame.tagged(h1.frame_to(frame.BROADCAST, noise(1500)), 5)]
    network.expect_only(h1, frames, [h2, h3])


def test_length_frames(network):
    """IEEE 802.3 frames, with a length for a type, pass unchanged with their padding"""
    h1, h2, h3 = network.add_hosts("h1", "h2", "h3")
    lengths = [0, 3, 46, 100, 1500]
    frames = [h1.frame_to(frame.BROADCAST, b"\x42\x42\x03" + noise(max(length, 46)), kind=length)
              for length in lengths[:-1]]
    frames += [h1.frame_to(frame.BROADCAST, noise(1500), kind=1500)]
    network.expect_only(h1, frames, [h2, h3])


def redirect(host, interface):
    """What comes in by this interface of the host goes out to the switch as it is."""
    try:
        host.run("tc", "qdisc", "add", "dev", interface, "clsact")
        host.run("tc", "filter", "add", "dev", interface, "ingress", "protocol", "all",
                 "u32", "match", "u8", 0, 0,
                 "action", "mirred", "egress", "redirect", "dev", host.wire.interface)
    except Failure as error:
        raise Skip(f"this kernel cannot redirect: {error}") from None


def test_bad_lengths(network):
    """what is too short or too long for a frame is dropped by name; the extremes pass"""
    h1, h2 = network.add_hosts("h1", "h2")
    # A packet without Ethernet is the only thing that the kernel lets out at any length. It has to
    # look like IPv4 to get there, so its "destination" is a group address.
    with h1.namespace, attached("raw0", IFF_TUN) as raw:
        h1.run("ip", "link", "set", "dev", "raw0", "up")
        redirect(h1, "raw0")
        for size in 5, 13, 14, FRAME_MAX_BYTES, FRAME_MAX_BYTES + 1, 70000, 140000:
            os.write(raw, IPV4 + noise(size - 1))
        got = network.deliver(h1)["h2"]
    sizes = [len(one) for one in got]
    expect(sizes == [frame.HEADER_BYTES, FRAME_MAX_BYTES], f"sizes: {sizes}")
    expect(got[-1] == IPV4 + noise(FRAME_MAX_BYTES - 1), "the longest frame is not what was sent")
    network.expect_drops("h1", "rx", {"runt": 2, "oversize": 3})
    network.expect_only(h1, [h1.frame_to(frame.BROADCAST)], [h2])
