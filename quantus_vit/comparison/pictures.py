"""Pictures of the compared cases on disk, with their masks, as the model sees them. Knows arrays and files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from .stored_arrays import load_arrays, save_arrays

__all__ = ["Picture", "PictureStore"]


@dataclass(frozen=True)
class Picture:
    """An X-ray and its masks.

    Parameters
    ----------
    grey : numpy.ndarray
        uint8 ``(H, W)``.
    masks : mapping of str to numpy.ndarray
        Finding or organ -> bool ``(H, W)``.
    kinds : mapping of str to str
        "pixel" or "box" for each mask.
    """

    grey: npt.NDArray[np.uint8]
    masks: Mapping[str, npt.NDArray[np.bool_]]
    kinds: Mapping[str, str]


class PictureStore:
    """Pictures of a run, a file each.

    Parameters
    ----------
    folder : Path
        Made when the first picture is written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def has(self, identity: str, label: str) -> bool:
        """Whether there is a picture of a case."""
        return self._file(identity, label).exists()

    def load(self, identity: str, label: str) -> Picture | None:
        """Picture of a case; None where there is none, or its file is damaged."""
        return load_arrays(self._file(identity, label), _unpacked)

    def save(
        self,
        identity: str,
        label: str,
        grey: npt.NDArray[np.uint8],
        masks: Mapping[str, npt.NDArray[np.bool_]],
        kinds: Mapping[str, str],
    ) -> None:
        """Write a picture, see :class:`Picture`; a crash leaves no half file under the final name.

        Raises
        ------
        OSError
            The disk is full, read-only, or the like.
        """
        bits = [np.packbits(mask.ravel()) for mask in masks.values()]
        packed: npt.NDArray[Any] = np.stack(bits) if bits else np.empty((0, 0), np.uint8)
        named = json.dumps({name: kinds[name] for name in masks})
        save_arrays(self._file(identity, label), grey=grey, masks=packed, kinds=np.array(named))

    def clear(self) -> None:
        """Remove all pictures."""
        for file in self.folder.glob("*.npz"):
            file.unlink()

    def _file(self, identity: str, label: str) -> Path:
        digest = hashlib.sha1("\0".join((identity, label)).encode(errors="backslashreplace")).hexdigest()
        return self.folder / f"{digest[:16]}.npz"


def _unpacked(stored: Mapping[str, npt.NDArray[Any]]) -> Picture:
    kinds: dict[str, str] = json.loads(str(stored["kinds"]))
    grey = stored["grey"]
    packed = np.unpackbits(stored["masks"], axis=1, count=grey.size).astype(bool)
    masks = {name: mask.reshape(grey.shape) for name, mask in zip(kinds, packed, strict=True)}
    return Picture(grey, masks, kinds)
