"""Which place of the patch grid each element of a tensor belongs to, and how torch's functions move places about.

A tensor's :class:`Positions` are found by running the function on the places themselves (:meth:`PositionTable.route`),
so no shape arithmetic of reshape, cat or indexing is written here. Results are remembered by function, shapes and
options: the blocks of a model, and its further forwards, ask for the same few. It knows no model and no mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .place_numbers import first_place, grid_sizes
from .position_functions import VIEWS
from .tensors import map_tensors, tensors_in

__all__ = ["NOWHERE", "MixedPlacesError", "PositionTable", "Positions", "Record"]


class MixedPlacesError(ValueError):
    """A function brings several places together in a way that leaves no place to remove; says how."""


@dataclass(frozen=True, eq=False)
class Positions:
    """Places along a tensor's dimensions.

    Attributes
    ----------
    values : Tensor
        Rank of the tensor, size 1 along dimensions that it does not depend on: 0 where there is no place (class token,
        registers, padding), else 1 + image * places + place, places counted row by row. Integers in float64, on the
        CPU.
    grid : tuple of int
        Rows and columns (in volumes depth, rows, columns).
    dims : frozenset of int
        The dimensions along which the place changes.
    """

    values: Tensor
    grid: tuple[int, ...]
    dims: frozenset[int]

    @property
    def places(self) -> int:
        """Number of places of one image."""
        return torch.Size(self.grid).numel()


class Record(NamedTuple):
    """What is known of a tensor that comes from the images.

    ``sets`` holds one :class:`Positions` for tokens, two for scores (queries and keys), none where no place is left (a
    class token, logits). ``weights`` marks attention weights and what was made of them by value.
    """

    sets: tuple[Positions, ...]
    weights: bool = False


NOWHERE = Record(())


class PositionTable:
    """All positions met so far, each once, and what functions made of them."""

    def __init__(self) -> None:
        self._known: dict[tuple[Any, ...], list[Positions]] = {}
        self._results: dict[Any, Any] = {}

    def remembered(self, key: Any, compute: Callable[[], Any]) -> Any:
        """What ``compute`` gave the first time it was asked with this key; a key that cannot be hashed always asks."""
        try:
            if key not in self._results:
                self._results[key] = compute()
        except TypeError as error:
            if "unhashable" not in str(error):
                raise
            return compute()
        return self._results[key]

    def positions(self, values: Tensor, grid: tuple[int, ...]) -> Positions | None:
        """The positions with these values, dimensions that nothing depends on cut to 1; None where there are none."""
        if not values.numel() or not bool(values.any()):
            return None
        for dim in range(values.dim()):
            first = values.narrow(dim, 0, 1)
            if values.size(dim) > 1 and (values.stride(dim) == 0 or bool((values == first).all())):
                values = first

        def dims() -> frozenset[int]:
            places = torch.where(values > 0, (values - 1) % torch.Size(grid).numel() + 1, 0)
            return frozenset(d for d in range(values.dim()) if bool((places != places.narrow(d, 0, 1)).any()))

        return self._once(values, grid, dims)

    def _once(self, values: Tensor, grid: tuple[int, ...], dims: Callable[[], frozenset[int]]) -> Positions:
        """The positions with these values; ``dims`` is asked where they are met for the first time."""
        known = self._known.setdefault((tuple(values.shape), grid), [])
        for candidate in known:
            if torch.equal(candidate.values, values):
                return candidate
        found = Positions(values.contiguous(), grid, dims())
        known.append(found)
        return found

    def record(self, sets: Sequence[Positions | None], weights: bool = False) -> Record:
        """A record of these sets, equal ones once.

        Raises
        ------
        MixedPlacesError
            Two sets share a dimension (an element would belong to two places), or are of grids of different sizes.
        """
        kept = tuple(dict.fromkeys(one for one in sets if one is not None))
        for i, one in enumerate(kept):
            for other in kept[:i]:
                if one.dims & other.dims:
                    raise MixedPlacesError("brings different tokens (as of several windows) together in one dimension")
                if one.grid != other.grid:
                    raise MixedPlacesError(f"joins maps of different sizes, {one.grid} and {other.grid}")
        return Record(kept, weights) if kept or weights else NOWHERE

    def fresh(self, shape: torch.Size) -> Record:
        """The record of a map (N, channels, ...) whose places are its own, row by row."""

        def compute() -> Record:
            size, grid = shape[0], tuple(shape[2:])
            count = size * torch.Size(grid).numel()
            if not count:
                return NOWHERE
            values = torch.arange(1, count + 1, dtype=torch.float64).view(size, 1, *grid)
            dims = frozenset(d for d in range(2, len(shape)) if shape[d] > 1)
            return self.record([self._once(values, grid, lambda: dims)])

        found: Record = self.remembered(("fresh", shape), compute)
        return found

    def route(
        self, func: Callable[..., Any], args: Any, kwargs: Any, record_of: Callable[[Tensor], Record | None]
    ) -> Any:
        """Records of what ``func`` gives, in the structure it gives them in, for a function that only moves values."""
        key = (func, _key(args, record_of), _key(kwargs, record_of))
        return self.remembered(key, lambda: self._route(func, args, kwargs, record_of))

    def _route(
        self, func: Callable[..., Any], args: Any, kwargs: Any, record_of: Callable[[Tensor], Record | None]
    ) -> Any:
        func = VIEWS.get(func, func)  # places are expanded over other dimensions
        records = [record for record in map(record_of, tensors_in((args, kwargs))) if record is not None]
        counts = {len(record.sets) for record in records if record.sets}
        if len(counts) > 1:
            raise MixedPlacesError("joins scores with tokens")
        weights = any(record.weights for record in records)
        grids = {one.grid for record in records for one in record.sets}
        if len(grids) > 1:
            raise MixedPlacesError(f"joins maps of different sizes, {' and '.join(map(str, sorted(grids)))}")
        runs = []
        for number in range(max(counts, default=0)):
            stand_in = _StandIn(record_of, number)
            moved = func(*map_tensors(args, stand_in), **map_tensors(kwargs, stand_in))
            runs.append([self.positions(part, next(iter(grids))) for part in tensors_in(moved)])
        example = moved if runs else None
        found = [self.record(sets, weights) for sets in zip(*runs, strict=True)]
        return found[0] if isinstance(example, Tensor) else found

    def combined(self, records: Sequence[tuple[Record, int]], rank: int) -> Record:
        """The record of an elementwise function of tensors with these records and ranks, itself of ``rank``."""
        if len(records) == 1 and records[0][1] == rank:
            return records[0][0]

        def compute() -> Record:
            sets = []
            for record, own in records:
                for one in record.sets:
                    values = one.values.view(*[1] * (rank - own), *one.values.shape)
                    sets.append(one if own == rank else self.positions(values, one.grid))
            return self.record(sets, any(record.weights for record, _ in records))

        found: Record = self.remembered(("combined", tuple(records), rank), compute)
        return found

    def mixed(self, one: Positions) -> Record:
        """The record of a linear map over the last dimension along which places change: patches made of pixels.

        A row's place is that of its first pixel; the grid is made of the rows and columns (in volumes slices, too) that
        such pixels lie in.
        """
        values = first_place(one.values)
        if bool((values == 0).any()):
            raise MixedPlacesError("makes patches of pixels that have no place")
        image, pixel = (values - 1) // one.places, (values - 1) % one.places
        order, rank = torch.unique(pixel, return_inverse=True)
        if len(order) == 1:
            raise MixedPlacesError("mixes all tokens by a linear map")
        grid = grid_sizes((order + 1).tolist(), one.grid) or (*[1] * (len(one.grid) - 1), len(order))
        return self.record([self.positions(1 + image * len(order) + rank, grid)])


class _StandIn:
    """Stands in for a call's tensors: places where there are any, zeros elsewhere, indices as they are."""

    def __init__(self, record_of: Callable[[Tensor], Record | None], number: int) -> None:
        self._record_of, self._number = record_of, number

    def __call__(self, x: Tensor) -> Tensor:
        record = self._record_of(x)
        if record is not None and len(record.sets) > self._number:
            return record.sets[self._number].values.expand(x.shape)
        if record is None and not x.is_floating_point():
            return x.cpu()
        return torch.zeros((), dtype=torch.float64).expand(x.shape)


def _key(value: Any, record_of: Callable[[Tensor], Record | None]) -> Any:
    """What a routing function's result depends on, to look it up by; a list where it depends on values."""
    if type(value) is int:
        return value
    if isinstance(value, Tensor):
        record = record_of(value)
        return [value] if record is None and not value.is_floating_point() else (value.shape, record)
    if isinstance(value, slice):
        return ("slice", value.start, value.stop, value.step)
    if isinstance(value, dict):
        return tuple((key, _key(item, record_of)) for key, item in value.items())
    if isinstance(value, (tuple, list)):
        return tuple(_key(item, record_of) for item in value)
    return value
