#!/usr/bin/env python3
"""Measures farend against tcpdump and other programs on generated captures: `make bench`, or `benches/run.py --help`.

In: the release build and its example `generate`. Out: a table of processor time, rates, anonymous memory and bars, the table of
peers, percentiles of batches, instructions a packet; with --record also a file in benches/records. Needs Python 3.9 and nothing
beside its library.
"""

import argparse
import datetime
import os
import re
import shutil
import statistics
import struct
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import comparison
from comparison import FAREND, REFERENCE, ROOT, Failed

RECORDS = ROOT / "benches" / "records"


@dataclass(frozen=True)
class Workload:
    """One capture that is generated and measured, and the bars for it."""

    name: str
    content: str  # what `generate` calls it
    packets: int  # the bars are for so many or more: in shorter ones starting counts for more than packets
    record_bytes: int  # of frame and record header, about; for the disk space that is asked for
    cpu_bar: float = 0  # processor time as a multiple of the reference's, medians; 0 = no bar
    memory_bar: int = 0  # anonymous memory, MB; 0 = no bar


WORKLOADS = [
    # A million flows are in the table near its end.
    Workload("small", "small", 10_000_000, 76, cpu_bar=2.3, memory_bar=200),
    Workload("elephant", "elephant", 710_000, 1530, cpu_bar=1.5),
    Workload("mix", "mix", 3_000_000, 600),
    # For those programs that do not come to the end of the whole one within the limit.
    Workload("short", "small", 1_000_000, 76),
]

# Free space beyond the captures, for what peers write, bytes.
SPARE = 1 << 30

# Instructions a packet are the difference of two runs, so that starting and the first flows' opening do not count: packets of
# the shorter one; the longer one has twice as many.
COUNTED = {"small": 800_000, "elephant": 40_000}

TCPDUMP_MISSING = """\
tcpdump, the reference, is missing. Type one of these, then run make bench again:
    Debian, Ubuntu:  sudo apt-get install -y tcpdump
    Fedora:          sudo dnf install -y tcpdump
    Alpine:          sudo apk add tcpdump
    macOS:           it is part of the system; check PATH
or measure farend alone: benches/run.py --alone"""


@dataclass(frozen=True)
class Capture:
    """A generated capture."""

    workload: Workload
    path: Path
    packets: int
    bytes: int  # of frames

    @property
    def name(self):
        return self.workload.name

    def full(self):
        return self.packets >= self.workload.packets

    def __str__(self):
        return f"{self.name}: {self.packets:,} packets, {self.bytes / self.packets:.0f} bytes on average"


def build(cargo):
    """Builds what is measured and gives the paths of farend and of the generator."""
    command = [cargo, "build", "--release", "--locked", "--package", "farend", "--bin", "farend", "--example", "generate"]
    subprocess.run(command, cwd=ROOT, check=True)
    target = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    release = (ROOT / target) / "release"
    return release / "farend", release / "examples" / "generate"


def generate(generator, content, packets, path):
    """Writes a capture."""
    of = ["pcaps"] if content == "mix" else []
    command = [generator, content, str(packets), path, *of]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{content}: not available: {done.stderr.strip()}")


def captures(generator, sizes, scratch):
    """Writes what is to be measured; a workload that this build cannot make is said and left out."""
    made = []
    for workload in WORKLOADS:
        path = scratch / f"{workload.name}.pcap"
        if not sizes[workload.name]:
            continue
        try:
            generate(generator, workload.content, sizes[workload.name], path)
        except Failed as failed:
            # A workload with bars has to be there.
            if workload.cpu_bar:
                raise
            print(f"  {failed}", file=sys.stderr)
            path.unlink(missing_ok=True)
            continue
        made.append(Capture(workload, path, *counted(path)))
    return made


