"""Linear layers and convolutions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import operations as ops
from .table import autocast, handles, traced

if TYPE_CHECKING:
    from ..interception import Interception


@handles((F, "linear"), (torch._C._nn, "linear"))
def linear(mode: Interception, func: Any, input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    return affine_map(mode, ops.Linear, input, weight, bias)


def affine_map(mode: Interception, cls: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """X W^T + b for a traced x; a weight that is itself traced makes it a matrix product."""
    x, w, b = mode.detach_parameters((x, weight, bias))
    x, w, b = autocast((x, w, b))
    if traced(w, b):
        raise mode.unsupported(F.linear, (x, w), "with a weight that depends on the input has no relevance rule")
    operation = mode.operation(cls, w, b, owner=weight) if traced(x) else None
    return F.linear(x, w, b) if operation is None else operation(x)


@handles((torch, "addmm"))
def addmm(
    mode: Interception, func: Any, input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Any = 1, alpha: Any = 1
) -> Any:
    if beta != 1 or alpha != 1 or traced(mode.detach_parameters(input)) or traced(mode.detach_parameters(mat2)):
        return mode.run(func, input, mat1, mat2, beta=beta, alpha=alpha)
    return affine_map(mode, ops.Linear, mat1, mode.detach_parameters(mat2).t(), input)


@handles((F, "conv1d conv2d conv3d"), (torch, "conv1d conv2d conv3d"))
def convolution(
    mode: Interception,
    func: Any,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Tensor:
    x, w, b = autocast(mode.detach_parameters((input, weight, bias)))
    if not traced(x):
        return func(x, w, b, stride, padding, dilation, groups)  # type: ignore[no-any-return]
    rank = w.dim() - 2
    strides, dilations = _each(stride, rank), _each(dilation, rank)
    if padding == "valid":
        padding = 0
    elif padding == "same":
        total = [d * (k - 1) for d, k in zip(dilations, w.shape[2:], strict=True)]
        x = F.pad(x, [side for t in reversed(total) for side in (t // 2, t - t // 2)])
        padding = 0
    geometry = (strides, _each(padding, rank), dilations, False, [0] * rank, groups)
    operation = mode.operation(ops.Convolution, w, b, geometry, owner=weight)
    return torch.ops.aten.convolution(x, w, b, *geometry) if operation is None else operation(x)  # type: ignore[no-any-return]


def _each(value: Any, rank: int) -> list[int]:
    return [value] * rank if isinstance(value, int) else list(value) * (rank if len(value) == 1 else 1)
