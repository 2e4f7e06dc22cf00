"""How many samples does LIME need? The sampling designs against lime's coin tosses, one reference.

    python benchmarks/lime_samples.py [--checkpoint FILE] [--data DIR] [--images 6] [--reference 10000] [--seeds 3]
                                       [--number 80] [--device cpu]

For each image the coefficients of the predicted class from a plain run with 10,000 samples are the reference (its own
noise included). For each design and each number of samples, the Spearman correlation with it is averaged over seeds;
"needed" is the number at which it reaches 0.95, between the measured numbers by linear interpolation in the logarithm;
the factor is that of plain sampling over the design's, median over images."""

from __future__ import annotations

import argparse
import warnings

import numpy as np
import torch
from lime.lime_image import LimeImageExplainer
from scipy.stats import spearmanr
from torch import Tensor, nn
from xrays import pictures

from quantus_vit.assets import phantom_checkpoint_path
from quantus_vit.lime import LimeCXR
from quantus_vit.lime.fitting import cosine_distances, fit
from quantus_vit.lime.sampling import DESIGNS, clusters
from quantus_vit.models.checkpoint import load_checkpoint

COUNTS = (100, 150, 200, 300, 400, 600, 800, 1200, 1600, 2400, 3200, 4800, 6400, 9600)
LEVEL = 0.95


def coefficients(explanation, samples: int, design: str, label: int) -> np.ndarray:
    """What a run of `samples` gives, from a longer one's first rows: the rows of no design depend on their number."""
    masks = explanation.masks[:samples].astype(np.int64)
    groups = clusters(design, samples)
    base = LimeImageExplainer(random_state=0).base
    model = fit(base, masks, explanation.labels[:samples], cosine_distances(masks), label, 10**5, "auto", groups)
    return np.array([weight for _, weight in sorted(model.coefficients)])


def needed(correlations: np.ndarray) -> float:
    """Samples at which the correlation reaches the level, interpolated in the logarithm; inf where it never does."""
    above = np.flatnonzero(correlations >= LEVEL)
    if not len(above):
        return np.inf
    last = above[0]
    if last == 0:
        return float(COUNTS[0])
    share = (LEVEL - correlations[last - 1]) / (correlations[last] - correlations[last - 1])
    return float(COUNTS[last - 1] * (COUNTS[last] / COUNTS[last - 1]) ** share)


def measure(
    model: nn.Module, image: Tensor, reference: int, seeds: int, number: int
) -> tuple[dict[str, np.ndarray], int, float]:
    """For each design the correlations with the reference at every count, mean over seeds; segments; R2 of the
    reference."""
    label = int(model(image[None]).argmax())
    options = {"batch_size": 64 if image.device.type == "cpu" else 512, "num_segments": number}
    long_run = LimeCXR(model, reference, seed=10_000, **options).explain_instance(image, [label])
    truth = coefficients(long_run, reference, "plain", label)
    found = {}
    for design in DESIGNS:
        rows = []
        for seed in range(seeds):
            lime = LimeCXR(model, COUNTS[-1], seed=seed, sampling=design, **options)
            run = lime.explain_instance(image, [label])
            rows.append([spearmanr(coefficients(run, count, design, label), truth).statistic for count in COUNTS])
        found[design] = np.mean(rows, axis=0)
    return found, len(truth), long_run.r2[label]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", default=str(phantom_checkpoint_path()))
    parser.add_argument("--data", help="folder of COVID-QU-Ex, whose Test images are used; default: phantoms")
    parser.add_argument("--images", type=int, default=6)
    parser.add_argument("--number", type=int, default=80, help="superpixels asked for")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--reference", type=int, default=10_000)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    model, config = load_checkpoint(arguments.checkpoint)
    model = model.to(arguments.device)
    images = pictures(arguments.data, arguments.images, seed=5, size=config.image_size)
    needs: dict[str, list[float]] = {design: [] for design in DESIGNS}
    curves: dict[str, list[np.ndarray]] = {design: [] for design in DESIGNS}
    with torch.inference_mode():
        for index, image in images.items():
            found, segments, r2 = measure(
                model, image.to(arguments.device), arguments.reference, arguments.seeds, arguments.number
            )
            for design, correlations in found.items():
                needs[design].append(needed(correlations))
                curves[design].append(correlations)
            line = ", ".join(f"{design} {values[-1]:.0f}" for design, values in needs.items())
            print(f"image {index}: {segments} segments, reference R2 {r2:.2f}; needed: {line}", flush=True)
    print("\nmean rank correlation with the reference by number of samples")
    print(f"{'':12}" + "".join(f"{count:7}" for count in COUNTS))
    for design, values in curves.items():
        print(f"{design:12}" + "".join(f"{value:7.3f}" for value in np.mean(values, axis=0)))
    print(f"\nsamples needed for {LEVEL}, median over images; factor against plain, median over images")
    plain = np.array(needs["plain"])
    for design, values in needs.items():
        both = np.isfinite(plain) & np.isfinite(values)
        factors = plain[both] / np.array(values)[both]
        spread = f"(from {factors.min():.2f} to {factors.max():.2f})" if both.any() else ""
        missing = f"; {len(plain) - both.sum()} images left out, where one of the two never reached it"
        print(f"{design:12}{np.median(values):8.0f}{np.median(factors):8.2f}  {spread}{'' if both.all() else missing}")


if __name__ == "__main__":
    main()