def counted(path):
    """Packets and bytes of frames in a classic pcap file."""
    with path.open("rb") as file:
        magic = file.read(24)[:4]
        # draft-ietf-opsawg-pcap: 0xa1b2c3d4, or 0xa1b23c4d with nanoseconds, in the writer's byte order, 16 bytes before each frame.
        header = struct.Struct("<8xI4x" if magic[0] in (0xD4, 0x4D) else ">8xI4x")
        packets = total = 0
        while record := file.read(header.size):
            (length,) = header.unpack(record)
            file.seek(length, os.SEEK_CUR)
            packets += 1
            total += length
    return packets, total


def table(made, runs):
    """farend and the reference as Markdown, and the bars that are missed."""
    head = ["workload", "program", "CPU s, least", "CPU s, median", "× of least", "× of medians", "M packets/s", "Gbit/s",
            "anonymous MB", "bar"]
    rows, missed = [], []
    for capture in made:
        name = capture.name
        base = [r.cpu for r in runs.get((name, REFERENCE), [])]
        for program in (REFERENCE, FAREND):
            had = runs.get((name, program))
            if not had:
                continue
            cpu = [r.cpu for r in had]
            least, middle = min(cpu), statistics.median(cpu)
            memory = max(r.anonymous for r in had) / 1e6
            ratios = (least / min(base), middle / statistics.median(base)) if base else ()
            bars = bars_of(capture, ratios[1:], memory) if program == FAREND and capture.full() else []
            missed += [f"{name}: {said}" for said, met in bars if not met]
            rows.append([
                name, program, f"{least:.3f}", f"{middle:.3f}", *([f"{r:.2f}" for r in ratios] or ["", ""]),
                f"{capture.packets / middle / 1e6:.2f}", f"{capture.bytes * 8 / middle / 1e9:.2f}",
                f"{memory:.1f}" if memory else "?", ", ".join(f"{said} {'met' if met else 'MISSED'}" for said, met in bars),
            ])
    return comparison.markdown(head, rows), missed


def bars_of(capture, ratio, memory):
    """The bars for farend on a capture, and whether they are met. `ratio` is empty where there is no reference."""
    workload = capture.workload
    bars = []
    if workload.cpu_bar and ratio:
        bars.append((f"≤ {workload.cpu_bar} ×", ratio[0] <= workload.cpu_bar))
    if workload.memory_bar and memory:
        bars.append((f"≤ {workload.memory_bar} MB", memory <= workload.memory_bar))
    return bars


def latency(farend, made):
    """What farend says of its batches and its table."""
    lines = []
    for capture in made:
        said = comparison.run([farend, "replay", "--workers", "1", "--verbose", capture.path]).output
        told = r"a batch took|flows \d+ opened|flows ended early|beyond the table"
        lines += [f"- {capture.name}: {line.strip()}" for line in said.splitlines() if re.search(told, line)]
    return "\n".join(lines)


def instructions(generator, programs, scratch):
    """Instructions a packet in the steady state, counted by callgrind: they do not depend on what else the machine does."""
    if not shutil.which("valgrind"):
        return "Not counted: valgrind is missing (Debian, Ubuntu: `sudo apt-get install -y valgrind`)."
    lines = []
    for name, packets in COUNTED.items():
        paths = []
        for multiple in (1, 2):
            path = scratch / f"{name}-{multiple}.pcap"
            generate(generator, name, packets * multiple, path)
            paths.append(path)
        for program in programs:
            totals = [callgrind(program.filled(path, scratch)) for path in paths]
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


