"""The tail of a model: what it does to the last block's output, recorded in one forward, to be run on other tokens."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from .tensors import tensors_in

__all__ = ["Call", "Tail", "Tape"]


@dataclass(frozen=True)
class Call:
    """One call of a torch function by the model."""

    function: Callable[..., Any]
    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    result: Any


@dataclass
class Tape:
    """The calls since the last attention block's residual sum; earlier ones are dropped as the forward goes on."""

    calls: list[Call] = field(default_factory=list)

    def tail(self, x: Tensor, output: Tensor) -> Tail:
        """What the model does between two tensors of its forward.

        Raises
        ------
        ValueError
            ``x`` is not the result of a recorded call.
        """
        for number, call in enumerate(self.calls):
            if call.result is x:
                return Tail(self.calls[number + 1 :], x, output)
        raise ValueError("the output of the model's last block was not found among the results of its operations")


@dataclass(frozen=True)
class Tail:
    """The model behind its last block: a function of that block's output, differentiable."""

    calls: list[Call]
    x: Tensor
    output: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        """The logits (N, classes) of other tokens of the same shape."""
        values: dict[int, Tensor] = {id(self.x): x}
        with torch.inference_mode(False), torch.enable_grad():
            for call in self.calls:
                result = call.function(*_replaced(call.args, values), **_replaced(call.kwargs, values))
                values.update(zip(map(id, tensors_in(call.result)), tensors_in(result), strict=True))
        return values[id(self.output)]


def _replaced(value: Any, values: Mapping[int, Tensor]) -> Any:
    if isinstance(value, Tensor):
        return values.get(id(value), value)
    if isinstance(value, (list, tuple)):
        parts = [_replaced(item, values) for item in value]
        return type(value)(*parts) if hasattr(value, "_fields") else type(value)(parts)
    if isinstance(value, Mapping):
        return {key: _replaced(item, values) for key, item in value.items()}
    return value
