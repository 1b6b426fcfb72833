# SPDX-License-Identifier: BSD-3-Clause
"""Running shunt-gen, with or without a switch."""

import json
import subprocess

from shuntd import BUILD, TIMEOUT, Shuntd, expect, expect_equal

PROGRAM = BUILD / "shunt-gen"


def command(*words):
    return [str(word) for word in (PROGRAM, *words)]


class Result:
    def __init__(self, status, out, err):
        self.status, self.out, self.err = status, out, err

    def fails(self, status, *parts):
        """One line on stderr that has all these parts, and nothing else."""
        expect(self.status == status, f"status {self.status} instead of {status}: {self.err}")
        expect(not self.out and self.err.count("\n") == 1, f"not one line: {self.out!r} {self.err!r}")
        expect(self.err.startswith("shunt-gen: "), f"the line does not name the program: {self.err}")
        for part in parts:
            expect(part in self.err, f"no {part!r} in {self.err!r}")


def run(*words):
    done = subprocess.run(command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                          timeout=TIMEOUT, check=False)
    return Result(done.returncode, done.stdout, done.stderr)


def report(*words, status=0):
    """The last report of a run with --json."""
    done = run("--json", "--timeout", TIMEOUT, *words)
    expect(done.status == status, f"status {done.status} instead of {status}: {done.err} {done.out}")
    last = json.loads(done.out.splitlines()[-1])
    expect_equal(last["report"], "end")
    return last


def switch(folder, *names, mode="learn", **options):
    """A switch with ports of these names, and the paths of their sockets."""
    shuntd = Shuntd(folder)
    shuntd.call("bridge.set", name="br0", mode=mode)
    return shuntd, [shuntd.add_guest(name, **options) for name in names]


def ports(paths, *keys):
    """Options for a port on each socket, each with the same keys."""
    return [word for path in paths for word in ("--port", ",".join((str(path), *keys)))]


def expect_perfect(port, frames):
    """All frames arrived at the port, and nothing was wrong with them."""
    expect_equal(port["verify"], {"frames": frames, "lost": 0, "duplicated": 0, "reordered": 0,
                                  "corrupted": 0})
    expect_equal((port["unknown"], port["malformed"], port["given_up"]), (0, 0, 0))
