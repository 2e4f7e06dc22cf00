"""Sums, scaling, gates and pooling."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import operations as ops
from .table import handles, traced

if TYPE_CHECKING:
    from ..interception import Interception


@handles((torch, "add"), (Tensor, "add __add__ __radd__"))
def add(mode: Interception, func: Any, input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    a, b = mode.detach_parameters((input, other))
    if not traced(a, b):
        return func(a, b, alpha=alpha) if alpha != 1 else func(a, b)
    if alpha != 1:
        b = scale(mode, torch.mul, b, alpha)
    a, b = (x if isinstance(x, Tensor) else torch.as_tensor(x).to(y) for x, y in ((a, b), (b, a)))
    operation = mode.operation(ops.Add, (mode.is_normalised(a), mode.is_normalised(b)))
    total = a + b if operation is None else operation(a, b)
    if traced(a) and traced(b):
        mode.sums.append(weakref.ref(total))
    return total


@handles((torch, "sub subtract"), (Tensor, "sub subtract __sub__"))
def subtract(mode: Interception, func: Any, input: Any, other: Any, *, alpha: Any = 1) -> Any:
    if not traced(*mode.detach_parameters((input, other))):
        return mode.run(func, input, other, **({"alpha": alpha} if alpha != 1 else {}))
    return add(mode, torch.add, input, scale(mode, torch.mul, other, -1), alpha=alpha)


@handles((torch, "rsub"), (Tensor, "__rsub__"))
def reversed_subtract(mode: Interception, func: Any, input: Any, other: Any) -> Any:
    if not traced(mode.detach_parameters(input)):
        return mode.run(func, input, other)
    return add(mode, torch.add, scale(mode, torch.mul, input, -1), other)


@handles((torch, "mul multiply"), (Tensor, "mul multiply __mul__ __rmul__"))
def scale(mode: Interception, func: Any, input: Any, other: Any) -> Any:
    a, b = mode.detach_parameters((input, other))
    if not traced(a, b):
        return a * b
    if traced(a) and traced(b):
        operation = mode.operation(ops.Gate)
        return a * b if operation is None else operation(a, b)
    active, factor = (a, b) if traced(a) else (b, a)
    operation = mode.operation(ops.Scale, factor)
    return active * factor if operation is None else operation(active)


@handles((torch, "neg negative"), (Tensor, "neg negative __neg__"))
def negate(mode: Interception, func: Any, input: Tensor) -> Any:
    return scale(mode, torch.mul, input, -1)


@handles((torch, "div divide true_divide"), (Tensor, "div divide true_divide __truediv__"))
def divide(mode: Interception, func: Any, input: Any, other: Any, *, rounding_mode: Any = None) -> Any:
    a, b = mode.detach_parameters((input, other))
    if not traced(a, b):
        return func(a, b) if rounding_mode is None else func(a, b, rounding_mode=rounding_mode)
    if traced(b) or rounding_mode is not None:
        return mode.run(func, a, b)
    factor = b.reciprocal() if isinstance(b, Tensor) else 1 / b
    operation = mode.operation(ops.Scale, factor)
    return a / b if operation is None else operation(a)


_POOLS = "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d interpolate"


@handles((torch, "mean sum avg_pool1d adaptive_avg_pool1d"), (Tensor, "mean sum"), (F, _POOLS))
def pooling(mode: Interception, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    if not traced(mode.detach_parameters(input)):
        return mode.run(func, input, *args, **kwargs)
    function: Any = lambda x: func(x, *args, **kwargs)  # noqa: E731
    operation = mode.operation(ops.Pooling, function)
    return function(input) if operation is None else operation(input)
