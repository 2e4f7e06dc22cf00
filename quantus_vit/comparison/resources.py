"""Device, checkpoint and data set by the words of the command line; shared by ``compare`` and ``explain``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch

from ..data.conventions import CLASS_NAMES, IMAGENET_MEAN, IMAGENET_STD
from ..data.covid_qu_ex import CovidQuEx
from ..data.phantom import Phantom
from ..models.checkpoint import ModelConfig, load_checkpoint

if TYPE_CHECKING:
    from .runner import XrayDataset

__all__ = ["choose_device", "load_model", "open_data"]

PHANTOM_SEED = 0


def choose_device(name: str) -> str:
    """Resolve "auto" to a GPU where there is one, and check that another device is there.

    Raises
    ------
    ValueError
        If the device is unknown or absent.
    """
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        if device.type not in ("cpu", "cuda"):
            raise RuntimeError("only cpu and cuda are supported")
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise ValueError(f"no device {name!r} here ({reason}); use auto, cpu, or cuda") from error
    return name


def load_model(path: Path, device: str) -> tuple[torch.nn.Module, ModelConfig]:
    """Load a checkpoint of ``quantus-vit train``.

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`quantus_vit.models.checkpoint.load_checkpoint`; ValueError too if the model takes images that are
        normalised otherwise than the data sets of this package do.
    """
    model, config = load_checkpoint(path, device)
    prepared = config.preprocessing
    if prepared.mean != IMAGENET_MEAN or prepared.std != IMAGENET_STD:
        raise ValueError(
            f"{str(path)!r} takes images normalised by mean {prepared.mean} and std {prepared.std}; this command gives "
            f"ImageNet's, {IMAGENET_MEAN} and {IMAGENET_STD}"
        )
    return model, config


def open_data(name: str, split: str, part: str, config: ModelConfig, phantom_count: int) -> XrayDataset:
    """Open phantoms or COVID-QU-Ex at the model's image size.

    Raises
    ------
    FileNotFoundError
        If the folder is not there or holds another layout.
    ValueError
        If the model's classes are not those of the data.
    """
    if tuple(config.class_names) != CLASS_NAMES:
        raise ValueError(
            f"the model's classes are {', '.join(config.class_names)}; the data sets have {', '.join(CLASS_NAMES)}"
        )
    if name == "phantom":
        return Phantom(phantom_count, seed=PHANTOM_SEED, split=split, image_size=config.image_size)
    return CovidQuEx(name, split=split, part=part, image_size=config.image_size)
