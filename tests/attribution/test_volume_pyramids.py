"""Windows and stages in three dimensions, and videos whose frames and patches are one grid of tokens."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantus_vit import AttnLRP, GenericAttention, LibraGrad, RegionTarget, TokenOcclusion

from .families import CLASSES, randomise
from .wider_families import Video

TARGETS = torch.tensor([1, 3])


class WindowBlock(nn.Module):
    """Attention in windows of 2 x 2 x 2 and an MLP, on maps (N, d, h, w, C)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm, self.qkv, self.proj = nn.LayerNorm(width), nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def forward(self, x: Tensor) -> Tensor:
        n, d, h, w, c = x.shape
        windows = self.norm(x).view(n, d // 2, 2, h // 2, 2, w // 2, 2, c)
        windows = windows.permute(0, 1, 3, 5, 2, 4, 6, 7).reshape(-1, 8, c)
        q, k, v = self.qkv(windows).view(-1, 8, 3, 2, c // 2).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(-1, 8, c)
        back = self.proj(mixed).view(n, d // 2, h // 2, w // 2, 2, 2, 2, c).permute(0, 1, 4, 2, 5, 3, 6, 7)
        x = x + back.reshape(n, d, h, w, c)
        return x + self.mlp(x)  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """Two stages of windows in a volume, as a small Swin UNETR's encoder with a head for classes."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.first = nn.Conv3d(2, 8, 2, 2), WindowBlock(8)
        self.merge, self.second = nn.Linear(64, 16), WindowBlock(16)
        self.norm, self.head = nn.LayerNorm(16), nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(self.embed(x).permute(0, 2, 3, 4, 1))
        n, d, h, w, c = x.shape
        x = x.view(n, d // 2, 2, h // 2, 2, w // 2, 2, c).permute(0, 1, 3, 5, 2, 4, 6, 7)
        x = self.second(self.merge(x.reshape(n, d // 2, h // 2, w // 2, 8 * c)))
        return self.head(self.norm(x).mean((1, 2, 3)))  # type: ignore[no-any-return]


@pytest.fixture
def pyramid() -> nn.Module:
    torch.manual_seed(1)
    return randomise(Pyramid()).double().eval()


@pytest.fixture
def volumes() -> Tensor:
    return torch.randn(2, 2, 8, 8, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("places", [False, True])
def test_windows_in_volumes_sum_to_the_logit(pyramid: nn.Module, volumes: Tensor, places: bool) -> None:
    method = LibraGrad(pyramid, "fullgrad")
    traced = method._traced(volumes, (), places=places)
    (maps,) = method._sums(traced, [TARGETS], volumes)
    assert set(maps.by_layout) == {(4, 4, 8), (2, 2, 4)}
    total = sum(tokens.flatten(1).sum(1) for tokens in maps.by_layout.values())
    torch.testing.assert_close(total, traced.logits.gather(1, TARGETS[:, None])[:, 0], rtol=1e-9, atol=1e-9)


def test_maps_of_both_stages_become_volumes(pyramid: nn.Module, volumes: Tensor) -> None:
    assert LibraGrad(pyramid, "hirescam", interpolate=None).attribute(volumes, 1).shape == (2, 1, 2, 2, 4)
    summed = LibraGrad(pyramid, "plus").attribute(volumes, 1)
    alone = [LibraGrad(pyramid, "ixg", start_block=block, interpolate=None).attribute(volumes, 1) for block in (0, 1)]
    assert [tuple(one.shape[2:]) for one in alone] == [(4, 4, 8), (2, 2, 4)]
    parts = [F.interpolate(one, (8, 8, 16), mode="trilinear", align_corners=False) for one in alone]
    torch.testing.assert_close(summed, parts[0] + parts[1])


def test_attn_lrp_conserves_in_windows_of_volumes(pyramid: nn.Module, volumes: Tensor) -> None:
    with torch.no_grad():
        for name, parameter in pyramid.named_parameters():
            if name.endswith("bias"):
                parameter.zero_()
        wanted = pyramid(volumes).gather(1, TARGETS[:, None])[:, 0]
    maps = AttnLRP(pyramid, conv_gamma=0, linear_gamma=0).attribute(volumes, TARGETS)
    assert maps.shape == volumes.shape
    torch.testing.assert_close(maps.flatten(1).sum(1), wanted, rtol=1e-3, atol=1e-4)


@pytest.fixture
def video_mae() -> Any:
    transformers = pytest.importorskip("transformers")
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = transformers.VideoMAEConfig(
        **sizes, image_size=16, patch_size=8, num_frames=6, tubelet_size=2, num_labels=CLASSES
    )
    torch.manual_seed(1)
    return randomise(transformers.VideoMAEForVideoClassification(config)).eval()


def test_videos_whose_frames_and_patches_are_one_grid(video_mae: Any) -> None:
    """Token removal against the model's own masking, which drops tokens; maps of the others on the grid."""
    x = torch.randn(1, 3, 6, 16, 16, generator=torch.Generator().manual_seed(3))
    found = TokenOcclusion(Video(video_mae), interpolate=None).attribute(x, 1)
    assert found.shape == (1, 1, 3, 2, 2)
    drops = []
    with torch.no_grad():
        whole = video_mae(x.transpose(1, 2)).logits[0, 1]
        for token in range(12):
            gone = torch.zeros(1, 12, dtype=torch.bool)
            gone[0, token] = True
            tokens = video_mae.videomae(x.transpose(1, 2), bool_masked_pos=gone).last_hidden_state
            drops.append(whole - video_mae.classifier(video_mae.fc_norm(tokens.mean(1)))[0, 1])
    torch.testing.assert_close(found.flatten(), torch.stack(drops), rtol=1e-4, atol=1e-5)
    for method in (GenericAttention, LibraGrad):
        assert method(Video(video_mae), interpolate=None).attribute(x, 1).shape == (1, 1, 3, 2, 2)
        assert method(Video(video_mae)).attribute(x, 1).shape == (1, 1, 6, 16, 16)
    assert AttnLRP(Video(video_mae)).attribute(x, 1).shape == x.shape


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
def test_a_region_of_a_segmentation_by_swin_unetr_in_volumes() -> None:
    """The target is the region's sum; pixels that it does not depend on get nothing."""
    nets = pytest.importorskip("monai.networks.nets")
    pytest.importorskip("einops")
    torch.manual_seed(0)
    model = nets.SwinUNETR(1, 2, feature_size=12, spatial_dims=3, depths=(1, 1, 1, 1), num_heads=(1, 2, 2, 4)).eval()
    region = torch.zeros(64, 32, 32, dtype=torch.bool)
    region[8:16, 8:16, 8:16] = True
    target = RegionTarget(model, region, 1)
    x = torch.randn(1, 1, 64, 32, 32, generator=torch.Generator().manual_seed(3))
    with torch.no_grad():
        wanted = model(x)[0, 1][region].sum()
    torch.testing.assert_close(target(x).flatten(), wanted[None], rtol=1e-4, atol=1e-4)
    pixels = AttnLRP(target, conv_gamma=0, linear_gamma=0).attribute(x, 0)
    y = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(target(y).sum(), y)
    assert pixels.shape == x.shape
    assert not pixels[gradient == 0].any()
    assert pixels.isfinite().all()
    assert pixels.std() > 0
    with pytest.raises(ValueError, match="its residual stream is not one"):  # skip connections go around every block
        LibraGrad(target).attribute(x, 0)
