"""What an interception of torch's functions cannot see, and paths that a model cuts: right or refused, never silent."""

from __future__ import annotations

import copy
import ctypes
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint, checkpoint_sequential

from quantus_vit import (
    AttentionRollout,
    AttnLRP,
    GenericAttention,
    LeGrad,
    LibraGrad,
    TokenTM,
    TransformerLRP,
    UnsupportedOperationError,
)
from quantus_vit.errors import RelevanceCutWarning
from quantus_vit.relevance import allow_cuts

D = torch.float64
METHODS: list[Any] = [AttnLRP, TransformerLRP, GenericAttention, AttentionRollout]
RULED = METHODS[:2]
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


def vit(frozen: bool = False) -> VisionTransformer:
    torch.manual_seed(0)
    options: dict[str, Any] = {"img_size": 32, "patch_size": 8, "embed_dim": 24, "num_heads": 2, "num_classes": 4}
    model = VisionTransformer(depth=3, **options).double().eval()
    return model.requires_grad_(not frozen)


def images() -> Tensor:
    return torch.randn(2, 3, 32, 32, dtype=D, generator=torch.Generator().manual_seed(1))


class Around(nn.Module):
    """A module that runs another one its own way."""

    def __init__(self, inner: nn.Module, run: Callable[..., Tensor]) -> None:
        super().__init__()
        self.inner, self.run = inner, run

    def forward(self, x: Tensor) -> Tensor:
        return self.run(self.inner, x)


def with_around(place: str, run: Callable[..., Tensor], frozen: bool = False) -> nn.Module:
    """The ViT with the submodule at ``place`` run another way."""
    model = vit(frozen)
    parent, _, name = place.rpartition(".")
    owner, inner = model.get_submodule(parent), model.get_submodule(place)
    if run is scripted:
        seen: list[Tensor] = []
        handle = inner.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()))
        model(images())
        handle.remove()
        inner = torch.jit.trace(inner, seen[0], check_trace=False)
    setattr(owner, name, Around(inner, run))
    return model


def in_a_thread(inner: nn.Module, x: Tensor) -> Tensor:
    found = []
    thread = threading.Thread(target=lambda: found.append(inner(x)))
    thread.start()
    thread.join()
    return found[0]


def without_torch_functions(inner: nn.Module, x: Tensor) -> Tensor:
    with torch._C.DisableTorchFunction():
        return inner(x)


def scripted(inner: nn.Module, x: Tensor) -> Tensor:
    return inner(x)


def vectorised(inner: nn.Module, x: Tensor) -> Tensor:
    return torch.func.vmap(lambda one: inner(one[None])[0])(x)


def with_tangents(inner: nn.Module, x: Tensor) -> Tensor:
    return torch.func.jvp(inner, (x,), (torch.ones_like(x),))[0]


HIDES = pytest.mark.parametrize(
    "run", [in_a_thread, without_torch_functions, scripted, vectorised, with_tangents], ids=lambda run: run.__name__
)


@pytest.mark.parametrize("method", RULED)
@pytest.mark.parametrize("place", ["blocks.1", "blocks.1.mlp", "blocks.1.mlp.act"])
@HIDES
def test_hidden_parts_are_refused(run: Any, place: str, method: Any) -> None:
    with pytest.raises(UnsupportedOperationError, match="blocks"):
        method(with_around(place, run)).attribute(images(), 1)


@pytest.mark.parametrize("frozen", [False, True])
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["blocks.0", "blocks.1"])
@HIDES
def test_hidden_attention_is_refused_wherever_it_is(run: Any, place: str, method: Any, frozen: bool) -> None:
    with pytest.raises(UnsupportedOperationError):
        method(with_around(place, run, frozen)).attribute(images(), 1)


