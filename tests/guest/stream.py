# SPDX-License-Identifier: BSD-3-Clause
"""A TCP connection that must live through whatever a test does, its content checked block by block."""

import contextlib
import hashlib
import time

from traffic import TCP_PORTS, TrafficError

NOTHING = hashlib.md5(b"").hexdigest()
BLOCK_BYTES = 8 << 16  # rootfs/stream says so


class Stream:
    """Sends from `source` to `target` from now until finish(): a block that is the file `block`."""

    def __init__(self, source, target, *, block="/run/stream.block", cpu=None):
        self.source, self.target = source, target
        self.port = next(TCP_PORTS)
        where = f"STREAM_BLOCK={block}"
        sum_of_block = source.run(f"{where} stream block").strip()
        self.receiver = target.launch(f"stream receive {self.port} {sum_of_block}")
        target.run(f"until netstat -ltn | grep -q :{self.port}; do sleep 0.05; done")
        pinned = "" if cpu is None else f"taskset {1 << cpu:x} "
        self.sender = source.launch(f"{where} {pinned}stream send {target.address} {self.port}")

    def __str__(self):
        return f"the TCP connection from {self.source.name} to {self.target.name}"

    def arrived(self):
        """How many blocks have arrived so far, each as it was sent."""
        return int(self.target.run(f"cat /run/stream.{self.port} 2>/dev/null", check=False) or 0)

    def wait_for_progress(self, timeout=60):
        """Waits until a whole block has arrived that was sent after this was asked; returns the time."""
        begin = time.monotonic()
        wanted = self.arrived() + 2
        while self.arrived() < wanted:
            self.complain_if_over()
            if time.monotonic() - begin > timeout:
                raise TrafficError(f"{self}: nothing arrives any more since {timeout} s")
            time.sleep(0.05)
        return time.monotonic() - begin

    def complain_if_over(self):
        for side, job in ("receiver", self.receiver), ("sender", self.sender):
            if job.is_done():
                raise TrafficError(f"{self}: the {side} has ended: {job.wait().strip()[-200:]}")

    def finish(self):
        """Ends it in order; all that was sent must have arrived, as it was sent. Returns the bytes."""
        self.complain_if_over()
        self.source.run(f"touch /run/stream.{self.port}.stop")
        sent = int(self.sender.wait())
        arrived, rest = self.receiver.wait().split()
        if int(arrived) != sent or rest != NOTHING:
            raise TrafficError(f"{self}: {sent} blocks were sent and {arrived} arrived whole")
        if sent == 0:
            raise TrafficError(f"{self}: nothing was sent")
        return sent * BLOCK_BYTES


def check_content(source, target, **options):
    """Some content goes over, and arrives as it was sent."""
    stream = Stream(source, target, **options)
    stream.wait_for_progress()
    return stream.finish()


@contextlib.contextmanager
def streams(*pairs):
    """Connections from source to target that must be alive, and their content right, at the end."""
    running = [Stream(source, target) for source, target in pairs]
    yield running
    for stream in running:
        stream.finish()
