"""Where a graph can be cut: tensors that everything above passes through on its way down, as the residual stream.

Between two cuts lies a segment. Passes that go through one segment after the other need not hold the whole graph.
"""

from __future__ import annotations

from collections.abc import Iterable
from heapq import heappop, heappush
from typing import Any

from torch import Tensor

__all__ = ["cuts"]


def cuts(output: Tensor, candidates: Iterable[Tensor], start: Tensor | None = None) -> list[Tensor]:
    """Those candidates that lie on every path from the output down to the start, from the top down.

    The start is the given leaf; None: whichever leaf is met first.

    Nodes are visited from the last made to the first, so that each comes after all that lie above it. One that is the
    only known node not yet visited has all others above it, and all below it are reached through it alone.
    """
    root: Any = output.grad_fn
    tensors = {x.grad_fn: x for x in candidates if x.grad_fn is not None and x.grad_fn is not root}
    found: list[Tensor] = []
    known, waiting = {root}, [(0, 0, root)]
    while waiting:
        *_, node = heappop(waiting)
        if not waiting and node in tensors:
            found.append(tensors[node])
        for child, _ in node.next_functions:
            if child is None or child in known:
                continue
            if not child.next_functions:  # the start, or one of several
                if start is None or child.variable is start:
                    return found
                continue
            known.add(child)
            heappush(waiting, (-child._sequence_nr(), id(child), child))
    return found
