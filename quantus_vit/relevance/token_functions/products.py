"""Products of two tensors, and linear maps."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from ..token_contraction import contract, einsum_labels, matmul_labels
from ..token_positions import MixedPlacesError, Record
from ..token_tracking import TokenTracking, handles

__all__ = ["operands"]


@handles((torch, "matmul bmm mm"), (Tensor, "matmul bmm mm __matmul__ __rmatmul__"))
def matmul(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A product of two matrices, or a linear map without bias."""
    a, b = operands(args, options, ("input", "other", "mat2"))
    a, b = (b, a) if func is Tensor.__rmatmul__ else (a, b)
    if not mode.sets_of(b) and b.dim() == 2 and a.dim() >= 2:
        return mode.note(torch.matmul(a, b), _after_linear(mode, a))  # type: ignore[no-any-return]
    record, summed = contract(mode.table, _pair(mode, a, b), matmul_labels(a.dim(), b.dim()))
    return mode.note(torch.matmul(a, b if summed is None else mode.dropped(summed, b)), record)  # type: ignore[no-any-return]


@handles((torch, "baddbmm addmm"), (Tensor, "baddbmm addmm"))
def added_matmul(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """``beta * input + alpha * (a @ b)``."""
    start, a, b = args
    if not mode.sets_of(b) and b.dim() == 2:
        product = _after_linear(mode, a)
    else:
        product, summed = contract(mode.table, _pair(mode, a, b), matmul_labels(a.dim(), b.dim()))
        b = b if summed is None else mode.dropped(summed, b)
    result = func(start, a, b, **options)
    records = [(r, x) for r, x in ((product, result.dim()), (Record(mode.sets_of(start)), start.dim())) if r.sets]
    return mode.note(result, mode.table.combined(records, result.dim()))  # type: ignore[no-any-return]


@handles((torch, "einsum"), (torch.functional, "einsum"))
def einsum(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A product of two tensors by an equation."""
    equation, operands = args[0], args[1:]
    if len(operands) == 1 and isinstance(operands[0], (tuple, list)):
        operands = tuple(operands[0])
    labels = einsum_labels(equation, operands)
    record, summed = contract(mode.table, _pair(mode, *operands), labels)
    a, b = operands
    return mode.note(func(equation, a, b if summed is None else mode.dropped(summed, b)), record)  # type: ignore[no-any-return]


def _pair(mode: TokenTracking, a: Tensor, b: Tensor) -> tuple[Record, Record]:
    return Record(mode.sets_of(a)), Record(mode.sets_of(b))


def operands(args: tuple[Any, ...], options: dict[str, Any], names: tuple[str, ...]) -> tuple[Tensor, Tensor]:
    """The two tensors of a call, some of them given by name."""
    a, b = (*args, *(options[name] for name in names if name in options))
    return a, b


@handles((F, "linear"), (torch._C._nn, "linear"))
def linear(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Tensor:
    """A linear map over the last dimension."""
    x = args[0] if args else options["input"]
    if any(mode.sets_of(w) for w in (*args[1:], *options.values()) if isinstance(w, Tensor) and w is not x):
        raise MixedPlacesError("has a weight that depends on the tokens")
    return mode.note(func(*args, **options), _after_linear(mode, x))  # type: ignore[no-any-return]


def _after_linear(mode: TokenTracking, x: Tensor) -> Record:
    sets, last = mode.sets_of(x), x.dim() - 1
    mixed = [one for one in sets if last in one.dims]
    if not mixed:
        return Record(sets)
    if mode.used or len(sets) > 1:
        raise MixedPlacesError("mixes tokens by a linear map")
    found: Record = mode.table.remembered(("linear", mixed[0]), lambda: mode.table.mixed(mixed[0]))
    return found
