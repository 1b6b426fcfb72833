# SPDX-License-Identifier: BSD-3-Clause
"""A running shuntd with a folder, a control socket and a log of its own."""

import contextlib
import ctypes
import json
import os
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / os.environ.get("BUILD", "build")
PROGRAM = BUILD / "shuntd"
CLIENT = BUILD / "shuntctl"

# Long enough for a loaded machine and a sanitizer.
TIMEOUT = 20

PR_SET_PDEATHSIG = 1
LIBC = ctypes.CDLL(None, use_errno=True)


class Failure(Exception):
    """What a test finds wrong."""

    MAX_TEXT = 1000

    def __init__(self, text):
        super().__init__(text if len(text) <= self.MAX_TEXT else text[:self.MAX_TEXT] + "…")


class Skip(Exception):
    """Why a test cannot be run here."""


class RpcError(Exception):
    """An error that a method returned."""

    def __init__(self, error):
        super().__init__(error["message"])
        self.code = error["code"]


def expect(is_good, text):
    if not is_good:
        raise Failure(text)


def expect_equal(found, expected):
    expect(found == expected, f"found {found!r} instead of {expected!r}")


def expect_match(pattern, text):
    """The whole of the text must match, and be one line."""
    expect(re.fullmatch(pattern, text) is not None, f"found {text!r} instead of {pattern!r}")


def wait_until(condition, what):
    deadline = time.monotonic() + TIMEOUT
    while not condition():
        expect(time.monotonic() < deadline, f"after {TIMEOUT} s it is still not so that {what}")
        time.sleep(0.01)


def run(*words, env=None):
    """Runs shuntd, which ends by itself: its exit status, output and errors."""
    done = subprocess.run([PROGRAM, *map(str, words)], capture_output=True, text=True, timeout=TIMEOUT,
                          check=False, env={**os.environ, **(env or {})})
    return done.returncode, done.stdout, done.stderr


class Client:
    """A connection to the control socket."""

    def __init__(self, path):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(TIMEOUT)
        self.socket.connect(str(path))
        self.text = ""
        self.last_id = 0

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def send(self, data):
        self.socket.sendall(data if isinstance(data, bytes) else data.encode())

    def receive(self):
        """The next value, or None at the end of the stream."""
        while "\n" not in self.text:
            data = self.socket.recv(1 << 16)
            if not data:
                expect(not self.text, f"the stream ended with half an answer: {self.text!r}")
                return None
            self.text += data.decode()
        line, self.text = self.text.split("\n", 1)
        return json.loads(line)

    def request(self, method, **params):
        self.last_id += 1
        return json.dumps({"jsonrpc": "2.0", "id": self.last_id, "method": method, "params": params})

    def call(self, method, **params):
        self.send(self.request(method, **params))
        answer = self.receive()
        expect(answer is not None, f"{method}: the connection was closed")
        expect_equal(answer["id"], self.last_id)
        if "error" in answer:
            raise RpcError(answer["error"])
        return answer["result"]


