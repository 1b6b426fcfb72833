# SPDX-License-Identifier: BSD-3-Clause
"""Guests whose virtio driver has less, or more, than the usual one, each talking to another such."""

from typing import NamedTuple

from stream import check_content
from suite import expect
from traffic import ping

# The numbers of feature bits, as VIRTIO 1.3 defines them (5.1.3 and 6).
MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1, RING_PACKED = 15, 28, 29, 32, 34
USUAL = {MRG_RXBUF, INDIRECT_DESC, EVENT_IDX, VERSION_1}


class Driver(NamedTuple):
    card: dict
    lacks: set = frozenset()  # of the usual features
    is_packed: bool = False

    @property
    def has(self):
        return (USUAL | ({RING_PACKED} if self.is_packed else set())) - self.lacks

    @property
    def lacks_all(self):
        return self.lacks | (set() if self.is_packed else {RING_PACKED})


def packed(driver):
    return Driver(driver.card | {"packed": "on"}, driver.lacks, is_packed=True)


LEGACY = {"disable-modern": "on"}
UNMERGED = {"mrg_rxbuf": "off"}
BARE = UNMERGED | {"event_idx": "off", "indirect_desc": "off"}

DRIVERS = {
    "usual": Driver({}),
    "legacy": Driver(LEGACY, {VERSION_1}),
    "legacy-unmerged": Driver(LEGACY | UNMERGED, {VERSION_1, MRG_RXBUF}),
    "legacy-bare": Driver(LEGACY | BARE, USUAL),
    "unmerged": Driver(UNMERGED, {MRG_RXBUF}),
    "no-event-idx": Driver({"event_idx": "off"}, {EVENT_IDX}),
    "no-indirect": Driver({"indirect_desc": "off"}, {INDIRECT_DESC}),
    "bare": Driver(BARE, USUAL - {VERSION_1}),
}
DRIVERS |= {f"packed-{name}": packed(driver) for name, driver in DRIVERS.items()
            if "legacy" not in name}

# Each driver at least once, and each test boots only two guests.
PAIRS = (
    ("usual", "packed-usual"),
    ("legacy", "packed-no-indirect"),
    ("legacy-unmerged", "packed-no-event-idx"),
    ("legacy-bare", "packed-bare"),
    ("unmerged", "packed-unmerged"),
    ("no-event-idx", "no-indirect"),
    ("bare", "packed-usual"),
)


def features(guest):
    """The feature bits on which driver and device have agreed."""
    bits = guest.run("cat /sys/class/net/eth0/device/features").strip()
    return {number for number, bit in enumerate(bits) if bit == "1"}


def check_features(guest, driver):
    agreed = features(guest)
    missing, odd = driver.has - agreed, driver.lacks_all & agreed
    expect(not missing, f"{guest.name}: features that were not agreed on: {sorted(missing)}")
    expect(not odd, f"{guest.name}: the driver uses these features all the same: {sorted(odd)}")


def check_talk(lab, vm1, vm2):
    """Small and full frames and content by TCP, in both directions."""
    with lab.balanced():
        for source, target in (vm1, vm2), (vm2, vm1):
            ping(source, target)
            ping(source, target, size=1472)
            check_content(source, target)


def pair_test(first, second):
    drivers = DRIVERS[first], DRIVERS[second]

    def test(lab):
        names = "vm1", "vm2"
        guests = lab.crowd({name: {"card": driver.card} for name, driver in zip(names, drivers)})
        for guest, driver in zip(guests, drivers):
            check_features(guest, driver)
        check_talk(lab, *guests)

    test.__doc__ = f"a driver `{first}` talks with `{second}`"
    return test


def tests():
    for first, second in PAIRS:
        yield f"{first}-and-{second}", pair_test(first, second)
