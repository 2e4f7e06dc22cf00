"""``quantus-vit train`` from the outside: exit codes, one-line errors, files."""

from __future__ import annotations

import builtins
import importlib.util
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from quantus_vit.cli import main
from quantus_vit.cli.data_options import parse_items
from quantus_vit.models import load_model
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
    assert (config.architecture, config.preprocessing.size) == ("vit_tiny_patch16_224", (32, 32))
    assert config.training["weights"] == "none"
    assert model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)
    assert json.loads((out / "metrics.json").read_text())["test"]["count"] == 6
    assert {path.name for path in out.iterdir()} == {
        ".lock", "model.safetensors", "config.json", "metrics.json", "history.csv", "checkpoints"
    }  # fmt: skip


@needs_lightning
def test_trains_on_phantoms(tmp_path: Path) -> None:
    counts = ["--phantom-train", "6", "--phantom-val", "3", "--phantom-test", "3"]
    assert main(["train", "--data", "phantom", "--weights", "none", *QUICK, *counts, "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "metrics.json").read_text())["val"]["count"] == 3


@needs_lightning
@pytest.mark.parametrize(("data", "kept"), [("phantom", True), ("phantom_films", False)])
def test_only_what_is_drawn_is_kept_in_memory_by_itself(
    data: str, kept: bool, xrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def stop(*_: Any, cached: bool, **__: Any) -> None:
        seen.append(cached)
        raise ValueError("seen enough")

    monkeypatch.setattr("quantus_vit.training.transforms.LabelledImages", stop)
    monkeypatch.chdir(tmp_path)
    Path("phantom_films").symlink_to(xrays)
    assert main(["train", "--data", data, "--weights", "none", *QUICK, "--out", "out"]) == 2
    assert seen == [kept]


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
        (["--model-kwargs", "checkpoint_path=evil.pt"], "cannot set 'checkpoint_path'"),
        (["--data-options", "surprise=1"], "no option 'surprise'"),
        (["--model-kwargs", "num_classes=4"], "num_classes"),
        (["--epochs", "0"], "epochs must be positive, got 0"),
        (["--image-size", "33"], "does not take images of 33 x 33 pixels"),
        (["--image-size", "0"], "--image-size must be at least 1, got 0"),
        (["--threads", "0"], "--threads must be at least 1, got 0"),
        (["--resume"], "last.ckpt"),
        (["--out", ""], "--out is empty; name a folder for the results"),
        (["--out", "{tmp}/damaged.pth"], "damaged.pth' is a file; name a folder for the results"),
        (["--out", "{tmp}/damaged.pth/below"], "damaged.pth' is a file; name a folder for the results"),
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


@needs_lightning
def test_an_earlier_model_is_kept(xrays: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    base = ["train", "--data", str(xrays), "--weights", "none", *QUICK, "--out", str(tmp_path / "out")]
    assert main(base) == 0
    assert main(base) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main([*base, "--resume"]) == 0
    assert main([*base, "--overwrite"]) == 0


@needs_lightning
@pytest.mark.usefixtures("interruptible")
def test_interrupt_says_how_to_go_on(
    xrays: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from quantus_vit.training.module import FineTuning

    step, handler = FineTuning.training_step, signal.getsignal(signal.SIGINT)

    def interrupted(self: FineTuning, batch: Any, batch_idx: int) -> torch.Tensor:
        if self.current_epoch == stop_at:
            signal.raise_signal(signal.SIGINT)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(FineTuning, "training_step", interrupted)
    base = ["train", "--data", str(xrays), "--weights", "none", *QUICK, "--epochs", "3", "--out", str(tmp_path / "out")]
    stop_at = 0
    assert main(base) == 130
    assert "before the first epoch was complete" in last_line(capsys)
    stop_at = 1
    assert main([*base, "--overwrite"]) == 130
    assert last_line(capsys) == (
        "quantus-vit: interrupted; the same command with --resume goes on after the last complete epoch"
    )
    assert signal.getsignal(signal.SIGINT) == handler
    stop_at = -1
    assert main([*base, "--resume"]) == 0
    assert len((tmp_path / "out" / "history.csv").read_text().splitlines()) == 4


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C is heard: a shell's background jobs inherit a handler that ignores it."""
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, inherited)


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    return capsys.readouterr().err.strip().splitlines()[-1]


MULTILABEL = """
import numpy as np
from quantus_vit.data import Record, XrayDataset

class Mine(XrayDataset):
    def __init__(self, split, patients=1):
        labels = [(), ("a",), ("b",), ("a", "b")]
        records = [Record(f"{split}/{i}", "drawn", str(i % patients), labels[i % 4]) for i in range(8)]
        super().__init__("mine", ("a", "b"), "multilabel", split, records)

    def grey(self, index):
        return np.full((40, 30), index / 8, dtype=np.float32)
"""


@needs_lightning
def test_trains_on_findings_of_the_users_own_data(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.py").write_text(MULTILABEL)
    arguments = ["--data", f"{tmp_path / 'mine.py'}:Mine", "--data-options", "patients=2", "--resize", "pad"]
    assert main(["train", *arguments, "--weights", "none", *QUICK, "--out", str(tmp_path / "out")]) == 0
    printed = capsys.readouterr().out
    assert "warning: 2 patients have images both in Train and in Val" in printed
    loaded = load_model(tmp_path / "out" / "model.safetensors")
    assert (loaded.task, loaded.class_names) == ("multilabel", ("a", "b"))
    assert loaded.preprocessing.resize == "pad"
    assert loaded.preprocessing.mean == (0.5, 0.5, 0.5)  # timm's for this model
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["training"]["monitor"] == "auroc"


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
    assert parse_items("--model-kwargs", items) == {
        "depth": 4, "class_token": False, "global_pool": "avg", "drop_rate": 0.1, "x": "a=b"
    }  # fmt: skip
