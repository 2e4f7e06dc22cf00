"""Relevance of position embeddings on the grid of patches."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ..relevance import Trace
from .grid import at_tokens, token_grid

__all__ = ["over_patches", "position_relevance"]


def position_relevance(traced: Trace, messages: Sequence[Tensor | None], multipliers: bool) -> Tensor:
    """Relevance that a pass gave to the position embeddings of patches, summed over channels.

    Parameters
    ----------
    traced : Trace
        Made with ``TraceOptions(grid=True, embeddings=True)``.
    messages : sequence of Tensor or None
        The pass' messages at ``traced.embeddings``.
    multipliers : bool
        The messages are multipliers; relevance is embedding times multiplier.

    Returns
    -------
    Tensor
        (N, 1, rows, columns). What fell to class tokens and registers is left out.

    Raises
    ------
    ValueError
        The model adds no position embedding to its patch tokens, or has no one grid of them.
    """
    grid = token_grid(traced)
    if not traced.embeddings:
        raise ValueError(
            "the model adds no position embedding to its patch tokens below the first attention (positions may enter "
            "in attention, as rotary or relative ones do); use AttnLRP without positions"
        )
    without = next((layer for layer in traced.attentions if not layer.reads_positions), None)
    if without is not None:
        raise ValueError(
            f"attention layer {without.index} in '{without.module_name}' does not read the tokens to which the model's "
            "first position embedding is added: a model of several streams, or several in one; use AttnLRP without "
            "positions"
        )
    size, places = len(traced.logits), torch.Size(grid.sizes).numel()
    total = traced.logits.new_zeros(size, places)
    for embedding, message in zip(traced.embeddings, messages, strict=True):
        if message is None:
            continue
        relevance = message * embedding.values if multipliers else message
        patches = embedding.patches.cpu()
        if int(patches.max()) >= places:
            raise ValueError(
                f"the model adds its position embedding to another grid of tokens than the {places} that its first "
                "attention reads (pooled keys); use AttnLRP without positions"
            )
        tokens = (patches >= 0).nonzero()[:, 0]
        by_token = at_tokens(relevance.sum(-1).reshape(size, -1), tokens).to(total.dtype)
        if torch.equal(patches[tokens], torch.arange(places)):
            total = total + by_token
        else:
            total = total.index_add(1, patches[tokens].to(total.device), by_token)
    return total.view(size, 1, *grid.sizes)


def over_patches(maps: Tensor, size: Sequence[int]) -> Tensor:
    """Values of patches (N, 1, rows, columns) spread evenly over their pixels, (N, 1, H, W); sums stay. Or volumes'."""
    pixels = math.prod(size) / math.prod(maps.shape[2:])
    return F.interpolate(maps / pixels, tuple(size), mode="nearest")
