"""What the host would have to wait for: yes or no of values that a device computes, as a CUDA graph must not.

A question of the kind "does this hold for all values?" is answered at once, or, while conditions are gathered, taken to
hold and kept, so that whoever gathers asks all of them together afterwards. Knows torch only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from torch import Tensor

__all__ = ["gathered", "gathering", "holds"]

_GATHERED: ContextVar[list[Tensor] | None] = ContextVar("conditions that are taken to hold", default=None)


def gathered() -> list[Tensor] | None:
    """The list that this thread's conditions go to; None where they are asked at once."""
    return _GATHERED.get()


@contextmanager
def gathering() -> Iterator[list[Tensor]]:
    """Within the block, no condition is waited for: the list has them all, each a bool tensor of one value."""
    conditions: list[Tensor] = []
    token = _GATHERED.set(conditions)
    try:
        yield conditions
    finally:
        _GATHERED.reset(token)


def holds(condition: Tensor, conditions: list[Tensor] | None) -> bool:
    """Whether all values are true, or true at once where ``conditions`` takes the question.

    Parameters
    ----------
    condition : Tensor
        bool, of any shape.
    conditions : list or None
        See :func:`gathered`.
    """
    if conditions is None:
        return bool(condition.all())
    conditions.append(condition.all())
    return True
