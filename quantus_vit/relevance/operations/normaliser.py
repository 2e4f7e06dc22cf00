"""An activation times or over a traced norm, deviation or sum, which counts as a constant."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from ..interfaces import BinaryOperation
from .function import FunctionOperation

__all__ = ["Normaliser"]


class Normaliser(FunctionOperation, BinaryOperation):
    """``x / s`` or ``x * s``: an activation x, and a statistic s of activations that sets its scale."""

    kind = "normaliser"

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__(function)
