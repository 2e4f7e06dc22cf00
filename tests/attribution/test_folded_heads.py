"""Attention over (N * heads, T, T), as models with ``bmm`` write it: the maps are those of the same model unfolded."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import (
    AttentionRollout,
    BeyondIntuition,
    GenericAttention,
    LeGrad,
    LibraGrad,
    TokenOcclusion,
    TokenTM,
    TransformerLRP,
)

from .families import images, make, vit_family
from .test_families import relative_error

METHODS: dict[str, Any] = {
    "TransformerLRP": TransformerLRP,
    "GenericAttention": GenericAttention,
    "AttentionRollout": AttentionRollout,
    "LeGrad": LeGrad,
    "TokenTM": TokenTM,
    "LibraGrad": LibraGrad,
    "LibraGrad attcat": lambda model: LibraGrad(model, "attcat"),
    "BeyondIntuition": lambda model: BeyondIntuition(model, steps=2, start_layer=0),
    "BeyondIntuition head": lambda model: BeyondIntuition(model, "head", steps=2, start_layer=0),
    "TokenOcclusion": TokenOcclusion,
}
FAMILY = vit_family("folded", "", "vit_tiny_patch16_224")


class Folded(nn.Module):
    """A timm attention whose heads lie beside the images, image by image or head by head; or one head without any."""

    def __init__(self, attention: Any, layout: str) -> None:
        super().__init__()
        self.qkv, self.proj, self.layout = attention.qkv, attention.proj, layout
        self.heads, self.scale = attention.num_heads, attention.scale

    def forward(self, x: Tensor, *unused: Any, **options: Any) -> Tensor:
        size, tokens, width = x.shape
        parts = self.qkv(x).view(size, tokens, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if self.layout == "heads first":
            parts = parts.transpose(1, 2)
        q, k, v = parts.reshape(3, size * self.heads, tokens, -1)
        weights = torch.bmm(q * self.scale, k.transpose(1, 2)).softmax(-1)
        mixed = torch.bmm(weights, v)
        if self.layout == "heads first":
            mixed = mixed.view(self.heads, size, tokens, -1).permute(1, 2, 0, 3)
        else:
            mixed = mixed.view(size, self.heads, tokens, -1).transpose(1, 2)
        return self.proj(mixed.reshape(size, tokens, width))  # type: ignore[no-any-return]


def folded(layout: str, heads: int) -> tuple[nn.Module, nn.Module]:
    """The model as timm writes it, and the same one with its attention folded."""
    plain, other = (make(FAMILY).double() for _ in range(2))
    for block in (*plain.blocks, *other.blocks):  # type: ignore[union-attr, misc]
        block.attn.num_heads, block.attn.head_dim = heads, 32 // heads
        block.attn.scale = (32 // heads) ** -0.5
    for block in other.blocks:  # type: ignore[union-attr]
        block.attn = Folded(block.attn, layout)
    return plain, other


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("layout", "heads"), [("images first", 2), ("heads first", 2), ("images first", 1)])
def test_maps_are_those_of_the_plain_model(method: str, layout: str, heads: int) -> None:
    plain, other = folded(layout, heads)
    x = images(FAMILY, 3).double()
    torch.testing.assert_close(other(x), plain(x))
    found, wanted = (METHODS[method](model).attribute(x, [1, 2, 0]) for model in (other, plain))
    tolerance = 1e-4 if method == "TransformerLRP" else 1e-9  # quotients by sums near 0: rounding is amplified
    assert relative_error(found, wanted) < tolerance
    assert relative_error(METHODS[method](other).attribute(x[1:2], 2), wanted[1:2]) < tolerance
