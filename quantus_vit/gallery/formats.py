"""The open table of formats that ``explain`` writes. Knows the writers of the pictures' package, and no model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..data.dicom import is_dicom
from ..pictures.dicom import SeriesBook, parametric_map, read_source, save_dataset, secondary_capture, segmentation
from ..pictures.dicom.frames import has_place, pixel_spacing
from ..pictures.explanation import RESEARCH_ONLY, Explanation
from ..pictures.numbers import save_nifti, save_tiff
from ..pictures.overlay import draw_overlay
from ..tables import Table

__all__ = ["DICOM_MAPS", "FORMATS", "FormatOptions", "PictureFormat", "format_of_name"]

DICOM_MAPS = ("parametric", "segmentation", "none")
"""What is written beside the overlay in DICOM: all values, the region above a threshold, or nothing."""


@dataclass(frozen=True)
class FormatOptions:
    """Choices of some formats.

    Parameters
    ----------
    dicom_map : str
        One of :data:`DICOM_MAPS`.
    threshold : float
        In (0, 1]: share of a map's largest value from which on a pixel belongs to a segmentation.
    series : SeriesBook
        New series of this run's DICOM files.
    """

    dicom_map: str = "parametric"
    threshold: float = 0.5
    series: SeriesBook = field(default_factory=SeriesBook)

    def __post_init__(self) -> None:
        if self.dicom_map not in DICOM_MAPS:
            raise ValueError(f"dicom_map must be one of {', '.join(DICOM_MAPS)}, got {self.dicom_map!r}")
        if not 0 < self.threshold <= 1:
            raise ValueError(f"threshold must be a share in (0, 1] of a map's largest value, got {self.threshold!r}")


@dataclass(frozen=True)
class PictureFormat:
    """A format of files.

    Parameters
    ----------
    name : str
        As ``--format`` takes it.
    summary : str
        One line for the help.
    suffix : str
        End of the names of its files.
    write : callable
        ``write(explanation, path, options)`` writes ``path``, and maybe files beside it, and returns all of them.
    suffixes : tuple of str
        Ends of a file's name by which the format is known; those of ``suffix`` and others.
    check : callable, optional
        Raises a ValueError for an image's file that the format cannot go with, before anything is computed.
    """

    name: str
    summary: str
    suffix: str
    write: Callable[[Explanation, Path, FormatOptions], list[Path]]
    suffixes: tuple[str, ...]
    check: Callable[[str], object] | None = None


def _write_figure(explanation: Explanation, path: Path, options: FormatOptions) -> list[Path]:
    draw_overlay(explanation).save(path)
    return [path]


def _write_tiff(explanation: Explanation, path: Path, options: FormatOptions) -> list[Path]:
    save_tiff(path, explanation.relevance, explanation.to_dict())
    return [path]


def _write_nifti(explanation: Explanation, path: Path, options: FormatOptions) -> list[Path]:
    affine = affine_of(explanation.source) if is_dicom(explanation.source) else None
    save_nifti(path, explanation.without_gaps, affine, f"{explanation.method}. {RESEARCH_ONLY}")
    return [path]


def affine_of(path: str) -> npt.NDArray[np.float64] | None:
    """From columns and rows of a DICOM file's image to mm in the patient (RAS+); None where it does not say."""
    source = read_source(path)
    spacing = pixel_spacing(source)
    if spacing is None or not has_place(source):
        return None
    direction = np.asarray(source.header.ImageOrientationPatient, dtype=np.float64).reshape(2, 3)
    rows, columns = (float(value) for value in spacing)
    thickness: Any = source.get("SliceThickness")
    affine = np.eye(4)
    affine[:3, 0] = direction[0] * columns
    affine[:3, 1] = direction[1] * rows
    affine[:3, 2] = np.cross(*direction) * float(thickness or 1.0)
    affine[:3, 3] = np.asarray(source.header.ImagePositionPatient, dtype=np.float64)
    affine[:2] *= -1  # DICOM counts to the left and to the back
    return affine


def _write_dicom(explanation: Explanation, path: Path, options: FormatOptions) -> list[Path]:
    source = read_source(explanation.source)
    written = [(path, secondary_capture(explanation, source, options.series))]
    beside = path.with_name(f"{path.stem}-{options.dicom_map}{path.suffix}")
    if options.dicom_map == "parametric":
        written.append((beside, parametric_map(explanation, source, options.series)))
    elif options.dicom_map == "segmentation":
        written.append((beside, segmentation(explanation, source, options.series, options.threshold)))
    for place, dataset in written:
        save_dataset(dataset, place)
    return [place for place, _ in written]


def _check_dicom(path: str) -> None:
    if not is_dicom(path):
        raise ValueError(f"the format dicom takes patient and study from a DICOM image, and {path!r} is none")
    read_source(path)


FORMATS: Table[PictureFormat] = Table("format", PictureFormat)
"""All formats; open to others by ``FORMATS.add``."""


def _figure(name: str, summary: str, *suffixes: str) -> PictureFormat:
    return PictureFormat(name, summary, suffixes[0], _write_figure, suffixes)


FORMATS.add(_figure("png", "the overlay as a picture", ".png"))
FORMATS.add(_figure("pdf", "the overlay for print, its text as text", ".pdf"))
FORMATS.add(_figure("svg", "the overlay for the web, its text as text", ".svg"))
FORMATS.add(_figure("jpeg", "the overlay as a picture, with losses", ".jpg", ".jpeg"))
FORMATS.add(
    PictureFormat(
        "tiff", "the map as float32 values, a value a pixel of the image", ".tif", _write_tiff, (".tif", ".tiff")
    )
)
FORMATS.add(PictureFormat("nifti", "the map as a volume of one slice", ".nii.gz", _write_nifti, (".nii", ".nii.gz")))
FORMATS.add(
    PictureFormat(
        "dicom",
        "the overlay as a Secondary Capture, the map as --dicom-map says",
        ".dcm",
        _write_dicom,
        (".dcm",),
        _check_dicom,
    )
)


def format_of_name(name: str) -> PictureFormat | None:
    """The format that the end of a file's name says; None where it says none."""
    for entry in FORMATS:
        if name.lower().endswith(entry.suffixes):
            return entry
    return None
