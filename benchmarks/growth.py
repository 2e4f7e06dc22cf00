"""How time and peak memory grow with the batch, the image size and the depth of the model.

    python benchmarks/growth.py [--model vit_tiny_patch16_224] [--methods TransformerLRP ...]

Writes growth.csv and growth.png beside this file. Measured as in ``measuring``; seconds are those of the forward of the
same run times the ratio.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
from candidates import CANDIDATES
from measuring import Case, Laboratory

HERE = Path(__file__).resolve().parent
METHODS = ("TransformerLRP", "AttnLRP, gamma", "AttnLRP, epsilon", "GenericAttention", "AttentionRollout")
FORWARD = "plain forward"
LOOKS = list(zip(["black", "#D55E00", "#0072B2", "#56B4E9", "#009E73", "#CC79A7"], "osD^vP", strict=True))  # Okabe, Ito
AXES = {"batch": "images in a batch", "size": "height and width in pixels", "depth": "blocks"}


def settings(arguments: argparse.Namespace) -> Iterator[tuple[str, int, dict[str, Any]]]:
    """(axis, value, what of the case differs from the middle)."""
    for batch in arguments.batches:
        yield "batch", batch, {"batch": batch}
    for size in arguments.sizes:
        yield "size", size, {"size": size}
    for depth in arguments.depths:
        yield "depth", depth, {"options": (("depth", depth),)}


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    laboratory = Laboratory()
    rows: list[dict[str, Any]] = []
    for axis, value, changed in settings(arguments):
        common: dict[str, Any] = {"batch": 1, "repeats": arguments.repeats, "warmups": 1, **changed}
        for method in (None, *arguments.methods):
            found = laboratory.measure(Case(method, arguments.model, **common))
            ratio = 1.0 if method is None else found.cpu
            rows.append(
                {
                    "axis": axis,
                    "value": value,
                    "method": method or FORWARD,
                    "seconds": round(found.forward_seconds * ratio, 5),
                    "forwards": round(ratio, 3),
                    "mebibytes": "" if found.memory is None else round(found.memory, 2),
                }
            )
            print(", ".join(f"{key} {entry}" for key, entry in rows[-1].items()), flush=True)
    return rows


def plot(rows: list[dict[str, Any]], title: str, path: Path) -> None:
    """Time above, memory below, one column an axis; both scales logarithmic, so a straight line is a power."""
    axes = [axis for axis in AXES if any(row["axis"] == axis for row in rows)]
    figure, panels = plt.subplots(2, len(axes), figsize=(4 * len(axes), 6.5), squeeze=False, layout="constrained")
    for column, axis in enumerate(axes):
        for method, (colour, marker) in zip(dict.fromkeys(row["method"] for row in rows), LOOKS * 3, strict=False):
            found = [row for row in rows if row["axis"] == axis and row["method"] == method and row["mebibytes"] != ""]
            values = [row["value"] for row in found]
            for line, what in enumerate(("seconds", "mebibytes")):
                panels[line][column].plot(
                    values, [row[what] for row in found], color=colour, marker=marker, label=method
                )
        for panel, label in zip(panels[:, column], ("CPU seconds", "peak memory, MiB"), strict=True):
            panel.set(xscale="log", yscale="log", xlabel=AXES[axis], ylabel=label)
            ticks = sorted({row["value"] for row in rows if row["axis"] == axis})
            panel.set_xticks(ticks, [str(tick) for tick in ticks])
            panel.minorticks_off()
            panel.grid(alpha=0.3)
    figure.legend(*panels[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=3)
    figure.suptitle(title)
    figure.savefig(path, dpi=110)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="vit_tiny_patch16_224")
    parser.add_argument(
        "--methods", nargs="+", default=list(METHODS), choices=[candidate.name for candidate in CANDIDATES]
    )
    parser.add_argument("--batches", nargs="*", type=int, default=[1, 2, 4, 8, 16])
    parser.add_argument("--sizes", nargs="*", type=int, default=[224, 384, 512])
    parser.add_argument("--depths", nargs="*", type=int, default=[3, 6, 12, 24])
    parser.add_argument("--repeats", type=int, default=3, help="ratios whose median counts")
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args(argv)

    rows = measure(arguments)
    arguments.out.mkdir(parents=True, exist_ok=True)
    with (arguments.out / "growth.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    title = f"{arguments.model}, one thread, otherwise one image of 224 x 224 pixels and the model's own depth"
    plot(rows, title, arguments.out / "growth.png")


if __name__ == "__main__":
    main()
