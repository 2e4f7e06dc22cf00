"""Volumes of NIfTI files. Knows NumPy; nibabel (the extra ``nifti``) is imported when the first file is read."""

from __future__ import annotations

import importlib
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["Volume", "is_volume", "read_volume"]

_SUFFIXES = (".nii", ".nii.gz")


@dataclass(frozen=True)
class Volume:
    """A volume and where it lies.

    Parameters
    ----------
    values : numpy.ndarray
        float32 ``(D, H, W)`` as stored: ``values[k, j, i]`` is the voxel ``(i, j, k)`` of the file.
    affine : numpy.ndarray
        ``(4, 4)``: from voxels of the file to mm (RAS+).
    code : int
        What the header says of the affine: 0 where the place is unknown, 1 for the scanner's.
    """

    values: npt.NDArray[np.float32]
    affine: npt.NDArray[np.float64]
    code: int

    def grey(self, pixel_range: tuple[float, float] | None = None) -> npt.NDArray[np.float32]:
        """The values from black 0 to white 1, clipped.

        Parameters
        ----------
        pixel_range : tuple of float, optional
            Stored values of black and white; None: the smallest and the largest.

        Raises
        ------
        ValueError
            All values are the same, and nothing says what is black.
        """
        black, white = pixel_range or (float(self.values.min()), float(self.values.max()))
        if black == white:
            raise ValueError(f"all voxels have the value {black:g}; --pixel-range says what is black and white")
        return np.asarray(((self.values - black) / (white - black)).clip(0, 1), dtype=np.float32)


def is_volume(path: str) -> bool:
    """Whether a file's name is that of a NIfTI file."""
    return path.lower().endswith(_SUFFIXES)


def read_volume(path: str) -> Volume:
    """Read a volume.

    Raises
    ------
    ImportError
        nibabel is not installed.
    FileNotFoundError
        There is no such file.
    ValueError
        It is no NIfTI file, damaged, or holds no single volume of finite numbers.
    """
    try:
        nibabel = importlib.import_module("nibabel")
    except ImportError:
        raise ImportError("NIfTI files are read by nibabel: pip install 'quantus-vit[nifti]'") from None
    try:
        image = nibabel.load(path)
        values = image.get_fdata(dtype=np.float32)
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path!r}") from None
    except Exception as error:  # nibabel raises many kinds on damaged files
        raise ValueError(f"cannot read {path!r} as a NIfTI file: {error}") from error
    if values.ndim == 4 and values.shape[3] == 1:
        values = values[..., 0]
    if values.ndim != 3:
        raise ValueError(f"{path!r} holds an array of shape {values.shape}; a volume has three dimensions")
    if not np.isfinite(values).all():
        raise ValueError(f"{path!r} has voxels that are no finite numbers")
    code = max(int(image.header["qform_code"]), int(image.header["sform_code"]))
    return Volume(np.ascontiguousarray(values.transpose(2, 1, 0)), np.asarray(image.affine, dtype=np.float64), code)
