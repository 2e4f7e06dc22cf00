"""A small ViT in three forms, and settings under which every metric of Quantus runs on it."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

SIZE = 16
CLASSES = 3


class Attention(nn.Module):
    """Self-attention that, like the official ViT_LRP, hooks and keeps its attention map."""

    def __init__(self, dim: int, heads: int, hooked: bool) -> None:
        super().__init__()
        self.heads = heads
        self.hooked = hooked
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)
        self.attention: torch.Tensor | None = None
        self.attention_gradient: torch.Tensor | None = None

    def save_gradient(self, gradient: torch.Tensor) -> None:
        self.attention_gradient = gradient

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, d = x.shape
        q, k, v = self.qkv(x).reshape(n, t, 3, self.heads, d // self.heads).permute(2, 0, 3, 1, 4)
        attention = (q @ k.transpose(-2, -1) * (d // self.heads) ** -0.5).softmax(dim=-1)
        if self.hooked:
            attention.register_hook(self.save_gradient)
            self.attention = attention
        return self.proj((attention @ v).transpose(1, 2).reshape(n, t, d))


class Block(nn.Module):
    def __init__(self, dim: int, heads: int, hooked: bool) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.attn = Attention(dim, heads, hooked)
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = nn.Sequential(nn.Linear(dim, 2 * dim), nn.GELU(), nn.Linear(2 * dim, dim))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class ToyViT(nn.Module):
    """A ViT for images of 16 x 16 pixels; ``hooked`` makes its forward impossible without gradients."""

    def __init__(self, hooked: bool, dim: int = 16, depth: int = 2, heads: int = 2, last_softmax: bool = False) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, dim, 4, stride=4)  # InputInvariance shifts the first module, a convolution.
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.position = nn.Parameter(torch.zeros(1, 1 + (SIZE // 4) ** 2, dim))
        self.blocks = nn.ModuleList(Block(dim, heads, hooked) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        self.head = nn.Linear(dim, CLASSES)
        self.last = nn.Softmax(dim=-1) if last_softmax else nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.patch(x).flatten(2).transpose(1, 2)
        tokens = torch.cat([self.cls.expand(len(x), -1, -1), tokens], dim=1) + self.position
        for block in self.blocks:
            tokens = block(tokens)
        return self.last(self.head(self.norm(tokens)[:, 0]))


class ToyVolumeViT(ToyViT):
    """The ViT for volumes (N, 2, 4, 16, 16), in patches of 2 x 4 x 8; gives the logits, and its tokens' grid beside."""

    GRID = (2, 4, 2)

    def __init__(self) -> None:
        super().__init__(hooked=False)
        self.patch = nn.Conv3d(2, 16, (2, 4, 8), stride=(2, 4, 8))  # as many patches as of an image

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, tuple[int, ...]]:  # type: ignore[override]
        return super().forward(x), self.GRID


def toy_vit(hooked: bool, seed: int = 0, last_softmax: bool = False) -> ToyViT:
    """Return the model; the same weights for both forms, large enough that its classes differ."""
    torch.manual_seed(seed)
    model = ToyViT(hooked, last_softmax=last_softmax)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.15)
    return model.eval()


def toy_batch(count: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return images (N, 3, 16, 16), labels (N,) and masks (N, 1, 16, 16)."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(count, 3, SIZE, SIZE)).astype(np.float32)
    y = np.arange(count) % CLASSES
    s = np.zeros((count, 1, SIZE, SIZE), dtype=int)
    s[:, :, 4:12, 4:12] = 1
    return x, y, s


def input_times_gradient(model: nn.Module, inputs: np.ndarray, targets: np.ndarray, **kwargs: object) -> np.ndarray:
    """An explain_func that needs nothing but torch: (N, 1, H, W)."""
    x = torch.as_tensor(np.asarray(inputs), dtype=torch.float32).clone().requires_grad_()
    y = torch.as_tensor(np.asarray(targets)).reshape(-1, 1)
    with torch.enable_grad():
        (gradient,) = torch.autograd.grad(model(x).gather(1, y).sum(), x)
    return (gradient * x).sum(dim=1, keepdim=True).detach().numpy()
