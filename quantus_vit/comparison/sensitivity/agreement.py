"""Scores over a grid of settings -> ranks, and how far the settings rank the methods alike.

Knows rows of scores and points of the grid; nothing of how a score is made.

References
----------
Kendall and Babington Smith, "The problem of m rankings", Annals of Mathematical Statistics 1939 (W).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from ..ranking import cluster_numbers, kendall_w, resampled_counts
from ..scores import Score
from ..statistics import CONFIDENCE
from .grid import GridPoint

__all__ = ["AXES", "HOLDS_SHARE", "HOLDS_W", "AgreementRow", "SensitivityRow", "agreement", "sensitivity_rows"]

Array = npt.NDArray[Any]

HOLDS_W = 0.8
HOLDS_SHARE = 0.9
"""A ranking holds where the lower end of the 95 % bootstrap interval of W reaches the one, and the same method comes
first in the other part of the settings. Both are conventions of this package, chosen before any result was seen."""

RESAMPLES = 1000
SEED = 0

AXES = ("metric", "removal", "features_in_step", "lime_samples", "seed")
"""Columns of ``sensitivity.csv`` that say which setting a row is of."""


@dataclass(frozen=True)
class SensitivityRow:
    """A row of ``sensitivity.csv``: a method in one setting.

    ``score`` is the mean over the ``n`` cases that have a score of every method in that setting. ``rank`` is its place
    among all methods of the setting, the control included: 1 is the best, equal scores share the mean of their places.
    Both are nan where there is no such case.
    """

    metric: str
    removal: str
    features_in_step: int
    lime_samples: int
    seed: int
    method: str
    role: str
    score: float
    rank: float
    n: int


@dataclass(frozen=True)
class AgreementRow:
    """A row of ``sensitivity_agreement.csv``: how far a group of settings agrees.

    ``group`` is "all", or a value of one setting, such as "removal=black". ``kendall_w`` is of the methods' ranks
    without controls, with its 95 % bootstrap interval over patients (or images). ``winner`` comes first, of methods
    and control, in ``winner_share`` of the ``settings``; ties count for each that shares the place. It is empty where
    several come first equally often, each in that share. ``holds`` is 1 where the ranking holds by :data:`HOLDS_W` and
    :data:`HOLDS_SHARE`, else 0.
    """

    group: str
    settings: int
    kendall_w: float
    ci_low: float
    ci_high: float
    winner: str
    winner_share: float
    holds: int


@dataclass(frozen=True)
class _Table:
    """Scores ``(cases, points, methods)``, larger is better; nan in a case and point that lacks a method's score."""

    scores: Array
    signs: Array
    clusters: Array


def sensitivity_rows(
    scores: Sequence[Score],
    points: Sequence[GridPoint],
    roles: Mapping[str, str],
    higher_is_better: Mapping[str, bool],
) -> list[SensitivityRow]:
    """Rank every method in every setting.

    Parameters
    ----------
    scores : sequence of Score
        Of the run over the grid.
    points : sequence of GridPoint
    roles : mapping
        Method -> "method" or "control".
    higher_is_better : mapping
        Scorer -> its direction.
    """
    table = _table(scores, points, roles, higher_is_better, None)
    means = _means(table, np.ones((1, len(table.scores))))[0]
    counts = (~np.isnan(table.scores).any(axis=2)).sum(axis=0)
    rows = []
    for point, mean, sign, count in zip(points, means, table.signs, counts, strict=True):
        ranks = _ranks(mean[None])[0]
        settings = (point.metric, point.removal, point.features_in_step, point.lime_samples, point.seed)
        rows += [
            SensitivityRow(*settings, method, role, float(value * sign), float(rank), int(count))
            for (method, role), value, rank in zip(roles.items(), mean, ranks, strict=True)
        ]
    return rows


