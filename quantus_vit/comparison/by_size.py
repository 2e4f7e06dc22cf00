"""Localisation by the size of what is to be found, beside the chance level. Knows rows of scores and of masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .scores import MaskArea, Score
from .statistics import grouped

__all__ = ["SIZE_BINS", "SizeRow", "by_size"]

SIZE_BINS = {"below 1 %": 0.01, "1 to 5 %": 0.05, "5 to 15 %": 0.15, "15 % and above": math.inf}
"""Bins of a mask's share of the image, each up to the limit, which is in the next; fixed, so that runs compare."""


@dataclass(frozen=True)
class SizeRow:
    """A row of ``by_size.csv``: a method under a localisation metric, over the masks of one size.

    ``area`` is the mean share of the image that these masks cover: what AUPRC, RelevanceMassAccuracy,
    RelevanceRankAccuracy and PointingGame give a map that knows nothing, on average.
    """

    method: str
    metric: str
    size: str
    mean: float
    q1: float
    median: float
    q3: float
    area: float
    n: int
    nan: int


def by_size(scores: Sequence[Score], masks: Mapping[str, str], areas: Iterable[MaskArea]) -> list[SizeRow]:
    """Quartiles of each method under each metric with a mask, for the masks of each size of :data:`SIZE_BINS`.

    Parameters
    ----------
    scores : sequence of Score
    masks : mapping
        Metric -> the mask that it compares with; metrics that are not there are left out.
    areas : iterable of MaskArea
        Scores of cases whose mask is not among them, or is empty, are left out.
    """
    known = {(row.path, row.label, row.mask): row.share for row in areas}
    rows = []
    for (metric, method), group in grouped(scores).items():
        if metric not in masks:
            continue
        sized = [(row.score, known.get((row.path, row.label, masks[metric]), 0.0)) for row in group]
        lower = 0.0
        for name, upper in SIZE_BINS.items():
            members = [(score, share) for score, share in sized if share > 0 and lower <= share < upper]
            values = [score for score, _ in members if math.isfinite(score)]
            lower = upper
            if members:
                q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75]).tolist() if values else [math.nan] * 3
                mean = float(np.mean(values)) if values else math.nan
                area = float(np.mean([share for _, share in members]))
                missing = len(members) - len(values)
                rows.append(SizeRow(method, metric, name, mean, q1, median, q3, area, len(values), missing))
    return rows
