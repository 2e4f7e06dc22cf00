"""TransformerLRP: Chefer, Gur and Wolf, "Transformer interpretability beyond attention visualization", CVPR 2021."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ..relevance import chefer, trace
from ..relevance.passes import Attention, Start, Trace
from .base import AttributionMethod, Target, check_inputs, one_hot, resolve_target
from .tokens import check_interpolation, rollout_row, square_maps, to_image, token_grid

VARIANTS = ("transformer_attribution", "rollout", "last_layer", "last_layer_attn", "second_layer", "full")


class TransformerLRP(AttributionMethod):
    """Relevance of the target's logit, rolled out over the attention layers.

    z+ relevance is propagated from the target's logit down to each attention map; the maps' relevance R and the logit's
    gradient G give one matrix a layer, A = mean over heads of (G * R)+, and the class token's row of
    (I + A_L) ... (I + A_1) is the relevance of the patches (equations 12 to 14 of the paper).

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
        if isinstance(start_layer, bool) or not isinstance(start_layer, int) or start_layer < 0:
            raise ValueError(f"start_layer must be an integer of 0 or more, not {start_layer!r}")
        check_interpolation(interpolate)
        self.variant = variant
        self.start_layer = start_layer
        self.interpolate = interpolate

    def attribute(self, inputs: Tensor, target: Target = None) -> Tensor:
        """Relevance maps of one class per image.

        Parameters
        ----------
        inputs : Tensor
            (N, C, H, W), normalised as the model wants it.
        target : int, sequence of int, Tensor or None
            Class index for all images, or one per image; None is the predicted class.

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
        traced = self._trace(inputs)
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

    def _trace(self, inputs: Tensor) -> Trace:
        start: Start = "input" if self.variant == "full" else "attention"
        first = {"transformer_attribution": self.start_layer, "rollout": self.start_layer, "second_layer": 1}
        traced = trace(
            self.model,
            inputs,
            chefer() if self.variant != "last_layer_attn" else None,
            start=start,
            start_layer=first.get(self.variant, 0),
            keep_weights=self.variant == "last_layer_attn",
        )
        layers = square_maps(traced.attentions, inputs.shape[0])
        needed = first.get(self.variant, 0)
        if needed >= len(layers):
            raise ValueError(f"the model has {len(layers)} attention layers; layer {needed} does not exist")
        return traced

    def _map(self, traced: Trace, target: Tensor, inputs: Tensor, keep: bool) -> Tensor:
        seed = one_hot(target, traced.logits)
        if self.variant == "full":
            (relevance,) = traced.relevance(seed, keep=keep)
            assert relevance is not None
            return relevance.sum(1, keepdim=True)
        rows = self._class_row(traced, seed, keep)
        grid = token_grid(self.model, traced.attentions[0].shape[-1], inputs)
        return to_image(rows, grid, inputs, self.interpolate)

    def _class_row(self, traced: Trace, seed: Tensor, keep: bool) -> Tensor:
        """(N, T): the class token's relevance over the tokens, by variant."""
        layers = traced.attentions
        if self.variant == "last_layer_attn":
            weights = layers[-1].weights
            assert weights is not None
            return weights.clamp(min=0).mean(1)[:, 0]
        if self.variant != "rollout":
            traced.gradient(seed, keep=True)
        maps: dict[int, Tensor] = {}

        def consume(layer: Attention) -> None:
            assert layer.relevance is not None
            weighted = layer.relevance if layer.gradient is None else layer.relevance * layer.gradient
            maps[layer.index] = weighted.clamp(min=0).mean(1)
            layer.relevance = layer.gradient = None

        traced.relevance(seed, keep=keep, consume=consume)
        if self.variant == "last_layer":
            return maps[len(layers) - 1][:, 0]
        if self.variant == "second_layer":
            return maps[1][:, 0]
        used = [maps[layer.index] for layer in layers[self.start_layer :]]
        start = torch.zeros_like(used[-1][:, 0])
        start[:, 0] = 1
        return rollout_row(used, start)
