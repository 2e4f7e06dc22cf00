"""Operations whose function comes with the call: activations, pooling, and the base of others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from .base import Messages, Operation

if TYPE_CHECKING:
    from ..passes import PassState
    from ..rules import Rule


class FunctionOperation(Operation):
    """Common to operations whose function comes with the call, options bound; their gradient is autograd's."""

    def __init__(self, rule: Rule, state: PassState, module_name: str, function: Callable[..., Tensor]) -> None:
        super().__init__(rule, state, module_name)
        self._function = function

    def function(self, *inputs: Tensor) -> Tensor:
        return self._function(*inputs)


class Activation(FunctionOperation):
    """An elementwise non-linearity of one input."""

    kind = "activation"


class Gelu(Activation):
    """GELU with torch's fused backward."""

    recomputable = True

    def __init__(self, rule: Rule, state: PassState, module_name: str, approximate: str) -> None:
        super().__init__(rule, state, module_name, lambda x: F.gelu(x, approximate=approximate))
        self.approximate = approximate

    def gradient(self, message: Tensor) -> Messages:
        return (torch.ops.aten.gelu_backward(message, self.inputs[0], approximate=self.approximate),)


class Pooling(FunctionOperation):
    """A linear map without parameters: mean, sum, average pooling, interpolation."""

    kind = "pooling"
