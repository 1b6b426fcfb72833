# SPDX-License-Identifier: BSD-3-Clause
"""What a learning bridge does, in a few lines, to compare the switch with."""

from collections import Counter

import frame


class Model:
    """Ports by name; those that are swallowing drop what is sent to them, for the reason given."""

    def __init__(self, ports, swallowing):
        self.ports = ports
        self.swallowing = swallowing
        self.addresses = {}
        self.received = {port: [] for port in ports}
        self.rx = Counter()
        self.tx = Counter()
        self.copies = Counter()
        self.drops = Counter()

    def forward(self, source, data):
        self.rx[source] += 1
        if not frame.is_group(frame.source(data)):
            self.addresses[frame.source(data)] = source
        targets, reason = self.decide(source, frame.destination(data))
        if reason:
            self.drops[source, reason] += 1
            return
        self.copies[source] += len(targets) - 1
        for target in targets:
            self.deliver(target, data)

    def decide(self, source, destination):
        """The ports that a frame goes to, or why it goes to none."""
        others = [port for port in self.ports if port != source]
        if frame.is_group(destination):
            is_local = destination.startswith("01:80:c2:00:00:0")
            return (None, "link-local") if is_local else (others, None)
        known = self.addresses.get(destination)
        if known == source:
            return None, "same-port"
        return [known] if known else others, None

    def deliver(self, target, data):
        reason = self.swallowing.get(target)
        if reason:
            self.drops[target, reason] += 1
            return
        self.tx[target] += 1
        self.received[target].append(data)
