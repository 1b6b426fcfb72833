# SPDX-License-Identifier: BSD-3-Clause
"""Either side is killed under traffic and started again: the traffic resumes.

What was under way at that moment may be lost. It may come late where DPDK keeps its rings (split);
it drops what they hold where it resets them (packed).
"""

from suite import expect
from mode import PACKED, SPLIT
from rig import PORT
from testpmd import Device

ROUNDS = 2
NUM_FRAMES = 300


def kill_driver(rig, mode, is_server):
    """testpmd is killed under traffic and started again"""
    host = rig.host("h1")
    rig.attach(mode, is_server)
    rig.echo(host, NUM_FRAMES)
    for _ in range(ROUNDS):
        leftovers = rig.strand(host)
        rig.testpmd.kill()
        rig.wait_left()
        rig.testpmd.start()
        rig.wait_running()
        rig.echo(host, NUM_FRAMES, leftovers)
    rig.testpmd.expect_paths()


def restart_switch(rig):
    """Kills the switch, and starts it with the same ports. A TAP device ends with the switch."""
    rig.switch.kill()
    rig.hosts.pop("h1").close()
    with rig.namespace:
        rig.switch.start()
    host = rig.host("h1")
    rig.add_port(rig.testpmd.devices[0])
    return host


def kill_switch(rig, mode):
    """the switch is killed under traffic and started again; testpmd listens, and stays"""
    host = rig.host("h1")
    rig.attach(mode, is_server=True)
    rig.echo(host, NUM_FRAMES)
    for _ in range(ROUNDS):
        stranded = rig.strand(host)
        rig.switch.kill()
        host.wire.forget_error()  # its device is gone; what came before is not
        early = host.wire.drain()
        host = restart_switch(rig)
        rig.wait_running()
        late = rig.echo(host, NUM_FRAMES, stranded).late
        rig.remark(f"of {len(stranded)} frames under way, {len(early)} arrived before the kill and "
                   f"{len(late)} after it, {len({*early} & {*late})} twice")
    rig.testpmd.wait_reconnected()
    expect(rig.testpmd.is_link_up(), "testpmd's link is down")


def kill_switch_before_answer(rig, mode):
    """the switch is killed while the driver has frames: none is repeated, none lost (split)"""
    host = rig.host("h1")
    rig.attach(mode, is_server=True)
    rig.echo(host, NUM_FRAMES)
    for _ in range(ROUNDS):
        with rig.testpmd.paused():
            before = rig.switch.port(PORT)["tx"]["packets"]
            stranded = rig.strand(host)
            rig.wait_for(lambda: rig.switch.port(PORT)["tx"]["packets"] == before + len(stranded),
                         "all with the driver")
            rig.switch.kill()
        host = restart_switch(rig)
        rig.wait_running()
        late = rig.echo(host, NUM_FRAMES, stranded).late
        wanted = [] if mode.is_packed else stranded
        expect(late == wanted, f"of {len(stranded)} frames that the driver had, {len(late)} arrive "
                               f"and not {len(wanted)}, or in another order")


def kill_switch_of_client(rig, mode):
    """the same where testpmd connects: DPDK does not do so again, but its next process does"""
    host = rig.host("h1")
    rig.attach(mode)
    rig.echo(host, NUM_FRAMES)
    host = restart_switch(rig)
    rig.testpmd.wait_for(lambda: not rig.testpmd.is_link_up(), "without link")
    expect(rig.switch.port(PORT)["state"] == "connecting", "testpmd has come back by itself")
    rig.testpmd.kill()  # asked to quit, it would die of SIGPIPE
    rig.testpmd.start()
    rig.wait_running()
    rig.echo(host, NUM_FRAMES)


def retry(rig):
    """our port as client is there before testpmd listens, and finds it"""
    host = rig.host("h1")
    device = Device(rig.switch.socket(PORT), SPLIT, is_server=True)
    rig.add_port(device)
    rig.start_testpmd(device)
    rig.wait_running()
    rig.echo(host, NUM_FRAMES)


def bound(function, **arguments):
    def test(rig):
        function(rig, **arguments)

    test.__doc__ = function.__doc__
    return test


def tests():
    for mode in SPLIT, PACKED:
        for role, is_server in ("server", False), ("client", True):
            yield f"driver-killed-{mode.format}-{role}", bound(kill_driver, mode=mode,
                                                               is_server=is_server)
        yield f"switch-killed-{mode.format}-client", bound(kill_switch, mode=mode)
        yield f"switch-killed-before-answer-{mode.format}", bound(kill_switch_before_answer,
                                                                  mode=mode)
        yield f"switch-killed-{mode.format}-server", bound(kill_switch_of_client, mode=mode)
    yield "client-first", retry
