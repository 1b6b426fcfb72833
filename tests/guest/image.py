# SPDX-License-Identifier: BSD-3-Clause
"""The guest: Debian's cloud kernel, and an initial RAM file system with busybox and iperf3.

The kernel is never installed on the host, whose boot loader is none of our business: its package is
fetched, unpacked into the cache folder, and the modules of a virtio network card are taken from it.
Everything is kept there. The file system is built again when something in it has changed; the kernel
stays until the cache folder is deleted.
"""

import contextlib
import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

from place import CACHE

KERNEL = "linux-image-cloud-amd64"
MODULES = ("virtio_pci", "virtio_net")
PROGRAMS = ("busybox", "iperf3")
SCRIPTS = Path(__file__).resolve().parent / "rootfs"
APT_ARCHIVES = Path("/var/cache/apt/archives")


class ImageError(Exception):
    """The image cannot be built; the text is one line that names the cause."""


class Image(NamedTuple):
    kernel: Path
    initramfs: Path


def command(*words, **options):
    """Runs a tool and returns what it prints, or says in one line why it failed."""
    path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"  # depmod and modprobe
    environment = os.environ | {"PATH": path, "LC_ALL": "C"}
    try:
        done = subprocess.run(words, check=True, capture_output=True, text=True, env=environment,
                              **options)
    except FileNotFoundError:
        raise ImageError(f"{words[0]} is not installed") from None
    except subprocess.CalledProcessError as error:
        raise ImageError(f"{words[0]}: {first_error(error)}") from None
    return done.stdout


def first_error(failed):
    """The line that tells most: apt's first error, or whatever came last."""
    lines = (failed.stderr or failed.stdout).strip().splitlines() or [str(failed)]
    return next((line[3:] for line in lines if line.startswith("E: ")), lines[-1])


# --- The kernel's package


class Apt:
    """apt with the host's package lists, or with fresh ones of its own that leave the host's alone."""

    def __init__(self, folder=None):
        self.options = []
        if folder:
            (folder / "lists" / "partial").mkdir(parents=True, exist_ok=True)
            self.options = ["-o", f"Dir::State::Lists={folder}/lists", "-o", f"Dir::Cache={folder}"]
            command("apt-get", *self.options, "-o", "APT::Update::Error-Mode=any", "update")

    def kernel(self):
        """The package with the kernel of today, on which the one that we ask for depends."""
        text = command("apt-cache", *self.options, "depends", KERNEL)
        found = re.search(r"Depends: (linux-image-\d\S+)", text)
        if not found:
            raise ImageError(f"apt-cache: {KERNEL} depends on no kernel")
        return found[1]

    def download(self, package, folder):
        command("apt-get", *self.options, "download", package, cwd=folder)
        return downloaded(folder, package)


def downloaded(folder, package="linux-image-[0-9]*-cloud-amd64"):
    """The newest package of a kernel in a folder, or None."""
    packages = folder.glob(f"{package}_*_amd64.deb")
    return max(packages, key=lambda path: path.stat().st_mtime, default=None)


def fetch_kernel_package(folder):
    """Returns the kernel's package: from apt's own archive, else fetched into a folder."""
    try:
        apt = Apt()
        package = apt.kernel()
        return downloaded(APT_ARCHIVES, package) or apt.download(package, folder)
    except ImageError:  # the lists are absent, or too old for what the mirror has now
        return fetch_with_fresh_lists(folder)


def fetch_with_fresh_lists(folder):
    try:
        apt = Apt(folder / "apt")
        return apt.download(apt.kernel(), folder)
    except ImageError as error:
        kept = downloaded(APT_ARCHIVES)
        if not kept:
            raise ImageError(f"cannot fetch the guest's kernel ({KERNEL}): {error}") from None
        return kept


def unpack_kernel(package, folder):
    """Leaves the kernel as `vmlinuz` and the modules that the guest needs under `lib/modules`."""
    whole = folder / "whole"
    command("dpkg-deb", "-x", package, whole)
    small = folder / "small"
    small.mkdir()
    next(whole.glob("boot/vmlinuz-*")).rename(small / "vmlinuz")
    modules = next(whole.glob("lib/modules/*"))
    copy_modules(modules, small / "lib" / "modules" / modules.name)
    return small


