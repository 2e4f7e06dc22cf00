"""The command line on a user's own images and models: options of the data, findings, binary and multilabel models."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from quantus_vit.cli import main
from quantus_vit.data import open_data
from quantus_vit.models import load_model

from .toys import read_rows

MODELS = """
import timm, torch
from quantus_vit import Classifier
from quantus_vit.data import Preprocessing

def make(names, task):
    torch.manual_seed(0)
    sizes = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8, "img_size": 32}
    model = timm.create_model("vit_tiny_patch16_224", num_classes=len(names), **sizes)
    torch.nn.init.normal_(model.head.weight)
    return Classifier(model, names, Preprocessing(size=(32, 32), resize="pad"), task=task)

def binary():
    return make(("Nodule",), "binary")

def multilabel():
    return make(("Nodule", "Edema"), "multilabel")
"""


@pytest.fixture
def models(tmp_path) -> Path:
    path = tmp_path / "models.py"
    path.write_text(MODELS)
    return path


@pytest.fixture
def films(tmp_path) -> str:
    """Twelve-bit films of two findings: one with a mask, one with boxes."""
    generator = np.random.default_rng(0)
    with open(tmp_path / "films.csv", "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path", "Nodule", "Edema", "patient", "mask:Nodule", "box:Edema"])
        for number, (nodule, edema) in enumerate([(1, 0), (0, 1), (1, 1), (0, 0)]):
            pixels = generator.integers(0, 4096, (40, 32)).astype(np.uint16)
            Image.fromarray(pixels).save(tmp_path / f"film{number}.png")
            mask = np.zeros((40, 32), np.uint8)
            mask[5:20, 5:20] = 255
            Image.fromarray(mask).save(tmp_path / f"mask{number}.png")
            rows.writerow(
                [f"film{number}.png", nodule, edema, f"p{number}", f"mask{number}.png" if nodule else "",
                 "4 4 12 12; 20 20 10 10" if edema else ""]
            )  # fmt: skip
    return f"csv:{tmp_path / 'films.csv'}"


def compare(*arguments: str) -> int:
    return main(["compare", *arguments, "--methods", "TransformerLRP", "Random", "--quiet", "--device", "cpu"])


def test_each_finding_is_a_case_with_its_own_mask(tmp_path, models, films) -> None:
    out = tmp_path / "out"
    metrics = ["--metrics", "Sparseness", "PointingGame"]
    assert compare("--data", films, "--model", f"{models}:multilabel", "--out", str(out), *metrics) == 0
    scores = [row[:2] for row in read_rows(out / "scores.csv")[1:] if row[4:6] == ["Random", "Sparseness"]]
    assert sorted(scores) == [
        ["film0.png", "Nodule"], ["film1.png", "Edema"], ["film2.png", "Edema"], ["film2.png", "Nodule"]
    ]  # fmt: skip
    header, *table = read_rows(out / "table1.csv")
    kinds = {row[header.index("metric")]: row[header.index("mask_kind")] for row in table}
    assert kinds == {"Sparseness": "", "PointingGame[mask=Nodule]": "pixel", "PointingGame[mask=Edema]": "box"}
    header, *by_class = read_rows(out / "by_class.csv")
    assert {row[header.index("label")] for row in by_class} == {"Nodule", "Edema"}


def test_options_of_the_data_reach_it_and_are_settings(tmp_path, models, films, capsys) -> None:
    out = tmp_path / "out"
    arguments = ["--data", films, "--model", f"{models}:binary", "--out", str(out), "--metrics", "Sparseness"]
    arguments += ["--findings", "Nodule", "--data-options", "findings=Nodule"]
    assert compare(*arguments, "pixel_range=(0, 65535)") == 0
    settings = json.loads((out / "config.json").read_text())["protocol"]
    assert settings["data_options"] == ["findings='Nodule'", "pixel_range=(0, 65535)"]
    classifier = load_model(f"{models}:binary")
    data = open_data(films, findings="Nodule", pixel_range=(0, 65535))
    with torch.no_grad():
        image = data.sample(0, classifier.preprocessing).image[None]
        expected = torch.sigmoid(classifier.module(image)).item()
    (row,) = [row for row in read_rows(out / "predictions.csv")[1:] if row[0] == "film0.png"]
    assert float(row[4]) == pytest.approx(expected, abs=1e-3)
    capsys.readouterr()
    assert compare(*arguments, "pixel_range=(0, 4095)") == 2
    error = capsys.readouterr().err
    assert "holds scores of other settings" in error
    assert "data_options" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data-options", "pixel_rang=(0, 1)"], "have no option 'pixel_rang'; their options: root, findings"),
        (
            ["--data-options", "pixel_range=5"],
            "pixel_range must be the stored values of black and white, two different numbers, got 5",
        ),
        (["--data-options", "pixel_range"], "--data-options takes KEY=VALUE, got 'pixel_range'"),
        (["--data-options", "split=Val"], "--data-options cannot set split; --split does"),
        (["--data-options", "root=a", "root=b"], "--data-options sets root twice"),
        (["--data-options", "subset=a", "--subset", "b"], "--subset and --data-options both set the subset"),
        (["--data-options", "findings=Nodule,Oedema"], "has no column 'Oedema' of a finding"),
        (["--data-options", "findings=Nodule", "--classes", "=Nodul"], "the data have no class 'Nodul'"),
        (["--metrics", "PointingGame", "--data-options", "findings=Edema"], "--classes Nodule=DATA"),
    ],
)
def test_what_the_options_refuse(tmp_path, models, films, capsys, options, message) -> None:
    out = tmp_path / "out"
    assert compare("--data", films, "--model", f"{models}:binary", "--out", str(out), *options) == 2
    assert message in capsys.readouterr().err
    assert not out.exists()


def test_explain_takes_the_pixel_range_of_films(tmp_path, models, films, capsys) -> None:
    grey = np.full((40, 32), 300, np.uint16)
    grey[10:30, 8:24] = 700
    film = tmp_path / "film.png"
    Image.fromarray(grey).save(film)
    said = []
    for number, pixels in enumerate([(0, 1023), (0, 65535), (700, 300)]):
        given = ["--pixel-range", *map(str, pixels), "--out", str(tmp_path / f"{number}.png")]
        assert main(["explain", str(film), "--model", f"{models}:binary", "--device", "cpu", *given]) == 0
        classifier = load_model(f"{models}:binary")
        values = ((grey.astype(np.float64) - pixels[0]) / (pixels[1] - pixels[0])).clip(0, 1).astype(np.float32)
        with torch.no_grad():
            probability = torch.sigmoid(classifier.module(classifier.preprocessing.image(values)[None])).item()
        said.append(capsys.readouterr().out)
        verdict = (
            f"Nodule (prob. {probability:.2f})" if probability > 0.5 else f"no Nodule (prob. {1 - probability:.2f})"
        )
        assert said[-1].startswith(f"predicted {verdict}; TransformerLRP for Nodule (prob. {probability:.2f})")
    assert len(set(said)) == 3
    given = ["--pixel-range", "5", "5", "--out", str(tmp_path / "no.png")]
    assert main(["explain", str(film), "--model", f"{models}:binary", *given]) == 2
    assert "pixel_range must be the stored values of black and white" in capsys.readouterr().err


def test_explain_names_every_finding_that_a_multilabel_model_sees(tmp_path, models, films, capsys) -> None:
    film = str(tmp_path / "film0.png")
    for bias, verdict in [(50.0, "Nodule (prob. 1.00), Edema (prob. 1.00)"), (-50.0, "none")]:
        lines = ["def biased():", "    made = multilabel()", f"    made.module.head.bias.data.fill_({bias})"]
        models.write_text("\n".join([MODELS, *lines, "    return made"]))
        given = ["--model", f"{models}:biased", "--device", "cpu", "--out", str(tmp_path / "out.png")]
        assert main(["explain", film, *given]) == 0
        assert capsys.readouterr().out.startswith(f"predicted {verdict}; TransformerLRP for ")


def test_explain_reads_dicom(tmp_path, models, capsys) -> None:
    pytest.importorskip("pydicom")
    from pydicom.data import get_testdata_file

    film = get_testdata_file("CT_small.dcm")
    out = tmp_path / "ct.png"
    assert main(["explain", str(film), "--model", f"{models}:binary", "--out", str(out), "--device", "cpu"]) == 0
    assert "Nodule" in capsys.readouterr().out
    assert out.stat().st_size > 0
