# SPDX-License-Identifier: BSD-3-Clause
"""What is measured. Each scenario is a function(bench) that adds rows to bench.report.

What a figure means, and how it is got, is told in docs/performance.md.
"""

import signal
import statistics
import time

import machine
import window
from dpdk import OpenVSwitch, Testpmd
from generator import SMALLEST, Run
from peers import AdaptiveBridge, Bridge, InterruptBridge, Limit, Patch, memory_of
from window import Ratio, alternate, measure, median, ratio

LINE_BYTES = 64
HEADER_BYTES = 12  # of virtio-net
JUMBO = 9018
SPLIT, PACKED = (), ("packed",)

# Figure, of a window's fields; and the word for what of two is divided by what.
COST, RATE, BITS = ("cycles/frame", "cycles"), ("Mpps", "mpps"), ("Gbit/s", "gbps")


def compare(bench, scenario, variant, windows, peer, against, figure, target=""):
    """A row with a ratio that is better when it is greater; against the limit, how much of it is reached."""
    name, key = figure
    if peer not in windows:
        return
    ours, theirs = windows[peer], windows.get(against)
    row = {}
    if theirs:
        # A cost is better when it is less.
        quotient = ratio(theirs, ours, key) if figure is COST else ratio(ours, theirs, key)
        row = {"against": against, "other": median(theirs, key), "ratio": quotient,
               "target": target}
    bench.report.add(scenario, variant, name, peer, median(ours, key), **row)


def alone(bench, scenario, variant, windows, peer, figure):
    name, key = figure
    if peer in windows:
        bench.report.add(scenario, variant, name, peer, median(windows[peer], key))


# --- Guest to guest


RINGS = {
    "split": SPLIT,
    "packed": PACKED,
    "split, not mergeable": ("mergeable=off",),
    "packed, not mergeable": (*PACKED, "mergeable=off"),
}


def v2v_pps(bench):
    """64-byte frames, as many as go."""
    for variant, ring_words in list(RINGS.items())[:2 if bench.pace.is_quick else None]:
        peers = bench.peers(Patch, Testpmd, Bridge, OpenVSwitch, Limit, ring_words=ring_words)
        windows = bench.alternate("v2v-pps", variant, peers, ring_words=ring_words)
        for figure, patch, bridge in ((COST, "≥ 2.5", "≥ 4"), (RATE, "≥ 2.5", "≥ 4")):
            compare(bench, "v2v-pps", variant, windows, "patch", "testpmd", figure, patch)
            compare(bench, "v2v-pps", variant, windows, "bridge", "ovs", figure, bridge)
            compare(bench, "v2v-pps", variant, windows, "bridge", "limit", figure,
                    "≥ 0.77" if figure is COST else "")


SIZES = (SMALLEST, 124, 252, 508, 1020, 1514, JUMBO - 4, "imix")
QUICK_SIZES = (1514,)


