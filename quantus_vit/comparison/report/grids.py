"""Maps, masks and pictures in few bytes, for a page: 8-bit grids, packed bits, and WebP. Knows arrays and Pillow.

A value v of a map becomes sign(v) * ceil(127 * sqrt(|v| / largest)): the root gives weak relevance the finer steps, and
the ceiling leaves every value but zero its sign. The page squares it back.
"""

from __future__ import annotations

import base64
import io
import zlib
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, features

__all__ = ["MAP_SIDE", "pack_map", "pack_mask", "pack_picture", "quantised"]

Array = npt.NDArray[Any]

MAP_SIDE = 112
"""Most cells of a map's longer side; larger maps are averaged over areas."""

_SHOWN = 0.995
_QUALITY = 82
_EFFORT = 6
"""Of zlib: 9 makes a page 0.4 % smaller and takes seven times as long."""


def pack_map(relevance: Array) -> dict[str, Any]:
    """A map ``(H, W)`` as a grid for the page.

    Returns
    -------
    dict
        ``h`` and ``w`` of the grid, ``max`` (largest absolute value), ``full`` (where the scale of a picture ends:
        99.5 % of the absolute values lie below), ``signed``, and ``data``: base64 of the deflated grid, each row
        as differences between neighbours.
    """
    grid = _reduced(np.nan_to_num(np.asarray(relevance, dtype=np.float32), posinf=0.0, neginf=0.0))
    largest = float(np.abs(grid).max())
    full = float(np.quantile(np.abs(grid), _SHOWN, method="higher")) or largest
    codes = quantised(grid)
    steps = np.diff(codes.astype(np.int16), axis=1, prepend=0).astype(np.uint8)
    return {
        "h": grid.shape[0],
        "w": grid.shape[1],
        "max": largest,
        "full": full,
        "signed": bool((grid < 0).any()),
        "data": _deflated(steps.tobytes()),
    }


def quantised(grid: Array) -> npt.NDArray[np.int8]:
    """Codes -127 to 127 of a grid, see the top of the file; all 0 where all is 0."""
    largest = float(np.abs(grid).max())
    if largest == 0:
        return np.zeros(grid.shape, np.int8)
    codes = np.ceil(127 * np.sqrt(np.abs(grid) / largest) - 1e-6)
    codes = np.where(grid == 0, 0, np.clip(codes, 1, 127))
    return np.asarray(np.sign(grid) * codes).astype(np.int8)


def _reduced(relevance: Array) -> Array:
    height, width = relevance.shape
    factor = max(height, width) / MAP_SIDE
    if factor <= 1:
        return relevance
    size = max(1, round(width / factor)), max(1, round(height / factor))
    return np.asarray(Image.fromarray(relevance).resize(size, Image.Resampling.BOX))


def pack_mask(mask: npt.NDArray[np.bool_]) -> str:
    """A mask ``(H, W)`` as base64 of its deflated bits, row by row, eight to a byte."""
    return _deflated(np.packbits(mask.ravel()).tobytes())


def pack_picture(grey: npt.NDArray[np.uint8]) -> str:
    """An X-ray ``(H, W)`` as a data URI, WebP or else JPEG."""
    kind = "webp" if features.check("webp") else "jpeg"
    file = io.BytesIO()
    Image.fromarray(grey).save(file, kind.upper(), quality=_QUALITY)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _deflated(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data, _EFFORT)).decode()
