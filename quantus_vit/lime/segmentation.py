"""Superpixels: the named presets and what may stand for them. Knows NumPy, SciPy, scikit-image; no torch, no model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_gradient_magnitude
from skimage.exposure import equalize_adapthist
from skimage.filters import gaussian
from skimage.measure import label as connected_components
from skimage.segmentation import quickshift, slic

from .merging import RegionMerger

# fmt: off
__all__ = [
    "CXR_SEGMENTS", "PRESETS", "Image", "Preset", "SegmentFunction", "SegmentMap", "check_map", "check_segments",
    "cxr_segments", "grid_segments", "lime_default_segments", "relabel", "run_preset", "split_at_border",
    "stretch_channels", "stretch_grey", "to_lime_layout",
]
# fmt: on

Image: TypeAlias = NDArray[np.floating[Any]]
SegmentMap: TypeAlias = NDArray[np.int64]
SegmentFunction: TypeAlias = Callable[[Image], NDArray[Any]]

CXR_SEGMENTS = 80


def stretch_grey(image: Image) -> NDArray[np.float64]:
    """Grey picture in [0, 1] of an input whose normalisation is unknown.

    The channels are averaged (exact for a greyscale picture under any per-channel mean and standard deviation) and the
    0.5 and 99.5 percentiles are stretched to 0 and 1, so that a burnt-in letter or a collimator edge does not set the
    scale.

    Parameters
    ----------
    image : Image
        Array of shape (C, H, W), any range.

    Returns
    -------
    numpy.ndarray
        Shape (H, W), float64; all zero for a constant image.
    """
    grey = image.astype(np.float64).mean(axis=0)
    low, high = np.percentile(grey, [0.5, 99.5])
    if high <= low:  # nearly everything has one value: the outliers are the only structure there is
        low, high = grey.min(), grey.max()
    scale = high - low if high > low else 1.0
    stretched: NDArray[np.float64] = np.clip((grey - low) / scale, 0.0, 1.0)
    return stretched


def stretch_channels(image: Image) -> NDArray[np.float64]:
    """Colour picture (H, W, 3) in [0, 1]; inputs within [0, 1] keep their values, others are stretched by channel.

    One channel is repeated three times; of two, or more than three, the mean is. A constant channel becomes 0.
    """
    picture: NDArray[np.float64] = to_lime_layout(image).astype(np.float64)
    if picture.min() >= 0.0 and picture.max() <= 1.0:
        return picture
    low, high = picture.min(axis=(0, 1)), picture.max(axis=(0, 1))
    picture -= low
    return np.divide(picture, np.where(high > low, high - low, 1.0), out=picture)


def to_lime_layout(image: Image) -> Image:
    """(C, H, W) to lime's (H, W, 3) without changing values; other than three channels are averaged and repeated."""
    if image.shape[0] != 3:
        image = np.repeat(image.mean(axis=0, keepdims=True, dtype=image.dtype), 3, axis=0)
    return np.ascontiguousarray(np.moveaxis(image, 0, -1))


def relabel(segments: NDArray[Any]) -> SegmentMap:
    """Segment numbers 0 ... n - 1 in the order of the given numbers, as lime's ``segments == z`` needs them."""
    _, numbers = np.unique(segments, return_inverse=True)
    return numbers.reshape(segments.shape).astype(np.int64)


