"""The residual stream of a traced model: the inputs of its attention blocks, found in the graph.

A block is attention with a residual connection around it, whatever the model's modules are called. Its input is the
last tensor made before its attention through which every path from the logits down to the image goes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from torch import Tensor

from .segments import cuts

__all__ = ["Block", "Stream"]


@dataclass(frozen=True)
class Block:
    """One attention block of the residual stream.

    Attributes
    ----------
    input : Tensor
        The stream as it enters the block.
    middle : Tensor or None
        The stream between attention and what follows it; None where one sum adds both.
    output : Tensor or None
        The stream behind the block, before any reduction of its tokens; None where nothing of it is left.
    """

    input: Tensor
    middle: Tensor | None
    output: Tensor | None


@dataclass
class Stream:
    """What the forward notes to find the blocks: sums of two activations, and where attention ran.

    Moments are autograd's sequence numbers: a tensor's is that of the function that made it.
    """

    tensors: list[Tensor] = field(default_factory=list)
    bypassed: list[int] = field(default_factory=list)  # moments of attentions with a residual connection around them
    _attentions: list[int] = field(default_factory=list)  # moments of the others

    def attention(self, scores: Tensor) -> None:
        """Note that attention weights are made of these scores."""
        self._attentions.append(_moment(scores))

    def sum(self, total: Tensor, parts: Sequence[Tensor]) -> bool:
        """Note the sum of two activations; whether it goes around an attention, one part made before, one after."""
        old, new = sorted(parts, key=_moment)
        around = [moment for moment in self._attentions if _moment(old) < moment < _moment(new)]
        if around:
            self.tensors.append(old)
            self.bypassed += around
            self._attentions = [moment for moment in self._attentions if moment not in around]
        self.tensors.append(total)
        return bool(around)

    def blocks(self, output: Tensor, start: Tensor) -> list[Block]:
        """The attention blocks between ``start`` and the model's output, from the first to the last.

        Empty where the stream never narrows to one tensor, as in models of several streams.
        """
        stream = cuts(output, self.tensors, start)[::-1]
        moments = [_moment(x) for x in stream]
        first = sorted({bisect_left(moments, at) - 1 for at in self.bypassed} - {-1})
        return [_block(stream[i : after + 1]) for i, after in pairwise([*first, len(stream) - 1])]


def _block(stream: Sequence[Tensor]) -> Block:
    """The block that the first of these tensors enters; the others follow it."""
    entering, *above = stream
    alike = [x for x in above if x.shape == entering.shape] or above
    output = alike[-1] if alike else None
    return Block(entering, alike[0] if alike and alike[0] is not output else None, output)


def _moment(x: Tensor) -> int:
    function: Any = x.grad_fn
    return -1 if function is None else int(function._sequence_nr())
