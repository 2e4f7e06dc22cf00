"""Normalisations, and softmax."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..interfaces import NormalisationOperation, Reads, UnaryOperation
from ..numerics import Messages
from .base import Operation
from .function import FunctionOperation

__all__ = ["LayerNorm", "Normalisation", "Softmax"]


class Normalisation(FunctionOperation, NormalisationOperation):
    """Layer, group, batch (in evaluation), root-mean-square or L2 normalisation, affine part included.

    ``frozen(message, at)`` pulls a message back through the normalisation of ``at`` with its deviation a constant;
    ``shift`` (C,) is what that affine map adds to the channels (dimension 1).
    """

    kind = "normalisation"

    def __init__(
        self,
        function: Callable[[Tensor], Tensor],
        frozen: Callable[[Tensor, Tensor], Tensor],
        shift: Tensor | None = None,
    ) -> None:
        super().__init__(function)
        self._frozen, self._shift = frozen, shift

    def frozen_gradient(self, message: Tensor) -> Tensor:
        return self._frozen(message, self.inputs[0])

    def bias_relevance(self, message: Tensor) -> Tensor | None:
        if self._shift is None:
            return None
        return (message * self._shift.view(-1, *[1] * (message.dim() - 2))).sum(1)


class LayerNorm(Operation, NormalisationOperation):
    """Layer normalisation over the trailing dimensions, with torch's fused kernels."""

    kind = "normalisation"
    frozen_reads = Reads.NOTHING
    recomputable = True

    def __init__(self, shape: list[int], weight: Tensor | None, bias: Tensor | None, eps: float) -> None:
        self.shape, self.weight, self.bias, self.eps = shape, weight, bias, eps

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.layer_norm(inputs[0], self.shape, self.weight, self.bias, self.eps)

    def forward(self, *inputs: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        output, mean, deviation = torch.native_layer_norm(inputs[0], self.shape, self.weight, self.bias, self.eps)
        return output, (mean, deviation)

    def gradient(self, message: Tensor) -> Messages:
        backward = torch.ops.aten.native_layer_norm_backward
        x, (mean, deviation) = self.inputs[0], self.values.extras
        gradients = backward(message, x, self.shape, mean, deviation, self.weight, self.bias, [True, False, False])
        return (gradients[0],)

    def bias_relevance(self, message: Tensor) -> Tensor | None:
        if self.bias is None:
            return None
        return message.flatten(-len(self.shape)) @ self.bias.to(message.dtype).flatten()

    def frozen_gradient(self, message: Tensor) -> Tensor:
        """Centring of message * weight / deviation."""
        scaled: Tensor = message * self.values.extras[1]
        if self.weight is not None:
            scaled = scaled * self.weight
        return scaled - scaled.mean(dim=tuple(range(-len(self.shape), 0)), keepdim=True)


class Softmax(Operation, UnaryOperation):
    """Softmax along one dimension."""

    kind = "softmax"
    gradient_reads = Reads.OUTPUT

    def __init__(self, dim: int) -> None:
        self.dim = dim

    @property
    def is_constant(self) -> bool:
        """Under a rule that stops, where no pass wants its gradient."""
        recording = self.state.recording
        return self.rule.stops and not recording.gradients and not recording.every_input

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.softmax(inputs[0], self.dim)

    def gradient(self, message: Tensor) -> Messages:
        backward = torch.ops.aten._softmax_backward_data
        return (backward(message, self.output, self.dim, self.output.dtype),)
