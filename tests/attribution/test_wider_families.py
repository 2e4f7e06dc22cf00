"""Hybrids, pyramids and models with attention of their own kind: against plain autograd, and by conservation."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import AttnLRP, LibraGrad
from quantus_vit.relevance import TraceOptions, attn_lrp, trace
from quantus_vit.relevance.composites import gradient_by_rules

from .families import images, make
from .test_families import adds_a_constant, forward, relative_error, state
from .wider_families import WIDER, WIDER_BY_NAME

NAMES = [family.name for family in WIDER]
TARGETS = torch.tensor([1, 3])


@cache
def model_of(name: str) -> nn.Module:
    return make(WIDER_BY_NAME[name]).double()


def inputs(name: str) -> Tensor:
    return images(WIDER_BY_NAME[name]).double()


def seed(logits: Tensor) -> Tensor:
    return torch.zeros_like(logits).scatter_(1, TARGETS[:, None], 1)


@pytest.mark.parametrize("name", NAMES)
def test_logits_and_gradients_are_those_of_plain_autograd(name: str) -> None:
    model, x = model_of(name), inputs(name)
    before = state(model)
    own = x.clone().requires_grad_()
    logits = getattr(model(own), "logits", None)
    logits = model(own) if logits is None else logits
    (wanted,) = torch.autograd.grad((logits * seed(logits)).sum(), own)
    for composite in (gradient_by_rules(), attn_lrp()):
        traced = trace(model, x, TraceOptions(composite))
        torch.testing.assert_close(traced.logits, logits.detach(), rtol=1e-9, atol=1e-9)
        (gradient,) = traced.gradient(seed(traced.logits))
        assert gradient is not None
        assert relative_error(gradient, wanted) < 1e-9
        if composite == gradient_by_rules():
            (message,) = traced.relevance(seed(traced.logits))
            assert message is not None
            assert relative_error(message, wanted) < 1e-9
    assert state(model) == before


def without_constants(name: str) -> nn.Module:
    """The model without biases, positions and tokens of its own: nothing is left that could absorb relevance."""
    model = make(WIDER_BY_NAME[name]).double()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if adds_a_constant(key):
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
