"""Every family of models, unmodified: same logits, maps that make sense, nothing left behind."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit import BeyondIntuition, LeGrad, LibraGrad, TokenTM, UnsupportedOperationError
from quantus_vit.attribution import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.attribution.grid import token_grid
from quantus_vit.attribution.rollout import weights_with_readout
from quantus_vit.relevance import TraceOptions, attn_lrp, trace, transformer_lrp
from quantus_vit.relevance.forward import logits_of

from .families import BY_NAME, FAMILIES, images, make
from .model_table import DOCUMENT, table

METHODS = {"TransformerLRP": TransformerLRP, "AttnLRP": AttnLRP}
ROLLOUTS = (TransformerLRP, GenericAttention, AttentionRollout)
NAMES = [family.name for family in FAMILIES]
SERVED = [family.name for family in FAMILIES if not family.refuses]
OBLONG = [family.name for family in FAMILIES if family.oblong is not None]
CASES = [(name, method) for name in NAMES for method in METHODS if method == "AttnLRP" or name in SERVED]

IN_FP16 = (
    "vit",
    "beit",
    "eva02",
    "siglip",
    "clip_quickgelu",
    "swin",
    "swinv2",
    "cait",
    "xcit",
    "hf_vit_eager",
    "hf_vit_sdpa",
)
HALF = [(name, method, torch.bfloat16) for name, method in CASES]
HALF += [(name, method, torch.float16) for name, method in CASES if name in IN_FP16]


def forward(model: nn.Module, x: Tensor) -> Tensor:
    """The model's own logits; a compiled model's are those of the module it was made from."""
    with torch.no_grad():
        return logits_of(getattr(model, "_orig_mod", model)(x))


def relative_error(found: Tensor, wanted: Tensor) -> float:
    return float((found - wanted).abs().max() / wanted.abs().max())


def state(model: nn.Module) -> list[Any]:
    """All that could be left on a model."""
    found: list[Any] = []
    for name, module in model.named_modules():
        hooks = [len(value) for key, value in vars(module).items() if key.endswith("_hooks") and value is not None]
        found.append((name, type(module), type(module).forward, module.training, sorted(vars(module)), hooks))
    found += [(name, id(p), p.requires_grad, p.grad is None, p._version) for name, p in model.named_parameters()]
    found += [(name, id(b), b._version) for name, b in model.named_buffers()]
    return found


def process_state() -> tuple[Any, ...]:
    functions = [getattr(torch.nn.functional, name) for name in ("linear", "softmax", "gelu", "layer_norm")]
    classes = [(cls, cls.forward, cls.__call__) for cls in (nn.Linear, nn.LayerNorm, nn.GELU, nn.MultiheadAttention)]
    return functions, classes, torch.overrides._len_torch_function_stack(), torch.is_grad_enabled(), torch.matmul


@cache
def shared_model(name: str) -> nn.Module:
    """One model for all tests that must leave it as it is anyway (and :func:`test_map` checks that they do)."""
    return make(BY_NAME[name])


@cache
def shared_map(name: str, method: str) -> Tensor:
    """Two images, classes 1 and 2."""
    return METHODS[method](shared_model(name)).attribute(images(BY_NAME[name]), [1, 2])


@pytest.mark.parametrize("name", NAMES)
def test_logits_are_the_models_own(name: str) -> None:
    model, x = shared_model(name), images(BY_NAME[name])
    wanted = forward(model, x)
    assert wanted.std() > 0.1, "a model whose logits hardly vary would prove nothing"
    assert relative_error(trace(model, x, TraceOptions(transformer_lrp())).logits, wanted) < 1e-5
    assert relative_error(trace(model, x, TraceOptions(attn_lrp(attention_rule="attnlrp"))).logits, wanted) < 1e-5


@pytest.mark.parametrize(("name", "method"), CASES)
def test_map(name: str, method: str) -> None:
    """Finite, of the right shape, for the class asked for, the model as it was."""
    family = BY_NAME[name]
    model, x = shared_model(name), images(family)
    explainer = METHODS[method](model)
    before, process = state(model), process_state()
    weights = {key: value.clone() for key, value in model.state_dict().items()}
    maps = explainer.attribute(x, [1, 2])

    assert state(model) == before
    assert process_state() == process
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not x.requires_grad
    assert x.grad is None

    assert maps.shape == (2, 3 if method == "AttnLRP" else 1, *family.size)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    for one in maps:
        assert one.std() > 1e-4 * one.abs().max() > 0, "a constant map says nothing"
    for found, first in zip(explainer.attribute(x, 3), maps, strict=True):
        assert relative_error(found, first) > 1e-3


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("method", [GenericAttention, AttentionRollout])
def test_other_rollouts(name: str, method: type) -> None:
    family = BY_NAME[name]
    model, x = shared_model(name), images(family)
    before = state(model)
    maps = method(model).attribute(x, 1)
    assert state(model) == before
    assert maps.shape == (2, 1, *family.size)
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).all()
    assert relative_error(method(model).attribute(x[1:], 1), maps[1:]) < 1e-4


@pytest.mark.parametrize("name", [name for name in NAMES if name not in SERVED])
@pytest.mark.parametrize("method", ROLLOUTS)
def test_refusal_says_why_and_what_to_use(name: str, method: type) -> None:
    family = BY_NAME[name]
    with pytest.raises(ValueError, match=r"attention layer \d+ in '.+'.*use AttnLRP"):
        method(shared_model(name)).attribute(images(family), 1)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_a_batch_is_explained_as_one_by_one(name: str, method: str) -> None:
    model, x = make(BY_NAME[name]).double(), images(BY_NAME[name]).double()
    explainer = METHODS[method](model)
    batch, alone = explainer.attribute(x, [1, 2]), explainer.attribute(x[1:], 2)
    assert batch.dtype == torch.float64
    assert relative_error(alone, batch[1:]) < 1e-5


@pytest.mark.parametrize(("name", "method"), CASES)
def test_frozen_parameters_change_nothing(name: str, method: str) -> None:
    model = make(BY_NAME[name]).requires_grad_(False)
    found = METHODS[method](model).attribute(images(BY_NAME[name]), [1, 2])
    assert relative_error(found, shared_map(name, method)) < 1e-4


@pytest.mark.parametrize(("name", "method", "dtype"), HALF)
def test_half_precision(name: str, method: str, dtype: torch.dtype) -> None:
    model = make(BY_NAME[name]).to(dtype)
    maps = METHODS[method](model).attribute(images(BY_NAME[name]).to(dtype), [1, 2])
    assert maps.dtype == dtype
    assert maps.isfinite().all()
    assert (maps.float().flatten(1).std(1) > 0).all()


@pytest.mark.parametrize(("name", "method"), [(n, m) for n, m in CASES if n in OBLONG])
def test_images_that_are_not_square(name: str, method: str) -> None:
    family = BY_NAME[name]
    model, x = make(family, oblong=True), images(family, oblong=True)
    maps = METHODS[method](model).attribute(x, 1)
    assert maps.shape[-2:] == family.oblong
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).all()
    if method == "TransformerLRP":
        grid = TransformerLRP(model, interpolate=None).attribute(x, 1)
        assert grid.shape[-1] > grid.shape[-2]


def adds_a_constant(key: str) -> bool:
    """Whether the parameter is a bias, a position or a token of the model's own."""
    *parents, leaf = key.split(".")
    parent = parents[-1] if parents else ""
    return (
        any(part in leaf for part in ("bias", "token", "pos_embed", "position", "class_embedding"))
        or any(part in parent for part in ("pos_embed", "position_embedding"))
        or "pos_embed.token_projection" in key
    )


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("sequential")])
def test_attn_lrp_conserves_the_logit_where_nothing_can_absorb_it(name: str) -> None:
    """Without biases, positions and tokens of its own, all of the logit must arrive at the pixels (CP rules, LRP-0)."""
    family = BY_NAME[name]
    model = make(BY_NAME[name]).double()
    with torch.no_grad():
        for key, parameter in model.named_parameters():
            if adds_a_constant(key):
                parameter.zero_()
        for key, buffer in model.named_buffers():
            if key.endswith("running_mean"):
                buffer.zero_()
    x = images(family).double()
    logits = forward(model, x)
    explainer = AttnLRP(model, conv_gamma=0, linear_gamma=0, attention_rule="cp")
    total = explainer.attribute(x, [0, 3]).flatten(1).sum(1)
    wanted = logits[[0, 1], [0, 3]]
    torch.testing.assert_close(total, wanted, rtol=1e-2, atol=1e-3 * float(logits.abs().max()))


