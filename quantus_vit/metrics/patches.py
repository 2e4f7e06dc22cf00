"""Patches of an image, and the order in which a map removes them. Knows arrays only."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["patch_order", "patch_units"]

Array = npt.NDArray[Any]


def patch_units(shape: tuple[int, ...], size: int) -> Array:
    """Number of the patch that each pixel lies in, row by row.

    Parameters
    ----------
    shape : tuple of int
        ``(H, W)``.
    size : int
        Side of a patch in pixels.

    Returns
    -------
    ndarray
        int ``(H, W)``.

    Raises
    ------
    ValueError
        The patches do not fill the image.
    """
    height, width = shape
    if height % size or width % size:
        raise ValueError(
            f"patches of {size} pixels do not fill an image of {height}x{width}; give a patch_size that divides both"
        )
    rows, columns = np.arange(height) // size, np.arange(width) // size
    return np.asarray(rows[:, None] * (width // size) + columns[None])


def patch_order(scores: Array, rng: np.random.Generator | None = None) -> Array:
    """Indices from the highest score to the lowest; equal scores in their own order, or in a random one.

    Parameters
    ----------
    scores : ndarray
        ``(P,)``.
    rng : numpy.random.Generator, optional
        Draws the order of equal scores.
    """
    shuffled = np.arange(len(scores)) if rng is None else rng.permutation(len(scores))
    return np.asarray(shuffled[np.argsort(-scores[shuffled], kind="stable")])
