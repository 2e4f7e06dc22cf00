"""Products of activations: matrix products, einsum."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..operations.affine import Linear
from ..operations.function import Pooling
from ..operations.products import AttentionProduct, Contraction, Product
from ..recorder import Recorder, traced
from ..rules import GradientTimesInput
from .affine import affine_map
from .arithmetic import add, scale
from .table import autocast, handles


@handles((torch, "matmul bmm mm"), (Tensor, "matmul bmm mm __matmul__"))
def matmul(recorder: Recorder, func: Any, input: Tensor, other: Tensor) -> Tensor:
    is_attention = recorder.is_weights(input)
    a, b = autocast(recorder.detach_parameters((input, other)))
    if is_attention:
        layer = recorder.attention(a, b)
        product = AttentionProduct(layer)
        return recorder.apply(product, a, b, module_name=layer.module_name, otherwise=GradientTimesInput())
    if traced(a) and not traced(b) and b.dim() == 2:
        return affine_map(recorder, Linear, a, b.t(), None)
    return recorder.apply(Product(), a, b)


@handles((Tensor, "__rmatmul__"))
def rmatmul(recorder: Recorder, func: Any, self: Tensor, other: Tensor) -> Any:
    return matmul(recorder, torch.matmul, other, self)


@handles((torch, "baddbmm"), (Tensor, "baddbmm"))
def baddbmm(
    recorder: Recorder, func: Any, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    product = scale(recorder, torch.mul, matmul(recorder, torch.bmm, batch1, batch2), alpha)
    return product if beta == 0 else add(recorder, torch.add, scale(recorder, torch.mul, input, beta), product)


@handles((torch, "einsum"), (torch.functional, "einsum"))
def einsum(recorder: Recorder, func: Any, equation: Any, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    operands = tuple(recorder.detach_parameters(list(operands)))
    if not traced(*operands):
        return func(equation, *operands)
    if len(operands) != 2 or not isinstance(equation, str):
        return recorder.run(func, equation, *operands)
    a, b = operands
    if traced(a) and traced(b):
        return recorder.apply(Contraction(lambda x, y: func(equation, x, y)), a, b)
    if traced(a):
        return recorder.apply(Pooling(lambda x: func(equation, x, b)), a)
    return recorder.apply(Pooling(lambda y: func(equation, a, y)), b)
