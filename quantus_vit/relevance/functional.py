"""The transforms of ``torch.func`` (``vmap``, ``jvp``, ``grad``): no traced value may go through them.

Inside a transform a tensor is wrapped, and looks as if it required no gradient.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from .recorder import Recorder
from .tensors import tensors_in

__all__ = ["are_active", "refuse_traced"]

_functorch = torch._C._functorch

are_active: Callable[[], bool] = torch._C._are_functorch_transforms_active
"""Whether a transform is running."""


def refuse_traced(recorder: Recorder, func: Callable[..., Any], values: Any) -> None:
    """Raise ``UnsupportedOperationError`` where a call inside a transform gets a traced value, or one below the start.

    Masks and other constants may be computed by transforms.
    """
    for tensor in tensors_in(values):
        inner = _unwrapped(tensor)
        if inner.requires_grad and not (isinstance(inner, torch.nn.Parameter)):
            raise recorder.unsupported(func, values, "runs inside a transform of torch.func, which hides its values")


def _unwrapped(tensor: Tensor) -> Tensor:
    while _functorch.is_functorch_wrapped_tensor(tensor):
        tensor = _functorch.get_unwrapped(tensor)
    return tensor
