"""Every function and module of torch with an ``inplace`` argument: the map of its twin out of place, or a refusal."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from quantus_vit import UnsupportedOperationError

from .in_place import RULES, relevance

Function = Callable[[Tensor], Tensor]

OPTIONS: dict[str, tuple[Any, ...]] = {
    "alpha_dropout": (0.5, False),
    "celu": (1.3,),
    "dropout": (0.5, False),
    "dropout1d": (0.5, False),
    "dropout2d": (0.5, False),
    "dropout3d": (0.5, False),
    "elu": (1.3,),
    "feature_alpha_dropout": (0.5, False),
    "hardsigmoid": (),
    "hardswish": (),
    "hardtanh": (-0.5, 0.7),
    "leaky_relu": (0.3,),
    "mish": (),
    "relu": (),
    "relu6": (),
    "rrelu": (0.1, 0.3, False),
    "selu": (),
    "silu": (),
    "threshold": (0.1, 0.2),
}
"""Arguments of the functions, up to ``inplace``, which comes last in all of them."""

MODULES: dict[str, tuple[Any, ...]] = {
    "AlphaDropout": (),
    "CELU": (1.3,),
    "Dropout": (),
    "Dropout1d": (),
    "Dropout2d": (),
    "Dropout3d": (),
    "ELU": (1.3,),
    "FeatureAlphaDropout": (),
    "Hardsigmoid": (),
    "Hardswish": (),
    "Hardtanh": (-0.5, 0.7),
    "LeakyReLU": (0.3,),
    "Mish": (),
    "RReLU": (0.1, 0.3),
    "ReLU": (),
    "ReLU6": (),
    "SELU": (),
    "SiLU": (),
    "Threshold": (0.1, 0.2),
}
REFUSED = {"rrelu", "RReLU"}
SHAPES = {"1": (6, 1), "2": (2, 3, 1), "3": (1, 2, 3, 1)}
"""Of one image, for dropout of channels in one, two and three dimensions."""

USES: dict[str, tuple[Callable[[Function, Tensor], Tensor], Callable[[Function, Tensor], Tensor]]] = {
    "its result": (lambda change, x: change(x), lambda function, x: function(x)),
    "the old name": (lambda change, x: (change(x), x)[1], lambda function, x: function(x)),
    "both names": (lambda change, x: x + change(x), lambda function, x: function(x) + function(x)),
    "what was computed before": (lambda change, x: x * 2 + change(x), lambda function, x: x * 2 + function(x)),
}


class Net(nn.Module):
    def __init__(self, use: Callable[[Function, Tensor], Tensor], function: Function) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.last = nn.Linear(5, 6).double(), nn.Linear(6, 3).double()
        self.use, self.function = use, function

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.use(self.function, self.first(x)))  # type: ignore[no-any-return]


def in_shape(name: str, function: Function) -> Function:
    """Dropout of whole channels asks for so many dimensions; in evaluation it must change nothing in any."""
    shape = SHAPES.get(name.lower().removeprefix("dropout")[:1])
    return function if shape is None else lambda x: function(x.view(len(x), *shape)).view_as(x)


def compare(name: str, use: str, changing: Function, plain: Function, rules: Any) -> None:
    in_place, out_of_place = USES[use]
    for gradients in (True, False):
        if name in REFUSED:
            with pytest.raises(UnsupportedOperationError, match="rrelu"):
                relevance(Net(in_place, changing), rules, gradients)
            continue
        wanted = relevance(Net(out_of_place, in_shape(name, plain)), rules, gradients)
        found = relevance(Net(in_place, in_shape(name, changing)), rules, gradients)
        torch.testing.assert_close(found, wanted, rtol=1e-9, atol=1e-12)


def has_inplace(function: Any) -> bool:
    try:
        return "inplace" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False


def test_none_is_left_out() -> None:
    functions = {name for name in dir(F) if name[0] != "_" and inspect.isfunction(getattr(F, name))}
    assert {name for name in functions if has_inplace(getattr(F, name))} == OPTIONS.keys()
    modules = {name for name, kind in vars(nn).items() if inspect.isclass(kind) and has_inplace(kind)}
    assert modules == MODULES.keys()


@RULES
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", OPTIONS)
def test_functions(name: str, use: str, rules: Any) -> None:
    function, options = getattr(F, name), OPTIONS[name]
    compare(name, use, lambda x: function(x, *options, True), lambda x: function(x, *options), rules)
    compare(name, use, lambda x: function(x, *options, inplace=True), lambda x: function(x, *options), rules)


@RULES
@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", MODULES)
def test_modules(name: str, use: str, rules: Any) -> None:
    kind, options = getattr(nn, name), MODULES[name]
    compare(name, use, kind(*options, inplace=True).eval(), kind(*options).eval(), rules)


@RULES
@pytest.mark.parametrize("name", ["relu_", "celu_", "selu_", "elu_", "leaky_relu_", "hardtanh_", "threshold_"])
def test_functions_whose_names_end_so_are_refused(name: str, rules: Any) -> None:
    function = getattr(F, name)
    options = (0.1, 0.2) if name == "threshold_" else ()
    with pytest.raises(UnsupportedOperationError, match=name):
        relevance(Net(USES["the old name"][0], lambda x: function(x, *options)), rules, False)


@RULES
def test_active_dropout_in_place_is_refused(rules: Any) -> None:
    with pytest.raises(ValueError, match=r"dropout is active; call model\.eval\(\)"):
        relevance(Net(USES["its result"][0], lambda x: F.dropout(x, 0.5, True, True)), rules, False)
