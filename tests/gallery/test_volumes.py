"""The command on volumes: NIfTI in, NIfTI of the same place out, and what it refuses."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
import torch

import quantus_vit
from quantus_vit.models import load_model

from .conftest import explain

nibabel = pytest.importorskip("nibabel", reason="needs nibabel: pip install nibabel")

MODEL = """
import torch
from torch import nn
from quantus_vit import Classifier
from quantus_vit.data import Preprocessing

class Volumes(nn.Module):
    def __init__(self):
        super().__init__()
        self.patches, self.head = nn.Conv3d(1, 6, 2, stride=2), nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.patches(x).relu().flatten(2).mean(2))

class Several(Volumes):
    def forward(self, x):
        return super().forward(x), [x]

def several():
    return Classifier(Several(), ("clear", "lesion"), Preprocessing((8, 6), mean=(0.5,), std=(0.25,), channels=1))

def make():
    torch.manual_seed(0)
    return Classifier(Volumes(), ("clear", "lesion"), Preprocessing((8, 6), mean=(0.5,), std=(0.25,), channels=1))

def double():
    classifier = make()
    classifier.module.double()
    return classifier
"""
SHAPE = (4, 8, 6)
AFFINE = np.array([[0.0, -2.0, 0.0, 10.0], [1.5, 0.0, 0.0, -20.0], [0.0, 0.0, 3.0, 5.0], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture
def model(tmp_path) -> str:
    (tmp_path / "volume_model.py").write_text(MODEL)
    return f"{tmp_path / 'volume_model.py'}:make"


def write_volume(path: Path, values: np.ndarray, affine: np.ndarray | None = AFFINE, code: int = 1) -> Path:
    """Values ``(D, H, W)``, as the file has them the other way round."""
    path.parent.mkdir(exist_ok=True)
    image = nibabel.Nifti1Image(values.T, affine)
    image.set_sform(image.affine, code=code)
    image.set_qform(image.affine, code=code)
    nibabel.save(image, path)
    return path


def values_of(number: int = 0) -> np.ndarray:
    return np.random.default_rng(number).integers(-1000, 400, SHAPE).astype(np.int16)


@pytest.mark.parametrize("code", [0, 1, 4])
def test_a_map_lies_over_its_volume(tmp_path, model, code) -> None:
    stored = values_of()
    source = write_volume(tmp_path / "scan.nii.gz", stored, code=code)
    ranged = ["--pixel-range", "-1000", "1000"]
    out = tmp_path / "map.nii.gz"
    assert explain(source, "--model", model, "--method", "AttnLRP", "--target", "lesion", "--out", out, *ranged) == 0
    written, read = nibabel.load(out), nibabel.load(source)
    assert written.shape == SHAPE[::-1]
    np.testing.assert_allclose(written.affine, read.affine)
    assert int(written.header["sform_code"]) == code
    module = load_model(model).module
    grey = torch.tensor((stored.astype(np.float32) + 1000) / 2000)
    expected = quantus_vit.AttnLRP(module).attribute(((grey - 0.5) / 0.25)[None, None], 1).sum(1)[0].detach()
    np.testing.assert_allclose(written.get_fdata().T, expected, rtol=1e-4, atol=1e-6)


def test_volumes_of_one_name_are_told_apart_and_a_damaged_one_does_not_stop_the_others(tmp_path, model, capsys) -> None:
    places = [write_volume(tmp_path / name / "scan.nii.gz", values_of(n)) for n, name in enumerate(("a", "b"))]
    (tmp_path / "b" / "wrong.nii").write_bytes(b"no volume")
    write_volume(tmp_path / "b" / "large.nii", np.zeros((4, 9, 6), dtype=np.int16))
    out = tmp_path / "out"
    assert explain(tmp_path / "a", tmp_path / "b", "--model", model, "--method", "AttnLRP", "--out", out) == 2
    said = capsys.readouterr().err
    assert "2 of 4 images could not be explained" in said
    assert "slices of the volume have 9 x 6 voxels, the model takes 8 x 6" in said
    with open(out / "explain.csv", newline="", encoding="utf-8") as file:
        rows = {row["image"]: row for row in csv.DictReader(file)}
    assert {name: row["source"] for name, row in rows.items() if name.startswith("scan")} == {
        "scan": str(places[0]), "scan-2": str(places[1]),
    }  # fmt: skip
    assert "as a NIfTI file" in rows["wrong"]["error"]
    assert sorted(path.name for path in out.iterdir()) == [
        "explain.csv", "scan-2-AttnLRP.nii.gz", "scan-AttnLRP.nii.gz",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--format", "png"], "maps of volumes are written as NIfTI, --format nifti, not as png"),
        (["--method", "SobelEdges"], "SobelEdges explains images alone"),
        (["film.png"], "scan is a volume, and film an image"),
    ],
)
def test_what_does_not_go_with_volumes_is_refused(tmp_path, model, capsys, monkeypatch, words, message) -> None:
    monkeypatch.chdir(tmp_path)
    write_volume(tmp_path / "scan.nii", values_of())
    images = ["scan.nii", *(word for word in words if word.endswith(".png"))]
    options = [word for word in words if not word.endswith(".png")]
    method = [] if "--method" in options else ["--method", "AttnLRP"]
    assert explain(*images, "--model", model, *method, *options, "--out", "out") == 2
    said = capsys.readouterr().err
    assert message in said
    assert len(said.strip().splitlines()) == 1


def test_a_model_of_images_refuses_volumes(tmp_path, model_file, capsys) -> None:
    source = write_volume(tmp_path / "scan.nii", values_of())
    model = f"{model_file}:squashing"
    assert explain(source, "--model", model, "--method", "AttnLRP", "--out", tmp_path / "out") == 2
    assert "the files are volumes, and the model takes images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(SHAPE, dtype=np.int16), "all voxels have the value 0"),
        (np.full(SHAPE, np.nan, dtype=np.float32), "has voxels that are no finite numbers"),
        (np.zeros((2, *SHAPE), dtype=np.int16), "holds an array of shape (6, 8, 4, 2); a volume has three dimensions"),
    ],
)
def test_volumes_that_cannot_be_explained_say_why(tmp_path, model, capsys, values, message) -> None:
    source = write_volume(tmp_path / "scan.nii", values)
    assert explain(source, "--model", model, "--method", "AttnLRP", "--out", tmp_path / "m.nii.gz") == 2
    assert message in capsys.readouterr().err


def test_a_models_first_output_is_explained_where_it_has_several(tmp_path, model, capsys) -> None:
    """As MONAI's ViT returns the logits beside its hidden states."""
    volume = write_volume(tmp_path / "scans" / "one.nii.gz", values_of())
    out = tmp_path / "map.nii.gz"
    assert explain(str(volume), "--model", model.replace(":make", ":several"), "--method", "AttnLRP", "--out", str(out),
                   "--pixel-range", "-1000", "400") == 0  # fmt: skip
    assert nibabel.load(out).shape == (6, 8, 4)


def test_a_model_of_double_precision_gets_volumes_of_it(tmp_path, model) -> None:
    volume, maps = write_volume(tmp_path / "scan.nii.gz", values_of()), []
    for name in ("make", "double"):
        out = tmp_path / f"{name}.nii.gz"
        assert explain(volume, "--model", model.replace(":make", f":{name}"), "--method", "AttnLRP", "--out", out) == 0
        maps.append(nibabel.load(out).get_fdata())
    single, double = maps
    assert np.abs(double).max() > 0
    np.testing.assert_allclose(single, double, rtol=0, atol=1e-4 * np.abs(double).max())
