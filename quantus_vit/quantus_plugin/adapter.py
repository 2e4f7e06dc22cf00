"""One call of an explainer by the conventions of ``quantus.explain``.

Knows how Quantus passes inputs, targets and options to its Captum methods and what it does with the result; does not
know where the call comes from, nor any particular explainer.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import nn

from . import compat

# What Quantus reads for all methods, and what it reads for one of them and ignores for the others.
_CONVENTIONS = frozenset(
    {"method", "xai_lib", "xai_lib_kwargs", "softmax", "channel_first", "reduce_axes", "keepdims", "device"}
)
_OF_OTHER_METHODS = frozenset(
    {
        "abs", "attributor", "attributor_kwargs", "baseline", "canonizer", "canonizer_kwargs", "composite",
        "composite_kwargs", "constant_value", "gc_layer", "img_size", "interpolate", "interpolate_mode", "n_steps",
        "neg_only", "noise", "normalise", "normalise_func", "num_samples", "nr_channels", "pos_only", "return_shape",
        "window",
    }
)  # fmt: skip


def explain(
    name: str,
    explainer: Callable[..., Any],
    model: Any,
    inputs: Any,
    targets: Any,
    options: Mapping[str, Any],
) -> np.ndarray:
    """Explain a batch.

    Parameters
    ----------
    name, explainer
        The method and what it was registered with.
    model
        A ``torch.nn.Module``; put into evaluation mode, and moved to ``options["device"]`` if given, as Quantus does.
    inputs
        Array or tensor of shape (N, C, H, W), or (N, H, W, C) by ``options["channel_first"]`` or Quantus' inference.
    targets
        Class per image: an int, or a sequence, array or tensor of shape (N,); None for the predicted class.
    options
        The keyword arguments of ``quantus.explain``. ``reduce_axes`` (default ``(1,)``) are summed over, with
        ``keepdims`` (default True); ``xai_lib_kwargs`` go to the explainer, and so does every other keyword that its
        signature names.

    Returns
    -------
    numpy.ndarray
        float32, (N, 1, H, W) with the default ``reduce_axes``.

    Raises
    ------
    TypeError, ValueError
        For a model, axes or options that cannot be.
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"{name} explains a torch.nn.Module, got {type(model).__name__}.")
    with torch.inference_mode(False), torch.enable_grad():
        batch, channel_first = _as_batch(inputs, model, options)
        axes = _axes_to_sum(options, batch.ndim)
        model = _with_softmax(model, options.get("softmax"), channel_first)
        model.to(options.get("device")).eval()
        batch = batch.to(_device(model, options))
        labels = None if targets is None else torch.as_tensor(targets).to(batch.device)
        relevance = _run(name, explainer, model, batch, labels, options)
    return _reduced(relevance, axes, bool(options.get("keepdims", True)))


def _precision(model: nn.Module) -> torch.dtype:
    """The model's, so that a model in double precision takes arrays, too."""
    return next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)


def _as_batch(inputs: Any, model: nn.Module, options: Mapping[str, Any]) -> tuple[torch.Tensor, bool]:
    if isinstance(inputs, torch.Tensor):
        # A copy of an inference tensor can take part in autograd, it itself cannot.
        batch = inputs.detach().clone() if inputs.is_inference() else inputs.detach()
    else:
        batch = torch.as_tensor(np.asarray(inputs, dtype=np.float32)).to(_precision(model))
    channel_first = options.get("channel_first")
    if channel_first is None:
        # Quantus looks at the shape alone, and at its last axes only.
        channel_first = batch.ndim != 4 or compat.helpers().infer_channel_first(np.broadcast_to(0.0, batch.shape))
    return (batch if channel_first else torch.movedim(batch, -1, 1)), bool(channel_first)


def _axes_to_sum(options: Mapping[str, Any], dimensions: int) -> tuple[int, ...]:
    given = options.get("reduce_axes", (1,))
    axes = tuple(given) if isinstance(given, Sequence) else (given,)
    if not all(isinstance(axis, (int, np.integer)) and -dimensions <= axis < dimensions for axis in axes):
        raise ValueError(f"reduce_axes must be axes of a batch with {dimensions} dimensions, got {given!r}.")
    if any(axis % dimensions == 0 for axis in axes):
        raise ValueError(f"reduce_axes must not contain the batch axis 0, got {given!r}.")
    return axes


