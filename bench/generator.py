# SPDX-License-Identifier: BSD-3-Clause
"""shunt-gen, which is all guests of a switch in one process, on the other CPU."""

import json
import os
import subprocess
import threading
import time
from typing import NamedTuple

import child
import machine
from machine import Missing
from peers import BUILD, SECONDS

FOUND_ERRORS = 3
PROGRAM = BUILD / "shunt-gen"
TOUCH = "all"  # frames are written before they are sent, and read, as in a guest
SMALLEST = 60  # bytes of a 64-byte frame, whose check sequence no guest sees
TENTHS = 10  # a window is watched by tenths, and the first and last of them judge nothing


def check():
    if not PROGRAM.exists():
        raise Missing(f"{PROGRAM} is not built")


class Watched(NamedTuple):
    taken: float  # which part of the time others had a CPU that the switch or the generator wanted
    cpu_us: float  # the switch's processor time a frame, in microseconds


class Run:
    """One run of it against a switch: the words for its command line, and its report in the end."""

    def __init__(self, peer, seconds, *, size=SMALLEST, roles=(), ring_words=(), words=(),
                 first_port=0, num_ports=2):
        self.peer = peer
        self.seconds = seconds
        roles = roles or [None] * num_ports
        sockets = peer.sockets()[first_port:]
        self.command = [PROGRAM, "--size", size, "--json", "--timeout", SECONDS, "--cpu",
                        peer.cpus.generator, "--touch", TOUCH, *words]
        if seconds:
            self.command += ["--duration", f"{round(1000 * seconds)}ms",
                             "--interval", f"{round(1000 * seconds / TENTHS)}ms"]
        else:
            self.command += ["--interval", 0]
        for path, role in zip(sockets, roles):
            port = [str(path), *(["server"] if peer.generator_listens else ()),
                    *([f"role={role}"] if role else ()), *ring_words]
            self.command += ["--port", ",".join(port)]
        self.process = None
        self.overdue = None

    def start(self):
        self.process = subprocess.Popen(
            [str(word) for word in self.command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT, start_new_session=True,
            preexec_fn=machine.tie(child.die_with_parent(os.getpid())))
        self.overdue = threading.Timer((self.seconds or 0) + 2 * SECONDS, self.process.kill)
        self.overdue.start()
        return self

    def next_report(self):
        line = self.process.stdout.readline().decode().strip()
        if not line.startswith("{"):
            raise Missing(f"{self.peer.name}: {line or 'shunt-gen says nothing'}")
        return json.loads(line)

    def finish(self, signal_first=None):
        """Waits for its end, or brings it about, and returns its last report."""
        if signal_first:
            self.process.send_signal(signal_first)
        output = self.process.stdout.read().decode().strip().splitlines()
        self.process.stdout.close()
        self.process.wait()
        self.overdue.cancel()
        if self.process.returncode not in (0, FOUND_ERRORS):
            raise Missing(f"{self.peer.name}: {output[-1] if output else 'shunt-gen was killed'}")
        return json.loads(output[-1])

    def abandon(self):
        """Ends it if it still runs; what it says does not count."""
        if self.process and self.process.returncode is None:
            self.overdue.cancel()
            self.process.kill()
            self.process.wait()
            self.process.stdout.close()

    def watch(self):
        """Watches the window, of which the switch and the generator should have all; lasts nearly as long as it."""
        pids = [self.peer.process.pid, self.process.pid]
        self.next_report()
        before, begin = [machine.usage(pid) for pid in pids], time.monotonic()
        stolen = machine.stolen()
        frames = 0
        for _ in range(TENTHS - 2):
            frames += self.next_report()["all"]["rx"]["frames"]
        used = [machine.since(then, pid) for then, pid in zip(before, pids)]
        taken = sum(one.waiting for one in used) + machine.stolen() - stolen
        return Watched(taken / (time.monotonic() - begin),
                       1e6 * used[0].running / max(1, frames))
