# SPDX-License-Identifier: BSD-3-Clause
"""The switches that are measured, ours first, and the limit.

Each forwards on one CPU between sockets of its folder. While another one is measured it is stopped, because most of
them poll without end.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import child
import machine
from machine import Missing

ROOT = Path(__file__).resolve().parents[1]
BUILD = ROOT / os.environ.get("BUILD", "build")
SECONDS = 20  # far more than anything takes


class Counters(NamedTuple):
    """What a switch itself says; cycles are those of the TSC."""

    frames: int = 0
    busy_cycles: int = 0
    bursts: int = 0
    wakeups: int = 0

    def __sub__(self, before):
        return Counters(*(now - then for now, then in zip(self, before)))


class Peer:
    name = ""
    generator_listens = False  # and the switch connects
    is_polling = True

    def __init__(self, folder, cpus, num_ports=2, mtu=1500):
        self.folder = Path(folder) / self.name
        self.folder.mkdir(parents=True, exist_ok=True)
        self.cpus = cpus
        self.num_ports = num_ports
        self.mtu = mtu
        self.processes = []
        self.process = None  # the one that forwards

    @classmethod
    def check(cls):
        """Raises Missing, with the reason, when it cannot run here."""

    def sockets(self):
        return [self.folder / f"port{idx}.sock" for idx in range(self.num_ports)]

    # --- Its life

    def start(self):
        """Starts it, and returns when guests can be attached."""
        raise NotImplementedError

    def spawn(self, *command, **options):
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.PIPE, start_new_session=True,
            stderr=subprocess.STDOUT, preexec_fn=machine.tie(child.die_with_parent(os.getpid())),
            **{"stdout": open(self.log, "ab"), **options})
        self.processes.append(process)
        return process

    @property
    def log(self):
        return self.folder / "log"

    def stop(self):
        for process in reversed(self.processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            child.end(process)
            with contextlib.suppress(BrokenPipeError):
                process.stdin.close()
        self.processes = []

    def pause(self):
        if self.is_polling:
            self.process.send_signal(signal.SIGSTOP)

    def go_on(self):
        if self.is_polling:
            self.process.send_signal(signal.SIGCONT)

    def wait_for(self, question, what):
        deadline = time.monotonic() + SECONDS
        while not question():
            for process in self.processes:
                if process.poll() is not None:
                    raise Missing(f"{self.name} ended with status {process.returncode}: "
                                  f"{self.last_line()}")
            if time.monotonic() > deadline:
                raise Missing(f"{self.name}: {what} is not there after {SECONDS} s")
            time.sleep(0.005)

    def wait_for_sockets(self):
        for path in self.sockets():
            self.wait_for(path.exists, path.name)

    def last_line(self):
        lines = self.log.read_text(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    # --- What it says

    def counters(self):
        raise NotImplementedError


class Limit(Peer):
    name = "limit"
    PROGRAM = BUILD / "bench" / "limit"

    def start(self):
        self.process = self.spawn(self.PROGRAM, "--cpu", self.cpus.switch, *self.sockets(),
                                  stdout=subprocess.PIPE)
        self.wait_for_sockets()

    def counters(self):
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()
        counters = json.loads(self.process.stdout.readline())
        return Counters(counters["frames"], counters["busy_cycles"], counters["bursts"])


class Shunt(Peer):
    PROGRAM = BUILD / "shuntd"
    CLIENT = BUILD / "shuntctl"
    bridge_mode = "learn"
    worker_mode = "poll"

    @property
    def is_polling(self):
        return self.worker_mode == "poll"

    @property
    def control(self):
        return self.folder / "control.sock"

    def config(self):
        ports = {f"port{idx}": {"type": "vhost-user", "socket": str(path), "bridge": "br0"}
                 for idx, path in enumerate(self.sockets())}
        return {"bridges": {"br0": {"mode": self.bridge_mode}}, "ports": ports,
                "workers": {"cpus": [self.cpus.switch], "mode": self.worker_mode}}

    def start(self):
        config = self.folder / "shunt.yaml"
        config.write_text(json.dumps(self.config()))  # JSON is YAML
        self.process = self.spawn(self.PROGRAM, "--control", self.control, "--config", config)
        self.wait_for(self.is_answering, "the control socket")
        self.wait_for_sockets()

    def is_answering(self):
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(str(self.control)) == 0

    def ctl(self, *words):
        done = subprocess.run([self.CLIENT, "--json", "--control", self.control, *map(str, words)],
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode != 0:
            raise Missing(done.stderr.strip())
        return json.loads(done.stdout) if done.stdout.strip() else None

    def counters(self):
        (worker,) = self.ctl("worker", "show")
        return Counters(worker["frames"], worker["busy_cycles"], worker["bursts"],
                        worker["wakeups"])


class Patch(Shunt):
    name = "patch"
    bridge_mode = "patch"


class Bridge(Shunt):
    name = "bridge"


class AdaptiveBridge(Shunt):
    name = "adaptive"
    worker_mode = "adaptive"


class InterruptBridge(Shunt):
    name = "interrupt"
    worker_mode = "interrupt"


def memory_of(peer):
    return machine.memory(peer.process.pid)
