"""What starting costs: the command's help texts, and what ``import quantus_vit`` adds to the packages it works with.

    python benchmarks/starting.py [--repeats 7] [--write]

CPU time of fresh processes that take turns, medians, file caches warm. Prints a table; ``--write`` puts it into
RESULTS.md, in place of the one before.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

import record

from quantus_vit.cli.main import _COMMANDS as COMMANDS

HEADING = "# Start"
IMPORTS = "import captum.attr, quantus, timm"
OURS = f"{IMPORTS}, quantus_vit"
ALL_NAMES = f"{OURS}; [getattr(quantus_vit, name) for name in quantus_vit.__all__]"
PACKAGES = ("torch", "timm", "captum", "quantus", "numpy")


def seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(runs: dict[str, tuple[str, ...]], repeats: int) -> dict[str, float]:
    """Median CPU time of each, the runs taking turns; a first round that warms the caches does not count."""
    rounds = [{name: seconds(*arguments) for name, arguments in runs.items()} for _ in range(repeats + 1)]
    return {name: statistics.median(one[name] for one in rounds[1:]) for name in runs}


def section(starts: dict[str, float], imports: dict[str, float], repeats: int, load: float) -> str:
    """The part of RESULTS.md."""
    versions = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    without, with_ours = imports[IMPORTS], imports[OURS]
    rows = [
        *(
            f"| `{name}` | {value:.2f} | {'≤ 0.5' if name in list(starts)[:2] else ''} |"
            for name, value in starts.items()
        ),
        *(f"| `{name}` | {value:.2f} | |" for name, value in imports.items()),
    ]
    lines = [
        HEADING, "",
        "Written by `python benchmarks/starting.py --write`: CPU seconds of fresh processes that take turns, file",
        "caches warm.", "",
        f"- Date: {datetime.now(timezone.utc):%Y-%m-%d %H:%M UTC}; medians of {repeats}",
        f"- Machine: {record.machine()}",
        f"- Load average at the start and at the end: {load:.1f} and {os.getloadavg()[0]:.1f}",
        f"- Versions: Python {sys.version.split()[0]}, {versions}",
        "", "| start | CPU seconds | aim |", "|---|---|---|", *rows, "",
        f"`import quantus_vit` adds {100 * (with_ours / without - 1):.1f} % to the others (aim: at most 15). Its own",
        "parts are imported when one of its names is first used; the last row uses all of them.", "",
    ]  # fmt: skip
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Put the section at the end of a page, in place of an older one."""
    before = page.read_text(encoding="utf-8").partition(f"\n{HEADING}\n")[0]
    page.write_text(f"{before.rstrip()}\n\n{text}", encoding="utf-8")


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args(argv)
    load, command = os.getloadavg()[0], ("-m", "quantus_vit.cli")
    helps = {
        f"quantus-vit {name} --help".replace("  ", " "): (*command, *name.split(), "--help") for name in ("", *COMMANDS)
    }
    starts = medians({"quantus-vit --version": (*command, "--version"), **helps}, args.repeats)
    imports = medians({code: ("-c", code) for code in (IMPORTS, OURS, ALL_NAMES)}, args.repeats)
    text = section(starts, imports, args.repeats, load)
    print(text)
    if args.write:
        write(Path(__file__).with_name("RESULTS.md"), text)


if __name__ == "__main__":
    main()
