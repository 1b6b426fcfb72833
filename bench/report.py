# SPDX-License-Identifier: BSD-3-Clause
"""The one table that a run ends with, and the file that holds all that it is made of."""

import json
from dataclasses import asdict, dataclass, field
from typing import Optional

from window import MAX_TAKEN, Ratio


@dataclass
class Row:
    """A figure of one switch, and against which other one it stands."""

    scenario: str
    variant: str
    figure: str
    peer: str
    value: Optional[float]
    against: str = ""
    other: Optional[float] = None
    ratio: Optional[Ratio] = None
    target: str = ""

    def cells(self):
        return [self.scenario, self.variant, self.figure, self.peer, number(self.value),
                self.against, number(self.other), quotient(self.ratio), self.target]


HEADINGS = ["scenario", "variant", "figure", "of", "is", "against", "is", "ratio", "target"]
IS_NUMBER = [heading == "is" for heading in HEADINGS]


def number(value):
    if value is None:
        return ""
    if value == int(value) or abs(value) >= 1000:
        return f"{value:.0f}"
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.1f}"


def quotient(ratio):
    if ratio is None:
        return ""
    quartiles = f" ({ratio.low:.2f}–{ratio.high:.2f})" if ratio.low < ratio.high else ""
    return f"{ratio.median:.2f}{quartiles}"


@dataclass
class Report:
    machine: str
    layout: str
    rows: list = field(default_factory=list)
    windows: list = field(default_factory=list)
    left_out: list = field(default_factory=list)

    def add(self, *args, **details):
        self.rows.append(Row(*args, **details))

    def leave_out(self, what, why):
        self.left_out.append({"what": what, "why": str(why)})
        print(f"left out: {what}: {why}", flush=True)

    def keep(self, scenario, variant, windows):
        for round_idx in range(max(map(len, windows.values()))):
            self.windows += [{"scenario": scenario, "variant": variant, "round": round_idx,
                              **some[round_idx]._asdict()} for some in windows.values()]

    def taken(self):
        """How many windows others took part of, although they were measured again."""
        return sum(window["taken"] > MAX_TAKEN for window in self.windows)

    def print(self):
        table = [HEADINGS, *(row.cells() for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table)]
        print(f"\n{self.machine}; {self.layout}")
        print("Medians over rounds; ratio: of windows of the same round, median (quartiles).")
        if self.taken():
            print(f"Others took more than {MAX_TAKEN:.0%} of {self.taken()} of "
                  f"{len(self.windows)} windows: look at the quartiles.")
        print()
        for cells in table:
            print("  ".join(cell.rjust(width) if is_number else cell.ljust(width)
                            for cell, width, is_number in zip(cells, widths, IS_NUMBER)).rstrip())
        for one in self.left_out:
            print(f"left out: {one['what']}: {one['why']}")

    def write(self, path):
        path.write_text(json.dumps(asdict(self), indent=1) + "\n")
