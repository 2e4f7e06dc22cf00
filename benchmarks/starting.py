"""What starting costs: the command's help texts, and what ``import quantus_vit`` adds to the packages it works with.

    python benchmarks/starting.py [--repeats 5]

CPU time of fresh processes, medians, file caches warm; prints a table.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys

from quantus_vit.cli.main import _COMMANDS as COMMANDS

IMPORTS = "import captum.attr, quantus, timm"


def seconds(*arguments: str) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-W", "ignore", *arguments], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def medians(runs: dict[str, tuple[str, ...]], repeats: int) -> dict[str, float]:
    """Median CPU time of each, the runs taking turns; a first round that warms the caches does not count."""
    rounds = [{name: seconds(*arguments) for name, arguments in runs.items()} for _ in range(repeats + 1)]
    return {name: statistics.median(one[name] for one in rounds[1:]) for name in runs}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    command = ("-m", "quantus_vit.cli")
    helps = {f"quantus-vit {name} --help".replace("  ", " "): (*command, *name.split(), "--help")
             for name in ("", *COMMANDS)}  # fmt: skip
    print("| start | CPU seconds |\n|---|---|")
    for name, value in medians({"quantus-vit --version": (*command, "--version"), **helps}, repeats).items():
        print(f"| `{name}` | {value:.2f} |", flush=True)
    found = medians({IMPORTS: ("-c", IMPORTS), f"{IMPORTS}, quantus_vit": ("-c", f"{IMPORTS}, quantus_vit")}, repeats)
    for name, value in found.items():
        print(f"| `{name}` | {value:.2f} |")
    without, with_ours = found.values()
    print(f"\n`import quantus_vit` adds {100 * (with_ours / without - 1):.1f} % to the others.")


if __name__ == "__main__":
    main()
