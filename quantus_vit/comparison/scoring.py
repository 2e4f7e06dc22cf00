"""Calls of a metric on maps of one image or several, by Quantus' own convention.

Knows scorers, maps and the model; not where a map comes from.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from inspect import signature
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from ..batch_size import BatchSize, choose_batch_size
from .metrics import Scorer
from .protocol import Protocol
from .ties import break_ties, ties_matter

__all__ = ["KeepCurves", "ScoredImage", "maps_at_once", "score_maps"]

Array = npt.NDArray[Any]
KeepCurves: TypeAlias = "Callable[[Sequence[Mapping[str, Sequence[float]]]], None]"
"""Takes for each map the curves behind its score: order -> outputs."""

MAPS_AT_ONCE_CPU = 16


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
        The image's own, for the orders of ties and for what a metric draws.
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
    images: ScoredImage | Sequence[ScoredImage],
    module: nn.Module,
    protocol: Protocol,
    device: str,
    explain_func: Callable[..., Array] | None = None,
    keep_curves: KeepCurves | None = None,
    batch_size: BatchSize | None = None,
) -> list[list[float]]:
    """Score maps, of several methods and images, by one plain Quantus call; together they fill the model's batches.

    Parameters
    ----------
    scorer : Scorer
        The metric.
    maps : sequence of numpy.ndarray
        Of shape ``(1, H, W)``.
    images : ScoredImage or sequence of ScoredImage
        The image of all maps, or one for each; of one size.
    module, protocol, device
        As elsewhere.
    explain_func : callable, optional
        Recomputes the map for metrics that call the method again, called as Quantus calls it; then there can be one
        map alone.
    keep_curves : callable, optional
        Called with the curves where the metric draws some; a map without a score has none.
    batch_size : BatchSize, optional
        How many maps a release of Quantus that works in batches takes at once, halved where memory runs out;
        :func:`maps_at_once` if left out.

    Returns
    -------
    list of list of float
        For each map its score; or one for each order of ties, where ties decide the score. nan for a map without any
        contrast: its correlation is undefined, and an arbitrary order must not give it a score.
    """
    each = [images] * len(maps) if isinstance(images, ScoredImage) else list(images)
    variants = [_variants(scorer, relevance, image, protocol) for relevance, image in zip(maps, each, strict=True)]
    counts = [len(orders) for orders in variants]
    if not sum(counts):
        return [[float("nan")] for _ in maps]
    batch = np.concatenate(variants)
    repeated = [image for image, count in zip(each, counts, strict=True) for _ in range(count)]
    size = batch_size or BatchSize(maps_at_once(module, repeated[0].image, device))
    metric, scores = size.run(lambda most: _call(scorer, batch, repeated, module, protocol, device, explain_func, most))
    if keep_curves is not None and scorer.spec.curves is not None:
        drawn = iter(scorer.spec.curves(metric))
        keep_curves([next(drawn) if count else {} for count in counts])
    queue = iter(scores)
    return [[scorer.spec.summarise(next(queue)) for _ in range(count)] if count else [float("nan")] for count in counts]


def maps_at_once(module: nn.Module, image: torch.Tensor, device: str) -> int:
    """How many maps Quantus may score at once: by the device's memory, and on a CPU at most 16.

    A larger batch is no faster there, and Quantus' own arrays, of 30 times the image's values, leave the caches.
    """
    size = choose_batch_size(module, image.to(device))
    return size if torch.device(device).type != "cpu" else min(size, MAPS_AT_ONCE_CPU)


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
    scorer: Scorer,
    batch: Array,
    images: Sequence[ScoredImage],
    module: nn.Module,
    protocol: Protocol,
    device: str,
    explain_func: Callable[..., Array] | None,
    most: int,
) -> tuple[Any, Sequence[Any]]:
    """The metric, which may have kept something, and what it returns for each of a batch of maps."""
    masks = None if scorer.mask is None else np.stack([image.masks[scorer.mask].numpy() for image in images])
    metric = scorer.build()
    with warnings.catch_warnings(), _numpy_seeded(protocol.sample_seed, images[0].seed):
        # Quantus warns about every step that changes nothing, such as black borders under a black baseline.
        warnings.simplefilter("ignore")
        scores: Sequence[Any] = metric(
            model=module,
            x_batch=np.stack([image.image.numpy() for image in images]),
            y_batch=np.array([image.target for image in images]),
            a_batch=batch,
            s_batch=masks,
            channel_first=True,
            explain_func=explain_func,
            explain_func_kwargs={} if explain_func else None,
            softmax=protocol.softmax,
            device=device,
            **_batches(metric, len(images), most),
        )
    return metric, scores


@contextmanager
def _numpy_seeded(*seed: int) -> Iterator[None]:
    """Numpy's global generator, from which Quantus draws subsets and noise, seeded; afterwards as it was."""
    state = np.random.get_state()
    np.random.seed(np.random.SeedSequence(seed).generate_state(1))
    try:
        yield
    finally:
        np.random.set_state(state)


def _batches(metric: Any, count: int, most: int) -> dict[str, int]:
    """Quantus' ``batch_size``, where the release has it.

    Quantus' own metrics count maps by it: batches as even as can be, none with a small rest. This package's count the
    model's images, whatever maps they are of.
    """
    calls = [vars(kind)["__call__"] for kind in type(metric).__mro__ if "__call__" in vars(kind)]
    if not any("batch_size" in signature(call).parameters for call in calls):
        return {}
    even = math.ceil(count / math.ceil(count / most))
    return {"batch_size": most if getattr(metric, "fills_batches", False) else even}
