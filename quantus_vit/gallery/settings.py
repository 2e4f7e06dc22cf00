"""What a run is told, and what came of it."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from .formats import FormatOptions
from .inputs import InputImage

__all__ = ["Outcome", "Settings"]


@dataclass(frozen=True)
class Settings:
    """What is explained, and how.

    Parameters
    ----------
    target : int, optional
        The output; None: a table's word, or the most likely one.
    seed : int
        For methods that draw.
    pixel_range : tuple of float, optional
        Stored values of black and white.
    batch_size : int
        Images that are explained at once, where that is faster: on a GPU, by the methods of this package.
    options : FormatOptions
    """

    target: int | None = None
    seed: int = 0
    pixel_range: tuple[float, float] | None = None
    batch_size: int = 8
    options: FormatOptions = field(default_factory=FormatOptions)


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Parameters
    ----------
    explained : int
        Images with the maps of all methods.
    failures : tuple of (InputImage, Exception)
    files : tuple of pathlib.Path
        What was written for all images together.
    """

    explained: int
    failures: tuple[tuple[InputImage, Exception], ...]
    files: tuple[Path, ...]
