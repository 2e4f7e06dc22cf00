"""Annotations read when asked for: each class here is the ``read`` of an Annotation, made of few words and picklable.

All return bool ``(h, w)``. A pixel is inside a shape where its centre is: pixel ``i`` spans ``[i, i + 1)``. Knows
images and numpy; no data set.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .images import image_shape, read_stored

__all__ = ["Box", "Boxes", "CocoRuns", "ImageMask", "Mask", "Polygons", "RelativeRuns", "Votes", "decode_counts"]

Mask = npt.NDArray[np.bool_]
Box = tuple[float, float, float, float]
"""x and y of the upper left corner, width and height, in pixels."""

_MOST_PIXELS = 2**28
_BEYOND = 0.02
"""Share of a side by which a box may reach beyond the image, as hand-drawn ones do."""


@dataclass(frozen=True)
class ImageMask:
    """A mask in an image file: 0 is outside; 1, 255 or 65535 is inside.

    Some masks went through a lossy format: half of the range parts inside and outside safely.
    """

    path: str

    def __call__(self) -> Mask:
        """Read it."""
        values = read_stored(self.path)
        white = next((white for white in (1, 255) if values.max() <= white), 65535)
        inside: Mask = values > white / 2
        return inside


@dataclass(frozen=True)
class CocoRuns:
    """COCO's run lengths: of outside and inside by turns, down the columns.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)``.
    counts : str or tuple of int
        The lengths, as they are or in COCO's compressed string.
    source : str
        File that messages name.
    """

    shape: tuple[int, int]
    counts: str | tuple[int, ...]
    source: str

    def __call__(self) -> Mask:
        """Decode it."""
        height, width = self.shape
        counts = decode_counts(self.counts, self.source)
        if min(counts, default=0) < 0 or sum(counts) != height * width or height * width > _MOST_PIXELS:
            raise ValueError(
                f"a mask of {self.source!r} is damaged: its runs do not add up to {width} x {height} pixels"
            )
        inside = np.arange(len(counts)) % 2 == 1
        mask: Mask = np.repeat(inside, np.asarray(counts, dtype=np.intp)).reshape(width, height).T
        return mask


def decode_counts(counts: str | Sequence[int], source: str) -> list[int]:
    """Run lengths of COCO's compressed string; a list comes back as it is.

    Six bits a character, from "0" on: five of them are digits, low ones first, the sixth says that more follow; the
    last digit carries the sign. From the fourth run on, a number is the difference to the run before the last.

    Raises
    ------
    ValueError
        The string has other characters, or ends within a number.
    """
    if not isinstance(counts, str):
        return list(counts)
    lengths: list[int] = []
    value, shift = 0, 0
    for character in counts:
        digit = ord(character) - 48
        if not 0 <= digit < 64 or shift > 60:
            raise ValueError(f"a mask of {source!r} is damaged: {character!r} in its run lengths")
        value |= (digit & 31) << shift
        shift += 5
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + (lengths[-2] if len(lengths) > 2 else 0))
        value, shift = 0, 0
    if shift:
        raise ValueError(f"a mask of {source!r} is damaged: its run lengths end within a number")
    return lengths


@dataclass(frozen=True)
class RelativeRuns:
    """SIIM-ACR's run lengths: pairs of the distance from the end of the last run and a length, down the columns.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)``.
    rows : tuple of str
        One string a region; their union is the mask.
    source : str
        File that messages name.
    """

    shape: tuple[int, int]
    rows: tuple[str, ...]
    source: str

    def __call__(self) -> Mask:
        """Decode it."""
        height, width = self.shape
        flat = np.zeros(height * width, dtype=np.bool_)
        for row in self.rows:
            position = 0
            for distance, length in _pairs(row, self.source):
                start = position + distance
                position = start + length
                if distance < 0 or length < 0 or position > flat.size:
                    raise ValueError(
                        f"a run of {self.source!r} (distance {distance}, length {length}) leaves its image of "
                        f"{width} x {height} pixels"
                    )
                flat[start:position] = True
        mask: Mask = flat.reshape(width, height).T
        return mask


def _pairs(row: str, source: str) -> list[tuple[int, int]]:
    try:
        numbers = [int(word) for word in row.split()]
    except ValueError:
        raise ValueError(f"run lengths of {source!r} are no whole numbers: {row[:40]!r}") from None
    if not numbers or len(numbers) % 2:
        raise ValueError(f"run lengths of {source!r} come in pairs; {len(numbers)} numbers in {row[:40]!r}")
    return list(zip(numbers[::2], numbers[1::2], strict=True))


@dataclass(frozen=True)
class Polygons:
    """Outlines; their union is the mask.

    Parameters
    ----------
    shape : tuple of int
        ``(h, w)``.
    outlines : tuple
        Each a tuple of corners ``(x, y)``; where an outline crosses itself, what is enclosed twice is outside.
    """

    shape: tuple[int, int]
    outlines: tuple[tuple[tuple[float, float], ...], ...]

    def __call__(self) -> Mask:
        """Draw them."""
        mask = np.zeros(self.shape, dtype=np.bool_)
        for outline in self.outlines:
            mask |= _fill(np.asarray(outline, dtype=np.float64), self.shape)
        return mask


def _fill(corners: npt.NDArray[np.float64], shape: tuple[int, int]) -> Mask:
    """Pixels whose centre is inside one outline ``(n, 2)``, by the even-odd rule."""
    height, width = shape
    crossings = np.zeros((height, width + 1), dtype=np.bool_)
    following = np.roll(corners, -1, axis=0)
    # An edge crosses the rows whose centre line lies between its ends, the upper end included.
    ends = np.sort(np.stack([corners[:, 1], following[:, 1]]), axis=0)
    first, stop = np.clip(np.ceil(ends - 0.5), 0, height).astype(np.intp)
    for edge in np.flatnonzero(stop > first):
        rows = np.arange(first[edge], stop[edge])
        (x0, y0), (x1, y1) = corners[edge], following[edge]
        x = x0 + (rows + 0.5 - y0) * ((x1 - x0) / (y1 - y0))
        columns = np.clip(np.ceil(x - 0.5), 0, width).astype(np.intp)
        crossings[rows, columns] ^= True  # every row once an edge
    inside: Mask = np.logical_xor.accumulate(crossings, axis=1)[:, :width]
    return inside


@dataclass(frozen=True)
class Boxes:
    """Rectangles; their union is the mask.

    Parameters
    ----------
    frame : tuple of int, or str
        ``(h, w)`` of the image they were drawn on, or that image's file, whose header tells it.
    boxes : tuple
        Each ``(x, y, width, height)`` in pixels, from the left upper corner. A box covers at least one pixel.
    source : str
        What messages name.
    """

    frame: tuple[int, int] | str
    boxes: tuple[Box, ...]
    source: str

    def __call__(self) -> Mask:
        """Draw them."""
        height, width = image_shape(self.frame) if isinstance(self.frame, str) else self.frame
        mask = np.zeros((height, width), dtype=np.bool_)
        for box in self.boxes:
            x, y, w, h = box
            if min(x / width, y / height) < -_BEYOND or max((x + w) / width, (y + h) / height) > 1 + _BEYOND:
                raise ValueError(
                    f"the box {box} of {self.source!r} leaves its image of {width} x {height} pixels; boxes are x, y, "
                    "width, height in pixels of the image file"
                )
            mask[_span(y, h, height), _span(x, w, width)] = True
        return mask


def _span(start: float, length: float, side: int) -> slice:
    """Pixels whose centres lie in ``[start, start + length)``, at least one."""
    first = min(max(int(np.ceil(start - 0.5)), 0), side - 1)
    stop = min(int(np.ceil(start + length - 0.5)), side)
    return slice(first, max(stop, first + 1))


@dataclass(frozen=True)
class Votes:
    """Several readers' masks of one finding: where more than half of the readers agree.

    Where no pixel has that many, although so many readers saw the finding, the union stands.

    Parameters
    ----------
    masks : tuple of callables
        Those of the readers who marked the finding.
    readers : int
        How many readers looked at the image.
    """

    masks: tuple[Callable[[], Mask], ...]
    readers: int

    def __call__(self) -> Mask:
        """Count the votes."""
        votes = np.sum([mask().astype(np.uint8) for mask in self.masks], axis=0)
        agreed: Mask = votes * 2 > self.readers
        union: Mask = votes > 0
        return agreed if agreed.any() else union
