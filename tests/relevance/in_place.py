"""Models of two linear layers that change values in place: the rules that they are traced with, and their relevance."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit.relevance import TraceOptions, attn_lrp, trace, transformer_lrp

D = torch.float64
RULES = pytest.mark.parametrize("rules", [transformer_lrp(), attn_lrp()], ids=["transformer_lrp", "attn_lrp"])


def relevance(model: nn.Module, rules: Any, gradients: bool = True) -> Tensor:
    """The message at the input, (4, 5); the logits are the model's own."""
    x = torch.randn(4, 5, dtype=D, generator=torch.Generator().manual_seed(1))
    traced = trace(model, x, TraceOptions(rules, gradients=gradients))
    torch.testing.assert_close(traced.logits, model(x).detach())
    seed = torch.ones_like(traced.logits)
    (message,) = traced.relevance(seed * traced.logits if rules.message_kind == "relevance" else seed)
    assert message is not None
    return message
