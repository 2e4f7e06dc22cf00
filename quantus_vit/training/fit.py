"""Fine-tuning from settings to files: runs Lightning, keeps the best epoch, measures it, writes the results.

Knows Lightning and the other files of this folder. It may not know the command line, nor which data sets there are.
"""

from __future__ import annotations

import json
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.utilities.exceptions import MisconfigurationException
from torch import nn
from torch.utils.data import DataLoader
from tqdm.auto import tqdm

from ..files import locked
from ..models.checkpoint import ModelConfig, save_checkpoint
from .callbacks import BEST, LAST, History, callbacks_of, quiet_lightning
from .cluster import SigtermAsInterrupt, cluster_plugins, is_loss_of_a_process
from .evaluation import Evaluation, evaluate
from .module import FineTuning
from .order import EpochSampler, EveryNth
from .placement import Placement
from .resuming import check_resumable, load_training_state, prepare_folder, run_state
from .settings import TrainingSettings
from .transforms import LabelledImages

__all__ = ["fit"]

ONE_PROCESS = Placement()


def fit(
    model: nn.Module,
    config: ModelConfig,
    splits: Mapping[str, LabelledImages],
    settings: TrainingSettings,
    out: str | os.PathLike[str],
    device: str = "auto",
    workers: int = 0,
    resume: bool = False,
    overwrite: bool = False,
    placement: Placement = ONE_PROCESS,
) -> dict[str, Evaluation]:
    """Fine-tune a model and write the best epoch of it.

    Parameters
    ----------
    model : torch.nn.Module
        The model; afterwards it holds the best epoch's weights.
    config : ModelConfig
        Recipe of the model; the file written has the settings and measured numbers besides.
    splits : mapping of str to LabelledImages
        "Train", "Val" and "Test", none of them empty.
    settings : TrainingSettings
        The recipe of training.
    out : str or path
        Folder for ``model.safetensors``, ``config.json``, ``metrics.json``, ``history.csv`` and ``checkpoints/``.
    device : str
        "auto", "cpu" or "cuda" (or what else Lightning takes as accelerator).
    workers : int
        Processes that load images; 0 loads in this one. The images do not depend on it.
    resume : bool
        Go on after the last complete epoch in ``out``. On a CPU, with as many processes, the result is to the bit that
        of a training which was not interrupted; with another number of them to rounding, if nothing draws dropout.
    overwrite : bool
        Replace an earlier training in ``out``.
    placement : Placement
        How many processes train. A step has the same images with any number of them.

    Returns
    -------
    dict of str to Evaluation
        Measured on "Val" and "Test", in float32, by the first process, which writes all files; empty in the others.

    Raises
    ------
    FileExistsError
        If ``out`` has an earlier training, and neither ``resume`` nor ``overwrite`` is set.
    FileNotFoundError
        If there is nothing to resume.
    ValueError
        If what is to be resumed is damaged or had other settings, a split cannot be measured by the monitor, another
        training writes into ``out``, or the processes cannot be started, have no images, or one of them has died.
    KeyboardInterrupt
        After Ctrl-C or SIGTERM, with a message that says whether the training can be resumed.
    SystemExit
        After these in the other processes, which leave without a word.
    """
    out = Path(out)
    folder = out / "checkpoints"
    state = run_state(settings, config)
    _check_splits(splits, settings, placement)
    complete = check_resumable(folder / LAST, state) if resume else 0
    history, sigterm = History(out / "history.csv"), SigtermAsInterrupt()
    with ExitStack() as held:
        with quiet_lightning():
            callbacks = [history, sigterm, *callbacks_of(settings, folder, state)]
            trainer = _trainer(settings, device, placement, callbacks, out)
            if trainer.is_global_zero:
                held.enter_context(locked(out))
                if not resume:
                    prepare_folder(out, overwrite)
            loaders = _loaders(splits, settings, workers, complete, placement, trainer.global_rank)
            module = FineTuning(model, settings, splits["Train"].targets, config.class_names, config.task)
            with _interrupt(trainer, sigterm, folder / LAST):
                trainer.fit(module, loaders["Train"], loaders["Val"], ckpt_path=str(folder / LAST) if resume else None)
        if not trainer.is_global_zero:
            return {}
        _load_best(model, folder / BEST)
        place = _torch_device(device) if placement.count == 1 else trainer.strategy.root_device
        results = _measured(model.to(place), _loaders(splits, settings, workers, complete), config, place)
        _write(model, config, settings, results, len(history.rows), out)
    return results


def _measured(
    model: nn.Module, loaders: Mapping[str, DataLoader[Any]], config: ModelConfig, place: Any
) -> dict[str, Evaluation]:
    results = {}
    for name, batches in loaders.items():
        if name != "Train":
            shown = tqdm(batches, desc=name, unit="batch", disable=None)
            results[name] = evaluate(model, shown, config.class_names, config.task, place)
    return results


