# SPDX-License-Identifier: BSD-3-Clause
"""Windows: short runs of one switch after the other, A B A B …, and what follows from them.

Machines are shared, and faster in one minute than in the next: what is compared are windows of the same
round, and what counts is the median over rounds. A window in which others took the CPU is measured again,
a few times at most.
"""

import statistics
from typing import NamedTuple

from generator import Run

MAX_TAKEN = 0.05  # of a window, by others
FCS_BYTES = 4


class Window(NamedTuple):
    peer: str
    mpps: float
    gbps: float
    cycles: float  # busy cycles a frame, by the switch's own account; None: it has none
    round_cycles: float  # the same a burst, with all that was looked at in vain before it; or None
    cpu_us: float  # processor time a frame, seen from outside, in microseconds
    taken: float  # by others
    report: dict


class Pace(NamedTuple):
    """How long it all may take."""

    rounds: int
    seconds: float
    retries: int
    is_quick: bool


FULL = Pace(rounds=7, seconds=2, retries=3, is_quick=False)
WARM_UP = Pace(rounds=1, seconds=0.3, retries=0, is_quick=True)
QUICK = Pace(rounds=3, seconds=0.7, retries=0, is_quick=True)


def measure_once(peer, pace, **details):
    peer.go_on()
    run = Run(peer, pace.seconds, **details)
    try:
        before = peer.counters()
        watched = run.start().watch()
        report = run.finish()
        moved = peer.counters() - before
    finally:
        run.abandon()
        peer.pause()
    received, seconds = report["all"]["rx"], report["seconds"]
    return Window(peer.name, received["frames"] / seconds / 1e6,
                  8 * received["bytes"] / seconds / 1e9,
                  moved.busy_cycles / moved.frames if moved.frames else None,
                  moved.busy_cycles / moved.bursts if moved.bursts else None,
                  watched.cpu_us, watched.taken, report)


def measure(peer, pace, **details):
    """A window that was ours, or of several the one that was most."""
    best = None
    for _ in range(1 + pace.retries):
        window = measure_once(peer, pace, **details)
        if best is None or window.taken < best.taken:
            best = window
        if best.taken <= MAX_TAKEN:
            break
    return best


def alternate(peers, pace, **details):
    """Rounds of one window for each: a list for each, by name."""
    windows = {peer.name: [] for peer in peers}
    for _ in range(pace.rounds):
        for peer in peers:
            windows[peer.name].append(measure(peer, pace, **details))
    return windows


# --- Figures


class Ratio(NamedTuple):
    median: float
    low: float  # quartiles
    high: float


def spread(values):
    if len(values) == 1:
        return Ratio(values[0], values[0], values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Ratio(median, low, high)


def median(windows, figure):
    values = [getattr(window, figure) for window in windows]
    values = [value for value in values if value is not None]
    return statistics.median(values) if values else None


def ratio(ours, theirs, figure):
    """Ours against theirs, window by window of the same round."""
    pairs = [(getattr(a, figure), getattr(b, figure)) for a, b in zip(ours, theirs)]
    quotients = [a / b for a, b in pairs if a is not None and b]
    return spread(quotients) if quotients else None
