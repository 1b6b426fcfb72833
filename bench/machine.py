# SPDX-License-Identifier: BSD-3-Clause
"""The processors that are measured on, and what processes take of them."""

import os
from pathlib import Path
from typing import NamedTuple


class Missing(Exception):
    """Why something cannot be measured here, in one line."""


class Layout(NamedTuple):
    """The switch's one worker has a CPU, the generator another."""

    switch: int
    generator: int


def layout():
    cpus = sorted(os.sched_getaffinity(0))
    if len(cpus) < 2:
        raise Missing("two CPUs are needed, one for the switch and one for the generator")
    first, *others = cpus
    return Layout(first, next((cpu for cpu in others if core_of(cpu) != core_of(first)), others[0]))


def core_of(cpu):
    topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology")
    return tuple((topology / name).read_text() for name in ("physical_package_id", "core_id"))


def model():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"


NICE = -15


def tie(die_with_parent):
    """What a child that is measured calls first: it goes before others, with its whole session."""

    def prepare():
        die_with_parent()
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        try:
            Path("/proc/self/autogroup").write_text(str(NICE))
        except OSError:
            pass  # a kernel without automatic groups

    return prepare


class Usage(NamedTuple):
    """Of a process with all its threads, in seconds."""

    running: float
    waiting: float  # it could have run, but somebody else did


def usage(pid):
    running = waiting = 0
    for task in Path(f"/proc/{pid}/task").iterdir():
        try:
            ran, waited, _ = (task / "schedstat").read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue  # a thread that ended
        running += int(ran)
        waiting += int(waited)
    return Usage(running / 1e9, waiting / 1e9)


def since(before, pid):
    now = usage(pid)
    return Usage(now.running - before.running, now.waiting - before.waiting)


def stolen():
    """Seconds in which the hypervisor gave our CPUs to others, since the machine started."""
    ticks = int(Path("/proc/stat").read_text().split(maxsplit=9)[8])
    return ticks / os.sysconf("SC_CLK_TCK")


def memory(pid):
    """Proportional set size and huge pages, in bytes."""
    sizes = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
        name, size, _ = line.split()
        sizes[name] = 1024 * int(size)
    return sizes["Pss:"], sizes["Private_Hugetlb:"] + sizes["Shared_Hugetlb:"]
