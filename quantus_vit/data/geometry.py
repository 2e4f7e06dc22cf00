"""The affine map from the pixels of an image file to those of a model's input.

Knows NumPy and Pillow; no model, and no reading of files.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["Geometry"]


@dataclass(frozen=True)
class Geometry:
    """The affine map from the pixels of a file to the pixels of a model's input.

    An image ``(h, w)`` is resized to ``resized``, then its pixel ``(top, left)`` becomes the input's pixel (0, 0).
    Negative values of ``top`` and ``left`` leave a border.

    Parameters
    ----------
    original : tuple of int
        Height and width of the file's image.
    resized : tuple of int
        Height and width after resizing.
    top, left : int
        Where the input begins within the resized image.
    size : tuple of int
        Height and width of the input.
    """

    original: tuple[int, int]
    resized: tuple[int, int]
    top: int
    left: int
    size: tuple[int, int]

    def points(self, xy: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Map points.

        Parameters
        ----------
        xy : array_like
            ``(..., 2)``, x before y, in pixels of the file: pixel ``i`` spans ``[i, i + 1)``.

        Returns
        -------
        numpy.ndarray
            float64 ``(..., 2)``, in pixels of the input in the same sense; points that a crop took away lie outside.
        """
        rows, columns = self.original
        scale = np.array([self.resized[1] / columns, self.resized[0] / rows])
        mapped: npt.NDArray[np.float64] = np.asarray(xy, dtype=np.float64) * scale - (self.left, self.top)
        return mapped

    def resample(
        self, image: Image.Image, interpolation: Image.Resampling, fill: float
    ) -> npt.NDArray[np.float32] | npt.NDArray[np.uint8]:
        """Map an image.

        Parameters
        ----------
        image : PIL.Image.Image
            Of the size ``original``, in mode "L" or "F".
        interpolation : PIL.Image.Resampling
            Pillow widens the filter where it shrinks an image, so that no pixel of the file is passed over.
        fill : float
            What a border holds.

        Returns
        -------
        numpy.ndarray
            ``size``, uint8 for the mode "L" and float32 for "F".
        """
        resized = np.array(image.resize((self.resized[1], self.resized[0]), interpolation))
        canvas = np.full(self.size, fill, dtype=resized.dtype)
        into, out_of = zip(*(_overlap(*axis) for axis in self._axes()), strict=True)
        canvas[into] = resized[out_of]
        return canvas

    def undo(self, values: npt.ArrayLike, nearest: bool = False) -> npt.NDArray[np.float32]:
        """Bring values of the input's pixels back to the pixels of the file: the inverse of :meth:`points`.

        Parameters
        ----------
        values : array_like
            ``size``, such as a map of relevance.
        nearest : bool
            Take the nearest pixel's value instead of interpolating between the four around (bilinearly).

        Returns
        -------
        numpy.ndarray
            float32, of the shape ``original``; nan where a crop took the file's pixel away. Values are interpolated,
            not shared out: their sum changes with the number of pixels.

        Raises
        ------
        ValueError
            Another shape than ``size``.
        """
        array = np.asarray(values, dtype=np.float32)
        if array.shape != self.size:
            raise ValueError(f"values of the input's pixels have the shape {self.size}, got {array.shape}")
        (rows, row_seen), (columns, column_seen) = (
            _sampling(length, *axis, nearest) for length, axis in zip(self.original, self._axes(), strict=True)
        )
        across = array[:, columns.below] * (1 - columns.share) + array[:, columns.above] * columns.share
        result: npt.NDArray[np.float32] = np.empty(self.original, dtype=np.float32)
        result[:] = across[rows.below] * (1 - rows.share)[:, None] + across[rows.above] * rows.share[:, None]
        result[~row_seen] = np.nan
        result[:, ~column_seen] = np.nan
        return result

    def _axes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return (self.top, self.resized[0], self.size[0]), (self.left, self.resized[1], self.size[1])


@dataclass(frozen=True)
class _Neighbours:
    """For each pixel of the file along one axis the two of the input around it, and the share of the second."""

    below: npt.NDArray[np.intp]
    above: npt.NDArray[np.intp]
    share: npt.NDArray[np.float32]


def _sampling(
    original: int, start: int, resized: int, wanted: int, nearest: bool
) -> tuple[_Neighbours, npt.NDArray[np.bool_]]:
    """Where the centres of ``original`` pixels lie among those of the input, and whether it has them."""
    positions = (np.arange(original) + 0.5) * (resized / original) - start
    seen = (positions >= 0) & (positions < wanted)
    covered, _ = _overlap(start, resized, wanted)
    # Between the outermost centres that the image covers, so that a border's values do not bleed into it.
    inner = np.clip(positions - 0.5, covered.start, max(covered.stop - 1, covered.start))
    below = np.floor(inner + 0.5 if nearest else inner).astype(np.intp)
    above = np.minimum(below + 1, max(covered.stop - 1, covered.start))
    share = np.zeros(original) if nearest else inner - below
    return _Neighbours(below, above, share.astype(np.float32)), seen


def _overlap(start: int, length: int, wanted: int) -> tuple[slice, slice]:
    """Where ``wanted`` pixels from ``start`` on meet the ``length`` there are: slices of the new and the old axis."""
    first, last = max(start, 0), min(start + wanted, length)
    return slice(first - start, last - start), slice(first, last)
