"""TransformerLRP: Chefer, Gur and Wolf, "Transformer interpretability beyond attention visualization", CVPR 2021."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace, transformer_lrp
from ..relevance.options import Start
from ..relevance.state import Attention
from .base import PropagationMethod, require_relevance
from .grid import check_interpolation, to_image, token_grid
from .inputs import one_hot
from .rollout import (
    Layers,
    apply_attention,
    at_least_single,
    check_start_layer,
    readout,
    row_below,
    token_layers,
    weights_with_readout,
)

__all__ = [
    "VARIANTS",
    "FirstLayerRow",
    "LastLayerRow",
    "RolloutRow",
    "Row",
    "Rows",
    "TransformerLRP",
    "Variant",
    "weights_row",
]


class Row:
    """One target's relevance over the tokens, (N, T), as its layers' maps arrive from the last to the first.

    Parameters
    ----------
    layers : Layers
    start : Tensor
        (N, queries of the last layer), where the logits are read from.
    first_layer : int
        Maps below it do not count.
    """

    def __init__(self, layers: Layers, start: Tensor, first_layer: int) -> None:
        self._layers, self._first = layers, first_layer
        self._start = at_least_single(start)
        self.row = torch.zeros_like(self._start)

    def descend(self, index: int, layer: Tensor) -> None:
        """Take the map (N, queries, T) of the layer with this index."""
        if index == len(self._layers.blocks):  # attention pooling
            self._start = self.row = apply_attention(self._start, layer)
        elif index >= self._first:
            self._take(index, layer)

    def _take(self, index: int, layer: Tensor) -> None:
        """Take the map of a block, (N, T, T)."""
        raise NotImplementedError


class RolloutRow(Row):
    """The row of (I + A_L) ... (I + A_1)."""

    def _take(self, index: int, layer: Tensor) -> None:
        self.row = row_below(self.row, self._start, layer, self._layers.pooling is not None)


class FirstLayerRow(Row):
    """The row of the first layer's map alone."""

    def _take(self, index: int, layer: Tensor) -> None:
        if index == self._first:
            self.row = apply_attention(self._start, layer)


class LastLayerRow(Row):
    """The row of the last layer's map alone, of the pooling's where there is one."""

    def descend(self, index: int, layer: Tensor) -> None:
        """Take the map if it is the last layer's."""
        if index == self._layers.last.index:
            self.row = apply_attention(self._start, layer)


class Rows:
    """The rows of several targets: which a walk tells of each attention layer, as soon as it has its relevance.

    Parameters
    ----------
    layers : Layers
    form : subclass of Row
    first_layer : int
    """

    def __init__(self, layers: Layers, form: type[Row], first_layer: int) -> None:
        self._layers, self._form, self._first = layers, form, first_layer
        self._rows: dict[int, Row] = {}

    def take(self, number: int, layer: Attention) -> None:
        """Take (G * R)+ of a layer, or R+ where there is no gradient, for the target of this number; free both."""
        assert layer.relevance is not None
        if layer.index == self._layers.last.index:
            evidence = layer.relevance if layer.gradient is None else layer.gradient
            self._rows[number] = self._form(self._layers, readout(evidence, or_first=True), self._first)
        weighted = layer.relevance if layer.gradient is None else layer.gradient.mul_(layer.relevance)
        if number in self._rows:
            positive = F.relu(weighted, inplace=layer.gradient is not None)
            self._rows[number].descend(layer.index, positive.mean(1))
        layer.relevance = layer.gradient = None

    def finished(self, count: int) -> list[Tensor]:
        """The rows (N, T) of so many targets, after the walk."""
        if len(self._rows) < count:
            raise ValueError("the model's logits do not depend on its last attention layer")
        return [self._rows[number].row for number in range(count)]


