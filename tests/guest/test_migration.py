# SPDX-License-Identifier: BSD-3-Clause
"""A guest migrates between two QEMU processes, each on its own port, while another guest talks to it."""

import statistics
import time

from lab import long_form
from migration import migrate
from stream import streams
from suite import Skip, expect
from traffic import Beat, ping

OTHER_PORT = "vm2-away"

# QEMU 7.2 does not take over that the guest has switched on address translation services, and then fails
# on the guest's next invalidation.
QEMU_FAULT = "memory_region_notify_iommu_one: Assertion"


def place_of(lab, guest):
    """The port behind which the bridge believes the guest."""
    entries = lab.switch.json("fdb", "show")
    return next((entry["port"] for entry in entries if entry["mac"] == guest.hardware.mac), None)


def wait_for_place(lab, guest, port, timeout=10):
    deadline = time.monotonic() + timeout
    while (found := place_of(lab, guest)) != port:
        expect(time.monotonic() < deadline, f"the bridge believes {guest.name} behind {found}, "
                                            f"not {port}, {timeout} s after it moved")
        time.sleep(0.05)


def check_migration(lab, times, postcopy=False, **hardware):
    """A guest with this hardware goes there and back; TCP connections with it live on."""
    vm1, vm2 = lab.crowd({"vm1": {}, "vm2": hardware | {"postcopy": postcopy}})
    lab.add_port(OTHER_PORT, vm2.hardware)
    pauses, downtimes = [], []
    with streams((vm1, vm2), (vm2, vm1)) as running:
        for _ in times:
            for port in OTHER_PORT, "vm2":
                for stream in running:
                    stream.wait_for_progress()
                beat = Beat(vm1, vm2)
                account = migrate(vm2, lab.switch.socket(port), postcopy=postcopy)
                lab.switch.wait_for_port(port)
                wait_for_place(lab, vm2, port)
                for stream in running:
                    stream.wait_for_progress()
                pauses.append(beat.finish()[1])
                downtimes.append(account.get("downtime", 0) / 1000)
    ping(vm1, vm2)
    lab.switch.remove_port(OTHER_PORT)
    lab.remark(f"{len(pauses)} migrations; without an answer for {statistics.median(pauses):.2f} s, "
               f"at most {max(pauses):.2f} s, of which QEMU stood still for "
               f"{statistics.median(downtimes):.2f} s, at most {max(downtimes):.2f} s")


@long_form
def test_migration(lab):
    """there and back five times; the guest itself announces its new place"""
    check_migration(lab, lab.times(5, long=50))


@long_form
def test_migration_packed(lab):
    """there and back twice with packed rings and two queue pairs; QEMU announces (SEND_RARP)"""
    check_migration(lab, lab.times(2, long=50), queues=2, cpus=2,
                    card={"packed": "on", "guest_announce": "off"})


def test_migration_iommu(lab):
    """there and back behind an IOMMU"""
    try:
        check_migration(lab, range(1), iommu="lazy")
    except Exception:  # whatever was being done when it failed
        if not is_qemu_at_fault(lab):
            raise
        lab.clear()
        raise Skip(f"this QEMU cannot: {QEMU_FAULT}") from None


def is_qemu_at_fault(lab):
    logs = lab.switch.folder.glob("vm2-*.log")
    return any(QEMU_FAULT in log.read_text(errors="replace") for log in logs)


def test_migration_postcopy(lab):
    """there and back, and memory follows after the guest has moved (postcopy)"""
    check_migration(lab, range(1), postcopy=True)
