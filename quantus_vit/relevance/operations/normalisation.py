"""Normalisations, and softmax."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .base import Messages, Operation
from .function import FunctionOperation

if TYPE_CHECKING:
    from ..passes import PassState
    from ..rules import Rule


class Normalisation(FunctionOperation):
    """Layer, group, batch (in evaluation), root-mean-square or L2 normalisation, affine part included.

    ``frozen(message, at)`` pulls a message back through the normalisation of ``at`` with its deviation a constant.
    """

    kind = "normalisation"

    def __init__(
        self,
        rule: Rule,
        state: PassState,
        module_name: str,
        function: Callable[[Tensor], Tensor],
        frozen: Callable[[Tensor, Tensor], Tensor],
    ) -> None:
        super().__init__(rule, state, module_name, function)
        self._frozen = frozen

    def frozen_gradient(self, message: Tensor) -> Tensor:
        """Vector-Jacobian product with the deviation a constant, the mean (where there is one) not."""
        return self._frozen(message, self.inputs[0])


class LayerNorm(Operation):
    """Layer normalisation over the trailing dimensions, with torch's fused kernels."""

    kind = "normalisation"
    frozen_reads = frozenset()
    recomputable = True

    def __init__(
        self,
        rule: Rule,
        state: PassState,
        module_name: str,
        shape: list[int],
        weight: Tensor | None,
        bias: Tensor | None,
        eps: float,
    ) -> None:
        super().__init__(rule, state, module_name)
        self.shape, self.weight, self.bias, self.eps = shape, weight, bias, eps

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.layer_norm(inputs[0], self.shape, self.weight, self.bias, self.eps)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, mean, deviation = torch.native_layer_norm(inputs[0], self.shape, self.weight, self.bias, self.eps)
        return output, (mean, deviation)

    def gradient(self, message: Tensor) -> Messages:
        backward = torch.ops.aten.native_layer_norm_backward
        x, (mean, deviation) = self.inputs[0], self.extras
        found = backward(message, x, self.shape, mean, deviation, self.weight, self.bias, [True, False, False])
        return (found[0],)

    def frozen_gradient(self, message: Tensor) -> Tensor:
        """Vector-Jacobian product with the standard deviation a constant: centring of message * weight / deviation."""
        scaled = message * self.extras[1]
        if self.weight is not None:
            scaled = scaled * self.weight
        return scaled - scaled.mean(dim=tuple(range(-len(self.shape), 0)), keepdim=True)


class Softmax(Operation):
    """Softmax along one dimension."""

    kind = "softmax"
    gradient_reads = frozenset({"output"})

    def __init__(self, rule: Rule, state: PassState, module_name: str, dim: int) -> None:
        super().__init__(rule, state, module_name)
        self.dim = dim

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.softmax(inputs[0], self.dim)

    def gradient(self, message: Tensor) -> Messages:
        backward = torch.ops.aten._softmax_backward_data
        return (backward(message, self.output, self.dim, self.output.dtype),)
