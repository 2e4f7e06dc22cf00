"""Rankings of methods over images and over settings: mean ranks, critical differences, agreement, power.

Knows arrays and scipy; nothing of files or of how a ranking is shown.

References
----------
Friedman, "The use of ranks to avoid the assumption of normality", JASA 1937. Nemenyi, "Distribution-free multiple
comparisons", 1963. Demsar, "Statistical comparisons of classifiers over multiple data sets", JMLR 2006 (critical
difference diagrams). Kendall and Babington Smith, "The problem of m rankings", 1939.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import optimize, stats

__all__ = ["MeanRanks", "cluster_bootstrap_interval", "cluster_numbers", "detectable_difference", "kendall_w",
           "mean_ranks", "resampled_counts"]  # fmt: skip

Array = npt.NDArray[Any]

_NODES = 4000
"""Points of an integral over a distribution's quantiles."""


@dataclass(frozen=True)
class MeanRanks:
    """Methods ranked within each image, and how far apart mean ranks must lie to differ.

    Parameters
    ----------
    methods : tuple of str
        From the best mean rank to the worst.
    ranks : tuple of float
        Mean rank of each; 1 is the best.
    n : int
        Images with a score of every method.
    statistic, p : float
        Friedman's chi-squared test of no difference between any of them; nan with fewer than three methods or two
        images.
    critical_difference : float
        Nemenyi's, at the level ``alpha``: mean ranks that lie less apart do not differ significantly.
    groups : tuple of tuple of str
        Largest groups of methods that do not differ significantly, the bars of a critical-difference diagram.
    """

    methods: tuple[str, ...]
    ranks: tuple[float, ...]
    n: int
    statistic: float
    p: float
    critical_difference: float
    groups: tuple[tuple[str, ...], ...]


def mean_ranks(methods: Sequence[str], scores: Array, higher_is_better: bool = True, alpha: float = 0.05) -> MeanRanks:
    """Rank methods within each image and compare their mean ranks.

    Parameters
    ----------
    methods : sequence of str
        ``k`` names, two or more.
    scores : ndarray
        ``(images, k)``; images with a nan are left out.
    higher_is_better : bool
    alpha : float
        Level of Nemenyi's test.

    Raises
    ------
    ValueError
        Fewer than two methods, or another number of columns.
    """
    scores = np.asarray(scores, dtype=float)
    k = len(methods)
    if k < 2 or scores.ndim != 2 or scores.shape[1] != k:
        raise ValueError(f"mean ranks need two methods or more, a column each; got {k} methods, scores {scores.shape}")
    complete = scores[~np.isnan(scores).any(axis=1)]
    n = len(complete)
    if n == 0:
        return MeanRanks(tuple(methods), (math.nan,) * k, 0, math.nan, math.nan, math.nan, ())
    ranks = stats.rankdata(-complete if higher_is_better else complete, axis=1).mean(axis=0)
    statistic = p = math.nan
    if k > 2 and n > 1 and np.ptp(complete, axis=1).any():
        test = stats.friedmanchisquare(*complete.T)
        statistic, p = float(test.statistic), float(test.pvalue)
    difference = float(
        stats.studentized_range.ppf(1 - alpha, k, np.inf) / math.sqrt(2) * math.sqrt(k * (k + 1) / (6 * n))
    )
    order = np.argsort(ranks, kind="stable")
    names = tuple(methods[i] for i in order)
    values = tuple(float(ranks[i]) for i in order)
    return MeanRanks(names, values, n, statistic, p, difference, _groups(names, values, difference))


def _groups(names: tuple[str, ...], ranks: tuple[float, ...], difference: float) -> tuple[tuple[str, ...], ...]:
    """The largest runs of methods whose first and last lie less than the critical difference apart."""
    groups: list[tuple[int, int]] = []
    for start in range(len(ranks)):
        end = max(i for i in range(start, len(ranks)) if ranks[i] - ranks[start] < difference or i == start)
        if end > start and (not groups or end > groups[-1][1]):
            groups.append((start, end))
    return tuple(names[start : end + 1] for start, end in groups)


