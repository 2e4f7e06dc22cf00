"""Every rule against scalar loops written from the papers, in both currencies."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from quantus_vit.relevance.operations.affine import Linear
from quantus_vit.relevance.operations.base import Operation
from quantus_vit.relevance.operations.function import Gelu
from quantus_vit.relevance.operations.node import record
from quantus_vit.relevance.operations.normalisation import LayerNorm, Softmax
from quantus_vit.relevance.operations.products import Product
from quantus_vit.relevance.operations.sums import Add
from quantus_vit.relevance.rules import (
    DetachedNorm,
    Epsilon,
    Gamma,
    GradientTimesInput,
    NormalizedAdd,
    Pass,
    Rule,
    StopGradient,
    Uniform,
    ValuesOnly,
    ZPlus,
)
from quantus_vit.relevance.state import PassState, Recording, TraceState

from . import brute_force

MESSAGE_KINDS = ["relevance", "multiplier"]


def tensors(*shapes: tuple[int, ...], seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def down(
    message_kind: Any,
    operation: Operation,
    rule: Rule[Any],
    inputs: list[Tensor],
    relevance: Tensor,
) -> list[Tensor]:
    """Relevances of the inputs, whatever the messages of the pass are."""
    state = TraceState(Recording(message_kind))
    leaves = [x.clone().requires_grad_() for x in inputs]
    output = record(operation.bind(rule, state, ""), *leaves)
    state.current = PassState(relevance=True)
    message = relevance if message_kind == "relevance" else relevance / output.detach()
    found = torch.autograd.grad(output, leaves, message, allow_unused=True)  # None: no relevance goes there
    found = [torch.zeros_like(x) if m is None else m for m, x in zip(found, inputs, strict=True)]
    return [m if message_kind == "relevance" else m * x for m, x in zip(found, inputs, strict=True)]


@pytest.mark.parametrize("message_kind", MESSAGE_KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_linear_rules(message_kind: str, seed: int) -> None:
    x, weight, bias, relevance = tensors((2, 3, 5), (4, 5), (4,), (2, 3, 4), seed=seed)
    cases: list[tuple[Rule[Any], Callable[..., Any]]] = [
        (ZPlus(), lambda x, r: brute_force.linear_z_plus(x, weight.numpy(), r)),
        (Epsilon(), lambda x, r: brute_force.linear_epsilon(x, weight.numpy(), bias.numpy(), r, 0.0)),
        (Epsilon(0.3), lambda x, r: brute_force.linear_epsilon(x, weight.numpy(), bias.numpy(), r, 0.3)),
        (Gamma(0.5, 0.0), lambda x, r: brute_force.linear_gamma(x, weight.numpy(), bias.numpy(), r, 0.5)),
        (Gamma(20.0, 0.0), lambda x, r: brute_force.linear_gamma(x, weight.numpy(), bias.numpy(), r, 20.0)),
    ]
    for rule, reference in cases:
        (found,) = down(message_kind, Linear(weight, bias), rule, [x], relevance)
        wanted = [reference(x[n, t].numpy(), relevance[n, t].numpy()) for n in range(2) for t in range(3)]
        np.testing.assert_allclose(found.reshape(6, 5).numpy(), np.stack(wanted), rtol=1e-6, atol=1e-8)


def test_z_plus_on_few_tokens_equals_all_tokens() -> None:
    """Tokens without relevance are skipped; the result must not tell."""
    x, weight, relevance = tensors((2, 9, 5), (4, 5), (2, 9, 4))
    relevance[:, 1:] = 0
    (found,) = down("relevance", Linear(weight, None), ZPlus(), [x], relevance)
    assert found[:, 1:].abs().max() == 0
    for n in range(2):
        wanted = brute_force.linear_z_plus(x[n, 0].numpy(), weight.numpy(), relevance[n, 0].numpy())
        np.testing.assert_allclose(found[n, 0].numpy(), wanted, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("message_kind", MESSAGE_KINDS)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_z_plus_in_half_precision_keeps_small_sums(message_kind: str, dtype: torch.dtype) -> None:
    """Few weights agree in sign with their inputs, so x W and |x| |W| nearly cancel each other in the sum."""
    x, weight, relevance = (t.to(dtype) for t in tensors((2, 3, 400), (4, 400), (2, 3, 4)))
    weight = torch.where((x[0, 0] * weight > 0) & (torch.arange(400) % 100 > 0), -weight, weight)
    (found,) = down(message_kind, Linear(weight, None), ZPlus(), [x], relevance)
    wanted = brute_force.linear_z_plus(
        x[0, 0].double().numpy(), weight.double().numpy(), relevance[0, 0].double().numpy()
    )
    assert np.abs(wanted).sum() > 0.1
    np.testing.assert_allclose(found[0, 0].double().numpy(), wanted, rtol=0.06, atol=1e-2 * np.abs(wanted).max())


def test_z_plus_drops_relevance_that_no_input_agrees_with() -> None:
    """One input of the wrong sign: nothing to share among, and rounding must not become relevance."""
    x, weight = torch.tensor([[1.0]]), torch.tensor([[-0.3], [0.7]])
    (found,) = down("relevance", Linear(weight, None), ZPlus(), [x], torch.ones(1, 2))
    torch.testing.assert_close(found, torch.ones(1, 1))


@pytest.mark.parametrize("message_kind", MESSAGE_KINDS)
def test_product_rules(message_kind: str) -> None:
    a, b, relevance = tensors((3, 4), (4, 5), (3, 5))
    wanted = brute_force.product_uniform(a.numpy(), b.numpy(), relevance.numpy())
    for found, reference in zip(down(message_kind, Product(), Uniform(), [a, b], relevance), wanted, strict=True):
        np.testing.assert_allclose(found.numpy(), reference, rtol=1e-9)
    left, right = down(message_kind, Product(), ValuesOnly(), [a, b], relevance)
    assert left.abs().max() == 0
    np.testing.assert_allclose(right.numpy(), 2 * wanted[1], rtol=1e-9)


def test_sum_shares_are_per_sample() -> None:
    a, b, relevance = tensors((3, 4, 2), (3, 4, 2), (3, 4, 2))
    found = down("relevance", Add(), NormalizedAdd(0.0), [a, b], relevance)
    for n in range(3):
        wanted = brute_force.add_shares(a[n].numpy(), b[n].numpy(), relevance[n].numpy())
        for part, reference in zip(found, wanted, strict=True):
            np.testing.assert_allclose(part[n].numpy(), reference, rtol=1e-9)


@pytest.mark.parametrize("message_kind", MESSAGE_KINDS)
def test_softmax_rules(message_kind: str) -> None:
    x, relevance = tensors((2, 6), (2, 6))
    wanted = np.stack([brute_force.softmax_taylor(x[n].numpy(), relevance[n].numpy()) for n in range(2)])

    (found,) = down(message_kind, Softmax(-1), GradientTimesInput(), [x], relevance)
    np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-9)
    (nothing,) = down(message_kind, Softmax(-1), StopGradient(), [x], relevance)
    assert nothing.abs().max() == 0


@pytest.mark.parametrize("message_kind", MESSAGE_KINDS)
def test_layer_norm_with_frozen_deviation(message_kind: str) -> None:
    x, weight, bias, relevance = tensors((3, 6), (6,), (6,), (3, 6))
    (found,) = down(message_kind, LayerNorm([6], weight, bias, 1e-5), DetachedNorm(), [x], relevance)
    wanted = [
        brute_force.layer_norm_frozen(x[n].numpy(), weight.numpy(), bias.numpy(), 1e-5, relevance[n].numpy())
        for n in range(3)
    ]
    np.testing.assert_allclose(found.numpy(), np.stack(wanted), rtol=1e-9)


@pytest.mark.parametrize("message_kind", MESSAGE_KINDS)
def test_activations_pass_relevance_on(message_kind: str) -> None:
    x, relevance = tensors((3, 6), (3, 6))
    (found,) = down(message_kind, Gelu(), Pass(), [x], relevance)
    torch.testing.assert_close(found, relevance)
