"""Fine-tuning with Lightning: the step, the schedule, whole runs, and resuming."""

from __future__ import annotations

import csv
import dataclasses
import itertools
import json
import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("lightning", reason="training needs the extra 'train'")

from quantus_vit.data import CLASS_NAMES, CovidQuEx, Preprocessing, Record, XrayDataset
from quantus_vit.models import load_model
from quantus_vit.models.checkpoint import ModelConfig, build_model, load_checkpoint
from quantus_vit.training.callbacks import History
from quantus_vit.training.evaluation import evaluate
from quantus_vit.training.fit import fit
from quantus_vit.training.module import FineTuning, loss_of, rate_factor
from quantus_vit.training.settings import TrainingSettings
from quantus_vit.training.transforms import LabelledImages

SQUARE = Preprocessing(size=(32, 32))


def splits(root: Path, augmented: bool = False) -> dict[str, LabelledImages]:
    return {
        name: LabelledImages(
            CovidQuEx(root, name), SQUARE, seed=5 if augmented and name == "Train" else None, cached=True
        )
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
    assert results["Test"].accuracy.value == 1.0
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
    assert results["Val"].accuracy.value == pytest.approx(best, abs=1e-4)
    loaded, read = load_checkpoint(out / "model.safetensors")
    data = splits(xrays)["Val"]
    batch = [(torch.stack([data[i][0] for i in range(6)]), data.targets)]
    assert evaluate(loaded, batch, CLASS_NAMES).to_dict() == results["Val"].to_dict()
    assert read == ModelConfig.from_json((out / "config.json").read_text())
    assert read.training["lr"] == 3e-2
    assert read.training["val_accuracy"] == results["Val"].accuracy.to_list()


def test_stops_early(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    # With a rate this small no logit moves enough to change an answer: epoch 1 stays the best.
    settings = TrainingSettings(epochs=9, batch_size=6, lr=1e-12, patience=2)
    fit(model, config, splits(xrays), settings, tmp_path, device="cpu")
    assert len(history(tmp_path)) == 3


class Cut(BaseException):
    """Ends a training as a power failure would: nothing gets to clean up."""


@pytest.mark.parametrize("moment", ["in epoch 3", "between history and checkpoint of epoch 3"])
def test_resumed_training_equals_an_uninterrupted_one(
    xrays: Path, tmp_path: Path, config: ModelConfig, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    # Dropout and augmentation draw random numbers, the schedule and AdamW have states; at this rate the best epoch
    # is not the last, so that checkpoints of the best alone would not do.
    config = dataclasses.replace(config, model_kwargs={**config.model_kwargs, "drop_rate": 0.2, "drop_path_rate": 0.2})
    settings = TrainingSettings(epochs=5, batch_size=6, lr=1e-2, patience=4, schedule="cosine", warmup=0.2)
    data = splits(xrays, augmented=True)

    def run(out: Path, **options: Any) -> nn.Module:
        torch.manual_seed(0)
        model = build_model(config)
        fit(model, config, data, settings, out, device="cpu", **options)
        return model

    whole = run(tmp_path / "whole")
    with monkeypatch.context() as patch:
        if moment == "in epoch 3":
            step = FineTuning.training_step

            def cut(self: FineTuning, batch: Any, batch_idx: int) -> torch.Tensor:
                if self.current_epoch == 2 and batch_idx == 1:
                    raise Cut
                return step(self, batch, batch_idx)

            patch.setattr(FineTuning, "training_step", cut)
        else:
            end = History.on_train_epoch_end

            def cut_after(self: History, trainer: Any, pl_module: Any) -> None:
                end(self, trainer, pl_module)
                if trainer.current_epoch == 2:
                    raise Cut

            patch.setattr(History, "on_train_epoch_end", cut_after)
        with pytest.raises(Cut):
            run(tmp_path / "cut")
    torch.manual_seed(99)  # what came before must not matter
    torch.rand(7)
    resumed = run(tmp_path / "cut", resume=True)
    last = [torch.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"] for name in ("whole", "cut")]
    for one, other in ((whole.state_dict(), resumed.state_dict()), last):
        assert all(torch.equal(one[name], other[name]) for name in one)
    numbers = [[{**row, "seconds": ""} for row in history(tmp_path / name)] for name in ("whole", "cut")]
    assert numbers[0] == numbers[1]
    assert [row["epoch"] for row in numbers[0]] == list("12345")
    assert len({row["val_loss"] for row in numbers[0]}) > 1
    for file in ("model.safetensors", "metrics.json", "config.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes(), file


def test_an_early_stop_stays_one_when_resumed(
    xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig
) -> None:
    settings = TrainingSettings(epochs=9, batch_size=6, lr=1e-12, patience=2)
    fit(model, config, splits(xrays), settings, tmp_path, device="cpu")
    fit(build_model(config), config, splits(xrays), settings, tmp_path, device="cpu", resume=True)
    assert len(history(tmp_path)) == 3


def test_more_epochs_than_at_first(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    data, settings = splits(xrays), TrainingSettings(epochs=1, batch_size=6, patience=0)
    fit(model, config, data, settings, tmp_path, device="cpu")
    first = history(tmp_path)
    more = dataclasses.replace(settings, epochs=3)
    fit(build_model(config), config, data, more, tmp_path, device="cpu", resume=True)
    assert [row["epoch"] for row in history(tmp_path)] == ["1", "2", "3"]
    assert history(tmp_path)[0] == first[0]


def test_other_settings_are_not_resumed(xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig) -> None:
    data, settings = splits(xrays), TrainingSettings(epochs=1, batch_size=6)
    fit(model, config, data, settings, tmp_path, device="cpu")
    for changed, name in ((dataclasses.replace(settings, lr=1e-3), "lr was 0.0001 and is 0.001"),):
        with pytest.raises(ValueError, match=name):
            fit(model, config, data, changed, tmp_path, device="cpu", resume=True)
    other = dataclasses.replace(config, class_names=("x", "y", "z"))
    with pytest.raises(ValueError, match="class_names was"):
        fit(model, other, data, settings, tmp_path, device="cpu", resume=True)


def test_an_earlier_training_is_not_overwritten_unasked(
    xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig
) -> None:
    data, settings = splits(xrays), TrainingSettings(epochs=2, batch_size=6)
    fit(model, config, data, settings, tmp_path, device="cpu")
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(FileExistsError, match=r"model\.safetensors.*--resume.*--overwrite"):
        fit(model, config, data, settings, tmp_path, device="cpu")
    assert (tmp_path / "model.safetensors").read_bytes() == before
    fit(model, config, data, dataclasses.replace(settings, epochs=1), tmp_path, device="cpu", overwrite=True)
    assert len(history(tmp_path)) == 1
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(FileExistsError):
        fit(model, config, data, settings, tmp_path, device="cpu")


@pytest.mark.parametrize("damage", ["cut", "random", "empty", "other", "pickle"])
def test_damaged_checkpoints_are_a_sentence(
    xrays: Path, tmp_path: Path, model: nn.Module, config: ModelConfig, damage: str
) -> None:
    settings = TrainingSettings(epochs=1, batch_size=6)
    fit(model, config, splits(xrays), settings, tmp_path, device="cpu")
    last = tmp_path / "checkpoints" / "last.ckpt"
    content = last.read_bytes()
    if damage == "cut":
        last.write_bytes(content[: len(content) // 2])
    elif damage == "random":
        last.write_bytes(bytes(range(256)) * 4)
    elif damage == "empty":
        last.write_bytes(b"")
    elif damage == "other":
        torch.save({"state_dict": {}}, last)
    else:
        torch.save({"state_dict": Path("x")}, last)
    with pytest.raises(ValueError, match=r"last\.ckpt' is damaged .*--overwrite"):
        fit(model, config, splits(xrays), settings, tmp_path, device="cpu", resume=True)


@pytest.mark.parametrize("task", ["multilabel", "binary"])
def test_findings_are_trained_by_binary_cross_entropy(tmp_path: Path, config: ModelConfig, task: str) -> None:
    names = ("bright", "upper") if task == "multilabel" else ("bright",)
    config = dataclasses.replace(config, class_names=names, task=task)
    data = {name: LabelledImages(Findings(name, names, task), SQUARE) for name in ("Train", "Val", "Test")}
    torch.manual_seed(0)
    settings = TrainingSettings(epochs=20, batch_size=8, lr=1e-2, monitor="auroc", class_weights="balanced", patience=0)
    results = fit(build_model(config), config, data, settings, tmp_path, device="cpu")
    assert results["Test"].mean_auroc > 0.9
    loaded = load_model(tmp_path / "model.safetensors")
    assert (loaded.task, loaded.class_names, loaded.preprocessing) == (task, names, SQUARE)
    metrics = json.loads((tmp_path / "metrics.json").read_text())["test"]
    assert metrics["auroc"].keys() == set(names)
    assert len(metrics["confusion"]) == len(names)


class Findings(XrayDataset):
    """Noise that is bright or not, with its upper half brighter or not."""

    def __init__(self, split: str, names: tuple[str, ...], task: Any) -> None:
        truth = [tuple(name for bit, name in enumerate(names) if index >> bit & 1) for index in range(32)]
        records = [Record(f"{split}/{index}", "drawn", None, labels) for index, labels in enumerate(truth)]
        super().__init__("findings", names, task, split, records)

    def grey(self, index: int) -> np.ndarray:
        random = np.random.default_rng((index, len(self.split)))
        picture = random.uniform(0, 0.3, (32, 32)) + 0.4 * (index & 1)
        picture[:16] += 0.3 * (index >> 1 & 1)
        return picture.astype(np.float32)


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
    module = FineTuning(model, settings, torch.arange(3), CLASS_NAMES)
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
    counts = torch.tensor([10, 30, 60])
    settings, targets = TrainingSettings(class_weights="balanced"), torch.arange(3).repeat_interleave(counts)
    weighted = FineTuning(model, settings, targets, CLASS_NAMES).loss.weight * counts
    torch.testing.assert_close(weighted, torch.full((3,), 100 / 3))


def test_balanced_findings_weigh_as_much_as_their_absence() -> None:
    targets = torch.zeros(10, 2)
    targets[:2, 0] = targets[:5, 1] = 1
    loss = loss_of("multilabel", TrainingSettings(class_weights="balanced"), targets, 2)
    logits = torch.zeros(10, 2, requires_grad=True)
    loss(logits, targets).backward()
    # Without any knowledge the gradients of images with and without a finding cancel out.
    torch.testing.assert_close(logits.grad.sum(dim=0), torch.zeros(2))


def test_smoothing_moves_the_best_probability_of_a_finding() -> None:
    loss = loss_of("binary", TrainingSettings(label_smoothing=0.2), torch.ones(1, 1), 1)
    logits = torch.full((1, 1), math.log(9.0), requires_grad=True)
    loss(logits, torch.ones(1, 1)).backward()
    torch.testing.assert_close(logits.grad, torch.zeros(1, 1), atol=1e-6, rtol=0)


def test_rate_rises_then_falls() -> None:
    factors = [rate_factor(step, 100, 0.1, "cosine") for step in range(101)]
    assert all(a < b for a, b in itertools.pairwise(factors[:11]))
    assert factors[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(factors[10:]))
    assert factors[55] == pytest.approx(0.5)
    assert factors[100] == pytest.approx(0.0)
    assert {rate_factor(step, 100, 0.0, "constant") for step in range(100)} == {1.0}
