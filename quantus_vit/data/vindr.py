"""VinDr-CXR: boxes of fourteen local findings, by three readers on training images, by consensus on test images."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES
from .lists import index_files, number, read_rows
from .masks import Box, Boxes, Votes
from .places import identity_below
from .splits import Fractions, select_split

__all__ = ["VINDR", "open_vindr"]

_TABLES = {
    "Train": ("train.csv", "annotations/annotations_train.csv", "annotations_train.csv"),
    "Test": ("test.csv", "annotations/annotations_test.csv", "annotations_test.csv"),
}
_CORNERS = ("x_min", "y_min", "x_max", "y_max")
_NOTHING = "no finding"
_CONSENSUS = "consensus"
_READERS = ("majority", "union")


def open_vindr(
    root: str | os.PathLike[str],
    split: str = "Test",
    readers: str = "majority",
    fractions: Fractions | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open VinDr-CXR as Kaggle's competition or PhysioNet has it.

    Parameters
    ----------
    root : path
        Folder with ``train.csv`` (Kaggle), or ``annotations/annotations_{train,test}.csv`` (PhysioNet), and the images
        ``{train,test}/<image_id>.dicom``. Boxes are in pixels of these files: scaled copies do not do.
    split : str
        "Train" or "Test", by the table that the set has for it.
    readers : {"majority", "union"}
        How several readers of an image are merged. "majority": a finding is there if more than half of them saw it, in
        the pixels that more than half of them boxed; where they boxed no pixel in common, in those of any of them.
        "union": a finding, and a pixel, of any reader counts.
    fractions : tuple of float, optional
        Parts the images of "Train" into "Train", "Val" and "Test", where the test images have no labels (Kaggle).
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        Multilabel; "No finding" is an image without labels. Annotations are of the kind "box".

    Raises
    ------
    FileNotFoundError
        The split's table or an image is missing.
    ValueError
        "Val" without ``fractions``, an unknown ``readers``, or a damaged table; on access, a box that leaves its image.

    References
    ----------
    Nguyen et al., "VinDr-CXR: An open dataset of chest X-rays with radiologist's annotations", Scientific Data 9, 2022.
    """
    base, split = Path(root), check_split(split)
    if readers not in _READERS:
        raise ValueError(f"readers must be one of {', '.join(map(repr, _READERS))}, got {readers!r}")
    if split == "Val" and fractions is None:
        raise ValueError("VinDr-CXR has no 'Val'; fractions=(0.8, 0.1, 0.1) parts its 'Train'")
    part = split if fractions is None else "Train"
    table = next((base / name for name in _TABLES[part] if (base / name).is_file()), None)
    if table is None:
        raise FileNotFoundError(
            f"{os.fspath(root)!r} has no {' or '.join(_TABLES[part][:2])}, which list VinDr-CXR's {part!r}"
        )
    findings, readings = _read_table(table)
    folder = base / part.lower()
    files = index_files([folder if folder.is_dir() else base], IMAGE_SUFFIXES)
    records = []
    for image, reading in readings.items():
        path = files.get(image)
        if path is None:
            raise FileNotFoundError(f"no image {image + '.dicom'!r} below {str(folder)!r}, which {table.name!r} lists")
        annotations = reading.annotations(path, findings, readers)
        records.append(Record(identity_below(path, base), path, None, tuple(annotations), annotations))
    if fractions is not None:
        records = select_split("VinDr-CXR", records, split, fractions)
    return XrayDataset("VinDr-CXR", findings, "multilabel", split, records, pixel_range)


@dataclass
class _Reading:
    """What the readers of one image saw."""

    readers: set[str] = field(default_factory=set)
    boxes: dict[str, dict[str, list[Box]]] = field(default_factory=dict)
    """By finding, then by reader."""

    def annotations(self, path: str, findings: Sequence[str], merging: str) -> dict[str, Annotation]:
        """Findings that count, in the order of the data set's."""
        merged = {}
        for finding in findings:
            by_reader = self.boxes.get(finding, {})
            if merging == "union" and by_reader:
                every = tuple(box for boxes in by_reader.values() for box in boxes)
                merged[finding] = Annotation("box", Boxes(path, every, path))
            elif len(by_reader) * 2 > len(self.readers):
                masks = tuple(Boxes(path, tuple(boxes), path) for boxes in by_reader.values())
                merged[finding] = Annotation("box", Votes(masks, len(self.readers)))
        return merged


def _read_table(file: Path) -> tuple[list[str], dict[str, _Reading]]:
    """Findings in the order of their ids (else of the alphabet), and the readings by image."""
    table = read_rows(file, ["image_id", "class_name", *_CORNERS])
    by_reader = table.columns.index("rad_id") if "rad_id" in table.columns else None
    by_id = table.columns.index("class_id") if "class_id" in table.columns else None
    readings: dict[str, _Reading] = {}
    order: dict[str, float] = {}
    for (line, (image, finding, *corners)), (_, cells) in zip(
        table.values("image_id", "class_name", *_CORNERS), table.rows, strict=True
    ):
        reader = cells[by_reader] if by_reader is not None else _CONSENSUS
        reading = readings.setdefault(image, _Reading())
        reading.readers.add(reader)
        if finding.lower() == _NOTHING:
            continue
        order[finding] = number(table, line, "class_id", cells[by_id]) if by_id is not None else 0.0
        left, top, right, bottom = (
            number(table, line, name, text) for name, text in zip(_CORNERS, corners, strict=True)
        )
        if right <= left or bottom <= top:
            raise table.error(line, f"the box from ({left:g}, {top:g}) to ({right:g}, {bottom:g}) is empty")
        box = (left, top, right - left, bottom - top)
        reading.boxes.setdefault(finding, {}).setdefault(reader, []).append(box)
    if not order:
        raise ValueError(f"{str(file)!r} lists no finding")
    return sorted(order, key=lambda name: (order[name], name)), readings


VINDR = DatasetSpec(
    name="vindr",
    summary="VinDr-CXR, boxes of fourteen findings, three readers merged",
    usage="vindr:DIR",
    open=open_vindr,
    options={
        "readers": '"majority" or "union" of an image\'s readers ("majority")',
        "fractions": "shares of Train, Val and Test into which the training images are parted",
        "pixel_range": "stored values of black and white",
    },
)
