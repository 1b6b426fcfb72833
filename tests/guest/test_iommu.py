# SPDX-License-Identifier: BSD-3-Clause
"""Guests whose card is behind an IOMMU: all its addresses are I/O virtual and must be asked for."""

from stream import check_content
from suite import expect
from test_drivers import RING_PACKED, features
from traffic import ping, undisturbed

ACCESS_PLATFORM = 33
DOMAINS = {"lazy": "DMA-FQ", "strict": "DMA"}  # as the guest's kernel calls them


def check_translated(guest):
    """The guest's driver really gives addresses that the IOMMU translates."""
    expect(ACCESS_PLATFORM in features(guest), f"{guest.name}: ACCESS_PLATFORM was not agreed on")
    found = guest.run("cat $(realpath /sys/class/net/eth0/device/..)/iommu_group/type").strip()
    wanted = DOMAINS[guest.hardware.iommu]
    expect(found == wanted, f"{guest.name}: the card is in an IOMMU domain {found}, not {wanted}")


def check_behind_iommu(lab, **card):
    """Two such guests talk, while two usual ones on the same worker notice nothing."""
    vm1, vm2, vm3, vm4 = lab.crowd({
        "vm1": {"iommu": "lazy", "card": card}, "vm2": {"iommu": "strict", "card": card},
        "vm3": {}, "vm4": {},
    })
    for guest in vm1, vm2:
        check_translated(guest)
        expect((RING_PACKED in features(guest)) == ("packed" in card), "the ring is of the other kind")
    with lab.balanced():
        with undisturbed(vm3, vm4, seconds=10):
            for source, target in (vm1, vm2), (vm2, vm1), (vm1, vm3), (vm4, vm2):
                ping(source, target)
                ping(source, target, size=1472)
                check_content(source, target)
            vm1.reload_driver()
            lab.switch.wait_for_port("vm1")
            ping(vm2, vm1)


def test_iommu(lab):
    """guests behind an IOMMU, lazy and strict, next to usual ones"""
    check_behind_iommu(lab)


def test_iommu_packed(lab):
    """the same with packed rings"""
    check_behind_iommu(lab, packed="on")
