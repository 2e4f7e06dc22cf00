"""Tensors that the model overwrites: here a new tensor took their place, so they must not be read again."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

from .tensors import tensors_in

__all__ = ["Overwritten"]


class Overwritten:
    """Marks on such tensors of one forward."""

    def __init__(self) -> None:
        self._marks: Any = WeakIdKeyDictionary()

    def add(self, x: Tensor) -> None:
        """Note that another tensor took the place of x, and of what x is a view of."""
        self._marks[x] = True
        if x._base is not None:
            self._marks[x._base] = True

    def among(self, value: Any) -> bool:
        """Whether one of them is nested in the value."""
        return bool(len(self._marks)) and any(tensor in self._marks for tensor in tensors_in(value))
