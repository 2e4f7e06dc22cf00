"""Shifts that softmax does not see: ``scores - scores.amax(-1, keepdim=True).detach()`` cuts nothing.

Softmax along a dimension gives the same for scores that were shifted by a constant along it. So no relevance goes
through such a constant, and detaching it loses none, as long as nothing but softmax reads the shifted scores.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from torch import Tensor

from .tensors import TensorMap, tensors_in, traced

__all__ = ["SUMS", "Shifts"]

SUMS = frozenset({"add", "sub", "subtract", "rsub", "__add__", "__radd__", "__sub__", "__rsub__", "add_", "sub_"})
"""Names of the functions that add."""

_SAME = frozenset({"to", "type_as", "float", "half", "bfloat16", "double", "contiguous", "clone"})
_SCALES = frozenset({"mul", "__mul__", "__rmul__", "div", "__truediv__"})


class Shifts:
    """Shifted values of one forward: by what they were shifted, and along which dimensions that is constant."""

    def __init__(self) -> None:
        self._shifts: TensorMap[tuple[Any, frozenset[int]]] = TensorMap()  # by what, dimensions counted from the last

    def begin(self, name: str, constants: Sequence[Tensor], result: Tensor, cause: Any) -> bool:
        """Whether a call only shifts values by these constants, along some dimension; then the result is followed."""
        long = [d for d in range(-result.dim(), 0) if result.shape[d] > 1]
        dims = [d for d in long if all(_is_constant(x, d) for x in constants)]
        if name not in SUMS or not dims:
            return False
        self._shifts[result] = cause, frozenset(dims)
        return True

    def misread(self, name: str, args: tuple[Any, ...], kwargs: Any, result: Any) -> Any:
        """By what a value was shifted of which a call reads more than softmax does; None where all is well."""
        for x in tensors_in((args, kwargs)):
            if x not in self._shifts or not any(map(traced, tensors_in(result))):
                continue
            cause, dims = self._shifts[x]
            if name == "softmax":
                if _softmax_dim(x, args, kwargs) not in dims:
                    return cause
            elif isinstance(result, Tensor) and result.shape == x.shape and _keeps_shift(name, args, kwargs):
                self._shifts[result] = cause, dims
            else:
                return cause
        return None


def _is_constant(x: Tensor, dim: int) -> bool:
    return -dim > x.dim() or x.shape[dim] == 1


def _softmax_dim(x: Tensor, args: tuple[Any, ...], kwargs: Any) -> int:
    dim = args[1] if len(args) > 1 else (kwargs or {}).get("dim", -1)
    return dim - x.dim() if isinstance(dim, int) and dim >= 0 else dim


def _keeps_shift(name: str, args: tuple[Any, ...], kwargs: Any) -> bool:
    """Whether the result is shifted along the same dimensions: sums, casts, scaling by numbers, masks of -inf."""
    others: Collection[Any] = [*args, *(kwargs or {}).values()]
    if name in _SCALES:
        return sum(isinstance(x, Tensor) for x in others) == 1
    if name == "masked_fill":
        return any(x == float("-inf") for x in others if isinstance(x, float))
    return name in SUMS or name in _SAME
