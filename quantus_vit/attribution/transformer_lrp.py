"""TransformerLRP: Chefer, Gur and Wolf, "Transformer interpretability beyond attention visualization", CVPR 2021."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance import chefer, trace
from ..relevance.passes import Attention, Start, Trace
from .base import AttributionMethod, Target, arguments, check_inputs, like_captum, one_hot, resolve_target
from .tokens import (
    Layers,
    check_interpolation,
    check_start_layer,
    readout,
    rollout_row,
    start_row,
    to_image,
    token_grid,
    token_layers,
    weights_with_readout,
)

VARIANTS = ("transformer_attribution", "rollout", "last_layer", "last_layer_attn", "second_layer", "full")


class TransformerLRP(AttributionMethod):
    """Relevance of the target's logit, rolled out over the attention layers.

    z+ relevance is propagated from the target's logit down to each attention map; the maps' relevance R and the logit's
    gradient G give one matrix a layer, A = mean over heads of (G * R)+, and the class token's row of
    (I + A_L) ... (I + A_1) is the relevance of the patches (equations 12 to 14 of the paper).

    Models that read their logits from other tokens get the mean of those tokens' rows: all pooled tokens under average
    pooling, both tokens of a distilled model; under attention pooling the row is (G * R)+ of the pooling query. Which
    tokens these are is taken from the graph: the rows of the last attention map whose gradient is not 0
    (:func:`~quantus_vit.attribution.tokens.readout`).

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

    @like_captum
    def attribute(self, inputs: Tensor, target: Target = None, additional_forward_args: Any = None) -> Tensor:
        """Relevance maps of one class per image.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W), normalised as the model wants it.
        target : int, sequence of int, Tensor or None
            Class index for all images, or one per image; None is the predicted class.
        additional_forward_args : Any
            Further positional arguments of the model's forward, a tuple or one value; they get no relevance.

        Returns
        -------
        Tensor
            (N, 1, H, W), or (N, 1, h, w) with ``interpolate=None``; 0 or more but for ``"full"``, which is signed.

        Raises
        ------
        ValueError, TypeError
            Wrong inputs or targets, or a model without one global token grid.
        UnsupportedOperationError
            An operation of the model has no relevance rule.
        """
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        traced = self._trace(inputs, arguments(additional_forward_args))
        return self._map(traced, resolve_target(target, traced.logits), inputs, keep=False)

    def attribute_all_targets(self, inputs: Tensor) -> Tensor:
        """Relevance maps of every class from one forward pass, (N, classes, 1, H, W)."""
        inputs = check_inputs(inputs)
        self.check_model(inputs)
        traced = self._trace(inputs)
        size, classes = traced.logits.shape
        targets = [torch.full((size,), k, device=inputs.device) for k in range(classes)]
        maps = [self._map(traced, target, inputs, keep=k < classes - 1) for k, target in enumerate(targets)]
        return torch.stack(maps, 1)

    def _trace(self, inputs: Tensor, further: tuple[Any, ...] = ()) -> Trace:
        start: Start = "input" if self.variant == "full" else "attention"
        first = {"transformer_attribution": self.start_layer, "rollout": self.start_layer, "second_layer": 1}
        if self.variant == "last_layer_attn":
            return weights_with_readout(self.model, inputs, None, further)[0]
        start_layer = first.get(self.variant, 0)
        traced = trace(self.model, inputs, chefer(), start=start, start_layer=start_layer, arguments=further)
        token_layers(traced.attentions, inputs.shape[0]).check_start(start_layer)
        return traced

    def _map(self, traced: Trace, target: Tensor, inputs: Tensor, keep: bool) -> Tensor:
        seed = one_hot(target, traced.logits)
        if self.variant == "full":
            (relevance,) = traced.relevance(seed, keep=keep)
            assert relevance is not None
            return relevance.sum(1, keepdim=True)
        layers = token_layers(traced.attentions, inputs.shape[0])
        row = self._weights_row(layers) if self.variant == "last_layer_attn" else self._row(traced, layers, seed, keep)
        grid = token_grid(self.model, layers.blocks[0].shape[-1], inputs)
        return to_image(row, grid, inputs, self.interpolate)

    def _weights_row(self, layers: Layers) -> Tensor:
        """(N, T): the readout's attention weights in the last layer."""
        last = layers.last
        assert last.weights is not None
        assert last.gradient is not None
        return (readout(last.gradient)[:, None] @ last.weights.clamp(min=0).mean(1))[:, 0]

    def _row(self, traced: Trace, layers: Layers, seed: Tensor, keep: bool) -> Tensor:
        """(N, T): the readout's relevance over the tokens, by variant."""
        if self.variant != "rollout":
            traced.gradient(seed, keep=True)
        maps: dict[int, Tensor] = {}
        starts: list[Tensor] = []

        def consume(layer: Attention) -> None:
            assert layer.relevance is not None
            if layer.index == layers.last.index:
                starts.append(readout(layer.relevance if layer.gradient is None else layer.gradient))
            weighted = layer.relevance if layer.gradient is None else layer.gradient.mul_(layer.relevance)
            maps[layer.index] = F.relu(weighted, inplace=layer.gradient is not None).mean(1)
            layer.relevance = layer.gradient = None

        traced.relevance(seed, keep=keep, consume=consume)
        if not starts:
            raise ValueError("the model's logits do not depend on its last attention layer")
        if self.variant == "last_layer":
            return (starts[0][:, None] @ maps[layers.last.index])[:, 0]
        row = start_row(layers, starts[0], maps.get(len(layers.blocks)))
        if self.variant == "second_layer":
            return (row[:, None] @ maps[1])[:, 0]
        used = [maps[layer.index] for layer in layers.blocks[self.start_layer :]]
        return rollout_row(used, row, pooled=layers.pooling is not None)
