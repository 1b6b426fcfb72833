# SPDX-License-Identifier: BSD-3-Clause
"""Whole frames in and out of an interface, exactly as they are on the wire."""

import socket
import struct

from suite import Failure

# From <linux/if_packet.h>, <linux/if_ether.h> and <asm-generic/socket.h>.
ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_AUXDATA = 8
PACKET_IGNORE_OUTGOING = 23
SO_RCVBUFFORCE = 33
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("=IIIHHHH")  # status, two lengths, two offsets; the tag and its type

MAX_BYTES = 1 << 17
BUFFER_BYTES = 1 << 26  # nothing is lost here while we look at what came before
SECONDS = 5  # far more than any frame takes


class Wire:
    """A packet socket at an interface of the namespace that we are in."""

    def __init__(self, interface):
        self.interface = interface
        self.socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL))
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER_BYTES)
        self.socket.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
        self.socket.setsockopt(SOL_PACKET, PACKET_IGNORE_OUTGOING, 1)
        self.socket.bind((interface, 0))

    def close(self):
        self.socket.close()

    def forget_error(self):
        """A socket complains once about an interface that went down."""
        self.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)

    def send(self, *frames):
        for frame in frames:
            self.socket.send(frame)

    def receive(self, seconds=SECONDS):
        """The next frame; None if there is none in time."""
        self.socket.settimeout(seconds)
        try:
            data, ancillary, _flags, _address = self.socket.recvmsg(
                MAX_BYTES, socket.CMSG_SPACE(AUXDATA.size))
        except (TimeoutError, BlockingIOError):
            return None
        return with_tag(data, ancillary)

    def receive_until(self, last):
        """The frames that come before `last`, which must come."""
        frames = []
        while (frame := self.receive()) != last:
            if frame is None:
                raise Failure(f"{self.interface}: no frame comes after {len(frames)} others")
            frames.append(frame)
        return frames

    def drain(self):
        """What has come so far and was not taken yet."""
        frames = []
        while (frame := self.receive(seconds=0)) is not None:
            frames.append(frame)
        return frames


def with_tag(data, ancillary):
    """The kernel takes the outer VLAN tag out of the frame and hands it over beside it."""
    for _level, _kind, value in ancillary:
        status, _length, _captured, _link, _network, vlan, kind = AUXDATA.unpack(value)
        if status & TP_STATUS_VLAN_VALID:
            return data[:12] + struct.pack(">HH", kind, vlan) + data[12:]
    return data
