"""What moves LIME's FaithfulnessEstimate? Superpixels, what LIME puts in their place, the metric's baseline, its unit,
and logits or probabilities.

    python benchmarks/lime_score.py maps  --data DIR --model FILE --out RUN [--images 12] [--samples 300]
    python benchmarks/lime_score.py score --data DIR --model FILE --out RUN  # once for each Quantus
    python benchmarks/lime_score.py table --out RUN

``maps`` explains images of the Test split, balanced over the classes, for their own class; ``score`` scores all maps by
the Quantus that is installed: from 0.6.0 on the unit of FaithfulnessEstimate is a value of a channel, before it was a
pixel. Both write as they go and take up what is there; ``--maps``
and ``--baselines`` take a part of the study. Equal values of a map, as within a superpixel, are ordered at
random, once. Without ``--data`` and ``--model``: phantoms and the shipped model."""

from __future__ import annotations

import argparse
import csv
import itertools
import warnings
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.comparison.protocol import default_features_in_step, parse_baseline
from quantus_vit.comparison.sampling import balanced_sample
from quantus_vit.comparison.ties import break_ties
from quantus_vit.data import XrayDataset, open_data
from quantus_vit.models import Classifier, load_model

SEGMENTS = ("lime-default", "cxr")
REPLACEMENTS = ("mean", "0.0", "black")
BASELINES: tuple[float | str, ...] = (0.0, "black", "mean")
COLUMNS = ("image", "label", "map", "quantus", "baseline", "softmax", "score")


