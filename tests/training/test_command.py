"""``quantus-vit train`` from the outside: exit codes, one-line errors, files."""

from __future__ import annotations

import builtins
import importlib.util
import json
from pathlib import Path

import pytest
import torch
from torch import nn

from quantus_vit.cli import main
from quantus_vit.cli.train import parse_model_kwargs
from quantus_vit.models.checkpoint import load_checkpoint

TINY = ["--model", "vit_tiny_patch16_224", "--model-kwargs", "depth=2", "embed_dim=32", "num_heads=2"]
QUICK = [*TINY, "--image-size", "32", "--epochs", "1", "--batch-size", "6", "--device", "cpu", "--workers", "0"]
needs_lightning = pytest.mark.skipif(
    importlib.util.find_spec("lightning") is None, reason="training needs the extra 'train'"
)


@needs_lightning
def test_trains_on_a_folder(xrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main(["train", "--data", str(xrays), "--weights", "none", *QUICK, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Train 18, Val 6, Test 6 images" in printed
    assert "Val: accuracy" in printed
    assert "Test: accuracy" in printed
    model, config = load_checkpoint(out / "model.safetensors")
    assert (config.architecture, config.image_size) == ("vit_tiny_patch16_224", 32)
    assert config.training["weights"] == "none"
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert json.loads((out / "metrics.json").read_text())["test"]["count"] == 6
    assert {path.name for path in out.iterdir()} == {
        "model.safetensors", "config.json", "metrics.json", "history.csv", "checkpoints"
    }  # fmt: skip


@needs_lightning
def test_trains_on_phantoms(tmp_path: Path) -> None:
    counts = ["--phantom-train", "6", "--phantom-val", "3", "--phantom-test", "3"]
    assert main(["train", "--data", "phantom", "--weights", "none", *QUICK, *counts, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["val"]["count"] == 3


@needs_lightning
def test_starts_from_a_file(xrays: Path, tmp_path: Path, model: nn.Module) -> None:
    torch.save(model.state_dict(), tmp_path / "start.pth")
    recipe = ["--lr", "1e-12", "--weight-decay", "0"]
    arguments = ["--data", str(xrays), "--weights", str(tmp_path / "start.pth"), *QUICK, *recipe]
    assert main(["train", *arguments, "--out", str(tmp_path / "out")]) == 0
    loaded, _ = load_checkpoint(tmp_path / "out" / "model.safetensors")
    for name, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[name], value, rtol=0, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "{tmp}/nowhere"], "nowhere"),
        (["--weights", "{tmp}/none.pth"], "none.pth"),
        (["--weights", "{tmp}/damaged.pth"], "damaged.pth"),
        (["--model", "vit_bass"], "vit_bass"),
        (["--model-kwargs", "depth"], "KEY=VALUE"),
        (["--model-kwargs", "surprise=1"], "surprise"),
        (["--model-kwargs", "num_classes=4"], "num_classes"),
        (["--epochs", "0"], "epochs must be positive, got 0"),
        (["--image-size", "0"], "--image-size must be at least 1, got 0"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--resume"], "last.ckpt"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
@needs_lightning
def test_user_errors_are_one_line_and_exit_code_2(
    xrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    (tmp_path / "damaged.pth").write_bytes(b"damaged")
    given = [argument.format(tmp=tmp_path) for argument in arguments]
    base = ["train", "--data", str(xrays), "--weights", "none", *QUICK, "--out", str(tmp_path / "out")]
    assert main([*base, *given]) == 2
    error = capsys.readouterr().err.strip()
    assert error.startswith("quantus-vit: error: ")
    assert message in error
    assert "\n" not in error


@pytest.mark.parametrize(
    "arguments", [[], ["bake"], ["train"], ["train", "--data", "x", "--out", "y", "--epochs", "many"]]
)
def test_wrong_usage_exits_with_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    assert "usage: quantus-vit" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["train", "--help"]])
def test_help_exits_with_0(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    assert "quantus-vit" in capsys.readouterr().out


def test_help_shows_the_papers_recipe(capsys: pytest.CaptureFixture[str]) -> None:
    main(["train", "--help"])
    text = " ".join(capsys.readouterr().out.split())
    for default in ("vit_base_patch16_224", "default: pretrained", "default: 10", "default: 32", "default: 0.0001"):
        assert default in text
    assert "None" not in text


def test_without_lightning_says_what_to_install(
    xrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec", lambda name, *rest: None if name == "lightning" else find(name, *rest)
    )
    assert main(["train", "--data", str(xrays), "--weights", "none", *QUICK, "--out", str(tmp_path / "out")]) == 2
    assert "pip install 'quantus-vit[train]'" in capsys.readouterr().err


def test_help_imports_no_lightning(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *rest: object, **more: object) -> object:
        assert name.split(".")[0] != "lightning"
        return real(name, *rest, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(builtins, "__import__", refuse)
    assert main(["train", "--help"]) == 0


def test_model_kwargs_are_literals_or_text() -> None:
    items = ["depth=4", "class_token=False", "global_pool=avg", "drop_rate=0.1", "x=a=b"]
    assert parse_model_kwargs(items) == {
        "depth": 4, "class_token": False, "global_pool": "avg", "drop_rate": 0.1, "x": "a=b"
    }  # fmt: skip
