"""Reads a DICOM file as grey values: modality look-up, window, and which end is white.

Knows pydicom (the extra ``dicom``), imported when the first DICOM file is read; the decoders of compressed pixels are
pydicom's own or plugins that it finds.
"""

from __future__ import annotations

import importlib
import os
import warnings
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

__all__ = ["DICOM_SUFFIXES", "dicom_shape", "is_dicom", "read_dicom", "read_header"]

DICOM_SUFFIXES = frozenset({".dcm", ".dicom"})

_GREY = ("MONOCHROME1", "MONOCHROME2")
_UNCOMPRESSED = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2", "1.2.840.10008.1.2.1.99")
_DECODERS = "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg"

FilePath = str | os.PathLike[str]
GreyImage = npt.NDArray[np.float32]


def is_dicom(path: FilePath) -> bool:
    """Whether a file is DICOM by the end of its name, or by the mark in its first bytes."""
    if os.path.splitext(os.fspath(path))[1].lower() in DICOM_SUFFIXES:
        return True
    try:
        with open(path, "rb") as file:
            return file.read(132)[128:] == b"DICM"
    except (OSError, ValueError):
        return False  # whoever reads it will say so


def dicom_shape(path: FilePath) -> tuple[int, int]:
    """Height and width, from the header alone.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        As :func:`read_dicom`.
    """
    header = read_header(path)
    try:
        return int(header.Rows), int(header.Columns)
    except Exception as error:
        raise ValueError(f"the DICOM file {os.fspath(path)!r} does not say how many pixels it has: {error}") from error


def read_header(path: FilePath) -> Any:
    """Read all of a DICOM file but its pixels.

    Returns
    -------
    pydicom.FileDataset
        With whatever the file says of patient and study.

    Raises
    ------
    FileNotFoundError, ValueError, ImportError
        As :func:`read_dicom`.
    """
    return _read(path, stop_before_pixels=True)


def read_dicom(path: FilePath, pixel_range: tuple[float, float] | None = None) -> GreyImage:
    """Read a DICOM file of one picture.

    Parameters
    ----------
    path : path
    pixel_range : tuple of float, optional
        Values of black and white after the modality look-up, instead of the file's window.

    Returns
    -------
    numpy.ndarray
        float32 ``(h, w)`` in [0, 1]: through the modality and the VOI look-up (table or window, the first one); values
        of a file without either end at 255 if it has 8 bits, and otherwise at its smallest and largest value, which a
        warning tells. MONOCHROME1 is turned round, colour becomes luminance.

    Raises
    ------
    ImportError
        pydicom is not installed.
    FileNotFoundError
        There is no such file.
    ValueError
        The file is damaged, has no pixels or several pictures, or pixels in a form that cannot be decoded here.
    """
    header = _read(path)
    name = os.fspath(path)
    if not any(keyword in header for keyword in ("PixelData", "FloatPixelData", "DoubleFloatPixelData")):
        raise ValueError(f"the DICOM file {name!r} has no pixel data; give one that holds a picture")
    try:
        colours = str(header.PhotometricInterpretation)
        frames = int(header.get("NumberOfFrames", None) or 1)
    except Exception as error:
        raise ValueError(f"cannot read the DICOM file {name!r}, it may be damaged: {error}") from error
    if frames > 1:
        raise ValueError(f"the DICOM file {name!r} holds {frames} pictures; give one picture a file")
    if colours not in (*_GREY, "RGB"):
        raise ValueError(f"the DICOM file {name!r} is {colours!r}; X-rays are read as MONOCHROME1, MONOCHROME2 or RGB")
    pixels = _pixels(header, name)
    try:
        grey = _to_grey(pixels, header, pixel_range)
    except Exception as error:  # whatever pydicom makes of damaged values
        raise ValueError(f"cannot read the DICOM file {name!r}, it may be damaged: {error}") from error
    if not np.isfinite(grey).all():
        raise ValueError(f"{name!r} has pixels that are no finite numbers; write numbers there")
    return 1 - grey if colours == "MONOCHROME1" else grey


def _pydicom(name: str) -> ModuleType:
    try:
        return importlib.import_module("pydicom")
    except ImportError:
        raise ImportError(f"{name!r} is a DICOM file, which needs pydicom: pip install 'quantus-vit[dicom]'") from None


