"""Products of activations: matrix products, einsum."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.affine import Linear
from ..operations.function import Pooling
from ..operations.products import AttentionProduct, Contraction, Product
from ..recorder import Recorder
from ..rules import GradientTimesInput
from ..tensors import traced
from .affine import affine_map
from .arithmetic import add, scale
from .table import autocast, handles

__all__ = [
    "attention_einsum",
    "baddbmm",
    "bilinear",
    "contraction",
    "einsum",
    "linear",
    "matmul",
    "rmatmul",
    "tensordot",
]


@handles((torch, "matmul bmm mm"), (Tensor, "matmul bmm mm __matmul__"), always=True)
def matmul(recorder: Recorder, func: Any, input: Tensor, other: Tensor) -> Tensor:
    is_attention = input in recorder.weights
    a, b = autocast(recorder.detach_parameters((input, other)))
    if is_attention:
        recorder.weights.meet(input)
        layer = recorder.attention(a, other)  # as the model has it: b may be a copy whose places nobody knows
        product = AttentionProduct(layer)
        return recorder.apply(product, a, b, module_name=layer.module_name, otherwise=GradientTimesInput())
    if traced(a) and not traced(b) and b.dim() == 2:
        return affine_map(recorder, Linear, a, b.t(), None)
    if traced(a) and traced(b):
        return recorder.apply(Product(), a, b)
    if traced(b):
        return recorder.apply(Pooling(lambda y: torch.matmul(a, y)), b, otherwise=GradientTimesInput())
    return recorder.apply(Pooling(lambda x: torch.matmul(x, b)), a, otherwise=GradientTimesInput())


@handles((F, "linear"), (torch._C._nn, "linear"))
def linear(recorder: Recorder, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """An affine map; a weight that depends on the input makes it a product of two activations, and a sum."""
    w, b = recorder.detach_parameters((weight, bias))
    if not traced(w, b):
        return affine_map(recorder, Linear, input, weight, bias)
    product = matmul(recorder, torch.matmul, input, recorder.run(torch.transpose, w, -1, -2) if w.dim() > 1 else w)
    return product if b is None else add(recorder, torch.add, product, b)  # type: ignore[no-any-return]


@handles((Tensor, "__rmatmul__"), always=True)
def rmatmul(recorder: Recorder, func: Any, self: Tensor, other: Tensor) -> Any:
    return matmul(recorder, torch.matmul, other, self)


@handles((torch, "baddbmm"), (Tensor, "baddbmm"), always=True)
def baddbmm(
    recorder: Recorder, func: Any, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    product = scale(recorder, torch.mul, matmul(recorder, torch.bmm, batch1, batch2), alpha)
    return product if beta == 0 else add(recorder, torch.add, scale(recorder, torch.mul, input, beta), product)


@handles((torch, "einsum"), (torch.functional, "einsum"), always=True)
def einsum(recorder: Recorder, func: Any, equation: Any, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    attention = attention_einsum(recorder, equation, operands)
    if attention is not None:
        return attention
    operands = tuple(recorder.detach_parameters(list(operands)))
    if not traced(*operands):
        return func(equation, *operands)
    if len(operands) != 2 or not isinstance(equation, str):
        return recorder.run(func, equation, *operands)
    a, b = operands
    return bilinear(recorder, lambda x, y: func(equation, x, y), a, b)


def attention_einsum(recorder: Recorder, equation: Any, operands: tuple[Any, ...]) -> Tensor | None:
    """Attention weights times values written as an einsum, as the matrix product that it is; None for other einsums."""
    if not isinstance(equation, str) or len(operands) != 2 or not any(x in recorder.weights for x in operands):
        return None
    a, b = operands
    parts = equation.replace(" ", "").replace("->", ",").split(",")
    if len(parts) != 3 or "." in equation or any(len(set(part)) < len(part) for part in parts):
        return None
    first, second, out = parts
    if b in recorder.weights:
        a, b, first, second = b, a, second, first
    summed = [x for x in first if x in second and x not in out]
    shared = [x for x in first if x in second and x in out]
    queries = [x for x in first if x not in second]
    width = [x for x in second if x not in first]
    if len(summed) != 1 or len(queries) != 1 or not width or set(out) != {*shared, *queries, *width}:
        return None
    weights = recorder.forward_mark(a, recorder.run(torch.permute, a, _places(first, [*shared, *queries, *summed])))
    order, depth = _places(second, [*shared, *summed, *width]), len(shared) + 1
    values = recorder.run(torch.permute, b, order)
    sizes = values.shape[depth:]
    flat = recorder.run(torch.flatten, values, depth)
    if recorder.positions is not None:
        recorder.positions.carry(b, flat, lambda places: places.permute(order).flatten(depth))
    product = matmul(recorder, torch.matmul, weights, flat)
    made = recorder.run(torch.reshape, product, (*product.shape[:-1], *sizes))
    there = [*shared, *queries, *width]
    return recorder.run(torch.permute, made, [there.index(x) for x in out])  # type: ignore[no-any-return]


def _places(letters: str, order: list[str]) -> list[int]:
    return [letters.index(x) for x in order]


@handles((torch, "tensordot"), (torch.functional, "tensordot"))
def tensordot(recorder: Recorder, func: Any, a: Tensor, b: Tensor, dims: Any = 2, out: Any = None) -> Any:
    return bilinear(recorder, lambda x, y: torch.tensordot(x, y, dims), a, b)


@handles((torch, "mv dot inner outer"), (Tensor, "mv dot inner outer"))
def contraction(recorder: Recorder, func: Any, input: Tensor, other: Tensor) -> Any:
    return bilinear(recorder, func, input, other)


def bilinear(recorder: Recorder, function: Any, a: Tensor, b: Tensor) -> Any:
    """A contraction of two activations, or a linear map of one."""
    a, b = recorder.detach_parameters((a, b))
    if traced(a) and traced(b):
        return recorder.apply(Contraction(function), a, b, otherwise=GradientTimesInput())
    if traced(a):
        return recorder.apply(Pooling(lambda x: function(x, b)), a, otherwise=GradientTimesInput())
    return recorder.apply(Pooling(lambda y: function(a, y)), b, otherwise=GradientTimesInput())
