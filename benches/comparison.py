"""What a program costs on a capture, and the programs that farend is compared with: shared by run.py, peers and live.py.

In: captures and commands. Out: processor time and anonymous memory of whole processes, and tables of them as Markdown. Python 3.9
and its library only; memory and the limits of both need Linux, the rest works on any Unix.
"""

import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# The reference: it reads every record and writes it away, and looks at nothing.
REFERENCE = "tcpdump"
FAREND = "farend"
FAREND_FLOWS = "farend, flow records"

# Processor seconds after which a program is ended; a table says "> 60" then. A program that has used so many on a capture in all
# its runs gets no further one there, so that a slow one does not take an hour.
LIMIT = 60
# A program that waits instead of working is ended after this many times the limit, on the clock.
PATIENCE = 10
# Share of the memory that is free at the start which one program may fill: the captures have to stay in the page cache.
MEMORY_SHARE = 0.6

# Seconds between two looks at a process's memory: while it is young, and after LONG seconds, when a peak lasts longer, too.
POLL, LONG, SLOW_POLL = 0.004, 2, 0.02


class Failed(Exception):
    """A program did not end well."""


@dataclass(frozen=True)
class Program:
    """One program of the comparison. In `command`, {} stands for the capture and {dir} for an empty folder."""

    name: str
    command: tuple
    version: tuple  # the command that says it
    package: str  # of Debian and Ubuntu; empty = built here
    looks_at: str
    writes: str

    def there(self):
        return bool(shutil.which(self.command[0]))

    def filled(self, capture, folder):
        words = {"{}": capture, "{dir}": folder}
        return [str(words.get(word, word)) for word in self.command]

    def shown(self):
        """The command as one types it."""
        return " ".join([Path(self.command[0]).name, *self.command[1:]]).replace("{}", "FILE").replace("{dir}", "DIR")


@dataclass(frozen=True)
class Run:
    """What one process cost."""

    cpu: float  # seconds, user and system
    wall: float  # seconds
    anonymous: int  # bytes at the peak; 0 = not known
    output: str
    ended: str = ""  # what it had too much of when it was ended here: "time" or "memory"


def farend(path):
    """farend as it is compared with the reference: findings only."""
    command = (path, "replay", "--workers", "1", "--quiet", "{}")
    payload = "payload: the first packets of a flow, up to 16 KiB, more in some; sizes and times of all"
    return Program(FAREND, tuple(map(str, command)), (str(path), "--version"), "", payload, "findings")


def reference():
    command = ("tcpdump", "-r", "{}", "-w", "/dev/null")
    return Program(REFERENCE, command, ("tcpdump", "--version"), "tcpdump", "nothing", "every packet, to /dev/null")


def peers(path):
    """What runs beside farend and the reference. None does farend's work; `looks_at` and `writes` say which each does.

    argus gets -X so that /etc/argus.conf, which differs between systems, does not count; p0f takes no device as its log
    and prints instead; nfpcapd takes no device as its output.
    """
    same = farend(path)
    flows = (str(path), "replay", "--workers", "1", "--quiet", "--eve", "/dev/null", "--eve-types", "flow", "{}")
    return [
        Program(FAREND_FLOWS, flows, same.version, "", same.looks_at, "findings and a JSON record a flow, to /dev/null"),
        Program("argus", ("argus", "-X", "-r", "{}", "-w", "/dev/null"), ("argus", "-h"), "argus-server", "headers",
                "binary flow records, to /dev/null"),
        Program("nfpcapd", ("nfpcapd", "-r", "{}", "-w", "{dir}"), ("nfpcapd", "-V"), "nfdump", "headers",
                "binary flow records, to a folder"),
        Program("ndpiReader", ("ndpiReader", "-q", "-i", "{}"), ("ndpiReader", "-h"), "libndpi-bin",
                "payload: until a flow is recognised, up to 80 TCP or 24 UDP packets", "nothing (-q)"),
        Program("p0f", ("p0f", "-r", "{}"), ("p0f", "-h"), "p0f", "TCP openings; payload: the first HTTP headers",
                "text lines, to /dev/null"),
    ]


def divided(programs):
    """The programs that are there, and a line for each that is not."""
    there = [p for p in programs if p.there()]
    missing = [f"- {p.name} is not installed (Debian, Ubuntu: `sudo apt-get install -y {p.package}`)" for p in programs if p not in there]
    return there, missing


def anonymous(pid):
    """Resident anonymous memory of a process in bytes: mapped captures are not counted. 0 where Linux's /proc is missing."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace")
    except OSError:
        return 0
    found = re.search(r"^RssAnon:\s+(\d+) kB", status, re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def processor(pid):
    """User and system seconds of a process with all its threads so far. 0 where Linux's /proc is missing."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(command, limit=None, ceiling=None, keep=True):
    """Runs a program to its end, or to `limit` processor seconds or `ceiling` bytes of anonymous memory.

    Processor time is that of the whole process with all its threads, from wait4. What it prints is kept only where it is wanted.
    """
    ended = ""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        started = time.monotonic()
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out if keep else subprocess.DEVNULL, stderr=err)
        peak = 0
        try:
            while True:
                pid, status, usage = os.wait4(child.pid, os.WNOHANG)
                if pid:
                    break
                peak = max(peak, anonymous(child.pid))
                age = time.monotonic() - started
                if ceiling and peak > ceiling:
                    ended = ended or "memory"
                # Not RLIMIT_CPU: it counts ticks, which on a busy machine are more than what wait4 says.
                if limit and processor(child.pid) >= limit:
                    ended = ended or "time"
                if ended or (limit and age > PATIENCE * limit):
                    child.kill()
                time.sleep(POLL if age < LONG else SLOW_POLL)
        except BaseException:
            child.kill()
            raise
        wall = time.monotonic() - started
        child.returncode = os.waitstatus_to_exitcode(status)
        cpu = usage.ru_utime + usage.ru_stime
        # It may have come to its end by itself in the meantime.
        ended = ended if child.returncode else ""
        if child.returncode != 0 and not ended:
            err.seek(0)
            said = "\n".join(err.read().decode(errors="replace").strip().splitlines()[-5:])
            raise Failed(f"{' '.join(map(str, command))}: ended with {child.returncode} after {wall:.0f} s\n{said}")
        out.seek(0)
        text = out.read().decode(errors="replace")
    return Run(cpu, wall, peak, text, ended)


