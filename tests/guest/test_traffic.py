# SPDX-License-Identifier: BSD-3-Clause
"""Two guests talk: small and large pings, and TCP."""

from suite import expect
from traffic import Transfer, ping, transfer

JUMBO_MTU = 9000
HEADERS = 28  # of IPv4 and ICMP


def ping_whole(source, target, size):
    """Pings with one frame each: what was sent in fragments would prove nothing."""
    before = fragments(source) + fragments(target)
    ping(source, target, size=size)
    expect(fragments(source) + fragments(target) == before, f"a ping of {size} bytes was fragmented")


def fragments(guest):
    """How many fragments the guest's IP layer has made so far (the field FragCreates)."""
    return int(guest.run("grep ^Ip: /proc/net/snmp | tail -n 1").split()[19])


def set_mtu(guest, mtu):
    guest.run(f"ip link set eth0 mtu {mtu}")


def test_ping_both_ways(lab):
    """each guest answers the other's pings"""
    vm1, vm2 = lab.guests("vm1", "vm2")
    with lab.balanced():
        ping(vm1, vm2)
        ping(vm2, vm1)


def test_ping_full_frames(lab):
    """pings of 1,472 bytes fill frames of the usual MTU"""
    vm1, vm2 = lab.guests("vm1", "vm2")
    with lab.balanced():
        ping_whole(vm1, vm2, 1500 - HEADERS)
        ping_whole(vm2, vm1, 1500 - HEADERS)


def test_ping_jumbo_frames(lab):
    """pings of 8,972 bytes fill frames of an MTU of 9,000"""
    vm1, vm2 = pair = lab.guests("vm1", "vm2")
    with lab.balanced():
        for guest in pair:
            set_mtu(guest, JUMBO_MTU)
        ping_whole(vm1, vm2, JUMBO_MTU - HEADERS)
        ping_whole(vm2, vm1, JUMBO_MTU - HEADERS)
        for guest in pair:
            set_mtu(guest, guest.hardware.mtu)


def test_tcp(lab):
    """TCP for 10 s in each direction, with no connection lost"""
    vm1, vm2 = lab.guests("vm1", "vm2")
    with lab.balanced():
        for source, target in (vm1, vm2), (vm2, vm1):
            arrived = transfer(source, target, seconds=10)
            lab.remark(f"{source.name} to {target.name}: {arrived.gigabits_per_second:.2f} Gbit/s")


def test_tcp_both_at_once(lab):
    """TCP in both directions at the same time"""
    vm1, vm2 = lab.guests("vm1", "vm2")
    with lab.balanced():
        both = Transfer(vm1, vm2, seconds=4), Transfer(vm2, vm1, seconds=4)
        for one in both:
            one.finish()


def test_balance_of_flooded_frames(lab):
    """frames to everyone and to no one add up: what came in went out, or is a counted drop"""
    vm1, vm2, vm3 = lab.guests("vm1", "vm2", "vm3")
    before = lab.switch.balance()
    with lab.balanced():
        vm1.run("arping -q -c 5 -w 5 -I eth0 10.0.0.99", check=False)
        ping(vm2, vm3)
    copies = (lab.switch.balance() - before).copies
    expect(copies >= 5, f"5 frames went to two guests each, and only {copies} copies are counted")