def copy_modules(source, target):
    """Copies the modules of MODULES and all they depend on, with an index for modprobe."""
    root, version = source.parents[2], source.name
    command("depmod", "-b", root, version)
    for module in MODULES:
        plan = command("modprobe", "-d", root, "-S", version, "--show-depends", module)
        for path in re.findall(r"^insmod (\S+)", plan, re.MULTILINE):
            copy = target / Path(path).relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(path, copy)
    for index in ("modules.order", "modules.builtin", "modules.builtin.modinfo"):
        shutil.copy(source / index, target)
    command("depmod", "-b", target.parents[2], version)


def kernel_folder(cache):
    folder = cache / "kernel"
    if not folder.exists():
        with tempfile.TemporaryDirectory(dir=cache) as scratch:
            package = fetch_kernel_package(Path(scratch))
            unpack_kernel(package, Path(scratch)).rename(folder)
    return folder


# --- The file system


def program_path(name):
    path = shutil.which(name)
    if not path:
        raise ImageError(f"{name} is not installed")
    return Path(path)


def libraries(program):
    """The shared libraries and the loader of a program; none if it is static."""
    listing = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
    return [Path(path) for path in re.findall(r"(/\S+) \(0x", listing)]


def host_files():
    """What is copied from the host, and where it goes."""
    files = {}
    for name in PROGRAMS:
        program = program_path(name)
        files[program] = f"bin/{name}"
        files |= {library: str(library).lstrip("/") for library in libraries(program)}
    return files


def fingerprint():
    """Changes when anything that goes into the file system changes."""
    digest = hashlib.sha256()
    for path in (Path(__file__), *sorted(SCRIPTS.iterdir())):
        digest.update(f"{path.name}\0".encode() + path.read_bytes())
    for path in host_files():
        found = path.stat()
        digest.update(f"{path}\0{found.st_size}\0{found.st_mtime_ns}\0".encode())
    return digest.hexdigest()


def stage(root, kernel):
    for folder in ("bin", "dev", "proc", "sys", "run", "tmp", "root"):
        (root / folder).mkdir()
    for path, target in host_files().items():
        (root / target).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, root / target)
    for script in SCRIPTS.iterdir():
        shutil.copy(script, root / "bin")
    (root / "init").symlink_to("bin/init")
    for applet in command(root / "bin" / "busybox", "--list").split():
        with contextlib.suppress(FileExistsError):  # ours come first
            (root / "bin" / applet).symlink_to("busybox")
    shutil.copytree(kernel / "lib", root / "lib", dirs_exist_ok=True)


def pack(root, archive):
    """Packs a folder the way the kernel unpacks it. Not compressed: emulated guests start sooner."""
    names = "\n".join(sorted(str(path.relative_to(root)) for path in root.rglob("*")))
    with open(archive, "wb") as output:
        subprocess.run(["cpio", "--create", "--format=newc", "--owner=0:0", "--quiet"],
                       input=names.encode(), stdout=output, cwd=root, check=True)


def build_initramfs(cache, kernel):
    initramfs, stamp = cache / "initramfs", cache / "initramfs.stamp"
    wanted = fingerprint()
    if initramfs.exists() and stamp.exists() and stamp.read_text() == wanted:
        return initramfs
    with tempfile.TemporaryDirectory(dir=cache) as scratch:
        root, packed = Path(scratch) / "root", Path(scratch) / "packed"
        root.mkdir()
        stage(root, kernel)
        pack(root, packed)
        stamp.unlink(missing_ok=True)
        packed.rename(initramfs)
    stamp.write_text(wanted)
    return initramfs


@contextlib.contextmanager
def locked(folder):
    """Makes whoever wants the image at the same time wait until the first has built it."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w", encoding="ascii") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@functools.cache
def build(cache=CACHE):
    with locked(cache):
        kernel = kernel_folder(cache)
        return Image(kernel / "vmlinuz", build_initramfs(cache, kernel))


if __name__ == "__main__":
    try:
        print(*build(), sep="\n")
    except ImageError as error:
        sys.exit(f"tests/guest/image.py: {error}")
