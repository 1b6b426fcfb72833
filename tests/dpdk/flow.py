# SPDX-License-Identifier: BSD-3-Clause
"""Flows of many kinds between two ends, and the exchange of their frames.

Checksums in the headers are left 0: nobody on the way looks at them.
"""

import itertools
import random
import struct
from collections import deque
from ipaddress import ip_address
from typing import NamedTuple

import frame
from suite import Failure, expect

MAX_BYTES = 1514
VLAN = 5
UDP, TCP = 17, 6
SEED = 3
NUMBERS = itertools.count()  # no two frames are the same
WINDOW = 32  # frames on their way: those of one flow with small buffers fit into a ring


class End(NamedTuple):
    mac: str
    number: int

    @property
    def ipv4(self):
        return ip_address("198.18.0.0") + self.number  # RFC 2544: of no network

    @property
    def ipv6(self):
        return ip_address("2001:2::") + self.number

    @property
    def port(self):
        return 10000 + self.number


def ports(source, target, protocol):
    if protocol == UDP:
        return struct.pack(">HHHH", source.port, target.port, 0, 0)
    return struct.pack(">HH16x", source.port, target.port)


def ipv4(source, target, size, protocol):
    header = struct.pack(">BBHIBBH", 0x45, 0, size, 0, 64, protocol, 0)
    return header + source.ipv4.packed + target.ipv4.packed + ports(source, target, protocol)


def ipv6(source, target, size, protocol):
    header = struct.pack(">IHBB", 6 << 28, size - 40, protocol, 64)
    return header + source.ipv6.packed + target.ipv6.packed + ports(source, target, protocol)


def no_ip(*_):
    return b""


class Kind(NamedTuple):
    ethertype: int
    header: callable
    protocol: int = 0
    is_tagged: bool = False


KINDS = (
    Kind(0x0800, ipv4, UDP),
    Kind(0x0800, ipv4, TCP),
    Kind(0x86DD, ipv6, UDP),
    Kind(0x86DD, ipv6, TCP),
    Kind(0x0800, ipv4, UDP, is_tagged=True),
    Kind(frame.TYPE_TEST, no_ip),
)


class Flow(NamedTuple):
    kind: Kind
    source: End
    target: End

    def frame(self, size, payload):
        """A frame of this size, if it is not too small for the headers; the payload is cut."""
        kind = self.kind
        size -= 4 if kind.is_tagged else 0
        header = kind.header(self.source, self.target, size - frame.HEADER_BYTES, kind.protocol)
        data = frame.ethernet(self.target.mac, self.source.mac, header, kind.ethertype)
        data += payload[:max(size - len(data), 8)]
        return frame.tagged(data, VLAN) if kind.is_tagged else data

    def reversed(self):
        return self._replace(source=self.target, target=self.source)


class Sample(NamedTuple):
    """A frame to send, what is to arrive for it, and whose it is."""

    sent: bytes
    wanted: bytes
    flow: int


def samples(source, target, num, num_flows=64, *, is_echoed):
    """Frames from one address to another; echoed, they come back with their ends swapped."""
    dice = random.Random(SEED)
    kinds = itertools.cycle(KINDS)
    flows = [Flow(next(kinds), End(source, 2 * number), End(target, 2 * number + 1))
             for number in range(num_flows)]
    extremes = deque((frame.MIN_BYTES, frame.MIN_BYTES + 1, MAX_BYTES - 1, MAX_BYTES))
    for number in itertools.islice(NUMBERS, num):
        flow = number % num_flows
        size = extremes.popleft() if extremes else dice.randint(frame.MIN_BYTES, MAX_BYTES)
        payload = number.to_bytes(4, "big") + dice.randbytes(MAX_BYTES)
        sent = flows[flow].frame(size, payload)
        yield Sample(sent, flows[flow].reversed().frame(size, payload) if is_echoed else sent, flow)


class Exchange:
    """Frames that are sent on one wire and arrive on one: each once, whole, in its flow's order."""

    def __init__(self, sender, receiver, leftovers=()):
        self.sender = sender
        self.receiver = receiver
        self.leftovers = set(leftovers)  # what may still come of what was sent before
        self.late = []  # what came of it
        self.flow_of = {}
        self.due = {}
        self.num_arrived = 0

    def run(self, some):
        for sample in some:
            while len(self.flow_of) >= WINDOW:
                self.take()
            self.flow_of[sample.wanted] = sample.flow
            self.due.setdefault(sample.flow, deque()).append(sample.wanted)
            self.sender.send(sample.sent)
        while self.flow_of:
            self.take()

    def take(self):
        arrived = self.receiver.receive()
        if arrived is None:
            raise Failure(f"{self.num_arrived} frames arrive, and then no more: "
                          f"{len(self.flow_of)} are on their way")
        if arrived in self.leftovers:
            self.leftovers.remove(arrived)
            self.late.append(arrived)
            return
        self.num_arrived += 1
        flow = self.flow_of.pop(arrived, None)
        if flow is None:
            raise Failure(f"frame {self.num_arrived}, of {len(arrived)} bytes, is one that nobody "
                          f"has sent, or arrives twice: {arrived[:64].hex()}…")
        expect(self.due[flow].popleft() == arrived,
               f"frame {self.num_arrived} has overtaken one of the same flow")
