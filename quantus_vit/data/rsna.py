"""RSNA pneumonia detection challenge: boxes around opacities that suggest pneumonia."""

from __future__ import annotations

import os
from pathlib import Path

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES
from .lists import index_files, number, read_rows
from .masks import Box, Boxes
from .places import identity_below
from .splits import Fractions, select_split

__all__ = ["RSNA", "open_rsna"]

_TABLE = "stage_2_train_labels.csv"
_FINDING = "Pneumonia"
_SIDES = ("x", "y", "width", "height")
_FRAME = (1024, 1024)


def open_rsna(
    root: str | os.PathLike[str],
    split: str = "Test",
    fractions: Fractions | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open the training images of the RSNA challenge, the ones with labels.

    Parameters
    ----------
    root : path
        Folder with ``stage_2_train_labels.csv`` and the images below it, ``stage_2_train_images/<patientId>.dcm``;
        copies in another format or size are fine.
    split : str
        All images are "Test" unless ``fractions`` part them.
    fractions : tuple of float, optional
        Shares of "Train", "Val" and "Test".
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        Binary, "Pneumonia"; the rows of an image are united, and its boxes are one annotation of the kind "box".

    Raises
    ------
    FileNotFoundError
        The table or an image is missing.
    ValueError
        A damaged table, or rows of one image that contradict each other.

    References
    ----------
    Shih et al., "Augmenting the National Institutes of Health chest radiograph dataset with expert annotations of
    possible pneumonia", Radiology: Artificial Intelligence 1, 2019.
    """
    base = Path(root)
    boxes = _read_boxes(base / _TABLE)
    files = index_files([base], IMAGE_SUFFIXES)
    records = []
    for patient, found in boxes.items():
        path = files.get(patient)
        if path is None:
            raise FileNotFoundError(f"no image {patient + '.dcm'!r} below {os.fspath(root)!r}, which {_TABLE!r} lists")
        annotations = {_FINDING: Annotation("box", Boxes(_FRAME, tuple(found), path))} if found else {}
        records.append(Record(identity_below(path, base), path, patient, (_FINDING,) if found else (), annotations))
    chosen = select_split("RSNA", records, split, fractions)
    return XrayDataset("RSNA pneumonia", [_FINDING], "binary", check_split(split), chosen, pixel_range)


def _read_boxes(file: Path) -> dict[str, list[Box]]:
    """Boxes of each image, none where its target is 0."""
    table = read_rows(file, ["patientId", *_SIDES, "Target"])
    boxes: dict[str, list[Box]] = {}
    targets: dict[str, str] = {}
    for line, (patient, *sides, target) in table.values("patientId", *_SIDES, "Target"):
        if target not in ("0", "1"):
            raise table.error(line, f"Target must be 0 or 1, got {target!r}")
        if targets.setdefault(patient, target) != target:
            raise table.error(line, f"the image {patient!r} has the targets {targets[patient]} and {target}")
        found = boxes.setdefault(patient, [])
        if target == "1":
            x, y, w, h = (number(table, line, name, text) for name, text in zip(_SIDES, sides, strict=True))
            if w <= 0 or h <= 0:
                raise table.error(line, f"a box must have a width and a height, got {w:g} x {h:g}")
            found.append((x, y, w, h))
        elif any(sides):
            raise table.error(line, f"the image {patient!r} has a box, but the Target 0")
    if not boxes:
        raise ValueError(f"{str(file)!r} lists no images")
    return boxes


RSNA = DatasetSpec(
    name="rsna",
    summary="RSNA pneumonia detection challenge, with boxes",
    usage="rsna:DIR",
    open=open_rsna,
    options={
        "fractions": "shares of Train, Val and Test",
        "pixel_range": "stored values of black and white",
    },
)