class Remembered(nn.Module):
    """A model that computes the logits of a batch once: scores of logits and of probabilities ask for the same."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.seen: dict[bytes, Tensor] = {}

    def forward(self, images: Tensor) -> Tensor:
        key = images.detach().cpu().numpy().tobytes()
        if key not in self.seen:
            self.seen[key] = self.model(images)
        return self.seen[key]

    def __deepcopy__(self, memo: dict[int, Any]) -> Remembered:
        """Quantus appends a softmax to a copy; what was computed is to be known there, too."""
        return self


def chosen(data: XrayDataset, count: int) -> list[int]:
    """Images balanced over the classes."""
    labels = [data.class_names.index(record.labels[0]) for record in data.records]
    return balanced_sample(labels, count, len(data.class_names))


NAMES = ("TransformerLRP", *(f"LIME, {s}, {r}" for s, r in itertools.product(SEGMENTS, REPLACEMENTS)))


def explain(
    classifier: Classifier, image: Tensor, target: int, samples: int, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """The maps (1, H, W) of one image."""
    from quantus_vit import LimeCXR, TransformerLRP  # environments with an old Quantus need no lime to score

    maps = {}
    for name in names:
        if name == "TransformerLRP":
            maps[name] = TransformerLRP(classifier.module).attribute(image[None], target)[0]
            continue
        _, segments, replacement = name.split(", ")
        value: Any = {"mean": "mean", "0.0": 0.0, "black": float(image.min())}[replacement]
        lime = LimeCXR(classifier.module, num_samples=samples, segments=segments, replacement=value, r2_warning=0.0)
        maps[name] = lime.attribute(image[None], target)[0]
    return {name: relevance.detach().numpy() for name, relevance in maps.items()}


def scores_of(
    classifier: Classifier, image: Tensor, target: int, relevance: np.ndarray, baselines: Sequence[float | str]
) -> dict[Any, float]:
    """Scores of a map by baseline and softmax."""
    import quantus

    model = Remembered(classifier.module).eval()
    height, width = image.shape[-2:]
    step = default_features_in_step((height, width))
    ordered = break_ties(relevance, 1, [0])
    found = {}
    for baseline in baselines:
        for softmax in (False, True):
            metric = quantus.FaithfulnessEstimate(
                features_in_step=step, perturb_baseline=baseline, abs=False, normalise=True, return_aggregate=False,
                disable_warnings=True, display_progressbar=False,
            )  # fmt: skip
            with warnings.catch_warnings(), torch.no_grad():
                warnings.simplefilter("ignore")
                (score,) = metric(
                    model=model, x_batch=image[None].numpy(), y_batch=np.array([target]), a_batch=ordered,
                    softmax=softmax, channel_first=True, device="cpu",
                )  # fmt: skip
            found[str(baseline), softmax] = float(score)
        model.seen.clear()
    return found


def sample(data: XrayDataset, classifier: Classifier, index: int) -> tuple[str, str, Tensor, int]:
    record = data.records[index]
    target = classifier.class_names.index(record.labels[0])
    return record.identity, record.labels[0], data.sample(index, classifier.preprocessing).image, target


def make_maps(args: argparse.Namespace, data: XrayDataset, classifier: Classifier) -> None:
    for number, index in enumerate(chosen(data, args.images)):
        file = args.out / f"maps{number:03d}.npz"
        if not file.exists():
            _, _, image, target = sample(data, classifier, index)
            np.savez_compressed(file, index=index, **explain(classifier, image, target, args.samples, args.maps))
            print(file, flush=True)


def score_maps(args: argparse.Namespace, data: XrayDataset, classifier: Classifier) -> None:
    release = version("quantus")
    path = args.out / f"scores-{release}.csv"
    known = {(row["image"], row["map"]) for row in rows_of(path)}
    if not path.exists():
        path.write_text(",".join(COLUMNS) + "\n")
    for file in sorted(args.out.glob("maps*.npz")):
        with np.load(file) as stored:
            maps = dict(stored)
        identity, label, image, target = sample(data, classifier, int(maps.pop("index")))
        for name, relevance in maps.items():
            if (identity, name) in known:
                continue
            found = scores_of(classifier, image, target, relevance, args.baselines)
            with path.open("a", newline="") as log:
                csv.writer(log, lineterminator="\n").writerows(
                    (identity, label, name, release, *setting, score) for setting, score in found.items()
                )
        print(file, release, flush=True)


def rows_of(path: Path) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(out: Path) -> str:
    """Means with their standard errors, a column for each setting of the metric, over images that have all settings."""
    rows = [row for path in sorted(out.glob("scores-*.csv")) for row in rows_of(path)]
    settings = list(dict.fromkeys((row["quantus"], row["softmax"], row["baseline"]) for row in rows))
    found = {(row["image"], row["map"], row["quantus"], row["softmax"], row["baseline"]): row["score"] for row in rows}
    names = list(dict.fromkeys(row["map"] for row in rows))
    complete = [
        image
        for image in dict.fromkeys(row["image"] for row in rows)
        if all((image, name, *setting) in found for name in names for setting in settings)
    ]
    head = [f"{q}, {'probability' if s == 'True' else 'logit'}, {b}" for q, s, b in settings]
    lines = [f"{len(complete)} images", "", "| map | " + " | ".join(head) + " |", "|---" * (len(head) + 1) + "|"]
    for name in names:
        cells = []
        for setting in settings:
            values = np.array([float(found[(image, name, *setting)]) for image in complete])
            values = values[~np.isnan(values)]
            error = values.std(ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
            cells.append(f"{values.mean():.2f} ({error:.2f})" if len(values) else "nan")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=("maps", "score", "table"))
    parser.add_argument("--data", help="SPEC of the data (default: phantoms)")
    parser.add_argument("--model", help="SPEC of the model (default: the shipped one)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--images", type=int, default=12)
    parser.add_argument("--samples", type=int, default=300)
    parser.add_argument("--maps", nargs="+", choices=NAMES, default=NAMES, metavar="NAME", help="; ".join(NAMES))
    parser.add_argument("--baselines", nargs="+", type=parse_baseline, default=BASELINES, metavar="VALUE")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    if args.action == "table":
        print(table(args.out))
        return
    torch.set_num_threads(args.threads)
    args.out.mkdir(parents=True, exist_ok=True)
    data = open_data(args.data, "Test") if args.data else open_data("phantom", "Test", count=300, image_size=224)
    classifier = load_model(args.model or str(phantom_checkpoint_path()))
    {"maps": make_maps, "score": score_maps}[args.action](args, data, classifier)


if __name__ == "__main__":
    main()
