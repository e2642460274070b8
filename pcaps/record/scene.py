"""A scene: one recording from the first namespace to the truth file.

In: a scenario function and a seed. Out: NAME.pcap and NAME.truth.toml in the output directory. A scenario builds its
network, starts servers, calls `record`, lets people act, and says what it expects of flows and findings.
"""

import collections
import dataclasses
import datetime
import json
import pathlib
import random
import shutil
import subprocess
import time

import addresses
import capture
import certificates
import people
import truth
from link import build_delayline
from topology import Network

HERE = pathlib.Path(__file__).parent
FRAME_MAX = 1514
SETTLE_SECONDS = 0.4
SCENARIOS = {}


@dataclasses.dataclass
class Scenario:
    """A registered scenario. `packages` are the Debian packages whose versions go into the truth file."""

    name: str
    run: object
    packages: list
    point: str
    seed: int
    ipv6: bool
    description: str


def scenario(name, packages, point="lan", seed=1, ipv6=False):
    """Registers a function as a scenario; its docstring is the description in the truth file."""

    def register(function):
        if name in SCENARIOS:
            raise ValueError(f"two scenarios are called {name}")
        SCENARIOS[name] = Scenario(
            name, function, list(packages), point, seed, ipv6, " ".join(function.__doc__.split())
        )
        return function

    return register


class Scene:
    """What a scenario works with."""

    def __init__(self, scenario, seed, work):
        self.scenario, self.seed = scenario, seed
        self.directory, self.tools = pathlib.Path(work, scenario.name), pathlib.Path(work, "tools")
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(parents=True)
        self.directory.chmod(0o755)
        self.authority = certificates.Authority(self.directory / "authority")
        self.network = Network(self.rng("network"), self.directory, build_delayline(work), scenario.ipv6)
        self.events = collections.defaultdict(list)
        self.choices = {}
        self.expectations, self.findings, self.programs = [], [], []
        self._recorder = None

    def rng(self, purpose):
        """A generator of its own for each purpose, so that one choice does not shift another."""
        return random.Random(f"{self.scenario.name}/{self.seed}/{purpose}")

    def account(self, purpose="account"):
        """A person with an account."""
        return people.draw_account(self.rng(purpose))

    def person(self, purpose="operator", **habits):
        """A person with hands; the habits go into the truth file."""
        person = people.Person(self.rng(f"hands-{purpose}"), **habits)
        self.choose(
            f"{purpose} typing",
            f"{person.words_per_minute:.0f} words a minute, spread {person.evenness:.2f}, slips {person.slip:.3f}, "
            f"keys held {person.hold * 1000:.0f} ms",
        )
        return person

    def choose(self, what, value):
        """Writes down a choice that the seed made."""
        self.choices[what] = value
        return value

    def tool(self, name):
        """A helper program of the recorder, copied to where every node can read it."""
        target = self.directory / name
        if not target.exists():
            shutil.copy(HERE / name, target)
        return target

    def npm_program(self, package):
        """The program of an npm package that `setup` installed; its version goes into the truth file."""
        folder = self.tools / "npm" / "node_modules" / package
        self.programs.append(f"{package} {json.loads((folder / 'package.json').read_text())['version']}")
        return self.tools / "npm" / "node_modules" / ".bin" / package

    def python_program(self, name, *packages):
        """Command line of a helper script under the Python that `setup` made. Its packages' versions go into the truth."""
        python = self.tools / "venv" / "bin" / "python"
        for package in packages:
            version = subprocess.run(
                [python, "-c", f"import importlib.metadata as m; print(m.version('{package}'))"],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            ).stdout.strip()
            self.programs.append(f"{package} {version}")
        return [python, self.tool(name)]

    def note_event(self, kind, at=None):
        """Writes down that something happened (seconds since the epoch)."""
        self.events[kind].append(at if at is not None else time.time())

    def record(self, node, interface):
        """Starts the resolver, then the capture."""
        self.network.start_dns()
        self._recorder = capture.Recorder(node, interface, self.directory / "raw.pcap")
        time.sleep(SETTLE_SECONDS)

    def record_lan(self, lan):
        """Starts the capture on the inside of a home gateway."""
        self.record(lan.gateway, "lan0")

    def finish(self):
        """Ends the capture."""
        time.sleep(SETTLE_SECONDS)
        said = self._recorder.finish()
        if "0 packets dropped by kernel" not in said:
            raise RuntimeError(f"the capture lost packets: {said}")

    def expect_flow(self, app, label=None, **match):
        """Says what some flows of the capture are; the first match wins."""
        self.expectations.append(truth.Expectation(app, label, **match))

    def expect_finding(self, finding, host="*", far_end="*", must=True, deep=False):
        """Says that a finding must come out, or must not."""
        self.findings.append(truth.Finding(finding, host, far_end, must, deep))

    def expect_silence(self, *findings):
        """Says that these findings must not come out for any host."""
        for finding in findings:
            self.expect_finding(finding, must=False)

    def write(self, out):
        """Writes capture and truth; returns a line about them."""
        raw = self._recorder.path
        flows = capture.flows(raw)
        if not flows:
            raise RuntimeError("the capture is empty")
        giants = sum(original > FRAME_MAX for _, _, original in capture.packets(raw))
        if giants:
            raise RuntimeError(f"{giants} frames longer than {FRAME_MAX} bytes: segmentation offload is on somewhere")
        sites = {address for address, _ in addresses.SITES.values()} | set(addresses.SITES6.values())
        explained = [(flow, truth.explain(flow, self.expectations, sites)) for flow in flows]
        unmet = [e for e in self.expectations if e.label and not any(e is x for _, x in explained)]
        if unmet:
            raise RuntimeError(f"expected flows that are not in the capture: {unmet}")
        self.choices |= {f"link {name}": text for name, text in self.network.links.items()}
        self.choices |= {
            f"congestion control {name}": cc for name, cc in self.network.congestion.items() if cc != "cubic"
        }
        head = {
            "description": self.scenario.description,
            "recorded": datetime.date.today().isoformat(),
            "programs": self.programs + [package_version(p) for p in self.scenario.packages],
            "seed": self.seed,
            "point": self.scenario.point,
        }
        out = pathlib.Path(out)
        shutil.copy(raw, out / f"{self.scenario.name}.pcap")
        start = next(capture.packets(raw))[0]
        text = truth.render(head, self.network.roles, self.choices, explained, self.findings, self.events, start)
        (out / f"{self.scenario.name}.truth.toml").write_text(text)
        count, seconds = sum(f.packets for f in flows), max(f.last for f in flows) - flows[0].first
        return f"{count} packets, {raw.stat().st_size // 1000} kB, {seconds:.0f} s, {len(flows)} flows"

    def close(self):
        """Ends everything the scene started."""
        self.network.close()


def package_version(package):
    """A Debian package and its upstream version, as in "xrdp 0.9.21.1"."""
    done = subprocess.run(
        ["dpkg-query", "-W", "-f", "${source:Upstream-Version}", package],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        raise RuntimeError(f"{package}: not installed (record.py setup installs it)")
    return f"{package} {done.stdout.strip()}"


def run(name, out, work, seed=None):
    """Records one scenario."""
    chosen = SCENARIOS[name]
    scene = Scene(chosen, chosen.seed if seed is None else seed, work)
    try:
        chosen.run(scene)
        scene.finish()
        return scene.write(out)
    finally:
        scene.close()
