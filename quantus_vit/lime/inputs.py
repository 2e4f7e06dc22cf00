"""What users hand over, brought to one form. Knows torch, and what a target is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..attribution.inputs import parse_target, resolve_target
from ..relevance.forward import logits_of

__all__ = ["check_labels", "check_map_count", "mask_for_each", "to_numpy"]


def check_labels(model: Callable[[Tensor], Any], labels: Sequence[int], image: Tensor) -> list[int]:
    """The classes as ints, refused as a target would be.

    Parameters
    ----------
    model : callable
        Is called once, on ``image``.
    labels : sequence of int
    image : Tensor
        (1, C, H, W).

    Raises
    ------
    TypeError, ValueError
        None, or one that the model has not.
    """
    if len(labels) == 0:
        raise ValueError("no class to explain; give at least one, or None for all")
    with torch.inference_mode():
        logits = logits_of(model(image))
    return [int(resolve_target(parse_target(int(label), 1), logits)[0]) for label in labels]


def mask_for_each(masks: NDArray[Any] | Tensor | None, images: Tensor) -> list[NDArray[Any] | None]:
    """One lung mask (H, W), or None, for each image."""
    if masks is None:
        return [None] * len(images)
    array = to_numpy(masks)
    height, width = images.shape[-2:]
    if array.ndim == 4 and array.shape[1] == 1:
        array = array[:, 0]
    if array.shape == (height, width):
        array = array[None].repeat(len(images), axis=0)
    if array.shape != (len(images), height, width):
        raise ValueError(
            f"lung_mask has shape {array.shape}; use {(height, width)}, {(len(images), height, width)} or "
            f"{(len(images), 1, height, width)}"
        )
    return list(array)


def check_map_count(segments: object, images: Tensor) -> None:
    """Refuse a stack of segment maps that has not one for each image.

    Raises
    ------
    ValueError
    """
    if isinstance(segments, np.ndarray) and segments.ndim == 3 and len(segments) != len(images):
        raise ValueError(f"there are {len(segments)} segment maps for {len(images)} images")


def to_numpy(array: NDArray[Any] | Tensor) -> NDArray[Any]:
    """A tensor or array as an array on the CPU."""
    return array.detach().cpu().numpy() if isinstance(array, Tensor) else np.asarray(array)
