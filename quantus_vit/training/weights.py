"""Starting weights from a file of the user's: safetensors or torch, half precision, with or without a head.

Knows torch, timm and safetensors; nothing of training.
"""

from __future__ import annotations

import os
import pickle
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from ..models.checkpoint import state_problems

__all__ = ["load_weights"]


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> bool:
    """Load weights of the same architecture into a timm model.

    Parameters
    ----------
    model
        The timm model that receives them, in its own dtype: half precision files are cast.
    path
        A ``.safetensors`` file, or a file of ``torch.save``, read with ``weights_only=True``. Names are timm's.
        A wrapping such as ``{"state_dict": ...}`` is taken off; older names and position embeddings of another image
        size go through the model family's own filter in timm.

    Returns
    -------
    bool
        Whether the file had a head that fits. A missing head, or one for other classes, leaves the model's new one.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or does not fit; the message names the keys and shapes.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {str(path)!r}; --weights takes 'pretrained', 'none' or a file")
    expected = model.state_dict()
    found = _filtered(_read(path), model)
    head = {name for name in expected if name.startswith(_head_prefix(model))}
    has_head = all(name in found and found[name].shape == expected[name].shape for name in head)
    if not has_head:
        found = {name: value for name, value in found.items() if name not in head}
        found.update({name: expected[name] for name in head})
    problems = state_problems(expected, found)
    if problems:
        raise ValueError(f"the weights in {str(path)!r} do not fit {type(model).__name__}: {'; '.join(problems)}")
    model.load_state_dict(found)
    return has_head


def _read(path: Path) -> dict[str, torch.Tensor]:
    """Read a flat state dict in float32."""
    try:
        content: Any = load_file(path) if path.suffix == ".safetensors" else _torch_load(path)
    except (SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, KeyError, ValueError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ValueError(f"cannot read weights from {str(path)!r}: {reason}") from error
    for wrapper in ("state_dict", "model", "teacher"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"{str(path)!r} holds no state dict of tensors, but {type(content).__name__}")
    return {
        str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in content.items()
    }


def _torch_load(path: Path) -> Any:
    # weights_only: a weights file from somewhere must not be able to run code.
    return torch.load(path, map_location="cpu", weights_only=True)


def _filtered(state: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Let timm translate names and resize position embeddings, where the model's family has a filter for that."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return cast("dict[str, torch.Tensor]", dict(convert(state, model)))
    except (RuntimeError, AssertionError, KeyError, AttributeError):
        # The filter gave up on shapes it cannot map; the comparison of keys and shapes says more than its error.
        return state


def _head_prefix(model: nn.Module) -> str:
    """Name of the classifier within a timm model, with the dot."""
    head = getattr(model, "pretrained_cfg", {}).get("classifier", "head")
    return f"{head if isinstance(head, str) else head[0]}."
