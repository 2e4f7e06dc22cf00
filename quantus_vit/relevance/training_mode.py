"""Training mode: a model that drops at random, or normalises by its batch, has no one map; it is refused."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["DROPOUTS", "OF_TRAINING", "RANDOM", "refuse_random_numbers", "refuse_training"]

_NAMES = "dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout"
DROPOUTS = frozenset([torch.dropout, *(getattr(F, name) for name in _NAMES.split())])
RANDOM = frozenset([torch.rand, torch.randn, torch.rand_like, torch.randn_like, Tensor.bernoulli_])
"""What stochastic depth and dropped tokens are made of."""

# (place of the argument, its name, its default): a call is one of training where all of them are given and not 0.
_SWITCHES: dict[Callable[..., Any], tuple[tuple[int, str, Any], ...]] = {
    **dict.fromkeys(DROPOUTS, ((1, "p", 0.5), (2, "training", True))),
    F.batch_norm: ((1, "running_mean", None), (5, "training", False)),  # standardised weights have no running mean
    F.scaled_dot_product_attention: ((4, "dropout_p", 0.0),),
    F.multi_head_attention_forward: ((10, "dropout_p", 0.0), (13, "training", True)),
}
OF_TRAINING = RANDOM | _SWITCHES.keys()
"""The functions that :func:`refuse_training` looks at."""


def refuse_random_numbers(model: nn.Module, place: Callable[[], str]) -> None:
    """Raise ``ValueError`` where a module is in training mode: its random numbers are those of training."""
    if any(module.training for module in model.modules()):
        raise ValueError(
            f"{place()} draws random numbers, and the model is in training mode; call model.eval() before explaining it"
        )


def refuse_training(
    model: nn.Module,
    func: Callable[..., Any],
    args: tuple[Any, ...],
    options: Mapping[str, Any],
    place: Callable[[], str],
) -> None:
    """Raise ``ValueError`` for dropout that drops, and for normalisation by the batch's own statistics."""
    if func in RANDOM:
        refuse_random_numbers(model, place)
    switches = _SWITCHES.get(func)
    if switches is not None and all(_is_on(args, options, *switch) for switch in switches):
        name = "batch normalisation" if func is F.batch_norm else "dropout"
        raise ValueError(f"{name} in {place()} is in training mode; call model.eval() before explaining it")


def _is_on(args: tuple[Any, ...], options: Mapping[str, Any], place: int, name: str, default: Any) -> bool:
    value = args[place] if len(args) > place else options.get(name, default)
    return isinstance(value, Tensor) or bool(value)
