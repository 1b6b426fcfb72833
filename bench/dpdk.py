# SPDX-License-Identifier: BSD-3-Clause
"""The switches that are made of DPDK: testpmd with two net_vhost ports, and Open vSwitch."""

import os
import re
import shutil
import subprocess
from pathlib import Path

from machine import Missing
from peers import SECONDS, Counters, Peer

MEGABYTES = 512  # of huge pages, each
SEGMENT_BYTES = 2176


class Testpmd(Peer):
    """Forward mode `io`: what comes from one port goes to the other, unseen."""

    name = "testpmd"
    PROGRAM = "dpdk-testpmd"

    @classmethod
    def check(cls):
        if not shutil.which(cls.PROGRAM):
            raise Missing(f"{cls.PROGRAM} is not installed (package dpdk-dev)")

    def command(self):
        devices = [f"--vdev=net_vhost{idx},iface={path},queues=1"
                   for idx, path in enumerate(self.sockets())]
        return ["stdbuf", "-oL", self.PROGRAM,
                "--lcores", f"0@{self.cpus.generator},1@{self.cpus.switch}", "--no-pci",
                "--no-telemetry", "--in-memory", "-m", str(MEGABYTES), *devices, "--",
                "--interactive", "--auto-start", "--forward-mode=io", "--nb-cores=1",
                "--record-core-cycles", "--no-flush-rx", "--total-num-mbufs=65536",
                f"--mbuf-size={SEGMENT_BYTES}", f"--max-pkt-len={self.mtu + 18}"]

    def start(self):
        self.process = self.spawn(*self.command(),
                                  env={**os.environ, "RUNTIME_DIRECTORY": str(self.folder)})
        self.wait_for(lambda: "packet forwarding - ports=" in self.output(), "forwarding")
        self.wait_for_sockets()

    def output(self):
        return self.log.read_text(errors="replace")

    def counters(self):
        begin = len(self.output())
        pattern = r"CPU cycles/packet=\S+ \(total cycles=(\d+) / total \S+ packets=(\d+)\)"
        end = r"Accumulated forward statistics(?s:.*)\+\+\+\n(?s:.*)testpmd> "
        self.process.stdin.write(b"show fwd stats all\n")
        self.process.stdin.flush()
        self.wait_for(lambda: re.search(end, self.output()[begin:]), "an answer")
        # Before the first frame it says nothing of cycles.
        found = re.search(pattern, self.output()[begin:])
        return Counters(int(found[2]), int(found[1])) if found else Counters()


class OpenVSwitch(Peer):
    """Its own process with a database of its own, one bridge with the action NORMAL."""

    name = "ovs"
    generator_listens = True
    PROGRAM = Path("/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk")
    SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"

    @classmethod
    def check(cls):
        if not cls.PROGRAM.exists():
            raise Missing(f"{cls.PROGRAM} is not installed (package openvswitch-switch-dpdk)")

    @property
    def environment(self):
        folder = str(self.folder)
        return {**os.environ, "OVS_RUNDIR": folder, "OVS_DBDIR": folder, "OVS_LOGDIR": folder,
                "PATH": f"{os.environ['PATH']}:/usr/sbin"}

    def run(self, *words):
        done = subprocess.run([str(word) for word in words], env=self.environment, timeout=SECONDS,
                              capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise Missing(f"{words[0]}: {done.stderr.strip()}")
        return done.stdout

    def configure(self, *words):
        return self.run("ovs-vsctl", f"--db=unix:{self.folder}/db.sock", "--no-wait", *words)

    def start(self):
        self.run("ovsdb-tool", "create", self.folder / "conf.db", self.SCHEMA)
        self.spawn("ovsdb-server", self.folder / "conf.db", f"--remote=punix:{self.folder}/db.sock",
                   f"--unixctl={self.folder}/db.ctl", env=self.environment)
        self.wait_for((self.folder / "db.sock").exists, "its database")
        self.configure("init")
        for key, value in (("dpdk-init", "true"), ("dpdk-extra", "--no-pci --in-memory"),
                           ("dpdk-socket-mem", MEGABYTES), ("per-port-memory", "false"),
                           ("pmd-cpu-mask", hex(1 << self.cpus.switch)),
                           ("dpdk-lcore-mask", hex(1 << self.cpus.generator))):
            self.configure("set", "Open_vSwitch", ".", f'other_config:{key}="{value}"')
        self.configure("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")
        for path in self.sockets():
            self.configure("add-port", "br0", path.stem, "--", "set", "Interface", path.stem,
                           "type=dpdkvhostuserclient", f"options:vhost-server-path={path}",
                           f"mtu_request={self.mtu}")
        self.process = self.spawn(self.PROGRAM, f"unix:{self.folder}/db.sock",
                                  f"--unixctl={self.folder}/vswitchd.ctl", env=self.environment)
        self.wait_for((self.folder / "vswitchd.ctl").exists, "vswitchd")
        self.wait_for(lambda: "processing cycles" in self.statistics(), "a polling thread")

    def statistics(self):
        return self.run("ovs-appctl", "-t", self.folder / "vswitchd.ctl",
                        "dpif-netdev/pmd-stats-show")

    def counters(self):
        text = self.statistics().partition("pmd thread")[2]
        frames = re.search(r"packets received: (\d+)", text)
        cycles = re.search(r"processing cycles: (\d+)", text)
        return Counters(int(frames[1]), int(cycles[1]) if cycles else 0)
