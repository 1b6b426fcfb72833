# SPDX-License-Identifier: BSD-3-Clause
"""Ports come and go under traffic, and bridges keep to themselves."""

from suite import expect
from traffic import ping, try_ping, undisturbed, wait_for_ping


def heard(*guests):
    """How many frames the guests have received so far; they then have nothing to say by themselves."""
    for guest in guests:
        guest.run("ip neigh flush dev eth0")  # a neighbour that is known is asked again now and then
    counters = "cat /sys/class/net/eth0/statistics/rx_packets"
    return sum(int(guest.run(counters)) for guest in guests)


def test_ports_under_traffic(lab):
    """ports are added and removed while two guests talk and a third loses and regains its port"""
    vm1, vm2, vm3 = lab.guests("vm1", "vm2", "vm3")
    switch = lab.switch
    with undisturbed(vm1, vm2, seconds=8):
        for number in range(20):
            switch.add_port(f"spare{number}")
            switch.ctl("port", "add", f"sink{number}", "type", "null", "bridge", "br0")
        for number in range(20):
            switch.remove_port(f"spare{number}")
            switch.remove_port(f"sink{number}")
        switch.remove_port("vm3")
        switch.add_port("vm3")
        switch.wait_for_port("vm3")
        wait_for_ping(vm3, vm1)
    ping(vm2, vm3)
    with lab.balanced():
        ping(vm1, vm3)


def test_separate_bridges(lab):
    """guests on two bridges do not hear each other"""
    lab.switch.ctl("bridge", "add", "br1")
    vm1, vm2 = lab.guests("vm1", "vm2")
    vm3, vm4 = lab.guests("vm3", "vm4", bridge="br1")
    with lab.balanced():
        ping(vm3, vm4)
        before = heard(vm3, vm4)
        ping(vm1, vm2)
        vm1.run("arping -q -c 3 -w 5 -I eth0 10.0.0.3", check=False)
        expect(not try_ping(vm2, vm3).received, "vm2 on br0 reached vm3 on br1")
        expect(heard(vm3, vm4) == before, "a frame of br0 arrived on br1")
        ping(vm4, vm3)
    lab.remove("vm3")
    lab.remove("vm4")
    lab.switch.ctl("bridge", "del", "br1")
