#!/usr/bin/env python3
"""Measures `farend live` against tcpdump on a pair of virtual interfaces: `benches/live.py`, as root.

trafgen (package netsniff-ng) sends flat out for a while, first with nobody listening, then with tcpdump, then with farend, each
several times in turn, in a network namespace that is made and removed here. With --minutes, farend listens alone for so long, and
what is watched is its memory. In: the release build. Out, as Markdown: packets a second that the sender reached, processor time a
packet, kernel drops, anonymous memory, and bars; the exit code is 1 when a bar is missed.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import comparison
from comparison import FAREND, ROOT, Failed

NAMESPACE = f"farend-bench-{os.getpid()}"
NOBODY, TCPDUMP = "nobody", "tcpdump"

# Frames without their check sequence, bytes. "Simple IMIX", 7:4:1 of 64, 570 and 1,518 bytes on the wire, spread out so that
# sizes alternate (what RFC 6985 calls an IMIX genome): 350 bytes on average.
SMALL, MIDDLE, LARGE = 64 - 4, 570 - 4, 1518 - 4
MINIMUM = [SMALL]
IMIX = [SMALL, MIDDLE, SMALL, SMALL, MIDDLE, SMALL, SMALL, MIDDLE, SMALL, MIDDLE, SMALL, LARGE]

# Ethernet, IPv4 and UDP headers, bytes.
ETHERNET, IPV4, UDP = 14, 20, 8

# One UDP packet as trafgen writes it; addresses from the private and documentation ranges, a random IPv4 identification so that
# no packet is another's copy.
PACKET = """{{
  0x02,0,0,0,0,2, 0x02,0,0,0,0,1, 0x08,0x00,
  0x45,0, c16({ip}), drnd(2), 0x40,0, 64, 17, csumip(14,33),
  {source}, 203,0,113,5,
  c16(4000), c16(5000), c16({udp}), c16(0),
  fill('x', {payload})
}}
"""


@dataclass(frozen=True)
class Sender:
    """What trafgen sends."""

    name: str
    source: str  # IPv4 source address in trafgen's language; it is what makes a flow another one
    sizes: list  # bytes, in this order, over and over
    barred: bool

    def config(self):
        return "".join(
            PACKET.format(ip=size - ETHERNET, udp=size - ETHERNET - IPV4, payload=size - ETHERNET - IPV4 - UDP, source=self.source)
            for size in self.sizes
        )


GO_ON, NEW = "192,168,1,dinc(1,250)", "10,drnd(3)"
SENDERS = [
    Sender("few", GO_ON, MINIMUM, True),  # 250 flows that go on
    Sender("mixed", GO_ON, IMIX, True),  # the same
    Sender("new", NEW, MINIMUM, False),  # nearly every packet opens a flow: a flood, which has its own price
]

# farend with one worker: the sender's rate as a share of what it reaches with tcpdump, and processor time a packet as a multiple
# of tcpdump's, medians. Packets that the kernel drops: none.
RATE_BAR = 0.95
CPU_BAR = 1.5
# Memory is flat when the last quarter's mean is no more than so many times the second quarter's: the first one fills tables.
MEMORY_BAR = 1.05

# Seconds between two looks at memory.
SAMPLE = 10
# Seconds for a listener to open its socket, and to take what is still in its ring.
OPENING, EMPTYING = 1.0, 0.3


@dataclass(frozen=True)
class Listened:
    """One stretch of sending."""

    sent: int
    seconds: float
    cpu: float = 0.0  # seconds of the listener while it was sent to
    drops: int = 0  # of the kernel
    unseen: int = 0  # sent, but neither seen nor among the drops
    memory: tuple = ()  # anonymous bytes, every SAMPLE seconds and at the end


def within(*command):
    return ["ip", "netns", "exec", NAMESPACE, *map(str, command)]


def counted():
    out = subprocess.run(within("ip", "-s", "-j", "link", "show", "va"), check=True, capture_output=True).stdout
    return json.loads(out)[0]["stats64"]["tx"]["packets"]


def listen(program, farend, sender, seconds, folder):
    """Sends for a while to one listener, or to nobody."""
    config, eve = Path(folder) / "packets.cfg", Path(folder) / "live.json"
    config.write_text(sender.config(), encoding="ascii")
    commands = {
        TCPDUMP: within("tcpdump", "-i", "vb", "-n", "-B", 65536, "-w", "/dev/null"),
        FAREND: within(farend, "live", "-i", "vb", "--workers", 1, "--quiet", "--eve", eve, "--eve-types", "stats"),
    }
    if program == NOBODY:
        before = counted()
        return Listened(counted_after(send(config, seconds), before), seconds)
    listener = subprocess.Popen(commands[program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        time.sleep(OPENING)
        before, busy = counted(), comparison.processor(listener.pid)
        trafgen, memory = send(config, seconds), []
        while True:
            try:
                trafgen.wait(SAMPLE)
                break
            except subprocess.TimeoutExpired:
                memory.append(comparison.anonymous(listener.pid))
        sent = counted_after(trafgen, before)
        time.sleep(EMPTYING)
        memory.append(comparison.anonymous(listener.pid))
        cpu = comparison.processor(listener.pid) - busy
        listener.send_signal(signal.SIGTERM)
        said = listener.communicate(timeout=60)[1]
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(f"{program}: {error}") from error
    finally:
        if listener.poll() is None:
            listener.kill()
            listener.wait()
    if listener.returncode != 0:
        raise Failed(f"{program}: ended with {listener.returncode}\n{said.strip()}")
    seen, drops = told(program, said, eve)
    return Listened(sent, seconds, cpu, drops, max(0, sent - seen - drops), tuple(memory))


def send(config, seconds):
    command = within("timeout", seconds, "trafgen", "--cpp", "--dev", "va", "--conf", config, "-P1", "-q")
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def counted_after(trafgen, before):
    trafgen.wait()
    sent = counted() - before
    if not sent:
        raise Failed("trafgen has sent nothing")
    return sent


def told(program, said, eve):
    """Packets that a listener says it has seen, and those that the kernel dropped before it."""
    if program == TCPDUMP:
        found = [re.search(rf"^(\d+) packets? {what}", said, re.MULTILINE) for what in ("captured", "dropped by kernel")]
        if None in found:
            raise Failed(f"tcpdump: {said.strip()}")
        return tuple(int(each[1]) for each in found)
    stats = json.loads(eve.read_text(encoding="utf-8").splitlines()[-1])["stats"]
    return stats["decoder"]["pkts"], stats["capture"]["kernel_drops"]


def compare(senders, farend, rounds, seconds, folder):
    """Everybody in turn for every sender. Out: the table and the bars that are missed."""
    head = ["flows", "bytes", "listening", "sent, packets/s", "Gbit/s", f"× with {TCPDUMP}", "CPU, ns a packet", f"× {TCPDUMP}'s",
            "kernel drops", "unseen", "anonymous MB", "bar"]
    rows, missed = [], []
    for sender in senders:
        heard = {name: [] for name in (NOBODY, TCPDUMP, FAREND)}
        for number in range(rounds):
            for name, had in heard.items():
                had.append(listen(name, farend, sender, seconds, folder))
                progress(sender, name, f"round {number + 1}/{rounds}", had[-1])
        rate = {name: statistics.median(h.sent / h.seconds for h in had) for name, had in heard.items()}
        cost = {name: statistics.median(h.cpu / h.sent for h in had) for name, had in heard.items()}
        size = statistics.mean(sender.sizes)
        for name, had in heard.items():
            drops, unseen = sum(h.drops for h in had), sum(h.unseen for h in had)
            bars = []
            if name == FAREND and sender.barred:
                bars = [
                    ("no drops", drops + unseen == 0),
                    (f"rate ≥ {RATE_BAR} ×", rate[FAREND] >= RATE_BAR * rate[TCPDUMP]),
                    (f"CPU ≤ {CPU_BAR} ×", cost[FAREND] <= CPU_BAR * cost[TCPDUMP]),
                ]
            missed += [f"{sender.name}: {bar}" for bar, met in bars if not met]
            beside = name != NOBODY
            rows.append([
                sender.name, f"{size:.0f}", name, f"{rate[name]:,.0f}", f"{rate[name] * size * 8 / 1e9:.2f}",
                f"{rate[name] / rate[TCPDUMP]:.2f}", f"{cost[name] * 1e9:.0f}" if beside else "",
                f"{cost[name] / cost[TCPDUMP]:.2f}" if beside and cost[TCPDUMP] else "",
                f"{drops:,}" if beside else "", f"{unseen:,}" if beside else "",
                f"{max(max(h.memory) for h in had) / 1e6:.1f}" if beside else "", verdicts(bars),
            ])
    return comparison.markdown(head, rows), missed


def soak(senders, farend, minutes, folder):
    """farend alone under load for minutes. Out: the table and the bars that are missed."""
    head = ["flows", "bytes", "sent, packets/s", "CPU, ns a packet", "kernel drops", "unseen", "MB, first", "last", "max",
            "second quarter", "last quarter", "slope, kB/min", "bar"]
    rows, missed = [], []
    for sender in senders:
        had = listen(FAREND, farend, sender, round(minutes * 60), folder)
        progress(sender, FAREND, f"{minutes:g} min", had)
        memory = had.memory
        quarter = max(1, len(memory) // 4)
        second, last = statistics.mean(memory[quarter : 2 * quarter]), statistics.mean(memory[-quarter:])
        bars = [("no drops", had.drops + had.unseen == 0), (f"flat ≤ {MEMORY_BAR} ×", last <= MEMORY_BAR * second)]
        if not sender.barred:
            bars = []
        missed += [f"{sender.name}: {bar}" for bar, met in bars if not met]
        rows.append([
            sender.name, f"{statistics.mean(sender.sizes):.0f}", f"{had.sent / had.seconds:,.0f}", f"{had.cpu / had.sent * 1e9:.0f}",
            f"{had.drops:,}", f"{had.unseen:,}", *(f"{b / 1e6:.2f}" for b in (memory[0], memory[-1], max(memory), second, last)),
            f"{slope(memory):+.1f}", verdicts(bars),
        ])
    return comparison.markdown(head, rows), missed


def slope(memory):
    """Of the straight line of least squares through all looks at memory, kB a minute."""
    middle, mean = (len(memory) - 1) / 2, statistics.mean(memory)
    spread = sum((i - middle) ** 2 for i in range(len(memory)))
    return sum((i - middle) * (m - mean) for i, m in enumerate(memory)) / spread / SAMPLE * 60 / 1000


def verdicts(bars):
    return ", ".join(f"{bar} {'met' if met else 'MISSED'}" for bar, met in bars)


def progress(sender, program, which, had):
    print(
        f"  {sender.name} {which} {program}: {had.sent / had.seconds:,.0f} packets/s, {had.drops} dropped, {had.unseen} unseen, "
        f"load {os.getloadavg()[0]:.2f}",
        file=sys.stderr,
    )


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farend", type=Path, default=ROOT / "target" / "release" / "farend", metavar="PROGRAM")
    parser.add_argument("--rounds", type=int, default=3, help="of every listener (3)")
    parser.add_argument("--seconds", type=int, default=10, help="of sending, a round (10)")
    parser.add_argument("--minutes", type=float, default=0, help="farend alone for so long, one sender after the other")
    names = [sender.name for sender in SENDERS]
    told = f"{', '.join(names)}; repeatable (all; with --minutes: few)"
    parser.add_argument("--sender", choices=names, action="append", metavar="SENDER", help=told)
    args = parser.parse_args()
    if min(args.rounds, args.seconds) < 1 or 0 < args.minutes < 1 or args.minutes < 0:
        parser.error("rounds, seconds and minutes are at least 1")
    missing = [p for p in ("ip", "trafgen", "tcpdump") if not shutil.which(p)]
    if missing or os.geteuid() != 0 or not args.farend.exists():
        sys.exit(
            f"needs root, {', '.join(missing) or 'nothing else installed'} and {args.farend}\n"
            "Debian, Ubuntu:  sudo apt-get install -y iproute2 netsniff-ng tcpdump; cargo build --release -p farend"
        )
    return args


def main():
    args = arguments()
    chosen = args.sender or (["few"] if args.minutes else [sender.name for sender in SENDERS])
    senders = [sender for sender in SENDERS if sender.name in chosen]
    before = comparison.load()
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(within("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"), check=True)
        subprocess.run(within(*"ip link add va type veth peer name vb".split()), check=True)
        for name in ("va", "vb"):
            subprocess.run(within("ip", "link", "set", name, "up"), check=True)
        with tempfile.TemporaryDirectory() as folder:
            if args.minutes:
                text, missed = soak(senders, args.farend, args.minutes, folder)
                how = f"with farend alone, {args.minutes:g} min, memory every {SAMPLE} s"
            else:
                text, missed = compare(senders, args.farend, args.rounds, args.seconds, folder)
                how = f"{args.rounds} round{'s' if args.rounds > 1 else ''} of {args.seconds} s in turn, medians; drops and memory are of all rounds"
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
    name, cores, kernel = comparison.machine()
    programs = [(TCPDUMP, comparison.version(["tcpdump", "--version"])), ("trafgen", comparison.version(["trafgen", "--version"]))]
    versions = ", ".join(f"{program} {version}" for program, version in programs)
    print(f"# {datetime.date.today().isoformat()}, {name}\n")
    print(f"{cores} cores, {kernel}; commit {comparison.commit()}; {versions}.")
    print(f"{how[0].upper()}{how[1:]}. Load average before {before}, after {comparison.load()}.\n")
    print(text)
    if missed:
        sys.exit("missed: " + "; ".join(missed))


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError) as failure:
        sys.exit(str(failure))
    except KeyboardInterrupt:
        sys.exit(130)
