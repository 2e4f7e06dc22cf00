"""Sums of activations, and activations times constants."""

from __future__ import annotations

from torch import Tensor

from ..interfaces import Reads, SumOperation, UnaryOperation
from ..numerics import Messages, reduce_to
from .base import Operation

__all__ = ["Add", "Divide", "Scale"]


class Add(Operation, SumOperation):
    """Sum of two tensors, ``a + b`` (``a - b`` is the sum of a and -b).

    ``shared`` says which of them also entered a normalisation, as the residual stream does.
    """

    kind = "add"
    gradient_reads = Reads.NOTHING

    def __init__(self, shared: tuple[bool, bool] = (False, False)) -> None:
        self.shared = shared

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]

    def gradient(self, message: Tensor) -> Messages:
        return tuple(
            reduce_to(message, shape) if need else None for shape, need in zip(self.shapes, self.needs, strict=True)
        )


class Scale(Operation, UnaryOperation):
    """Product of an activation with a constant (a number, or a tensor that the input does not reach)."""

    kind = "scale"
    gradient_reads = Reads.NOTHING
    recomputable = True

    def __init__(self, factor: Tensor | float) -> None:
        self.factor = factor

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * self.factor

    def gradient(self, message: Tensor) -> Messages:
        return (reduce_to(message * self.factor, self.shapes[0]),)


class Divide(Scale):
    """An activation over a constant, rounded as torch rounds it."""

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] / self.factor

    def gradient(self, message: Tensor) -> Messages:
        return (reduce_to(message / self.factor, self.shapes[0]),)
