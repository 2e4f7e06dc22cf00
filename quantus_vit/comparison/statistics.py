"""Scores -> tables: means with bootstrap intervals, by class, by prediction, and over the orders of ties.

Knows rows of scores; nothing of models, and nothing of how a table is shown.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import numpy.typing as npt

from .ranking import cluster_bootstrap_interval
from .scores import Score, TieBreak, finite

__all__ = [
    "BOOTSTRAP_SEED", "CONFIDENCE", "ClassRow", "SpreadRow", "TableRow", "bin_of", "bootstrap_interval", "by_class",
    "by_confidence", "by_prediction", "cluster_means", "clusters_of", "common_means", "grouped", "table",
    "tie_spread", "write_table",
]  # fmt: skip

Array = npt.NDArray[np.float64]

BOOTSTRAP_RESAMPLES = 10_000
BOOTSTRAP_SEED = 0
CONFIDENCE = 0.95
"""Bootstrap intervals are percentile intervals of the mean; patients, or else images, are drawn with replacement."""

RIGHT, WRONG = "right", "wrong"

CONFIDENCE_BINS = {"below 0.60": 0.6, "0.60 to 0.80": 0.8, "0.80 to 0.95": 0.95, "0.95 and above": math.inf}
"""Bins of the model's confidence, each up to the limit, which is in the next; fixed, so that runs can be compared."""


@dataclass(frozen=True)
class TableRow:
    """A row of ``table1.csv``: a method under a metric, over ``n`` cases with a score and ``nan`` without.

    ``mask_kind`` says how the masks of a localisation metric were drawn: "pixel", "box", or both. ``role`` is "method"
    or "control". ``n_patients`` counts the patients behind the ``n`` cases, 0 where the data name none.
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
    role: str = ""
    n_patients: int = 0


@dataclass(frozen=True)
class ClassRow:
    """A row of ``by_class.csv`` (a box of figure 5), ``by_prediction.csv`` (right, wrong) or ``by_confidence.csv``.

    ``ci_low`` and ``ci_high`` are the 95 % bootstrap interval of the mean.
    """

    method: str
    metric: str
    label: str
    mean: float
    q1: float
    median: float
    q3: float
    n: int
    nan: int
    ci_low: float = math.nan
    ci_high: float = math.nan


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


def table(
    scores: Sequence[Score],
    about: Mapping[str, tuple[str, str]] | None = None,
    roles: Mapping[str, str] | None = None,
    patients: Mapping[str, str] | None = None,
) -> list[TableRow]:
    """Mean, 95 % bootstrap interval, median and counts of each method under each metric, in the order of the scores.

    Parameters
    ----------
    scores : sequence of Score
    about : mapping, optional
        Metric -> its category, and how its masks were drawn.
    roles : mapping, optional
        Method -> "method" or "control".
    patients : mapping, optional
        Image -> its patient, where known; an image that is not there is a patient of its own.
    """
    rows = []
    for (metric, method), group in grouped(scores).items():
        scored = [row for row in group if not math.isnan(row.score)]
        values = np.array(finite(scored))
        low, high = bootstrap_interval(values, clusters_of(scored, patients))
        mean, median = (float(values.mean()), float(np.median(values))) if len(values) else (math.nan, math.nan)
        category, kind = (about or {}).get(metric, ("", ""))
        rows.append(
            TableRow(
                method, metric, mean, low, high, median, len(values), len(group) - len(values), category, kind,
                (roles or {}).get(method, ""),
                len(set(clusters_of(scored, patients))) if patients else 0,
            )
        )  # fmt: skip
    return rows


def clusters_of(rows: Iterable[Score], patients: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Whom each score belongs to: the patient, or else the image; a patient cannot have an image's name."""
    known = patients or {}
    return [("patient", known[row.path]) if row.path in known else ("image", row.path) for row in rows]


def by_class(
    scores: Sequence[Score], labels: Sequence[str], patients: Mapping[str, str] | None = None
) -> list[ClassRow]:
    """Mean and quartiles of each method under each metric for the cases of each class that has some.

    Parameters
    ----------
    scores : sequence of Score
    labels : sequence of str
        The classes, in order.
    patients : mapping, optional
        Image -> its patient; the intervals draw whole patients.
    """
    rows = []
    for (metric, method), group in grouped(scores).items():
        for name in labels:
            members = [row for row in group if row.label == name]
            scored = [row for row in members if not math.isnan(row.score)]
            values = np.array(finite(scored))
            if members:
                q1, median, q3 = np.quantile(values, [0.25, 0.5, 0.75]).tolist() if scored else [math.nan] * 3
                mean = float(np.mean(values)) if scored else math.nan
                interval = bootstrap_interval(values, clusters_of(scored, patients))
                lacking = len(members) - len(scored)
                rows.append(ClassRow(method, metric, name, mean, q1, median, q3, len(scored), lacking, *interval))
    return rows


