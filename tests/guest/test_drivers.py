# SPDX-License-Identifier: BSD-3-Clause
"""Guests whose virtio driver has less, or more, than the usual one."""

from lab import expect
from traffic import ping, transfer

# The numbers of feature bits, as VIRTIO 1.3 defines them (5.1.3 and 6).
MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1 = 15, 28, 29, 32


def features(guest):
    """The feature bits on which driver and device have agreed."""
    bits = guest.run("cat /sys/class/net/eth0/device/features").strip()
    return {number for number, bit in enumerate(bits) if bit == "1"}


def check_talk(lab, vm1, vm2, streams=1):
    """Small and full frames and TCP, in both directions."""
    with lab.balanced():
        for source, target in (vm1, vm2), (vm2, vm1):
            ping(source, target)
            ping(source, target, size=1472)
            transfer(source, target, seconds=2, streams=streams)


def check_without(lab, feature, **card):
    """A guest with a card that lacks a feature talks with one that has it."""
    vm1 = lab.guest("vm1")
    vm2 = lab.guest("vm2", card=card)
    expect(feature not in features(vm2), f"the driver uses feature {feature} all the same")
    check_talk(lab, vm1, vm2)


def test_modern_driver(lab):
    """the usual driver finds all that makes a ring fast"""
    vm1 = lab.guest("vm1")
    missing = {MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1} - features(vm1)
    expect(not missing, f"features that were not agreed on: {sorted(missing)}")


def test_legacy_driver(lab):
    """a driver from before VIRTIO 1.0 with a net header of 10 bytes (and mrg_rxbuf=off)"""
    check_without(lab, VERSION_1, **{"disable-modern": "on", "mrg_rxbuf": "off"})


def test_legacy_driver_mergeable(lab):
    """a driver from before VIRTIO 1.0 with mergeable buffers (disable-modern=on)"""
    check_without(lab, VERSION_1, **{"disable-modern": "on"})


def test_without_mergeable_buffers(lab):
    """a driver whose receive buffers each hold a whole frame (mrg_rxbuf=off)"""
    check_without(lab, MRG_RXBUF, mrg_rxbuf="off")


def test_without_event_idx(lab):
    """a driver that suppresses notifications by flags (event_idx=off)"""
    check_without(lab, EVENT_IDX, event_idx="off")


def test_without_indirect_descriptors(lab):
    """a driver that chains descriptors in the ring itself (indirect_desc=off)"""
    check_without(lab, INDIRECT_DESC, indirect_desc="off")


def test_two_queue_pairs(lab):
    """a guest with two processors uses two queue pairs"""
    vm1 = lab.guest("vm1")
    vm2 = lab.guest("vm2", queues=2, cpus=2)
    used = int(vm2.run("ls -d /sys/class/net/eth0/queues/tx-* | wc -l"))
    expect(used == 2, f"the guest uses {used} queue pairs")
    offered = lab.switch.port("vm2")["queues"]
    expect(offered == 2, f"the port has {offered} queue pairs")
    check_talk(lab, vm1, vm2, streams=4)
