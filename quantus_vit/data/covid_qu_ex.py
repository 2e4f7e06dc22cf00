"""COVID-QU-Ex as its archive unpacks it: X-rays in three classes, with lung and infection masks where they exist.

Reads files; knows torch, Pillow and the conventions of the data sets. It may not know any model or method.
"""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from torch.utils.data import Dataset

from .conventions import CLASS_NAMES, XraySample, check_split, normalize_image

__all__ = ["KAGGLE_HANDLE", "CovidQuEx", "download_covid_qu_ex"]

KAGGLE_HANDLE = "anasmohammedtahir/covidqu"
"""The data set's name on Kaggle."""

_PARTS = {"lung": "Lung Segmentation Data", "infection": "Infection Segmentation Data"}
_IMAGE_SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff"}

_LAYOUT = (
    "{part}/[{part}/]{{Train,Val,Test}}/{{COVID-19,Non-COVID,Normal}}/images/*.png, "
    "and beside images/ where they exist: lung masks/*.png, infection masks/*.png"
)
"""What a folder must look like; the part's own folder may be there once or, as the archive unpacks, twice."""


@dataclass(frozen=True)
class _Record:
    """The files of one X-ray."""

    image: Path
    label: int
    lung_mask: Path | None
    infection_mask: Path | None


class CovidQuEx(Dataset[XraySample]):
    """COVID-QU-Ex: 33,920 chest X-rays of COVID-19, other pneumonia and normal cases with lung masks.

    The set is free on Kaggle (``anasmohammedtahir/covidqu``; some 1.2 GB). Get it with the browser and unpack it, or
    call :func:`download_covid_qu_ex`; then hand over the folder that holds "Lung Segmentation Data" and
    "Infection Segmentation Data". Its "Infection Segmentation Data" are 2,913 COVID-19 X-rays, with as many others,
    that have infection masks too.

    Parameters
    ----------
    root
        The folder that holds the two parts, or the folder of the part itself (outer or inner where it is doubled).
    split
        "Train", "Val" or "Test", in any case.
    part
        "lung" for the whole set, "infection" for the smaller one with infection masks.
    image_size
        ``S``, the side in pixels that images and masks are resized to. Images by area-aware bilinear
        interpolation, masks by nearest neighbour, and both to a square: COVID-QU-Ex is square already.

    Raises
    ------
    FileNotFoundError
        If the folder is missing, or does not hold the layout; the message shows the layout.
    ValueError
        If ``split`` or ``part`` is unknown or ``image_size`` is not positive; on access, if an image or mask cannot
        be read; the message names the file.

    Notes
    -----
    Files are listed once, sorted by class and then by name, so an index means the same X-ray on every machine.
    A mask that is missing is all False, with the item's ``has_lung_mask`` or ``has_infection_mask`` False.

    References
    ----------
    Tahir et al., "COVID-19 infection localization and severity grading from chest X-ray images", Computers in
    Biology and Medicine 139, 2021.

    Examples
    --------
    >>> test = CovidQuEx("COVID-QU-Ex", split="Test")  # doctest: +SKIP
    >>> test[0]["image"].shape  # doctest: +SKIP
    torch.Size([3, 224, 224])
    """

    class_names: tuple[str, ...] = CLASS_NAMES

    def __init__(
        self, root: str | os.PathLike[str], split: str = "Test", part: str = "lung", image_size: int = 224
    ) -> None:
        if part not in _PARTS:
            raise ValueError(f"part must be one of {', '.join(map(repr, _PARTS))}, got {part!r}")
        if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
            raise ValueError(f"image_size must be a positive number of pixels, got {image_size!r}")
        self.root = Path(root)
        self.split = check_split(split)
        self.part = part
        self.image_size = image_size
        self._records = _list_records(_split_folder(self.root, part, self.split), part)

    @property
    def labels(self) -> list[int]:
        """The label of each item, without loading an image."""
        return [record.label for record in self._records]

    @property
    def paths(self) -> list[str]:
        """The image file of each item."""
        return [str(record.image) for record in self._records]

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> XraySample:
        record = self._records[index]
        image = read_gray(record.image, self.image_size)
        return XraySample(
            image=normalize_image(torch.from_numpy(image).float() / 255.0),
            label=record.label,
            lung_mask=self._mask(record.lung_mask),
            infection_mask=self._mask(record.infection_mask),
            has_lung_mask=record.lung_mask is not None,
            has_infection_mask=record.infection_mask is not None,
            path=str(record.image),
        )

    def _mask(self, path: Path | None) -> torch.Tensor:
        if path is None:
            return torch.zeros(1, self.image_size, self.image_size, dtype=torch.bool)
        # Masks are 0 and 255, but some files went through a lossy format: half of the range parts them safely.
        return torch.from_numpy(read_gray(path, self.image_size, Image.Resampling.NEAREST) >= 128)[None]


