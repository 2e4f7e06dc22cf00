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

    def _axes(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        return (self.top, self.resized[0], self.size[0]), (self.left, self.resized[1], self.size[1])


def _overlap(start: int, length: int, wanted: int) -> tuple[slice, slice]:
    """Where ``wanted`` pixels from ``start`` on meet the ``length`` there are: slices of the new and the old axis."""
    first, last = max(start, 0), min(start + wanted, length)
    return slice(first - start, last - start), slice(first, last)
