# SPDX-License-Identifier: BSD-3-Clause
"""A switch with testpmd at its ports, and hosts at TAP ports that talk with it."""

import contextlib

import frame
from flow import Exchange, samples
from suite import Failure, expect
from network import Network
from switch import SwitchError
from testpmd import Device, Testpmd

NUM_FRAMES = 1500
ECHO = frame.numbered(1, kind=0xD)  # the address behind testpmd, which swaps all that there is
PORT = "vm1"
LOG_LINES = 12
SECONDS = 20


class Rig(Network):
    """What testpmd still has open ends before the switch does."""

    def __init__(self):
        super().__init__()
        self.testpmd = None
        self.counted = []

    def __exit__(self, kind, *rest):
        if kind:
            self.count()
        try:
            if kind is None and self.testpmd and self.testpmd.process:
                self.testpmd.stop()
        finally:
            try:
                if self.testpmd:
                    self.testpmd.kill()
            finally:
                super().__exit__(kind, *rest)

    def count(self):
        """Notes what the ports count, to be shown after a failure."""
        with contextlib.suppress(SwitchError):
            for port in self.switch.json("port", "show"):
                self.counted.append(f"{port['name']}: {port['state']} {port['reason']}"
                                    f" rx {port['rx']} tx {port['tx']}")
                self.counted += [f"{port['name']}: {ring}" for ring in port.get("rings", ())]
        with contextlib.suppress(Failure):
            if self.testpmd and self.testpmd.process:
                self.counted += self.testpmd.counted()

    def log_tail(self):
        lines = [*self.counted, *(f"shuntd: {line}" for line in super().log_tail())]
        if self.testpmd:
            with contextlib.suppress(FileNotFoundError):
                output = self.testpmd.output().strip().splitlines()[-LOG_LINES:]
                lines += [f"testpmd: {line}" for line in output]
        return lines

    # --- Ports

    def add_port(self, device, name=PORT, queues=1, bridge="br0"):
        """A vhost-user port in the role that this device leaves to it."""
        self.switch.ctl("port", "add", name, "type", "vhost-user", "socket", device.socket,
                        "mode", "client" if device.is_server else "server", "queues", queues,
                        "bridge", bridge)

    def attach(self, mode, is_server=False, queues=1, **details):
        """testpmd echoes at a port of the switch."""
        device = Device(self.switch.socket(PORT), mode, is_server, **details)
        if is_server:  # whoever listens is there first
            self.start_testpmd(device, queues=queues)
        self.add_port(device, queues=queues)
        if not is_server:
            self.start_testpmd(device, queues=queues)
        self.wait_running()

    def start_testpmd(self, *devices, **options):
        self.testpmd = Testpmd(self.switch.folder, *devices, **options)
        self.testpmd.start()

    def wait_running(self, *names):
        """All queues of the ports are running, and testpmd forwards."""
        for name in names or (PORT,):
            self.wait_for(lambda name=name: self.is_running(name), f"all rings of {name} running",
                          SECONDS)
        self.testpmd.wait_forwarding()

    def is_running(self, name):
        expect(self.testpmd.process.poll() is None, "testpmd has ended")
        port = self.switch.port(name)
        rings = [ring["state"] for ring in port.get("rings", ())]
        return port["state"] == "up" and rings == ["running"] * 2 * self.testpmd.queues

    def wait_left(self):
        self.wait_for(lambda: self.switch.port(PORT)["state"] != "up", "left by testpmd", SECONDS)

    # --- Frames

    def echo(self, host, num=NUM_FRAMES, leftovers=()):
        """Sends frames, each of which comes back; the exchange tells the rest."""
        exchange = Exchange(host.wire, host.wire, leftovers)
        exchange.run(samples(host.mac, ECHO, num, is_echoed=True))
        return exchange

    def strand(self, host, num=60):
        """Sends frames that nobody waits for, and returns what would come back."""
        some = list(samples(host.mac, ECHO, num, num_flows=num, is_echoed=True))
        host.wire.send(*(one.sent for one in some))
        return [one.wanted for one in some]

    # --- What the switch tells

    def moved(self, name=PORT):
        """For each ring by its index, how many bursts passed through it."""
        return {ring["index"]: ring["notifications"] + ring["suppressed"]
                for ring in self.switch.port(name)["rings"]}

    def expect_mode(self, device, name=PORT):
        """What was negotiated is what the mode is about."""
        port = self.switch.port(name)
        for feature, is_wanted in device.mode.features.items():
            expect((feature in port["features"]) == is_wanted,
                   f"{name} has negotiated {port['features']}: {feature} should "
                   f"{'' if is_wanted else 'not '}be among them")
        for ring in port["rings"]:
            got = ring["format"], ring["size"]
            wanted = device.mode.format, device.ring_entries
            expect(got == wanted, f"{name}: virtqueue {ring['index']} is {got}, not {wanted}")

    def expect_counted(self, num, name=PORT):
        """So many frames went to the port and came back from it, and nothing else."""
        self.balance_at_rest()
        port = self.switch.port(name)
        got = port["tx"]["packets"], port["rx"]["packets"]
        expect(got == (num, num), f"{name} counts {got} frames and not {num} each way")
        drops = port["tx"]["drops"], port["rx"]["drops"]
        expect(drops == ({}, {}), f"{name} counts drops {drops}")