def warm(path):
    """Reads a file, so that the next program finds it in the page cache."""
    with open(path, "rb", buffering=0) as file:
        while file.read(1 << 22):
            pass


def measure(captures, programs, limit, scratch):
    """All programs in turn on every capture, so that what else the machine does meets all of them.

    In: captures as (name, path), programs as (program, rounds): in each round those run that have not had theirs, or used up
    their time. Out: the runs by (capture name, program name); a program that failed on a capture has none there.
    """
    runs = {}
    for name, path in captures:
        left_out = set()
        most = max(rounds for _, rounds in programs)
        for number in range(most):
            for program, rounds in programs:
                if number >= rounds or program.name in left_out:
                    continue
                warm(path)
                folder = Path(tempfile.mkdtemp(prefix="out-", dir=scratch))
                try:
                    cost = run(program.filled(path, folder), limit, ceiling(), keep=False)
                except Failed as failed:
                    print(f"  left out: {failed}", file=sys.stderr)
                    left_out.add(program.name)
                    runs.pop((name, program.name), None)
                    continue
                finally:
                    shutil.rmtree(folder, ignore_errors=True)
                had = runs.setdefault((name, program.name), [])
                if cost.ended:
                    had.clear()
                had.append(cost)
                if cost.ended or sum(r.cpu for r in had) > limit:
                    left_out.add(program.name)
                print(
                    f"  {name} round {number + 1}/{rounds} {program.name}: {cost.cpu:.3f} s of processor time, {cost.wall:.3f} s, "
                    f"load {os.getloadavg()[0]:.2f}{f', ended: too much {cost.ended}' if cost.ended else ''}",
                    file=sys.stderr,
                )
    return runs


def ceiling():
    """Bytes of memory that a program may fill now; None where the system does not say what is free."""
    try:
        found = re.search(r"^MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"), re.MULTILINE)
    except OSError:
        return None
    return int(int(found[1]) * 1024 * MEMORY_SHARE) if found else None


def table(captures, programs, runs):
    """What every program cost on every capture, beside the reference and farend. Medians are compared."""
    head = ["capture", "program", "runs", "CPU s, median", "CPU s, least", f"× {REFERENCE}", f"× {FAREND}", f"× {FAREND_FLOWS}", "anonymous MB"]
    rows = []
    for name, _ in captures:
        bases = [median(runs.get((name, base))) for base in (REFERENCE, FAREND, FAREND_FLOWS)]
        for program in programs:
            had = runs.get((name, program.name))
            if not had:
                rows.append([name, program.name, "0", "failed", *[""] * (len(head) - 4)])
                continue
            ended = had[-1].ended
            over = "> " if ended else ""
            middle = statistics.median(r.cpu for r in had)
            memory = max(r.anonymous for r in had) / 1e6
            rows.append([
                name, program.name, f"{len(had)}",
                f"{over}{middle:.0f}" if ended == "time" else f"{over}{middle:.2f}",
                "" if ended else f"{min(r.cpu for r in had):.2f}",
                *(f"{over}{times(middle / base)}" if base else "" for base in bases),
                f"{over}{memory:.0f}{' (ended)' if ended == 'memory' else ''}" if memory else "?",
            ])
    return markdown(head, rows)


def median(runs):
    """Of processor time; None if there is none or the program was ended."""
    return statistics.median(r.cpu for r in runs) if runs and not runs[-1].ended else None


def times(ratio):
    return f"{ratio:.2f}" if ratio < 10 else f"{ratio:.0f}"


def described(programs):
    """Which work each program does, and which version did it: without that, the figures cannot be compared."""
    head = ["program", "version", "looks at", "writes", "command"]
    return markdown(head, [[p.name, version(p.version), p.looks_at, p.writes, f"`{p.shown()}`"] for p in programs])


def markdown(head, rows):
    """A Markdown table whose columns line up in a terminal, too."""
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    line = lambda row: "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    return "\n".join([line(head), "|" + "|".join("-" * (width + 2) for width in widths) + "|", *map(line, rows)])


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
    """The commit that is measured, and whether files differ from it."""

    def git(*words):
        try:
            return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout.strip()
        except OSError:
            return ""

    short = git("rev-parse", "--short=12", "HEAD") or "no commit"
    return short + (" with changes" if git("status", "--porcelain", "--untracked-files=no") else "")


def version(command):
    """The first number like a version's in what a program says of itself, or "?"."""
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", check=False)
    except OSError:
        return "?"
    found = re.search(r"\d+\.\d+[\w.]*", done.stdout + done.stderr)
    return found[0] if found else "?"


def load():
    return " ".join(f"{l:.2f}" for l in os.getloadavg())
