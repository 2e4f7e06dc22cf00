"""TransformerLRP: Chefer, Gur and Wolf, "Transformer interpretability beyond attention visualization", CVPR 2021."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance import trace, transformer_lrp
from ..relevance.forward import Start
from ..relevance.passes import Attention, Trace
from .base import PropagationMethod, one_hot, require_relevance
from .tokens import (
    Layers,
    apply_attention,
    at_least_single,
    check_interpolation,
    check_start_layer,
    readout,
    row_below,
    to_image,
    token_grid,
    token_layers,
    weights_with_readout,
)

VARIANTS = ("transformer_attribution", "rollout", "last_layer", "last_layer_attn", "second_layer", "full")


class TransformerLRP(PropagationMethod):
    """Relevance of the target's logit, rolled out over the attention layers.

    z+ relevance is propagated from the target's logit down to each attention map; the maps' relevance R and the logit's
    gradient G give one matrix a layer, A = mean over heads of (G * R)+, and the class token's row of
    (I + A_L) ... (I + A_1) is the relevance of the patches (equations 12 to 14 of the paper).

    ``attribute`` gives (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; values are 0 or more, but for
    ``"full"``, which is signed.

    Models that read their logits from other tokens get the mean of those tokens' rows: all pooled tokens under average
    pooling, both tokens of a distilled model; under attention pooling the row is (G * R)+ of the pooling query. Which
    tokens these are is taken from the graph: the rows of the last attention map whose gradient is not 0
    (:func:`~quantus_vit.attribution.tokens.readout`).

    The method divides relevance by sums of parts of either sign, so single patches of its maps can hang on the last
    digits of float32; float64 models and images give them exactly (``benchmarks/README.md``, "Precision").

    Parameters
    ----------
    model : nn.Module
        A Vision Transformer with one global token grid (timm, torchvision, Hugging Face, your own), in evaluation mode.
        It is not changed; parameters may be frozen.
    variant : str
        As in the authors' code: ``"transformer_attribution"`` (the method), ``"rollout"`` (relevance without
        gradients), ``"last_layer"`` and ``"second_layer"`` ((G * R)+ of one layer), ``"last_layer_attn"`` (attention
        weights of the last layer), ``"full"`` (relevance propagated to the pixels, no rollout).
    start_layer : int
        First attention layer of the rollout (``transformer_attribution`` and ``rollout``).
    interpolate : {"bilinear", "bicubic", "nearest", None}
        How patch relevance becomes an image; None gives the token grid. ``"full"`` needs none.

    Raises
    ------
    ValueError
        Unknown variant or interpolation, or a negative ``start_layer``.

    Examples
    --------
    >>> maps = TransformerLRP(model).attribute(images, target=labels)  # (N, 3, H, W) -> (N, 1, H, W)
    """

    def __init__(
        self,
        model: nn.Module,
        variant: str = "transformer_attribution",
        start_layer: int = 0,
        interpolate: str | None = "bilinear",
    ) -> None:
        super().__init__(model)
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}")
        check_start_layer(start_layer)
        check_interpolation(interpolate)
        self.variant = variant
        self.start_layer = start_layer
        self.interpolate = interpolate

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        start: Start = "input" if self.variant == "full" else "attention"
        first = {"transformer_attribution": self.start_layer, "rollout": self.start_layer, "second_layer": 1}
        if self.variant == "last_layer_attn":
            return weights_with_readout(self.model, inputs, None, forward_args)[0]
        start_layer = first.get(self.variant, 0)
        options: dict[str, Any] = {"arguments": forward_args, "gradients": self._weighs_by_gradients}
        traced = trace(self.model, inputs, transformer_lrp(), start=start, start_layer=start_layer, **options)
        token_layers(traced.attentions, inputs.shape[0]).check_start(start_layer)
        return traced

    @property
    def _weighs_by_gradients(self) -> bool:
        return self.variant in ("transformer_attribution", "last_layer", "second_layer")

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        seeds = [one_hot(target, traced.logits) for target in targets]
        if self.variant == "full":
            return [require_relevance(message).sum(1, keepdim=True) for (message,) in traced.walk(seeds)]
        layers = token_layers(traced.attentions, inputs.shape[0])
        if self.variant == "last_layer_attn":
            rows = [self._weights_row(layers)] * len(seeds)
        else:
            rows = self._rows(traced, layers, seeds)
        grid = token_grid(self.model, layers.blocks[0].shape[-1], inputs)
        return [to_image(row, grid, inputs, self.interpolate) for row in rows]

    def _weights_row(self, layers: Layers) -> Tensor:
        """(N, T): the readout's attention weights in the last layer."""
        last = layers.last
        assert last.weights is not None
        assert last.gradient is not None
        return apply_attention(readout(last.gradient), last.weights.clamp(min=0).mean(1))

    def _rows(self, traced: Trace, layers: Layers, seeds: list[Tensor]) -> list[Tensor]:
        """For each seed (N, T): the readout's relevance over the tokens, by variant."""
        rows: dict[int, _Row] = {}

        def on_attention(number: int, layer: Attention) -> None:
            assert layer.relevance is not None
            if layer.index == layers.last.index:
                evidence = layer.relevance if layer.gradient is None else layer.gradient
                rows[number] = _Row(layers, readout(evidence), self.variant, self.start_layer)
            weighted = layer.relevance if layer.gradient is None else layer.gradient.mul_(layer.relevance)
            if number in rows:
                rows[number].descend(layer.index, F.relu(weighted, inplace=layer.gradient is not None).mean(1))
            layer.relevance = layer.gradient = None

        traced.walk(seeds, on_attention, gradients=self._weighs_by_gradients)
        if len(rows) < len(seeds):
            raise ValueError("the model's logits do not depend on its last attention layer")
        return [rows[number].row for number in range(len(seeds))]


class _Row:
    """One target's relevance over the tokens, (N, T), as its layers' maps arrive from the last to the first."""

    def __init__(self, layers: Layers, readout: Tensor, variant: str, start_layer: int) -> None:
        self._layers, self._variant, self._first = layers, variant, start_layer
        self._start = at_least_single(readout)
        self.row = torch.zeros_like(self._start)

    def descend(self, index: int, layer: Tensor) -> None:
        """Take the map (N, queries, T) of the layer with this index."""
        pooled = self._layers.pooling is not None
        if self._variant == "last_layer":
            if index == self._layers.last.index:
                self.row = apply_attention(self._start, layer)
        elif index == len(self._layers.blocks):  # attention pooling
            self._start = self.row = apply_attention(self._start, layer)
        elif self._variant == "second_layer":
            if index == 1:
                self.row = apply_attention(self._start, layer)
        elif index >= self._first:
            self.row = row_below(self.row, self._start, layer, pooled)
