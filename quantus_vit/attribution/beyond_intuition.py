"""Beyond Intuition: Chen et al., "Beyond intuition: rethinking token attributions inside transformers", TMLR 2023."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.composites import gradient, gradient_by_rules
from ..relevance.projections import value_norms
from ..relevance.state import Attention
from .base import PropagationMethod
from .blocks import TokenBlocks, check_blocks, token_blocks
from .grid import check_interpolation, to_image, token_grid
from .inputs import one_hot
from .rollout import at_least_single, check_start_layer, readout

__all__ = ["MODES", "BeyondIntuition"]

MODES = ("token", "head")


class BeyondIntuition(PropagationMethod):
    """Attention perception (how tokens mix) times reasoning feedback (what the class takes from them).

    Perception is the class token's row of R = (I + M_L) ... (I + M_s), from layer s = ``start_layer`` on, with

    - ``"token"``: M = mean over heads of A, each column times |V W_O^T| / |z|: how large what a token sends is,
      V its values, W_O the out-projection, z the block's input; |R| counts.
    - ``"head"``: M = sum over heads of I_h A_h, I_h the mean magnitude of A_h^T G_h, scaled to sum 1 over heads.

    Feedback F = mean over heads of (mean of dlogit/dA_L over images a x)+, with ``steps`` values of a from 0 to 1. The
    map is F * R. Models without a class token give the mean over the rows that the logits are read from; under
    attention pooling, L is the pooling layer and R starts there.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    mode : {"token", "head"}
        See above.
    steps : int
        Images between black (all 0) and the image itself, both included; as many forwards.
    start_layer : int or None
        First layer of the product, from 0. None is the authors' choice for 12 layers, in proportion to the depth: 5/12
        of it for ``"token"``, 1/4 for ``"head"``.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.

    Raises
    ------
    ValueError
        An unknown mode or interpolation, ``steps`` below 1, or a negative ``start_layer``.

    Examples
    --------
    >>> maps = BeyondIntuition(model, mode="head").attribute(images, target=labels)
    """

    def __init__(
        self,
        model: nn.Module,
        mode: str = "token",
        steps: int = 20,
        start_layer: int | None = None,
        interpolate: str | None = "bilinear",
    ) -> None:
        super().__init__(model)
        if mode not in MODES:
            raise ValueError(f'mode must be "token" or "head", not {mode!r}')
        if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1:
            raise ValueError(f"steps must be an integer of 1 or more, not {steps!r}")
        if start_layer is not None:
            check_start_layer(start_layer)
        check_interpolation(interpolate)
        self.mode, self.steps, self.start_layer, self.interpolate = mode, steps, start_layer, interpolate

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        reduce = None if self.mode == "head" else lambda weights: weights.mean(1)
        options = TraceOptions(gradient_by_rules(biases=False), arguments=forward_args, grid=True, blocks=True)
        return trace(self.model, inputs, replace(options, keep_weights=True, reduce_weights=reduce))

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        found = token_blocks(traced, inputs)
        depth = len(found.blocks)
        start = depth * (5 if self.mode == "token" else 3) // 12 if self.start_layer is None else self.start_layer
        check_blocks(found.blocks, start, "start_layer")
        sizes = self._sizes(traced, found) if self.mode == "token" else []
        end = found.blocks[start if self.mode == "head" else -1].input
        perceptions, feedbacks, rows = [], [], None
        for number, target in enumerate(targets):
            more = number < len(targets) - 1
            traced.between(traced.output, end, one_hot(target, traced.logits), keep=more, relevance=False)
            last = found.layers.last.gradient
            if last is None:
                raise ValueError("the model's logits do not depend on its last attention layer")
            rows = _Rows(readout(last)) if rows is None else rows
            perceptions.append(self._perception(found, sizes, start, rows))
            feedbacks.append(rows.of(last))
        assert rows is not None
        self._add_steps(feedbacks, traced, targets, inputs, rows)
        grid = token_grid(traced)
        maps = []
        for perception, feedback in zip(perceptions, feedbacks, strict=True):
            product = F.relu(feedback / self.steps).mean(1) * perception
            maps.append(to_image(rows.mean(product), grid, inputs, self.interpolate))
        return maps

    def _sizes(self, traced: Trace, found: TokenBlocks) -> list[Tensor]:
        """For each block (N, T): |V W_O^T| / |z| of its tokens."""
        norms = value_norms(traced.output)[: len(found.blocks)]
        if len(norms) < len(found.blocks):
            raise ValueError(
                f"only {len(norms)} of {len(found.blocks)} attention layers are followed by a linear layer at once; "
                'mode="token" needs that out-projection, mode="head" does not'
            )
        pairs = zip(norms, found.blocks, strict=True)
        return [at_least_single(size) / at_least_single(block.input.detach()).norm(dim=-1) for size, block in pairs]

    def _perception(self, found: TokenBlocks, sizes: list[Tensor], start: int, rows: _Rows) -> Tensor:
        """(N, rows, T): the read rows of the product of (I + M), from the last layer down."""
        layers = found.layers
        if layers.pooling is None:
            product = rows.identity()
        else:
            product = rows.of(self._mixing(layers.pooling, None)[:, None])[:, 0]
        for index in reversed(range(start, len(layers.blocks))):
            mixing = self._mixing(layers.blocks[index], sizes[index] if sizes else None)
            product = product + product @ mixing
        return product.abs() if self.mode == "token" else product

    def _mixing(self, layer: Attention, sizes: Tensor | None) -> Tensor:
        """M of one layer, (N, queries, keys)."""
        assert layer.weights is not None
        weights = at_least_single(layer.weights)
        if self.mode == "token":
            return weights if sizes is None else weights * sizes[:, None]
        if layer.gradient is None:
            raise ValueError(f"the model's logits do not depend on attention layer {layer.index}")
        importance = (weights.mT @ at_least_single(layer.gradient)).abs().mean((2, 3))
        importance = importance / importance.sum(1, keepdim=True)
        return (importance[:, :, None, None] * weights).sum(1)

    def _add_steps(
        self, feedbacks: list[Tensor], traced: Trace, targets: list[Tensor], inputs: Tensor, rows: _Rows
    ) -> None:
        """Add the gradients at the last attention layer for the images between black and the image itself."""
        fractions = torch.linspace(0, 1, self.steps, dtype=torch.float64).tolist()
        if fractions[-1] != 1:
            for feedback in feedbacks:
                feedback.zero_()
        last = max(layer.index for layer in traced.attentions)
        options = TraceOptions(gradient(), "attention", last, traced.forward_args, of_class=False)  # told once
        for fraction in fractions:
            if fraction == 1:  # the image itself, already there
                continue
            step = trace(self.model, inputs * fraction, options)
            for number, (feedback, target) in enumerate(zip(feedbacks, targets, strict=True)):
                step.gradient(one_hot(target, step.logits), keep=number < len(targets) - 1)
                found = step.attentions[last].gradient
                assert found is not None
                feedback += rows.of(traced.attentions[last].unfold(found))


class _Rows:
    """The rows of the last attention map that the logits are read from."""

    def __init__(self, weights: Tensor) -> None:
        self._tokens = weights.shape[1]
        self._index = weights.any(0).nonzero()[:, 0]
        self._weights = at_least_single(weights[:, self._index])

    def of(self, maps: Tensor) -> Tensor:
        """(N, heads, queries, T) -> (N, heads, rows, T)."""
        return at_least_single(maps[:, :, self._index])

    def identity(self) -> Tensor:
        """(N, rows, T): the rows of the identity."""
        eye = torch.eye(self._tokens, dtype=self._weights.dtype, device=self._weights.device)
        return eye[self._index].expand(len(self._weights), -1, -1)

    def mean(self, product: Tensor) -> Tensor:
        """(N, rows, T) -> (N, T)."""
        return (self._weights[:, :, None] * product).sum(1)
