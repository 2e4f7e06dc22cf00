"""The passes of one seed that go down a walk side by side, and where their messages are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from .state import Attention, PassState

__all__ = ["Flow"]


class Flow:
    """The messages of one seed on their way down a walk, and its passes."""

    def __init__(
        self, number: int, seed: Tensor, gradients: bool, on_attention: Callable[[int, Attention], None] | None
    ) -> None:
        self.gradient: list[Tensor | None] = [seed]
        self.relevance: list[Tensor | None] = [seed]
        self.gradient_pass = PassState() if gradients else None
        listener = None if on_attention is None else partial(on_attention, number)
        self.relevance_pass = PassState(True, on_attention=listener)
