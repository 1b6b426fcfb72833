# SPDX-License-Identifier: BSD-3-Clause
"""Ethernet frames as bytes, and how their addresses are written."""

BROADCAST = "ff:ff:ff:ff:ff:ff"
HEADER_BYTES = 14
MIN_BYTES = 60  # without FCS
TYPE_TEST = 0x88B5  # IEEE 802, local experimental: no stack takes it
TYPE_VLAN = 0x8100
TYPE_SERVICE_VLAN = 0x88A8


def to_bytes(address):
    return bytes.fromhex(address.replace(":", ""))


def to_text(address):
    return address.hex(":")


def numbered(number, kind=0):
    """A local unicast address: one of each kind for each number."""
    return to_text(bytes((0x02, kind)) + number.to_bytes(4, "big"))


def ethernet(destination, source, payload=b"", kind=TYPE_TEST):
    """`kind` is the EtherType, or the length of an IEEE 802.3 frame."""
    return to_bytes(destination) + to_bytes(source) + kind.to_bytes(2, "big") + payload


def tagged(frame, vlan, kind=TYPE_VLAN):
    """The frame with another VLAN tag in front of what follows the addresses."""
    return frame[:12] + kind.to_bytes(2, "big") + vlan.to_bytes(2, "big") + frame[12:]


def destination(frame):
    return to_text(frame[0:6])


def source(frame):
    return to_text(frame[6:12])


def is_group(address):
    return bool(int(address[:2], 16) & 1)
