# SPDX-License-Identifier: BSD-3-Clause
"""Load, and what must not disturb it: ports that come, go and move."""

from iperf import Transfer, transfer_tcp, undisturbed
from suite import expect

UDP_OPTIONS = ("--udp", "--bitrate", "100M", "--length", 1400, "--window", "2M")


def test_tcp(network):
    """TCP for 3 s in each direction"""
    h1, h2 = network.add_hosts("h1", "h2")
    for source, target in (h1, h2), (h2, h1):
        arrived = transfer_tcp(network, source, target, seconds=3)
        network.remark(f"{source.name} to {target.name}: {arrived.gigabits_per_second:.2f} Gbit/s")
        expect(arrived.size > 0, f"nothing arrived from {source.name}")


def test_udp(network):
    """UDP loses no more than the kernel says that it dropped before the switch and behind it"""
    h1, h2 = network.add_hosts("h1", "h2")
    total = Transfer(network, h1, h2, 2, UDP_OPTIONS).finish()["end"]["sum"]
    before, behind = h1.unsent(), h2.overrun()
    network.remark(f"{total['packets']} datagrams, {total['lost_packets']} lost; "
                   f"the kernel dropped {before} before the switch and {behind} behind it")
    expect(total["packets"] > 1000, f"only {total['packets']} datagrams")
    expect(total["lost_packets"] <= before + behind, f"{total['lost_packets']} datagrams were lost")


def test_ports_come_and_go(network):
    """ports are added and removed all the time while TCP runs between two others"""
    h1, h2 = network.add_hosts("h1", "h2")
    ctl = network.switch.ctl
    rounds = 0
    with undisturbed(network, h1, h2, seconds=2) as goes_on:
        while goes_on():
            ctl("port", "add", "spare", "type", "tap", "bridge", "br0")
            ctl("port", "add", "sink", "type", "null", "bridge", "br0")
            ctl("port", "del", "spare")
            ctl("port", "del", "sink")
            rounds += 1
    network.remark(f"{rounds} rounds")


def test_ports_move(network):
    """a port moves from bridge to bridge, talks on each at once, and does not disturb TCP on one"""
    network.switch.ctl("bridge", "add", "br1")
    h1, h2, h3, h4 = network.add_hosts("h1", "h2", "h3", "h4")
    h5 = network.host("h5", bridge="br1")
    rounds = 0
    with undisturbed(network, h1, h2, seconds=2) as goes_on:
        while goes_on():
            h3.ping(h4, count=1)
            network.move_host(h3, "br1")
            h3.ping(h5, count=1)
            network.move_host(h3, "br0")
            rounds += 1
    network.remark(f"{rounds} rounds")


def test_port_moves_under_traffic(network):
    """the receiver itself moves away and back, and TCP goes on where it was"""
    network.switch.ctl("bridge", "add", "br1")
    h1, h2 = network.add_hosts("h1", "h2")
    rounds = 0
    with undisturbed(network, h1, h2, seconds=2) as goes_on:
        while goes_on() and rounds < 3:
            network.move_host(h2, "br1")
            network.move_host(h2, "br0")
            h1.run("sleep", 0.3)
            rounds += 1
    for bridge in "br1", "br0":
        for host in h1, h2:
            network.move_host(host, bridge)
        h1.ping(h2)


def test_bridge_changes_mode(network):
    """a bridge becomes a patch and a bridge again while TCP runs through it"""
    h1, h2 = network.add_hosts("h1", "h2")
    changes = 0
    with undisturbed(network, h1, h2, seconds=2) as goes_on:
        while goes_on():
            for mode in "patch", "learn":
                network.switch.ctl("bridge", "set", "br0", "mode", mode)
                h1.run("sleep", 0.1)
                changes += 1
    network.remark(f"{changes} changes")
