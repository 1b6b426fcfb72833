# SPDX-License-Identifier: BSD-3-Clause
"""The stacks of Linux talk to each other through a bridge."""

JUMBO_MTU = 9000
HEADERS = 28  # of IPv4 and ICMP
WHOLE = ("-M", "do")  # what was sent in fragments would prove nothing


def test_two_hosts(network):
    """two hosts ping each other"""
    h1, h2 = network.add_hosts("h1", "h2")
    h1.ping(h2)
    h2.ping(h1)


def test_three_hosts(network):
    """three hosts ping each other, each of the others"""
    hosts = network.add_hosts("h1", "h2", "h3")
    for source in hosts:
        for target in hosts:
            if source is not target:
                source.ping(target)


def test_jumbo_frames(network):
    """with an MTU of 9,000, pings of 8,972 bytes pass as one frame each"""
    h1, h2 = network.add_hosts("h1", "h2", mtu=JUMBO_MTU)
    h1.ping(h2, count=1, size=JUMBO_MTU - HEADERS, options=WHOLE)
    h2.ping(h1, count=1, size=JUMBO_MTU - HEADERS, options=WHOLE)
