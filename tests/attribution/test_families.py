"""Every family of models, unmodified: same logits, maps that make sense, nothing left behind."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from quantus_vit.attribution import AttentionRollout, AttnLRP, GenericAttention, TransformerLRP
from quantus_vit.relevance import attn_lrp, chefer, trace
from quantus_vit.relevance.passes import logits_of

from .families import BY_NAME, FAMILIES, Family, images, make

METHODS = {"TransformerLRP": TransformerLRP, "AttnLRP": AttnLRP}
ROLLOUTS = (TransformerLRP, GenericAttention, AttentionRollout)
NAMES = [family.name for family in FAMILIES]
SERVED = [family.name for family in FAMILIES if not family.refuses]
OBLONG = [family.name for family in FAMILIES if family.oblong is not None]
CASES = [(name, method) for name in NAMES for method in METHODS if method == "AttnLRP" or name in SERVED]


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


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rules", ["chefer", "attn_lrp"])
def test_logits_are_the_models_own(name: str, rules: str) -> None:
    family = BY_NAME[name]
    model, x = make(family), images(family)
    wanted = forward(model, x)
    assert wanted.std() > 0.1, "a model whose logits hardly vary would prove nothing"
    found = trace(model, x, chefer() if rules == "chefer" else attn_lrp()).logits
    assert relative_error(found, wanted) < 1e-5


@pytest.mark.parametrize(("name", "method"), CASES)
def test_map(name: str, method: str) -> None:
    """Finite, of the right shape, for the class asked for, the same in a batch and alone, the model as it was."""
    family = BY_NAME[name]
    model, x = make(family), images(family, 3)
    explainer = METHODS[method](model)
    before, process = state(model), process_state()
    weights = copy.deepcopy(model.state_dict())
    maps = explainer.attribute(x, [1, 2, 1])

    assert state(model) == before
    assert process_state() == process
    assert all(torch.equal(value, weights[key]) for key, value in model.state_dict().items())
    assert not x.requires_grad
    assert x.grad is None

    channels = 3 if method == "AttnLRP" else 1
    assert maps.shape == (3, channels, *family.size)
    assert maps.isfinite().all()
    assert not maps.requires_grad
    for one in maps:
        assert one.std() > 1e-4 * one.abs().max() > 0, "a constant map says nothing"

    for i, target in enumerate((1, 2, 1)):
        assert relative_error(explainer.attribute(x[i : i + 1], target), maps[i : i + 1]) < 1e-3
    other = explainer.attribute(x, 3)
    for found, first in zip(other, maps, strict=True):
        assert relative_error(found, first) > 1e-3


@pytest.mark.parametrize("name", SERVED)
@pytest.mark.parametrize("method", [GenericAttention, AttentionRollout])
def test_other_rollouts(name: str, method: type) -> None:
    family = BY_NAME[name]
    model, x = make(family), images(family)
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
        method(make(family)).attribute(images(family), 1)


@pytest.mark.parametrize(("name", "method"), CASES)
def test_frozen_parameters_change_nothing(name: str, method: str) -> None:
    family = BY_NAME[name]
    model, x = make(family), images(family)
    wanted = METHODS[method](model).attribute(x, 1)
    for parameter in model.parameters():
        parameter.requires_grad_(False)
    assert relative_error(METHODS[method](model).attribute(x, 1), wanted) < 1e-4


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "method"), CASES)
def test_half_precision(name: str, method: str, dtype: torch.dtype) -> None:
    family = BY_NAME[name]
    model = make(family).to(dtype)
    x = images(family).to(dtype)
    wanted = forward(model, x)
    explainer = METHODS[method](model)
    maps = explainer.attribute(x, 1)
    assert maps.dtype == dtype
    assert maps.isfinite().all()
    assert (maps.float().flatten(1).std(1) > 0).all()
    found = trace(model, x, chefer()).logits
    assert relative_error(found.float(), wanted.float()) < 0.05


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