def read_gray(
    path: str | os.PathLike[str], size: int, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Read an image file as 8-bit grey values of a square.

    Parameters
    ----------
    path
        A file that Pillow reads; colour is turned into luminance, 16-bit values are scaled to 8 bits.
    size
        Side of the square in pixels.
    resample
        Pillow's interpolation.

    Returns
    -------
    numpy.ndarray
        uint8 ``(size, size)``.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file cannot be read as an image; the message names it.
    """
    try:
        with Image.open(path) as image:
            gray = _to_8_bit(image).resize((size, size), resample)
    except FileNotFoundError:
        raise FileNotFoundError(f"no image file {os.fspath(path)!r}") from None
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"cannot read {os.fspath(path)!r} as an image, it may be damaged: {error}") from error
    return np.array(gray, dtype=np.uint8)


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Grey 8-bit version of an image; Pillow's own conversion of 16-bit values clips them at 255."""
    if image.mode.startswith("I"):
        return Image.fromarray((np.asarray(image, dtype=np.float64) / 257.0).clip(0, 255).astype(np.uint8))
    return image.convert("L")


def download_covid_qu_ex() -> Path:
    """Download COVID-QU-Ex from Kaggle with the ``kagglehub`` package, or find the copy that is there already.

    Returns
    -------
    pathlib.Path
        The folder to give to :class:`CovidQuEx` as ``root``, inside kagglehub's own cache.

    Raises
    ------
    ImportError
        If ``kagglehub`` is not installed.

    Notes
    -----
    Takes some 1.2 GB, and a network. Kaggle may ask for an account; see kagglehub's documentation on credentials.
    """
    try:
        kagglehub = importlib.import_module("kagglehub")
    except ImportError:
        raise ImportError(
            "downloading COVID-QU-Ex needs kagglehub (pip install kagglehub); or get the archive from "
            f"https://www.kaggle.com/datasets/{KAGGLE_HANDLE} and unpack it"
        ) from None
    return Path(kagglehub.dataset_download(KAGGLE_HANDLE))


def _split_folder(root: Path, part: str, split: str) -> Path:
    """Find the split's folder below the root, the part's folder being there twice, once or not at all."""
    name = _PARTS[part]
    other = next(folder for key, folder in _PARTS.items() if key != part)
    # The root may be the part's folder itself; then it must not be the other part's.
    candidates = [root / name / name, root / name]
    if root.name != other:
        candidates.append(root)
    for base in candidates:
        folder = _child_ignoring_case(base, split)
        if folder is not None:
            return folder
    raise FileNotFoundError(_layout_message(root, part, f"has no {split!r} split" if root.is_dir() else "is no folder"))


def _child_ignoring_case(folder: Path, name: str) -> Path | None:
    if not folder.is_dir():
        return None
    return next(
        (child for child in sorted(folder.iterdir()) if child.name.lower() == name.lower() and child.is_dir()), None
    )


def _list_records(split: Path, part: str) -> list[_Record]:
    """List the X-rays of a split; the class folders that are there must hold images."""
    records = []
    for label, name in enumerate(CLASS_NAMES):
        images, lungs, infections = (
            _files_by_stem(split / name / folder) for folder in ("images", "lung masks", "infection masks")
        )
        records += [_Record(images[stem], label, lungs.get(stem), infections.get(stem)) for stem in sorted(images)]
    if not records:
        raise FileNotFoundError(_layout_message(split, part, "holds no images"))
    return records


def _files_by_stem(folder: Path) -> dict[str, Path]:
    """Image files of a folder by name without suffix; hidden files (such as macOS' "._x.png") are no images."""
    if not folder.is_dir():
        return {}
    return {
        file.stem: file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in _IMAGE_SUFFIXES and not file.name.startswith(".")
    }


def _layout_message(folder: Path, part: str, problem: str) -> str:
    return f"{str(folder)!r} {problem}; COVID-QU-Ex is read from {_LAYOUT.format(part=_PARTS[part])}"
