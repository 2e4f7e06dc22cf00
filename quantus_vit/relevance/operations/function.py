"""Operations whose function comes with the call: activations, pooling, and the base of others."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..conditions import holds
from ..interfaces import ActivationOperation, UnaryOperation
from ..numerics import Messages
from .base import Operation

__all__ = ["Activation", "FunctionOperation", "Gelu", "Pooling"]


class FunctionOperation(Operation):
    """Common to operations whose function comes with the call, options bound; their gradient is autograd's."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function

    def function(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


class Activation(FunctionOperation, ActivationOperation):
    """An elementwise non-linearity of one input."""

    kind = "activation"

    def gate(self) -> Tensor:
        gate = self.function(self.x) / self.x
        zero = self.x == 0
        if not holds(~zero, self.state.conditions):
            with torch.enable_grad():
                at = self.x.new_zeros(int(zero.sum()), requires_grad=True)
                value = self.function(at)
                (slope,) = torch.autograd.grad(value.sum(), at)
            gate[zero] = slope.masked_fill(value.detach() != 0, 0)
        return gate


class Gelu(Operation, ActivationOperation):
    """GELU with torch's fused backward."""

    kind = "activation"
    recomputable = True

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def function(self, *inputs: Tensor) -> Tensor:
        return F.gelu(inputs[0], approximate=self.approximate)

    def gate(self) -> Tensor:
        x = self.x
        if self.approximate == "none":
            return (x * math.sqrt(0.5)).erf_().add_(1).mul_(0.5)
        return (x * x * x).mul_(0.044715).add_(x).mul_(math.sqrt(2 / math.pi)).tanh_().add_(1).mul_(0.5)

    def gradient(self, message: Tensor) -> Messages:
        return (torch.ops.aten.gelu_backward(message, self.inputs[0], approximate=self.approximate),)


class Pooling(FunctionOperation, UnaryOperation):
    """A linear map without parameters: mean, sum, average pooling, interpolation, a product with constants."""

    kind = "pooling"
