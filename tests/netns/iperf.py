# SPDX-License-Identifier: BSD-3-Clause
"""Transfers by iperf3 between two hosts, measured where they arrive."""

import contextlib
import itertools
import json
import shutil
import subprocess
import time
from pathlib import Path

import child
from suite import Failure, Skip, expect
from traffic import LONGEST_GAP, Arrived

PORT = 5201
LISTENING = f":{PORT:04X} 00000000:0000 0A"  # as a line of /proc/net/tcp has it
NUMBERS = itertools.count()


class Transfer:
    """One that runs in the background, from `source` to `target`.

    iperf3's client sits at the target and asks the other side to send, as only a client sees, by
    the interval, what has arrived.
    """

    INTERVAL = 0.1

    def __init__(self, network, source, target, seconds, options=()):
        if not shutil.which("iperf3"):
            raise Skip("there is no program iperf3")
        self.source, self.target, self.seconds = source, target, seconds
        self.log = network.switch.folder / f"iperf-{next(NUMBERS)}.json"
        with source.namespace:
            self.server = child.spawn(["iperf3", "-4", "--server", "--one-off"], "/dev/null")
            self.wait_for_server(network)
        with target.namespace:
            self.client = child.spawn(
                ["iperf3", "-4", "--client", source.address, "--reverse", "--time", seconds,
                 "--interval", self.INTERVAL, "--json", *options], self.log)

    def __str__(self):
        return f"from {self.source.name} to {self.target.name}"

    @staticmethod
    def wait_for_server(network):
        network.wait_for(lambda: LISTENING in Path("/proc/thread-self/net/tcp").read_text(),
                         "listening: iperf3")

    @property
    def is_running(self):
        return self.client.poll() is None

    def finish(self):
        """Waits for the end and returns iperf3's report."""
        try:
            self.client.wait(self.seconds + 10)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self}: iperf3 does not end") from None
        finally:
            self.end()
        text = self.log.read_text()
        try:
            report = json.loads(text)
        except json.JSONDecodeError:
            raise Failure(f"{self}: iperf3 says: {text.strip()[-200:]}") from None
        if "error" in report:
            raise Failure(f"{self}: {report['error']}")
        return report

    def end(self):
        for process in self.client, self.server:
            child.end(process)


def transfer_tcp(network, source, target, seconds, options=()):
    """Returns what arrived."""
    return Arrived.parse(Transfer(network, source, target, seconds, options).finish())


@contextlib.contextmanager
def undisturbed(network, source, target, seconds):
    """TCP goes on all the while, with no pause; what it yields tells whether it still does."""
    stream = Transfer(network, source, target, seconds)
    deadline = time.monotonic() + seconds - 0.3
    try:
        yield lambda: time.monotonic() < deadline
    except BaseException:
        stream.end()
        raise
    arrived = Arrived.parse(stream.finish())
    network.remark(f"TCP {stream}: {arrived.gigabits_per_second:.2f} Gbit/s, "
                   f"longest gap {arrived.longest_gap:.1f} s")
    expect(arrived.longest_gap <= LONGEST_GAP,
           f"TCP {stream}: nothing arrived for {arrived.longest_gap:.2f} s")
