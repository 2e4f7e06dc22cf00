"""Small models and images for the LIME tests; all of them skip where the extra `lime` is not installed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

collect_ignore_glob: list[str] = []
try:
    import lime  # noqa: F401
    import skimage  # noqa: F401
except ImportError:
    collect_ignore_glob.append("test_*.py")


def small_vit(in_chans: int = 3, img_size: tuple[int, int] = (64, 64), num_classes: int = 3) -> nn.Module:
    """Random ViT whose probabilities do move when segments vanish."""
    torch.manual_seed(0)
    model = VisionTransformer(
        img_size=img_size,
        patch_size=8,
        in_chans=in_chans,
        embed_dim=32,
        depth=2,
        num_heads=2,
        num_classes=num_classes,
    )
    with torch.no_grad():
        for weights in model.parameters():
            if weights.ndim >= 2:  # the usual start is so small that the image hardly matters
                weights.mul_(4)
    return model.eval()


@pytest.fixture(scope="session")
def vit() -> nn.Module:
    return small_vit()


@pytest.fixture(scope="session")
def make_vit() -> Callable[..., nn.Module]:
    return small_vit


@pytest.fixture
def images() -> Tensor:
    """Two smooth pictures with noise, standardised: (2, 3, 64, 64)."""
    return smooth_images(2)


def smooth_images(count: int, size: tuple[int, int] = (64, 64), channels: int = 3) -> Tensor:
    generator = torch.Generator().manual_seed(7)
    coarse = torch.rand(count, channels, 6, 6, generator=generator)
    smooth = nn.functional.interpolate(coarse, size=size, mode="bicubic", align_corners=False)
    return smooth * 4 - 2 + 0.1 * torch.randn(count, channels, *size, generator=generator)


@pytest.fixture
def make_images() -> Callable[..., Tensor]:
    return smooth_images


@pytest.fixture
def classifier(vit: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The ViT as lime wants it: (B, H, W, 3) arrays to probabilities."""

    def probabilities(batch: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return vit(torch.from_numpy(np.asarray(batch)).permute(0, 3, 1, 2).float()).softmax(-1).numpy()

    return probabilities
