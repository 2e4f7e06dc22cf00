"""Removal of tokens from LeViT, whose stages keep every second row and column of the tokens: rebuilt without them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from attribution.families import images, make
from attribution.wider_families import WIDER_BY_NAME as BY_NAME
from torch import Tensor, nn

from quantus_vit import TokenOcclusion
from quantus_vit.relevance import tokens_removed
from quantus_vit.relevance.forward import logits_of

# Of the rows and columns that the second stage keeps (0, 2, 8, 10), all stay, or the first alone.
REMOVED = ([1, 3, 5, 14, 15], [2, 7, 8, 9, 10])


def without(model: Any, x: Tensor, removed: list[int]) -> Tensor:
    """The model's logits for one image, tokens, attention biases and subsampling cut down to the tokens that stay."""
    keep = torch.tensor([place for place in range(16) if place not in removed])
    entrance = model.stages if hasattr(model, "stages") else model.levit.encoder
    handle = entrance.register_forward_pre_hook(lambda module, args: (args[0][:, keep],))
    side, places = 4, keep
    try:
        for module in model.modules():
            if not hasattr(module, "attention_biases"):
                continue
            queries, stays = places, places
            if type(module).__name__ in ("AttentionDownsample", "LevitAttentionSubsample"):
                rows, columns = places // side, places % side
                inside = (rows % 2 == 0) & (columns % 2 == 0)
                stays = (rows[inside] // 2) * (side // 2) + columns[inside] // 2
                queries = stays
                pick(module, inside.nonzero()[:, 0])
            bias = module.attention_biases[:, module.attention_bias_idxs]
            module.attention_bias_cache = {"cpu": bias[:, queries][:, :, places]}
            side, places = (side if stays is places else side // 2), stays
        return logits_of(model(x))
    finally:
        handle.remove()


def pick(module: Any, index: Tensor) -> None:
    """Let a downsampling attention take its queries from the tokens with these indices."""

    class Picked(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x[:, index]

    if hasattr(module, "queries_subsample"):
        module.queries_subsample, module.resolution_out = Picked(), round(len(index) ** 0.5)
    else:
        module.q.down = Picked()


@pytest.mark.parametrize("name", ["levit", "hf_levit"])
@pytest.mark.parametrize("removed", REMOVED)
def test_equals_a_forward_without_the_tokens(name: str, removed: list[int]) -> None:
    build: Callable[[], nn.Module] = lambda: make(BY_NAME[name]).double()  # noqa: E731
    x = images(BY_NAME[name], 1).double()
    mask = torch.zeros(1, 16, dtype=torch.bool)
    mask[0, removed] = True
    with torch.no_grad():
        whole, found = logits_of(build()(x)), logits_of(tokens_removed(build(), mask)(x))
        wanted = without(build(), x, removed)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-9)
    assert (found - whole).abs().max() > 1e-3 * whole.abs().max()


@pytest.mark.parametrize("name", ["focalnet", "hf_focalnet", "poolformerv2", "repvit"])
@pytest.mark.parametrize("size", [64, 128])
def test_pooling_alone_is_no_attention(name: str, size: int) -> None:
    """Tokens of a last map that is only averaged are not the model's patches."""
    x = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    with pytest.raises(ValueError, match="tokens cannot be removed from this model"):
        TokenOcclusion(make(BY_NAME[name])).attribute(x, 1)
