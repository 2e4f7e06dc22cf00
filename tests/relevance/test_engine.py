"""The engine's promises: conservation, closed forms, nothing left behind, loud on what it does not know."""

from __future__ import annotations

import threading
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.overrides import _get_current_function_mode_stack

from quantus_vit import AttentionRollout, AttnLRP, TransformerLRP, UnsupportedOperationError
from quantus_vit.relevance import Composite, ConservationReport, TraceOptions, attn_lrp, trace, transformer_lrp
from quantus_vit.relevance.interfaces import AffineOperation
from quantus_vit.relevance.rules import Epsilon, Rule, ZPlus

D = torch.float64


@pytest.fixture
def vit() -> nn.Module:
    torch.manual_seed(0)
    return VisionTransformer(img_size=32, patch_size=8, embed_dim=24, depth=2, num_heads=2, num_classes=4).eval()


def images(count: int = 2) -> Tensor:
    return torch.randn(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def linear_network(widths: list[int], seed: int, bias: bool) -> nn.Sequential:
    torch.manual_seed(seed)
    layers = [nn.Linear(a, b, bias=bias) for a, b in pairwise(widths)]
    return nn.Sequential(nn.Flatten(), *layers).double()


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(2, 7), min_size=1, max_size=3), st.integers(0, 10_000), st.booleans())
def test_epsilon_zero_on_linear_networks_is_input_times_weights(hidden: list[int], seed: int, bias: bool) -> None:
    model = linear_network([12, *hidden, 3], seed, bias)
    x = torch.randn(2, 3, 2, 2, dtype=D)
    composite = attn_lrp().using(linear=Epsilon())
    found = AttnLRP(model, composite=composite).attribute(x, target=1).flatten(1)
    weights = torch.eye(12, dtype=D)
    for layer in list(model)[1:]:
        weights = weights @ layer.weight.T  # type: ignore[union-attr,operator]
    torch.testing.assert_close(found, x.flatten(1) * weights[:, 1])


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(40, 60), min_size=1, max_size=3), st.integers(0, 10_000))
def test_z_plus_conserves_relevance_on_linear_networks(hidden: list[int], seed: int) -> None:
    """Wide layers: only a unit that no input agrees with would drop its relevance."""
    model = linear_network([48, *hidden, 3], seed, bias=True)
    x = torch.randn(2, 3, 4, 4, dtype=D)
    traced = trace(model, x, TraceOptions(transformer_lrp()))
    report = ConservationReport(2)
    (relevance,) = traced.relevance(torch.ones_like(traced.logits), report=report)
    assert relevance is not None
    for entry in report.entries:
        torch.testing.assert_close(entry.leaving, entry.entering, rtol=1e-5, atol=1e-6)
    assert len(report.entries) == len(hidden) + 1
    torch.testing.assert_close(relevance.flatten(1).sum(1), torch.full((2,), 3.0, dtype=D), rtol=1e-5, atol=1e-6)
    assert bool((relevance >= 0).all())


@settings(max_examples=10, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000))
def test_batches_equal_single_images(count: int, seed: int) -> None:
    torch.manual_seed(seed)
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=12, depth=2, num_heads=2, num_classes=3).double()
    model.eval()
    x = torch.randn(count, 3, 16, 16, dtype=D)
    target = torch.randint(3, (count,))
    for method in (TransformerLRP(model), TransformerLRP(model, variant="full"), AttnLRP(model)):
        singles = torch.cat([method.attribute(x[i : i + 1], int(target[i])) for i in range(count)])
        torch.testing.assert_close(method.attribute(x, target), singles)


def test_nothing_is_left_on_the_model_or_the_process(vit: nn.Module) -> None:
    def state() -> list[object]:
        return [
            (
                name,
                type(module),
                sorted(vars(module)),
                [len(hooks) for key, hooks in vars(module).items() if key.endswith("hooks") and hooks is not None],
                module.training,
                [(n, p.requires_grad, p.grad, p._version) for n, p in module.named_parameters(recurse=False)],
            )
            for name, module in vit.named_modules()
        ]

    x = images().requires_grad_()
    before, linear, logits = state(), F.linear, vit(x).detach()
    with pytest.raises(ValueError, match="out of range"):
        TransformerLRP(vit).attribute(x, 9)
    found = TransformerLRP(vit).attribute(x, 1)
    AttnLRP(vit).attribute(x, 1)
    assert state() == before
    assert F.linear is linear
    assert _get_current_function_mode_stack() == []
    assert x.grad is None
    assert not found.requires_grad
    torch.testing.assert_close(vit(x).detach(), logits, rtol=0, atol=0)


