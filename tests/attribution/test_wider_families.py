"""Hybrids, pyramids and models with attention of their own kind: against plain autograd, and by conservation."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import AttnLRP, UnsupportedOperationError
from quantus_vit.relevance import TraceOptions, attn_lrp, trace
from quantus_vit.relevance.composites import gradient_by_rules

from .families import BY_NAME, FAMILIES, images, make
from .served import METHODS, refusals, run
from .test_families import adds_a_constant, forward, relative_error, state
from .wider_families import WIDER, WIDER_BY_NAME

NAMES = [family.name for family in WIDER]
TARGETS = torch.tensor([1, 3])


SINGLE = ("convit",)  # makes its relative positions in single precision


@cache
def model_of(name: str) -> nn.Module:
    return in_precision(name, make(WIDER_BY_NAME[name]))


def in_precision(name: str, model: nn.Module) -> nn.Module:
    return model if name in SINGLE else model.double()


def inputs(name: str) -> Tensor:
    x = images(WIDER_BY_NAME[name])
    return x if name in SINGLE else x.double()


def seed(logits: Tensor) -> Tensor:
    return torch.zeros_like(logits).scatter_(1, TARGETS[:, None], 1)


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_those_of_plain_autograd(name: str) -> None:
    model, x = model_of(name), inputs(name)
    own = x.clone().requires_grad_()
    logits = getattr(model(own), "logits", None)
    logits = model(own) if logits is None else logits
    (wanted,) = torch.autograd.grad((logits * seed(logits)).sum(), own)
    before = state(model)  # some models keep their relative positions after their first forward
    tolerance = 1e-4 if name in SINGLE else 1e-9
    for composite in (gradient_by_rules(), attn_lrp()):
        traced = trace(model, x, TraceOptions(composite))
        torch.testing.assert_close(traced.logits, logits.detach(), rtol=tolerance, atol=tolerance)
        (gradient,) = traced.gradient(seed(traced.logits))
        assert gradient is not None
        assert relative_error(gradient, wanted) < tolerance
        if composite == gradient_by_rules():
            (message,) = traced.relevance(seed(traced.logits))
            assert message is not None
            assert relative_error(message, wanted) < tolerance
    assert state(model) == before


def without_constants(name: str) -> nn.Module:
    """The model without biases, positions and tokens of its own: nothing is left that could absorb relevance."""
    model = in_precision(name, make(WIDER_BY_NAME[name]))
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            named = any(part in key for part in ("pos_embd", "time_embeddings"))
            if adds_a_constant(key) or named or key.endswith(("pixel_pos", "patch_pos")):
                parameter.zero_()
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.zero_()
    return model


@pytest.mark.parametrize("name", NAMES)
def test_attn_lrp_conserves_the_logit(name: str) -> None:
    model, x = without_constants(name), inputs(name)
    logits = forward(model, x)
    maps = AttnLRP(model, conv_gamma=0, linear_gamma=0).attribute(x, TARGETS)
    wanted = logits.gather(1, TARGETS[:, None])[:, 0]
    torch.testing.assert_close(maps.flatten(1).sum(1), wanted, rtol=1e-3, atol=1e-4 * float(logits.abs().max()))


ELSEWHERE = ("rollout", "LeGrad", "TokenTM", "BeyondIntuition")  # tested on the plain families in other files
CASES = [(name, METHODS) for name in NAMES]
CASES += [(family.name, tuple(m for m in METHODS if m not in ELSEWHERE)) for family in FAMILIES]


@pytest.mark.parametrize(("name", "methods"), CASES, ids=[name for name, _ in CASES])
def test_methods_serve_or_refuse_as_the_table_of_the_docs_says(name: str, methods: tuple[str, ...]) -> None:
    family = WIDER_BY_NAME.get(name) or BY_NAME[name]
    model, x, refused = make(family), images(family, 1), refusals(name)
    for method in methods:
        if method in refused:
            with pytest.raises((ValueError, UnsupportedOperationError), match=refused[method].message):
                run(method, model, x)
        elif method == "TokenRemoval":
            run(method, model, x)
        else:
            maps = run(method, model, x)
            assert maps.shape == (1, 1, *family.size)
            assert maps.isfinite().all()
            assert maps.std() > 0
