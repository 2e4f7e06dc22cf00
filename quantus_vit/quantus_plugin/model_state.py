"""What is read from a user's model, and put back on it. Knows torch only."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

__all__ = ["device_of", "precision", "restored_modes"]


def precision(model: Any) -> torch.dtype:
    """The dtype of the first floating-point parameter; float32 where there is none."""
    parameters = model.parameters() if isinstance(model, nn.Module) else ()
    return next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)


def device_of(model: nn.Module) -> torch.device:
    """The device of the first parameter; the CPU where there is none."""
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


@contextmanager
def restored_modes(model: Any) -> Iterator[None]:
    """Leave every module of a model in the mode in which it came; what is no ``nn.Module`` is none of its business."""
    modules = list(model.modules()) if isinstance(model, nn.Module) else []
    modes = [module.training for module in modules]
    try:
        yield
    finally:
        for module, mode in zip(modules, modes, strict=True):
            module.training = mode
