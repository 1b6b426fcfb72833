# SPDX-License-Identifier: BSD-3-Clause
"""What the switch costs. The figures are printed next to what they should be; no test fails on them."""

import statistics
import time

from place import BUILD
from suite import Skip
from switch import Switch

STARTS = 9
IDLE_SECONDS = 10


def milliseconds_to_start():
    """From the moment that shuntd is asked for until its control socket takes connections."""
    begin = time.monotonic()
    with Switch():
        return (time.monotonic() - begin) * 1000


def is_instrumented():
    """Whether the switch was built with sanitizers, which cost more than all that it does."""
    build = BUILD / "build.ninja"
    return build.exists() and "-fsanitize=" in build.read_text()


def test_figures(lab):
    """start, memory and idle processor time"""
    if is_instrumented():
        raise Skip("the switch is built with sanitizers")
    start = statistics.median(milliseconds_to_start() for _ in range(STARTS))
    lab.clear()  # a switch that has done nothing yet
    lab.guests("vm1", "vm2")
    time.sleep(1)  # whatever a guest says while it boots is said
    before = lab.switch.cpu_seconds()
    time.sleep(IDLE_SECONDS)
    busy = (lab.switch.cpu_seconds() - before) / IDLE_SECONDS
    memory = lab.switch.memory()

    lab.remark(f"start to control socket ready   {start:6.2f} ms  (below 20)")
    lab.remark(f"memory with two idle guests     {memory.proportional / 1024:6.2f} MB  (below 8)")
    lab.remark(f"huge pages                      {memory.huge_pages / 1024:6.2f} MB  (none)")
    lab.remark(f"processor with two idle guests  {busy * 100:6.2f} %   (below 1)")
