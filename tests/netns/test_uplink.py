# SPDX-License-Identifier: BSD-3-Clause
"""Two switches, joined by a virtio-user port: Linux stacks talk across both."""

import contextlib

import frame
from host import Host
from suite import expect
from switch import Switch

HEADERS = 28  # of IPv4 and ICMP
WHOLE = ("-M", "do")


@contextlib.contextmanager
def joined(network, *up, down=()):
    """A host at each of two switches; the second one is gone at the end."""
    other = Switch()
    h1 = network.host("h1", mtu=9000)
    try:
        with network.namespace:
            other.start()
        socket = network.switch.socket("link")
        network.switch.ctl("port", "add", "up", "type", "virtio-user", "socket", socket, *up)
        other.ctl("port", "add", "down", "type", "vhost-user", "socket", socket, *down)
        other.ctl("port", "add", "h2", "type", "tap")
        h2 = network.hosts["h2"] = Host("h2", 2, "br0")
        with network.namespace:
            h2.take("h2", 9000)
        network.wait_for(lambda: network.switch.port("up")["state"] == "up", "joined")
        yield h1, h2, other
        balance = other.json("stats", "show")["balance"]
        expect(balance["difference"] == 0, f"the frames of the other switch do not add up: {balance}")
        other.stop()
    finally:
        other.kill()


def ping_both_ways(h1, h2):
    for source, target in (h1, h2), (h2, h1):
        source.ping(target)
        source.ping(target, count=1, size=9000 - HEADERS, options=WHOLE)


def test_uplink_ping(network):
    """hosts at two switches ping each other, also by jumbo frames"""
    with joined(network) as (h1, h2, _):
        ping_both_ways(h1, h2)


def test_uplink_packed(network):
    """the same by packed virtqueues, several pairs, and with the roles on the socket swapped"""
    with joined(network, "mode", "server", "packed", "on", "queues", 2,
                down=("mode", "client", "queues", 2)) as (h1, h2, _):
        ping_both_ways(h1, h2)


def test_uplink_made_anew(network):
    """after either port of the link was made anew, they ping again"""
    with joined(network) as (h1, h2, other):
        for switch, name in (network.switch, "up"), (other, "down"):
            for num in 2, 1:
                switch.ctl("port", "set", name, "queues", num)
                network.wait_for(lambda: network.switch.port("up")["state"] == "up", "joined")
                network.wait_for(lambda: other.port("down")["state"] == "up", "joined")
                ping_both_ways(h1, h2)


def test_uplink_frames(network):
    """frames of all sizes, with and without VLAN tags, pass both switches unchanged"""
    with joined(network) as (h1, h2, _):
        plain = [h1.frame_to(frame.BROADCAST, bytes(size)) for size in range(46, 9000, 97)]
        for one in (*plain, *(frame.tagged(one, 7) for one in plain[:80])):
            network.expect_only(h1, [one], [h2])
