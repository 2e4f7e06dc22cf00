"""The two subcommands through the dispatcher, on a tiny random ViT and small phantoms."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from quantus_vit import assets
from quantus_vit.cli import main
from quantus_vit.cli.compare import _Words
from quantus_vit.data.preprocessing import Preprocessing
from quantus_vit.models.checkpoint import ModelConfig, build_model, save_checkpoint

from .toys import read_rows

KWARGS = {"embed_dim": 24, "depth": 2, "num_heads": 2, "patch_size": 8}


def make_checkpoint(path: Path, **config) -> Path:
    torch.manual_seed(0)
    settings = ModelConfig("vit_tiny_patch16_224", KWARGS, **({"preprocessing": Preprocessing(size=(32, 32))} | config))
    return save_checkpoint(path, build_model(settings), settings)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory) -> str:
    return str(make_checkpoint(tmp_path_factory.mktemp("model") / "model.safetensors"))


@pytest.fixture
def xray(tmp_path) -> str:
    path = tmp_path / "some x-ray (1).png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 50), dtype=np.uint8)).save(path)
    return str(path)


def fails(capsys, *arguments: str) -> str:
    """The one line that the command says when it refuses."""
    assert main(list(arguments)) == 2
    error = capsys.readouterr().err.strip()
    assert "Traceback" not in error
    assert error.startswith("quantus-vit: error: ")
    return error


def test_compare_on_phantoms_with_lrp_lime_and_random(tmp_path, checkpoint, capsys) -> None:
    pytest.importorskip("lime")
    arguments = ["compare", "--checkpoint", checkpoint, "--samples", "3", "--lime-samples", "16", "--tie-breaks", "2"]
    arguments += ["--out", str(tmp_path), "--device", "cpu", "--baselines", "0.0", "black", "--quiet"]
    assert main(arguments) == 0
    said = capsys.readouterr().out
    assert "3 images, 16 perturbed images for LimeCXR (the paper has 87 X-rays" in said
    assert "3 images: 1 COVID-19, 1 Non-COVID, 1 Normal." in said
    rows = read_rows(tmp_path / "table1.csv")
    assert len(rows) == 1 + 2 * 3
    for method, metric, mean, *_ in rows[1:]:
        assert any(method in line and metric in line and f"{float(mean):.3f}" in line for line in said.splitlines())
    assert (tmp_path / "figure4.png").exists()
    assert main(arguments) == 0
    assert read_rows(tmp_path / "table1.csv") == rows
    error = fails(capsys, *arguments, "--softmax")
    assert "holds scores of other settings" in error
    assert "softmax: True here, False there" in error


def test_lower_precision_changes_lime_alone(tmp_path, checkpoint) -> None:
    pytest.importorskip("lime")
    maps = {}
    for precision in ("float32", "bfloat16"):
        out = tmp_path / precision
        common = ["compare", "--checkpoint", checkpoint, "--samples", "1", "--lime-samples", "16", "--quiet"]
        assert main([*common, "--out", str(out), "--precision", precision, "--device", "cpu"]) == 0
        maps[precision] = {
            method: np.load(next((out / "maps" / method).glob("*class0.npz")))["relevance"]
            for method in ("TransformerLRP", "LimeCXR")
        }
    np.testing.assert_array_equal(maps["float32"]["TransformerLRP"], maps["bfloat16"]["TransformerLRP"])
    assert (maps["float32"]["LimeCXR"] != maps["bfloat16"]["LimeCXR"]).any()


def test_a_termination_leaves_tables_and_the_handler_of_before(tmp_path, checkpoint, capsys, monkeypatch) -> None:
    from quantus_vit.comparison import runner

    before, score_maps, calls = signal.getsignal(signal.SIGTERM), runner.score_maps, []

    def terminated(*arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return score_maps(*arguments)

    monkeypatch.setattr(runner, "score_maps", terminated)
    arguments = ["compare", "--checkpoint", checkpoint, "--samples", "3", "--methods", "Random", "--out", str(tmp_path)]
    assert main([*arguments, "--device", "cpu", "--quiet"]) == 130
    assert read_rows(tmp_path / "table1.csv")[1][6] == "2"
    assert signal.getsignal(signal.SIGTERM) is before
    capsys.readouterr()
    assert main([*arguments, "--device", "cpu", "--quiet", "--report-only"]) == 0
    assert main([*arguments, "--device", "cpu", "--quiet"]) == 0
    assert read_rows(tmp_path / "table1.csv")[1][6] == "3"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "/nowhere"], "--data /nowhere needs --checkpoint FILE"),
        (["--checkpoint", "/nowhere.safetensors"], "/nowhere.safetensors"),
        (["--samples", "0"], "samples must be a whole number of at least 1, got 0"),
        (["--methods", "TransformerLPR"], "unknown method 'TransformerLPR'; known are TransformerLRP"),
        (["--metrics", "Faith"], "unknown metric 'Faith'"),
        (["--baselines", "grey"], "a baseline is a number"),
        (["--features-in-step", "7"], "features_in_step must divide the image's 32x32 pixels, got 7"),
        (["--device", "tpu"], "no device 'tpu' here"),
        (["--device", "mps"], "no device 'mps' here"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--split", "Validation"], "split must be one of 'Train', 'Val', 'Test'"),
    ],
)
def test_compare_says_what_is_wrong(tmp_path, checkpoint, capsys, arguments, message) -> None:
    if "--checkpoint" not in arguments and "--data" not in arguments:
        arguments = ["--checkpoint", checkpoint, *arguments]
    assert message in fails(capsys, "compare", "--out", str(tmp_path / "out"), *arguments)


def test_compare_refuses_a_folder_that_holds_no_data(tmp_path, checkpoint, capsys) -> None:
    arguments = ["--data", str(tmp_path), "--checkpoint", checkpoint, "--out", str(tmp_path / "out")]
    assert main(["compare", *arguments]) == 2
    assert "images/*.png" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"class_names": ("cat", "dog")}, "the model's classes are cat, dog; the data sets have COVID-19"),
        (
            {"preprocessing": Preprocessing((32, 32), mean=(0.5,) * 3)},
            "images normalised by mean (0.5, 0.5, 0.5)",
        ),
    ],
)
def test_compare_refuses_a_model_of_other_images(tmp_path, capsys, config, message) -> None:
    path = make_checkpoint(tmp_path / "model.safetensors", **config)
    assert message in fails(capsys, "compare", "--checkpoint", str(path), "--out", str(tmp_path / "out"))


def test_a_missing_shipped_model_is_named(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(assets, "__file__", str(tmp_path / "assets" / "__init__.py"))
    with pytest.raises(FileNotFoundError, match=r"lacks the shipped model .*phantom_vit\.safetensors"):
        assets.phantom_checkpoint_path()


@pytest.mark.parametrize("method", ["TransformerLRP", "AttnLRP", "Random"])
def test_explain_writes_a_picture_and_says_the_prediction(tmp_path, checkpoint, xray, capsys, method) -> None:
    out = tmp_path / "out.png"
    assert main(["explain", xray, "--checkpoint", checkpoint, "--method", method, "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert said.startswith("predicted ")
    assert f"{method} for " in said
    with Image.open(out) as picture:
        assert picture.size[0] > 1000
        colours = np.asarray(picture.convert("RGB")).astype(int)
    assert (np.ptp(colours, axis=-1) > 60).sum() > 1000


def test_explain_takes_a_class_by_name_or_index(tmp_path, checkpoint, xray, capsys) -> None:
    said = []
    for target in ("non-covid", "1"):
        arguments = ["explain", xray, "--checkpoint", checkpoint, "--out", str(tmp_path / "o.png"), "--target", target]
        assert main(arguments) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    assert "TransformerLRP for Non-COVID" in said[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image": "/nowhere.png"}, "no image file '/nowhere.png'"),
        ({"image": "CHECKPOINT"}, "as an image"),
        ({"--checkpoint": "/nowhere.safetensors"}, "/nowhere.safetensors"),
        ({"--checkpoint": "IMAGE"}, "some x-ray (1).png"),
        ({"--method": "GradCAM"}, "unknown method 'GradCAM'; known are TransformerLRP"),
        (
            {"--target": "tuberculosis"},
            "unknown target 'tuberculosis'; the model's classes are 0 COVID-19, 1 Non-COVID",
        ),
        ({"--target": "3"}, "unknown target '3'"),
        ({"--out": "/nowhere/out.png"}, "no folder '/nowhere'"),
        ({"--out": "out.xyz"}, "--out must end with one of"),
    ],
)
def test_explain_says_what_is_wrong(tmp_path, checkpoint, xray, capsys, changes, message) -> None:
    places = {"CHECKPOINT": checkpoint, "IMAGE": xray}
    options = {"image": xray, "--checkpoint": checkpoint, "--out": str(tmp_path / "out.png")}
    options |= {name: places.get(value, value) for name, value in changes.items()}
    image = options.pop("image")
    assert message in fails(capsys, "explain", image, *(word for pair in options.items() for word in pair))


def test_defaults_in_the_help_read_like_the_command_line(capsys) -> None:
    assert main(["compare", "--help"]) == 0
    help_text = " ".join(capsys.readouterr().out.split())
    assert "(default: TransformerLRP LimeCXR Random)" in help_text
    assert str(_Words(["a", "b"])) == "a b"
