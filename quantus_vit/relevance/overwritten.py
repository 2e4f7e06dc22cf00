"""Tensors that the model overwrites: here new tensors take their place, whatever name they are read by."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from .tensors import TensorMap, map_tensors, tensors_in

__all__ = ["Overwritten"]


class Overwritten:
    """What stands in for such tensors of one forward; views of them still hold the values of before.

    Attributes
    ----------
    awake : bool
        Whether there are any.
    """

    def __init__(self) -> None:
        self.awake = False
        self._now: TensorMap[Tensor | None] = TensorMap()  # what took its place; None where only a part was changed

    def add(self, x: Tensor, result: Tensor) -> Tensor:
        """Note that ``result`` took the place of x, which changes what x is a view of, too; gives the result."""
        self.awake = True
        self._now[x] = result
        if x._base is not None:
            self._now[x._base] = None
        return result

    def stale(self, value: Any) -> bool:
        """Whether a tensor is nested in the value that holds values of before: a view of one that was overwritten."""
        unchanged = (x for x in tensors_in(value) if self._now.get(x) is None)
        return any(x in self._now or (x._base is not None and x._base in self._now) for x in unchanged)

    def current(self, value: Any) -> Any:
        """The value with what took the place of overwritten tensors."""
        return map_tensors(value, self._current)

    def _current(self, x: Tensor) -> Tensor:
        while (newer := self._now.get(x)) is not None:
            x = newer
        return x
