# SPDX-License-Identifier: BSD-3-Clause
"""What the layers of tests that are written in Python have in common: find the tests, run them, say how it went.

A test is a function test_NAME in a module test_*.py, or one that the module's tests() yields together with
its name. The first line of its description says what it shows. What it is given is its layer's affair.
"""

import importlib
import signal
import sys
import time
import traceback


class Failure(Exception):
    """What a test found wrong, in one line."""


class Skip(Exception):
    """Why a test cannot run here, in one line."""


def expect(condition, otherwise):
    if not condition:
        raise Failure(otherwise)


def say(text):
    print(text, flush=True)


# --- Which tests


def tests_of(module):
    for name, function in vars(module).items():
        if name.startswith("test_") and callable(function):
            yield name.removeprefix("test_").replace("_", "-"), function
    if hasattr(module, "tests"):
        yield from module.tests()


def collect(files):
    """All tests by name, in the order in which they run."""
    return {name: test for file in files for name, test in tests_of(importlib.import_module(file))}


def select(tests, names):
    """Those of these names, or all without one."""
    unknown = [name for name in names if name not in tests]
    if unknown:
        print(f"no test is called {unknown[0]}; --list lists them", file=sys.stderr)
        sys.exit(2)
    return {name: tests[name] for name in names} or tests


# --- Running


def run_test(name, test, findings=(), *, remarks=(), tails=list):
    """Runs a test without arguments, prints its line and what belongs to it; returns how it went.

    findings: exceptions beside Failure that say what is wrong in one line; any other is a mistake in the
    tests and shown with its traceback. remarks: printed below; tails(): after a failure, last lines of logs.
    """
    begin = time.monotonic()
    verdict, notes = "passed", []
    try:
        test()
        say(f"ok {name} ({time.monotonic() - begin:.1f} s)")
    except Skip as reason:
        verdict = "skipped"
        say(f"skipped {name}: {reason}")
    except Exception as error:
        verdict = "failed"
        is_finding = isinstance(error, (Failure, *findings))
        say(f"FAILED {name}: {error if is_finding else traceback.format_exc().strip()}")
        notes = tails()
    for note in (*remarks, *notes):
        say(f"    {note}")
    return verdict


def conclude(verdicts):
    """Prints the sum, as tests/run reads it, and returns the exit status."""
    passed, failed, skipped = map(verdicts.count, ("passed", "failed", "skipped"))
    say(f"{passed} passed, {failed} failed{f', {skipped} skipped' if skipped else ''}")
    return 1 if failed else 0


def main(doc, files, run, options=()):
    """The program of a layer: run(tests, options) returns how each went; `options` are words it knows."""
    words = sys.argv[1:]
    given = [word for word in words if word in options]
    names = [word for word in words if word not in options]
    tests = collect(files)
    if names == ["--list"]:
        for name, test in tests.items():
            print(f"{name:40} {test.__doc__}")
        return 0
    if any(name.startswith("-") for name in names):
        asked = names == ["--help"]
        print(doc, file=sys.stdout if asked else sys.stderr)
        return 0 if asked else 2
    return conclude(run(select(tests, names), *given))


def launch(*details, **options):
    """main(), which is unwound and cleans up when it is interrupted or terminated."""

    def leave(number, _frame):
        sys.exit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        sys.exit(main(*details, **options))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