def test_callers_gradient_modes_do_not_matter(vit: nn.Module) -> None:
    wanted = TransformerLRP(vit).attribute(images(), 1)
    for context in (torch.no_grad, torch.inference_mode, torch.enable_grad):
        with context():
            torch.testing.assert_close(TransformerLRP(vit).attribute(images(), 1), wanted)
    with torch.inference_mode():
        x = images()
        torch.testing.assert_close(TransformerLRP(vit).attribute(x, 1).clone(), wanted)
    vit.requires_grad_(False)
    torch.testing.assert_close(TransformerLRP(vit).attribute(images(), 1), wanted)


def test_threads_do_not_meet(vit: nn.Module) -> None:
    wanted = [TransformerLRP(vit).attribute(images(), k) for k in range(4)]
    found: dict[int, Tensor] = {}

    def run(target: int) -> None:
        found[target] = TransformerLRP(vit).attribute(images(), target)

    threads = [threading.Thread(target=run, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for target in range(4):
        torch.testing.assert_close(found[target], wanted[target])


class Strange(nn.Module):
    """A ViT's block around an operation that has no rule."""

    def __init__(self, vit: nn.Module) -> None:
        super().__init__()
        self.vit = vit

    def forward(self, x: Tensor) -> Tensor:
        return self.vit(torch.cumsum(x, -1))


def test_unknown_operations_are_named(vit: nn.Module) -> None:
    with pytest.raises(UnsupportedOperationError, match=r"cumsum.*\(2, 3, 32, 32\)"):
        AttnLRP(Strange(vit)).attribute(images(), 0)
    TransformerLRP(Strange(vit)).attribute(images(), 0)  # below the first attention: relevance does not get there


def test_assignment_into_a_traced_tensor_is_routing(vit: nn.Module) -> None:
    class Overwrites(Strange):
        def forward(self, x: Tensor) -> Tensor:
            x = x * 2
            x[:, 0] = 0
            return self.vit(x)

    class Masks(Strange):
        def forward(self, x: Tensor) -> Tensor:
            return self.vit(x * 2 * torch.tensor([0.0, 1.0, 1.0]).view(1, 3, 1, 1))

    found = AttnLRP(Overwrites(vit)).attribute(images(), 0)
    assert found[:, 0].abs().max() == 0
    torch.testing.assert_close(found, AttnLRP(Masks(vit)).attribute(images(), 0))


def test_arithmetic_in_place_on_traced_values_is_refused(vit: nn.Module) -> None:
    class Sums(Strange):
        def forward(self, x: Tensor) -> Tensor:
            return self.vit((x * 2).cumsum_(-1))

    with pytest.raises(UnsupportedOperationError, match="cumsum_"):
        AttnLRP(Sums(vit)).attribute(images(), 0)


def test_active_dropout_is_refused() -> None:
    model = VisionTransformer(img_size=16, patch_size=8, embed_dim=12, depth=1, num_heads=2, drop_rate=0.5)
    with pytest.raises(ValueError, match=r"model\.eval\(\)"):
        AttnLRP(model.train()).attribute(torch.randn(1, 3, 16, 16), 0)


def test_rules_by_module_name(vit: nn.Module) -> None:
    """An exception by name changes what it names, and nothing else."""
    default = AttnLRP(vit, 0.25, 0.05).attribute(images(), 0)
    same = AttnLRP(vit, composite=attn_lrp().where("no.such.module", linear=Epsilon())).attribute(images(), 0)
    torch.testing.assert_close(same, default)
    everywhere = AttnLRP(vit, composite=attn_lrp().where("*", linear=Epsilon(1e-6))).attribute(images(), 0)
    torch.testing.assert_close(everywhere, AttnLRP(vit, 0.25, 0.0).attribute(images(), 0))
    first = AttnLRP(vit, composite=attn_lrp().where("blocks.0.*", linear=Epsilon(1e-6))).attribute(images(), 0)
    assert not torch.allclose(first, default)
    assert not torch.allclose(first, everywhere)


def test_a_rule_of_ones_own(vit: nn.Module) -> None:
    class Flat(Rule[AffineOperation]):
        """All inputs of a linear layer share alike."""

        def propagate(self, operation: AffineOperation, message: Tensor) -> tuple[Tensor | None, ...]:
            x = operation.x
            return (message.sum(-1, keepdim=True).expand(x.shape) / x.shape[-1],)

    traced = trace(vit, images(), TraceOptions(transformer_lrp().where("head", linear=Flat())))
    report = ConservationReport(2)
    traced.relevance(torch.eye(4)[:2], report=report)
    head = report.entries[0]
    assert head.module_name == "head"
    torch.testing.assert_close(head.leaving, torch.ones(2, dtype=D))


def test_composites_refuse_nonsense() -> None:
    with pytest.raises(ValueError, match="unknown kind of operation 'lineal'"):
        transformer_lrp().using(lineal=ZPlus())
    with pytest.raises(TypeError, match="must be a Rule instance"):
        transformer_lrp().using(linear=ZPlus)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="conv_gamma must be 0 or more"):
        attn_lrp(conv_gamma=-1)
    with pytest.raises(ValueError, match="conv_gamma must be 0 or more and finite, not inf"):
        attn_lrp(conv_gamma=float("inf"))
    with pytest.raises(ValueError, match="stabilizer must be 0 or a positive number, not 'little'"):
        transformer_lrp(stabilizer="little")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="linear_gamma must be 0 or more and finite, not 'much'"):
        attn_lrp(linear_gamma="much")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attention_rule"):
        attn_lrp(attention_rule="both")


