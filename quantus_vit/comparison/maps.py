"""Maps on disk, one compressed file for a case and method. Knows arrays and files."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .stored_arrays import load_arrays, save_arrays

__all__ = ["MapStore"]

Array = npt.NDArray[Any]


class MapStore:
    """Maps of a run.

    Parameters
    ----------
    folder : Path
        Where the files lie; made when the first map is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, identity: str, target: int, method: str) -> Array | None:
        """Map from the disk; None where there is none, or its file is damaged."""
        return load_arrays(self._file(identity, target, method), lambda stored: np.asarray(stored["relevance"]))

    def save(self, identity: str, target: int, method: str, relevance: Array) -> None:
        """Write a map; a crash leaves no half file under the final name.

        Raises
        ------
        OSError
            The disk is full, read-only, or the like.
        """
        save_arrays(self._file(identity, target, method), relevance=relevance)

    def clear(self) -> None:
        """Remove all maps."""
        for file in self.folder.glob("*/*.npz"):
            file.unlink()

    def _file(self, identity: str, target: int, method: str) -> Path:
        name = re.sub(r"\W+", "_", Path(identity).stem, flags=re.ASCII)[:40]
        digest = hashlib.sha1(identity.encode(errors="backslashreplace")).hexdigest()[:10]
        return self.folder / _folder_name(method) / f"{name}-{digest}-class{target}.npz"


def _folder_name(method: str) -> str:
    """A folder's name for a method; options in brackets become a digest, since they may hold anything."""
    plain = re.sub(r"\W+", "_", method, flags=re.ASCII).strip("_")[:60]
    if re.fullmatch(r"\w+", method, flags=re.ASCII):
        return method
    return f"{plain}-{hashlib.sha1(method.encode(errors='backslashreplace')).hexdigest()[:6]}"
