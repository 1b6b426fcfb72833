# SPDX-License-Identifier: BSD-3-Clause
"""A guest moves to another QEMU on another port of the switch, while it runs."""

import time

from guest import GuestError

TIMEOUT = 60


def migrate(guest, socket, *, postcopy=False):
    """Moves a running guest to a new QEMU on this vhost-user socket; returns QEMU's account of it."""
    there = guest.next_life(socket)
    there.start()
    try:
        account = move(guest, there, postcopy)
    except BaseException as error:
        there.stop()
        if isinstance(error, GuestError):
            raise GuestError(f"{error}; the new QEMU says: {last_line(there.log)}") from None
        raise
    guest.move_into(there)
    return account


def last_line(log):
    return (log.read_text(errors="replace").strip().splitlines() or ["nothing"])[-1]


def move(guest, there, postcopy):
    capabilities = [{"capability": "postcopy-ram", "state": postcopy}]
    wait_for_monitor(there)
    for side in there, guest:
        side.tell_qemu("migrate-set-capabilities", capabilities=capabilities)
    address = f"unix:{there.monitor.path}.migration"
    there.tell_qemu("migrate-incoming", uri=address)
    guest.tell_qemu("migrate", uri=address)
    if postcopy:
        wait_for_status(guest, "active")
        guest.tell_qemu("migrate-start-postcopy")
    account = wait_for_status(guest, "completed")
    wait_for_status(there, "completed")
    return account


def wait_for_monitor(guest):
    """QEMU makes the monitor's socket before it has anything else of the guest."""
    deadline = time.monotonic() + TIMEOUT
    while not guest.monitor.path.exists():
        if not guest.is_running:
            raise GuestError(f"{guest.name}: the new QEMU has ended")
        if time.monotonic() > deadline:
            raise GuestError(f"{guest.name}: the new QEMU has no monitor after {TIMEOUT} s")
        time.sleep(0.02)


def wait_for_status(guest, wanted):
    deadline = time.monotonic() + TIMEOUT
    while (account := guest.tell_qemu("query-migrate")).get("status") not in (wanted, "completed"):
        if account.get("status") in ("failed", "cancelled", "postcopy-paused"):
            raise GuestError(f"{guest.name}: the migration has {account['status']}: "
                             f"{account.get('error-desc', 'no reason given')}")
        if time.monotonic() > deadline:
            raise GuestError(f"{guest.name}: the migration is {account.get('status')} and not {wanted} "
                             f"after {TIMEOUT} s")
        time.sleep(0.02)
    return account
