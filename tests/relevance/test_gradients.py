"""In gradient mode every operation hands down the true gradient: finite differences, and torch's own autograd."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantus_vit.relevance import TraceOptions, trace, transformer_lrp
from quantus_vit.relevance.operations.affine import Convolution, Linear
from quantus_vit.relevance.operations.base import Operation
from quantus_vit.relevance.operations.function import Activation, Gelu, Pooling
from quantus_vit.relevance.operations.node import record
from quantus_vit.relevance.operations.normalisation import LayerNorm, Normalisation, Softmax
from quantus_vit.relevance.operations.products import Contraction, Gate, Product
from quantus_vit.relevance.operations.sums import Add, Divide, Scale
from quantus_vit.relevance.rules import Pass
from quantus_vit.relevance.state import Recording, TraceState

D = torch.float64


def randn(*shape: int) -> Tensor:
    return torch.randn(shape, dtype=D, generator=torch.Generator().manual_seed(sum(shape)))


OPERATIONS: dict[str, tuple[Callable[[], Operation], tuple[Tensor, ...]]] = {
    "linear": (lambda: Linear(randn(4, 5), randn(4)), (randn(2, 3, 5),)),
    "convolution": (
        lambda: Convolution(randn(4, 3, 2, 2), randn(4), ([2, 2], [1, 1], [1, 1], False, [0, 0], 1)),
        (randn(2, 3, 6, 6),),
    ),
    "product": (lambda: Product(), (randn(2, 3, 4, 5), randn(1, 3, 5, 2))),
    "softmax": (lambda: Softmax(-1), (randn(2, 3, 4),)),
    "layer norm": (lambda: LayerNorm([5], randn(5), randn(5), 1e-5), (randn(2, 3, 5),)),
    "normalisation": (
        lambda: Normalisation(lambda x: F.normalize(x, dim=-1), lambda m, x: m),
        (randn(2, 3, 4),),
    ),
    "gelu": (lambda: Gelu("none"), (randn(2, 7),)),
    "gelu tanh": (lambda: Gelu("tanh"), (randn(2, 7),)),
    "activation": (lambda: Activation(F.silu), (randn(2, 7),)),
    "add": (lambda: Add((False, False)), (randn(2, 3, 4), randn(1, 1, 4))),
    "scale": (lambda: Scale(randn(4)), (randn(2, 1, 4),)),
    "divide": (lambda: Divide(randn(4)), (randn(2, 1, 4),)),
    "gate": (lambda: Gate(), (randn(2, 3, 4), randn(2, 1, 4))),
    "pooling": (lambda: Pooling(lambda x: x.mean(1)), (randn(2, 3, 4),)),
    "contraction": (
        lambda: Contraction(lambda x, y: torch.einsum("bij,bjk->bik", x, y)),
        (randn(2, 3, 4), randn(2, 4, 5)),
    ),
}


@pytest.mark.parametrize("name", OPERATIONS)
def test_finite_differences(name: str) -> None:
    build, inputs = OPERATIONS[name]
    operation = build().bind(Pass(), TraceState(Recording("relevance")), "")
    assert torch.autograd.gradcheck(lambda *x: record(operation, *x), [x.clone().requires_grad_() for x in inputs])


class Everything(nn.Module):
    """A classifier with most of what Vision Transformers are built from."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.patch = nn.Conv2d(3, 8, 4, stride=4)
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)
        self.norm, self.norm2 = nn.LayerNorm(8), nn.RMSNorm(8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.qkv, self.gated, self.out = nn.Linear(8, 24), nn.Linear(8, 32), nn.Linear(16, 8)
        self.scale = nn.Parameter(torch.randn(8))
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x).flatten(2).transpose(1, 2)
        x = torch.cat((self.token.expand(len(x), -1, -1), x), 1)
        y = self.norm(x)
        x = x + self.attention(y, y, y, need_weights=False)[0]
        q, k, v = self.qkv(self.norm2(x)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4).unbind(0)
        x = x + (F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2) * self.scale)
        a, b = self.gated(x).chunk(2, -1)
        x = x - self.out(F.silu(a) * b) / 2
        x = F.gelu(x[:, 0]) + F.normalize(x[:, 1:].mean(1), dim=-1)
        return self.head(x)


def test_whole_model_has_the_gradient_of_autograd() -> None:
    model, x = Everything().double().eval(), randn(2, 3, 16, 16)
    seed = randn(2, 3)
    traced = trace(model, x, TraceOptions(transformer_lrp()))
    (found,) = traced.gradient(seed)
    leaf = x.clone().requires_grad_()
    logits = model(leaf)
    torch.testing.assert_close(traced.logits, logits.detach())
    (wanted,) = torch.autograd.grad(logits, leaf, seed)
    assert found is not None
    torch.testing.assert_close(found, wanted)


def test_second_derivatives_are_refused() -> None:
    build, inputs = OPERATIONS["gelu"]
    x = inputs[0].clone().requires_grad_()
    operation = build().bind(Pass(), TraceState(Recording("relevance")), "")
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        torch.autograd.grad(record(operation, x).sum(), x, create_graph=True)
