#!/usr/bin/env python3
"""Records real programs in network namespaces of its own, with ground truth.

record.py list                               scenarios and what they show
record.py setup                              installs the programs the scenarios use
record.py run NAME… [--seed N] [--out DIR]   records (as root); DIR is by default the folder above
"""

import argparse
import importlib
import os
import pathlib
import subprocess
import sys
import time
import traceback

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import scene  # noqa: E402  (the folder is not an installed package)

WORK = "/var/tmp/farend-record"
# Links and people keep their timing when the machine is busy with other things.
NICENESS = -8


def load():
    """Imports every module of scenarios/."""
    for module in sorted((HERE / "scenarios").glob("*.py")):
        importlib.import_module(f"scenarios.{module.stem}")
    return scene.SCENARIOS


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list")
    commands.add_parser("setup")
    run = commands.add_parser("run")
    run.add_argument("names", nargs="+", metavar="NAME")
    run.add_argument("--seed", type=int)
    run.add_argument("--out", type=pathlib.Path, default=HERE.parent)
    run.add_argument("--work", default=WORK, help=f"scratch folder, not below /tmp or /root (default {WORK})")
    arguments = parser.parse_args()
    if arguments.command == "setup":
        return subprocess.run(["bash", HERE / "setup.sh", WORK]).returncode
    scenarios = load()
    if arguments.command == "list":
        for name, chosen in sorted(scenarios.items()):
            print(f"{name:28} {chosen.description}")
        return 0
    unknown = [n for n in arguments.names if n not in scenarios]
    if unknown:
        parser.error(f"no such scenario: {', '.join(unknown)}")
    pathlib.Path(arguments.work).mkdir(parents=True, exist_ok=True)
    arguments.out.mkdir(parents=True, exist_ok=True)
    os.nice(NICENESS)
    failed = 0
    for name in arguments.names:
        started = time.monotonic()
        try:
            what = scene.run(name, arguments.out, arguments.work, arguments.seed)
            print(f"ok    {name}: {what}; took {time.monotonic() - started:.0f} s", flush=True)
        except Exception as error:
            failed += 1
            pathlib.Path(arguments.work, name, "failure.txt").write_text(traceback.format_exc())
            print(f"FAIL  {name}: {error}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
