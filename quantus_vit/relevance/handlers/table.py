"""The table of handlers, and what they all need.

A handler gets the recorder, the function the model called, and the call's arguments. It must compute what the
function computes. Traced values are those that require a gradient; a call that none of them enters runs as it is.
Where no rule is to be chosen (below the start, or for true gradients), only those handlers are asked that see more in a
call than its rule (``ALWAYS``).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from ..recorder import Recorder
from ..tensors import traced

__all__ = ["ALWAYS", "HANDLERS", "Handler", "autocast", "autocast_dtype", "handles", "in_place"]

Handler = Callable[..., Any]
HANDLERS: dict[Callable[..., Any], Handler] = {}
ALWAYS: set[Callable[..., Any]] = set()
"""Functions whose handler is asked even where no rule is to be chosen: attention, changes in place, cuts."""


def handles(
    *owners_and_names: tuple[Any, str], in_place_names: str = "", always: bool = False
) -> Callable[[Handler], Handler]:
    """Register a handler for functions given as (owner, names); names a torch version lacks are left out.

    Parameters
    ----------
    owners_and_names : (module or class, str)
        Names are separated by spaces.
    in_place_names : str
        Methods of tensors, without their underscore, whose form in place (``add_`` for ``"add"``) the handler serves,
        too.
    always : bool
        The functions are among ``ALWAYS``, as all that change tensors in place are.
    """

    def register(handler: Handler) -> Handler:
        for owner, names in owners_and_names:
            for name in names.split():
                if hasattr(owner, name):
                    HANDLERS[getattr(owner, name)] = handler
                    if always:
                        ALWAYS.add(getattr(owner, name))
        for name in in_place_names.split():
            HANDLERS[getattr(Tensor, name + "_")] = in_place(handler, name)
            ALWAYS.add(getattr(Tensor, name + "_"))
        return handler

    return register


def in_place(handler: Handler, name: str) -> Handler:
    """A handler for the method ``name_``, as which ``x += y`` arrives too.

    What a backward pass needs must not be overwritten. So a new tensor takes the place of the old one, under all its
    names; reading a view of the old one again is refused. Only copies that nothing needed yet, and views, are written
    into.
    """

    def handle(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not traced(*recorder.detach_parameters((input, *args))):
            return recorder.run(func, input, *args, **kwargs)
        before = input.clone()
        if recorder.positions is not None:
            recorder.positions.carry(input, before, lambda places: places)
        if not torch.is_grad_enabled() and input.requires_grad:
            raise recorder.unsupported(func, (input, *args), "changes a traced value under no_grad, unseen by autograd")
        result = handler(recorder, getattr(Tensor, name), before, *args, **kwargs)
        is_copy = not input.requires_grad or type(input.grad_fn).__name__ in ("CloneBackward0", "CopyBackwards")
        made_by_us = isinstance(input.grad_fn, torch.autograd.function.BackwardCFunction)
        if is_copy or (input._is_view() and not input.is_leaf and not made_by_us):
            return input.copy_(result)
        return recorder.overwritten.add(input, result)

    return handle


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
