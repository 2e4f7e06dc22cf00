"""NIH ChestX-ray14: fourteen findings by text mining, and boxes of eight of them on some images."""

from __future__ import annotations

import os
import warnings
from pathlib import Path, PurePosixPath

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES
from .lists import index_files, number, read_lines, read_rows
from .masks import Box, Boxes
from .places import identity_below
from .splits import Fractions, check_patients, part_by_patient, select_split

__all__ = ["NIH", "open_nih"]

_ENTRIES = ("Data_Entry_2017_v2020.csv", "Data_Entry_2017.csv")
_BOXES = "BBox_List_2017.csv"
_LISTS = {"Train": "train_val_list.txt", "Test": "test_list.txt"}
_RENAMED = {"Infiltrate": "Infiltration"}
_NOTHING = "No Finding"
_FRAME = (1024, 1024)
"""Boxes are in pixels of the images as published; copies may be smaller."""


def open_nih(
    root: str | os.PathLike[str],
    split: str = "Test",
    subset: str = "all",
    fractions: Fractions | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open NIH ChestX-ray14.

    Parameters
    ----------
    root : path
        Folder with ``Data_Entry_2017_v2020.csv`` (or ``Data_Entry_2017.csv``), ``BBox_List_2017.csv``, and the images
        anywhere below it, as in ``images_001/images/*.png``. Copies of another size are fine.
    split : str
        With ``train_val_list.txt`` and ``test_list.txt`` beside the tables, "Test" is the official one, and "Train" and
        "Val" part the other list: one patient in eight is "Val". Without the lists all images are "Test".
    subset : {"all", "boxes"}
        "boxes": only the images with boxes.
    fractions : tuple of float, optional
        Shares of the splits instead of the official lists.
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        Multilabel; "No Finding" is an image without labels. An image's findings with boxes ("Infiltrate" there is
        "Infiltration") have annotations of the kind "box".

    Raises
    ------
    FileNotFoundError
        A table is missing, or all images.
    ValueError
        A damaged table; a patient in two splits; no image in the split.

    Warns
    -----
    UserWarning
        Listed images are not there, as when not all archives are unpacked; they are left out.

    References
    ----------
    Wang et al., "ChestX-ray8: Hospital-scale chest X-ray database and benchmarks", CVPR 2017.
    """
    base, split = Path(root), check_split(split)
    if subset not in ("all", "boxes"):
        raise ValueError(f"subset must be 'all' or 'boxes', got {subset!r}")
    entries = next((base / name for name in _ENTRIES if (base / name).is_file()), None)
    if entries is None:
        raise FileNotFoundError(f"{os.fspath(root)!r} has no {_ENTRIES[0]}, the table of NIH ChestX-ray14")
    boxes = _read_boxes(base / _BOXES) if subset == "boxes" or (base / _BOXES).is_file() else {}
    findings, records = _read_entries(entries, base, boxes)
    parts = _official_parts(base, records) if fractions is None else None
    if parts is None:
        chosen = select_split("NIH ChestX-ray14", records, split, fractions)
    else:
        check_patients("NIH ChestX-ray14", parts)
        chosen = parts[split]
    if subset == "boxes":
        chosen = [record for record in chosen if record.annotations]
    if not chosen:
        raise ValueError(f"{os.fspath(root)!r} has no image in {split!r} (subset {subset!r})")
    return XrayDataset("NIH ChestX-ray14", findings, "multilabel", split, chosen, pixel_range)


def _read_boxes(file: Path) -> dict[str, dict[str, list[Box]]]:
    """Boxes by image and finding. The header's one cell "Bbox [x,y,w,h]" holds commas: cells are taken by place."""
    table = read_rows(file, ["Image Index", "Finding Label"])
    boxes: dict[str, dict[str, list[Box]]] = {}
    for line, cells in table.rows:
        image, finding, *numbers = cells[:6]
        if len(numbers) < 4:
            raise table.error(line, "a row is image, finding, x, y, w, h")
        x, y, w, h = (number(table, line, "Bbox [x,y,w,h]", text) for text in numbers)
        if w <= 0 or h <= 0:
            raise table.error(line, f"a box must have a width and a height, got {w:g} x {h:g}")
        boxes.setdefault(image, {}).setdefault(_RENAMED.get(finding, finding), []).append((x, y, w, h))
    return boxes


def _read_entries(file: Path, base: Path, boxes: dict[str, dict[str, list[Box]]]) -> tuple[list[str], list[Record]]:
    """Findings in alphabetical order, and the records whose images are there."""
    table = read_rows(file, ["Image Index", "Finding Labels", "Patient ID"])
    files = index_files([base], IMAGE_SUFFIXES)
    records: dict[str, Record] = {}
    findings: set[str] = set()
    missing = 0
    for line, (image, joined, patient) in table.values("Image Index", "Finding Labels", "Patient ID"):
        labels = tuple(label for label in joined.split("|") if label != _NOTHING)
        if "" in labels or image in records:
            raise table.error(line, f"{image!r} is listed twice" if image in records else "Finding Labels is empty")
        findings.update(labels)
        path = files.get(os.path.splitext(image)[0])
        if path is None:
            missing += 1
            continue
        annotations = {
            finding: Annotation("box", Boxes(_FRAME, tuple(found), path))
            for finding, found in boxes.get(image, {}).items()
        }
        records[image] = Record(identity_below(path, base), path, patient, labels, annotations)
    if not records:
        raise FileNotFoundError(f"none of the {missing} images of {str(file)!r} is below {str(base)!r}")
    if missing:
        warnings.warn(
            f"{missing} of {missing + len(records)} images of {str(file)!r} are not there and left out", stacklevel=4
        )
    return sorted(findings), list(records.values())


def _official_parts(base: Path, records: list[Record]) -> dict[str, list[Record]] | None:
    """Images by split, or None where the official lists are not there."""
    if not all((base / name).is_file() for name in _LISTS.values()):
        return None
    listed: dict[str, list[Record]] = {}
    for split, name in _LISTS.items():
        stems = {os.path.splitext(line)[0] for line in read_lines(base / name)}
        listed[split] = [record for record in records if PurePosixPath(record.identity).stem in stems]
    # The longer list is published as one: seven patients in eight are for training.
    parts = part_by_patient(listed["Train"], (0.875, 0.125, 0.0))
    return {**parts, "Test": listed["Test"]}


NIH = DatasetSpec(
    name="nih",
    summary="NIH ChestX-ray14, with the boxes of eight findings",
    usage="nih:DIR",
    open=open_nih,
    options={
        "subset": '"all", or "boxes": only the images with boxes ("all")',
        "fractions": "shares of Train, Val and Test, by patient, instead of the official lists",
        "pixel_range": "stored values of black and white",
    },
)
