"""Memory of traced values that a model got hold of, as a storage, an array or an address: it must stay as it is."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..errors import UnsupportedOperationError

__all__ = ["HandedOut"]


class _Memory(NamedTuple):
    value: Tensor
    version: int
    before: Tensor
    how: str


class HandedOut:
    """Such values of one forward, with copies: what is written there goes unseen by autograd, and by us."""

    def __init__(self) -> None:
        self._memories: list[_Memory] = []

    def add(self, x: Tensor, how: str) -> None:
        """Note that the model may write into x unseen; ``how`` says by what and where."""
        value = x.detach()
        self._memories.append(_Memory(value, value._version, value.clone(), how))

    def check(self) -> None:
        """Raise ``UnsupportedOperationError`` where such memory was changed; changes that autograd saw do not count."""
        for value, version, before, how in self._memories:
            unseen = value._version == version
            if unseen and not torch.equal(value.nan_to_num(), before.nan_to_num()):
                raise UnsupportedOperationError(
                    f"the memory of a traced value was changed behind autograd's back: {how}, which then had other "
                    "numbers in it; let the model compute with torch operations on a .clone()"
                )
