# SPDX-License-Identifier: BSD-3-Clause
"""The switch and the guests that the tests share, made when a test first asks for them."""

import contextlib

import accelerator
from guest import Guest, Hardware
from suite import expect
from switch import Switch

LOG_LINES = 12


def long_form(test):
    """Marks a test that does something again and again, and more often in a soak."""
    test.has_long_form = True
    return test


def port_options(hardware):
    """What a port needs for a guest beside its socket."""
    options = {"queues": hardware.queues} if hardware.queues > 1 else {}
    options |= {"postcopy": "on"} if hardware.postcopy else {}
    return options | ({"mode": "client"} if hardware.listens else {})


class Lab:
    """One switch, and guests by name: vm1 is 10.0.0.1 on the port vm1, and so on.

    Booting takes seconds, so whoever asks for a guest gets the one that is there, if it is the same
    hardware on the same bridge. After a failure all is thrown away, and the next test starts anew.
    """

    def __init__(self, is_long=False):
        self.is_long = is_long
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

    def times(self, short, long):
        """How often to do what is done again and again."""
        return range(long if self.is_long else short)

    # --- Guests

    def guests(self, *names, **place):
        """Guests with this hardware on this bridge; those that are not there boot side by side."""
        return self.crowd({name: place for name in names})

    def crowd(self, wanted):
        """Guests by name, each with hardware of its own."""
        absent = [name for name, place in wanted.items() if not self.has(name, **place)]
        for guest in [self.place(name, **wanted[name]) for name in absent]:
            guest.wait_ready()
        for name in wanted:
            self.switch.wait_for_port(name)
        return [self.running_guests[name] for name in wanted]

    def guest(self, name, **wanted):
        return self.guests(name, **wanted)[0]

    def has(self, name, bridge="br0", **hardware):
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
        self.add_port(name, wanted, bridge)
        self.bridges[name] = bridge
        return self.turn_on(name, wanted)

    def add_port(self, name, hardware, bridge="br0"):
        """A port for a guest with this hardware."""
        self.switch.add_port(name, bridge, **port_options(hardware))

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
