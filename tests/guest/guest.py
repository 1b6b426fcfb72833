# SPDX-License-Identifier: BSD-3-Clause
"""A Linux guest under QEMU, with one virtio network card on a vhost-user socket.

A guest is an emulated machine that a test may treat as badly as a user treats a real one: reboot it,
take its driver away, plug memory, move it to another QEMU, or kill it.
"""

import itertools
import signal
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

import child
import image
from agent import Agent, AgentError
from monitor import Monitor, MonitorError

QEMU = "qemu-system-x86_64"

# What backs the guest's memory, and whether the switch can see it.
MEMORY = {
    "shared": ["-object", "memory-backend-memfd,id=memory,size={size},share=on"],
    "private": ["-object", "memory-backend-memfd,id=memory,size={size},share=off"],
    "unnamed": [],  # QEMU's own: no file that it could hand to the switch
}


# What the guest stops using is told to the switch by address translation services (ATS). A card has
# them only behind a port: on the root bus QEMU does not make it a PCI Express device.
IOMMU = ["-device", "intel-iommu,device-iotlb=on", "-device", "pcie-root-port,id=root-port"]


class GuestError(Exception):
    """The guest did not do what was asked of it; the text names it and says why, in one line."""


@dataclass
class Hardware:
    """What makes one guest differ from the next."""

    socket: Path | None = None  # the vhost-user socket; without one there is no network card
    address: str = "10.0.0.1"
    mtu: int = 1500
    mac: str = "52:54:00:00:00:01"
    card: dict = field(default_factory=dict)  # properties of the card, as {"mrg_rxbuf": "off"}
    queues: int = 1
    cpus: int = 1
    memory: str = "shared"
    memory_size: str = "192M"
    dimms: int = 0  # how many more memory modules may be plugged
    iommu: str = ""  # "lazy" or "strict" for a guest whose card is behind an IOMMU
    listens: bool = False  # whether QEMU is the socket's server
    postcopy: bool = False  # whether the guest may come to its port by postcopy migration

    def machine(self, accelerator):
        memory = [word.format(size=self.memory_size) for word in MEMORY[self.memory]]
        backend = ",memory-backend=memory" if memory else ""
        slots = f",slots={self.dimms},maxmem=8G" if self.dimms else ""
        return [
            "-machine", f"q35{backend}",
            *accelerator.options,
            "-smp", str(self.cpus),
            "-m", self.memory_size + slots,
            *memory,
            *(IOMMU if self.iommu else []),
        ]

    def network(self, accelerator):
        if not self.socket:
            return []
        # The boot ROM would cost time, and its package is not always installed.
        card = {"mac": self.mac, "romfile": ""} | accelerator.card | self.card
        if self.queues > 1:
            card["mq"] = "on"
        if self.iommu:
            card |= {"bus": "root-port", "iommu_platform": "on", "ats": "on", "disable-legacy": "on"}
        properties = "".join(f",{name}={value}" for name, value in card.items())
        role = "server=on,wait=off" if self.listens else "reconnect=1"
        return [
            "-chardev", f"socket,id=switch,path={self.socket},{role}",
            "-netdev", f"vhost-user,id=net,chardev=switch,queues={self.queues}",
            "-device", f"virtio-net-pci,netdev=net{properties}",
        ]

    def environment(self, name):
        """What the guest's first process is told, on the kernel's command line."""
        words = [f"guest_name={name}"]
        if self.socket:
            words += [f"guest_address={self.address}/24", f"guest_mtu={self.mtu}"]
        if self.iommu:
            words += ["intel_iommu=on", f"iommu.strict={int(self.iommu == 'strict')}"]
        return words


