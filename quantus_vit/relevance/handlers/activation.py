"""Activations, and dropout."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.function import Activation, Gelu
from ..recorder import Recorder
from ..tensors import traced
from .table import handles


@handles((F, "gelu"), (torch._C._nn, "gelu"))
def gelu(recorder: Recorder, func: Any, input: Tensor, *, approximate: str = "none") -> Tensor:
    return recorder.apply(Gelu(approximate), recorder.detach_parameters(input))


_UNARY = (
    "relu silu elu selu celu leaky_relu hardswish hardsigmoid hardtanh relu6 mish softplus tanh sigmoid logsigmoid "
    "softsign softshrink hardshrink tanhshrink threshold"
)
_BOUNDS = "clamp clamp_min clamp_max clip"  # guards against overflow, and activations such as relu6, written by hand
_METHODS = "relu tanh sigmoid " + _BOUNDS


@handles((F, _UNARY), (torch, _METHODS), (Tensor, _METHODS), in_place_names=_METHODS)
def activation(recorder: Recorder, func: Any, input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
    x = recorder.detach_parameters(input)
    if not traced(x):
        return recorder.run(func, x, *args, **({"inplace": True} if inplace else {}), **kwargs)
    if traced(*args, *kwargs.values()):
        raise recorder.unsupported(func, (x, *args), "with a bound that depends on the input has no relevance rule")
    output = recorder.apply(Activation(lambda y: func(y, *args, **kwargs)), x)
    return recorder.overwritten.add(x, output) if inplace else output  # never in place: the graph keeps its input


_DROPOUTS = "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"

DROPOUTS = frozenset([torch.dropout, *(getattr(F, name) for name in _DROPOUTS.split())])


@handles((F, _DROPOUTS), (torch, "dropout"))
def dropout(
    recorder: Recorder, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if training and p:
        raise ValueError("dropout is active; call model.eval() before explaining it")
    return input
