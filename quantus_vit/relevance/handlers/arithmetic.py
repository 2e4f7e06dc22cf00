"""Sums, scaling, gates and pooling."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.function import Activation, Pooling
from ..operations.normaliser import Normaliser
from ..operations.products import Gate
from ..operations.sums import Add, Divide, Scale
from ..positions import Embedding
from ..recorder import Recorder
from ..tensors import traced
from .table import handles

__all__ = ["add", "divide", "negate", "pooling", "reversed_divide", "reversed_subtract", "scale", "subtract"]


@handles((torch, "add"), (Tensor, "add __add__ __radd__"), in_place_names="add")
def add(recorder: Recorder, func: Any, input: Any, other: Any, *, alpha: Any = 1, out: Any = None) -> Any:
    a, b = recorder.detach_parameters((input, other))
    if not traced(a, b):
        return func(a, b, alpha=alpha) if alpha != 1 else func(a, b)
    if alpha != 1:
        b = scale(recorder, torch.mul, b, alpha)
    a, b = (x if isinstance(x, Tensor) else _beside(x, y) for x, y in ((a, b), (b, a)))
    a, b = _embedding(recorder, a, b), _embedding(recorder, b, a)
    total = recorder.apply(Add((recorder.normalised.shares(a), recorder.normalised.shares(b))), a, b)
    if traced(a) and traced(b):
        recorder.mark_sum(total, (a, b))
    return total


def _beside(number: Any, x: Tensor) -> Tensor:
    """A number as a tensor of the type of x, on its device, where it is filled in: a copy from the host would wait."""
    is_plain = isinstance(number, (bool, int, float))
    return x.new_full((), number) if is_plain else torch.as_tensor(number).to(x)


def _embedding(recorder: Recorder, constant: Any, tokens: Any) -> Any:
    """The constant that is added to ``tokens``; a leaf of its own for each image where it is a position embedding.

    That is a constant with an entry for each token, added to the patches' tokens below the first attention.
    """
    wanted = recorder.options.embeddings and recorder.positions is not None and traced(tokens) and not traced(constant)
    if not wanted or constant.dim() < 2 or constant.shape[-2] == 1 or recorder.positions is None:
        return constant
    patches = recorder.positions.tokens_of(tokens)
    if patches is None or constant.dim() > tokens.dim():
        return constant
    leaf = constant.detach().to(tokens).expand(tokens.shape).contiguous().requires_grad_()
    recorder.leaves.append(leaf)
    recorder.embeddings.append(Embedding(leaf.detach(), patches))
    return leaf


@handles((torch, "sub subtract"), (Tensor, "sub subtract __sub__"), in_place_names="sub subtract")
def subtract(recorder: Recorder, func: Any, input: Any, other: Any, *, alpha: Any = 1) -> Any:
    if not traced(*recorder.detach_parameters((input, other))):
        return recorder.run(func, input, other, **({"alpha": alpha} if alpha != 1 else {}))
    return add(recorder, torch.add, input, scale(recorder, torch.mul, other, -1), alpha=alpha)


@handles((torch, "rsub"), (Tensor, "__rsub__"))
def reversed_subtract(recorder: Recorder, func: Any, input: Any, other: Any) -> Any:
    if not traced(recorder.detach_parameters(input)):
        return recorder.run(func, input, other)
    return add(recorder, torch.add, scale(recorder, torch.mul, input, -1), other)


@handles((torch, "mul multiply"), (Tensor, "mul multiply __mul__ __rmul__"), in_place_names="mul multiply")
def scale(recorder: Recorder, func: Any, input: Any, other: Any) -> Any:
    a, b = recorder.detach_parameters((input, other))
    if not traced(a, b):
        return a * b
    if traced(a) and traced(b):
        if (a in recorder.statistics) != (b in recorder.statistics):
            x, factor = (b, a) if a in recorder.statistics else (a, b)
            return recorder.apply(Normaliser(torch.mul), x, factor)
        return recorder.apply(Gate(), a, b)
    active, factor = (a, b) if traced(a) else (b, a)
    return recorder.apply(Scale(factor), active)


@handles((Tensor, "__rtruediv__ __rdiv__"))
def reversed_divide(recorder: Recorder, func: Any, input: Any, other: Any) -> Any:
    return divide(recorder, torch.div, other, input)


@handles((torch, "neg negative"), (Tensor, "neg negative __neg__"))
def negate(recorder: Recorder, func: Any, input: Tensor) -> Any:
    return scale(recorder, torch.mul, input, -1)


_DIVIDE = "div divide true_divide"


@handles((torch, _DIVIDE), (Tensor, _DIVIDE + " __truediv__"), in_place_names=_DIVIDE)
def divide(recorder: Recorder, func: Any, input: Any, other: Any, *, rounding_mode: Any = None) -> Any:
    a, b = recorder.detach_parameters((input, other))
    if not traced(a, b):
        return func(a, b) if rounding_mode is None else func(a, b, rounding_mode=rounding_mode)
    if rounding_mode is not None:
        return recorder.run(func, a, b, rounding_mode=rounding_mode)
    if traced(a) and traced(b):  # the divisor counts as a constant, as in normalisations
        return recorder.apply(Normaliser(torch.div), a, b)
    if traced(b):
        inverse = recorder.apply(Activation(torch.reciprocal), b)
        recorder.statistics.add(inverse)
        return scale(recorder, torch.mul, a, inverse)
    return recorder.apply(Divide(b), a)


_POOLS = "avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d"
_RESAMPLING = "interpolate upsample grid_sample"


@handles((torch, "mean sum avg_pool1d adaptive_avg_pool1d"), (Tensor, "mean sum"), (F, _POOLS + " " + _RESAMPLING))
def pooling(recorder: Recorder, func: Any, input: Tensor, *args: Any, **kwargs: Any) -> Any:
    if not traced(recorder.detach_parameters(input)):
        return recorder.run(func, input, *args, **kwargs)
    if traced(*args, *kwargs.values()):
        raise recorder.unsupported(func, (input, *args), "at places that depend on the input has no relevance rule")
    return recorder.apply(Pooling(lambda x: func(x, *args, **kwargs)), input)
