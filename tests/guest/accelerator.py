# SPDX-License-Identifier: BSD-3-Clause
"""KVM if guests really run under it, else QEMU's emulation (TCG).

On some machines /dev/kvm is there and opens, and yet a guest hangs in early boot. Only a guest that
reaches user space tells; the answer is kept until the host boots again.
"""

import os
import tempfile
from pathlib import Path
from typing import NamedTuple

from guest import Guest, GuestError
from place import CACHE

PROBE_TIMEOUT = 5


class Accelerator(NamedTuple):
    name: str
    options: list
    card: dict  # properties that a network card needs under it


KVM = Accelerator("KVM", ["-accel", "kvm", "-cpu", "host"], {})

# QEMU 7.2 crashes under emulation when a vhost-user card enables MSI-X; vectors=0 gives it INTx.
TCG = Accelerator("TCG", ["-accel", "tcg,thread=multi", "-cpu", "max"], {"vectors": "0"})


def choose():
    """The accelerator of the environment's ACCEL if set (kvm, tcg), else the one that works."""
    wanted = os.environ.get("ACCEL", "").upper()
    for accelerator in (KVM, TCG):
        if wanted == accelerator.name:
            return accelerator
    return KVM if kvm_works() else TCG


def kvm_works():
    if not os.access("/dev/kvm", os.R_OK | os.W_OK):
        return False
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    answer = CACHE / f"kvm-{boot}"
    if not answer.exists():
        answer.write_text("yes" if boots_under(KVM) else "no", encoding="ascii")
    return answer.read_text(encoding="ascii") == "yes"


def boots_under(accelerator):
    with tempfile.TemporaryDirectory(prefix="shunt-") as folder:
        guest = Guest("probe", folder, accelerator)
        try:
            guest.boot(PROBE_TIMEOUT)
        except GuestError:
            return False
        guest.stop()
        return True
