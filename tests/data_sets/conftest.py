"""Files in the formats of X-ray data sets, made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def save_image(path: Path, values: np.ndarray) -> Path:
    """Write an image, with the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)
    return path


def save_dicom(path: Path, values: np.ndarray, photometric: str = "MONOCHROME2", syntax=None, **elements) -> Path:
    """Write an uncompressed DICOM file; further elements by their keyword, None leaves one out."""
    pydicom = pytest.importorskip("pydicom")
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax or ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
    bits = values.dtype.itemsize * 8
    defaults = {
        "SOPClassUID": meta.MediaStorageSOPClassUID, "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "Rows": values.shape[0], "Columns": values.shape[1], "SamplesPerPixel": 3 if values.ndim == 3 else 1,
        "PhotometricInterpretation": photometric, "BitsAllocated": bits, "BitsStored": bits, "HighBit": bits - 1,
        "PixelRepresentation": int(values.dtype.kind == "i"), "PixelData": values.tobytes(),
    }  # fmt: skip
    if values.ndim == 3:
        defaults["PlanarConfiguration"] = 0
    for keyword, value in {**defaults, **elements}.items():
        if value is not None:
            setattr(file, keyword, value)
    if isinstance(elements.get("PixelData"), bytes) or values.dtype.itemsize == 1:
        file["PixelData"].VR = "OB"
    path.parent.mkdir(parents=True, exist_ok=True)
    if int(pydicom.__version__.split(".")[0]) >= 3:
        file.save_as(path, enforce_file_format=True)
    else:
        file.is_little_endian, file.is_implicit_VR = True, False
        file.save_as(path, write_like_original=False)
    return path


@pytest.fixture
def write_image():
    return save_image


@pytest.fixture
def write_dicom():
    return save_dicom
