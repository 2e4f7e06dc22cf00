"""CheXlocalize: radiologists' segmentations of ten findings on CheXpert's validation and test images."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .lists import read_json, read_rows
from .masks import CocoRuns, Polygons, decode_counts
from .places import identity_below

__all__ = ["CHEXLOCALIZE", "open_chexlocalize"]

_RENAMED = {"Airspace Opacity": "Lung Opacity"}
"""What CheXpert calls a finding of CheXlocalize."""

_LABEL_TABLES = {"val": ("valid.csv", "val_labels.csv"), "test": ("test.csv", "test_labels.csv")}
_NOT_FINDINGS = ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", "No Finding")
_FILES = {"segmentations": "gt_segmentations_{}.json", "polygons": "gt_annotations_{}.json"}


def open_chexlocalize(
    root: str | os.PathLike[str],
    split: str = "Test",
    annotations: str | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open CheXlocalize.

    Parameters
    ----------
    root : path
        Folder with ``gt_segmentations_{val,test}.json`` or ``gt_annotations_{val,test}.json`` (in it or in its
        "CheXlocalize"), the images ``CheXpert/{val,test}/patient*/study*/view*.jpg``, and where it is there CheXpert's
        table of labels (``valid.csv``, ``val_labels.csv``, ``test.csv`` or ``test_labels.csv``, in it or in its
        "CheXpert").
    split : str
        "Val" or "Test".
    annotations : {"segmentations", "polygons"}, optional
        Which of the two files is read; by default the segmentations where they are there.
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        Multilabel. With a table of labels its images and findings ("No Finding" is an image without labels); without,
        the annotated images and the ten findings, one that is marked being a label. "Airspace Opacity" goes by
        CheXpert's name, "Lung Opacity". Findings that are marked have annotations.

    Raises
    ------
    FileNotFoundError
        The split's files are missing.
    ValueError
        "Train", or a damaged file.

    References
    ----------
    Saporta et al., "Benchmarking saliency methods for chest X-ray interpretation", Nature Machine Intelligence 4, 2022.
    """
    base, split = Path(root), check_split(split)
    if split == "Train":
        raise ValueError("CheXlocalize has no 'Train'; it marks CheXpert's 'Val' and 'Test'")
    part = split.lower()
    if annotations is not None and annotations not in _FILES:
        raise ValueError(f"annotations must be one of {', '.join(map(repr, _FILES))}, got {annotations!r}")
    kinds = [annotations] if annotations else list(_FILES)
    wanted = [_FILES[kind].format(part) for kind in kinds]
    file = _first_file([base, base / "CheXlocalize"], wanted)
    if file is None:
        raise FileNotFoundError(f"{os.fspath(root)!r} has no {' and no '.join(wanted)}, which CheXlocalize consists of")
    content = read_json(file)
    if not content:
        raise ValueError(f"{str(file)!r} marks no images")
    marked = {name: _annotations(name, tasks, str(file)) for name, tasks in content.items()}
    labels = _first_file([base, base / "CheXpert"], _LABEL_TABLES[part])
    if labels is None:
        findings = sorted({_RENAMED.get(task, task) for tasks in content.values() for task in tasks} - {"img_size"})
        positive = {name: tuple(found) for name, found in marked.items()}
    else:
        findings, positive = _read_labels(labels)
    if not findings:
        raise ValueError(f"{str(labels or file)!r} names no finding")
    records = []
    for name in sorted(positive.keys() | marked.keys()):
        path = base / "CheXpert" / part / _place(name, str(file))
        found = tuple(finding for finding in findings if finding in positive.get(name, tuple(marked.get(name, ()))))
        patient = name.split("_")[0]
        records.append(Record(identity_below(path, base), str(path), patient, found, marked.get(name, {})))
    return XrayDataset("CheXlocalize", findings, "multilabel", split, records, pixel_range)


def _first_file(folders: list[Path], names: list[str] | tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names for folder in folders if (folder / name).is_file()), None)


def _place(name: str, source: str) -> str:
    """Place of an image: ``patient64541_study1_view1_frontal`` is ``patient64541/study1/view1_frontal.jpg``."""
    parts = name.split("_", 2)
    if len(parts) < 3 or not parts[0].startswith("patient"):
        raise ValueError(f"{source!r} names the image {name!r}; names are like 'patient64541_study1_view1_frontal'")
    return "/".join(parts) + ".jpg"


def _annotations(name: str, tasks: Any, source: str) -> dict[str, Annotation]:
    """Annotations of one image: of the findings whose mask is not empty."""
    if not isinstance(tasks, dict):
        raise ValueError(f"{source!r} must hold an object for {name!r}, got {json.dumps(tasks)[:60]}")
    found: dict[str, Annotation] = {}
    for task, value in tasks.items():
        if task == "img_size":
            continue
        try:
            read = _runs(value, source) if isinstance(value, dict) else _outlines(value, tasks["img_size"])
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{source!r} has a damaged {task!r} of {name!r}: {error}") from error
        if read is not None:
            found[_RENAMED.get(task, str(task))] = Annotation("pixel", read)
    return found


def _runs(value: dict[str, Any], source: str) -> CocoRuns | None:
    height, width = (int(side) for side in value["size"])
    counts = value["counts"]
    if not isinstance(counts, str):
        counts = tuple(int(length) for length in counts)
    # An empty mask is one run of all its pixels: some six characters.
    if len(counts) < 12 and not sum(decode_counts(counts, source)[1::2]):
        return None
    return CocoRuns((height, width), counts, source)


def _outlines(value: Any, size: Any) -> Polygons | None:
    height, width = (int(side) for side in size)
    if not 0 < height * width <= 2**28:
        raise ValueError(f"an image of {width} x {height} pixels")
    outlines = tuple(tuple((float(x), float(y)) for x, y in outline) for outline in value)
    return Polygons((height, width), outlines) if any(outlines) else None


def _read_labels(file: Path) -> tuple[list[str], dict[str, tuple[str, ...]]]:
    """Findings of CheXpert's table, and those that are 1 for each image."""
    table = read_rows(file, ["Path"])
    findings = [name for name in table.columns if name and name not in _NOT_FINDINGS]
    positive = {}
    places = [table.columns.index(name) for name in findings]
    for (_, (path,)), (_, cells) in zip(table.values("Path"), table.rows, strict=True):
        name = os.path.splitext("_".join(path.split("/")[-3:]))[0]
        positive[name] = tuple(
            finding for finding, place in zip(findings, places, strict=True) if cells[place] in ("1", "1.0")
        )
    return findings, positive


CHEXLOCALIZE = DatasetSpec(
    name="chexlocalize",
    summary="CheXlocalize: ten findings segmented on CheXpert's validation and test images",
    usage="chexlocalize:DIR",
    open=open_chexlocalize,
    options={
        "annotations": '"segmentations" or "polygons"',
        "pixel_range": "stored values of black and white",
    },
)
