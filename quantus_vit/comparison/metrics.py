"""Names of metrics -> Quantus' own metric objects, with every setting explicit, and their calls on one image.

Knows Quantus and the protocol; not where a map comes from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import quantus
import torch
from scipy.integrate import trapezoid

from .protocol import Protocol, image_seed

__all__ = ["METRICS", "Scorer", "break_ties", "build_scorers", "score_maps", "ties_matter"]

Array = npt.NDArray[Any]

SENSITIVITY_SAMPLES = 5
SENSITIVITY_RADIUS = 0.2


@dataclass(frozen=True)
class Scorer:
    """One row of the table: a Quantus metric with its settings.

    Parameters
    ----------
    name
        Name of the row, such as "FaithfulnessEstimate" or "FaithfulnessEstimate[baseline=black]".
    build
        Makes the metric; a fresh one for each call, since metrics keep what they have seen.
    higher_is_better
        How to read the scores.
    mask
        Which mask the metric compares with ("lung", "infection"), or None.
    by_order
        Whether the score depends on the order of the pixels, so that ties have to be broken.
    re_explains
        Whether the metric asks for more maps.
    positive_only
        Whether negative relevance is set to zero before (shares of mass mean nothing with both signs).
    summarise
        Makes a number of what the metric returns for a map.
    """

    name: str
    build: Callable[[], Any]
    higher_is_better: bool = True
    mask: str | None = None
    by_order: bool = False
    re_explains: bool = False
    positive_only: bool = False
    summarise: Callable[[Any], float] = float

    def applies_to(self, item: Mapping[str, Any]) -> bool:
        """Whether an image has what the metric needs: a mask that is not empty."""
        return self.mask is None or (bool(item[f"has_{self.mask}_mask"]) and bool(item[f"{self.mask}_mask"].any()))


METRICS: Mapping[str, str] = {
    "FaithfulnessEstimate": "the paper's: correlation of a step's relevance with the drop of the score without it",
    "PixelFlipping": "area under the score's curve while pixels are replaced in order of relevance; lower is better",
    "RelevanceMassAccuracy": "share of the positive relevance that lies inside the mask",
    "RelevanceRankAccuracy": "share of the mask's area that the most relevant pixels cover",
    "PointingGame": "whether the most relevant pixel lies inside the mask",
    "Sparseness": "Gini index of the absolute relevance; higher is sparser, which is not better by itself",
    "MaxSensitivity": f"largest change of the map under {SENSITIVITY_SAMPLES} small perturbations of the image; lower "
    f"is better; costs {SENSITIVITY_SAMPLES} more maps, so many times the run's time with LimeCXR",
}
"""The metrics that ``compare`` knows, and what they measure. Localisation metrics score the infection mask and the lung
mask, each a row of its own, on the images that have it."""

_LOCALISATION = ("RelevanceMassAccuracy", "RelevanceRankAccuracy", "PointingGame")
_COMMON = {"return_aggregate": False, "disable_warnings": True, "display_progressbar": False}
# One map at a time, so that a map's maximum is its own and not the batch's.
_PER_MAP = {"normalise_func_kwargs": {"normalise_axes": (1, 2, 3)}}


def build_scorers(protocol: Protocol) -> list[Scorer]:
    """Scorers of a protocol, in its order.

    Raises
    ------
    ValueError
        If a metric is unknown.
    """
    scorers: list[Scorer] = []
    for name in protocol.metrics:
        if name not in METRICS:
            raise ValueError(f"unknown metric {name!r}; known are {', '.join(METRICS)}")
        scorers += _scorers_of(name, protocol)
    return scorers


def _scorers_of(name: str, protocol: Protocol) -> list[Scorer]:
    metric = getattr(quantus, name)
    settings = {**_COMMON, **_PER_MAP, "normalise": protocol.normalise, "abs": protocol.abs}
    if name in ("FaithfulnessEstimate", "PixelFlipping"):
        flipping = name == "PixelFlipping"
        several = len(protocol.baselines) > 1
        return [
            Scorer(
                f"{name}[baseline={baseline}]" if several else name,
                _builder(
                    metric,
                    **settings,
                    features_in_step=protocol.features_in_step,
                    perturb_baseline=baseline,
                ),
                higher_is_better=not flipping,
                by_order=True,
                summarise=area_under_curve if flipping else float,
            )
            for baseline in protocol.baselines
        ]
    if name in _LOCALISATION:
        positive = name == "RelevanceMassAccuracy"
        return [
            Scorer(f"{name}[mask={mask}]", _builder(metric, **settings), mask=mask, positive_only=positive)
            for mask in ("infection", "lung")
        ]
    if name == "Sparseness":
        return [Scorer(name, _builder(metric, **{**settings, "abs": True}))]
    sensitivity = {"nr_samples": SENSITIVITY_SAMPLES, "lower_bound": SENSITIVITY_RADIUS}
    return [Scorer(name, _builder(metric, **settings, **sensitivity), higher_is_better=False, re_explains=True)]


def _builder(metric: Callable[..., Any], **settings: Any) -> Callable[[], Any]:
    return lambda: metric(**settings)


def score_maps(
    scorer: Scorer,
    maps: Sequence[Array],
    item: Mapping[str, Any],
    target: int,
    model: torch.nn.Module,
    protocol: Protocol,
    device: str,
    explain_func: Callable[..., Array] | None = None,
) -> list[list[float]]:
    """Score maps of one image by one plain Quantus call; together they share the model's forward passes.

    Parameters
    ----------
    scorer
        The metric.
    maps
        Maps of shape ``(1, H, W)``, of several methods.
    item
        Item of a data set, see :class:`quantus_vit.data.conventions.XraySample`.
    target
        The explained class.
    model, protocol, device
        As elsewhere.
    explain_func
        Recomputes the map for metrics that re-explain, called as Quantus calls it; then there can be one map alone.

    Returns
    -------
    list of list of float
        For each map its score; or one for each order of ties, where ties decide the score. nan for a map without any
        contrast: its correlation is undefined, and an arbitrary order must not give it a score.
    """
    variants = [_variants(scorer, relevance, item, protocol) for relevance in maps]
    batch = np.concatenate([np.empty((0, 1, *item["image"].shape[1:])), *variants])
    scores = _call(scorer, batch, item, target, model, protocol, device, explain_func) if len(batch) else []
    queue = iter(scores)
    return [[scorer.summarise(next(queue)) for _ in orders] if len(orders) else [float("nan")] for orders in variants]


def _variants(scorer: Scorer, relevance: Array, item: Mapping[str, Any], protocol: Protocol) -> Array:
    """A map as the metric gets it, ``(K, 1, H, W)``: once, in several orders of its ties, or not at all (K = 0)."""
    if not np.isfinite(relevance).all() or np.ptp(relevance) == 0:
        return np.empty((0, *relevance.shape))
    if scorer.by_order:
        decided = ties_matter(relevance, protocol.features_in_step, channels=item["image"].shape[0])
        seed = [protocol.tie_seed, image_seed(str(item["path"]))]
        return break_ties(relevance, protocol.tie_breaks if decided else 1, seed)
    values = relevance[None].astype(np.float64)
    return np.maximum(values, 0.0) if scorer.positive_only else values


def area_under_curve(curve: Sequence[float]) -> float:
    """Area under a curve with steps of 1, as Quantus defines it, whose own option needs a numpy before 2.4."""
    return float(trapezoid(curve, dx=1.0))


def _call(
    scorer: Scorer,
    batch: Array,
    item: Mapping[str, Any],
    target: int,
    model: torch.nn.Module,
    protocol: Protocol,
    device: str,
    explain_func: Callable[..., Array] | None,
) -> Sequence[Any]:
    count = len(batch)
    masks = None if scorer.mask is None else np.repeat(item[f"{scorer.mask}_mask"].numpy()[None], count, axis=0)
    with warnings.catch_warnings():
        # Quantus warns about every step that changes nothing, such as black borders under a black baseline.
        warnings.simplefilter("ignore")
        scores: Sequence[Any] = scorer.build()(
            model=model,
            x_batch=np.repeat(item["image"].numpy()[None], count, axis=0),
            y_batch=np.full(count, target),
            a_batch=batch,
            s_batch=masks,
            channel_first=True,
            explain_func=explain_func,
            explain_func_kwargs={} if explain_func else None,
            softmax=protocol.softmax,
            device=device,
        )
    return scores


def break_ties(relevance: Array, count: int, seed: list[int]) -> Array:
    """Copies of a map in which equal values are told apart, in a random order, and nothing else changes.

    Parameters
    ----------
    relevance
        Map of shape ``(1, H, W)``.
    count
        Number of copies.
    seed
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
    relevance
        Map of shape ``(1, H, W)``.
    features_in_step
        Values of a step; a pixel has ``channels`` of them.
    channels
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
    return bool(np.where(left == right, sizes, 0).mean() > step / 20)
