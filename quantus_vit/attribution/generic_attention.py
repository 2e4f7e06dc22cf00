"""Generic attention explainability: Chefer, Gur and Wolf, ICCV 2021."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ..relevance import TraceOptions, trace
from ..relevance.composites import gradient
from ..relevance.state import Attention
from .base import AttributionMethod
from .grid import check_interpolation, to_image, token_grid
from .inputs import one_hot, resolve_target
from .rollout import check_start_layer, readout, rollout_row, start_row, token_layers

__all__ = ["GenericAttention", "weighted"]


class GenericAttention(AttributionMethod):
    """Attention weights times their gradient, rolled out over the layers (no relevance propagation).

    Per layer A = mean over heads of (G * W)+ with W the attention weights and G the target logit's gradient; the map is
    the class token's row of (I + A_L) ... (I + A_1) (equations 5 and 6 of "Generic attention-model explainability for
    interpreting bi-modal and encoder-decoder transformers", self-attention case).

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more.

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    start_layer : int
        First layer of the product: attention of early layers smears the map over the image.
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
        options = TraceOptions(gradient(), "attention", self.start_layer, forward_args, keep_weights=True, grid=True)
        traced = trace(self.model, inputs, options)
        seed = one_hot(resolve_target(target, traced.logits), traced.logits)
        layers = token_layers(traced.attentions, inputs.shape[0])
        layers.check_start(self.start_layer)
        traced.gradient(seed, keep=False)
        if layers.last.gradient is None:
            raise ValueError("the model's logits do not depend on its last attention layer")
        start = readout(layers.last.gradient, or_first=True)
        pooled = None if layers.pooling is None else weighted(layers.pooling)
        maps = [weighted(layer) for layer in layers.blocks[self.start_layer :]]
        row = rollout_row(maps, start_row(layers, start, pooled), pooled is not None)
        return to_image(row, token_grid(traced), inputs, self.interpolate)


def weighted(layer: Attention) -> Tensor:
    """(N, queries, keys): mean over heads of (gradient * weights)+; 0 where the logits do not depend on the layer."""
    assert layer.weights is not None
    product = torch.zeros_like(layer.weights) if layer.gradient is None else layer.gradient * layer.weights
    return product.clamp(min=0).mean(1)
