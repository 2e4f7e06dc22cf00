"""``maps.npz``: the maps of all images, stacked by method, written as they come and put together at the end."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from ..files import write_whole

__all__ = ["MapsFile"]


class MapsFile:
    """Gathers maps on the disk, so that any number of images fits into memory.

    Parameters
    ----------
    methods : sequence of str
    size : tuple of int
        Height and width of a map.
    """

    def __init__(self, methods: Sequence[str], size: tuple[int, int]) -> None:
        self._size = size
        self._folder = TemporaryDirectory(prefix="quantus-vit-")
        self._parts = {name: Path(self._folder.name) / str(number) for number, name in enumerate(methods)}
        self._count = 0

    def add(self, maps: Mapping[str, npt.NDArray[np.float32] | None]) -> None:
        """Add an image's map by each method ``(H, W)``; a missing one becomes nan."""
        for name, part in self._parts.items():
            relevance = maps.get(name)
            values = np.full(self._size, np.nan, dtype="<f4") if relevance is None else relevance.astype("<f4")
            with open(part, "ab") as file:
                file.write(values.tobytes())
        self._count += 1

    def save(self, path: Path, others: Mapping[str, npt.ArrayLike]) -> None:
        """Write the file.

        Parameters
        ----------
        path : pathlib.Path
        others : mapping of str to array_like
            Further arrays, such as the targets.
        """

        def write(file: IO[bytes]) -> None:
            with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, allowZip64=True) as archive:
                for name, values in others.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, np.asarray(values), allow_pickle=False)
                for name, part in self._parts.items():
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        self._copy(part, entry)

        write_whole(path, write)

    def _copy(self, part: Path, entry: IO[bytes]) -> None:
        shape = (self._count, *self._size)
        header: dict[str, Any] = {"descr": "<f4", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(entry, header)
        with open(part, "rb") as file:
            shutil.copyfileobj(file, entry)

    def close(self) -> None:
        """Give the room on the disk back."""
        self._folder.cleanup()
