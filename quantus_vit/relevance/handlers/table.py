"""The table of handlers, and what they all need.

A handler gets the interception, the function the model called, and the call's arguments. It must compute what the
function computes. Traced values are those that require a gradient; a call that none of them enters runs as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

Handler = Callable[..., Any]
HANDLERS: dict[Callable[..., Any], Handler] = {}


def handles(*owners_and_names: tuple[Any, str]) -> Callable[[Handler], Handler]:
    """Register a handler for functions given as (owner, names); names a torch version lacks are left out."""

    def register(handler: Handler) -> Handler:
        for owner, names in owners_and_names:
            for name in names.split():
                if hasattr(owner, name):
                    HANDLERS[getattr(owner, name)] = handler
        return handler

    return register


def traced(*values: Any) -> bool:
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)


def autocast_dtype(x: Any) -> torch.dtype | None:
    """The type to which autocast brings x in matrix products; None where autocast is off."""
    if not isinstance(x, Tensor) or not x.is_floating_point() or not torch.is_autocast_enabled(x.device.type):
        return None
    return torch.get_autocast_dtype(x.device.type)


def autocast(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values as autocast would give them to a matrix product; its own cast must not hide inside an operation."""
    dtype = autocast_dtype(values[0])
    if dtype is None:
        return values
    return tuple(x.to(dtype) if isinstance(x, Tensor) and x.is_floating_point() else x for x in values)