def _trainer(
    settings: TrainingSettings, device: str, placement: Placement, callbacks: list[Any], out: Path
) -> L.Trainer:
    try:
        return L.Trainer(
            default_root_dir=out,
            plugins=cluster_plugins(),
            accelerator=device,
            devices=placement.devices,
            num_nodes=placement.num_nodes,
            strategy=placement.strategy,
            use_distributed_sampler=False,
            precision=settings.precision,
            max_epochs=settings.epochs,
            callbacks=callbacks,
            logger=False,
            enable_model_summary=False,
            num_sanity_val_steps=0,
            log_every_n_steps=1,
        )
    except (MisconfigurationException, RuntimeError) as error:  # the second of settings of SLURM
        reason = " ".join(str(error).split())
        raise ValueError(f"cannot train in {placement.count} processes on {device}: {reason}") from error


def _check_splits(splits: Mapping[str, LabelledImages], settings: TrainingSettings, placement: Placement) -> None:
    """Refuse splits that cannot be trained on or measured, and batches that cannot be dealt out."""
    placement.batch_of_each(settings.batch_size)
    for name, split in splits.items():
        if not len(split):
            raise ValueError(f"the split {name!r} has no images")
        if len(split) < placement.count:
            raise ValueError(f"the split {name!r} has {len(split)} images, fewer than the {placement.count} processes")
    if settings.monitor == "auroc":
        targets = splits["Val"].targets
        varies = bool((targets != targets[0]).any())
        if not varies:
            raise ValueError("monitor='auroc' needs images with and without a class in 'Val'; take 'loss'")


def _loaders(
    splits: Mapping[str, LabelledImages],
    settings: TrainingSettings,
    workers: int,
    complete: int,
    placement: Placement = ONE_PROCESS,
    rank: int = 0,
) -> dict[str, DataLoader[Any]]:
    order = EpochSampler(len(splits["Train"]), settings.seed, settings.batch_size, rank, placement.count)
    order.set_epoch(complete)  # Lightning fetches the first batches before it says which epoch it is
    return {
        name: DataLoader(
            split,
            batch_size=placement.batch_of_each(settings.batch_size),
            sampler=order if name == "Train" else EveryNth(len(split), rank, placement.count),
            num_workers=workers,
            persistent_workers=workers > 0,
        )
        for name, split in splits.items()
    }


@contextmanager
def _interrupt(trainer: L.Trainer, sigterm: SigtermAsInterrupt, last: Path) -> Iterator[None]:
    """Make Ctrl-C a KeyboardInterrupt again: Lightning ends the process with 1, or returns as if all were done.

    The death of another process becomes a line; torch tells it in words of its transport.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    handler = signal.getsignal(signal.SIGINT)
    try:
        yield
    except SystemExit as leaving:
        if not trainer.interrupted:
            raise
        raise _leaving(trainer, last) from leaving
    except RuntimeError as error:
        if sigterm.received:
            raise _leaving(trainer, last) from error
        if trainer.world_size > 1 and is_loss_of_a_process(error):
            raise ValueError(f"another process of this training has ended before its time{_advice(last)}") from error
        raise
    finally:
        if in_main_thread:
            signal.signal(signal.SIGINT, handler)
    if trainer.interrupted:
        raise _leaving(trainer, last)


def _leaving(trainer: L.Trainer, last: Path) -> BaseException:
    """What an interrupt raises: in the first process with a word, in the others without."""
    return KeyboardInterrupt(f"interrupted{_advice(last)}") if trainer.is_global_zero else SystemExit(130)


def _advice(last: Path) -> str:
    if not last.is_file():
        return " before the first epoch was complete"
    return "; the same command with --resume goes on after the last complete epoch"


def _load_best(model: nn.Module, path: Path) -> None:
    state = load_training_state(path)["state_dict"]
    prefix = "model."
    model.load_state_dict({name[len(prefix) :]: value for name, value in state.items() if name.startswith(prefix)})


def _torch_device(device: str) -> str:
    if device != "auto":
        return "cuda" if device == "gpu" else device
    return "cuda" if torch.cuda.is_available() else "cpu"


def _write(
    model: nn.Module,
    config: ModelConfig,
    settings: TrainingSettings,
    results: Mapping[str, Evaluation],
    epochs: int,
    out: Path,
) -> None:
    metrics = {name.lower(): evaluation.to_dict() for name, evaluation in results.items()}
    measured = {f"{name}_{key}": values[key] for name, values in metrics.items() for key in ("accuracy", "mean_auroc")}
    training = {**config.training, **asdict(settings), "epochs_run": epochs, **measured}
    config = replace(config, training=training)
    save_checkpoint(out / "model.safetensors", model, config)
    (out / "config.json").write_text(config.to_json(indent=2) + "\n", encoding="utf-8")
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")
