"""A tiny model that crops, films of several sizes, and DICOM files whose patient is marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from quantus_vit.cli import main

MODELS = """
import timm, torch
from quantus_vit import Classifier
from quantus_vit.data import Preprocessing

def make(resize):
    torch.manual_seed(0)
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": 32}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=2, **sizes)
    torch.nn.init.normal_(model.head.weight)
    return Classifier(model, ("Nodule", "Edema"), Preprocessing(size=(32, 32), resize=resize))

def cropping():
    return make("crop")

def squashing():
    return make("squash")
"""
MARK = "XQZMARK"
"""Stands in whatever tells the patient of a DICOM file."""


def explain(*words: object) -> int:
    """Run the command on the CPU."""
    return main(["explain", *map(str, words), "--device", "cpu"])


@pytest.fixture(scope="session")
def model_file(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("models") / "models.py"
    path.write_text(MODELS)
    return path


@pytest.fixture
def films(tmp_path) -> Path:
    """Three films in two folders, one of them damaged."""
    folder = tmp_path / "films"
    (folder / "later").mkdir(parents=True)
    (folder / "masks").mkdir()
    generator = np.random.default_rng(0)
    for name, shape in (("a.png", (40, 64)), ("later/c.png", (48, 32)), ("masks/a.png", (40, 64))):
        Image.fromarray(generator.integers(0, 255, shape, dtype=np.uint8)).save(folder / name)
    (folder / "b.png").write_bytes(b"no image at all")
    return folder


@pytest.fixture
def marked_dicom(tmp_path, write_dicom) -> Path:
    """A chest film whose every private word, its place included, holds a mark."""
    pydicom = pytest.importorskip("pydicom")
    values = np.random.default_rng(1).integers(0, 4095, (48, 60)).astype(np.uint16)
    return write_dicom(
        tmp_path / f"folder-{MARK}" / f"{MARK}.dcm", values, BitsStored=12, HighBit=11, WindowCenter="2048",
        WindowWidth="4096", Modality="DX", SOPClassUID=pydicom.uid.DigitalXRayImageStorageForPresentation,
        StudyInstanceUID=pydicom.uid.generate_uid(), SeriesInstanceUID=pydicom.uid.generate_uid(),
        SpecificCharacterSet="ISO_IR 100", PatientName=f"Müller{MARK}^Jürgen", PatientID=f"ID{MARK}",
        PatientBirthDate="19330102", PatientSex="M", AccessionNumber=f"A{MARK}", StudyID=f"S{MARK}",
        StudyDate="20210304", StudyTime="101112", ReferringPhysicianName=f"Doc{MARK}", BodyPartExamined="CHEST",
        ImagerPixelSpacing=[0.15, 0.2], PatientOrientation=["L", "F"], ImageType=["DERIVED", "PRIMARY"],
    )  # fmt: skip
