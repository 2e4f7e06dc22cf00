"""Random small models of all sorts of operations, in and out of what a trace cannot see.

Each is refused by the right error, or all of the logit arrives at the input, and the map is that of a reference: plain
autograd through the same model, in which every rule is written as a detached factor or a switched gradient.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from quantus_vit import AttnLRP, UnsupportedOperationError
from quantus_vit.relevance import attn_lrp
from quantus_vit.relevance.rules import Epsilon

D = torch.float64
TOKENS, WIDTH = 4, 6
EXACT = attn_lrp().using(linear=Epsilon(), convolution=Epsilon())
Step = Callable[["Weights", Tensor, "Rules"], Tensor]


class Weights:
    """Random matrices by place; the same for a model and its reference."""

    def __init__(self, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._made: list[Tensor] = []
        self._next = 0

    def again(self) -> Weights:
        """From the first matrix."""
        self._next = 0
        return self

    def matrix(self, rows: int, columns: int) -> Tensor:
        """(rows, columns), the next one."""
        if self._next == len(self._made):
            self._made.append(torch.randn(rows, columns, dtype=D, generator=self._generator) / columns**0.5)
        self._next += 1
        return self._made[self._next - 1]


class Plain:
    """The model's own functions."""

    def activation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        return function(x)

    def gate(self, a: Tensor, b: Tensor) -> Tensor:
        return a * b

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return a @ b

    def constant(self, x: Tensor) -> Tensor:
        return x