def _with_softmax(model: nn.Module, softmax: Any, channel_first: bool) -> nn.Module:
    if softmax is None or not compat.removes_softmax():
        return model
    wrapped = compat.helpers().get_wrapped_model(model, softmax=softmax, channel_first=channel_first)
    adjusted: nn.Module = wrapped.get_softmax_arg_model()
    return adjusted


def _device(model: nn.Module, options: Mapping[str, Any]) -> torch.device:
    if options.get("device") is not None:
        return torch.device(options["device"])
    parameter = next(model.parameters(), None)
    return torch.device("cpu") if parameter is None else parameter.device


def _run(
    name: str,
    explainer: Callable[..., Any],
    model: nn.Module,
    batch: torch.Tensor,
    labels: torch.Tensor | None,
    options: Mapping[str, Any],
) -> Any:
    chosen = dict(options.get("xai_lib_kwargs") or {})
    rest = {key: value for key, value in options.items() if key not in _CONVENTIONS}
    if _is_function(explainer):
        taken = _accepted(explainer, rest)
        _warn_of_unknown(name, rest, taken)
        if {"model", "inputs", "targets"} <= set(inspect.signature(explainer).parameters):
            return explainer(model=model, inputs=batch, targets=labels, **{**taken, **chosen})
        return explainer(model, batch, labels, **{**taken, **chosen})
    of_class = _accepted(explainer, rest)
    for_call = {key: chosen.pop(key) for key in _of_the_call(explainer, chosen)}
    try:
        inspect.signature(explainer).bind(model, **{**of_class, **chosen})
    except TypeError as error:
        raise TypeError(f"{name} cannot be made with xai_lib_kwargs {sorted(chosen)}: {error}.") from error
    instance = explainer(model, **{**of_class, **chosen})
    if not callable(getattr(instance, "attribute", None)):
        made = type(instance).__name__
        raise TypeError(f"The factory of {name!r} returned {made}, which has no method 'attribute(inputs, target)'.")
    of_call = {key: value for key, value in _accepted(instance.attribute, rest).items() if key not in of_class}
    _warn_of_unknown(name, rest, {**of_class, **of_call})
    return instance.attribute(batch, target=labels, **{**of_call, **for_call})


def _of_the_call(explainer: Callable[..., Any], options: Mapping[str, Any]) -> list[str]:
    """The options that a class' ``attribute`` names and the class itself does not."""
    attribute = getattr(explainer, "attribute", None)
    if not callable(attribute):
        return []
    of_class = inspect.signature(explainer).parameters
    return [key for key in _accepted(attribute, options) if key not in of_class]


def _is_function(explainer: Callable[..., Any]) -> bool:
    """Whether it is called as Quantus calls an ``explain_func``, rather than with the model alone."""
    innermost = explainer
    while isinstance(innermost, partial):
        innermost = innermost.func
    if isinstance(innermost, type):
        return False
    parameters = inspect.signature(explainer).parameters
    required = [
        p
        for p in parameters.values()
        if p.default is p.empty and p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)
    ]
    return "inputs" in parameters or len(required) >= 3


def _accepted(function: Callable[..., Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that a signature names; a class in the style of Captum takes the model first."""
    parameters = inspect.signature(function).parameters
    return {
        key: value for key, value in options.items() if key in parameters and key not in ("model", "inputs", "target")
    }


def _warn_of_unknown(name: str, options: Mapping[str, Any], taken: Mapping[str, Any]) -> None:
    unknown = sorted(set(options) - set(taken) - _OF_OTHER_METHODS)
    if unknown:
        warnings.warn(f"{name} has no option {', '.join(unknown)}; ignored, as Quantus does.", stacklevel=6)


def _reduced(relevance: Any, axes: tuple[int, ...], keepdims: bool) -> np.ndarray:
    array = relevance.detach().cpu().numpy() if isinstance(relevance, torch.Tensor) else np.asarray(relevance)
    if axes and array.ndim >= 3:
        array = array.sum(axis=axes, keepdims=keepdims)
    return np.ascontiguousarray(array, dtype=np.float32)
