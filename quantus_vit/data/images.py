"""Reads an image file of any kind as grey values between black and white.

Whatever the file holds (8 or 16 bits, floating point, colour, a turned camera picture), what comes out is float32 in
[0, 1], upright. Where a file does not say which stored value is white, it is told from the values with a warning, or
refused; ``pixel_range`` sets it. Knows numpy, Pillow and DICOM; no data set.
"""

from __future__ import annotations

import math
import os
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps

from .dicom import DICOM_SUFFIXES, dicom_shape, is_dicom, read_dicom

__all__ = ["IMAGE_SUFFIXES", "check_pixel_range", "image_shape", "read_grey", "read_stored"]

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}) | DICOM_SUFFIXES
"""Ends of file names, in small letters, that count as images when a folder is listed."""

_DEPTHS = (8, 12, 14, 16)
"""Bits that detectors deliver; a 16-bit file may hold any of them."""

GreyImage = npt.NDArray[np.float32]
StoredValues = npt.NDArray[Any]


def read_grey(path: str | os.PathLike[str], pixel_range: tuple[float, float] | None = None) -> GreyImage:
    """Read an image file as grey values.

    Parameters
    ----------
    path : path
        A PNG of 8 or 16 bits, JPEG, TIFF, BMP, or another file that Pillow reads; or DICOM (with the extra ``dicom``),
        see :func:`quantus_vit.data.dicom.read_dicom`. Colour is turned into luminance, EXIF orientation is applied.
    pixel_range : tuple of float, optional
        Stored values of black and white; what lies beyond is clipped. By default 8-bit values end at 255 and
        floating-point ones at 1; values of 16-bit files end at 65535, or where the largest one fits into 8, 12 or 14
        bits, at the end of those, which a warning tells.

    Returns
    -------
    numpy.ndarray
        float32 ``(h, w)`` in [0, 1]; 0 is black.

    Raises
    ------
    FileNotFoundError
        There is no such file.
    ValueError
        It cannot be read as an image, has pixels that are no numbers, or values whose white nobody knows.
    ImportError
        It is DICOM, and pydicom is not installed.
    """
    check_pixel_range(pixel_range)
    if is_dicom(path):
        return read_dicom(path, pixel_range)
    return _to_grey(read_stored(path), pixel_range, path)


def image_shape(path: str | os.PathLike[str]) -> tuple[int, int]:
    """Height and width of an upright image, from its header alone.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_grey`.
    """
    if is_dicom(path):
        return dicom_shape(path)
    with _Readable(path) as image:
        turned = image.getexif().get(_ORIENTATION, 1) in _SIDEWAYS
        if turned and image.format == "TIFF":
            # Some versions of Pillow give the sides of a turned TIFF as stored, others upright.
            return _upright(image).size[::-1]
        return (image.width, image.height) if turned else (image.height, image.width)


_ORIENTATION = 0x0112
_SIDEWAYS = (5, 6, 7, 8)
"""EXIF orientations that exchange the axes."""


def check_pixel_range(pixel_range: tuple[float, float] | None) -> None:
    """Refuse what cannot be the stored values of black and white.

    Raises
    ------
    ValueError
        ``pixel_range`` is no pair of different finite numbers.
    """
    if pixel_range is None:
        return
    try:
        black, white = (float(value) for value in pixel_range)
        usable = math.isfinite(black) and math.isfinite(white) and black != white
    except (TypeError, ValueError):
        usable = False
    if not usable:
        raise ValueError(
            f"pixel_range must be the stored values of black and white, two different numbers, got {pixel_range!r}"
        )


class _Readable:
    """An image file opened by Pillow; whatever its decoders raise becomes a ValueError that names the file."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def __enter__(self) -> Image.Image:
        try:
            # From an open file Pillow maps nothing into memory, which garbles turned TIFFs in some of its versions.
            self._file = open(self._path, "rb")  # closed by __exit__
            return Image.open(self._file)
        except Exception as error:
            self._close()
            raise self._translated(error) from error

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._close()
        if isinstance(error, Exception):
            raise self._translated(error) from error

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _translated(self, error: Exception) -> Exception:
        name = os.fspath(self._path)
        if isinstance(error, FileNotFoundError):
            return FileNotFoundError(f"no image file {name!r}")
        if isinstance(error, OSError) and error.errno is not None:
            return error  # the machine's failure, not the file's
        if isinstance(error, Image.DecompressionBombError):
            return ValueError(f"{name!r} claims more pixels than an image may have: {error}")
        return ValueError(f"cannot read {name!r} as an image, it may be damaged: {error}")


def read_stored(path: str | os.PathLike[str]) -> StoredValues:
    """Read an image file's own values, upright.

    Returns
    -------
    numpy.ndarray
        ``(h, w)``: uint8 luminance, or what a file of more than 8 bits has.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`read_grey`, but for the values.
    """
    with _Readable(path) as image:
        upright = _upright(image)
        if upright.mode == "F" or upright.mode.startswith("I"):
            return np.array(upright)
        return np.array(upright.convert("L"))


def _upright(image: Image.Image) -> Image.Image:
    image.load()  # turns a TIFF by itself, and takes its orientation away
    return ImageOps.exif_transpose(image)


def _to_grey(values: StoredValues, pixel_range: tuple[float, float] | None, path: str | os.PathLike[str]) -> GreyImage:
    """Scale stored values to [0, 1]."""
    if values.dtype.kind == "f" and not np.isfinite(values).all():
        count = int((~np.isfinite(values)).sum())
        raise ValueError(f"{os.fspath(path)!r} has {count} pixels that are no finite numbers; write numbers there")
    if values.dtype == np.uint8 and pixel_range is None:
        levels: GreyImage = values.astype(np.float32) / np.float32(255.0)
        return levels
    black, white = pixel_range or (0.0, _white(values, path))
    grey = (values.astype(np.float64) - black) / (white - black)
    clipped: GreyImage = grey.clip(0.0, 1.0).astype(np.float32)
    return clipped


def _white(values: StoredValues, path: str | os.PathLike[str]) -> float:
    """Decide which stored value is white, of values that are not 8-bit."""
    low, high = float(values.min()), float(values.max())
    kind = Path(path).suffix.lower().lstrip(".") or "image"
    if values.dtype.kind == "f":
        if low >= 0.0 and high <= 1.0:
            return 1.0
        told = f"floating-point values from {low:g} to {high:g}"
    elif low >= 0.0 and high <= 65535.0:
        return _white_of_depth(high, kind)
    else:
        told = f"values from {low:g} to {high:g}"
    raise ValueError(
        f"{os.fspath(path)!r} has {told}, and does not say which are black and white; set pixel_range=(black, white)"
    )


def _white_of_depth(high: float, kind: str) -> float:
    bits = next(bits for bits in _DEPTHS if high < 2**bits)
    if bits < 16 and high > 0:
        # The text names no file, so that Python shows it once a kind.
        warnings.warn(
            f"a 16-bit {kind} file holds no value above {2**bits - 1} and is read as {bits}-bit; set "
            "pixel_range=(black, white) to read all files alike",
            stacklevel=1,
        )
    return float(2**bits - 1)
