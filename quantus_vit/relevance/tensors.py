"""Tensors in nested values, whether relevance flows through them, and what is noted of them while they live."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar, overload

from torch import Tensor

__all__ = ["TensorMap", "is_traced", "map_tensors", "tensors_in", "traced"]

Value = TypeVar("Value")


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


class TensorMap(Generic[Value]):
    """Values by tensor (its identity, not its numbers), each as long as its tensor lives.

    As torch's ``WeakIdKeyDictionary``, which takes five times as long: a forward asks some thousand times.
    """

    def __init__(self) -> None:
        self._entries: dict[int, tuple[weakref.ref[Tensor], Value]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, x: Tensor) -> bool:
        return id(x) in self._entries

    def __getitem__(self, x: Tensor) -> Value:
        return self._entries[id(x)][1]

    def __setitem__(self, x: Tensor, value: Value) -> None:
        key, entries = id(x), self._entries
        entries[key] = weakref.ref(x, lambda _: entries.pop(key, None)), value  # gone before the identity is given anew

    @overload
    def get(self, x: Tensor) -> Value | None: ...
    @overload
    def get(self, x: Tensor, default: Value) -> Value: ...
    def get(self, x: Tensor, default: Value | None = None) -> Value | None:
        """The tensor's value, or the default."""
        entry = self._entries.get(id(x))
        return default if entry is None else entry[1]

    def items(self) -> list[tuple[Tensor, Value]]:
        """Tensors that live, with their values."""
        found = [(reference(), value) for reference, value in self._entries.values()]
        return [(x, value) for x, value in found if x is not None]

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
