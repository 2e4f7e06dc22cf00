"""Attention rollout: Abnar and Zuidema, "Quantifying attention flow in transformers", ACL 2020."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from .base import AttributionMethod
from .grid import check_interpolation, to_image, token_grid
from .inputs import resolve_target
from .rollout import check_start_layer, rollout_row, start_row, weights_with_readout

__all__ = ["AttentionRollout"]


class AttentionRollout(AttributionMethod):
    """Product over layers of the row-normalised (I + mean attention over heads); the class token's row.

    It does not depend on the target: the map says where the class token looks, not why a class was chosen. Without a
    class token it is the row that the logits are read from, as in :class:`TransformerLRP`.

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more. The target is
    checked, not used.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    start_layer : int
        First layer of the product.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.
    """

    def __init__(self, model: nn.Module, start_layer: int = 0, interpolate: str | None = "bilinear") -> None:
        super().__init__(model)
        check_start_layer(start_layer)
        check_interpolation(interpolate)
        self.start_layer = start_layer
        self.interpolate = interpolate

    def _attribute(self, inputs: Tensor, target: Tensor | None, forward_args: tuple[Any, ...]) -> Tensor:
        traced, layers, start = weights_with_readout(self.model, inputs, partial(torch.mean, dim=1), forward_args)
        resolve_target(target, traced.logits)
        layers.check_start(self.start_layer)
        pooled = None if layers.pooling is None else layers.pooling.weights
        # (I + A) / 2 is row-normalised since A's rows sum to 1; the factors 1/2 only scale the map
        maps = [layer.weights for layer in layers.blocks[self.start_layer :] if layer.weights is not None]
        row = start_row(layers, start, pooled) * 0.5 ** len(maps)
        return to_image(rollout_row(maps, row, pooled is not None), token_grid(traced), inputs, self.interpolate)
