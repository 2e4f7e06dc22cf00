"""GradCAM against hooks and autograd, and what it refuses."""

from __future__ import annotations

import pytest
import timm
import torch
from torch import Tensor, nn

from quantus_vit import GradCAM


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    return timm.create_model(
        "vit_tiny_patch16_224", num_classes=4, img_size=32, patch_size=8, depth=3, embed_dim=24, num_heads=3
    ).eval().double()  # fmt: skip


def by_hooks(model: nn.Module, images: Tensor, targets: Tensor, block: int) -> Tensor:
    tokens: list[Tensor] = []
    hook = model.blocks[block].register_forward_pre_hook(lambda module, inputs: tokens.append(inputs[0]))
    logits = model(images)
    hook.remove()
    (gradient,) = torch.autograd.grad(logits[torch.arange(len(images)), targets].sum(), tokens)
    weights = gradient[:, 1:].mean(1)
    return torch.einsum("nc,ntc->nt", weights, tokens[0].detach()[:, 1:]).clamp(min=0).reshape(-1, 1, 4, 4)


@pytest.mark.parametrize("block", [None, 0, 1])
def test_grad_cam_equals_hooks_and_autograd(model: nn.Module, block: int | None) -> None:
    images = torch.randn(3, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets = torch.tensor([0, 3, 2])
    wanted = by_hooks(model, images, targets, 2 if block is None else block)
    found = GradCAM(model, block, interpolate=None).attribute(images, targets)
    assert (wanted > 0).any()
    torch.testing.assert_close(found, wanted)
    pixels = GradCAM(model, block, interpolate="nearest").attribute(images, targets)
    torch.testing.assert_close(pixels, wanted.repeat_interleave(8, 2).repeat_interleave(8, 3))
    several = GradCAM(model, block, interpolate=None).attribute_all_targets(images)
    for target in range(4):
        expected = by_hooks(model, images, torch.full((3,), target), 2 if block is None else block)
        torch.testing.assert_close(several[:, target], expected)


def test_blocks_that_are_not_there_are_refused(model: nn.Module) -> None:
    with pytest.raises(ValueError, match="block must be a whole number of 0 or more, or None for the last, not -1"):
        GradCAM(model, -1)
    with pytest.raises(ValueError, match=r"3 attention blocks, 0 to 2; block 3 does not exist"):
        GradCAM(model, 3).attribute(torch.zeros(1, 3, 32, 32, dtype=torch.float64), 0)
