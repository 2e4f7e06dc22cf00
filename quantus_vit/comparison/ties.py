"""Equal values of a map: whether their order decides a score, and random orders of them.

Knows arrays only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["break_ties", "ties_matter"]

Array = npt.NDArray[Any]

_GROUP_PER_STEP = 20
"""Ties matter where the groups of equal values that steps cut are larger than this part of a step, on average."""


def break_ties(relevance: Array, count: int, seed: Sequence[int]) -> Array:
    """Copies of a map in which equal values are told apart, in a random order, and nothing else changes.

    Parameters
    ----------
    relevance : ndarray
        Map of shape ``(1, H, W)``.
    count : int
        Number of copies.
    seed : sequence of int
        Seed of the orders.

    Returns
    -------
    ndarray
        float64 ``(count, 1, H, W)``. What is added is smaller than half the smallest gap of two values, so unequal
        values keep their order, and at most 1e-7 of the largest value, so sums of relevance stay what they are.
    """
    values = relevance.astype(np.float64)
    distinct = np.unique(values)
    largest = float(np.abs(distinct).max()) * 1e-7
    scale = min(largest, float(np.diff(distinct).min()) / 2) if len(distinct) > 1 else largest
    orders = np.stack(
        [
            np.random.default_rng([*seed, number]).permutation(values.size).reshape(values.shape)
            for number in range(count)
        ]
    )
    return np.asarray(values[None] + scale * orders / values.size)


def ties_matter(relevance: Array, features_in_step: int, channels: int = 3) -> bool:
    """Whether the order of equal values decides which pixels a step holds.

    Steps of Quantus cut the sorted values into pieces. A cut through a group of equal values makes the order within
    the group matter, as superpixels do, which are larger than a step. A group of a few pixels hardly changes
    a step: what counts is the mean size of the groups that are cut, against a twentieth of a step.

    Parameters
    ----------
    relevance : ndarray
        Map of shape ``(1, H, W)``.
    features_in_step : int
        Values of a step; a pixel has ``channels`` of them.
    channels : int
        Channels of the image.

    Returns
    -------
    bool
        True if scores should be averaged over several orders.
    """
    ordered = np.sort(relevance.ravel())
    step = features_in_step / channels
    cuts = np.arange(step, ordered.size - 0.5, step).astype(int)
    if not len(cuts):
        return False
    left, right = ordered[cuts - 1], ordered[cuts]
    sizes = np.searchsorted(ordered, right, "right") - np.searchsorted(ordered, right, "left")
    return bool(np.where(left == right, sizes, 0).mean() > step / _GROUP_PER_STEP)
