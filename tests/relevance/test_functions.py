"""Functions beside those of the usual blocks: each explained as its spelled-out form, or as the matrix that it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import Attention, VisionTransformer
from torch import Tensor, nn

from quantus_vit import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP, UnsupportedOperationError
from quantus_vit.relevance import TraceOptions, attn_lrp, trace, transformer_lrp
from quantus_vit.relevance.rules import Epsilon

D = torch.float64
EXACT = attn_lrp().using(linear=Epsilon(), convolution=Epsilon())
RULES = pytest.mark.parametrize("rules", [EXACT, transformer_lrp()], ids=["attn_lrp", "transformer_lrp"])
Function = Callable[[Tensor], Tensor]


class Net(nn.Module):
    """Linear without bias, a function of (N, 4, 6), linear without bias."""

    def __init__(self, function: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first = nn.Linear(10, 24, bias=False).double()
        self.function = function
        width = function(torch.ones(1, 4, 6, dtype=D)).numel()
        self.last = nn.Linear(width, 3, bias=False).double()

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.function(self.first(x).unflatten(-1, (4, 6))).flatten(1))  # type: ignore[no-any-return]


def relevance(function: Function, rules: Any) -> tuple[Tensor, Tensor]:
    """The map of class 1, (5, 10), and its logit."""
    model = Net(function)
    x = torch.randn(5, 10, dtype=D, generator=torch.Generator().manual_seed(1))
    traced = trace(model, x, TraceOptions(rules, gradients=False))
    torch.testing.assert_close(traced.logits, model(x).detach())
    seed = torch.zeros_like(traced.logits)
    seed[:, 1] = 1
    if rules.message_kind == "relevance":
        (message,) = traced.relevance(seed * traced.logits)
        assert message is not None
        return message, traced.logits[:, 1]
    (message,) = traced.relevance(seed)
    assert message is not None
    return message * x, traced.logits[:, 1]


def matrix_of(linear: Function, *shape: int) -> Tensor:
    """The matrix (in, out) of a linear function, column by column."""
    size = torch.Size(shape).numel()
    return torch.stack([linear(row.view(1, *shape)).flatten() for row in torch.eye(size, dtype=D)])


def as_matrix(linear: Function) -> Function:
    matrix = matrix_of(linear, 4, 6)
    return lambda x: torch.einsum("ni,io->no", x.flatten(1), matrix)


INDEX = torch.tensor([[0, 1, 1, 3, 2, 0]]).expand(4, 6)
SCALES = torch.tensor([0.5, 1.0, 2.0, 4.0], dtype=D)
SLOPE = torch.tensor([0.25], dtype=D)
KERNEL = torch.randn(4, 5, 3, dtype=D, generator=torch.Generator().manual_seed(3))
WEIGHT = torch.randn(4, 6, dtype=D, generator=torch.Generator().manual_seed(4))

SAME: dict[str, tuple[Function, Function]] = {
    "glu": (lambda x: F.glu(x, -1), lambda x: x[..., :3] * x[..., 3:].sigmoid()),
    "lerp": (lambda x: torch.lerp(x[:, :2], x[:, 2:], 0.3), lambda x: 0.7 * x[:, :2] + 0.3 * x[:, 2:]),
    "lerp by an activation": (
        lambda x: torch.lerp(x[:, 0], x[:, 1], x[:, 2]),
        lambda x: x[:, 0] * (1 - x[:, 2]) + x[:, 1] * x[:, 2],
    ),
    "addcmul": (
        lambda x: torch.addcmul(x[:, 0], x[:, 1], x[:, 2], value=0.5),
        lambda x: x[:, 0] + x[:, 1] * x[:, 2] * 0.5,
    ),
    "addcmul in place": (
        lambda x: (x[:, 0] * 1.0).addcmul_(x[:, 1], x[:, 2]),
        lambda x: x[:, 0] * 1.0 + x[:, 1] * x[:, 2],
    ),
    "addcdiv": (lambda x: torch.addcdiv(x[:, 0], x[:, 1], WEIGHT[0]), lambda x: x[:, 0] + x[:, 1] / WEIGHT[0]),
    "square": (lambda x: x**2, lambda x: x * x),
    "cube": (lambda x: torch.pow(x, 3), lambda x: x * x * x),
    "root": (lambda x: x.abs().sqrt() ** 2, torch.abs),
    "absolute": (torch.abs, lambda x: x * x.detach().sign()),
    "linear by an activation": (lambda x: F.linear(x[:, :2], x[0, 2:]), lambda x: x[:, :2] @ x[0, 2:].T),
    "tensordot of activations": (
        lambda x: torch.tensordot(x, x.mean(0), ([2], [1])),
        lambda x: x @ x.mean(0).T,
    ),
    "indices of topk": (lambda x: x.gather(1, x.topk(2, 1).indices), lambda x: x.topk(2, 1).values),
    "indices of argmax": (lambda x: x.gather(2, x.argmax(2, keepdim=True)), lambda x: x.amax(2, keepdim=True)),
    "ordered by norm": (
        lambda x: torch.gather(x, 1, x.norm(dim=2).argsort(1)[..., None].expand_as(x)),
        lambda x: torch.stack([y[y.detach().square().sum(1).argsort()] for y in x]),
    ),
}
NORMALISED: dict[str, tuple[Function, Function]] = {
    "root mean square": (
        lambda x: x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-3),
        lambda x: F.rms_norm(x, (6,), eps=1e-3),
    ),
    "norm": (lambda x: x / x.norm(dim=-1, keepdim=True), lambda x: F.normalize(x, dim=-1)),
    "vector norm": (
        lambda x: x / torch.linalg.vector_norm(x, dim=-1, keepdim=True).clamp_min(1e-12),
        lambda x: F.normalize(x, dim=-1),
    ),
    "deviation": (
        lambda x: (x - x.mean(-1, keepdim=True)) / (x.var(-1, keepdim=True, correction=0) + 1e-3).sqrt(),
        lambda x: F.layer_norm(x, (6,), eps=1e-3),
    ),
    "instances": (lambda x: F.instance_norm(x, eps=1e-3), lambda x: F.layer_norm(x, (6,), eps=1e-3)),
    "instances by running statistics": (
        lambda x: F.instance_norm(x, torch.zeros_like(SCALES), SCALES, SCALES, use_input_stats=False, eps=0.0),
        lambda x: x * SCALES[:, None].sqrt(),
    ),
    "inverse deviation": (
        lambda x: (x - x.mean(-1, keepdim=True)) * (1 / x.std(-1, keepdim=True, correction=0)),
        lambda x: F.layer_norm(x, (6,), eps=1e-14),
    ),
}
LINEAR: dict[str, Function] = {
    "conv_transpose": lambda x: F.conv_transpose1d(x, KERNEL, stride=2, padding=1, output_padding=1),
    "conv_transpose in groups": lambda x: F.conv_transpose1d(x, KERNEL, groups=2, dilation=2),
    "tensordot": lambda x: torch.tensordot(x, WEIGHT, ([1, 2], [0, 1]))[:, None],
    "scatter_add": lambda x: torch.zeros_like(x).scatter_add(1, INDEX.expand(len(x), 4, 6), x),
    "index_add": lambda x: torch.zeros_like(x).index_add_(2, INDEX[0], x),
    "interpolate": lambda x: F.interpolate(x, size=9, mode="linear"),
    "interpolate in two dimensions": lambda x: F.interpolate(x[:, None], size=(7, 5), mode="bicubic"),
    "nearest": lambda x: F.interpolate(x[:, None], scale_factor=2.0, mode="nearest"),
    "grid_sample": lambda x: F.grid_sample(x[:, None], torch.zeros(len(x), 2, 2, 2, dtype=D), align_corners=False),
}


@RULES
@pytest.mark.parametrize("name", SAME)
def test_as_spelled_out(name: str, rules: Any) -> None:
    function, spelled = SAME[name]
    torch.testing.assert_close(relevance(function, rules)[0], relevance(spelled, rules)[0], rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize("name", NORMALISED)
def test_norms_and_deviations_count_as_constants(name: str) -> None:
    function, fused = NORMALISED[name]
    torch.testing.assert_close(relevance(function, EXACT)[0], relevance(fused, EXACT)[0], rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("name", LINEAR)
def test_as_the_matrix_that_it_is(name: str) -> None:
    wanted = relevance(as_matrix(LINEAR[name]), EXACT)[0]
    torch.testing.assert_close(relevance(LINEAR[name], EXACT)[0], wanted)


CONSERVING = {
    **{name: pair[0] for name, pair in SAME.items() if name != "lerp by an activation"},  # which adds a constant
    **{name: pair[0] for name, pair in NORMALISED.items()},
    **LINEAR,
    "prelu": lambda x: F.prelu(x, SLOPE),
    "renormalised": lambda x: x.softmax(-1) @ x.transpose(1, 2),
    "quotient": lambda x: x / (x.abs().sum(-1, keepdim=True) + 1),
    "response normalisation": lambda x: (
        x * (x.norm(dim=1, keepdim=True) / (x.norm(dim=1, keepdim=True).mean(-1, True) + 1))
    ),
}


MIXES_IMAGES = ("linear by an activation", "tensordot of activations")


@pytest.mark.parametrize("name", CONSERVING)
def test_all_of_the_logit_arrives(name: str) -> None:
    found, logits = relevance(CONSERVING[name], EXACT)
    if name in MIXES_IMAGES:
        found, logits = found.sum(0, keepdim=True), logits.sum(0, keepdim=True)
    torch.testing.assert_close(found.sum(1), logits)


def test_prelu_is_piecewise_linear() -> None:
    wanted = relevance(lambda x: torch.where(x > 0, x, x * 0.25), EXACT)[0]
    torch.testing.assert_close(relevance(lambda x: F.prelu(x, SLOPE), EXACT)[0], wanted)


REFUSED: dict[str, tuple[Function, str]] = {
    "log_softmax": (lambda x: x.log_softmax(-1), r"log_softmax.*remove it"),
    "exponent": (lambda x: 2.0**x, "rpow|pow"),
    "power of an activation": (lambda x: x[:, 0].abs() ** x[:, 1], "exponent that depends on the input"),
    "kernel": (lambda x: F.conv1d(x, x[:1, :, :3].transpose(0, 1).repeat(1, 4, 1)), "weight that depends on the input"),
    "slope": (lambda x: F.prelu(x, x[0, :, 0]), "slope that depends on the input"),
    "bound": (lambda x: x.clamp(min=x[:1, :1]), "bound that depends on the input"),
    "cumulated": (lambda x: x.cumsum(-1), "cumsum"),
}


@RULES
@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_rule_is_refused(name: str, rules: Any) -> None:
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedOperationError, match=message):
        relevance(function, rules)


class EinsumAttention(nn.Module):
    """timm's attention, with the weights of ``own``, in einsums."""

    def __init__(self, own: Attention, equation: str) -> None:
        super().__init__()
        self.own, self.equation = own, equation

    def forward(self, x: Tensor, **_: Any) -> Tensor:
        n, t, c = x.shape
        q, k, v = self.own.qkv(x).reshape(n, t, 3, self.own.num_heads, -1).permute(2, 0, 3, 1, 4).unbind(0)
        weights = (torch.einsum("bhqd,bhkd->bhqk", q, k) * self.own.scale).softmax(-1)
        if self.equation.startswith("bhkd"):
            return self.own.proj(torch.einsum(self.equation, v, weights).reshape(n, t, c))  # type: ignore[no-any-return]
        return self.own.proj(torch.einsum(self.equation, weights, v).reshape(n, t, c))  # type: ignore[no-any-return]