class Shuntd:
    running = []

    def __init__(self, folder, *, name="control", config=None, env=None, words=(), wrapper=()):
        self.folder = folder
        self.control = folder / f"{name}.sock"
        self.log_path = folder / f"{name}.log"
        self.config = config
        self.words = words
        self.wrapper = wrapper  # a command that becomes shuntd
        self.env = {key: value for key, value in os.environ.items()
                    if key not in ("JOURNAL_STREAM", "INVOCATION_ID")} | (env or {})
        self.process = None
        self.start()

    def start(self):
        config = ("--config", self.config) if self.config else ()
        command = [*self.wrapper, PROGRAM, "--control", self.control, *config, *self.words]
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.env, preexec_fn=die_with_parent)
        Shuntd.running.append(self)
        self.client = self.connect()
        # Who connects early waits for the answer until the configuration is applied.
        self.call("version")

    def connect(self):
        """A new client; the first one waits until shuntd is ready."""
        deadline = time.monotonic() + TIMEOUT
        while True:
            try:
                return Client(self.control)
            except OSError as error:
                status = self.process.poll()
                expect(status is None, f"shuntd ended with status {status}: {self.log()}")
                expect(time.monotonic() < deadline, f"cannot connect to shuntd: {error}")
                time.sleep(0.002)

    # --- Its end

    def stop(self, number=signal.SIGTERM):
        """Ends it, which must be clean."""
        Shuntd.running.remove(self)
        self.client.socket.close()
        self.process.send_signal(number)
        status = self.process.wait(TIMEOUT)
        expect(status == 0, f"shuntd ended with status {status}: {self.log()}")
        expect(not self.control.is_socket(), f"{self.control} is left")

    def kill(self):
        Shuntd.running.remove(self)
        self.client.socket.close()
        self.process.kill()
        self.process.wait()

    @classmethod
    def end_all(cls):
        for shuntd in list(cls.running):
            shuntd.stop()

    @classmethod
    def kill_all(cls):
        for shuntd in list(cls.running):
            shuntd.kill()

    @classmethod
    def last_lines(cls):
        """What those that run had to say last."""
        return [line for shuntd in cls.running for line in shuntd.log().splitlines()[-20:]]

    # --- What it does and says

    def call(self, method, **params):
        return self.client.call(method, **params)

    def refused(self, method, pattern, code=-32000, **params):
        """The method must fail with a message that matches, and change nothing."""
        before = self.state()
        try:
            result = self.call(method, **params)
        except RpcError as error:
            expect_match(pattern, str(error))
            expect_equal(error.code, code)
        else:
            raise Failure(f"{method} {params} succeeded with {result!r}")
        self.expect_state(before)

    def ctl(self, *words):
        """Runs shuntctl: its exit status, output and errors."""
        done = subprocess.run([CLIENT, "--control", self.control, *map(str, words)],
                              capture_output=True, text=True, timeout=TIMEOUT, check=False)
        return done.returncode, done.stdout, done.stderr

    def log(self):
        return self.log_path.read_text()

    def wait_for_log(self, text):
        wait_until(lambda: text in self.log(), f"the log has {text!r}")

    def state(self):
        """All that a failure must leave as it was, which leaves out what traffic changes."""
        return {
            "config": self.call("config.show"),
            "ports": [without(port, "rx", "tx") for port in self.call("port.show")],
            "bridges": [without(bridge, "addresses") for bridge in self.call("bridge.show")],
            "addresses": [address for address in self.call("fdb.show") if address["static"]],
            "sockets": sorted(path.name for path in self.folder.iterdir() if path.is_socket()),
            "descriptors": self.num_fds(),
            "threads": self.num_threads(),
        }

    def expect_state(self, before):
        """Descriptors of clients that went away may take another turn of its loop."""
        deadline = time.monotonic() + 2
        while (after := self.state()) != before and time.monotonic() < deadline:
            time.sleep(0.01)
        for part, value in before.items():
            expect(after[part] == value, f"{part} changed from {value} to {after[part]}")

    @contextlib.contextmanager
    def unchanged(self):
        before = self.state()
        yield
        self.expect_state(before)

    def num_fds(self):
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    def num_threads(self):
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def memory(self):
        """Resident, in bytes; 0 for a build whose sanitizer keeps memory for itself."""
        if re.search(r"/lib[at]san\.", Path(f"/proc/{self.process.pid}/maps").read_text()):
            return 0
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return 1024 * int(re.search(r"VmRSS:\s+(\d+) kB", status)[1])

    # --- Shorthands

    def ports(self):
        return {port["name"]: port for port in self.call("port.show")}

    def add_guest(self, name, **options):
        """A port for a guest, and the path of its socket."""
        path = self.folder / f"{name}.sock"
        self.call("port.add", name=name, type="vhost-user", socket=str(path), **options)
        return path

    def write_config(self, text):
        self.config.write_text(text)
        return self.config


def without(entry, *keys):
    return {key: value for key, value in entry.items() if key not in keys}


def die_with_parent():
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