class Detached(Plain):
    """The same values, with gradients whose product with the input is relevance."""

    def activation(self, function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
        y = function(x.detach())
        return x * torch.where(x.detach() == 0, 0, y / x.detach())

    def gate(self, a: Tensor, b: Tensor) -> Tensor:
        return (a * b.detach() + a.detach() * b) / 2

    def product(self, a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.detach() + a.detach() @ b) / 2

    def constant(self, x: Tensor) -> Tensor:
        return x.detach()


Rules = Plain


def _linear(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    return F.linear(x, w.matrix(WIDTH, WIDTH))


def _attention(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    q, k, v = (F.linear(x, w.matrix(WIDTH, WIDTH)) for _ in range(3))
    return rules.constant((q @ k.transpose(-2, -1)).softmax(-1)) @ v


def _einsum_attention(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    q, k, v = (F.linear(x, w.matrix(WIDTH, WIDTH)) for _ in range(3))
    weights = rules.constant(torch.einsum("bqd,bkd->bqk", q, k).softmax(-1))
    return torch.einsum("bqk,bkd->bqd", weights, v)


def _fused_attention(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    q, k, v = (F.linear(x, w.matrix(WIDTH, WIDTH)) for _ in range(3))
    if isinstance(rules, Detached):
        return (q @ k.transpose(-2, -1) * WIDTH**-0.5).softmax(-1).detach() @ v
    return F.scaled_dot_product_attention(q, k, v)


def _layer_norm(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    if isinstance(rules, Detached):
        return centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt().detach()
    return F.layer_norm(x, (WIDTH,))


def _norm_by_hand(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    return x * rules.constant(torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5))


def _residual(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    return x + rules.activation(F.gelu, F.linear(x, w.matrix(WIDTH, WIDTH)))


def _in_place(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    y = x * 0.5
    y += F.linear(x, w.matrix(WIDTH, WIDTH))
    z = y.clone()
    z[:, 1:3] = y[:, 0:2] * 2
    return z


def _convolution(w: Weights, x: Tensor, rules: Rules) -> Tensor:
    kernel = w.matrix(TOKENS, TOKENS * 3).view(TOKENS, TOKENS, 3)
    return F.conv1d(x, kernel, padding=1)


STEPS: dict[str, Step] = {
    "linear": _linear,
    "attention": _attention,
    "einsum attention": _einsum_attention,
    "fused attention": _fused_attention,
    "layer norm": _layer_norm,
    "norm by hand": _norm_by_hand,
    "residual": _residual,
    "in place": _in_place,
    "convolution": _convolution,
    "relu": lambda w, x, rules: rules.activation(F.relu, x),
    "square": lambda w, x, rules: rules.activation(torch.square, x),
    "swish": lambda w, x, rules: rules.activation(F.silu, x),
    "gated": lambda w, x, rules: rules.gate(x, rules.activation(torch.tanh, F.linear(x, w.matrix(WIDTH, WIDTH)))),
    "by activations": lambda w, x, rules: rules.product(rules.product(x, x.transpose(-2, -1)), x),
    "roll": lambda w, x, rules: torch.cat([x[:, 2:], x[:, :2]], 1).flip(-1),
    "pool": lambda w, x, rules: x.mean(1, keepdim=True).expand_as(x) - x * 0.3,
    "interpolate": lambda w, x, rules: F.interpolate(x, size=2 * WIDTH, mode="linear")[..., ::2],
    "maximum": lambda w, x, rules: x.amax(1, keepdim=True) + x,
    "permute": lambda w, x, rules: x.transpose(1, 2).reshape(len(x), TOKENS, WIDTH),
    "scatter": lambda w, x, rules: torch.zeros_like(x).scatter_add(
        1, torch.tensor([0, 1, 1, 3])[:, None].expand(len(x), TOKENS, WIDTH), x
    ),
}


class Cubed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x**3

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> Tensor:
        return 3 * message * ctx.saved_tensors[0] ** 2


def _in_a_thread(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    found: list[Tensor] = []
    thread = threading.Thread(target=lambda: found.append(function(x)))
    thread.start()
    thread.join()
    return found[0]


def _hidden(function: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return function(x)


def _curve(x: Tensor) -> Tensor:
    return F.gelu(x)


TRAPS: dict[str, Callable[[Tensor], Tensor]] = {
    "custom function": Cubed.apply,
    "thread": lambda x: _in_a_thread(_curve, x),
    "hidden": lambda x: _hidden(_curve, x),
    "vmap": torch.func.vmap(_curve),
    "tangents": lambda x: torch.func.jvp(_curve, (x,), (x.detach(),))[0],
    "script": torch.jit.trace(_curve, torch.ones(2, TOKENS, WIDTH, dtype=D), check_trace=False),
    "cumsum": lambda x: x.cumsum(-1),
}


class Model(nn.Module):
    """The steps one after the other between two linear layers; with a trap, or none, at one place."""

    def __init__(self, steps: list[str], weights: Weights, trap: str | None = None, place: int = 0) -> None:
        super().__init__()
        self.steps, self.weights, self.trap, self.place = steps, weights, trap, place

    def forward(self, images: Tensor, rules: Rules | None = None) -> Tensor:
        """(N, 1, 3, 4) -> (N, 3)."""
        rules = Plain() if rules is None else rules
        w = self.weights.again()
        x = F.linear(images.flatten(1), w.matrix(TOKENS * WIDTH, 12)).view(-1, TOKENS, WIDTH)
        for i, step in enumerate(self.steps):
            if self.trap is not None and i == self.place % len(self.steps):
                x = TRAPS[self.trap](x)
            x = STEPS[step](w, x, rules)
        return F.linear(x.flatten(1), w.matrix(3, TOKENS * WIDTH))


def images() -> Tensor:
    return torch.randn(2, 1, 3, 4, dtype=D, generator=torch.Generator().manual_seed(0))


steps = st.lists(st.sampled_from(sorted(STEPS)), min_size=1, max_size=5)


@settings(max_examples=120, deadline=None, derandomize=True)
@given(steps, st.integers(0, 1000))
def test_random_models_conserve_and_equal_the_reference(names: list[str], seed: int) -> None:
    model, x = Model(names, Weights(seed)).eval(), images()
    found = AttnLRP(model, composite=EXACT).attribute(x, 1)
    leaf = x.clone().requires_grad_()
    logits = model(leaf, Detached())
    torch.testing.assert_close(logits, model(x))
    (gradient,) = torch.autograd.grad(logits[:, 1].sum(), leaf)
    scale = float(logits[:, 1].abs().max()) + float(found.abs().max())
    torch.testing.assert_close(found, gradient * x, rtol=1e-6, atol=1e-8 * scale)
    torch.testing.assert_close(found.flatten(1).sum(1), logits[:, 1].detach(), rtol=1e-6, atol=1e-8 * scale)


@settings(max_examples=80, deadline=None, derandomize=True)
@given(steps, st.sampled_from(sorted(TRAPS)), st.integers(0, 4), st.integers(0, 1000))
def test_random_models_with_a_trap_are_refused(names: list[str], trap: str, place: int, seed: int) -> None:
    try:
        AttnLRP(Model(names, Weights(seed), trap, place).eval(), composite=EXACT).attribute(images(), 1)
    except UnsupportedOperationError:
        return
    raise AssertionError(f"a model with {trap} was explained")
