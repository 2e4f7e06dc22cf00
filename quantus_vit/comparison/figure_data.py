"""What the figures show of a run: samples of each class, and for one image of each class the maps for every class.

Takes predictions, pictures and maps from the run, LIME's superpixels from its map; hands arrays to :mod:`.figures`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
import numpy.typing as npt

from .cases import Case
from .figures import LimeRegions, MapRow
from .pictures import Picture
from .runner import ComparisonRun
from .scores import Prediction

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
    """The first X-rays of each class in the sample, for figure 1; images that have no picture are left out."""
    samples: dict[str, list[Array]] = {}
    for label in labels:
        members = [case for case in run.plan.cases if case.label == label]
        greys = [_grey(picture) for _, picture in islice(_pictured(run, members), SAMPLES_A_CLASS)]
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
    rows: list[MapRow] = []
    outputs = shown_outputs(run)
    predictions = {(row.path, row.label): row for row in run.predictions()}
    for label in list(labels)[:_MOST_ROWS]:
        members = [case for case in run.plan.cases if case.label == label and case.key in predictions]
        members.sort(key=lambda case: not predictions[case.key].correct)
        made = (
            _map_row(run, case, predictions[case.key], picture, method, outputs)
            for case, picture in _pictured(run, members)
        )
        rows += islice((row for row in made if row is not None), 1)
    return rows


def _map_row(
    run: ComparisonRun, case: Case, prediction: Prediction, picture: Picture, method: str, outputs: Sequence[int]
) -> MapRow | None:
    """A row of figure 4; None where a map is missing and the image cannot be read any more."""
    maps = run.maps_of(case, method, outputs)
    if maps is None:
        return None
    probabilities = prediction.values()
    target = case.target if run.plan.protocol.target == "label" else int(np.argmax(probabilities))
    return MapRow(
        grey=_grey(picture),
        label=case.label,
        target=run.plan.classifier.class_names[target],
        predicted=prediction.predicted,
        probabilities=[probabilities[output] for output in outputs],
        maps=[relevance[0] for relevance in maps],
        masks=picture.masks,
        lime=_lime_rows(run, case, target),
    )


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


def _grey(picture: Picture) -> Array:
    return np.asarray(picture.grey / np.float32(255))


def _pictured(run: ComparisonRun, cases: Sequence[Case]) -> Iterator[tuple[Case, Picture]]:
    """The cases that have a picture; images that cannot be read have none."""
    for case in cases:
        picture = None if run.logs.pictures is None else run.logs.pictures.load(*case.key)
        if picture is not None:
            yield case, picture
