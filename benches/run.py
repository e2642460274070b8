#!/usr/bin/env python3
"""Measures farend against tcpdump on generated captures: `make bench`, or `benches/run.py --help`.

In: the release build and its example `generate`. Out: a table of processor time, rates, anonymous memory and bars, percentiles of
batches, instructions a packet; with --record also a file in benches/records. Needs Python 3.9 and nothing beside its library.
"""

import argparse
import datetime
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
RECORDS = ROOT / "benches" / "records"

# The reference: it reads every record and writes it away, and looks at nothing.
REFERENCE = "tcpdump"
FAREND = "farend"

# What processor time may be, as a multiple of the reference's; medians are compared.
CPU_BARS = {"small": 2.3, "elephant": 1.5}
# Anonymous memory with a million flows in the table, MB.
MEMORY_BAR = 200

# Seconds between two looks at a process's memory.
POLL = 0.004

# Frame and record header of the generated captures, bytes: what `generate` writes at most a packet.
RECORD_BYTES = {"small": 76, "elephant": 1530}
# Free space beyond the captures, bytes.
SPARE = 256 << 20

# Instructions a packet are the difference of two runs, so that starting and the first flows' opening do not count: packets of
# the shorter one; the longer one has twice as many.
COUNTED = {"small": 800_000, "elephant": 40_000}

# Packets of the captures that the bars are for: in shorter ones starting counts for more than packets.
FULL = {"small": 10_000_000, "elephant": 710_000}

TCPDUMP_MISSING = """\
tcpdump, the reference, is missing. Type one of these, then run make bench again:
    Debian, Ubuntu:  sudo apt-get install -y tcpdump
    Fedora:          sudo dnf install -y tcpdump
    Alpine:          sudo apk add tcpdump
    macOS:           it is part of the system; check PATH
or measure farend alone: benches/run.py --alone"""


class Failed(Exception):
    """A program did not end well."""


@dataclass
class Run:
    """What one process cost."""

    cpu: float
    wall: float
    anonymous: int  # bytes; 0 = not known
    output: str


@dataclass
class Program:
    """One program of the comparison and what its runs cost, by workload."""

    name: str
    command: list
    runs: dict = field(default_factory=dict)

    def cpu(self, workload):
        return [run.cpu for run in self.runs[workload]]


@dataclass
class Workload:
    """A generated capture."""

    name: str
    path: Path
    packets: int
    bytes: int  # of frames


def anonymous(pid):
    """Resident anonymous memory of a process in bytes: mapped captures are not counted. 0 where Linux's /proc is missing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def run(command):
    """Runs a program to its end. Processor time is that of the whole process, from wait4."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=err)
        peak = 0
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                break
            peak = max(peak, anonymous(child.pid))
            time.sleep(POLL)
        wall = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        out.seek(0)
        err.seek(0)
        if child.returncode != 0:
            said = err.read().decode(errors="replace").strip()
            raise Failed(f"{' '.join(map(str, command))}: ended with {child.returncode}\n{said}")
        text = out.read().decode(errors="replace")
    return Run(usage.ru_utime + usage.ru_stime, wall, peak, text)


