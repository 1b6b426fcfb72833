# SPDX-License-Identifier: BSD-3-Clause
"""What a test is given: a fresh switch in a namespace of its own, and hosts at its ports."""

import contextlib
import time

import host
from host import Host
from namespace import Namespace
from suite import Failure, expect
from switch import Switch, SwitchError

REST_SECONDS = 5
MARKS_PER_DELIVERY = 2
LOG_LINES = 12


class Network:
    """At its end the frames must add up, and the switch come to a clean end."""

    def __init__(self):
        self.namespace = Namespace()
        self.switch = Switch()
        self.hosts = {}
        self.remarks = []

    def __enter__(self):
        with self.namespace:
            self.switch.start()
        return self

    def __exit__(self, kind, *_):
        try:
            if kind is None:
                self.check()
                self.switch.stop()
        finally:
            self.switch.kill()
            for one in self.hosts.values():
                one.close()
            self.namespace.close()

    def check(self):
        self.switch.check()
        balance = self.balance_at_rest()
        expect(balance["difference"] == 0, f"the frames do not add up: {balance}")

    def remark(self, text):
        """Something to print below the test's line, as a figure."""
        self.remarks.append(text)

    def log_tail(self):
        with contextlib.suppress(FileNotFoundError):
            return self.switch.log.read_text(errors="replace").strip().splitlines()[-LOG_LINES:]
        return []

    # --- Hosts

    def host(self, name, bridge="br0", mtu=1500, **options):
        """A new host at a new port, both of this name; the options are those of the port."""
        words = [word for key, value in options.items() for word in (key.replace("_", "-"), value)]
        self.switch.ctl("port", "add", name, "type", "tap", "bridge", bridge, *words)
        new = self.hosts[name] = Host(name, len(self.hosts) + 1, bridge)
        with self.namespace:
            new.take(options.get("device", name), mtu)
        return new

    def add_hosts(self, *names, **options):
        return [self.host(name, **options) for name in names]

    def remove_host(self, one):
        """Takes away a host and its port."""
        self.switch.remove_port(one.name)
        self.hosts.pop(one.name).close()

    def move_host(self, one, bridge):
        self.switch.ctl("port", "set", one.name, "bridge", bridge)
        one.bridge = bridge

    def run(self, *command, **options):
        """Runs a program where the switch makes its interfaces."""
        with self.namespace:
            return host.run(*command, **options)

    # --- Frames

    def deliver(self, sender, *frames):
        """Sends frames, and returns by name what each host of the bridge gets, the sender included.

        There is no waiting for what does not come: a broadcast sent behind the frames tells the
        others that there are no more, and one that another host sends then tells it to the sender.
        """
        others = [one for one in self.hosts.values()
                  if one.bridge == sender.bridge and one is not sender]
        sender.wire.send(*frames)
        mark = sender.mark()
        got = {one.name: one.wire.receive_until(mark) for one in others}
        back = others[0].mark()
        for one in (sender, *others[1:]):
            got[one.name] = got.get(one.name, []) + one.wire.receive_until(back)
        return got

    def expect_only(self, sender, frames, receivers):
        """The receivers get exactly these frames, in this order, and nobody else gets any."""
        got = self.deliver(sender, *frames)
        names = {one.name for one in receivers}
        for name, arrived in got.items():
            wanted = list(frames) if name in names else []
            expect(arrived == wanted, f"{name} got {len(arrived)} frames from {sender.name}, "
                                      f"not the {len(wanted)} that are for it")

    # --- What the switch tells

    def addresses(self, **filters):
        """address → port, without those that marks come from."""
        words = [word for pair in filters.items() for word in pair]
        return {one["mac"]: one["port"] for one in self.switch.json("fdb", "show", *words)
                if not one["mac"].startswith(f"02:{host.MARK_KIND:02x}")}

    def bridge(self, name="br0"):
        return self.switch.json("bridge", "show", name)[0]

    def drops(self, name, side):
        return self.switch.port(name)[side]["drops"]

    def expect_drops(self, name, side, wanted):
        drops = self.drops(name, side)
        expect(drops == wanted, f"port {name} counts drops {drops} and not {wanted}")

    def balance_at_rest(self):
        """The sums over all ports, those included that are gone, once they stand still."""
        deadline = time.monotonic() + REST_SECONDS
        latest = None
        while latest != (latest := self.switch.json("stats", "show")["balance"]):
            if time.monotonic() > deadline:
                raise Failure("the counters do not come to rest")
            time.sleep(0.02)
        return latest

    def refused(self, *words, switch=None):
        """Asks for what must be refused, in one line, and returns that line."""
        try:
            (switch or self.switch).ctl(*words)
        except SwitchError as error:
            text = str(error)
            expect("\n" not in text, f"more than one line: {text}")
            return text
        raise Failure(f"shuntctl {' '.join(map(str, words))} was not refused")

    def wait_for(self, question, what, seconds=5):
        """Waits until something has become true."""
        deadline = time.monotonic() + seconds
        while not question():
            self.switch.check()
            if time.monotonic() > deadline:
                raise Failure(f"after {seconds} s: not {what}")
            time.sleep(0.02)
