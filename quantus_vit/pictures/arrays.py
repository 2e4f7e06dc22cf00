"""Images and maps as people hand them over (tensors or arrays, of a batch or of one) -> arrays to be drawn.

Knows NumPy and torch, and a model's preprocessing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ..data.preprocessing import Preprocessing

__all__ = ["as_maps", "as_pictures"]

Array = npt.NDArray[Any]

_SAME = 1e-3
"""Up to this difference of the grey scale, channels are the same."""


def as_pictures(images: Any, preprocessing: Preprocessing | None = None) -> list[Array]:
    """Pictures of a batch.

    Parameters
    ----------
    images : torch.Tensor or array_like
        ``(N, C, H, W)``, ``(C, H, W)`` or ``(H, W)``, of 1 or 3 channels.
    preprocessing : Preprocessing, optional
        That of the model: its normalisation is undone. Without it, values in [0, 1] are taken as they are, and others
        are stretched between the smallest and the largest of the image.

    Returns
    -------
    list of numpy.ndarray
        A picture an image: ``(H, W)`` where all channels show the same, else ``(H, W, 3)``; values in [0, 1].

    Raises
    ------
    ValueError
        Another shape, or values that are no finite numbers.
    """
    values = _as_array(images)
    if values.ndim == 2:
        values = values[None]
    if values.ndim == 3:
        values = values[None]
    if values.ndim != 4 or values.shape[1] not in (1, 3):
        hint = "; channels come first" if values.ndim == 4 and values.shape[-1] in (1, 3) else ""
        raise ValueError(
            f"images have the shape (N, C, H, W), (C, H, W) or (H, W) with 1 or 3 channels, got {values.shape}{hint}"
        )
    if not len(values):
        raise ValueError(f"there are no images, got the shape {values.shape}")
    if not np.isfinite(values).all():
        raise ValueError("images have values that are no finite numbers")
    return [_picture(image, preprocessing) for image in values]


def as_maps(maps: Any, count: int) -> list[Array]:
    """Maps of a batch, one an image.

    Parameters
    ----------
    maps : torch.Tensor or array_like
        ``(N, C, h, w)``, summed over the channels, or ``(N, h, w)``; for one image ``(h, w)`` and ``(C, h, w)``, too.
    count : int
        How many images there are.

    Returns
    -------
    list of numpy.ndarray
        Each ``(h, w)``.

    Raises
    ------
    ValueError
        Another shape, which the message says; or infinite values.
    """
    values = _as_array(maps)
    if values.ndim == 5:
        raise ValueError(
            f"maps of shape {values.shape} are of volumes; show a slice, as in show(volumes[:, :, 8], maps[:, :, 8])"
        )
    if count == 1 and (values.ndim == 2 or (values.ndim == 3 and values.shape[0] != 1)):
        values = values[None]
    if values.ndim == 4:
        values = values.sum(axis=1)
    if values.ndim != 3 or values.shape[0] != count:
        images = "one image" if count == 1 else f"{count} images"
        raise ValueError(f"maps of {images} have the shape ({count}, C, h, w), got {_as_array(maps).shape}")
    if np.isinf(values).any():
        raise ValueError("maps have values that are infinite; nan stands for what the model does not see")
    return list(values)


def _as_array(values: Any) -> Array:
    if isinstance(values, torch.Tensor):
        values = values.detach().cpu()
        return np.asarray(values.to(torch.promote_types(values.dtype, torch.float32)).numpy())
    if isinstance(values, (list, tuple)) and any(isinstance(value, torch.Tensor) for value in values):
        return np.stack([_as_array(value) for value in values])
    array: Array = np.asarray(values)
    if array.dtype == np.uint8:
        levels: Array = array.astype(np.float32) / np.float32(255)
        return levels
    if array.dtype.kind not in "fiub":
        raise ValueError(f"images and maps are tensors or arrays of numbers, got {type(values).__name__}")
    return array if array.dtype == np.float64 else array.astype(np.float32)


def _picture(image: Array, preprocessing: Preprocessing | None) -> Array:
    """One image ``(C, H, W)`` as a picture."""
    if preprocessing is not None:
        mean, std = (np.asarray(values)[:, None, None] for values in (preprocessing.mean, preprocessing.std))
        picture = (image * std + mean).clip(0, 1)
    elif image.min() >= 0 and image.max() <= 1:
        picture = image
    else:
        # What was normalised channel by channel is grey again once each is stretched by itself.
        by_channel = _stretched(image, axes=(1, 2))
        picture = by_channel if _is_grey(by_channel) else _stretched(image, axes=(0, 1, 2))
    grey: Array = picture[0]
    return grey if _is_grey(picture) else np.moveaxis(picture, 0, -1)


def _is_grey(picture: Array) -> bool:
    return bool((np.abs(picture - picture[:1]) <= _SAME).all())


def _stretched(values: Array, axes: tuple[int, ...]) -> Array:
    low, high = values.min(axis=axes, keepdims=True), values.max(axis=axes, keepdims=True)
    stretched: Array = (values - low) / np.where(high > low, high - low, 1)
    return stretched
