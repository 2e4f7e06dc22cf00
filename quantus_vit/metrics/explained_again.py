"""Metrics that ask for more maps: of a noisy image, a shifted one, a model in double precision, random models.

Knows Quantus' convention for ``explain_func``; no method.

References
----------
Kindermans et al., "The (un)reliability of saliency methods", 2019 (invariance to shifts of the input). Adebayo et al.,
"Sanity checks for saliency maps", NeurIPS 2018 (random models). Immerkaer, "Fast noise variance estimation", CVIU 1996.
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from scipy.ndimage import convolve
from scipy.stats import rankdata
from torch import Tensor, nn

from .base import ImageMetric
from .checks import check_count

__all__ = ["NoiseRetest", "PrecisionError", "RandomModelSimilarity", "ShiftError", "noise_of"]

Array = npt.NDArray[Any]

_SECOND_DIFFERENCES = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]])


class _ExplainingMetric(ImageMetric):
    """A metric that explains again; called with ``explain_func``."""

    def __init__(self, **options: Any) -> None:
        super().__init__("logit", **options)

    def explain_again(self, module: nn.Module, x: Array, y: int) -> Array:
        """Map of an image for an output of a module, ``(1, H, W)`` or ``(C, H, W)``.

        Raises
        ------
        ValueError
            There is no ``explain_func``.
        """
        explain: Callable[..., Array] | None = getattr(self, "explain_func", None)
        if explain is None:
            raise ValueError(f"{type(self).__name__} makes maps anew; give explain_func")
        options = dict(getattr(self, "explain_func_kwargs", None) or {})
        maps: Array = np.asarray(explain(model=module, inputs=x[None], targets=np.array([y]), **options))
        return np.asarray(maps[0])


class NoiseRetest(_ExplainingMetric):
    """Whether a map comes out again where the image has another noise of the same strength.

    The mean rank correlation (Spearman's) of the map with maps of the image plus noise as strong as its own, see
    :func:`noise_of`. In [-1, 1], higher is better; nan where a map is constant.

    Parameters
    ----------
    samples : int
        How many noisy images.
    strength : float
        Standard deviation of the added noise, as a multiple of the image's own.
    seed : int
    **options
        Those of every metric of Quantus, such as ``abs``.
    """

    name = "Noise Retest"

    def __init__(self, samples: int = 5, strength: float = 1.0, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        if not 0 < strength < np.inf:
            raise ValueError(f"strength must be a positive number, not {strength!r}")
        self.samples, self.strength, self.seed = check_count("samples", samples), strength, seed

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Mean correlation over the noisy images."""
        rng = np.random.default_rng(self.seed)
        noise = self.strength * noise_of(x)[:, None, None]
        found = []
        for _ in range(self.samples):
            # One draw for all channels: an X-ray's are copies of each other.
            noisy = x + (noise * rng.standard_normal(x.shape[1:])).astype(x.dtype)
            found.append(rank_correlation(a, self.explain_again(model.get_model(), noisy, y)))
        return float(np.mean(found))


class ShiftError(_ExplainingMetric):
    """By how much a map changes where image and model are shifted by a constant that cancels (Kindermans et al. 2019).

    The model of the shifted image subtracts the shift before anything else, so both compute the same. The largest
    change of the map over its largest value; lower is better, 0 for a method that is invariant.

    Parameters
    ----------
    shift : float
        In the unit of the model's input.
    **options
        Those of every metric of Quantus, such as ``abs``.
    """

    name = "Shift Error"

    def __init__(self, shift: float = 1.0, **options: Any) -> None:
        super().__init__(**options)
        if shift == 0 or not np.isfinite(shift):
            raise ValueError(f"shift must be a finite number other than 0, not {shift!r}")
        self.shift = float(shift)

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Relative change of one map."""
        module = model.get_model()
        shifted = _Shifted(module, self.shift).train(module.training)
        return largest_change(a, self.explain_again(shifted, x + np.asarray(self.shift, x.dtype), y))


class PrecisionError(_ExplainingMetric):
    """By how much a map in the model's own precision differs from that in double precision.

    The largest difference over the largest value; lower is better. Methods that take images to single precision by
    themselves, as Quantus does for Captum's, cannot run a model of double precision.

    Parameters
    ----------
    **options
        Those of every metric of Quantus, such as ``abs``.
    """

    name = "Precision Error"

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Relative difference of one map."""
        double = _Double(deepcopy(model.get_model()).double()).eval()
        return largest_change(a, self.explain_again(double, x, y))


class RandomModelSimilarity(_ExplainingMetric):
    """How alike maps of random models are: the value that a sanity check by randomisation is to be compared with.

    The mean rank correlation (Spearman's) of the maps of pairs of models that share nothing but their architecture:
    every module that has a ``reset_parameters`` draws its parameters anew. What a map shares over all models, such as
    the image's edges or a smooth grid, shows here; a correlation of the model with its randomised copies that is not
    above this value is as good as none. Of the given map nothing but the method's settings matters.

    Parameters
    ----------
    pairs : int
        How many pairs; drawn from as few models as have so many.
    seed : int
    **options
        Those of every metric of Quantus, such as ``abs``.
    """

    name = "Random Model Similarity"

    def __init__(self, pairs: int = 50, seed: int = 0, **options: Any) -> None:
        super().__init__(**options)
        self.pairs, self.seed = check_count("pairs", pairs), seed

    def score(self, model: Any, x: Array, y: int, a: Array, s: Array | None = None) -> float:
        """Mean correlation over the pairs."""
        number = next(n for n in range(2, self.pairs + 2) if n * (n - 1) // 2 >= self.pairs)
        maps = [self.explain_again(_random_copy(model.get_model(), self.seed + i), x, y) for i in range(number)]
        pairs = list(combinations(range(number), 2))
        chosen = np.random.default_rng(self.seed).permutation(len(pairs))[: self.pairs]
        return float(np.mean([rank_correlation(maps[pairs[i][0]], maps[pairs[i][1]]) for i in chosen]))


class _Shifted(nn.Module):
    """A model of images that were shifted by a constant."""

    def __init__(self, module: nn.Module, shift: float) -> None:
        super().__init__()
        self.module, self.shift = module, shift

    def forward(self, images: Tensor) -> Any:
        return self.module(images - self.shift)


class _Double(nn.Module):
    """A model of double precision for images of any."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images: Tensor) -> Any:
        return self.module(images.double())


def _random_copy(module: nn.Module, seed: int) -> nn.Module:
    copy = deepcopy(module)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in copy.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
    return copy


def noise_of(image: Array) -> Array:
    """Standard deviation of an image's noise, by channel ``(C,)``, from second differences (Immerkaer 1996).

    Parameters
    ----------
    image : ndarray
        ``(C, H, W)``.
    """
    inner = [convolve(channel.astype(np.float64), _SECOND_DIFFERENCES)[1:-1, 1:-1] for channel in image]
    return np.array([np.sqrt(np.pi / 2) / 6 * np.abs(values).mean() for values in inner])


def rank_correlation(first: Array, second: Array) -> float:
    """Spearman's correlation of two maps, their channels summed; nan where one is constant."""
    a, b = (rankdata(one.sum(axis=0).ravel()) for one in (first, second))
    a, b = a - a.mean(), b - b.mean()
    norm = np.sqrt((a**2).sum() * (b**2).sum())
    return float((a * b).sum() / norm) if norm > 0 else float("nan")


def largest_change(before: Array, after: Array) -> float:
    """Largest change of a map over its largest value, channels summed; nan of a map of zeros."""
    a, b = (np.asarray(one, dtype=np.float64).sum(axis=0) for one in (before, after))
    scale = np.abs(a).max()
    return float(np.abs(a - b).max() / scale) if scale > 0 else float("nan")
