"""Products of two activations: matrix products, contractions, gates."""

from __future__ import annotations

import torch
from torch import Tensor

from ..interfaces import ProductOperation
from ..numerics import Messages, reduce_to
from ..state import Attention
from .base import Operation
from .function import FunctionOperation

__all__ = ["AttentionProduct", "Contraction", "Gate", "Product"]


class Product(Operation, ProductOperation):
    """Matrix product of two activations, ``a @ b``."""

    kind = "matmul"
    recomputable = True  # scores are as large as attention weights, and one product makes them again

    def function(self, *inputs: Tensor) -> Tensor:
        return torch.matmul(inputs[0], inputs[1])

    def gradient(self, message: Tensor) -> Messages:
        """(message b^T, a^T message), in the inputs' shapes."""
        a, b = self.inputs
        left = reduce_to(message @ b.mT, a.shape) if self.needs[0] else None
        right = reduce_to(a.mT @ message, b.shape) if self.needs[1] else None
        return left, right


class AttentionProduct(Product):
    """Attention weights times values: passes tell here what they hand down to the weights of an attention layer."""

    kind = "attention"
    recomputable = False

    def __init__(self, attention: Attention) -> None:
        self.attention = attention

    def propagate(self, message: Tensor) -> Messages:
        messages = super().propagate(message)
        if messages[0] is not None:
            current, below = self.state.current, messages[0]
            if current.relevance and not self.carries_relevance:
                below = below * self.inputs[0]
            current.reach(self.attention, below)
        return messages


class Contraction(FunctionOperation, ProductOperation):
    """A product of two activations that is linear in each, other than ``matmul`` (einsum)."""

    kind = "matmul"


class Gate(Operation, ProductOperation):
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
