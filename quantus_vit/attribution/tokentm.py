"""TokenTM: Wu et al., CVPR 2024.

"Token transformation matters: towards faithful post-hoc explanation for Vision Transformer".
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.composites import gradient
from .base import PropagationMethod
from .blocks import TokenBlocks, token_blocks
from .grid import check_interpolation, to_image, token_grid
from .inputs import one_hot
from .rollout import apply_attention, at_least_single, readout, start_row

__all__ = ["LENGTH_STABILIZER", "TokenTM"]

LENGTH_STABILIZER = 1e-8  # as in the LibraGrad authors' implementation


class TokenTM(PropagationMethod):
    """Attention and its gradients rolled out with how each token's vector changes in length and direction.

    Block l takes tokens e to m by attention and m to o by its MLP. With A the mean attention over heads, G the mean
    over heads of the target's positive attention gradients, and W(a -> b) the diagonal matrix of
    |b| / |a| * softmax over tokens of cos(a, b), each layer gives

        U = (I + W(m -> o)) (I + A W(e -> m) * G),

    G elementwise; the map is the class token's row of U_L ... U_1 diag(|e_1|). Models without a class token give the
    mean of the rows that the logits are read from.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Notes
    -----
    Exact to the implementation in LibraGrad's code (ordinary gradients); the authors' own code was not at hand.
    """

    def __init__(self, model: nn.Module, interpolate: str | None = "bilinear") -> None:
        super().__init__(model)
        check_interpolation(interpolate)
        self.interpolate = interpolate

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        options = TraceOptions(gradient(), arguments=forward_args, grid=True, blocks=True)
        options = replace(options, keep_weights=True, reduce_weights=lambda weights: weights.mean(1))
        return trace(self.model, inputs, options)

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        found = token_blocks(traced, inputs)
        lengths, changes = _changes(found)
        grid = token_grid(traced)
        maps = []
        for number, target in enumerate(targets):
            seed, more = one_hot(target, traced.logits), number < len(targets) - 1
            traced.between(traced.output, _lowest(found), seed, keep=more, relevance=False)
            row = self._row(found, changes) * lengths
            maps.append(to_image(row, grid, inputs, self.interpolate))
        return maps

    def _row(self, found: TokenBlocks, changes: list[Changes]) -> Tensor:
        """(N, T): the readout's row, from the last layer down to the first."""
        layers = found.layers
        if layers.last.gradient is None:
            raise ValueError("the model's logits do not depend on its last attention layer")
        pooled = None if layers.pooling is None else _weighted(layers.pooling.weights, layers.pooling.gradient)
        row = at_least_single(start_row(layers, readout(layers.last.gradient), pooled))
        for layer, change in zip(reversed(layers.blocks), reversed(changes), strict=True):
            if change.by_mlp is not None:
                row = row + row * change.by_mlp
            row = row + apply_attention(row, _weighted(layer.weights, layer.gradient)) * change.by_attention
            layer.gradient = None
        return row


def _lowest(found: TokenBlocks) -> Tensor:
    """Where gradients are asked for no further: the first layer's attention, or the stream that enters its block."""
    reference = found.layers.blocks[0].traced_weights
    weights = None if reference is None else reference()
    return found.blocks[0].input if weights is None else weights


def _weighted(weights: Tensor | None, gradient: Tensor | None) -> Tensor:
    """(N, queries, keys): mean attention times mean positive gradient."""
    assert weights is not None
    return torch.zeros_like(weights) if gradient is None else weights * F.relu(gradient, inplace=True).mean(1)


class Changes(NamedTuple):
    """How one block changes each token, (N, T); ``by_mlp`` is None where one sum adds both branches."""

    by_mlp: Tensor | None
    by_attention: Tensor


class Tokens(NamedTuple):
    """The stream at one place, (N, T, C), and the lengths of its tokens, (N, T); at least in single precision."""

    x: Tensor
    lengths: Tensor


def _changes(found: TokenBlocks) -> tuple[Tensor, list[Changes]]:
    """The lengths of the tokens that enter the first block, (N, T), and the changes by each block.

    A block's output is the next one's input: each place of the stream is read once.
    """
    first = entering = _tokens(found.blocks[0].input)
    changes = []
    for block, output in zip(found.blocks, found.outputs, strict=True):
        leaving = _tokens(output)
        if block.middle is None:
            changes.append(Changes(None, _change(entering, leaving)))
        else:
            middle = _tokens(block.middle)
            changes.append(Changes(_change(middle, leaving), _change(entering, middle)))
        entering = leaving
    return first.lengths, changes


def _tokens(stream: Tensor) -> Tokens:
    x = at_least_single(stream.detach())
    return Tokens(x, x.norm(dim=-1))


def _change(before: Tokens, after: Tokens) -> Tensor:
    """The diagonal of W(before -> after), (N, T)."""
    lengths = before.lengths.clamp(min=LENGTH_STABILIZER) * after.lengths.clamp(min=LENGTH_STABILIZER)
    cosine: Tensor = torch.linalg.vecdot(before.x, after.x) / lengths
    ratio: Tensor = after.lengths / (before.lengths + LENGTH_STABILIZER)
    return ratio * cosine.softmax(-1)
