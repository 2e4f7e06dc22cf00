"""Volumes (N, C, D, H, W): the same maps as of the images and models that they come down to."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    BeyondIntuition,
    GenericAttention,
    LeGrad,
    LibraGrad,
    LimeCXR,
    PositionalLRP,
    TokenOcclusion,
    TokenShapley,
    TokenTM,
    TransformerLRP,
)

from .families import CLASSES, randomise
from .test_families import relative_error

TOKEN_METHODS: dict[str, Any] = {
    "TransformerLRP": TransformerLRP,
    "GenericAttention": GenericAttention,
    "AttentionRollout": AttentionRollout,
    "LibraGrad": LibraGrad,
    "LeGrad": LeGrad,
    "TokenTM": TokenTM,
    "BeyondIntuition": lambda model, **options: BeyondIntuition(model, steps=2, **options),
    "TokenOcclusion": TokenOcclusion,
    "TokenShapley": lambda model, **options: TokenShapley(model, num_samples=2, **options),
}
PATCH = 4


class ConvolutionViT(nn.Module):
    """A Vision Transformer for images or volumes: a convolution, positions, blocks, a class token."""

    def __init__(self, channels: int, grid: tuple[int, ...]) -> None:
        super().__init__()
        from timm.models.vision_transformer import Block

        convolution = {2: nn.Conv2d, 3: nn.Conv3d}[len(grid)]
        self.embed = convolution(channels, 16, PATCH, PATCH)
        self.cls = nn.Parameter(torch.zeros(1, 1, 16))
        self.pos = nn.Parameter(torch.zeros(1, torch.Size(grid).numel(), 16))
        self.blocks = nn.ModuleList(Block(16, 2, qkv_bias=True) for _ in range(2))
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.embed(x).flatten(2).transpose(1, 2) + self.pos
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1)
        hidden = []
        for block in self.blocks:
            x = block(x)
            hidden.append(x)
        return self.head(self.norm(x)[:, 0]), hidden


def model_of(channels: int, *grid: int) -> ConvolutionViT:
    torch.manual_seed(1)
    model = ConvolutionViT(channels, grid)
    return randomise(model).double().eval()  # type: ignore[return-value]


def volumes(*grid: int) -> Tensor:
    generator = torch.Generator().manual_seed(2)
    return torch.randn(2, 2, *[PATCH * size for size in grid], dtype=torch.float64, generator=generator)


@pytest.mark.parametrize("method", TOKEN_METHODS)
def test_one_layer_of_patches_is_an_image_of_more_channels(method: str) -> None:
    deep, flat = model_of(2, 1, 3, 2), model_of(2 * PATCH, 3, 2)
    state = deep.state_dict()
    state["embed.weight"] = state["embed.weight"].flatten(1, 2)
    flat.load_state_dict(state)
    x = volumes(1, 3, 2)
    images = x.flatten(1, 2)
    found = TOKEN_METHODS[method](deep, interpolate=None).attribute(x, [1, 2])
    wanted = TOKEN_METHODS[method](flat, interpolate=None).attribute(images, [1, 2])
    assert found.shape == (2, 1, 1, 3, 2)
    assert relative_error(found[:, :, 0], wanted) < 1e-8
    voxels = TOKEN_METHODS[method](deep).attribute(x, [1, 2])
    assert voxels.shape == (2, 1, PATCH, 3 * PATCH, 2 * PATCH)
    pixels = TOKEN_METHODS[method](flat).attribute(images, [1, 2])
    assert relative_error(voxels, pixels[:, :, None].expand_as(voxels)) < 1e-8


@pytest.mark.parametrize("method", TOKEN_METHODS)
def test_depth_rows_and_columns_stay_apart(method: str) -> None:
    """A model and a volume with their axes exchanged have the map with its axes exchanged."""
    if method == "TokenShapley":
        pytest.skip("its random orders of patches are not exchanged")
    model, turned = model_of(2, 2, 3, 1), model_of(2, 1, 3, 2)
    state = model.state_dict()
    state["embed.weight"] = state["embed.weight"].transpose(2, 4)
    state["pos"] = state["pos"].view(1, 2, 3, 1, 16).transpose(1, 3).reshape(1, 6, 16)
    turned.load_state_dict(state)
    x = volumes(2, 3, 1)
    found = TOKEN_METHODS[method](turned, interpolate=None).attribute(x.transpose(2, 4), 1)
    wanted = TOKEN_METHODS[method](model, interpolate=None).attribute(x, 1)
    assert wanted.shape == (2, 1, 2, 3, 1)
    assert wanted.flatten(1).std(1).min() > 0
    assert relative_error(found, wanted.transpose(2, 4)) < 1e-8


@pytest.mark.parametrize("options", [{}, {"positions": True}])
def test_attn_lrp(options: dict[str, Any]) -> None:
    deep, flat = model_of(2, 1, 3, 2), model_of(2 * PATCH, 3, 2)
    state = deep.state_dict()
    state["embed.weight"] = state["embed.weight"].flatten(1, 2)
    flat.load_state_dict(state)
    x = volumes(1, 3, 2)
    found = AttnLRP(deep, **options).attribute(x, [1, 2])
    wanted = AttnLRP(flat, **options).attribute(x.flatten(1, 2), [1, 2])
    assert found.shape == x.shape
    assert relative_error(found.flatten(1, 2), wanted) < 1e-8


def test_positional_lrp() -> None:
    deep, flat = model_of(2, 1, 3, 2), model_of(2 * PATCH, 3, 2)
    state = deep.state_dict()
    state["embed.weight"] = state["embed.weight"].flatten(1, 2)
    flat.load_state_dict(state)
    x = volumes(1, 3, 2)
    found = PositionalLRP(deep, positions=True).attribute_parts(x, [1, 2])
    wanted = PositionalLRP(flat, positions=True).attribute_parts(x.flatten(1, 2), [1, 2])
    assert relative_error(found.pixels.sum(2), wanted.pixels) < 1e-8
    assert relative_error(found.positions[:, :, 0], wanted.positions) < 1e-8
    assert PositionalLRP(deep).attribute(x, [1, 2]).shape == (2, 1, *x.shape[2:])


def test_windows_of_occlusion() -> None:
    """A window as large as the volume but for one dimension; its drops by the model's forwards without the patches."""
    model, x = model_of(2, 2, 3, 1), volumes(2, 3, 1)
    found = TokenOcclusion(model, window=(1, 3, 1), interpolate=None).attribute(x, 1)
    for layer in range(2):
        kept = [0, *(1 + place for place in range(6) if place // 3 != layer)]
        with torch.no_grad():
            tokens = model.embed(x).flatten(2).transpose(1, 2) + model.pos
            tokens = torch.cat([model.cls.expand(2, -1, -1), tokens], 1)
            logits = [model.head(model.norm(_blocks(model, t))[:, 0])[:, 1] for t in (tokens, tokens[:, kept])]
        torch.testing.assert_close(found[:, 0, layer], (logits[0] - logits[1]).view(2, 1, 1).expand(2, 3, 1))
    with pytest.raises(ValueError, match=r"a window of \(2, 2\) patches does not fit the model's grid of \(2, 3, 1\)"):
        TokenOcclusion(model, window=(2, 2)).attribute(x, 1)


def _blocks(model: ConvolutionViT, tokens: Tensor) -> Tensor:
    for block in model.blocks:
        tokens = block(tokens)
    return tokens


def test_refusals() -> None:
    model, x = model_of(2, 1, 3, 2), volumes(1, 3, 2)
    with pytest.raises(ValueError, match='volumes cannot be interpolated by "bicubic"; use "bilinear"'):
        TransformerLRP(model, interpolate="bicubic").attribute(x, 1)
    with pytest.raises(ValueError, match="takes no volumes"):
        LimeCXR(model).attribute(x, 1)


def test_images_that_a_model_takes_as_volumes_are_refused() -> None:
    """The grid has three dimensions, the image two: the map would have no place to go."""

    class OneSlice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model_of(2, 2, 3, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.model(x.unflatten(2, (2, -1)).reshape(len(x), 2, 8, 12, 4))[0]  # type: ignore[no-any-return]

    x = torch.randn(2, 2, 24, 16, dtype=torch.float64)
    assert AttnLRP(OneSlice()).attribute(x, 1).shape == x.shape
    with pytest.raises(ValueError, match="use AttnLRP"):
        TransformerLRP(OneSlice()).attribute(x, 1)


@pytest.mark.parametrize("embedding", ["conv", "perceptron"])
@pytest.mark.parametrize("size", [(16, 24), (8, 16, 24)])
def test_monai(size: tuple[int, ...], embedding: str) -> None:
    """MONAI's ViT returns (logits, hidden states); without biases and positions all of the logit arrives."""
    pytest.importorskip("einops")  # which MONAI's ViT needs
    nets = pytest.importorskip("monai.networks.nets")
    torch.manual_seed(1)
    model = nets.ViT(
        1, size, 8, 16, 32, 2, 2, embedding, classification=True, num_classes=CLASSES, spatial_dims=len(size),
        post_activation="none",
    )  # fmt: skip
    model = randomise(model).double().eval()
    x = torch.randn(2, 1, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    grid = tuple(side // 8 for side in size)
    for name, method in TOKEN_METHODS.items():
        maps = method(model, interpolate=None).attribute(x, [1, 2])
        assert maps.shape == (2, 1, *grid), name
        assert maps.isfinite().all()
        varies = maps.flatten(1).std(1) > 0
        assert varies.any() if name == "BeyondIntuition" else varies.all()  # that may be 0 where gradients are negative
        assert method(model).attribute(x[:1], 1).shape == (1, 1, *size)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "bias" in name or "position" in name or "cls" in name:
                parameter.zero_()
        logits = model(x)[0][[0, 1], [1, 2]]
    relevance = AttnLRP(model, conv_gamma=0, linear_gamma=0).attribute(x, [1, 2])
    assert relevance.shape == x.shape
    torch.testing.assert_close(relevance.flatten(1).sum(1), logits, rtol=1e-3, atol=1e-4)
