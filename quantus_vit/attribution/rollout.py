"""From attention maps to one row over the tokens: the layers of a rollout, and the row that the class is read from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from ..relevance import Trace, TraceOptions, trace
from ..relevance.composites import dependence, gradient
from ..relevance.conditions import gathered, holds
from ..relevance.numerics import HALF
from ..relevance.state import Attention

__all__ = [
    "Layers",
    "apply_attention",
    "at_least_single",
    "check_start_layer",
    "readout",
    "rollout_row",
    "row_below",
    "seed_of_all",
    "start_row",
    "token_layers",
    "weights_with_readout",
]


@dataclass(frozen=True)
class Layers:
    """The attention layers as a rollout takes them.

    Attributes
    ----------
    blocks : list of Attention
        Self-attention over the same T tokens each, from the first layer to the last.
    pooling : Attention or None
        Attention pooling after them: some queries of its own over the T tokens.
    """

    blocks: list[Attention]
    pooling: Attention | None

    @property
    def last(self) -> Attention:
        """The layer whose queries the logits are read from."""
        return self.blocks[-1] if self.pooling is None else self.pooling

    def check_start(self, start_layer: int) -> None:
        """Raise ``ValueError`` where there is no such layer."""
        if start_layer >= len(self.blocks):
            count = len(self.blocks)
            raise ValueError(f"the model has {count} attention layers; layer {start_layer} does not exist")


def token_layers(attentions: Sequence[Attention], size: int) -> Layers:
    """The layers, if all are global self-attention over the same tokens, with or without attention pooling at the end.

    Raises
    ------
    ValueError
        There is no attention, or it runs in windows, over channels or over changing token counts.
    """
    if not attentions:
        raise ValueError(
            "the model has no softmax attention: no softmax output was multiplied with values during its forward. "
            "This method explains Vision Transformers only; AttnLRP explains other models, too"
        )
    tokens = attentions[0].shape[-1]
    for layer in attentions:
        queries, keys = layer.shape[-2:]
        if layer.shape[0] != size or len(layer.shape) != 4:
            raise ValueError(
                f"attention layer {layer.index} in '{layer.module_name}' has shape {layer.shape} for {size} images: "
                "windowed attention has no global token grid to roll relevance out over; use AttnLRP"
            )
        pools = layer is attentions[-1] and len(attentions) > 1 and keys == tokens
        if keys != tokens or (queries != tokens and not pools):
            raise ValueError(
                f"attention layer {layer.index} in '{layer.module_name}' maps {keys} to {queries} tokens, where layer "
                f"0 reads {tokens}: a rollout needs self-attention over the same tokens in every layer (only attention "
                "pooling may follow), which pyramids, class attention (CaiT) and cross-covariance attention (XCiT) do "
                "not have; use AttnLRP"
            )
    beside = next((layer for layer in attentions if not layer.in_line), None)
    if beside is not None:
        raise ValueError(
            f"attention layer {beside.index} in '{beside.module_name}' does not read what the layers before it made: "
            "the model is several in one (an ensemble, or one that is run on several views of the image), and a "
            "rollout is a product over layers that follow one another; explain the models one by one, or use AttnLRP"
        )
    if attentions[-1].shape[-2] == tokens:
        return Layers(list(attentions), None)
    return Layers(list(attentions[:-1]), attentions[-1])


def readout(evidence: Tensor, or_first: bool = False) -> Tensor:
    """Where the logits are read from: equal weights on the tokens whose attention the target depends on.

    After the last attention layer tokens no longer mix, so its gradient (or relevance) is exactly 0 in the rows of
    tokens that the logits do not use. What is left is the class token's row in a model that reads a class token, the
    patches' rows under average pooling, both tokens' rows in a distilled model, the pooling query's row under
    attention pooling; no name of a model is asked.

    Parameters
    ----------
    evidence : Tensor
        (N, heads, queries, keys), gradient or relevance of the last layer's attention weights; or (N, 1, T, channels),
        that of the tokens behind it.
    or_first : bool
        Where nothing is left, take the first row: for methods whose maps are 0 then, whatever row they read.

    Returns
    -------
    Tensor
        (N, queries), with sum 1.

    Raises
    ------
    ValueError
        Nothing is left of an image, so that nobody knows which rows are read.
    """
    used = _used(evidence)
    if or_first:
        used[:, 0] |= ~used.any(1)
    elif not holds(used.any(1), gathered()):
        raise _untold(used)
    return _shares(used, evidence)


def _used(evidence: Tensor) -> Tensor:
    return (evidence != 0).any(-1).any(1)


def _shares(used: Tensor, like: Tensor) -> Tensor:
    return used.to(like.dtype) / used.sum(1, keepdim=True).to(like.dtype)


def _untold(used: Tensor) -> ValueError:
    return ValueError(
        f"every gradient at the last attention layer is exactly 0 for image {int(used.any(1).int().argmin())} of the "
        "batch, so it cannot be told which tokens the logits are read from: the model's end is saturated (a "
        "softmax or sigmoid of large logits, a last layer of zeros) or half precision rounds to 0; let the model "
        "return logits, in float32"
    )


def start_row(layers: Layers, start: Tensor, pooled: Tensor | None) -> Tensor:
    """Weights of the blocks' output tokens, (N, T): the readout, taken through attention pooling where there is one.

    Parameters
    ----------
    layers : Layers
    start : Tensor
        (N, queries of ``layers.last``), from :func:`readout`.
    pooled : Tensor or None
        (N, queries, T), the pooling layer's map. It has no residual connection, so no identity is added.
    """
    if layers.pooling is None:
        return start
    assert pooled is not None
    return apply_attention(start, pooled)


def weights_with_readout(
    model: nn.Module, inputs: Tensor, reduce: Callable[[Tensor], Tensor] | None, arguments: Sequence[Any] = ()
) -> tuple[Trace, Layers, Tensor]:
    """Attention weights of one forward, for methods without a target, and the tokens that the logits are read from.

    Only what lies above the last attention layer is differentiated. Where that layer's place could not be told from
    the model's modules, the forward runs a second time; so it does where gradients vanish, at a saturated softmax or a
    last layer of zeros, to ask which tokens the logits depend on whatever the weights (:func:`dependence`).
    """
    options = TraceOptions(
        gradient(),
        "last attention",
        arguments=tuple(arguments),
        keep_weights=True,
        reduce_weights=reduce,
        grid=True,
        of_class=False,
    )
    traced = trace(model, inputs, options)
    layers = token_layers(traced.attentions, inputs.shape[0])
    traced.gradient(seed_of_all(traced.logits), keep=False)
    if layers.last.gradient is None:
        options = replace(options, start="attention", start_layer=layers.last.index)
        traced = trace(model, inputs, options)
        layers = token_layers(traced.attentions, inputs.shape[0])
        traced.gradient(seed_of_all(traced.logits), keep=False)
    found = layers.last.gradient
    if found is None:
        raise ValueError("the model's logits do not depend on its last attention layer")
    used = _used(found)
    if not holds(used.any(1), gathered()):
        used = _used_by_dependence(model, inputs, options)
    return traced, layers, _shares(used, found)


def _used_by_dependence(model: nn.Module, inputs: Tensor, options: TraceOptions) -> Tensor:
    options = replace(options, composite=dependence(), keep_weights=False, reduce_weights=None, grid=False)
    traced = trace(model, inputs, options)
    traced.relevance(torch.ones_like(traced.logits), keep=False)
    found = token_layers(traced.attentions, inputs.shape[0]).last.relevance
    used = _used(found) if found is not None else torch.zeros(len(inputs), 1, dtype=torch.bool)
    if not bool(used.any(1).all()):
        raise _untold(used)
    return used


def seed_of_all(logits: Tensor) -> Tensor:
    """A seed (N, classes) of all classes, each with a weight of its own: the sum of probabilities has no gradient."""
    return torch.linspace(1, 2, logits.shape[1], dtype=logits.dtype, device=logits.device).expand_as(logits)


def rollout_row(maps: Sequence[Tensor], start: Tensor, pooled: bool = False) -> Tensor:
    """What the layers' maps bring into one row of the product (I + A_L) ... (I + A_1), without forming the product.

    The row's own start (the identities' product) is left out, unless it comes from attention pooling: a readout weighs
    all tokens that are read alike, which says nothing about the image and would hide what does in half precision. For a
    class token nothing changes, since its start lies on the class token alone and not on the patches.

    Parameters
    ----------
    maps : sequence of Tensor
        (N, T, T) each, from the first layer to the last.
    start : Tensor
        (N, T), the row's weights on the last layer's output tokens.
    pooled : bool
        The start is the map of an attention pooling, and part of the result.

    Returns
    -------
    Tensor
        (N, T), in single precision where the maps are in half.
    """
    start = at_least_single(start)
    row = start if pooled else torch.zeros_like(start)
    for layer in reversed(maps):
        row = row_below(row, start, layer, pooled)
    return row


def row_below(row: Tensor, start: Tensor, layer: Tensor, pooled: bool) -> Tensor:
    """One step of :func:`rollout_row`: the row above a layer's map -> the row below it."""
    weights = row if pooled else start + row
    return row + apply_attention(weights, layer)


def apply_attention(row: Tensor, layer: Tensor) -> Tensor:
    """The product of a row (N, queries) and a map (N, queries, T), (N, T)."""
    return (row[:, None] @ layer.to(row.dtype))[:, 0]


def at_least_single(x: Tensor) -> Tensor:
    """The same in single precision where it is in half."""
    return x.float() if x.dtype in HALF else x


def check_start_layer(start_layer: int, name: str = "start_layer") -> None:
    """Raise ``ValueError`` for what cannot be the index of a layer."""
    if isinstance(start_layer, bool) or not isinstance(start_layer, int) or start_layer < 0:
        raise ValueError(f"{name} must be an integer of 0 or more, not {start_layer!r}")