def agreement(
    scores: Sequence[Score],
    points: Sequence[GridPoint],
    roles: Mapping[str, str],
    higher_is_better: Mapping[str, bool],
    patients: Mapping[str, str] | None = None,
) -> list[AgreementRow]:
    """How far settings agree: all of them, those of each metric, and those that share a value of one setting.

    Parameters
    ----------
    scores, points, roles, higher_is_better
        As for :func:`sensitivity_rows`.
    patients : mapping, optional
        Image -> its patient; the bootstrap draws whole patients.

    Returns
    -------
    list of AgreementRow
        Groups of one setting alone are left out: there is nothing to agree with.
    """
    table = _table(scores, points, roles, higher_is_better, patients)
    if not len(table.scores):
        return []
    count = int(table.clusters.max()) + 1
    weights = resampled_counts(count, RESAMPLES, SEED)[:, table.clusters]
    means = _means(table, np.ones((1, len(table.scores))))[0]
    resampled = _means(table, weights) if count > 1 else np.empty((0, *means.shape))
    ranked = np.array([role == "method" for role in roles.values()])
    rows = []
    for group, members in _groups(points).items():
        interval = _interval([kendall_w(sample[members][:, ranked]) for sample in resampled])
        w = kendall_w(means[members][:, ranked])
        winner, share = _winner(means[members], tuple(roles))
        holds = interval[0] >= HOLDS_W and share >= HOLDS_SHARE and bool(winner)
        rows.append(AgreementRow(group, len(members), w, *interval, winner, share, int(holds)))
    return rows


def _table(
    scores: Sequence[Score],
    points: Sequence[GridPoint],
    roles: Mapping[str, str],
    higher_is_better: Mapping[str, bool],
    patients: Mapping[str, str] | None,
) -> _Table:
    found = {row.key: row.score for row in scores}
    cases = list(dict.fromkeys((row.path, row.label) for row in scores))
    values = np.full((len(cases), len(points), len(roles)), np.nan)
    signs = np.array([1.0 if higher_is_better[point.scorer] else -1.0 for point in points])
    for j, point in enumerate(points):
        labels = dict(point.labels)
        for k, method in enumerate(roles):
            for i, case in enumerate(cases):
                values[i, j, k] = found.get((*case, labels[method], point.scorer), math.nan) * signs[j]
    whose = [(patients or {}).get(path, ("image", path)) for path, _ in cases]
    return _Table(values, signs, cluster_numbers(whose))


def _means(table: _Table, weights: Array) -> Array:
    """Weighted means ``(W, points, methods)`` over the cases that have every method's score; nan where there is none.

    Parameters
    ----------
    weights : ndarray
        ``(W, cases)``.
    """
    complete = ~np.isnan(table.scores).any(axis=2, keepdims=True)
    sums = np.einsum("wc,cpm->wpm", weights, np.where(complete, table.scores, 0.0))
    counts = np.einsum("wc,cpm->wpm", weights, complete.astype(float))
    return np.asarray(np.where(counts > 0, sums / np.maximum(counts, 1), np.nan))


def _ranks(means: Array) -> Array:
    """Places ``(points, methods)``, 1 for the largest; nan in points without a score."""
    return np.asarray(stats.rankdata(-means, axis=1, nan_policy="propagate"))


def _winner(means: Array, methods: tuple[str, ...]) -> tuple[str, float]:
    """The method that comes first most often ("" for several), and in which part of the points that have scores."""
    scored = means[~np.isnan(means).any(axis=1)]
    if not len(scored):
        return "", math.nan
    firsts = (scored == scored.max(axis=1, keepdims=True)).mean(axis=0)
    (best,) = np.nonzero(firsts == firsts.max())
    return methods[best[0]] if len(best) == 1 else "", float(firsts.max())


def _interval(values: Sequence[float]) -> tuple[float, float]:
    known = [value for value in values if not math.isnan(value)]
    if not known:
        return math.nan, math.nan
    low, high = np.quantile(known, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def _groups(points: Sequence[GridPoint]) -> dict[str, list[int]]:
    """Indices of the points of each group of two or more; a setting that is the same everywhere makes no group."""
    groups: dict[str, list[int]] = {"all": list(range(len(points)))}
    for axis in AXES:
        values = dict.fromkeys(getattr(point, axis) for point in points)
        if len(values) > 1:
            for value in values:
                groups[f"{axis}={value}"] = [i for i, point in enumerate(points) if getattr(point, axis) == value]
    return {name: members for name, members in groups.items() if len(members) > 1}
