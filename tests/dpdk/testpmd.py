# SPDX-License-Identifier: BSD-3-Clause
"""A running dpdk-testpmd: DPDK's driver, by net_virtio_user, at ports of the switch."""

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import NamedTuple

import child
from suite import Failure, expect
from mode import Mode

PROGRAM = "dpdk-testpmd"
MEGABYTES = 64  # of huge pages, for one process
SECONDS = 20  # far more than it takes for anything
RING_ENTRIES = 256
SPARE_BUFFERS = 2048  # beside those in full rings: on their way, and in caches

# Where buffers may be merged, they are so small that frames need to be: 384 bytes of it are data.
SMALL_BUFFERS = ("--mbuf-size=640", "--enable-scatter")


class Device(NamedTuple):
    """One net_virtio_user; the socket is its own, to listen at, if it is the server."""

    socket: Path
    mode: Mode
    is_server: bool = False
    ring_entries: int = RING_ENTRIES

    def arguments(self, idx, queues):
        return (f"net_virtio_user{idx},path={self.socket},queues={queues},"
                f"queue_size={self.ring_entries},server={self.is_server:d},{self.mode.arguments}")


class Testpmd:
    """It forwards from the start, on one core, which it keeps busy."""

    def __init__(self, folder, *devices, forward="5tswap", queues=1):
        self.folder = Path(folder)
        self.log = self.folder / "testpmd.log"
        self.devices = devices
        self.forward = forward
        self.queues = queues
        self.process = None

    def num_buffers(self):
        """As many as all rings hold, both ways: the driver frees what is sent when it has to."""
        entries = sum(2 * self.queues * one.ring_entries for one in self.devices)
        return entries + SPARE_BUFFERS

    def command(self):
        cpu = max(os.sched_getaffinity(0))
        buffers = SMALL_BUFFERS if all(one.mode.is_mergeable for one in self.devices) else ()
        return [
            # Its messages are to be read as they are written.
            "stdbuf", "-oL", PROGRAM, "--lcores", f"0@{cpu},1@{cpu}", "--no-pci", "--no-telemetry",
            "--in-memory", "--single-file-segments", "-m", str(MEGABYTES),
            "--force-max-simd-bitwidth=512", "--log-level=pmd.net.virtio.*:info",
            *(f"--vdev={one.arguments(idx, self.queues)}" for idx, one in enumerate(self.devices)),
            # What has come by the time that it starts to forward is not to be thrown away.
            "--", "--interactive", "--auto-start", "--no-flush-rx",
            f"--forward-mode={self.forward}", f"--rxq={self.queues}", f"--txq={self.queues}",
            f"--total-num-mbufs={self.num_buffers()}", *buffers,
        ]

    # --- Its life

    def start(self):
        """Starts it. As server it comes no further than its socket while nobody connects."""
        for one in self.devices:
            if one.is_server:
                one.socket.unlink(missing_ok=True)  # of one that was killed
        with open(self.log, "wb") as output:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.PIPE, stdout=output, stderr=output,
                env={**os.environ, "RUNTIME_DIRECTORY": str(self.folder)}, start_new_session=True,
                preexec_fn=child.die_with_parent(os.getpid()))
        for one in self.devices:
            if one.is_server:
                self.wait_for(lambda path=one.socket: path.exists(), "its socket")
        return self

    def stop(self):
        """Ends it as its user would; anything but a clean end is an error."""
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write(b"quit\n")
            self.process.stdin.flush()
        try:
            status = self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            raise Failure(f"testpmd does not quit within {SECONDS} s") from None
        finally:
            self.kill()
        expect(status == 0, f"testpmd ended with status {status}")

    def kill(self):
        if self.process:
            self.process.kill()
            self.process.wait()
            with contextlib.suppress(BrokenPipeError):
                self.process.stdin.close()
            self.process = None

    @contextlib.contextmanager
    def paused(self):
        """It does nothing while this is held; its rings stay as they are."""
        self.process.send_signal(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)
        try:
            yield
        finally:
            self.process.send_signal(signal.SIGCONT)

    def wait_for(self, question, what):
        deadline = time.monotonic() + SECONDS
        while not question():
            if self.process.poll() is not None:
                raise Failure(f"testpmd ended with status {self.process.returncode}")
            if time.monotonic() > deadline:
                raise Failure(f"testpmd: after {SECONDS} s, not {what}")
            time.sleep(0.01)

    # --- What it says

    def output(self):
        return self.log.read_text(errors="replace")

    def wait_forwarding(self):
        self.wait_for(lambda: "packet forwarding - ports=" in self.output(), "forwarding")

    def wait_reconnected(self):
        self.wait_for(lambda: "reconnection succeeds" in self.output(), "connected again")

    def expect_paths(self):
        """It sends and receives by the functions that were asked for."""
        for idx, device in enumerate(self.devices):
            wanted = device.mode.receive_path, device.mode.send_path
            chosen = self.path("Rx", idx), self.path("Tx", idx)
            expect(chosen == wanted, f"DPDK receives and sends by the paths {chosen}, not {wanted}")

    def path(self, way, idx):
        found = re.findall(rf"virtio: using (.*) {way} path on port {idx}$", self.output(), re.M)
        return found[-1] if found else None

    def is_link_up(self, idx=0):
        return self.ask(f"show port info {idx}", r"Link status: (\w+)") == "up"

    def counted(self):
        """What each of its ports counts, a line each."""
        return [self.ask(f"show port xstats {idx}",
                         rf"(?s)(NIC extended statistics for port {idx}.*tx_q0_size\S+: \d+)")
                .replace("\n", " ") for idx in range(len(self.devices))]

    def ask(self, command, pattern):
        """Gives a command, and returns what matches in the new output."""
        begin = len(self.output())
        self.process.stdin.write(f"{command}\n".encode())
        self.process.stdin.flush()
        self.wait_for(lambda: re.search(pattern, self.output()[begin:]),
                      f"an answer to `{command}`")
        return re.search(pattern, self.output()[begin:])[1]
