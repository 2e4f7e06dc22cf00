"""The relevance engine's cost and peak memory beside other methods, as multiples of the plain forward.

    python benchmarks/engine.py                   # measures, writes RESULTS.md and recorded.json beside this file
    python benchmarks/engine.py --device cuda     # likewise, and recorded-cuda.json; RESULTS.md has both
    python benchmarks/engine.py --check           # measures again; exit code 1 if a ratio rose by more than 25 %

How a number is measured: ``measuring``. What is measured: ``candidates``. ``README.md`` here explains the numbers.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import record
import torch
from candidates import CANDIDATES
from measuring import Case, Laboratory, Result

HERE = Path(__file__).resolve().parent
MODELS = ("vit_tiny_patch16_224", "vit_base_patch16_224")
BATCHES = {"cpu": (1, 8), "cuda": (1, 32, 128)}
RECORDS = {"cpu": "recorded.json", "cuda": "recorded-cuda.json"}


def main(argv: Sequence[str] | None = None) -> int:
    arguments = parse(argv, [candidate.name for candidate in CANDIDATES])
    load = os.getloadavg()[0]
    rows = measure(arguments)
    found = record.Record(record.circumstances(arguments, load), rows)
    print(record.table(found))
    if arguments.check:
        return check(found, arguments.record)
    arguments.out.mkdir(parents=True, exist_ok=True)
    found.save(arguments.out / RECORDS[arguments.device])
    known = [arguments.out / name for name in RECORDS.values()]
    records = [record.Record.load(path) for path in known if path.is_file()]
    page = arguments.out / "RESULTS.md"
    page.write_text(record.page(records) + record.further(page))
    return 0


def measure(arguments: argparse.Namespace) -> list[record.Row]:
    """All rows, each told on the terminal as soon as it is there."""
    laboratory = Laboratory()
    rows: list[record.Row] = []
    forwards: dict[tuple[str, str, int], Result] = {}
    chosen = [candidate for candidate in CANDIDATES if not arguments.methods or candidate.name in arguments.methods]
    for model in arguments.models:
        for batch in arguments.batches or BATCHES[arguments.device]:
            for candidate in chosen:
                case = Case(candidate.name, model, batch, arguments.size, arguments.device, candidate.architecture)
                key = (candidate.architecture, model, batch)
                if key not in forwards:
                    forwards[key] = laboratory.forward(case)
                case = replace(case, repeats=arguments.repeats, warmups=arguments.warmups)
                rows.append(record.row(laboratory.measure(case), forwards[key]))
                print(record.sentence(rows[-1]), file=sys.stderr, flush=True)
    return rows


def check(found: record.Record, path: Path) -> int:
    """Compare with the record; 0 if nothing got worse, 1 if something did, 2 if there is nothing to compare."""
    worse, compared = record.compare(found, record.Record.load(path))
    if not compared:
        print(f"nothing in {path} was measured with these models, batches and methods", file=sys.stderr)
        return 2
    for line in worse:
        print(f"worse: {line}")
    print(f"{compared} ratios compared with {path}, {len(worse)} more than 25 % above")
    return 1 if worse else 0


def parse(argv: Sequence[str] | None, names: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="+", default=list(MODELS), help="Vision Transformers of timm")
    parser.add_argument("--batches", nargs="+", type=int, help="default: 1 8; on CUDA 1 32 128")
    parser.add_argument("--methods", nargs="+", choices=names, metavar="METHOD", help="some of: " + ", ".join(names))
    parser.add_argument("--size", type=int, default=224, help="height and width of the images")
    parser.add_argument("--repeats", type=int, default=9, help="ratios whose median counts")
    parser.add_argument("--warmups", type=int, default=2, help="calls before the first ratio")
    parser.add_argument("--device", choices=["cpu", "cuda"], help="default: cuda where there is one")
    parser.add_argument("--out", type=Path, default=HERE, help="where RESULTS.md and recorded.json go")
    parser.add_argument("--note", default="", help="a sentence for RESULTS.md, e.g. what else ran on the machine")
    parser.add_argument("--check", action="store_true", help="compare with the record and write nothing")
    parser.add_argument("--record", type=Path, help="for --check; default: the device's beside this file")
    arguments = parser.parse_args(argv)
    if arguments.device is None:
        arguments.device = "cuda" if torch.cuda.is_available() else "cpu"
    if arguments.record is None:
        arguments.record = HERE / RECORDS[arguments.device]
    if arguments.check and not arguments.record.is_file():
        parser.error(f"{arguments.record} does not exist; run without --check first")
    return arguments


if __name__ == "__main__":
    sys.exit(main())