@pytest.mark.parametrize("equation", ["bhqk,bhkd->bqhd", "bhkd, bhqk -> bqhd"])
@pytest.mark.parametrize("method", [AttnLRP, TransformerLRP, GenericAttention, AttentionRollout])
def test_attention_in_einsums_is_attention(method: Any, equation: str) -> None:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": 4}
    model = VisionTransformer(depth=2, **options).double().eval()
    x = torch.randn(2, 3, 32, 32, dtype=D)
    wanted = method(model).attribute(x, 1)
    for block in model.blocks:
        block.attn = EinsumAttention(block.attn, equation)
    torch.testing.assert_close(method(model).attribute(x, 1), wanted)


def test_a_model_that_ends_in_softmax_is_told_so() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 3), nn.Softmax(-1)).double()
    with pytest.raises(ValueError, match=r"ends in softmax.*remove the softmax"):
        AttnLRP(model).attribute(torch.randn(2, 3, 2, 2, dtype=D), 1)


def test_wrong_types_and_channels_are_said_in_the_users_terms() -> None:
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": 4}
    model = VisionTransformer(depth=1, **options).eval()
    for method in (AttnLRP, TransformerLRP, GenericAttention, AttentionRollout):
        with pytest.raises(TypeError, match=r"inputs are torch\.float64 and the model's parameters torch\.float32"):
            method(model).attribute(torch.randn(1, 3, 32, 32, dtype=D), 1)
        with pytest.raises(ValueError, match=r"takes images of 3 channels, and inputs have 1; repeat"):
            method(model).attribute(torch.randn(1, 1, 32, 32), 1)


def test_weights_that_multi_head_attention_returns_may_be_used() -> None:
    class Weighs(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.attention = nn.MultiheadAttention(6, 2, bias=False, batch_first=True).double()

        def forward(self, x: Tensor) -> Tensor:
            output, weights = self.attention(x, x, x)
            return output * weights.amax(-1, keepdim=True)  # type: ignore[no-any-return]

    torch.manual_seed(0)
    found, logits = relevance(Weighs(), EXACT)
    torch.testing.assert_close(found.sum(1), logits)
