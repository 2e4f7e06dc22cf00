"""Products of activations: matrix products, einsum."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from .. import operations as ops
from ..rules import GradientTimesInput
from .affine import affine_map
from .arithmetic import add, scale
from .table import autocast, handles, traced

if TYPE_CHECKING:
    from ..interception import Interception


@handles((torch, "matmul bmm mm"), (Tensor, "matmul bmm mm __matmul__"))
def matmul(mode: Interception, func: Any, input: Tensor, other: Tensor) -> Tensor:
    is_attention = mode.is_weights(input)
    a, b = autocast(mode.detach_parameters((input, other)))
    record = mode.attention(a) if is_attention else None
    if not traced(a, b):
        return torch.matmul(a, b)
    if traced(a) and not traced(b) and b.dim() == 2 and record is None:
        return affine_map(mode, ops.Linear, a, b.t(), None)
    kind = "matmul" if record is None else "attention"
    operation = mode.operation(ops.Product, kind=kind)
    if operation is None:
        if record is None:
            return torch.matmul(a, b)
        operation = ops.Product(GradientTimesInput(), mode.state, record.module_name)
    if record is not None:
        operation.record = lambda op, message: record.receive(op.state, message, op.inputs[0])
    return operation(a, b)  # type: ignore[no-any-return]


@handles((Tensor, "__rmatmul__"))
def rmatmul(mode: Interception, func: Any, self: Tensor, other: Tensor) -> Any:
    return matmul(mode, torch.matmul, other, self)


@handles((torch, "baddbmm"), (Tensor, "baddbmm"))
def baddbmm(
    mode: Interception, func: Any, input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    product = scale(mode, torch.mul, matmul(mode, torch.bmm, batch1, batch2), alpha)
    return product if beta == 0 else add(mode, torch.add, scale(mode, torch.mul, input, beta), product)


@handles((torch, "einsum"), (torch.functional, "einsum"))
def einsum(mode: Interception, func: Any, equation: Any, *operands: Any) -> Any:
    if len(operands) == 1 and isinstance(operands[0], (list, tuple)):
        operands = tuple(operands[0])
    operands = tuple(mode.detach_parameters(list(operands)))
    if not traced(*operands):
        return func(equation, *operands)
    if len(operands) != 2 or not isinstance(equation, str):
        return mode.run(func, equation, *operands)
    a, b = operands
    if traced(a) and traced(b):
        operation = mode.operation(ops.Contraction, lambda x, y: torch.einsum(equation, x, y))
        return func(equation, a, b) if operation is None else operation(a, b)
    active, function = (
        (a, lambda x: torch.einsum(equation, x, b)) if traced(a) else (b, lambda y: torch.einsum(equation, a, y))
    )
    operation = mode.operation(ops.Pooling, function)
    return func(equation, a, b) if operation is None else operation(active)
