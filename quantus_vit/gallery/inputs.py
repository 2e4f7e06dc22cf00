"""From what a user names (files, folders, patterns, tables) to a list of images, each with a name for the public.

Knows the data package's reading of files; no model.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..data.dicom import is_dicom
from ..data.images import IMAGE_SUFFIXES
from ..data.lists import read_rows
from ..data.places import printable
from .nifti import is_volume

__all__ = ["NAMINGS", "InputImage", "distinct", "find_images", "plain"]

NAMINGS = ("auto", "file", "number")
"""What an image may be called: "auto" is a number for DICOM, whose file names tend to tell the patient, else the file's
name."""

_WILDCARDS = re.compile(r"[*?\[]")
_MASKS = re.compile(r"(^|[\s_-])masks?$", re.IGNORECASE)
"""Folders of data sets that hold masks of images, and no images to explain."""

_NOT_IMAGES = {"DICOMDIR"}


@dataclass(frozen=True)
class InputImage:
    """An image to be explained.

    Parameters
    ----------
    path : str
        Its file.
    name : str
        What pictures, tables and messages call it; unique among the images of a run.
    target : str
        Name or index of the output to explain, where a table says so; else "".
    is_private : bool
        Whether its path may not be shown.
    """

    path: str
    name: str
    target: str = ""
    is_private: bool = False

    @property
    def public_source(self) -> str:
        """Its file, or nothing where that may not be shown."""
        return "" if self.is_private else printable(self.path)

    def public(self, message: str) -> str:
        """A message about the image, without the path where that may not be shown."""
        if not self.is_private:
            return message
        for place in (self.path, os.path.abspath(self.path), os.path.basename(self.path)):
            message = message.replace(repr(place), self.name).replace(place, self.name)
        return message


def find_images(places: Sequence[str], naming: str = "auto") -> list[InputImage]:
    """List the images.

    Parameters
    ----------
    places : sequence of str
        Image files; folders, whose images are taken with those of the folders below, but for folders of masks; patterns
        such as "films/*.png", with "**" for any folders; and tables (.csv) with a column ``path``, below the table's
        folder, and optionally ``target``. What is named several times is taken once for each target.
    naming : str
        One of :data:`NAMINGS`.

    Returns
    -------
    list of InputImage
        In the order of the places, within folders and patterns by name.

    Raises
    ------
    FileNotFoundError
        A folder holds no images, or a pattern or table names none.
    ValueError
        An unknown naming, or a damaged table.
    """
    if naming not in NAMINGS:
        raise ValueError(f"naming must be one of {', '.join(map(repr, NAMINGS))}, got {naming!r}")
    found = list(dict.fromkeys(pair for place in places for pair in _images_at(place)))
    private = [naming == "number" or (naming == "auto" and is_dicom(path)) for path, _ in found]
    digits = max(4, len(str(len(found))))
    names = distinct(
        f"image{number:0{digits}d}" if hidden else plain(_stem(path))
        for number, ((path, _), hidden) in enumerate(zip(found, private, strict=True), start=1)
    )
    return [
        InputImage(path, name, target, hidden)
        for (path, target), name, hidden in zip(found, names, private, strict=True)
    ]


def _images_at(place: str) -> Iterator[tuple[str, str]]:
    """Path and target of each image at one place."""
    if os.path.isdir(place):
        paths = [path for path in _files_below(place) if _is_image(path)]
        if not paths:
            ends = ", ".join(sorted(IMAGE_SUFFIXES))
            raise FileNotFoundError(
                f"the folder {place!r} holds no images ({ends}, NIfTI volumes, or DICOM files of any name)"
            )
        yield from ((path, "") for path in paths)
    elif place.lower().endswith(".csv"):
        yield from _rows_of(place)
    elif not os.path.lexists(place) and _WILDCARDS.search(place):
        paths = [path for path in sorted(glob.glob(place, recursive=True)) if os.path.isfile(path)]
        if not paths:
            raise FileNotFoundError(f"no file matches {place!r}")
        yield from ((path, "") for path in paths)
    else:
        yield place, ""


def _rows_of(place: str) -> Iterator[tuple[str, str]]:
    table = read_rows(place, ["path"])
    if not table.rows:
        raise FileNotFoundError(f"{place!r} lists no images")
    at = table.columns.index("target") if "target" in table.columns else None
    base, column = os.path.dirname(os.path.abspath(place)), table.columns.index("path")
    for line, cells in table.rows:
        if not cells[column]:
            raise table.error(line, "path is empty")
        yield os.path.join(base, cells[column]), "" if at is None else cells[at]


def _files_below(folder: str) -> Iterator[str]:
    for place, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith(".") and not _MASKS.search(name))
        yield from (os.path.join(place, file) for file in sorted(files) if not file.startswith("."))


def _is_image(path: str) -> bool:
    if os.path.basename(path) in _NOT_IMAGES:
        return False
    return is_volume(path) or os.path.splitext(path)[1].lower() in IMAGE_SUFFIXES or is_dicom(path)


def _stem(path: str) -> str:
    name = Path(path).name
    if is_volume(name):
        return name[: name.lower().rindex(".nii")]
    stem, suffix = os.path.splitext(name)
    return stem if suffix.lower() in IMAGE_SUFFIXES else name


def plain(name: str) -> str:
    """A name that every file system takes."""
    return re.sub(r"[^\w.-]+", "_", printable(name)).strip("_.") or "image"


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with a number behind those that come again; two that differ in case only are one to some systems."""
    result: list[str] = []
    taken: set[str] = set()
    for name in names:
        unique, number = name, 1
        while unique.casefold() in taken:
            number += 1
            unique = f"{name}-{number}"
        taken.add(unique.casefold())
        result.append(unique)
    return result