def v2v_size(bench):
    """Sizes up to jumbo frames, and a mixture; what a frame costs, and what a cache line of it."""
    costs = {}
    for size in QUICK_SIZES if bench.pace.is_quick else SIZES:
        mtu = JUMBO - 18 if size == JUMBO - 4 else 1500
        peers = bench.peers(Bridge, Testpmd, OpenVSwitch, Limit, mtu=mtu)
        words = ("buffer=2048",) if mtu == 1500 else ("buffer=9216",)
        variant = size if size == "imix" else f"{size + 4} bytes"
        windows = bench.alternate("v2v-size", variant, peers, size=size, ring_words=words)
        target = "≥ 2" if size == 1514 else ""
        compare(bench, "v2v-size", variant, windows, "bridge", "testpmd", COST, target)
        compare(bench, "v2v-size", variant, windows, "bridge", "ovs", COST)
        compare(bench, "v2v-size", variant, windows, "bridge", "limit", COST)
        for peer in windows:
            alone(bench, "v2v-size", variant, windows, peer, BITS)
            if size != "imix" and median(windows[peer], "cycles"):
                lines = -(-(HEADER_BYTES + size) // LINE_BYTES)
                costs.setdefault(peer, []).append((lines, median(windows[peer], "cycles")))
    for peer, points in costs.items():
        if len(points) > 2:
            slope, base = statistics.linear_regression(*zip(*points))
            bench.report.add("v2v-size", "a + b × lines", "a, cycles", peer, base)
            bench.report.add("v2v-size", "a + b × lines", "b, cycles/line", peer, slope)


SEGMENTS = ("--gso", 1448)


def v2v_gso(bench):
    """TCP frames of 16 and 64 KB that nobody cuts."""
    (bridge,) = bench.peers(Bridge)
    # shunt-gen refuses to send what is not offered, and says so.
    measure(bridge, window.WARM_UP, size=16000, words=SEGMENTS)
    peers = bench.peers(Bridge, Testpmd, Limit)
    for size in (16000, 65000):
        variant = f"{size // 1000} KB"
        windows = bench.alternate("v2v-gso", variant, peers, size=size, words=SEGMENTS)
        compare(bench, "v2v-gso", variant, windows, "bridge", "limit", BITS, "≥ 0.8")
        compare(bench, "v2v-gso", variant, windows, "bridge", "testpmd", BITS)


# --- Delay and idleness


def round_trips(bench, peers, words, pace=None):
    """Rounds of windows; in each, one frame at a time goes to an echo and comes back."""
    windows = alternate(peers, pace or bench.pace, roles=("send", "echo"),
                        words=("--latency", *words))
    return {name: [with_round_trip(one) for one in some] for name, some in windows.items()}


class Trip(window.Window):
    @property
    def p50(self):
        return self.report["ports"][0]["round_trip"]["p50_us"]

    @property
    def p99(self):
        return self.report["ports"][0]["round_trip"]["p99_us"]

    @property
    def p999(self):
        return self.report["ports"][0]["round_trip"]["p99.9_us"]


def with_round_trip(one):
    return Trip(*one)


def rtt(bench):
    """One frame to and fro: without a pause, and every millisecond, when the switch has gone to sleep."""
    peers = bench.peers(Bridge, AdaptiveBridge, InterruptBridge, Testpmd, OpenVSwitch, Limit)
    windows = round_trips(bench, peers, ("--window", 1))
    bench.report.keep("rtt", "one frame", windows)
    for peer in windows:
        against, target = {"bridge": ("testpmd", "≥ 1"), "adaptive": ("bridge", "≥ 0.8")}.get(
            peer, ("", ""))
        row = {}
        if against in windows:
            row = {"against": against, "other": median(windows[against], "p50"),
                   "ratio": ratio(windows[against], windows[peer], "p50"), "target": target}
        bench.report.add("rtt", "one frame", "p50, µs", peer, median(windows[peer], "p50"), **row)
        bench.report.add("rtt", "one frame", "p99, µs", peer, median(windows[peer], "p99"))
        bench.report.add("rtt", "one frame", "p99.9, µs", peer, median(windows[peer], "p999"))
    windows = round_trips(bench, bench.peers(Bridge, AdaptiveBridge), ("--rate", 1000))
    bench.report.keep("rtt", "after idle", windows)
    for peer in windows:
        bench.report.add("rtt", "after idle", "p50, µs", peer, median(windows[peer], "p50"))
        bench.report.add("rtt", "after idle", "p99, µs", peer, median(windows[peer], "p99"),
                         target="< 100" if peer == "adaptive" else "")


def idle(bench):
    """What a switch takes that has little or nothing to do, adaptive mode."""
    rates = (0, 100000) if bench.pace.is_quick else (0, 1000, 100000)
    for num_ports in (2, 32):
        (peer,) = bench.peers(AdaptiveBridge, num_ports=num_ports)
        with bench.attached(peer, num_ports - 2):
            for rate in rates:
                idle_at(bench, peer, num_ports, rate)


def idle_at(bench, peer, num_ports, rate):
    variant = f"{num_ports} ports, {rate} frames/s"
    seconds = 2 * bench.pace.seconds
    with bench.attached(peer, 2 if rate == 0 else 0, first_port=0):
        used, before = machine.usage(peer.process.pid), peer.counters()
        if rate:
            report = Run(peer, seconds, roles=("send", "sink"),
                         words=("--latency", "--rate", rate)).start().finish()
        else:
            time.sleep(seconds)
        used = machine.since(used, peer.process.pid)
        moved = peer.counters() - before
    bench.report.add("idle", variant, "% of a CPU", peer.name, 100 * used.running / seconds,
                     target="< 1" if rate == 0 and num_ports == 32 else "")
    bench.report.add("idle", variant, "wake-ups/s", peer.name, moved.wakeups / seconds)
    if rate:
        bench.report.add("idle", variant, "one-way p99, µs", peer.name,
                         report["ports"][1]["one_way"]["p99_us"])


# --- Scale


def many_ports(bench):
    """Two ports among many that do nothing, and many that all send."""
    counts = (2, 32) if bench.pace.is_quick else (2, 8, 32, 128)
    quiet, busy = {}, {}
    for num_ports in counts:
        (peer,) = bench.peers(Bridge, num_ports=num_ports)
        with bench.attached(peer, num_ports - 2):
            peer.pause()
            windows = bench.alternate("many-ports", f"{num_ports}, one sends", [peer],
                                      roles=("send", "sink"))
            quiet |= {num_ports: some for some in windows.values()}
        peer.pause()
        windows = bench.alternate("many-ports", f"{num_ports}, all send", [peer],
                                  num_ports=num_ports)
        busy |= {num_ports: some for some in windows.values()}
    add_scale(bench, "one sends", quiet, "")
    add_scale(bench, "all send", busy, "< 1.25")
    for num_ports, some in busy.items():
        bench.report.add("many-ports", f"{num_ports}, all send", "fairness (Jain)", "bridge",
                         statistics.median(fairness(one.report) for one in some))
    for num_ports in list(quiet)[1:]:
        bench.report.add("many-ports", f"{num_ports}, one sends", "cycles/empty port", "bridge",
                         cost_of_empty(quiet, num_ports), target="< 30")


def add_scale(bench, kind, windows, target):
    for num_ports, some in windows.items():
        variant = f"{num_ports}, {kind}"
        bench.report.add("many-ports", variant, "cycles/frame", "bridge", median(some, "cycles"),
                         **against_first(windows, num_ports, target))
        bench.report.add("many-ports", variant, "Mpps", "bridge", median(some, "mpps"))


def against_first(windows, num, target):
    """Growth of the cost: the windows are minutes apart, so there are no pairs."""
    first = min(windows)
    if num == first:
        return {}
    value, base = median(windows[num], "cycles"), median(windows[first], "cycles")
    return {"against": str(first), "other": base, "ratio": Ratio(*3 * (value / base,)),
            "target": target}


def fairness(report):
    """1: each port got through as much as the others; 1/n: one of n got it all."""
    shares = [port["rx"]["frames"] for port in report["ports"]]
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 0


def cost_of_empty(windows, num_ports):
    """By how much a round that moves a burst gets longer, for each queue that had nothing."""
    few, many = (statistics.median(one.round_cycles for one in windows[num])
                 for num in (min(windows), num_ports))
    return (many - few) / (num_ports - min(windows))


def burst(bench):
    """Load in bursts below what the bridge can take, rings of two sizes, and many addresses."""
    (peer,) = bench.peers(Bridge)
    top = measure(peer, bench.pace, roles=("send", "sink")).mpps
    quick = bench.pace.is_quick
    for ring in (256,) if quick else (256, 1024):
        for load in (0.8,) if quick else (0.5, 0.8, 0.95):
            for size in (1, 32, 512) if quick else (1, 8, 32, 128, 512):
                windows = alternate([peer], bench.pace._replace(rounds=1), roles=("send", "sink"),
                                    ring_words=(f"ring={ring}",),
                                    words=("--rate", round(1e6 * load * top), "--burst", size))
                variant = f"{size} at {load:.0%}, ring {ring}"
                bench.report.keep("burst", variant, windows)
                bench.report.add("burst", variant, "lost, %", "bridge",
                                 100 * lost(windows["bridge"][0].report))
    addresses(bench, peer)


def lost(report):
    sent, received = report["all"]["tx"]["frames"], report["all"]["rx"]["frames"]
    return max(0, sent - received) / sent if sent else 0


def addresses(bench, peer):
    counts = (1, 50000) if bench.pace.is_quick else (1, 100, 10000, 50000)
    windows = {}
    for num in counts:
        found = bench.alternate("burst", f"{2 * num} addresses", [peer],
                                words=("--macs", num, "--flows", num))
        windows |= {num: some for some in found.values()}
    for num, some in windows.items():
        bench.report.add("burst", f"{2 * num} addresses", "cycles/frame", "bridge",
                         median(some, "cycles"), **against_first(windows, num, "< 1.25"))


# --- Life


def life(bench):
    """Start, memory, and what a kill costs."""
    bench.close()  # those that run have the huge pages
    for kind in (AdaptiveBridge, Testpmd, OpenVSwitch):
        if bench.is_there(kind):
            starts(bench, kind)
    ports_and_memory(bench)
    kill_and_return(bench)


def starts(bench, kind):
    """From the start of the process until a frame of a guest that waits for it came through."""
    times, sizes = [], []
    for _ in range(3):
        peer = bench.fresh(kind)
        begin = time.monotonic()
        try:
            peer.start()
            Run(peer, None, roles=("send", "echo"),
                words=("--count", 1, "--window", 1)).start().finish()
            times.append(1000 * (time.monotonic() - begin))
            time.sleep(SETTLE_SECONDS)  # until guest memory is unmapped
            sizes.append(memory_of(peer))
        finally:
            peer.stop()
    name = {"adaptive": "bridge"}.get(peer.name, peer.name)
    bench.report.add("life", "2 ports", "start to first frame, ms", name,
                     statistics.median(times))
    bench.report.add("life", "2 ports", "memory, MB", name, max(size[0] for size in sizes) / 1e6,
                     target="< 5" if name == "bridge" else "")
    bench.report.add("life", "2 ports", "huge pages, MB", name, max(size[1] for size in sizes) / 1e6,
                     target="0" if name == "bridge" else "")


def ports_and_memory(bench):
    """What a further port takes, attached and with traffic: guest memory is not counted."""
    pss, times = {}, []
    for num_ports in (2, 34):
        peer = bench.fresh(AdaptiveBridge, num_ports=num_ports)
        try:
            peer.start()
            run = Run(peer, None, num_ports=num_ports, words=("--rate", 1000)).start()
            peer.wait_for(lambda peer=peer: all(port["state"] == "up" and port["rx"]["packets"]
                                                for port in peer.ctl("port", "show")), "traffic")
            run.finish(signal.SIGINT)
            pss[num_ports] = memory_of(peer)[0]
            for idx in range(5):
                begin = time.monotonic()
                peer.ctl("port", "add", f"more{idx}", "type", "vhost-user", "socket",
                         peer.folder / f"more{idx}.sock", "bridge", "br0")
                times.append(1000 * (time.monotonic() - begin))
        finally:
            peer.stop()
    bench.report.add("life", "34 ports", "KB a port", "bridge", (pss[34] - pss[2]) / 32 / 1024,
                     target="< 256")
    bench.report.add("life", "34 ports", "one more port, ms", "bridge", statistics.median(times))


SETTLE_SECONDS = 0.3
RATE_OF_KILL = 100000  # frames a second


def kill_and_return(bench):
    """The switch is killed and started again at a steady load; guests connect again by themselves."""
    losses = []
    for _ in range(1 if bench.pace.is_quick else 5):
        peer = bench.fresh(AdaptiveBridge)
        try:
            peer.start()
            run = Run(peer, None, roles=("send", "sink"), words=("--rate", RATE_OF_KILL)).start()
            wait_for_traffic(peer)
            peer.process.kill()
            peer.process.wait()
            peer.processes.remove(peer.process)
            peer.start()
            wait_for_traffic(peer)
            report = run.finish(signal.SIGINT)
            losses.append(report["all"]["tx"]["frames"] - report["all"]["rx"]["frames"])
        finally:
            peer.stop()
    bench.report.add("life", f"killed at {RATE_OF_KILL} frames/s", "frames lost", "bridge",
                     statistics.median(losses))


def wait_for_traffic(peer):
    peer.wait_for(lambda: peer.ctl("port", "show")[1]["tx"]["packets"] > 100, "traffic")


ALL = {"v2v-pps": v2v_pps, "v2v-size": v2v_size, "v2v-gso": v2v_gso, "rtt": rtt, "idle": idle,
       "many-ports": many_ports, "life": life, "burst": burst}
