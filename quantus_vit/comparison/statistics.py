"""Scores -> tables: means with bootstrap intervals, by class, and paired tests between methods.

Knows rows of scores and scipy; nothing of models, and nothing of how a table is shown.
"""

from __future__ import annotations

import csv
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import stats

from .scores import Score, TieBreak, finite

__all__ = ["CONFIDENCE", "ClassRow", "SignificanceRow", "SpreadRow", "TableRow", "by_class", "holm", "significance",
           "table", "tie_spread", "write_table"]  # fmt: skip

Array = npt.NDArray[np.float64]

BOOTSTRAP_RESAMPLES = 10_000
BOOTSTRAP_SEED = 0
CONFIDENCE = 0.95
"""Bootstrap intervals are percentile intervals of the mean; images are drawn with replacement."""


@dataclass(frozen=True)
class TableRow:
    """A row of ``table1.csv``: a method under a metric, over ``n`` cases with a score and ``nan`` without.

    ``mask_kind`` says how the masks of a localisation metric were drawn: "pixel", "box", or both.
    """

    method: str
    metric: str
    mean: float
    ci_low: float
    ci_high: float
    median: float
    n: int
    nan: int
    category: str = ""
    mask_kind: str = ""


@dataclass(frozen=True)
class ClassRow:
    """A row of ``by_class.csv``: what a box of figure 5 shows."""

    method: str
    metric: str
    label: str
    mean: float
    q1: float
    median: float
    q3: float
    n: int
    nan: int


