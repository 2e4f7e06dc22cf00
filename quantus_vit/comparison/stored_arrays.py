"""Compressed files of arrays (``.npz``) that several processes may write: whole or not there, and read with caution."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from ..files import write_whole

__all__ = ["load_arrays", "save_arrays"]

Read = TypeVar("Read")


def load_arrays(file: Path, read: Callable[[Mapping[str, npt.NDArray[Any]]], Read]) -> Read | None:
    """What ``read`` makes of the arrays by name; None where there is no file, or a damaged one."""
    try:
        with np.load(file) as stored:
            return read(stored)
    except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
        return None


def save_arrays(file: Path, **arrays: npt.NDArray[Any]) -> None:
    """Write arrays by name, and the folder where it is missing; a crash leaves no half file under the final name.

    Raises
    ------
    OSError
        The disk is full, read-only, or the like.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    write_whole(file, lambda stream: np.savez_compressed(stream, **arrays))  # type: ignore[arg-type]
