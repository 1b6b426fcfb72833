# SPDX-License-Identifier: BSD-3-Clause
"""The workers by calls."""

import os

from shuntd import Shuntd, expect_equal


def shape(shuntd):
    return [(worker["cpu"] if worker["pinned"] else None, worker["mode"])
            for worker in shuntd.call("worker.show")]


def allowed():
    return sorted(os.sched_getaffinity(0))


def test_worker_modes(folder):
    """The mode changes in all workers, and nothing else does."""
    shuntd = Shuntd(folder)
    expect_equal(shape(shuntd), [(None, "adaptive")])
    for mode in ("poll", "interrupt", "adaptive"):
        shuntd.call("worker.set", mode=mode)
        expect_equal(shape(shuntd), [(None, mode)])


def test_worker_cpus(folder):
    """Workers are pinned to the CPUs that are named, however they are written."""
    shuntd = Shuntd(folder)
    cpu = allowed()[-1]
    for cpus in (cpu, str(cpu), [cpu], [str(cpu)], f"{cpu}-{cpu}"):
        shuntd.call("worker.set", cpus=cpus)
        expect_equal(shape(shuntd), [(cpu, "adaptive")])
        expect_equal(shuntd.call("config.show")["workers"], {"mode": "adaptive", "cpus": [cpu]})
        shuntd.call("worker.set", count=1)
    shuntd.call("worker.set", cpus=allowed()[:2], mode="interrupt")
    expect_equal(shape(shuntd), [(cpu, "interrupt") for cpu in allowed()[:2]])


def test_worker_count(folder):
    """Workers that are not pinned are counted; one thread each."""
    shuntd = Shuntd(folder)
    before = shuntd.num_threads()
    shuntd.call("worker.set", count="4")
    expect_equal((shape(shuntd), shuntd.num_threads()), ([(None, "adaptive")] * 4, before + 3))
    shuntd.call("worker.set", count=2)
    expect_equal(shuntd.num_threads(), before + 1)
    shuntd.call("worker.set", cpus=str(allowed()[0]))
    expect_equal(shuntd.num_threads(), before)


def test_bad_workers(folder):
    """A CPU that is not there, and numbers that make no sense."""
    shuntd = Shuntd(folder)
    shuntd.call("worker.set", cpus=allowed()[0])
    shuntd.refused("worker.set", r"set workers: CPU 1023 is not one that shuntd may run on.*",
                   cpus=[1023])
    shuntd.refused("worker.set", r"workers\.cpus: CPU 0 is there twice; expected each CPU once",
                   cpus="0,0")
    shuntd.refused("worker.set", r"workers\.count: '0'; expected a number from 1 to 64", count=0)
    shuntd.refused("worker.set", r"workers\.mode: 'fast'; expected one of: adaptive, poll, interrupt",
                   mode="fast")
    shuntd.refused("worker.set", r"workers\.count: 3 workers for 1 CPUs; expected count to be left "
                                 r"out, each CPU has one", cpus=allowed()[0], count=3)


def test_worker_cpu_that_is_absent_with_other_steps(folder):
    """When the workers cannot be set, the rest of the configuration is not applied either."""
    shuntd = Shuntd(folder)
    shuntd.refused("config.apply", r"set workers: CPU 1023 is not one that shuntd may run on.*",
                   tree={"bridges": {"br0": {"ageing": 5}, "br1": {}},
                         "ports": {"n": {"type": "null", "bridge": "br1"}},
                         "workers": {"cpus": [1023]}})
