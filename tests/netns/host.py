# SPDX-License-Identifier: BSD-3-Clause
"""A host: a network namespace whose only interface is a TAP port of the switch."""

import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import NamedTuple

import frame
from namespace import Namespace
from suite import Failure, Skip
from wire import Wire

PING_SECONDS = 2  # far more than an answer takes
MARKS = itertools.count()
MARK_KIND = 0xFE  # of the addresses that marks come from


def run(*command, timeout=30, check=True):
    """Runs a program in the namespace that we are in and returns its output."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=timeout, check=False)
    except FileNotFoundError:
        raise Skip(f"there is no program {words[0]}") from None
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout


class Pings(NamedTuple):
    sent: int
    received: int
    duplicates: int


class Host:
    def __init__(self, name, number, bridge):
        self.name = name
        self.number = number
        self.bridge = bridge
        self.address = f"10.0.0.{number}"
        self.mac = frame.numbered(number)
        self.namespace = Namespace()
        self.wire = None

    def take(self, interface, mtu=1500):
        """Takes the interface out of the namespace that we are in."""
        run("ip", "link", "set", "dev", interface, "netns", self.namespace.path)
        with self.namespace:
            run("ip", "link", "set", "dev", interface, "address", self.mac, "mtu", mtu, "up")
            run("ip", "address", "add", f"{self.address}/24", "dev", interface)
            self.wire = Wire(interface)

    def close(self):
        """Ends it, with its interface; more than once does no harm."""
        if self.wire:
            self.wire.close()
        if self.namespace:
            self.namespace.close()
        self.wire = self.namespace = None

    def run(self, *command, **options):
        with self.namespace:
            return run(*command, **options)

    def link(self, *words):
        """Changes the interface as `ip link set` does."""
        self.run("ip", "link", "set", "dev", self.wire.interface, *words)
        self.wire.forget_error()

    # --- What its kernel counts

    def unsent(self):
        """Frames that found the queue towards the switch full."""
        link = json.loads(self.run("ip", "-j", "-s", "link", "show", "dev", self.wire.interface))
        return link[0]["stats64"]["tx"]["dropped"]

    def overrun(self):
        """Datagrams that found their receiver's buffer full."""
        with self.namespace:
            lines = Path("/proc/thread-self/net/snmp").read_text().splitlines()
        names, values = (line.split() for line in lines if line.startswith("Udp:"))
        return int(values[names.index("RcvbufErrors")])

    # --- Frames

    def frame_to(self, other, payload=b"", kind=frame.TYPE_TEST):
        """A frame from this host to another one, or to an address."""
        target = getattr(other, "mac", other)
        return frame.ethernet(target, self.mac, payload, kind)

    def mark(self):
        """Sends a broadcast that is like no other, behind all that was sent before; returns it."""
        mark = frame.ethernet(frame.BROADCAST, frame.numbered(self.number, MARK_KIND),
                              b"mark %d" % next(MARKS))
        self.wire.send(mark)
        return mark

    # --- Pings

    def try_ping(self, other, count=5, size=56, options=()):
        """Sends pings in one go and returns how it went, whatever it was.

        ping(8) gives the last answer no more time than the interval, so that is long.
        """
        output = self.run("ping", "-q", "-c", count, "-l", count, "-i", PING_SECONDS, "-s", size,
                          *options, other.address, check=False)
        found = re.search(r"(\d+) packets transmitted, (\d+) received", output)
        if not found:
            raise Failure(f"{self.name}: ping says nothing: {output.strip()}")
        repeated = re.search(r"\+(\d+) duplicates", output)
        return Pings(int(found[1]), int(found[2]), int(repeated[1]) if repeated else 0)

    def ping(self, other, count=5, **options):
        """Sends pings, each of which must be answered, and once only."""
        pings = self.try_ping(other, count, **options)
        if pings != Pings(count, count, 0):
            raise Failure(f"{self.name} pings {other.name}: {pings}")
