"""Which tensors hold attention weights: softmax outputs, what scales or mixes them, and which of them met values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from .tensors import TensorMap

__all__ = ["KEEPS", "AttentionWeights"]

_DUNDERS = "__{0}__ __r{0}__ __i{0}__"
_NAMES = " ".join(
    ["add add_ mul mul_ multiply div div_ divide true_divide"]
    + [_DUNDERS.format(name) for name in ("add", "mul", "truediv")]
)
KEEPS = frozenset(getattr(owner, name) for owner in (torch, Tensor) for name in _NAMES.split() if hasattr(owner, name))
"""Functions that :meth:`AttentionWeights.follow` is to be told of."""


@dataclass
class _Softmax:
    """One softmax of the forward."""

    index: int
    module_name: str
    met: bool = False


class AttentionWeights:
    """Marks on the tensors of one forward that may turn out as attention weights.

    Attributes
    ----------
    awake : bool
        Whether there are any.
    """

    def __init__(self) -> None:
        self.awake = False
        self._softmaxes: list[_Softmax] = []
        self._marks: TensorMap[tuple[_Softmax, ...]] = TensorMap()  # the softmaxes in a tensor

    def add(self, output: Tensor, index: int, module_name: str) -> None:
        """Note a softmax output; ``index`` attention layers came before."""
        self.awake = True
        self._softmaxes.append(_Softmax(index, module_name))
        self._marks[output] = (self._softmaxes[-1],)

    def __contains__(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value in self._marks

    def carry(self, source: Tensor, target: Tensor) -> None:
        """Weights that were cast, copied, scaled or added to others stay weights."""
        if source in self._marks:
            self._marks[target] = (*self._marks.get(target, ()), *self._marks[source])

    def follow(self, args: tuple[Any, ...], result: Any) -> None:
        """Weights times and over constants and sums, and mixtures of weights, stay weights."""
        tensors = [x for x in args if isinstance(x, Tensor)]
        others = [x for x in tensors if x not in self._marks]
        if len(others) == len(tensors) or not isinstance(result, Tensor):
            return
        if all(x.numel() < result.numel() for x in others):
            for x in tensors:
                if x is not result and x.shape == result.shape:
                    self.carry(x, result)

    def meet(self, value: Tensor) -> None:
        """The weights are multiplied with values: they are an attention layer's."""
        for softmax in self._marks[value]:
            softmax.met = True

    def check(self) -> None:
        """Raise ``ValueError`` where a softmax met no values, so that a rollout would miss its layer."""
        for softmax in self._softmaxes:
            if not softmax.met:
                raise ValueError(
                    f"attention layer {softmax.index} in '{softmax.module_name}' mixes its maps after the softmax "
                    "(talking heads), or uses a softmax for something else: its weights never meet values, so a "
                    "rollout would miss it; use AttnLRP"
                )
