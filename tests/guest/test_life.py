# SPDX-License-Identifier: BSD-3-Clause
"""Guests reboot, reload their driver, and are killed, while others go on undisturbed."""

import time

from traffic import Transfer, ping, start_pings, undisturbed, wait_for_ping


def test_reboot_under_traffic(lab):
    """a guest reboots while it is pinged; it comes back, and others notice nothing"""
    vm1, vm2, vm3 = lab.guests("vm1", "vm2", "vm3")
    with lab.balanced(), undisturbed(vm1, vm2, seconds=8):
        start_pings(vm2, vm3, seconds=6)
        time.sleep(1)
        vm3.reboot()
        lab.switch.wait_for_port("vm3")
        wait_for_ping(vm3, vm1)
    ping(vm2, vm3)


def test_driver_reload(lab):
    """a guest unloads its virtio driver and loads it again, three times"""
    vm1, vm2 = lab.guests("vm1", "vm2")
    with lab.balanced():
        for _ in range(3):
            start_pings(vm1, vm2, seconds=2)
            vm2.reload_driver()
            lab.switch.wait_for_port("vm2")
            wait_for_ping(vm2, vm1)
        ping(vm1, vm2)


def test_kill_under_traffic(lab):
    """a guest is killed while it sends; others notice nothing, and a new one takes its place"""
    vm1, vm2, vm3 = lab.guests("vm1", "vm2", "vm3")
    with lab.balanced():
        with undisturbed(vm1, vm2, seconds=8):
            doomed = Transfer(vm3, vm1, seconds=30)
            time.sleep(2)
            vm3.kill()
            lab.switch.wait_for_port("vm3", "connecting")
        doomed.abandon()
        again = lab.turn_on("vm3", vm3.hardware).wait_ready()
        lab.switch.wait_for_port("vm3")
        ping(again, vm1)
        ping(vm2, again)
