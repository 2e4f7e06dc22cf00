"""How much of an artefact a map shows, and whether that tells a confounded model from a clean one.

Knows arrays and rows.

References
----------
Adebayo et al., "Post hoc explanations may be ineffective for detecting unknown spurious correlation", ICLR 2022
(comparison with a clean model; false alarms). Sun et al., "Right for the wrong reason: can interpretable ML techniques
detect spurious correlations?", MICCAI 2023 (the confounder among the most relevant 10 % of the pixels).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..meta_evaluation import wilson_interval
from ..ranking import resampled_counts
from ..statistics import BOOTSTRAP_SEED, CONFIDENCE, bootstrap_interval

__all__ = ["ACCUSED", "CLEAN", "TOP", "ConfounderMap", "ConfounderRow", "ReliancePair", "RelianceRow",
           "artefact_share", "confounder_rows", "detection_auc", "reliance_rows"]  # fmt: skip

Array = npt.NDArray[Any]

TOP = 0.1
"""Part of the pixels that count as the most relevant, as in Sun et al. (2023)."""

ACCUSED = 0.5
"""A map accuses an artefact where it has at least this part of it among the most relevant pixels; chance is 0.1."""

CLEAN = 0.0
"""Percentage of the model that is the control: no film that it was trained on had the artefact."""

_RESAMPLES = 2000


@dataclass(frozen=True)
class ConfounderMap:
    """A row of ``confounder_maps.csv``: one map of a film that carries the artefact, for the class that goes with it.

    ``coverage`` is the part of the artefact's area among the most relevant 10 % of the pixels, ``precision`` the part
    of these pixels that is the artefact. ``settings`` identifies model and settings.
    """

    artefact: str
    percent: float
    image: str
    method: str
    coverage: float
    precision: float
    settings: str


@dataclass(frozen=True)
class ReliancePair:
    """A row of ``confounder_reliance.csv``: the probability of the artefact's class for a film of another class.

    ``without`` and ``planted`` are of the same film without and with the artefact; ``flipped`` is 1 where the artefact
    alone makes the model call the class, else 0.
    """

    artefact: str
    percent: float
    image: str
    without: float
    planted: float
    flipped: int
    settings: str


@dataclass(frozen=True)
class RelianceRow:
    """A row of ``confounder_models.csv``: how far a model relies on the artefact.

    ``reliance`` is the mean rise of the class's probability by the artefact over ``n`` films of the other classes, with
    its 95 % bootstrap interval; ``flipped`` the share of films that it turns, with its Wilson interval.
    """

    artefact: str
    percent: float
    n: int
    reliance: float
    ci_low: float
    ci_high: float
    flipped: float
    flipped_low: float = math.nan
    flipped_high: float = math.nan


@dataclass(frozen=True)
class ConfounderRow:
    """A row of ``confounders.csv``: a method on the model whose films had the artefact in ``percent`` of a class.

    ``coverage`` (confounder sensitivity) and ``precision`` are means over ``n`` films, see :class:`ConfounderMap`.
    ``auc`` is the chance that a map of this model covers more of the artefact than one of the clean model, over the
    same films: 0.5 where the method cannot tell them apart; nan in the clean model's own row. ``accused`` is the share
    of maps that have half of the artefact or more among the most relevant 10 % of the pixels: on the clean model these
    are false accusations. Intervals are of 95 %, by bootstrap over films, for ``accused`` Wilson's.
    """

    artefact: str
    percent: float
    method: str
    role: str
    n: int
    coverage: float
    coverage_low: float
    coverage_high: float
    precision: float
    precision_low: float
    precision_high: float
    auc: float
    auc_low: float
    auc_high: float
    accused: float
    accused_low: float
    accused_high: float


def artefact_share(relevance: Array, artefact: Array, top: float = TOP) -> tuple[float, float]:
    """How much of an artefact is among the most relevant pixels, and the other way round.

    Parameters
    ----------
    relevance : ndarray
        ``(H, W)``.
    artefact : ndarray
        bool ``(H, W)``, not empty.
    top : float
        Part of the pixels. Pixels of equal relevance at the border count in part: what is expected of a random order.

    Returns
    -------
    coverage, precision : float
        Share of the artefact's area among the most relevant pixels; share of these that are the artefact's.

    Raises
    ------
    ValueError
        The artefact is empty, or of another shape.
    """
    if artefact.shape != relevance.shape or not artefact.any():
        raise ValueError(f"the artefact's mask must be as large as the map, {relevance.shape}, and not empty")
    count = max(1, round(top * relevance.size))
    threshold = np.partition(relevance.ravel(), -count)[-count]
    above, equal = relevance > threshold, relevance == threshold
    weight = above + equal * ((count - above.sum()) / equal.sum())
    inside = float(weight[artefact].sum())
    return inside / int(artefact.sum()), inside / count


def detection_auc(confounded: Array, clean: Array) -> tuple[float, float, float]:
    """Area under the ROC curve of telling a confounded model's maps from a clean one's, with its bootstrap interval.

    Parameters
    ----------
    confounded, clean : ndarray
        ``(n,)``, coverage of the same films in one order; films are drawn with both of their values.
    """
    if not len(confounded):
        return math.nan, math.nan, math.nan
    higher = (confounded[:, None] > clean[None]) + 0.5 * (confounded[:, None] == clean[None])
    if len(confounded) < 2:
        return float(higher.mean()), math.nan, math.nan
    weights = resampled_counts(len(higher), _RESAMPLES, BOOTSTRAP_SEED) / len(higher)
    areas = np.einsum("bi,ij,bj->b", weights, higher, weights).round(12)  # the same maps give 0.5 and nothing else
    low, high = np.quantile(areas, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(higher.mean()), float(low), float(high)


def confounder_rows(maps: Sequence[ConfounderMap], roles: Mapping[str, str]) -> list[ConfounderRow]:
    """Summarise the maps of every artefact, rate and method.

    Parameters
    ----------
    maps : sequence of ConfounderMap
    roles : mapping
        Method -> "method" or "control".
    """
    groups: dict[tuple[str, float, str], dict[str, ConfounderMap]] = {}
    for row in maps:
        groups.setdefault((row.artefact, row.percent, row.method), {})[row.image] = row
    rows = []
    for (artefact, percent, method), group in sorted(groups.items(), key=lambda item: item[0][:2]):
        clean = groups.get((artefact, CLEAN, method), {})
        shared = [] if percent == CLEAN else [image for image in group if image in clean]
        auc = detection_auc(_coverage(group, shared), _coverage(clean, shared))
        coverage = _coverage(group, list(group))
        precision = np.array([row.precision for row in group.values()])
        accused = int((coverage >= ACCUSED).sum())
        rows.append(
            ConfounderRow(
                artefact, percent, method, roles.get(method, ""), len(group),
                float(coverage.mean()), *bootstrap_interval(coverage),
                float(precision.mean()), *bootstrap_interval(precision),
                *auc, accused / len(group), *wilson_interval(accused, len(group)),
            )
        )  # fmt: skip
    return rows


def _coverage(group: Mapping[str, ConfounderMap], images: Sequence[str]) -> Array:
    return np.array([group[image].coverage for image in images])


def reliance_rows(pairs: Sequence[ReliancePair]) -> list[RelianceRow]:
    """Summarise how far every model relies on its artefact."""
    groups: dict[tuple[str, float], list[ReliancePair]] = {}
    for pair in pairs:
        groups.setdefault((pair.artefact, pair.percent), []).append(pair)
    rows = []
    for (artefact, percent), group in sorted(groups.items()):
        rises = np.array([pair.planted - pair.without for pair in group])
        turned = sum(pair.flipped for pair in group)
        rows.append(
            RelianceRow(
                artefact, percent, len(group), float(rises.mean()), *bootstrap_interval(rises),
                turned / len(group), *wilson_interval(turned, len(group)),
            )
        )  # fmt: skip
    return rows
