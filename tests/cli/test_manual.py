# SPDX-License-Identifier: BSD-3-Clause
"""What is written about shuntctl elsewhere: the manual, and the completion of bash."""

import re
import shlex
import shutil
import subprocess

from server import Server
from shuntctl import PROGRAM, ROOT, Skip, environment, expect, expect_equal, run

MANUAL = ROOT / "docs/man/shuntctl.8.scd"
COMPLETION = ROOT / "packaging/completion/shuntctl.bash"


def synopses():
    """Each command as the help writes it."""
    lines = run("--help").ok().split("\n\n")[2].splitlines()
    return [re.split(r"  +", line.strip())[0] for line in lines if not line.startswith("    ")]


def test_manual_has_all_commands(_folder):
    """each command is in the manual, as the help writes it"""
    text = re.sub(r"[*_]", "", MANUAL.read_text())
    for synopsis in synopses():
        expect(re.search(rf"^shuntctl {re.escape(synopsis)}$", text, re.MULTILINE),
               f"not in the manual: {synopsis}")


def test_manual_has_all_drop_reasons(_folder):
    """each reason of src/base/drop.c is in the manual, in the same order"""
    reasons = re.findall(r'\[DROP_\w+\] = \{"([a-z-]+)"', (ROOT / "src/base/drop.c").read_text())
    section = MANUAL.read_text().split("# DROP REASONS")[1].split("\n# ")[0]
    expect(len(reasons) > 10, reasons)
    expect_equal(re.findall(r"^[|\[]+ +\*([a-z-]+)\*$", section, re.MULTILINE), reasons)


TYPES = [{"type": "vhost-user", "help": "a guest", "options": [
    {"key": key, "kind": "text", "help": "x"} for key in ("type", "bridge", "socket", "queues")]}]

# What is typed up to the tab, and what is offered.
COMPLETIONS = {
    "": "port bridge fdb worker stats top config version help -j --json --control --help --version",
    "-j p": "port",
    "port ": "add del set show types help",
    "--control CONTROL port s": "set show",
    "port show ": "vm1 vm2",
    "port del vm1 ": "--dry-run",
    "port add vm3 ": "type bridge --dry-run",
    "port add vm3 type ": "vhost-user",
    "port add vm3 type vhost-user ": "bridge socket queues --dry-run",
    "port add vm3 --dry-run type vhost-user so": "socket",
    "port add vm3 type vhost-user bridge ": "br0",
    "bridge set br0 mode ": "learn patch",
    "fdb add 52:54:00:00:00:01 port vm": "vm1 vm2",
    "fdb show port vm1 ": "bridge",
    "worker set mode p": "poll",
    "nonsense of a ": "",
}


def complete(line, control):
    """What bash offers at the end of the line."""
    line = f"shuntctl {line}"
    script = (f"source {shlex.quote(str(COMPLETION))}; COMP_LINE={shlex.quote(line)}; "
              f"COMP_POINT={len(line)}; _shuntctl; echo \"${{COMPREPLY[*]}}\"")
    done = subprocess.run(
        ["bash", "-u", "-c", script], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        env=environment(SHUNT_CONTROL=str(control), PATH=f"{PROGRAM.parent}:/usr/bin:/bin"))
    return done.stdout.strip()


def test_completion(folder):
    """bash offers what may come next, and names that are there"""
    if not shutil.which("bash"):
        raise Skip("there is no bash")
    path = folder / "control"
    ports = [{"name": name, "type": "null"} for name in ("vm1", "vm2")]
    with Server(path, {"port.show": ports, "bridge.show": [{"name": "br0"}], "port.types": TYPES}):
        for line, offered in COMPLETIONS.items():
            found = complete(line.replace("CONTROL", str(path)), path)
            expect(sorted(found.split()) == sorted(offered.split()), f"{line!r}:", found)
        for synopsis in synopses():
            word, verb, *_ = [*synopsis.split(), ""]
            expect(word in complete(word[:-1], path).split(), f"not offered: {word}")
            if verb.isalpha() and verb.islower():
                expect(verb in complete(f"{word} {verb[:-1]}", path).split(), f"not offered: {synopsis}")


def test_completion_without_daemon(folder):
    """where nobody answers, bash offers nothing, and says nothing"""
    expect_equal(complete("port show ", folder / "absent"), "")
