"""How far a removal puts the model from what real images put it at: random patches removed, logits and features moved.

A removal that moves the model farther than another image does asks it about pictures that it has never seen; scores by
such a removal say how it fails there, before they say anything of a map.

References
----------
Jain et al., "Missingness bias in model debugging", ICLR 2022 (predictions under random removal of patches). Rong et
al., "A consistent and efficient evaluation strategy for attribution methods", ICML 2022 (ROAD: removals and their
distance from the data).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ..statistics import bootstrap_interval

__all__ = ["RemovalShiftRow", "Responses", "respond", "shift_row"]

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class RemovalShiftRow:
    """A row of ``removal_shift.csv``: a removal and the share of patches that it removed, over ``n`` images.

    ``logit_shift`` is the mean over images of the distance between the logits before and after, in units of the mean
    distance between two images' logits; ``feature_shift`` the same of the last features, the input of the linear layer
    that gives the logits; each with its 95 % bootstrap interval over images. ``outlying`` is the mean distance of the
    features after to those of the nearest whole image, in units of the mean distance of whole images to their nearest:
    above 1 the model is farther from all images than these are from each other. ``changed`` is the share of images
    whose predicted class changes. nan where there is nothing: no linear layer at the end, or a removal that the model
    does not allow (``n`` is 0). ``settings`` identifies model, images and seed.
    """

    removal: str
    share: float
    n: int
    logit_shift: float
    logit_low: float
    logit_high: float
    feature_shift: float
    feature_low: float
    feature_high: float
    outlying: float
    changed: float
    settings: str

    @classmethod
    def refused(cls, removal: str, share: float, settings: str) -> RemovalShiftRow:
        """Row of a removal that the model does not allow."""
        nan = math.nan
        return cls(removal, share, 0, nan, nan, nan, nan, nan, nan, nan, nan, settings)


@dataclass(frozen=True)
class Responses:
    """What a model makes of images.

    Parameters
    ----------
    logits : ndarray
        ``(N, K)``.
    features : ndarray
        ``(N, D)``; ``D`` is 0 where the model has no linear layer at its end.
    """

    logits: Array
    features: Array


def respond(module: nn.Module, images: Tensor) -> Responses:
    """Logits and last features of images ``(N, C, H, W)``.

    The features are what goes into the linear layer whose output the model returns.
    """
    seen: list[tuple[Tensor, Tensor]] = []

    def keep(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if inputs and isinstance(inputs[0], Tensor) and isinstance(output, Tensor) and inputs[0].dim() == 2:
            seen.append((inputs[0], output))

    hooks = [layer.register_forward_hook(keep) for layer in module.modules() if isinstance(layer, nn.Linear)]
    try:
        with torch.no_grad():
            logits = module(images)
    finally:
        for hook in hooks:
            hook.remove()
    found = [inputs for inputs, output in seen if output.shape == logits.shape and torch.equal(output, logits)]
    features = found[-1] if found else logits.new_zeros(len(logits), 0)
    return Responses(logits.double().cpu().numpy(), features.double().cpu().numpy())


def shift_row(
    removal: str, share: float, whole: Responses, removed: Responses, multiclass: bool = True, settings: str = ""
) -> RemovalShiftRow:
    """Compare what a model makes of images before and after a removal.

    Parameters
    ----------
    removal : str
    share : float
    whole, removed : Responses
        Of the same two images or more, in the same order.
    multiclass : bool
        Whether the largest logit is the prediction; else every positive one is.
    settings : str
    """
    logit, feature = (_shift(before, after) for before, after in _pairs(whole, removed))
    intervals = [bootstrap_interval(values) if len(values) else (math.nan, math.nan) for values in (logit, feature)]
    logit_mean, feature_mean = (float(values.mean()) if len(values) else math.nan for values in (logit, feature))
    before, after = (_predicted(responses.logits, multiclass) for responses in (whole, removed))
    changed = float((before != after).any(axis=1).mean())
    outlying = _outlying(whole.features, removed.features)
    return RemovalShiftRow(
        removal, share, len(whole.logits), logit_mean, *intervals[0], feature_mean, *intervals[1], outlying, changed,
        settings,
    )  # fmt: skip


def _pairs(whole: Responses, removed: Responses) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    return (whole.logits, removed.logits), (whole.features, removed.features)


def _distances(a: Array, b: Array) -> Array:
    return np.asarray(np.linalg.norm(a[:, None] - b[None], axis=2))


def _shift(before: Array, after: Array) -> Array:
    """Distance of each image, ``(N,)``, by the mean distance of two images; nothing where that is 0."""
    between = _distances(before, before)
    spread = float(between[np.triu_indices(len(between), k=1)].mean())
    return np.asarray(np.linalg.norm(after - before, axis=1) / spread) if spread > 0 else np.empty(0)


def _outlying(before: Array, after: Array) -> float:
    between = _distances(before, before)
    np.fill_diagonal(between, np.inf)
    nearest = float(between.min(axis=1).mean())
    return (
        float(_distances(after, before).min(axis=1).mean() / nearest) if before.shape[1] and nearest > 0 else math.nan
    )


def _predicted(logits: Array, multiclass: bool) -> Array:
    return logits.argmax(axis=1)[:, None] if multiclass else logits > 0
