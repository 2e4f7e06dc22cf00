"""How time and memory of a comparison grow with images, methods, classes and image size; and what its files weigh.

    OMP_NUM_THREADS=1 python benchmarks/growth_comparison.py [--images 500 1000 2000] [--files]

Every measurement runs in a process of its own, on one thread, with a small Vision Transformer of random weights, on
phantoms, maps of AttnLRP and chance, scored by Sparseness and SaCo. Seconds are CPU time of ``ComparisonRun.run``
after a run of three images; memory is the process's peak (``VmHWM``) at its end, all libraries included. Writes
growth_comparison.csv and growth_comparison.png beside this file.

--files measures files instead: bytes of a map in the store by method, and seconds to read a million rows of scores.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from measuring import MEBIBYTE, resident

HERE = Path(__file__).resolve().parent
MIDDLE = {"images": 60, "methods": 2, "classes": 3, "size": 64}
METHODS = ("AttnLRP", "Random", "GenericAttention", "TransformerLRP", "AttentionRollout", "RandomPatches", "SobelEdges",
           "CentrePrior")  # fmt: skip
METRICS = ("Sparseness", "SaCo")
AXES = {
    "images": "images",
    "methods": "methods",
    "classes": "outputs of the model",
    "size": "height and width in pixels",
}


def settings(arguments: argparse.Namespace) -> Iterator[tuple[str, int, dict[str, int]]]:
    """(axis, value, the four numbers)."""
    for axis in AXES:
        for value in getattr(arguments, axis):
            yield axis, value, {**MIDDLE, axis: value}


def measure(numbers: dict[str, int], folder: Path) -> dict[str, float]:
    """One comparison, in this process."""
    import torch

    from quantus_vit.comparison.folder import Logs
    from quantus_vit.comparison.planning import make_plan, protocol_for
    from quantus_vit.comparison.runner import ComparisonRun
    from quantus_vit.data import open_data

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    classifier = small_model(numbers["size"], numbers["classes"])
    dataset = open_data("phantom", "Test", count=numbers["images"] + 3, image_size=numbers["size"])
    given = {"methods": METHODS[: numbers["methods"]], "metrics": METRICS}
    for count, place in ((3, "warm"), (numbers["images"], "measured")):
        protocol = protocol_for("custom", classifier, dataset, samples=count, **given)
        plan, _, _ = make_plan(protocol, classifier, dataset, "cpu")
        (folder / place).mkdir()
        run = ComparisonRun(plan, Logs.open(folder / place))
        start = time.process_time()
        run.run(quiet=True)
        seconds = time.process_time() - start
        if not run.is_complete():
            raise RuntimeError("the comparison is not complete")
    stored = list((folder / "measured" / "maps").rglob("*.npz"))
    return {
        "seconds": round(seconds, 3),
        "mebibytes": round(resident("VmHWM") / MEBIBYTE, 1),
        "bytes_a_map": round(sum(file.stat().st_size for file in stored) / len(stored)),
        "bytes_of_scores": (folder / "measured" / "scores.csv").stat().st_size,
    }


def small_model(size: int, classes: int) -> Any:
    import torch
    from timm.models.vision_transformer import VisionTransformer

    from quantus_vit.data.preprocessing import Preprocessing
    from quantus_vit.models import Classifier

    torch.manual_seed(0)
    module = VisionTransformer(
        img_size=size, patch_size=16, embed_dim=48, depth=2, num_heads=3, num_classes=classes
    ).eval()
    names = ("COVID-19", "Non-COVID", "Normal", *(f"finding {number}" for number in range(classes - 3)))
    return Classifier(module, names, Preprocessing(size=(size, size)), "multiclass", "random", "0" * 16)


def in_a_new_process(numbers: dict[str, int]) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder, multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(measure, (numbers, Path(folder)))


def weigh_files() -> None:
    """Print what maps and scores take on the disk, and how long a million rows take to read."""
    import numpy as np

    from quantus_vit.comparison.maps import MapStore
    from quantus_vit.comparison.scores import CsvLog, Score

    rows = [
        Score(f"Test/Normal/images/{image}.png", "Normal", "Normal", "Normal", f"Method {method}", metric, 0.1234567)
        for image in range(50_000)
        for method in range(5)
        for metric in ("FaithfulnessEstimate[baseline=0.0]", "Sparseness", "SaCo", "RemovalCurve[removal=tokens]")
    ]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "scores.csv"
        CsvLog(path, Score).replace(rows)
        start = time.process_time()
        count = len(CsvLog(path, Score).rows)
        print(f"{count} rows of scores, {path.stat().st_size / 2**20:.0f} MiB: {time.process_time() - start:.1f} s")
        store = MapStore(Path(folder) / "maps")
        generator = np.random.default_rng(0)
        kinds = {
            "patches of 16 pixels": np.kron(generator.random((14, 14)), np.ones((16, 16))),
            "superpixels": generator.random(80)[np.indices((224, 224)).sum(0) // 6],
            "noise": generator.random((224, 224)),
        }
        for kind, relevance in kinds.items():
            store.save(kind, 0, "Method", relevance[None].astype(np.float32))
            (file,) = (Path(folder) / "maps").rglob(f"{kind.split()[0]}*.npz")
            print(
                f"a map of {kind}, 224 x 224: {file.stat().st_size / 1024:.0f} KiB of {relevance.size * 4 / 1024:.0f}"
            )


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Time above, memory below, one column an axis."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    axes = [axis for axis in AXES if any(row["axis"] == axis for row in rows)]
    figure, panels = plt.subplots(2, len(axes), figsize=(3.6 * len(axes), 6), squeeze=False, layout="constrained")
    for column, axis in enumerate(axes):
        found = [row for row in rows if row["axis"] == axis]
        values = [row["value"] for row in found]
        for line, (what, label) in enumerate((("seconds", "CPU seconds"), ("mebibytes", "peak memory, MiB"))):
            panel = panels[line][column]
            panel.plot(values, [row[what] for row in found], "o-", color="#0072B2")
            top = 1.1 * max(row[what] for row in found)
            panel.set(xlabel=AXES[axis], ylabel=label, ylim=(0, top), xticks=values)
            panel.grid(alpha=0.3)
    middle = ", ".join(f"{value} {name}" if name != "size" else f"{value} pixels" for name, value in MIDDLE.items())
    figure.suptitle(f"A comparison with AttnLRP and chance by Sparseness and SaCo; otherwise {middle}")
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", nargs="*", type=int, default=[500, 1000, 2000])
    parser.add_argument("--methods", nargs="*", type=int, default=[1, 2, 4, 8])
    parser.add_argument("--classes", nargs="*", type=int, default=[3, 10, 100])
    parser.add_argument("--size", nargs="*", type=int, default=[224, 384, 512])
    parser.add_argument("--files", action="store_true")
    parser.add_argument("--out", type=Path, default=HERE)
    arguments = parser.parse_args()
    if arguments.files:
        weigh_files()
        return
    rows: list[dict[str, Any]] = []
    for axis, value, numbers in settings(arguments):
        rows.append({"axis": axis, "value": value, **in_a_new_process(numbers)})
        print(", ".join(f"{key} {entry}" for key, entry in rows[-1].items()), flush=True)
    with (arguments.out / "growth_comparison.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, arguments.out / "growth_comparison.png")


if __name__ == "__main__":
    main()
