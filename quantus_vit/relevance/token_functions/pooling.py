"""Reductions: over tokens they take those that are left."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..token_positions import NOWHERE, MixedPlacesError, Record
from ..token_tracking import TokenTracking, handles
from .elementwise import elementwise_sum

__all__ = ["pool"]


@handles((torch, "mean sum amax amin max min std var norm"), (Tensor, "mean sum amax amin max min std var norm"))
@handles((torch.linalg, "vector_norm norm"), (torch, "var_mean std_mean count_nonzero argmax argmin any all"))
def pool(mode: TokenTracking, func: Any, args: tuple[Any, ...], options: dict[str, Any]) -> Any:
    """A reduction: over tokens it takes those that are left (of none it is 0); else it goes on within each place."""
    name = func.__name__
    if name in ("max", "min") and len(args) > 1 and isinstance(args[1], Tensor):
        return elementwise_sum(mode, func, args, options)
    x, dims, keepdim = _reduction(name, args, options)
    mixed = [one for one in mode.sets_of(x) if one.dims & set(dims)]
    if not mixed:
        return mode.note(func(*args, **options), _reduced(mode, x, dims, keepdim))
    one = mixed[0]
    if not mode.used and len(one.dims) > 1:  # a map's statistics, as in squeeze and excitation, are the stem's
        return mode.note(func(*args, **options), NOWHERE)
    if len(mixed) > 1 or not one.dims <= set(dims) or name not in ("mean", "sum", "amax", "amin", "max", "min"):
        raise MixedPlacesError(f"takes the {name} over a part of the tokens, or one that removal does not know")
    record = mode.table.remembered(
        ("pooled", mode.record_of(x), dims, keepdim), lambda: _pooled(mode, x, dims, keepdim)
    )
    removed = mode.removed(one, x.device)
    if removed is None:
        return mode.note(func(*args, **options), record)
    if name in ("mean", "sum"):
        return mode.note(_mean_or_sum(name, x, removed, dims, keepdim, options.get("dtype")), record)
    fill = torch.finfo(x.dtype).min if "max" in name else torch.finfo(x.dtype).max
    result = func(x.masked_fill(removed, fill), *args[1:], **options)
    empty = removed.all(dim=dims[0], keepdim=keepdim) if len(dims) == 1 else None
    if empty is None or not bool(empty.any()):
        return mode.note(result, record)
    return mode.note(result.masked_fill(empty, 0) if isinstance(result, Tensor) else result, record)


def _mean_or_sum(
    name: str, x: Tensor, removed: Tensor, dims: tuple[int, ...], keepdim: bool, dtype: torch.dtype | None
) -> Tensor:
    total = x.masked_fill(removed, 0).sum(dims, keepdim, dtype=dtype)
    if name == "sum":
        return total
    shape = [x.size(d) if d in dims else removed.size(d) for d in range(x.dim())]
    count = (~removed).expand(shape).sum(dims, keepdim).clamp(min=1)
    return total / count.to(total.dtype)


def _reduction(name: str, args: tuple[Any, ...], options: dict[str, Any]) -> tuple[Tensor, tuple[int, ...], bool]:
    """Input, dimensions (0 and up) and ``keepdim`` of a reduction's call."""
    x = args[0] if args else options["input"]
    rest = list(args[2:] if "norm" in name else args[1:])
    dim = options.get("dim", options.get("axis", rest[0] if rest else None))
    if isinstance(dim, bool):
        raise MixedPlacesError(f"is a {name} over all dimensions with options")
    keepdim = options.get("keepdim", rest[-1] if len(rest) > 1 and isinstance(rest[-1], bool) else False)
    dims = range(x.dim()) if dim is None or dim == () else (dim,) if isinstance(dim, int) else dim
    return x, tuple(d % x.dim() for d in dims), bool(keepdim)


def _reduced(mode: TokenTracking, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Record:
    """The record after a reduction within places."""
    record = mode.record_of(x)
    assert record is not None

    def compute() -> Record:
        sets = [one.values if keepdim else one.values.squeeze(dims) for one in record.sets]
        return mode.table.record(
            [mode.table.positions(values, one.grid) for values, one in zip(sets, record.sets, strict=True)]
        )

    found: Record = mode.table.remembered(("reduced", record, dims, keepdim), compute)
    return found


def _pooled(mode: TokenTracking, x: Tensor, dims: tuple[int, ...], keepdim: bool) -> Record:
    """The record after pooling over all tokens of each image; whoever pools a part of them is refused."""
    record = mode.record_of(x)
    assert record is not None
    rest = []
    for one in record.sets:
        if not one.dims & set(dims):
            rest.append(mode.table.positions(one.values if keepdim else one.values.squeeze(dims), one.grid))
    return mode.table.record(rest)
