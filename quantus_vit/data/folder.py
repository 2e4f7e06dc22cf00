"""One's own images in folders: ``DIR/[split/]<class>/*``, with masks in ``DIR/masks/<finding>/`` where they exist."""

from __future__ import annotations

import os
import re
from pathlib import Path

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES
from .masks import ImageMask
from .places import identity_below, printable
from .splits import Fractions, check_patients, refuse_fractions, select_split, split_named

__all__ = ["FOLDER", "open_folder"]

_MASKS = "masks"


def open_folder(
    root: str | os.PathLike[str],
    split: str = "Test",
    fractions: Fractions | None = None,
    patient: str | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open a folder of images with a folder a class.

    Parameters
    ----------
    root : path
        ``root/<class>/*`` or ``root/<split>/<class>/*``, folders of "Train", "Val" and "Test" in any case; images may
        lie deeper below their class. A mask of the image ``root/<place>/<name>.png`` is
        ``root/masks/<finding>/<place>/<name>`` with any end of an image file.
    split : str
        "Train", "Val" or "Test".
    fractions : tuple of float, optional
        Shares of the splits of a folder without them, see :func:`quantus_vit.data.splits.select_split`.
    patient : str, optional
        Regular expression whose first group, found in an image's identity, is the patient.
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        Multiclass; the classes are the folders' names in alphabetical order, those of all splits.

    Raises
    ------
    FileNotFoundError
        The folder is missing, lacks the split, or holds no images.
    ValueError
        A patient is in two splits; ``patient`` is no such expression, or does not match an image; ``fractions`` of a
        folder with splits.
    """
    base, split = Path(root), check_split(split)
    if not base.is_dir():
        raise FileNotFoundError(f"no folder {os.fspath(root)!r}")
    parts = {found: folder for folder in _folders(base) if (found := split_named(folder.name))}
    if parts:
        refuse_fractions(repr(os.fspath(root)), fractions)
    pattern = _patient_pattern(patient)
    listed = {part: _list_records(base, folder, pattern) for part, folder in (parts or {"": base}).items()}
    if parts and split not in parts:
        raise FileNotFoundError(f"{os.fspath(root)!r} has no folder {split!r}; its splits: {', '.join(sorted(parts))}")
    if not listed[split if parts else ""]:
        raise FileNotFoundError(
            f"{os.fspath(parts.get(split, base))!r} holds no images; it must have a folder a class, with images "
            f"({', '.join(sorted(IMAGE_SUFFIXES))}) inside"
        )
    check_patients(repr(os.fspath(root)), listed)
    classes = sorted({record.labels[0] for records in listed.values() for record in records})
    records = listed[split] if parts else select_split(repr(os.fspath(root)), listed[""], split, fractions)
    return XrayDataset(base.name or "folder", classes, "multiclass", split, records, pixel_range)


def _folders(base: Path) -> list[Path]:
    return sorted(
        child for child in base.iterdir() if child.is_dir() and child.name != _MASKS and not child.name.startswith(".")
    )


def _patient_pattern(pattern: str | None) -> re.Pattern[str] | None:
    if pattern is None:
        return None
    try:
        compiled = re.compile(pattern)
    except (re.error, TypeError) as error:
        raise ValueError(f"patient must be a regular expression, got {pattern!r}: {error}") from None
    if not compiled.groups:
        raise ValueError(f"patient must have a group around what names the patient, got {pattern!r}")
    return compiled


def _list_records(base: Path, part: Path, pattern: re.Pattern[str] | None) -> list[Record]:
    """Images of one split, by class and then by place."""
    findings = _folders(base / _MASKS) if (base / _MASKS).is_dir() else []
    masks = {folder.name: {_place(path, folder): path for path in _image_files(folder)} for folder in findings}
    records = []
    for label in _folders(part):
        for path in _image_files(label):
            place = _place(path, base)
            annotations = {
                printable(finding): Annotation("pixel", ImageMask(files[place]))
                for finding, files in masks.items()
                if place in files
            }
            identity = identity_below(path, base)
            patient = _patient(identity, pattern)
            records.append(Record(identity, path, patient, (printable(label.name),), annotations))
    return records


def _image_files(folder: Path) -> list[str]:
    """Image files below a folder, in order."""
    paths = []
    for place, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        paths += [
            os.path.join(place, file)
            for file in sorted(files)
            if os.path.splitext(file)[1].lower() in IMAGE_SUFFIXES and not file.startswith(".")
        ]
    return paths


def _place(path: str, folder: Path) -> str:
    """Place below a folder, without the end: what an image and its mask have in common."""
    return os.path.splitext(os.path.relpath(path, folder))[0]


def _patient(identity: str, pattern: re.Pattern[str] | None) -> str | None:
    if pattern is None:
        return None
    match = pattern.search(identity)
    if match is None or match[1] is None:
        raise ValueError(f"the expression {pattern.pattern!r} finds no patient in {identity!r}")
    return match[1]


FOLDER = DatasetSpec(
    name="folder",
    summary="images of your own, DIR/[split/]<class>/*, masks in DIR/masks/<finding>/ under the same place",
    usage="folder:DIR",
    open=open_folder,
    options={
        "fractions": "shares of Train, Val and Test, by patient, of a folder without splits",
        "patient": "regular expression whose group is the patient in an image's place",
        "pixel_range": "stored values of black and white",
    },
)
