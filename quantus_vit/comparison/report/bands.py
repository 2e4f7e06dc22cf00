"""Removal curves of many cases -> their mean and a bootstrap band. Knows rows of curves and arrays.

References
----------
Bluecher, Vielhaben and Strodthoff, "Decoupling pixel flipping and occlusion strategy for consistent XAI benchmarks",
TMLR 2024 (most and least relevant first).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..ranking import cluster_numbers, resampled_counts
from ..scores import Curve
from ..statistics import CONFIDENCE

__all__ = ["CurveBand", "curve_bands"]

Array = npt.NDArray[Any]
_RESAMPLES = 1000
_SEED = 0


@dataclass(frozen=True)
class CurveBand:
    """The mean curve of a method under a metric.

    Parameters
    ----------
    metric, method : str
    order : str
        "mif" or "lif".
    mean, low, high : numpy.ndarray
        ``(steps + 1,)``: mean change of the output since nothing was removed, and its 95 % bootstrap interval at each
        step; nan bounds with one patient or image.
    n : int
        Cases.
    """

    metric: str
    method: str
    order: str
    mean: Array
    low: Array
    high: Array
    n: int


def curve_bands(rows: Sequence[Curve], patients: Mapping[tuple[str, str], Any]) -> list[CurveBand]:
    """Mean curves with bands, of each metric, method and order, as they first come.

    Parameters
    ----------
    rows : sequence of Curve
    patients : mapping
        (image, label) -> whom the case belongs to; whole patients are drawn.
    """
    groups: dict[tuple[str, str, str], list[Curve]] = {}
    for row in rows:
        groups.setdefault((row.metric, row.method, row.order), []).append(row)
    return [_band(key, group, patients) for key, group in groups.items()]


def _band(key: tuple[str, str, str], rows: Sequence[Curve], patients: Mapping[tuple[str, str], Any]) -> CurveBand:
    length = max(len(row.values()) for row in rows)  # all are as long, unless somebody has edited the file
    kept = [row for row in rows if len(row.values()) == length]
    curves = np.array([row.values() for row in kept])
    changes = curves - curves[:, :1]
    owners = [patients.get((row.path, row.label), (row.path,)) for row in kept]
    index = cluster_numbers(owners)
    mean, sizes = changes.mean(axis=0), np.bincount(index)
    if len(sizes) < 2:
        empty = np.full(length, np.nan)
        return CurveBand(*key, mean, empty, empty, len(kept))
    sums = np.zeros((len(sizes), length))
    np.add.at(sums, index, changes)
    weights = resampled_counts(len(sizes), _RESAMPLES, _SEED)
    means = (weights @ sums) / (weights @ sizes)[:, None]
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    return CurveBand(*key, mean, low, high, len(kept))
