"""Generic attention explainability: Chefer, Gur and Wolf, ICCV 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..relevance import trace
from ..relevance.composites import gradient
from .base import AttributionMethod, Target, check_inputs, one_hot, resolve_target
from .tokens import check_interpolation, rollout_row, square_maps, to_image, token_grid


class GenericAttention(AttributionMethod):
    """Attention weights times their gradient, rolled out over the layers (no relevance propagation).

    Per layer A = mean over heads of (G * W)+ with W the attention weights and G the target logit's gradient; the map is
    the class token's row of (I + A_L) ... (I + A_1) (equations 5 and 6 of "Generic attention-model explainability for
    interpreting bi-modal and encoder-decoder transformers", self-attention case).

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid, in evaluation mode; it is not changed.
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch scores become an image; None gives the token grid.
    """

    def __init__(self, model: nn.Module, interpolate: str | None = "bilinear") -> None:
        super().__init__(model)
        check_interpolation(interpolate)
        self.interpolate = interpolate

    def attribute(self, inputs: Tensor, target: Target = None) -> Tensor:
        """(N, C, H, W) -> (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; target as in Captum."""
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        traced = trace(self.model, inputs, gradient(), start="attention", keep_weights=True)
        seed = one_hot(resolve_target(target, traced.logits), traced.logits)
        layers = square_maps(traced.attentions, inputs.shape[0])
        traced.gradient(seed, keep=False)
        maps = []
        for layer in layers:
            assert layer.weights is not None
            weighted = torch.zeros_like(layer.weights) if layer.gradient is None else layer.gradient * layer.weights
            maps.append(weighted.clamp(min=0).mean(1))
        start = torch.zeros_like(maps[0][:, 0])
        start[:, 0] = 1
        grid = token_grid(self.model, layers[0].shape[-1], inputs)
        return to_image(rollout_row(maps, start), grid, inputs, self.interpolate)