def by_prediction(
    scores: Sequence[Score], correct: Mapping[tuple[str, str], bool], patients: Mapping[str, str] | None = None
) -> list[ClassRow]:
    """Quartiles as :func:`by_class` gives them, for the cases that the model predicts right and those it gets wrong.

    Parameters
    ----------
    scores : sequence of Score
    correct : mapping
        (image, label) -> whether the prediction agrees with the label; cases that are not there are left out.
    patients : mapping, optional
        As for :func:`by_class`.
    """
    marked = [
        replace(row, label=RIGHT if correct[row.path, row.label] else WRONG)
        for row in scores
        if (row.path, row.label) in correct
    ]
    return by_class(marked, (RIGHT, WRONG), patients)


def bin_of(value: float, bins: Mapping[str, float]) -> str:
    """The bin of a value, each bin reaching up to its limit, which is in the next."""
    return next(name for name, limit in bins.items() if value < limit)


def by_confidence(
    scores: Sequence[Score], confidence: Mapping[tuple[str, str], float], patients: Mapping[str, str] | None = None
) -> list[ClassRow]:
    """Quartiles as :func:`by_class` gives them, by how sure the model is; bins as in :data:`CONFIDENCE_BINS`.

    Parameters
    ----------
    scores : sequence of Score
    confidence : mapping
        (image, label) -> probability that the model gives to what it says; cases that are not there are left out.
    patients : mapping, optional
        As for :func:`by_class`.
    """
    bins = {case: bin_of(value, CONFIDENCE_BINS) for case, value in confidence.items()}
    marked = [replace(row, label=bins[row.path, row.label]) for row in scores if (row.path, row.label) in bins]
    return by_class(marked, tuple(CONFIDENCE_BINS), patients)


def common_means(scores: Sequence[Score], metric: str, methods: Sequence[str]) -> tuple[int, dict[str, float]]:
    """Means over the cases that every method has a score of, so that none gains by cases that it lacks.

    Parameters
    ----------
    scores : sequence of Score
    metric : str
    methods : sequence of str

    Returns
    -------
    int
        How many such cases there are.
    dict of str to float
        Method -> its mean over them; empty where there are none.
    """
    of_methods = {method: dict[tuple[str, str], float]() for method in methods}
    for row in scores:
        if row.metric == metric and row.method in of_methods and not math.isnan(row.score):
            of_methods[row.method][row.path, row.label] = row.score
    shared = set.intersection(*(set(found) for found in of_methods.values()))
    if not shared:
        return 0, {}
    return len(shared), {method: fmean(found[case] for case in shared) for method, found in of_methods.items()}


def cluster_means(rows: Sequence[Score], patients: Mapping[str, str] | None = None) -> dict[tuple[str, str], float]:
    """Mean score of each patient, or else of each image: what counts as independent.

    Parameters
    ----------
    rows : sequence of Score
        Of one metric and method.
    patients : mapping, optional
        Image -> its patient.
    """
    members: dict[tuple[str, str], list[float]] = {}
    for row, cluster in zip(rows, clusters_of(rows, patients), strict=True):
        members.setdefault(cluster, []).append(row.score)
    return {cluster: float(np.mean(values)) for cluster, values in members.items()}


def bootstrap_interval(values: Array, clusters: Sequence[object] | None = None) -> tuple[float, float]:
    """Percentile bootstrap interval of the mean, whole clusters being drawn; nan with fewer than two of them."""
    whose = range(len(values)) if clusters is None else clusters
    return cluster_bootstrap_interval(values, whose, CONFIDENCE, BOOTSTRAP_RESAMPLES, BOOTSTRAP_SEED)


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


def grouped(scores: Sequence[Score]) -> dict[tuple[str, str], list[Score]]:
    """Scores by (metric, method), both in the order in which they first come."""
    metrics = dict.fromkeys(row.metric for row in scores)
    methods = dict.fromkeys(row.method for row in scores)
    groups = {
        (metric, method): [row for row in scores if (row.metric, row.method) == (metric, method)]
        for metric in metrics
        for method in methods
    }
    return {key: rows for key, rows in groups.items() if rows}