READOUTS = {
    "vit": slice(0, 1),
    "deit_distilled": slice(0, 2),
    "vit_gap": slice(0, None),
    "vit_avg_class_token": slice(1, None),
    "vit_reg": slice(4, None),
    "beit": slice(1, None),
    "hf_dinov2_eager": slice(0, None),
    "hf_clip_sdpa": slice(1, None),
}


def weighted_maps(model: nn.Module, x: Tensor) -> list[Tensor]:
    """(G * R)+ of every layer for class 1, mean over heads."""
    seed = torch.zeros(2, 5, dtype=torch.float64)
    seed[:, 1] = 1
    traced = trace(model, x, TraceOptions(transformer_lrp(), start="attention"))
    traced.gradient(seed)
    traced.relevance(seed)
    maps = []
    for layer in traced.attentions:
        assert layer.gradient is not None
        assert layer.relevance is not None
        maps.append((layer.gradient * layer.relevance).clamp(min=0).mean(1))
    return maps


@pytest.mark.parametrize("name", READOUTS)
def test_rollout_is_the_mean_of_the_rows_that_the_model_reads(name: str) -> None:
    """Against the whole product of matrices, with the tokens that each model is known to read."""
    family = BY_NAME[name]
    model, x = make(family).double(), images(family).double()
    maps = weighted_maps(model, x)
    tokens = maps[0].shape[-1]
    product = torch.eye(tokens, dtype=torch.float64).expand(2, -1, -1)
    for weighted in maps:
        product = product + weighted @ product
    product = product - torch.eye(tokens, dtype=torch.float64)  # the same for all tokens that are read
    wanted = product[:, READOUTS[name]].mean(1)[:, -16:].reshape(2, 1, 4, 4)
    found = TransformerLRP(model, interpolate=None).attribute(x, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def test_rollout_under_attention_pooling_starts_at_the_pooling_query() -> None:
    family = BY_NAME["siglip"]
    model, x = make(family).double(), images(family).double()
    *blocks, pooling = weighted_maps(model, x)
    assert pooling.shape == (2, 1, 16)
    product = torch.eye(16, dtype=torch.float64).expand(2, -1, -1)
    for block in blocks:
        product = product + block @ product
    wanted = (pooling @ product).reshape(2, 1, 4, 4)
    found = TransformerLRP(model, interpolate=None).attribute(x, 1)
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-15)
    weights = TransformerLRP(model, variant="last_layer_attn", interpolate=None).attribute(x, 1)
    torch.testing.assert_close(weights.sum((1, 2, 3)), torch.ones(2, dtype=torch.float64))


