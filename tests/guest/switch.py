# SPDX-License-Identifier: BSD-3-Clause
"""A running shuntd with a folder, a control socket and a log of its own."""

import json
import re
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import child
from place import BUILD

# A mapping in smaps begins with a line such as "7f00-7f80 rw-s 00000000 00:01 7 /memfd:memory".
MAPPING = re.compile(r"^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \d+ *(.*)$")
FIELD = re.compile(r"^(\w+): +(\d+) kB$")


class SwitchError(Exception):
    """The switch or its command line did not do what was asked of it; the text is one line."""


class Memory(NamedTuple):
    """In kB. Guest memory that the switch has mapped is the guest's, and not counted."""

    proportional: int
    huge_pages: int


class Balance(NamedTuple):
    """Frames in and out of all ports; a frame to N destinations counts N times on either side."""

    received: int
    copies: int
    sent: int
    dropped: int

    def __sub__(self, earlier):
        return Balance(*(now - then for now, then in zip(self, earlier)))

    @property
    def is_even(self):
        return self.received + self.copies == self.sent + self.dropped


class Switch:
    START_TIMEOUT = 10
    STOP_TIMEOUT = 10
    ANSWER_TIMEOUT = 20

    def __init__(self, folder=None, *, outlive_us=False):
        # The folder's path is short: the address of a Unix socket holds 107 characters.
        self.temporary = None if folder else tempfile.TemporaryDirectory(prefix="shunt-", dir="/tmp")
        self.folder = Path(folder or self.temporary.name)
        self.control = self.folder / "control.sock"
        self.log = self.folder / "shuntd.log"
        self.config = self.folder / "shunt.yaml"
        self.outlive_us = outlive_us
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    # --- Its life

    def command(self):
        config = ["--config", str(self.config)] if self.config.exists() else []
        return [str(BUILD / "shuntd"), "--control", str(self.control), *config]

    def start(self):
        try:
            self.process = child.spawn(self.command(), self.log, outlive_us=self.outlive_us)
            self.wait_ready()
        except FileNotFoundError:
            raise SwitchError(f"{BUILD}/shuntd is absent: build it first") from None
        except BaseException:
            self.kill()
            raise
        return self

    def wait_ready(self):
        """Ready means that the control socket takes connections."""
        deadline = time.monotonic() + self.START_TIMEOUT
        while not self.is_listening():
            self.check()
            if time.monotonic() > deadline:
                raise SwitchError(f"shuntd is not ready after {self.START_TIMEOUT} s")
            time.sleep(0.0005)

    def is_listening(self):
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(str(self.control)) == 0

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    def check(self):
        """Complains if it has ended by itself."""
        if self.process and self.process.poll() is not None:
            raise SwitchError(f"shuntd ended with status {self.process.returncode}")

    def stop(self):
        """Ends it as an administrator would; anything but a clean end is an error."""
        if self.process:
            status = child.end(self.process, timeout=self.STOP_TIMEOUT)
            self.process = None
            if status != 0:
                raise SwitchError(f"shuntd ended with status {status}")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            self.process = None

    def save(self):
        """Writes down what is configured, so that a restart or a reload finds it."""
        self.config.write_text(self.ctl("config", "show"), encoding="utf-8")

    def reload(self):
        """Has it read again what was saved; waits until it says that it is done."""
        before = self.log_lines("is applied")
        self.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + self.ANSWER_TIMEOUT
        while self.log_lines("is applied") == before:
            self.check()
            if time.monotonic() > deadline:
                raise SwitchError("shuntd has not reloaded: " + self.log_lines("")[-1])
            time.sleep(0.01)

    def log_lines(self, text):
        return [line for line in self.log.read_text(errors="replace").splitlines() if text in line]

    # --- Its command line

    def ctl_command(self, *words):
        return [str(BUILD / "shuntctl"), "--control", str(self.control), *map(str, words)]

    def ctl(self, *words):
        """Runs shuntctl and returns what it prints."""
        asked = f"shuntctl {' '.join(map(str, words))}"
        try:
            done = subprocess.run(self.ctl_command(*words), capture_output=True, text=True,
                                  timeout=self.ANSWER_TIMEOUT, check=False)
        except subprocess.TimeoutExpired:
            raise SwitchError(f"{asked}: no answer after {self.ANSWER_TIMEOUT} s") from None
        if done.returncode != 0:
            raise SwitchError(f"{asked}: {done.stderr.strip()}")
        return done.stdout

    def json(self, *words):
        return json.loads(self.ctl("--json", *words))

    # --- Its ports

    def socket(self, port):
        return self.folder / f"{port}.sock"

    def add_port(self, port, bridge="br0", **options):
        words = (word for option in options.items() for word in option)
        self.ctl("port", "add", port, "type", "vhost-user", "socket", self.socket(port),
                 "bridge", bridge, *words)

    def remove_port(self, port):
        self.ctl("port", "del", port)

    def ports(self):
        return {port["name"]: port for port in self.json("port", "show")}

    def port(self, name):
        return self.ports()[name]

    def wait_for_port(self, name, state="up", timeout=10):
        deadline = time.monotonic() + timeout
        while (port := self.port(name))["state"] != state:
            if time.monotonic() > deadline:
                raise SwitchError(f"port {name} is {port['state']} and not {state} "
                                  f"after {timeout} s: {port.get('reason') or 'no reason given'}")
            time.sleep(0.1)
        return port

    def balance(self):
        """The counters of all ports, once nothing moves any more."""
        latest = None
        deadline = time.monotonic() + 10
        while latest != (latest := self.count()):
            if time.monotonic() > deadline:
                raise SwitchError("the ports' counters do not come to rest")
            time.sleep(0.5)
        return latest

    def count(self):
        ports = self.json("port", "show")
        drops = (side["drops"].values() for port in ports for side in (port["rx"], port["tx"]))
        return Balance(
            received=sum(port["rx"]["packets"] for port in ports),
            copies=sum(port["rx"]["copies"] for port in ports),
            sent=sum(port["tx"]["packets"] for port in ports),
            dropped=sum(map(sum, drops)),
        )

    # --- What it costs

    def memory(self):
        proportional = huge_pages = 0
        mapping = ""
        for line in Path(f"/proc/{self.process.pid}/smaps").read_text().splitlines():
            if found := MAPPING.match(line):
                mapping = found[1]
            elif found := FIELD.match(line):
                name, size = found[1], int(found[2])
                if name == "Pss" and not mapping.startswith("/memfd:"):
                    proportional += size
                if name.endswith("_Hugetlb"):
                    huge_pages += size
        return Memory(proportional, huge_pages)

    def cpu_seconds(self):
        """The processor time that all its threads have used, to the nanosecond."""
        threads = Path(f"/proc/{self.process.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9
