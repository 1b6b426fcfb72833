# SPDX-License-Identifier: BSD-3-Clause
"""Guests whose memory the switch cannot see. Such a guest has no network; nobody else minds."""

from suite import expect
from traffic import ping, try_ping, undisturbed


def check_refused(lab, memory):
    """A guest with such memory boots next to guests that talk, and its port says what is wrong."""
    vm1, vm2 = lab.guests("vm1", "vm2")
    with undisturbed(vm1, vm2, seconds=6):
        vm3 = lab.place("vm3", memory=memory).wait_ready()
        expect(not try_ping(vm3, vm1).received, "the guest has a network all the same")
        port = lab.switch.port("vm3")
    expect(port["state"] != "up", "the port is up, and no frame can pass")
    expect("memory" in port["reason"], f"the port's reason says nothing of memory: {port['reason']}")
    lab.remark(f"reason: {port['reason']}")


def check_welcome_again(lab):
    vm1, vm3 = lab.guests("vm1", "vm3")
    ping(vm1, vm3)


def test_private_memory(lab):
    """memory with a file that is not shared (share=off): the port says so"""
    check_refused(lab, "private")
    check_welcome_again(lab)


def test_unnamed_memory(lab):
    """memory without a file (no memory-backend): the port says so"""
    check_refused(lab, "unnamed")
    check_welcome_again(lab)
