"""Composites refuse what cannot work, and tell what did nothing."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from quantus_vit import AttnLRP
from quantus_vit.errors import UnsupportedOperationError
from quantus_vit.relevance import Composite, ConservationReport, Rule, TraceOptions, attn_lrp, trace, transformer_lrp
from quantus_vit.relevance.composites import gradient
from quantus_vit.relevance.interfaces import AffineOperation, UnaryOperation
from quantus_vit.relevance.numerics import Messages
from quantus_vit.relevance.operations.base import KINDS
from quantus_vit.relevance.rules import DetachedNorm, Epsilon, Gamma, NormalizedAdd, Pass, Uniform, ZPlus


class Flat(Rule[AffineOperation]):
    """All inputs of a linear layer share alike; wrong for convolutions, which it does not say."""

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        x = operation.x
        return (message.sum(-1, keepdim=True).expand(x.shape) / x.shape[-1],)


class Even(Rule[AffineOperation]):
    """The flat rule of the documentation, for linear layers and convolutions."""

    def propagate(self, operation: AffineOperation, message: Tensor) -> Messages:
        ones = torch.ones_like(operation.weight)
        count = operation.apply_weight(torch.ones_like(operation.x), ones)
        return (operation.vjp(message / count, ones),)


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 16, "patch_size": 8, "embed_dim": 12, "num_heads": 2, "num_classes": 4}
    return VisionTransformer(depth=2, **options).eval()


X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(1))


def test_rules_are_refused_for_messages_they_are_not_written_for() -> None:
    with pytest.raises(ValueError, match=r"NormalizedAdd\(.*'add' takes messages of kind 'relevance'.*'multiplier'"):
        attn_lrp().using(add=NormalizedAdd())
    with pytest.raises(ValueError, match=r"Flat.*takes messages of kind 'relevance'"):
        attn_lrp().where("head", linear=Flat())
    transformer_lrp().using(add=NormalizedAdd()).where("head", linear=Flat())
    with pytest.raises(ValueError, match="message_kind must be"):
        Composite("gradient", {})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "rule"),
    [
        ("add", Epsilon()),
        ("attention", ZPlus()),
        ("linear", Uniform()),
        ("normalisation", Gamma()),
        ("activation", DetachedNorm()),
        ("matmul", Pass()),
    ],
)
def test_rules_are_refused_for_calls_of_another_form(kind: str, rule: Rule[Any]) -> None:
    with pytest.raises(ValueError, match=f"is a rule of .*Operation, which '{kind}' .* is not"):
        transformer_lrp().using(**{kind: rule})


def test_every_kind_of_transformer_lrp_is_in_the_table_of_kinds() -> None:
    assert set(transformer_lrp().rules) == set(KINDS)


def test_a_rule_that_fails_is_named_with_its_place(vit: nn.Module) -> None:
    traced = trace(vit, X, TraceOptions(transformer_lrp().where("patch_embed*", convolution=Flat())))
    with pytest.raises(RuntimeError, match=r"Flat.* for 'convolution' in module 'patch_embed.proj'.*\(2, 3, 16, 16\)"):
        traced.relevance(torch.ones(2, 4))


def test_the_flat_rule_shares_alike() -> None:
    """Each output's relevance in equal parts over its window: against counting."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 1, 2, 2), nn.Flatten(), nn.Linear(4, 2)).double()
    rules = transformer_lrp().using(linear=Even(), convolution=Even())
    traced = trace(model, torch.randn(1, 1, 4, 4, dtype=torch.float64), TraceOptions(rules))
    (relevance,) = traced.relevance(torch.tensor([[16.0, 0.0]]))
    torch.testing.assert_close(relevance, torch.ones(1, 1, 4, 4, dtype=torch.float64))


class TooFew(Rule[UnaryOperation]):
    message_kinds = ("relevance", "multiplier")

    def propagate(self, operation: UnaryOperation, message: Tensor) -> Messages:
        return ()


