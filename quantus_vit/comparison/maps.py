"""Maps on disk, one compressed file for a case and method. Knows arrays and files."""

from __future__ import annotations

import hashlib
import os
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

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
        try:
            with np.load(self._file(identity, target, method)) as stored:
                return np.asarray(stored["relevance"])
        except (FileNotFoundError, NotADirectoryError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error):
            return None

    def save(self, identity: str, target: int, method: str, relevance: Array) -> None:
        """Write a map; a crash leaves no half file under the final name.

        Raises
        ------
        OSError
            The disk is full, read-only, or the like.
        """
        file = self._file(identity, target, method)
        file.parent.mkdir(parents=True, exist_ok=True)
        partial = file.with_name(f".{file.name}.{os.getpid()}.npz")
        try:
            np.savez_compressed(partial, relevance=relevance)
            partial.replace(file)
        finally:
            partial.unlink(missing_ok=True)

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
