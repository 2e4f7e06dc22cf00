"""Functions that are made of others: each is computed in the steps that have rules."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.function import Activation, Pooling
from ..recorder import Recorder
from ..tensors import traced
from .activation import activation
from .arithmetic import add, divide, scale, subtract
from .table import handles

__all__ = ["addcmul", "glu", "lerp", "prelu", "scatter_add"]


@handles((F, "glu"), (torch._C._nn, "glu"))
def glu(recorder: Recorder, func: Any, input: Tensor, dim: int = -1) -> Any:
    """The first half times the second half's sigmoid."""
    values, gates = recorder.run(torch.chunk, input, 2, dim)
    return scale(recorder, torch.mul, values, activation(recorder, torch.sigmoid, gates))


@handles((F, "prelu"), (torch, "prelu"), (Tensor, "prelu"))
def prelu(recorder: Recorder, func: Any, input: Tensor, weight: Tensor) -> Any:
    x, w = recorder.detach_parameters((input, weight))
    if traced(w):
        raise recorder.unsupported(func, (x, w), "with a slope that depends on the input has no relevance rule")
    return recorder.apply(Activation(lambda y: torch.prelu(y, w)), x, owner=weight)


@handles((torch, "lerp"), (Tensor, "lerp"), in_place_names="lerp")
def lerp(recorder: Recorder, func: Any, input: Tensor, end: Tensor, weight: Any) -> Any:
    """(1 - weight) start + weight end."""
    if not traced(*recorder.detach_parameters((input, end, weight))):
        return recorder.run(func, input, end, weight)
    rest = subtract(recorder, torch.sub, torch.ones_like(weight), weight) if isinstance(weight, Tensor) else 1 - weight
    start, stop = scale(recorder, torch.mul, input, rest), scale(recorder, torch.mul, end, weight)
    return add(recorder, torch.add, start, stop)


@handles((torch, "addcmul"), (Tensor, "addcmul"), in_place_names="addcmul")
def addcmul(recorder: Recorder, func: Any, input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """Input + value tensor1 tensor2."""
    if not traced(*recorder.detach_parameters((input, tensor1, tensor2))):
        return recorder.run(func, input, tensor1, tensor2, value=value)
    return add(recorder, torch.add, input, scale(recorder, torch.mul, tensor1, tensor2), alpha=value)


@handles((torch, "addcdiv"), (Tensor, "addcdiv"), in_place_names="addcdiv")
def addcdiv(recorder: Recorder, func: Any, input: Tensor, tensor1: Any, tensor2: Any, *, value: Any = 1) -> Any:
    """Input + value tensor1 / tensor2."""
    if not traced(*recorder.detach_parameters((input, tensor1, tensor2))):
        return recorder.run(func, input, tensor1, tensor2, value=value)
    return add(recorder, torch.add, input, divide(recorder, torch.div, tensor1, tensor2), alpha=value)


@handles((torch, "scatter_add"), (Tensor, "scatter_add"), in_place_names="scatter_add")
def scatter_add(recorder: Recorder, func: Any, input: Tensor, dim: int, index: Tensor, src: Tensor) -> Any:
    """Input + the entries of src that fall on each place."""
    x, source = recorder.detach_parameters((input, src))
    if not traced(x, source):
        return func(x, dim, index, source)
    places = torch.zeros_like(x, requires_grad=False)
    return add(recorder, torch.add, x, recorder.apply(Pooling(lambda y: places.scatter_add(dim, index, y)), source))


@handles((torch, "index_add"), (Tensor, "index_add"), in_place_names="index_add")
def index_add(
    recorder: Recorder, func: Any, input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1
) -> Any:
    """Input + alpha times the slices of source that fall on each place."""
    x, added = recorder.detach_parameters((input, source))
    if not traced(x, added):
        return func(x, dim, index, added, alpha=alpha)
    places = torch.zeros_like(x, requires_grad=False)
    moved = recorder.apply(Pooling(lambda y: places.index_add(dim, index, y)), added)
    return add(recorder, torch.add, x, moved, alpha=alpha)