def build(cargo):
    """Builds what is measured and gives the paths of farend and of the generator."""
    command = [cargo, "build", "--release", "--locked", "--package", "farend", "--bin", "farend", "--example", "generate"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    release = (ROOT / target) / "release"
    return release / "farend", release / "examples" / "generate"


def generate(generator, name, packets, path):
    """Writes a capture and counts its packets."""
    subprocess.run([generator, name, str(packets), path], check=True)
    # The generator writes classic pcap: 24 bytes, then 16 a record.
    return Workload(name, path, packets, path.stat().st_size - 24 - 16 * packets)


def warm(path):
    """Reads a file once, so that every run finds it in the page cache."""
    with path.open("rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def programs(farend, alone):
    """farend, the reference and, where they are installed, peers. `{}` stands for the capture."""
    have = [Program(FAREND, [farend, "replay", "--workers", "1", "{}"])]
    if not alone:
        have.insert(0, Program(REFERENCE, ["tcpdump", "-r", "{}", "-w", "/dev/null"]))
        # They do other work than farend, so they have no bar: flow tables (argus), protocols (ndpiReader), fingerprints (p0f).
        peers = {
            "argus": ["argus", "-r", "{}", "-w", "/dev/null"],
            "ndpiReader": ["ndpiReader", "-q", "-i", "{}"],
            "p0f": ["p0f", "-r", "{}", "-o", "/dev/null"],
        }
        have += [Program(name, command) for name, command in peers.items() if shutil.which(command[0])]
    return have


def filled(command, path):
    return [str(path) if word == "{}" else str(word) for word in command]


def load():
    return " ".join(f"{l:.2f}" for l in os.getloadavg())


def measure(workloads, compared, rounds):
    """All programs in turn on every workload, `rounds` times, so that what else the machine does meets all of them."""
    for workload in workloads:
        warm(workload.path)
        for number in range(rounds):
            for program in list(compared):
                try:
                    cost = run(filled(program.command, workload.path))
                except Failed as failed:
                    if program.name in (FAREND, REFERENCE):
                        raise
                    print(f"  left out: {failed}", file=sys.stderr)
                    compared.remove(program)
                    continue
                program.runs.setdefault(workload.name, []).append(cost)
                print(
                    f"  {workload.name} round {number + 1}/{rounds} {program.name}: {cost.cpu:.3f} s of processor time, "
                    f"{cost.wall:.3f} s, load {os.getloadavg()[0]:.2f}",
                    file=sys.stderr,
                )


def table(workloads, compared):
    """The table as Markdown, and the bars that are missed."""
    head = ["workload", "program", "CPU s, least", "CPU s, median", "× of least", "× of medians", "M packets/s", "Gbit/s",
            "anonymous MB", "bar"]
    rows, missed = [], []
    for workload in workloads:
        name = workload.name
        reference = next((p for p in compared if p.name == REFERENCE), None)
        for program in compared:
            cpu = program.cpu(name)
            least, middle = min(cpu), statistics.median(cpu)
            memory = max(r.anonymous for r in program.runs[name]) / 1e6
            times = ["", ""]
            bar = ""
            if reference:
                base = reference.cpu(name)
                times = [f"{least / min(base):.2f}", f"{middle / statistics.median(base):.2f}"]
                if program.name == FAREND and workload.packets >= FULL[name]:
                    bar, met = f"≤ {CPU_BARS[name]} ×", middle / statistics.median(base) <= CPU_BARS[name]
                    bar += " met" if met else " MISSED"
                    if not met:
                        missed.append(f"{name}: {times[1]} × the processor time of {REFERENCE} (bar: {CPU_BARS[name]})")
            if program.name == FAREND and name == "small" and memory and workload.packets >= FULL[name]:
                met = memory <= MEMORY_BAR
                bar += f"{', ' if bar else ''}≤ {MEMORY_BAR} MB {'met' if met else 'MISSED'}"
                if not met:
                    missed.append(f"{name}: {memory:.0f} MB (bar: {MEMORY_BAR})")
            rows.append([
                name, program.name, f"{least:.3f}", f"{middle:.3f}", *times, f"{workload.packets / middle / 1e6:.2f}",
                f"{workload.bytes * 8 / middle / 1e9:.2f}", f"{memory:.1f}" if memory else "?", bar,
            ])
    return markdown(head, rows), missed


def markdown(head, rows):
    """A Markdown table whose columns line up in a terminal, too."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


def latency(farend, workloads):
    """What farend says of its batches and its table."""
    lines = []
    for workload in workloads:
        said = run([farend, "replay", "--workers", "1", "--verbose", workload.path]).output
        told = r"a batch took|flows \d+ opened|flows ended early|beyond the table"
        lines += [f"- {workload.name}: {line.strip()}" for line in said.splitlines() if re.search(told, line)]
    return "\n".join(lines)


def instructions(farend, generator, scratch, alone):
    """Instructions a packet in the steady state, counted by callgrind: they do not depend on what else the machine does."""
    if not shutil.which("valgrind"):
        return "Not counted: valgrind is missing (Debian, Ubuntu: `sudo apt-get install -y valgrind`)."
    counted = [Program(FAREND, [farend, "replay", "--workers", "1", "{}"])]
    if not alone:
        counted.insert(0, Program(REFERENCE, ["tcpdump", "-r", "{}", "-w", "/dev/null"]))
    lines = []
    for name, packets in COUNTED.items():
        paths = []
        for times in (1, 2):
            path = scratch / f"{name}-{times}.pcap"
            generate(generator, name, packets * times, path)
            paths.append(path)
        for program in counted:
            totals = [callgrind(filled(program.command, path)) for path in paths]
            if None in totals:
                lines.append(f"- {name}, {program.name}: not counted (valgrind cannot run it)")
            else:
                each = (totals[1] - totals[0]) / packets
                lines.append(f"- {name}, {program.name}: {each:.0f} instructions a packet ({totals[1]:,} for {2 * packets:,})")
        for path in paths:
            path.unlink()
    return "\n".join(lines)


def callgrind(command):
    valgrind = ["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", *command]
    done = subprocess.run(valgrind, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    found = re.search(r"Collected : (\d+)", done.stderr.decode(errors="replace"))
    return int(found[1]) if done.returncode == 0 and found else None


def machine():
    """Processor, cores and kernel, in a few words each."""
    processor = platform.processor() or platform.machine()
    try:
        info = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
        names = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
        numbers = [re.search(rf"^{key}\s*:\s*(\d+)$", info, re.MULTILINE) for key in ("cpu family", "model")]
        if names:
            processor = " ".join(names[1].split())
            if all(numbers):
                processor += f" (family {numbers[0][1]}, model {numbers[1][1]})"
    except OSError:
        pass
    return processor, os.cpu_count() or 0, f"{platform.system()} {platform.release()}"


def commit():
    def git(*words):
        try:
            return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            return ""

    short = git("rev-parse", "--short=12", "HEAD") or "no commit"
    return short + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def version(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError:
        return "?"
    return ((done.stdout or done.stderr).splitlines() or ["?"])[0]


def arguments():
    parser = argparse.ArgumentParser(description="Measures farend against tcpdump on generated captures.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of every program on every workload (5)")
    parser.add_argument("--small", type=int, default=FULL["small"], metavar="PACKETS", help="packets of 60 bytes (10000000)")
    parser.add_argument("--elephant", type=int, default=FULL["elephant"], metavar="PACKETS", help="packets of 1,500 bytes (710000)")
    parser.add_argument("--dir", type=Path, default=None, help="where the captures go for the time ($TMPDIR, /tmp)")
    parser.add_argument("--keep", action="store_true", help="leave the captures there")
    parser.add_argument("--alone", action="store_true", help="farend only, without tcpdump and peers")
    parser.add_argument("--no-count", action="store_true", help="do not count instructions with callgrind")
    parser.add_argument("--record", action="store_true", help="write benches/records/DATE-PROCESSOR.md")
    parser.add_argument("--check", action="store_true", help="end with 1 if a bar is missed")
    args = parser.parse_args()
    if min(args.rounds, args.small, args.elephant) < 1:
        parser.error("rounds and packets are at least 1")
    return args


def main():
    args = arguments()
    if not args.alone and not shutil.which("tcpdump"):
        sys.exit(TCPDUMP_MISSING)
    farend, generator = build(os.environ.get("CARGO", "cargo"))
    sizes = {"small": args.small, "elephant": args.elephant}
    parent = args.dir or Path(tempfile.gettempdir())
    need = sum(RECORD_BYTES[name] * packets for name, packets in sizes.items()) + SPARE
    if shutil.disk_usage(parent).free < need:
        sys.exit(f"{parent}: {need / 1e9:.1f} GB are needed for the captures; name another place with --dir or TMPDIR")
    scratch = Path(tempfile.mkdtemp(prefix="farend-bench-", dir=parent))
    try:
        # tcpdump gives up root before it reads.
        scratch.chmod(0o755)
        text, missed = report(args, farend, generator, sizes, scratch)
    finally:
        if args.keep:
            print(f"the captures are in {scratch}", file=sys.stderr)
        else:
            shutil.rmtree(scratch, ignore_errors=True)
    print(text)
    if args.record:
        word = re.sub(r"[^a-z0-9]+", "-", machine()[0].lower()).strip("-")
        path = RECORDS / f"{datetime.date.today().isoformat()}-{word}.md"
        path.write_text(text + "\n", encoding="utf-8")
        print(f"\nwritten: {path.relative_to(ROOT)}", file=sys.stderr)
    if args.check and missed:
        sys.exit("missed: " + "; ".join(missed))


def report(args, farend, generator, sizes, scratch):
    print("writing the captures …", file=sys.stderr)
    workloads = [generate(generator, name, packets, scratch / f"{name}.pcap") for name, packets in sizes.items()]
    compared = programs(farend, args.alone)
    before = load()
    measure(workloads, compared, args.rounds)
    after = load()
    rows, missed = table(workloads, compared)
    processor, cores, kernel = machine()
    tcpdump = "" if args.alone else f"; {version(['tcpdump', '--version'])}"
    lines = [
        f"# {datetime.date.today().isoformat()}, {processor}",
        "",
        f"{cores} cores, {kernel}; commit {commit()}; {version(['rustc', '--version'])}{tcpdump}.",
        f"Rounds: {args.rounds}, programs in turn. Load average before {before}, after {after}.",
        "Small: " + described(workloads[0]) + "; elephant: " + described(workloads[1]) + ".",
        "",
        rows,
        "",
        "Rates are packets and bits over the median of processor time, on one core. Batches of 256 packets, on the clock (they wait "
        "for whatever else the machine does):",
        "",
        latency(farend, workloads),
    ]
    if not args.no_count:
        print("counting instructions …", file=sys.stderr)
        lines += ["", "Instructions, counted by callgrind:", "", instructions(farend, generator, scratch, args.alone)]
    return "\n".join(lines), missed


def described(workload):
    return f"{workload.packets:,} packets, {workload.bytes / workload.packets:.0f} bytes on average"


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError) as failure:
        sys.exit(str(failure))
