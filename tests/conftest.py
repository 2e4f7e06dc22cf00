"""What all tests share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.checkpoint import ModelConfig, build_model


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """Reference data that lies beside the checkout on the developers' machines; no test needs it elsewhere."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip("the developers' reference data is not here")
    return path


@pytest.fixture
def config() -> ModelConfig:
    """A ViT small enough to train in a test."""
    return ModelConfig(
        "vit_tiny_patch16_224",
        {"depth": 2, "embed_dim": 32, "num_heads": 2},
        preprocessing=Preprocessing(size=(32, 32)),
    )


@pytest.fixture
def model(config: ModelConfig) -> nn.Module:
    """The model of ``config``, untrained."""
    torch.manual_seed(0)
    return build_model(config)


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
def write_dicom():
    return save_dicom
