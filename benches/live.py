#!/usr/bin/env python3
"""Measures `farend live` against tcpdump on a pair of virtual interfaces: `benches/live.py`, as root.

trafgen (package netsniff-ng) sends minimum-size packets flat out for a while, first with nobody listening, then with tcpdump, then
with farend, each several times in turn, in a network namespace that is made and removed here. In: the release build. Out: a table
of packets a second that the sender reached, processor time a packet, kernel drops and anonymous memory.
"""

import argparse
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMESPACE = f"farend-bench-{os.getpid()}"
NOBODY, TCPDUMP, FAREND = "nobody", "tcpdump", "farend"

# UDP, 60 bytes; addresses from the private and documentation ranges.
PACKET = """{
  0x02,0,0,0,0,2, 0x02,0,0,0,0,1, 0x08,0x00,
  0x45,0, c16(46), drnd(2), 0x40,0, 64, 17, csumip(14,33),
  %s, 203,0,113,5,
  c16(4000), c16(5000), c16(26), c16(0),
  fill('x', 18)
}
"""
# few: 250 flows that go on; new: nearly every packet opens one.
SENDERS = {"few": "192,168,1,dinc(1,250)", "new": "10,drnd(3)"}


def within(*command):
    return ["ip", "netns", "exec", NAMESPACE, *map(str, command)]


def sent():
    out = subprocess.run(within("ip", "-s", "-j", "link", "show", "va"), check=True, capture_output=True).stdout
    return json.loads(out)[0]["stats64"]["tx"]["packets"]


def one(program, farend, config, seconds, folder):
    """One round: packets sent, CPU seconds, drops, anonymous MB."""
    eve = Path(folder) / "live.json"
    commands = {
        TCPDUMP: within("tcpdump", "-i", "vb", "-n", "-B", 65536, "-w", "/dev/null"),
        FAREND: within(farend, "live", "-i", "vb", "--workers", 1, "--quiet", "--eve", eve, "--eve-types", "stats"),
    }
    listener = None
    if program in commands:
        listener = subprocess.Popen(commands[program], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        time.sleep(1)
    before = sent()
    command = within("timeout", seconds, "trafgen", "--cpp", "--dev", "va", "--conf", config, "-P1", "-q")
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    packets = sent() - before
    if listener is None:
        return packets, 0.0, 0, 0.0
    time.sleep(0.3)
    fields = Path(f"/proc/{listener.pid}/stat").read_text().rpartition(")")[2].split()
    cpu = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    status = Path(f"/proc/{listener.pid}/status").read_text()
    memory = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")) / 1000
    listener.send_signal(signal.SIGTERM)
    said = listener.communicate(timeout=60)[1]
    if program == TCPDUMP:
        drops = next(int(line.split()[0]) for line in said.splitlines() if "dropped by kernel" in line)
    else:
        drops = json.loads(eve.read_text().splitlines()[-1])["stats"]["capture"]["kernel_drops"]
    return packets, cpu, drops, memory


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--farend", type=Path, default=ROOT / "target" / "release" / "farend")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=10, help="of sending, a round")
    args = parser.parse_args()
    missing = [p for p in ("ip", "trafgen", "tcpdump") if not shutil.which(p)]
    if missing or os.geteuid() != 0 or not args.farend.exists():
        return f"needs root, {', '.join(missing) or 'nothing else installed'} and {args.farend}\n" \
            "Debian, Ubuntu:  sudo apt-get install -y iproute2 netsniff-ng tcpdump; cargo build --release -p farend"
    subprocess.run(["ip", "netns", "add", NAMESPACE], check=True)
    try:
        subprocess.run(within("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1"), check=True)
        subprocess.run(within(*"ip link add va type veth peer name vb".split()), check=True)
        for name in ("va", "vb"):
            subprocess.run(within("ip", "link", "set", name, "up"), check=True)
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.2f}; {args.rounds} rounds of {args.seconds} s, medians\n")
        print("| flows | listening | sent, packets/s | × with tcpdump | CPU, ns a packet | × tcpdump's | kernel drops | anonymous MB |")
        print("|---|---|---|---|---|---|---|---|")
        with tempfile.TemporaryDirectory() as folder:
            for flows, source in SENDERS.items():
                config = Path(folder) / "packet.cfg"
                config.write_text(PACKET % source)
                rounds = {name: [] for name in (NOBODY, TCPDUMP, FAREND)}
                for _ in range(args.rounds):
                    for name, rows in rounds.items():
                        rows.append(one(name, args.farend, config, args.seconds, folder))
                rate = {n: statistics.median(r[0] for r in rows) / args.seconds for n, rows in rounds.items()}
                cost = {n: statistics.median(r[1] / r[0] for r in rows) * 1e9 for n, rows in rounds.items()}
                for name, rows in rounds.items():
                    drops, memory = sum(r[2] for r in rows), max(r[3] for r in rows)
                    print(
                        f"| {flows} | {name} | {rate[name]:,.0f} | {rate[name] / rate[TCPDUMP]:.2f} | "
                        f"{cost[name]:.0f} | {cost[name] / cost[TCPDUMP]:.2f} | {drops} | {memory:.0f} |"
                    )
    finally:
        subprocess.run(["ip", "netns", "del", NAMESPACE], check=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
