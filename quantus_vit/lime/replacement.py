"""What stands in for an absent superpixel: the "fudged" image. Knows NumPy and scikit-image; no torch or lime."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from skimage.filters import gaussian
from skimage.restoration import inpaint_biharmonic

from .segmentation import Image, SegmentMap

__all__ = ["NAMES", "Replacement", "check_replacement", "replace"]

Replacement: TypeAlias = str | float | Sequence[float] | Callable[[Image, SegmentMap], Image]

NAMES = ("mean", "blur", "inpaint")


def check_replacement(replacement: Replacement) -> None:
    """Refuse a replacement that is none, before any image is seen.

    Raises
    ------
    ValueError
        Unknown name; numbers that are not finite or not a flat list.
    TypeError
        Neither a name, a number, numbers nor a callable.
    """
    if isinstance(replacement, str):
        if replacement not in NAMES:
            raise ValueError(f"replacement={replacement!r} is unknown; use {', '.join(map(repr, NAMES))} or a number")
    elif not callable(replacement):
        try:
            values = np.asarray(replacement, dtype=np.float64)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f"replacement={replacement!r} is neither a name, a number, numbers nor a callable"
            ) from error
        if values.ndim > 1 or not np.isfinite(values).all():
            raise ValueError(f"replacement={replacement!r} must be one finite number or one for each channel")


def replace(image: Image, segments: SegmentMap, replacement: Replacement) -> Image:
    """Image with every superpixel replaced.

    Parameters
    ----------
    image : Image
        Shape (C, H, W), in the model's input space.
    segments : SegmentMap
        Shape (H, W), 0 ... n - 1.
    replacement : Replacement
        "mean": the mean of the segment, by channel (lime's default). "blur": the image under a Gaussian blur of a
        twentieth of its shorter side, which takes texture away and leaves exposure. "inpaint": each segment continued
        from its surroundings (biharmonic), which leaves the anatomy plausible; takes seconds an image. A number, or one
        for each channel: that constant, in input space (lime's ``hide_color``). A callable gets ``image`` and
        ``segments`` and returns the replaced image.

    Returns
    -------
    numpy.ndarray
        Shape (C, H, W), dtype of ``image``.
    """
    if callable(replacement):
        fudged = np.asarray(replacement(image, segments))
        if fudged.shape != image.shape:
            raise ValueError(f"the replacement returned shape {fudged.shape}; the image has {image.shape}")
        return np.asarray(fudged, dtype=image.dtype)
    if isinstance(replacement, str):
        named: Mapping[str, Callable[[Image, SegmentMap], Image]] = {"mean": _mean, "blur": _blur, "inpaint": _inpaint}
        return named[replacement](image, segments)
    values = np.asarray(replacement, dtype=image.dtype).reshape(-1)
    if values.size not in (1, image.shape[0]):
        raise ValueError(f"replacement has {values.size} numbers; the image has {image.shape[0]} channel(s)")
    constant: Image = np.broadcast_to(values[:, None, None], image.shape).copy()
    return constant


def _mean(image: Image, segments: SegmentMap) -> Image:
    numbers = segments.ravel()
    sizes = np.bincount(numbers)
    channels = [(np.bincount(numbers, channel.ravel()) / sizes)[segments] for channel in image]
    return np.stack(channels).astype(image.dtype)


def _blur(image: Image, segments: SegmentMap) -> Image:
    del segments
    sigma = min(image.shape[-2:]) / 20
    return np.stack([gaussian(channel.astype(np.float64), sigma=sigma) for channel in image]).astype(image.dtype)


def _inpaint(image: Image, segments: SegmentMap) -> Image:
    """Each segment by itself, from a window around it, in which the others are present."""
    fudged: Image = image.copy()
    for number in range(int(segments.max()) + 1):
        rows, columns = np.nonzero(segments == number)
        margin = 4  # the biharmonic operator reaches two pixels
        window = (
            slice(max(rows.min() - margin, 0), rows.max() + margin + 1),
            slice(max(columns.min() - margin, 0), columns.max() + margin + 1),
        )
        hole = segments[window] == number
        for channel in range(image.shape[0]):
            patch = image[channel][window].astype(np.float64)
            # a segment that is the whole image has no surroundings
            filled = np.full_like(patch, patch.mean()) if hole.all() else inpaint_biharmonic(patch, hole)
            fudged[channel][window][hole] = filled[hole]
    return fudged
