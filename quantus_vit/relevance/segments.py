"""Where a graph can be cut: tensors that everything above passes through on its way down, as the residual stream.

Between two cuts lies a segment. Passes that go through one segment after the other need not hold the whole graph.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any

from torch import Tensor


def cuts(output: Tensor, candidates: Iterable[Tensor]) -> list[Tensor]:
    """Those candidates that lie on every path from the output down to the start, from the top down.

    Nodes are visited so that each comes after all that lie above it. One that is the only known node not yet visited
    has all others above it, and all below it are reached through it alone.
    """
    root: Any = output.grad_fn
    tensors = {x.grad_fn: x for x in candidates if x.grad_fn is not None and x.grad_fn is not root}
    above = _edges_from_above(root)
    found: list[Tensor] = []
    known, ready = {root}, [root]
    while ready:
        node = ready.pop()
        if len(known) == 1 and node in tensors:
            found.append(tensors[node])
        known.remove(node)
        for child, _ in node.next_functions:
            if child is None:
                continue
            known.add(child)
            above[child] -= 1
            if not above[child]:
                ready.append(child)
    return found


def _edges_from_above(root: Any) -> Counter[Any]:
    """How many edges come down to each node."""
    above: Counter[Any] = Counter()
    seen, stack = {root}, [root]
    while stack:
        for child, _ in stack.pop().next_functions:
            if child is None:
                continue
            above[child] += 1
            if child not in seen:
                seen.add(child)
                stack.append(child)
    return above