def arguments():
    parser = argparse.ArgumentParser(description="Measures farend against tcpdump and other programs on generated captures.")
    parser.add_argument("--rounds", type=int, default=5, help="runs of farend and tcpdump on every workload (5)")
    parser.add_argument("--peer-rounds", type=int, default=3, metavar="ROUNDS", help="runs of the other programs; 0 = none (3)")
    parser.add_argument("--limit", type=int, default=comparison.LIMIT, metavar="SECONDS", help="of processor time, a run (60)")
    for workload in WORKLOADS:
        told = f"packets of {workload.name}; 0 = leave it out ({workload.packets})"
        parser.add_argument(f"--{workload.name}", type=int, default=workload.packets, metavar="PACKETS", help=told)
    parser.add_argument("--dir", type=Path, default=None, help="where the captures go for the time ($TMPDIR, /tmp)")
    parser.add_argument("--keep", action="store_true", help="leave the captures there")
    parser.add_argument("--alone", action="store_true", help="farend only, without tcpdump and peers")
    parser.add_argument("--no-count", action="store_true", help="do not count instructions with callgrind")
    parser.add_argument("--record", action="store_true", help="write benches/records/DATE-PROCESSOR.md")
    parser.add_argument("--check", action="store_true", help="end with 1 if a bar is missed")
    args = parser.parse_args()
    if min(args.rounds, args.limit) < 1:
        parser.error("rounds and limit are at least 1")
    return args


def main():
    args = arguments()
    if not args.alone and not shutil.which(REFERENCE):
        sys.exit(TCPDUMP_MISSING)
    farend, generator = build(os.environ.get("CARGO", "cargo"))
    sizes = {workload.name: getattr(args, workload.name) for workload in WORKLOADS}
    parent = args.dir or Path(tempfile.gettempdir())
    need = sum(workload.record_bytes * sizes[workload.name] for workload in WORKLOADS) + SPARE
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
        word = re.sub(r"[^a-z0-9]+", "-", comparison.machine()[0].lower()).strip("-")
        path = RECORDS / f"{datetime.date.today().isoformat()}-{word}.md"
        path.write_text(text + "\n", encoding="utf-8")
        print(f"\nwritten: {path.relative_to(ROOT)}", file=sys.stderr)
    if args.check and missed:
        sys.exit("missed: " + "; ".join(missed))


def report(args, farend, generator, sizes, scratch):
    print("writing the captures …", file=sys.stderr)
    made = captures(generator, sizes, scratch)
    barred = [comparison.farend(farend)] if args.alone else [comparison.reference(), comparison.farend(farend)]
    asked = comparison.peers(farend) if args.peer_rounds and not args.alone else []
    peers, missing = comparison.divided(asked)
    before = comparison.load()
    turns = [(program, args.rounds) for program in barred] + [(program, args.peer_rounds) for program in peers]
    runs = comparison.measure([(c.name, c.path) for c in made], turns, args.limit, scratch)
    after = comparison.load()
    for capture in made:
        for program in barred:
            had = runs.get((capture.name, program.name))
            if not had or had[-1].ended:
                raise Failed(f"{program.name} did not come to the end of {capture.name}")
    rows, missed = table(made, runs)
    processor, cores, kernel = comparison.machine()
    rust = comparison.version([os.environ.get("RUSTC", "rustc"), "--version"])
    lines = [
        f"# {datetime.date.today().isoformat()}, {processor}",
        "",
        f"{cores} cores, {kernel}; commit {comparison.commit()}; rustc {rust}.",
        f"Rounds: {args.rounds}, programs in turn. Load average before {before}, after {after}.",
        "; ".join(map(str, made)) + ".",
        "",
        rows,
        "",
        "Rates are packets and bits over the median of processor time, on one core. Batches of 256 packets, on the clock (they wait "
        "for whatever else the machine does):",
        "",
        latency(farend, made),
    ]
    if peers:
        told = f"Rounds: {args.peer_rounds}, in turn with those above; a run is ended after {args.limit} s of processor time."
        lines += ["", "## Peers", "", told, "", comparison.table([(c.name, c.path) for c in made], barred + peers, runs)]
        lines += ["", comparison.described(barred + peers)]
    if missing:
        lines += ["", *missing]
    if not args.no_count:
        print("counting instructions …", file=sys.stderr)
        lines += ["", "## Instructions", "", "Counted by callgrind:", "", instructions(generator, barred, scratch)]
    return "\n".join(lines), missed


if __name__ == "__main__":
    try:
        main()
    except (Failed, subprocess.CalledProcessError) as failure:
        sys.exit(str(failure))
