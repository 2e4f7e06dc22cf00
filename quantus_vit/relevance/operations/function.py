"""Operations whose function comes with the call: activations, pooling, and the base of others."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from ..interfaces import UnaryOperation
from ..numerics import Messages
from .base import Operation

__all__ = ["Activation", "FunctionOperation", "Gelu", "Pooling"]


class FunctionOperation(Operation):
    """Common to operations whose function comes with the call, options bound; their gradient is autograd's."""

    def __init__(self, function: Callable[..., Tensor]) -> None:
        self._function = function

    def function(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


class Activation(FunctionOperation, UnaryOperation):
    """An elementwise non-linearity of one input."""

    kind = "activation"


class Gelu(Operation, UnaryOperation):
    """GELU with torch's fused backward."""

    kind = "activation"
    recomputable = True

    def __init__(self, approximate: str = "none") -> None:
        self.approximate = approximate

    def function(self, *inputs: Tensor) -> Tensor:
        return F.gelu(inputs[0], approximate=self.approximate)

    def gradient(self, message: Tensor) -> Messages:
        return (torch.ops.aten.gelu_backward(message, self.inputs[0], approximate=self.approximate),)


class Pooling(FunctionOperation, UnaryOperation):
    """A linear map without parameters: mean, sum, average pooling, interpolation, a product with constants."""

    kind = "pooling"
