"""Normalisations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import operations as ops
from .table import autocast_dtype, handles, traced

if TYPE_CHECKING:
    from ..interception import Interception


@handles((F, "layer_norm"), (torch, "layer_norm"))
def layer_norm(
    mode: Interception,
    func: Any,
    input: Tensor,
    normalized_shape: Any,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    eps: float = 1e-5,
    *unused: Any,
    **kwargs: Any,
) -> Tensor:
    x, w, b = mode.detach_parameters((input, weight, bias))
    if autocast_dtype(x) is not None:
        x = x.float()
    shape = [normalized_shape] if isinstance(normalized_shape, int) else list(normalized_shape)
    operation = mode.operation(ops.LayerNorm, shape, w, b, eps, owner=weight) if traced(x) else None
    mode.mark_normalised(x)
    return torch.layer_norm(x, shape, w, b, eps) if operation is None else operation(x)


@handles((F, "rms_norm"), (torch, "rms_norm"))
def rms_norm(
    mode: Interception, func: Any, input: Tensor, normalized_shape: Any, weight: Any = None, eps: Any = None
) -> Any:
    x, w = mode.detach_parameters((input, weight))
    dims = tuple(range(-len(normalized_shape), 0))

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        epsilon = torch.finfo(at.dtype).eps if eps is None else eps
        scale = (at.pow(2).mean(dims, keepdim=True) + epsilon).rsqrt()
        return message * scale if w is None else message * scale * w

    return normalisation(mode, lambda y: func(y, normalized_shape, w, eps), frozen, x, weight)


@handles((F, "normalize"))
def normalize(
    mode: Interception, func: Any, input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Any = None
) -> Any:
    def frozen(message: Tensor, at: Tensor) -> Any:
        return message / torch.linalg.vector_norm(at, p, dim, keepdim=True).clamp_min(eps)

    return normalisation(mode, lambda y: func(y, p, dim, eps), frozen, mode.detach_parameters(input), None)


@handles((F, "group_norm"), (torch, "group_norm"))
def group_norm(
    mode: Interception,
    func: Any,
    input: Tensor,
    num_groups: int,
    weight: Any = None,
    bias: Any = None,
    eps: float = 1e-5,
    *unused: Any,
) -> Any:
    x, w, b = mode.detach_parameters((input, weight, bias))

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        grouped = at.reshape(at.shape[0], num_groups, -1)
        rstd = (grouped.var(-1, unbiased=False, keepdim=True) + eps).rsqrt()
        scaled = message if w is None else message * w.view(1, -1, *[1] * (message.dim() - 2))
        parts = scaled.reshape(grouped.shape) * rstd
        return (parts - parts.mean(-1, keepdim=True)).reshape(at.shape)

    return normalisation(mode, lambda y: F.group_norm(y, num_groups, w, b, eps), frozen, x, weight)


@handles((F, "batch_norm"))
def batch_norm(
    mode: Interception,
    func: Any,
    input: Tensor,
    running_mean: Tensor | None,
    running_var: Tensor | None,
    weight: Tensor | None = None,
    bias: Tensor | None = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
) -> Any:
    x, w, b = mode.detach_parameters((input, weight, bias))
    if not traced(x):
        return func(x, running_mean, running_var, w, b, training, momentum, eps)
    if training or running_var is None:
        raise ValueError("batch normalisation is in training mode; call model.eval() before explaining it")

    def frozen(message: Tensor, at: Tensor) -> Tensor:
        scale = (running_var + eps).rsqrt() if w is None else w * (running_var + eps).rsqrt()
        return message * scale.view(1, -1, *[1] * (message.dim() - 2))

    return normalisation(
        mode, lambda y: func(y, running_mean, running_var, w, b, False, momentum, eps), frozen, x, weight
    )


def normalisation(mode: Interception, function: Any, frozen: Any, x: Tensor, owner: Any) -> Any:
    operation = mode.operation(ops.Normalisation, function, frozen, owner=owner) if traced(x) else None
    mode.mark_normalised(x)
    return function(x) if operation is None else operation(x)
