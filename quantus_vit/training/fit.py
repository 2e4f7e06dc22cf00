"""Fine-tuning from settings to files: runs Lightning, keeps the best epoch, measures it, writes the results.

Knows Lightning and the other files of this folder. It may not know the command line, nor which data sets there are.
"""

from __future__ import annotations

import csv
import json
import logging
import os
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..models.checkpoint import ModelConfig, save_checkpoint
from .metrics import Evaluation, evaluate
from .module import FineTuning
from .settings import TrainingSettings
from .transforms import LabelledImages

__all__ = ["fit"]


def fit(
    model: nn.Module,
    config: ModelConfig,
    splits: dict[str, LabelledImages],
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    device: str = "auto",
    workers: int = 0,
    resume: bool = False,
) -> dict[str, Evaluation]:
    """Fine-tune a model and write the best epoch of it.

    Parameters
    ----------
    model
        The model; afterwards it holds the best epoch's weights.
    config
        Recipe of the model; the file written has the settings and measured numbers besides.
    splits
        "Train", "Val" and "Test", none of them empty.
    settings
        The recipe of training.
    out
        Folder for ``model.safetensors``, ``config.json``, ``metrics.json``, ``history.csv`` and ``checkpoints/``.
    device
        "auto", "cpu" or "cuda" (or what else Lightning takes as accelerator).
    workers
        Processes that load images; 0 loads in this one.
    resume
        Go on after the last complete epoch in ``out``.

    Returns
    -------
    dict of str to Evaluation
        Measured on "Val" and "Test", in float32.

    Raises
    ------
    FileNotFoundError
        If there is nothing to resume.
    """
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    last = out / "checkpoints" / "last.ckpt"
    if resume and not last.is_file():
        raise FileNotFoundError(f"nothing to resume: {str(last)!r} is missing; leave --resume out to start anew")
    with _quiet_lightning():
        L.seed_everything(settings.seed, workers=True)
        loaders = {
            name: DataLoader(
                split,
                batch_size=settings.batch_size,
                shuffle=name == "Train",
                num_workers=workers,
                persistent_workers=workers > 0,
            )
            for name, split in splits.items()
        }
        labels = splits["Train"].labels
        counts = [labels.count(index) for index in range(len(config.class_names))]
        history = _History(out / "history.csv", keep=resume)
        best = ModelCheckpoint(
            dirpath=last.parent,
            filename="best",
            monitor=f"val_{settings.monitor}",
            mode=_mode(settings),
            save_last=True,
            enable_version_counter=False,
        )
        trainer = _trainer(settings, device, [history, best])
        trainer.fit(
            FineTuning(model, settings, counts),
            loaders["Train"],
            loaders["Val"],
            ckpt_path=str(last) if resume else None,
        )
    if trainer.interrupted:
        raise KeyboardInterrupt
    _load_best(model, best.best_model_path)
    results = _measure(model, loaders, config, _torch_device(device))
    _write(model, config, settings, results, history.rows, out)
    return results


def _mode(settings: TrainingSettings) -> str:
    return "max" if settings.monitor == "accuracy" else "min"


def _trainer(settings: TrainingSettings, device: str, callbacks: list[Callback]) -> L.Trainer:
    callbacks = [*callbacks, TQDMProgressBar(refresh_rate=5)]
    if settings.patience:
        monitor = f"val_{settings.monitor}"
        callbacks.append(EarlyStopping(monitor=monitor, mode=_mode(settings), patience=settings.patience))
    return L.Trainer(
        accelerator=device,
        devices=1,
        precision=settings.precision,
        max_epochs=settings.epochs,
        callbacks=callbacks,
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )


class _History(Callback):  # type: ignore[misc]
    """Write one row an epoch, at once, so that a crash leaves what was measured."""

    columns = ("epoch", "train_loss", "val_loss", "val_accuracy", "lr", "seconds")

    def __init__(self, path: Path, keep: bool) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        if keep and path.is_file():
            with path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))
        self._start = time.monotonic()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        values = trainer.callback_metrics
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "train_loss": round(float(values["train_loss_epoch"]), 5),
                "val_loss": round(float(values["val_loss"]), 5),
                "val_accuracy": round(float(values["val_accuracy"]), 5),
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "seconds": round(time.monotonic() - self._start, 1),
            }
        )
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)


@contextmanager
def _quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice on loggers, workers and its cloud; errors and our own output stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    loggers += [
        logging.getLogger(f"lightning.{part}.utilities.{name}")
        for part in ("pytorch", "fabric")
        for name in ("rank_zero", "seed")
    ]
    levels = [logger.level for logger in loggers]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"lightning\..*")
        warnings.filterwarnings("ignore", message=r".*(isolate_rng|LeafSpec|pin_memory|lr_scheduler\.step).*")
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        try:
            yield
        finally:
            for logger, level in zip(loggers, levels, strict=True):
                logger.setLevel(level)


def _load_best(model: nn.Module, path: str) -> None:
    state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    prefix = "model."
    model.load_state_dict({name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)})


def _torch_device(device: str) -> str:
    if device != "auto":
        return "cuda" if device == "gpu" else device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _measure(
    model: nn.Module, loaders: dict[str, DataLoader[Any]], config: ModelConfig, device: str
) -> dict[str, Evaluation]:
    model.to(device)
    return {
        name: evaluate(model, tqdm(loaders[name], desc=name, unit="batch", disable=None), config.class_names, device)
        for name in ("Val", "Test")
    }


def _write(
    model: nn.Module,
    config: ModelConfig,
    settings: TrainingSettings,
    results: dict[str, Evaluation],
    history: list[dict[str, Any]],
    out: Path,
) -> None:
    metrics = {name.lower(): evaluation.to_dict() for name, evaluation in results.items()}
    accuracy = {f"{name}_accuracy": values["accuracy"] for name, values in metrics.items()}
    training = {**config.training, **asdict(settings), "epochs_run": len(history), **accuracy}
    config = replace(config, training=training)
    save_checkpoint(out / "model.safetensors", model, config)
    (out / "config.json").write_text(config.to_json(indent=2) + "\n", encoding="utf-8")
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
