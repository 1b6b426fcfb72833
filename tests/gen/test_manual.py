# SPDX-License-Identifier: BSD-3-Clause
"""What is written about shunt-gen elsewhere."""

import re

from generator import run
from shuntd import ROOT, expect, expect_equal


def options(text):
    return set(re.findall(r"--[a-z]+", text)) - {"--help"}


def test_help(_folder):
    """help and version go to standard output"""
    done = run("--help")
    expect_equal((done.status, done.err), (0, ""))
    expect(all(len(line) <= 100 for line in done.out.splitlines()), "a line is too long")
    expect(re.fullmatch(r"shunt-gen \d+\.\d+\.\d+\n", run("--version").out), run("--version").out)


def test_manual_has_all(_folder):
    """each option and each key of a port is in the help, the manual and the completion"""
    source = (ROOT / "src/gen/options.c").read_text()
    table = {f"--{name}" for name in re.findall(r'^ *\{"([a-z]+)", (?:required|no)_argument', source,
                                                re.MULTILINE)} - {"--help"}
    keys = set(re.findall(r'\{"([a-z-]+)", take_\w+, (?:true|false)\}', source))
    expect(len(table) > 20 and len(keys) > 8, f"{table} {keys}")
    manual = re.sub(r"[*_\\]", "", (ROOT / "docs/man/shunt-gen.1.scd").read_text())
    completion = (ROOT / "packaging/completion/shunt-gen.bash").read_text()
    helped = run("--help").out
    for text in helped, manual, completion:
        expect_equal(table - options(text), set())
    for key in keys:
        expect(all(re.search(rf"\b{key}\b", text) for text in (helped, manual, completion)),
               f"the key {key} is not everywhere")