class Guest:
    BOOT_TIMEOUT = 60  # emulated guests boot in 3 s; a busy machine may take a multiple of that

    def __init__(self, name, folder, accelerator, hardware=None, *, outlive_us=False, life=0):
        self.name = name
        self.folder = Path(folder)
        self.hardware = hardware or Hardware()
        self.accelerator = accelerator
        self.life = life  # how often it has migrated; each time it has another QEMU
        label = f"{name}-{life}" if life else name
        self.log = self.folder / f"{label}.log"  # QEMU's own words
        self.console = self.folder / f"{label}.console"  # a socket: the guest's shell
        self.transcript = self.folder / f"{label}.transcript"  # all that the console has shown
        self.monitor = Monitor(self.folder / f"{label}.monitor")
        self.outlive_us = outlive_us
        self.process = None
        self.agent = None
        self.numbers = itertools.count(1)

    def __enter__(self):
        return self.boot()

    def __exit__(self, *_):
        self.stop()

    @property
    def address(self):
        return self.hardware.address

    def command(self, agent_fd="N"):
        """The QEMU command line."""
        kernel, initramfs = image.build()
        append = ["console=ttyS0", "quiet", "panic=-1", "ipv6.disable=1"]
        return [
            QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-name", self.name,
            *self.hardware.machine(self.accelerator),
            "-kernel", str(kernel), "-initrd", str(initramfs),
            "-append", " ".join(append + self.hardware.environment(self.name)),
            "-chardev", f"socket,id=console,path={self.console},server=on,wait=off,"
                        f"logfile={self.transcript}",
            "-device", "isa-serial,chardev=console",
            "-chardev", f"socket,id=agent,fd={agent_fd}",
            "-device", "isa-serial,chardev=agent",
            "-qmp", f"unix:{self.monitor.path},server=on,wait=off",
            *self.hardware.network(self.accelerator),
            *(["-incoming", "defer"] if self.life else []),
        ]

    # --- Its life

    def start(self):
        """Turns the guest on; it boots on its own."""
        self.agent = Agent()
        agent_fd = self.agent.guest_end.fileno()
        self.process = child.spawn(self.command(agent_fd), self.log, pass_fds=[agent_fd],
                                   outlive_us=self.outlive_us)
        self.agent.hand_over()

    def wait_ready(self, timeout=BOOT_TIMEOUT):
        self.ask(self.agent.wait_ready, timeout)
        return self

    def boot(self, timeout=BOOT_TIMEOUT):
        """Turns the guest on and waits until it runs commands."""
        self.start()
        try:
            return self.wait_ready(timeout)
        except BaseException:
            self.stop()
            raise

    def reboot(self, timeout=BOOT_TIMEOUT):
        """A reboot from inside; QEMU and its connection to the switch live on."""
        self.begin_reboot()
        self.wait_ready(timeout)

    def begin_reboot(self):
        self.ask(self.agent.send, "reboot -f")

    def reload_driver(self):
        self.run("network down && network up")

    def kill(self):
        """QEMU ends at once, as in a crash: no good-bye to anyone."""
        self.end(signal.SIGKILL)

    def stop(self):
        self.end(signal.SIGTERM)

    def end(self, signal_number):
        if self.process:
            child.end(self.process, signal_number)
        if self.agent:
            self.agent.close()
        self.monitor.close()

    # --- Another QEMU for it

    def next_life(self, socket):
        """A QEMU on another port's socket that waits for this guest to come over."""
        return Guest(self.name, self.folder, self.accelerator,
                     replace(self.hardware, socket=socket), outlive_us=self.outlive_us,
                     life=self.life + 1)

    def move_into(self, other):
        """The guest now runs in the QEMU of `other`; the one that it came from is ended."""
        self.end(signal.SIGTERM)
        numbers = self.numbers
        vars(self).update(vars(other))
        self.numbers = numbers

    @property
    def is_running(self):
        return self.process is not None and self.process.poll() is None

    # --- Commands in it

    def run(self, command, timeout=30, *, check=True):
        """Runs a shell command line inside and returns its output."""
        result = self.ask(self.agent.run, command, timeout)
        if check and result.status != 0:
            lines = result.output.strip().splitlines() or ["no output"]
            raise GuestError(f"{self.name}: `{command}` ended with status {result.status}: "
                             f"{lines[-1]}")
        return result.output

    def launch(self, command):
        """Runs a shell command line in the background and returns the Job."""
        return Job(self, command, f"/run/job.{next(self.numbers)}")

    def ask(self, question, *details):
        try:
            return question(*details)
        except AgentError as error:
            raise GuestError(f"{self.name} {error}") from None

    def tell_qemu(self, command, **arguments):
        """A command for QEMU's monitor; returns its answer."""
        try:
            return self.monitor.ask(command, **arguments)
        except MonitorError as error:
            raise GuestError(f"{self.name}: {error}") from None


class Job:
    """A command in the background of a guest."""

    def __init__(self, guest, command, path):
        self.guest = guest
        self.path = path
        guest.run(f"{{ ({command}) >{path} 2>&1; echo $? >{path}.status; }} &")

    def is_done(self):
        return bool(self.guest.run(f"cat {self.path}.status 2>/dev/null", check=False))

    def wait(self, timeout=60):
        """Waits for the command's end and returns its output, whatever its status."""
        deadline = time.monotonic() + timeout
        while not self.is_done():
            if time.monotonic() > deadline:
                raise GuestError(f"{self.guest.name}: a command still runs after {timeout} s")
            time.sleep(0.1)
        return self.guest.run(f"cat {self.path}")
