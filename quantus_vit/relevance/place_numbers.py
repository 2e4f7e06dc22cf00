"""Places of a map as numbers: counted row by row from 1, 0 where there is none. Knows torch alone."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["first_place", "grid_sizes", "without_constant_dims"]


def first_place(places: Tensor) -> Tensor:
    """(..., 1): the first place along the last dimension; 0 (or what else is below 1) where there is none."""
    if places.stride(-1) == 0:
        return places[..., :1]
    first = places.masked_fill(places <= 0, float("inf")).amin(-1, keepdim=True)
    return torch.where(first.isinf(), places.amin(-1, keepdim=True), first)


def without_constant_dims(places: Tensor) -> Tensor:
    """The same with one entry along every expanded dimension but the last."""
    for dim in range(places.dim() - 1):
        if places.stride(dim) == 0:
            places = places.narrow(dim, 0, 1)
    return places


def grid_sizes(places: list[float], sizes: tuple[int, ...]) -> tuple[int, ...] | None:
    """The sizes of the grid that these places of a map make up, each row and column of it whole; else None."""
    if len(places) == torch.Size(sizes).numel():
        return sizes
    counts: list[int] = []
    rest = [int(place) - 1 for place in places]
    for size in reversed(sizes):
        counts.insert(0, len({place % size for place in rest}))
        rest = [place // size for place in rest]
    return tuple(counts) if places and torch.Size(counts).numel() == len(places) else None
