# SPDX-License-Identifier: BSD-3-Clause
"""The switch ends, is killed, reloads, and loses its connections; what the guests talk goes on.

In all these tests half of the guests have a QEMU that listens and half one that connects, and half have
packed rings.
"""

import contextlib

from lab import long_form
from stream import streams
from suite import expect
from traffic import Beat, ping, undisturbed

PACKED = {"packed": "on"}
CROWD = {
    "vm1": {},
    "vm2": {"card": PACKED},
    "vm3": {"listens": True},
    "vm4": {"listens": True, "card": PACKED},
}
TIMEOUT = 30


def sent_again(guests):
    """How many TCP segments the guests have had to send again so far (the field RetransSegs)."""
    return sum(int(guest.run("grep ^Tcp: /proc/net/snmp | tail -n 1").split()[12]) for guest in guests)


@contextlib.contextmanager
def traffic(lab, guests):
    """Connections over every kind of ring that must live; what got lost is told at the end."""
    vm1, vm2, vm3, vm4 = guests
    again = sent_again(guests)
    beats = [Beat(vm1, vm2), Beat(vm3, vm4)]
    with streams((vm1, vm4), (vm3, vm2)) as running:
        yield running
    for beat in beats:
        pings, pause = beat.finish()
        lab.remark(f"{beat.name}: {pings.sent - pings.received} of {pings.sent} lost, "
                   f"{pings.duplicates} twice; longest pause {pause:.2f} s")
    lab.remark(f"TCP segments sent again: {sent_again(guests) - again}")


def check_lives(lab, running):
    """All ports are up again, and each connection moves on."""
    for name in CROWD:
        lab.switch.wait_for_port(name, timeout=TIMEOUT)
    for stream in running:
        stream.wait_for_progress()


def check_talk(guests):
    for guest in guests[1:]:
        ping(guests[0], guest)


@long_form
def test_kills_of_the_switch(lab):
    """the switch is killed and started again, five times, under traffic"""
    guests = lab.crowd(CROWD)
    lab.switch.save()
    with traffic(lab, guests) as running:
        for _ in lab.times(5, long=100):
            lab.switch.kill()
            lab.switch.start()
            check_lives(lab, running)
    check_talk(guests)


@long_form
def test_reconnects(lab):
    """all guests lose their connection to the switch and get it again, five times, under traffic"""
    guests = lab.crowd(CROWD)
    with traffic(lab, guests) as running:
        for _ in lab.times(5, long=100):
            for guest in guests:
                lab.switch.remove_port(guest.name)
            for guest in guests:
                lab.add_port(guest.name, guest.hardware)
            check_lives(lab, running)
    check_talk(guests)


def test_restarts_in_order(lab):
    """the switch is ended and started again, three times, under traffic"""
    guests = lab.crowd(CROWD)
    lab.switch.save()
    with traffic(lab, guests) as running:
        for _ in range(3):
            lab.switch.stop()
            lab.switch.start()
            check_lives(lab, running)
    check_talk(guests)


def test_reload(lab):
    """the configuration is read again, with a port more and a port less, and nobody notices"""
    vm1, vm2, vm3, vm4 = lab.crowd(CROWD)
    lab.switch.save()
    usual = lab.switch.config.read_text()
    with lab.balanced(), undisturbed(vm1, vm4, seconds=6), undisturbed(vm3, vm2, seconds=6):
        lab.switch.add_port("spare")
        lab.switch.save()
        for _ in range(3):
            lab.switch.reload()
        lab.switch.config.write_text(usual)
        lab.switch.reload()
    expect("spare" not in lab.switch.ports(), "the port that was taken out is still there")