class Swish(torch.autograd.Function):
    """As timm's memory-efficient activations are written."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x.sigmoid()

    @staticmethod
    def backward(ctx: Any, message: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return message * x.sigmoid() * (1 + x * (1 - x.sigmoid()))


def plain_swish(inner: nn.Module, x: Tensor) -> Tensor:
    return F.silu(x)


def custom_swish(inner: nn.Module, x: Tensor) -> Tensor:
    return Swish.apply(x)  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
def test_custom_functions_are_right_or_refused(method: Any) -> None:
    """Refused where a rule would be needed; methods that want the true gradient there get it."""
    place = "blocks.1.mlp.act"
    model = with_around(place, custom_swish)
    if method in RULED:
        with pytest.raises(UnsupportedOperationError, match=r"autograd function Swish .*blocks\.1\.mlp"):
            method(model).attribute(images(), 1)
    else:
        wanted = method(with_around(place, plain_swish)).attribute(images(), 1)
        torch.testing.assert_close(method(model).attribute(images(), 1), wanted)


def reentrant(inner: nn.Module, x: Tensor) -> Tensor:
    return checkpoint(inner, x, use_reentrant=True)  # type: ignore[no-any-return]


def not_reentrant(inner: nn.Module, x: Tensor) -> Tensor:
    return checkpoint(inner, x, use_reentrant=False)  # type: ignore[no-any-return]


def in_segments(inner: nn.Module, x: Tensor) -> Tensor:
    return checkpoint_sequential([inner], 1, x, use_reentrant=False)  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("place", ["blocks.0", "blocks.1", "patch_embed.proj"])
@pytest.mark.parametrize("run", [reentrant, not_reentrant, in_segments])
def test_checkpointed_models_are_explained_as_plain_ones(run: Any, place: str, method: Any) -> None:
    wanted = method(vit()).attribute(images(), 1)
    torch.testing.assert_close(method(with_around(place, run)).attribute(images(), 1), wanted)


@pytest.mark.parametrize("method", METHODS)
def test_timms_gradient_checkpointing_may_be_left_on(method: Any) -> None:
    model = vit()
    wanted = method(model).attribute(images(), 1)
    model.set_grad_checkpointing(True)
    torch.testing.assert_close(method(model).attribute(images(), 1), wanted)


def test_checkpointing_works_afterwards_and_in_other_threads() -> None:
    """While one thread explains, another one's checkpoints recompute as ever, and its hooks fire."""
    model, x = with_around("blocks.1", not_reentrant), images()
    runs: list[int] = []
    fired: list[str] = []
    trained = vit()
    trained.blocks[1].register_forward_hook(lambda *_: runs.append(1))
    trained.blocks[1].register_full_backward_hook(lambda *_: fired.append("hook"))

    def train(*_: Any) -> None:
        checkpoint(trained, x, use_reentrant=False).sum().backward()
        checkpoint(trained, x.clone().requires_grad_(), use_reentrant=True).sum().backward()

    class Waits(nn.Module):
        def forward(self, y: Tensor) -> Tensor:
            thread = threading.Thread(target=train)
            thread.start()
            thread.join()
            return model(y)  # type: ignore[no-any-return]

    def replaceable() -> tuple[Any, ...]:
        hook = getattr(
            nn.modules.module, "BackwardHook", torch.utils.hooks.BackwardHook
        )  # torch 2.4 has the latter alone
        return torch.utils.checkpoint.CheckpointFunction, hook

    before = replaceable()
    AttnLRP(Waits()).attribute(x, 1)
    assert len(runs) == 4
    assert fired == ["hook"] * 2
    assert replaceable() == before
    with pytest.raises(ValueError, match="out of range"):
        AttnLRP(model).attribute(x, 9)
    assert replaceable() == before


@pytest.mark.parametrize("method", METHODS)
def test_backward_hooks_of_modules_neither_fire_nor_change_a_map(method: Any) -> None:
    wanted = method(vit()).attribute(images(), 1)
    model, fired = vit(), []

    def hook(module: Any, *gradients: Any) -> Any:
        fired.append(module)
        return tuple(None if g is None else g * 0 for g in gradients[0])

    for block in model.blocks:
        block.mlp.register_full_backward_hook(hook)
        block.attn.register_full_backward_pre_hook(hook)
        block.norm1.register_backward_hook(hook)
    handle = nn.modules.module.register_module_full_backward_hook(hook)
    try:
        torch.testing.assert_close(method(model).attribute(images(), 1), wanted)
    finally:
        handle.remove()
    assert fired == []
    model(images()).sum().backward()
    assert fired


