# SPDX-License-Identifier: BSD-3-Clause
"""Huge pages, which DPDK cannot do without: borrowed, and given back however the tests end."""

import contextlib
from pathlib import Path

MEMINFO = Path("/proc/meminfo")
RESERVED = Path("/proc/sys/vm/nr_hugepages")


class NoHugepages(Exception):
    """Why there are too few, in one line."""


def meminfo(field):
    for line in MEMINFO.read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise NoHugepages("this kernel has no huge pages")


@contextlib.contextmanager
def available(megabytes):
    """While this is held, there is as much memory in free huge pages."""
    page_kB = meminfo("Hugepagesize")
    wanted = -(-megabytes * 1024 // page_kB)
    missing = max(0, wanted - meminfo("HugePages_Free"))
    borrowed = 0
    try:
        if missing:
            borrowed = reserve_more(missing)
        if (free := meminfo("HugePages_Free")) < wanted:
            raise NoHugepages(f"{wanted} free huge pages of {page_kB} kB are needed, and only "
                              f"{free} can be had")
        yield
    finally:
        if borrowed:
            reserve_more(-borrowed)


def reserve_more(pages):
    """More or fewer than there are now: others may borrow some at the same time. How many it became."""
    before = int(RESERVED.read_text())
    try:
        RESERVED.write_text(str(max(0, before + pages)))
    except OSError as error:
        raise NoHugepages(f"{RESERVED}: {error.strerror}") from None
    return int(RESERVED.read_text()) - before
