"""Files of a map's numbers: float32 TIFF, and NIfTI for volumes and whoever works with them.

Knows Pillow; nibabel (the extra ``nifti``) is imported when the first NIfTI file is written.
"""

from __future__ import annotations

import gzip
import importlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from ..files import write_whole

__all__ = ["save_nifti", "save_tiff"]

_DESCRIPTION = 270
_LONGEST_NOTE = 79


def save_tiff(
    path: str | os.PathLike[str], relevance: npt.ArrayLike, description: Mapping[str, Any] | None = None
) -> None:
    """Write a map as TIFF of floating-point values.

    Parameters
    ----------
    path : path
    relevance : array_like
        ``(h, w)``, written as float32: the values themselves, nan where there are none. Nothing is scaled.
    description : mapping, optional
        What the map is; becomes JSON in the tag ImageDescription.

    Raises
    ------
    ValueError
        Another number of axes.
    """
    values = np.asarray(relevance, dtype=np.float32)
    if values.ndim != 2:
        raise ValueError(f"a TIFF holds a map (h, w), got the shape {values.shape}; save_nifti takes volumes")
    tags = TiffImagePlugin.ImageFileDirectory_v2()
    tags[_DESCRIPTION] = json.dumps(dict(description or {}))
    image = Image.fromarray(values)
    write_whole(
        Path(path), lambda file: image.save(file, format="TIFF", tiffinfo=tags, compression="tiff_adobe_deflate")
    )


def save_nifti(
    path: str | os.PathLike[str],
    relevance: npt.ArrayLike,
    affine: npt.ArrayLike | None = None,
    note: str = "",
    code: int = 1,
) -> None:
    """Write a map as a NIfTI file.

    Parameters
    ----------
    path : path
        Ends with .nii, or .nii.gz to be compressed.
    relevance : array_like or torch.Tensor
        ``(h, w)``, or a volume ``(D, H, W)``. NIfTI counts the other way round: voxel ``(i, j, k)`` of the file is
        ``relevance[k, j, i]``.
    affine : array_like, optional
        ``(4, 4)``: from voxels of the file to mm in the patient, to the right, to the front and up (RAS+). Without it
        the file has the identity, and says (``qform_code`` and ``sform_code`` 0) that this is no place in a patient.
    note : str
        Its header's description, cut after 79 bytes.
    code : int
        ``qform_code`` and ``sform_code`` of an affine: 1 for the scanner's coordinates, 0 for an unknown place, or
        another of the format's.

    Raises
    ------
    ImportError
        nibabel is not installed.
    ValueError
        Another shape, another end of the name.
    """
    try:
        nibabel = importlib.import_module("nibabel")
    except ImportError:
        raise ImportError("NIfTI files are written by nibabel: pip install 'quantus-vit[nifti]'") from None
    place, values = Path(path), np.asarray(relevance, dtype=np.float32)
    if values.ndim not in (2, 3):
        raise ValueError(f"a NIfTI file takes a map (h, w) or a volume (D, H, W), got the shape {values.shape}")
    if not place.name.lower().endswith((".nii", ".nii.gz")):
        raise ValueError(f"a NIfTI file ends with .nii or .nii.gz, got {place.name!r}")
    known = affine is not None
    matrix = np.eye(4) if affine is None else np.asarray(affine, dtype=np.float64)
    if matrix.shape != (4, 4):
        raise ValueError(f"affine must be (4, 4), got {matrix.shape}")
    volume = (values if values.ndim == 3 else values[None]).transpose(2, 1, 0)
    image = nibabel.Nifti1Image(np.ascontiguousarray(volume), matrix)
    image.set_sform(matrix, code=code if known else 0)
    image.set_qform(matrix, code=code if known else 0)
    if known:
        image.header.set_xyzt_units("mm")
    image.header["descrip"] = note.encode("ascii", errors="replace")[:_LONGEST_NOTE]
    content = image.to_bytes()
    if place.name.lower().endswith(".gz"):
        content = gzip.compress(content, mtime=0)
    write_whole(place, lambda file: file.write(content))