def kendall_w(scores: Array) -> float:
    """Kendall's coefficient of concordance: how far several settings rank the methods alike.

    Parameters
    ----------
    scores : ndarray
        ``(settings, methods)``, comparable within a setting only, with one direction in all.

    Returns
    -------
    float
        From 0 (no agreement) to 1 (the same ranking everywhere), corrected for ties; nan where fewer than two settings
        or methods are complete, or nothing differs.
    """
    scores = np.asarray(scores, dtype=float)
    scores = scores[~np.isnan(scores).any(axis=1)]
    if scores.ndim != 2 or min(scores.shape) < 2:
        return math.nan
    m, n = scores.shape
    ranks = stats.rankdata(scores, axis=1)
    deviation = float(((ranks.sum(axis=0) - m * (n + 1) / 2) ** 2).sum())
    ties = sum(float((counts**3 - counts).sum()) for counts in (np.unique(row, return_counts=True)[1] for row in ranks))
    largest = m**2 * (n**3 - n) - m * ties
    return 12 * deviation / largest if largest > 0 else math.nan


def cluster_numbers(clusters: Sequence[object]) -> npt.NDArray[np.int64]:
    """Clusters numbered from 0 as they first come: which of them each value belongs to."""
    numbers = {cluster: number for number, cluster in enumerate(dict.fromkeys(clusters))}
    return np.array([numbers[cluster] for cluster in clusters], dtype=np.int64)


def resampled_counts(count: int, resamples: int, seed: int) -> npt.NDArray[np.int64]:
    """How often a bootstrap draws each of ``count`` things: ``(resamples, count)``, each row with the sum ``count``."""
    drawn = np.random.default_rng(seed).integers(count, size=(resamples, count))
    return np.stack([np.bincount(row, minlength=count) for row in drawn])


def cluster_bootstrap_interval(
    values: Array, clusters: Sequence[object], confidence: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, whole clusters (the images of a patient) being drawn.

    Parameters
    ----------
    values : ndarray
        ``(n,)``, finite.
    clusters : sequence
        ``(n,)``, which cluster each value belongs to.
    confidence : float
    resamples : int
    seed : int

    Returns
    -------
    low, high : float
        nan with fewer than two clusters.
    """
    values = np.asarray(values, dtype=float)
    index = cluster_numbers(clusters)
    if len(index) != len(values):
        raise ValueError(f"there must be a cluster for each of the {len(values)} values, not {len(index)}")
    sums, sizes = np.bincount(index, values), np.bincount(index)
    if len(sums) < 2:
        return math.nan, math.nan
    drawn = np.random.default_rng(seed).integers(len(sums), size=(resamples, len(sums)))
    means = sums[drawn].sum(axis=1) / sizes[drawn].sum(axis=1)
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def detectable_difference(deviation: float, n: int, power: float = 0.8, alpha: float = 0.05) -> float:
    """The mean paired difference that a two-sided paired t test of ``n`` images finds with the given power.

    Parameters
    ----------
    deviation : float
        Standard deviation of the paired differences.
    n : int
        Images.
    power, alpha : float

    Returns
    -------
    float
        In the unit of the scores; nan with fewer than two images or an unknown deviation. Wilcoxon's test needs some
        5 % more images for the same where differences are normal (its asymptotic efficiency is 0.955).
    """
    if n < 2 or not deviation >= 0:
        return math.nan
    if deviation == 0:
        return 0.0
    # The noncentral t distribution as a mean over the sample's deviation: scipy's own is nan for few images.
    deviations = stats.chi.ppf((np.arange(_NODES) + 0.5) / _NODES, n - 1) / math.sqrt(n - 1)
    threshold = float(stats.t.ppf(1 - alpha / 2, n - 1)) * deviations

    def excess(effect: float) -> float:
        shift = effect * math.sqrt(n)
        return float((stats.norm.sf(threshold - shift) + stats.norm.cdf(-threshold - shift)).mean()) - power

    upper = 1.0
    while excess(upper) < 0:
        upper *= 2
    return float(optimize.brentq(excess, 0.0, upper)) * deviation
