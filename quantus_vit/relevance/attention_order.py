"""The attention layers of a forward in autograd's graph: which the logits are read from, and whether they follow.

A product over layers takes for granted that each layer reads what the layers before it made. Two models in one (an
ensemble, a model that is run on an image and on its mirror image) do not. Layers beside each other in one block do not
either, but those depend on the same layers below.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from operator import or_
from typing import Any

from torch import Tensor

from .graph_check import node_of
from .state import Attention

__all__ = ["AttentionOrder"]


class AttentionOrder:
    """The nodes of each attention layer's weights and values."""

    def __init__(self) -> None:
        self._nodes: list[tuple[Any, Any]] = []

    def add(self, weights: Tensor, values: Tensor) -> None:
        """Note the next layer."""
        self._nodes.append((node_of(weights) if weights.requires_grad else None, values.grad_fn))

    def drop_unused(self, attentions: list[Attention], used: Collection[Any]) -> None:
        """Forget the last layers where the logits are not read from them, as a pooling head beside a mean."""
        last = len(self._nodes)
        while last and self._nodes[last - 1][0] is not None and self._nodes[last - 1][0] not in used:
            last -= 1
        if last:  # else the logits depend on no attention, which the methods tell
            del attentions[last:], self._nodes[last:]

    def note(
        self,
        attentions: Sequence[Attention],
        output: Tensor,
        graph: Mapping[Any, Sequence[Any]],
        embeddings: Sequence[Tensor],
    ) -> None:
        """Note at the layers whether they follow those before them, and whether they read the position embeddings.

        Parameters
        ----------
        attentions : sequence of Attention
        output : Tensor
            The logits.
        graph : mapping of autograd nodes to sequence of autograd nodes
            All that the logits depend on, from :func:`~.graph_check.check_graph`.
        embeddings : sequence of Tensor
            Leaves.
        """
        marks = {node: 1 << number for number, pair in enumerate(self._nodes) for node in pair if node is not None}
        embedded = 1 << len(self._nodes)
        marks.update((node_of(leaf), embedded) for leaf in embeddings)
        below = _marks_below(output.grad_fn, graph, marks)
        earlier: list[tuple[int, int]] = []  # a layer's bit, and the layers that it depends on
        reading: Attention | None = None  # the first that reads the position embeddings
        for number, layer in enumerate(attentions):
            known = [below[node] for node in self._nodes[number] if node in below]  # rules may leave one of them out
            if not known:
                layer.reads_positions = not embeddings or number > 0  # the first one's tokens are those with positions
                continue
            found, bit = reduce(or_, known), 1 << number
            depends_on = found & (bit - 1)
            layer.in_line = all(depends_on & other or bits == depends_on for other, bits in earlier)
            reading = reading or (layer if found & embedded else None)
            alike = reading is not None and reading.shape[0] == layer.shape[0]  # no windows of a stream beside it
            layer.reads_positions = not alike or bool(found & embedded)
            earlier.append((bit, depends_on))


def _marks_below(root: Any, graph: Mapping[Any, Sequence[Any]], marks: Mapping[Any, int]) -> dict[Any, int]:
    """For every node of the graph the bits of the marked nodes that it depends on, its own left out."""
    found: dict[Any, int] = {}
    waiting = [root] if root in graph else []
    while waiting:
        bits = 0
        for child in graph[waiting[-1]]:
            below = found.get(child)
            if below is None:
                waiting.append(child)
                break
            bits |= below | marks.get(child, 0)
        else:
            found[waiting.pop()] = bits
    return found
