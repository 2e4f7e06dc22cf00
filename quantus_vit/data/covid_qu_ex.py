"""COVID-QU-Ex as its archive unpacks it: X-rays in three classes, with lung and infection masks where they exist.

Reads files; knows torch, Pillow and the conventions of the data sets. It may not know any model or method.
"""

from __future__ import annotations

import importlib
import os
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch.utils.data import Dataset

from .base import Annotation, Record, XrayDataset
from .conventions import CLASS_NAMES, XraySample, check_split, normalize_image
from .datasets import DatasetSpec
from .images import IMAGE_SUFFIXES, read_grey
from .masks import ImageMask
from .places import printable

__all__ = ["COVID_QU_EX", "KAGGLE_HANDLE", "CovidQuEx", "download_covid_qu_ex"]

KAGGLE_HANDLE = "anasmohammedtahir/covidqu"
"""The data set's name on Kaggle."""

_PARTS = {"lung": "Lung Segmentation Data", "infection": "Infection Segmentation Data"}

_LAYOUT = (
    "{part}/[{part}/]{{Train,Val,Test}}/{{COVID-19,Non-COVID,Normal}}/images/*.png, "
    "and beside images/ where they exist: lung masks/*.png, infection masks/*.png"
)
"""What a folder must look like; the part's own folder may be there once or, as the archive unpacks, twice."""


class CovidQuEx(XrayDataset, Dataset[XraySample]):
    """COVID-QU-Ex: 33,920 chest X-rays of COVID-19, other pneumonia and normal cases with lung masks.

    The set is free on Kaggle (``anasmohammedtahir/covidqu``; some 1.2 GB). Get it with the browser and unpack it, or
    call :func:`download_covid_qu_ex`; then hand over the folder that holds "Lung Segmentation Data" and
    "Infection Segmentation Data". Its "Infection Segmentation Data" are 2,913 COVID-19 X-rays, with as many others,
    that have infection masks too.

    Parameters
    ----------
    root : path
        The folder that holds the two parts, or the folder of the part itself (outer or inner where it is doubled).
    split : str
        "Train", "Val" or "Test", in any case.
    part : str
        "lung" for the whole set, "infection" for the smaller one with infection masks.
    image_size : int
        ``S``, the side in pixels that images and masks are resized to. Images by area-aware bilinear
        interpolation, masks by nearest neighbour, and both to a square: COVID-QU-Ex is square already.
        :meth:`~XrayDataset.grey` and :meth:`~XrayDataset.sample` do not use it.
    pixel_range : tuple of float, optional
        Stored values of black and white; see :func:`quantus_vit.data.images.read_grey`.

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
        self,
        root: str | os.PathLike[str],
        split: str = "Test",
        part: str = "lung",
        image_size: int = 224,
        pixel_range: tuple[float, float] | None = None,
    ) -> None:
        if part not in _PARTS:
            raise ValueError(f"part must be one of {', '.join(map(repr, _PARTS))}, got {part!r}")
        if isinstance(image_size, bool) or not isinstance(image_size, int) or image_size < 1:
            raise ValueError(f"image_size must be a positive number of pixels, got {image_size!r}")
        self.root = Path(root)
        self.part = part
        self.image_size = image_size
        split = check_split(split)
        records = _list_records(_split_folder(self.root, part, split), part, split)
        super().__init__("COVID-QU-Ex", CLASS_NAMES, "multiclass", split, records, pixel_range)

    @property
    def paths(self) -> list[str]:
        """The image file of each item."""
        return [record.path for record in self.records]

    def __getitem__(self, index: int) -> XraySample:
        record = self.records[index]
        image = _resized(self.grey(index), self.image_size, Image.Resampling.BILINEAR)
        return XraySample(
            image=normalize_image(torch.from_numpy(image).float() / 255.0),
            label=self.labels[index],
            lung_mask=self._mask(record, "lung"),
            infection_mask=self._mask(record, "infection"),
            has_lung_mask="lung" in record.annotations,
            has_infection_mask="infection" in record.annotations,
            path=record.path,
        )

    def _mask(self, record: Record, name: str) -> torch.Tensor:
        if name not in record.annotations:
            return torch.zeros(1, self.image_size, self.image_size, dtype=torch.bool)
        mask = record.annotations[name].read().astype(np.float32)
        return torch.from_numpy(_resized(mask, self.image_size, Image.Resampling.NEAREST) > 0)[None]


def read_square(
    path: str | os.PathLike[str], size: int, resample: Image.Resampling = Image.Resampling.BILINEAR
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Read an image file as 8-bit grey values of a square.

    Parameters
    ----------
    path : path
        A file that Pillow reads; colour is turned into luminance, 16-bit values are scaled to 8 bits.
    size : int
        Side of the square in pixels.
    resample : PIL.Image.Resampling
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
    return _resized(read_grey(path), size, resample)


def _resized(
    grey: npt.NDArray[np.float32], size: int, resample: Image.Resampling
) -> np.ndarray[tuple[int, int], np.dtype[np.uint8]]:
    """Bring grey values in [0, 1] to 8 bits and to a square."""
    levels = Image.fromarray(np.rint(grey * np.float32(255.0)).astype(np.uint8))
    return np.array(levels.resize((size, size), resample), dtype=np.uint8)


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


def _list_records(folder: Path, part: str, split: str) -> list[Record]:
    """List the X-rays of a split; the class folders that are there must hold images."""
    records = []
    for name in CLASS_NAMES:
        images = _files_by_stem(folder / name / "images")
        masks = {finding: _files_by_stem(folder / name / f"{finding} masks") for finding in ("lung", "infection")}
        for stem, file in sorted(images.items()):
            annotations = {
                finding: Annotation("pixel", ImageMask(str(files[stem])))
                for finding, files in masks.items()
                if stem in files
            }
            identity = f"{_PARTS[part]}/{split}/{name}/images/{printable(file.name)}"
            records.append(Record(identity, str(file), None, (name,), annotations))
    if not records:
        raise FileNotFoundError(_layout_message(folder, part, "holds no images"))
    return records


def _files_by_stem(folder: Path) -> dict[str, Path]:
    """Image files of a folder by name without suffix; hidden files (such as macOS' "._x.png") are no images."""
    if not folder.is_dir():
        return {}
    return {
        file.stem: file
        for file in sorted(folder.iterdir())
        if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
    }


def _layout_message(folder: Path, part: str, problem: str) -> str:
    return (
        f"{str(folder)!r} {problem}; COVID-QU-Ex is read from {_LAYOUT.format(part=_PARTS[part])}. Images of your own: "
        "folder:DIR with a folder a class, or csv:FILE"
    )


def _open(
    place: str,
    split: str,
    subset: str = "lung",
    image_size: int = 224,
    pixel_range: tuple[float, float] | None = None,
) -> CovidQuEx:
    return CovidQuEx(place, split, part=subset, image_size=image_size, pixel_range=pixel_range)


COVID_QU_EX = DatasetSpec(
    name="covid_qu_ex",
    summary="COVID-QU-Ex as its archive unpacks it; DIR alone means it too",
    usage="covid_qu_ex:DIR",
    open=_open,
    options={
        "subset": '"lung", the whole set, or "infection", the part with infection masks ("lung")',
        "image_size": "side in pixels of the items (224)",
        "pixel_range": "stored values of black and white",
    },
)
