"""Annotations read when asked for: each class here is the ``read`` of an Annotation, made of few words and picklable.

All return bool ``(h, w)``. Knows images and numpy; no data set.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from .images import read_stored

__all__ = ["ImageMask", "Mask"]

Mask = npt.NDArray[np.bool_]


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