@dataclass(frozen=True)
class Variant:
    """What tells one variant of the authors' code from the others.

    Attributes
    ----------
    start : {"attention", "last attention", "input"}
        Where passes end: at the attention maps, whose relevance is rolled out; at the last one, whose weights are the
        map; or at the pixels, whose relevance is the map.
    gradients : bool
        The maps are (G * R)+ and not R+.
    first_layer : int or None
        The first attention layer of interest; None is the caller's ``start_layer``.
    row : subclass of Row
        How the layers' maps become one row.
    """

    start: Start = "attention"
    gradients: bool = False
    first_layer: int | None = 0
    row: type[Row] = RolloutRow


VARIANTS = {
    "transformer_attribution": Variant(gradients=True, first_layer=None),
    "rollout": Variant(first_layer=None),
    "last_layer": Variant(gradients=True, row=LastLayerRow),
    "last_layer_attn": Variant("last attention"),
    "second_layer": Variant(gradients=True, first_layer=1, row=FirstLayerRow),
    "full": Variant("input"),
}


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
    (:func:`~quantus_vit.attribution.rollout.readout`).

    The method divides relevance by sums of parts of either sign, so size and pattern of its maps can hang on the last
    digits of float32, and on noise far below what is seen; ``stabilizer`` mends it, and float64 models and images give
    the authors' maps exactly (``benchmarks/README.md``, "Precision").

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
    stabilizer : float
        0 is the authors' method. A small number, such as 0.01, makes maps that noise and rounding do not move: the
        quotients R / z at residual sums, scores and attention times values become R z / (z^2 + (stabilizer rms(z))^2),
        rms over each sample's operation (``docs/rules.md``).

    Raises
    ------
    ValueError
        Unknown variant or interpolation, or a negative ``start_layer`` or ``stabilizer``.

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
        stabilizer: float = 0.0,
    ) -> None:
        super().__init__(model)
        if variant not in VARIANTS:
            raise ValueError(f"unknown variant {variant!r}; the variants are {', '.join(VARIANTS)}")
        check_start_layer(start_layer)
        check_interpolation(interpolate)
        self.variant = variant
        self.composite = transformer_lrp(stabilizer)
        self._recipe = VARIANTS[variant]
        self._first_layer = start_layer if self._recipe.first_layer is None else self._recipe.first_layer
        self.start_layer = start_layer
        self.interpolate = interpolate

    def _trace(self, inputs: Tensor, forward_args: tuple[Any, ...]) -> Trace:
        recipe, first = self._recipe, self._first_layer
        if recipe.start == "last attention":
            return weights_with_readout(self.model, inputs, None, forward_args)[0]
        options = TraceOptions(
            self.composite,
            recipe.start,
            first,
            forward_args,
            gradients=recipe.gradients,
            grid=recipe.start == "attention",
        )
        traced = trace(self.model, inputs, options)
        token_layers(traced.attentions, inputs.shape[0]).check_start(first)
        return traced

    def _maps(self, traced: Trace, targets: list[Tensor], inputs: Tensor) -> list[Tensor]:
        seeds = [one_hot(target, traced.logits) for target in targets]
        if self._recipe.start == "input":
            return [require_relevance(message).sum(1, keepdim=True) for (message,) in traced.walk(seeds)]
        layers = token_layers(traced.attentions, inputs.shape[0])
        if self._recipe.start == "last attention":
            found = [weights_row(layers)] * len(seeds)
        else:
            rows = Rows(layers, self._recipe.row, self._first_layer)
            traced.walk(seeds, rows.take, gradients=self._recipe.gradients)
            found = rows.finished(len(seeds))
        grid = token_grid(traced)
        return [to_image(row, grid, inputs, self.interpolate) for row in found]


def weights_row(layers: Layers) -> Tensor:
    """(N, T): the readout's attention weights in the last layer."""
    last = layers.last
    assert last.weights is not None
    assert last.gradient is not None
    return apply_attention(readout(last.gradient), last.weights.clamp(min=0).mean(1))