def cxr_segments(image: Image, num_segments: int = CXR_SEGMENTS) -> SegmentMap:
    """Superpixels for radiographs, of unequal size: small where there is structure, large where there is none.

    Local contrast normalisation (CLAHE, windows of a quarter of the picture) makes rib and lung borders as strong in a
    dark lung as beside the spine. SLIC cuts the normalised picture into some 1000 small pieces along its edges, and
    these are merged, the least different neighbours first (see ``RegionMerger``), by their mean grey, normalised and
    not, and their place. A strong border (lung, heart, diaphragm) is kept to the end. Dark regions away from the frame,
    as the lungs are, keep more segments than bright ones and the margin. ``benchmarks/LIME.md`` has the measurements
    behind the constants.

    Parameters
    ----------
    image : Image
        Shape (C, H, W), in any normalisation.
    num_segments : int
        How many superpixels; fewer where a small picture has not so many pieces.

    Returns
    -------
    numpy.ndarray
        Shape (H, W), int64, 0 ... n - 1, each connected. Deterministic.

    References
    ----------
    Achanta et al., SLIC superpixels compared to state-of-the-art superpixel methods, TPAMI 2012.
    Pizer et al., Adaptive histogram equalization and its variations, 1987.
    """
    grey = stretch_grey(image)
    scale = min(grey.shape) / 224
    window = tuple(max(length // 4, 2) for length in grey.shape)
    normalised = equalize_adapthist(grey, kernel_size=window, clip_limit=0.02)
    plain = grey**1.5  # a bright lesion stands out more, noise in the dark less
    rows, columns = np.indices(grey.shape) / min(grey.shape)
    features = np.stack([0.3 * gaussian(normalised, scale), 1.2 * gaussian(plain, scale), 0.7 * rows, 0.7 * columns])
    edges = gaussian_gradient_magnitude((normalised + plain) / 2, scale)
    pieces = _pieces(gaussian(normalised, scale / 2), num_segments)
    merger = RegionMerger(pieces, features, edges, _interest(gaussian(grey, scale)))
    return relabel(merger.merge(num_segments))


def _interest(grey: NDArray[np.float64]) -> NDArray[np.float64]:
    """How much a segment is worth at each pixel of a radiograph, (H, W) in (0, 1]: more in the dark, less at the frame.

    From white to black it grows fivefold; over the outer 15 % of the picture it falls to a tenth.
    """
    inwards = [np.minimum(axis, axis[::-1]) for axis in (np.linspace(0, 1, length) for length in grey.shape)]
    depth = np.minimum(inwards[0][:, None], inwards[1][None, :])
    interest: NDArray[np.float64] = (1 - 0.8 * grey) * (0.1 + 0.9 * np.clip(depth / 0.15, 0, 1))
    return interest


def _pieces(picture: NDArray[np.float64], num_segments: int) -> SegmentMap:
    """Fine superpixels of ``picture``, so many that merging has a choice, but not below nine pixels each on average."""
    wanted = min(max(1000, 6 * num_segments), max(picture.size // 9, 2))
    compactness = 0.1
    while True:
        pieces = relabel(slic(picture, n_segments=wanted, compactness=compactness, channel_axis=None, start_label=0))
        if pieces.max() + 1 >= wanted / 2 or compactness > 1e3:
            return pieces
        # on noise SLIC's clusters fall apart and its connectivity step swallows them: make them rounder
        compactness *= 2


def lime_default_segments(image: Image, seed: int) -> SegmentMap:
    """The quickshift call of lime's ``LimeImageExplainer``, on the picture in [0, 1] as lime's users give it."""
    picture = stretch_channels(image)
    return relabel(quickshift(picture, kernel_size=4, max_dist=200, ratio=0.2, rng=seed))


def grid_segments(shape: tuple[int, int], patch: tuple[int, int], num_segments: int | None = None) -> SegmentMap:
    """Rectangles of k x k patches of a ViT.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the image in pixels.
    patch : tuple of int
        Height and width of the model's patches in pixels.
    num_segments : int, optional
        k is the smallest number for which there are at most so many rectangles; None: k = 1, one segment a patch.

    Returns
    -------
    numpy.ndarray
        Integers ``shape``: each pixel's rectangle, numbered from 0.
    """
    rows, columns = (-(-length // size) for length, size in zip(shape, patch, strict=True))
    k = 1
    while num_segments is not None and -(-rows // k) * -(-columns // k) > max(num_segments, 1):
        k += 1
    row, column = np.arange(shape[0]) // (patch[0] * k), np.arange(shape[1]) // (patch[1] * k)
    return relabel(row[:, None] * (column.max() + 1) + column[None, :])


@dataclass(frozen=True)
class Preset:
    """A named segmentation: what it takes beyond the image."""

    run: Callable[..., SegmentMap]
    needs_seed: bool = False
    needs_patch: bool = False
    takes_count: bool = False


PRESETS: Mapping[str, Preset] = MappingProxyType(
    {
        "cxr": Preset(cxr_segments, takes_count=True),
        "lime-default": Preset(lime_default_segments, needs_seed=True),
        "grid": Preset(grid_segments, needs_patch=True, takes_count=True),
    }
)


def check_segments(segments: object, num_segments: int | None) -> None:
    """Refuse a segmentation choice that cannot work, before any image is seen.

    Raises
    ------
    ValueError
        Unknown preset name; a number instead of a map; ``num_segments`` below 2 or where the choice cannot follow it.
    TypeError
        Neither a name, a callable nor an integer map.
    """
    if isinstance(segments, str):
        if segments not in PRESETS:
            raise ValueError(f"segments={segments!r} is no preset; choose one of {', '.join(map(repr, PRESETS))}")
    elif not callable(segments):
        array = np.asarray(segments)
        if array.ndim == 0 and array.dtype.kind in "iu":
            raise ValueError(f"segments={segments} is a number; use num_segments={segments} for so many superpixels")
        if array.dtype.kind not in "iub":
            raise TypeError(
                f"segments must be a preset's name, a callable or an integer map, got {type(segments).__name__} "
                f"(dtype {array.dtype})"
            )
    if num_segments is None:
        return
    if not (isinstance(segments, str) and PRESETS[segments].takes_count):
        raise ValueError(f"num_segments={num_segments} has no effect on segments={segments!r}; leave it out")
    if num_segments < 2:
        raise ValueError(f"num_segments={num_segments}; LIME needs at least 2 segments")


def run_preset(
    name: str, image: Image, seed: int, patch: Callable[[], tuple[int, int]], num_segments: int | None
) -> SegmentMap:
    """Segments of ``image`` (C, H, W) by a preset; ``patch`` tells the model's patch size where it is needed."""
    preset = PRESETS[name]
    count = {"num_segments": num_segments} if preset.takes_count and num_segments is not None else {}
    if preset.needs_patch:
        return preset.run(image.shape[-2:], patch(), **count)
    return preset.run(image, **({"seed": seed} if preset.needs_seed else {}), **count)


def check_map(segments: NDArray[Any], shape: tuple[int, int]) -> SegmentMap:
    """Relabelled segment map, or a clear error where it does not fit an image of ``shape`` (H, W)."""
    segments = np.asarray(segments)
    if segments.shape != shape:
        raise ValueError(f"the segment map has shape {segments.shape}; the image needs {shape}")
    if segments.dtype.kind not in "iub":
        raise TypeError(f"the segment map has dtype {segments.dtype}; it must hold integers")
    return relabel(segments)


def split_at_border(segments: SegmentMap, mask: NDArray[np.bool_], smallest: float = 0.25) -> SegmentMap:
    """Cut segments along the border of ``mask``, so that none straddles it.

    Pieces smaller than ``smallest`` times the mean piece are joined to the neighbour on their side of the border with
    which they share the longest edge; a piece without such a neighbour stays.

    Parameters
    ----------
    segments : SegmentMap
        Shape (H, W), int.
    mask : ndarray
        Shape (H, W), bool, e.g. the lungs.
    smallest : float
        Share of the mean size below which a piece is joined.

    Returns
    -------
    numpy.ndarray
        Shape (H, W), int64, connected pieces numbered 0 ... n - 1.
    """
    pieces = connected_components(segments * 2 + mask, background=-1, connectivity=1).astype(np.int64) - 1
    limit = smallest * np.bincount(relabel(segments * 2 + mask).ravel()).mean()
    inside = mask.ravel()[np.unique(pieces, return_index=True)[1]]
    while True:
        sizes = np.bincount(pieces.ravel(), minlength=len(inside))
        joined = False
        for piece in np.argsort(sizes, kind="stable"):
            if sizes[piece] == 0 or sizes[piece] >= limit:
                continue
            edges = _shared_edges(pieces, int(piece))
            edges[inside[: len(edges)] != inside[piece]] = 0
            if edges.any():
                pieces[pieces == piece] = edges.argmax()
                joined = True
                break
        if not joined:
            return relabel(pieces)


def _shared_edges(pieces: SegmentMap, piece: int) -> NDArray[np.int64]:
    """Length of the common edge of ``piece`` with every piece, by number."""
    counts = np.zeros(int(pieces.max()) + 1, dtype=np.int64)
    for first, second in ((pieces[1:], pieces[:-1]), (pieces[:, 1:], pieces[:, :-1])):
        touching = (first == piece) != (second == piece)
        other = np.where(first == piece, second, first)[touching]
        counts += np.bincount(other, minlength=len(counts))
    return counts
