# SPDX-License-Identifier: BSD-3-Clause
"""What guests say to each other: pings, and TCP transfers measured where they arrive."""

import contextlib
import itertools
import json
import re
from typing import NamedTuple

from guest import GuestError

TCP_PORTS = itertools.count(5201)
LONGEST_GAP = 1.0  # seconds: a longer pause is a disturbance


class TrafficError(Exception):
    """Something got lost on the way; the text names who, whom and what, in one line."""


# --- Pings


class Pings(NamedTuple):
    sent: int
    received: int
    duplicates: int


def ping_command(target, count, size=56, interval=0.2):
    """Ends when all are answered, or two seconds after the last was sent."""
    deadline = int(count * interval) + 2
    return f"ping -c {count} -s {size} -i {interval} -w {deadline} {target.address}"


def parse_pings(output):
    found = re.search(r"(\d+) packets transmitted, (\d+) packets received", output)
    if not found:
        raise TrafficError(f"ping: {(output.strip().splitlines() or ['no output'])[-1]}")
    return Pings(int(found[1]), int(found[2]), output.count("(DUP!)"))


def try_ping(source, target, count=3, **options):
    """Sends pings and returns how it went, whatever it was."""
    output = source.run(ping_command(target, count, **options), timeout=60, check=False)
    return parse_pings(output)


def ping(source, target, count=3, **options):
    """Sends pings, each of which must be answered, and once only."""
    pings = try_ping(source, target, count, **options)
    if pings != Pings(count, count, 0):
        raise TrafficError(f"{source.name} pings {target.name}: {pings}")


# --- TCP


class Transfer:
    """A TCP transfer that runs in the background, from `source` to `target`.

    iperf3's client sits at the target and asks the other side to send, as only a client sees, by
    the interval, what has arrived.
    """

    INTERVAL = 0.25

    def __init__(self, source, target, seconds, streams=1):
        self.source, self.target, self.seconds = source, target, seconds
        port = next(TCP_PORTS)
        self.server_command = f"iperf3 --server --one-off --daemon --port {port}"
        self.client_command = (f"iperf3 --client {source.address} --reverse --port {port} "
                               f"--time {seconds} --parallel {streams}")
        listening = f"until netstat -ltn | grep -q :{port}; do sleep 0.05; done"
        source.run(f"{self.server_command} && {listening}")
        self.job = target.launch(f"{self.client_command} --interval {self.INTERVAL} --json")

    def __str__(self):
        return f"TCP from {self.source.name} to {self.target.name}"

    def finish(self):
        """Waits for the end and returns what came over, with no connection lost."""
        output = self.job.wait(self.seconds + 30)
        try:
            report = json.loads(output)
        except json.JSONDecodeError:
            raise TrafficError(f"{self}: iperf3 says: {output.strip()[-200:]}") from None
        if "error" in report:
            raise TrafficError(f"{self}: {report['error']}")
        arrived = Arrived.parse(report)
        if arrived.size == 0:
            raise TrafficError(f"{self}: nothing arrived")
        return arrived

    def abandon(self):
        """Ends what is left of a transfer of which one side is gone."""
        for guest in (self.source, self.target):
            if guest.is_running:
                guest.run("killall -q iperf3", check=False)


class Arrived(NamedTuple):
    size: int  # bytes
    seconds: float
    longest_gap: float  # seconds, to the interval

    @property
    def gigabits_per_second(self):
        return self.size * 8 / self.seconds / 1e9

    @classmethod
    def parse(cls, report):
        total = report["end"]["sum_received"]
        gap = longest = 0
        for interval in (one["sum"] for one in report["intervals"]):
            gap = 0 if interval["bytes"] else gap + interval["seconds"]
            longest = max(longest, gap)
        return cls(total["bytes"], total["seconds"], longest)


def transfer(source, target, seconds, **options):
    return Transfer(source, target, seconds, **options).finish()


@contextlib.contextmanager
def undisturbed(source, target, seconds):
    """A TCP transfer goes on all the while, with no connection lost and no pause."""
    stream = Transfer(source, target, seconds)
    yield
    gap = stream.finish().longest_gap
    if gap > LONGEST_GAP:
        raise TrafficError(f"{stream}: nothing arrived for {gap:.2f} s")


class Beat:
    """Pings in the background, twenty a second, that tell how long nothing came through."""

    INTERVAL = 0.05

    def __init__(self, source, target):
        self.source, self.name = source, f"pings from {source.name} to {target.name}"
        self.job = source.launch(f"exec ping -i {self.INTERVAL} {target.address}")

    def finish(self):
        """Ends it and returns the Pings and the longest time, in seconds, without an answer."""
        self.source.run("killall -INT ping")
        output = self.job.wait()
        answers = re.findall(r"seq=(\d+) .*time=([\d.]+) ms", output)
        times = sorted(int(number) * self.INTERVAL + float(ms) / 1000 for number, ms in answers)
        if len(times) < 2:
            raise TrafficError(f"{self.name}: {len(times)} were answered")
        return parse_pings(output), max(later - sooner for sooner, later in zip(times, times[1:]))


def start_pings(source, target, seconds):
    """Pings in the background, ten a second, that a test may disturb; returns the Job."""
    return source.launch(ping_command(target, seconds * 10, interval=0.1))


def wait_for_ping(source, target, timeout=30):
    """Waits until a ping gets through, for guests that are coming back."""
    for _ in range(timeout):
        if try_ping(source, target, count=1).received:
            return
    raise GuestError(f"{source.name} cannot reach {target.name} after {timeout} s")
