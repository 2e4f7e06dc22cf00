"""Norms, deviations and inverses of activations: what is multiplied by them is normalised."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

from .tensors import TensorMap

__all__ = ["Statistics"]


class Statistics:
    """Marks on such tensors of one forward, and on what is computed from them alone.

    Attributes
    ----------
    awake : bool
        Whether there are any.
    """

    def __init__(self) -> None:
        self.awake = False
        self._marks: TensorMap[bool] = TensorMap()

    def add(self, x: Tensor) -> None:
        """Note a norm, deviation or inverse."""
        if x.requires_grad:
            self.awake = True
            self._marks[x] = True

    def __contains__(self, x: Any) -> bool:
        return isinstance(x, Tensor) and x in self._marks

    def follow(self, inputs: Iterable[Tensor], outputs: Iterable[Tensor]) -> None:
        """Note what a call made, if all its traced inputs are such tensors."""
        if self.awake:
            traced = [x for x in inputs if x.requires_grad]
            if traced and all(x in self._marks for x in traced):
                for output in outputs:
                    self.add(output)