def test_relevance_composites_need_a_rule_for_all_they_meet(vit: nn.Module) -> None:
    rules = {kind: rule for kind, rule in transformer_lrp().rules.items() if kind != "activation"}
    with pytest.raises(UnsupportedOperationError, match=r"no rule for 'activation'"):
        trace(vit, images(), TraceOptions(Composite("relevance", rules)))


def test_attn_lrp_conserves_what_biases_do_not_absorb(vit: nn.Module) -> None:
    """Without biases and with LRP-0 everywhere, input relevance sums up to the logit."""
    model = vit.double()
    for module in model.modules():
        if getattr(module, "bias", None) is not None:
            nn.init.zeros_(module.bias)  # type: ignore[arg-type]
    nn.init.zeros_(model.cls_token)  # type: ignore[arg-type]
    nn.init.zeros_(model.pos_embed)  # type: ignore[arg-type]
    composite = attn_lrp().using(linear=Epsilon(), convolution=Epsilon())
    x = images().double()
    relevance = AttnLRP(model, composite=composite).attribute(x, 2)
    torch.testing.assert_close(relevance.flatten(1).sum(1), model(x)[:, 2].detach())


def test_released_graphs_say_so(vit: nn.Module) -> None:
    traced = trace(vit, images(), TraceOptions(transformer_lrp(), start="attention"))
    traced.relevance(torch.ones(2, 4))
    with pytest.raises(RuntimeError, match="keep=True"):
        traced.gradient(torch.ones(2, 4))


def test_hooks_of_a_models_forward_are_left_out(vit: nn.Module) -> None:
    """As the official ViT does: a hook on each attention map, which needs a gradient."""
    seen: list[Tensor] = []

    class Hooked(Strange):
        def forward(self, x: Tensor) -> Tensor:
            y = x * 1.0
            y.register_hook(seen.append)
            y.retain_grad()
            return self.vit(y)

    for method in (TransformerLRP, AttnLRP, AttentionRollout):
        torch.testing.assert_close(method(Hooked(vit)).attribute(images(), 0), method(vit).attribute(images(), 0))
    assert seen == []


def test_conservation_report_as_data_and_as_a_plot(vit: nn.Module, tmp_path: Path) -> None:
    traced = trace(vit, images(), TraceOptions(transformer_lrp(), locate=True))
    report = ConservationReport(2)
    traced.relevance(torch.eye(4)[:2], report=report)
    blocks, kinds = report.by_block(), report.by_kind()
    assert next(iter(blocks)) == "head"
    assert {"blocks.0", "blocks.1", "patch_embed"} <= set(blocks)
    assert blocks["head"][0] == pytest.approx(1.0)
    total = sum(entering - leaving for entering, leaving in blocks.values())
    assert sum(report.absorbed().values()) == pytest.approx(total)
    assert kinds["add"][1] <= kinds["add"][0] + 1e-4
    report.plot(tmp_path / "conservation.png")
    assert (tmp_path / "conservation.png").stat().st_size > 10_000
    with pytest.raises(ValueError, match="the report is empty"):
        ConservationReport(2).plot(tmp_path / "nothing.png")
