"""Products of two activations: matrix products, contractions, gates."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from .base import Messages, Operation, reduce_to
from .function import FunctionOperation


class Product(Operation):
    """Matrix product of two activations, ``a @ b``; ``record`` is set where a holds attention weights."""

    kind = "matmul"
    record: Callable[[Operation, Tensor], None] | None = None

    @property
    def recomputable(self) -> bool:  # type: ignore[override]
        """Scores are as large as attention weights, and one product makes them again."""
        return self.record is None

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.matmul(inputs[0], inputs[1])

    def vjp(self, message: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """(message b^T, a^T message), in the inputs' shapes."""
        a, b = self.inputs
        left = reduce_to(message @ b.mT, a.shape) if self.needs[0] else None
        right = reduce_to(a.mT @ message, b.shape) if self.needs[1] else None
        return left, right

    def gradient(self, message: Tensor) -> Messages:
        return self.vjp(message)

    def propagate(self, message: Tensor) -> Messages:
        messages = super().propagate(message)
        if self.record is not None and messages[0] is not None:
            self.record(self, messages[0])
        return messages


class Contraction(FunctionOperation):
    """A product of two activations that is linear in each, other than ``matmul`` (einsum)."""

    kind = "matmul"

    def vjp(self, message: Tensor) -> Messages:
        return self.gradient(message)


class Gate(Operation):
    """Elementwise product of two activations, as in gated linear units."""

    kind = "gate"

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * inputs[1]

    def gradient(self, message: Tensor) -> Messages:
        a, b = self.inputs
        return (
            reduce_to(message * b, a.shape) if self.needs[0] else None,
            reduce_to(message * a, b.shape) if self.needs[1] else None,
        )
