"""Sums of activations, and activations times constants."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from .base import Messages, Operation, reduce_to

if TYPE_CHECKING:
    from ..passes import PassState
    from ..rules import Rule


class Add(Operation):
    """Sum of two tensors, ``a + b`` (``a - b`` is the sum of a and -b).

    ``shared`` says which of them also entered a normalisation, as the residual stream does.
    """

    kind = "add"
    gradient_reads = frozenset()

    def __init__(self, rule: Rule, state: PassState, module_name: str, shared: tuple[bool, bool]) -> None:
        super().__init__(rule, state, module_name)
        self.shared = shared

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] + inputs[1]

    def gradient(self, message: Tensor) -> Messages:
        return tuple(
            reduce_to(message, shape) if need else None for shape, need in zip(self.shapes, self.needs, strict=True)
        )


class Scale(Operation):
    """Product of an activation with a constant (a number, or a tensor that the input does not reach)."""

    kind = "scale"
    gradient_reads = frozenset()
    recomputable = True

    def __init__(self, rule: Rule, state: PassState, module_name: str, factor: Tensor | float) -> None:
        super().__init__(rule, state, module_name)
        self.factor = factor

    def function(self, *inputs: Tensor) -> Tensor:
        return inputs[0] * self.factor

    def gradient(self, message: Tensor) -> Messages:
        return (reduce_to(message * self.factor, self.shapes[0]),)
