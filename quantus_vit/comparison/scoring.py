"""Calls of a metric on the maps of one image, by Quantus' own convention.

Knows scorers, maps and the model; not where a map comes from.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from .metrics import Scorer
from .protocol import Protocol
from .ties import break_ties, ties_matter

__all__ = ["KeepCurves", "ScoredImage", "score_maps"]

Array = npt.NDArray[Any]
KeepCurves: TypeAlias = "Callable[[Sequence[Mapping[str, Sequence[float]]]], None]"
"""Takes for each map the curves behind its score: order -> outputs."""


@dataclass(frozen=True)
class ScoredImage:
    """An image as metrics see it.

    Parameters
    ----------
    image : torch.Tensor
        float32 ``(C, H, W)``, as the model takes it.
    target : int
        The explained output.
    masks : mapping of str to torch.Tensor
        Finding or organ -> bool ``(1, H, W)``, those that the case may be compared with.
    seed : int
        The image's own, for the orders of ties.
    """

    image: torch.Tensor
    target: int
    masks: Mapping[str, torch.Tensor]
    seed: int

    def suits(self, scorer: Scorer) -> bool:
        """Whether the image has what the metric needs: a mask that is not empty."""
        return scorer.mask is None or (scorer.mask in self.masks and bool(self.masks[scorer.mask].any()))


def score_maps(
    scorer: Scorer,
    maps: Sequence[Array],
    image: ScoredImage,
    module: nn.Module,
    protocol: Protocol,
    device: str,
    explain_func: Callable[..., Array] | None = None,
    keep_curves: KeepCurves | None = None,
) -> list[list[float]]:
    """Score maps of one image by one plain Quantus call; together they share the model's forward passes.

    Parameters
    ----------
    scorer : Scorer
        The metric.
    maps : sequence of numpy.ndarray
        Of shape ``(1, H, W)``, of several methods.
    image : ScoredImage
    module, protocol, device
        As elsewhere.
    explain_func : callable, optional
        Recomputes the map for metrics that call the method again, called as Quantus calls it; then there can be one
        map alone.
    keep_curves : callable, optional
        Called with the curves where the metric draws some; a map without a score has none.

    Returns
    -------
    list of list of float
        For each map its score; or one for each order of ties, where ties decide the score. nan for a map without any
        contrast: its correlation is undefined, and an arbitrary order must not give it a score.
    """
    variants = [_variants(scorer, relevance, image, protocol) for relevance in maps]
    batch = np.concatenate([np.empty((0, 1, *image.image.shape[1:])), *variants])
    metric = scorer.build()
    scores = _call(metric, scorer, batch, image, module, protocol, device, explain_func) if len(batch) else []
    if keep_curves is not None and scorer.spec.curves is not None and len(batch):
        drawn = iter(scorer.spec.curves(metric))
        keep_curves([next(drawn) if len(orders) else {} for orders in variants])
    queue = iter(scores)
    return [
        [scorer.spec.summarise(next(queue)) for _ in orders] if len(orders) else [float("nan")] for orders in variants
    ]


def _variants(scorer: Scorer, relevance: Array, image: ScoredImage, protocol: Protocol) -> Array:
    """A map as the metric gets it, ``(K, 1, H, W)``: once, in several orders of its ties, or not at all (K = 0)."""
    if not np.isfinite(relevance).all() or np.ptp(relevance) == 0:
        return np.empty((0, *relevance.shape))
    if "order" in scorer.spec.needs:
        step = int(scorer.settings.get("features_in_step", protocol.features_in_step))
        decided = ties_matter(relevance, step, channels=image.image.shape[0])
        return break_ties(relevance, protocol.tie_breaks if decided else 1, [protocol.tie_seed, image.seed])
    values = relevance[None].astype(np.float64)
    return np.maximum(values, 0.0) if scorer.spec.positive_only else values


def _call(
    metric: Any,
    scorer: Scorer,
    batch: Array,
    image: ScoredImage,
    module: nn.Module,
    protocol: Protocol,
    device: str,
    explain_func: Callable[..., Array] | None,
) -> Sequence[Any]:
    count = len(batch)
    masks = None if scorer.mask is None else np.repeat(image.masks[scorer.mask].numpy()[None], count, axis=0)
    with warnings.catch_warnings():
        # Quantus warns about every step that changes nothing, such as black borders under a black baseline.
        warnings.simplefilter("ignore")
        scores: Sequence[Any] = metric(
            model=module,
            x_batch=np.repeat(image.image.numpy()[None], count, axis=0),
            y_batch=np.full(count, image.target),
            a_batch=batch,
            s_batch=masks,
            channel_first=True,
            explain_func=explain_func,
            explain_func_kwargs={} if explain_func else None,
            softmax=protocol.softmax,
            device=device,
        )
    return scores
