"""Controls: maps that know nothing of the model, which a method must beat to have said anything.

Each is a function of the image alone (or of a method's own map). Knows arrays only; names and calls stand in
:mod:`.methods`.

References
----------
Adebayo et al., "Sanity checks for saliency maps", NeurIPS 2018 (edge detectors look like explanations). Wang et al.,
"Benchmarking deletion metrics with the principled explanations", 2024 (random and prior maps as floors).
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.ndimage import gaussian_filter, sobel, uniform_filter, zoom

__all__ = [
    "blurred_by_patch",
    "centre_prior",
    "intensity",
    "mask_prior",
    "random_patches",
    "random_pixels",
    "sobel_edges",
]

Array = npt.NDArray[Any]


def random_pixels(shape: tuple[int, int], rng: np.random.Generator) -> Array:
    """Independent uniform values, ``(H, W)`` in [0, 1)."""
    return rng.random(shape, dtype=np.float32)


def random_patches(shape: tuple[int, int], rng: np.random.Generator, patch_size: int = 16) -> Array:
    """Uniform values on the patches, interpolated to the pixels as the methods' own maps are, ``(H, W)``.

    A random map as smooth as a Vision Transformer's: independent pixels lose already by their roughness.
    """
    _check_patch(patch_size)
    rows, columns = (max(1, round(side / patch_size)) for side in shape)
    coarse = rng.random((rows, columns), dtype=np.float32)
    return _resized(coarse, shape)


def centre_prior(shape: tuple[int, int], width: float = 0.25) -> Array:
    """A Gaussian hill in the middle, ``(H, W)``; its standard deviation is that part of each side."""
    if not width > 0:
        raise ValueError(f"width must be above 0, a part of the image's side, got {width!r}")
    ys, xs = (np.linspace(-0.5, 0.5, side, dtype=np.float32) / width for side in shape)
    return np.asarray(np.exp(-0.5 * (ys[:, None] ** 2 + xs[None] ** 2)), dtype=np.float32)


def mask_prior(mask: Array, smoothing: float = 0.02) -> Array:
    """A mask (the lungs) with soft borders, ``(H, W)``: what a map that only knows anatomy scores.

    Parameters
    ----------
    mask : ndarray
        bool ``(H, W)``.
    smoothing : float
        Standard deviation of the border, as a part of the shorter side.
    """
    return np.asarray(gaussian_filter(mask.astype(np.float32), smoothing * min(mask.shape)), dtype=np.float32)


def sobel_edges(image: Array) -> Array:
    """Strength of the edges, ``(H, W)``: the magnitude of the Sobel gradient of the mean channel of ``(C, H, W)``."""
    grey = image.mean(axis=0, dtype=np.float64)
    return np.asarray(np.hypot(sobel(grey, axis=0), sobel(grey, axis=1)), dtype=np.float32)


def intensity(image: Array) -> Array:
    """The image itself as a map, ``(H, W)``: the mean channel of ``(C, H, W)`` above its minimum."""
    grey = image.mean(axis=0, dtype=np.float64)
    return np.asarray(grey - grey.min(), dtype=np.float32)


def blurred_by_patch(relevance: Array, patch_size: int = 16) -> Array:
    """A method's own map ``(H, W)`` without its detail within patches, to see whether that detail earns a score."""
    _check_patch(patch_size)
    return np.asarray(uniform_filter(relevance.astype(np.float32), patch_size, mode="nearest"))


def _check_patch(patch_size: int) -> None:
    if patch_size < 1:
        raise ValueError(f"patch_size must be 1 pixel or more, got {patch_size!r}")


def _resized(coarse: Array, shape: tuple[int, int]) -> Array:
    factors = [side / size for side, size in zip(shape, coarse.shape, strict=True)]
    return np.asarray(zoom(coarse, factors, order=1, mode="nearest", grid_mode=True), dtype=np.float32)
