"""The grid of patches from the traced graph: every way in which models make tokens of an image."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import Tensor, nn

from quantus_vit import AttentionRollout, GenericAttention, TransformerLRP
from quantus_vit.attribution.grid import patch_grid, token_grid
from quantus_vit.attribution.rollout import token_layers
from quantus_vit.relevance import TraceOptions, trace

D = torch.float64


class Classifier(nn.Module):
    """One attention layer over tokens that ``tokens`` makes of an image; reads the mean token."""

    def __init__(self, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.attention = nn.MultiheadAttention(width, 2, batch_first=True)
        self.head = nn.Linear(width, 3)

    def tokens(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        y = self.tokens(x)
        return self.head((y + self.attention(y, y, y)[0]).mean(1))


class ConvolutionalStem(Classifier):
    """Three strides, a pooling, and no module that states a patch size; a register on either side of the patches."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, 1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(8, 8, 3, 2, 1))
        self.before, self.after = nn.Parameter(torch.randn(1, 2, 8)), nn.Parameter(torch.randn(1, 3, 8))

    def tokens(self, x: Tensor) -> Tensor:
        y = self.stem(x).flatten(2).transpose(1, 2)
        return torch.cat((self.before.expand(len(x), -1, -1), y, self.after.expand(len(x), -1, -1)), 1)


class RearrangedPixels(Classifier):
    """A linear map of patches that reshapes cut out, as models written with einops have it; a token of their own."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.token = nn.Linear(3 * 8 * 4, 8), nn.Parameter(torch.randn(1, 1, 8))
        self.norm = nn.LayerNorm(96)

    def tokens(self, x: Tensor) -> Tensor:
        n, c, h, w = x.shape
        patches = x.reshape(n, c, h // 8, 8, w // 4, 4).permute(0, 2, 4, 3, 5, 1).reshape(n, -1, 96)
        return torch.cat((self.token.expand(n, -1, -1), self.embedding(self.norm(patches))), 1)


class UnfoldedPixels(Classifier):
    """The same by ``unfold``, tokens in the order of columns."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Linear(96, 8)

    def tokens(self, x: Tensor) -> Tensor:
        patches = nn.functional.unfold(x, (8, 4), stride=(8, 4)).transpose(1, 2)
        rows, columns = x.shape[2] // 8, x.shape[3] // 4
        by_columns = patches.unflatten(1, (rows, columns)).transpose(1, 2).flatten(1, 2)
        return self.embedding(by_columns)


MODELS: dict[str, tuple[type[Classifier], tuple[int, int], list[int]]] = {
    "convolutional stem": (ConvolutionalStem, (4, 2), list(range(2, 10))),
    "rearranged pixels": (RearrangedPixels, (4, 4), list(range(1, 17))),
    "unfolded pixels": (UnfoldedPixels, (4, 4), [row + 4 * column for row in range(4) for column in range(4)]),
}


@pytest.mark.parametrize("name", MODELS)
def test_tokens_are_followed_from_the_image(name: str) -> None:
    build, sizes, tokens = MODELS[name]
    traced = trace(build().eval(), torch.randn(2, 3, 32, 16), TraceOptions(grid=True))
    grid = token_grid(traced)
    assert grid.sizes == sizes
    assert grid.tokens is not None
    assert grid.tokens.tolist() == tokens
    assert token_layers(traced.attentions, 2).last.shape[-1] == (13 if "stem" in name else 17 if "re" in name else 16)


@pytest.mark.parametrize("name", ["rearranged pixels", "unfolded pixels"])
@pytest.mark.parametrize("method", [TransformerLRP, GenericAttention, AttentionRollout])
def test_maps_lie_where_the_patches_are(name: str, method: Any) -> None:
    """Tokens of one changed patch change, so against finite differences: the map moves most at that patch."""
    model = MODELS[name][0]().double().eval()
    x = torch.zeros(1, 3, 32, 16, dtype=D)
    flat = method(model, interpolate=None).attribute(x, 0)
    x[:, :, 16:24, 4:8] = torch.randn(3, 8, 4, dtype=D, generator=torch.Generator().manual_seed(0)) * 3
    change = (method(model, interpolate=None).attribute(x, 0) - flat).abs()[0, 0]
    assert change.argmax() == 2 * 4 + 1


def test_a_hybrid_whose_patch_size_says_nothing() -> None:
    model = timm.create_model("vit_tiny_r_s16_p8_224", num_classes=3, img_size=64, depth=2).eval()
    maps = TransformerLRP(model, interpolate=None).attribute(torch.randn(1, 3, 64, 64), 1)
    assert maps.shape == (1, 1, 2, 2)
    assert maps.isfinite().all()


def test_windows_have_patches_but_no_token_grid() -> None:
    options: dict[str, Any] = {"embed_dim": 12, "depths": (1, 1), "num_heads": (1, 2), "window_size": 4}
    model = timm.models.SwinTransformer(img_size=32, patch_size=2, num_classes=3, **options).eval()
    x = torch.randn(1, 3, 32, 32)
    assert patch_grid(model, x) == (16, 16)
    with pytest.raises(ValueError, match=r"does not run over one grid of all patches.*16 x 16"):
        token_grid(trace(model, x, TraceOptions(grid=True)))


def test_models_without_tokens_of_the_image_are_refused() -> None:
    class Random(Classifier):
        def tokens(self, x: Tensor) -> Tensor:
            return x.mean((1, 2, 3))[:, None, None] * torch.ones(1, 5, 8)

    with pytest.raises(ValueError, match="could not be followed back"):
        AttentionRollout(Random()).attribute(torch.randn(1, 3, 8, 8), 0)
    with pytest.raises(ValueError, match="Sequential has no attention"):
        patch_grid(nn.Sequential(nn.Flatten(), nn.Linear(12, 2)), torch.randn(1, 3, 2, 2))


def test_volumes_have_a_grid_of_three_sizes() -> None:
    class Volume(Classifier):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Conv3d(1, 8, (2, 4, 4), (2, 4, 4))

        def tokens(self, x: Tensor) -> Tensor:
            return self.embedding(x).flatten(2).transpose(1, 2)

    assert patch_grid(Volume().eval(), torch.randn(1, 1, 4, 12, 8)) == (2, 3, 2)
