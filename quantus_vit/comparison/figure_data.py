"""What the figures show of a run: samples of each class, and for one image of each class the maps for every class.

Takes predictions and maps from the run, and LIME's superpixels from its map; hands plain arrays to :mod:`.figures`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data import Sample
from .cases import Case
from .figures import LimeRegions, MapRow
from .runner import ComparisonRun

__all__ = ["figure4_method", "gather_map_rows", "gather_samples", "lime_regions", "shown_outputs"]

Array = npt.NDArray[Any]

LIME = "LimeCXR"
LIME_FEATURES = (3, 8)
"""How many superpixels the paper's figure 4 shows."""

SAMPLES_A_CLASS = 5
_MOST_CLASSES = 4
_MOST_ROWS = 6


def figure4_method(run: ComparisonRun) -> str | None:
    """Method whose maps figure 4 shows for each class: the first that is neither LIME nor a control."""
    return next(
        (call.label for call in run.plan.methods if call.spec.name != LIME and call.spec.role == "method"), None
    )


def shown_outputs(run: ComparisonRun) -> list[int]:
    """Outputs of the model that figure 4 has a column for: those of the compared classes, the first of many."""
    outputs = dict.fromkeys(case.target for case in sorted(run.plan.cases, key=lambda case: case.target))
    return list(outputs)[:_MOST_CLASSES]


def gather_samples(run: ComparisonRun, labels: Sequence[str]) -> dict[str, list[Array]]:
    """The first X-rays of each class in the sample, for figure 1; images that cannot be read are left out."""
    samples: dict[str, list[Array]] = {}
    for label in labels:
        members = [case for case in run.plan.cases if case.label == label]
        greys = [_grey(run, sample) for _, sample in _readable(run, members, SAMPLES_A_CLASS)]
        if greys:
            samples[label] = greys
    return samples


def gather_map_rows(run: ComparisonRun, labels: Sequence[str], method: str) -> list[MapRow]:
    """One image of each class for figure 4: the sample's first that the model predicts right, else its first.

    Parameters
    ----------
    run : ComparisonRun
    labels : sequence of str
    method : str
        See :func:`figure4_method`.

    Returns
    -------
    list of MapRow
        In label order. LIME's regions are there where LimeCXR is one of the methods and has a map of the image.
    """
    rows = []
    outputs = shown_outputs(run)
    predictions = {(row.path, row.label): row for row in run.predictions()}
    for label in list(labels)[:_MOST_ROWS]:
        members = [case for case in run.plan.cases if case.label == label and case.key in predictions]
        members.sort(key=lambda case: not predictions[case.key].correct)
        for case, sample in _readable(run, members, 1):
            prediction = predictions[case.key]
            probabilities = prediction.values()
            target = case.target if run.plan.protocol.target == "label" else int(np.argmax(probabilities))
            rows.append(
                MapRow(
                    grey=_grey(run, sample),
                    label=label,
                    target=run.plan.classifier.class_names[target],
                    predicted=prediction.predicted,
                    probabilities=[probabilities[output] for output in outputs],
                    maps=[run.map_of(case, method, output)[0] for output in outputs],
                    masks={name: mask[0].numpy() for name, mask in run.plan.masks_for(case, sample).items()},
                    lime=_lime_rows(run, case, target),
                )
            )
    return rows


def _lime_rows(run: ComparisonRun, case: Case, target: int) -> list[LimeRegions]:
    label = next((call.label for call in run.plan.methods if call.spec.name == LIME), None)
    relevance = None if label is None else run.logs.maps.load(case.identity, target, label)
    if relevance is None:
        return []
    return [LimeRegions(count, lime_regions(relevance[0], count)) for count in LIME_FEATURES]


def lime_regions(relevance: Array, count: int) -> Array:
    """LIME's superpixels of the largest weights, read off its map, as lime's ``get_image_and_mask`` chooses them.

    Parameters
    ----------
    relevance : numpy.ndarray
        ``(H, W)``: every pixel has the weight of its superpixel.
    count : int
        How many superpixels.

    Returns
    -------
    numpy.ndarray
        int ``(H, W)``: 1 inside those that speak for the class, -1 against it, 0 elsewhere. Superpixels of one and the
        same weight count as one.
    """
    weights = np.unique(relevance[relevance != 0])
    strongest = weights[np.argsort(-np.abs(weights), kind="stable")][:count]
    return np.where(np.isin(relevance, strongest), np.sign(relevance), 0).astype(int)


def _grey(run: ComparisonRun, sample: Sample) -> Array:
    return np.asarray(run.plan.classifier.preprocessing.grey(sample.image).numpy())


def _readable(run: ComparisonRun, cases: Sequence[Case], count: int) -> Iterator[tuple[Case, Sample]]:
    found = 0
    for case in cases:
        if found == count:
            return
        try:
            sample = run.plan.dataset.sample(case.index, run.plan.classifier.preprocessing)
        except (OSError, ValueError):
            continue  # counted by the run already
        found += 1
        yield case, sample
