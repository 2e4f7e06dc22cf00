"""QaTa-COV19: X-rays of COVID-19 with masks of the infected regions. Some of its images are in COVID-QU-Ex too."""

from __future__ import annotations

import os
from pathlib import Path

from .base import Annotation, Record, XrayDataset
from .conventions import check_split
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES
from .lists import index_files
from .masks import ImageMask
from .places import identity_below
from .splits import Fractions, refuse_fractions, select_split

__all__ = ["QATA", "open_qata"]

_PARTS = {"Train": "Train Set", "Test": "Test Set"}
_IMAGES, _MASKS = "Images", "Ground-truths"
_LAYOUT = "[Train Set/ or Test Set/]Images/*.png with Ground-truths/mask_*.png"
_CLASS = "COVID-19"


def open_qata(
    root: str | os.PathLike[str],
    split: str = "Test",
    fractions: Fractions | None = None,
    pixel_range: tuple[float, float] | None = None,
) -> XrayDataset:
    """Open QaTa-COV19.

    Parameters
    ----------
    root : path
        Folder with "Images" and "Ground-truths", or with "Train Set" and "Test Set" that hold them.
    split : str
        "Train" or "Test" where there is a folder for each; otherwise all images are "Test" unless ``fractions`` part
        them.
    fractions : tuple of float, optional
        Shares of "Train", "Val" and "Test" of a folder without the two.
    pixel_range : tuple of float, optional
        Stored values of black and white.

    Returns
    -------
    XrayDataset
        Binary, "COVID-19", of positive images alone; the annotation is called "infection" as in COVID-QU-Ex. An image
        without a mask has none.

    Raises
    ------
    FileNotFoundError
        The folder has another layout, or not the split.
    ValueError
        ``fractions`` of a folder with splits, or none for another split of one without.

    References
    ----------
    Degerli et al., "OSegNet: Operational segmentation network for COVID-19 detection using chest X-ray images",
    ICIP 2022.
    """
    base, split = Path(root), check_split(split)
    parted = any((base / name).is_dir() for name in _PARTS.values())
    if parted:
        refuse_fractions("QaTa-COV19", fractions)
    folder = base / _PARTS.get(split, split) if parted else base
    images = index_files([folder / _IMAGES], IMAGE_SUFFIXES)
    if not images:
        raise FileNotFoundError(f"{str(folder)!r} holds no images; QaTa-COV19 is read from {_LAYOUT}")
    masks = index_files([folder / _MASKS], IMAGE_SUFFIXES)
    records = []
    for name, path in images.items():
        mask = masks.get(f"mask_{name}")
        annotations = {"infection": Annotation("pixel", ImageMask(mask))} if mask else {}
        records.append(Record(identity_below(path, base), path, None, (_CLASS,), annotations))
    if not parted:
        records = select_split("QaTa-COV19", records, split, fractions)
    return XrayDataset("QaTa-COV19", [_CLASS], "binary", split, records, pixel_range)


QATA = DatasetSpec(
    name="qata",
    summary="QaTa-COV19, images of COVID-19 with infection masks",
    usage="qata:DIR",
    open=open_qata,
    options={
        "fractions": "shares of Train, Val and Test of a folder without splits",
        "pixel_range": "stored values of black and white",
    },
)
