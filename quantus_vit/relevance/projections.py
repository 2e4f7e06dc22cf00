"""Attention's values behind its out-projection: how large what each token sends is."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .biases import way_down
from .operations.affine import Linear
from .operations.memory import Values
from .operations.products import AttentionProduct

__all__ = ["value_norms"]


def value_norms(output: Tensor) -> list[Tensor]:
    """For every self-attention that enters a linear layer: (N, T), the norm of each token's projected values.

    ||V W_O^T|| over channels, V the values of all heads side by side (value bias included), W_O the linear layer
    without its bias; from the first attention layer to the last. The graph itself says which channels of the layer a
    head's values meet: indices are sent down the way that messages go from the layer to the attention.

    Parameters
    ----------
    output : Tensor
        Logits of a trace whose composite has rules for ``linear`` and ``projection``, before any pass.
    """
    found = []
    for node in _operations(output):
        if isinstance(node.operation, Linear):
            routing, below = way_down(node)
            if isinstance(getattr(below, "operation", None), AttentionProduct):
                norms = _norms(node.operation, routing, below)
                if norms is not None:
                    found.append((below._sequence_nr(), norms))
    return [norms for _, norms in sorted(found, key=lambda pair: pair[0])]


def _norms(linear: Linear, routing: list[Any], attention: Any) -> Tensor | None:
    operation: AttentionProduct = attention.operation
    values = Values(operation, operation.kept, attention.saved_tensors).inputs[1].detach()
    shape = linear.shapes[0]
    place: Tensor = torch.arange(shape.numel(), dtype=torch.float64, device=values.device).view(shape)
    for step in routing:
        place = step(place)
    index = place.long()
    if index.shape != values.shape:  # other queries than keys, as in attention pooling
        return None
    index, values = operation.attention.unfold(index), operation.attention.unfold(values)
    rows = values.new_empty(shape.numel()).index_copy_(0, index.flatten(), values.flatten()).view(shape)
    norms: Tensor = (rows @ linear.weight.detach().to(rows.dtype).T).norm(dim=-1)
    return norms.flatten()[index[:, 0, :, 0] // shape[-1]]


def _operations(output: Tensor) -> list[Any]:
    """The nodes of all operations in the output's graph."""
    known, waiting, found = {output.grad_fn}, [output.grad_fn], []
    while waiting:
        node: Any = waiting.pop()
        if hasattr(node, "operation"):
            found.append(node)
        for below, _ in node.next_functions:
            if below is not None and below not in known:
                known.add(below)
                waiting.append(below)
    return found