@pytest.mark.parametrize("variant", ["rollout", "last_layer", "last_layer_attn", "second_layer", "full"])
@pytest.mark.parametrize("name", ["vit_gap", "siglip", "deit_distilled", "hf_vit_sdpa", "torchvision_vit"])
def test_every_variant(name: str, variant: str) -> None:
    family = BY_NAME[name]
    maps = TransformerLRP(make(family), variant=variant).attribute(images(family), 1)
    assert maps.shape == (2, 1, *family.size)
    assert maps.isfinite().all()
    assert (maps.flatten(1).std(1) > 0).all()


class BesideTheMean(nn.Module):
    """A ViT with an attention pooling head that runs, and that the logits are not read from."""

    def __init__(self, with_head: bool) -> None:
        super().__init__()
        self.model = make(BY_NAME["vit_gap"])
        self.pool = nn.MultiheadAttention(32, 2, batch_first=True) if with_head else None

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.model.forward_features(x)
        if self.pool is not None:
            self.pool(tokens[:, :1], tokens, tokens)
        return self.model.forward_head(tokens)  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", [*ROLLOUTS, TokenTM, BeyondIntuition, LeGrad, AttnLRP, LibraGrad])
def test_attention_that_the_logits_do_not_depend_on_is_left_out(method: type) -> None:
    """As in Hugging Face's SiglipForImageClassification, which runs the pooling head and reads the patches' mean."""
    x = images(BY_NAME["vit_gap"])
    found, wanted = (method(BesideTheMean(with_head).eval()).attribute(x, [1, 2]) for with_head in (True, False))
    torch.testing.assert_close(found, wanted)


class QuickGelu(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)


class OneActivation(nn.Module):
    """The same function as one call that is known as an activation."""

    def forward(self, x: Tensor) -> Tensor:
        return nn.functional.silu(1.702 * x) / 1.702


@pytest.mark.parametrize("rules", ["transformer_lrp", "attn_lrp"])
def test_a_value_gated_by_itself_follows_the_identity_rule_of_activations(rules: str) -> None:
    """x * sigmoid(1.702 x), written out: the two halves of the gate meet again at x."""
    torch.manual_seed(0)
    first, second = nn.Linear(6, 8).double(), nn.Linear(8, 3).double()
    x = torch.randn(2, 6, dtype=torch.float64)
    found = []
    for activation in (QuickGelu(), OneActivation()):
        traced = trace(
            nn.Sequential(first, activation, second),
            x,
            TraceOptions(transformer_lrp() if rules == "transformer_lrp" else attn_lrp()),
        )
        (message,) = traced.relevance(torch.ones_like(traced.logits))
        found.append(message)
    torch.testing.assert_close(found[0], found[1], rtol=1e-5, atol=1e-6)


