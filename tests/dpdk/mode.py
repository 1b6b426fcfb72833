# SPDX-License-Identifier: BSD-3-Clause
"""The modes of DPDK's virtio driver: what it is asked for, and what it makes of it.

It falls back silently from what it cannot do, so each mode also tells which of the driver's
functions are to come of it. Vectorized, it
  - receives from split rings if they are neither mergeable nor in order,
  - sends to packed rings if they are in order, and receives from them if they are not mergeable
    either; that takes AVX-512.
Asked for it otherwise, it does the same as without, so those are no modes of their own.
"""

import itertools
from pathlib import Path
from typing import NamedTuple


class Mode(NamedTuple):
    is_packed: bool
    is_mergeable: bool
    is_in_order: bool
    is_vectorized: bool = False

    @property
    def name(self):
        words = ["packed" if self.is_packed else "split"]
        words += ["mergeable"] * self.is_mergeable
        words += ["in-order"] * self.is_in_order
        words += ["vectorized"] * self.is_vectorized
        return "-".join(words)

    @property
    def arguments(self):
        """As the device's arguments on DPDK's command line have it."""
        return (f"packed_vq={self.is_packed:d},mrg_rxbuf={self.is_mergeable:d},"
                f"in_order={self.is_in_order:d},vectorized={self.is_vectorized:d}")

    @property
    def features(self):
        """Whether each of these is to be negotiated."""
        return {"RING_PACKED": self.is_packed, "MRG_RXBUF": self.is_mergeable,
                "IN_ORDER": self.is_in_order}

    @property
    def format(self):
        return "packed" if self.is_packed else "split"

    @property
    def receive_path(self):
        """What the driver calls the function that it receives with."""
        if self.is_packed:
            return f"packed ring {self.style(vectorized_if=not self.is_mergeable)}"
        return "inorder" if self.is_in_order else self.style(vectorized_if=True)

    @property
    def send_path(self):
        """The same for sending."""
        if self.is_packed:
            return f"packed ring {'vectorized' if self.is_vectorized else 'standard'}"
        return "inorder" if self.is_in_order else "standard"

    def style(self, vectorized_if):
        if self.is_vectorized and vectorized_if:
            return "vectorized"
        return "mergeable buffer" if self.is_mergeable else "standard"

    @property
    def obstacle(self):
        """Why the mode cannot be had here; None if it can."""
        if self.is_packed and self.is_vectorized and not has_avx512():
            return "DPDK's vectorized functions for packed rings need a processor with AVX-512"
        return None


def has_avx512():
    return " avx512f " in Path("/proc/cpuinfo").read_text()


SPLIT = Mode(is_packed=False, is_mergeable=True, is_in_order=False)
PACKED = Mode(is_packed=True, is_mergeable=True, is_in_order=False)

MODES = (
    *itertools.starmap(Mode, itertools.product((False, True), repeat=3)),
    Mode(is_packed=False, is_mergeable=False, is_in_order=False, is_vectorized=True),
    Mode(is_packed=True, is_mergeable=False, is_in_order=True, is_vectorized=True),
    Mode(is_packed=True, is_mergeable=True, is_in_order=True, is_vectorized=True),
)
