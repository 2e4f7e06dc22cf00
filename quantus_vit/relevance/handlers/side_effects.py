"""What a forward does to a tensor beside computing: handing out its data, hooks."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from torch import Tensor
from torch.utils.hooks import RemovableHandle

from ..recorder import Recorder, traced
from .table import handles


@handles((Tensor.data, "__get__"))
def data(recorder: Recorder, func: Any, self: Tensor) -> Any:
    """What is written through ``.data`` goes unseen by autograd, so traced values do not hand it out."""
    if traced(recorder.detach_parameters(self)):
        raise recorder.unsupported(func, (self,), "of a traced value can be changed unseen; .detach() cannot")
    return func(self)


@handles((Tensor, "register_hook"))
def register_hook(recorder: Recorder, func: Any, self: Tensor, hook: Any) -> RemovableHandle:
    """Hooks that the model's forward puts on tensors are left out: messages here are not the gradients they expect."""
    return RemovableHandle(OrderedDict())


@handles((Tensor, "retain_grad"))
def retain_grad(recorder: Recorder, func: Any, self: Tensor) -> None:
    """Left out, as hooks are."""
