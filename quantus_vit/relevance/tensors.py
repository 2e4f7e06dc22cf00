"""Tensors in nested values, and whether relevance flows through them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

__all__ = ["is_traced", "map_tensors", "tensors_in", "traced"]


def traced(*values: Any) -> bool:
    """Whether relevance flows through one of the values: a tensor that requires a gradient."""
    for value in values:  # noqa: SIM110 - a generator is slower, and this is asked of every call
        if isinstance(value, Tensor) and value.requires_grad:
            return True
    return False


def tensors_in(value: Any) -> Iterator[Tensor]:
    """All tensors in nested tuples, lists and dicts, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif isinstance(value, dict):
        for item in value.values():
            yield from tensors_in(item)


def map_tensors(value: Any, function: Callable[[Tensor], Any]) -> Any:
    """The same nested tuples, lists and dicts with ``function`` of every tensor in its place."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: map_tensors(item, function) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(map_tensors(item, function) for item in value)
    return value


def is_traced(value: Any) -> bool:
    """Whether relevance flows through the value, or one nested in it."""
    return any(tensor.requires_grad for tensor in tensors_in(value))
