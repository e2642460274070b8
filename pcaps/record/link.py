"""Links between nodes: their character, and the `delayline` process that imitates one.

In: two nodes and a character drawn by seed. Out: a TAP device in each, joined; the process to end later.
"""

import dataclasses
import pathlib
import subprocess

from node import SceneError

HERE = pathlib.Path(__file__).parent
NO_OFFLOAD = "tso off gso off gro off lro off tx off rx off sg off"
# Links keep their timing when the machine is busy with other things.
NICENESS = -4


@dataclasses.dataclass
class Link:
    """Character of one line; delays one way, in milliseconds."""

    delay_ms: float
    jitter_ms: float
    mbit: float
    loss_permille: float
    hops: int

    def arguments(self):
        """For the delayline program."""
        numbers = [f"{self.delay_ms:.2f}", f"{self.jitter_ms:.2f}", f"{self.mbit:.0f}", f"{self.loss_permille:.2f}"]
        return [*numbers, str(self.hops)]

    def summary(self):
        """For the truth file."""
        timing = f"{self.delay_ms:.1f} ms one way, jitter {self.jitter_ms:.1f} ms"
        return f"{timing}, {self.mbit:.0f} Mbit/s, loss {self.loss_permille:.2f} per mille, {self.hops} hops"


def draw_access(rng, pool):
    """The line between the internet and a place of this kind."""
    if pool == "home":
        timing = rng.uniform(5, 14), rng.uniform(0.6, 2.5)
        return Link(*timing, rng.choice([40, 60, 100]), rng.uniform(0, 0.4), rng.randrange(3, 7))
    if pool == "foreign_home":
        timing = rng.uniform(30, 70), rng.uniform(1, 4)
        return Link(*timing, rng.choice([30, 50]), rng.uniform(0.2, 1.0), rng.randrange(6, 11))
    if pool == "business":
        return Link(rng.uniform(8, 28), rng.uniform(0.3, 1.2), 200, rng.uniform(0, 0.1), rng.randrange(4, 8))
    return Link(rng.uniform(12, 45), rng.uniform(0.2, 1.5), 300, rng.uniform(0, 0.15), rng.randrange(5, 10))


def draw_web(rng, group):
    """The line to web sites: a content network near by, or their own servers far away."""
    if group == "cdn":
        return Link(rng.uniform(3, 8), 0.4, 400, 0, rng.randrange(5, 9))
    return Link(rng.uniform(20, 42), 1.0, 300, rng.uniform(0, 0.1), rng.randrange(8, 13))


def draw_resolver(rng):
    """The line to the access network's resolver."""
    return Link(rng.uniform(1.5, 4), 0.3, 400, 0, 2)


def draw_lan(rng):
    """A machine's leg to its gateway: Wi-Fi or a cable."""
    if rng.random() < 0.5:
        return Link(rng.uniform(0.8, 2.0), rng.uniform(0.3, 0.8), 150, 0, 0)
    return Link(rng.uniform(0.15, 0.3), 0.03, 900, 0, 0)


def build_delayline(directory):
    """Compiles delayline.c; returns the program."""
    program = pathlib.Path(directory, "delayline")
    source = HERE / "delayline.c"
    if not program.exists() or program.stat().st_mtime < source.stat().st_mtime:
        subprocess.run(["gcc", "-O2", "-Wall", "-o", program, source, "-lm"], check=True)
    return program


def join(program, ends, link, seed):
    """Joins two (node, device) ends; the process runs until it is ended."""
    sides = [text for node, device in ends for text in (str(node.pid), device)]
    command = ["nice", "-n", str(NICENESS), program, *sides, *link.arguments(), str(seed)]
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(command, text=True, start_new_session=True, **pipes)
    if process.stdout.readline().strip() != "up":
        raise SceneError(f"no line {sides}: {process.stderr.read()}")
    for node, device in ends:
        node.run(f"ethtool -K {device} {NO_OFFLOAD} >/dev/null 2>&1", check=False)
    return process
