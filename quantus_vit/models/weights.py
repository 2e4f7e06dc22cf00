"""Weights of timm models from a user's file: safetensors or torch, half precision, with or without a head.

Knows torch, timm's conventions and safetensors; nothing of training.
"""

from __future__ import annotations

import json
import os
import pickle
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import torch
from safetensors import SafetensorError, safe_open
from torch import nn

__all__ = ["Weights", "filtered", "head_prefix", "load_weights", "read_weights", "state_problems"]

_CLASS_NAMES = "class_names"
_WRAPPERS = ("state_dict", "model", "teacher")


@dataclass(frozen=True)
class Weights:
    """What a weights file holds.

    Parameters
    ----------
    state : dict of str to torch.Tensor
        Floating-point tensors in float32.
    class_names : tuple of str or None
        Names of the head's outputs, where the file says them: under "class_names" in the metadata of a safetensors
        file (as a JSON list) or beside the state dict of a torch file.
    """

    state: dict[str, torch.Tensor]
    class_names: tuple[str, ...] | None = None


def read_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a ``.safetensors`` file, or a file of ``torch.save`` without running what is in it.

    Parameters
    ----------
    path : str or path
        A wrapping such as ``{"state_dict": ...}`` is taken off, and the "module." of parallel training.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If it cannot be read, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file {str(path)!r}")
    try:
        content, names = _read_safetensors(path) if path.suffix == ".safetensors" else _read_torch(path)
    except (  # what a damaged file raises in safetensors, zipfile, pickle and torch
        SafetensorError, pickle.UnpicklingError, RuntimeError, EOFError, OSError, LookupError, ValueError, TypeError,
        AttributeError, AssertionError, ImportError,
    ) as error:  # fmt: skip
        raise ValueError(f"cannot read weights from {str(path)!r}: {_reason(error)}") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, torch.Tensor) for value in content.values()):
        raise ValueError(f"{str(path)!r} holds no state dict of tensors, but {type(content).__name__}")
    if names is not None and not (isinstance(names, list | tuple) and all(isinstance(name, str) for name in names)):
        raise ValueError(f"{_CLASS_NAMES} in {str(path)!r} must be a list of names, got {names!r}")
    state = {
        str(name).removeprefix("module."): value.float() if value.is_floating_point() else value
        for name, value in content.items()
    }
    return Weights(state, None if names is None else tuple(names))


def _reason(error: Exception) -> str:
    """What is wrong with a file, in one line. torch's own words for a pickle are advice on how to run it."""
    if isinstance(error, pickle.UnpicklingError):
        if "GLOBAL" in str(error):
            return "it holds pickled Python objects, such as a whole model, which are not run; save model.state_dict()"
        return "it is damaged, or was not written by torch.save"
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _read_safetensors(path: Path) -> tuple[Any, Any]:
    with safe_open(path, framework="pt") as file:
        names = (file.metadata() or {}).get(_CLASS_NAMES)
        state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping)
        return state, None if names is None else json.loads(names)


def _read_torch(path: Path) -> tuple[Any, Any]:
    # weights_only: a weights file from somewhere must not be able to run code.
    content: Any = torch.load(path, map_location="cpu", weights_only=True)
    names = content.get(_CLASS_NAMES) if isinstance(content, Mapping) else None
    for wrapper in _WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    return content, names


def load_weights(model: nn.Module, path: str | os.PathLike[str]) -> bool:
    """Load weights of the same architecture into a timm model, to train it further.

    Parameters
    ----------
    model : torch.nn.Module
        The timm model that receives them, in its own dtype: half precision files are cast.
    path : str or path
        As for :func:`read_weights`. Names are timm's; older names and position embeddings of another image size go
        through the model family's own filter in timm.

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
    expected = model.state_dict()
    found = filtered(read_weights(path).state, model)
    head = {name for name in expected if name.startswith(head_prefix(model))}
    has_head = all(name in found and found[name].shape == expected[name].shape for name in head)
    if not has_head:
        found = {name: value for name, value in found.items() if name not in head}
        found.update({name: expected[name] for name in head})
    problems = state_problems(expected, found)
    if problems:
        raise ValueError(f"the weights in {os.fspath(path)!r} do not fit {type(model).__name__}: {'; '.join(problems)}")
    model.load_state_dict(found)
    return has_head


def filtered(state: dict[str, torch.Tensor], model: nn.Module) -> dict[str, torch.Tensor]:
    """Let timm translate names and resize position embeddings, where the model's family has a filter for that."""
    convert = getattr(sys.modules[type(model).__module__], "checkpoint_filter_fn", None)
    if convert is None:
        return state
    try:
        return cast("dict[str, torch.Tensor]", dict(convert(state, model)))
    except (RuntimeError, AssertionError, LookupError, AttributeError, ValueError, TypeError):
        # The filter gave up on shapes it cannot map; the comparison of keys and shapes says more than its error.
        return state


def head_prefix(model: nn.Module) -> str:
    """Name of the classifier within a timm model, with the dot."""
    config = getattr(model, "pretrained_cfg", None) or {}
    head = config.get("classifier") or "head"
    return f"{head if isinstance(head, str) else head[0]}."


def state_problems(expected: Mapping[str, torch.Tensor], found: Mapping[str, torch.Tensor]) -> list[str]:
    """Say in words how two state dicts differ: missing keys, unexpected keys, other shapes; empty if they fit."""
    missing = sorted(expected.keys() - found.keys())
    unexpected = sorted(found.keys() - expected.keys())
    shapes = [
        f"{name} is {tuple(found[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in sorted(expected.keys() & found.keys())
        if found[name].shape != expected[name].shape
    ]
    broken = sorted(
        name
        for name in expected.keys() & found.keys()
        if found[name].is_floating_point() and not found[name].isfinite().all()
    )
    named = (
        ("missing keys", missing),
        ("unexpected keys", unexpected),
        ("other shapes", shapes),
        ("tensors with nan or infinity", broken),
    )
    return [f"{len(names)} {what} ({_shorten(names)})" for what, names in named if names]


def _shorten(names: list[str], limit: int = 4) -> str:
    return ", ".join(names[:limit]) + (", ..." if len(names) > limit else "")
