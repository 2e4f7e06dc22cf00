"""Activations, and dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
import torch.nn.functional as F
from torch import Tensor

from .. import operations as ops
from .table import handles, traced

if TYPE_CHECKING:
    from ..interception import Interception


@handles((F, "gelu"), (torch._C._nn, "gelu"))
def gelu(mode: Interception, func: Any, input: Tensor, *, approximate: str = "none") -> Tensor:
    input = mode.detach_parameters(input)
    operation = mode.operation(ops.Gelu, approximate) if traced(input) else None
    return func(input, approximate=approximate) if operation is None else operation(input)  # type: ignore[no-any-return]


_UNARY = "relu silu elu selu celu leaky_relu hardswish hardsigmoid hardtanh relu6 mish softplus tanh sigmoid logsigmoid"
_BOUNDS = "clamp clamp_min clamp_max clip"  # guards against overflow, and activations such as relu6, written by hand


@handles((F, _UNARY), (torch, "relu tanh sigmoid " + _BOUNDS), (Tensor, "relu tanh sigmoid " + _BOUNDS))
def activation(mode: Interception, func: Any, input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
    input = mode.detach_parameters(input)
    if not traced(input):
        return mode.run(func, input, *args, **({"inplace": True} if inplace else {}), **kwargs)
    if inplace:
        mode.mark_stale(input)
    function: Any = lambda x: func(x, *args, **kwargs)  # noqa: E731 - never in place: the graph keeps its input
    operation = mode.operation(ops.Activation, function)
    return function(input) if operation is None else operation(input)


@handles((F, "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"), (torch, "dropout"))
def dropout(
    mode: Interception, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if training and p:
        raise ValueError("dropout is active; call model.eval() before explaining it")
    return input
