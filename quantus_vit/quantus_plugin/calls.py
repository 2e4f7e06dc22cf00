"""How an explainer is called: as a class or factory with ``attribute``, or as a function.

Knows the signatures that :func:`quantus_vit.register_method` describes; knows nothing of Quantus.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

__all__ = ["call"]


def call(
    name: str,
    explainer: Callable[..., Any],
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    wanted: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> tuple[Any, set[str]]:
    """Run an explainer.

    Parameters
    ----------
    name : str
        The method, for messages.
    explainer : callable
        A class, a factory or a function.
    model : nn.Module
    inputs : Tensor
        (N, C, H, W), or volumes (N, C, D, H, W).
    targets : Tensor or None
        (N,), or None for the predicted class.
    wanted : mapping
        Options that must be taken.
    offered : mapping
        Options that are taken where a signature names them.

    Returns
    -------
    relevance : Tensor or ndarray
        What the explainer returns.
    used : set of str
        Those of the offered options that were taken.

    Raises
    ------
    TypeError
        The explainer does not take a wanted option, or makes an object without ``attribute``.
    """
    if _is_function(explainer):
        used = _named(explainer, offered)
        options = {**used, **wanted}
        if {"model", "inputs", "targets"} <= set(inspect.signature(explainer).parameters):
            return explainer(model=model, inputs=inputs, targets=targets, **options), set(used)
        return explainer(model, inputs, targets, **options), set(used)
    return _make_and_attribute(name, explainer, model, inputs, targets, wanted, offered)


def _make_and_attribute(
    name: str,
    factory: Callable[..., Any],
    model: nn.Module,
    inputs: Tensor,
    targets: Tensor | None,
    wanted: Mapping[str, Any],
    offered: Mapping[str, Any],
) -> tuple[Any, set[str]]:
    """Options go to the factory, or to ``attribute`` where only that names them."""
    to_make = _named(factory, offered)
    # Of a function that makes an explainer nobody knows what its attribute takes before it is called.
    later = _named(getattr(factory, "attribute", None), wanted).keys() - _named(factory, wanted).keys()
    options = {**to_make, **{key: value for key, value in wanted.items() if key not in later}}
    try:
        inspect.signature(factory).bind(model, **options)
    except TypeError as error:
        raise TypeError(f"{name} cannot be made with the options {sorted(options)}: {error}") from error
    instance = factory(model, **options)
    if not callable(getattr(instance, "attribute", None)):
        made = type(instance).__name__
        raise TypeError(f"the factory of {name!r} returned {made}, which has no method 'attribute(inputs, target)'")
    to_call = {key: value for key, value in _named(instance.attribute, offered).items() if key not in to_make}
    relevance = instance.attribute(inputs, target=targets, **{**to_call, **{key: wanted[key] for key in later}})
    return relevance, {*to_make, *to_call}


def _is_function(explainer: Callable[..., Any]) -> bool:
    """Whether it is called as Quantus calls an ``explain_func``, rather than with the model alone."""
    innermost = explainer
    while isinstance(innermost, partial):
        innermost = innermost.func
    if isinstance(innermost, type):
        return False
    parameters = inspect.signature(explainer).parameters
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = [p for p in parameters.values() if p.default is p.empty and p.kind in positional]
    return "inputs" in parameters or len(required) >= 3


def _named(function: Callable[..., Any] | None, options: Mapping[str, Any]) -> dict[str, Any]:
    """Those of the options that a signature names; the model, inputs and target are not among them."""
    if not callable(function):
        return {}
    names = inspect.signature(function).parameters.keys() - {"model", "inputs", "target", "targets"}
    return {key: value for key, value in options.items() if key in names}
