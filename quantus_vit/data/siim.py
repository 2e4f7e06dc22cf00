"""SIIM-ACR pneumothorax segmentation: run lengths that count from the end of the last run, down the columns."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES
from .lists import index_files, read_rows
from .masks import RelativeRuns
from .places import identity_below
from .splits import Fractions, select_split

__all__ = ["SIIM", "open_siim"]

_TABLES = ("train-rle.csv", "stage_2_train.csv")
_FINDING = "Pneumothorax"
_FRAME = (1024, 1024)
_EMPTY = "-1"


def open_siim(
    root: str | os.PathLike[str],
    split: str = "Test",
    fractions: Fractions | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open the training images of SIIM-ACR, the ones with masks.

    Parameters
    ----------
    root : path
        Folder with ``train-rle.csv`` (or ``stage_2_train.csv``) and the images ``<ImageId>.dcm`` anywhere below it;
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
        Binary, "Pneumothorax"; the masks of an image's rows are united. Images without one have no annotation.

    Raises
    ------
    FileNotFoundError
        The table is missing, or all images.
    ValueError
        A damaged table, or an image that has a mask and "-1"; on access, run lengths that leave the image.

    Warns
    -----
    UserWarning
        Listed images are not there; some copies of the archive lack a few. They are left out.
    """
    base = Path(root)
    table = next((base / name for name in _TABLES if (base / name).is_file()), None)
    if table is None:
        raise FileNotFoundError(f"{os.fspath(root)!r} has no {_TABLES[0]}, the table of SIIM-ACR")
    rows = _read_runs(table)
    files = index_files([base], IMAGE_SUFFIXES)
    records = []
    for image, runs in rows.items():
        path = files.get(image)
        if path is None:
            continue
        read = RelativeRuns(_FRAME, tuple(runs), f"{table.name}: {image}")
        annotations = {_FINDING: Annotation("pixel", read)} if runs else {}
        records.append(Record(identity_below(path, base), path, None, (_FINDING,) if runs else (), annotations))
    if not records:
        raise FileNotFoundError(f"none of the {len(rows)} images of {str(table)!r} is below {os.fspath(root)!r}")
    if len(records) < len(rows):
        missing = len(rows) - len(records)
        warnings.warn(f"{missing} of {len(rows)} images of {str(table)!r} are not there and left out", stacklevel=3)
    chosen = select_split("SIIM-ACR", records, split, fractions)
    return XrayDataset("SIIM-ACR pneumothorax", [_FINDING], "binary", check_split(split), chosen, pixel_range)


def _read_runs(file: Path) -> dict[str, list[str]]:
    """Run lengths of each image, one string a region; none where the table has "-1"."""
    table = read_rows(file, ["ImageId", "EncodedPixels"])
    runs: dict[str, list[str]] = {}
    empty: set[str] = set()
    for line, (image, encoded) in table.values("ImageId", "EncodedPixels"):
        if not encoded:
            raise table.error(line, f"EncodedPixels of {image!r} is empty; without a pneumothorax it is -1")
        found = runs.setdefault(image, [])
        if encoded == _EMPTY:
            empty.add(image)
        elif encoded not in found:
            found.append(encoded)
        if found and image in empty:
            raise table.error(line, f"the image {image!r} has a mask and -1")
    if not runs:
        raise ValueError(f"{str(file)!r} lists no images")
    return runs


SIIM = DatasetSpec(
    name="siim",
    summary="SIIM-ACR pneumothorax segmentation",
    usage="siim:DIR",
    open=open_siim,
    options={
        "fractions": "shares of Train, Val and Test",
        "pixel_range": "stored values of black and white",
    },
)