def _read(path: FilePath, stop_before_pixels: bool = False) -> Any:
    name = os.fspath(path)
    pydicom = _pydicom(name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about values that are not quite as the standard wants them
            return pydicom.dcmread(path, stop_before_pixels=stop_before_pixels)
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file {name!r}") from None
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the machine's failure, not the file's
        raise ValueError(f"cannot read {name!r} as DICOM, it may be damaged: {error}") from error


def _pixels(header: Any, name: str) -> npt.NDArray[Any]:
    """Stored values ``(h, w)``, or ``(h, w, 3)``."""
    syntax = getattr(getattr(header, "file_meta", None), "TransferSyntaxUID", None)
    if syntax is None:
        raise ValueError(f"the DICOM file {name!r} names no transfer syntax, so its pixels cannot be decoded")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pixels = np.asarray(header.pixel_array)
    except Exception as error:  # of one of many decoders
        first = str(error).strip().splitlines()[:1] or [type(error).__name__]
        remedy = "" if syntax in _UNCOMPRESSED else f" (if a decoder is missing: {_DECODERS})"
        kind = getattr(syntax, "name", syntax)
        raise ValueError(f"cannot decode the pixels of {name!r} ({kind}): {first[0].rstrip('.')}{remedy}") from error
    if pixels.ndim not in (2, 3) or pixels.size == 0 or (pixels.ndim == 3 and pixels.shape[2] != 3):
        raise ValueError(f"the DICOM file {name!r} has pixels of the shape {pixels.shape}; one picture is (h, w)")
    return pixels


def _to_grey(pixels: npt.NDArray[Any], header: Any, pixel_range: tuple[float, float] | None) -> GreyImage:
    if pixels.ndim == 3:
        if pixels.dtype != np.uint8:
            raise ValueError("colour of more than 8 bits")
        pixels = np.asarray(Image.fromarray(pixels).convert("L"))
    values = np.asarray(_look_up().apply_modality_lut(pixels, header), dtype=np.float64)
    if pixel_range is not None:
        return _between(values, *pixel_range)
    if "VOILUTSequence" in header:
        bits = int(header.VOILUTSequence[0].LUTDescriptor[2])
        # A table is indexed by whole numbers.
        table = _look_up().apply_voi(np.rint(values).astype(np.int64), header)
        return _between(np.asarray(table, dtype=np.float64), 0.0, float(2**bits - 1))
    if "WindowCenter" in header and "WindowWidth" in header:
        return _window(values, header)
    return _without_window(values, header)


def _look_up() -> ModuleType:
    """Where pydicom keeps its look-up functions: they moved in 3.0."""
    try:
        return importlib.import_module("pydicom.pixels")
    except ImportError:
        return importlib.import_module("pydicom.pixel_data_handlers.util")


def _between(values: npt.NDArray[np.float64], black: float, white: float) -> GreyImage:
    grey: GreyImage = ((values - black) / (white - black)).clip(0.0, 1.0).astype(np.float32)
    return grey


def _first(value: Any) -> float:
    """The first of one or several numbers."""
    return float(value[0] if hasattr(value, "__len__") and not isinstance(value, str) else value)


def _window(values: npt.NDArray[np.float64], header: Any) -> GreyImage:
    """Windows of DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3."""
    centre, width = _first(header.WindowCenter), _first(header.WindowWidth)
    function = str(header.get("VOILUTFunction", None) or "LINEAR").upper()
    if not np.isfinite(centre) or not width > 0 or (function == "LINEAR" and width < 1):
        raise ValueError(f"its window has the centre {centre:g} and the width {width:g}")
    if function == "SIGMOID":
        slope = np.clip(-4.0 * (values - centre) / width, -700.0, 700.0)
        sigmoid: GreyImage = (1.0 / (1.0 + np.exp(slope))).astype(np.float32)
        return sigmoid
    if function == "LINEAR_EXACT":
        return _between(values, centre - width / 2, centre + width / 2)
    if function != "LINEAR":
        raise ValueError(f"its window has the unknown function {function!r}")
    if width == 1:
        return (values > centre - 0.5).astype(np.float32)
    return _between(values, centre - 0.5 - (width - 1) / 2, centre - 0.5 + (width - 1) / 2)


def _without_window(values: npt.NDArray[np.float64], header: Any) -> GreyImage:
    """The whole range of an 8-bit file; of others what the picture has, as viewers show it."""
    plain = "RescaleSlope" not in header and "ModalityLUTSequence" not in header
    bits = int(header.get("BitsStored", 16))
    if plain and bits <= 8 and not header.get("PixelRepresentation", 0):
        grey: GreyImage = (values.astype(np.float32) / np.float32(2**bits - 1)).clip(0.0, 1.0)
        return grey
    low, high = float(values.min()), float(values.max())
    if low == high:
        raise ValueError(f"all its pixels are {low:g}, and it has no window; set pixel_range=(black, white)")
    warnings.warn(
        "a DICOM file has no window: its smallest value is read as black and its largest as white; set "
        "pixel_range=(black, white) to read all files alike",
        stacklevel=1,
    )
    return _between(values, low, high)
