"""Methods that change a tensor in place, and hooks on tensors."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from .activation import activation
from .arithmetic import add, divide, scale, subtract
from .table import HANDLERS, Handler, handles, traced

if TYPE_CHECKING:
    from ..interception import Interception


def in_place(handler: Handler, name: str) -> Handler:
    """A handler for the method ``name_``, as which ``x += y`` arrives too.

    What a backward pass needs must not be overwritten. So a new tensor takes the place of the old one, and Python binds
    it to the name in ``x += y``; reading the old one again is refused. Only copies that nothing needed yet, and views,
    are written into.
    """

    def handle(mode: Interception, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
        if not traced(*mode.detach_parameters((input, *args))):
            return mode.run(func, input, *args, **kwargs)
        result = handler(mode, getattr(Tensor, name), input.clone(), *args, **kwargs)
        is_copy = not input.requires_grad or type(input.grad_fn).__name__ in ("CloneBackward0", "CopyBackwards")
        if is_copy or (input._is_view() and not input.is_leaf):
            return input.copy_(result)
        mode.mark_stale(input)
        return result

    return handle


for _handler, _names in (
    (add, "add"),
    (subtract, "sub subtract"),
    (scale, "mul multiply"),
    (divide, "div divide true_divide"),
    (activation, "relu sigmoid tanh clamp clamp_min clamp_max clip"),
):
    for _name in _names.split():
        HANDLERS[getattr(Tensor, _name + "_")] = in_place(_handler, _name)


@handles((Tensor.data, "__get__"))
def data(mode: Interception, func: Any, self: Tensor) -> Any:
    """What is written through ``.data`` goes unseen by autograd, so traced values do not hand it out."""
    if traced(mode.detach_parameters(self)):
        raise mode.unsupported(func, (self,), "of a traced value can be changed unseen; .detach() cannot")
    return func(self)


@handles((Tensor, "register_hook"))
def register_hook(mode: Interception, func: Any, self: Tensor, hook: Any) -> RemovableHandle:
    """Hooks that the model's forward puts on tensors are left out: messages here are not the gradients they expect."""
    return RemovableHandle(OrderedDict())


@handles((Tensor, "retain_grad"))
def retain_grad(mode: Interception, func: Any, self: Tensor) -> None:
    """Left out, as hooks are."""
