"""What the page's explorer shows: cases with predictions, scores and curves, and their pictures, maps and masks.

Runs -> a dictionary for JSON, and for each case its media, which stand in the page or in files beside it.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from scipy import stats

from ...pictures import colour_table
from ..scores import Curve, Score
from .grids import pack_map, pack_mask, pack_picture
from .palettes import palettes
from .reading import RunFolder

__all__ = ["cases_of_page", "explorer_data", "explorer_media"]

Array = npt.NDArray[Any]

_COARSE = 14
"""Side of the grids whose ranks are compared for the disagreement of methods."""


def explorer_data(runs: Sequence[RunFolder], media: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All but pictures, maps and masks.

    Parameters
    ----------
    runs : sequence of RunFolder
        Methods of several are told apart by the run's name; cases that runs share stand once.
    media : sequence of mapping
        :func:`explorer_media` of every case, for the scale that the maps of a method share.
    """
    several = len(runs) > 1
    methods: list[dict[str, Any]] = [
        {
            "label": f"{run.name}: {method.label}" if several else method.label,
            "run": number,
            "role": method.role,
            "summary": method.summary,
        }
        for number, run in enumerate(runs)
        for method in run.methods
    ]
    for number, method in enumerate(methods):
        maps = [one for case in media for one in case["maps"] if one["method"] == number]
        method["shared"] = max((one["full"] for one in maps), default=0.0)
        method["signed"] = any(one["signed"] for one in maps)
    metrics = {metric.row: metric for run in runs for metric in run.metrics}
    scores = [{row.key: row for row in run.scores} for run in runs]
    curves = [_curves_by_case(run) for run in runs]
    return {
        "runs": [run.name for run in runs],
        "classes": list(dict.fromkeys(name for run in runs for name in run.facts["class_names"])),
        "methods": methods,
        "metrics": [
            {"row": row, "higher": metric.higher_is_better, "category": metric.category}
            for row, metric in metrics.items()
        ],
        "palettes": palettes(colour_table),
        "cases": [_case(runs, key, list(metrics), scores, curves) for key in cases_of_page(runs)],
    }


def cases_of_page(runs: Sequence[RunFolder]) -> list[tuple[str, str]]:
    """The cases that have a picture, in the order of the samples."""
    keys = dict.fromkeys(case.key for run in runs for case in run.cases)
    return [key for key in keys if any(run.pictures.has(*key) for run in runs)]


def _curves_by_case(run: RunFolder) -> dict[tuple[str, str], list[Curve]]:
    found: dict[tuple[str, str], list[Curve]] = {}
    for row in run.curves:
        found.setdefault((row.path, row.label), []).append(row)
    return found


def _case(
    runs: Sequence[RunFolder],
    key: tuple[str, str],
    metrics: Sequence[str],
    scores: Sequence[dict[tuple[str, str, str, str], Score]],
    curves: Sequence[dict[tuple[str, str], list[Curve]]],
) -> dict[str, Any]:
    predictions = [_prediction(run, key) for run in runs]
    rows = [
        [_rounded(scores[number].get((*key, method.label, metric))) for metric in metrics]
        for number, run in enumerate(runs)
        for method in run.methods
    ]
    offsets = [0, *itertools.accumulate(len(run.methods) for run in runs)]
    drawn = [
        {
            "method": offsets[number] + index,
            "metric": row.metric,
            "order": row.order,
            "y": [_finite(v) for v in row.values()],
        }
        for number, run in enumerate(runs)
        for index, method in enumerate(run.methods)
        for row in curves[number].get(key, ())
        if row.method == method.label
    ]
    return {
        "path": key[0],
        "label": key[1],
        "predictions": predictions,
        "scores": rows,
        "curves": drawn,
        "disagreement": disagreement(_maps_of_methods(runs[0], key)),
    }


def _prediction(run: RunFolder, key: tuple[str, str]) -> dict[str, Any] | None:
    row = run.predictions.get(key)
    if row is None:
        return None
    target = run.targets.get(key)
    return {
        "predicted": row.predicted,
        "correct": bool(row.correct),
        "names": run.facts["class_names"],
        "probabilities": [round(value, 5) for value in row.values()],
        "target": None if target is None else run.facts["class_names"][target],
    }


def _finite(value: float) -> float | None:
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _rounded(row: Score | None) -> float | None:
    return None if row is None else _finite(row.score)


def _maps_of_methods(run: RunFolder, key: tuple[str, str]) -> list[Array]:
    target = run.targets.get(key)
    if target is None:
        return []
    maps = (run.maps.load(key[0], target, method.label) for method in run.methods if method.role != "control")
    return [one[0] for one in maps if one is not None and np.isfinite(one).all()]


def disagreement(maps: Sequence[Array]) -> float | None:
    """1 - mean rank correlation of every two maps ``(H, W)``, over areas; None with fewer than two maps."""
    if len(maps) < 2:
        return None
    coarse = [
        np.asarray(Image.fromarray(one.astype(np.float32)).resize((_COARSE, _COARSE), Image.Resampling.BOX)).ravel()
        for one in maps
    ]
    ranks = [stats.rankdata(grid) for grid in coarse if np.ptp(grid) > 0]
    if len(ranks) < 2:
        return None
    correlations = np.corrcoef(np.stack(ranks))
    return round(1 - float(correlations[np.triu_indices(len(ranks), 1)].mean()), 4)


def explorer_media(runs: Sequence[RunFolder], case: tuple[str, str]) -> dict[str, Any]:
    """Picture, masks and maps of a case, as the page reads them.

    Parameters
    ----------
    runs : sequence of RunFolder
    case : tuple of str
        The image's identity and the label.
    """
    picture = next(found for run in runs if (found := run.pictures.load(*case)) is not None)
    height, width = picture.grey.shape
    masks = [
        {"name": name, "kind": picture.kinds[name], "data": pack_mask(mask)}
        for name, mask in picture.masks.items()
        if mask.any()
    ]
    maps = []
    number = 0
    for run in runs:
        for method in run.methods:
            for output, name in enumerate(run.facts["class_names"]):
                relevance = run.maps.load(case[0], output, method.label)
                if relevance is not None:
                    maps.append({"method": number, "class": name, **pack_map(relevance[0])})
            number += 1
    return {"h": height, "w": width, "image": pack_picture(picture.grey), "masks": masks, "maps": maps}
