"""Scores -> paired tests of every two methods, corrected for their number, with the difference they could have shown.

Knows rows of scores and scipy.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import stats

from .ranking import detectable_difference
from .scores import Score
from .statistics import bootstrap_interval, cluster_means, clusters_of, grouped

__all__ = ["POWER", "SignificanceRow", "holm", "significance"]

POWER = 0.8
"""Chance of a significant test at which a difference is called detectable."""


@dataclass(frozen=True)
class SignificanceRow:
    """A row of ``significance.csv``: two methods on the same images.

    ``mean_difference`` is a minus b over ``n`` cases, with its bootstrap interval. ``statistic`` and ``p`` are those of
    the two-sided Wilcoxon signed-rank test of the ``n_tested`` mean differences of patients (of images where the data
    name no patients), ``p_holm`` is corrected over all rows of the file. ``rank_biserial`` is the effect size: (rank
    sum where a is larger - rank sum where b is) / total, from -1 to 1. ``detectable`` is the true mean difference that
    a test of this size, at a level of 0.05 before correction, finds with a chance of 80 %.
    """

    metric: str
    method_a: str
    method_b: str
    n: int
    mean_difference: float
    ci_low: float
    ci_high: float
    statistic: float
    p: float
    p_holm: float
    rank_biserial: float
    n_tested: int = 0
    detectable: float = math.nan


def significance(
    scores: Sequence[Score], roles: Mapping[str, str] | None = None, patients: Mapping[str, str] | None = None
) -> list[SignificanceRow]:
    """Paired tests of every two methods under every metric, on the images where both have a score.

    Parameters
    ----------
    scores : sequence of Score
    roles : mapping, optional
        Method -> "method" or "control"; two controls are not tested against each other, for nothing is claimed of them.
    patients : mapping, optional
        Image -> its patient. The differences of a patient's images are averaged before the test, which takes what it
        is given as independent.

    Returns
    -------
    list of SignificanceRow
        ``p`` is nan with fewer than two images or no difference at all, and then no part of the correction.

    References
    ----------
    Wilcoxon, "Individual comparisons by ranking methods", 1945; Holm, "A simple sequentially rejective multiple test
    procedure", 1979; Kerby, "The simple difference formula", 2014 (rank-biserial correlation).
    """
    groups = grouped(scores)
    controls = {method for method, role in (roles or {}).items() if role == "control"}
    rows = []
    for metric in dict.fromkeys(metric for metric, _ in groups):
        methods = [method for other, method in groups if other == metric]
        for first, second in itertools.combinations(methods, 2):
            if {first, second} <= controls:
                continue
            b = {(row.path, row.label): row.score for row in groups[metric, second]}
            paired = [row for row in groups[metric, first] if (row.path, row.label) in b]
            paired = [replace(row, score=row.score - b[row.path, row.label]) for row in paired]
            paired = [row for row in paired if not math.isnan(row.score)]
            rows.append(_paired(metric, first, second, paired, patients))
    corrected = holm([row.p for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _paired(
    metric: str, first: str, second: str, rows: Sequence[Score], patients: Mapping[str, str] | None
) -> SignificanceRow:
    differences = np.array([row.score for row in rows])
    low, high = bootstrap_interval(differences, clusters_of(rows, patients))
    independent = np.array(list(cluster_means(rows, patients).values()))
    statistic = p = effect = detectable = math.nan
    if len(independent) > 1:
        detectable = detectable_difference(float(independent.std(ddof=1)), len(independent), POWER)
    if len(independent) > 1 and np.any(independent):
        test = stats.wilcoxon(independent)
        statistic, p = float(test.statistic), float(test.pvalue)
        moved = independent[independent != 0]
        ranks = stats.rankdata(np.abs(moved))
        effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    mean = float(differences.mean()) if len(differences) else math.nan
    return SignificanceRow(
        metric, first, second, len(differences), mean, low, high, statistic, p, math.nan, effect, len(independent),
        detectable,
    )  # fmt: skip


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p values; nan stays nan and does not count as a test."""
    p = np.array(p_values, dtype=float)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected = p.copy()
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in corrected]
