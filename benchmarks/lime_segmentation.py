"""Do superpixels follow anatomy and lesions? The "cxr" preset against lime's default quickshift, at equal numbers.

    python benchmarks/lime_segmentation.py [--phantoms 60] [--covid-qu-ex DIR [--first 1 --every 2]]

For each image, quickshift (lime's default call) is run first, then the "cxr" preset with as many segments. Printed for
lung masks and infection masks, means over images with the standard error of the paired difference:

recall    share of the mask's border pixels within 2 pixels (at 224) of a segment's outline; more is better
straddle  under-segmentation error of Neubert and Protzel (2012): sum over segments of min(inside, outside), divided by
          the mask's area, not the picture's; less is better. These are the pixels on the wrong side if each segment
          is given to the side of its majority: 1 - achievable segmentation accuracy, times picture over mask
inside    segments that lie mostly in the mask: who puts more of the same number there straddles less
outline   share of the image's pixels that are segment outlines: recall is cheap for who draws many
"""

from __future__ import annotations

import argparse
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from skimage.segmentation import find_boundaries

from quantus_vit.data import CovidQuEx, Phantom
from quantus_vit.lime import cxr_segments, lime_default_segments
from quantus_vit.lime.segmentation import CXR_SEGMENTS

Mask = NDArray[np.bool_]


def boundary_recall(segments: NDArray[np.int64], mask: Mask) -> float:
    tolerance = 2 * max(mask.shape) / 224
    distance = distance_transform_edt(~find_boundaries(segments, mode="thick"))
    return float((distance[find_boundaries(mask, mode="inner")] <= tolerance).mean())


def straddling(segments: NDArray[np.int64], mask: Mask) -> float:
    inside = np.bincount(segments.ravel(), mask.ravel())
    sizes = np.bincount(segments.ravel())
    return float(np.minimum(inside, sizes - inside).sum() / mask.sum())


def measures(segments: NDArray[np.int64], mask: Mask) -> tuple[float, ...]:
    outline = float(find_boundaries(segments, mode="inner").mean())
    inside = int((2 * np.bincount(segments.ravel(), mask.ravel()) > np.bincount(segments.ravel())).sum())
    return segments.max() + 1, boundary_recall(segments, mask), straddling(segments, mask), inside, outline


def compare(name: str, samples: Iterable[dict]) -> None:
    rows: dict[str, dict[str, list[tuple[float, ...]]]] = {}
    for sample in samples:
        image = sample["image"].numpy()
        quick = lime_default_segments(image, seed=0)
        found = {
            "lime-default": quick,
            "cxr, as many": cxr_segments(image, int(quick.max()) + 1),
            f"cxr, {CXR_SEGMENTS}": cxr_segments(image),
        }
        for kind in ("lung", "infection"):
            mask = sample[f"{kind}_mask"][0].numpy()
            if sample[f"has_{kind}_mask"] and mask.any():
                for method, segments in found.items():
                    rows.setdefault(kind, {}).setdefault(method, []).append(measures(segments, mask))
    for kind, methods in rows.items():
        report(f"{name}, {kind} masks", {method: np.array(values) for method, values in methods.items()})


def report(title: str, methods: dict[str, NDArray[np.float64]]) -> None:
    reference = methods["lime-default"]
    print(f"\n{title} (n = {len(reference)})")
    print(f"{'':16}{'segments':>9}{'recall':>9}{'straddle':>10}{'inside':>8}{'outline':>9}   against lime-default (se)")
    for method, values in methods.items():
        count, recall, straddle, inside, outline = values.mean(axis=0)
        line = f"{method:16}{count:9.1f}{recall:9.3f}{straddle:10.3f}{inside:8.1f}{outline:9.3f}"
        if method != "lime-default":
            difference = values - reference
            mean, error = difference.mean(axis=0), difference.std(axis=0, ddof=1) / np.sqrt(len(values))
            line += f"   recall {mean[1]:+.3f} ({error[1]:.3f}), straddle {mean[2]:+.3f} ({error[2]:.3f})"
        print(line, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--phantoms", type=int, default=60)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--covid-qu-ex", metavar="DIR", help="measure on its infection part too (the one with masks)")
    parser.add_argument("--first", type=int, default=0, help="first real image")
    parser.add_argument("--every", type=int, default=1, help="step between real images")
    arguments = parser.parse_args()
    phantoms = Phantom(arguments.phantoms, seed=1, split="Test", image_size=arguments.image_size)
    compare("phantoms", (phantoms[index] for index in range(len(phantoms))))
    if arguments.covid_qu_ex:
        real = CovidQuEx(arguments.covid_qu_ex, split="Test", part="infection", image_size=arguments.image_size)
        compare("COVID-QU-Ex", (real[index] for index in range(arguments.first, len(real), arguments.every)))


if __name__ == "__main__":
    main()
