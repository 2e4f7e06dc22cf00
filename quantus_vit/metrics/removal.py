"""What takes the place of removed pixels: one table of removals, each a function of image and mask.

Every choice shows the model something; which one can decide a ranking. ``"tokens"`` shows it nothing instead: the model
runs without the patches. Knows arrays only.

References
----------
Jain et al., "Missingness bias in model debugging", ICLR 2022 (token removal). Rong et al., "A consistent and efficient
evaluation strategy for attribution methods", ICML 2022 (noisy linear imputation).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter
from scipy.sparse import csr_matrix
from scipy.sparse.linalg import spsolve

from ..tables import Table

__all__ = ["REMOVALS", "TOKENS", "RemovalSpec", "removal_of"]

Array = npt.NDArray[Any]

TOKENS = "tokens"
"""The removal that takes patches out of the model's sequence of tokens; it replaces no pixel."""

_BLUR = 1 / 14
"""Standard deviation of the blur, as a part of the image's shorter side: the size of a patch."""


@dataclass(frozen=True)
class RemovalSpec:
    """A way to remove pixels.

    Parameters
    ----------
    name, summary : str
    replace : callable or None
        ``replace(image, masks)``: image float ``(C, H, W)``, masks bool ``(M, H, W)``, True where removed -> float
        ``(M, C, H, W)``. None where the model leaves the patches out itself.
    """

    name: str
    summary: str
    replace: Callable[[Array, Array], Array] | None


def removal_of(removal: str | float) -> RemovalSpec:
    """The removal of a name; a number replaces removed pixels by that value, in the model's normalised units.

    Raises
    ------
    ValueError
        No such removal, or a number that is not finite.
    """
    if isinstance(removal, str):
        return REMOVALS[removal]
    if isinstance(removal, bool) or not np.isfinite(removal):
        raise ValueError(f"removal must be a name or a finite number in normalised units, not {removal!r}")
    return RemovalSpec(str(removal), f"the value {removal} in normalised units", partial(_constant, value=removal))


def _constant(image: Array, masks: Array, value: float) -> Array:
    return _compose(image, masks, np.full_like(image, value))


def _mean(image: Array, masks: Array) -> Array:
    return _compose(image, masks, np.broadcast_to(image.mean(axis=(1, 2), keepdims=True), image.shape))


def _black(image: Array, masks: Array) -> Array:
    return _compose(image, masks, np.full_like(image, image.min()))


def _blur(image: Array, masks: Array) -> Array:
    sigma = _BLUR * min(image.shape[1:])
    return _compose(image, masks, np.asarray(gaussian_filter(image, (0, sigma, sigma), mode="nearest")))


def _smooth(image: Array, masks: Array) -> Array:
    """Normalised convolution (Knutsson and Westin, 1993): the blurred kept pixels over the blurred mask of the kept."""
    sigma = _BLUR * min(image.shape[1:])
    result = np.empty((len(masks), *image.shape), image.dtype)
    for i, mask in enumerate(masks):
        kept = (~mask).astype(image.dtype)
        weight = gaussian_filter(kept, sigma, mode="nearest")
        filled = gaussian_filter(image * kept, (0, sigma, sigma), mode="nearest")
        mean = image.mean(axis=(1, 2), keepdims=True)
        near = weight > 1e-3  # farther away nothing that was kept counts
        result[i] = np.where(mask, np.where(near, filled / np.where(near, weight, 1), mean), image)
    return result


def _linear_imputation(image: Array, masks: Array) -> Array:
    """Every removed pixel is the weighted mean of its eight neighbours: direct 1/6, diagonal 1/12 (Rong et al. 2022).

    Where everything is removed no neighbour is known: the image's mean. Without their noise, so that maps of one image
    meet the same pictures.
    """
    return np.stack([_impute(image, mask) for mask in masks])


_NEIGHBOURS = [
    (dy, dx, 1 / 6 if 0 in (dy, dx) else 1 / 12) for dy in (-1, 0, 1) for dx in (-1, 0, 1) if (dy, dx) != (0, 0)
]


def _impute(image: Array, mask: Array) -> Array:
    if mask.all():
        return np.asarray(_mean(image, mask[None])[0])
    if not mask.any():
        return np.array(image)
    height, width = mask.shape
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    ys, xs = np.nonzero(mask)
    rows, columns, weights = [], [], []
    total, known = np.zeros(len(ys)), np.zeros((len(ys), len(image)))
    for dy, dx, weight in _NEIGHBOURS:
        y, x = ys + dy, xs + dx
        inside = (y >= 0) & (y < height) & (x >= 0) & (x < width)
        total += weight * inside  # at the border fewer neighbours count, with the same weights
        index = np.flatnonzero(inside)
        y, x = y[inside], x[inside]
        unknown = mask[y, x]
        rows.append(index[unknown])
        columns.append(number[y[unknown], x[unknown]])
        weights.append(np.full(int(unknown.sum()), -weight))
        known[index[~unknown]] += weight * image[:, y[~unknown], x[~unknown]].T
    everyone = np.arange(len(ys))
    matrix = csr_matrix(
        (np.concatenate([total, *weights]), (np.concatenate([everyone, *rows]), np.concatenate([everyone, *columns])))
    )
    result = image.copy()
    result[:, mask] = spsolve(matrix.tocsc(), known).reshape(len(ys), -1).T
    return np.asarray(result)


def _compose(image: Array, masks: Array, replacement: Array) -> Array:
    return np.asarray(np.where(masks[:, None], replacement[None], image[None]), dtype=image.dtype)


REMOVALS: Table[RemovalSpec] = Table(
    "removal",
    RemovalSpec,
    "quantus_vit.removals",
    [
        RemovalSpec("mean", "the image's own mean colour", _mean),
        RemovalSpec("black", "the image's own minimum, as Quantus' baseline 'black'", _black),
        RemovalSpec("blur", "the image blurred by the size of a patch", _blur),
        RemovalSpec("smooth", "a smooth continuation of the pixels that are left", _smooth),
        RemovalSpec("inpaint", "linear imputation from the neighbours (Rong et al. 2022)", _linear_imputation),
        RemovalSpec(TOKENS, "the model never sees the patch (Jain et al. 2022)", None),
    ],
)
"""The removals by name; other packages add theirs through the entry-point group ``quantus_vit.removals``."""
