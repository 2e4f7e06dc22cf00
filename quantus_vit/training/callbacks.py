"""What happens at the ends of an epoch: history, checkpoints of the last and the best epoch, early stopping.

Knows Lightning; neither data sets nor the command line.
"""

from __future__ import annotations

import csv
import logging
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.callbacks import Callback, EarlyStopping, ModelCheckpoint, TQDMProgressBar

from .settings import TrainingSettings

__all__ = ["BEST", "LAST", "History", "callbacks_of", "quiet_lightning"]

LAST = "last.ckpt"
BEST = "best.ckpt"


def callbacks_of(settings: TrainingSettings, folder: Path, state: str) -> list[Callback]:
    """Everything but the history: progress, early stopping, and a checkpoint of the last and of the best epoch.

    Parameters
    ----------
    settings : TrainingSettings
    folder : pathlib.Path
        Where checkpoints go.
    state : str
        What a checkpoint says of the run that wrote it, see :mod:`.resuming`.
    """
    monitor = f"val_{settings.monitor}"
    mode = "min" if settings.monitor == "loss" else "max"
    best = ModelCheckpoint(
        dirpath=folder,
        filename=Path(BEST).stem,
        monitor=monitor,
        mode=mode,
        enable_version_counter=False,
        save_on_train_epoch_end=True,
    )
    callbacks: list[Callback] = [TQDMProgressBar(refresh_rate=5)]
    if settings.patience:
        callbacks.append(_EarlyStopping(monitor=monitor, mode=mode, patience=settings.patience))
    # The last one: its file has the state of all others after the epoch.
    return [*callbacks, best, _LastEpoch(folder / LAST, state)]


class _EarlyStopping(EarlyStopping):  # type: ignore[misc]
    """Early stopping that stays stopped when training is resumed."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


class _LastEpoch(ModelCheckpoint):  # type: ignore[misc]
    """Save every epoch under one name, with what tells whether another run may go on from it."""

    def __init__(self, path: Path, state: str) -> None:
        super().__init__(
            dirpath=path.parent,
            filename=path.stem,
            monitor=None,
            every_n_epochs=1,
            enable_version_counter=False,
            save_on_train_epoch_end=True,
        )
        self.state = state

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        checkpoint["quantus_vit"] = self.state


class History(Callback):  # type: ignore[misc]
    """Write one row an epoch, at once, so that a crash leaves what was measured; of several processes the first does.

    Parameters
    ----------
    path : pathlib.Path
        The CSV file. Its rows of epochs that come before the first one trained are kept.
    """

    columns = ("epoch", "train_loss", "val_loss", "val_accuracy", "val_auroc", "lr", "seconds")

    def __init__(self, path: Path) -> None:
        self.path = path
        self.rows: list[dict[str, Any]] = []
        self._start = time.monotonic()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Take over the rows of epochs that are complete."""
        if trainer.current_epoch and self.path.is_file():
            with self.path.open(newline="", encoding="utf-8") as file:
                self.rows = list(csv.DictReader(file))[: trainer.current_epoch]

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Start the clock."""
        self._start = time.monotonic()

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Write the epoch."""
        values = trainer.callback_metrics
        self.rows.append(
            {
                "epoch": trainer.current_epoch + 1,
                "train_loss": round(float(values["train_loss_epoch"]), 5),
                **{name: round(float(values[name]), 5) for name in ("val_loss", "val_accuracy", "val_auroc")},
                "lr": trainer.optimizers[0].param_groups[0]["lr"],
                "seconds": round(time.monotonic() - self._start, 1),
            }
        )
        if not trainer.is_global_zero:
            return
        with self.path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)


@contextmanager
def quiet_lightning() -> Iterator[None]:
    """Silence Lightning's advice on loggers, workers and its cloud; errors and our own output stay."""
    loggers = [logging.getLogger(name) for name in ("lightning.pytorch", "lightning.fabric", "lightning")]
    loggers += [
        logging.getLogger(f"lightning.{part}.utilities.{name}")
        for part in ("pytorch", "fabric")
        for name in ("distributed", "rank_zero", "seed")
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
