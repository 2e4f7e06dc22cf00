"""Localisation by the size of what is to be found, beside the chance level. Knows rows of scores and of masks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from .scores import MaskArea, Score
from .statistics import bin_of, by_class

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
    ci_low: float = math.nan
    ci_high: float = math.nan


def by_size(
    scores: Sequence[Score],
    masks: Mapping[str, str],
    areas: Iterable[MaskArea],
    patients: Mapping[str, str] | None = None,
) -> list[SizeRow]:
    """Quartiles of each method under each metric with a mask, for the masks of each size of :data:`SIZE_BINS`.

    Parameters
    ----------
    scores : sequence of Score
    masks : mapping
        Metric -> the mask that it compares with; metrics that are not there are left out.
    areas : iterable of MaskArea
        Scores of cases whose mask is not among them, or is empty, are left out.
    patients : mapping, optional
        As for :func:`~.statistics.by_class`.
    """
    known = {(row.path, row.label, row.mask): row.share for row in areas}
    sized: list[Score] = []
    shares: dict[tuple[str, str, str], list[float]] = {}
    for row in scores:
        share = known.get((row.path, row.label, masks[row.metric]), 0.0) if row.metric in masks else 0.0
        if share > 0:
            size = bin_of(share, SIZE_BINS)
            sized.append(replace(row, label=size))
            shares.setdefault((row.metric, row.method, size), []).append(share)
    return [
        SizeRow(
            row.method, row.metric, row.label, row.mean, row.q1, row.median, row.q3,
            float(np.mean(shares[row.metric, row.method, row.label])), row.n, row.nan,
            row.ci_low, row.ci_high,
        )
        for row in by_class(sized, tuple(SIZE_BINS), patients)
    ]  # fmt: skip