@pytest.mark.parametrize("method", METHODS)
def test_forward_hooks_run_once_and_what_they_change_is_explained(method: Any) -> None:
    calls: list[Any] = []
    model = vit()
    model.blocks[1].register_forward_pre_hook(lambda *_: calls.append("before"))
    model.blocks[1].register_forward_hook(lambda *_: calls.append("after"))
    handle = nn.modules.module.register_module_forward_hook(lambda module, *_: calls.append(id(module)))
    try:
        model(images())
        wanted, calls[:] = list(calls), []
        found = method(model).attribute(images(), 1)
    finally:
        handle.remove()
    assert calls == wanted
    torch.testing.assert_close(found, method(vit()).attribute(images(), 1))
    changed = vit()
    changed.blocks[1].register_forward_hook(lambda _module, _args, output: output * 2)
    twice = with_around("blocks.1", lambda inner, x: inner(x) * 2)
    torch.testing.assert_close(method(changed).attribute(images(), 1), method(twice).attribute(images(), 1))


# Paths that a model cuts ---------------------------------------------------------------------------------------------


def without_gradients(inner: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return inner(x)


def detached(inner: nn.Module, x: Tensor) -> Tensor:
    return inner(x.detach())


def from_an_array(inner: nn.Module, x: Tensor) -> Tensor:
    return torch.from_numpy(inner(x).detach().numpy().copy())


def from_numbers(inner: nn.Module, x: Tensor) -> Tensor:
    return torch.tensor(inner(x).detach().tolist(), dtype=x.dtype)


CUTS = pytest.mark.parametrize("run", [without_gradients, detached, from_an_array, from_numbers])


@pytest.mark.parametrize("method", [AttnLRP, TransformerLRP, GenericAttention])
@CUTS
def test_a_cut_branch_is_told_and_can_be_allowed(run: Any, method: Any) -> None:
    model = with_around("blocks.1.mlp", run)
    with pytest.warns(RelevanceCutWarning, match=r"module 'blocks\.1\.mlp.*allow_cuts") as told:
        found = method(model).attribute(images(), 1)
    assert len([w for w in told if w.category is RelevanceCutWarning]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", RelevanceCutWarning)
        with allow_cuts("blocks.1.*"):
            allowed = method(model).attribute(images(), 1)
    torch.testing.assert_close(allowed, found)
    with pytest.warns(RelevanceCutWarning), allow_cuts("blocks.2.*"):
        method(model).attribute(images(), 1)


@pytest.mark.parametrize("method", [AttnLRP, TransformerLRP, GenericAttention])
@CUTS
def test_where_nothing_else_carries_relevance_it_is_an_error(run: Any, method: Any) -> None:
    with pytest.raises(ValueError, match=r"depend on the start.*blocks\.1"):
        method(with_around("blocks.1", run)).attribute(images(), 1)


@pytest.mark.parametrize("method", [TransformerLRP, GenericAttention])
def test_attention_without_gradients_is_an_error(method: Any) -> None:
    with pytest.raises(ValueError, match=r"attention ran under no_grad in module 'blocks\.0"):
        method(with_around("blocks.0", without_gradients)).attribute(images(), 1)


def test_what_is_cut_below_the_start_changes_nothing() -> None:
    wanted = TransformerLRP(vit()).attribute(images(), 1)
    for place, run in (("blocks.0", detached), ("patch_embed", without_gradients)):
        torch.testing.assert_close(TransformerLRP(with_around(place, run)).attribute(images(), 1), wanted)


def test_a_number_taken_from_a_value_is_told() -> None:
    model = with_around("blocks.1.mlp", lambda inner, x: inner(x) + x.mean().item())
    with pytest.warns(RelevanceCutWarning, match="a number or an array was taken from a value"):
        AttnLRP(model).attribute(images(), 1)


HARMLESS: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "mask": lambda inner, x: inner(x).masked_fill(x.detach() > 3, 0),
    "index": lambda inner, x: inner(x[:, x.detach()[0, :, 0].argsort().argsort()]),
    "logged": lambda inner, x: (setattr(inner, "seen", x.detach().norm().item()), inner(x))[1],
    "shape": lambda inner, x: inner(x) + torch.zeros(x.detach().shape, dtype=x.dtype),
    "factor": lambda inner, x: inner(x) / x.detach().abs().amax(),
    "compared": lambda inner, x: inner(x) if float(x.detach().abs().max()) < 1e9 else x,
}


@pytest.mark.parametrize("name", HARMLESS)
def test_what_takes_no_relevance_away_is_not_told(name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        AttnLRP(with_around("blocks.1.mlp", HARMLESS[name])).attribute(images(), 1)


# Values that leave the graph, or change behind its back ---------------------------------------------------------------


def through_a_detached_name(inner: nn.Module, x: Tensor) -> Tensor:
    h = inner(x)
    h.detach().mul_(2)
    return h / 2


def by_assignment_to_a_detached_name(inner: nn.Module, x: Tensor) -> Tensor:
    h = inner(x)
    h.detach()[:] = 2 * h.detach()
    return h / 2


def by_data(inner: nn.Module, x: Tensor) -> Tensor:
    h = inner(x)
    h.data = 2 * h.detach()
    return h / 2


def in_an_array(inner: nn.Module, x: Tensor) -> Tensor:
    h: Tensor = inner(x)
    array = h.detach().numpy()
    array *= 2
    return h / 2


def by_address(inner: nn.Module, x: Tensor) -> Tensor:
    h: Tensor = inner(x).contiguous()
    (ctypes.c_double * h.numel()).from_address(h.data_ptr())[0] = 3.0
    return h * 1.0


def in_the_storage(inner: nn.Module, x: Tensor) -> Tensor:
    h: Tensor = inner(x)
    h.untyped_storage().fill_(0)
    return h + 1.0


def under_no_grad(inner: nn.Module, x: Tensor) -> Tensor:
    h: Tensor = inner(x)
    with torch.no_grad():
        h.mul_(2)
    return h / 2


UNSEEN_CHANGES = [
    through_a_detached_name,
    by_assignment_to_a_detached_name,
    by_data,
    in_an_array,
    by_address,
    in_the_storage,
    under_no_grad,
]


@pytest.mark.parametrize("method", [AttnLRP, TransformerLRP, GenericAttention])
@pytest.mark.parametrize("run", UNSEEN_CHANGES)
def test_changes_behind_the_graphs_back_are_refused(run: Any, method: Any) -> None:
    with pytest.raises(UnsupportedOperationError, match=r"detached name|behind autograd's back|unseen by autograd"):
        method(with_around("blocks.1.mlp", run)).attribute(images(), 1)


@pytest.mark.filterwarnings("ignore:To copy construct")
@pytest.mark.parametrize(
    "copied",
    [
        torch.tensor,
        lambda h: h.new_tensor(h),
        lambda h: torch.from_dlpack(h.detach()),
        lambda h: h.detach().clone(),
        lambda h: nn.Parameter(h.detach()),
        nn.Parameter,
        copy.copy,
        lambda h: h.view(torch.int64).view(torch.float64),
    ],
)
def test_copies_out_of_the_graph_are_told(copied: Callable[[Tensor], Tensor]) -> None:
    model = with_around("blocks.1.mlp", lambda inner, x: copied(inner(x)))
    with pytest.warns(RelevanceCutWarning, match=r"blocks\.1"):
        AttnLRP(model).attribute(images(), 1)


@pytest.mark.parametrize("method", [*METHODS, LibraGrad, LeGrad, TokenTM])
def test_plain_models_are_not_warned_of(method: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RelevanceCutWarning)
        method(vit()).attribute(images(), 1)


def hook_on_the_node(h: Tensor) -> None:
    assert h.grad_fn is not None
    h.grad_fn.register_hook(lambda below, above: tuple(None if g is None else 3 * g for g in below))


def hook_before_the_node(h: Tensor) -> None:
    assert h.grad_fn is not None
    h.grad_fn.register_prehook(lambda above: tuple(3 * g for g in above))


@pytest.mark.parametrize("method", [AttnLRP, TransformerLRP, GenericAttention])
@pytest.mark.parametrize("hook", [hook_on_the_node, hook_before_the_node, lambda h: h.register_hook(lambda g: 3 * g)])
def test_hooks_in_a_forward_change_no_map(hook: Callable[[Tensor], Any], method: Any) -> None:
    def run(inner: nn.Module, x: Tensor) -> Tensor:
        h: Tensor = inner(x)
        if h.grad_fn is not None:
            hook(h)
        return h

    found = method(with_around("blocks.1", run)).attribute(images(), 1)
    torch.testing.assert_close(found, method(vit()).attribute(images(), 1))


@pytest.mark.parametrize("method", [AttnLRP, GenericAttention])
def test_gradients_taken_in_a_forward_are_refused(method: Any) -> None:
    def run(inner: nn.Module, x: Tensor) -> Tensor:
        h: Tensor = inner(x)
        (slope,) = torch.autograd.grad(h.sum(), x, retain_graph=True)
        return h + slope

    with pytest.raises(UnsupportedOperationError, match=r"takes gradients.*blocks\.1"):
        method(with_around("blocks.1.mlp", run)).attribute(images(), 1)


class ShiftedAttention(nn.Module):
    """Attention whose scores are shifted by their largest before softmax, as libraries do against overflow."""

    def __init__(self, inner: nn.Module, shift: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.inner, self.shift = inner, shift

    def forward(self, x: Tensor, **_: Any) -> Any:
        inner: Any = self.inner
        size, tokens, width = x.shape
        q, k, v = inner.qkv(x).reshape(size, tokens, 3, inner.num_heads, -1).permute(2, 0, 3, 1, 4)
        weights = self.shift(q * inner.scale @ k.transpose(-2, -1)).softmax(-1)
        return inner.proj((weights @ v).transpose(1, 2).reshape(size, tokens, width))


def with_shift(shift: Callable[[Tensor], Tensor]) -> nn.Module:
    model: Any = vit()
    model.blocks[1].attn = ShiftedAttention(model.blocks[1].attn, shift)
    return model  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", [AttnLRP, GenericAttention])
def test_a_shift_that_softmax_does_not_see_is_no_cut(method: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RelevanceCutWarning)
        found = method(with_shift(lambda s: s - s.detach().amax(-1, keepdim=True))).attribute(images(), 1)
    torch.testing.assert_close(found, method(with_shift(lambda s: s - 0.0)).attribute(images(), 1))


@pytest.mark.parametrize(
    "shift", [lambda s: s - s.detach().amax(-2, keepdim=True), lambda s: (s - s.detach().amax(-1, keepdim=True)).tanh()]
)
def test_other_shifts_are_cuts(shift: Callable[[Tensor], Tensor]) -> None:
    with pytest.warns(RelevanceCutWarning, match="was detached"):
        GenericAttention(with_shift(shift)).attribute(images(), 1)


class WithUnregistered(nn.Module):
    """Runs modules that it does not register."""

    def __init__(self) -> None:
        super().__init__()
        self.model, self.others = vit(), [nn.Linear(4, 4).double()]

    def forward(self, x: Tensor) -> Tensor:
        return self.others[0](self.model(x))  # type: ignore[no-any-return]


class AttendsBelowTheStart(nn.Module):
    """``nn.MultiheadAttention`` asks its inputs for properties before any attention has run."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, 8, 8, 8).double()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True).double()
        self.head = nn.Linear(8, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        y = self.embed(x).flatten(2).transpose(1, 2)
        return self.head((y + self.attention(y, y, y)[0]).mean(1))  # type: ignore[no-any-return]


@pytest.mark.parametrize("method", [TransformerLRP, GenericAttention, AttentionRollout])
def test_properties_of_values_below_the_start_are_no_cut(method: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", RelevanceCutWarning)
        method(AttendsBelowTheStart().eval()).attribute(images(), 1)


def test_unregistered_modules_are_no_cut() -> None:
    model, scale = WithUnregistered(), torch.ones(4, dtype=D, requires_grad=True)
    model.model.head.register_forward_hook(lambda _module, _args, output: output * scale)
    with warnings.catch_warnings():
        warnings.simplefilter("error", RelevanceCutWarning)
        AttnLRP(model).attribute(images(), 1)


def test_deep_copies_are_followed() -> None:
    wanted = AttnLRP(vit()).attribute(images(), 1)
    for place in ("patch_embed", "blocks.1.mlp"):  # of the start itself, and of a value in between
        model = with_around(place, lambda inner, x: inner(copy.deepcopy(x)))
        torch.testing.assert_close(AttnLRP(model).attribute(images(), 1), wanted)


def test_parameters_under_no_grad_are_no_cut() -> None:
    def shifted(inner: nn.Module, x: Tensor) -> Tensor:
        with torch.no_grad():
            shift = F.interpolate(inner.fc1.weight[None], 24)[0, :24].mean(0)
        return inner(x) + shift

    with warnings.catch_warnings():
        warnings.simplefilter("error", RelevanceCutWarning)
        AttnLRP(with_around("blocks.1.mlp", shifted)).attribute(images(), 1)


class Keeping(nn.Module):
    """Keeps a value of its forward."""

    kept: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(3, 4).double()

    def forward(self, x: Tensor) -> Tensor:
        self.kept = x.mean((2, 3))
        return self.head(self.kept)


def test_no_mark_is_left_on_what_a_model_keeps() -> None:
    model = Keeping()
    with pytest.raises(ValueError, match="no softmax attention"):
        GenericAttention(model).attribute(images(), 0)
    assert not model.kept.requires_grad


class Remembering(nn.Module):
    """A module that mixes its output with that of the forward before, graph and all."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.before: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        output: Tensor = self.inner(x)
        mixed = output if self.before is None else 0.5 * (output + self.before)
        self.before = output
        return mixed


@pytest.mark.parametrize("method", [AttnLRP, TransformerLRP, LibraGrad])
def test_values_of_an_earlier_explanation_are_refused(method: Any) -> None:
    model = vit()
    model.blocks[1] = Remembering(model.blocks[1])
    explain = method(model)
    explain.attribute(images(), 1)
    with pytest.raises(UnsupportedOperationError, match="kept from an earlier explanation, with the graph of that"):
        explain.attribute(images(), 1)


@pytest.mark.parametrize("method", METHODS)
def test_explanations_in_a_forward_are_refused(method: Any) -> None:
    inner, x = vit(), images()

    def scaled(module: nn.Module, h: Tensor) -> Tensor:
        return module(h) * AttnLRP(inner).attribute(x, 0).sum()  # type: ignore[no-any-return]

    explain = method(with_around("blocks.1.mlp", scaled))
    with pytest.raises(UnsupportedOperationError, match="own forward computes an explanation"):
        explain.attribute(x, 1)
    AttnLRP(inner).attribute(x, 0)  # what was suspended is put back


SOFTMAXES: list[Callable[[Tensor], Tensor]] = [
    lambda s: torch.special.softmax(s, -1),
    lambda s: torch._softmax(s, -1, False),
    lambda s: F.softmin(-s, -1),
    lambda s: F.log_softmax(s, -1).exp(),
    lambda s: torch.ops.aten.softmax.int(s, -1),
]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("softmax", SOFTMAXES)
def test_attention_by_other_softmaxes_is_refused(softmax: Callable[[Tensor], Tensor], method: Any) -> None:
    """A rollout ran past them below its start, where nothing is recorded, and missed the layer."""

    def attend(module: nn.Module, h: Tensor) -> Tensor:
        return module(h) + softmax(h @ h.mT) @ h  # type: ignore[no-any-return]

    with pytest.raises((UnsupportedOperationError, TypeError), match=r"(?i)softm"):
        method(with_around("blocks.1.mlp", attend)).attribute(images(), 1)
