"""Tensors in nested values, and whether relevance flows through them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import Tensor

__all__ = ["is_traced", "tensors_in", "traced"]


def traced(*values: Any) -> bool:
    """Whether relevance flows through one of the values: a tensor that requires a gradient."""
    return any(isinstance(value, Tensor) and value.requires_grad for value in values)


def tensors_in(value: Any) -> Iterable[Tensor]:
    """All tensors in nested tuples, lists and dicts."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def is_traced(value: Any) -> bool:
    """Whether relevance flows through the value, or one nested in it."""
    return any(tensor.requires_grad for tensor in tensors_in(value))
