"""Fine-tuning with Lightning: the step, the schedule, whole runs, and resuming."""

from __future__ import annotations

import csv
import itertools
import json
import warnings
from pathlib import Path

import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="training needs the extra 'train'")

from quantus_vit.data import CLASS_NAMES, CovidQuEx
from quantus_vit.models.checkpoint import ModelConfig, build_model, load_checkpoint
from quantus_vit.training.fit import fit
from quantus_vit.training.metrics import evaluate
from quantus_vit.training.module import FineTuning, rate_factor
from quantus_vit.training.settings import TrainingSettings
from quantus_vit.training.transforms import LabelledImages


def splits(root: Path, augmented: bool = False) -> dict[str, LabelledImages]:
    return {
        name: LabelledImages(CovidQuEx(root, name, image_size=32), augmented=augmented and name == "Train", cached=True)
        for name in ("Train", "Val", "Test")
    }


def history(out: Path) -> list[dict[str, str]]:
    with (out / "history.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_learns_what_brightness_tells(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    out = tmp_path / "out"
    settings = TrainingSettings(
        epochs=8, batch_size=6, lr=3e-3, head_lr=3e-3, patience=0, schedule="cosine", warmup=0.1
    )
    results = fit(model, config, splits(xrays, augmented=True), settings, out, device="cpu")
    assert results["Test"].accuracy == 1.0
    assert len(history(out)) == 8
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["test"]["confusion"] == [[2, 0, 0], [0, 2, 0], [0, 0, 2]]
    assert set(metrics["val"]["recall"]) == set(CLASS_NAMES)


def test_the_best_epoch_is_what_is_written(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    out = tmp_path / "out"
    # So high a rate makes the accuracy jump about, so the best epoch is rarely the last one.
    settings = TrainingSettings(epochs=6, batch_size=6, lr=3e-2, patience=0)
    results = fit(model, config, splits(xrays), settings, out, device="cpu")
    best = max(float(row["val_accuracy"]) for row in history(out))
    assert results["Val"].accuracy == pytest.approx(best, abs=1e-4)
    loaded, read = load_checkpoint(out / "model.safetensors")
    data = splits(xrays)["Val"]
    batch = [(torch.stack([data[i][0] for i in range(6)]), torch.tensor(data.labels))]
    assert evaluate(loaded, batch, CLASS_NAMES) == results["Val"]
    assert read == ModelConfig.from_json((out / "config.json").read_text())
    assert read.training["lr"] == 3e-2
    assert read.training["val_accuracy"] == results["Val"].accuracy


def test_stops_early(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    # With a rate this small no logit moves enough to change an answer: epoch 1 stays the best.
    settings = TrainingSettings(epochs=9, batch_size=6, lr=1e-12, patience=2)
    fit(model, config, splits(xrays), settings, tmp_path, device="cpu")
    assert len(history(tmp_path)) == 3


def test_resumes_after_the_last_epoch(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    data = splits(xrays)
    fit(model, config, data, TrainingSettings(epochs=1, batch_size=6, patience=0), tmp_path, device="cpu")
    first = history(tmp_path)
    settings = TrainingSettings(epochs=3, batch_size=6, patience=0)
    fit(build_model(config), config, data, settings, tmp_path, device="cpu", resume=True)
    rows = history(tmp_path)
    assert [row["epoch"] for row in rows] == ["1", "2", "3"]
    assert rows[0] == first[0]


def test_nothing_to_resume(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    with pytest.raises(FileNotFoundError, match=r"last\.ckpt"):
        fit(model, config, splits(xrays), TrainingSettings(), tmp_path / "none", resume=True)


def test_same_seed_same_model(xrays: Path, tmp_path: Path, config: ModelConfig) -> None:
    logits = []
    for name in ("one", "two"):
        torch.manual_seed(0)
        model = build_model(config)
        settings = TrainingSettings(epochs=1, batch_size=6, seed=5)
        fit(model, config, splits(xrays, augmented=True), settings, tmp_path / name, device="cpu")
        with torch.no_grad():
            logits.append(model.eval()(torch.ones(1, 3, 32, 32)))
    assert torch.equal(*logits)


def test_prints_no_warnings_and_no_adverts(
    xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig, capfd: pytest.CaptureFixture[str]
) -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit(model, config, splits(xrays), TrainingSettings(epochs=1), tmp_path, device="cpu")
    assert [str(warning.message) for warning in caught] == []
    output = "".join(capfd.readouterr())
    assert "Epoch 0" in output
    for word in ("Warning", "litlogger", "Tip", "GPU available", "rank_zero", "num_workers"):
        assert word not in output


def test_parts_get_their_rates_and_only_matrices_decay(model: nn.Module) -> None:
    settings = TrainingSettings(lr=1e-4, head_lr=1e-2, embed_lr=1e-6, weight_decay=0.3)
    module = FineTuning(model, settings, [1, 1, 1])
    module.trainer = type("Trainer", (), {"estimated_stepping_batches": 10})()  # all that is asked of it
    optimizer = module.configure_optimizers()["optimizer"]
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    seen = {}
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            seen[names[id(parameter)]] = (group["initial_lr"], group["weight_decay"], parameter.ndim)
    assert seen.keys() == dict(model.named_parameters()).keys()
    for name, (rate, decay, ndim) in seen.items():
        wanted = {"head": 1e-2, "patch_embed": 1e-6}.get(name.split(".")[0], 1e-4)
        assert rate == wanted, name
        assert decay == (0.3 if ndim > 1 else 0.0), name


def test_balanced_weights_even_out_the_classes(model: nn.Module) -> None:
    module = FineTuning(model, TrainingSettings(class_weights="balanced"), [10, 30, 60])
    weighted = module.loss.weight * torch.tensor([10.0, 30.0, 60.0])
    torch.testing.assert_close(weighted, torch.full((3,), 100 / 3))


def test_rate_rises_then_falls() -> None:
    factors = [rate_factor(step, 100, 0.1, "cosine") for step in range(101)]
    assert all(a < b for a, b in itertools.pairwise(factors[:11]))
    assert factors[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    assert {rate_factor(step, 100, 0.0, "constant") for step in range(100)} == {1.0}