class Changes(nn.Module):
    """Arithmetic in place, as models write it."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.head = nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if self.kind == "methods":
            x = x.clone()
            x.sub_(0.5).div_(0.7)
            x.mul_(2.0)
            x.add_(torch.ones_like(x))
        elif self.kind == "augmented":
            x = x * 1
            x -= 0.5
            x /= 0.35
            x += 1
        elif self.kind == "separate":
            x = (x - 0.5) / 0.35 + 1
        elif self.kind in ("alias", "view of before"):
            x = x * 1
            before = x if self.kind == "alias" else x[:, :]
            x += 1
            x = x + before
        elif self.kind == "twice":
            x = x + 1
            x = x + x
        elif self.kind == "result unused":
            x = x - 0.5
            x.div_(0.35)
            x.add_(1.0)
        return self.head(x)  # type: ignore[no-any-return]


def test_changes_in_place_are_traced() -> None:
    torch.manual_seed(0)
    x = torch.randn(2, 3, 2, 2)
    found = {}
    for kind in ("methods", "augmented", "separate"):
        torch.manual_seed(1)
        model = Changes(kind).eval()
        with torch.no_grad():
            wanted = model(x.clone())
        given = x.clone()
        torch.testing.assert_close(trace(model, given, TraceOptions(attn_lrp())).logits, wanted)
        assert torch.equal(given, x)
        found[kind] = AttnLRP(model).attribute(x, 1)
    torch.testing.assert_close(found["methods"], found["separate"])
    torch.testing.assert_close(found["augmented"], found["separate"])


@pytest.mark.parametrize(("kind", "plain"), [("alias", "twice"), ("result unused", "separate")])
def test_every_name_of_a_tensor_changed_in_place_reads_the_new_values(kind: str, plain: str) -> None:
    x, found = torch.randn(2, 3, 2, 2), []
    for name in (kind, plain):
        torch.manual_seed(1)
        model = Changes(name).eval()
        torch.testing.assert_close(trace(model, x, TraceOptions(attn_lrp())).logits, forward(model, x))
        found.append(AttnLRP(model).attribute(x, 1))
    torch.testing.assert_close(*found)


def test_reading_a_view_after_a_change_in_place_is_refused() -> None:
    with pytest.raises(UnsupportedOperationError, match="a view of a tensor after that was changed in place"):
        AttnLRP(Changes("view of before")).attribute(torch.randn(2, 3, 2, 2), 1)


class ReturnsOldName(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        logits = x.flatten(1)[:, :3] * 1
        logits.mul_(torch.tensor([1.0, 2.0, 3.0]))
        return logits


def test_logits_changed_in_place_are_those_that_are_explained() -> None:
    x = torch.randn(2, 3, 2, 2)
    torch.testing.assert_close(trace(ReturnsOldName(), x, TraceOptions(attn_lrp())).logits, ReturnsOldName()(x))


class Unknown(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return torch.erfinv(x.flatten(1).tanh())


def test_an_operation_without_a_rule_is_named() -> None:
    model = nn.Sequential(nn.Identity(), Unknown())
    with pytest.raises(UnsupportedOperationError, match=r"erfinv.*\(2, 12\).*module '1'"):
        AttnLRP(model).attribute(torch.randn(2, 3, 2, 2), 1)


class Quotient(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        return x % x.sum(1, keepdim=True)


def test_a_refusal_survives_pythons_operators() -> None:
    """Python turns a TypeError inside ``a % b`` into one of its own, with nothing in it."""
    with pytest.raises(UnsupportedOperationError, match=r"remainder.*\(2, 12\), \(2, 1\).*module '0'"):
        AttnLRP(nn.Sequential(Quotient())).attribute(torch.rand(2, 3, 2, 2), 1)


def test_the_table_in_the_docs_is_up_to_date() -> None:
    if not DOCUMENT.is_file():
        pytest.skip("the docs are not beside the tests")
    assert table() in DOCUMENT.read_text(), "run: cd tests && python -m attribution.model_table"


@pytest.mark.parametrize("name", SERVED)
def test_the_row_that_the_docs_name_is_the_one_taken(name: str) -> None:
    family = BY_NAME[name]
    model, x = shared_model(name), images(family)
    traced, layers, start = weights_with_readout(model, x, None)
    tokens = layers.blocks[0].shape[-1]
    prefix = int(token_grid(traced).tokens[0])
    if layers.pooling is not None:
        assert family.rollout == "pooling query"
        return
    rows = {
        "class token": [0],
        "class and distillation tokens (mean)": [0, 1],
        "pooled tokens (mean)": range(prefix, tokens),
        "patches (mean), without the pooling head": range(tokens),
        "class token and patches (mean)": [0, *range(prefix, tokens)],
    }[family.rollout]
    wanted = torch.zeros(2, tokens)
    wanted[:, list(rows)] = 1 / len(rows)
    torch.testing.assert_close(start, wanted)
