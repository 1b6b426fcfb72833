# SPDX-License-Identifier: BSD-3-Clause
"""The switch and the guests that the tests share, made when a test first asks for them."""

import contextlib

import accelerator
from guest import Guest, Hardware
from switch import Switch

LOG_LINES = 12


class Failure(Exception):
    """What a test found wrong, in one line."""


class Skip(Exception):
    """Why a test cannot run here, in one line."""


def expect(condition, otherwise):
    if not condition:
        raise Failure(otherwise)


class Lab:
    """One switch, and guests by name: vm1 is 10.0.0.1 on the port vm1, and so on.

    Booting takes seconds, so whoever asks for a guest gets the one that is there, if it is the same
    hardware on the same bridge. After a failure all is thrown away, and the next test starts anew.
    """

    def __init__(self):
        self.accelerator = accelerator.choose()
        self.running_switch = None
        self.running_guests = {}
        self.bridges = {}
        self.remarks = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.clear()

    @property
    def switch(self):
        if not self.running_switch:
            self.running_switch = Switch()
            self.running_switch.start()
        return self.running_switch

    def remark(self, text):
        """Something to print below the test's line, as a figure."""
        self.remarks.append(text)

    # --- Guests

    def guests(self, *names, bridge="br0", **hardware):
        """Guests with this hardware on this bridge; those that are not there boot side by side."""
        absent = [name for name in names if not self.has(name, bridge, **hardware)]
        for guest in [self.place(name, bridge, **hardware) for name in absent]:
            guest.wait_ready()
        for name in names:
            self.switch.wait_for_port(name)
        return [self.running_guests[name] for name in names]

    def guest(self, name, **wanted):
        return self.guests(name, **wanted)[0]

    def has(self, name, bridge, **hardware):
        guest = self.running_guests.get(name)
        return (guest is not None and guest.is_running and self.bridges[name] == bridge
                and guest.hardware == self.hardware(name, **hardware))

    def hardware(self, name, **details):
        number = int(name.removeprefix("vm"))
        return Hardware(socket=self.switch.socket(name), address=f"10.0.0.{number}",
                        mac=f"52:54:00:00:00:{number:02x}", **details)

    def place(self, name, bridge="br0", **hardware):
        """Puts a new port there and turns a new guest on, instead of what bore that name."""
        self.remove(name)
        wanted = self.hardware(name, **hardware)
        self.switch.add_port(name, bridge, wanted.queues)
        self.bridges[name] = bridge
        return self.turn_on(name, wanted)

    def turn_on(self, name, hardware):
        """Turns a guest on at a port that is there."""
        guest = Guest(name, self.switch.folder, self.accelerator, hardware)
        self.running_guests[name] = guest
        guest.start()
        return guest

    def remove(self, name):
        """Takes away a guest and its port."""
        guest = self.running_guests.pop(name, None)
        if guest:
            guest.stop()
        if self.bridges.pop(name, None):
            self.switch.remove_port(name)

    # --- Ends

    def check(self):
        """Complains if the switch has not survived."""
        if self.running_switch:
            self.running_switch.check()

    def stop_switch(self):
        """Ends the switch in order, with all guests still attached."""
        if self.running_switch:
            self.running_switch.stop()

    def clear(self):
        """Throws everything away; complains if the switch has not come to a clean end."""
        guests, self.running_guests, self.bridges = self.running_guests, {}, {}
        switch, self.running_switch = self.running_switch, None
        try:
            for guest in guests.values():
                guest.stop()
        finally:
            if switch:
                switch.stop()

    def tails(self):
        """The last lines of every log, to be shown after a failure."""
        logs = [self.running_switch.log] if self.running_switch else []
        for guest in self.running_guests.values():
            logs += [guest.log, guest.transcript]
        for log in logs:
            with contextlib.suppress(FileNotFoundError):
                lines = log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
                yield from (f"{log.name}: {line}" for line in lines)

    @contextlib.contextmanager
    def balanced(self):
        """Whatever comes in while this is held goes out again or is a counted drop."""
        before = self.switch.balance()
        yield
        passed = self.switch.balance() - before
        expect(passed.is_even, f"the frames do not add up: {passed}")
