# SPDX-License-Identifier: BSD-3-Clause
"""Memory modules are plugged into and pulled out of a guest that talks."""

import time

from guest import GuestError
from stream import Stream, check_content, streams
from suite import expect
from traffic import ping

MB = 1 << 20
MODULE_MB = 128  # Linux takes memory by so much
MODULES = 40  # more than fit into the table of SET_MEM_TABLE


def plug(guest, name, megabytes):
    guest.tell_qemu("object-add", qom_type="memory-backend-memfd", id=f"memory-{name}",
                    size=megabytes * MB, share=True)
    guest.tell_qemu("device_add", driver="pc-dimm", id=name, memdev=f"memory-{name}")


def pull(guest, name):
    """Asks the guest for a module and takes it once the guest has given it up."""
    guest.tell_qemu("device_del", id=name)
    event = guest.monitor.wait_for_event("DEVICE_DELETED", "MEM_UNPLUG_ERROR",
                                         "DEVICE_UNPLUG_GUEST_ERROR")
    if event["event"] != "DEVICE_DELETED":
        raise GuestError(f"{guest.name} does not give up its memory: {event}")
    guest.tell_qemu("object-del", id=f"memory-{name}")


def bring_online(guest, zone):
    """The guest begins to use a module that was plugged, for its kernel or for what it can move."""
    blocks = "grep -l offline /sys/devices/system/memory/memory*/state"
    path = guest.run(f"until {blocks} >/dev/null; do usleep 50000; done; {blocks}").split()
    expect(len(path) == 1, f"{guest.name} has {len(path)} new blocks of memory, not one")
    guest.run(f"echo online_{zone} >{path[0]}")


def free_pages(guest, zone):
    """How many pages of a zone the guest does not use; 0 if it has no such zone."""
    return int(guest.run(f"awk '/zone/ {{ here = $NF == \"{zone}\" }} "
                         f"here && /pages free/ {{ print $NF }}' /proc/zoneinfo").strip())


def regions(lab, name):
    return lab.switch.port(name)["memory"]


def check_number(lab, name, wanted, timeout=10):
    deadline = time.monotonic() + timeout
    while len(found := regions(lab, name)) != wanted and time.monotonic() < deadline:
        time.sleep(0.1)
    expect(len(found) == wanted, f"the switch knows {len(found)} memory regions and not {wanted}")


def check_used(guest, zone, before):
    used = before - free_pages(guest, zone)
    expect(used > 0, f"{guest.name} does not use its new memory: {used} pages of {zone}")


def test_memory_modules(lab):
    """memory is plugged into a guest under traffic, sent from and received into, and pulled again"""
    vm1, vm2 = lab.crowd({"vm1": {"dimms": 2}, "vm2": {}})
    before = len(regions(lab, "vm1"))
    with lab.balanced(), streams((vm1, vm2), (vm2, vm1)) as running:
        plug(vm1, "dimm0", MODULE_MB)
        check_number(lab, "vm1", before + 1)
        bring_online(vm1, "kernel")  # its receive buffers come from there
        free = free_pages(vm1, "Normal")
        plug(vm1, "dimm1", MODULE_MB)
        check_number(lab, "vm1", before + 2)
        bring_online(vm1, "movable")  # and its files
        for stream in running:
            stream.wait_for_progress()
        check_used(vm1, "Normal", free)

        free = free_pages(vm1, "Movable")
        check_content(vm1, vm2, block="/run/stream.block.moved")
        check_used(vm1, "Movable", free)

        pull(vm1, "dimm1")
        check_number(lab, "vm1", before + 1)
        for stream in running:
            stream.wait_for_progress()
    check_content(vm1, vm2, block="/run/stream.block.moved")


def test_many_memory_modules(lab):
    """forty memory modules are plugged one after the other under traffic"""
    vm1, vm2 = lab.crowd({"vm1": {"dimms": MODULES}, "vm2": {}})
    before = len(regions(lab, "vm1"))
    stream = Stream(vm2, vm1)
    for number in range(MODULES):
        plug(vm1, f"dimm{number}", 4)  # too little for Linux, which says so and leaves it
    check_number(lab, "vm1", before + MODULES)
    stream.wait_for_progress()
    stream.finish()
    ping(vm1, vm2)
    lab.remove("vm1")
