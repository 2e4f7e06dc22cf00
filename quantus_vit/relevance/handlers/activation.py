"""Activations, and dropout."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..operations.function import Activation, Gelu
from ..recorder import Recorder
from ..tensors import traced
from ..training_mode import refuse_random_numbers
from .table import handles

__all__ = ["activation", "dropout", "gelu", "random", "sigmoid"]


@handles((F, "gelu"), (torch._C._nn, "gelu"))
def gelu(recorder: Recorder, func: Any, input: Tensor, *, approximate: str = "none") -> Tensor:
    return recorder.apply(Gelu(approximate), recorder.detach_parameters(input))


_UNARY = (
    "relu silu elu selu celu leaky_relu hardswish hardsigmoid hardtanh relu6 mish softplus tanh logsigmoid "
    "softsign softshrink hardshrink tanhshrink threshold"
)
_BOUNDS = "clamp clamp_min clamp_max clip"  # guards against overflow, and activations such as relu6, written by hand
_METHODS = "relu tanh " + _BOUNDS


@handles((F, _UNARY), (torch, _METHODS), (Tensor, _METHODS), in_place_names=_METHODS)
def activation(recorder: Recorder, func: Any, input: Tensor, *args: Any, inplace: bool = False, **kwargs: Any) -> Any:
    x = recorder.detach_parameters(input)
    if not traced(x):
        return recorder.run(func, x, *args, **({"inplace": True} if inplace else {}), **kwargs)
    if traced(*args, *kwargs.values()):
        raise recorder.unsupported(func, (x, *args), "with a bound that depends on the input has no relevance rule")
    output = recorder.apply(Activation(lambda y: func(y, *args, **kwargs)), x)
    return recorder.overwritten.add(x, output) if inplace else output  # never in place: the graph keeps its input


@handles((F, "sigmoid"), (torch, "sigmoid"), (Tensor, "sigmoid"), in_place_names="sigmoid", always=True)
def sigmoid(recorder: Recorder, func: Any, input: Tensor) -> Any:
    """An activation; at the end of a model it makes probabilities."""
    output = activation(recorder, func, input)
    recorder.probabilities.add(output, "sigmoid")
    return output


@handles((F, "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"), (torch, "dropout"))
def dropout(
    recorder: Recorder, func: Any, input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    if training and p:
        raise ValueError("dropout is active; call model.eval() before explaining it")
    return input


@handles((torch, "rand randn rand_like randn_like"), (Tensor, "bernoulli_"), always=True)
def random(recorder: Recorder, func: Any, *args: Any, **kwargs: Any) -> Any:
    """Random numbers, which in training are those of stochastic depth, dropped tokens and the like."""
    refuse_random_numbers(recorder.locator.model, recorder.locator.describe)
    return recorder.run(func, *args, **kwargs)
