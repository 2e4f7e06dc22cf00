"""Which activations entered a normalisation: a sum asks, since the residual stream enters both."""

from __future__ import annotations

from torch import Tensor

from .interfaces import NormalisationOperation
from .operations.base import Operation
from .tensors import TensorMap

__all__ = ["NormalisedInputs"]


class NormalisedInputs:
    """Marks on such tensors of one forward."""

    def __init__(self) -> None:
        self._operations: TensorMap[Operation] = TensorMap()

    def add(self, x: Tensor, operation: Operation) -> None:
        """Note that x enters a normalisation."""
        if x.requires_grad:
            self._operations[x] = operation

    def shares(self, x: Tensor) -> bool:
        """Whether x, an input of a sum, entered a normalisation, which is told that it shares its input."""
        if x not in self._operations:
            return False
        operation = self._operations[x]
        if isinstance(operation, NormalisationOperation):
            operation.shared = True
        return True