class Misshapen(TooFew):
    def propagate(self, operation: UnaryOperation, message: Tensor) -> Messages:
        return (message[..., :1],)


@pytest.mark.parametrize(
    ("rule", "words"), [(TooFew(), "gave 0 messages for 1 inputs"), (Misshapen(), r"of shape \(2, 1\)")]
)
def test_messages_that_do_not_fit_are_told(vit: nn.Module, rule: Rule[Any], words: str) -> None:
    for composite in (transformer_lrp(), attn_lrp()):
        traced = trace(vit, X, TraceOptions(composite.where("head", linear=rule)))
        with pytest.raises(RuntimeError, match=words):
            traced.relevance(torch.ones(2, 4))


def test_an_exception_for_the_wrong_kind_is_an_error(vit: nn.Module) -> None:
    words = r"'patch_embed\*' has a rule for 'linear', but .* ran only 'convolution' in 'patch_embed.proj'"
    with pytest.raises(ValueError, match=words):
        trace(vit, X, TraceOptions(transformer_lrp().where("patch_embed*", linear=Flat())))


def test_what_did_nothing_is_told(vit: nn.Module) -> None:
    with pytest.warns(UserWarning, match=r"'no\.such' did nothing: no module of the model has such a name"):
        AttnLRP(vit, composite=attn_lrp().where("no.such", linear=Epsilon())).attribute(X, 0)
    below = transformer_lrp().where("patch_embed.*", convolution=ZPlus())
    with pytest.warns(UserWarning, match=r"nothing was traced in 'patch_embed\.proj'"):
        trace(vit, X, TraceOptions(below, start="attention"))
    both = attn_lrp().where("blocks.*", linear=Epsilon(), convolution=Epsilon())
    with pytest.warns(UserWarning, match=r"has a rule for 'convolution', but .* did nothing"):
        AttnLRP(vit, composite=both).attribute(X, 0)
    with pytest.warns(UserWarning, match="rule for 'gate' did nothing"):
        AttnLRP(vit, composite=attn_lrp().using(gate=Uniform())).attribute(X, 0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AttnLRP(vit, composite=attn_lrp().using(linear=Epsilon()).where("blocks.0*", linear=ZPlus())).attribute(X, 0)


@pytest.mark.parametrize("composite", [transformer_lrp(), attn_lrp()])
def test_a_report_has_the_kinds_of_the_composite(vit: nn.Module, composite: Composite) -> None:
    traced = trace(vit, X, TraceOptions(composite, locate=True))
    report = ConservationReport(2)
    traced.relevance(torch.eye(4)[:2], report=report)
    assert set(report.by_kind()) <= set(KINDS)
    places = [entry.module_name for entry in report.entries if entry.kind == "attention"]
    assert places == ["blocks.1.attn", "blocks.0.attn"]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"start": "middle"}, "start must be one of"), ({"start_layer": -1}, "start_layer"), ({"composite": 3}, "Compos")],
)
def test_options_refuse_nonsense(options: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        TraceOptions(**options)


def test_an_exception_for_a_scripted_module_did_nothing_or_is_refused(vit: nn.Module) -> None:
    """Script hides its operations: with the true gradient right there the exception is told of, else all is refused."""
    vit.blocks[0].norm1 = torch.jit.script(nn.LayerNorm(12).eval())
    with pytest.warns(UserWarning, match=r"'blocks\.0\.norm1' did nothing: nothing was traced in 'blocks\.0\.norm1'"):
        trace(vit, X, TraceOptions(gradient().where("blocks.0.norm1", linear=Epsilon())))
    for composite in (gradient().where("blocks.0.norm1", normalisation=DetachedNorm()), attn_lrp()):
        with pytest.raises(UnsupportedOperationError, match=r"NativeLayerNorm.*ran where the trace could not see it"):
            trace(vit, X, TraceOptions(composite))
