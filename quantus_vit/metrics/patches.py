"""Patches of an image, and the order in which a map removes them. Knows arrays only."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["DEFAULT_PATCH_SIZE", "fitting_patch_size", "patch_order", "patch_units"]

Array = npt.NDArray[Any]

DEFAULT_PATCH_SIZE = 16
"""Pixels; the patches of most Vision Transformers."""


def patch_units(shape: tuple[int, ...], patch_size: int | None = None, grid: tuple[int, ...] | None = None) -> Array:
    """Number of the patch that each pixel lies in, row by row.

    Parameters
    ----------
    shape : tuple of int
        ``(H, W)``.
    patch_size : int, optional
        Side of a patch in pixels.
    grid : tuple of int, optional
        Rows and columns of patches, in place of their size.

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
    if grid is None:
        size = patch_size or DEFAULT_PATCH_SIZE
        if height % size or width % size:
            raise ValueError(
                f"patches of {size} pixels do not fill an image of {height}x{width}; give a patch_size that divides "
                "both sides"
            )
        grid = height // size, width // size
    if len(grid) != 2 or height % grid[0] or width % grid[1]:
        raise ValueError(f"a grid of {'x'.join(map(str, grid))} patches does not fill an image of {height}x{width}")
    rows, columns = np.arange(height) * grid[0] // height, np.arange(width) * grid[1] // width
    return np.asarray(rows[:, None] * grid[1] + columns[None])


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


def fitting_patch_size(shape: tuple[int, int]) -> int:
    """The largest side up to 16 pixels whose patches fill an image, four or more to a side; 16 at 224 pixels.

    Parameters
    ----------
    shape : tuple of int
        ``(H, W)``.
    """
    common = math.gcd(*shape)
    largest = range(1, DEFAULT_PATCH_SIZE + 1)
    return max(side for side in largest if common % side == 0 and (4 * side <= min(shape) or side == 1))
