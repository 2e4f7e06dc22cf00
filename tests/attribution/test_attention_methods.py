"""AttentionRollout and GenericAttention against attention maps that hooks and torch's own autograd give."""

from __future__ import annotations

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from quantus_vit import AttentionRollout, GenericAttention


@pytest.fixture(scope="module")
def model() -> nn.Module:
    torch.manual_seed(0)
    vit = VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=3, num_heads=2, num_classes=4)
    return vit.double().eval()


@pytest.fixture(scope="module")
def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def attention_and_gradients(model: nn.Module, images: Tensor, target: int) -> tuple[list[Tensor], list[Tensor]]:
    """Attention weights (N, heads, T, T) of each layer, seen by hooks, and the target logit's gradients there."""
    maps: list[Tensor] = []
    handles = []
    for block in model.blocks:  # type: ignore[union-attr]
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_hook(lambda _, __, output: maps.append(output)))
    logits = model(images)
    gradients = torch.autograd.grad(logits[:, target].sum(), maps)
    for handle in handles:
        handle.remove()
    return [m.detach() for m in maps], list(gradients)


def class_row(layers: list[Tensor]) -> Tensor:
    """The class token's row of the full product of matrices, over the patches."""
    product = torch.eye(layers[0].shape[-1], dtype=torch.float64).expand_as(layers[0])
    for layer in layers:
        product = layer @ product
    return product[:, 0, 1:].reshape(-1, 1, 4, 4)


def test_attention_rollout(model: nn.Module, images: Tensor) -> None:
    weights, _ = attention_and_gradients(model, images, 0)
    eye = torch.eye(17, dtype=torch.float64)
    layers = [(w.mean(1) + eye) / (w.mean(1) + eye).sum(-1, keepdim=True) for w in weights]
    torch.testing.assert_close(AttentionRollout(model, interpolate=None).attribute(images), class_row(layers))


@pytest.mark.parametrize("target", [0, 3])
def test_generic_attention(model: nn.Module, images: Tensor, target: int) -> None:
    weights, gradients = attention_and_gradients(model, images, target)
    eye = torch.eye(17, dtype=torch.float64)
    layers = [eye + (g * w).clamp(min=0).mean(1) for g, w in zip(gradients, weights, strict=True)]
    found = GenericAttention(model, interpolate=None).attribute(images, target)
    torch.testing.assert_close(found, class_row(layers))