@dataclass(frozen=True)
class SignificanceRow:
    """A row of ``significance.csv``: two methods on the same images.

    ``mean_difference`` is a minus b, with its bootstrap interval. ``statistic`` and ``p`` are those of the two-sided
    Wilcoxon signed-rank test, ``p_holm`` is corrected over all rows of the file. ``rank_biserial`` is the effect size:
    (rank sum where a is larger - rank sum where b is) / total, from -1 to 1.
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


@dataclass(frozen=True)
class SpreadRow:
    """How far the order of equal values moves a score: over ``n`` images where ties decide.

    ``mean_spread`` and ``max_spread`` are of (largest - smallest score of an image); ``mean_low`` and ``mean_high``
    are the smallest and the largest mean over the images that one order gives.
    """

    method: str
    metric: str
    n: int
    mean_spread: float
    max_spread: float
    mean_low: float
    mean_high: float


def table(scores: Sequence[Score], about: Mapping[str, tuple[str, str]] | None = None) -> list[TableRow]:
    """Mean, 95 % bootstrap interval, median and counts of each method under each metric, in the order of the scores.

    Parameters
    ----------
    scores : sequence of Score
    about : mapping, optional
        Metric -> its category, and how its masks were drawn.
    """
    rows = []
    for (metric, method), group in _groups(scores).items():
        values = np.array(finite(group))
        low, high = bootstrap_interval(values)
        mean, median = (float(values.mean()), float(np.median(values))) if len(values) else (math.nan, math.nan)
        category, kind = (about or {}).get(metric, ("", ""))
        missing = len(group) - len(values)
        rows.append(TableRow(method, metric, mean, low, high, median, len(values), missing, category, kind))
    return rows


def by_class(scores: Sequence[Score], labels: Sequence[str]) -> list[ClassRow]:
    """Quartiles of each method under each metric for the cases of each class; classes without cases are left out."""
    rows = []
    for (metric, method), group in _groups(scores).items():
        for name in labels:
            members = [row for row in group if row.label == name]
            values = finite(members)
            if members:
                q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75]).tolist() if values else [math.nan] * 3
                mean = float(np.mean(values)) if values else math.nan
                rows.append(
                    ClassRow(method, metric, name, mean, q1, median, q3, len(values), len(members) - len(values))
                )
    return rows


def significance(scores: Sequence[Score]) -> list[SignificanceRow]:
    """Paired tests of every two methods under every metric, on the images where both have a score.

    Returns
    -------
    list of SignificanceRow
        ``p`` is nan with fewer than two images or no difference at all, and then no part of the correction.

    References
    ----------
    Wilcoxon, "Individual comparisons by ranking methods", 1945; Holm, "A simple sequentially rejective multiple test
    procedure", 1979; Kerby, "The simple difference formula", 2014 (rank-biserial correlation).
    """
    groups = _groups(scores)
    rows = []
    for metric in dict.fromkeys(metric for metric, _ in groups):
        methods = [method for other, method in groups if other == metric]
        for first, second in itertools.combinations(methods, 2):
            a = {(row.path, row.label): row.score for row in groups[metric, first]}
            b = {(row.path, row.label): row.score for row in groups[metric, second]}
            differences = np.array([a[case] - b[case] for case in a if case in b])
            rows.append(_paired(metric, first, second, differences[~np.isnan(differences)]))
    corrected = holm([row.p for row in rows])
    return [replace(row, p_holm=p) for row, p in zip(rows, corrected, strict=True)]


def _paired(metric: str, first: str, second: str, differences: Array) -> SignificanceRow:
    low, high = bootstrap_interval(differences)
    statistic = p = effect = math.nan
    if len(differences) > 1 and np.any(differences):
        test = stats.wilcoxon(differences)
        statistic, p = float(test.statistic), float(test.pvalue)
        moved = differences[differences != 0]
        ranks = stats.rankdata(np.abs(moved))
        effect = float((ranks * np.sign(moved)).sum() / ranks.sum())
    mean = float(differences.mean()) if len(differences) else math.nan
    return SignificanceRow(metric, first, second, len(differences), mean, low, high, statistic, p, math.nan, effect)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction of p values; nan stays nan and does not count as a test."""
    p = np.array(p_values, dtype=float)
    tested = np.flatnonzero(~np.isnan(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = len(order) - np.arange(len(order))
    corrected = p.copy()
    corrected[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1.0)
    return [float(value) for value in corrected]


def bootstrap_interval(values: Array) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean; nan with fewer than two values."""
    if len(values) < 2:
        return math.nan, math.nan
    generator = np.random.default_rng(BOOTSTRAP_SEED)
    means = values[generator.integers(len(values), size=(BOOTSTRAP_RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.quantile(means, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)


def tie_spread(tie_breaks: Iterable[TieBreak]) -> list[SpreadRow]:
    """Spread of the scores over the orders of equal values; methods without ties that matter are left out."""
    # A run that was cut between the two files writes an image's orders twice: the last ones belong to the score.
    latest = {(row.metric, row.method, (row.path, row.label), row.tie_break): row.score for row in tie_breaks}
    rows = []
    for metric, method in dict.fromkeys(key[:2] for key in latest):
        images: dict[tuple[str, str], list[float]] = {}
        for (other_metric, other_method, case, _), score in latest.items():
            if (other_metric, other_method) == (metric, method):
                images.setdefault(case, []).append(score)
        values = np.array([orders for orders in images.values() if not np.isnan(orders).any()])
        if len(values):
            spread, means = np.ptp(values, axis=1), values.mean(axis=0)
            rows.append(
                SpreadRow(
                    method, metric, len(values), *map(float, (spread.mean(), spread.max(), means.min(), means.max()))
                )
            )
    return rows


def write_table(path: Path, row_type: type, rows: Sequence[Any]) -> None:
    """Write rows of a dataclass as CSV, with a header even where there are no rows."""
    with path.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow([field.name for field in fields(row_type)])
        writer.writerows(map(astuple, rows))


def _groups(scores: Sequence[Score]) -> dict[tuple[str, str], list[Score]]:
    """Scores by (metric, method), both in the order in which they first come."""
    metrics = dict.fromkeys(row.metric for row in scores)
    methods = dict.fromkeys(row.method for row in scores)
    groups = {
        (metric, method): [row for row in scores if (row.metric, row.method) == (metric, method)]
        for metric in metrics
        for method in methods
    }
    return {key: rows for key, rows in groups.items() if rows}
