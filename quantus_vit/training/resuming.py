"""Which folder a training may write to, and whether it may go on from what lies there.

Knows torch and the settings; it may not know Lightning.
"""

from __future__ import annotations

import json
import pickle
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from ..models.checkpoint import ModelConfig
from .settings import TrainingSettings

__all__ = ["check_resumable", "load_training_state", "prepare_folder", "run_state"]

_WRITTEN = ("model.safetensors", "config.json", "metrics.json", "history.csv", "checkpoints")
_MAY_CHANGE = ("epochs",)
_NEEDED = ("state_dict", "optimizer_states", "lr_schedulers", "epoch", "quantus_vit")


def prepare_folder(out: Path, overwrite: bool) -> None:
    """Make the folder of a new training.

    What a training has left that ended before its first epoch was complete is replaced: nothing can be resumed there.

    Parameters
    ----------
    out : pathlib.Path
    overwrite : bool
        Remove what an earlier training wrote there.

    Raises
    ------
    FileExistsError
        An earlier training wrote there, and may not be overwritten.
    """
    present = [out / name for name in _WRITTEN if (out / name).exists()]
    if present and not overwrite and not _only_begun(out, present):
        raise FileExistsError(
            f"{str(present[0])!r} is from an earlier training; go on with it by --resume, replace it by "
            "--overwrite, or choose another --out"
        )
    for path in present:
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()
    out.mkdir(parents=True, exist_ok=True)


def _only_begun(out: Path, present: list[Path]) -> bool:
    """Whether these are the history and the best epoch alone, of a training killed while it saved its first epoch."""
    history, checkpoints = out / "history.csv", out / "checkpoints"
    if not {*present} <= {history, checkpoints} or any(file.name != "best.ckpt" for file in checkpoints.glob("*")):
        return False
    return not history.exists() or history.read_text(encoding="utf-8").startswith("epoch,train_loss,")


def run_state(settings: TrainingSettings, config: ModelConfig) -> str:
    """What two runs must have in common for one to go on with the other, as JSON."""
    recipe = {name: value for name, value in asdict(settings).items() if name not in _MAY_CHANGE}
    model = json.loads(config.to_json())
    return json.dumps({**recipe, **model.pop("training"), **model}, sort_keys=True)


def load_training_state(path: Path) -> dict[str, Any]:
    """Read a checkpoint of Lightning without running what is in it.

    Raises
    ------
    ValueError
        If it is damaged.
    """
    try:
        content: Any = torch.load(path, map_location="cpu", weights_only=True)
    except (RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError, AttributeError, AssertionError,
            pickle.UnpicklingError, ImportError) as error:  # fmt: skip
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{str(path)!r} is damaged ({reason}); start anew with --overwrite") from error
    if not isinstance(content, dict):
        raise ValueError(f"{str(path)!r} is no training state, but {type(content).__name__}")
    return content


def check_resumable(path: Path, state: str) -> int:
    """Refuse to go on where the result would not be that of one uninterrupted training.

    Parameters
    ----------
    path : pathlib.Path
        Checkpoint of the last complete epoch.
    state : str
        :func:`run_state` of the training that wants to go on.

    Returns
    -------
    int
        How many epochs are complete.

    Raises
    ------
    FileNotFoundError
        There is none.
    ValueError
        It is damaged, or of a training with other settings; the message names one that differs.
    """
    if not path.is_file():
        raise FileNotFoundError(f"nothing to resume: {str(path)!r} is missing; leave --resume out to start anew")
    content = load_training_state(path)
    missing = [name for name in _NEEDED if name not in content]
    if missing:
        raise ValueError(f"{str(path)!r} is damaged ({', '.join(missing)} missing); start anew with --overwrite")
    if not isinstance(content["epoch"], int):
        raise ValueError(f"{str(path)!r} is damaged (epoch {content['epoch']!r}); start anew with --overwrite")
    try:
        earlier, now = json.loads(content["quantus_vit"]), json.loads(state)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{str(path)!r} is damaged ({error}); start anew with --overwrite") from error
    for name in sorted(earlier.keys() | now.keys()):
        if earlier.get(name) != now.get(name):
            raise ValueError(
                f"--resume goes on with the same settings (the number of epochs may change): {name} was "
                f"{earlier.get(name)!r} and is {now.get(name)!r}"
            )
    return int(content["epoch"]) + 1
