"""Products that sum over a dimension, by their factors' places: which sums run over tokens, and what is left after."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from .token_positions import MixedPlacesError, Positions, PositionTable, Record

__all__ = ["contract", "einsum_labels", "matmul_labels"]

Labels = tuple[str | int, ...]


def matmul_labels(left: int, right: int) -> tuple[Labels, Labels, Labels]:
    """Names of the dimensions of ``a @ b`` and of its factors, of the given ranks of 2 and more."""
    if min(left, right) < 2:
        raise MixedPlacesError("multiplies with a vector")
    rank = max(left, right)
    batch = tuple(range(rank - 2))
    a, b = batch[rank - left :], batch[rank - right :]
    return (*a, "i", "j"), (*b, "j", "k"), (*batch, "i", "k")


def einsum_labels(equation: str, operands: Sequence[Tensor]) -> tuple[Labels, Labels, Labels]:
    """Names of the dimensions of an einsum of two tensors and of its factors."""
    equation = equation.replace(" ", "")
    if "." in equation or "->" not in equation or len(operands) != 2:
        raise MixedPlacesError("is an einsum with an ellipsis, without an arrow, or of other than two tensors")
    factors, result = equation.split("->")
    left, right = factors.split(",")
    return tuple(left), tuple(right), tuple(result)


def contract(
    table: PositionTable, records: tuple[Record, Record], labels: tuple[Labels, Labels, Labels]
) -> tuple[Record, Positions | None]:
    """The record of a product, and the second factor's positions that it sums over (None where over no places).

    Raises
    ------
    MixedPlacesError
        It sums over the tokens of one factor with values that do not belong to the same tokens.
    """
    found: tuple[Record, Positions | None] = table.remembered(
        ("contract", records, labels), lambda: _contract(table, records, labels)
    )
    return found


def _contract(
    table: PositionTable, records: tuple[Record, Record], labels: tuple[Labels, Labels, Labels]
) -> tuple[Record, Positions | None]:
    result = labels[2]
    left, right = ([one for one in record.sets if _sums_over(one, own, result)] for record, own in zip(
        records, labels[:2], strict=True
    ))  # fmt: skip
    if len(left) != len(right) or len(left) > 1:
        raise MixedPlacesError("sums over the tokens with weights that do not belong to the same tokens")
    summed = None
    if left:
        if not _agree((left[0], labels[0]), (right[0], labels[1])):
            raise MixedPlacesError("sums over the tokens of one factor by those of another order in the other")
        summed = right[0]
    sets = []
    for record, own, dropped in zip(records, labels[:2], (left, right), strict=True):
        for one in record.sets:
            if one not in dropped:
                sets.append(table.positions(_aligned(one.values, own, result), one.grid))
    return table.record(sets), summed


def _sums_over(one: Positions, own: Labels, result: Labels) -> bool:
    summed = [own[dim] not in result for dim in one.dims]
    if any(summed) and not all(summed):
        raise MixedPlacesError("sums over a part of the tokens")
    return any(summed)


def _agree(left: tuple[Positions, Labels], right: tuple[Positions, Labels]) -> bool:
    every = tuple(dict.fromkeys((*left[1], *right[1])))
    a, b = (_aligned(one.values, own, every) for one, own in (left, right))
    if any(x != y and 1 not in (x, y) for x, y in zip(a.shape, b.shape, strict=True)):
        return False
    return bool((a == b).all())


def _aligned(values: Tensor, own: Labels, wanted: Labels) -> Tensor:
    """The values with their dimensions in the order ``wanted``, size 1 where they have none of that name."""
    present = [label for label in wanted if label in own]
    lost = [own.index(label) for label in own if label not in wanted]
    moved = values.permute(*(own.index(label) for label in present), *lost)
    for _ in lost:
        moved = moved.select(-1, 0)
    sizes = iter(moved.shape)
    return moved.reshape([next(sizes) if label in own else 1 for label in wanted])
