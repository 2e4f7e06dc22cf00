"""LeGrad, TokenTM, BeyondIntuition, GenericAttention from a layer on: the authors' numbers, or autograd with hooks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import BeyondIntuition, GenericAttention, LeGrad, TokenTM

from .families import BY_NAME, images, make
from .golden import DATA, Golden, load_golden, method_references, relative_error
from .test_attention_methods import attention_and_gradients, class_row


@pytest.fixture(scope="module")
def vit() -> Golden:
    return load_golden(DATA / "vit_d48_l3_f64.npz")


@pytest.fixture(scope="module")
def references() -> dict[str, Tensor]:
    return method_references()


def assert_equals(method: Any, vit: Golden, reference: Tensor) -> None:
    for target in range(vit.classes):
        found = method.attribute(vit.inputs, target).flatten(1)
        assert relative_error(found, reference[:, target]) < 1e-10


@pytest.mark.parametrize("start", [0, 1, 2])
@pytest.mark.parametrize("pool", ["cls", "mean"])
def test_legrad_equals_its_formula(vit: Golden, references: dict[str, Tensor], pool: str, start: int) -> None:
    method = LeGrad(vit.model, pool, start_layer=start, interpolate=None)
    assert_equals(method, vit, references[f"legrad_{pool}_start{start}"])


@pytest.mark.parametrize("start", [0, 2])
def test_legrad_with_cosine_equals_the_authors_code(vit: Golden, references: dict[str, Tensor], start: int) -> None:
    method = LeGrad(vit.model, "mean", "cosine", start, interpolate=None)
    assert_equals(method, vit, references["legrad_mean_cosine_layers"][:, :, start:].sum(2))


def test_legrad_takes_the_last_two_layers_by_default(vit: Golden) -> None:
    found = LeGrad(vit.model).attribute(vit.inputs, 1)
    torch.testing.assert_close(found, LeGrad(vit.model, start_layer=1).attribute(vit.inputs, 1))


def test_tokentm_equals_the_reimplementation(vit: Golden, references: dict[str, Tensor]) -> None:
    assert_equals(TokenTM(vit.model, interpolate=None), vit, references["plain_logit_tokentm"][..., 1:])


@pytest.mark.parametrize("mode", ["token", "head"])
@pytest.mark.parametrize(("start", "steps"), [(1, 20), (1, 5), (2, 20), (3, 20)])
def test_beyond_intuition_equals_the_authors_code(
    vit: Golden, references: dict[str, Tensor], mode: str, start: int, steps: int
) -> None:
    method = BeyondIntuition(vit.model, mode, steps, start - 1, interpolate=None)
    assert_equals(method, vit, references[f"beyond_intuition_{mode}_start{start}_steps{steps}"])


def test_beyond_intuition_with_one_step_looks_at_black_alone(vit: Golden) -> None:
    """One value between 0 and 1, both included, is 0: the image counts in the perception only."""
    one = BeyondIntuition(vit.model, steps=1, start_layer=2, interpolate=None)
    x = vit.inputs[:1]
    found, other = one.attribute(x, 1), one.attribute(x.flip(-1), 1)
    two = BeyondIntuition(vit.model, steps=2, start_layer=2, interpolate=None).attribute(x, 1)
    assert found.isfinite().all()
    assert not torch.allclose(found, other)
    assert not torch.allclose(found, two)


@pytest.mark.parametrize(("mode", "depth", "start"), [("token", 3, 1), ("head", 3, 0)])
def test_beyond_intuition_starts_in_proportion_to_the_depth(vit: Golden, mode: str, depth: int, start: int) -> None:
    found = BeyondIntuition(vit.model, mode, 2).attribute(vit.inputs, 0)
    wanted = BeyondIntuition(vit.model, mode, 2, start).attribute(vit.inputs, 0)
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize("start", [0, 1, 2])
def test_generic_attention_from_a_layer_on(vit: Golden, start: int) -> None:
    weights, gradients = attention_and_gradients(vit.model, vit.inputs, 1)
    eye = torch.eye(17, dtype=torch.float64)
    layers = [eye + (g * w).clamp(min=0).mean(1) for g, w in zip(gradients, weights, strict=True)]
    found = GenericAttention(vit.model, start_layer=start, interpolate=None).attribute(vit.inputs, 1)
    torch.testing.assert_close(found, class_row(layers[start:]))


# Models without a class token ----------------------------------------------------------------------------------------


def seen(model: Any, x: Tensor, target: int) -> dict[str, list[Tensor]]:
    """What hooks see in a timm ViT: attention weights and their gradients, block inputs, middles and outputs."""
    found: dict[str, list[Tensor]] = {name: [] for name in ("weights", "inputs", "middles", "outputs")}
    handles = []

    def keeps(name: str, what: Callable[..., Tensor]) -> Callable[..., None]:
        return lambda *arguments: found[name].append(what(*arguments))

    for block in model.blocks:
        block.attn.fused_attn = False
        handles.append(block.attn.attn_drop.register_forward_hook(keeps("weights", lambda _, __, out: out)))
        handles.append(block.register_forward_pre_hook(keeps("inputs", lambda _, given: given[0])))
        handles.append(block.norm2.register_forward_pre_hook(keeps("middles", lambda _, given: given[0])))
        handles.append(block.register_forward_hook(keeps("outputs", lambda _, __, out: out)))
    logits = model(x)
    found["gradients"] = list(torch.autograd.grad(logits[:, target].sum(), found["weights"]))
    for handle in handles:
        handle.remove()
    return {name: [t.detach() for t in tensors] for name, tensors in found.items()}


def change(before: Tensor, after: Tensor) -> Tensor:
    cosine = (before * after).sum(-1) / (before.norm(dim=-1) * after.norm(dim=-1))
    return torch.diag_embed(after.norm(dim=-1) / (before.norm(dim=-1) + 1e-8) * cosine.softmax(-1))


def test_tokentm_on_an_average_pooled_model_is_the_mean_of_all_rows() -> None:
    family = BY_NAME["vit_gap"]
    model, x = make(family).double(), images(family).double()
    parts = seen(model, x, 2)
    eye = torch.eye(16, dtype=torch.float64)
    product = torch.diag_embed(parts["inputs"][0].norm(dim=-1))
    for weights, gradient, before, middle, after in zip(
        *(parts[key] for key in ("weights", "gradients", "inputs", "middles", "outputs")), strict=True
    ):
        by_attention = eye + weights.mean(1) @ change(before, middle) * gradient.relu().mean(1)
        product = (eye + change(middle, after)) @ by_attention @ product
    found = TokenTM(model, interpolate=None).attribute(x, 2)
    torch.testing.assert_close(found, product.mean(1).view(2, 1, 4, 4), rtol=1e-9, atol=1e-14)


def test_beyond_intuition_on_an_average_pooled_model_is_the_mean_of_all_rows() -> None:
    family = BY_NAME["vit_gap"]
    model, x = make(family).double(), images(family).double()
    parts = seen(model, x, 2)
    eye = torch.eye(16, dtype=torch.float64)
    product = eye.expand(2, -1, -1)
    for block, weights, before in zip(model.blocks, parts["weights"], parts["inputs"], strict=True):
        values = block.attn.qkv(block.norm1(before)).chunk(3, -1)[2]
        sizes = (values @ block.attn.proj.weight.T).norm(dim=-1) / before.norm(dim=-1)
        product = product + weights.mean(1) @ torch.diag_embed(sizes) @ product
    steps = [seen(model, x * fraction, 2)["gradients"][-1] for fraction in torch.linspace(0, 1, 3)]
    feedback = torch.stack(steps).mean(0).relu().mean(1)
    wanted = (feedback * product.abs()).mean(1).view(2, 1, 4, 4).detach()
    found = BeyondIntuition(model, steps=3, start_layer=0, interpolate=None).attribute(x, 2)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-14)


@pytest.mark.parametrize("name", ["vit_gap", "torchvision_vit", "hf_vit_eager"])
def test_legrad_differentiates_the_models_own_head(name: str) -> None:
    """The last layer's score of the pooled class token is the model's logit, so E_L is its attention's gradient."""
    family = BY_NAME[name]
    model, x = make(family).double(), images(family).double()
    found = LeGrad(model, start_layer=1, interpolate=None).attribute(x, 2)
    if name == "vit_gap":  # norm, then mean: pooled first, the normalisation sees another vector
        assert (found >= 0).all()
        return
    from quantus_vit.relevance import TraceOptions, trace
    from quantus_vit.relevance.composites import gradient

    traced = trace(model, x, TraceOptions(gradient(), "attention", 1))
    seed = torch.zeros_like(traced.logits)
    seed[:, 2] = 1
    traced.gradient(seed)
    last = traced.attentions[-1].gradient
    assert last is not None
    torch.testing.assert_close(found, last.relu().mean((1, 2))[:, 1:].view(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("make_method", "message"),
    [
        (lambda: LeGrad(nn.Identity(), "max"), 'pool must be "cls" or "mean", not \'max\''),
        (lambda: LeGrad(nn.Identity(), score="loss"), 'score must be "logit" or "cosine"'),
        (lambda: LeGrad(nn.Identity(), start_layer=-1), "start_layer must be an integer of 0 or more"),
        (lambda: BeyondIntuition(nn.Identity(), "heads"), 'mode must be "token" or "head"'),
        (lambda: BeyondIntuition(nn.Identity(), steps=0), "steps must be an integer of 1 or more, not 0"),
        (lambda: GenericAttention(nn.Identity(), -1), "start_layer must be an integer of 0 or more"),
        (lambda: TokenTM(nn.Identity(), "area"), "interpolate must be one of"),
    ],
)
def test_wrong_options(make_method: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_method()


@pytest.mark.parametrize("method", [LeGrad, BeyondIntuition, GenericAttention])
def test_a_layer_that_does_not_exist(method: Any) -> None:
    family = BY_NAME["vit"]
    with pytest.raises(ValueError, match=r"2 attention (blocks|layers).*2 does not exist"):
        method(make(family), start_layer=2).attribute(images(family), 1)


def test_cosine_needs_a_linear_head() -> None:
    family = BY_NAME["deit_distilled"]  # its logits are the mean of two heads'
    with pytest.raises(ValueError, match=r'straight from a linear layer; use score="logit"'):
        LeGrad(make(family), score="cosine").attribute(images(family), 1)


def test_token_mode_needs_an_out_projection() -> None:
    family = BY_NAME["beit3"]  # a normalisation stands between attention and projection
    with pytest.raises(ValueError, match='mode="head" does not'):
        BeyondIntuition(make(family), steps=1).attribute(images(family), 1)
    assert BeyondIntuition(make(family), "head", steps=2).attribute(images(family), 1).isfinite().all()
